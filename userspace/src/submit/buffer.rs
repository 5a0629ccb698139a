//! Buffers that a request can own while the kernel reads or writes them.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::sync::Arc;

/// Memory that an operation moves bytes from or to.
///
/// | kind | a write takes | a read fills |
/// |---|---|---|
/// | `Vec<u8>`, `Box<[u8]>`, `[u8; N]`, [`DirectBuf`] | all of it | all of it; its length stays |
/// | [`ReadBuf`], `BytesMut` (feature `bytes`) | what is in it | its spare capacity, which need not be initialised; its length grows by what was read |
/// | `&'static [u8]`, `Arc<[u8]>`, `Bytes` (feature `bytes`) | all of it | nothing: others see it, so that an operation that would fill it ends with EFAULT before it begins |
/// | [`AnyBuf`] | as what it is | as what it is |
/// | `()` | nothing | nothing |
///
/// A queue has one type of buffers; where it needs several there is [`AnyBuf`]. Several
/// buffers of one operation are moved by [`crate::Op::readv`] and its relatives.
///
/// It is not sealed: memory that is mapped, locked or shared belongs to crates that
/// this one does not know, and the promise below is all that is needed of it.
///
/// # Safety
/// What `content` and `room` return must stay valid, and at its address, until the
/// value is moved, dropped, or mutably borrowed again. Until then nobody else may use
/// the bytes of `room`, which can be written, and nobody may write those of `content`.
pub unsafe trait Buffer: 'static {
    /// The bytes that a write takes.
    fn content(&self) -> &[u8];

    /// Where a read may put bytes, which need not be initialised; none if nobody may
    /// write there.
    fn room(&mut self) -> Option<NonNull<[u8]>>;

    /// Takes note that an operation has filled so many bytes of the room, from its
    /// beginning on.
    ///
    /// # Safety
    /// It has.
    unsafe fn filled(&mut self, bytes: usize) {
        let _ = bytes;
    }

    /// Where in `content` the bytes lie that the last operation has read, as many as
    /// `bytes`, and from the byte `begin` of its room on.
    fn read_at(&self, begin: usize, bytes: usize) -> Range<usize> {
        begin..begin.saturating_add(bytes).min(self.content().len())
    }
}

/// All of these bytes as room.
#[inline]
fn as_room(bytes: &mut [u8]) -> Option<NonNull<[u8]>> {
    Some(NonNull::from(bytes))
}

/// Bytes that need not be initialised as room.
fn spare(room: &mut [MaybeUninit<u8>]) -> Option<NonNull<[u8]>> {
    let len = room.len();
    Some(NonNull::slice_from_raw_parts(NonNull::from(room).cast(), len))
}

/// Where the last `bytes` lie, which were appended.
fn appended(content: &[u8], bytes: usize) -> Range<usize> {
    content.len().saturating_sub(bytes)..content.len()
}

// SAFETY: a vector's elements stay where they are as long as it is not mutated.
unsafe impl Buffer for Vec<u8> {
    #[inline]
    fn content(&self) -> &[u8] {
        self
    }

    #[inline]
    fn room(&mut self) -> Option<NonNull<[u8]>> {
        as_room(self)
    }
}

// SAFETY: a box's contents stay where they are as long as it lives.
unsafe impl Buffer for Box<[u8]> {
    fn content(&self) -> &[u8] {
        self
    }

    fn room(&mut self) -> Option<NonNull<[u8]>> {
        as_room(self)
    }
}

// SAFETY: its elements stay where they are until it is moved.
unsafe impl<const N: usize> Buffer for [u8; N] {
    fn content(&self) -> &[u8] {
        self
    }

    fn room(&mut self) -> Option<NonNull<[u8]>> {
        as_room(self)
    }
}

// SAFETY: nobody ever writes them.
unsafe impl Buffer for &'static [u8] {
    fn content(&self) -> &[u8] {
        self
    }

    fn room(&mut self) -> Option<NonNull<[u8]>> {
        None
    }
}

// SAFETY: they stay as long as one owner does, and whoever could write them
// (`Arc::get_mut`) needs the only one.
unsafe impl Buffer for Arc<[u8]> {
    fn content(&self) -> &[u8] {
        self
    }

    fn room(&mut self) -> Option<NonNull<[u8]>> {
        None
    }
}

// SAFETY: as for `Arc<[u8]>`.
#[cfg(feature = "bytes")]
unsafe impl Buffer for bytes::Bytes {
    fn content(&self) -> &[u8] {
        self
    }

    fn room(&mut self) -> Option<NonNull<[u8]>> {
        None
    }
}

// SAFETY: its bytes, and its spare capacity, stay where they are as long as it is not
// mutated, and it alone may write either.
#[cfg(feature = "bytes")]
unsafe impl Buffer for bytes::BytesMut {
    fn content(&self) -> &[u8] {
        self
    }

    fn room(&mut self) -> Option<NonNull<[u8]>> {
        spare(self.spare_capacity_mut())
    }

    unsafe fn filled(&mut self, bytes: usize) {
        let len = self.len() + bytes;
        // SAFETY: the caller vouches for the bytes behind those that were there.
        unsafe { self.set_len(len) };
    }

    fn read_at(&self, _begin: usize, bytes: usize) -> Range<usize> {
        appended(self, bytes)
    }
}

// SAFETY: there are no bytes.
unsafe impl Buffer for () {
    /// None: for queues whose operations move no bytes.
    fn content(&self) -> &[u8] {
        &[]
    }

    fn room(&mut self) -> Option<NonNull<[u8]>> {
        as_room(&mut [])
    }
}

/// A vector that reads append to: they fill its spare capacity, which need not be
/// initialised, and its length follows the result. A write takes what is in it.
///
/// A read with [`crate::Op::full`] that falls short fails, and appends nothing; so does
/// one of a part ([`crate::Op::range`]) that does not begin at the beginning of the
/// room, and a receive with MSG_TRUNC, whose result is no number of bytes.
///
/// ```
/// use aio2::{Context, Op, Queue, ReadBuf, Timeout};
/// use std::fs::File;
///
/// let mut queue = Queue::new(Context::new()?);
/// queue.push(Op::read_at(File::open("/etc/hostname")?, ReadBuf::with_capacity(4096), 0), ());
/// for done in queue.wait(1, Timeout::Forever)? {
///     let bytes = done.result?;
///     let buffer = done.into_buffer().unwrap_or_default();
///     assert_eq!(buffer.len() as u64, bytes);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadBuf(Vec<u8>);

impl ReadBuf {
    /// An empty one, with room for at least so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        ReadBuf(Vec::with_capacity(bytes))
    }
}

impl Deref for ReadBuf {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for ReadBuf {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl From<Vec<u8>> for ReadBuf {
    fn from(bytes: Vec<u8>) -> Self {
        ReadBuf(bytes)
    }
}

impl From<ReadBuf> for Vec<u8> {
    fn from(buffer: ReadBuf) -> Self {
        buffer.0
    }
}

// SAFETY: a vector's elements, and its spare capacity, stay where they are as long as
// it is not mutated.
unsafe impl Buffer for ReadBuf {
    fn content(&self) -> &[u8] {
        &self.0
    }

    fn room(&mut self) -> Option<NonNull<[u8]>> {
        spare(self.0.spare_capacity_mut())
    }

    unsafe fn filled(&mut self, bytes: usize) {
        let len = self.0.len() + bytes;
        // SAFETY: the caller vouches for the bytes behind those that were there.
        unsafe { self.0.set_len(len) };
    }

    fn read_at(&self, _begin: usize, bytes: usize) -> Range<usize> {
        appended(self, bytes)
    }
}

/// One of several kinds of buffers, for a queue or a driver that has use for more than
/// one: it reads into what is its own, and writes what is shared.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AnyBuf {
    /// All of it is filled, or written.
    Vec(Vec<u8>),
    /// It is appended to, or what is in it is written.
    Read(ReadBuf),
    /// It is written only.
    Shared(Arc<[u8]>),
    /// It is written only.
    Static(&'static [u8]),
}

macro_rules! any {
    ($($from:ty => $kind:ident),*) => {$(
        impl From<$from> for AnyBuf {
            fn from(buffer: $from) -> Self {
                AnyBuf::$kind(buffer)
            }
        }
    )*};
}

any!(Vec<u8> => Vec, ReadBuf => Read, Arc<[u8]> => Shared, &'static [u8] => Static);

impl AsRef<[u8]> for AnyBuf {
    fn as_ref(&self) -> &[u8] {
        self.content()
    }
}

// SAFETY: each kind is a buffer.
unsafe impl Buffer for AnyBuf {
    fn content(&self) -> &[u8] {
        match self {
            AnyBuf::Vec(bytes) => bytes,
            AnyBuf::Read(bytes) => bytes,
            AnyBuf::Shared(bytes) => bytes,
            AnyBuf::Static(bytes) => bytes,
        }
    }

    fn room(&mut self) -> Option<NonNull<[u8]>> {
        match self {
            AnyBuf::Vec(bytes) => bytes.room(),
            AnyBuf::Read(bytes) => bytes.room(),
            AnyBuf::Shared(_) | AnyBuf::Static(_) => None,
        }
    }

    unsafe fn filled(&mut self, bytes: usize) {
        if let AnyBuf::Read(buffer) = self {
            // SAFETY: the caller's promise.
            unsafe { buffer.filled(bytes) };
        }
    }

    fn read_at(&self, begin: usize, bytes: usize) -> Range<usize> {
        match self {
            AnyBuf::Read(buffer) => buffer.read_at(begin, bytes),
            _ => begin..begin.saturating_add(bytes).min(self.content().len()),
        }
    }
}

/// A buffer at an aligned address, as direct I/O (O_DIRECT) wants it.
pub struct DirectBuf {
    memory: NonNull<u8>,
    layout: Layout,
}

impl DirectBuf {
    /// `len` zeroed bytes at a multiple of `align`.
    ///
    /// # Panics
    /// If `len` is 0, or `align` is not a power of two, or the two together
    /// are beyond what an allocation can be.
    #[must_use]
    pub fn new(len: usize, align: usize) -> Self {
        assert!(len > 0, "a direct buffer without bytes");
        let layout = Layout::from_size_align(len, align).expect("alignment is a power of two");
        // SAFETY: the layout has at least one byte.
        let memory = unsafe { alloc_zeroed(layout) };
        match NonNull::new(memory) {
            Some(memory) => DirectBuf { memory, layout },
            None => handle_alloc_error(layout),
        }
    }
}

impl Drop for DirectBuf {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and freed only here.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) }
    }
}

impl Deref for DirectBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: so many bytes were allocated, zeroed, and `self` owns them.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.layout.size()) }
    }
}

impl DerefMut for DirectBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: so many bytes were allocated, zeroed, and `self` owns them alone.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.layout.size()) }
    }
}

impl fmt::Debug for DirectBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DirectBuf({} bytes at {:?})", self.layout.size(), self.memory)
    }
}

// SAFETY: it owns its memory, as a box does, and has no interior mutability.
unsafe impl Send for DirectBuf {}
// SAFETY: as above: through a shared reference it can only be read.
unsafe impl Sync for DirectBuf {}

// SAFETY: the memory stays where it is until the value is dropped.
unsafe impl Buffer for DirectBuf {
    fn content(&self) -> &[u8] {
        self
    }

    fn room(&mut self) -> Option<NonNull<[u8]>> {
        as_room(self)
    }
}
