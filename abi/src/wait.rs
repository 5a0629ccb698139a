//! `io_getevents2` and `io_cancel2`. SPEC: sections 4.3 and 4.4.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

bitflags! {
    /// `aio2_getevents.flags`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct GetFlags: u32 {
        /// `timeout` is valid; without it the wait is for ever.
        const TIMEOUT = 1 << 0;
        /// `timeout` is a time of CLOCK_MONOTONIC, not a span.
        const ABSTIME = 1 << 1;
        /// Wait for request `id` only.
        const ID = 1 << 2;
    }

    /// `aio2_cancel.flags`: a request matches if every named field matches.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct CancelFlags: u32 {
        /// Match `id`.
        const ID = 1 << 0;
        /// Match `user_data`.
        const USER_DATA = 1 << 1;
        /// Match the file descriptor in the first argument.
        const FD = 1 << 2;
        /// Match the syscall or operation number.
        const NR = 1 << 3;
        /// Match every request; excludes the four above.
        const ALL = 1 << 4;
        /// Return only when all matches have ended.
        const WAIT = 1 << 5;
        /// `timeout` bounds the wait.
        const TIMEOUT = 1 << 6;
    }
}

/// `struct aio2_getevents`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct GetEvents {
    /// In: [`GetFlags`].
    pub flags: u32,
    /// In: how many events to wait for.
    pub min_events: u32,
    /// In: nanoseconds.
    pub timeout: u64,
    /// In: nanoseconds after which one event is enough; 0: never.
    pub gather: u64,
    /// In: address of a signal mask, or 0.
    pub sigmask: u64,
    /// In: size of the signal mask in bytes.
    pub sigmask_bytes: u32,
    /// In: size of the event buffer in bytes.
    pub event_bytes: u32,
    /// In: address of the event buffer, or 0.
    pub events: u64,
    /// In: address of iocbs to submit first, or 0.
    pub iocbs: u64,
    /// In: size of those iocbs in bytes.
    pub iocb_bytes: u32,
    /// Out: bytes of them that were accepted.
    pub submitted: u32,
    /// In: request to wait for, with [`GetFlags::ID`]; otherwise 0.
    pub id: u64,
    /// Out: number of events copied.
    pub nr_events: u32,
    /// Zero.
    pub resv: u32,
}

/// `struct aio2_cancel`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Cancel {
    /// In: [`CancelFlags`].
    pub flags: u32,
    /// In: file descriptor to match.
    pub fd: i32,
    /// In: number to match.
    pub nr: u32,
    /// Zero.
    pub resv: u32,
    /// In: request id to match.
    pub id: u64,
    /// In: user_data to match.
    pub user_data: u64,
    /// In: longest wait in nanoseconds.
    pub timeout: u64,
    /// Out: matches that had not begun, or ended by the end of another.
    pub cancelled: u32,
    /// Out: matches that had begun and were told to stop.
    pub interrupted: u32,
    /// Out: matches that run on to their end.
    pub too_late: u32,
    /// Zero.
    pub resv2: u32,
}

const _: () = {
    assert!(size_of::<GetEvents>() == 80);
    assert!(size_of::<Cancel>() == 56);
};
