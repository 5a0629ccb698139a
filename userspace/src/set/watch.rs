//! Sleeping until a member of a set has events.
//!
//! An epoll instance over the members' descriptors, edge-triggered: each event
//! ends one sleep, or the next one, and what was seen and not taken does not
//! end them again. An eventfd of its own ends a sleep for other reasons.

use crate::error::Errno;
use crate::os::clock;
use crate::os::park::Ended;
use crate::os::process::Process;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::io::write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Ends a sleep at once.
const KICK: u64 = u64::MAX;

#[derive(Debug)]
pub(super) struct Watch {
    epoll: OwnedFd,
    kick: OwnedFd,
    /// Its open files are this process's, and shared with its children.
    process: Process,
}

impl Watch {
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub(super) fn new() -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(Errno::of)?;
        let kick = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(Errno::of)?;
        let watch = Watch { epoll, kick, process: Process::this()? };
        watch.add(watch.kick.as_fd(), KICK)?;
        Ok(watch)
    }

    /// # Errors
    /// EXDEV in a child after fork.
    pub(super) fn in_its_process(&self) -> Result<(), Errno> {
        if self.process.is_this() { Ok(()) } else { Err(Errno(libc::EXDEV)) }
    }

    /// Watches a descriptor too.
    ///
    /// # Errors
    /// EEXIST if it does already; ENOMEM, ENOSPC; EXDEV in a child after fork.
    pub(super) fn add(&self, fd: BorrowedFd<'_>, number: u64) -> Result<(), Errno> {
        self.in_its_process()?;
        let number = epoll::EventData::new_u64(number);
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&self.epoll, fd, number, flags).map_err(Errno::of)
    }

    /// Watches it no longer.
    pub(super) fn remove(&self, fd: BorrowedFd<'_>) {
        if self.in_its_process().is_ok() {
            // It fails only for a descriptor that is not there.
            let _ = epoll::delete(&self.epoll, fd);
        }
    }

    /// Ends the sleep, or the next one if nobody sleeps.
    pub(super) fn kick(&self) {
        if self.in_its_process().is_ok() {
            // Its counter is never read, and is not full in centuries: each
            // write is an edge.
            let _ = write(&self.kick, &1_u64.to_ne_bytes());
        }
    }

    /// Sleeps until a member may have new events, or it is kicked, or until
    /// `deadline`, in ns of CLOCK_MONOTONIC.
    pub(super) fn sleep(&self, deadline: Option<u64>) -> Ended {
        let left = deadline.map(|deadline| deadline.saturating_sub(clock::now()));
        // Longer than anybody waits fails to convert, and is for ever.
        let timeout = left.and_then(|ns| Timespec::try_from(Duration::from_nanos(ns)).ok());
        // Unlike epoll_wait(2), to the nanosecond.
        match poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) => return Ended::TimedOut,
            Ok(_) => {}
            Err(_) => return Ended::Interrupted,
        }
        // Takes the edges.
        let mut events = [const { std::mem::MaybeUninit::uninit() }; 16];
        let _ = epoll::wait(&self.epoll, &mut events, Some(&Timespec::default()));
        Ended::Told
    }
}
