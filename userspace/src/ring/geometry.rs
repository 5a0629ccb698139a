//! The sizes of a ring, checked once.
//!
//! SPEC: section 5.3 (producer page); R-RING-16 for the start.

use core::fmt;

/// Sizes of a ring and the position at which it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    ring_bytes: u32,
    event_max: u32,
    start: u64,
}

impl Geometry {
    /// A ring of `ring_bytes` bytes for events of at most `event_max` bytes,
    /// whose first event is at position 0.
    ///
    /// # Errors
    ///
    /// `ring_bytes` must be a power of two from 8 to 2^30, `event_max` a
    /// multiple of 8 from 8 to `ring_bytes`.
    pub fn new(ring_bytes: u32, event_max: u32) -> Result<Self, GeometryError> {
        if !ring_bytes.is_power_of_two() || !(8..=1 << 30).contains(&ring_bytes) {
            return Err(GeometryError::RingBytes(ring_bytes));
        }
        if !event_max.is_multiple_of(8) || !(8..=ring_bytes).contains(&event_max) {
            return Err(GeometryError::EventMax(event_max));
        }
        Ok(Self { ring_bytes, event_max, start: 0 })
    }

    /// The same ring, starting at byte position `start`, rounded down to a
    /// multiple of 8. An interpreter of positions must not care where they
    /// start; this is how that is tested.
    pub fn starting_at(self, start: u64) -> Self {
        Self { start: start & !7, ..self }
    }

    /// Size of the ring, in bytes.
    #[inline]
    pub fn ring_bytes(&self) -> u32 {
        self.ring_bytes
    }

    /// Longest event, in bytes.
    #[inline]
    pub fn event_max(&self) -> u32 {
        self.event_max
    }

    /// Byte position of the first event.
    pub fn start(&self) -> u64 {
        self.start
    }
}

/// Why a ring cannot have the sizes asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GeometryError {
    /// This size of the ring, in bytes, is not a power of two in the range.
    RingBytes(u32),
    /// This longest event, in bytes, is not a multiple of 8 or too long.
    EventMax(u32),
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RingBytes(n) => write!(f, "a ring of {n} bytes: not a power of two in the range"),
            Self::EventMax(n) => {
                write!(f, "events of {n} bytes: not a multiple of 8 within the ring")
            }
        }
    }
}

impl std::error::Error for GeometryError {}
