//! In place of what takes transfers for a device, for the model checker: results come late, one at each
//! call; a ring can break.

use crate::engine::request::transfer::AtOffset;
use crate::error::Errno;
use crate::sync::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::Duration;

/// A transfer at this offset is said to have to wait.
const WOULD_WAIT: u64 = 1 << 40;
/// With a transfer at this offset the ring breaks, and does not take it.
const BREAKS: u64 = 2 << 40;
/// For a transfer at this offset the ring has no room.
const FULL: u64 = 3 << 40;

/// Wakes the thread of a ring.
#[derive(Debug)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    sleeper: Condvar,
}

impl Bell {
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Bell { rung: Mutex::new(false), sleeper: Condvar::new() })
    }

    pub(crate) fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.sleeper.notify_one();
    }

    pub(crate) fn close_in_child(&self) {}
}

/// Which facility it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Facility {
    IoUring,
    LinuxAio,
}

/// What a ring is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name;

impl Name {
    pub(crate) fn close_in_child(self) {}

    pub(crate) fn has_ended(self) -> bool {
        true
    }
}

pub(crate) fn probe(_facility: Facility) -> Result<(), Errno> {
    Ok(())
}

/// A ring.
#[derive(Debug)]
pub(crate) struct Ring<'r> {
    bell: &'r Bell,
    pushed: VecDeque<(u64, u64, i64)>,
    taken: VecDeque<(u64, i64)>,
    results: VecDeque<(u64, i64)>,
    broken: bool,
}

pub(crate) fn with_ring<T>(
    _facility: Facility,
    _transfers: usize,
    bell: &Bell,
    body: impl FnOnce(&mut Ring<'_>, Name) -> T,
) -> Result<T, Errno> {
    let (pushed, taken, results) = Default::default();
    Ok(body(&mut Ring { bell, pushed, taken, results, broken: false }, Name))
}

impl Ring<'_> {
    #[allow(unsafe_code)] // as the real one
    pub(crate) unsafe fn push(&mut self, transfer: &AtOffset, number: u64) -> bool {
        if transfer.offset == FULL {
            return false;
        }
        let result = match transfer.offset {
            WOULD_WAIT => -i64::from(libc::EAGAIN),
            _ => i64::from(transfer.len),
        };
        self.pushed.push_back((number, transfer.offset, result));
        true
    }

    /// Time does not pass, but who has none does not sleep.
    pub(crate) fn enter(&mut self, timeout: Option<Duration>) -> bool {
        while let Some(&(number, offset, result)) = self.pushed.front() {
            self.broken |= offset == BREAKS;
            if self.broken {
                break;
            }
            self.pushed.pop_front();
            self.taken.push_back((number, result));
        }
        match self.taken.pop_front() {
            Some(ended) => self.results.push_back(ended),
            None if self.broken || timeout == Some(Duration::ZERO) => {}
            None => {
                let mut rung = self.bell.rung.lock().unwrap_or_else(PoisonError::into_inner);
                while !*rung {
                    rung = self.bell.sleeper.wait(rung).unwrap_or_else(PoisonError::into_inner);
                }
                *rung = false;
            }
        }
        false
    }

    pub(crate) fn next(&mut self) -> Option<(u64, i64)> {
        self.results.pop_front()
    }

    pub(crate) fn broken(&self) -> Option<Errno> {
        self.broken.then_some(Errno(libc::EBADF))
    }

    pub(crate) fn returned(&mut self) -> Option<u64> {
        if self.broken { self.pushed.pop_front().map(|(number, ..)| number) } else { None }
    }
}
