//! The outcome of a request: what its attributes ask to be told.
//!
//! Nothing is measured that no attribute asks for, and a request without
//! attributes has no [`Outcome`] at all.
//!
//! SPEC: sections 7, 8 (TIMING, PATH, CACHE, CHECKSUM).
#![allow(unsafe_code)] // sched_getcpu(3)

use crate::engine::host::file;
use crate::engine::request::Request;
use crate::engine::request::operation::Operation;
use crate::engine::request::progress::Progress;
use crate::engine::request::transfer::Transfer;
use crate::os::clock;
use aio2_abi::attr;

/// Whether the operation of a request was begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Begun {
    /// It was not, and has had no effect.
    #[default]
    No,
    Yes,
    /// Whoever ran it is gone.
    Unknown,
}

/// How a request ended, as far as its attributes ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) begun: Begun,
    pub(crate) result: i64,
    pub(crate) timing: attr::TimingReturn,
    pub(crate) path: attr::PathReturn,
    pub(crate) checksum: u32,
    pub(crate) hit: Option<u64>,
    /// 0, or why the priority could not be set (positive).
    pub(crate) priority_errno: i32,
}

impl Outcome {
    /// That of a request that ends with `errno` (positive) and was not begun.
    pub(crate) fn not_begun(errno: i32) -> Self {
        Outcome { result: -i64::from(errno), ..Outcome::default() }
    }

    /// When it was completed, in ns, if that was measured.
    #[inline]
    pub(crate) fn completed(&self) -> Option<u64> {
        Some(self.timing.completed).filter(|&completed| completed > 0)
    }
}

/// Measures what the attributes ask for, now that the result is known.
pub(crate) fn finish(request: &Request, progress: &Progress, result: i64, place: u32) -> Outcome {
    let mut outcome = Outcome { begun: Begun::Yes, result, ..Outcome::default() };
    if request.is_refused() || progress.withheld {
        outcome.begun = Begun::No;
        return outcome;
    }
    let Some(plan) = &request.plan else { return outcome };
    let inline = place == attr::PATH_INLINE;
    if plan.measures(attr::TIMING) || plan.measures(attr::PATH) && inline {
        let (submitted, completed) = (progress.submitted, clock::now());
        let started = progress.started.max(submitted);
        outcome.timing = attr::TimingReturn { submitted, started, completed };
    }
    if plan.measures(attr::PATH) {
        let blocked_ns =
            if inline { outcome.timing.completed - progress.submitted } else { progress.blocked };
        outcome.path = attr::PathReturn { place, cpu: cpu(), blocked_ns };
    }
    if result < 0 {
        return outcome;
    }
    if progress.tells_hits {
        outcome.hit = Some(progress.hit);
    }
    if plan.measures(attr::CHECKSUM) || plan.drops_behind() {
        finish_transfer(request, result as u64, &mut outcome);
    }
    outcome
}

/// What is done with the bytes that were moved.
#[cold]
fn finish_transfer(request: &Request, len: u64, outcome: &mut Outcome) {
    let Operation::Syscall(class) = request.operation else { return };
    let Some(transfer) = Transfer::new(&request.call, class) else { return };
    let Some(plan) = &request.plan else { return };
    if plan.measures(attr::CHECKSUM) {
        transfer.moved(len, |bytes| {
            outcome.checksum = crc32c::crc32c_append(outcome.checksum, bytes);
        });
    }
    // No bytes would mean all that follow.
    if plan.drops_behind()
        && len > 0
        && let Some(fd) = request.fd
    {
        let offset =
            transfer.offset().or_else(|| file::position(fd).and_then(|at| at.checked_sub(len)));
        if let Some(offset) = offset {
            // Advice: that it is not taken changes nothing (R-CACHE-3).
            let _ = file::drop_pages(fd, offset, len);
        }
    }
}

/// The processor that runs this thread.
fn cpu() -> u32 {
    // SAFETY: takes nothing, touches nothing.
    let cpu = unsafe { libc::sched_getcpu() };
    cpu.max(0) as u32
}
