//! The workers of a context: how many there are, what each of them runs, and who
//! is to be told or hired.
//!
//! What they do is in `executors::worker`.
//!
//! SPEC: R-RUN-9, R-CANCEL-7.

use super::slots::Id;
use crate::engine::host::interrupt;
use crate::engine::host::seat::Seat;
use crate::engine::host::thread::Thread;
use crate::os::clock;
use std::collections::TryReserveError;
use std::sync::Arc;

/// The workers of a context.
#[derive(Debug)]
pub(crate) struct Workers {
    concurrency: usize,
    /// Those that exist or are being created.
    pub(crate) count: usize,
    /// Those that wait for a job.
    pub(crate) idle: usize,
    /// Those of them that were told of one and are not awake yet.
    told: usize,
    pub(crate) stopping: bool,
    pub(crate) handles: Vec<Thread>,
    /// Where those that exist sit.
    pub(crate) seats: Vec<Arc<Seat>>,
}

impl Workers {
    pub(crate) fn new(concurrency: u32) -> Self {
        let concurrency = concurrency as usize;
        Workers {
            concurrency,
            count: 0,
            idle: 0,
            told: 0,
            stopping: false,
            handles: Vec::new(),
            seats: Vec::new(),
        }
    }

    /// Makes every worker go once the queue is empty; those to be joined.
    pub(crate) fn stop(&mut self) -> Vec<Thread> {
        self.stopping = true;
        std::mem::take(&mut self.handles)
    }

    /// Notes that an idle one is to be told of a job; false if all are already.
    pub(crate) fn tell_one(&mut self) -> bool {
        let tells = self.told < self.idle;
        self.told += usize::from(tells);
        tells
    }

    /// Notes that an idle one is awake. Which of them was told cannot be known,
    /// and need not: it looks at the queue, and too few that count as told are
    /// told again.
    pub(crate) fn wake(&mut self) {
        self.idle -= 1;
        self.told = self.told.saturating_sub(1);
    }

    /// Tells the worker that runs request `id` to end it with `errno`
    /// (positive); false if it cannot.
    ///
    /// SPEC: R-CANCEL-7
    pub(crate) fn interrupt(&self, id: Id, errno: i32) -> bool {
        let Some(seat) = self.seats.iter().find(|seat| seat.runs(id.get())) else { return false };
        if !interrupt::is_possible() || !seat.stop(errno) {
            return false;
        }
        if seat.sent_again_at().is_none() {
            seat.send_again(clock::now());
        }
        // One that is not sent now is sent later.
        interrupt::send(seat);
        true
    }

    /// Sends the signals that are due at `now` again, up to the first worker
    /// that is no more.
    pub(crate) fn nudge(&self, now: u64) -> Option<Arc<Seat>> {
        for seat in &self.seats {
            if seat.sent_again_at().is_none_or(|time| time > now) {
                continue;
            }
            if seat.life.is_over() {
                return Some(seat.clone());
            }
            interrupt::send(seat);
            seat.send_again(now);
        }
        None
    }

    /// Sees to it that those that are counted can be noted.
    ///
    /// # Errors
    /// If the memory cannot be had.
    pub(crate) fn reserve(&mut self) -> Result<(), TryReserveError> {
        self.handles.retain(|thread| !thread.has_ended());
        self.handles.try_reserve(self.count)?;
        self.seats.try_reserve(self.count)
    }

    /// Notes that one more is needed for `queued` jobs, if that is so.
    pub(crate) fn grow(&mut self, queued: usize) -> bool {
        let grows = queued > self.idle && self.count < self.concurrency;
        self.count += usize::from(grows);
        grows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_hired_for_jobs_that_idle_ones_cannot_take() {
        let mut workers = Workers::new(2);
        workers.idle = 1;
        assert!(!workers.grow(1) && workers.grow(2));
        workers.idle = 0;
        assert_eq!([(); 2].map(|()| workers.grow(9)), [true, false]);
        assert_eq!(workers.count, 2);
    }

    #[test]
    fn each_idle_worker_is_told_of_one_job() {
        let mut workers = Workers::new(4);
        assert!(!workers.tell_one());
        workers.idle = 2;
        assert_eq!([(); 3].map(|()| workers.tell_one()), [true, true, false]);
        workers.wake();
        assert_eq!((workers.idle, workers.tell_one()), (1, false));
        workers.wake();
        workers.idle = 1;
        assert!(workers.tell_one());
    }
}
