//! File descriptors that stay open while a request uses them.

use std::fs::File;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::sync::Arc;

/// An open file, shared by the application and the requests that use it.
///
/// It is closed when the last of them lets go of it, so that a request in
/// flight can never meet another file under the same number.
#[derive(Clone, Debug)]
pub struct SharedFd(Arc<OwnedFd>);

impl SharedFd {
    /// Shares `fd`.
    pub fn new(fd: impl Into<OwnedFd>) -> Self {
        SharedFd(Arc::new(fd.into()))
    }

    /// The descriptor, if nobody else shares it; otherwise `self` again.
    ///
    /// # Errors
    /// Gives `self` back if there are other owners.
    pub fn into_owned(self) -> Result<OwnedFd, Self> {
        Arc::try_unwrap(self.0).map_err(SharedFd)
    }
}

impl AsFd for SharedFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<&SharedFd> for SharedFd {
    /// One more owner.
    fn from(fd: &SharedFd) -> Self {
        fd.clone()
    }
}

macro_rules! shared_from {
    ($($owner:ty),*) => {$(
        impl From<$owner> for SharedFd {
            fn from(owner: $owner) -> Self {
                SharedFd::new(owner)
            }
        }
    )*};
}

shared_from!(
    OwnedFd,
    File,
    TcpListener,
    TcpStream,
    UdpSocket,
    UnixDatagram,
    UnixListener,
    UnixStream
);

/// Where a relative path begins.
#[derive(Clone, Debug, Default)]
pub enum Dir {
    /// The working directory of the process, when the operation runs.
    #[default]
    Cwd,
    /// This directory.
    Fd(SharedFd),
}

impl Dir {
    /// The number that the syscalls of the `at` family take.
    pub(super) fn raw(&self) -> i32 {
        match self {
            Dir::Cwd => libc::AT_FDCWD,
            Dir::Fd(fd) => fd.as_fd().as_raw_fd(),
        }
    }
}

impl<F: Into<SharedFd>> From<F> for Dir {
    fn from(fd: F) -> Self {
        Dir::Fd(fd.into())
    }
}
