//! The conformance suite: one function for each rule of SPEC.md.
//!
//! The same functions run on every implementation, through the backend
//! interface of crate `aio2`. [`suite`] has the table of them; which
//! requirements each shows stands there and nowhere else. A test gets an
//! [`env::Env`] and panics if the rule does not hold.
//!
//! | room | duty |
//! |---|---|
//! | [`suite`], [`env`], [`backends`] | what is run, with what, on what |
//! | [`context`], [`request`], [`file`], [`mounts`], [`signal`], [`child`], [`random`] | what tests need |
//! | `setup`, `malformed`, `submit`, `reap`, … | the tests, by noun |
//! | [`model`] | what a context must do, without threads and bytes |
//! | [`storm`] | random requests by several threads, and what may come of each |
//! | [`trace`] | the calls of a run as text, and how one that fails is made small |
//! | [`differential`] | random syscalls, plainly and through an implementation |
//! | [`stress`] | long runs |
//! | [`crash`] | a writer that is killed, and what it leaves behind |
//! | [`fuzz`], [`corpus`] | the bodies of the fuzz targets, and how a plain test runs them |
//! | [`spec`] | SPEC.md as data, for the traceability test |

pub mod backends;
pub mod child;
pub mod context;
pub mod corpus;
pub mod crash;
pub mod differential;
pub mod env;
pub mod file;
pub mod fuzz;
pub mod interrupt;
pub mod model;
pub mod mounts;
pub mod random;
pub mod request;
pub mod signal;
pub mod spec;
pub mod storm;
pub mod stress;
pub mod suite;
pub mod trace;
mod watchdog;
pub mod words;

mod after;
mod attributes;
mod begun;
mod cancel;
mod deadline;
mod exec;
mod group;
mod grow;
pub mod hostile;
mod limits;
mod malformed;
mod memory;
mod notify;
mod order;
mod poll;
mod ready;
mod reap;
mod ring;
mod same;
mod scenes;
mod security;
mod set;
mod setup;
mod signals;
mod submit;
mod syscalls;
mod teardown;
mod wakeups;
