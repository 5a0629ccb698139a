//! All states of a context with a few requests: the sequential model of the
//! suite, gone through by stateright, and the requirements asked in each state.
//!
//! AIO2_STATE_REQUESTS says how many requests are submitted, and AIO2_STATES
//! after how many states to stop; the plain test has two requests, and
//! `cargo xtask verify --states` asks for more.

use aio2_conformance::model::machine::{
    After, Ask, Machine, Operation, Outcome, Phase, Publishable,
};
use libc::{ECANCELED, EDEADLK, ENOENT, ETIMEDOUT, EXDEV};
use stateright::{Checker, Expectation, Model, Property};
use std::time::Instant;

const CANCELED: i64 = -(ECANCELED as i64);
const TIMED_OUT: i64 = -(ETIMEDOUT as i64);
const DEADLOCK: i64 = -(EDEADLK as i64);
const NO_ENTRY: i64 = -(ENOENT as i64);
const FAILED: i64 = -1;
const KEY: u64 = 7;

/// An event: that of a request. Each has the same length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Done {
    request: u64,
    res: i64,
    begun: bool,
}

impl Publishable for Done {
    fn size(&self) -> u32 {
        1
    }

    fn ends_with(&self, res: i64, begun: bool) -> Self {
        Done { res, begun, ..*self }
    }
}

/// What is submitted: an operation, GROUP, AFTER and DEADLINE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Kind {
    closes: bool,
    is_member: bool,
    after: Next,
    has_deadline: bool,
}

/// What AFTER names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Next {
    Nothing,
    /// The request before.
    Previous,
    Group,
    /// A request that will never be.
    Nobody,
}

const fn kind(closes: bool, is_member: bool, after: Next, has_deadline: bool) -> Kind {
    Kind { closes, is_member, after, has_deadline }
}

const KINDS: [Kind; 11] = [
    kind(false, false, Next::Nothing, false),
    kind(false, false, Next::Nothing, true),
    kind(false, true, Next::Nothing, false),
    kind(false, true, Next::Previous, false),
    kind(false, true, Next::Group, false),
    kind(false, false, Next::Previous, true),
    kind(false, false, Next::Group, false),
    kind(false, false, Next::Nobody, false),
    kind(true, false, Next::Nothing, false),
    kind(true, false, Next::Previous, true),
    kind(true, true, Next::Nothing, false),
];

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    machine: Machine<Done>,
    /// What was accepted; the id is the place, from 1.
    asked: Vec<Kind>,
    /// What was taken from the ring.
    taken: Vec<Done>,
    /// Bits of the ids that have started, that were cancelled before, or while
    /// they ran, and whose deadline has passed.
    started: u32,
    cancelled: u32,
    interrupted: u32,
    expired: u32,
    grown: u8,
    /// A submission was refused with room left, or accepted without.
    limit_broken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Submit(Kind),
    Start(u64),
    Finish(u64, i64),
    Cancel(u64),
    Expire(u64),
    Reap,
    Flush,
    Grow,
    Close,
}

struct Context {
    requests: usize,
    limit: usize,
}

fn bit(id: u64) -> u32 {
    1 << id
}

impl State {
    fn results(&self) -> impl Iterator<Item = Done> + '_ {
        let rings = &self.machine.rings;
        self.taken.iter().chain(&rings.ring).chain(&rings.overflow).copied()
    }

    fn res(&self, id: u64) -> Option<i64> {
        self.results().find(|done| done.request == id).map(|done| done.res)
    }

    /// Whether a request that has ended has failed: of a close, a member has.
    fn failed(&self, id: u64) -> Option<bool> {
        let closes = self.kinds().any(|(other, kind)| other == id && kind.closes);
        self.res(id).map(|res| res < 0 || (closes && res > 0))
    }

    fn kinds(&self) -> impl Iterator<Item = (u64, Kind)> + '_ {
        (1..).zip(self.asked.iter().copied())
    }

    /// Which group of the key a request that is submitted as the `id`-th finds
    /// open, by what was submitted before alone: it has had a member.
    fn generation(&self, id: u64) -> (usize, bool) {
        let (mut generation, mut open) = (0, false);
        for (other, kind) in self.kinds().take_while(|(other, _)| *other < id) {
            open |= kind.is_member;
            let closed = kind.closes && open && self.res(other) != Some(DEADLOCK);
            if closed {
                (generation, open) = (generation + 1, false);
            }
        }
        (generation, open)
    }

    fn members(&self, generation: usize) -> impl Iterator<Item = u64> + '_ {
        let is_member =
            move |(id, kind): &(u64, Kind)| kind.is_member && self.generation(*id).0 == generation;
        self.kinds().filter(is_member).map(|(id, _)| id)
    }

    /// Where an event stands in the order of publication.
    fn place(&self, id: u64) -> Option<usize> {
        self.results().position(|done| done.request == id)
    }
}

fn one_terminal_event(_: &Context, state: &State) -> bool {
    state.kinds().all(|(id, _)| {
        let events = state.results().filter(|done| done.request == id).count();
        let flies = state.machine.requests.iter().filter(|r| r.id == id).count();
        events + flies == 1
    })
}

fn cancelled_before_it_started(_: &Context, state: &State) -> bool {
    state.kinds().filter(|(id, _)| state.cancelled & bit(*id) != 0).all(|(id, _)| {
        state.started & bit(id) == 0
            && state.interrupted & bit(id) == 0
            && state.res(id) == Some(CANCELED)
    })
}

fn canceled_only_with_a_cause(_: &Context, state: &State) -> bool {
    state.kinds().filter(|(id, _)| state.res(*id) == Some(CANCELED)).all(|(id, kind)| {
        let told = (state.cancelled | state.interrupted) & bit(id) != 0;
        told || state.machine.is_closed || matches!(kind.after, Next::Previous | Next::Group)
    })
}

fn deadline(_: &Context, state: &State) -> bool {
    state.kinds().all(|(id, kind)| {
        let res = state.res(id);
        let timed_out = res == Some(TIMED_OUT);
        let expired = state.expired & bit(id) != 0;
        // What never started cannot have a result of its own.
        let unstarted = expired && !kind.closes && state.started & bit(id) == 0;
        (!timed_out || (expired && kind.has_deadline)) && (!unstarted || timed_out)
    })
}

fn group_ends_last_and_counts(_: &Context, state: &State) -> bool {
    state.kinds().filter(|(_, kind)| kind.closes).all(|(id, _)| {
        let Some(res) = state.res(id).filter(|res| *res >= 0) else { return true };
        let (generation, _) = state.generation(id);
        let members: Vec<u64> = state.members(generation).filter(|m| *m < id).collect();
        let failed = members.iter().filter(|m| state.failed(**m) == Some(true)).count();
        members.iter().all(|m| state.place(*m).is_some_and(|place| Some(place) < state.place(id)))
            && failed as i64 == res
    })
}

fn group_without_members(_: &Context, state: &State) -> bool {
    let closers = state.kinds().filter(|(_, kind)| kind.closes && !kind.is_member);
    let mut none = closers.filter(|(id, _)| !state.generation(*id).1);
    none.all(|(id, kind)| {
        // SPEC: R-OP-9, AFTER is looked at first.
        let passed_on = kind.after == Next::Previous && state.failed(id - 1) == Some(true);
        state.res(id) == Some(NO_ENTRY) || passed_on && state.res(id) == Some(CANCELED)
    })
}

/// A cancel of the operation leaves members alone: they are not told to stop.
fn group_cancel_leaves_members(_: &Context, state: &State) -> bool {
    state.machine.is_closed
        || state.machine.requests.iter().all(|r| {
            let stopping = matches!(r.phase, Phase::Stopping(_));
            !stopping || (state.interrupted | state.expired) & bit(r.id) != 0
        })
}

fn starts_after_its_target(_: &Context, state: &State) -> bool {
    state.kinds().filter(|(id, _)| state.started & bit(*id) != 0).all(|(id, kind)| {
        match kind.after {
            Next::Nothing => true,
            Next::Nobody => false,
            // R-AFTER-2: it has not failed.
            Next::Previous => state.failed(id - 1) == Some(false),
            Next::Group => {
                let (generation, open) = state.generation(id);
                let named = if open { Some(generation) } else { generation.checked_sub(1) };
                let later = |m: &u64| *m < id || open;
                named.is_some_and(|named| {
                    state.members(named).filter(later).all(|m| state.failed(m) == Some(false))
                })
            }
        }
    })
}

fn after_nobody(_: &Context, state: &State) -> bool {
    let mut nobody = state.kinds().filter(|(_, kind)| kind.after == Next::Nobody);
    nobody.all(|(id, _)| state.res(id) == Some(NO_ENTRY))
}

/// An operation GROUP closes its group whatever ends it, but for a refusal.
fn close_closes(_: &Context, state: &State) -> bool {
    let last = state.kinds().last().filter(|(_, kind)| kind.closes);
    let is_open = state.machine.groups.iter().any(|g| g.key == KEY && g.is_open);
    last.is_none_or(|(id, _)| !is_open || state.res(id) == Some(DEADLOCK))
}

/// A member that waits for its own group.
fn after_itself(_: &Context, state: &State) -> bool {
    let mut own = state.kinds().filter(|(_, kind)| kind.is_member && kind.after == Next::Group);
    own.all(|(id, _)| state.res(id) == Some(DEADLOCK))
}

/// What is in flight can go on, whatever the application leaves undone.
fn nothing_is_stuck(_: &Context, state: &State) -> bool {
    let machine = &state.machine;
    let open = |key| machine.groups.iter().any(|g| g.key == key && g.is_open);
    machine.requests.is_empty()
        || machine.requests.iter().any(|r| machine.can_start(r.id) || r.phase != Phase::Waiting)
        || open(KEY)
}

fn published_in_order(_: &Context, state: &State) -> bool {
    let results = state.results().map(|done| (done.request, done.res));
    results.eq(state.machine.ended.iter().copied())
}

fn overflow_only_when_full(_: &Context, state: &State) -> bool {
    let rings = &state.machine.rings;
    rings.used() <= rings.capacity && rings.overflowed >= rings.overflow.len() as u64
}

fn room_is_reserved(_: &Context, state: &State) -> bool {
    !state.limit_broken && state.machine.unpublished() <= state.machine.max_requests
}

fn frozen_rings_take_nothing(_: &Context, state: &State) -> bool {
    let rings = &state.machine.rings;
    rings.frozen <= rings.ring.len() && (state.grown > 0 || rings.frozen == 0)
}

/// What runs has started; a close of a group begins when it waits for nothing.
fn says_what_was_begun(_: &Context, state: &State) -> bool {
    state.kinds().filter(|(_, kind)| !kind.closes).all(|(id, _)| {
        let started = state.started & bit(id) != 0;
        state.results().filter(|done| done.request == id).all(|done| done.begun == started)
    })
}

fn child_has_nothing(_: &Context, state: &State) -> bool {
    let mut child = state.machine.fork();
    child.requests.is_empty()
        && child.accept(ask(kind(false, false, Next::Nothing, false), 1)) == Err(EXDEV)
}

fn close_ends_all(_: &Context, state: &State) -> bool {
    let machine = &state.machine;
    !machine.is_closed || machine.requests.iter().all(|r| matches!(r.phase, Phase::Stopping(_)))
}

fn ask(kind: Kind, id: u64) -> Ask<Done> {
    Ask {
        event: Done { request: id, res: 0, begun: false },
        operation: if kind.closes { Operation::Close(KEY) } else { Operation::Call },
        group: kind.is_member.then_some(KEY),
        after: match kind.after {
            Next::Nothing => None,
            Next::Previous => Some(After::Request(id - 1)),
            Next::Group => Some(After::Group(KEY)),
            Next::Nobody => Some(After::Request(1000)),
        },
        has_deadline: kind.has_deadline,
    }
}

impl Model for Context {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            machine: Machine::new(1, self.limit),
            asked: Vec::new(),
            taken: Vec::new(),
            started: 0,
            cancelled: 0,
            interrupted: 0,
            expired: 0,
            grown: 0,
            limit_broken: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let machine = &state.machine;
        if state.asked.len() < self.requests && !machine.is_closed {
            let previous = |kind: &Kind| kind.after != Next::Previous || !state.asked.is_empty();
            actions.extend(KINDS.into_iter().filter(previous).map(Action::Submit));
            actions.push(Action::Close);
        }
        for request in &machine.requests {
            let id = request.id;
            if machine.can_start(id) {
                actions.push(Action::Start(id));
            }
            match request.phase {
                Phase::Running => actions.extend([0, FAILED].map(|res| Action::Finish(id, res))),
                Phase::Stopping(res) => {
                    actions.extend([0, FAILED, res].map(|res| Action::Finish(id, res)));
                }
                Phase::Waiting => {}
            }
            if !matches!(request.phase, Phase::Stopping(_)) {
                actions.push(Action::Cancel(id));
                if request.has_deadline {
                    actions.push(Action::Expire(id));
                }
            }
        }
        if !machine.rings.ring.is_empty() {
            actions.push(Action::Reap);
        }
        if !machine.rings.overflow.is_empty() {
            actions.push(Action::Flush);
            if state.grown == 0 {
                actions.push(Action::Grow);
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Submit(kind) => {
                let id = state.machine.accepted + 1;
                let room = state.machine.room();
                let accepted = state.machine.accept(ask(kind, id));
                state.limit_broken |= accepted.is_ok() != (room > 0);
                if accepted.is_ok() {
                    state.asked.push(kind);
                }
            }
            Action::Start(id) => {
                state.machine.start(id);
                state.started |= bit(id);
            }
            Action::Finish(id, res) => state.machine.finish(id, res),
            Action::Cancel(id) => match state.machine.cancel(id) {
                Some(Outcome::Cancelled) => state.cancelled |= bit(id),
                Some(Outcome::Interrupted) => state.interrupted |= bit(id),
                None => return None,
            },
            Action::Expire(id) => {
                state.machine.expire(id);
                state.expired |= bit(id);
            }
            Action::Reap => state.taken.extend(state.machine.rings.reap(1)),
            Action::Flush => state.machine.rings.flush(),
            Action::Grow => {
                state.machine.rings.grow(2);
                state.grown += 1;
            }
            Action::Close => state.machine.close(),
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let overflowed = |_: &Context, state: &State| !state.machine.rings.overflow.is_empty();
        let frozen = |_: &Context, state: &State| state.machine.rings.frozen > 0;
        let counted = |_: &Context, state: &State| {
            state.kinds().any(|(id, kind)| kind.closes && state.res(id).is_some_and(|res| res > 0))
        };
        let went_on = |_: &Context, state: &State| {
            state
                .kinds()
                .any(|(id, kind)| kind.after != Next::Nothing && state.started & bit(id) != 0)
        };
        vec![
            Property::always("R-EVENT-1, R-CANCEL-4, R-OVF-7", one_terminal_event),
            Property::always("R-CANCEL-2, R-CANCEL-3", cancelled_before_it_started),
            Property::always("R-CANCEL-6, R-AFTER-2", canceled_only_with_a_cause),
            Property::always("R-DEADLINE-1", deadline),
            Property::always("R-GROUP-1, R-GROUP-3, R-GROUP-4", group_ends_last_and_counts),
            Property::always("R-GROUP-2", group_without_members),
            Property::always("R-GROUP-7", close_closes),
            Property::always("R-GROUP-5", group_cancel_leaves_members),
            Property::always("R-AFTER-1, R-AFTER-2", starts_after_its_target),
            Property::always("R-AFTER-3", after_nobody),
            Property::always("R-AFTER-4", after_itself),
            Property::always("R-AFTER-4: nothing is stuck", nothing_is_stuck),
            Property::always("R-OVF-2, R-OVF-4, R-GROW-3", published_in_order),
            Property::always("R-RING-7, R-OVF-6", overflow_only_when_full),
            Property::always("R-OVF-1, R-LIMIT-1, R-LIMIT-2", room_is_reserved),
            Property::always("R-GROW-1", frozen_rings_take_nothing),
            Property::always("R-LIFE-1, R-LIFE-5", close_ends_all),
            Property::always("R-EVENT-7", says_what_was_begun),
            Property::always("R-LIFE-4", child_has_nothing),
            Property::sometimes("an event waits for room", overflowed),
            Property::sometimes("a frozen ring holds an event", frozen),
            Property::sometimes("a group counts a failure", counted),
            Property::sometimes("what waited starts", went_on),
        ]
    }
}

fn number(name: &str) -> Option<usize> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn each_state_keeps_the_requirements() {
    let requests = number("AIO2_STATE_REQUESTS").unwrap_or(2);
    let model = Context { requests, limit: requests.saturating_sub(1).max(2) };
    let start = Instant::now();
    let mut checker = model.checker().threads(2);
    if let Some(states) = number("AIO2_STATES") {
        checker = checker.target_state_count(states);
    }
    let checker = checker.spawn_dfs().join();
    let found = checker.discoveries();
    for property in checker.model().properties() {
        let path = found.get(property.name);
        match property.expectation {
            Expectation::Always => {
                if let Some(path) = path {
                    panic!("{} is broken after {:#?}", property.name, path.clone().into_actions());
                }
            }
            _ => assert!(path.is_some(), "never: {}", property.name),
        }
    }
    let whole = if checker.is_done() { "all" } else { "some" };
    println!(
        "states: {} different, {} gone into, {whole} with {requests} requests, {} requirements, {} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.model().properties().len(),
        start.elapsed().as_secs()
    );
}
