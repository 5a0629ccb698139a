//! The set itself: its members, and the waits for them.

use super::schedule::{self, Rank};
use super::source::Source;
use super::waiters::{Call, Step, Ticket, Waiters};
use super::watch::Watch;
use crate::backend::{Backend, Timeout};
use crate::error::{Errno, ReapError};
use crate::os::clock;
use crate::os::park::{Ended, Parker};
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The ageing of a set whose maker does not say.
const AGEING: NonZeroU32 = NonZeroU32::new(16).expect("not 0");

/// Names a member of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member(u64);

/// An event, and whose it is.
#[derive(Debug)]
pub struct Delivery<I> {
    /// The member that it came from.
    pub member: Member,
    /// The event.
    pub item: I,
}

/// Why a wait for a set brought nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetError {
    /// This member's ring is broken: remove it.
    Broken {
        /// The member.
        member: Member,
        /// What is wrong with it.
        error: ReapError,
    },
    /// What stands in for this member since [`Set::with`] cannot be watched:
    /// remove it.
    Unwatched {
        /// The member.
        member: Member,
        /// As of [`Set::add`].
        errno: Errno,
    },
    /// A signal was caught: call again.
    Interrupted,
    /// Another error.
    Refused(Errno),
}

impl SetError {
    /// The error number.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match *self {
            SetError::Broken { error, .. } => error.errno(),
            SetError::Interrupted => Errno(libc::EINTR),
            SetError::Unwatched { errno, .. } | SetError::Refused(errno) => errno,
        }
    }
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            SetError::Broken { member, error } => {
                write!(f, "member {} is broken, remove it: {error}", member.0)
            }
            SetError::Unwatched { member, errno } => {
                write!(f, "member {} cannot be watched, remove it: {errno}", member.0)
            }
            SetError::Interrupted => f.write_str("a signal ended the wait: call again"),
            SetError::Refused(errno) => write!(f, "cannot wait: {errno}"),
        }
    }
}

impl std::error::Error for SetError {}

/// Several contexts, some of which come before others.
///
/// A member is the `Reaper` of a context or a [`crate::Queue`], and the set alone
/// takes its events. Each has a priority, of which a larger one is delivered
/// first. Ageing keeps the others from starving: a member with an event that
/// was passed over `ageing` times is next. In a set of M members it is passed
/// over at most `ageing` + M - 2 times.
///
/// Any number of threads can wait for one set, and members come and go
/// meanwhile. One of the waiting threads watches the descriptors; where events
/// are too few for its own wait, it wakes those for whom they suffice. With a
/// concurrency value ([`Set::with_concurrency`]) no more threads than that are
/// active with events at a time; one that is going to block says so
/// ([`Active::block`]), and another takes its place.
///
/// ```
/// use aio2::{Context, Op, Queue, Set, Timeout};
///
/// let set: Set<Queue<Vec<u8>, &str>> = Set::new()?;
/// let logs = set.add(Queue::new(Context::new()?), 10)?;
/// let scans = set.add(Queue::new(Context::new()?), 0)?;
/// for (member, what) in [(scans, "scan"), (logs, "log")] {
///     set.with(member, |queue| {
///         queue.push(Op::nop(), what);
///         queue.submit()
///     });
/// }
/// let mut done = Vec::new();
/// let active = set.wait(&mut done, 2, 10, Timeout::Forever)?;
/// assert_eq!(done.iter().map(|d| d.item.token).collect::<Vec<_>>(), ["log", "scan"]);
/// drop(active);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Set<S: Source> {
    state: Mutex<State<S>>,
    watch: Watch,
    ageing: u32,
}

struct State<S> {
    /// In the order in which they came.
    members: Vec<Entry<S>>,
    waiters: Waiters<Arc<Parker>>,
    next: u64,
}

struct Entry<S> {
    member: Member,
    rank: Rank,
    /// It had an event when that was looked at last.
    ready: bool,
    /// Why nobody watches it, if so.
    unwatched: Option<Errno>,
    source: S,
}

impl<S: Source> Set<S> {
    /// A set without members, with an ageing of 16: a member that always comes
    /// last gets one event in about as many.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn new() -> Result<Self, Errno> {
        Set::with_ageing(AGEING)
    }

    /// A set without members, with this ageing.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn with_ageing(ageing: NonZeroU32) -> Result<Self, Errno> {
        Set::with_concurrency(ageing, NonZeroUsize::MAX)
    }

    /// A set without members, with this ageing, and a concurrency value: so
    /// many threads at most are active with events at a time.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn with_concurrency(ageing: NonZeroU32, concurrency: NonZeroUsize) -> Result<Self, Errno> {
        let waiters = Waiters::new(concurrency.get());
        let state = State { members: Vec::new(), waiters, next: 0 };
        Ok(Set { state: Mutex::new(state), watch: Watch::new()?, ageing: ageing.get() })
    }

    /// Adds a member, with what it has already. A larger priority is delivered
    /// first.
    ///
    /// # Errors
    /// EEXIST if its context is a member already; ENOMEM, ENOSPC; EXDEV in a
    /// child after fork.
    pub fn add(&self, source: S, priority: u8) -> Result<Member, Errno> {
        let mut state = self.lock();
        let member = Member(state.next);
        self.watch.add(source.as_fd(), member.0)?;
        state.next += 1;
        let rank = Rank::new(priority);
        state.members.push(Entry { member, rank, ready: false, unwatched: None, source });
        self.call(state);
        Ok(member)
    }

    /// Takes a member out, with what it has and was not delivered; none if it
    /// is not there.
    pub fn remove(&self, member: Member) -> Option<S> {
        let mut state = self.lock();
        let place = state.members.iter().position(|m| m.member == member)?;
        let entry = state.members.remove(place);
        // Its context may be watched for another member.
        if entry.unwatched.is_none() {
            self.watch.remove(entry.source.as_fd());
        }
        Some(entry.source)
    }

    /// Does something with a member, such as submitting, while no thread takes
    /// its events; none if it is not there. `f` must not use the set.
    ///
    /// If `f` puts another one in its place, that is the member from then on. If
    /// its context cannot be watched, as that of a member already,
    /// [`Set::wait`] says [`SetError::Unwatched`].
    ///
    /// # Panics
    /// If `f` does.
    pub fn with<R>(&self, member: Member, f: impl FnOnce(&mut S) -> R) -> Option<R> {
        // Dropped after the lock is released: the last of a context ends it.
        let before;
        let mut state = self.lock();
        let entry = state.members.iter_mut().find(|m| m.member == member)?;
        before = entry.source.over().0.clone();
        let result = catch_unwind(AssertUnwindSafe(|| f(&mut entry.source)));
        if !Arc::ptr_eq(&before, entry.source.over().0) {
            entry.watch_instead(&before, &self.watch);
        }
        self.call(state);
        Some(result.unwrap_or_else(|panic| resume_unwind(panic)))
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().members.len()
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until the members have at least `min` events together that no
    /// other thread was woken for, then appends up to `max` to `to`, in the
    /// order of delivery. When the time is over, there are fewer, or none. The
    /// thread is active with them until it drops what is returned, which it has
    /// to do before it waits again.
    ///
    /// `max` counts as at least `min`.
    ///
    /// # Errors
    /// [`SetError`], if nothing was appended.
    pub fn wait(
        &self,
        to: &mut Vec<Delivery<S::Item>>,
        min: usize,
        max: usize,
        timeout: Timeout,
    ) -> Result<Active<'_, S>, SetError> {
        let before = to.len();
        let result = self.wait_for(to, (min, max.max(min)), clock::deadline(timeout));
        match to.len() - before {
            0 => result.map(|()| Active { set: self, delivered: 0 }),
            delivered => Ok(Active { set: self, delivered }),
        }
    }

    /// Appends to `to` what [`Set::wait`] says.
    fn wait_for(
        &self,
        to: &mut Vec<Delivery<S::Item>>,
        (min, max): (usize, usize),
        deadline: Option<u64>,
    ) -> Result<(), SetError> {
        self.watch.in_its_process().map_err(SetError::Refused)?;
        let before = to.len();
        let (min, max) = (before.saturating_add(min), before.saturating_add(max));
        let parker = Arc::new(Parker::new(false).map_err(SetError::Refused)?);
        let mut joined = Joined { set: self, ticket: None };
        let mut state = self.lock();
        let ticket = state.waiters.join(parker.clone());
        joined.ticket = Some(ticket);
        let mut ended = Ended::Told;
        let result = loop {
            let (wants, room) = (min.saturating_sub(to.len()), max - to.len());
            match state.step(ticket, (wants, room), ended) {
                Ok(Step::Take(some)) => {
                    let taken = state.take(to, some.min(room), self.ageing);
                    if taken.is_err() || ended == Ended::TimedOut || to.len() >= min {
                        break taken;
                    }
                }
                Ok(Step::Watch) => {
                    self.call(state);
                    ended = self.watch.sleep(deadline);
                    state = self.lock();
                }
                Ok(Step::Park) => {
                    // What was told before has been looked at.
                    parker.rearm();
                    self.call(state);
                    ended = parker.park(deadline, None);
                    state = self.lock();
                }
                Err(error) => break Err(error),
            }
        };
        state.waiters.leave(ticket);
        joined.ticket = None;
        if to.len() > before {
            state.waiters.activate();
        }
        self.call(state);
        result
    }

    /// Releases the lock and wakes those whom the events that are there, or
    /// the watch, concern.
    fn call(&self, mut state: MutexGuard<'_, State<S>>) {
        let wanted = state.waiters.wanted();
        // A member that is broken is told to everybody.
        let available = state.available(wanted).unwrap_or(usize::MAX);
        let calls = state.waiters.call(available);
        drop(state);
        self.wake(calls);
    }

    fn wake(&self, calls: Vec<Call<Arc<Parker>>>) {
        for call in calls {
            match call {
                Call::Watcher => self.watch.kick(),
                Call::Parked(parker) => parker.unpark(),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<S>> {
        // What a panic of a member's leaves behind is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread's wait, which it leaves also if a member panics.
struct Joined<'s, S: Source> {
    set: &'s Set<S>,
    ticket: Option<Ticket>,
}

impl<S: Source> Drop for Joined<'_, S> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.set.lock();
        state.waiters.leave(ticket);
        // As if a member were broken: to ask the members could panic again.
        let calls = state.waiters.call(usize::MAX);
        drop(state);
        self.set.wake(calls);
    }
}

/// A thread that is active with events of a set, until this is dropped: it counts
/// against the set's concurrency value if it has got any.
#[must_use = "the thread is active with events until this is dropped"]
pub struct Active<'s, S: Source> {
    set: &'s Set<S>,
    delivered: usize,
}

impl<S: Source> Active<'_, S> {
    /// How many events were delivered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.delivered
    }

    /// True if none was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.delivered == 0
    }

    /// Does something that may block, while the thread does not count: another
    /// may be active in its place.
    pub fn block<R>(&mut self, f: impl FnOnce() -> R) -> R {
        /// Counts again, also if `f` panics.
        struct Blocked<'a, S: Source>(&'a Active<'a, S>);
        impl<S: Source> Drop for Blocked<'_, S> {
            fn drop(&mut self) {
                self.0.count(|waiters| waiters.activate());
            }
        }
        self.count(|waiters| waiters.deactivate());
        let _blocked = Blocked(self);
        f()
    }

    fn count(&self, change: impl FnOnce(&mut Waiters<Arc<Parker>>)) {
        if self.delivered > 0 {
            let mut state = self.set.lock();
            change(&mut state.waiters);
            self.set.call(state);
        }
    }
}

impl<S: Source> Drop for Active<'_, S> {
    fn drop(&mut self) {
        self.count(|waiters| waiters.deactivate());
    }
}

impl<S: Source> fmt::Debug for Active<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Active").field("delivered", &self.delivered).finish_non_exhaustive()
    }
}

impl<S: Source> State<S> {
    /// How many events the members have, counted up to `wanted`.
    fn available(&mut self, wanted: usize) -> Result<usize, SetError> {
        let mut sum = 0_usize;
        for entry in &mut self.members {
            if sum >= wanted {
                break;
            }
            sum = sum.saturating_add(entry.available(wanted - sum)?);
        }
        Ok(sum)
    }

    /// What a thread does next that wants so many, has room for so many, and
    /// whose sleep has ended.
    fn step(
        &mut self,
        ticket: Ticket,
        (wants, room): (usize, usize),
        ended: Ended,
    ) -> Result<Step, SetError> {
        let wanted = self.waiters.wanted().saturating_add(room);
        let available = self.available(wanted)?;
        match (self.waiters.step(ticket, wants, available), ended) {
            (take @ Step::Take(_), _) | (take, Ended::Told) => Ok(take),
            (_, Ended::TimedOut) => Ok(Step::Take(self.waiters.free(available))),
            (_, Ended::Interrupted) => Err(SetError::Interrupted),
        }
    }

    /// Appends up to `limit` events to `to`, in the order of delivery.
    fn take(
        &mut self,
        to: &mut Vec<Delivery<S::Item>>,
        limit: usize,
        ageing: u32,
    ) -> Result<(), SetError> {
        let full = to.len() + limit;
        while to.len() < full {
            for entry in &mut self.members {
                entry.ready = entry.available(1)? > 0;
            }
            let ranks = self.members.iter().map(|m| m.ready.then_some(m.rank));
            let Some(place) = schedule::pick_next(ranks, ageing) else { break };
            let entry = &mut self.members[place];
            let member = entry.member;
            let item = entry.source.take().map_err(|error| SetError::Broken { member, error })?;
            // None: what was there is delivered to nobody.
            if let Some(item) = item {
                to.push(Delivery { member, item });
                schedule::account(self.members.iter_mut().map(|m| (&mut m.rank, m.ready)), place);
            }
        }
        Ok(())
    }
}

impl<S: Source> Entry<S> {
    /// Watches what has taken the place of a source over `before`.
    fn watch_instead(&mut self, before: &Arc<dyn Backend>, watch: &Watch) {
        if self.unwatched.is_none() {
            watch.remove(before.as_fd());
        }
        self.unwatched = watch.add(self.source.as_fd(), self.member.0).err();
    }

    fn available(&mut self, wanted: usize) -> Result<usize, SetError> {
        let member = self.member;
        if let Some(errno) = self.unwatched {
            return Err(SetError::Unwatched { member, errno });
        }
        self.source.available(wanted).map_err(|error| SetError::Broken { member, error })
    }
}

impl<S: Source> fmt::Debug for Set<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Set").field("ageing", &self.ageing).finish_non_exhaustive()
    }
}
