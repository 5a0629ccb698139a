//! Users of aio2 who write no unsafe code, and try to break things.
//!
//! Each program in `tests/refused` must not compile, by the error beside it:
//! what would break memory has no name that safe code can use. What safe code
//! can do must hold, whatever it does.
#![forbid(unsafe_code)]
