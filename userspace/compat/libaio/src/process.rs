//! The contexts of this process, and its AIO2 context.
//!
//! A child after fork has none of its parent's, as with the original: it begins
//! anew. What it inherited is left alone, since locks may be held there by
//! threads that the child does not have.

use crate::context::Context;
use crate::hub::Hub;
use crate::ring::Ring;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError, RwLock};

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

/// All that this process has.
#[derive(Default)]
pub struct Process {
    contexts: RwLock<Contexts>,
    hub: OnceLock<Arc<Hub>>,
    making: Mutex<()>,
    next_id: AtomicU32,
}

static PROCESS: AtomicPtr<Process> = AtomicPtr::new(std::ptr::null_mut());

extern "C" fn forget() {
    // Release: as in `this`.
    PROCESS.store(std::ptr::null_mut(), Ordering::Release);
}

impl Process {
    /// This process.
    pub fn this() -> &'static Process {
        // Acquire: pairs with the release below.
        let process = PROCESS.load(Ordering::Acquire);
        // SAFETY: null, or leaked below.
        unsafe { process.as_ref() }.unwrap_or_else(Self::begin)
    }

    #[cold]
    fn begin() -> &'static Process {
        static FORKS: Once = Once::new();
        // SAFETY: the handler stores a word.
        FORKS.call_once(|| unsafe {
            libc::pthread_atfork(None, None, Some(forget));
        });
        let new = Box::into_raw(Box::default());
        // AcqRel: who sees the pointer sees what it points to.
        let was = PROCESS.compare_exchange(
            std::ptr::null_mut(),
            new,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        match was {
            // SAFETY: it is leaked.
            Ok(_) => unsafe { &*new },
            Err(other) => {
                // SAFETY: nobody has seen it.
                drop(unsafe { Box::from_raw(new) });
                // SAFETY: leaked by another thread.
                unsafe { &*other }
            }
        }
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

    /// The context of that address.
    ///
    /// # Errors
    /// EINVAL, positive.
    pub fn find(&self, address: usize) -> Result<Arc<Context>, i32> {
        let contexts = self.contexts.read().unwrap_or_else(PoisonError::into_inner);
        contexts.get(&address).cloned().ok_or(libc::EINVAL)
    }

    /// Takes the context of that address out.
    ///
    /// # Errors
    /// EINVAL, positive.
    pub fn remove(&self, address: usize) -> Result<Arc<Context>, i32> {
        let mut contexts = self.contexts.write().unwrap_or_else(PoisonError::into_inner);
        contexts.remove(&address).ok_or(libc::EINVAL)
    }

    /// The AIO2 context of all of them.
    ///
    /// # Errors
    /// EAGAIN, positive, if it cannot be made.
    pub fn hub(&self) -> Result<&Arc<Hub>, i32> {
        if let Some(hub) = self.hub.get() {
            return Ok(hub);
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hub) = self.hub.get() {
            return Ok(hub);
        }
        let hub = Hub::new().map_err(|_| libc::EAGAIN)?;
        Ok(self.hub.get_or_init(|| hub))
    }
}
