//! Attributes of requests and their returns in events. SPEC: section 8.
//!
//! The framing (id, length, flags) is checked by the parsers of
//! [`crate::iocb`] and [`crate::event`]; here are the payloads.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// I/O priority.
pub const PRIORITY: u16 = 1;
/// Cancelled after a time.
pub const DEADLINE: u16 = 2;
/// Signal on completion.
pub const SIGNAL: u16 = 3;
/// Member of a group.
pub const GROUP: u16 = 4;
/// Starts after something has ended.
pub const AFTER: u16 = 5;
/// Page cache: a hint in, hit and miss bytes out.
pub const CACHE: u16 = 6;
/// Trace tag.
pub const TAG: u16 = 7;
/// When it was submitted, started and completed.
pub const TIMING: u16 = 8;
/// Where it ran.
pub const PATH: u16 = 9;
/// Checksum of the bytes moved.
pub const CHECKSUM: u16 = 10;
/// Largest attribute id.
pub const ID_MAX: u16 = 63;

/// Bytes of the header of an attribute, and of a return.
pub const HEADER_BYTES: usize = 8;

bitflags! {
    /// `aio2_attr.flags`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct AttrFlags: u32 {
        /// Fail the request if the attribute cannot be handled.
        const REQUIRED = 1 << 0;
        /// Send a return in the event.
        const RETURN = 1 << 1;
    }
}

/// What is known of an attribute: its row in the table of SPEC section 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// `AIO2_ATTR_` and this, in upper case.
    pub name: &'static str,
    /// Payload of the request in bytes.
    pub request: u16,
    /// Whether the request may leave the payload out.
    pub optional: bool,
    /// Payload of the return in bytes.
    pub returns: u16,
}

/// The attributes of version 1, by id; id 0 is not an attribute.
const KINDS: [Option<Kind>; 11] = {
    const fn kind(name: &'static str, request: u16, optional: bool, returns: u16) -> Option<Kind> {
        Some(Kind { name, request, optional, returns })
    }
    [
        None,
        kind("PRIORITY", 8, false, 0),
        kind("DEADLINE", 8, false, 0),
        kind("SIGNAL", 16, false, 0),
        kind("GROUP", 8, false, 0),
        kind("AFTER", 16, false, 0),
        kind("CACHE", 8, true, 16),
        kind("TAG", 8, false, 0),
        kind("TIMING", 0, true, 24),
        kind("PATH", 0, true, 16),
        kind("CHECKSUM", 8, true, 16),
    ]
};

/// The kind of attribute `id`, or `None` if version 1 does not know it.
#[must_use]
pub fn kind(id: u16) -> Option<&'static Kind> {
    KINDS.get(usize::from(id)).and_then(Option::as_ref)
}

/// The id of the attribute of this name, in any case.
#[must_use]
pub fn id_by_name(name: &str) -> Option<u16> {
    (1..=ID_MAX).find(|&id| kind(id).is_some_and(|k| k.name.eq_ignore_ascii_case(name)))
}

/// Bytes that a return of attribute `id` can take in an event, header included.
#[must_use]
pub fn return_bytes(id: u16) -> usize {
    HEADER_BYTES + kind(id).map_or(0, |k| usize::from(k.returns))
}

/// A payload is too short, or says what version 1 does not know: EINVAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPayload;

/// Reads the payload `T` of a request: at least its size, and zero beyond.
///
/// # Errors
/// [`BadPayload`] if it is shorter than `T` or has a non-zero tail (R-ATTR-4).
pub fn payload<T: FromBytes + Immutable + KnownLayout>(bytes: &[u8]) -> Result<T, BadPayload> {
    let (value, tail) = T::read_from_prefix(bytes).map_err(|_| BadPayload)?;
    if tail.iter().all(|&b| b == 0) { Ok(value) } else { Err(BadPayload) }
}

/// Like [`payload`], but nothing at all stands for the default.
///
/// # Errors
/// As [`payload`].
pub fn optional_payload<T>(bytes: &[u8]) -> Result<T, BadPayload>
where
    T: FromBytes + Immutable + KnownLayout + Default,
{
    if bytes.is_empty() { Ok(T::default()) } else { payload(bytes) }
}

macro_rules! payloads {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $ty:ty),* $(,)? } = $size:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub struct $name { $($(#[$fdoc])* pub $field: $ty),* }
        const _: () = assert!(size_of::<$name>() == $size);
    )*};
}

payloads! {
    /// Header of an attribute: `struct aio2_attr`.
    Header {
        /// Attribute id, 1 to [`ID_MAX`].
        id: u16,
        /// Bytes of header and payload, a multiple of 8.
        len: u16,
        /// [`AttrFlags`].
        flags: u32,
    } = 8;
    /// Header of a return: `struct aio2_return`.
    ReturnHeader {
        /// Attribute id.
        id: u16,
        /// Bytes of header and payload, a multiple of 8.
        len: u16,
        /// 0, or a negative errno.
        status: i32,
    } = 8;
    /// Payload of PRIORITY: `struct aio2_priority`.
    Priority {
        /// As in ioprio_set(2).
        ioprio: u32,
        /// Zero.
        resv: u32,
    } = 8;
    /// Payload of DEADLINE: `struct aio2_deadline`.
    Deadline {
        /// Nanoseconds from acceptance.
        timeout_ns: u64,
    } = 8;
    /// Payload of SIGNAL: `struct aio2_signal`.
    Signal {
        /// Signal number.
        signo: u32,
        /// Thread of the calling process, 0 for the process.
        tid: i32,
        /// The signal's value.
        value: u64,
    } = 16;
    /// Payload of GROUP: `struct aio2_group`.
    Group {
        /// Names the group within the context.
        key: u64,
    } = 8;
    /// Payload of AFTER: `struct aio2_after`.
    After {
        /// What has to end first.
        target: u64,
        /// [`AFTER_REQUEST`], [`AFTER_GROUP`] or [`AFTER_STREAM`].
        kind: u32,
        /// Zero.
        resv: u32,
    } = 16;
    /// Payload of CACHE in a request: `struct aio2_cache`.
    Cache {
        /// [`CACHE_NORMAL`], [`CACHE_KEEP`], [`CACHE_DROP`] or [`CACHE_NO_READAHEAD`].
        hint: u32,
        /// Zero.
        resv: u32,
    } = 8;
    /// Payload of CACHE in an event: `struct aio2_cache_return`.
    CacheReturn {
        /// Bytes that were in the page cache.
        hit: u64,
        /// Bytes that were not.
        miss: u64,
    } = 16;
    /// Payload of TAG: `struct aio2_tag`.
    Tag {
        /// Seen in tracepoints.
        tag: u64,
    } = 8;
    /// Payload of TIMING in an event: `struct aio2_timing_return`, nanoseconds of CLOCK_MONOTONIC.
    TimingReturn {
        /// When the request was accepted.
        submitted: u64,
        /// When it began to run.
        started: u64,
        /// When its result was known.
        completed: u64,
    } = 24;
    /// Payload of PATH in an event: `struct aio2_path_return`.
    PathReturn {
        /// [`PATH_INLINE`], [`PATH_PAGE_WAIT`], [`PATH_WORKER`] or [`PATH_DEVICE`].
        place: u32,
        /// Processor on which it completed.
        cpu: u32,
        /// How long the submission spent on it, in nanoseconds.
        blocked_ns: u64,
    } = 16;
    /// Payload of CHECKSUM in a request: `struct aio2_checksum`.
    Checksum {
        /// [`CHECKSUM_CRC32C`].
        kind: u32,
        /// Zero.
        resv: u32,
    } = 8;
    /// Payload of CHECKSUM in an event: `struct aio2_checksum_return`.
    ChecksumReturn {
        /// [`CHECKSUM_CRC32C`].
        kind: u32,
        /// The checksum.
        value: u32,
        /// How many bytes it is of.
        bytes: u64,
    } = 16;
}

/// `aio2_after.kind`: the target is a request id.
pub const AFTER_REQUEST: u32 = 0;
/// `aio2_after.kind`: the target is a group key.
pub const AFTER_GROUP: u32 = 1;
/// `aio2_after.kind`: the target is the n-th iocb before this one, in this call.
pub const AFTER_STREAM: u32 = 2;

/// `aio2_cache.hint`: no advice.
pub const CACHE_NORMAL: u32 = 0;
/// `aio2_cache.hint`: will be used again.
pub const CACHE_KEEP: u32 = 1;
/// `aio2_cache.hint`: will not be used again, drop behind.
pub const CACHE_DROP: u32 = 2;
/// `aio2_cache.hint`: no read-ahead.
pub const CACHE_NO_READAHEAD: u32 = 3;

/// `aio2_path_return.where`: completed within the submission.
pub const PATH_INLINE: u32 = 0;
/// `aio2_path_return.where`: retried after waiting for pages.
pub const PATH_PAGE_WAIT: u32 = 1;
/// `aio2_path_return.where`: by a worker, or another thread of the implementation.
pub const PATH_WORKER: u32 = 2;
/// `aio2_path_return.where`: by the device's completion.
pub const PATH_DEVICE: u32 = 3;

/// `aio2_checksum.kind`: CRC-32C (Castagnoli).
pub const CHECKSUM_CRC32C: u32 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_found_by_its_name() {
        let names = ["PRIORITY", "priority", "Checksum", "tag", "", "priorit"];
        assert_eq!(
            names.map(id_by_name),
            [Some(PRIORITY), Some(PRIORITY), Some(CHECKSUM), Some(TAG), None, None]
        );
    }
}
