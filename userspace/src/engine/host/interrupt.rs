//! The signals that wake a worker from its syscall.
//!
//! A few for the process, of those that have their default action when they are
//! first needed. The first choice is SIGSTKFLT, which nothing sends on Linux: as
//! one that is no real-time signal it is never refused for a full queue of
//! signals. The handler does nothing and is installed without SA_RESTART, so that
//! a syscall which sleeps interruptibly ends. Workers only let the signals
//! through. One whose default action the application has restored gets the
//! handler again. One that the application handles, or sends to the process, is
//! its own from then on: the engine uses the others, and hands on what a worker
//! caught of it.
//!
//! A signal may come before the worker has entered its syscall, and is lost
//! then; it is sent again until the worker is out ([`super::seat`]). It is sent
//! under the context's lock only, and to a worker that has not published its
//! event, so that none comes after [`catch_pending`].
//!
//! SPEC: R-CANCEL-7.
#![allow(unsafe_code)] // sigaction(2), tgkill(2), pthread_sigmask(3), a handler

use super::seat::Seat;
use crate::sync::Ordering;
use crate::sync::process::AtomicU32;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

/// Most signals that are taken.
const MOST: usize = 3;

/// The signals; 0 where there is none.
static SIGNALS: OnceLock<[i32; MOST]> = OnceLock::new();
/// A bit for each of them that is the application's.
static FORSAKEN: AtomicU32 = AtomicU32::new(0);

/// What rt_tgsigqueueinfo(2) is told of who has sent it.
const SENT_BY_ENGINE: usize = 0x0a10_2519;

/// The signals, whoever uses them now.
fn signals() -> [i32; MOST] {
    *SIGNALS.get_or_init(|| {
        let real_time = (libc::SIGRTMIN()..=libc::SIGRTMAX()).rev();
        let mut free = std::iter::once(libc::SIGSTKFLT)
            .chain(real_time)
            .filter(|&signo| handler(signo) == Some(libc::SIG_DFL) && install(signo));
        std::array::from_fn(|_| free.next().unwrap_or(0))
    })
}

/// Those of them that are the engine's, by their places.
fn usable() -> impl Iterator<Item = (usize, i32)> {
    // Relaxed: a signal that is used once too often was free a moment ago.
    let forsaken = FORSAKEN.load(Ordering::Relaxed);
    let all = signals().into_iter().enumerate();
    all.filter(move |&(place, signo)| signo != 0 && forsaken >> place & 1 == 0)
}

fn forsake(place: usize) {
    // Relaxed: as in `usable`.
    FORSAKEN.fetch_or(1 << place, Ordering::Relaxed);
}

/// What a worker lets through.
#[derive(Debug, Default)]
pub(crate) struct Accepted(Option<u32>);

impl Accepted {
    /// Lets the signals through in this thread, which is a worker, that are the
    /// engine's now.
    #[inline]
    pub(crate) fn renew(&mut self) {
        // Relaxed: as in `usable`.
        let forsaken = FORSAKEN.load(Ordering::Relaxed);
        if self.0 != Some(forsaken) {
            self.0 = Some(forsaken);
            accept_here();
        }
    }
}

#[cold]
fn accept_here() {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: fills in the set.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    for (_, signo) in usable() {
        // SAFETY: the set was filled in; the signal's number is valid.
        unsafe { libc::sigdelset(set.as_mut_ptr(), signo) };
    }
    // SAFETY: the set was filled in; the old one is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, set.as_ptr(), ptr::null_mut()) };
}

/// Whether there is a signal that the engine can send.
pub(crate) fn is_possible() -> bool {
    usable().any(|(place, signo)| is_ours(place, signo))
}

/// Sends a signal to a worker; false if none can be now.
pub(crate) fn send(seat: &Seat) -> bool {
    // SAFETY: takes no address.
    let pid = unsafe { libc::getpid() };
    usable().any(|(place, signo)| is_ours(place, signo) && send_one(pid, seat.tid, signo))
}

/// Sends it by one of the calls that can, of which a filter may refuse some.
fn send_one(pid: i32, tid: i32, signo: i32) -> bool {
    // SAFETY: takes no address.
    if unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signo) } == 0 {
        return true;
    }
    // SAFETY: a siginfo_t may be all zeros.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    (info.si_signo, info.si_code) = (signo, libc::SI_QUEUE);
    let value: *mut usize = (&raw mut info).cast::<u8>().wrapping_add(VALUE_OFFSET).cast();
    // SAFETY: it is where sigqueue(3) puts the value, within the structure.
    unsafe { value.write_unaligned(SENT_BY_ENGINE) };
    let at = &raw const info;
    // SAFETY: `info` can be read.
    let sent = unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid, tid, signo, at) } == 0;
    // SAFETY: takes no address.
    sent || unsafe { libc::syscall(libc::SYS_tkill, tid, signo) } == 0
}

/// Offset of si_value in a siginfo_t of a queued signal: behind three ints,
/// aligned as a pointer, and the sender's two.
const VALUE_OFFSET: usize = (12usize.next_multiple_of(align_of::<usize>())) + 8;

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

/// The handler. What the engine has not sent was sent to the process, by or for
/// the application, and is handed on; this thread lets no more of it through.
extern "C" fn caught(signo: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: takes no address.
    let pid = unsafe { libc::getpid() };
    // SAFETY: the kernel hands the handler a siginfo_t.
    let told = unsafe { &*info };
    // SAFETY: of a signal that was sent it holds the sender.
    let sender = unsafe { told.si_pid() };
    // SAFETY: of a signal that was queued it holds a value.
    let value = unsafe { told.si_value() }.sival_ptr.expose_provenance();
    let is_own = match told.si_code {
        libc::SI_TKILL => sender == pid,
        libc::SI_QUEUE => sender == 0 && value == SENT_BY_ENGINE,
        // The kernel had no memory for who has sent it.
        libc::SI_USER => sender == 0,
        _ => false,
    };
    let Some(place) = SIGNALS.get().and_then(|all| all.iter().position(|&own| own == signo)) else {
        return;
    };
    if is_own {
        return;
    }
    forsake(place);
    // SAFETY: this thread's, valid always.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    let context: *mut libc::ucontext_t = context.cast();
    // SAFETY: the kernel hands the handler the context that it returns to.
    let mask = unsafe { &raw mut (*context).uc_sigmask };
    // SAFETY: it is a signal set. The signal is blocked here also until then.
    unsafe { libc::sigaddset(mask, signo) };
    // SAFETY: the siginfo_t can be read.
    let sent = told.si_code < 0
        && unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, pid, signo, info) } == 0;
    if !sent {
        // SAFETY: takes no address.
        unsafe { libc::kill(pid, signo) };
    }
    // SAFETY: as above.
    unsafe { *errno = before };
}

fn own_handler() -> usize {
    caught as extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) as usize
}

fn install(signo: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    let place = action.as_mut_ptr();
    // SAFETY: `place` is a sigaction; all zero is one without flags.
    unsafe { (*place).sa_sigaction = own_handler() };
    // SAFETY: as above.
    unsafe { (*place).sa_flags = libc::SA_SIGINFO };
    // SAFETY: the action is filled in; the handler may run in any thread.
    unsafe { libc::sigaction(signo, place, ptr::null_mut()) == 0 }
}

/// Whether the signal's handler is the engine's, which it becomes again if it
/// was only reset.
fn is_ours(place: usize, signo: i32) -> bool {
    match handler(signo) {
        Some(found) if found == own_handler() => true,
        Some(libc::SIG_DFL | libc::SIG_IGN) => install(signo),
        _ => {
            forsake(place);
            false
        }
    }
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
