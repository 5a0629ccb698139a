//! The engine, one rule a test. What every implementation has to keep is in the
//! conformance suite; here are the engine's own paths.

#[path = "engine/context.rs"]
mod context;
#[path = "engine/faults.rs"]
mod faults;
#[path = "engine/lifetime.rs"]
mod lifetime;
#[path = "engine/poll.rs"]
mod poll;
#[path = "engine/requests.rs"]
mod requests;
#[path = "engine/waiting.rs"]
mod waiting;
