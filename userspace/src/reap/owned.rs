//! An event that outlives the buffer of its reaper.

use super::Event;
use crate::error::Errno;
use aio2_abi::event::{EventFlags, HEADER_BYTES, Header};
use std::fmt;
use zerocopy::{FromBytes, IntoBytes};

/// Words of an event with returns of all four attributes that have a payload.
const SHORT: usize = (HEADER_BYTES + 32 + 3 * 24) / 8;

/// A copy of an event. Only one that asked for attributes that are not of
/// version 1 needs an allocation.
pub struct OwnedEvent(Words);

enum Words {
    /// Without returns, as most are: it costs least.
    Bare([u64; HEADER_BYTES / 8]),
    Short([u64; SHORT]),
    Long(Box<[u64]>),
}

impl OwnedEvent {
    /// A copy of `event`.
    #[inline]
    #[must_use]
    pub fn of(event: &Event<'_>) -> Self {
        let bytes = event.bytes();
        if let Ok(bare) = <[u64; HEADER_BYTES / 8]>::read_from_bytes(bytes) {
            return OwnedEvent(Words::Bare(bare));
        }
        let mut short = [0; SHORT];
        OwnedEvent(match short.as_mut_bytes().get_mut(..bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                Words::Short(short)
            }
            None => {
                let mut long = vec![0; bytes.len().div_ceil(8)].into_boxed_slice();
                long.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
                Words::Long(long)
            }
        })
    }

    /// The event that a request would have had if it had been accepted.
    pub(crate) fn failed(errno: Errno) -> Self {
        let res = -i64::from(errno.0);
        let flags = EventFlags::NOT_STARTED.bits();
        let header = Header { len: HEADER_BYTES as u32, flags, user_data: 0, res };
        let mut bare = [0; HEADER_BYTES / 8];
        bare.as_mut_bytes().copy_from_slice(header.as_bytes());
        OwnedEvent(Words::Bare(bare))
    }

    /// The event.
    #[must_use]
    pub fn as_event(&self) -> Event<'_> {
        let words = match &self.0 {
            Words::Bare(words) => words.as_slice(),
            Words::Short(words) => words.as_slice(),
            Words::Long(words) => words,
        };
        let (event, _) =
            Event::parse(words.as_bytes()).expect("copied from an event that was parsed");
        event
    }
}

impl fmt::Debug for OwnedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_event().fmt(f)
    }
}
