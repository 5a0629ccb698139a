//! As whom a thread acts on files: its file-system ids and effective capabilities.
//!
//! They belong to a thread, and a new one has those of its maker. So a worker may
//! act as somebody else than the thread that submits: it takes on the submitter's
//! for the time of its operation.
//!
//! SPEC: R-SEC-7.
#![allow(unsafe_code)] // setfsuid(2), capget(2) and their relatives

use libc::{EAGAIN, c_long};

/// As whom a thread acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    uid: u32,
    gid: u32,
    capabilities: u64,
}

/// A set of capabilities, as capget(2) writes it: two halves.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Capabilities {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// What capget(2) is told: the version of halves, and a thread, 0 for this one.
#[repr(C)]
struct Header {
    version: u32,
    thread: i32,
}

const VERSION: u32 = 0x2008_0522;
/// No id: who sets it is told what there is.
const NOBODY: u32 = u32::MAX;

impl Identity {
    /// Of this thread.
    pub(crate) fn of_this_thread() -> Self {
        Identity {
            uid: set_id(libc::SYS_setfsuid, NOBODY),
            gid: set_id(libc::SYS_setfsgid, NOBODY),
            capabilities: effective(&capabilities()),
        }
    }

    /// This thread, which acts as `own`, acts so from now on.
    ///
    /// # Errors
    /// EAGAIN (positive) if it may not; it acts as `own` then.
    pub(crate) fn take_on(self, own: Identity) -> Result<(), i32> {
        if self == own || self.set() {
            return Ok(());
        }
        own.set();
        Err(EAGAIN)
    }

    /// This thread acts so again; whether it may.
    pub(crate) fn set(self) -> bool {
        // The capabilities first, which may allow the rest, and again after it: a
        // change of the ids changes them.
        self.set_capabilities(false);
        set_id(libc::SYS_setfsgid, self.gid);
        set_id(libc::SYS_setfsuid, self.uid);
        self.set_capabilities(true);
        Identity::of_this_thread() == self
    }

    /// Makes these the effective capabilities, or only adds them to those there are.
    fn set_capabilities(self, exactly: bool) {
        let mut all = capabilities();
        let old = if exactly { 0 } else { effective(&all) };
        let new = old | self.capabilities;
        if new == effective(&all) {
            return;
        }
        (all[0].effective, all[1].effective) = (new as u32, (new >> 32) as u32);
        let header = Header { version: VERSION, thread: 0 };
        // SAFETY: both can be read. Whether it was done is looked at afterwards.
        unsafe { libc::syscall(libc::SYS_capset, &raw const header, all.as_ptr()) };
    }
}

/// Sets an id for files, if it may and it is one; the one before.
fn set_id(nr: c_long, id: u32) -> u32 {
    // SAFETY: takes a number.
    unsafe { libc::syscall(nr, id) as u32 }
}

fn capabilities() -> [Capabilities; 2] {
    let mut all = [Capabilities::default(); 2];
    let mut header = Header { version: VERSION, thread: 0 };
    // SAFETY: both can be written.
    unsafe { libc::syscall(libc::SYS_capget, &raw mut header, all.as_mut_ptr()) };
    all
}

fn effective(all: &[Capabilities; 2]) -> u64 {
    u64::from(all[1].effective) << 32 | u64::from(all[0].effective)
}
