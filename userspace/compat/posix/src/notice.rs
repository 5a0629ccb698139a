//! Telling the program that something has ended.

use crate::aiocb::Sigevent;
use std::ffi::c_void;
use std::mem::MaybeUninit;

/// Whom to tell, and what.
#[derive(Clone, Copy, Debug)]
pub enum Notice {
    Signal { signo: i32, value: usize },
    Thread { function: usize, value: usize, attributes: usize },
}

/// What a thread for a notice begins with.
struct Start {
    function: extern "C" fn(usize),
    value: usize,
}

/// `siginfo_t` as the kernel takes it: of a signal with a value.
#[repr(C)]
struct Siginfo {
    signo: i32,
    errno: i32,
    code: i32,
    pad: i32,
    pid: i32,
    uid: u32,
    value: usize,
    rest: [u64; 12],
}

const _: () = assert!(size_of::<Siginfo>() == 128);

const SI_ASYNCIO: i32 = -4;
/// Highest number of a signal.
const SIGNAL_MAX: i32 = 64;

impl Notice {
    /// What a sigevent asks for; nothing for SIGEV_NONE, and what is not known.
    ///
    /// # Errors
    /// EINVAL, positive: a signal that there is not.
    pub fn of(event: &Sigevent) -> Result<Option<Notice>, i32> {
        match event.notify {
            libc::SIGEV_SIGNAL if !(0..=SIGNAL_MAX).contains(&event.signo) => Err(libc::EINVAL),
            libc::SIGEV_SIGNAL => {
                Ok(Some(Notice::Signal { signo: event.signo, value: event.value }))
            }
            libc::SIGEV_THREAD if event.function != 0 => Ok(Some(Notice::Thread {
                function: event.function,
                value: event.value,
                attributes: event.attributes,
            })),
            _ => Ok(None),
        }
    }

    /// Tells. What cannot be told, since there are too many signals or threads, is
    /// lost, as the ABI has it (R-SIGNAL-2).
    pub fn give(self) {
        match self {
            Notice::Signal { signo, value } => queue(signo, value),
            Notice::Thread { function, value, attributes } => {
                // SAFETY: the program says that it is such a function.
                let function = unsafe {
                    std::mem::transmute::<*const c_void, extern "C" fn(usize)>(
                        std::ptr::with_exposed_provenance(function),
                    )
                };
                start(Start { function, value }, attributes);
            }
        }
    }
}

fn queue(signo: i32, value: usize) {
    // SAFETY: takes nothing.
    let pid = unsafe { libc::getpid() };
    // SAFETY: takes nothing.
    let uid = unsafe { libc::getuid() };
    let (errno, code, pad, rest) = (0, SI_ASYNCIO, 0, [0; 12]);
    let info = Siginfo { signo, errno, code, pad, pid, uid, value, rest };
    // SAFETY: the kernel reads the structure.
    unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, pid, signo, &raw const info) };
}

/// Starts a thread with the program's attributes, which is detached unless they
/// say otherwise.
fn start(start: Start, attributes: usize) {
    let start = Box::into_raw(Box::new(start));
    let mut ours = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let theirs = std::ptr::with_exposed_provenance::<libc::pthread_attr_t>(attributes);
    let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
    let created = if theirs.is_null() {
        // SAFETY: fills them in.
        unsafe { libc::pthread_attr_init(ours.as_mut_ptr()) };
        let detached = libc::PTHREAD_CREATE_DETACHED;
        // SAFETY: they are filled in.
        unsafe { libc::pthread_attr_setdetachstate(ours.as_mut_ptr(), detached) };
        // SAFETY: they are filled in; `run` gets what it wants.
        unsafe { libc::pthread_create(thread.as_mut_ptr(), ours.as_ptr(), run, start.cast()) }
    } else {
        // SAFETY: the program says that these are attributes; as above.
        unsafe { libc::pthread_create(thread.as_mut_ptr(), theirs, run, start.cast()) }
    };
    if created != 0 {
        // SAFETY: from `into_raw`, and no thread has it.
        drop(unsafe { Box::from_raw(start) });
    }
}

/// `start` is a boxed [`Start`].
extern "C" fn run(start: *mut c_void) -> *mut c_void {
    // SAFETY: it is, and this thread's only.
    let start = unsafe { Box::from_raw(start.cast::<Start>()) };
    let Start { function, value } = *start;
    // The pump, which may have started this thread, has all signals blocked.
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: fills the set in.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: it is filled in.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    };
    function(value);
    std::ptr::null_mut()
}
