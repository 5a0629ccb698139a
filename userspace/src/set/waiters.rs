//! Who waits for a set, who of them watches its members, and who is told.
//!
//! One of the waiting threads watches the descriptors; the others park, and
//! are told when enough events are there. Events that a thread was told of are
//! promised to it until it comes back, and do not count for others. Nobody is
//! told, and nobody watches, while as many threads are active with events as may
//! be. All of this stands under the set's lock, and nothing here sleeps or
//! wakes.
//!
//! SPEC: appendix E (R-SET-4 to R-SET-8).

/// Names a thread's wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// What a waiting thread is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// It is awake, and looks.
    Looks,
    /// It sleeps: it watches if it is the watcher, and is parked otherwise.
    Sleeps,
    /// It was told to come, and as many events as it wants are promised to it.
    Told,
    /// It was told to come and watch.
    Called,
}

#[derive(Debug)]
struct Waiter<P> {
    ticket: Ticket,
    wants: usize,
    doing: Doing,
    parker: P,
}

/// What a thread does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Take up to this many events: at least as many as it wants.
    Take(usize),
    /// Sleep, and watch the members meanwhile.
    Watch,
    /// Sleep until it is told.
    Park,
}

/// Somebody to be woken, once the lock is released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call<P> {
    /// The thread that watches.
    Watcher,
    /// One that is parked.
    Parked(P),
}

/// The threads that wait, in the order in which they came; each has a `P` to
/// be woken by.
#[derive(Debug)]
pub struct Waiters<P> {
    waiters: Vec<Waiter<P>>,
    watcher: Option<Ticket>,
    next: u64,
    /// Threads that are active with events, and how many may be.
    active: usize,
    concurrency: usize,
}

impl<P: Clone> Waiters<P> {
    /// Nobody waits; at most `concurrency` threads may be active with events.
    #[must_use]
    pub fn new(concurrency: usize) -> Self {
        Waiters { waiters: Vec::new(), watcher: None, next: 0, active: 0, concurrency }
    }

    /// A thread has got events, or goes on with some.
    pub fn activate(&mut self) {
        self.active += 1;
    }

    /// A thread is done with its events, or blocked. Others have to be called
    /// then.
    pub fn deactivate(&mut self) {
        self.active -= 1;
    }

    /// Whether no further thread may be active, with those that were told to.
    fn is_full(&self) -> bool {
        let told = self.waiters.iter().filter(|w| w.doing == Doing::Told).count();
        self.active + told >= self.concurrency
    }

    /// Adds a thread, which is awake.
    pub fn join(&mut self, parker: P) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiters.push(Waiter { ticket, wants: 0, doing: Doing::Looks, parker });
        ticket
    }

    /// Removes a thread. Others have to be called then.
    pub fn leave(&mut self, ticket: Ticket) {
        self.waiters.retain(|w| w.ticket != ticket);
        if self.watcher == Some(ticket) {
            self.watcher = None;
        }
    }

    /// What an awake thread does now that `available` events are there, of
    /// which it wants `wants`.
    pub fn step(&mut self, ticket: Ticket, wants: usize, available: usize) -> Step {
        let Some(place) = self.waiters.iter().position(|w| w.ticket == ticket) else {
            return Step::Take(0);
        };
        (self.waiters[place].doing, self.waiters[place].wants) = (Doing::Looks, wants);
        let left = self.free(available);
        let is_full = self.is_full();
        if wants == 0 || (left >= wants && !is_full) {
            return Step::Take(left);
        }
        self.waiters[place].doing = Doing::Sleeps;
        if is_full {
            // What it would see is for nobody.
            self.watcher = self.watcher.filter(|&watcher| watcher != ticket);
            return Step::Park;
        }
        if *self.watcher.get_or_insert(ticket) == ticket { Step::Watch } else { Step::Park }
    }

    /// Of `available` events, those that an awake thread may take now.
    pub fn free(&self, available: usize) -> usize {
        if self.is_full() { 0 } else { available.saturating_sub(self.promised()) }
    }

    /// Events that are promised.
    fn promised(&self) -> usize {
        let told = self.waiters.iter().filter(|w| w.doing == Doing::Told);
        told.fold(0, |sum, w| sum.saturating_add(w.wants))
    }

    /// Most events that it matters to count: more would satisfy all.
    pub fn wanted(&self) -> usize {
        self.waiters.iter().fold(0, |sum, w| sum.saturating_add(w.wants))
    }

    /// Whom to wake now that `available` events are there: those whose wait is
    /// satisfied, the watcher first, then the last to come first; and one to
    /// watch if nobody does.
    pub fn call(&mut self, available: usize) -> Vec<Call<P>> {
        let mut left = self.free(available);
        let mut calls = Vec::new();
        let is_watcher = |w: &Waiter<P>| self.watcher == Some(w.ticket);
        let place = self.waiters.iter().position(is_watcher);
        let others = (0..self.waiters.len()).rev().filter(|&n| Some(n) != place);
        for n in place.into_iter().chain(others) {
            if self.is_full() {
                return calls;
            }
            let waiter = &mut self.waiters[n];
            if waiter.doing == Doing::Sleeps && waiter.wants <= left {
                left -= waiter.wants;
                waiter.doing = Doing::Told;
                let parked = || Call::Parked(waiter.parker.clone());
                calls.push(if Some(n) == place { Call::Watcher } else { parked() });
            }
        }
        if self.watcher.is_none()
            && !self.is_full()
            && let Some(last) = self.waiters.iter_mut().rfind(|w| w.doing == Doing::Sleeps)
        {
            self.watcher = Some(last.ticket);
            last.doing = Doing::Called;
            calls.push(Call::Parked(last.parker.clone()));
        }
        calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Threads that all sleep, the first of them watching.
    fn asleep(wants: &[usize]) -> (Waiters<usize>, Vec<Ticket>) {
        let mut waiters = Waiters::new(usize::MAX);
        let join = |(n, &wants)| {
            let ticket = waiters.join(n);
            let step = waiters.step(ticket, wants, 0);
            assert_eq!(step, if n == 0 { Step::Watch } else { Step::Park });
            ticket
        };
        let tickets = wants.iter().enumerate().map(join).collect();
        (waiters, tickets)
    }

    #[test]
    fn one_is_told_for_one_event_and_the_last_first() {
        let (mut waiters, _) = asleep(&[1, 1, 1]);
        assert_eq!(waiters.call(1), [Call::Watcher]);
        assert_eq!(waiters.call(1), [], "it is promised");
        assert_eq!(waiters.call(2), [Call::Parked(2)]);
        assert_eq!(waiters.call(3), [Call::Parked(1)]);
    }

    #[test]
    fn who_wants_few_is_told_before_who_wants_many() {
        let (mut waiters, tickets) = asleep(&[9, 2, 5]);
        assert_eq!(waiters.call(4), [Call::Parked(1)]);
        assert_eq!(waiters.step(tickets[1], 2, 4), Step::Take(4));
    }

    #[test]
    fn the_watcher_that_leaves_is_replaced_by_one() {
        let (mut waiters, tickets) = asleep(&[1, 1, 1]);
        assert_eq!(waiters.step(tickets[0], 1, 1), Step::Take(1));
        waiters.leave(tickets[0]);
        assert_eq!(waiters.call(0), [Call::Parked(2)]);
        assert_eq!(waiters.call(0), [], "it comes");
        assert_eq!(waiters.step(tickets[2], 1, 0), Step::Watch);
        assert_eq!(waiters.step(tickets[1], 1, 0), Step::Park);
    }

    #[test]
    fn a_promise_that_is_given_up_is_passed_on() {
        let (mut waiters, tickets) = asleep(&[3, 2, 2]);
        assert_eq!(waiters.call(2), [Call::Parked(2)]);
        assert_eq!(waiters.free(2), 0);
        waiters.leave(tickets[2]);
        assert_eq!(waiters.call(2), [Call::Parked(1)]);
    }

    /// SPEC: R-SET-7, R-SET-8
    #[test]
    fn nobody_is_told_and_nobody_watches_while_enough_are_out() {
        let (mut waiters, tickets) = asleep(&[1, 1, 1]);
        waiters.concurrency = 1;
        assert_eq!(waiters.step(tickets[0], 1, 5), Step::Take(5));
        waiters.leave(tickets[0]);
        waiters.activate();
        assert_eq!((waiters.call(4), waiters.free(4)), (vec![], 0));
        let late = waiters.join(3);
        assert_eq!(waiters.step(late, 1, 4), Step::Park);
        assert_eq!(waiters.step(late, 0, 4), Step::Take(0), "it does not wait");
        waiters.leave(late);
        waiters.deactivate();
        assert_eq!(waiters.call(4), [Call::Parked(2)], "as many as may be active");
        assert_eq!(waiters.call(4), []);
        // Nor is anybody told to watch.
        let (mut waiters, tickets) = asleep(&[1, 1, 9]);
        waiters.concurrency = 1;
        waiters.leave(tickets[0]);
        assert_eq!(waiters.call(1), [Call::Parked(1)]);
    }
}
