//! The descriptor that each of them has.

use super::{File, TcpListener, TcpStream, UnixListener, UnixStream};
use crate::submit::SharedFd;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

macro_rules! descriptor {
    ($($name:ident),*) => {$(
        impl $name {
            /// Its descriptor, for operations that have no method here.
            #[must_use]
            pub fn fd(&self) -> &SharedFd {
                &self.fd
            }
        }

        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.fd.as_fd()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("fd", &self.fd).finish_non_exhaustive()
            }
        }
    )*};
}

descriptor!(File, TcpListener, TcpStream, UnixListener, UnixStream);
