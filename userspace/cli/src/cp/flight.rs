//! Operations in flight: futures over a queue of requests.
//!
//! Duty: give each operation a future that its completion wakes, submit what
//! is queued in one batch, and note what its attributes say. A file's whole
//! state machine is then an async function, and the executor is a turn of
//! [`Flight::turn`] after all of them stand still.

use super::statistics::Statistics;
use aio2::error::WaitError;
use aio2::{CacheHint, Completion, Errno, Op, Queue, Timeout};
use futures::channel::oneshot;
use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A turn ends when one in so many of the operations has: enough to go on with.
const WAKE_PART: usize = 4;

/// What came of an operation.
pub struct Done {
    /// The operation, with its buffer.
    pub op: Op<Vec<u8>>,
    /// What it returned.
    pub result: Result<u64, Errno>,
    /// The descriptor that it opened.
    pub opened: Option<OwnedFd>,
    /// CRC-32C and bytes, if the checksum was asked for and given.
    pub checksum: Option<(u32, u64)>,
}

/// A queue whose completions wake futures.
pub struct Flight {
    queue: RefCell<Queue<Vec<u8>, oneshot::Sender<Done>>>,
    statistics: RefCell<Statistics>,
    attributes: bool,
}

impl Flight {
    /// Operations over `queue`, each asked for its attributes if `attributes`.
    pub fn new(queue: Queue<Vec<u8>, oneshot::Sender<Done>>, attributes: bool) -> Self {
        Flight { queue: RefCell::new(queue), statistics: RefCell::default(), attributes }
    }

    /// Queues an operation, which the next turn submits, and waits for its end.
    pub async fn call(&self, op: Op<Vec<u8>>) -> Result<Done, Errno> {
        let op = if self.attributes { op.timing().path_taken() } else { op };
        let (sender, receiver) = oneshot::channel();
        self.queue.borrow_mut().push(op, sender);
        // The sender goes unused only if the queue itself is given up.
        receiver.await.map_err(|_| Errno(libc::ECANCELED))
    }

    /// As [`Flight::call`], and asks what the page cache had of it.
    pub async fn read(&self, op: Op<Vec<u8>>) -> Result<Done, Errno> {
        let op = if self.attributes { op.cache(CacheHint::Normal) } else { op };
        self.call(op).await
    }

    /// Submits what is queued, waits up to `timeout` for some completions, and
    /// wakes the futures of all that are there.
    ///
    /// # Errors
    /// If the context is broken: nothing more can be done with it.
    pub fn turn(&self, timeout: Duration) -> Result<(), WaitError> {
        let mut queue = self.queue.borrow_mut();
        // To wake up for each completion would cost two switches for each;
        // what is still under way keeps the workers busy meanwhile.
        let several = (queue.len() / WAKE_PART).max(1);
        match queue.wait(several, Timeout::After(timeout)) {
            Ok(_) | Err(WaitError::Interrupted) => {}
            Err(error) => return Err(error),
        }
        let mut statistics = self.statistics.borrow_mut();
        while let Some(done) = queue.pop()? {
            statistics.take(&done);
            let checksum = done.checksum().handled().map(|sum| (sum.crc32c, sum.bytes));
            let Completion { token, op, result, opened, .. } = done;
            // Nobody waits any more: the buffer and the descriptor are dropped.
            let _unwanted = token.send(Done { op, result, opened, checksum });
        }
        Ok(())
    }

    /// What the attributes have said so far.
    pub fn into_statistics(self) -> Statistics {
        self.statistics.into_inner()
    }
}
