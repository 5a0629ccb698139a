//! What a process has of its own, and does not share with a child after fork.
//!
//! A child begins anew. What it inherited is left alone, since locks may be held
//! there by threads that the child does not have.

use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Mutex, Once, OnceLock, PoisonError};

static GENERATION: AtomicU32 = AtomicU32::new(1);

extern "C" fn next_generation() {
    // Relaxed: the child has one thread.
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Counts the forks from the process that began: what has another number is a
/// parent's.
pub fn generation() -> u32 {
    // Relaxed: it changes where there is one thread only.
    GENERATION.load(Ordering::Relaxed)
}

/// A value that each process makes for itself.
#[derive(Debug)]
pub struct PerProcess<T>(AtomicPtr<Of<T>>);

#[derive(Debug)]
struct Of<T> {
    generation: u32,
    value: T,
}

impl<T: Default + Send + Sync + 'static> PerProcess<T> {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        PerProcess(AtomicPtr::new(std::ptr::null_mut()))
    }

    /// This process's value.
    pub fn this(&'static self) -> &'static T {
        // Acquire: pairs with the release below.
        let of = self.0.load(Ordering::Acquire);
        // SAFETY: null, or leaked below.
        match unsafe { of.as_ref() } {
            Some(of) if of.generation == generation() => &of.value,
            _ => self.begin(of),
        }
    }

    #[cold]
    fn begin(&'static self, before: *mut Of<T>) -> &'static T {
        static FORKS: Once = Once::new();
        // SAFETY: the handler adds to a word.
        FORKS.call_once(|| unsafe {
            libc::pthread_atfork(None, None, Some(next_generation));
        });
        let new = Of { generation: generation(), value: T::default() };
        let new = Box::into_raw(Box::new(new));
        // AcqRel: who sees the pointer sees what it points to.
        let was = self.0.compare_exchange(before, new, Ordering::AcqRel, Ordering::Acquire);
        let of = match was {
            // SAFETY: it is leaked.
            Ok(_) => unsafe { &*new },
            Err(other) => {
                // SAFETY: nobody has seen it.
                drop(unsafe { Box::from_raw(new) });
                // SAFETY: leaked by another thread.
                unsafe { &*other }
            }
        };
        &of.value
    }
}

impl<T: Default + Send + Sync + 'static> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// A value that is made when it is first needed, unless that fails.
#[derive(Debug)]
pub struct Made<T> {
    value: OnceLock<T>,
    making: Mutex<()>,
}

impl<T> Default for Made<T> {
    fn default() -> Self {
        Made { value: OnceLock::new(), making: Mutex::default() }
    }
}

impl<T> Made<T> {
    /// The value, if there is one.
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// The value.
    ///
    /// # Errors
    /// That of making it; it is tried again the next time.
    pub fn or_make<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let value = make()?;
        Ok(self.value.get_or_init(|| value))
    }
}
