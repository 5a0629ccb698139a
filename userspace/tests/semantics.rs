//! Groups, order, deadlines, signals, POLL and what a cancel does to what runs:
//! the engine's side of SPEC sections 8 and 9, one rule a test.

#[path = "semantics/after.rs"]
mod after;
#[path = "engine/context.rs"]
#[allow(dead_code)] // shared with tests/engine.rs
mod context;
#[path = "semantics/deadline.rs"]
mod deadline;
#[path = "semantics/group.rs"]
mod group;
#[path = "semantics/poll.rs"]
mod poll;
#[path = "semantics/request.rs"]
mod request;
#[path = "semantics/signal.rs"]
mod signal;
#[path = "semantics/stop.rs"]
mod stop;
