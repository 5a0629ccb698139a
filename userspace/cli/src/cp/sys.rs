//! The plain calls that copying uses, with the call's name in the error.
//!
//! Duty: faults, and places that a name is looked up from. Names and metadata
//! are cheap and in order: a thread that would only wait for each of them is
//! faster alone. Not here: the bytes of large files (`flow`).

use super::failure::{Failure, Reason, Side};
use super::stat::Stat;
use aio2::Errno;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// An operation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The syscall's name.
    pub operation: &'static str,
    /// The error it ended with.
    pub errno: Errno,
}

impl Fault {
    /// A fault with this error number.
    pub fn new(operation: &'static str, errno: i32) -> Self {
        Fault { operation, errno: Errno(errno) }
    }

    /// The failure that it is for `path`.
    pub fn at(self, side: Side, path: Vec<u8>) -> Failure {
        let Fault { operation, errno } = self;
        Failure { operation, path, side, reason: Reason::Errno(errno), help: None }
    }

    /// Whether the error number is one of these.
    pub fn is_any(self, errnos: &[i32]) -> bool {
        errnos.contains(&self.errno.0)
    }
}

/// Names the call that an error is of.
pub trait Named<T> {
    /// The same result, its error with the call's name.
    fn named(self, operation: &'static str) -> Result<T, Fault>;
}

impl<T> Named<T> for rustix::io::Result<T> {
    fn named(self, operation: &'static str) -> Result<T, Fault> {
        self.map_err(|errno| Fault::new(operation, errno.raw_os_error()))
    }
}

/// Where names are looked up.
#[derive(Debug)]
pub enum Base {
    /// The working directory.
    Cwd,
    /// An open directory.
    Fd(OwnedFd),
    /// A directory by its path, where descriptors are few.
    Path(Vec<u8>),
}

/// A name and the directory that it is looked up in.
#[derive(Clone, Debug)]
pub struct At<'a> {
    pub dir: BorrowedFd<'a>,
    pub name: Cow<'a, CStr>,
}

impl Base {
    /// `name` in this directory.
    pub fn at<'a>(&'a self, name: &'a CStr) -> At<'a> {
        match self {
            Base::Cwd => At { dir: CWD, name: Cow::Borrowed(name) },
            Base::Fd(fd) => At { dir: fd.as_fd(), name: Cow::Borrowed(name) },
            Base::Path(path) => At { dir: CWD, name: Cow::Owned(join(path, name)) },
        }
    }

    /// Does something with the open directory, which is opened if it is not.
    pub fn with<T>(
        &self,
        run: impl FnOnce(BorrowedFd<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        match self {
            Base::Fd(fd) => run(fd.as_fd()),
            Base::Cwd => run(open_dir(&self.at(c"."), true)?.as_fd()),
            Base::Path(_) => run(open_dir(&self.at(c"."), true)?.as_fd()),
        }
    }
}

fn join(path: &[u8], name: &CStr) -> CString {
    let slash: &[u8] = if path.ends_with(b"/") || path.is_empty() { b"" } else { b"/" };
    c_string(&[path, slash, name.to_bytes()].concat())
}

/// A path for the kernel. Neither arguments nor names can contain a zero byte.
pub fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).unwrap_or_default()
}

/// Opens, close-on-exec.
pub fn open(at: &At<'_>, flags: OFlags, mode: u32) -> Result<OwnedFd, Fault> {
    let mode = Mode::from_raw_mode(mode);
    loop {
        match rustix::fs::openat(at.dir, &*at.name, flags | OFlags::CLOEXEC, mode) {
            Err(rustix::io::Errno::INTR) => {}
            result => return result.named("openat"),
        }
    }
}

/// Opens a directory.
pub fn open_dir(at: &At<'_>, follow: bool) -> Result<OwnedFd, Fault> {
    let nofollow = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
    open(at, OFlags::RDONLY | OFlags::DIRECTORY | nofollow, 0)
}

/// What is known of a name.
pub fn stat(at: &At<'_>, follow: bool) -> Result<Stat, Fault> {
    let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
    let found = rustix::fs::statx(at.dir, &*at.name, flags, StatxFlags::BASIC_STATS);
    found.named("statx").map(|found| Stat::from(&found))
}

/// What is known of an open file.
pub fn fstat(fd: impl AsFd) -> Result<Stat, Fault> {
    let found = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS);
    found.named("statx").map(|found| Stat::from(&found))
}

/// Removes a name.
pub fn unlink(at: &At<'_>) -> Result<(), Fault> {
    rustix::fs::unlinkat(at.dir, &*at.name, AtFlags::empty()).named("unlinkat")
}

/// Gives what `from` names another name.
pub fn link(from: &At<'_>, to: &At<'_>) -> Result<(), Fault> {
    rustix::fs::linkat(from.dir, &*from.name, to.dir, &*to.name, AtFlags::empty()).named("linkat")
}

/// Gives an open file without a name this one.
pub fn link_fd(fd: BorrowedFd<'_>, to: &At<'_>) -> Result<(), Fault> {
    let linked = rustix::fs::linkat(fd, c"", to.dir, &*to.name, AtFlags::EMPTY_PATH);
    match linked {
        // Older kernels want a capability for that.
        Err(rustix::io::Errno::NOENT) => {
            let path = fd_path(fd);
            rustix::fs::linkat(CWD, &*path, to.dir, &*to.name, AtFlags::SYMLINK_FOLLOW)
                .named("linkat")
        }
        result => result.named("linkat"),
    }
}

/// The path that leads to an open file.
pub fn fd_path(fd: BorrowedFd<'_>) -> CString {
    use std::os::fd::AsRawFd;
    c_string(format!("/proc/self/fd/{}", fd.as_raw_fd()).as_bytes())
}

/// Renames; without `replace` it fails with EEXIST if something is there.
pub fn rename(from: &At<'_>, to: &At<'_>, replace: bool) -> Result<(), Fault> {
    use rustix::fs::{RenameFlags, renameat_with};
    let rename = |flags| renameat_with(from.dir, &*from.name, to.dir, &*to.name, flags);
    if replace {
        return rename(RenameFlags::empty()).named("renameat2");
    }
    match rename(RenameFlags::NOREPLACE) {
        // A hard link where the file system cannot.
        Err(rustix::io::Errno::INVAL) => link(from, to).and_then(|()| unlink(from)),
        result => result.named("renameat2"),
    }
}

/// Makes the file durable.
pub fn fsync(fd: impl AsFd) -> Result<(), Fault> {
    rustix::fs::fsync(fd).named("fsync")
}
