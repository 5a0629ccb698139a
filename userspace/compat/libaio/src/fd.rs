//! What is asked about descriptors before a request is accepted, as the
//! original's kernel does.

use std::fs::read_link;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// EBADF, positive, unless `fd` is open for reading, or writing.
pub fn check_mode(fd: i32, writes: bool) -> Result<(), i32> {
    // SAFETY: takes no address.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    let mode = flags & libc::O_ACCMODE;
    let wrong = if writes { mode == libc::O_RDONLY } else { mode == libc::O_WRONLY };
    if flags < 0 || flags & libc::O_PATH != 0 || wrong { Err(libc::EBADF) } else { Ok(()) }
}

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

/// Adds to an eventfd; a counter at its maximum is readable, which is enough.
pub fn signal(fd: &OwnedFd, count: u64) {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one pollfd that can be written.
    if unsafe { libc::poll(&raw mut poll, 1, 0) } == 1 {
        // SAFETY: eight bytes that can be read.
        unsafe { libc::write(fd.as_raw_fd(), (&raw const count).cast(), 8) };
    }
}

/// Reads an eventfd, so that it is readable no more.
pub fn clear(fd: BorrowedFd<'_>) {
    let mut count = 0_u64;
    // SAFETY: eight bytes that can be written.
    unsafe { libc::read(fd.as_raw_fd(), (&raw mut count).cast(), 8) };
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
