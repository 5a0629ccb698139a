//! Facilities of the host that take transfers for a device without a thread for
//! each: transfers at an offset go in, results come out.
//!
//! | room | duty |
//! |---|---|
//! | `uring` | io_uring(7) |
//! | `aio` | Linux AIO, io_submit(2) |
//! | `bell` | wakes the thread of a ring |
//!
//! The thread that makes a ring is the only one that uses it. What goes past the page
//! cache goes to no workers of the kernel: RWF_NOWAIT has it say EAGAIN. For a page
//! that is not in the cache the kernel waits without one, where it can: few are allowed.
//!
//! SPEC: R-RUN-14, R-RUN-15.
#![allow(unsafe_code)] // addresses of the application; a descriptor in a child

mod aio;
mod bell;
#[cfg_attr(
    not(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64",
        target_arch = "loongarch64",
        target_arch = "powerpc64"
    )),
    path = "uring_none.rs"
)]
mod uring;

use crate::engine::request::transfer::AtOffset;
use crate::error::Errno;
pub(crate) use bell::Bell;
use std::sync::OnceLock;
use std::time::Duration;

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Facility {
    /// io_uring(7).
    IoUring,
    /// Linux AIO.
    LinuxAio,
}

/// What a ring is known by to others than its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// The descriptor of an io_uring.
    Descriptor(i32),
    /// The context of Linux AIO.
    Context(u64),
}

impl Name {
    /// Closes the ring in a child after fork, whose owner there is leaked.
    pub(crate) fn close_in_child(self) {
        match self {
            Name::Descriptor(fd) => {
                // SAFETY: takes no address; the owner is never dropped in the child.
                unsafe { libc::close(fd) };
            }
            // A child has none.
            Name::Context(_) => {}
        }
    }

    /// Waits until nothing is with the device any more of a ring whose thread is no
    /// more; false if that cannot be had. What a device of this machine has ends.
    pub(crate) fn has_ended(self) -> bool {
        match self {
            // It has waited for that as it went.
            Name::Descriptor(_) => true,
            Name::Context(context) => aio::destroy(context),
        }
    }
}

/// Whether this process may use `facility`, as of the first time it was asked.
///
/// # Errors
/// The errno that says why not.
pub(crate) fn probe(facility: Facility) -> Result<(), Errno> {
    static FOUND: [OnceLock<Result<(), Errno>>; 2] = [const { OnceLock::new() }; 2];
    match facility {
        Facility::IoUring => *FOUND[0].get_or_init(uring::probe),
        // Its calls are made here with words of 64 bits.
        Facility::LinuxAio if cfg!(not(target_pointer_width = "64")) => Err(Errno(libc::ENOSYS)),
        Facility::LinuxAio => *FOUND[1].get_or_init(aio::probe),
    }
}

/// A ring, with all that its thread needs.
pub(crate) enum Ring<'r> {
    IoUring(uring::Ring<'r>),
    LinuxAio(aio::Ring<'r>),
}

/// Makes a ring for `transfers` at once, for this thread and for as long as
/// `body` runs, which is told its name, too.
///
/// # Errors
/// Those of io_uring_setup(2) and io_uring_register(2), or of io_setup(2).
pub(crate) fn with_ring<T>(
    facility: Facility,
    transfers: usize,
    bell: &Bell,
    body: impl FnOnce(&mut Ring<'_>, Name) -> T,
) -> Result<T, Errno> {
    match facility {
        Facility::IoUring => uring::with_ring(transfers, bell, |ring, fd| {
            body(&mut Ring::IoUring(ring), Name::Descriptor(fd))
        }),
        Facility::LinuxAio => {
            let ring = aio::Ring::new(transfers, bell)?;
            let name = Name::Context(ring.context());
            Ok(body(&mut Ring::LinuxAio(ring), name))
        }
    }
}

impl Ring<'_> {
    /// Adds a transfer, whose result will have this number; false if there is no
    /// room.
    ///
    /// # Safety
    /// The call that it is a part of must be kept until the result has come, or
    /// [`Ring::returned`] has given the number back.
    pub(crate) unsafe fn push(&mut self, transfer: &AtOffset, number: u64) -> bool {
        match self {
            // SAFETY: by this function's contract.
            Ring::IoUring(ring) => unsafe { ring.push(transfer, number) },
            // SAFETY: as above.
            Ring::LinuxAio(ring) => unsafe { ring.push(transfer, number) },
        }
    }

    /// Has the kernel take what was pushed, and waits for a result or the bell, at
    /// most for `timeout`; whether that has passed.
    pub(crate) fn enter(&mut self, timeout: Option<Duration>) -> bool {
        match self {
            Ring::IoUring(ring) => ring.enter(timeout),
            Ring::LinuxAio(ring) => ring.enter(timeout),
        }
    }

    /// The next result: the number, and the bytes or the negative errno.
    pub(crate) fn next(&mut self) -> Option<(u64, i64)> {
        match self {
            Ring::IoUring(ring) => ring.next(),
            Ring::LinuxAio(ring) => ring.next(),
        }
    }

    /// Why the kernel takes nothing any more. What it has taken still comes.
    pub(crate) fn broken(&self) -> Option<Errno> {
        match self {
            Ring::IoUring(ring) => ring.broken(),
            Ring::LinuxAio(ring) => ring.broken(),
        }
    }

    /// What the kernel has not taken, and never will.
    pub(crate) fn returned(&mut self) -> Option<u64> {
        match self {
            Ring::IoUring(ring) => ring.returned(),
            Ring::LinuxAio(ring) => ring.returned(),
        }
    }
}
