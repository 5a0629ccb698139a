//! Rings in shared memory, mapped with the permissions that enforce who writes
//! what.
//!
//! Two memory files make a ring: one is the consumer page, the other is the
//! producer page and the data. The second is sealed once the producer has
//! mapped it, so that no one can ever map it writable again: a consumer, in
//! this process or another, that writes to it faults. Neither can shrink under
//! the other side. The data is mapped twice, back to back, so that an event is
//! contiguous from any position. Children do not inherit the mappings.
//!
//! This is where raw pointers become references; the ring's algorithm is in
//! [`crate::ring`]. Passing the files to another process is up to the caller.
//!
//! SPEC: section 5.1 (mapping): R-RING-1, R-RING-2, R-RING-3.

use std::fmt;
use std::fs::File;
use std::io;
use std::mem::{ManuallyDrop, offset_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use aio2_abi::ring::{ConsumerPage, MAGIC, ProducerPage};
use aio2_abi::setup::{RING_BYTES_MAX, RING_BYTES_MIN, Setup};
use memmap2::{Advice, MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use zerocopy::{FromZeros, IntoBytes};

use crate::os::process::Process;
use crate::ring::{Consumer, Geometry, GeometryError, Memory, Producer, View};
use crate::sync::{AtomicU32, AtomicU64};

/// What keeps either file from shrinking under a mapping.
const SIZE_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);
/// What keeps the data from ever being mapped writable again.
const DATA_SEALS: SealFlags = SIZE_SEALS.union(SealFlags::FUTURE_WRITE);

/// Makes an empty ring; `geometry.ring_bytes()` must be from 4096 to 2^30 and
/// a multiple of the page size.
///
/// # Errors
///
/// EINVAL for another size; EFBIG above the limit of a file's size, without its
/// signal; otherwise those of memfd_create(2), ftruncate(2),
/// mmap(2) and fcntl(2).
pub fn create(geometry: Geometry) -> io::Result<(Producer<ProducerMap>, RingFiles)> {
    if !mappable(&geometry) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let consumer_file = memory_file("aio2-consumer")?;
    let producer_file = memory_file("aio2-producer")?;
    set_len(&consumer_file, page_bytes() as u64)?;
    set_len(&producer_file, data_file_bytes(&geometry))?;
    let consumer_page = ConsumerPage { head: geometry.start(), ..FromZeros::new_zeroed() };
    consumer_file.write_all_at(consumer_page.as_bytes(), 0)?;
    let producer_page = ProducerPage {
        magic: MAGIC,
        version: aio2_abi::VERSION,
        ring_bytes: geometry.ring_bytes(),
        event_max: geometry.event_max(),
        tail: geometry.start() as u32,
        ..FromZeros::new_zeroed()
    };
    producer_file.write_all_at(producer_page.as_bytes(), 0)?;

    let map = Mapping::new(
        MmapOptions::new().map_raw_read_only(&consumer_file)?,
        &producer_file,
        ProtFlags::READ | ProtFlags::WRITE,
        geometry,
    )?;
    fcntl_add_seals(&consumer_file, SIZE_SEALS)?;
    fcntl_add_seals(&producer_file, DATA_SEALS)?;
    let files =
        RingFiles { consumer: consumer_file.into(), producer: producer_file.into(), geometry };
    Ok((Producer::new(SharedMap(map)), files))
}

/// As the kernel's backend maps the ring of a context.
///
/// # Errors
///
/// EINVAL for sizes and places that cannot be; otherwise those of mmap(2).
///
/// # Safety
///
/// As for [`map`].
#[cfg(feature = "unstable")]
pub unsafe fn map_context(fd: BorrowedFd<'_>, setup: &Setup) -> io::Result<Consumer<ConsumerMap>> {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { map(fd, setup) }
}

/// Maps the ring of a context of the kernel for consumers, as `setup`, which
/// the kernel has filled in, says. The descriptor may be closed afterwards.
///
/// # Errors
///
/// EINVAL for sizes and places that cannot be; otherwise those of mmap(2).
///
/// # Safety
///
/// It must be a context's descriptor, or that of a file whose bytes are a ring
/// of the caller's own, and which never shrinks.
pub(crate) unsafe fn map(fd: BorrowedFd<'_>, setup: &Setup) -> io::Result<Consumer<ConsumerMap>> {
    let room = Room::reserve(geometry_of(setup)?.ring_bytes())?;
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { room.map(fd, setup) }
}

/// The ring that the kernel says a context has.
///
/// # Errors
///
/// EINVAL for sizes and places that cannot be.
fn geometry_of(setup: &Setup) -> io::Result<Geometry> {
    Geometry::new(setup.ring_bytes, setup.event_max)
        .ok()
        .filter(|geometry| {
            let apart = setup.map_data.wrapping_sub(setup.map_producer);
            mappable(geometry) && apart == page_bytes() as u32
        })
        .ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Addresses for the mapping of a ring: what can fail for want of them fails
/// before there is such a ring.
pub(crate) struct Room {
    consumer: MmapRaw,
    producer: MmapRaw,
}

impl Room {
    /// For a ring of at most so many bytes.
    ///
    /// # Errors
    ///
    /// ENOMEM; those of mmap(2).
    pub(crate) fn reserve(ring_bytes: u32) -> io::Result<Self> {
        let reserve = |bytes| -> io::Result<MmapRaw> {
            Ok(MmapOptions::new().len(bytes).no_reserve_swap().map_anon()?.into())
        };
        let page = page_bytes();
        Ok(Room { consumer: reserve(page)?, producer: reserve(page + 2 * ring_bytes as usize)? })
    }

    /// As [`map`], there.
    ///
    /// # Errors
    ///
    /// EINVAL for sizes and places that cannot be, or are larger; otherwise those
    /// of mmap(2).
    ///
    /// # Safety
    ///
    /// As for [`map`].
    pub(crate) unsafe fn map(
        self,
        fd: BorrowedFd<'_>,
        setup: &Setup,
    ) -> io::Result<Consumer<ConsumerMap>> {
        let (page, geometry) = (page_bytes(), geometry_of(setup)?);
        let bytes = page + 2 * geometry.ring_bytes() as usize;
        if bytes != self.producer.len() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        // One mapping has one protection, and the kernel lets only the consumer
        // page be written.
        let at = |region: u32| (setup.map_offset + u64::from(region)) as usize;
        let both = ProtFlags::READ | ProtFlags::WRITE;
        map_over(&self.consumer, 0, page, &fd, at(setup.map_consumer), both)?;
        map_over(&self.producer, 0, bytes, &fd, at(setup.map_producer), ProtFlags::READ)?;
        Ok(Consumer::new(SharedMap(Mapping::of(self.consumer, self.producer, page, geometry)?)))
    }
}

/// The two files of a ring, by which consumers map it, here or in a process
/// that they are passed to.
#[derive(Debug)]
pub struct RingFiles {
    consumer: OwnedFd,
    producer: OwnedFd,
    geometry: Geometry,
}

impl RingFiles {
    /// Takes the files of a ring that another process made, and checks them:
    /// the sizes that are believed from then on are those found now.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn from_fds(consumer: OwnedFd, producer: OwnedFd) -> Result<Self, FileError> {
        let (consumer, producer) = (File::from(consumer), File::from(producer));
        has_seals(&consumer, SIZE_SEALS)?;
        has_seals(&producer, DATA_SEALS)?;
        let mut page = ProducerPage::new_zeroed();
        producer.read_exact_at(page.as_mut_bytes(), 0)?;
        if page.magic != MAGIC {
            return Err(FileError::Magic(page.magic));
        }
        if page.version != aio2_abi::VERSION {
            return Err(FileError::Version(page.version));
        }
        let geometry = Geometry::new(page.ring_bytes, page.event_max)?;
        if !mappable(&geometry) {
            return Err(GeometryError::RingBytes(page.ring_bytes).into());
        }
        has_size(&consumer, page_bytes() as u64)?;
        has_size(&producer, data_file_bytes(&geometry))?;
        Ok(Self { consumer: consumer.into(), producer: producer.into(), geometry })
    }

    /// The files, to be passed to another process: consumer page, then
    /// producer page and data.
    pub fn into_fds(self) -> (OwnedFd, OwnedFd) {
        (self.consumer, self.producer)
    }

    /// The file of the consumer page.
    pub fn consumer_fd(&self) -> BorrowedFd<'_> {
        self.consumer.as_fd()
    }

    /// The file of producer page and data.
    pub fn producer_fd(&self) -> BorrowedFd<'_> {
        self.producer.as_fd()
    }

    /// The same files by new file descriptors.
    ///
    /// # Errors
    ///
    /// As fcntl(2) with F_DUPFD_CLOEXEC.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            consumer: self.consumer.try_clone()?,
            producer: self.producer.try_clone()?,
            geometry: self.geometry,
        })
    }

    /// Maps the ring for consumers: the consumer page for writing, all else
    /// for reading only. The files may be closed afterwards.
    ///
    /// # Errors
    ///
    /// As mmap(2).
    pub fn map(&self) -> io::Result<Consumer<ConsumerMap>> {
        let map = Mapping::new(
            MmapOptions::new().map_raw(self.consumer.as_raw_fd())?,
            &self.producer,
            ProtFlags::READ,
            self.geometry,
        )?;
        Ok(Consumer::new(SharedMap(map)))
    }
}

/// Why files are not those of a ring.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileError {
    /// A file could not be read or asked.
    Io(io::Error),
    /// The producer page begins with something else.
    Magic(u32),
    /// The ring has a version that is not known here.
    Version(u32),
    /// The ring has impossible sizes.
    Geometry(GeometryError),
    /// A file has not the size that its ring needs.
    Size {
        /// Bytes that it should have.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// A file lacks seals: it could shrink, or be written by anyone.
    Seals {
        /// The seals that it needs, as in fcntl(2).
        expected: i32,
        /// The seals that it has.
        found: i32,
    },
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<GeometryError> for FileError {
    fn from(error: GeometryError) -> Self {
        Self::Geometry(error)
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot read the file of a ring: {error}"),
            Self::Magic(found) => write!(f, "not the file of a ring: begins with {found:#x}"),
            Self::Version(found) => write!(f, "ring of version {found}, which is not known"),
            Self::Geometry(error) => error.fmt(f),
            Self::Size { expected, found } => {
                write!(f, "the file of a ring has {found} bytes instead of {expected}")
            }
            Self::Seals { expected, found } => {
                write!(f, "the file of a ring has seals {found:#x}, needs {expected:#x}")
            }
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Geometry(error) => Some(error),
            _ => None,
        }
    }
}

/// A ring mapped into this process: all of it read-only but for the consumer page,
/// or, for its producer, but for what that writes.
#[derive(Debug)]
pub struct SharedMap<const PRODUCER: bool>(Mapping);

/// A ring mapped for its producer: the consumer page read-only.
pub type ProducerMap = SharedMap<true>;

/// A ring mapped for consumers: all but the consumer page read-only.
pub type ConsumerMap = SharedMap<false>;

impl<const PRODUCER: bool> Memory for SharedMap<PRODUCER> {
    type Word = AtomicU64;

    #[inline]
    fn view(&self) -> View<'_, AtomicU64> {
        self.0.view()
    }

    #[inline]
    fn is_here(&self) -> bool {
        self.0.process.is_this()
    }
}

/// The regions of a ring in this process, unmapped when dropped. In a child
/// after fork there is nothing, or what the child has mapped there itself.
struct Mapping {
    /// A page.
    consumer: ManuallyDrop<MmapRaw>,
    /// The producer page, the data, and the data again.
    producer: ManuallyDrop<MmapRaw>,
    page_bytes: usize,
    geometry: Geometry,
    process: Process,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.process.is_this() {
            // SAFETY: it is not used again.
            unsafe { ManuallyDrop::drop(&mut self.consumer) };
            // SAFETY: as above.
            unsafe { ManuallyDrop::drop(&mut self.producer) };
        }
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.geometry.fmt(f)
    }
}

impl Mapping {
    /// Regions that were mapped.
    ///
    /// # Errors
    /// ENOMEM.
    fn of(
        consumer: MmapRaw,
        producer: MmapRaw,
        page_bytes: usize,
        geometry: Geometry,
    ) -> io::Result<Self> {
        let process = Process::this()?;
        let (consumer, producer) = (ManuallyDrop::new(consumer), ManuallyDrop::new(producer));
        Ok(Self { consumer, producer, page_bytes, geometry, process })
    }

    /// Maps `file`, of producer page and data, beside the mapped consumer page.
    fn new(
        consumer: MmapRaw,
        file: &impl AsFd,
        protection: ProtFlags,
        geometry: Geometry,
    ) -> io::Result<Self> {
        let page_bytes = page_bytes();
        let data = geometry.ring_bytes() as usize;
        // Reserves the addresses; the files go over it.
        let producer =
            MmapOptions::new().len(page_bytes + 2 * data).no_reserve_swap().map_anon()?;
        let producer = MmapRaw::from(producer);
        map_over(&producer, 0, page_bytes + data, file, 0, protection)?;
        map_over(&producer, page_bytes + data, data, file, page_bytes, protection)?;
        producer.advise(Advice::DontFork)?;
        consumer.advise(Advice::DontFork)?;
        Self::of(consumer, producer, page_bytes, geometry)
    }

    #[inline]
    fn view(&self) -> View<'_, AtomicU64> {
        const { assert!(size_of::<ConsumerPage>() <= RING_BYTES_MIN as usize) };
        const { assert!(size_of::<ProducerPage>() <= RING_BYTES_MIN as usize) };
        let consumer = self.consumer.as_mut_ptr();
        let producer = self.producer.as_mut_ptr();
        let data = producer.wrapping_add(self.page_bytes).cast::<AtomicU64>();
        let words = 2 * self.geometry.ring_bytes() as usize / 8;
        View {
            // SAFETY: the page is mapped as long as `self` is, and the offset
            // lies in it, aligned.
            head: unsafe { word64(consumer, offset_of!(ConsumerPage, head)) },
            // SAFETY: as above.
            notify: unsafe { word32(consumer, offset_of!(ConsumerPage, notify)) },
            // SAFETY: as above, for the producer page.
            tail: unsafe { word32(producer, offset_of!(ProducerPage, tail)) },
            // SAFETY: as above.
            flags: unsafe { word32(producer, offset_of!(ProducerPage, flags)) },
            // SAFETY: as above.
            overflowed: unsafe { word64(producer, offset_of!(ProducerPage, overflowed)) },
            // SAFETY: as above.
            bad_heads: unsafe { word64(producer, offset_of!(ProducerPage, bad_heads)) },
            // SAFETY: `new` mapped the data twice behind the page, which is as
            // many words, page-aligned, for as long as `self` lives. They are
            // accessed atomically only, here and, by the protocol, by peers.
            words: unsafe { core::slice::from_raw_parts(data, words) },
            ring_bytes: self.geometry.ring_bytes(),
            event_max: self.geometry.event_max(),
        }
    }
}

/// The 32-bit word at `offset` bytes of a page.
///
/// # Safety
///
/// `page` must be the start of a page that stays mapped for `'a` and is
/// accessed only atomically; `offset` must lie in it, a multiple of 4. If it is
/// mapped read-only, the word must only be loaded, relaxed.
#[inline]
unsafe fn word32<'a>(page: *mut u8, offset: usize) -> &'a AtomicU32 {
    // SAFETY: aligned and in the page, by the contract; loads of this size on
    // read-only memory are allowed by core::sync::atomic.
    unsafe { AtomicU32::from_ptr(page.wrapping_add(offset).cast()) }
}

/// The 64-bit word at `offset` bytes of a page.
///
/// # Safety
///
/// As [`word32`], `offset` being a multiple of 8.
#[inline]
unsafe fn word64<'a>(page: *mut u8, offset: usize) -> &'a AtomicU64 {
    // SAFETY: as in `word32`; on 64-bit targets this size is allowed too.
    unsafe { AtomicU64::from_ptr(page.wrapping_add(offset).cast()) }
}

/// Maps `len` bytes of `file` from `file_offset` on over a part of `reserved`.
fn map_over(
    reserved: &MmapRaw,
    offset: usize,
    len: usize,
    file: &impl AsFd,
    file_offset: usize,
    protection: ProtFlags,
) -> io::Result<()> {
    assert!(offset + len <= reserved.len(), "mapping beyond the reserved addresses");
    let address = reserved.as_mut_ptr().wrapping_add(offset);
    // SAFETY: the addresses belong to `reserved` and nothing refers to them
    // yet, so that replacing what is mapped there takes nothing from anyone.
    unsafe {
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        mmap(address.cast(), len, protection, flags, file, file_offset as u64)?;
    }
    Ok(())
}

/// A new, empty file in memory that can be sealed.
fn memory_file(name: &str) -> io::Result<File> {
    Ok(memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?.into())
}

/// Gives a file its size, unless that brought SIGXFSZ.
fn set_len(file: &File, len: u64) -> io::Result<()> {
    if len as libc::rlim_t > longest_file() {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    file.set_len(len)
}

/// The limit of a file's size; none is known where a sandbox forbids to ask, which
/// `rustix` takes for impossible.
fn longest_file() -> libc::rlim_t {
    let none = libc::RLIM_INFINITY;
    let mut limit = libc::rlimit { rlim_cur: none, rlim_max: none };
    // SAFETY: `limit` can be written.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) };
    if result == 0 { limit.rlim_cur } else { none }
}

fn has_seals(file: &File, expected: SealFlags) -> Result<(), FileError> {
    let found = fcntl_get_seals(file).map_err(io::Error::from)?;
    if found.contains(expected) {
        return Ok(());
    }
    let [expected, found] = [expected, found].map(|seals| seals.bits() as i32);
    Err(FileError::Seals { expected, found })
}

fn has_size(file: &File, expected: u64) -> Result<(), FileError> {
    let found = file.metadata()?.len();
    if found == expected { Ok(()) } else { Err(FileError::Size { expected, found }) }
}

/// Whether the data can be mapped and is of a size that the ABI allows.
fn mappable(geometry: &Geometry) -> bool {
    (RING_BYTES_MIN..=RING_BYTES_MAX).contains(&geometry.ring_bytes())
        && (geometry.ring_bytes() as usize).is_multiple_of(page_bytes())
}

/// Size of the file of producer page and data.
fn data_file_bytes(geometry: &Geometry) -> u64 {
    page_bytes() as u64 + u64::from(geometry.ring_bytes())
}

/// Size of a page, in bytes.
pub(crate) fn page_bytes() -> usize {
    rustix::param::page_size()
}
