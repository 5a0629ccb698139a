//! The requests that wait for a file to become ready: one epoll instance for a
//! context, created with the first of them, however many there are.
//!
//! Each request has a duplicate of its descriptor there: so the file stays, as
//! it does during poll(2), and two requests can wait for the same one. It costs
//! a descriptor for each request that waits. What becomes of them is in
//! `ends::ready`.
//!
//! SPEC: R-OP-5, R-LIMIT-5.
#![allow(unsafe_code)] // close(2) in a child

use super::slots::Id;
use crate::engine::request::Request;
use crate::error::Errno;
use crate::os::notify::Notifier;
use crate::sync::JoinHandle;
use libc::{EAGAIN, EBADF, EPERM};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::fcntl_dupfd_cloexec;
use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// The thread is to go.
pub(crate) const STOP: u64 = 0;

/// The requests that wait for files.
#[derive(Debug, Default)]
pub(crate) struct Polls {
    pub(crate) epoll: Option<Epoll>,
    /// The duplicate of each request's descriptor.
    pub(crate) watched: HashMap<u64, OwnedFd>,
    pub(crate) exists: bool,
    pub(crate) thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
pub(crate) struct Epoll {
    pub(crate) fd: Arc<OwnedFd>,
    stop: Notifier,
}

impl Epoll {
    fn new() -> Result<Self, Errno> {
        let fd = Arc::new(epoll::create(CreateFlags::CLOEXEC).map_err(Errno::of)?);
        let epoll = Epoll { fd, stop: Notifier::private()? };
        epoll.add(epoll.stop.as_fd(), EventFlags::IN, STOP)?;
        Ok(epoll)
    }

    fn add(&self, fd: BorrowedFd<'_>, events: EventFlags, id: u64) -> Result<(), Errno> {
        epoll::add(&self.fd, fd, EventData::new_u64(id), events).map_err(Errno::of)
    }
}

impl Polls {
    /// Closes the descriptors of a child after fork, where the thread is not.
    /// Their owners there are leaked, and close nothing.
    pub(crate) fn close_in_child(&self) {
        let epoll = self.epoll.iter().map(|epoll| epoll.fd.as_raw_fd());
        for fd in epoll.chain(self.watched.values().map(AsRawFd::as_raw_fd)) {
            // SAFETY: takes no address; the owner is never dropped in the child.
            unsafe { libc::close(fd) };
        }
        self.epoll.iter().for_each(|epoll| epoll.stop.close_in_child());
    }

    /// Makes the thread go; it is to be joined.
    pub(crate) fn stop(&mut self) -> Option<JoinHandle<()>> {
        if let Some(epoll) = &self.epoll {
            epoll.stop.signal();
        }
        self.thread.take()
    }

    /// Has the file of a request watched; false if it is one that is always
    /// ready, or never for these events.
    ///
    /// # Errors
    /// The errno (positive) that the request ends with.
    pub(crate) fn watch(&mut self, id: Id, request: &Request) -> Result<bool, i32> {
        let epoll = match &mut self.epoll {
            Some(epoll) => epoll,
            none => none.insert(Epoll::new().map_err(|errno| errno.0)?),
        };
        self.watched.try_reserve(1).map_err(|_| EAGAIN)?;
        let fd = request.file().ok_or(EBADF)?;
        let fd = fcntl_dupfd_cloexec(fd, 0).map_err(|errno| errno.raw_os_error())?;
        let how = if request.is_multishot() { EventFlags::ET } else { EventFlags::ONESHOT };
        let events = EventFlags::from_bits_retain(request.poll_events().into()) | how;
        let watched = match epoll.add(fd.as_fd(), events, id.get()) {
            Ok(()) => true,
            Err(Errno(EPERM)) => false,
            Err(errno) => return Err(errno.0),
        };
        self.watched.insert(id.get(), fd);
        Ok(watched)
    }

    /// Request `id` has ended; the descriptor that is to be closed.
    pub(crate) fn unwatch(&mut self, id: Id) -> Option<OwnedFd> {
        let fd = self.watched.remove(&id.get())?;
        if let Some(epoll) = &self.epoll {
            // That it was never added (EPERM) is no harm.
            let _ = epoll::delete(&epoll.fd, &fd);
        }
        Some(fd)
    }
}
