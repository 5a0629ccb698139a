//! Whether a thread has ended, however it did.
//!
//! The kernel says so in memory, by the thread's list of robust futexes, once
//! the thread can touch none of the process's memory any more. To ask for the
//! thread by its number is no way: a seccomp filter or a security module can
//! answer what it likes, and the number may be another thread's by now.
//!
//! SPEC: R-RUN-10, R-RUN-11.
#![allow(unsafe_code)] // pthread_mutex_trylock(3)

#[cfg(aio2_loom)]
pub(crate) use model::Life;
#[cfg(not(aio2_loom))]
pub(crate) use robust::Life;

#[cfg(not(aio2_loom))]
mod robust {
    use std::cell::UnsafeCell;
    use std::fmt;
    use std::mem::MaybeUninit;
    use std::sync::OnceLock;

    /// A robust mutex that a thread holds for as long as it lives.
    pub(crate) struct Life {
        mutex: Box<UnsafeCell<libc::pthread_mutex_t>>,
        /// It was found to be over, which is told only once.
        over: OnceLock<()>,
    }

    // SAFETY: a mutex is for all threads; it is only used as one.
    unsafe impl Send for Life {}
    // SAFETY: as above.
    unsafe impl Sync for Life {}

    impl Life {
        /// That of no thread yet.
        pub(crate) fn new() -> Self {
            let mutex = Box::new(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));
            let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
            let attributes = attributes.as_mut_ptr();
            // SAFETY: fills them in.
            unsafe { libc::pthread_mutexattr_init(attributes) };
            // Where there are no robust ones, nobody is ever said to be gone.
            // SAFETY: they are filled in.
            unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) };
            // SAFETY: nobody uses the mutex, and it stays where it is.
            unsafe { libc::pthread_mutex_init(mutex.get(), attributes) };
            // SAFETY: they are filled in.
            unsafe { libc::pthread_mutexattr_destroy(attributes) };
            Life { mutex, over: OnceLock::new() }
        }

        /// The life of this thread begins.
        ///
        /// # Safety
        /// `self` must not be dropped before this thread has called
        /// [`Life::end`], or is no more.
        pub(crate) unsafe fn begin(&self) {
            // SAFETY: the mutex is initialised, and stays by the contract.
            unsafe { libc::pthread_mutex_lock(self.mutex.get()) };
        }

        /// It ends, in the thread in which it has begun.
        pub(crate) fn end(&self) {
            // SAFETY: the mutex is initialised; it is robust, and so checks
            // that this thread holds it.
            unsafe { libc::pthread_mutex_unlock(self.mutex.get()) };
        }

        /// Whether the thread has gone without ending it.
        pub(crate) fn is_over(&self) -> bool {
            if self.over.get().is_some() {
                return true;
            }
            // SAFETY: the mutex is initialised.
            let tried = unsafe { libc::pthread_mutex_trylock(self.mutex.get()) };
            if tried == libc::EOWNERDEAD {
                self.over.get_or_init(|| ());
            }
            if matches!(tried, 0 | libc::EOWNERDEAD) {
                self.end();
            }
            tried == libc::EOWNERDEAD
        }
    }

    impl fmt::Debug for Life {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Life").finish_non_exhaustive()
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::sync::mpsc::channel;

        #[test]
        fn it_is_over_only_if_the_thread_is_gone_without_ending_it() {
            for (ends, over) in [(true, false), (false, true)] {
                let life = Life::new();
                assert!(!life.is_over(), "it has not begun");
                let (begun, wait_for_begin) = channel();
                let (go, wait_to_go) = channel::<()>();
                std::thread::scope(|s| {
                    let life = &life;
                    s.spawn(move || {
                        // SAFETY: it outlives the thread.
                        unsafe { life.begin() };
                        begun.send(()).unwrap();
                        wait_to_go.recv().unwrap();
                        if ends {
                            life.end();
                        }
                    });
                    wait_for_begin.recv().unwrap();
                    assert!(!life.is_over(), "it runs");
                    go.send(()).unwrap();
                });
                // The scope ends a little before the thread does.
                for _ in 0..1000 {
                    if life.is_over() == over {
                        break;
                    }
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                assert_eq!([life.is_over(), life.is_over()], [over; 2]);
            }
        }
    }
}

/// Threads of the model checker end as they should.
#[cfg(aio2_loom)]
mod model {
    #[derive(Debug)]
    pub(crate) struct Life;

    impl Life {
        pub(crate) fn new() -> Self {
            Life
        }

        pub(crate) unsafe fn begin(&self) {}

        pub(crate) fn end(&self) {}

        pub(crate) fn is_over(&self) -> bool {
            false
        }
    }
}
