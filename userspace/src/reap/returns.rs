//! What an event says, by type. SPEC: sections 7 and 8.

use crate::error::Errno;
use aio2_abi::attr;
use aio2_abi::event;
use std::fmt;
use std::time::Duration;
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// What came back about an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute<V> {
    /// It was handled, and this is the answer.
    Handled(V),
    /// It was handled, and there is nothing to say: the request failed, or
    /// never ran.
    NoData,
    /// The implementation does not know it, or this operation, file or path
    /// does not do it.
    NotSupported,
    /// It could not be handled, for another reason.
    Failed(Errno),
    /// The event says nothing about it, since the request did not ask.
    NotAsked,
}

impl<V> Attribute<V> {
    /// The answer, if there is one.
    pub fn handled(self) -> Option<V> {
        match self {
            Attribute::Handled(value) => Some(value),
            _ => None,
        }
    }
}

impl<V: fmt::Display> fmt::Display for Attribute<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attribute::Handled(value) => value.fmt(f),
            Attribute::NoData => f.write_str("no data"),
            Attribute::NotSupported => f.write_str("not supported"),
            Attribute::Failed(errno) => write!(f, "failed: {errno}"),
            Attribute::NotAsked => f.write_str("not asked"),
        }
    }
}

/// When a request was where, in nanoseconds of CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// When it was accepted.
    pub submitted_ns: u64,
    /// When it began to run.
    pub started_ns: u64,
    /// When its result was known.
    pub completed_ns: u64,
}

impl Timing {
    /// How long it waited for its turn.
    #[must_use]
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.started_ns.saturating_sub(self.submitted_ns))
    }

    /// How long it ran.
    #[must_use]
    pub fn ran(&self) -> Duration {
        Duration::from_nanos(self.completed_ns.saturating_sub(self.started_ns))
    }

    /// How long it took from its acceptance to its result.
    #[must_use]
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.completed_ns.saturating_sub(self.submitted_ns))
    }
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waited {:?}, ran {:?}", self.waited(), self.ran())
    }
}

/// What a read found in the page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheBytes {
    /// Bytes that were there.
    pub hit: u64,
    /// Bytes that were not.
    pub miss: u64,
}

impl fmt::Display for CacheBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes in the page cache, {} not", self.hit, self.miss)
    }
}

/// Where a request came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Place {
    /// Within the submission.
    Inline,
    /// Tried again after waiting for pages.
    PageWait,
    /// In a worker thread.
    Worker,
    /// By the device's completion.
    Device,
    /// One that this version does not know.
    Other(u32),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Inline => f.write_str("inline"),
            Place::PageWait => f.write_str("page wait"),
            Place::Worker => f.write_str("worker"),
            Place::Device => f.write_str("device"),
            Place::Other(place) => write!(f, "place {place}"),
        }
    }
}

/// Where and how a request ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecutionPath {
    /// Where it came to its end.
    pub place: Place,
    /// Number of the processor on which it completed.
    pub cpu: u32,
    /// How long the submitting call spent on it.
    pub blocked: Duration,
}

impl fmt::Display for ExecutionPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on processor {}, submission blocked {:?}", self.place, self.cpu, self.blocked)
    }
}

/// A checksum of the bytes moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// CRC-32C (Castagnoli).
    pub crc32c: u32,
    /// How many bytes it is of.
    pub bytes: u64,
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "crc32c {:08x} of {} bytes", self.crc32c, self.bytes)
    }
}

/// An event: the result of a request, and the returns of its attributes.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    parsed: event::EventView<'a>,
    bytes: &'a [u8],
}

impl<'a> Event<'a> {
    /// The event at the start of `bytes`, and what stands behind it.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), event::Malformed> {
        let (parsed, _) = event::EventView::parse(bytes)?;
        // By its length, which is known to the compiler for most.
        let (bytes, rest) = bytes.split_at(parsed.header.len as usize);
        Ok((Event { parsed, bytes }, rest))
    }

    /// That of the request.
    #[inline]
    #[must_use]
    pub fn user_data(&self) -> u64 {
        self.parsed.header.user_data
    }

    /// What the operation returned.
    ///
    /// # Errors
    /// The error number with which it failed.
    #[inline]
    pub fn result(&self) -> Result<u64, Errno> {
        let res = self.parsed.header.res;
        u64::try_from(res).map_err(|_| Errno(i32::try_from(-i128::from(res)).unwrap_or(libc::EIO)))
    }

    /// True if no further event of the request follows.
    #[inline]
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.parsed.is_last()
    }

    /// True if the operation never began: the result is AIO2's errno and not
    /// its own, and it has had no effect. An implementation without
    /// [`Features::NOT_STARTED`](aio2_abi::setup::Features::NOT_STARTED) does
    /// not tell.
    #[inline]
    #[must_use]
    pub fn never_began(&self) -> bool {
        self.parsed.flags().contains(event::EventFlags::NOT_STARTED)
    }

    /// As the ABI has it: for attributes that this crate has no type for.
    #[must_use]
    pub fn parsed(&self) -> &event::EventView<'a> {
        &self.parsed
    }

    /// Its bytes.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// When it was submitted, started and completed.
    #[must_use]
    pub fn timing(&self) -> Attribute<Timing> {
        self.read(attr::TIMING, |r: attr::TimingReturn| Timing {
            submitted_ns: r.submitted,
            started_ns: r.started,
            completed_ns: r.completed,
        })
    }

    /// What a read found in the page cache.
    #[must_use]
    pub fn cache(&self) -> Attribute<CacheBytes> {
        self.read(attr::CACHE, |r: attr::CacheReturn| CacheBytes { hit: r.hit, miss: r.miss })
    }

    /// Where it ran.
    #[must_use]
    pub fn execution_path(&self) -> Attribute<ExecutionPath> {
        self.read(attr::PATH, |r: attr::PathReturn| ExecutionPath {
            place: match r.place {
                attr::PATH_INLINE => Place::Inline,
                attr::PATH_PAGE_WAIT => Place::PageWait,
                attr::PATH_WORKER => Place::Worker,
                attr::PATH_DEVICE => Place::Device,
                other => Place::Other(other),
            },
            cpu: r.cpu,
            blocked: Duration::from_nanos(r.blocked_ns),
        })
    }

    /// The checksum of the bytes moved.
    #[must_use]
    pub fn checksum(&self) -> Attribute<Checksum> {
        self.read(attr::CHECKSUM, |r: attr::ChecksumReturn| Checksum {
            crc32c: r.value,
            bytes: r.bytes,
        })
    }

    /// What came back about attribute `id`: its payload, as bytes.
    #[must_use]
    pub fn attribute(&self, id: u16) -> Attribute<&'a [u8]> {
        let Some(ret) = self.parsed.find(id) else { return Attribute::NotAsked };
        match ret.status.checked_neg() {
            Some(0) => Attribute::Handled(ret.payload),
            Some(libc::ENODATA) => Attribute::NoData,
            Some(libc::EOPNOTSUPP) => Attribute::NotSupported,
            Some(errno) => Attribute::Failed(Errno(errno)),
            None => Attribute::Failed(Errno(libc::EIO)),
        }
    }

    /// The return of attribute `id` as a value; one that is shorter than its
    /// structure is as bad as none.
    fn read<R, V>(&self, id: u16, value: impl FnOnce(R) -> V) -> Attribute<V>
    where
        R: FromBytes + KnownLayout + Immutable,
    {
        match self.attribute(id) {
            Attribute::Handled(payload) => match R::read_from_prefix(payload) {
                Ok((ret, _)) => Attribute::Handled(value(ret)),
                Err(_) => Attribute::Failed(Errno(libc::EBADMSG)),
            },
            Attribute::NoData => Attribute::NoData,
            Attribute::NotSupported => Attribute::NotSupported,
            Attribute::Failed(errno) => Attribute::Failed(errno),
            Attribute::NotAsked => Attribute::NotAsked,
        }
    }
}
