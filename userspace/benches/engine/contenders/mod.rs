//! Who does the work.

pub mod aio2;
pub mod libaio;
pub mod plain;
pub mod pool;
pub mod posix;
pub mod queue;
pub mod uring;

use crate::work::{EMPTY_PATH, Request, STATX_FLAGS, STATX_MASK, Work};

/// The results of requests, by their slots.
pub type Done = Vec<(usize, i64)>;

/// One way to have requests run.
pub trait Contender {
    /// Notes a request, of which this slot has one at a time.
    fn push(&mut self, slot: usize, request: &Request);

    /// Gives away what was noted, and waits for one result at least.
    fn turn(&mut self, done: &mut Done);

    /// Does about `operations` of the work, the first of which has number `first`;
    /// how many it were. The same for all, compiled for each.
    fn pass(&mut self, work: &mut Work, first: usize, operations: usize) -> usize {
        let mut idle: Vec<usize> = (0..work.slots()).rev().collect();
        let mut done = Done::with_capacity(work.slots());
        let (starts, operations) = work.starts(operations);
        let (mut started, mut ended) = (0, 0);
        while ended < starts {
            while started < starts
                && let Some(slot) = idle.pop()
            {
                let request = work.begin(slot, first + started);
                self.push(slot, &request);
                started += 1;
            }
            self.turn(&mut done);
            for (slot, result) in done.drain(..) {
                match work.then(slot, result) {
                    Some(request) => self.push(slot, &request),
                    None => {
                        ended += 1;
                        idle.push(slot);
                    }
                }
            }
        }
        operations
    }
}

/// Runs a request as the plain call, reads and writes with these flags.
#[inline(always)]
#[allow(clippy::multiple_unsafe_ops_per_block, reason = "one contract for all arms")]
pub fn call(request: &Request, flags: i32) -> i64 {
    let iov = |at: *mut u8, len| libc::iovec { iov_base: at.cast(), iov_len: len };
    // SAFETY: what a request names is there while the work is.
    let result = unsafe {
        match *request {
            Request::Nop => 0,
            Request::Read { fd, at, len, offset } => {
                let iov = iov(at, len);
                libc::preadv2(fd, &raw const iov, 1, offset as i64, flags) as i64
            }
            Request::Write { fd, at, len, offset } => {
                let iov = iov(at, len);
                libc::pwritev2(fd, &raw const iov, 1, offset as i64, flags) as i64
            }
            Request::Sync { fd } => libc::fdatasync(fd).into(),
            Request::Open { path } => {
                libc::openat(libc::AT_FDCWD, path, libc::O_RDONLY | libc::O_CLOEXEC).into()
            }
            Request::Statx { fd, to } => {
                libc::statx(fd, EMPTY_PATH, STATX_FLAGS, STATX_MASK, to).into()
            }
            Request::Close { fd } => libc::close(fd).into(),
            Request::Receive { fd, at, len } => libc::recv(fd, at.cast(), len, 0) as i64,
            Request::Send { fd, at, len } => libc::send(fd, at.cast(), len, 0) as i64,
        }
    };
    if result < 0 { -i64::from(errno()) } else { result }
}

/// The last error of this thread.
pub fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}
