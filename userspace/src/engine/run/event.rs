//! The event of a request, with what is said of each attribute that asks.
//!
//! SPEC: sections 5.5 (events), 7 (R-ATTR-1, R-ATTR-2, R-ATTR-5, R-ATTR-8).

use super::outcome::{Begun, Outcome};
use crate::engine::request::Request;
use crate::engine::request::attributes::Plan;
use crate::engine::request::transfer::Transfer;
use crate::ring;
use aio2_abi::attr;
use aio2_abi::event::{self, Encoder};
use aio2_record::has;
use libc::{EINVAL, ENODATA, EOPNOTSUPP};
use zerocopy::IntoBytes;

/// The event of a request without attributes.
#[inline(always)]
pub(crate) fn plain_event(request: &Request, result: i64) -> [u64; event::HEADER_BYTES / 8] {
    let header = ring::header(event::HEADER_BYTES as u32, flags(!request.is_refused()).bits());
    [header, request.user_data, result as u64]
}

/// The flags of a terminal event.
///
/// SPEC: R-EVENT-7
#[inline(always)]
fn flags(may_have_begun: bool) -> event::EventFlags {
    if may_have_begun { event::EventFlags::empty() } else { event::EventFlags::NOT_STARTED }
}

/// Writes the event of a request that ended with `outcome` to `buffer`, and
/// records it if it is to be.
pub(crate) fn write_event<'b>(
    request: &Request,
    outcome: &Outcome,
    buffer: &'b mut [u8],
) -> &'b [u8] {
    if let Some((recorder, thread)) = request.plan.as_ref().and_then(Plan::record) {
        recorder.take(recorded(request, outcome, thread));
    }
    write_unrecorded(request, outcome, buffer)
}

/// As [`write_event`], and whoever calls it sees to its being recorded.
pub(crate) fn write_unrecorded<'b>(
    request: &Request,
    outcome: &Outcome,
    buffer: &'b mut [u8],
) -> &'b [u8] {
    let flags = flags(outcome.begun != Begun::No);
    let Some(mut event) = Encoder::new(buffer, flags, request.user_data, outcome.result) else {
        return &[];
    };
    if let Some(plan) = &request.plan {
        write_returns(plan, outcome, &mut event);
    }
    event.finish()
}

/// Appends the returns of the request to its event, whose room was
/// reserved for all of them.
///
/// SPEC: R-ATTR-1, R-ATTR-2, R-ATTR-5
fn write_returns(plan: &Plan, outcome: &Outcome, event: &mut Encoder<'_>) {
    for id in plan.returns() {
        let mut payload = [0_u64; 3];
        let (status, len) = if plan.is_bad(id) {
            (-EINVAL, 0)
        } else if !plan.has(id) {
            (-EOPNOTSUPP, 0)
        } else {
            answer(plan, id, outcome, &mut payload)
        };
        let fits = event.ret(id, status, &payload.as_bytes()[..len]);
        debug_assert!(fits.is_some(), "an event longer than its reserved room");
    }
}

/// Status and payload, with its length in bytes, of a handled attribute.
fn answer(plan: &Plan, id: u16, outcome: &Outcome, payload: &mut [u64; 3]) -> (i32, usize) {
    let mut say = |bytes: &[u8]| {
        payload.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
        (0, bytes.len())
    };
    match id {
        attr::TAG | attr::DEADLINE | attr::SIGNAL | attr::GROUP | attr::AFTER => (0, 0),
        attr::PRIORITY if outcome.priority_errno != 0 => (-outcome.priority_errno, 0),
        // SPEC: R-ATTR-8
        _ if outcome.begun != Begun::Yes => (-ENODATA, 0),
        attr::PRIORITY => (0, 0),
        attr::TIMING => say(outcome.timing.as_bytes()),
        attr::PATH => say(outcome.path.as_bytes()),
        _ if outcome.result < 0 => (-ENODATA, 0),
        attr::CHECKSUM => {
            let kind = attr::CHECKSUM_CRC32C;
            let (value, bytes) = (outcome.checksum, outcome.result as u64);
            say(attr::ChecksumReturn { kind, value, bytes }.as_bytes())
        }
        _ => match outcome.hit {
            Some(hit) => {
                let miss = (outcome.result as u64).saturating_sub(hit);
                say(attr::CacheReturn { hit, miss }.as_bytes())
            }
            // SPEC: R-CACHE-2
            None if plan.hint() != attr::CACHE_NORMAL => {
                say(attr::CacheReturn::default().as_bytes())
            }
            None => (-EOPNOTSUPP, 0),
        },
    }
}

/// What is recorded of a request that `thread` has submitted.
#[inline]
pub(crate) fn recorded(request: &Request, outcome: &Outcome, thread: u32) -> aio2_record::Request {
    let class = request.operation.class();
    let transfer = class.and_then(|class| Transfer::new(&request.call, class));
    // The arrays of buffers may be read only if the kernel has found them good.
    let may_look = |transfer: &Transfer<'_>| transfer.has_one_buffer() || outcome.result >= 0;
    let mut record = aio2_record::Request {
        nr: request.call.nr() as u32,
        fd: request.fd.unwrap_or(-1),
        tid: thread,
        offset: transfer.and_then(|t| t.offset()).unwrap_or(aio2_record::NO_OFFSET),
        length: transfer.filter(may_look).map_or(0, |t| t.wanted(request.is_full())),
        result: outcome.result,
        ..aio2_record::Request::default()
    };
    if outcome.begun == Begun::Yes {
        record.has = has::TIMING | has::PATH;
        record.submitted_ns = outcome.timing.submitted;
        record.started_ns = outcome.timing.started;
        record.completed_ns = outcome.timing.completed;
        (record.place, record.cpu) = (outcome.path.place, outcome.path.cpu);
        record.blocked_ns = outcome.path.blocked_ns;
    }
    if let Some(hit) = outcome.hit {
        record.has |= has::CACHE;
        record.hit = hit;
        record.miss = (outcome.result.max(0) as u64).saturating_sub(hit);
    }
    record
}
