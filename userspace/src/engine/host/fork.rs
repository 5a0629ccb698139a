//! Knowing a child after fork: the context is its parent's.
//!
//! SPEC: section 11 (R-LIFE-4).
#![allow(unsafe_code)] // pthread_atfork(3)

use crate::error::Errno;
use crate::sync::Ordering;
use crate::sync::process::AtomicU32;
use std::sync::OnceLock;

/// How many forks lie between the first process and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);
/// Whether the handler is in place, and why not.
static HANDLER: OnceLock<Result<(), Errno>> = OnceLock::new();

/// The process in which something was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(u32);

impl Process {
    /// This one.
    ///
    /// # Errors
    /// ENOMEM if forks cannot be seen.
    pub(crate) fn this() -> Result<Self, Errno> {
        (*HANDLER.get_or_init(|| {
            // SAFETY: the handler only changes an atomic, which a child may do.
            match unsafe { libc::pthread_atfork(None, None, Some(count_fork)) } {
                0 => Ok(()),
                errno => Err(Errno(errno)),
            }
        }))?;
        // Relaxed: it changes in a child only, before any thread can look.
        Ok(Process(FORKS.load(Ordering::Relaxed)))
    }

    /// Whether this is still that process.
    #[inline]
    pub(crate) fn is_this(self) -> bool {
        // Relaxed: as in `this`.
        FORKS.load(Ordering::Relaxed) == self.0
    }
}

extern "C" fn count_fork() {
    // Relaxed: the child has one thread.
    FORKS.fetch_add(1, Ordering::Relaxed);
}
