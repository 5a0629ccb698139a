//! Files, pipes and eventfds of tests, closed when dropped.
//!
//! [`Busy`] keeps a worker busy for as long as a test wants, and tells when it
//! does: what "has started" means would be a matter of speed otherwise.

use crate::context::until;
use crate::env::Env;
use crate::request::Request;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

/// Both ends of a pipe.
#[derive(Debug)]
pub struct Pipe {
    /// The end to read from.
    pub reader: File,
    /// The end to write to.
    pub writer: File,
}

impl Pipe {
    /// A pipe with these flags of pipe2(2).
    ///
    /// # Panics
    /// If there can be none.
    #[must_use]
    pub fn with_flags(flags: i32) -> Self {
        let mut fds = [0; 2];
        // SAFETY: `fds` has room for two.
        let result = unsafe { libc::pipe2(fds.as_mut_ptr(), flags | libc::O_CLOEXEC) };
        assert_eq!(result, 0, "pipe2: {}", std::io::Error::last_os_error());
        // SAFETY: the descriptor is new, and no one else's.
        let reader = unsafe { File::from_raw_fd(fds[0]) };
        // SAFETY: as above.
        let writer = unsafe { File::from_raw_fd(fds[1]) };
        Pipe { reader, writer }
    }

    /// A pipe that blocks.
    #[must_use]
    pub fn new() -> Self {
        Pipe::with_flags(0)
    }

    /// Descriptor of the end to read from.
    #[must_use]
    pub fn read_fd(&self) -> RawFd {
        self.reader.as_raw_fd()
    }

    /// Descriptor of the end to write to.
    #[must_use]
    pub fn write_fd(&self) -> RawFd {
        self.writer.as_raw_fd()
    }

    /// Bytes that can be read now.
    #[must_use]
    pub fn readable_bytes(&self) -> usize {
        let mut bytes = 0_i32;
        // SAFETY: FIONREAD writes an int.
        let result = unsafe { libc::ioctl(self.read_fd(), libc::FIONREAD, &raw mut bytes) };
        assert_eq!(result, 0);
        bytes as usize
    }
}

impl Default for Pipe {
    fn default() -> Self {
        Pipe::new()
    }
}

/// A connected pair of Unix sockets of this type.
///
/// # Panics
/// If there can be none.
#[must_use]
pub fn socket_pair(kind: i32) -> (OwnedFd, OwnedFd) {
    let mut fds = [0; 2];
    // SAFETY: `fds` has room for two.
    let result =
        unsafe { libc::socketpair(libc::AF_UNIX, kind | libc::SOCK_CLOEXEC, 0, fds.as_mut_ptr()) };
    assert_eq!(result, 0, "socketpair: {}", std::io::Error::last_os_error());
    // SAFETY: the descriptor is new, and no one else's.
    let first = unsafe { OwnedFd::from_raw_fd(fds[0]) };
    // SAFETY: as above.
    let second = unsafe { OwnedFd::from_raw_fd(fds[1]) };
    (first, second)
}

/// A pipe, and a request that sleeps in a worker until a byte is written to it:
/// a read would wait for the pipe without one.
#[derive(Debug)]
pub struct Slow {
    pipe: Pipe,
    /// Where the byte goes.
    null: File,
}

impl Slow {
    /// An empty pipe.
    ///
    /// # Panics
    /// If there is no /dev/null.
    #[must_use]
    pub fn new() -> Self {
        let null = File::options().write(true).open("/dev/null").expect("there is one");
        Slow { pipe: Pipe::new(), null }
    }

    /// The request to submit.
    #[must_use]
    pub fn read(&self) -> Request {
        let args = [self.fd() as u64, 0, self.null.as_raw_fd() as u64, 0, 1, 0];
        Request::call(libc::SYS_splice, &args)
    }

    /// The descriptor that it reads from.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.pipe.read_fd()
    }

    /// Lets one of them end.
    ///
    /// # Panics
    /// If the pipe cannot be written to.
    pub fn finish(&self) {
        (&self.pipe.writer).write_all(b"x").expect("there is room");
    }

    /// Takes a byte that no request has read.
    ///
    /// # Panics
    /// If there is none.
    pub fn take(&self) {
        (&self.pipe.reader).read_exact(&mut [0]).expect("there is one");
    }
}

impl Default for Slow {
    fn default() -> Self {
        Slow::new()
    }
}

/// A request that keeps its worker busy: it sends more than a socket holds.
#[derive(Debug)]
pub struct Busy {
    /// Two sockets, one for each direction of use.
    pipe: Pipe,
    bytes: File,
    drained: usize,
}

/// Bytes that it sends.
pub const BUSY_BYTES: usize = 1 << 20;

impl Busy {
    /// Nothing is submitted yet.
    ///
    /// # Panics
    /// If there is no memory.
    #[must_use]
    pub fn new() -> Self {
        // SAFETY: a name that ends with a 0.
        let fd = unsafe { libc::memfd_create(c"busy".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(fd >= 0, "memfd_create: {}", std::io::Error::last_os_error());
        // SAFETY: the descriptor is new, and no one else's.
        let mut bytes = unsafe { File::from_raw_fd(fd) };
        bytes.write_all(&vec![0x5a; BUSY_BYTES]).expect("there is memory");
        bytes.rewind().expect("it can seek");
        let (reader, writer) = socket_pair(libc::SOCK_STREAM);
        let pipe = Pipe { reader: reader.into(), writer: writer.into() };
        Busy { pipe, bytes, drained: 0 }
    }

    /// The request to submit.
    #[must_use]
    pub fn request(&self) -> Request {
        let args = [self.fd() as u64, self.bytes.as_raw_fd() as u64, 0, BUSY_BYTES as u64];
        Request::call(libc::SYS_sendfile, &args).on_worker()
    }

    /// The descriptor that it writes to.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.pipe.write_fd()
    }

    /// Waits until a worker runs it.
    pub fn wait_started(&self) {
        until("the request has started", || self.pipe.readable_bytes() > 0);
    }

    /// Lets it end. Returns its result.
    ///
    /// # Panics
    /// If it does not write what it should.
    pub fn release(&mut self) -> i64 {
        let mut buffer = vec![0; BUSY_BYTES - self.drained];
        self.pipe.reader.read_exact(&mut buffer).expect("the worker writes everything");
        self.drained = BUSY_BYTES;
        BUSY_BYTES as i64
    }
}

impl Default for Busy {
    fn default() -> Self {
        Busy::new()
    }
}

/// A new file in the test's directory with these contents.
///
/// # Panics
/// If it cannot be made.
#[must_use]
pub fn file_with(env: &Env<'_>, name: &str, contents: &[u8]) -> (PathBuf, File) {
    let path = env.dir.join(name);
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    file.write_all(contents).expect("the contents are written");
    (path, file)
}

/// An eventfd that does not block, at 0.
///
/// # Panics
/// If there can be none.
#[must_use]
pub fn eventfd() -> File {
    // SAFETY: takes two numbers.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    assert!(fd >= 0, "eventfd: {}", std::io::Error::last_os_error());
    // SAFETY: the descriptor is new, and no one else's.
    unsafe { File::from_raw_fd(fd) }
}

/// What an eventfd has counted since it was last asked.
///
/// # Panics
/// If it cannot be read.
pub fn eventfd_count(mut eventfd: &File) -> u64 {
    let mut count = [0; 8];
    match eventfd.read(&mut count) {
        Ok(8) => u64::from_ne_bytes(count),
        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => 0,
        other => panic!("an eventfd gave {other:?}"),
    }
}

/// Names of the entries of a directory of /proc/self.
///
/// # Panics
/// If it cannot be read.
#[must_use]
pub fn proc_self(name: &str) -> Vec<String> {
    std::fs::read_dir(format!("/proc/self/{name}"))
        .expect("/proc is mounted")
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// State of a thread of this process, as in proc(5): `S` sleeps.
#[must_use]
pub fn thread_state(tid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Id of the calling thread.
#[must_use]
pub fn gettid() -> i32 {
    // SAFETY: asks for a number.
    unsafe { libc::gettid() }
}

/// Memory that is mapped at two addresses: what an application may do to the
/// memory of its stream while it is read.
#[derive(Debug)]
pub struct TwoViews {
    /// Where it is.
    pub addresses: [*mut u8; 2],
}

// SAFETY: plain memory, unmapped when dropped; accesses are the tests' business.
unsafe impl Sync for TwoViews {}

impl TwoViews {
    /// Its size.
    pub const BYTES: usize = 8192;

    /// Maps it.
    ///
    /// # Panics
    /// If it cannot be.
    #[must_use]
    pub fn new() -> Self {
        // SAFETY: the name is a C string.
        let fd = unsafe { libc::memfd_create(c"two-views".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(fd >= 0);
        // SAFETY: takes two numbers.
        let result = unsafe { libc::ftruncate(fd, Self::BYTES as libc::off_t) };
        assert_eq!(result, 0);
        let addresses = [(); 2].map(|()| {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let null = std::ptr::null_mut();
            // SAFETY: a new mapping, at an address of the kernel's choice.
            let address =
                unsafe { libc::mmap(null, Self::BYTES, protection, libc::MAP_SHARED, fd, 0) };
            assert_ne!(address, libc::MAP_FAILED);
            address.cast()
        });
        // SAFETY: the descriptor was opened above and is not used any more.
        unsafe { libc::close(fd) };
        TwoViews { addresses }
    }
}

impl Drop for TwoViews {
    fn drop(&mut self) {
        for address in self.addresses {
            // SAFETY: mapped by `new`, and nothing refers to it any more.
            unsafe { libc::munmap(address.cast(), Self::BYTES) };
        }
    }
}

impl Default for TwoViews {
    fn default() -> Self {
        TwoViews::new()
    }
}
