//! POLL: requests that wait for a file to become ready.
//!
//! One thread and one epoll instance for a context, created with the first of
//! them, however many there are. Each request has a duplicate of its descriptor
//! there: so the file stays, as it does during poll(2), and two requests can
//! wait for the same one. It costs a descriptor for each request that waits.
//!
//! A request is added under the context's lock, so that it cannot become ready,
//! or be cancelled, half added.
//!
//! SPEC: R-OP-5, R-OP-6, R-ATTR-7, R-LIMIT-5.
#![allow(unsafe_code)] // the application's descriptors; close(2) in a child

use super::worker;
use crate::engine::request::Request;
use crate::engine::state::context::{Context, Job, Shared};
use crate::engine::state::slots::{Id, Known};
use crate::error::Errno;
use crate::os::notify::Notifier;
use crate::sync::JoinHandle;
use aio2_abi::event::{self, Encoder};
use libc::{EAGAIN, EBADF, EPERM};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::fcntl_dupfd_cloexec;
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use zerocopy::IntoBytes;

/// Events that are taken at once.
const ROUND: usize = 64;
/// The thread is to go.
const STOP: u64 = 0;

/// The requests that wait for files.
#[derive(Debug, Default)]
pub(crate) struct Polls {
    epoll: Option<Epoll>,
    /// The duplicate of each request's descriptor.
    watched: HashMap<u64, OwnedFd>,
    exists: bool,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Epoll {
    fd: Arc<OwnedFd>,
    stop: Notifier,
}

/// What the file of a request is ready for now; POLLERR and POLLHUP always
/// count. The result of the operation, or none if it has to wait.
#[inline(never)]
pub(crate) fn look(request: &Request) -> Option<i64> {
    ready(request, Some(&Timespec::default()))
}

/// Waits for the file of a request, for the caller of exec.
pub(crate) fn wait(request: &Request) -> i64 {
    ready(request, None).unwrap_or_default()
}

fn ready(request: &Request, timeout: Option<&Timespec>) -> Option<i64> {
    let Some(fd) = request.file() else { return Some(-i64::from(EBADF)) };
    let wanted = PollFlags::from_bits_retain(request.poll_events() as i16);
    let mut polled = [PollFd::from_borrowed_fd(fd, wanted)];
    let found = poll(&mut polled, timeout);
    match polled[0].revents() {
        _ if found == Ok(0) => None,
        events if events.contains(PollFlags::NVAL) => Some(-i64::from(EBADF)),
        events => Some(found.map_or_else(
            |errno| -i64::from(errno.raw_os_error()),
            |_| i64::from(events.bits() as u16),
        )),
    }
}

impl Request {
    /// The file that is waited for.
    fn file(&self) -> Option<BorrowedFd<'_>> {
        let fd = self.fd.filter(|fd| *fd >= 0)?;
        // SAFETY: one that is not open is found out by the calls here; that it
        // is the one that was meant, the submitter vouches for.
        Some(unsafe { BorrowedFd::borrow_raw(fd) })
    }

    fn poll_events(&self) -> u16 {
        self.call.args()[1] as u16
    }
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

    /// Has the file of a request watched; a result if there is one already.
    fn watch(&mut self, id: Id, request: &Request) -> Result<Option<i64>, i32> {
        let epoll = match &mut self.epoll {
            Some(epoll) => epoll,
            none => none.insert(Epoll::new().map_err(|errno| errno.0)?),
        };
        self.watched.try_reserve(1).map_err(|_| EAGAIN)?;
        let fd = request.file().ok_or(EBADF)?;
        let fd = fcntl_dupfd_cloexec(fd, 0).map_err(|errno| errno.raw_os_error())?;
        let how = if request.is_multishot() { EventFlags::ET } else { EventFlags::ONESHOT };
        let events = EventFlags::from_bits_retain(request.poll_events().into()) | how;
        match epoll.add(fd.as_fd(), events, id.get()) {
            Ok(()) => {}
            // A file that is always ready, or never for these events.
            Err(Errno(EPERM)) => {
                if let Some(result) = look(request) {
                    return Ok(Some(result));
                }
            }
            Err(errno) => return Err(errno.0),
        }
        self.watched.insert(id.get(), fd);
        Ok(None)
    }
}

impl Context {
    /// Holds request `id` until its file is ready.
    pub(crate) fn watch(&mut self, id: Id, job: Job) {
        let watched = self.polls.watched.len() + 1;
        let added = self.errands.expect_closes(watched);
        match added.and_then(|()| self.polls.watch(id, &job.request)) {
            Ok(Some(result)) => self.complete(id, &job, result),
            Ok(None) => {
                self.slots.hold(id, job);
                self.errands.poller |= !self.polls.exists;
            }
            Err(errno) => self.abandon(id, &job.request, errno),
        }
    }

    /// Request `id` has ended.
    pub(crate) fn unwatch(&mut self, id: Id) {
        let Some(fd) = self.polls.watched.remove(&id.get()) else { return };
        if let Some(epoll) = &self.polls.epoll {
            // That it was never added (EPERM) is no harm.
            let _ = epoll::delete(&epoll.fd, &fd);
        }
        self.errands.close(fd);
    }

    /// The file of request `id` is ready for `events`.
    fn is_ready(&mut self, id: u64, events: u32) {
        let Known::InFlight(id) = self.slots.known(id) else { return };
        let Some(job) = self.slots.held(id) else { return };
        if !self.polls.watched.contains_key(&id.get()) {
            return;
        }
        let result = i64::from(events & 0xffff);
        if job.request.is_multishot() {
            let user_data = job.request.user_data;
            if self.publish_more(user_data, result) {
                return;
            }
        }
        if let Some(job) = self.slots.unhold(id) {
            self.complete(id, &job, result);
        }
    }

    /// Publishes an event that is not the last; false if there is no room for
    /// another after it.
    ///
    /// SPEC: R-OP-6
    fn publish_more(&mut self, user_data: u64, result: i64) -> bool {
        const WORDS: usize = event::HEADER_BYTES / 8;
        let mut room = [0; WORDS];
        if self.room() == 0 {
            self.sink.flush();
        }
        if self.room() == 0 || self.sink.reserve(WORDS * 8).is_err() {
            return false;
        }
        if Encoder::new(room.as_mut_bytes(), event::Flags::MORE, user_data, result).is_none() {
            return false;
        }
        self.sink.push_all(&room, WORDS * 8);
        true
    }
}

/// Sees to it that the thread is there; without it the requests end.
pub(crate) fn ensure(shared: &Arc<Shared>) {
    let mut context = shared.lock();
    if std::mem::replace(&mut context.polls.exists, true) {
        return;
    }
    let Some(epoll) = context.polls.epoll.as_ref().map(|epoll| epoll.fd.clone()) else { return };
    drop(context);
    let of_thread = shared.clone();
    let spawned = worker::spawn("aio2-poll", move || run(&of_thread, &epoll));
    let mut context = shared.lock();
    context.polls.exists = spawned.is_ok();
    context.polls.thread = spawned.ok();
    if !context.polls.exists {
        let ids: Vec<u64> = context.polls.watched.keys().copied().collect();
        for id in ids {
            if let Known::InFlight(id) = context.slots.known(id)
                && let Some(job) = context.slots.unhold(id)
            {
                context.abandon(id, &job.request, EAGAIN);
            }
        }
        shared.tell(context);
    }
}

/// The thread: says which files have become ready.
fn run(shared: &Arc<Shared>, epoll: &OwnedFd) {
    let mut events = [const { MaybeUninit::uninit() }; ROUND];
    loop {
        // A stop of the process interrupts it.
        let Ok((ready, _)) = epoll::wait(epoll, &mut events, None) else { continue };
        let mut context = shared.lock();
        for event in ready {
            let epoll::Event { flags, data } = *event;
            match data.u64() {
                STOP => return,
                id => context.is_ready(id, flags.bits()),
            }
        }
        shared.tell(context);
    }
}
