//! The safe queue, whose buffers are its own and go round.

use super::{Contender, Done};
use crate::work::{Request, SLOT_BYTES, Work};
use aio2::{Context, DirectBuf, Op, Prefer, Queue, SharedFd, Timeout};
use std::io;

pub struct Queued {
    queue: Queue<DirectBuf, usize>,
    file: SharedFd,
    buffers: Vec<Option<DirectBuf>>,
}

impl Queued {
    /// # Errors
    /// Those of a descriptor.
    pub fn new(work: &Work, bytes: usize) -> io::Result<Self> {
        let context =
            Context::builder().prefer(Prefer::Engine).build().map_err(io::Error::other)?;
        let file = SharedFd::new(work.file().try_clone()?);
        assert!(bytes <= SLOT_BYTES);
        let buffers = (0..work.slots()).map(|_| Some(DirectBuf::new(bytes, 4096))).collect();
        Ok(Queued { queue: Queue::new(context), file, buffers })
    }
}

impl Contender for Queued {
    #[inline(always)]
    fn push(&mut self, slot: usize, request: &Request) {
        let mut buffer = || self.buffers[slot].take().expect("one for each slot");
        let op = match *request {
            Request::Nop => Op::nop().untyped(),
            Request::Read { offset, .. } => Op::read_at(&self.file, buffer(), offset).untyped(),
            Request::Write { offset, .. } => Op::write_at(&self.file, buffer(), offset).untyped(),
            _ => unreachable!("not asked of it here: {request:?}"),
        };
        self.queue.push(op, slot);
    }

    fn turn(&mut self, done: &mut Done) {
        for ended in self.queue.wait(1, Timeout::Forever).expect("accepted") {
            let slot = ended.token;
            done.push((slot, ended.result.map_or(-1, |bytes| bytes as i64)));
            if let Some(buffer) = ended.into_buffer() {
                self.buffers[slot] = Some(buffer);
            }
        }
    }
}
