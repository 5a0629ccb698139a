//! Models of the ring and of the engine's state, each explored through all its
//! interleavings.
//!
//!     RUSTFLAGS='--cfg aio2_loom' cargo test --release --test loom
//!
//! Rings of a few words, starting just below the wrap of 2^32. At most three
//! preemptions unless LOOM_MAX_PREEMPTIONS says otherwise. Which model fails when
//! an ordering is weakened stands in `ORDERINGS.md`; two are enough for those.
#![cfg(aio2_loom)]
#![allow(unsafe_code)]

#[path = "loom/aba.rs"]
mod aba;
#[path = "loom/claim.rs"]
mod claim;
#[path = "loom/common.rs"]
mod common;
#[path = "engine/context.rs"]
#[allow(dead_code)] // shared with tests/engine.rs
mod context;
#[path = "loom/doorbell.rs"]
mod doorbell;
#[path = "loom/files.rs"]
mod files;
#[path = "loom/groups.rs"]
mod groups;
#[path = "loom/grow.rs"]
mod grow;
#[path = "loom/lead.rs"]
mod lead;
#[path = "loom/overflow.rs"]
mod overflow;
#[path = "loom/payload.rs"]
mod payload;
#[path = "engine/request.rs"]
#[allow(dead_code)] // shared with tests/engine.rs
mod request;
#[path = "loom/requests.rs"]
mod requests;
#[path = "loom/seat.rs"]
mod seat;
#[path = "loom/set.rs"]
mod set;
#[path = "loom/uring.rs"]
mod uring;
#[path = "loom/waiting.rs"]
mod waiting;
