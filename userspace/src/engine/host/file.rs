//! What the engine asks the host about a descriptor, beside the operation.
//!
//! Answers are stale at once; they choose a path, never a result.
//!
//! SPEC: section 8 (CACHE).
#![allow(unsafe_code)] // calls of the C library

use crate::error::Errno;
use std::mem::MaybeUninit;

/// The descriptor in an argument: the kernel looks at the low half only.
#[inline]
pub(crate) fn descriptor(arg: u64) -> i32 {
    arg as i32
}

/// Where `fd` reads next, in bytes; none if it cannot seek.
pub(crate) fn position(fd: i32) -> Option<u64> {
    // SAFETY: takes no address.
    let at = unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) };
    u64::try_from(at).ok()
}

/// Drops `len` bytes from `offset` on from the page cache; 0 or an errno.
pub(crate) fn drop_pages(fd: i32, offset: u64, len: u64) -> i32 {
    // SAFETY: takes no address.
    unsafe { libc::posix_fadvise(fd, offset as i64, len as i64, libc::POSIX_FADV_DONTNEED) }
}

/// Whether reads of `fd` go through the page cache: a file or a block device,
/// not opened for direct I/O.
pub(crate) fn is_cached(fd: i32) -> bool {
    // SAFETY: F_GETFL takes no address.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    // An error, -1, has that bit too.
    if flags & libc::O_DIRECT != 0 {
        return false;
    }
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `stat` can be written.
    let result = unsafe { libc::fstat(fd, stat.as_mut_ptr()) };
    if result < 0 {
        return false;
    }
    // SAFETY: fstat has filled it in.
    let mode = unsafe { stat.assume_init() }.st_mode;
    matches!(mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFBLK)
}

const IOPRIO_WHO_PROCESS: libc::c_int = 1;

/// The I/O priority of this thread, as in ioprio_get(2).
pub(crate) fn priority() -> Result<u32, Errno> {
    // SAFETY: takes no address.
    let value = unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0) };
    u32::try_from(value).map_err(|_| Errno::last())
}

/// Sets the I/O priority of this thread, as in ioprio_set(2).
pub(crate) fn set_priority(ioprio: u32) -> Result<(), Errno> {
    // SAFETY: takes no address.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, ioprio) };
    if result < 0 { Err(Errno::last()) } else { Ok(()) }
}
