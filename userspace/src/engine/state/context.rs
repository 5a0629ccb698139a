//! The state of a context, under its one lock.
//!
//! Everything that several threads need stands in [`Context`]; whatever sleeps
//! or wakes is done after the lock is released, by what a method returns or by
//! [`super::deferred`]. Lock order: there is only this lock.
//!
//! SPEC: sections 5.6 (overflow), 5.7 (notification), 10 (limits).

use super::deferred::Deferred;
use super::device::{Device, Reach};
use super::order::Order;
use super::polls::Polls;
use super::slots::{Keys, Known, Lane, MANY, Slots};
use super::timers::Timers;
use super::waiters::{Round, Waiters};
use super::workers::Workers;
use crate::backend::Counters;
use crate::engine::request::Request;
use crate::engine::request::progress::Progress;
use crate::engine::run;
use crate::os::clock;
use crate::os::notify::Notifier;
use crate::ring::shm::{ConsumerMap, ProducerMap};
use crate::ring::{Consumer, Producer, Sink};
use crate::sync::{AtomicU32, Condvar, Mutex, MutexGuard, Ordering};
use aio2_abi::event;
use aio2_abi::setup::Setup;
use aio2_record::Recorder;
use std::collections::{BinaryHeap, TryReserveError};
use std::sync::{Arc, PoisonError, TryLockError};

/// A request on its way to an executor.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) request: Request,
    pub(crate) progress: Progress,
}

/// What all threads of a context share.
pub(crate) struct Shared {
    context: Mutex<Context>,
    /// Workers wait here for jobs.
    pub(crate) jobs: Condvar,
    /// The timer waits here for something to do.
    pub(crate) alarm: Condvar,
    pub(crate) notifier: Notifier,
    /// What may be given to a device, as far as was known at the beginning.
    pub(crate) reach: Reach,
    /// Where each request is recorded, if it is.
    pub(crate) recorder: Option<&'static Recorder>,
    /// How much is known of what is waited for, for a look without the lock.
    waiting: Arc<AtomicU32>,
    /// Does what was deferred, without the lock.
    relief: Relief,
}

/// What does what was deferred: nothing in a test of the state alone.
pub(crate) type Relief = fn(&Arc<Shared>);

/// What changes.
pub(crate) struct Context {
    pub(crate) sink: Sink<ProducerMap>,
    /// Of the oldest ring in which there are events; others are its clones.
    consumer: Consumer<ConsumerMap>,
    pub(crate) slots: Slots<Job>,
    pub(crate) waiters: Waiters,
    pub(crate) workers: Workers,
    pub(crate) device: Device,
    pub(crate) order: Order,
    pub(crate) timers: Timers,
    pub(crate) polls: Polls,
    /// What whoever has the lock does after it.
    pub(crate) deferred: Deferred,
    /// Requests that are accepted, or may be by a submission that goes on, and
    /// whose event is not with the sink yet.
    in_flight: usize,
    max_requests: usize,
    /// How many events were published.
    pub(crate) published: u64,
    /// How many requests have ended, and how many of them within their submission.
    ended: u64,
    pub(crate) ended_inline: u64,
    /// How many were available when they were counted last, and published by then.
    counted: (usize, u64),
    /// Someone may look at the eventfd.
    pub(crate) watched: bool,
    /// As [`Shared::waiting`].
    waiting: Arc<AtomicU32>,
}

/// How long nothing is in flight before memory is given back, in ns.
const IDLE_NS: u64 = 1_000_000_000;

/// Room for the event of one request.
pub(crate) type EventRoom = [u64; event::LEN_MAX / 8];

impl Shared {
    pub(crate) fn new(
        sink: Sink<ProducerMap>,
        consumer: Consumer<ConsumerMap>,
        notifier: Notifier,
        watched: bool,
        setup: &Setup,
        reach: Reach,
        relief: Relief,
    ) -> Self {
        let waiting = Arc::new(AtomicU32::new(0));
        let context = Context {
            sink,
            consumer,
            slots: Slots::new(),
            waiters: Waiters::default(),
            workers: Workers::new(setup.concurrency),
            device: Device::new(reach != Reach::Nothing),
            order: Order::new(setup.max_requests as usize),
            timers: Timers::default(),
            polls: Polls::default(),
            deferred: Deferred::default(),
            in_flight: 0,
            published: 0,
            ended: 0,
            ended_inline: 0,
            counted: (0, 0),
            max_requests: setup.max_requests as usize,
            watched,
            waiting: waiting.clone(),
        };
        let (jobs, alarm) = (Condvar::new(), Condvar::new());
        let context = Mutex::new(context);
        Shared { context, jobs, alarm, notifier, reach, recorder: None, waiting, relief }
    }

    /// The state. No call panics with it half changed, so that a lock which a
    /// panic left behind is as good as any.
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, Context> {
        self.context.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state in a child after fork; none if a thread of the parent was at
    /// it just then, which will never release it here.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, Context>> {
        match self.context.try_lock() {
            Ok(context) => Some(context),
            Err(TryLockError::Poisoned(context)) => Some(context.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Whether `request`, if it ran now, would overtake others that wait for its
    /// file, or would have to wait as those before it.
    ///
    /// SPEC: R-WAIT-2
    #[inline]
    pub(crate) fn foresees_wait(&self, request: &Request) -> bool {
        // Relaxed: who was accepted before by this thread, or told it so, is seen.
        self.waiting.load(Ordering::Relaxed) > 0 && self.looks_ahead(request)
    }

    #[cold]
    fn looks_ahead(&self, request: &Request) -> bool {
        let (Some(direction), Some(fd)) = (request.waits_for(), request.fd) else { return false };
        let mut context = self.lock();
        context.polls.files.is_waited_for(fd, direction)
            || run::waits_if_empty(request) && context.polls.foresees_wait(fd)
    }

    /// Releases the lock and tells those whom the events in the ring concern.
    ///
    /// Without a waiter and a watched eventfd it enters no kernel.
    #[inline]
    pub(crate) fn tell(self: &Arc<Self>, context: MutexGuard<'_, Context>) {
        let notify = context.watched && context.sink.should_notify();
        let has_deferred = !context.deferred.is_empty();
        if context.waiters.is_empty() {
            drop(context);
        } else {
            self.tell_waiters(context);
        }
        if notify {
            self.notifier.signal();
        }
        if has_deferred {
            (self.relief)(self);
        }
    }

    /// Releases the lock and does what was deferred, where nothing was published.
    pub(crate) fn do_deferred(self: &Arc<Self>, context: MutexGuard<'_, Context>) {
        let is_idle = context.deferred.is_empty();
        drop(context);
        if !is_idle {
            (self.relief)(self);
        }
    }

    /// As [`Shared::tell`], for a thread that needs the lock again: it keeps it
    /// if there is nobody to tell.
    pub(crate) fn tell_between<'a>(
        self: &'a Arc<Self>,
        context: MutexGuard<'a, Context>,
    ) -> MutexGuard<'a, Context> {
        if context.waiters.is_empty() && !context.watched && context.deferred.is_empty() {
            return context;
        }
        self.tell(context);
        self.lock()
    }

    /// Tells the waiters whose wait is satisfied, after releasing the lock.
    #[cold]
    pub(crate) fn tell_waiters<'a>(&'a self, mut context: MutexGuard<'a, Context>) {
        loop {
            let round = context.satisfied();
            let more = round.is_full();
            drop(context);
            round.tell();
            if !more {
                return;
            }
            context = self.lock();
        }
    }
}

impl Context {
    /// Admits up to `wanted` requests whose events need up to `bytes`; how
    /// many, 0 if the limit is reached or there is no memory.
    ///
    /// SPEC: R-LIMIT-1, R-LIMIT-4, R-OVF-1
    pub(crate) fn admit(&mut self, wanted: usize, bytes: usize) -> usize {
        if self.room() < wanted {
            // Events that were reaped meanwhile do not count any more.
            self.sink.flush();
        }
        let admitted = wanted.min(self.room());
        if admitted == 0
            || self.slots.reserve(self.in_flight + admitted).is_err()
            || self.sink.reserve(bytes).is_err()
        {
            return 0;
        }
        self.in_flight += admitted;
        admitted
    }

    /// Takes back the admission of `requests`, and `bytes` of event room.
    pub(crate) fn dismiss(&mut self, requests: usize, bytes: usize) {
        self.in_flight -= requests;
        self.sink.release(bytes);
        self.note_idle();
    }

    /// Has memory given back after a while, if there is much that nobody uses.
    #[inline]
    fn note_idle(&mut self) {
        if self.in_flight == 0 && self.slots.room() >= MANY && self.timers.give_back_at.is_none() {
            self.timers.give_back_at = Some(clock::now().saturating_add(IDLE_NS));
            self.deferred.alarm = true;
        }
    }

    /// Gives back the memory of what has ended, if nothing is in flight.
    pub(crate) fn give_back(&mut self) {
        if self.in_flight > 0 {
            return;
        }
        let slots = self.slots.give_back();
        self.order.give_back(slots);
        self.polls.give_back();
        self.deferred.give_back();
        // Of requests that have ended, all of them.
        self.timers.heap = BinaryHeap::new();
    }

    /// Publishes the events of `requests`, back to back in `words`, for which
    /// `reserved` bytes are reserved.
    pub(crate) fn publish(&mut self, words: &[u64], requests: usize, reserved: usize) {
        self.in_flight -= requests;
        self.published += requests as u64;
        self.ended += requests as u64;
        self.sink.push_all(words, reserved);
        self.note_idle();
    }

    /// A consumer, which begins with the oldest event there is.
    #[inline]
    pub(crate) fn consumer(&mut self) -> Consumer<ConsumerMap> {
        self.consumer.advance();
        self.consumer.clone()
    }

    /// Size of the ring that events go to, in bytes.
    pub(crate) fn ring_bytes(&self) -> u32 {
        self.sink.producer().ring_bytes()
    }

    /// Goes on in a larger ring, given by its two ends.
    ///
    /// # Errors
    /// If the memory cannot be had; nothing changes then.
    ///
    /// SPEC: R-GROW-1, R-GROW-3, R-GROW-4
    pub(crate) fn grow(
        &mut self,
        producer: Producer<ProducerMap>,
        consumer: Consumer<ConsumerMap>,
    ) -> Result<(), TryReserveError> {
        let first = &self.consumer;
        self.sink.grow(producer, || first.append(consumer))?;
        // Lets go of what is empty.
        self.consumer.advance();
        Ok(())
    }

    /// Number of available events, counted up to `limit`.
    pub(crate) fn available(&mut self, limit: usize) -> usize {
        let waiting = self.sink.overflow_events();
        let available = waiting + self.sink.available_events(limit.saturating_sub(waiting));
        if available < limit {
            self.counted = (available, self.published);
        }
        available
    }

    /// Whether so many events are available. It counts them only if that can be: who
    /// waits for many looks again after each few.
    pub(crate) fn has_available(&mut self, events: usize) -> bool {
        events <= self.available_at_most() && self.available(events) >= events
    }

    /// A number that the available events do not exceed, without counting them.
    fn available_at_most(&mut self) -> usize {
        let (counted, published) = self.counted;
        let since = (self.published - published) as usize;
        let bytes = self.sink.used_bytes() as usize;
        let fit = self.sink.overflow_events() + bytes / event::HEADER_BYTES;
        fit.min(counted.saturating_add(since))
    }

    /// Takes out the waiters that are satisfied now.
    fn satisfied(&mut self) -> Round {
        let available = match self.waiters.least_events() {
            // They wait in vain, and shall learn it. SPEC: R-HOST-5.
            Some(_) if self.sink.has_bad_head() => usize::MAX,
            // Counting walks the ring: not before there can be enough, else who waits
            // for many would make each event as dear as all before it.
            Some(least) if least <= self.available_at_most() => {
                self.available(self.waiters.wanted_events())
            }
            _ => 0,
        };
        let slots = &self.slots;
        self.waiters.satisfied(available, |id| slots.known(id.get()) == Known::Ended)
    }

    /// Whether `request`, if it ran now, would overtake others that wait for its file.
    ///
    /// SPEC: R-WAIT-2
    pub(crate) fn overtakes(&self, request: &Request) -> bool {
        let (Some(direction), Some(fd)) = (request.waits_for(), request.fd) else { return false };
        self.polls.files.is_waited_for(fd, direction)
    }

    /// Notes how much is known of what is waited for.
    pub(crate) fn count_waiting(&self) {
        let waiting = self.polls.known() as u32;
        // Relaxed: as in `Shared::foresees_wait`; under the lock.
        self.waiting.store(waiting, Ordering::Relaxed);
    }

    /// Requests that are in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// What it has in hand.
    pub(crate) fn counters(&self) -> Counters {
        Counters {
            in_flight: self.in_flight,
            queued: self.slots.queued(Lane::Workers),
            on_device: self.slots.queued(Lane::Device) + self.device.in_flight(),
            on_files: self.polls.files.waiting() + self.polls.watched.len(),
            workers: self.workers.count,
            idle_workers: self.workers.idle,
            overflowed: self.sink.overflow_events(),
            ended: self.ended,
            ended_inline: self.ended_inline,
        }
    }

    /// Requests that may still be admitted.
    pub(crate) fn room(&self) -> usize {
        self.max_requests.saturating_sub(self.in_flight + self.sink.overflow_events())
    }
}

impl Request {
    /// What a cancel can match it by.
    pub(crate) fn keys(&self) -> Keys {
        Keys { user_data: self.user_data, nr: self.call.nr() as u32, fd: self.fd }
    }
}
