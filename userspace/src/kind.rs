//! What an operation gives when it has ended well, as a type.
//!
//! [`crate::Op`] has a kind as its second parameter, and so have the future that runs it
//! ([`crate::Run`]), the callback of a [`crate::Dispatcher`], and what they get, a
//! [`crate::Completion`]: its [`value`](crate::Completion::value) is what the kind says,
//! with nothing to be unwrapped or cast. A [`crate::Queue`] holds operations of all
//! kinds, and hands them out by one type: theirs is [`Any`], whose value is the number
//! that the call returned.

pub use crate::submit::kind::{
    Accepts, Any, Effect, EpollEvents, Exits, Failures, FileSystem, Id, Moves, Named, Opens,
    OptionValue, Position, Reads, ReadsSeveral, Ready, ReadyOfSeveral, Receives, ReceivesFrom,
    Stat, StatusFlags, Statx, Time, Woken, Writes, WritesSeveral,
};
pub use crate::submit::{Kind, OneBuffer, Read, Received};
