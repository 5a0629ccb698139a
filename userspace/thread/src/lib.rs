//! Threads that a library may start in any program: small stacks, no signals, and
//! an end that can be waited for however they end.
//!
//! std's own start of a thread maps a stack for signals in the new thread, and
//! aborts the process if it cannot; its join panics if the thread was killed.

use std::ffi::{CStr, c_void};
use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;

/// Creates a thread: a small stack, and every signal blocked. It goes on when
/// what is returned is dropped.
///
/// # Errors
/// As pthread_create(3).
pub fn spawn(name: &'static CStr, body: impl FnOnce() + Send + 'static) -> io::Result<Thread> {
    with_signals_blocked(|| Thread::new(name, Box::new(body)))
}

/// Stack of a worker, in bytes: it runs a syscall and little else.
const STACK_BYTES: usize = 256 << 10;

/// A thread that was created; it goes on without this.
#[derive(Debug)]
pub struct Thread {
    pthread: libc::pthread_t,
    /// The thread has the other count, until its body has returned.
    alive: Arc<()>,
}

// SAFETY: what names a thread does so in all threads.
unsafe impl Send for Thread {}
// SAFETY: as above; what is called by a shared reference looks at `alive`.
unsafe impl Sync for Thread {}

/// What a thread begins with.
struct Start {
    name: &'static CStr,
    body: Box<dyn FnOnce() + Send>,
    alive: Arc<()>,
}

impl Thread {
    fn new(name: &'static CStr, body: Box<dyn FnOnce() + Send>) -> io::Result<Self> {
        let alive = Arc::new(());
        let start = Box::into_raw(Box::new(Start { name, body, alive: alive.clone() }));
        // SAFETY: `start` is such a box, which nobody else has.
        let mut created = unsafe { create(start, Some(STACK_BYTES)) };
        // What the program's thread-local variables need is a part of it.
        if created == Err(libc::EINVAL) {
            // SAFETY: as above; no thread has come of it.
            created = unsafe { create(start, None) };
        }
        match created {
            Ok(pthread) => Ok(Thread { pthread, alive }),
            Err(errno) => {
                // SAFETY: it is from `into_raw`, and no thread has it.
                drop(unsafe { Box::from_raw(start) });
                Err(io::Error::from_raw_os_error(errno))
            }
        }
    }

    /// Waits for its end, however it ends.
    pub fn join(self) {
        let thread = ManuallyDrop::new(self);
        // SAFETY: it was not joined or detached, and cannot be any more.
        unsafe { libc::pthread_join(thread.pthread, ptr::null_mut()) };
        // SAFETY: it is not used or dropped again.
        drop(unsafe { ptr::read(&raw const thread.alive) });
    }

    /// Whether its body has returned.
    pub fn has_ended(&self) -> bool {
        Arc::strong_count(&self.alive) == 1
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // SAFETY: it was not joined or detached, and cannot be any more.
        unsafe { libc::pthread_detach(self.pthread) };
    }
}

/// Creates a thread that runs `start`, with a stack of so many bytes or of
/// the system's size.
///
/// # Errors
/// The errno of pthread_create(3); nothing has become of `start` then.
///
/// # Safety
/// `start` must be from [`Box::into_raw`], and is the thread's if there is one.
unsafe fn create(start: *mut Start, stack: Option<usize>) -> Result<libc::pthread_t, i32> {
    let told = |errno| if errno == 0 { Ok(()) } else { Err(errno) };
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: fills them in.
    told(unsafe { libc::pthread_attr_init(attributes) })?;
    if let Some(bytes) = stack {
        // Where it is refused, the stack has the system's size.
        // SAFETY: they are filled in.
        unsafe { libc::pthread_attr_setstacksize(attributes, bytes) };
    }
    let mut pthread = MaybeUninit::uninit();
    let to = pthread.as_mut_ptr();
    // SAFETY: `to` can be written, the attributes are filled in, and `run`
    // gets what its contract wants.
    let created = unsafe { libc::pthread_create(to, attributes, run, start.cast()) };
    // SAFETY: they are filled in, and are not used again.
    unsafe { libc::pthread_attr_destroy(attributes) };
    told(created)?;
    // SAFETY: pthread_create has succeeded, and so filled it in.
    Ok(unsafe { pthread.assume_init() })
}

/// What a thread runs; `start` is of [`create`].
extern "C" fn run(start: *mut c_void) -> *mut c_void {
    // SAFETY: by the contract of `create` it is such a box, and this
    // thread's only.
    let start = unsafe { Box::from_raw(start.cast::<Start>()) };
    let Start { name, body, alive } = *start;
    // SAFETY: it is a C string.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    // The panic's hook has told of it, and nobody asks for more; what it was
    // thrown with may panic when it is dropped.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(body)) {
        std::mem::forget(payload);
    }
    drop(alive);
    ptr::null_mut()
}

/// Runs `f` with every signal blocked, so that a thread which it creates has
/// them blocked from its first instruction.
pub fn with_signals_blocked<T>(f: impl FnOnce() -> T) -> T {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: fills in the set.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: the first set was filled in, the other can be written.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    let result = f();
    // SAFETY: `before` was filled in by the call above, which cannot fail with
    // valid arguments.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    result
}

#[cfg(test)]
mod tests {
    use super::spawn;
    use std::sync::mpsc::channel;

    #[test]
    fn a_thread_has_its_name_and_no_signals_and_ends_once() {
        let (tell, told) = channel();
        let (go, wait_to_go) = channel::<()>();
        let thread = spawn(c"aio2-test", move || {
            let of = |name| std::fs::read_to_string(format!("/proc/thread-self/{name}")).unwrap();
            tell.send((of("comm"), of("status"))).unwrap();
            wait_to_go.recv().unwrap();
        })
        .unwrap();
        let (name, status) = told.recv().unwrap();
        assert_eq!(name, "aio2-test\n");
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).unwrap();
        // All but SIGKILL, SIGSTOP and those that the C library keeps.
        let blocked = u64::from_str_radix(blocked, 16).unwrap();
        assert_eq!(!blocked & !(1 << 8 | 1 << 18 | 7 << 31), 0, "{blocked:x}");
        assert!(!thread.has_ended());
        go.send(()).unwrap();
        thread.join();
    }

    #[test]
    fn a_thread_that_panics_ends() {
        let counted = std::sync::Arc::new(());
        let of_thread = counted.clone();
        let thread = spawn(c"aio2-test", move || {
            let _of_thread = of_thread;
            panic!("of the test");
        });
        thread.unwrap().join();
        assert_eq!(std::sync::Arc::strong_count(&counted), 1);
    }
}
