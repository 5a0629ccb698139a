//! What is asked about descriptors before a request is accepted, as the
//! original's kernel does.

use std::fs::read_link;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

/// The type bits of a descriptor's mode.
///
/// # Errors
/// EBADF, positive.
pub fn kind(fd: i32) -> Result<u32, i32> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `stat` can be written.
    if unsafe { libc::fstat(fd, stat.as_mut_ptr()) } < 0 {
        return Err(libc::EBADF);
    }
    // SAFETY: fstat has filled it in.
    Ok(unsafe { stat.assume_init() }.st_mode & libc::S_IFMT)
}

/// An eventfd, as a descriptor of its own, so that it may be closed meanwhile.
///
/// # Errors
/// EBADF or EINVAL, positive; those of dup(2).
pub fn eventfd(fd: i32) -> Result<OwnedFd, i32> {
    if fd < 0 {
        return Err(libc::EBADF);
    }
    // An eventfd has no type; neither have others, which their name tells.
    let is_other = kind(fd)? != 0
        || read_link(format!("/proc/self/fd/{fd}"))
            .is_ok_and(|name| name.as_os_str() != "anon_inode:[eventfd]");
    if is_other {
        return Err(libc::EINVAL);
    }
    // SAFETY: fstat has just found it open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    borrowed.try_clone_to_owned().map_err(|e| e.raw_os_error().unwrap_or(libc::EBADF))
}

/// Whether this thread may ask for I/O in real time.
pub fn may_have_real_time() -> bool {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    const SYS_ADMIN: u32 = 21;
    const SYS_NICE: u32 = 23;
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut sets = [[0_u32; 3]; 2];
    // SAFETY: the kernel reads the header and fills in two sets.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    result == 0 && sets[0][0] & (1 << SYS_ADMIN | 1 << SYS_NICE) != 0
}
