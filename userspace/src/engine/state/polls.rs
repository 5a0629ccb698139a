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
use crate::engine::host::file::{self, Family};
use crate::engine::host::thread::Thread;
use crate::engine::request::Request;
use crate::engine::request::wait::Direction;
use crate::error::Errno;
use crate::os::park::Parker;
use arrayvec::ArrayVec;
use libc::{EAGAIN, EBADF, EPERM};
use rustc_hash::FxHashMap;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::{DupFlags, dup3, fcntl_dupfd_cloexec};
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Files that are served in a round.
const ROUND: usize = 64;

/// Files that have become ready.
pub(crate) type Ready = ArrayVec<epoll::Event, ROUND>;

/// Most numbers that are kept for the files that are waited for next.
const KEPT: usize = ROUND;
/// How many receives wait without a try, after one that had to.
const IN_A_ROW: u8 = 15;

/// A file that is waited for, by a descriptor of the engine's own.
///
/// A socket is waited for again and again. When nobody waits for it, its descriptor
/// lets go of it, so that it is closed when the application closes it; but the number
/// is kept, and with it its place in the epoll instance: if the same number of the
/// application's is waited for again, and means the same file, that is there still.
#[derive(Debug)]
pub(crate) struct Held {
    fd: OwnedFd,
    /// The application's.
    number: i32,
    is_socket: bool,
    family: Option<Family>,
    /// The file has its place in the epoll instance, if it is the same still.
    is_added: bool,
    is_armed: bool,
    /// How many of the next receives are going to wait.
    in_a_row: u8,
}

/// The requests that wait for files.
#[derive(Debug, Default)]
pub(crate) struct Polls {
    pub(crate) epoll: Option<Epoll>,
    /// The duplicate of the descriptor of each POLL.
    pub(crate) watched: HashMap<u64, OwnedFd>,
    /// The other requests that wait for files.
    pub(crate) files: Files<Held>,
    /// What was held for files that nobody waits for, by the application's numbers.
    kept: FxHashMap<i32, Held>,
    /// Who waits for the files.
    pub(crate) lead: Lead,
    /// The context's own thread for it exists or is being created.
    pub(crate) exists: bool,
    pub(crate) thread: Option<Thread>,
    /// It is to go.
    pub(crate) stopping: bool,
}

impl Held {
    /// Means the file of `fd` from now on. That it lets go of another may sleep.
    pub(crate) fn hold(mut self, fd: BorrowedFd<'_>) -> Option<Self> {
        dup3(fd, &mut self.fd, DupFlags::CLOEXEC).ok()?;
        Some(self)
    }
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
        let held = self.files.all_held().chain(self.kept.values());
        self.watched.values().chain(held.map(|held| &held.fd))
    }

    /// How many of them there are for requests.
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

    /// How many descriptors tell something of what is waited for.
    pub(crate) fn known(&self) -> usize {
        self.files.waiting() + self.kept.len()
    }

    /// Whether a receive on `fd` is going to wait: so did the one before.
    pub(crate) fn foresees_wait(&mut self, fd: i32) -> bool {
        let Some(held) = self.kept.get_mut(&fd) else { return false };
        let foresees = held.in_a_row > 0;
        held.in_a_row = held.in_a_row.saturating_sub(1);
        foresees
    }

    /// Request `id` waits for the file of `fd`, behind all that do; the descriptor
    /// that is held for it. `is_empty` says that a receive found nothing in it.
    /// What is to be let go of if it cannot wait; then it waits for nothing.
    ///
    /// SPEC: R-WAIT-2, R-WAIT-3, R-WAIT-5
    pub(crate) fn wait(
        &mut self,
        id: Id,
        fd: BorrowedFd<'_>,
        direction: Direction,
        is_socket: bool,
        is_empty: bool,
    ) -> Result<i32, Option<Held>> {
        self.create().map_err(|_| None)?;
        self.files.reserve().map_err(|_| None)?;
        let number = fd.as_raw_fd();
        let token = match self.files.find(number) {
            Some((token, held)) if file::is_same(held.fd.as_fd(), fd) => token,
            _ => {
                let held = self.hold(fd, is_socket).ok_or(None)?;
                self.files.open(number, held)
            }
        };
        if self.files.wait(token, direction, id.get()).is_err() {
            return Err(self.files.forsake(token));
        }
        // What cannot be watched, or not one more.
        if !self.arm(token) {
            return Err(self.files.leave(id.get()).1);
        }
        let Some(held) = self.files.held_of(token) else { return Ok(number) };
        if is_empty {
            held.in_a_row = IN_A_ROW;
        }
        Ok(held.fd.as_raw_fd())
    }

    /// A descriptor of the engine's own for the file of `fd`.
    fn hold(&mut self, fd: BorrowedFd<'_>, is_socket: bool) -> Option<Held> {
        let number = fd.as_raw_fd();
        // Anything else is not let go of in the same way.
        if is_socket && let Some(kept) = self.kept.remove(&number) {
            return kept.hold(fd);
        }
        match fcntl_dupfd_cloexec(fd, 0) {
            Ok(fd) => Some(Held {
                fd,
                number,
                is_socket,
                family: None,
                is_added: false,
                is_armed: false,
                in_a_row: 0,
            }),
            Err(_) => {
                let other = *self.kept.keys().next()?;
                let kept = self.kept.remove(&other)?;
                Held { number, is_socket, family: None, in_a_row: 0, ..kept }.hold(fd)
            }
        }
    }

    /// Has a file watched for what is waited for; false if it cannot be.
    pub(crate) fn arm(&mut self, token: u64) -> bool {
        let Some(epoll) = &self.epoll else { return false };
        let Some((held, Interest { input, output })) = self.files.arm(token) else { return true };
        let mut events = EventFlags::ONESHOT;
        events.set(EventFlags::IN | EventFlags::RDHUP, input);
        events.set(EventFlags::OUT, output);
        let data = EventData::new_u64(token);
        let modify = |held: &Held| epoll::modify(&epoll.fd, &held.fd, data, events);
        let add = |held: &Held| epoll::add(&epoll.fd, &held.fd, data, events);
        let done = if held.is_added { modify(held) } else { add(held) };
        let done = match done {
            // Another file than before.
            Err(rustix::io::Errno::NOENT) => {
                held.family = None;
                add(held)
            }
            // One that was closed under its number, and is still open elsewhere.
            Err(rustix::io::Errno::EXIST) => modify(held),
            done => done,
        };
        (held.is_added, held.is_armed) = (done.is_ok(), done.is_ok() && (input || output));
        done.is_ok()
    }

    /// The file has become ready, for which it was watched: its descriptor and its
    /// family, if it is a socket.
    pub(crate) fn fired(&mut self, token: u64) -> Option<(i32, Family)> {
        self.files.fired(token);
        let held = self.files.held_of(token)?;
        held.is_armed = false;
        let fd = held.fd.as_raw_fd();
        let family = || *held.family.get_or_insert_with(|| file::family(fd));
        held.is_socket.then(family).map(|family| (fd, family))
    }

    /// Request `id` has ended: it waits for no file any more. What is to be let go of.
    pub(crate) fn leave(&mut self, id: Id) -> Option<Held> {
        let (others, held) = self.files.leave(id.get());
        if let Some(token) = others {
            self.arm(token);
        }
        held
    }

    /// Whether the number of `held` is kept, which is to be let go of: what it is to
    /// mean then.
    pub(crate) fn keep(&mut self, held: &mut Held) -> Option<Arc<OwnedFd>> {
        let epoll = self.epoll.as_ref()?;
        if held.is_armed {
            epoll.delete(&held.fd);
            (held.is_added, held.is_armed) = (false, false);
        }
        if held.is_socket && self.kept.len() < KEPT && self.kept.try_reserve(KEPT).is_ok() {
            return Some(epoll.fd.clone());
        }
        if held.is_added {
            epoll.delete(&held.fd);
        }
        None
    }

    /// The number of `held`, which has let go of its file, is kept; what has to be
    /// closed for that.
    pub(crate) fn kept(&mut self, held: Held) -> Option<Held> {
        self.kept.insert(held.number, held)
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
