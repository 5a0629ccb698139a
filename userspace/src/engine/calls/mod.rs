//! The calls of a context, and how a request gets its place.
//!
//! | room | duty |
//! |---|---|
//! | `setup` | parameters |
//! | `submit` | from a byte stream to requests that run |
//! | `accept` | accepting what is not only to be run |
//! | `earlier` | what became of the iocbs before, in the same call |
//! | `cancel` | which requests match, and what became of them |
//! | `exec` | running one iocb in the calling thread |
//! | `wait` | waiting for events, and copying them out |

mod accept;
pub(crate) mod cancel;
mod earlier;
pub(crate) mod exec;
pub(crate) mod setup;
pub(crate) mod submit;
pub(crate) mod wait;
