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
    /// Neighbours among the members of its group that wait for something.
    member_next: u32,
    member_previous: u32,
    /// The side of a search that was here last.
    seen: u64,
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
    /// The first of its members that wait for something.
    waits: u32,
    /// Neighbours among the groups of its key that have not ended: those that
    /// were opened before and after it.
    older: u32,
    newer: u32,
    /// The side of a search that was here last.
    seen: u64,
}

/// The groups of a context, and who waits for whom.
#[derive(Debug)]
pub(crate) struct Order {
    nodes: Vec<Node>,
    groups: Vec<Group>,
    vacant: Vec<u32>,
    /// Of the groups of a key that have not ended, the one that was opened last:
    /// the open one, or the one that was closed last.
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
            member_next: NONE,
            member_previous: NONE,
            seen: 0,
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

    /// Gives back the memory of all but the first `slots` slots, if none of those
    /// takes part, and that of groups, if there are none.
    pub(crate) fn give_back(&mut self, slots: usize) {
        let mut nodes = Vec::new();
        if nodes.try_reserve_exact(slots).is_ok() && self.nodes.len() > slots {
            nodes.extend(self.nodes.drain(..).take(slots));
            self.nodes = nodes;
        }
        if self.vacant.len() == self.groups.len() {
            (self.groups, self.vacant, self.named) = Default::default();
        }
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
        let has_ended = closed.members == 0;
        self.nodes[slot as usize].closes = group;
        self.note_that_it_waits(slot);
        if has_ended {
            self.end_group(group);
        }
        Ok(())
    }

    /// Closes the open group of `key`, if there is one, for an operation GROUP
    /// that ends without having waited. What that sets free has to be asked for.
    ///
    /// SPEC: R-GROUP-7
    pub(crate) fn shut(&mut self, key: u64) {
        let Some(&place) = self.named.get(&key) else { return };
        let group = &mut self.groups[place as usize];
        if std::mem::replace(&mut group.open, false) && group.members == 0 {
            self.end_group(place);
        }
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
    /// key that was closed last, of those that have not ended.
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
        self.note_that_it_does_not(slot);
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
        let older = self.named.get(&key).copied().unwrap_or(NONE);
        let group = Group {
            key,
            open: true,
            members: 0,
            failed: 0,
            closer: NONE,
            waiting: EMPTY,
            waits: NONE,
            older,
            newer: NONE,
            seen: 0,
        };
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
        if let Some(older) = self.groups.get_mut(older as usize) {
            older.newer = place;
        }
        self.named.insert(key, place);
        Ok(place)
    }

    /// A closed group has no members left.
    fn end_group(&mut self, place: u32) {
        let group = self.groups[place as usize];
        self.unname(&group);
        self.groups[place as usize].waiting = EMPTY;
        self.free(group.waiting, group.failed > 0);
        match self.nodes.get(group.closer as usize) {
            // One that was to start after this group, or after its last member, is
            // among those that are free already. SPEC: R-AFTER-2
            Some(closer) if closer.target == Target::Nothing && closer.fate.is_none() => {
                self.append_freed(group.closer, Fate::Closed(group.failed));
            }
            // It waits for something else, too.
            Some(_) => {}
            None => self.vacant.push(place),
        }
    }

    /// The key of a group does not name it any more.
    fn unname(&mut self, group: &Group) {
        if let Some(older) = self.groups.get_mut(group.older as usize) {
            older.newer = group.newer;
        }
        match (self.groups.get_mut(group.newer as usize), group.older) {
            (Some(newer), older) => newer.older = older,
            (None, NONE) => drop(self.named.remove(&group.key)),
            // It has an entry: this needs no memory.
            (None, older) => drop(self.named.insert(group.key, older)),
        }
    }

    /// Sets those of `list` free, whose target has ended.
    fn free(&mut self, list: List, failed: bool) {
        let mut slot = list.first;
        while let Some(node) = self.nodes.get_mut(slot as usize) {
            let next = node.next;
            (node.target, node.next, node.previous) = (Target::Nothing, NONE, NONE);
            if node.closes == NONE {
                self.note_that_it_does_not(slot);
            }
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
        self.note_that_it_waits(slot);
    }

    /// Puts `slot` among the members of its group that wait for something.
    fn note_that_it_waits(&mut self, slot: u32) {
        let node = self.nodes[slot as usize];
        let Some(group) = self.groups.get_mut(node.group as usize) else { return };
        if group.waits == slot || node.member_previous != NONE {
            return;
        }
        let next = std::mem::replace(&mut group.waits, slot);
        self.nodes[slot as usize].member_next = next;
        if let Some(next) = self.nodes.get_mut(next as usize) {
            next.member_previous = slot;
        }
    }

    /// Takes `slot` out of the members of its group that wait for something.
    fn note_that_it_does_not(&mut self, slot: u32) {
        let node = &mut self.nodes[slot as usize];
        let (next, previous, group) = (node.member_next, node.member_previous, node.group);
        (node.member_next, node.member_previous) = (NONE, NONE);
        if let Some(next) = self.nodes.get_mut(next as usize) {
            next.member_previous = previous;
        }
        match (self.nodes.get_mut(previous as usize), self.groups.get_mut(group as usize)) {
            (Some(previous), _) => previous.member_next = next,
            (None, Some(group)) if group.waits == slot => group.waits = next,
            (None, _) => {}
        }
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
    /// From both ends at once, a step of each in turn: what is at one end of a long
    /// chain is found to be no circle without a walk along it.
    ///
    /// SPEC: R-AFTER-4
    fn check(&mut self, slot: u32, goal: Target) -> Result<(), Refusal> {
        let own = self.nodes[slot as usize].group;
        if own == NONE {
            return Ok(());
        }
        self.searches += 2;
        let mut search = Search { own, goal, steps: self.searches, ..Search::default() };
        search.look_back(self)?;
        search.look_ahead(self, goal)?;
        while !search.found && search.step_back(self)? && search.step_ahead(self)? {}
        if search.found { Err(Refusal::Deadlock) } else { Ok(()) }
    }
}

/// Where a search goes on.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// At one request.
    One(u32),
    /// At this one, and those after it in the list of their target.
    Waiting(u32),
    /// At this one, and those after it among the members of their group.
    Members(u32),
}

/// A search for a circle: whether `goal` waits for the group `own`.
#[derive(Debug, Default)]
struct Search {
    own: u32,
    goal: Target,
    /// What stands in what was seen by the side that begins at `own`, and one more
    /// in what the other side has seen.
    steps: u64,
    /// Who waits for `own`, directly or not.
    back: Vec<Place>,
    /// What `goal` waits for.
    ahead: Vec<Place>,
    found: bool,
}

impl Search {
    /// Begins at those that wait for the group itself.
    fn look_back(&mut self, order: &mut Order) -> Result<(), Refusal> {
        let group = &mut order.groups[self.own as usize];
        group.seen = self.steps;
        let (waiting, closer) = (group.waiting.first, group.closer);
        push(&mut self.back, [Place::Waiting(waiting), Place::One(closer)])
    }

    /// One request more that waits for the group; false if the search is over.
    fn step_back(&mut self, order: &mut Order) -> Result<bool, Refusal> {
        let Some(slot) = next(&mut self.back, order) else { return Ok(false) };
        let node = &mut order.nodes[slot as usize];
        let (waiting, place) = (node.waiting.first, node.group);
        self.found |= self.goal == Target::Request(slot);
        if !mark(&mut node.seen, self.steps, self.steps + 1, &mut self.found) {
            return Ok(!self.found);
        }
        push(&mut self.back, [Place::Waiting(waiting)])?;
        if let Some(group) = order.groups.get_mut(place as usize)
            && mark(&mut group.seen, self.steps, self.steps + 1, &mut self.found)
        {
            push(&mut self.back, [Place::Waiting(group.waiting.first), Place::One(group.closer)])?;
        }
        Ok(!self.found)
    }

    /// One request more that the goal waits for; false if the search is over.
    fn step_ahead(&mut self, order: &mut Order) -> Result<bool, Refusal> {
        let Some(slot) = next(&mut self.ahead, order) else { return Ok(false) };
        let node = &mut order.nodes[slot as usize];
        let (target, closes) = (node.target, node.closes);
        if !mark(&mut node.seen, self.steps + 1, self.steps, &mut self.found) {
            return Ok(!self.found);
        }
        self.look_ahead(order, target)?;
        self.look_ahead(order, Target::Group(closes))?;
        Ok(!self.found)
    }

    /// Notes that `target` is waited for.
    fn look_ahead(&mut self, order: &mut Order, target: Target) -> Result<(), Refusal> {
        match target {
            Target::Nothing => Ok(()),
            Target::Request(slot) => push(&mut self.ahead, [Place::One(slot)]),
            Target::Group(place) => {
                let Some(group) = order.groups.get_mut(place as usize) else { return Ok(()) };
                if mark(&mut group.seen, self.steps + 1, self.steps, &mut self.found) {
                    push(&mut self.ahead, [Place::Members(group.waits)])?;
                }
                Ok(())
            }
        }
    }
}

/// Notes that the side `own` of a search was here; whether it is the first time.
/// Where the `other` one was before, the circle is `found`.
fn mark(seen: &mut u64, own: u64, other: u64, found: &mut bool) -> bool {
    let before = std::mem::replace(seen, own);
    *found |= before == other;
    before != own
}

/// Adds the places at which somebody is.
fn push<const N: usize>(places: &mut Vec<Place>, more: [Place; N]) -> Result<(), Refusal> {
    for place in more {
        let (Place::One(slot) | Place::Waiting(slot) | Place::Members(slot)) = place;
        if slot != NONE {
            places.try_reserve(1).map_err(|_| Refusal::NoRoom)?;
            places.push(place);
        }
    }
    Ok(())
}

/// Takes a request from the places, and leaves those after it.
fn next(places: &mut Vec<Place>, order: &Order) -> Option<u32> {
    let place = places.last_mut()?;
    let (slot, rest) = match *place {
        Place::One(slot) => (slot, NONE),
        Place::Waiting(slot) => {
            let rest = order.nodes[slot as usize].next;
            *place = Place::Waiting(rest);
            (slot, rest)
        }
        Place::Members(slot) => {
            let rest = order.nodes[slot as usize].member_next;
            *place = Place::Members(rest);
            (slot, rest)
        }
    };
    if rest == NONE {
        places.pop();
    }
    Some(slot)
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

    /// SPEC: section 9.3
    #[test]
    fn a_key_names_the_last_closed_group_that_has_members() {
        let mut o = order();
        for (member, close) in [(0, 1), (2, 3), (4, 5)] {
            o.join(member, 7).unwrap();
            o.close(close, 7).unwrap();
        }
        // One in the middle, then the last: the first one is left.
        for member in [2, 4] {
            o.end(member, false);
            assert_eq!(freed(&mut o), [(member + 1, Fate::Closed(0))]);
            o.end(member + 1, false);
        }
        o.wait_for_group(6, 7).unwrap();
        o.end(0, true);
        assert_eq!(freed(&mut o), [(6, Fate::Fail), (1, Fate::Closed(1))]);
        assert_eq!(o.wait_for_group(8, 7), Err(Refusal::Unknown));
        assert!(o.named.is_empty());
    }

    /// Steps of a search are counted by what they leave: the mark of a node.
    #[test]
    fn a_long_chain_is_not_walked_for_each_that_joins_it() {
        const GROUPS: u32 = 1000;
        let mut o = Order::new(2 * GROUPS as usize);
        o.reserve(4 * GROUPS as usize).unwrap();
        o.join(0, 0).unwrap();
        let mut seen = 0;
        let walked = |o: &Order| o.nodes.iter().filter(|node| node.seen >= o.searches).count();
        for n in 0..GROUPS {
            // A member of the next group waits for the end of the one before.
            let (member, key) = (2 * n + 1, u64::from(n));
            o.join(member, key + 1).unwrap();
            o.wait_for_group(member, key).unwrap();
            o.close(member + 1, key).unwrap();
            seen += walked(&o);
            // And of a group that many wait for, one waits for what waits for nobody.
            let late = 2 * GROUPS + 1 + n;
            o.join(late, u64::from(GROUPS)).unwrap();
            o.wait_for_request(late, 0).unwrap();
            seen += walked(&o);
        }
        assert!(seen < 10 * GROUPS as usize, "{seen}");
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

    /// SPEC: R-AFTER-2
    #[test]
    fn an_event_of_a_group_can_wait_for_that_group_or_its_last_member() {
        for by_key in [true, false] {
            for failed in [true, false] {
                let mut o = order();
                o.join(0, 7).unwrap();
                if by_key {
                    o.wait_for_group(1, 7).unwrap();
                } else {
                    o.wait_for_request(1, 0).unwrap();
                }
                o.close(1, 7).unwrap();
                o.wait_for_request(2, 0).unwrap();
                o.end(0, failed);
                let mut ends = freed(&mut o);
                ends.sort_by_key(|(slot, _)| *slot);
                let own = if failed { Fate::Fail } else { Fate::Closed(0) };
                let other = if failed { Fate::Fail } else { Fate::Start };
                assert_eq!(ends, [(1, own), (2, other)], "{by_key} {failed}");
                o.end(1, failed);
                o.end(2, failed);
                assert_eq!(o.vacant.len(), o.groups.len());
            }
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
