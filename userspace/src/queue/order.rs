//! What starts after what: chains that no limit can cut.
//!
//! Duty: have each request that is to start after another one do so, wherever a
//! submission ends. One whose target stands before it among what is queued says
//! so to the implementation, by place; both go there in one call then. If a limit
//! parts the two, or the target is with the implementation already, the request is
//! *held* here until the completion of its target is taken out of the queue. Not
//! here: requests without an order, which pay one comparison.
//!
//! A group is open or closed by the order in which requests are accepted. So no
//! request that names a group overtakes one that is held and names one, too: they
//! stand in line.
//!
//! SPEC: sections 9.2 and 9.3 (R-AFTER-1, R-AFTER-2).

use super::{Entry, Key, Queue};
use crate::error::Errno;
use crate::queue::place::{ENDED, NO_OPERATION, NONE, REACH};
use crate::queue::slab::Past;
use crate::submit::{After, Buffer, Follows};
use aio2_abi::attr;

/// What becomes of a request that is to be queued.
enum Admission {
    /// It can be queued.
    Now(Follows),
    /// It waits for the completion of this one.
    After(u64),
    /// It never starts.
    Never(Errno),
}

impl<B: Buffer, T> Queue<B, T> {
    /// Queues a new request that has an order, or holds it.
    #[cold]
    pub(super) fn push_ordered(&mut self, key: u64, refusal: Option<Errno>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let (member, closes) = (entry.op.member_of(), entry.op.closes());
        let target = match entry.op.asked_after() {
            Some(After::Key(Key(target))) if target != NONE => Ok(target),
            Some(After::Key(_)) => Err(Errno(libc::ENOENT)),
            Some(After::Previous(n)) => self.order.previous(n).ok_or(Errno(libc::ENOENT)),
            Some(After::Group(group)) => Ok(self.order.closers.get(&group).map_or(NONE, |&k| k)),
            Some(After::Request(_)) | None => Ok(NONE),
        };
        match refusal.map_or(target, Err) {
            Ok(target) => entry.place.after = target,
            Err(errno) => entry.place.fail(errno),
        }
        // From here on the key names another group, or this one.
        if let Some(group) = member {
            self.order.closers.remove(&group);
        }
        if let Some(group) = closes {
            self.order.closers.insert(group, key);
        }
        self.put(key, true);
    }

    /// Queues a request, or holds it. It names its target by place only if it may.
    fn put(&mut self, key: u64, by_place: bool) {
        self.order.is_idle = false;
        let in_line = self.names_group(key);
        if in_line && !self.order.line.is_empty() {
            // Whom it is after is asked for now: later nobody may know.
            if let Admission::After(target) = self.admission(key, false) {
                self.order.waiting.entry(target).or_default().push(key);
            }
            self.order.line.push_back(key);
            self.order.held += 1;
            return;
        }
        match self.admission(key, by_place) {
            Admission::After(target) => {
                self.order.waiting.entry(target).or_default().push(key);
                if in_line {
                    self.order.line.push_back(key);
                }
                self.order.held += 1;
            }
            admission => self.admit(key, admission),
        }
    }

    /// Whether it must not overtake others that name a group.
    fn names_group(&mut self, key: u64) -> bool {
        self.entries.get_mut(key).is_some_and(|Entry { op, place, .. }| {
            let by_key = matches!(op.asked_after(), Some(After::Group(_))) && place.after == NONE;
            op.member_of().is_some() || op.closes().is_some() || by_key
        })
    }

    /// What becomes of a request, as things are now.
    fn admission(&mut self, key: u64, by_place: bool) -> Admission {
        let first = self.first_queued();
        let by_place = by_place && self.context.setup().attrs >> attr::AFTER & 1 == 1;
        let Some(Entry { place, .. }) = self.entries.get_mut(key) else {
            return Admission::Now(Follows::AsAsked);
        };
        if let Some(errno) = place.doom() {
            return Admission::Never(errno);
        }
        let Some(target) = place.waits_for() else {
            let by_name = place.after == NONE;
            return Admission::Now(if by_name { Follows::AsAsked } else { Follows::Nothing });
        };
        match self.entries.past(target) {
            Past::Here if target == key => self.settle(key, Some(Errno(libc::EDEADLK))),
            Past::Here => {
                let number = self.entries.get_mut(target).map_or(0, |entry| entry.place.number);
                let distance = self.order.next - number;
                if by_place && number >= first && distance <= REACH as u64 {
                    return Admission::Now(Follows::Place(distance));
                }
                Admission::After(target)
            }
            Past::Ended { failed: false } => self.settle(key, None),
            Past::Ended { failed: true } => self.settle(key, Some(Errno(libc::ECANCELED))),
            Past::Forgotten => self.settle(key, Some(Errno(libc::ESTALE))),
            Past::Never => self.settle(key, Some(Errno(libc::ENOENT))),
        }
    }

    /// Notes what the target of a request has come to, which nobody may know later.
    fn settle(&mut self, key: u64, error: Option<Errno>) -> Admission {
        if let Some(Entry { place, .. }) = self.entries.get_mut(key) {
            place.after = ENDED;
            error.into_iter().for_each(|errno| place.fail(errno));
        }
        error.map_or(Admission::Now(Follows::Nothing), Admission::Never)
    }

    /// Queues a request whose turn it is, or ends it.
    fn admit(&mut self, key: u64, admission: Admission) {
        match admission {
            Admission::Now(follows) => {
                if let Follows::Place(_) = follows {
                    self.order.last_by_place = self.order.next;
                }
                self.enqueue(key, follows);
            }
            // Its group counts it among those that failed.
            Admission::Never(_) if self.is_member(key) => {
                self.order.doomed += 1;
                self.enqueue(key, Follows::Nothing);
            }
            Admission::Never(errno) => self.refuse(key, errno),
            Admission::After(_) => {}
        }
    }

    fn is_member(&mut self, key: u64) -> bool {
        self.entries.get_mut(key).is_some_and(|entry| entry.op.member_of().is_some())
    }

    /// The completion of `target` leaves the queue: whoever is held for it goes on.
    #[cold]
    pub(super) fn set_free(&mut self, target: u64, closed: Option<u64>, failed: bool) {
        if let Some(group) = closed
            && self.order.closers.get(&group) == Some(&target)
        {
            self.order.closers.remove(&group);
        }
        for key in self.order.waiting.remove(&target).unwrap_or_default() {
            // One that was cancelled meanwhile waits for nobody.
            if self.entries.get_mut(key).is_none_or(|entry| entry.place.after != target) {
                continue;
            }
            // All that are held and name one stand there.
            let in_line = self.names_group(key);
            let admission = self.settle(key, failed.then_some(Errno(libc::ECANCELED)));
            if !in_line {
                self.order.held -= 1;
                self.admit(key, admission);
            }
        }
        self.move_up();
        self.order.look_whether_idle();
    }

    /// Queues those at the head of the line whose turn it is.
    fn move_up(&mut self) {
        while let Some(&key) = self.order.line.front() {
            let admission = self.admission(key, false);
            if let Admission::After(_) = admission {
                return;
            }
            self.order.line.pop_front();
            self.order.held -= 1;
            self.admit(key, admission);
        }
    }

    /// Has a member of a group that is queued fail, so that the group counts it;
    /// false if it is none.
    pub(super) fn doom_member(&mut self, key: u64, errno: Errno) -> bool {
        let first = self.first_queued();
        let Some(Entry { op, place, .. }) = self.entries.get_mut(key) else { return false };
        let is_queued = place.number >= first && op.member_of().is_some();
        if is_queued {
            self.order.doomed += usize::from(place.doom().is_none());
            self.order.is_idle = false;
            place.fail(errno);
            self.iocbs.rename(key, NO_OPERATION);
        }
        is_queued
    }

    /// Takes a request that is held out, to end with `errno`; false if it is not.
    pub(super) fn give_up_held(&mut self, key: u64, errno: Errno) -> bool {
        if self.order.held == 0 || !self.is_held(key) {
            return false;
        }
        self.settle(key, Some(errno));
        if let Some(at) = self.order.line.iter().position(|held| *held == key) {
            if self.is_member(key) {
                // In its turn, for the group to count it.
                self.move_up();
                return true;
            }
            self.order.line.remove(at);
        }
        self.order.held -= 1;
        self.refuse(key, errno);
        self.move_up();
        true
    }

    fn is_held(&mut self, key: u64) -> bool {
        self.entries.get_mut(key).is_some_and(|entry| entry.place.is_held())
    }

    /// Ends all that are held, with `errno`.
    pub(super) fn give_up_all_held(&mut self, errno: Errno) {
        let waiting = std::mem::take(&mut self.order.waiting).into_values().flatten();
        let line = std::mem::take(&mut self.order.line);
        let mut held: Vec<u64> = waiting.chain(line).collect();
        held.sort_unstable();
        for key in held {
            // Some stood in both.
            if self.is_held(key) {
                self.refuse(key, errno);
            }
        }
        self.order.held = 0;
    }

    /// Number of the first request that is queued.
    #[inline]
    fn first_queued(&self) -> u64 {
        self.order.next - self.iocbs.count() as u64
    }

    /// A submission has taken requests from the front of the stream: holds those
    /// that it has parted from their targets.
    #[inline]
    pub(super) fn mend_front(&mut self) {
        if self.order.last_by_place >= self.first_queued() && !self.iocbs.is_empty() {
            self.mend_if_cut();
        }
    }

    #[cold]
    fn mend_if_cut(&mut self) {
        let first = self.first_queued();
        let near: Vec<u64> = self.iocbs.user_datas().take(REACH).collect();
        let cut = near.into_iter().any(|key| {
            let after = self.entries.get_mut(key).and_then(|entry| entry.place.waits_for());
            let target = after.map(|after| self.entries.get_mut(after).map(|e| e.place.number));
            target.is_some_and(|number| number.is_none_or(|number| number < first))
        });
        if cut {
            self.hold_chains();
        }
    }

    /// One that was queued as number `number` has left the stream from its midst: what
    /// stands before it moves up, and what is behind it may name the wrong one.
    pub(super) fn mend_around(&mut self, number: u64) {
        let places = (self.first_queued()..=number).zip(self.iocbs.user_datas());
        for (number, key) in places {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.place.number = number;
            }
        }
        match self.order.last_by_place {
            0 => {}
            last if last > number => self.hold_chains(),
            _ => self.order.last_by_place += 1,
        }
    }

    /// Holds all that name another one by its place, and what would overtake them.
    ///
    /// All, not just those that are cut: so a queue that is submitted in many
    /// pieces is not gone through for each of them.
    fn hold_chains(&mut self) {
        let mut line = false;
        let mut out = Vec::new();
        for key in self.iocbs.user_datas().collect::<Vec<_>>() {
            let entry = self.entries.get_mut(key);
            let by_place = entry.is_some_and(|entry| entry.place.waits_for().is_some());
            let in_line = self.names_group(key);
            if by_place || (in_line && line) {
                line |= in_line;
                out.push(key);
            }
        }
        let mut next = out.iter().copied().peekable();
        self.iocbs.retain(|key| next.next_if_eq(&key).is_none());
        self.order.last_by_place = 0;
        for (number, key) in (self.first_queued()..).zip(self.iocbs.user_datas()) {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.place.number = number;
            }
        }
        // They stood before all that stand in line.
        let behind = std::mem::take(&mut self.order.line);
        for key in out {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.place.number = 0;
                self.order.doomed -= usize::from(entry.place.doom().is_some());
            }
            self.put(key, false);
        }
        self.order.line.extend(behind);
    }
}
