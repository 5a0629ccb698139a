//! What comes back for a request.

use crate::error::Errno;
use crate::reap::{Attribute, CacheBytes, Checksum, Event, Path, Timing};
use crate::submit::{Buffer, Op};
use aio2_abi::event::{HEADER_BYTES, Header};
use std::fmt;
use std::os::fd::{FromRawFd, OwnedFd};
use zerocopy::IntoBytes;

/// A request that has ended: what was given, and what came of it.
pub struct Completion<B, T> {
    /// The caller's token.
    pub token: T,
    /// The operation, with everything that it owned.
    pub op: Op<B>,
    /// What it returned, or the error number with which it failed.
    pub result: Result<u64, Errno>,
    /// The descriptor that it opened; closed with the completion unless taken.
    pub opened: Option<OwnedFd>,
    event: EventCopy,
}

impl<B: Buffer, T> Completion<B, T> {
    /// A request that was accepted has ended with `event`.
    #[inline]
    pub(super) fn ended(mut op: Op<B>, token: T, event: Event<'_>) -> Self {
        op.let_go();
        let result = event.result();
        let opened = match result {
            Ok(fd) if op.opens() => i32::try_from(fd).ok().map(|fd| {
                // SAFETY: the operation has just opened it for this process,
                // and its one event has gone to this one completion.
                unsafe { OwnedFd::from_raw_fd(fd) }
            }),
            _ => None,
        };
        Completion { token, op, result, opened, event: EventCopy::of(&event) }
    }

    /// A request that was never accepted.
    #[cold]
    pub(super) fn refused(op: Op<B>, token: T, errno: Errno) -> Self {
        let event = EventCopy::failed(errno);
        Completion { token, op, result: Err(errno), opened: None, event }
    }
}

impl<B, T> Completion<B, T> {
    /// Its event.
    #[must_use]
    pub fn event(&self) -> Event<'_> {
        self.event.event()
    }

    /// When it was submitted, started and completed.
    #[must_use]
    pub fn timing(&self) -> Attribute<Timing> {
        self.event().timing()
    }

    /// What a read found in the page cache.
    #[must_use]
    pub fn cache(&self) -> Attribute<CacheBytes> {
        self.event().cache()
    }

    /// Where it ran.
    #[must_use]
    pub fn path_taken(&self) -> Attribute<Path> {
        self.event().path_taken()
    }

    /// The checksum of the bytes moved.
    #[must_use]
    pub fn checksum(&self) -> Attribute<Checksum> {
        self.event().checksum()
    }

    /// What came back about attribute `id`: its payload, as bytes.
    #[must_use]
    pub fn attribute(&self, id: u16) -> Attribute<&[u8]> {
        self.event.event().attribute(id)
    }

    /// The same completion with another token.
    #[must_use]
    pub fn with_token<U>(self, token: U) -> Completion<B, U> {
        let Completion { token: _, op, result, opened, event } = self;
        Completion { token, op, result, opened, event }
    }

    /// The buffer, if the operation had one.
    #[must_use]
    pub fn into_buffer(self) -> Option<B> {
        self.op.into_buffer()
    }
}

impl<B, T: fmt::Debug> fmt::Debug for Completion<B, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion")
            .field("token", &self.token)
            .field("op", &self.op)
            .field("result", &self.result)
            .finish_non_exhaustive()
    }
}

/// Words of an event with returns of all four attributes that have a payload.
const SHORT: usize = (HEADER_BYTES + 32 + 3 * 24) / 8;

/// An event that outlives the buffer of its reaper. Only one that asked for
/// attributes that are not of version 1 needs an allocation.
enum EventCopy {
    Short([u64; SHORT]),
    Long(Box<[u64]>),
}

impl EventCopy {
    #[inline]
    fn of(event: &Event<'_>) -> Self {
        let bytes = event.bytes();
        let mut short = [0; SHORT];
        match short.as_mut_bytes().get_mut(..bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                EventCopy::Short(short)
            }
            None => {
                let mut long = vec![0; bytes.len().div_ceil(8)].into_boxed_slice();
                long.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
                EventCopy::Long(long)
            }
        }
    }

    /// The event that a request would have had if it had been accepted.
    fn failed(errno: Errno) -> Self {
        let res = -i64::from(errno.0);
        let header = Header { len: HEADER_BYTES as u32, flags: 0, user_data: 0, res };
        let mut short = [0; SHORT];
        short.as_mut_bytes()[..HEADER_BYTES].copy_from_slice(header.as_bytes());
        EventCopy::Short(short)
    }

    fn event(&self) -> Event<'_> {
        let words = match self {
            EventCopy::Short(words) => words.as_slice(),
            EventCopy::Long(words) => words,
        };
        let (event, _) =
            Event::parse(words.as_bytes()).expect("copied from an event that was parsed");
        event
    }
}
