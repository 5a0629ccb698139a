//! What holds for new files in a directory of the target.

use super::stat::Stat;
use super::sys::Base;
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

/// The attribute that has the list which new files get.
pub const DEFAULT_ACL: &CStr = c"system.posix_acl_default";

/// What holds for new files in a directory.
#[derive(Debug, Default)]
pub struct Traits {
    /// They get its group instead of ours.
    pub sets_group: bool,
    /// They get an access control list.
    pub gives_acl: bool,
    /// Their names stay.
    pub append_only: bool,
    /// Its file system has no files without a name.
    pub names_all: AtomicBool,
    /// Blocks cannot be shared with the source.
    pub shares_nothing: AtomicBool,
    /// The kernel does not copy from the source by itself.
    pub copies_nothing: AtomicBool,
}

impl Traits {
    /// Those of an open directory.
    pub fn of(target: &Base, stat: &Stat) -> Self {
        let gives_acl = target.with(|fd| Ok(has_default_acl(fd))).unwrap_or(false);
        Traits {
            sets_group: stat.permissions() & libc::S_ISGID != 0,
            gives_acl,
            append_only: stat.is_append_only(),
            ..Traits::default()
        }
    }

    /// Whether files can be made without a name here.
    pub fn nameless(&self) -> bool {
        // Both are only hints: a wrong one costs a call.
        !self.names_all.load(Ordering::Relaxed)
    }

    /// Whether the kernel may copy from the source by itself.
    pub fn may_copy(&self) -> bool {
        !self.copies_nothing.load(Ordering::Relaxed)
    }

    /// Whether blocks may be shared with the source.
    pub fn may_share(&self) -> bool {
        !self.shares_nothing.load(Ordering::Relaxed)
    }
}

/// Whether new files in the directory get an access control list.
fn has_default_acl(fd: BorrowedFd<'_>) -> bool {
    !matches!(
        rustix::fs::fgetxattr(fd, DEFAULT_ACL, &mut [0_u8; 0]),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS)
    )
}
