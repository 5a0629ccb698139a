//! What is given to a device by a facility of the host: whether that may be, and what its thread has.
//!
//! What the thread does is in `executors::device`.
//!
//! SPEC: R-RUN-14, R-RUN-15, R-CANCEL-7.

use super::slots::Id;
use crate::engine::host::device::{Bell, Facility, Name};
use crate::engine::host::life::Life;
use crate::engine::host::thread::Thread;
use std::collections::TryReserveError;
use std::sync::Arc;

/// Most requests that are with the device at once; others wait. The model checker's
/// threads have small stacks.
pub(crate) const MOST: usize = if cfg!(aio2_loom) { 2 } else { 128 };

/// What may be given to a device, and by which facility.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Nothing.
    Nothing,
    /// Transfers that wait for nothing but a device.
    Direct(Facility),
    /// Whatever can be asked for without being told of the page cache: for tests,
    /// which then meet it more often.
    Everything(Facility),
}

impl Reach {
    /// Direct transfers, if there is a facility for them.
    pub(crate) fn direct(facility: Option<Facility>) -> Self {
        facility.map_or(Reach::Nothing, Reach::Direct)
    }

    /// By which.
    pub(crate) fn facility(self) -> Option<Facility> {
        match self {
            Reach::Nothing => None,
            Reach::Direct(facility) | Reach::Everything(facility) => Some(facility),
        }
    }
}

/// What the thread and others know it by.
#[derive(Debug)]
pub(crate) struct RingSeat {
    pub(crate) life: Life,
    pub(crate) bell: Bell,
}

/// A request that is with the device.
#[derive(Clone, Copy, Debug)]
struct Running {
    id: Id,
    /// The errno (positive) that it is to stop with.
    stopped: Option<i32>,
}

/// What is given to a device.
#[derive(Debug)]
pub(crate) struct Device {
    /// Requests may be given to it.
    is_open: bool,
    /// The thread exists or is being created.
    pub(crate) exists: bool,
    /// The thread looks at the queue only when the bell has been rung.
    pub(crate) asleep: bool,
    pub(crate) stopping: bool,
    pub(crate) thread: Option<Thread>,
    pub(crate) seat: Option<Arc<RingSeat>>,
    /// The name of the ring, while there is one.
    pub(crate) name: Option<Name>,
    /// By their numbers; memory for [`MOST`] of them once there is a thread.
    running: Vec<Option<Running>>,
}

impl Device {
    pub(crate) fn new(is_open: bool) -> Self {
        Device {
            is_open,
            exists: false,
            asleep: false,
            stopping: false,
            thread: None,
            seat: None,
            name: None,
            running: Vec::new(),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Nothing more is given to it.
    pub(crate) fn close(&mut self) {
        self.is_open = false;
    }

    /// Notes that the thread is to be called, to a request that was queued; false
    /// if it comes anyway, or was called.
    pub(crate) fn call(&mut self) -> bool {
        let sleeps = std::mem::take(&mut self.asleep);
        sleeps || !self.exists
    }

    /// Makes the thread go once nothing is with it; it is to be called by its bell,
    /// and joined.
    pub(crate) fn stop(&mut self) -> (Option<Thread>, Option<Arc<RingSeat>>) {
        self.stopping = true;
        (self.thread.take(), self.seat.clone())
    }

    /// Closes the descriptors of a child after fork.
    pub(crate) fn close_in_child(&self) {
        self.seat.iter().for_each(|seat| seat.bell.close_in_child());
        self.name.into_iter().for_each(Name::close_in_child);
    }

    /// Sees to it that requests can be noted.
    ///
    /// # Errors
    /// If the memory cannot be had.
    pub(crate) fn reserve(&mut self) -> Result<(), TryReserveError> {
        self.running.try_reserve(MOST.saturating_sub(self.running.len()))?;
        self.running.resize(MOST, None);
        Ok(())
    }

    /// How many requests are with it.
    pub(crate) fn in_flight(&self) -> usize {
        self.running.iter().flatten().count()
    }

    /// Request `id` has this number now.
    pub(crate) fn begin(&mut self, number: usize, id: Id) {
        if let Some(place) = self.running.get_mut(number) {
            *place = Some(Running { id, stopped: None });
        }
    }

    /// The request of this number is with it no more; the errno (positive) that it
    /// was to stop with.
    pub(crate) fn end(&mut self, number: usize) -> Option<i32> {
        self.running.get_mut(number)?.take()?.stopped
    }

    /// Has request `id` stop with `errno` (positive) if its result leaves that
    /// open; false if it is not here. The first to tell decides on the errno.
    pub(crate) fn interrupt(&mut self, id: Id, errno: i32) -> bool {
        let running = self.running.iter_mut().flatten().find(|running| running.id == id);
        match running {
            Some(running) => {
                running.stopped.get_or_insert(errno);
                true
            }
            None => false,
        }
    }

    /// Whether the thread is gone without having ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.exists && self.seat.as_ref().is_some_and(|seat| seat.life.is_over())
    }

    /// Takes a request that a thread had which is gone.
    pub(crate) fn take_left(&mut self) -> Option<Id> {
        self.running.iter_mut().find_map(Option::take).map(|running| running.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::state::slots::{Keys, Slots};

    #[test]
    fn it_is_called_once_for_all_that_is_queued_while_it_sleeps() {
        let mut device = Device::new(true);
        assert!(device.call(), "there is no thread yet");
        device.exists = true;
        assert!(!device.call(), "it looks before it sleeps");
        device.asleep = true;
        assert_eq!([device.call(), device.call()], [true, false]);
    }

    #[test]
    fn a_stop_is_for_one_request_and_the_first_one_counts() {
        let (mut device, mut slots) = (Device::new(true), Slots::<()>::new());
        slots.reserve(2).unwrap();
        let [one, two] = [(); 2].map(|()| slots.start(Keys::default()));
        device.reserve().unwrap();
        assert!(!device.interrupt(one, 1));
        device.begin(3, one);
        device.begin(4, two);
        assert!(device.interrupt(one, 1) && device.interrupt(one, 2));
        assert_eq!([device.end(3), device.end(4), device.end(3)], [Some(1), None, None]);
        device.begin(3, two);
        assert!(!device.interrupt(one, 1));
        assert_eq!([device.take_left(), device.take_left()], [Some(two), None]);
    }
}
