//! Ends the program, with a word, if a test hangs: a guest that waits for it
//! has nobody to press a key.
//!
//! No thread, since some tests count those: an alarm(2).

use crate::context::slowness;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Seconds that a test may take, on a system that is not slow.
const LIMIT: u32 = 300;

static NAME: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static NAME_LEN: AtomicUsize = AtomicUsize::new(0);

/// Watches over a test as long as it lives.
#[derive(Debug)]
pub struct Watchdog(());

impl Watchdog {
    /// Watches over the test of this name, for [`LIMIT`] seconds, as many times
    /// as the system is slow, and those that `AIO2_STRESS_SECONDS` asks for.
    #[must_use]
    pub fn over(name: &'static str) -> Self {
        let more = std::env::var("AIO2_STRESS_SECONDS").ok().and_then(|s| s.parse().ok());
        NAME_LEN.store(0, Ordering::SeqCst);
        NAME.store(name.as_ptr().cast_mut(), Ordering::SeqCst);
        NAME_LEN.store(name.len(), Ordering::SeqCst);
        // SAFETY: the handler keeps to what a signal handler may do.
        unsafe { libc::signal(libc::SIGALRM, bark as *const () as libc::sighandler_t) };
        // SAFETY: takes a number.
        unsafe { libc::alarm(LIMIT * slowness() + more.unwrap_or(0)) };
        Watchdog(())
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // SAFETY: takes a number; 0 is none.
        unsafe { libc::alarm(0) };
    }
}

extern "C" fn bark(_: i32) {
    let name = NAME.load(Ordering::SeqCst);
    let len = NAME_LEN.load(Ordering::SeqCst);
    for (bytes, len) in [
        (c"FAIL ".as_ptr().cast(), 5),
        (name.cast_const().cast(), len),
        (c": hangs\n".as_ptr().cast(), 8),
    ] {
        // SAFETY: each has so many bytes, for ever; write(2) may be called here.
        unsafe { libc::write(1, bytes, len) };
    }
    // SAFETY: may be called here, and ends the program.
    unsafe { libc::_exit(1) }
}
