//! The threads of a context: those that run what may sleep, and one each that
//! waits for times and for files.

pub(crate) mod poller;
pub(crate) mod timer;
pub(crate) mod worker;
