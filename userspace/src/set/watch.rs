//! Sleeping until a member of a set has events.
//!
//! An epoll instance over the members' descriptors, edge-triggered: each event
//! ends one sleep, or the next one, and what was seen and not taken does not
//! end them again. An eventfd of its own ends a sleep for other reasons.
#![allow(unsafe_code)] // epoll(7), eventfd(2)

use crate::engine::clock;
use crate::engine::park::Ended;
use crate::error::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Ends a sleep at once.
const KICK: u64 = u64::MAX;

#[derive(Debug)]
pub(super) struct Watch {
    epoll: OwnedFd,
    kick: OwnedFd,
}

impl Watch {
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub(super) fn new() -> Result<Self, Errno> {
        // SAFETY: takes no address.
        let epoll = owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: takes no address.
        let kick = owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        let watch = Watch { epoll, kick };
        watch.add(watch.kick.as_fd(), KICK)?;
        Ok(watch)
    }

    /// Watches a descriptor too.
    ///
    /// # Errors
    /// EEXIST if it does already; ENOMEM, ENOSPC.
    pub(super) fn add(&self, fd: BorrowedFd<'_>, number: u64) -> Result<(), Errno> {
        let events = (libc::EPOLLIN | libc::EPOLLET) as u32;
        self.control(libc::EPOLL_CTL_ADD, fd, libc::epoll_event { events, u64: number })
    }

    /// Watches it no longer.
    pub(super) fn remove(&self, fd: BorrowedFd<'_>) {
        // It fails only for a descriptor that is not there.
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, libc::epoll_event { events: 0, u64: 0 });
    }

    fn control(
        &self,
        what: libc::c_int,
        fd: BorrowedFd<'_>,
        mut event: libc::epoll_event,
    ) -> Result<(), Errno> {
        let (epoll, fd) = (self.epoll.as_raw_fd(), fd.as_raw_fd());
        // SAFETY: `event` is alive.
        let result = unsafe { libc::epoll_ctl(epoll, what, fd, &raw mut event) };
        if result < 0 { Err(Errno::last()) } else { Ok(()) }
    }

    /// Ends the sleep, or the next one if nobody sleeps.
    pub(super) fn kick(&self) {
        let one = 1_u64.to_ne_bytes();
        // Its counter is never read: each write is an edge.
        // SAFETY: the buffer has the eight bytes.
        unsafe { libc::write(self.kick.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Sleeps until a member may have new events, or it is kicked, or until
    /// `deadline`, in ns of CLOCK_MONOTONIC, rounded up to a millisecond.
    pub(super) fn sleep(&self, deadline: Option<u64>) -> Ended {
        const ROOM: usize = 16;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; ROOM];
        let timeout = deadline.map_or(-1, |deadline| {
            let left = deadline.saturating_sub(clock::now()).div_ceil(1_000_000);
            libc::c_int::try_from(left).unwrap_or(libc::c_int::MAX)
        });
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: there is room for so many events.
        match unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), ROOM as i32, timeout) } {
            1.. => Ended::Told,
            0 => Ended::TimedOut,
            _ => Ended::Interrupted,
        }
    }
}

fn owned(fd: libc::c_int) -> Result<OwnedFd, Errno> {
    if fd < 0 {
        return Err(Errno::last());
    }
    // SAFETY: it is new, and no one else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
