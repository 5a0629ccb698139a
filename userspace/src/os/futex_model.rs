//! In place of futex(2), for the model checker: what the kernel does, as far as
//! one thread sleeps and one wakes it.

use crate::error::Errno;
use crate::sync::{AtomicU32, Condvar, Mutex, Ordering};

/// The word.
#[derive(Debug)]
pub(crate) struct Futex {
    word: AtomicU32,
    /// Held while the word is compared.
    bucket: Mutex<()>,
    sleeper: Condvar,
}

impl Futex {
    pub(crate) fn new(value: u32) -> Self {
        Futex { word: AtomicU32::new(value), bucket: Mutex::new(()), sleeper: Condvar::new() }
    }

    pub(crate) fn load(&self, ordering: Ordering) -> u32 {
        self.word.load(ordering)
    }

    pub(crate) fn store(&self, value: u32, ordering: Ordering) {
        self.word.store(value, ordering);
    }

    pub(crate) fn wake(&self) {
        let bucket = self.bucket.lock();
        self.sleeper.notify_one();
        drop(bucket);
    }

    /// Time does not pass.
    pub(crate) fn wait(&self, expected: u32, _deadline: Option<u64>) -> Result<(), Errno> {
        let bucket = self.bucket.lock().map_err(|_| Errno(libc::EIO))?;
        if self.word.load(Ordering::Relaxed) != expected {
            return Err(Errno(libc::EAGAIN));
        }
        drop(self.sleeper.wait(bucket));
        Ok(())
    }
}
