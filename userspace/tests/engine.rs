//! The engine, one rule a test. What every implementation has to keep is in the
//! conformance suite; here are the engine's own paths.

#[path = "engine/cache.rs"]
mod cache;
#[path = "engine/context.rs"]
mod context;
#[path = "engine/device.rs"]
mod device;
#[path = "engine/faults.rs"]
mod faults;
#[path = "engine/gone.rs"]
mod gone;
#[path = "engine/identity.rs"]
mod identity;
#[path = "engine/lifetime.rs"]
mod lifetime;
#[path = "engine/limits.rs"]
mod limits;
#[path = "engine/poll.rs"]
mod poll;
#[path = "engine/request.rs"]
#[allow(dead_code)] // shared with other programs
mod request;
#[path = "engine/requests.rs"]
mod requests;
#[path = "engine/table.rs"]
mod table;
#[path = "engine/waiting.rs"]
mod waiting;
#[path = "engine/waits.rs"]
mod waits;
