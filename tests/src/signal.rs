//! Signals of tests: SIGUSR1, with a handler that does nothing and does not
//! restart what it interrupts.

use crate::file::gettid;
use std::mem::MaybeUninit;

/// The handler is installed as long as this lives.
#[derive(Debug)]
pub struct Handler {
    before: SigAction,
}

struct SigAction(libc::sigaction);

impl std::fmt::Debug for SigAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}", self.0.sa_sigaction)
    }
}

extern "C" fn nothing(_: i32) {}

impl Handler {
    /// Installs it.
    #[must_use]
    pub fn install() -> Self {
        let mut before = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: a sigaction of zeros has the default action and an empty mask.
        let mut action = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
        action.sa_sigaction = nothing as extern "C" fn(i32) as usize;
        // SAFETY: both point to a sigaction; the handler may run at any time.
        let result =
            unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, before.as_mut_ptr()) };
        assert_eq!(result, 0);
        // SAFETY: written by sigaction.
        let before = SigAction(unsafe { before.assume_init() });
        Handler { before }
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        // SAFETY: the action that was in force before.
        unsafe { libc::sigaction(libc::SIGUSR1, &raw const self.before.0, std::ptr::null_mut()) };
    }
}

/// Sends SIGUSR1 to a thread of this process, if it is still there.
pub fn signal_thread(tid: i32) {
    let pid = std::process::id();
    // SAFETY: takes numbers; a handler is installed.
    unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, libc::SIGUSR1) };
}

/// A signal mask of SIGUSR1 alone, or of nothing.
#[must_use]
pub fn mask(with_usr1: bool) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: initialises the set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    if with_usr1 {
        // SAFETY: initialised above.
        unsafe { libc::sigaddset(set.as_mut_ptr(), libc::SIGUSR1) };
    }
    // SAFETY: initialised above.
    unsafe { set.assume_init() }
}

/// Blocks SIGUSR1 in the calling thread, or lets it through.
pub fn block(blocked: bool) {
    let set = mask(true);
    let how = if blocked { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
    // SAFETY: the set is initialised.
    let result = unsafe { libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut()) };
    assert_eq!(result, 0);
}

/// Sends SIGUSR1 to the calling thread.
pub fn signal_self() {
    signal_thread(gettid());
}
