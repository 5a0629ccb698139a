//! The requests that wait for a file to become ready: one epoll instance for a
//! context, created with the first of them, however many there are.
//!
//! A POLL has a duplicate of its descriptor there: so the file stays, as it does
//! during poll(2), and two of them can wait for the same one with what each asks
//! for. Other requests share one for each file. What becomes of them is in
//! `ends::ready`.
//!
//! SPEC: R-OP-5, R-WAIT-3, R-WAIT-5, R-LIMIT-5.
#![allow(unsafe_code)] // close(2) in a child

use super::files::{Files, Interest};
use super::lead::Lead;
use super::slots::Id;
use crate::engine::host::file;
use crate::engine::host::thread::Thread;
use crate::engine::request::Request;
use crate::engine::request::wait::Direction;
use crate::error::Errno;
use crate::os::park::Parker;
use arrayvec::ArrayVec;
use libc::{EAGAIN, EBADF, EPERM};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::fcntl_dupfd_cloexec;
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Files that are served in a round.
const ROUND: usize = 64;

/// Files that have become ready.
pub(crate) type Ready = ArrayVec<epoll::Event, ROUND>;

/// The requests that wait for files.
#[derive(Debug, Default)]
pub(crate) struct Polls {
    pub(crate) epoll: Option<Epoll>,
    /// The duplicate of the descriptor of each POLL.
    pub(crate) watched: HashMap<u64, OwnedFd>,
    /// The other requests that wait for files.
    pub(crate) files: Files<OwnedFd>,
    /// Who waits for the files.
    pub(crate) lead: Lead,
    /// The context's own thread for it exists or is being created.
    pub(crate) exists: bool,
    pub(crate) thread: Option<Thread>,
    /// It is to go.
    pub(crate) stopping: bool,
}

/// Where the files are watched.
#[derive(Clone, Debug)]
pub(crate) struct Epoll {
    fd: Arc<OwnedFd>,
    /// Where the context's own thread parks.
    pub(crate) thread: Arc<Parker>,
    /// Where the thread parks that waits for events, and leads.
    pub(crate) waiter: Arc<Parker>,
}

impl Epoll {
    fn new() -> Result<Self, Errno> {
        let fd = Arc::new(epoll::create(CreateFlags::CLOEXEC).map_err(Errno::of)?);
        let [thread, waiter] = [Parker::new(true)?, Parker::new(true)?].map(Arc::new);
        Ok(Epoll { fd, thread, waiter })
    }

    /// Takes the files that are ready now, and does not wait; how many.
    pub(crate) fn take(&self, ready: &mut Ready) -> usize {
        let mut room = [const { MaybeUninit::uninit() }; ROUND];
        // It fails for a descriptor that is none.
        let taken = epoll::wait(&self.fd, &mut room, Some(&Timespec::default()));
        ready.clear();
        ready.extend(taken.into_iter().flat_map(|(taken, _)| taken).map(|event| *event));
        ready.len()
    }

    fn add(&self, fd: BorrowedFd<'_>, events: EventFlags, id: u64) -> Result<(), Errno> {
        epoll::add(&self.fd, fd, EventData::new_u64(id), events).map_err(Errno::of)
    }

    fn delete(&self, fd: &OwnedFd) {
        // That it was never added (EPERM) is no harm.
        let _ = epoll::delete(&self.fd, fd);
    }
}

impl AsFd for Epoll {
    /// Readable while a file is ready that is watched.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Polls {
    /// Closes the descriptors of a child after fork, where the thread is not.
    /// Their owners there are leaked, and close nothing.
    pub(crate) fn close_in_child(&self) {
        let epoll = self.epoll.iter().map(|epoll| epoll.fd.as_raw_fd());
        for fd in epoll.chain(self.descriptors().map(AsRawFd::as_raw_fd)) {
            // SAFETY: takes no address; the owner is never dropped in the child.
            unsafe { libc::close(fd) };
        }
        if let Some(epoll) = &self.epoll {
            epoll.thread.close_in_child();
            epoll.waiter.close_in_child();
        }
    }

    /// Those that are held for files.
    fn descriptors(&self) -> impl Iterator<Item = &OwnedFd> {
        self.watched.values().chain(self.files.all_held())
    }

    /// How many of them there are.
    pub(crate) fn held(&self) -> usize {
        self.watched.len() + self.files.held()
    }

    /// Makes the thread go; it is to be joined.
    pub(crate) fn stop(&mut self) -> Option<Thread> {
        self.stopping = true;
        self.epoll.iter().for_each(|epoll| epoll.thread.unpark());
        self.thread.take()
    }

    /// Whether requests wait for files.
    pub(crate) fn are_waited_for(&self) -> bool {
        self.files.waiting() > 0 || !self.watched.is_empty()
    }

    /// Whether the context's own thread has to be made or told, now that somebody
    /// waits for a file.
    pub(crate) fn needs_thread(&self) -> bool {
        !self.exists || self.lead.needs_thread()
    }

    /// Gives back the memory, if nobody waits.
    pub(crate) fn give_back(&mut self) {
        self.files.give_back();
        if self.watched.is_empty() {
            self.watched = HashMap::new();
        }
    }

    fn create(&mut self) -> Result<(), Errno> {
        if self.epoll.is_none() {
            self.epoll = Some(Epoll::new()?);
        }
        Ok(())
    }

    /// Request `id` waits for the file of `fd`, behind all that do; the descriptor
    /// that is held for it. What is to be closed if it cannot; then it waits for
    /// nothing.
    ///
    /// SPEC: R-WAIT-2, R-WAIT-3, R-WAIT-5
    pub(crate) fn wait(
        &mut self,
        id: Id,
        fd: BorrowedFd<'_>,
        direction: Direction,
    ) -> Result<i32, Option<OwnedFd>> {
        self.create().map_err(|_| None)?;
        let Some(epoll) = &self.epoll else { return Err(None) };
        self.files.reserve().map_err(|_| None)?;
        let number = fd.as_raw_fd();
        let token = match self.files.find(number) {
            Some((token, held)) if file::is_same(held.as_fd(), fd) => token,
            _ => {
                let held = fcntl_dupfd_cloexec(fd, 0).map_err(|_| None)?;
                let token = self.files.open(number, held);
                let added = match self.files.find(number) {
                    Some((_, held)) => epoll.add(held.as_fd(), EventFlags::ONESHOT, token),
                    None => Ok(()),
                };
                // What cannot be watched, or not one more.
                if added.is_err() {
                    return Err(self.files.forsake(token));
                }
                token
            }
        };
        if self.files.wait(token, direction, id.get()).is_err() {
            let held = self.files.forsake(token);
            return Err(held.inspect(|held| epoll.delete(held)));
        }
        self.arm(token);
        Ok(self.files.find(number).map_or(number, |(_, held)| held.as_raw_fd()))
    }

    /// Has a file watched for what is waited for.
    pub(crate) fn arm(&mut self, token: u64) {
        let Some(epoll) = &self.epoll else { return };
        if let Some((held, Interest { input, output })) = self.files.arm(token) {
            let mut events = EventFlags::ONESHOT;
            events.set(EventFlags::IN | EventFlags::RDHUP, input);
            events.set(EventFlags::OUT, output);
            // It is there, and needs no memory.
            let _ = epoll::modify(&epoll.fd, held, EventData::new_u64(token), events);
        }
    }

    /// Request `id` has ended: it waits for no file any more. The descriptor that
    /// is to be closed.
    pub(crate) fn leave(&mut self, id: Id) -> Option<OwnedFd> {
        let (others, held) = self.files.leave(id.get());
        if let Some(token) = others {
            self.arm(token);
        }
        let epoll = self.epoll.as_ref();
        held.inspect(|held| epoll.into_iter().for_each(|epoll| epoll.delete(held)))
    }

    /// Has the file of a request watched; false if it is one that is always
    /// ready, or never for these events.
    ///
    /// # Errors
    /// The errno (positive) that the request ends with.
    pub(crate) fn watch(&mut self, id: Id, request: &Request) -> Result<bool, i32> {
        self.create().map_err(|errno| errno.0)?;
        let Some(epoll) = &self.epoll else { return Err(EAGAIN) };
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
        self.epoll.iter().for_each(|epoll| epoll.delete(&fd));
        Some(fd)
    }
}
