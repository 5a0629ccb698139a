//! The bytes of a record: blocks, one behind the other, of the machine's own
//! byte order.
//!
//! | block | payload |
//! |---|---|
//! | REQUESTS | rows, one behind the other: see `row` |
//! | NAMES | for each: number u32, length u32, bytes, zeros up to a multiple of 8 |

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Version of the format.
pub const VERSION: u32 = 2;
/// No offset: the operation has none.
pub const NO_OFFSET: u64 = u64::MAX;

pub(crate) const MAGIC: u32 = 0x4332_4941;
pub(crate) const REQUESTS: u32 = 1;
pub(crate) const NAMES: u32 = 2;

/// What a request's event said: bits of [`Request::has`].
pub mod has {
    /// The times.
    pub const TIMING: u32 = 1;
    /// Hits and misses.
    pub const CACHE: u32 = 2;
    /// Where it ran.
    pub const PATH: u32 = 4;
}

/// What stands before a block's payload.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct BlockHeader {
    pub magic: u32,
    pub version: u32,
    pub kind: u32,
    /// Bytes of the payload.
    pub bytes: u32,
    pub pid: u32,
    /// CRC-32C of the payload.
    pub checksum: u32,
    /// Requests that were lost before this block, since memory is bounded.
    pub lost: u64,
}

/// A request that has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Syscall number, or an operation of AIO2.
    pub nr: u32,
    /// The descriptor.
    pub fd: i32,
    /// Number of the file's name, in this process; 0 if it is not known.
    pub name: u32,
    /// The process that submitted it.
    pub pid: u32,
    /// The thread that submitted it.
    pub tid: u32,
    /// Which of what follows is known: [`has`].
    pub has: u32,
    /// Where in the file, in bytes, or [`NO_OFFSET`].
    pub offset: u64,
    /// How many bytes were asked for.
    pub length: u64,
    /// The result, or a negative errno.
    pub result: i64,
    /// When it was accepted, CLOCK_MONOTONIC, ns.
    pub submitted_ns: u64,
    /// When it began to run, ns.
    pub started_ns: u64,
    /// When its result was known, ns.
    pub completed_ns: u64,
    /// Bytes that were in the page cache.
    pub hit: u64,
    /// Bytes that were not.
    pub miss: u64,
    /// Where it ran: 0 inline, 1 after its pages had come, 2 worker, 3 device.
    pub place: u32,
    /// The processor on which it completed.
    pub cpu: u32,
    /// How long the submission spent on it, ns.
    pub blocked_ns: u64,
}

const _: () = assert!(size_of::<BlockHeader>() == 32);
