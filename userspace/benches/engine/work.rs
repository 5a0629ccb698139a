//! What is done: operations of one kind, as steps of which each is a request.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;

/// Longest transfer, and what a slot has of the memory.
pub const SLOT_BYTES: usize = 64 << 10;
/// More than caches of a processor's own.
const FILE_BYTES: usize = 32 << 20;
const PAGE: usize = 4096;
/// Small files of the tree, and their size.
const FILES: usize = 512;
const FILE_LEN: usize = 1024;
/// Messages that a pair of sockets sends in one go, and their size.
const ECHOES: usize = 64;
const MESSAGE: usize = 64;

/// Kinds of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nop,
    /// Reads of so many bytes from the page cache.
    Cached(usize),
    /// Reads of 4 KiB that the page cache has not.
    Cold,
    DirectRead,
    DirectWrite,
    /// A write and, after it, an fdatasync.
    Append,
    /// A file: opened, statx, read, closed.
    Tree,
    /// A message to a peer and back, each side by requests of its own.
    Echo,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Nop => "NOP",
            Kind::Cached(PAGE) => "cached read, 4 KiB",
            Kind::Cached(_) => "cached read, 64 KiB",
            Kind::Cold => "cold read, 4 KiB",
            Kind::DirectRead => "O_DIRECT read, 4 KiB",
            Kind::DirectWrite => "O_DIRECT write, 4 KiB",
            Kind::Append => "append of 4 KiB, then fdatasync",
            Kind::Tree => "small file: open, statx, read, close",
            Kind::Echo => "message over a socket and back, 64 bytes",
        }
    }
}

/// A request, as each interface has it. Addresses stay as long as the work.
#[derive(Clone, Copy, Debug)]
pub enum Request {
    Nop,
    Read { fd: RawFd, at: *mut u8, len: usize, offset: u64 },
    Write { fd: RawFd, at: *mut u8, len: usize, offset: u64 },
    Sync { fd: RawFd },
    Open { path: *const libc::c_char },
    Statx { fd: RawFd, to: *mut libc::statx },
    Close { fd: RawFd },
    Receive { fd: RawFd, at: *mut u8, len: usize },
    Send { fd: RawFd, at: *mut u8, len: usize },
}

// SAFETY: what it names belongs to the work, and each slot has memory of its own.
unsafe impl Send for Request {}

/// What `statx` is asked with here: the file itself, as `fstat` is.
pub const EMPTY_PATH: *const libc::c_char = c"".as_ptr();
pub const STATX_FLAGS: i32 = libc::AT_EMPTY_PATH;
pub const STATX_MASK: u32 = libc::STATX_BASIC_STATS;

/// Memory that is aligned to pages.
struct Memory(Vec<Page>);

#[derive(Clone)]
#[repr(align(4096))]
struct Page(#[allow(dead_code, reason = "by address")] [u8; PAGE]);

impl Memory {
    fn at(&mut self, slot: usize) -> *mut u8 {
        let first = slot * SLOT_BYTES / PAGE;
        self.0[first..first + SLOT_BYTES / PAGE].as_mut_ptr().cast()
    }
}

pub struct Work {
    pub kind: Kind,
    pub depth: usize,
    file: File,
    memory: Memory,
    attributes: Vec<libc::statx>,
    paths: Vec<CString>,
    _tree: tempfile::TempDir,
    sockets: Vec<[OwnedFd; 2]>,
    /// Of each slot: the step it is at, and the file it has open.
    steps: Vec<(usize, RawFd)>,
}

impl Work {
    /// # Errors
    /// What cannot be had here, such as O_DIRECT.
    pub fn new(kind: Kind, depth: usize) -> io::Result<Self> {
        let scratch = env!("CARGO_TARGET_TMPDIR");
        let tree = tempfile::tempdir_in(scratch)?;
        let path = tree.path().join("file");
        let mut file = File::create_new(&path)?;
        let bytes = match kind {
            Kind::Nop | Kind::Tree | Kind::Echo => 0,
            _ => FILE_BYTES,
        };
        file.write_all(&vec![0x5a; bytes])?;
        file.sync_all()?;
        let direct = matches!(kind, Kind::DirectRead | Kind::DirectWrite);
        let flags = if direct { libc::O_DIRECT } else { 0 };
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path)?;
        if kind == Kind::Cold {
            // SAFETY: takes no address.
            unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_RANDOM) };
        }
        let mut paths = Vec::new();
        if kind == Kind::Tree {
            for number in 0..FILES {
                let path = tree.path().join(format!("d{}", number % 16));
                std::fs::create_dir_all(&path)?;
                let path = path.join(format!("small-{number}"));
                std::fs::write(&path, vec![0x5a; FILE_LEN])?;
                paths.push(CString::new(path.into_os_string().into_encoded_bytes())?);
            }
            // A tree that is there: what is still to be written back is another work.
            // SAFETY: takes no address.
            unsafe { libc::syncfs(file.as_raw_fd()) };
        }
        let mut sockets = Vec::new();
        if kind == Kind::Echo {
            for _ in 0..depth {
                let (one, other) = UnixStream::pair()?;
                sockets.push([one.into(), other.into()]);
            }
        }
        let slots = if kind == Kind::Echo { 2 * depth } else { depth };
        // SAFETY: all zeroes is one.
        let attributes = vec![unsafe { std::mem::zeroed() }; slots];
        let pages = slots * SLOT_BYTES / PAGE;
        Ok(Work {
            kind,
            depth,
            file,
            memory: Memory(vec![Page([0x5a; PAGE]); pages]),
            attributes,
            paths,
            _tree: tree,
            sockets,
            steps: vec![(0, -1); slots],
        })
    }

    /// The file of all transfers, if there is one.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// All memory of the slots.
    pub fn memory(&mut self) -> libc::iovec {
        let len = self.memory.0.len() * PAGE;
        libc::iovec { iov_base: self.memory.0.as_mut_ptr().cast(), iov_len: len }
    }

    /// How many requests are in flight at most.
    pub fn slots(&self) -> usize {
        self.steps.len()
    }

    /// How often slots are to begin something for about `operations` of them, and how
    /// many these are then.
    pub fn starts(&self, operations: usize) -> (usize, usize) {
        match self.kind {
            Kind::Echo => (self.slots(), self.depth * ECHOES),
            _ => (operations, operations),
        }
    }

    /// To be called before each pass.
    pub fn prepare(&mut self) {
        if self.kind == Kind::Cold {
            // SAFETY: takes no address.
            unsafe { libc::posix_fadvise(self.file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        }
    }

    /// Offset of operation `number`, in an order that no read-ahead or prefetcher
    /// guesses.
    fn offset(number: usize, len: usize) -> u64 {
        let blocks = FILE_BYTES / len;
        ((number * 6_007) % blocks * len) as u64
    }

    fn message(&mut self, slot: usize, step: usize) -> Request {
        let [one, other] = &self.sockets[slot / 2];
        let fd = if slot.is_multiple_of(2) { one.as_raw_fd() } else { other.as_raw_fd() };
        let at = self.memory.at(slot);
        // The one answers, the other asks.
        if step % 2 == slot % 2 {
            Request::Receive { fd, at, len: MESSAGE }
        } else {
            Request::Send { fd, at, len: MESSAGE }
        }
    }

    /// The first request of operation `number`, in this slot.
    #[inline(always)]
    pub fn begin(&mut self, slot: usize, number: usize) -> Request {
        let fd = self.file.as_raw_fd();
        let at = self.memory.at(slot);
        match self.kind {
            Kind::Nop => Request::Nop,
            Kind::Cached(len) => Request::Read { fd, at, len, offset: Self::offset(number, len) },
            Kind::Cold | Kind::DirectRead => {
                Request::Read { fd, at, len: PAGE, offset: Self::offset(number, PAGE) }
            }
            Kind::DirectWrite => {
                Request::Write { fd, at, len: PAGE, offset: Self::offset(number, PAGE) }
            }
            Kind::Append => {
                self.steps[slot].0 = 0;
                let offset = (number * PAGE % FILE_BYTES) as u64;
                Request::Write { fd, at, len: PAGE, offset }
            }
            Kind::Tree => {
                self.steps[slot].0 = 0;
                Request::Open { path: self.paths[number % FILES].as_ptr() }
            }
            Kind::Echo => {
                self.steps[slot].0 = 0;
                self.message(slot, 0)
            }
        }
    }

    /// What comes after a request of this slot that had this result; none if the
    /// operation has ended.
    #[inline(always)]
    pub fn then(&mut self, slot: usize, result: i64) -> Option<Request> {
        match self.kind {
            Kind::Nop => {
                expect(result, 0);
                None
            }
            Kind::Cached(len) => {
                expect(result, len);
                None
            }
            Kind::Cold | Kind::DirectRead | Kind::DirectWrite => {
                expect(result, PAGE);
                None
            }
            _ => self.further(slot, result),
        }
    }

    fn further(&mut self, slot: usize, result: i64) -> Option<Request> {
        let step = self.steps[slot].0;
        self.steps[slot].0 += 1;
        let opened = self.steps[slot].1;
        match (self.kind, step) {
            (Kind::Append, 0) => {
                expect(result, PAGE);
                return Some(Request::Sync { fd: self.file.as_raw_fd() });
            }
            (Kind::Tree, 0) => {
                assert!(result >= 0, "opened: {result}");
                self.steps[slot].1 = result as RawFd;
                let to = &raw mut self.attributes[slot];
                return Some(Request::Statx { fd: result as RawFd, to });
            }
            (Kind::Tree, 1) => {
                expect(result, 0);
                let at = self.memory.at(slot);
                return Some(Request::Read { fd: opened, at, len: PAGE, offset: 0 });
            }
            (Kind::Tree, 2) => {
                expect(result, FILE_LEN);
                return Some(Request::Close { fd: opened });
            }
            (Kind::Echo, _) => {
                expect(result, MESSAGE);
                return (step + 1 < 2 * ECHOES).then(|| self.message(slot, step + 1));
            }
            _ => expect(result, 0),
        }
        None
    }
}

#[inline(always)]
fn expect(result: i64, wanted: usize) {
    assert_eq!(result, wanted as i64);
}
