//! Linux AIO: io_setup(2), io_submit(2), io_getevents(2).
//!
//! For transfers past the page cache it is truly asynchronous, as io_uring is, and
//! container runtimes that forbid the latter allow it. A context belongs to the
//! memory of the process, so that no descriptor can be closed under it; but it does
//! not end with its thread: [`destroy`] is for who finds that gone.
//!
//! The calls do not go through syscall(3): a preloaded library may take them for the
//! program's own there, as this project's does for programs that use AIO by number.
//!
//! Where the calls are not to be had any more, what the kernel has taken is looked
//! for in the context's own ring, which is mapped where its number says.
//!
//! SPEC: R-RUN-14, R-RUN-15.
#![allow(unsafe_code)] // addresses of the application; a ring that the kernel maps

use super::bell::{BELL, Bell, LOOK};
use crate::engine::request::transfer::AtOffset;
use crate::error::Errno;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use syscalls::{Sysno, syscall};

const PREAD: u16 = 0;
const PWRITE: u16 = 1;
const POLL: u16 = 5;
const PREADV: u16 = 7;
const PWRITEV: u16 = 8;

/// struct iocb of <linux/aio_abi.h>, on a little-endian or big-endian host alike but
/// for the order of `key` and `rw_flags`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Iocb {
    data: u64,
    #[cfg(target_endian = "little")]
    key: u32,
    rw_flags: i32,
    #[cfg(target_endian = "big")]
    key: u32,
    opcode: u16,
    priority: i16,
    fd: i32,
    buf: u64,
    nbytes: u64,
    offset: u64,
    reserved: u64,
    flags: u32,
    resfd: u32,
}

/// struct io_event.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct IoEvent {
    data: u64,
    obj: u64,
    res: i64,
    res2: i64,
}

const _: () = assert!(size_of::<Iocb>() == 64 && size_of::<IoEvent>() == 32);

/// What a context's ring begins with, behind which its events are.
#[repr(C)]
struct Head {
    id: u32,
    events: u32,
    head: AtomicU32,
    tail: AtomicU32,
    magic: u32,
    compat_features: u32,
    incompat_features: u32,
    header_length: u32,
}

const MAGIC: u32 = 0xa10a_10a1;

/// Whether this process may use it.
///
/// # Errors
/// Those of io_setup(2).
pub(super) fn probe() -> Result<(), Errno> {
    let context = setup(1)?;
    destroy(context);
    Ok(())
}

fn errno(errno: syscalls::Errno) -> Errno {
    Errno(errno.into_raw())
}

fn setup(events: usize) -> Result<u64, Errno> {
    let mut context = 0_u64;
    // SAFETY: the number can be written.
    unsafe { syscall!(Sysno::io_setup, events, &raw mut context) }.map_err(errno)?;
    Ok(context)
}

/// Ends a context, once nothing of it is with a device; false if the kernel does not
/// do so.
pub(super) fn destroy(context: u64) -> bool {
    // SAFETY: it takes no address of this process's; the number is that of a context,
    // or nobody's.
    unsafe { syscall!(Sysno::io_destroy, context) }.is_ok()
}

/// A context, with what its thread needs.
pub(crate) struct Ring<'r> {
    context: u64,
    bell: &'r Bell,
    /// The poll of the bell is with the kernel.
    hears: bool,
    /// What was pushed and the kernel has not taken, in order.
    pushed: VecDeque<Iocb>,
    /// What it would not take, each for a reason of its own.
    refused: VecDeque<u64>,
    room: usize,
    results: Vec<IoEvent>,
    /// Of those, what was looked at.
    seen: usize,
    broken: Option<Errno>,
}

impl<'r> Ring<'r> {
    /// For so many `transfers` at once.
    ///
    /// # Errors
    /// Those of io_setup(2): EAGAIN where all users together have as many as
    /// /proc/sys/fs/aio-max-nr allows.
    pub(super) fn new(transfers: usize, bell: &'r Bell) -> Result<Self, Errno> {
        // One more for the bell.
        let room = transfers + 1;
        Ok(Ring {
            context: setup(room)?,
            bell,
            hears: false,
            pushed: VecDeque::with_capacity(room),
            refused: VecDeque::with_capacity(room),
            room,
            results: Vec::with_capacity(room),
            seen: 0,
            broken: None,
        })
    }

    pub(super) fn context(&self) -> u64 {
        self.context
    }

    /// # Safety
    /// As [`super::Ring::push`].
    pub(super) unsafe fn push(&mut self, transfer: &AtOffset, number: u64) -> bool {
        if self.pushed.len() == self.room {
            return false;
        }
        let &AtOffset { fd, address, len, offset, is_vector, is_read, .. } = transfer;
        let opcode = match (is_read, is_vector) {
            (true, false) => PREAD,
            (false, false) => PWRITE,
            (true, true) => PREADV,
            (false, true) => PWRITEV,
        };
        self.pushed.push_back(Iocb {
            data: number,
            rw_flags: libc::RWF_NOWAIT,
            opcode,
            fd,
            buf: address,
            nbytes: len.into(),
            offset,
            ..Iocb::default()
        });
        true
    }

    pub(super) fn enter(&mut self, timeout: Option<Duration>) -> bool {
        self.results.clear();
        self.seen = 0;
        if self.broken.is_none() {
            self.submit();
        }
        if self.broken.is_some() {
            std::thread::sleep(LOOK);
            self.look();
            return false;
        }
        // What was refused is somebody's to run now.
        let no_time = (!self.refused.is_empty()).then_some(Duration::ZERO);
        let timespec = no_time.or(timeout).map(|timeout| libc::timespec {
            // Not by its name: that of musl's type is deprecated, since it will change.
            tv_sec: timeout.as_secs() as _,
            tv_nsec: timeout.subsec_nanos() as _,
        });
        let timespec = timespec.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let (room, to) = (self.room, self.results.as_mut_ptr());
        // SAFETY: there is room for so many events, and the time can be read.
        let found = unsafe { syscall!(Sysno::io_getevents, self.context, 1, room, to, timespec) };
        match found.map_err(errno) {
            Ok(0) => timeout.is_some() && no_time.is_none(),
            Ok(found) => {
                // SAFETY: the kernel has written so many, and has no more room.
                unsafe { self.results.set_len(found.min(room)) };
                false
            }
            Err(errno) => {
                if errno != Errno(libc::EINTR) {
                    self.broken = Some(errno);
                }
                false
            }
        }
    }

    /// Has the kernel take what was pushed.
    fn submit(&mut self) {
        if !self.hears {
            let events = libc::POLLIN as u64;
            let fd = self.bell.number();
            let poll = Iocb { data: BELL, opcode: POLL, fd, buf: events, ..Iocb::default() };
            self.hears = true;
            self.pushed.push_back(poll);
        }
        while !self.pushed.is_empty() {
            let list: Vec<*mut Iocb> = self.pushed.iter_mut().map(std::ptr::from_mut).collect();
            let (count, at) = (list.len(), list.as_ptr());
            // SAFETY: they are read within the call; what they name is vouched for until
            // the result has come, by the contract of `push`.
            let taken = unsafe { syscall!(Sysno::io_submit, self.context, count, at) };
            match taken.map_err(errno) {
                // None is what a filter says in the kernel's place.
                Ok(0) => {
                    self.broken = Some(Errno(libc::ENOSYS));
                    return;
                }
                // Who answers in the kernel's place may say more than there were.
                Ok(taken) => drop(self.pushed.drain(..taken.min(count))),
                Err(errno) => {
                    match self.pushed.front().map(|first| first.data) {
                        // Without its bell it cannot sleep.
                        None | Some(BELL) => {
                            self.broken = Some(errno);
                            return;
                        }
                        Some(number) => {
                            self.pushed.pop_front();
                            self.refused.push_back(number);
                        }
                    }
                }
            }
        }
    }

    /// Takes what has ended from the ring that the kernel maps here, without it.
    fn look(&mut self) {
        let at = std::ptr::with_exposed_provenance::<Head>(self.context as usize);
        // SAFETY: the kernel maps it there, and it stays while the context is.
        let head = unsafe { &*at };
        if head.magic != MAGIC || head.incompat_features != 0 || head.events == 0 {
            return;
        }
        // Relaxed: nobody else takes any.
        let mut next = head.head.load(Ordering::Relaxed) % head.events;
        // Acquire: what is before it was written before it.
        let end = head.tail.load(Ordering::Acquire) % head.events;
        while next != end && self.results.len() < self.room {
            let place = head.header_length as usize + next as usize * size_of::<IoEvent>();
            // SAFETY: within the ring, as the kernel lays it out.
            let event =
                unsafe { at.cast::<u8>().wrapping_add(place).cast::<IoEvent>().read_volatile() };
            self.results.push(event);
            next = (next + 1) % head.events;
        }
        // Release: they are read before their room is given back.
        head.head.store(next, Ordering::Release);
    }

    pub(super) fn next(&mut self) -> Option<(u64, i64)> {
        while let Some(event) = self.results.get(self.seen) {
            self.seen += 1;
            if event.data != BELL {
                return Some((event.data, event.res));
            }
            // Before the thread looks at what it was rung for.
            self.bell.clear();
            self.hears = false;
        }
        None
    }

    pub(super) fn broken(&self) -> Option<Errno> {
        self.broken
    }

    pub(super) fn returned(&mut self) -> Option<u64> {
        if let Some(number) = self.refused.pop_front() {
            return Some(number);
        }
        self.broken?;
        loop {
            match self.pushed.pop_front()?.data {
                BELL => {}
                number => return Some(number),
            }
        }
    }
}

impl Drop for Ring<'_> {
    fn drop(&mut self) {
        destroy(self.context);
    }
}
