//! Request slots: which requests are in flight, their ids, and the queue of
//! those that wait for a worker.
//!
//! An id is a slot and how often it was used, so that it names one request
//! only. No lock and no event here: see [`super::context`].
//!
//! SPEC: sections 6.5 (ids), 9.1 (R-CANCEL-1, R-CANCEL-8).

use std::collections::TryReserveError;
use std::num::{NonZeroU32, NonZeroU64};

/// Low bits of an id that hold the slot's number plus one.
const SLOT_BITS: u32 = 21;
/// A slot that was used so often is not used again.
const LAST_USE: u64 = u64::MAX >> SLOT_BITS;
/// No slot, in the links between slots.
const NONE: u32 = u32::MAX;

const _: () = assert!(aio2_abi::setup::MAX_REQUESTS < 1 << SLOT_BITS);

/// The id of a request: never 0, never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id(NonZeroU64);

impl Id {
    fn new(slot: u32, generation: u64) -> Self {
        let number = NonZeroU32::MIN.saturating_add(slot);
        Id(NonZeroU64::from(number) | generation << SLOT_BITS)
    }

    /// As it stands in an iocb.
    pub(super) fn get(self) -> u64 {
        self.0.get()
    }

    fn slot(self) -> usize {
        (self.get() & ((1 << SLOT_BITS) - 1)) as usize - 1
    }

    fn generation(self) -> u64 {
        self.get() >> SLOT_BITS
    }
}

/// What is known of an id that an application gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Its request is in flight.
    InFlight(Id),
    /// Its request has ended.
    Ended,
    /// It was never given out.
    Never,
}

/// Where a request in flight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Waits for a worker.
    Queued,
    /// Runs.
    Running,
}

/// What a cancel can match a request by, beside its id.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Keys {
    pub(super) user_data: u64,
    pub(super) nr: u32,
    /// The descriptor that its first argument names.
    pub(super) fd: Option<i32>,
}

/// A request in flight, and where it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) id: Id,
    pub(super) state: State,
    pub(super) keys: Keys,
}

#[derive(Debug)]
struct Slot<J> {
    /// How often it was used, this time included.
    generation: u64,
    used_by: Option<InFlight>,
    /// What a worker needs, while the request waits for one.
    queued: Option<J>,
    /// Neighbours in the queue, or the next free slot.
    next: u32,
    previous: u32,
}

/// The slots of a context, and its queue of `J`s.
#[derive(Debug)]
pub(super) struct Slots<J> {
    slots: Vec<Slot<J>>,
    first_free: u32,
    first_queued: u32,
    last_queued: u32,
    queued: usize,
    worn_out: usize,
}

impl<J> Slots<J> {
    pub(super) fn new() -> Self {
        Slots {
            slots: Vec::new(),
            first_free: NONE,
            first_queued: NONE,
            last_queued: NONE,
            queued: 0,
            worn_out: 0,
        }
    }

    /// Sees to it that `requests` can be in flight at once without allocating.
    ///
    /// # Errors
    /// If the memory cannot be had.
    pub(super) fn reserve(&mut self, requests: usize) -> Result<(), TryReserveError> {
        let needed = requests + self.worn_out;
        if needed <= self.slots.capacity() {
            return Ok(());
        }
        self.slots.try_reserve(needed - self.slots.len())
    }

    /// Number of requests that wait for a worker.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Takes a slot for a request that is about to run. Its room was reserved.
    pub(super) fn start(&mut self, keys: Keys) -> Id {
        let index = self.take_free();
        let slot = &mut self.slots[index as usize];
        slot.generation += 1;
        let id = Id::new(index, slot.generation);
        slot.used_by = Some(InFlight { id, state: State::Running, keys });
        id
    }

    /// Puts the started request `id` at the end of the queue.
    pub(super) fn enqueue(&mut self, id: Id, job: J) {
        let (index, last) = (id.slot() as u32, self.last_queued);
        let slot = &mut self.slots[id.slot()];
        if let Some(used_by) = &mut slot.used_by {
            used_by.state = State::Queued;
        }
        slot.queued = Some(job);
        slot.next = NONE;
        slot.previous = last;
        match self.slots.get_mut(last as usize) {
            Some(last) => last.next = index,
            None => self.first_queued = index,
        }
        self.last_queued = index;
        self.queued += 1;
    }

    /// Takes the request that has waited longest; it runs from now on.
    pub(super) fn dequeue(&mut self) -> Option<(Id, J)> {
        let id = self.slots.get(self.first_queued as usize)?.used_by?.id;
        Some((id, self.unqueue(id)?))
    }

    /// Takes request `id` out of the queue, if it is there; it runs from now on.
    pub(super) fn unqueue(&mut self, id: Id) -> Option<J> {
        let slot = &mut self.slots[id.slot()];
        let job = slot.queued.take()?;
        if let Some(used_by) = &mut slot.used_by {
            used_by.state = State::Running;
        }
        let (previous, next) = (slot.previous, slot.next);
        match self.slots.get_mut(previous as usize) {
            Some(slot) => slot.next = next,
            None => self.first_queued = next,
        }
        match self.slots.get_mut(next as usize) {
            Some(slot) => slot.previous = previous,
            None => self.last_queued = previous,
        }
        self.queued -= 1;
        Some(job)
    }

    /// Gives back the slot of a request that has ended and is not queued.
    pub(super) fn end(&mut self, id: Id) {
        let slot = &mut self.slots[id.slot()];
        slot.used_by = None;
        if slot.generation < LAST_USE {
            slot.next = self.first_free;
            self.first_free = id.slot() as u32;
        } else {
            self.worn_out += 1;
        }
    }

    /// What is known of `id`, which may be any number.
    ///
    /// SPEC: R-GET-10, R-ID-2
    pub(super) fn known(&self, id: u64) -> Known {
        let id = match NonZeroU64::new(id) {
            Some(number) if id & ((1 << SLOT_BITS) - 1) != 0 => Id(number),
            _ => return Known::Never,
        };
        match self.slots.get(id.slot()) {
            None => Known::Never,
            Some(slot) if id.generation() > slot.generation || id.generation() == 0 => Known::Never,
            Some(slot) if slot.used_by.is_some_and(|used_by| used_by.id == id) => {
                Known::InFlight(id)
            }
            Some(_) => Known::Ended,
        }
    }

    /// The requests in flight that have a slot.
    pub(super) fn in_flight(&self) -> impl Iterator<Item = InFlight> {
        self.slots.iter().filter_map(|slot| slot.used_by)
    }

    fn take_free(&mut self) -> u32 {
        if let Some(slot) = self.slots.get(self.first_free as usize) {
            return std::mem::replace(&mut self.first_free, slot.next);
        }
        let index = self.slots.len();
        self.slots.push(Slot {
            generation: 0,
            used_by: None,
            queued: None,
            next: NONE,
            previous: NONE,
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

    fn queue(slots: &mut Slots<u64>, job: u64) -> Id {
        let id = slots.start(Keys::default());
        slots.enqueue(id, job);
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
            slots.end(id);
        }
        assert_eq!(slots.slots.len(), 1);
    }

    #[test]
    fn an_id_is_in_flight_then_ended_and_others_were_never_there() {
        let mut slots = slots();
        assert_eq!(slots.known(0), Known::Never);
        assert_eq!(slots.known(1), Known::Never);
        let id = slots.start(Keys::default());
        assert_eq!(slots.known(id.get()), Known::InFlight(id));
        assert_eq!(slots.known(id.get() + (1 << SLOT_BITS)), Known::Never);
        slots.end(id);
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
            slots.end(gone);
        }
        assert_eq!(slots.queued(), 2);
        let order: Vec<u64> = std::iter::from_fn(|| slots.dequeue()).map(|(_, job)| job).collect();
        assert_eq!(order, [1, 3]);
        assert_eq!(slots.queued(), 0);
        queue(&mut slots, 9);
        assert_eq!(slots.dequeue().unwrap().1, 9);
    }

    #[test]
    fn a_slot_that_is_worn_out_is_left_alone() {
        let mut slots = slots();
        let id = slots.start(Keys::default());
        slots.end(id);
        slots.slots[0].generation = LAST_USE - 1;
        let last = slots.start(Keys::default());
        slots.end(last);
        let next = slots.start(Keys::default());
        assert_ne!(next.get() & 3, last.get() & 3);
        assert_eq!(slots.known(last.get()), Known::Ended);
    }
}
