//! Order among requests: groups, and who waits for whom.
//!
//! A graph over request slots. It knows nothing of operations, events or locks:
//! what has been set free is asked for with [`Order::next_freed`], and whoever
//! asks starts or ends it. A request waits for one target at most, so that the
//! links of its place in the target's list stand in its own node, and waiting
//! needs no memory but that of the slots.
//!
//! SPEC: sections 9.2 (groups), 9.3 (after).

use std::collections::HashMap;

/// No slot, no group.
const NONE: u32 = u32::MAX;

/// Why a request cannot take its place; a positive errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no such group.
    Unknown,
    /// It would wait for itself.
    Deadlock,
    /// Too many groups, or no memory.
    NoRoom,
}

/// What a request that waited has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its turn has come.
    Start,
    /// What it waited for has failed.
    Fail,
    /// The group that it closed has ended, with so many members that failed.
    Closed(u64),
}

/// What a request waits for before it starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Target {
    #[default]
    Nothing,
    Request(u32),
    Group(u32),
}

/// Slots in the order in which they began to wait.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

/// A slot's part in the graph.
#[derive(Clone, Copy, Debug)]
struct Node {
    target: Target,
    /// Neighbours in the list of the target, or among those that are free.
    next: u32,
    previous: u32,
    /// Those that wait for this one.
    waiting: List,
    /// The group that it is a member of.
    group: u32,
    /// The group that it has closed, and whose event it is.
    closes: u32,
    /// What it has come to, while it is among those that are free.
    fate: Option<Fate>,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    key: u64,
    open: bool,
    /// Members that have not ended.
    members: usize,
    failed: u64,
    /// The request that is its event.
    closer: u32,
    waiting: List,
    /// The search that was here last.
    seen: u64,
}

/// The groups of a context, and who waits for whom.
#[derive(Debug)]
pub(crate) struct Order {
    nodes: Vec<Node>,
    groups: Vec<Group>,
    vacant: Vec<u32>,
    /// The open group of a key, or the one that was closed last.
    named: HashMap<u64, u32>,
    max_groups: usize,
    freed: List,
    searches: u64,
}

const EMPTY: List = List { first: NONE, last: NONE };

impl Default for Node {
    fn default() -> Self {
        Node {
            target: Target::Nothing,
            next: NONE,
            previous: NONE,
            waiting: EMPTY,
            group: NONE,
            closes: NONE,
            fate: None,
        }
    }
}

impl Group {
    fn has_ended(&self) -> bool {
        !self.open && self.members == 0
    }
}

impl Order {
    /// No groups, and at most `max_groups` of them at once.
    pub(crate) fn new(max_groups: usize) -> Self {
        Order {
            nodes: Vec::new(),
            groups: Vec::new(),
            vacant: Vec::new(),
            named: HashMap::new(),
            max_groups,
            freed: EMPTY,
            searches: 0,
        }
    }

    /// Sees to it that the first `slots` slots can take part.
    ///
    /// # Errors
    /// If the memory cannot be had.
    pub(crate) fn reserve(&mut self, slots: usize) -> Result<(), Refusal> {
        let slots = slots.max(self.nodes.len());
        let more = slots - self.nodes.len();
        self.nodes.try_reserve(more).map_err(|_| Refusal::NoRoom)?;
        self.nodes.resize(slots, Node::default());
        Ok(())
    }

    /// Makes `slot` a member of the open group of `key`.
    ///
    /// SPEC: R-GROUP-1, R-GROUP-4, R-GROUP-6
    pub(crate) fn join(&mut self, slot: u32, key: u64) -> Result<(), Refusal> {
        let group = match self.named.get(&key) {
            Some(&group) if self.groups[group as usize].open => group,
            _ => self.open(key)?,
        };
        self.groups[group as usize].members += 1;
        self.nodes[slot as usize].group = group;
        Ok(())
    }

    /// Closes the open group of `key`; `slot` becomes its event.
    ///
    /// SPEC: R-GROUP-2, R-AFTER-4
    pub(crate) fn close(&mut self, slot: u32, key: u64) -> Result<(), Refusal> {
        let group = self.named.get(&key).copied().ok_or(Refusal::Unknown)?;
        if !self.groups[group as usize].open {
            return Err(Refusal::Unknown);
        }
        self.check(slot, Target::Group(group))?;
        let closed = &mut self.groups[group as usize];
        (closed.open, closed.closer) = (false, slot);
        self.nodes[slot as usize].closes = group;
        if closed.members == 0 {
            self.end_group(group);
        }
        Ok(())
    }

    /// Makes `slot` wait for the request in slot `target`.
    ///
    /// SPEC: R-AFTER-1, R-AFTER-4
    pub(crate) fn wait_for_request(&mut self, slot: u32, target: u32) -> Result<(), Refusal> {
        self.check(slot, Target::Request(target))?;
        self.link(slot, Target::Request(target));
        Ok(())
    }

    /// Makes `slot` wait for the open group of `key`, or for the one of that
    /// key that was closed last and has not ended.
    ///
    /// SPEC: R-AFTER-1, R-AFTER-3, R-AFTER-4
    pub(crate) fn wait_for_group(&mut self, slot: u32, key: u64) -> Result<(), Refusal> {
        let group = self.named.get(&key).copied().ok_or(Refusal::Unknown)?;
        self.check(slot, Target::Group(group))?;
        self.link(slot, Target::Group(group));
        Ok(())
    }

    /// Whether `slot` waits for something before it starts.
    pub(crate) fn waits_to_start(&self, slot: u32) -> bool {
        self.nodes.get(slot as usize).is_some_and(|node| node.target != Target::Nothing)
    }

    /// What `slot` has come to, once it has all that it waits for.
    pub(crate) fn fate(&self, slot: u32) -> Option<Fate> {
        let node = self.nodes.get(slot as usize)?;
        match (node.target, self.groups.get(node.closes as usize)) {
            (Target::Nothing, None) => Some(Fate::Start),
            (Target::Nothing, Some(group)) if group.has_ended() => Some(Fate::Closed(group.failed)),
            _ => None,
        }
    }

    /// The request of `slot` has ended, and its event is available. What that
    /// sets free has to be asked for, before anything else ends.
    ///
    /// SPEC: R-AFTER-2, R-GROUP-3, R-GROUP-5
    pub(crate) fn end(&mut self, slot: u32, failed: bool) {
        let Some(node) = self.nodes.get(slot as usize).copied() else { return };
        self.unlink(slot);
        self.nodes[slot as usize] = Node::default();
        self.free(node.waiting, failed);
        if let Some(group) = self.groups.get_mut(node.closes as usize) {
            group.closer = NONE;
            if group.has_ended() {
                self.vacant.push(node.closes);
            }
        }
        if let Some(group) = self.groups.get_mut(node.group as usize) {
            group.members -= 1;
            group.failed += u64::from(failed);
            if group.has_ended() {
                self.end_group(node.group);
            }
        }
    }

    /// A request that was set free and is not asked for yet, and what it has
    /// come to.
    pub(crate) fn next_freed(&mut self) -> Option<(u32, Fate)> {
        let slot = self.freed.first;
        let node = self.nodes.get_mut(slot as usize)?;
        self.freed.first = node.next;
        if node.next == NONE {
            self.freed.last = NONE;
        }
        node.next = NONE;
        Some((slot, node.fate.take()?))
    }

    fn open(&mut self, key: u64) -> Result<u32, Refusal> {
        if self.groups.len() - self.vacant.len() >= self.max_groups {
            return Err(Refusal::NoRoom);
        }
        self.named.try_reserve(1).map_err(|_| Refusal::NoRoom)?;
        let group =
            Group { key, open: true, members: 0, failed: 0, closer: NONE, waiting: EMPTY, seen: 0 };
        let place = match self.vacant.pop() {
            Some(place) => {
                self.groups[place as usize] = group;
                place
            }
            None => {
                self.groups.try_reserve(1).map_err(|_| Refusal::NoRoom)?;
                // For when all become vacant, which must not fail.
                let all = self.groups.len() + 1;
                self.vacant.try_reserve(all).map_err(|_| Refusal::NoRoom)?;
                self.groups.push(group);
                self.groups.len() as u32 - 1
            }
        };
        self.named.insert(key, place);
        Ok(place)
    }

    /// A closed group has no members left.
    fn end_group(&mut self, place: u32) {
        let group = self.groups[place as usize];
        if self.named.get(&group.key) == Some(&place) {
            self.named.remove(&group.key);
        }
        self.groups[place as usize].waiting = EMPTY;
        self.free(group.waiting, group.failed > 0);
        match self.nodes.get(group.closer as usize) {
            Some(closer) if closer.target == Target::Nothing => {
                self.append_freed(group.closer, Fate::Closed(group.failed));
            }
            // It waits for something else, too.
            Some(_) => {}
            None => self.vacant.push(place),
        }
    }

    /// Sets those of `list` free, whose target has ended.
    fn free(&mut self, list: List, failed: bool) {
        let mut slot = list.first;
        while let Some(node) = self.nodes.get_mut(slot as usize) {
            let next = node.next;
            (node.target, node.next, node.previous) = (Target::Nothing, NONE, NONE);
            let fate = if failed { Some(Fate::Fail) } else { self.fate(slot) };
            if let Some(fate) = fate {
                self.append_freed(slot, fate);
            }
            slot = next;
        }
    }

    fn append_freed(&mut self, slot: u32, fate: Fate) {
        self.nodes[slot as usize].fate = Some(fate);
        match self.nodes.get_mut(self.freed.last as usize) {
            Some(last) => last.next = slot,
            None => self.freed.first = slot,
        }
        self.freed.last = slot;
    }

    fn list(&mut self, target: Target) -> Option<&mut List> {
        match target {
            Target::Nothing => None,
            Target::Request(slot) => Some(&mut self.nodes[slot as usize].waiting),
            Target::Group(place) => Some(&mut self.groups[place as usize].waiting),
        }
    }

    /// Puts `slot` at the end of the list of those that wait for `target`.
    fn link(&mut self, slot: u32, target: Target) {
        let Some(list) = self.list(target) else { return };
        let last = std::mem::replace(&mut list.last, slot);
        if last == NONE {
            list.first = slot;
        } else {
            self.nodes[last as usize].next = slot;
        }
        let node = &mut self.nodes[slot as usize];
        (node.target, node.previous, node.next) = (target, last, NONE);
    }

    /// Takes `slot` out of the list that it waits in, if it does.
    fn unlink(&mut self, slot: u32) {
        let Node { target, next, previous, .. } = self.nodes[slot as usize];
        if target == Target::Nothing {
            return;
        }
        if let Some(node) = self.nodes.get_mut(previous as usize) {
            node.next = next;
        }
        if let Some(node) = self.nodes.get_mut(next as usize) {
            node.previous = previous;
        }
        if let Some(list) = self.list(target) {
            if previous == NONE {
                list.first = next;
            }
            if next == NONE {
                list.last = previous;
            }
        }
    }

    /// Whether `slot` may wait for `goal`: not if that waits for a group that
    /// `slot` is a member of. Nothing else can wait for a request that is being
    /// accepted.
    ///
    /// SPEC: R-AFTER-4
    fn check(&mut self, slot: u32, goal: Target) -> Result<(), Refusal> {
        let own = self.nodes[slot as usize].group;
        if own == NONE {
            return Ok(());
        }
        if goal == Target::Group(own) {
            return Err(Refusal::Deadlock);
        }
        self.searches += 1;
        self.groups[own as usize].seen = self.searches;
        // First slots of lists of those that wait, directly or not.
        let mut lists = Vec::new();
        lists.try_reserve(1).map_err(|_| Refusal::NoRoom)?;
        lists.push(self.groups[own as usize].waiting.first);
        while let Some(mut waiter) = lists.pop() {
            while let Some(node) = self.nodes.get(waiter as usize).copied() {
                if self.follow(waiter, goal, &mut lists)? {
                    return Err(Refusal::Deadlock);
                }
                waiter = node.next;
            }
        }
        Ok(())
    }

    /// Notes who waits for `waiter`; whether `goal` is `waiter` or does so.
    fn follow(&mut self, waiter: u32, goal: Target, lists: &mut Vec<u32>) -> Result<bool, Refusal> {
        let mut waiter = waiter;
        loop {
            if goal == Target::Request(waiter) {
                return Ok(true);
            }
            let Node { waiting, group: place, .. } = self.nodes[waiter as usize];
            lists.try_reserve(2).map_err(|_| Refusal::NoRoom)?;
            lists.push(waiting.first);
            let Some(group) = self.groups.get_mut(place as usize) else { return Ok(false) };
            if goal == Target::Group(place) {
                return Ok(true);
            }
            if std::mem::replace(&mut group.seen, self.searches) == self.searches {
                return Ok(false);
            }
            lists.push(group.waiting.first);
            // Its event waits for it as well.
            if group.closer == NONE {
                return Ok(false);
            }
            waiter = group.closer;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Order {
        let mut order = Order::new(8);
        order.reserve(16).unwrap();
        order
    }

    fn freed(order: &mut Order) -> Vec<(u32, Fate)> {
        std::iter::from_fn(|| order.next_freed()).collect()
    }

    #[test]
    fn those_that_wait_are_freed_in_order_once_the_target_has_ended() {
        let mut o = order();
        for slot in 1..4 {
            o.wait_for_request(slot, 0).unwrap();
            assert_eq!(o.fate(slot), None);
        }
        // SPEC: R-GROUP-5, of one in the middle of the list
        o.end(2, true);
        assert_eq!(freed(&mut o), []);
        o.end(0, false);
        assert_eq!(freed(&mut o), [(1, Fate::Start), (3, Fate::Start)]);
    }

    #[test]
    fn a_failure_is_passed_on_by_whoever_ends_those_that_fail() {
        let mut o = order();
        o.wait_for_request(1, 0).unwrap();
        o.wait_for_request(2, 1).unwrap();
        o.end(0, true);
        assert_eq!(freed(&mut o), [(1, Fate::Fail)]);
        o.end(1, true);
        assert_eq!(freed(&mut o), [(2, Fate::Fail)]);
    }

    #[test]
    fn a_group_ends_when_it_is_closed_and_its_last_member_has_ended() {
        let mut o = order();
        for slot in 0..3 {
            o.join(slot, 7).unwrap();
        }
        o.end(0, false);
        o.close(5, 7).unwrap();
        o.end(1, true);
        assert_eq!((freed(&mut o), o.fate(5)), (vec![], None));
        o.end(2, false);
        assert_eq!(freed(&mut o), [(5, Fate::Closed(1))]);
        o.end(5, false);
        assert_eq!((o.groups.len(), o.vacant.len(), o.named.len()), (1, 1, 0));
    }

    #[test]
    fn a_closed_group_is_not_joined() {
        let mut o = order();
        o.join(0, 7).unwrap();
        o.close(1, 7).unwrap();
        o.join(2, 7).unwrap();
        assert_eq!(o.close(3, 9), Err(Refusal::Unknown));
        o.end(0, false);
        assert_eq!(freed(&mut o), [(1, Fate::Closed(0))]);
        o.end(1, false);
        o.close(3, 7).unwrap();
        o.end(2, true);
        assert_eq!(freed(&mut o), [(3, Fate::Closed(1))]);
    }

    #[test]
    fn a_group_whose_event_was_cancelled_stays_closed_and_leaves_nothing() {
        let mut o = order();
        o.join(0, 7).unwrap();
        o.close(1, 7).unwrap();
        o.wait_for_group(2, 7).unwrap();
        o.end(1, true);
        assert_eq!(freed(&mut o), []);
        o.end(0, true);
        assert_eq!(freed(&mut o), [(2, Fate::Fail)]);
        assert_eq!(o.vacant.len(), o.groups.len());
    }

    #[test]
    fn an_event_of_a_group_can_wait_for_something_else_too() {
        for group_first in [true, false] {
            let mut o = order();
            o.join(0, 7).unwrap();
            o.close(2, 7).unwrap();
            o.wait_for_request(2, 1).unwrap();
            let (first, last) = if group_first { (0, 1) } else { (1, 0) };
            o.end(first, false);
            assert_eq!((freed(&mut o), o.fate(2)), (vec![], None));
            o.end(last, false);
            assert_eq!(freed(&mut o), [(2, Fate::Closed(0))]);
            o.end(2, false);
            assert_eq!(o.vacant.len(), o.groups.len());
        }
    }

    #[test]
    fn who_would_wait_for_itself_is_refused() {
        let deadlock = Err(Refusal::Deadlock);
        // Its own group, by AFTER and by GROUP.
        let mut o = order();
        o.join(0, 7).unwrap();
        assert_eq!(o.wait_for_group(0, 7), deadlock);
        assert_eq!(o.close(0, 7), deadlock);
        // By way of another group, and of a request.
        let mut o = order();
        o.join(0, 7).unwrap();
        o.join(1, 8).unwrap();
        o.wait_for_group(1, 7).unwrap();
        o.join(2, 7).unwrap();
        assert_eq!(o.wait_for_group(2, 8), deadlock);
        assert_eq!(o.wait_for_request(2, 1), deadlock);
        assert_eq!(o.wait_for_request(2, 0), Ok(()));
        // By way of a group's event.
        let mut o = order();
        o.join(0, 7).unwrap();
        o.wait_for_request(0, 9).unwrap();
        o.join(1, 8).unwrap();
        o.wait_for_group(1, 7).unwrap();
        o.join(2, 7).unwrap();
        assert_eq!(o.close(2, 8), deadlock);
        o.close(3, 8).unwrap();
        o.join(4, 7).unwrap();
        assert_eq!(o.wait_for_request(4, 3), deadlock);
    }

    #[test]
    fn memory_is_that_of_the_slots() {
        let mut o = order();
        for slots in [1000, 1001, 1002] {
            o.reserve(slots).unwrap();
        }
        assert!(o.nodes.capacity() <= 2000);
    }

    #[test]
    fn groups_are_bounded() {
        let mut o = order();
        for slot in 0..8 {
            o.join(slot, slot.into()).unwrap();
            assert!(o.vacant.capacity() >= o.groups.len(), "they become vacant without memory");
        }
        assert_eq!(o.join(8, 8), Err(Refusal::NoRoom));
        assert_eq!(o.join(8, 7), Ok(()));
    }
}
