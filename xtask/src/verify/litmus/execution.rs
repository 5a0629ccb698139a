//! Candidate executions of a test: which write each read reads from, and in
//! which order the writes of a location come.

use super::program::{Fact, Order, Program, Step};

/// A relation between events: for each, the bits of those it leads to.
#[derive(Clone, PartialEq, Eq)]
pub struct Relation(Vec<u64>);

impl Relation {
    pub fn of(len: usize, holds: impl Fn(usize, usize) -> bool) -> Self {
        let row = |a| (0..len).filter(|b| holds(a, *b)).fold(0, |row, b| row | 1 << b);
        Relation((0..len).map(row).collect())
    }

    pub fn has(&self, a: usize, b: usize) -> bool {
        self.0[a] >> b & 1 == 1
    }

    pub fn or(&self, other: &Self) -> Self {
        Relation(self.0.iter().zip(&other.0).map(|(a, b)| a | b).collect())
    }

    /// First this one, then the other.
    pub fn then(&self, other: &Self) -> Self {
        let row = |row: &u64| {
            let next = (0..self.0.len()).filter(|b| row >> b & 1 == 1);
            next.fold(0, |sum, b| sum | other.0[b])
        };
        Relation(self.0.iter().map(row).collect())
    }

    /// This one or nothing.
    pub fn maybe(&self) -> Self {
        Relation(self.0.iter().enumerate().map(|(a, row)| row | 1 << a).collect())
    }

    /// This one, once or more.
    pub fn plus(&self) -> Self {
        let mut sum = self.clone();
        loop {
            let more = sum.or(&sum.then(&sum));
            if more == sum {
                return sum;
            }
            sum = more;
        }
    }

    pub fn star(&self) -> Self {
        self.plus().maybe()
    }

    pub fn is_acyclic(&self) -> bool {
        self.plus().is_irreflexive()
    }

    pub fn is_irreflexive(&self) -> bool {
        self.0.iter().enumerate().all(|(a, row)| row >> a & 1 == 0)
    }

    /// Where it holds and `keep` does.
    pub fn only(&self, keep: impl Fn(usize, usize) -> bool) -> Self {
        Relation::of(self.0.len(), |a, b| self.has(a, b) && keep(a, b))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Read,
    Write,
    Fence,
}

/// An event; those that set the initial values have no thread.
#[derive(Clone, Debug)]
pub struct Event {
    pub thread: Option<usize>,
    pub kind: Kind,
    pub at: String,
    pub value: i64,
    pub order: Order,
    /// The register that a read sets.
    into: String,
    /// The write of a swap follows its read.
    pub swaps: bool,
    /// What the read of a swap has to find, or not to find.
    wants: Option<(i64, bool)>,
}

/// Events, and what they read and overwrite.
pub struct Execution {
    pub events: Vec<Event>,
    /// Program order.
    pub po: Relation,
    /// From a write to those that read it.
    pub rf: Relation,
    /// From a write to those that overwrite it.
    pub co: Relation,
    /// From a read to those that overwrite what it has read.
    pub fr: Relation,
    /// From the read of a swap to its write.
    pub rmw: Relation,
}

impl Execution {
    pub fn relation(&self, holds: impl Fn(&Event, &Event) -> bool) -> Relation {
        Relation::of(self.events.len(), |a, b| holds(&self.events[a], &self.events[b]))
    }

    pub fn is_external(&self, a: usize, b: usize) -> bool {
        self.events[a].thread.is_none() || self.events[a].thread != self.events[b].thread
    }

    /// Whether it ends as all these say.
    pub fn ends_as(&self, facts: &[Fact]) -> bool {
        facts.iter().all(|fact| match fact {
            Fact::Register(thread, name, value) => self
                .events
                .iter()
                .rfind(|e| e.thread == Some(*thread) && e.into == *name)
                .is_some_and(|e| e.value == *value),
            Fact::Memory(at, value) => {
                let writes = (0..self.events.len())
                    .filter(|n| self.is_write(*n) && self.events[*n].at == *at);
                let last = |n: &usize| (0..self.events.len()).all(|m| !self.co.has(*n, m));
                writes.filter(last).all(|n| self.events[n].value == *value)
            }
        })
    }

    pub fn is_write(&self, n: usize) -> bool {
        self.events[n].kind == Kind::Write
    }

    pub fn is_read(&self, n: usize) -> bool {
        self.events[n].kind == Kind::Read
    }
}

/// The events of a program, where bit n of `fails` says that the n-th compare
/// and swap finds another value.
fn events(program: &Program, fails: u32) -> Vec<Event> {
    let event = |thread, kind, at: &str, value, order| Event {
        thread,
        kind,
        at: at.to_owned(),
        value,
        order,
        into: String::new(),
        swaps: false,
        wants: None,
    };
    let mut all = Vec::new();
    let steps = program.threads.iter().flatten();
    let mut places: Vec<&String> = steps
        .filter_map(|step| match step {
            Step::Load { from: at, .. } | Step::Store { to: at, .. } | Step::Swap { at, .. } => {
                Some(at)
            }
            Step::Fence(_) => None,
        })
        .collect();
    places.sort();
    places.dedup();
    for at in places {
        let value = program.init.iter().find(|(name, _)| name == at).map_or(0, |(_, v)| *v);
        all.push(event(None, Kind::Write, at, value, Order::Relaxed));
    }
    let mut swaps = 0;
    for (n, thread) in program.threads.iter().enumerate() {
        let n = Some(n);
        for step in thread {
            match step {
                Step::Load { from, into, order } => {
                    let read = event(n, Kind::Read, from, 0, *order);
                    all.push(Event { into: into.clone(), ..read });
                }
                Step::Store { to, value, order } => {
                    all.push(event(n, Kind::Write, to, *value, *order));
                }
                Step::Fence(order) => all.push(event(n, Kind::Fence, "", 0, *order)),
                Step::Swap { at, expected, value, into, order } => {
                    let fails_now = expected.is_some() && fails >> swaps & 1 == 1;
                    swaps += u32::from(expected.is_some());
                    let acquires = if order.acquires() { Order::Acquire } else { Order::Relaxed };
                    let releases = if order.releases() { Order::Release } else { Order::Relaxed };
                    let wants = expected.map(|value| (value, !fails_now));
                    let order_read = if fails_now { Order::Relaxed } else { acquires };
                    let read = event(n, Kind::Read, at, 0, order_read);
                    let read = Event { into: into.clone(), wants, swaps: !fails_now, ..read };
                    if fails_now {
                        all.push(read);
                        continue;
                    }
                    // A swap of the kernel's has smp_mb() before and after it.
                    if *order == Order::Full {
                        all.push(event(n, Kind::Fence, "", 0, Order::Full));
                    }
                    all.push(read);
                    all.push(event(n, Kind::Write, at, *value, releases));
                    if *order == Order::Full {
                        all.push(event(n, Kind::Fence, "", 0, Order::Full));
                    }
                }
            }
        }
    }
    all
}

/// All orders of `items`.
fn permutations(items: &[usize]) -> Vec<Vec<usize>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (n, first) in items.iter().enumerate() {
        let rest: Vec<usize> = [&items[..n], &items[n + 1..]].concat();
        all.extend(permutations(&rest).into_iter().map(|tail| [&[*first], &tail[..]].concat()));
    }
    all
}

/// Calls `found` with each candidate execution.
pub fn each(program: &Program, found: &mut dyn FnMut(&Execution)) {
    let compares = |step: &&Step| matches!(step, Step::Swap { expected: Some(_), .. });
    let compares = program.threads.iter().flatten().filter(compares).count();
    for fails in 0..1 << compares {
        let events = events(program, fails);
        assert!(events.len() <= 64, "a bit for each event");
        let writes_to = |at: &str| -> Vec<usize> {
            let is = |n: &usize| events[*n].kind == Kind::Write && events[*n].at == at;
            (0..events.len()).filter(is).collect()
        };
        let initial: Vec<usize> =
            (0..events.len()).filter(|n| events[*n].thread.is_none()).collect();
        // The orders of each location's writes, the initial one first.
        let mut orders: Vec<Vec<usize>> = vec![Vec::new()];
        for first in &initial {
            let others: Vec<usize> =
                writes_to(&events[*first].at).into_iter().filter(|n| n != first).collect();
            let each = permutations(&others);
            let place = |order: &Vec<usize>| {
                let with = |tail: &Vec<usize>| [&order[..], &[*first], &tail[..]].concat();
                each.iter().map(with).collect::<Vec<_>>()
            };
            orders = orders.iter().flat_map(place).collect();
        }
        let reads: Vec<usize> =
            (0..events.len()).filter(|n| events[*n].kind == Kind::Read).collect();
        let sources: Vec<Vec<usize>> = reads.iter().map(|n| writes_to(&events[*n].at)).collect();
        let count: usize = sources.iter().map(Vec::len).product();
        for choice in 0..count {
            let mut rest = choice;
            let mut events = events.clone();
            let mut from = vec![usize::MAX; events.len()];
            for (read, sources) in reads.iter().zip(&sources) {
                from[*read] = sources[rest % sources.len()];
                rest /= sources.len();
                events[*read].value = events[from[*read]].value;
            }
            let is_wanted = |e: &Event| e.wants.is_none_or(|(v, equal)| (e.value == v) == equal);
            if !events.iter().all(is_wanted) {
                continue;
            }
            for order in &orders {
                let place = |n: usize| order.iter().position(|m| *m == n);
                let len = events.len();
                let same = |a: usize, b: usize| events[a].at == events[b].at;
                let co = Relation::of(len, |a, b| {
                    same(a, b)
                        && a != b
                        && place(a).is_some()
                        && place(b).is_some()
                        && place(a) < place(b)
                });
                let rf = Relation::of(len, |a, b| from[b] == a);
                let fr = Relation::of(len, |a, b| from[a] != usize::MAX && co.has(from[a], b));
                let thread = |n: usize| events[n].thread;
                let po = Relation::of(len, |a, b| {
                    thread(a).is_some() && thread(a) == thread(b) && a < b
                });
                let rmw = Relation::of(len, |a, b| events[a].swaps && b == a + 1);
                found(&Execution { po, rf, co, fr, rmw, events: events.clone() });
            }
        }
    }
}
