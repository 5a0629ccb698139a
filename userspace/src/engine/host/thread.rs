//! Threads of the engine: small stacks, no signals, and a join that survives how
//! they end.
//!
//! SPEC: R-LIFE-3, R-LIFE-6.
#![allow(unsafe_code)] // pthread_sigmask(3), pthread_join(3)

use crate::sync::{Builder, JoinHandle};
use std::mem::MaybeUninit;
#[cfg(not(loom))]
use std::os::unix::thread::JoinHandleExt;

/// Stack of a worker, in bytes: it runs a syscall and little else.
const STACK_BYTES: usize = 256 << 10;
/// Creates a thread of the engine: a small stack, and every signal blocked.
pub(crate) fn spawn(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let builder = Builder::new().name(name.into()).stack_size(STACK_BYTES);
    with_signals_blocked(|| builder.spawn(body))
}

/// Waits for the end of a thread of the engine, however it ends: std's own
/// `join` panics if it was killed.
pub(crate) fn join(thread: JoinHandle<()>) {
    #[cfg(loom)]
    drop(thread.join());
    #[cfg(not(loom))]
    // SAFETY: the thread was not joined or detached, and cannot be any more.
    unsafe {
        // A number or a pointer, as the C library has it.
        libc::pthread_join(thread.into_pthread_t() as libc::pthread_t, std::ptr::null_mut())
    };
}

/// Runs `f` with every signal blocked, so that a thread which it creates has
/// them blocked from its first instruction.
fn with_signals_blocked<T>(f: impl FnOnce() -> T) -> T {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: fills in the set.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: the first set was filled in, the other can be written.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    let result = f();
    // SAFETY: `before` was filled in by the call above, which cannot fail with
    // valid arguments.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    result
}
