//! Threads of the engine: those of aio2-thread, or the model checker's.
//!
//! SPEC: R-LIFE-3, R-LIFE-6, R-RUN-13.

#[cfg(not(aio2_loom))]
pub(crate) use aio2_thread::{Thread, spawn};
#[cfg(aio2_loom)]
pub(crate) use model::{Thread, spawn};

/// Threads of the model checker.
#[cfg(aio2_loom)]
mod model {
    use loom::thread::{Builder, JoinHandle};
    use std::ffi::CStr;
    use std::io;

    #[derive(Debug)]
    pub(crate) struct Thread(JoinHandle<()>);

    /// Creates a thread.
    ///
    /// # Errors
    /// It has none.
    pub(crate) fn spawn(
        name: &'static CStr,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<Thread> {
        let builder = Builder::new().name(name.to_string_lossy().into_owned());
        builder.spawn(body).map(Thread)
    }

    impl Thread {
        pub(crate) fn join(self) {
            drop(self.0.join());
        }

        /// It never says so.
        pub(crate) fn has_ended(&self) -> bool {
            false
        }
    }
}
