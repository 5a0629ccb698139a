//! Submission: from the bytes of a stream to requests that run.
//!
//! What completes inline is collected in a [`Submission`] on the stack and published
//! as one: two short critical sections for a stream, however long, and no
//! allocation. The lock is never held while an operation runs.
//!
//! SPEC: sections 4.2, 6.4 (running), 6.5 (R-ID-1).
#![allow(unsafe_code)] // passes on what the submitter vouches for

use super::accept;
use super::earlier::{Earlier, Past};
use crate::engine::executors;
use crate::engine::request::Request;
use crate::engine::request::progress::Progress;
use crate::engine::run;
use crate::engine::run::event::{plain_event, recorded, write_unrecorded};
use crate::engine::run::outcome;
use crate::engine::run::sure::Facts;
use crate::engine::state::context::{Job, Shared};
use crate::engine::state::slots::Id;
use crate::error::Errno;
use crate::syscall::Class;
use aio2_abi::attr::PATH_INLINE;
use aio2_abi::event;
use aio2_abi::iocb::{self, ID_OFFSET, Iocb, IocbFlags, Malformed, Stream};
use aio2_record::thread_id;
use arrayvec::ArrayVec;
use libc::EAGAIN;
use std::sync::Arc;
use zerocopy::IntoBytes;

/// Words of events that are published at once.
const BATCH_WORDS: usize = 256;
/// Bytes that are moved between two publications: some hundred microseconds.
const MOVED_BYTES: u64 = 1 << 20;
/// Requests that are admitted at once.
const BATCH_REQUESTS: usize = 64;
/// Requests that are handed to the recorder at once.
const BATCH_RECORDED: usize = 16;

const _: () = assert!(BATCH_WORDS * 8 >= event::LEN_MAX);
const _: () = assert!(BATCH_REQUESTS <= u64::BITS as usize);

/// Accepts the iocbs of a stream in order; the bytes accepted.
///
/// # Errors
/// If the first one is malformed or cannot be accepted now.
///
/// # Safety
/// As [`crate::backend::Backend::submit`].
pub(crate) unsafe fn submit(shared: &Arc<Shared>, iocbs: &mut [u8]) -> Result<usize, Errno> {
    let mut batch = Submission::new(shared);
    let record = shared.recorder.map(|recorder| (recorder, thread_id()));
    let mut at = 0;
    let mut stopped = Ok(());
    while at < iocbs.len() {
        let rest = &mut iocbs[at..];
        let iocb = match next(rest) {
            Ok(iocb) => iocb,
            Err(malformed) => {
                stopped = Err(Errno(malformed.errno()));
                break;
            }
        };
        let len = iocb.header.len as usize;
        // SAFETY: the caller vouches for the addresses in the stream.
        let mut request = unsafe { Request::new(&iocb) };
        if let Some(record) = record {
            request.record(record);
        }
        if !batch.admit(&request, rest) {
            stopped = Err(Errno(EAGAIN));
            break;
        }
        batch.earlier.accept();
        if request.is_plain() {
            let id = batch.id(&request, rest);
            batch.run(&request, id, rest);
        } else {
            batch.run_tracked(&request, rest);
        }
        at += len;
    }
    batch.finish();
    if at == 0 { stopped.map(|()| 0) } else { Ok(at) }
}

/// The first iocb of `rest`.
#[inline(always)] // it is large, and would be copied
fn next(rest: &[u8]) -> Result<Iocb<'_>, Malformed> {
    match Stream::new(rest)?.peek() {
        Some(iocb) => iocb,
        None => Err(Malformed::Truncated { left: 0 }),
    }
}

/// What one submission holds between two critical sections.
struct Submission<'a> {
    shared: &'a Arc<Shared>,
    /// Events of requests that completed inline.
    words: ArrayVec<u64, BATCH_WORDS>,
    events: usize,
    /// Bytes that those requests have moved.
    moved: u64,
    /// Bytes that are reserved for them.
    reserved: usize,
    /// Requests that are admitted, and bytes reserved, for what follows.
    admitted: usize,
    room: usize,
    /// Ids of those that completed inline and have one, and a bit for each of
    /// them that failed.
    ids: ArrayVec<Id, BATCH_REQUESTS>,
    failed: u64,
    /// What is to be recorded of those that completed inline.
    recorded: ArrayVec<aio2_record::Request, BATCH_RECORDED>,
    facts: Facts,
    /// When the request before was completed, if it was told so: then this one
    /// is accepted, and the clock need not be read again.
    just_now: Option<u64>,
    earlier: Earlier,
}

impl<'a> Submission<'a> {
    fn new(shared: &'a Arc<Shared>) -> Self {
        Submission {
            shared,
            words: ArrayVec::new(),
            events: 0,
            moved: 0,
            reserved: 0,
            admitted: 0,
            room: 0,
            ids: ArrayVec::new(),
            failed: 0,
            recorded: ArrayVec::new(),
            facts: Facts::default(),
            just_now: None,
            earlier: Earlier::default(),
        }
    }

    /// Admits `request`, the first of `rest`; false at a limit.
    #[inline]
    fn admit(&mut self, request: &Request, rest: &[u8]) -> bool {
        let bytes = request.event_bytes as usize;
        // Who waits does not wait for many copies of much.
        if self.admitted == 0 || self.room < bytes || self.moved >= MOVED_BYTES {
            self.exchange(count_iocbs(rest));
        }
        if self.admitted == 0 {
            return false;
        }
        self.admitted -= 1;
        self.room -= bytes;
        true
    }

    /// Publishes what has completed, and has `wanted` requests admitted.
    fn exchange(&mut self, wanted: usize) {
        self.just_now = None;
        self.record();
        let mut context = self.shared.lock();
        let published = self.events > 0;
        if published {
            context.publish(&self.words, self.events, self.reserved);
            context.ended_inline += self.events as u64;
        }
        for (n, id) in self.ids.drain(..).enumerate() {
            context.retire_plain(id, self.failed >> n & 1 == 1);
        }
        context.dismiss(self.admitted, self.room);
        self.words.clear();
        (self.events, self.reserved, self.failed, self.moved) = (0, 0, 0, 0);
        let room = BATCH_WORDS * 8;
        self.admitted = context.admit(wanted, room);
        self.room = if self.admitted > 0 { room } else { 0 };
        if published || context.deferred.device {
            self.shared.tell(context);
        }
    }

    /// Hands what has completed to the recorder: before its events are published, and
    /// before anything else can run that changes what a descriptor means.
    #[inline]
    fn record(&mut self) {
        if let Some(recorder) = self.shared.recorder
            && !self.recorded.is_empty()
        {
            recorder.take_all(self.recorded.drain(..));
        }
    }

    /// Publishes what is left, and gives back what was not used.
    fn finish(&mut self) {
        self.exchange(0);
        if self.earlier.ids().next().is_some() {
            let mut context = self.shared.lock();
            self.earlier.ids().for_each(|id| context.slots.unpin(id));
        }
    }

    /// Gives the request an id if it asks for one, and writes it to its iocb,
    /// the first of `rest`.
    ///
    /// SPEC: R-ID-1
    #[inline]
    fn id(&mut self, request: &Request, rest: &mut [u8]) -> Option<Id> {
        if !request.flags.contains(IocbFlags::WRITE_ID) {
            return None;
        }
        let id = self.shared.lock().slots.start(request.keys());
        write_id(rest, id);
        Some(id)
    }

    /// Runs an admitted request inline, or gives it to a worker.
    #[inline(always)]
    fn run(&mut self, request: &Request, id: Option<Id>, rest: &[u8]) {
        let mut progress = Progress::new(request, self.just_now.take());
        if request.operation.class() == Some(Class::Worker) {
            // It may close a descriptor that one of those has named, or open another.
            self.record();
        }
        let result = if run::needs_worker(request) {
            None
        } else if self.shared.foresees_wait(request) {
            progress.stuck = true;
            None
        } else {
            run::try_inline(request, &mut progress, &mut self.facts)
        };
        match result {
            Some(result) => {
                if result < 0 && self.earlier.is_needed(rest) {
                    self.earlier.note(Past::Failed);
                }
                self.complete(request, &progress, result, id);
            }
            None => {
                let lane = executors::lane(self.shared, request, &progress, &mut self.facts);
                progress.leave_submission(request, lane);
                let pinned = self.earlier.is_needed(rest);
                let job = Job { request: request.clone(), progress };
                let id = executors::give(self.shared, job, id, pinned);
                if pinned {
                    self.earlier.note(Past::Slot(id));
                }
            }
        }
    }

    /// Runs an admitted request that is not plain, after publishing what has
    /// completed before it.
    #[cold]
    fn run_tracked(&mut self, request: &Request, rest: &mut [u8]) {
        self.exchange(0);
        let pinned = self.earlier.is_needed(rest);
        let before = |n| self.earlier.before(n);
        let id = accept::accept(self.shared, request, before, pinned, &mut self.facts);
        if request.flags.contains(IocbFlags::WRITE_ID) {
            write_id(rest, id);
        }
        if pinned {
            self.earlier.note(Past::Slot(id));
        }
    }

    /// Collects the event of a request that completed inline.
    #[inline(always)]
    fn complete(&mut self, request: &Request, progress: &Progress, result: i64, id: Option<Id>) {
        // There is room for each that was admitted.
        match &request.plan {
            None => self.words.extend(plain_event(request, result)),
            Some(plan) => {
                let told = outcome::finish(request, progress, result, PATH_INLINE);
                self.just_now = told.completed();
                let at = self.words.len();
                self.words.extend(std::iter::repeat_n(0, request.event_bytes as usize / 8));
                let room = self.words[at..].as_mut_bytes();
                let len = write_unrecorded(request, &told, room).len() / 8;
                self.words.truncate(at + len);
                if let Some((_, thread)) = plan.record() {
                    self.recorded.push(recorded(request, &told, thread));
                    if self.recorded.is_full() {
                        self.record();
                    }
                }
            }
        }
        self.events += 1;
        self.moved += progress.done;
        self.reserved += request.event_bytes as usize;
        if let Some(id) = id {
            self.failed |= u64::from(result < 0) << self.ids.len();
            self.ids.push(id);
        }
    }
}

/// Writes the id of the first iocb of `rest`.
fn write_id(rest: &mut [u8], id: Id) {
    rest[ID_OFFSET..ID_OFFSET + 8].copy_from_slice(id.get().as_bytes());
}

/// Number of iocbs in `stream` as their lengths tell, at most as many as are
/// admitted at once. That they are well-formed is not looked at.
fn count_iocbs(stream: &[u8]) -> usize {
    let mut rest = stream;
    let mut count = 0;
    while count < BATCH_REQUESTS
        && let Some((len, _)) = rest.split_first_chunk()
    {
        let len = u32::from_ne_bytes(*len) as usize;
        if len < iocb::HEADER_BYTES || len > rest.len() {
            break;
        }
        rest = &rest[len..];
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iocbs_are_counted_up_to_the_first_impossible_length() {
        let mut bytes = [0; 32 * 4];
        assert_eq!(count_iocbs(&bytes), 0);
        for at in [0, 32, 64] {
            bytes[at..at + 4].copy_from_slice(&32_u32.to_ne_bytes());
        }
        assert_eq!(count_iocbs(&bytes), 3);
        bytes[96..100].copy_from_slice(&40_u32.to_ne_bytes());
        assert_eq!(count_iocbs(&bytes), 3, "it goes beyond the stream");
        assert_eq!(count_iocbs(&[]), 0);
    }
}
