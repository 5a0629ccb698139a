//! Who waits for what, and who is told.
//!
//! The thread that began to wait last is told first, since its caches are
//! warm; one thread for each wait that is satisfied, so that none wakes in
//! vain. Events that a thread was told of are promised to it until it comes
//! back, and do not count for others. Sleeping is [`crate::os::park`]'s business;
//! all of this stands under the context's lock.
//!
//! SPEC: section 4.3 (R-GET-13, R-GET-14).

use super::slots::Id;
use crate::os::park::Parker;
use std::collections::TryReserveError;
use std::sync::Arc;

/// Most threads that are told at once; more are told in another round.
const ROUND: usize = 4;

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    /// So many events.
    Events(usize),
    /// The end of a request.
    End(Id),
}

#[derive(Debug)]
struct Waiter {
    parker: Arc<Parker>,
    wants: Wants,
}

/// The threads that wait for a context, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    waiters: Vec<Waiter>,
    promised: usize,
}

/// Threads to be told, once the lock is released.
#[derive(Debug, Default)]
pub(crate) struct Round {
    parkers: [Option<Arc<Parker>>; ROUND],
    len: usize,
}

impl Waiters {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Adds a thread.
    ///
    /// # Errors
    /// If the memory cannot be had.
    pub(crate) fn add(&mut self, parker: Arc<Parker>, wants: Wants) -> Result<(), TryReserveError> {
        self.waiters.try_reserve(1)?;
        self.waiters.push(Waiter { parker, wants });
        Ok(())
    }

    /// Removes a thread that goes on; whether it was told to.
    pub(crate) fn leave(&mut self, parker: &Arc<Parker>, wants: Wants) -> bool {
        let place = self.waiters.iter().rposition(|w| Arc::ptr_eq(&w.parker, parker));
        match (place, wants) {
            (Some(place), _) => {
                self.waiters.remove(place);
            }
            (None, Wants::Events(n)) => self.promised -= n,
            (None, Wants::End(_)) => {}
        }
        place.is_none()
    }

    /// Has all of them look again.
    pub(crate) fn disturb(&self) {
        self.waiters.iter().for_each(|waiter| waiter.parker.unpark());
    }

    /// Has the one that came last look again.
    pub(crate) fn disturb_last(&self) {
        self.waiters.last().into_iter().for_each(|waiter| waiter.parker.unpark());
    }

    /// Fewest events that satisfy anyone, with those that are promised; none
    /// if nobody waits for events.
    pub(crate) fn least_events(&self) -> Option<usize> {
        let events = self.waiters.iter().filter_map(|w| match w.wants {
            Wants::Events(n) => Some(n),
            Wants::End(_) => None,
        });
        events.min().map(|least| least.saturating_add(self.promised))
    }

    /// Most events that it matters to count: more would satisfy all.
    pub(crate) fn wanted_events(&self) -> usize {
        self.waiters.iter().fold(self.promised, |sum, w| match w.wants {
            Wants::Events(n) => sum.saturating_add(n),
            Wants::End(_) => sum,
        })
    }

    /// Takes out those that are satisfied by `available` events and the
    /// requests that have `ended`, last come first.
    pub(crate) fn satisfied(&mut self, available: usize, ended: impl Fn(Id) -> bool) -> Round {
        let mut round = Round::default();
        let mut left = available.saturating_sub(self.promised);
        let mut place = self.waiters.len();
        while place > 0 && round.len < ROUND {
            place -= 1;
            match self.waiters[place].wants {
                Wants::Events(n) if n <= left => {
                    left -= n;
                    self.promised += n;
                }
                Wants::End(id) if ended(id) => {}
                _ => continue,
            }
            round.parkers[round.len] = Some(self.waiters.remove(place).parker);
            round.len += 1;
        }
        round
    }
}

impl Round {
    /// Whether there may be others, in another round.
    pub(crate) fn is_full(&self) -> bool {
        self.len == ROUND
    }

    /// Tells them. Not to be called under a lock.
    pub(crate) fn tell(self) {
        for parker in self.parkers.into_iter().flatten() {
            parker.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::park::Ended;

    fn join(waiters: &mut Waiters, n: usize) -> Arc<Parker> {
        let parker = Arc::new(Parker::new(false).unwrap());
        waiters.add(parker.clone(), Wants::Events(n)).unwrap();
        parker
    }

    fn is_told(parker: &Parker) -> bool {
        parker.park(Some(0), None) == Ended::Told
    }

    #[test]
    fn the_last_to_wait_is_told_first_and_alone() {
        let mut waiters = Waiters::default();
        let [first, last] = [join(&mut waiters, 1), join(&mut waiters, 1)];
        waiters.satisfied(1, |_| false).tell();
        assert!(is_told(&last) && !is_told(&first));
    }

    #[test]
    fn a_wait_for_few_is_satisfied_before_one_for_many() {
        let mut waiters = Waiters::default();
        let [few, many] = [join(&mut waiters, 2), join(&mut waiters, 10)];
        waiters.satisfied(3, |_| false).tell();
        assert!(is_told(&few) && !is_told(&many));
    }

    #[test]
    fn promised_events_do_not_wake_another_until_the_first_has_left() {
        let mut waiters = Waiters::default();
        let [first, last] = [join(&mut waiters, 1), join(&mut waiters, 1)];
        waiters.satisfied(1, |_| false).tell();
        assert_eq!(waiters.satisfied(1, |_| false).len, 0);
        assert!(is_told(&last));
        waiters.leave(&last, Wants::Events(1));
        waiters.satisfied(1, |_| false).tell();
        assert!(is_told(&first));
    }

    #[test]
    fn a_round_says_when_there_may_be_more() {
        let mut waiters = Waiters::default();
        let parkers: Vec<_> = (0..ROUND + 1).map(|_| join(&mut waiters, 1)).collect();
        let round = waiters.satisfied(100, |_| false);
        assert!(round.is_full());
        round.tell();
        waiters.satisfied(100, |_| false).tell();
        assert!(parkers.iter().all(|p| is_told(p)));
    }
}
