//! A queue: requests go in, completions come out, and what a request owns
//! belongs to the queue meanwhile.
//!
//! Duty: keep every buffer, path and descriptor alive and in its place until
//! the implementation is done with it, whatever the application does. Each
//! request that is pushed ends with exactly one [`Completion`]. Not here: what
//! an operation is ([`crate::Op`]), and how events are taken ([`crate::reap`]).
//!
//! SPEC: sections 4.2 (R-SUBMIT-1, 2), 4.4 (cancel), 7 (R-EVENT-1), 11
//! (R-LIFE-2).

mod completion;
mod dispatcher;
mod order;
mod place;
mod slab;

pub use crate::submit::Key;
pub use completion::Completion;
pub use dispatcher::Dispatcher;
use place::{NO_OPERATION, Order, Place};
pub(crate) use slab::Slab;

use crate::backend::{Timeout, Wait};
use crate::context::Context;
use crate::error::{CancelError, Errno, ReapError, SubmitError, WaitError};
use crate::reap::{OwnedEvent, Reaper};
use crate::submit::{Buffer, Follows, Iocbs, Op, Signal};
use aio2_abi::iocb::{NoRoom, Stream};
use aio2_abi::setup::Features;
use aio2_abi::wait::{Cancel, CancelFlags};
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};

/// What a cancel met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It had not started, and never will.
    NotStarted,
    /// It ran and was told to stop.
    Interrupted,
    /// It runs on to its end.
    TooLate,
}

struct Entry<B, T> {
    op: Op<B>,
    token: T,
    place: Place,
}

/// Requests with their buffers `B`, each with a token `T` of the caller's, over
/// a context of its own.
///
/// Nothing is allocated for a request once the queue has been as full as it
/// gets, unless it has an attribute with a value: a tag, a deadline, a group,
/// an order, a signal. When the queue is dropped, it cancels what is in flight
/// and waits for it. If it is leaked instead, so are the buffers: that is safe.
///
/// ```
/// use aio2::{Context, Op, Queue, Timeout};
/// use std::fs::File;
///
/// let mut queue = Queue::new(Context::new()?);
/// queue.push(Op::read_at(File::open("/etc/passwd")?, vec![0; 64], 0), "a token");
/// for done in queue.wait(1, Timeout::Forever)? {
///     println!("{}: {} bytes", done.token, done.result?);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Queue<B: Buffer, T> {
    /// Queued and in flight. An entry never moves (see [`Slab`]).
    entries: Slab<Entry<B, T>>,
    /// The requests that are queued, in order.
    iocbs: Iocbs,
    in_flight: usize,
    /// Requests that were never accepted, and why.
    refused: VecDeque<(Key, Errno)>,
    order: Order,
    reaper: Reaper,
    context: Context,
}

impl<B: Buffer, T> Queue<B, T> {
    /// A queue over `context`, whose events it reaps.
    ///
    /// An event that another consumer of the context takes is one that the
    /// queue waits for in vain.
    #[must_use]
    pub fn new(context: Context) -> Self {
        Queue {
            entries: Slab::new(),
            iocbs: Iocbs::new(),
            in_flight: 0,
            refused: VecDeque::new(),
            order: Order::default(),
            reaper: Reaper::new(context.backend().clone()),
            context,
        }
    }

    /// The context.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// How many requests are pushed and not accepted yet, with those that are held
    /// until another one has ended ([`crate::After`]).
    #[must_use]
    pub fn queued(&self) -> usize {
        self.iocbs.count() + self.order.held
    }

    /// How many requests are accepted, and their completions not handed out.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How many completions are still to come: for all that was pushed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queued() + self.in_flight + self.refused.len()
    }

    /// True if no completion is to come.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Queues an operation; [`Queue::submit`] or [`Queue::wait`] submits it.
    ///
    /// If its attributes are too long for an iocb, its completion says E2BIG; if
    /// it could use its buffer after its completion, EOPNOTSUPP ([`Op::send`]); if it
    /// would fill one that is shared, EFAULT ([`Buffer`]); if a path of it has a byte 0,
    /// EINVAL.
    #[inline]
    pub fn push<K>(&mut self, mut op: Op<B, K>, token: T) -> Key {
        let (refusal, has_order) = (op.refusal(), op.has_order());
        let place = Place::queued(self.order.next);
        let (key, entry) = self.entries.insert(Entry { op: op.untyped(), token, place });
        self.order.pushed(key);
        if has_order {
            entry.place = Place::NEW;
            self.push_ordered(key, refusal);
        } else if let Some(errno) = refusal {
            self.refuse(key, errno);
        } else if entry.encode(None, key, Follows::Nothing, &mut self.iocbs).is_ok() {
            self.order.next += 1;
        } else {
            self.refuse_long(key);
        }
        Key(key)
    }

    /// Queues a request that has its place.
    fn enqueue(&mut self, key: u64, follows: Follows) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.place.number = self.order.next;
        let instead = entry.place.doom().map(|_| NO_OPERATION);
        if entry.encode(instead, key, follows, &mut self.iocbs).is_ok() {
            self.order.next += 1;
        } else {
            self.refuse_long(key);
        }
    }

    /// Refuses a request whose iocb, the last one, would be too long.
    #[cold]
    fn refuse_long(&mut self, key: u64) {
        self.iocbs.remove(key);
        self.refuse(key, Errno(libc::E2BIG));
    }

    /// Ends a request that is not with the implementation, and is neither queued nor
    /// held any more: its completion says `errno`.
    #[cold]
    fn refuse(&mut self, key: u64, errno: Errno) {
        if let Some(Entry { place, .. }) = self.entries.get_mut(key) {
            self.order.doomed -= usize::from(!place.is_held() && place.doom().is_some());
            *place = Place::REFUSED;
        }
        self.refused.push_back((Key(key), errno));
    }

    /// Queues a list of operations as the group `key`, and behind them the one
    /// that closes it, whose key is returned: its completion comes when all of
    /// them have ended, and says how many failed. So does lio_listio(3).
    /// A list of none is no group: it ends with ENOENT, and what is after it does not run.
    ///
    /// What is to start after all of them, if all went well, is pushed after that
    /// key. It makes no difference whether they have ended by then:
    ///
    /// ```
    /// # use aio2::{Context, Op, Queue, SharedFd, Timeout};
    /// # let file = SharedFd::new(std::fs::OpenOptions::new().write(true).open("/dev/null")?);
    /// let mut queue = Queue::new(Context::new()?);
    /// let writes = (0..4).map(|n| (Op::write_at(&file, vec![b'x'; 10], n * 10).full(), "write"));
    /// let all = queue.push_list(1, writes, "all are written", None);
    /// queue.push(Op::nop().after(all), "only if none has failed");
    /// # while !queue.is_empty() {
    /// #     for done in queue.wait(1, Timeout::Forever)? {
    /// #         done.result?;
    /// #     }
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn push_list<K>(
        &mut self,
        key: u64,
        list: impl IntoIterator<Item = (Op<B, K>, T)>,
        end: T,
        signal: Option<Signal>,
    ) -> Key {
        for (op, token) in list {
            self.push(op.in_group(key), token);
        }
        let close = Op::group(key);
        self.push(signal.into_iter().fold(close, Op::signal), end)
    }

    /// Submits what is queued; returns how many requests were accepted. The
    /// others stay queued.
    ///
    /// # Errors
    /// [`SubmitError::LimitReached`] or [`SubmitError::NoRoom`] if none was
    /// accepted: all stay queued.
    /// [`SubmitError::Malformed`] names the first request that is malformed;
    /// those before it are accepted, those behind it stay queued, and its own
    /// completion has the error too. It takes `unsafe` attributes to make one.
    pub fn submit(&mut self) -> Result<usize, SubmitError> {
        if self.iocbs.is_empty() {
            return Ok(0);
        }
        let submitted = self.submit_raw();
        self.note_submission(submitted)
    }

    /// Accounts for a submission of what is queued, of which so many bytes were
    /// accepted, or none.
    fn note_submission(
        &mut self,
        submitted: Result<usize, SubmitError>,
    ) -> Result<usize, SubmitError> {
        let bytes = match submitted {
            Ok(bytes) => bytes,
            Err(error) => {
                if let SubmitError::Malformed { errno, .. } = error {
                    self.refuse_first(errno);
                    self.mend_front();
                }
                return Err(self.explain_limit(error));
            }
        };
        let accepted = self.iocbs.consume(bytes);
        self.in_flight += accepted;
        self.mend_front();
        // What is left is one too many, or malformed; the latter is told now.
        let rest = Stream::new(self.iocbs.bytes()).map(|rest| rest.peek());
        if let Ok(Some(Err(reason))) = rest {
            let errno = Errno(reason.errno());
            self.refuse_first(errno);
            self.mend_front();
            let reason = Some(reason);
            return Err(SubmitError::Malformed { index: accepted, offset: bytes, reason, errno });
        }
        Ok(accepted)
    }

    /// Which limit it is: the context's own counts at most what is in flight.
    #[cold]
    fn explain_limit(&self, error: SubmitError) -> SubmitError {
        match error {
            SubmitError::LimitReached { max_requests }
                if self.in_flight < max_requests as usize =>
            {
                SubmitError::NoRoom
            }
            error => error,
        }
    }

    fn submit_raw(&mut self) -> Result<usize, SubmitError> {
        // SAFETY: what the iocbs name is owned by `entries`, where an entry
        // neither moves nor is touched until its terminal event was seen or
        // the implementation has said that it is quiet; see also `Op::syscall`
        // and `Op::attr_raw`. The user_data are this queue's.
        unsafe { self.context.submit_iocbs(self.iocbs.bytes_mut()) }
    }

    /// Takes the first queued request out; its completion will say why.
    #[cold]
    fn refuse_first(&mut self, errno: Errno) {
        let first = self.iocbs.user_datas().next();
        self.iocbs.remove_front();
        if let Some(user_data) = first {
            self.refuse(user_data, errno);
        }
    }

    /// Submits what is queued and waits until at least `min` completions are
    /// there, at most as long as `timeout` says; returns an iterator over all
    /// that are there then. What it does not take stays.
    ///
    /// `min` counts as at most what is in flight, so that it does not wait for
    /// requests that a limit keeps in the queue. When the time is over there
    /// are fewer completions, or none. So there are if multishot requests are in
    /// flight: an event that one of them sends before its end counts, too, which
    /// [`Queue::pop_any`] returns and the iterator passes over.
    ///
    /// To push while completions are being handled, do not hold the iterator:
    ///
    /// ```
    /// # use aio2::{Context, Op, Queue, Timeout};
    /// # let mut queue: Queue<Vec<u8>, u64> = Queue::new(Context::new()?);
    /// while !queue.is_empty() {
    ///     queue.wait(1, Timeout::Forever)?;
    ///     while let Some(done) = queue.pop()? {
    ///         queue.push(Op::nop(), done.token + 1);
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WaitError::Interrupted`] by a signal; [`WaitError::Submit`] as
    /// [`Queue::submit`], but a limit only if nothing is in flight that could
    /// make room; [`WaitError::Reap`] if the ring is broken.
    pub fn wait(
        &mut self,
        min: usize,
        timeout: Timeout,
    ) -> Result<Completions<'_, B, T>, WaitError> {
        let submitted = match self.missing_for_one_call(min)? {
            Some(missing) => self.submit_and_wait(missing, timeout)?,
            None => self.submit(),
        };
        match submitted {
            Err(error) if error.is_full() && self.len() > self.queued() => {}
            other => {
                other?;
            }
        }
        let ready = self.refused.len() + self.reaper.ready()?;
        let want = min.min(self.refused.len() + self.in_flight);
        if ready < want {
            let missing = u32::try_from(want - ready).unwrap_or(u32::MAX);
            self.reaper.sleep(missing, timeout)?;
        }
        Ok(Completions { queue: self })
    }

    /// How many events to wait for in the call that submits, if that is one
    /// call less. It is not where calls are cheap, or if the wait could be for
    /// requests that are not accepted.
    fn missing_for_one_call(&mut self, min: usize) -> Result<Option<u32>, ReapError> {
        if self.iocbs.is_empty() || self.context.setup().features().contains(Features::IN_PROCESS) {
            return Ok(None);
        }
        let claimed = self.reaper.ready()?;
        let missing = min.min(self.len()).saturating_sub(self.refused.len() + claimed);
        // If one is accepted; if none is, the call does not wait.
        let to_come = self.in_flight.saturating_sub(claimed) + 1;
        Ok(u32::try_from(missing).ok().filter(|&n| n > 0 && missing <= to_come))
    }

    /// Submits what is queued and waits, in one call; what became of the
    /// submission.
    fn submit_and_wait(
        &mut self,
        missing: u32,
        timeout: Timeout,
    ) -> Result<Result<usize, SubmitError>, WaitError> {
        let wait = Wait { timeout, ..Wait::events(missing) };
        // SAFETY: as in `submit_raw`.
        let got = unsafe { self.context.submit_and_wait(&wait, self.iocbs.bytes_mut(), None) };
        let (submitted, ended) = match got {
            Ok(got) => (Ok(got.submitted), got.ended),
            Err(WaitError::Submit(error)) => (Err(error), None),
            Err(error) => return Err(error),
        };
        let submitted = self.note_submission(submitted);
        match ended {
            None | Some(Errno(libc::ETIME)) => Ok(submitted),
            Some(Errno(libc::EINTR)) => Err(WaitError::Interrupted),
            Some(errno) => Err(WaitError::Refused(errno)),
        }
    }

    /// How many completions are there, counted up to `wanted`; `wanted` also
    /// if the queue can hold no more.
    pub(crate) fn gather(&mut self, wanted: usize) -> Result<usize, ReapError> {
        let refused = self.refused.len();
        Ok(refused + self.reaper.gather(wanted.saturating_sub(refused))?)
    }

    /// An iterator over the completions that are there. What it does not take
    /// stays.
    ///
    /// # Errors
    /// [`ReapError`] if the ring is broken.
    pub fn reap(&mut self) -> Result<Completions<'_, B, T>, ReapError> {
        self.reaper.ready()?;
        Ok(Completions { queue: self })
    }

    /// The next completion that is there, or none. What multishot requests
    /// send before is passed over.
    ///
    /// # Errors
    /// [`ReapError`] if the ring is broken.
    #[inline]
    pub fn pop(&mut self) -> Result<Option<Completion<B, T>>, ReapError> {
        if let Some(refused) = self.pop_refused()? {
            return Ok(Some(refused));
        }
        while let Some(event) = self.reaper.next_event()? {
            if !event.is_last() {
                continue;
            }
            let key = event.user_data();
            if !self.order.is_idle {
                let event = OwnedEvent::of(&event);
                match self.end_ordered(key, event) {
                    None => continue,
                    done => return Ok(done),
                }
            }
            if let Some(Entry { op, token, .. }) = take(&mut self.entries, key, event.result()) {
                self.in_flight = self.in_flight.saturating_sub(1);
                return Ok(Some(Completion::ended(op, token, event)));
            }
        }
        Ok(None)
    }

    /// Ends a request while others may wait for it, or it is to fail.
    #[cold]
    fn end_ordered(&mut self, key: u64, event: OwnedEvent) -> Option<Completion<B, T>> {
        let event = event.as_event();
        let Entry { op, token, place } = take(&mut self.entries, key, event.result())?;
        self.in_flight = self.in_flight.saturating_sub(1);
        let done = match place.doom() {
            None => Completion::ended(op, token, event),
            Some(errno) => {
                self.order.doomed -= 1;
                Completion::refused(op, token, errno)
            }
        };
        self.note_end(key, &done);
        Some(done)
    }

    /// A completion leaves the queue.
    #[cold]
    fn note_end(&mut self, key: u64, done: &Completion<B, T>) {
        self.set_free(key, done.op.closes(), done.op.has_failed(done.result));
    }

    /// The next completion of a request that was never accepted.
    ///
    /// # Errors
    /// [`ReapError::Forked`] in a child after fork, if there is one.
    #[inline]
    fn pop_refused(&mut self) -> Result<Option<Completion<B, T>>, ReapError> {
        if self.refused.is_empty() { Ok(None) } else { self.next_refused() }
    }

    #[cold]
    fn next_refused(&mut self) -> Result<Option<Completion<B, T>>, ReapError> {
        self.reaper.in_its_process()?;
        while let Some((key, errno)) = self.refused.pop_front() {
            if let Some(Entry { op, token, .. }) = self.entries.remove_as(key.0, |_| true) {
                let done = Completion::refused(op, token, errno);
                if !self.order.is_idle {
                    self.note_end(key.0, &done);
                }
                return Ok(Some(done));
            }
        }
        Ok(None)
    }

    /// The next completion that is there, or the next event of a multishot
    /// request that goes on; none if there is neither.
    ///
    /// ```
    /// # use aio2::flags::PollFlags;
    /// # use aio2::{Context, Op, Progress, Queue, SharedFd, Timeout};
    /// # use std::io::Write;
    /// # let (reader, mut writer) = std::io::pipe()?;
    /// # let reader = SharedFd::new(std::os::fd::OwnedFd::from(reader));
    /// # writer.write_all(b"x")?;
    /// let mut queue: Queue<Vec<u8>, &str> = Queue::new(Context::new()?);
    /// let key = queue.push(Op::poll(&reader, PollFlags::IN).multishot(), "reader");
    /// queue.wait(1, Timeout::Forever)?;
    /// while let Some(popped) = queue.pop_any()? {
    ///     match popped {
    ///         Progress::More { token, result, .. } => println!("{token} is ready: {result:?}"),
    ///         Progress::Ended(done) => println!("{} is no longer watched", done.token),
    ///     }
    /// }
    /// queue.cancel(key)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ReapError`] if the ring is broken.
    #[inline]
    pub fn pop_any(&mut self) -> Result<Option<Progress<'_, B, T>>, ReapError> {
        if let Some(refused) = self.pop_refused()? {
            return Ok(Some(Progress::Ended(refused)));
        }
        let (key, result) = loop {
            let Some(event) = self.reaper.next_event()? else { return Ok(None) };
            let key = event.user_data();
            // An event of nobody's here is a stranger's, who submitted raw.
            if !event.is_last() {
                if self.entries.get_mut(key).is_some() {
                    break (key, event.result());
                }
            } else if !self.order.is_idle {
                let event = OwnedEvent::of(&event);
                if let Some(done) = self.end_ordered(key, event) {
                    return Ok(Some(Progress::Ended(done)));
                }
            } else if let Some(entry) = take(&mut self.entries, key, event.result()) {
                self.in_flight = self.in_flight.saturating_sub(1);
                return Ok(Some(Progress::Ended(Completion::ended(entry.op, entry.token, event))));
            }
        };
        let entry = self.entries.get_mut(key);
        Ok(entry.map(|entry| Progress::More { key: Key(key), token: &mut entry.token, result }))
    }

    /// Cancels a request; its completion comes nevertheless. Does not wait.
    ///
    /// # Errors
    /// [`CancelError::NotFound`] if it has ended.
    pub fn cancel(&mut self, key: Key) -> Result<Cancelled, CancelError> {
        let errno = Errno(libc::ECANCELED);
        if self.doom_member(key.0, errno)
            || self.give_up(key, errno)
            || self.give_up_held(key.0, errno)
        {
            return Ok(Cancelled::NotStarted);
        }
        let mut cancel =
            Cancel { flags: CancelFlags::USER_DATA.bits(), user_data: key.0, ..Cancel::default() };
        self.context.cancel(&mut cancel)?;
        Ok(match cancel {
            Cancel { cancelled: 1.., .. } => Cancelled::NotStarted,
            Cancel { interrupted: 1.., .. } => Cancelled::Interrupted,
            _ => Cancelled::TooLate,
        })
    }

    /// Takes a request that is still queued out, to end with `errno`; false if
    /// it is not queued.
    pub(crate) fn give_up(&mut self, key: Key, errno: Errno) -> bool {
        let queued = self.iocbs.remove(key.0);
        if queued {
            let number = self.entries.get_mut(key.0).map_or(0, |entry| entry.place.number);
            self.refuse(key.0, errno);
            self.mend_around(number);
        }
        queued
    }

    /// Cancels every request; the completions come nevertheless. Does not wait.
    ///
    /// # Errors
    /// [`CancelError::Refused`].
    pub fn cancel_all(&mut self) -> Result<(), CancelError> {
        let queued = mem::take(&mut self.iocbs);
        for user_data in queued.user_datas() {
            self.refuse(user_data, Errno(libc::ECANCELED));
        }
        self.iocbs = queued;
        self.iocbs.clear();
        self.give_up_all_held(Errno(libc::ECANCELED));
        let mut cancel = Cancel { flags: CancelFlags::ALL.bits(), ..Cancel::default() };
        match self.context.cancel(&mut cancel) {
            Ok(_) | Err(CancelError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Cancels every request and waits until all have ended: their completions can
    /// be taken then.
    pub(crate) fn quiet_down(&mut self) {
        // What cannot be cancelled ends by itself; in a child nothing does.
        let _ = self.cancel_all();
        if self.in_flight > 0 {
            self.quiesce();
        }
    }

    /// Has every request end, and waits for that. False if it cannot be known.
    fn quiesce(&self) -> Quiet {
        let flags = CancelFlags::ALL | CancelFlags::WAIT;
        loop {
            let mut cancel = Cancel { flags: flags.bits(), ..Cancel::default() };
            match self.context.cancel(&mut cancel) {
                Ok(_) | Err(CancelError::NotFound) => return Quiet::Yes,
                Err(CancelError::Interrupted) => {}
                Err(CancelError::Refused(Errno(libc::EXDEV))) => return Quiet::Elsewhere,
                Err(_) => return Quiet::Unknown,
            }
        }
    }
}

impl<B: Buffer, T> Entry<B, T> {
    /// Appends its iocb, which names the operation `instead` if there is one. Named by
    /// address only now that it lies where it stays.
    #[inline(always)] // a push of one without an order does nothing else
    fn encode(
        &mut self,
        instead: Option<u32>,
        key: u64,
        follows: Follows,
        iocbs: &mut Iocbs,
    ) -> Result<(), NoRoom> {
        let call = self.op.call();
        let args = call.args.get(..call.nr_args).unwrap_or(&call.args);
        let mut iocb = iocbs.push(instead.unwrap_or(call.nr), args, call.flags, key)?;
        self.op.encode_attributes(&mut iocb, follows)
    }
}

/// Takes out what has ended with `result`; none if it is nobody's here: a
/// stranger's, who submitted raw.
#[inline(always)] // it is large, and would be copied
fn take<B, T>(
    entries: &mut Slab<Entry<B, T>>,
    key: u64,
    result: Result<u64, Errno>,
) -> Option<Entry<B, T>> {
    entries.remove_as(key, |entry| entry.op.has_failed(result))
}

/// Whether buffers can be freed.
enum Quiet {
    /// Nothing runs any more.
    Yes,
    /// This is a child after fork: the requests use the parent's memory.
    Elsewhere,
    /// Something may still run.
    Unknown,
}

impl<B: Buffer, T> Drop for Queue<B, T> {
    /// Cancels what is in flight and waits until it has ended.
    ///
    /// Tokens and buffers run code of others when they are dropped, which can
    /// panic: they are dropped last, when nothing uses them any more.
    fn drop(&mut self) {
        let quiet = if self.in_flight > 0 { self.quiesce() } else { Quiet::Yes };
        let mut entries = mem::take(&mut self.entries);
        if let Quiet::Unknown = quiet {
            mem::forget(entries);
            return;
        }
        for key in self.iocbs.user_datas() {
            entries.get_mut(key).into_iter().for_each(|entry| entry.op.close_unbegun());
        }
        for entry in entries.iter_mut().filter(|entry| entry.place.is_here()) {
            entry.op.close_unbegun();
        }
        while let Ok(Some(event)) = self.reaper.next_event() {
            if event.is_last()
                && let Some(entry) = entries.get_mut(event.user_data())
            {
                drop(completion::take_effect(&mut entry.op, &event));
                entry.op.close_unbegun();
            }
        }
        // Left are those whose events another consumer took.
        for entry in entries.iter_mut() {
            entry.op.let_go();
        }
    }
}

impl<B: Buffer, T> AsFd for Queue<B, T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.context.as_fd()
    }
}

impl<B: Buffer, T> fmt::Debug for Queue<B, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("queued", &self.queued())
            .field("in_flight", &self.in_flight)
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

/// What comes out of a queue.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // a box would be an allocation for each
pub enum Progress<'q, B, T> {
    /// A multishot request has sent an event, and goes on.
    More {
        /// Which one.
        key: Key,
        /// Its token, which it keeps.
        token: &'q mut T,
        /// What the event says.
        result: Result<u64, Errno>,
    },
    /// A request has ended.
    Ended(Completion<B, T>),
}

/// An iterator over the completions that are there.
///
/// It ends early if the ring is broken, which the queue's next call reports.
pub struct Completions<'q, B: Buffer, T> {
    queue: &'q mut Queue<B, T>,
}

impl<B: Buffer, T> Iterator for Completions<'_, B, T> {
    type Item = Completion<B, T>;

    #[inline]
    fn next(&mut self) -> Option<Completion<B, T>> {
        // Behind the last one a look at the ring would find nothing, at the cost of a
        // full barrier.
        if self.queue.in_flight == 0 && self.queue.refused.is_empty() {
            return None;
        }
        self.queue.pop().ok().flatten()
    }
}

impl<B: Buffer, T> fmt::Debug for Completions<'_, B, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completions").field("queue", &self.queue).finish_non_exhaustive()
    }
}
