//! io_uring(7), as far as an executor needs it.
//!
//! The ring is named
//! by a number that is registered for that thread, so that who closes its
//! descriptor does not reach it. Results come by any syscall of the thread
//! (COOP_TASKRUN, and not DEFER_TASKRUN): also where `io_uring_enter` is not to
//! be had any more, nothing that the kernel has taken is lost.
//!
//! SPEC: R-RUN-14, R-RUN-15.
#![allow(unsafe_code)] // addresses of the application; the end of a ring

use super::bell::{BELL, Bell, LOOK};
use crate::engine::request::transfer::AtOffset;
use crate::error::Errno;
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter, cqueue, opcode};
use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Whether this process may use it.
///
/// # Errors
/// The errno that says why not.
pub(super) fn probe() -> Result<(), Errno> {
    Instance::new(1).map(drop)
}

/// A ring, with all that its thread needs.
pub(crate) struct Ring<'r> {
    submitter: Submitter<'r>,
    entries: SubmissionQueue<'r>,
    results: CompletionQueue<'r>,
    bell: &'r Bell,
    /// The poll of the bell is among the entries, or with the kernel.
    hears: bool,
    /// What was pushed and the kernel has not taken, in order.
    pushed: VecDeque<u64>,
    broken: Option<Errno>,
}

/// Most workers of the kernel: of those that wait for a device, and others.
const WORKERS: [u32; 2] = [2, 1];

/// Makes a ring for `transfers` at once, for this thread and for as long as
/// `body` runs, which is told its descriptor, too.
///
/// # Errors
/// Those of io_uring_setup(2) and io_uring_register(2).
pub(super) fn with_ring<T>(
    transfers: usize,
    bell: &Bell,
    body: impl FnOnce(Ring<'_>, i32) -> T,
) -> Result<T, Errno> {
    // One more for the bell.
    let mut instance = Instance::new(transfers as u32 + 1)?;
    let fd = instance.0.as_raw_fd();
    let (mut submitter, entries, results) = instance.0.split();
    submitter.register_ring_fd().map_err(errno)?;
    // Where it cannot be had, a read that needs one takes as many as the kernel allows.
    let _ = submitter.register_iowq_max_workers(&mut WORKERS.clone());
    let pushed = VecDeque::with_capacity(transfers + 1);
    let ring = Ring { submitter, entries, results, bell, hears: false, pushed, broken: None };
    Ok(body(ring, fd))
}

impl Ring<'_> {
    /// # Safety
    /// As [`super::Ring::push`].
    pub(super) unsafe fn push(&mut self, transfer: &AtOffset, number: u64) -> bool {
        let &AtOffset { is_buffered, fd, address, len, offset, is_vector, is_read } = transfer;
        let fd = Fd(fd);
        let place = std::ptr::with_exposed_provenance_mut::<u8>(address as usize);
        // With it the kernel would not wait for a page either.
        let nowait = if is_buffered { 0 } else { libc::RWF_NOWAIT };
        let entry = match (is_read, is_vector) {
            (true, false) => {
                opcode::Read::new(fd, place, len).offset(offset).rw_flags(nowait).build()
            }
            (false, false) => {
                opcode::Write::new(fd, place, len).offset(offset).rw_flags(nowait).build()
            }
            (true, true) => {
                opcode::Readv::new(fd, place.cast(), len).offset(offset).rw_flags(nowait).build()
            }
            (false, true) => {
                opcode::Writev::new(fd, place.cast(), len).offset(offset).rw_flags(nowait).build()
            }
        };
        // SAFETY: its addresses are vouched for until the call is dropped, which is
        // not before its result by this function's contract.
        let fits = unsafe { self.entries.push(&entry.user_data(number)) }.is_ok();
        if fits {
            self.pushed.push_back(number);
        }
        fits
    }

    pub(super) fn enter(&mut self, timeout: Option<Duration>) -> bool {
        if self.broken.is_some() {
            std::thread::sleep(LOOK);
            self.results.sync();
            return false;
        }
        if !self.hears {
            let bell = Fd(self.bell.number());
            let poll = opcode::PollAdd::new(bell, libc::POLLIN as u32).multi(true).build();
            // SAFETY: it names no memory.
            self.hears = unsafe { self.entries.push(&poll.user_data(BELL)) }.is_ok();
            if self.hears {
                self.pushed.push_back(BELL);
            }
        }
        self.entries.sync();
        let entered = match timeout {
            None => self.submitter.submit_and_wait(1),
            Some(timeout) => {
                let time = Timespec::from(timeout);
                self.submitter.submit_with_args(1, &SubmitArgs::new().timespec(&time))
            }
        };
        self.entries.sync();
        self.results.sync();
        let taken = self.pushed.len().saturating_sub(self.entries.len());
        self.pushed.drain(..taken);
        match entered.map_err(errno) {
            Ok(_) | Err(Errno(libc::EINTR)) => false,
            Err(Errno(libc::ETIME)) => true,
            Err(errno) => {
                self.broken = Some(errno);
                false
            }
        }
    }

    pub(super) fn next(&mut self) -> Option<(u64, i64)> {
        loop {
            let result = self.results.next()?;
            match result.user_data() {
                BELL => self.hears &= cqueue::more(result.flags()),
                number => return Some((number, i64::from(result.result()))),
            }
        }
    }

    pub(super) fn broken(&self) -> Option<Errno> {
        self.broken
    }

    pub(super) fn returned(&mut self) -> Option<u64> {
        self.broken?;
        loop {
            match self.pushed.pop_front()? {
                BELL => {}
                number => return Some(number),
            }
        }
    }
}

/// An instance of io_uring.
struct Instance(ManuallyDrop<IoUring>);

impl Instance {
    fn new(entries: u32) -> Result<Self, Errno> {
        let mut builder = IoUring::builder();
        builder.dontfork().setup_single_issuer().setup_coop_taskrun().setup_submit_all();
        builder.build(entries).map(|ring| Instance(ManuallyDrop::new(ring))).map_err(errno)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // If the application has closed it, its number is nobody's, or another
        // file's: the mappings stay then.
        let fd = self.0.as_raw_fd();
        let name = std::fs::read_link(format!("/proc/self/fd/{fd}"));
        let is_one = match name {
            Ok(name) => name.as_os_str() == "anon_inode:[io_uring]",
            // Without /proc the call itself says what it is asked of.
            Err(_) => {
                // SAFETY: submits nothing, waits for nothing, and has no argument.
                let asked = unsafe { self.0.submitter().enter::<()>(0, 0, 0, None) };
                // Neither a filter (EPERM, ENOSYS) nor another file says these.
                asked.map_err(errno).err().is_none_or(|errno| {
                    [libc::EAGAIN, libc::EBUSY, libc::EINTR, libc::EBADFD].contains(&errno.0)
                })
            }
        };
        if is_one {
            // SAFETY: it is not used again.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        }
    }
}

fn errno(error: io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
}
