//! Request slots: which requests are in flight, their ids, and the queues of
//! those that wait for an executor.
//!
//! An id is a slot and how often it was used, so that it names one request
//! only. A slot remembers of its last request whether it has failed. No lock
//! and no event here: see [`super::context`]; who waits for whom is in
//! [`super::order`].
//!
//! SPEC: sections 6.5 (ids), 9.1 (R-CANCEL-1, R-CANCEL-8), 9.3 (R-AFTER-5).

use std::collections::TryReserveError;
use std::num::{NonZeroU32, NonZeroU64};

/// Low bits of an id that hold the slot's number plus one.
const SLOT_BITS: u32 = 21;
/// A slot that was used so often is not used again.
const LAST_USE: u64 = u64::MAX >> (SLOT_BITS + 1);
/// Slots that are there before one is used again: so many requests are known at
/// least after they have ended.
const KEPT: usize = 16;
/// Slots whose memory is not worth to be given back.
pub(crate) const MANY: usize = 1024;
/// No slot, in the links between slots.
const NONE: u32 = u32::MAX;

const _: () = assert!(aio2_abi::setup::MAX_REQUESTS < 1 << SLOT_BITS);

/// The id of a request: never 0, never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id(NonZeroU64);

impl Id {
    fn new(slot: u32, generation: u64) -> Self {
        let number = NonZeroU32::MIN.saturating_add(slot);
        Id(NonZeroU64::from(number) | generation << SLOT_BITS)
    }

    /// As it stands in an iocb.
    pub(crate) fn get(self) -> u64 {
        self.0.get()
    }

    /// Number of its slot.
    pub(crate) fn slot(self) -> usize {
        (self.get() & ((1 << SLOT_BITS) - 1)) as usize - 1
    }

    fn generation(self) -> u64 {
        self.get() >> SLOT_BITS
    }
}

/// What is known of an id that an application gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Its request is in flight.
    InFlight(Id),
    /// Its request has ended.
    Ended,
    /// It was never given out.
    Never,
}

/// Whom a request waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lane {
    /// A worker.
    #[default]
    Workers,
    /// The thread that gives requests to a device.
    Device,
}

/// Those that wait in one lane: the first and the last of them, and how many.
#[derive(Clone, Copy, Debug)]
struct Queue {
    first: u32,
    last: u32,
    len: usize,
}

const EMPTY: Queue = Queue { first: NONE, last: NONE, len: 0 };

/// Where a request in flight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Waits for something else than a worker.
    Held,
    /// Waits for an executor.
    Queued,
    /// Runs.
    Running,
}

/// What a cancel can match a request by, beside its id.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keys {
    pub(crate) user_data: u64,
    pub(crate) nr: u32,
    /// The descriptor that its first argument names.
    pub(crate) fd: Option<i32>,
}

/// A request in flight, and where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlight {
    pub(crate) id: Id,
    pub(crate) state: State,
    pub(crate) keys: Keys,
}

#[derive(Debug)]
struct Slot<J> {
    /// How often it was used, this time included.
    generation: u64,
    used_by: Option<InFlight>,
    /// What an executor needs, while the request is held or queued; a copy of it
    /// while one runs it.
    job: Option<J>,
    /// The queue that it is in, and its neighbours there, or the next free slot.
    lane: Lane,
    next: u32,
    previous: u32,
    /// Neighbours among those in flight that have the same bucket, for each of
    /// [`By`].
    chains: [Link; BYS],
    /// The last request that has ended here had a negative result.
    failed: bool,
    /// It is not used again before it is unpinned.
    pinned: bool,
}

/// What requests in flight are found by at the cost of those found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    UserData(u64),
    /// The descriptor that the first argument names, if it does.
    Fd(Option<i32>),
    Nr(u32),
}

/// How many of [`By`] there are.
const BYS: usize = 3;

impl By {
    fn all(keys: &Keys) -> [By; BYS] {
        [By::UserData(keys.user_data), By::Fd(keys.fd), By::Nr(keys.nr)]
    }

    fn place(self) -> usize {
        match self {
            By::UserData(_) => 0,
            By::Fd(_) => 1,
            By::Nr(_) => 2,
        }
    }

    /// A number that depends on all bits.
    fn mixed(self) -> usize {
        let value = match self {
            By::UserData(value) => value,
            // No descriptor is a value of its own.
            By::Fd(fd) => fd.map_or(1 << 32, |fd| u64::from(fd as u32)),
            By::Nr(nr) => u64::from(nr),
        };
        // The high bits of the product depend on all bits.
        (value.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
    }
}

/// Neighbours in a chain.
#[derive(Clone, Copy, Debug)]
struct Link {
    next: u32,
    previous: u32,
}

const UNLINKED: Link = Link { next: NONE, previous: NONE };

/// The slots of a context, and its queues of `J`s.
#[derive(Debug)]
pub(crate) struct Slots<J> {
    slots: Vec<Slot<J>>,
    /// Those that have been free longest are used first.
    first_free: u32,
    last_free: u32,
    /// By lane.
    queues: [Queue; 2],
    /// Slots that have no request and cannot be used.
    unusable: usize,
    /// First slots in flight for each of [`By`]; a power of two of them, or none
    /// before memory was asked for.
    buckets: Vec<[u32; BYS]>,
    /// Of the slots that were given back: how often each was used, and in the
    /// lowest bit whether its last request has failed. Those before are of slots
    /// that are there.
    given_back: Vec<u64>,
}

impl<J: Clone> Slots<J> {
    pub(crate) fn new() -> Self {
        Slots {
            slots: Vec::new(),
            first_free: NONE,
            last_free: NONE,
            queues: [EMPTY; 2],
            unusable: 0,
            buckets: Vec::new(),
            given_back: Vec::new(),
        }
    }

    /// Sees to it that `requests` can be in flight at once without allocating.
    ///
    /// # Errors
    /// If the memory cannot be had.
    pub(crate) fn reserve(&mut self, requests: usize) -> Result<(), TryReserveError> {
        let needed = KEPT.max(requests + self.unusable);
        if needed > self.slots.capacity() {
            self.slots.try_reserve(needed - self.slots.len())?;
        }
        // Asked for also where a call before had memory for the slots only.
        let buckets = self.slots.capacity().next_power_of_two();
        if buckets > self.buckets.len() {
            self.buckets.try_reserve(buckets - self.buckets.len())?;
            self.fill(buckets);
        }
        Ok(())
    }

    /// Puts all in flight into so many buckets, for which there is memory.
    fn fill(&mut self, buckets: usize) {
        self.buckets.clear();
        self.buckets.resize(buckets, [NONE; BYS]);
        for index in 0..self.slots.len() {
            if let Some(used_by) = self.slots[index].used_by {
                self.link(index as u32, &used_by.keys);
            }
        }
    }

    /// Gives back the memory of slots that nobody uses, if there are many at the
    /// end; how many slots there are now. Ids stay what they are.
    ///
    /// SPEC: R-ID-2, R-GET-9, R-GET-10
    pub(crate) fn give_back(&mut self) -> usize {
        let used = self.slots.iter().rposition(|slot| slot.used_by.is_some());
        let kept = KEPT.max(used.map_or(0, |last| last + 1));
        // Slots that cannot be used are rare, and do not come back.
        if self.unusable > 0 || self.slots.capacity() < MANY.max(2 * kept) {
            return self.slots.len();
        }
        let buckets = kept.next_power_of_two();
        let (mut slots, mut heads) = (Vec::new(), Vec::new());
        let all = self.slots.len().saturating_sub(self.given_back.len());
        if slots.try_reserve_exact(kept).is_err()
            || heads.try_reserve_exact(buckets).is_err()
            || self.given_back.try_reserve(all).is_err()
        {
            return self.slots.len();
        }
        self.given_back.resize(self.given_back.len() + all, 0);
        for (place, slot) in self.given_back.iter_mut().zip(&self.slots).skip(kept) {
            *place = slot.generation << 1 | u64::from(slot.failed);
        }
        // In the order in which they became free.
        let (mut free, mut last) = (self.first_free, NONE);
        self.first_free = NONE;
        while let Some(slot) = self.slots.get(free as usize) {
            let next = slot.next;
            if (free as usize) < kept {
                self.slots[free as usize].next = NONE;
                match self.slots.get_mut(last as usize) {
                    Some(last) => last.next = free,
                    None => self.first_free = free,
                }
                last = free;
            }
            free = next;
        }
        self.last_free = last;
        slots.extend(self.slots.drain(..).take(kept));
        (self.slots, self.buckets) = (slots, heads);
        self.fill(buckets);
        kept
    }

    /// Puts a slot in flight into its buckets.
    fn link(&mut self, index: u32, keys: &Keys) {
        let mask = self.buckets.len().wrapping_sub(1);
        for by in By::all(keys) {
            let place = by.place();
            let Some(heads) = self.buckets.get_mut(by.mixed() & mask) else { return };
            let next = std::mem::replace(&mut heads[place], index);
            self.slots[index as usize].chains[place] = Link { next, previous: NONE };
            if let Some(next) = self.slots.get_mut(next as usize) {
                next.chains[place].previous = index;
            }
        }
    }

    fn unlink(&mut self, index: u32, keys: &Keys) {
        let mask = self.buckets.len().wrapping_sub(1);
        for by in By::all(keys) {
            let place = by.place();
            let Link { next, previous } = self.slots[index as usize].chains[place];
            if let Some(next) = self.slots.get_mut(next as usize) {
                next.chains[place].previous = previous;
            }
            match self.slots.get_mut(previous as usize) {
                Some(previous) => previous.chains[place].next = next,
                None => {
                    if let Some(heads) = self.buckets.get_mut(by.mixed() & mask) {
                        heads[place] = next;
                    }
                }
            }
        }
    }

    /// For how many requests there is memory.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.slots.capacity()
    }

    /// Number of requests that wait in `lane`.
    pub(crate) fn queued(&self, lane: Lane) -> usize {
        self.queues[lane as usize].len
    }

    /// Takes a slot for a request that is about to run. Its room was reserved.
    pub(crate) fn start(&mut self, keys: Keys) -> Id {
        let index = self.take_free();
        let slot = &mut self.slots[index as usize];
        slot.generation += 1;
        let id = Id::new(index, slot.generation);
        slot.used_by = Some(InFlight { id, state: State::Running, keys });
        self.link(index, &keys);
        id
    }

    /// Keeps the started request `id` until it is queued or ends.
    pub(crate) fn hold(&mut self, id: Id, job: J) {
        self.set_state(id, State::Held);
        self.slots[id.slot()].job = Some(job);
    }

    /// Takes the job of request `id`, if it is held; it runs from now on.
    pub(crate) fn unhold(&mut self, id: Id) -> Option<J> {
        if self.state(id) != Some(State::Held) {
            return None;
        }
        self.set_state(id, State::Running);
        self.slots[id.slot()].job.take()
    }

    /// The job of request `id`, if it is held.
    pub(crate) fn held(&self, id: Id) -> Option<&J> {
        if self.state(id) != Some(State::Held) {
            return None;
        }
        self.slots[id.slot()].job.as_ref()
    }

    /// Where request `id` is; none if it has ended.
    pub(crate) fn state(&self, id: Id) -> Option<State> {
        let used_by = self.slots.get(id.slot())?.used_by?;
        (used_by.id == id).then_some(used_by.state)
    }

    /// The request in flight in `slot`.
    pub(crate) fn user(&self, slot: u32) -> Option<Id> {
        Some(self.slots.get(slot as usize)?.used_by?.id)
    }

    fn set_state(&mut self, id: Id, state: State) {
        if let Some(used_by) = &mut self.slots[id.slot()].used_by {
            used_by.state = state;
        }
    }

    /// Puts the started request `id` at the end of the queue of `lane`.
    pub(crate) fn enqueue(&mut self, id: Id, job: J, lane: Lane) {
        let (index, last) = (id.slot() as u32, self.queues[lane as usize].last);
        self.set_state(id, State::Queued);
        let slot = &mut self.slots[id.slot()];
        slot.job = Some(job);
        slot.lane = lane;
        slot.next = NONE;
        slot.previous = last;
        let queue = &mut self.queues[lane as usize];
        queue.last = index;
        queue.len += 1;
        match self.slots.get_mut(last as usize) {
            Some(last) => last.next = index,
            None => queue.first = index,
        }
    }

    /// Takes the request that has waited longest in `lane`; it runs from now on.
    pub(crate) fn dequeue(&mut self, lane: Lane) -> Option<(Id, J)> {
        let id = self.user(self.queues[lane as usize].first)?;
        let job = self.unqueue(id)?;
        self.slots[id.slot()].job = Some(job.clone());
        Some((id, job))
    }

    /// The copy of the job of request `id`, if an executor runs it.
    pub(crate) fn running(&mut self, id: Id) -> Option<J> {
        (self.state(id) == Some(State::Running)).then(|| self.slots[id.slot()].job.take())?
    }

    /// Takes request `id` out of the queue, if it is there; it runs from now on.
    pub(crate) fn unqueue(&mut self, id: Id) -> Option<J> {
        if self.state(id) != Some(State::Queued) {
            return None;
        }
        self.set_state(id, State::Running);
        let slot = &mut self.slots[id.slot()];
        let job = slot.job.take()?;
        let (previous, next) = (slot.previous, slot.next);
        let queue = &mut self.queues[slot.lane as usize];
        queue.len -= 1;
        match self.slots.get_mut(previous as usize) {
            Some(slot) => slot.next = next,
            None => queue.first = next,
        }
        match self.slots.get_mut(next as usize) {
            Some(slot) => slot.previous = previous,
            None => queue.last = previous,
        }
        Some(job)
    }

    /// Gives back the slot of a request that has ended and is neither held nor
    /// queued.
    pub(crate) fn end(&mut self, id: Id, failed: bool) {
        if let Some(used_by) = self.slots[id.slot()].used_by {
            self.unlink(id.slot() as u32, &used_by.keys);
        }
        let slot = &mut self.slots[id.slot()];
        slot.used_by = None;
        slot.failed = failed;
        if slot.pinned || slot.generation == LAST_USE {
            self.unusable += 1;
        } else {
            self.free(id.slot() as u32);
        }
    }

    /// Keeps what becomes of request `id`, in flight, until it is unpinned.
    pub(crate) fn pin(&mut self, id: Id) {
        self.slots[id.slot()].pinned = true;
    }

    /// Lets the slot of the pinned request `id` be used again.
    pub(crate) fn unpin(&mut self, id: Id) {
        let slot = &mut self.slots[id.slot()];
        slot.pinned = false;
        if slot.used_by.is_none() && slot.generation < LAST_USE {
            self.unusable -= 1;
            self.free(id.slot() as u32);
        }
    }

    /// Whether the request `id`, which has ended, has failed; none if that is
    /// no longer known.
    ///
    /// SPEC: R-AFTER-5
    pub(crate) fn failed(&self, id: u64) -> Option<bool> {
        let id = Id(NonZeroU64::new(id)?);
        let (generation, failed) = self.last_use(id.slot())?;
        (generation == id.generation()).then_some(failed)
    }

    /// What is known of `id`, which may be any number.
    ///
    /// SPEC: R-GET-10, R-ID-2
    pub(crate) fn known(&self, id: u64) -> Known {
        let id = match NonZeroU64::new(id) {
            Some(number) if id & ((1 << SLOT_BITS) - 1) != 0 => Id(number),
            _ => return Known::Never,
        };
        match self.last_use(id.slot()) {
            None => Known::Never,
            Some((last, _)) if id.generation() > last || id.generation() == 0 => Known::Never,
            Some(_) if self.state(id).is_some() => Known::InFlight(id),
            Some(_) => Known::Ended,
        }
    }

    /// How often a slot was used, and whether the last request that has ended
    /// there has failed; none if it never was.
    fn last_use(&self, slot: usize) -> Option<(u64, bool)> {
        match self.slots.get(slot) {
            Some(slot) => Some((slot.generation, slot.failed)),
            None => self.given_back.get(slot).map(|last| (last >> 1, last & 1 == 1)),
        }
    }

    /// The request of this id, if it is in flight.
    pub(crate) fn one(&self, id: u64) -> Option<InFlight> {
        match self.known(id) {
            Known::InFlight(id) => self.slots[id.slot()].used_by,
            _ => None,
        }
    }

    /// The requests in flight that have a slot and perhaps what is asked for: at
    /// the cost of those, however many there are.
    pub(crate) fn perhaps(&self, by: By) -> impl Iterator<Item = InFlight> {
        let place = by.place();
        let mask = self.buckets.len().wrapping_sub(1);
        let first = self.buckets.get(by.mixed() & mask).map(|heads| heads[place]);
        let next = move |index: &u32| Some(self.slots.get(*index as usize)?.chains[place].next);
        let chain = std::iter::successors(first, next);
        chain.map_while(|index| self.slots.get(index as usize)?.used_by)
    }

    /// The requests in flight that have a slot.
    pub(crate) fn in_flight(&self) -> impl Iterator<Item = InFlight> {
        self.slots.iter().filter_map(|slot| slot.used_by)
    }

    fn free(&mut self, index: u32) {
        self.slots[index as usize].next = NONE;
        match self.slots.get_mut(self.last_free as usize) {
            Some(last) if self.first_free != NONE => last.next = index,
            _ => self.first_free = index,
        }
        self.last_free = index;
    }

    fn take_free(&mut self) -> u32 {
        let index = self.slots.len();
        if index >= KEPT
            && let Some(slot) = self.slots.get(self.first_free as usize)
        {
            return std::mem::replace(&mut self.first_free, slot.next);
        }
        let (generation, failed) = self.last_use(index).unwrap_or_default();
        self.slots.push(Slot {
            generation,
            used_by: None,
            job: None,
            lane: Lane::Workers,
            next: NONE,
            previous: NONE,
            chains: [UNLINKED; BYS],
            failed,
            pinned: false,
        });
        index as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots() -> Slots<u64> {
        Slots::new()
    }

    /// Slots of which those that are kept anyway are in use.
    fn worn() -> Slots<u64> {
        let mut slots = slots();
        for _ in 0..KEPT {
            slots.start(Keys::default());
        }
        slots
    }

    fn queue(slots: &mut Slots<u64>, job: u64) -> Id {
        let id = slots.start(Keys::default());
        slots.enqueue(id, job, Lane::Workers);
        id
    }

    #[test]
    fn an_id_is_never_zero_and_never_given_twice() {
        let mut slots = slots();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..100 {
            let id = slots.start(Keys::default());
            assert_ne!(id.get(), 0);
            assert!(seen.insert(id.get()));
            slots.end(id, false);
        }
        assert_eq!(slots.slots.len(), KEPT);
    }

    #[test]
    fn an_id_is_in_flight_then_ended_and_others_were_never_there() {
        let mut slots = slots();
        assert_eq!(slots.known(0), Known::Never);
        assert_eq!(slots.known(1), Known::Never);
        assert_eq!(slots.known(1 << SLOT_BITS), Known::Never, "no slot has this number");
        let id = slots.start(Keys::default());
        assert_eq!(slots.known(id.get()), Known::InFlight(id));
        assert_eq!(slots.known(id.get() + (1 << SLOT_BITS)), Known::Never);
        slots.end(id, false);
        assert_eq!(slots.known(id.get()), Known::Ended);
        let other = slots.start(Keys::default());
        assert_eq!(slots.known(id.get()), Known::Ended);
        assert_eq!(slots.known(other.get()), Known::InFlight(other));
        assert_eq!(slots.known(u64::MAX), Known::Never);
    }

    #[test]
    fn the_queue_is_first_in_first_out_and_any_request_can_leave_it() {
        let mut slots = slots();
        let ids: Vec<Id> = (0..5).map(|i| queue(&mut slots, i)).collect();
        for gone in [ids[2], ids[0], ids[4]] {
            assert!(slots.unqueue(gone).is_some());
            assert!(slots.unqueue(gone).is_none(), "it is not queued any more");
            slots.end(gone, false);
        }
        assert_eq!(slots.queued(Lane::Workers), 2);
        let order: Vec<u64> =
            std::iter::from_fn(|| slots.dequeue(Lane::Workers)).map(|(_, job)| job).collect();
        assert_eq!(order, [1, 3]);
        assert_eq!(slots.queued(Lane::Workers), 0);
        queue(&mut slots, 9);
        assert_eq!(slots.dequeue(Lane::Workers).unwrap().1, 9);
    }

    #[test]
    fn requests_are_found_by_their_user_data_at_the_cost_of_those() {
        let mut slots = slots();
        let keys = |user_data| Keys { user_data, ..Keys::default() };
        let found = |slots: &Slots<u64>, user_data| {
            let with = slots
                .perhaps(By::UserData(user_data))
                .inspect(|r| assert_eq!(slots.one(r.id.get()).unwrap().id, r.id));
            let mut ids: Vec<_> =
                with.filter(|r| r.keys.user_data == user_data).map(|r| r.id.get()).collect();
            ids.sort_unstable();
            ids
        };
        let mut started = Vec::new();
        for n in 0..1000_u64 {
            slots.reserve(n as usize + 1).unwrap();
            started.push(slots.start(keys(n / 2)));
        }
        for n in 0..500 {
            let expected = [2 * n, 2 * n + 1].map(|at| started[at].get());
            assert_eq!(found(&slots, n as u64), expected);
            assert!(slots.perhaps(By::UserData(n as u64)).count() < 40, "a bucket is short");
        }
        assert_eq!(found(&slots, 500), []);
        for id in started.iter().step_by(2) {
            slots.end(*id, false);
        }
        for n in 0..500 {
            assert_eq!(found(&slots, n as u64), [started[2 * n + 1].get()]);
        }
        assert!(slots.one(started[0].get()).is_none());
    }

    #[test]
    fn requests_are_found_by_their_descriptor_and_number_too() {
        let mut slots = slots();
        let keys = |n: u32| Keys { user_data: 0, nr: n % 3, fd: (n > 0).then_some(n as i32 / 2) };
        let ids: Vec<_> = (0..300)
            .map(|n| {
                slots.reserve(n as usize + 1).unwrap();
                slots.start(keys(n))
            })
            .collect();
        for id in &ids[100..] {
            slots.end(*id, false);
        }
        let fd = |fd| slots.perhaps(By::Fd(fd)).filter(|r| r.keys.fd == fd).count();
        assert_eq!([fd(Some(7)), fd(None), fd(Some(120))], [2, 1, 0]);
        let nr = |nr| slots.perhaps(By::Nr(nr)).filter(|r| r.keys.nr == nr).count();
        assert_eq!([nr(0), nr(1), nr(2), nr(3)], [34, 33, 33, 0]);
    }

    /// SPEC: R-ID-2, R-GET-10
    #[test]
    fn slots_that_are_given_back_are_known_for_ever() {
        // Interpreted, each slot takes long: as few as are given back at all.
        const SLOTS: usize = if cfg!(miri) { MANY } else { 10 * MANY };
        const ROUNDS: usize = if cfg!(miri) { 2 } else { 3 };
        let mut slots = slots();
        let start = |slots: &mut Slots<u64>, n| -> Vec<Id> {
            slots.reserve(n).unwrap();
            (0..n).map(|_| slots.start(Keys::default())).collect()
        };
        let mut seen = std::collections::HashSet::new();
        for round in 0..ROUNDS {
            let ids = start(&mut slots, SLOTS);
            assert!(ids.iter().all(|id| seen.insert(*id)), "an id is given twice");
            for id in &ids {
                slots.end(*id, id.slot() % 2 == 0);
            }
            let ended = |slots: &Slots<u64>| {
                ids.iter().all(|id| slots.known(id.get()) == Known::Ended)
                    && ids.iter().all(|id| slots.failed(id.get()) == Some(id.slot() % 2 == 0))
            };
            assert!(ended(&slots));
            assert_eq!(slots.give_back(), KEPT);
            assert!(ended(&slots) && slots.room() < MANY, "round {round}");
            let never = Id::new(ids[100].slot() as u32, 100);
            assert_eq!(slots.known(never.get()), Known::Never);
        }
        // One at the end keeps what is before it.
        let ids = start(&mut slots, SLOTS);
        for id in &ids[..SLOTS - 1] {
            slots.end(*id, false);
        }
        assert_eq!(slots.give_back(), SLOTS);
        slots.end(ids[SLOTS - 1], false);
        assert_eq!(slots.give_back(), KEPT);
        let next = start(&mut slots, 100);
        assert!(next.iter().all(|id| !seen.contains(id) && !ids.contains(id)));
    }

    #[test]
    fn a_slot_that_is_worn_out_is_left_alone() {
        for is_pinned in [false, true] {
            let mut slots = worn();
            let id = slots.start(Keys::default());
            slots.end(id, false);
            slots.slots[KEPT].generation = LAST_USE - 1;
            let last = slots.start(Keys::default());
            if is_pinned {
                slots.pin(last);
            }
            slots.end(last, false);
            if is_pinned {
                slots.unpin(last);
            }
            let next = slots.start(Keys::default());
            assert_ne!(next.slot(), last.slot());
            assert_eq!(slots.known(last.get()), Known::Ended);
        }
    }

    #[test]
    fn what_became_of_a_request_is_known_until_its_slot_is_used_again() {
        let mut slots = slots();
        let id = slots.start(Keys::default());
        slots.end(id, true);
        assert_eq!(slots.failed(id.get()), Some(true));
        for _ in 1..KEPT {
            let other = slots.start(Keys::default());
            slots.end(other, false);
            assert_eq!(slots.failed(other.get()), Some(false));
        }
        assert_eq!(slots.failed(id.get()), Some(true));
        slots.start(Keys::default());
        assert_eq!(slots.failed(id.get()), None);
    }

    #[test]
    fn a_pinned_slot_is_used_again_only_when_it_is_unpinned() {
        let mut slots = worn();
        let ended = slots.start(Keys::default());
        let running = slots.start(Keys::default());
        for id in [ended, running] {
            slots.pin(id);
        }
        slots.end(ended, true);
        let next = slots.start(Keys::default());
        assert_eq!((next.slot(), slots.failed(ended.get())), (KEPT + 2, Some(true)));
        for id in [ended, running] {
            slots.unpin(id);
        }
        assert_eq!(slots.start(Keys::default()).slot(), KEPT);
        slots.end(running, false);
        assert_eq!(slots.start(Keys::default()).slot(), KEPT + 1);
        assert_eq!(slots.unusable, 0);
    }

    #[test]
    fn requests_for_which_room_was_made_take_no_memory() {
        let mut slots = slots();
        slots.reserve(100).unwrap();
        let room = slots.slots.capacity();
        for _ in 0..100 {
            slots.start(Keys::default());
        }
        assert_eq!(slots.slots.capacity(), room);
        slots.reserve(room + 1).unwrap();
        assert!(slots.slots.capacity() <= 2 * room);
    }

    #[test]
    fn a_held_request_is_not_in_the_queue() {
        let mut slots = slots();
        let id = slots.start(Keys::default());
        slots.hold(id, 7);
        assert!(slots.dequeue(Lane::Workers).is_none() && slots.unqueue(id).is_none());
        assert_eq!(slots.held(id), Some(&7));
        assert_eq!((slots.unhold(id), slots.unhold(id)), (Some(7), None));
        slots.enqueue(id, 7, Lane::Workers);
        assert_eq!((slots.unhold(id), slots.dequeue(Lane::Workers)), (None, Some((id, 7))));
    }
}
