//! `io_setup2`: what a context shall be, and what it became. SPEC: section 4.1.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Smallest ring, in bytes.
pub const RING_BYTES_MIN: u32 = 4096;
/// Largest ring, in bytes.
pub const RING_BYTES_MAX: u32 = 1 << 30;
/// Largest request limit of a context.
pub const MAX_REQUESTS: u32 = 1 << 20;
/// Largest concurrency value.
pub const MAX_CONCURRENCY: u32 = 1024;

bitflags! {
    /// `aio2_setup.flags`: what is asked for; unknown bits are refused.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct SetupFlags: u32 {
        /// Report what there is, create nothing.
        const PROBE = 1 << 0;
        /// The field `eventfd` is valid.
        const EVENTFD = 1 << 1;
        /// Replace the ring of context `fd` by a larger one.
        const GROW = 1 << 2;
    }

    /// `aio2_setup.hints`: advice; unknown bits are ignored and cleared.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Hints: u32 {
        /// One consumer will reap.
        const SINGLE_REAPER = 1 << 0;
    }

    /// `aio2_setup.features`: what the implementation can do.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Features: u64 {
        /// The in-process engine, not the kernel.
        const IN_PROCESS = 1 << 0;
        /// The context's file descriptor can be mapped.
        const MMAP = 1 << 1;
        /// The context's file descriptor can be polled.
        const POLL = 1 << 2;
        /// `io_exec2` is there.
        const EXEC = 1 << 3;
        /// A wait for one request is there.
        const WAIT_ID = 1 << 4;
        /// A running request can be interrupted.
        const INTERRUPT = 1 << 5;
        /// Multishot operations are there.
        const MULTISHOT = 1 << 6;
        /// A ring can be replaced by a larger one.
        const GROW = 1 << 7;
        /// Each operation is filtered as the plain syscall.
        const SECCOMP = 1 << 8;
        /// Full transfer or error is there.
        const FULL = 1 << 9;
        /// The minimum time to gather a batch is there.
        const GATHER = 1 << 10;
        /// An event says when its operation never began.
        const NOT_STARTED = 1 << 11;
    }
}

/// `struct aio2_setup`: parameters of `io_setup2`, in and out.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Setup {
    /// In: newest version that the caller knows. Out: version in force.
    pub version: u32,
    /// In: [`SetupFlags`].
    pub flags: u32,
    /// In: [`Hints`]. Out: those that were taken.
    pub hints: u32,
    /// In: least size of the ring in bytes, 0 for the default. Out: actual.
    pub ring_bytes: u32,
    /// In: most requests without a published event, 0 for the default. Out: actual.
    pub max_requests: u32,
    /// In: most workers, 0 for the default. Out: actual.
    pub concurrency: u32,
    /// In: eventfd to signal, with [`SetupFlags::EVENTFD`]; otherwise 0.
    pub eventfd: i32,
    /// In: context to grow, with [`SetupFlags::GROW`]; otherwise 0.
    pub fd: i32,
    /// Out: [`Features`].
    pub features: u64,
    /// Out: bit n set: attribute n is taken in a request.
    pub attrs: u64,
    /// Out: bit n set: the return of attribute n has a payload.
    pub returns: u64,
    /// Out: bit n set: operation `OP | n` is there.
    pub ops: u64,
    /// Out: bitmap of the syscalls that can be run.
    pub syscalls: [u64; 8],
    /// Out: longest iocb in bytes.
    pub iocb_max: u32,
    /// Out: longest event in bytes.
    pub event_max: u32,
    /// Out: offset to map the ring at, in bytes.
    pub map_offset: u64,
    /// Out: consumer page, bytes from `map_offset`.
    pub map_consumer: u32,
    /// Out: producer page, bytes from `map_offset`.
    pub map_producer: u32,
    /// Out: data, bytes from `map_offset`.
    pub map_data: u32,
    /// Out: length of the mapping in bytes, the data in it twice.
    pub map_bytes: u32,
}

const _: () = assert!(size_of::<Setup>() == 160);

impl Setup {
    /// True if syscall `nr` can be run by this implementation.
    #[must_use]
    pub fn has_syscall(&self, nr: u32) -> bool {
        self.syscalls.get(nr as usize / 64).is_some_and(|word| word >> (nr % 64) & 1 == 1)
    }

    /// [`Setup::features`] as flags; bits of a later version are kept.
    #[must_use]
    pub fn features(&self) -> Features {
        Features::from_bits_retain(self.features)
    }
}
