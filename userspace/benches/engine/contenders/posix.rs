//! POSIX AIO of the C library.

use super::{Contender, Done, errno};
use crate::work::Request;

/// As many as the C library makes at most (aio_init(3)).
pub const THREADS: usize = 20;

pub struct Posix {
    /// Where they stay while they are in flight.
    blocks: Vec<libc::aiocb>,
    in_flight: Vec<usize>,
}

impl Posix {
    pub fn new(slots: usize) -> Self {
        // SAFETY: all zeroes is one.
        Posix { blocks: vec![unsafe { std::mem::zeroed() }; slots], in_flight: Vec::new() }
    }
}

impl Contender for Posix {
    #[allow(clippy::multiple_unsafe_ops_per_block, reason = "one contract for all arms")]
    fn push(&mut self, slot: usize, request: &Request) {
        let (fd, at, len, offset) = match *request {
            Request::Read { fd, at, len, offset } | Request::Write { fd, at, len, offset } => {
                (fd, at, len, offset)
            }
            Request::Sync { fd } => (fd, std::ptr::null_mut(), 0, 0),
            Request::Receive { fd, at, len } | Request::Send { fd, at, len } => (fd, at, len, 0),
            _ => unreachable!("it has no operation for {request:?}"),
        };
        let block = &mut self.blocks[slot];
        // SAFETY: all zeroes is one.
        *block = unsafe { std::mem::zeroed() };
        block.aio_fildes = fd;
        block.aio_buf = at.cast();
        block.aio_nbytes = len;
        block.aio_offset = offset as i64;
        block.aio_sigevent.sigev_notify = libc::SIGEV_NONE;
        // SAFETY: the block and what it names stay until the request has ended.
        let r = unsafe {
            match request {
                Request::Read { .. } | Request::Receive { .. } => libc::aio_read(block),
                Request::Sync { .. } => libc::aio_fsync(libc::O_DSYNC, block),
                _ => libc::aio_write(block),
            }
        };
        assert_eq!(r, 0, "{}", errno());
        self.in_flight.push(slot);
    }

    fn turn(&mut self, done: &mut Done) {
        let blocks = &mut self.blocks;
        loop {
            self.in_flight.retain(|&slot| {
                let block = &raw mut blocks[slot];
                // SAFETY: it is one that was given away.
                let error = unsafe { libc::aio_error(block) };
                if error == libc::EINPROGRESS {
                    return true;
                }
                // SAFETY: it has ended.
                let moved = unsafe { libc::aio_return(block) } as i64;
                done.push((slot, if error == 0 { moved } else { -i64::from(error) }));
                false
            });
            if !done.is_empty() {
                return;
            }
            let list: Vec<*const libc::aiocb> =
                self.in_flight.iter().map(|&slot| &raw const blocks[slot]).collect();
            // SAFETY: each of them stays.
            unsafe { libc::aio_suspend(list.as_ptr(), list.len() as i32, std::ptr::null()) };
        }
    }
}
