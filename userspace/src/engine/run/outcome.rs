//! The outcome of a request: what its attributes ask to be told, and its event.
//!
//! Nothing is measured that no attribute asks for, and a request without
//! attributes has no [`Outcome`] at all: see [`write_plain_event`].
//!
//! SPEC: sections 7, 8 (TIMING, PATH, CACHE, CHECKSUM).
#![allow(unsafe_code)] // sched_getcpu(3)

use super::Progress;
use crate::engine::host::file;
use crate::engine::request::transfer::Transfer;
use crate::engine::request::{Operation, Request};
use crate::os::clock;
use crate::ring;
use aio2_abi::attr;
use aio2_abi::event::{self, Encoder};

/// How a request ended, as far as its attributes ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) ran: bool,
    pub(crate) result: i64,
    pub(crate) timing: attr::TimingReturn,
    pub(crate) path: attr::PathReturn,
    pub(crate) checksum: u32,
    pub(crate) hit: Option<u64>,
    /// 0, or why the priority could not be set (positive).
    pub(crate) priority_errno: i32,
}

impl Outcome {
    /// When it was completed, in ns, if that was measured.
    #[inline]
    pub(crate) fn completed(&self) -> Option<u64> {
        Some(self.timing.completed).filter(|&completed| completed > 0)
    }
}

/// Measures what the attributes ask for, now that the result is known.
pub(crate) fn finish(request: &Request, progress: &Progress, result: i64, place: u32) -> Outcome {
    let mut outcome = Outcome { ran: true, result, ..Outcome::default() };
    if let Operation::Refused(_) = request.operation {
        outcome.ran = false;
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

/// Writes the event of a request without attributes to the front of `room`; the
/// words that it takes.
#[inline(always)]
pub(crate) fn write_plain_event(request: &Request, result: i64, room: &mut [u64]) -> usize {
    const WORDS: usize = event::HEADER_BYTES / 8;
    let header = ring::header(event::HEADER_BYTES as u32, event::Flags::empty().bits());
    room[..WORDS].copy_from_slice(&[header, request.user_data, result as u64]);
    WORDS
}

/// Writes the event of a request that ended with `outcome` to `buffer`.
pub(crate) fn write_event<'b>(
    request: &Request,
    outcome: &Outcome,
    buffer: &'b mut [u8],
) -> &'b [u8] {
    let flags = event::Flags::empty();
    let Some(mut event) = Encoder::new(buffer, flags, request.user_data, outcome.result) else {
        return &[];
    };
    if let Some(plan) = &request.plan {
        plan.write_returns(&mut event, outcome);
    }
    event.finish()
}

/// The processor that runs this thread.
fn cpu() -> u32 {
    // SAFETY: takes nothing, touches nothing.
    let cpu = unsafe { libc::sched_getcpu() };
    cpu.max(0) as u32
}
