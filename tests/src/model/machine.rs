//! What a context is, without threads, bytes and positions: rings and a list of
//! events, and requests that are accepted, run and end.
//!
//! One model for two uses: [`super`] holds it against an implementation, call by
//! call; `tests/tests/states.rs` goes through all of its states and asks in each
//! whether the requirements hold. It is meant to be obviously right, and is as
//! slow as it likes.
//!
//! SPEC: sections 4.4, 5.4 to 5.8, 8 (DEADLINE), 9, 10, 11.

use libc::{EAGAIN, EBADF, ECANCELED, EDEADLK, ENOENT, ETIMEDOUT, EXDEV};
use std::collections::VecDeque;

/// What is published when a request ends.
pub trait Publishable: Clone {
    /// Its length, in the unit of the ring's.
    fn size(&self) -> u32;
    /// The same, with this result, of an operation that was begun or was not.
    #[must_use]
    fn ends_with(&self, res: i64, begun: bool) -> Self;
}

/// The events of a context that nobody has taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rings<E> {
    /// What is in the rings, one behind the other.
    pub ring: VecDeque<E>,
    /// How many of those are not in the last one.
    pub frozen: usize,
    /// The last ring's.
    pub capacity: u32,
    /// What waits for room.
    pub overflow: VecDeque<E>,
    /// How many ever did.
    pub overflowed: u64,
}

impl<E: Publishable> Rings<E> {
    /// What of the last ring is taken.
    pub fn used(&self) -> u32 {
        self.ring.iter().skip(self.frozen).map(Publishable::size).sum()
    }

    fn fits(&self, event: &E) -> bool {
        self.used() + event.size() <= self.capacity
    }

    /// SPEC: R-OVF-4
    pub fn flush(&mut self) {
        while self.overflow.front().is_some_and(|event| self.fits(event)) {
            self.ring.extend(self.overflow.pop_front());
        }
    }

    /// SPEC: R-OVF-2, R-OVF-6, R-OVF-7
    pub fn publish(&mut self, event: E) {
        self.flush();
        if self.overflow.is_empty() && self.fits(&event) {
            self.ring.push_back(event);
        } else {
            self.overflow.push_back(event);
            self.overflowed += 1;
        }
    }

    /// Takes the oldest events of the rings, as many as there are of so many.
    pub fn reap(&mut self, max: usize) -> Vec<E> {
        let count = max.min(self.ring.len());
        self.frozen = self.frozen.saturating_sub(count);
        self.ring.drain(..count).collect()
    }

    /// SPEC: R-GROW-1 to R-GROW-3
    pub fn grow(&mut self, capacity: u32) {
        (self.frozen, self.capacity) = (self.ring.len(), capacity);
        self.flush();
    }

    /// Events that can be had.
    pub fn available(&self) -> usize {
        self.ring.len() + self.overflow.len()
    }
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Something that a worker runs, or that sleeps.
    Call,
    /// The operation GROUP, of a key.
    Close(u64),
}

/// What AFTER names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum After {
    /// A request, by its id.
    Request(u64),
    /// A group, by its key.
    Group(u64),
}

/// What is submitted.
#[derive(Clone, Debug)]
pub struct Ask<E> {
    /// What is published in the end.
    pub event: E,
    /// What is run.
    pub operation: Operation,
    /// The key of GROUP.
    pub group: Option<u64>,
    /// The target of AFTER.
    pub after: Option<After>,
    /// Whether it has a DEADLINE.
    pub has_deadline: bool,
}

/// What a request waits for before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A request, by its id.
    Request(u64),
    /// A group, by its number.
    Group(u64),
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It has not started.
    Waiting,
    /// It runs.
    Running,
    /// It runs and was told to stop: with this result, if it has none.
    Stopping(i64),
}

/// A request in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request<E> {
    /// Its id.
    pub id: u64,
    /// What is published in the end.
    pub event: E,
    /// How far it is.
    pub phase: Phase,
    /// What is run.
    pub operation: Operation,
    /// What has to end first.
    pub target: Option<Target>,
    /// The number of the group that it is a member of.
    pub member: Option<u64>,
    /// Whether it has a DEADLINE.
    pub has_deadline: bool,
}

/// A group that is there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// Which one: in the order in which they were made.
    pub number: u64,
    /// What names it.
    pub key: u64,
    /// Whether it takes members.
    pub is_open: bool,
    /// Members that have not ended.
    pub members: usize,
    /// Members that ended with a negative result.
    pub failed: i64,
    /// Its operation GROUP, while that is in flight.
    pub closer: Option<u64>,
}

/// What a cancel did to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It had not started.
    Cancelled,
    /// It ran, and was told to stop.
    Interrupted,
}

/// A context.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine<E> {
    /// Its events.
    pub rings: Rings<E>,
    /// Those in flight, oldest first.
    pub requests: Vec<Request<E>>,
    /// The groups that are there.
    pub groups: Vec<Group>,
    /// Requests that have ended, and their results, which AFTER asks for.
    pub ended: Vec<(u64, i64)>,
    /// Those of them that have failed.
    pub failed: Vec<u64>,
    /// The limit.
    pub max_requests: usize,
    /// Requests that were accepted.
    pub accepted: u64,
    /// Groups that were made.
    pub made: u64,
    /// The context is closed: nothing is accepted any more.
    pub is_closed: bool,
    /// It is what a child has after fork.
    pub is_child: bool,
}

impl<E: Publishable> Machine<E> {
    /// A context with nothing in it.
    pub fn new(capacity: u32, max_requests: usize) -> Self {
        let rings = Rings {
            ring: VecDeque::new(),
            frozen: 0,
            capacity,
            overflow: VecDeque::new(),
            overflowed: 0,
        };
        Machine {
            rings,
            requests: Vec::new(),
            groups: Vec::new(),
            ended: Vec::new(),
            failed: Vec::new(),
            max_requests,
            accepted: 0,
            made: 0,
            is_closed: false,
            is_child: false,
        }
    }

    /// Requests that count against the limit. SPEC: R-LIMIT-2
    pub fn unpublished(&self) -> usize {
        self.requests.len() + self.rings.overflow.len()
    }

    /// Requests that can be accepted. SPEC: R-LIMIT-1
    pub fn room(&self) -> usize {
        self.max_requests.saturating_sub(self.unpublished())
    }

    /// Accepts a request, which may end at once; its id.
    ///
    /// # Errors
    /// At the limit.
    pub fn accept(&mut self, ask: Ask<E>) -> Result<u64, i32> {
        if self.is_child || self.is_closed {
            return Err(if self.is_child { EXDEV } else { EBADF });
        }
        if self.room() == 0 {
            return Err(EAGAIN);
        }
        self.accepted += 1;
        let id = self.accepted;
        self.requests.push(Request {
            id,
            event: ask.event,
            phase: Phase::Waiting,
            operation: ask.operation,
            target: None,
            member: None,
            has_deadline: ask.has_deadline,
        });
        let placed = self.place(id, ask.operation, ask.group, ask.after);
        if let Err(errno) = placed {
            self.end(id, -i64::from(errno));
        }
        self.settle();
        Ok(id)
    }

    /// Groups and order of a new request.
    fn place(
        &mut self,
        id: u64,
        operation: Operation,
        group: Option<u64>,
        after: Option<After>,
    ) -> Result<(), i32> {
        if let Some(key) = group {
            let number = match self.open_group(key) {
                Some(number) => number,
                // SPEC: R-GROUP-6
                None if self.groups.len() >= self.max_requests => return Err(EAGAIN),
                None => {
                    let number = self.made;
                    self.made += 1;
                    let empty =
                        Group { number, key, is_open: true, members: 0, failed: 0, closer: None };
                    self.groups.push(empty);
                    number
                }
            };
            self.group_mut(number).members += 1;
            self.request_mut(id).member = Some(number);
        }
        let target = self.target(id, after);
        if target.is_ok_and(|target| target.is_some_and(|target| self.leads_to(target, id))) {
            return Err(EDEADLK);
        }
        if let Operation::Close(key) = operation {
            let open = self.open_group(key);
            if target.is_ok() && open.is_some_and(|n| self.leads_to(Target::Group(n), id)) {
                return Err(EDEADLK);
            }
            // It is closed also by one whose AFTER has failed. SPEC: R-GROUP-7
            let closer = target.is_ok().then_some(id);
            if let Some(number) = open {
                let group = self.group_mut(number);
                (group.is_open, group.closer) = (false, closer);
            }
            target.and(open.ok_or(ENOENT))?;
        }
        self.request_mut(id).target = target?;
        Ok(())
    }

    /// What AFTER names, if it has not ended. SPEC: R-AFTER-1 to R-AFTER-3
    fn target(&self, id: u64, after: Option<After>) -> Result<Option<Target>, i32> {
        match after {
            None => Ok(None),
            Some(After::Request(target)) => {
                if self.ended.iter().any(|(ended, _)| *ended == target) {
                    return if self.failed.contains(&target) { Err(ECANCELED) } else { Ok(None) };
                }
                let is_there = self.requests.iter().any(|r| r.id == target && target != id);
                is_there.then_some(Some(Target::Request(target))).ok_or(ENOENT)
            }
            Some(After::Group(key)) => {
                let open = self.open_group(key);
                let closed_last = || self.groups.iter().rfind(|g| g.key == key && g.members > 0);
                let number = open.or_else(|| closed_last().map(|g| g.number)).ok_or(ENOENT)?;
                Ok(Some(Target::Group(number)))
            }
        }
    }

    /// Whether `target` waits for the request `id`, itself or through others.
    /// SPEC: R-AFTER-4
    fn leads_to(&self, target: Target, id: u64) -> bool {
        match target {
            Target::Request(request) if request == id => true,
            Target::Request(request) => {
                let Some(request) = self.requests.iter().find(|r| r.id == request) else {
                    return false;
                };
                let closes = self.groups.iter().find(|g| g.closer == Some(request.id));
                request.target.is_some_and(|target| self.leads_to(target, id))
                    || closes.is_some_and(|g| self.leads_to(Target::Group(g.number), id))
            }
            Target::Group(number) => {
                let mut members = self.requests.iter().filter(|r| r.member == Some(number));
                members.any(|member| self.leads_to(Target::Request(member.id), id))
            }
        }
    }

    fn open_group(&self, key: u64) -> Option<u64> {
        self.groups.iter().find(|g| g.key == key && g.is_open).map(|g| g.number)
    }

    fn group_mut(&mut self, number: u64) -> &mut Group {
        self.groups.iter_mut().find(|g| g.number == number).expect("a group that is there")
    }

    fn request_mut(&mut self, id: u64) -> &mut Request<E> {
        self.requests.iter_mut().find(|r| r.id == id).expect("a request in flight")
    }

    /// Whether a request could be started now. SPEC: R-AFTER-1
    pub fn can_start(&self, id: u64) -> bool {
        let request = self.requests.iter().find(|r| r.id == id);
        request.is_some_and(|r| {
            r.phase == Phase::Waiting && r.target.is_none() && r.operation == Operation::Call
        })
    }

    /// A request begins to run.
    pub fn start(&mut self, id: u64) {
        debug_assert!(self.can_start(id));
        self.request_mut(id).phase = Phase::Running;
    }

    /// A request that runs has this result.
    pub fn finish(&mut self, id: u64, res: i64) {
        self.end(id, res);
        self.settle();
    }

    /// A cancel of one request; `None` if it is not in flight.
    /// SPEC: R-CANCEL-2 to R-CANCEL-4, R-CANCEL-6
    pub fn cancel(&mut self, id: u64) -> Option<Outcome> {
        let outcome = self.stop(id, -i64::from(ECANCELED));
        self.settle();
        outcome
    }

    /// The deadline of a request passes. SPEC: R-DEADLINE-1
    pub fn expire(&mut self, id: u64) {
        self.stop(id, -i64::from(ETIMEDOUT));
        self.settle();
    }

    /// The context is closed: each request is cancelled. SPEC: R-LIFE-1
    pub fn close(&mut self) {
        self.is_closed = true;
        // Youngest first, so that none is ended by the end of another.
        let ids: Vec<u64> = self.requests.iter().rev().map(|r| r.id).collect();
        for id in ids {
            self.stop(id, -i64::from(ECANCELED));
        }
        self.settle();
    }

    /// What a child has of it. SPEC: R-RING-3, R-LIFE-4
    #[must_use]
    pub fn fork(&self) -> Self {
        Machine { is_child: true, ..Machine::new(self.rings.capacity, self.max_requests) }
    }

    fn stop(&mut self, id: u64, res: i64) -> Option<Outcome> {
        let request = self.requests.iter_mut().find(|r| r.id == id)?;
        let is_closer = self.groups.iter().any(|g| g.closer == Some(id));
        match request.phase {
            Phase::Waiting => {
                let starts = is_closer && request.target.is_none();
                self.end(id, res);
                Some(if starts { Outcome::Interrupted } else { Outcome::Cancelled })
            }
            Phase::Running => {
                request.phase = Phase::Stopping(res);
                Some(Outcome::Interrupted)
            }
            // The first one decides.
            Phase::Stopping(_) => Some(Outcome::Interrupted),
        }
    }

    /// Publishes the event of a request. SPEC: R-EVENT-1, R-GROUP-3, R-AFTER-2
    fn end(&mut self, id: u64, res: i64) {
        let place = self.requests.iter().position(|r| r.id == id).expect("a request in flight");
        let request = self.requests.remove(place);
        self.ended.push((id, res));
        let closes = self.groups.iter().any(|g| g.closer == Some(id));
        let failed = res < 0 || (closes && res > 0);
        self.failed.extend(failed.then_some(id));
        let begun = request.phase != Phase::Waiting || (closes && request.target.is_none());
        self.rings.publish(request.event.ends_with(res, begun));
        if let Some(number) = request.member {
            let group = self.group_mut(number);
            group.members -= 1;
            group.failed += i64::from(failed);
        }
        for group in self.groups.iter_mut().filter(|g| g.closer == Some(id)) {
            // SPEC: R-GROUP-5
            group.closer = None;
        }
    }

    /// Ends what has nothing left to wait for, until nothing has.
    fn settle(&mut self) {
        loop {
            if let Some(id) = self.freed() {
                self.end(id, -i64::from(ECANCELED));
                continue;
            }
            let ready = |id: u64| self.requests.iter().any(|r| r.id == id && r.target.is_none());
            let ended = self.groups.iter().filter(|g| !g.is_open && g.members == 0);
            let mut closers = ended.filter_map(|g| Some((g.closer?, g.failed)));
            match closers.find(|(id, _)| ready(*id)) {
                Some((id, failed)) => self.end(id, failed),
                None => break,
            }
        }
        self.groups.retain(|g| g.is_open || g.members > 0 || g.closer.is_some());
    }

    /// Sets free what waits for something that has ended; the first one whose
    /// target failed. SPEC: R-AFTER-1, R-AFTER-2
    fn freed(&mut self) -> Option<u64> {
        for request in &mut self.requests {
            let failed = match request.target {
                None => continue,
                Some(Target::Request(id)) => {
                    if self.ended.iter().all(|(ended, _)| *ended != id) {
                        continue;
                    }
                    self.failed.contains(&id)
                }
                Some(Target::Group(number)) => {
                    let group = self.groups.iter().find(|g| g.number == number);
                    match group {
                        Some(group) if group.is_open || group.members > 0 => continue,
                        group => group.is_none_or(|g| g.failed > 0),
                    }
                }
            };
            if failed {
                return Some(request.id);
            }
            request.target = None;
        }
        None
    }
}
