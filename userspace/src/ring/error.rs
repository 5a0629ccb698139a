//! Why nothing can be reaped.

use core::fmt;

/// How a ring was found to be broken, by a peer or a stray write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Corruption {
    /// `head` and `tail` are further apart than the ring is large, or not
    /// aligned.
    BadPosition {
        /// The head, in bytes.
        head: u64,
        /// The tail, in bytes.
        tail: u32,
    },
    /// What should be an event has an impossible length.
    BadLength {
        /// Where, in bytes.
        position: u64,
        /// The first word.
        header: u64,
    },
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadPosition { head, tail } => {
                write!(f, "the ring is corrupt: head {head:#x} and tail {tail:#x}")
            }
            Self::BadLength { position, header } => {
                write!(f, "the ring is corrupt: event at {position:#x} begins with {header:#x}")
            }
        }
    }
}

impl std::error::Error for Corruption {}

/// Why nothing could be reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReapError {
    /// The ring is broken.
    Corrupt(Corruption),
    /// The oldest event is longer than the buffer.
    BufferTooSmall {
        /// Length of the event, in bytes.
        event_bytes: u32,
    },
    /// The ring is mapped in the process that this one was forked from.
    Forked,
}

impl From<Corruption> for ReapError {
    fn from(corruption: Corruption) -> Self {
        Self::Corrupt(corruption)
    }
}

impl fmt::Display for ReapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt(corruption) => corruption.fmt(f),
            Self::BufferTooSmall { event_bytes } => {
                write!(f, "the oldest event has {event_bytes} bytes: give a larger buffer")
            }
            Self::Forked => f.write_str("the ring belongs to the parent of this process"),
        }
    }
}

impl std::error::Error for ReapError {}
