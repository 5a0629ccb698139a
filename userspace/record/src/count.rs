//! Counters in a file, which all processes that map it add to.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

const BYTES: usize = 4096;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Count {
    /// Contexts that were made.
    Contexts,
    /// Calls that submit.
    Submissions,
    /// Requests that were accepted.
    Requests,
    /// Calls that wait.
    Waits,
    /// Events that were put where the program finds them.
    Events,
}

/// Counters that lie in a file.
#[derive(Debug)]
pub struct Counters(NonNull<AtomicU64>);

// SAFETY: atomics, mapped for ever.
unsafe impl Send for Counters {}
// SAFETY: as above.
unsafe impl Sync for Counters {}

impl Counters {
    /// Those of the file that the environment names, if it names one.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        Counters::open(&crate::environment(crate::COUNT)?).ok()
    }

    /// Those of the file at `path`, which is made if it is not there. They stay
    /// mapped until the process ends.
    ///
    /// # Errors
    /// Those of open(2), ftruncate(2) and mmap(2).
    pub fn open(path: &Path) -> io::Result<Self> {
        let file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        if file.metadata()?.len() < BYTES as u64 {
            file.set_len(BYTES as u64)?;
        }
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, wherever there is room.
        let at = unsafe {
            libc::mmap(ptr::null_mut(), BYTES, access, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        match NonNull::new(at.cast()) {
            Some(at) if at.cast::<libc::c_void>().as_ptr() != libc::MAP_FAILED => Ok(Counters(at)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn counter(&self, what: Count) -> &AtomicU64 {
        let counter = self.0.as_ptr().wrapping_add(what as usize);
        // SAFETY: within the mapping, which stays; aligned.
        unsafe { &*counter }
    }

    /// Adds to a counter.
    pub fn add(&self, what: Count, n: u64) {
        // Relaxed: numbers, by which nothing else is known.
        self.counter(what).fetch_add(n, Ordering::Relaxed);
    }

    /// A counter.
    #[must_use]
    pub fn get(&self, what: Count) -> u64 {
        // Relaxed: as in `add`.
        self.counter(what).load(Ordering::Relaxed)
    }
}
