//! The signal that wakes a worker from its syscall.
//!
//! One for the process: the last real-time signal that has its default action
//! when it is first needed. Its handler does nothing and is installed without
//! SA_RESTART, so that a syscall which sleeps interruptibly ends. Workers only
//! let it through; other threads are never sent it. A handler that the
//! application installs over it later is left alone: nothing is interrupted
//! then, and each cancel of what runs is too late.
//!
//! A signal may come before the worker has entered its syscall, and is lost
//! then; `threads::timer` sends it again until the worker is out. It is sent
//! under the context's lock only, and to a worker that has not published its
//! event, so that none comes after [`catch_pending`].
//!
//! SPEC: R-CANCEL-7.
#![allow(unsafe_code)] // sigaction(2), tgkill(2), pthread_sigmask(3)

use super::seat::Seat;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

static SIGNAL: OnceLock<Option<i32>> = OnceLock::new();

extern "C" fn nothing(_: libc::c_int) {}

/// The signal; none if the application uses all of them.
pub(crate) fn signal() -> Option<i32> {
    *SIGNAL.get_or_init(|| {
        (libc::SIGRTMIN()..=libc::SIGRTMAX())
            .rev()
            .find(|&signo| handler(signo) == Some(libc::SIG_DFL) && install(signo))
    })
}

/// Lets the signal through in this thread, which is a worker.
pub(crate) fn accept_here() {
    let Some(signo) = signal() else { return };
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: fills in the set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was filled in; the signal's number is valid.
    unsafe { libc::sigaddset(set.as_mut_ptr(), signo) };
    // SAFETY: the set was filled in; the old one is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut()) };
}

/// Whether there is a signal, and its handler still the engine's.
pub(crate) fn is_possible() -> bool {
    signal().is_some_and(is_ours)
}

/// Sends the signal to a worker; false if it cannot be.
pub(crate) fn send(seat: &Seat) -> bool {
    let Some(signo) = signal().filter(|&signo| is_ours(signo)) else { return false };
    // SAFETY: takes no address.
    let pid = unsafe { libc::getpid() };
    // SAFETY: takes no address.
    unsafe { libc::syscall(libc::SYS_tgkill, pid, seat.tid, signo) == 0 }
}

/// Catches a signal that was sent to this thread before, and not caught yet.
pub(crate) fn catch_pending() {
    // On its way back from any syscall the kernel delivers what is pending.
    // SAFETY: takes no address.
    unsafe { libc::syscall(libc::SYS_getpid) };
}

/// This thread, as the kernel names it.
pub(crate) fn tid() -> i32 {
    // SAFETY: takes no address.
    unsafe { libc::gettid() }
}

fn install(signo: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    let place = action.as_mut_ptr();
    // SAFETY: `place` is a sigaction; all zero is one without flags.
    unsafe { (*place).sa_sigaction = nothing as *const () as usize };
    // SAFETY: the action is filled in; the handler does nothing, in any thread.
    unsafe { libc::sigaction(signo, place, ptr::null_mut()) == 0 }
}

fn is_ours(signo: i32) -> bool {
    handler(signo) == Some(nothing as *const () as usize)
}

/// What handles the signal now.
fn handler(signo: i32) -> Option<usize> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: `action` can be written; nothing is installed.
    let result = unsafe { libc::sigaction(signo, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: zeroed, and filled in if the call has succeeded.
    let action = unsafe { action.assume_init() };
    (result == 0).then_some(action.sa_sigaction)
}
