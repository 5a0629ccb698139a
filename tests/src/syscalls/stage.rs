//! Where a row of the table plays: files and descriptors of its own, and its
//! syscall, called in one of four ways. What was seen is kept, to be compared
//! with what the other ways show.

use crate::context::{Context, Event};
use crate::file::{Pipe, socket_pair};
use crate::request::{Batch, Request};
use aio2::syscall::Syscall;
use std::ffi::{CStr, CString};
use std::fmt::Debug;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How a syscall is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By the caller, without AIO2.
    Plain,
    /// As a request that may be run inline.
    Request,
    /// As a request that a worker runs.
    Worker,
    /// By `io_exec2`.
    Exec,
}

/// The machine has not got what the row is about; why that is known.
#[derive(Debug)]
pub(super) struct Lacking(pub(super) String);

/// How a row ends, if nothing is wrong.
pub(super) type Played = Result<(), Lacking>;

/// Bytes of the file `f`.
pub(super) const FILE_BYTES: usize = 5000;
/// A descriptor that is none.
pub(super) const NO_FD: u64 = u64::MAX;
/// Paths are from the working directory, if they are not from the root.
pub(super) const CWD: u64 = libc::AT_FDCWD as u64;
/// A time before this was set by a test.
const LONG_AGO_SECONDS: i64 = 1_000_000_000;

/// The stage of one row, called in one way.
pub(super) struct Stage<'a> {
    context: &'a Context,
    row: &'static Syscall,
    way: Way,
    dir: PathBuf,
    /// `f`, opened for reading and writing, at its start.
    pub(super) file: File,
    /// The directory.
    pub(super) directory: File,
    /// An empty pipe.
    pub(super) pipe: Pipe,
    /// A pair of connected stream sockets.
    pub(super) sockets: (OwnedFd, OwnedFd),
    out: Vec<u8>,
    out_at: u64,
    /// What was seen, in order.
    pub(super) seen: Vec<String>,
    /// Calls that succeeded, and that failed.
    pub(super) calls: (u32, u32),
}

/// The address of memory that a call reads or writes.
pub(super) fn address<T: ?Sized>(value: &T) -> u64 {
    (&raw const *value).cast::<u8>().addr() as u64
}

/// The address of memory that a call writes.
pub(super) fn to<T: ?Sized>(value: &mut T) -> u64 {
    (&raw mut *value).cast::<u8>().addr() as u64
}

/// A number that stands for these bytes.
fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// The descriptor as an argument.
pub(super) fn fd(file: &impl AsRawFd) -> u64 {
    file.as_raw_fd() as u64
}

/// The plain call: its result, or the negated errno.
pub(super) fn plain(nr: libc::c_long, args: &[u64]) -> i64 {
    let mut a = [0; 6];
    a[..args.len()].copy_from_slice(args);
    // SAFETY: the caller's arguments are valid for the call.
    let result = unsafe { libc::syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]) };
    if result == -1 { -i64::from(aio2::error::Errno::last().0) } else { result }
}

/// A plain call that prepares the stage.
///
/// # Errors
/// If it fails, which means that the machine has not got it.
pub(super) fn prepare(what: &str, nr: libc::c_long, args: &[u64]) -> Result<i64, Lacking> {
    match plain(nr, args) {
        errno if errno < 0 => Err(Lacking(format!("{what} gives {errno}"))),
        result => Ok(result),
    }
}

/// A descriptor that a call returned.
///
/// # Panics
/// If it is none.
pub(super) fn owned(fd: i64) -> OwnedFd {
    assert!(fd >= 0, "no descriptor: {fd}");
    // SAFETY: it is new, and no one else's.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

pub(super) fn contents() -> Vec<u8> {
    (0..FILE_BYTES as u32).map(|n| (n / 7) as u8).collect()
}

impl<'a> Stage<'a> {
    /// Sets the stage in a new directory of `dir`.
    pub(super) fn set(context: &'a Context, row: &'static Syscall, way: Way, dir: &Path) -> Self {
        let dir = dir.join(format!("{}-{way:?}", row.name));
        std::fs::create_dir(&dir).expect("a directory");
        std::fs::create_dir(dir.join("d")).expect("a directory");
        std::os::unix::fs::symlink("f", dir.join("l")).expect("a symlink");
        std::fs::write(dir.join("f"), contents()).expect("a file");
        let file = File::options().read(true).write(true).open(dir.join("f")).expect("a file");
        let directory = File::open(&dir).expect("a directory");
        let (pipe, sockets) = (Pipe::new(), socket_pair(libc::SOCK_STREAM));
        let mut out = vec![0xa5; 8192];
        let out_at = to(&mut out[..]);
        let (seen, calls) = (Vec::new(), (0, 0));
        Stage { context, row, way, dir, file, directory, pipe, sockets, out, out_at, seen, calls }
    }

    /// A path on the stage.
    pub(super) fn path(&self, name: &str) -> CString {
        CString::new(self.dir.join(name).as_os_str().as_encoded_bytes()).expect("no zero byte")
    }

    /// Address of memory that calls write to; what they wrote is looked at.
    pub(super) fn out(&self) -> u64 {
        self.out_at
    }

    /// A name that no other program uses, the same in each way.
    pub(super) fn unique(&self) -> String {
        format!("aio2-{}-{}", std::process::id(), self.row.name)
    }

    /// Keeps `what`.
    pub(super) fn note(&mut self, what: impl Debug) {
        self.seen.push(format!("{what:?}"));
    }

    /// A call that succeeds.
    ///
    /// # Errors
    /// If the machine has not got it.
    pub(super) fn good(&mut self, args: &[u64]) -> Result<i64, Lacking> {
        let result = self.succeed(args)?;
        self.note(result);
        Ok(result)
    }

    /// A call that succeeds and returns a descriptor.
    ///
    /// # Errors
    /// If the machine has not got it.
    pub(super) fn opens(&mut self, args: &[u64]) -> Result<OwnedFd, Lacking> {
        let new = owned(self.succeed(args)?);
        self.describe(&new);
        Ok(new)
    }

    /// A call that fails with this errno (positive).
    pub(super) fn fails(&mut self, errno: i32, args: &[u64]) {
        let result = self.call(args);
        let name = self.row.name;
        // Where the syscall is not there, it fails as well, and must do so in
        // each way.
        let expected = [errno, libc::ENOSYS, libc::EOPNOTSUPP].map(|e| -i64::from(e));
        assert!(expected.contains(&result), "{name}{args:x?}, {:?}: {result}", self.way);
        self.note(result);
    }

    /// A call that changes nothing: made plainly first, so that all that it
    /// writes to [`Self::out`] can be compared.
    ///
    /// # Errors
    /// If the machine has not got it.
    pub(super) fn same(&mut self, args: &[u64]) -> Played {
        self.out.fill(0xa5);
        let expected = plain(self.row.nr.into(), args);
        let written = self.out.clone();
        let seen = self.seen.len();
        let result = self.succeed(args)?;
        // What it wrote is not what it writes on another stage.
        self.seen.truncate(seen);
        assert_eq!(result, expected, "{}{args:x?}, {:?}", self.row.name, self.way);
        assert!(self.out == written, "{}, {:?}: what it wrote", self.row.name, self.way);
        Ok(())
    }

    /// Keeps what `fd` is.
    pub(super) fn describe(&mut self, fd: &impl AsRawFd) {
        let number = fd.as_raw_fd();
        let link = std::fs::read_link(format!("/proc/self/fd/{number}")).expect("it is open");
        let link = link.strip_prefix(&self.dir).unwrap_or(&link).to_string_lossy().into_owned();
        let kind = link.trim_end_matches(|c: char| c.is_ascii_digit() || "[]".contains(c));
        // SAFETY: takes numbers.
        let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
        // SAFETY: takes numbers.
        let status = unsafe { libc::fcntl(number, libc::F_GETFL) };
        self.note((kind, flags, status));
    }

    /// Keeps what the directory and the descriptors show.
    pub(super) fn look(&mut self) {
        let dir = self.dir.clone();
        self.look_at(&dir);
        let position = plain(libc::SYS_lseek, &[fd(&self.file), 0, libc::SEEK_CUR as u64]);
        self.note(("position", position, self.pipe.readable_bytes()));
    }

    fn look_at(&mut self, dir: &Path) {
        let entries = std::fs::read_dir(dir).expect("a directory");
        let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
        paths.sort();
        for path in paths {
            let meta = std::fs::symlink_metadata(&path).expect("it is there");
            let name = path.strip_prefix(&self.dir).expect("it is below").to_path_buf();
            self.note((&name, meta.mode(), meta.nlink(), meta.uid(), meta.gid()));
            for time in [meta.atime(), meta.mtime()] {
                if time < LONG_AGO_SECONDS {
                    self.note((&name, time));
                }
            }
            if meta.is_file() {
                let bytes = std::fs::read(&path).expect("it can be read");
                self.note((bytes.len(), digest(&bytes), attributes(&path)));
            } else if meta.is_symlink() {
                self.note(std::fs::read_link(&path).expect("a symlink"));
            } else if meta.is_dir() {
                self.look_at(&path);
            }
        }
    }

    fn succeed(&mut self, args: &[u64]) -> Result<i64, Lacking> {
        let result = self.call(args);
        if [libc::ENOSYS, libc::EOPNOTSUPP].contains(&-(result as i32)) {
            self.note(result);
            return Err(Lacking(format!("it gives {result}")));
        }
        assert!(result >= 0, "{}{args:x?}, {:?}: {result}", self.row.name, self.way);
        Ok(result)
    }

    fn call(&mut self, args: &[u64]) -> i64 {
        let (row, nr) = (self.row, self.row.nr.into());
        assert_eq!(args.len(), usize::from(row.nr_args), "arguments of {}", row.name);
        self.out.fill(0xa5);
        let result = match self.way {
            Way::Plain => plain(nr, args),
            Way::Request => self.context.run(Request::call(nr, args)).res,
            Way::Worker => self.context.run(Request::call(nr, args).on_worker()).res,
            Way::Exec => self.exec(Request::call(nr, args)),
        };
        let count = if result < 0 { &mut self.calls.1 } else { &mut self.calls.0 };
        *count += 1;
        let written = digest(&self.out);
        self.note(("wrote", written));
        result
    }

    fn exec(&self, request: Request) -> i64 {
        let mut event = [0; 64];
        // SAFETY: rows keep what the arguments name as long as the call runs.
        let bytes =
            unsafe { self.context.backend().exec(Batch::of([request]).bytes(), &mut event) };
        Event::parse_all(&event[..bytes.expect("it is run")])[0].res
    }
}

/// Names and values of the extended attributes of users, of a file.
fn attributes(path: &Path) -> Vec<(String, Vec<u8>)> {
    let path = CString::new(path.as_os_str().as_encoded_bytes()).expect("no zero byte");
    let get = |nr, name: Option<&CStr>| {
        let mut value = vec![0; 4096];
        let mut args = vec![address(&*path)];
        args.extend(name.map(address));
        args.extend([to(&mut value[..]), 4096]);
        value.truncate(plain(nr, &args).max(0) as usize);
        value
    };
    let names = get(libc::SYS_llistxattr, None);
    let names = names.split_inclusive(|b| *b == 0).filter(|name| name.starts_with(b"user."));
    names
        .map(|name| {
            let name = CStr::from_bytes_with_nul(name).expect("they are strings");
            (name.to_string_lossy().into_owned(), get(libc::SYS_lgetxattr, Some(name)))
        })
        .collect()
}

/// Writes plainly.
pub(super) fn fill(mut file: impl Write, bytes: &[u8]) {
    file.write_all(bytes).expect("there is room");
}
