//! The contexts of this process, and its AIO2 context.
//!
//! A child after fork has none of its parent's, as with the original: it begins
//! anew. What it inherited is left alone, since locks may be held there by
//! threads that the child does not have.

use crate::client::{Hub, Libaio};
use crate::context::Context;
use crate::ring::Ring;
use aio2_compat::process::{Made, PerProcess};
use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Of the address of a page, which few bits tell from others.
#[derive(Default)]
struct PageHasher(u64);

impl Hasher for PageHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_usize(usize::from(*byte) << 12));
    }

    fn write_usize(&mut self, address: usize) {
        // Fibonacci hashing: the golden ratio of 2^64.
        self.0 = (self.0 ^ (address as u64 >> 12)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

type Contexts = HashMap<usize, Arc<Context>, BuildHasherDefault<PageHasher>>;

/// The context that a thread has used last.
struct Last {
    process: &'static Process,
    context: Arc<Context>,
}

thread_local! {
    static LAST: Cell<Option<Last>> = const { Cell::new(None) };
}

/// A context that was found: the next call of this thread finds it again
/// without a lock. A signal handler that comes between takes the longer way.
pub struct Found(Option<Last>);

impl Deref for Found {
    type Target = Arc<Context>;

    fn deref(&self) -> &Arc<Context> {
        match &self.0 {
            Some(last) => &last.context,
            None => unreachable!("it is taken when this is dropped"),
        }
    }
}

impl Drop for Found {
    fn drop(&mut self) {
        let last = self.0.take().filter(|last| !last.context.is_dead());
        // Where the thread is at its end, nothing is kept.
        let before = LAST.try_with(|kept| kept.replace(last));
        drop(before);
    }
}

/// All that this process has.
#[derive(Default)]
pub struct Process {
    contexts: RwLock<Contexts>,
    hub: Made<Arc<Hub>>,
    next_id: AtomicU32,
}

impl Process {
    /// This process.
    pub fn this() -> &'static Process {
        static THIS: PerProcess<Process> = PerProcess::new();
        THIS.this()
    }

    /// Makes a context; its address.
    ///
    /// # Errors
    /// An errno, positive.
    pub fn add(&self, max: u32) -> Result<usize, i32> {
        self.hub()?;
        // SAFETY: takes no address.
        let processors = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) }.max(1) as u32;
        // Relaxed: a number.
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let context = Context::new(Ring::new(max, id, processors)?);
        let address = context.address();
        let mut contexts = self.contexts.write().unwrap_or_else(PoisonError::into_inner);
        contexts.insert(address, context);
        Ok(address)
    }

    /// The context of that address, for this thread's call.
    ///
    /// # Errors
    /// EINVAL, positive.
    pub fn find(&'static self, address: usize) -> Result<Found, i32> {
        let last = LAST.try_with(Cell::take).ok().flatten();
        if let Some(last) = last
            && last.context.address() == address
            && std::ptr::eq(last.process, self)
            && !last.context.is_dead()
        {
            return Ok(Found(Some(last)));
        }
        let contexts = self.contexts.read().unwrap_or_else(PoisonError::into_inner);
        let context = contexts.get(&address).cloned().ok_or(libc::EINVAL)?;
        Ok(Found(Some(Last { process: self, context })))
    }

    /// Takes the context of that address out.
    ///
    /// # Errors
    /// EINVAL, positive.
    pub fn remove(&self, address: usize) -> Result<Arc<Context>, i32> {
        // Its memory does not stay for it.
        drop(LAST.try_with(Cell::take));
        let mut contexts = self.contexts.write().unwrap_or_else(PoisonError::into_inner);
        contexts.remove(&address).ok_or(libc::EINVAL)
    }

    /// The AIO2 context of all of them.
    ///
    /// # Errors
    /// EAGAIN, positive, if it cannot be made.
    pub fn hub(&self) -> Result<&Arc<Hub>, i32> {
        self.hub.or_make(|| Hub::new(Libaio)).map_err(|_| libc::EAGAIN)
    }
}
