//! Structures of the C library: `struct aiocb`, `struct sigevent`.
//!
//! The members that are the implementation's own are used as the original does
//! where others look at them, and otherwise as this library likes.

use std::ffi::c_void;
use std::mem::offset_of;
use std::ptr::{NonNull, with_exposed_provenance};
use std::sync::atomic::{AtomicI32, AtomicIsize, AtomicU32, Ordering};

/// `aio_lio_opcode`.
pub const LIO_READ: i32 = 0;
pub const LIO_WRITE: i32 = 1;
pub const LIO_NOP: i32 = 2;
/// Modes of lio_listio.
pub const LIO_WAIT: i32 = 0;
pub const LIO_NOWAIT: i32 = 1;
/// Results of aio_cancel.
pub const AIO_CANCELED: i32 = 0;
pub const AIO_NOTCANCELED: i32 = 1;
pub const AIO_ALLDONE: i32 = 2;
/// AIO_PRIO_DELTA_MAX.
pub const PRIORITY_MAX: i32 = 20;

/// `struct sigevent`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Sigevent {
    pub value: usize,
    pub signo: i32,
    pub notify: i32,
    /// With SIGEV_THREAD: what it runs.
    pub function: usize,
    /// With SIGEV_THREAD: its attributes, or null.
    pub attributes: usize,
    pad: [usize; 4],
}

impl Sigevent {
    /// Tells nobody.
    pub const NONE: Sigevent = Sigevent {
        value: 0,
        signo: 0,
        notify: libc::SIGEV_NONE,
        function: 0,
        attributes: 0,
        pad: [0; 4],
    };

    /// The one at `address`, or none if that is null.
    ///
    /// # Safety
    /// Null, or it can be read.
    pub unsafe fn at(address: usize) -> Sigevent {
        if address == 0 {
            return Sigevent::NONE;
        }
        // SAFETY: the caller's; all bytes are a Sigevent.
        unsafe { with_exposed_provenance::<Sigevent>(address).read_unaligned() }
    }

    /// Whether it tells somebody.
    pub fn tells(&self) -> bool {
        matches!(self.notify, libc::SIGEV_SIGNAL | libc::SIGEV_THREAD)
    }
}

/// `struct aiocb`, with 64 bits the same as `struct aiocb64`.
#[derive(Debug)]
#[repr(C)]
pub struct Aiocb {
    pub fildes: i32,
    pub lio_opcode: i32,
    pub reqprio: i32,
    pub buf: *mut c_void,
    pub nbytes: usize,
    pub sigevent: Sigevent,
    next_prio: usize,
    generation: AtomicU32,
    policy: i32,
    error_code: AtomicI32,
    return_value: AtomicIsize,
    pub offset: i64,
    reserved: [u8; 32],
}

const _: () = {
    assert!(size_of::<Sigevent>() == 64);
    assert!(size_of::<Aiocb>() == 168);
    assert!(offset_of!(Aiocb, sigevent) == 32);
    assert!(offset_of!(Aiocb, error_code) == 112);
    assert!(offset_of!(Aiocb, return_value) == 120);
    assert!(offset_of!(Aiocb, offset) == 128);
};

/// What a request is, as the program described it.
#[derive(Clone, Copy, Debug)]
pub struct Described {
    pub fd: i32,
    pub opcode: i32,
    pub priority: i32,
    pub buffer: usize,
    pub bytes: usize,
    pub offset: i64,
    pub sigevent: Sigevent,
}

impl Described {
    /// Nothing.
    pub const NOTHING: Described = Described {
        fd: -1,
        opcode: LIO_NOP,
        priority: 0,
        buffer: 0,
        bytes: 0,
        offset: 0,
        sigevent: Sigevent::NONE,
    };
}

/// A struct aiocb of the program: alive as long as its request is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control(NonNull<Aiocb>);

// SAFETY: what is shared between threads are atomics.
unsafe impl Send for Control {}

impl Control {
    /// The one at `address`.
    ///
    /// # Safety
    /// Null, which is none, or it is one until its request has ended.
    pub unsafe fn at(address: usize) -> Option<Self> {
        NonNull::new(std::ptr::with_exposed_provenance_mut(address)).map(Control)
    }

    /// What it describes.
    pub fn described(self) -> Described {
        let at = self.0.as_ptr();
        macro_rules! field {
            ($name:ident) => {
                // SAFETY: the contract of `at`; the program does not write now.
                unsafe { (&raw const (*at).$name).read() }
            };
        }
        Described {
            fd: field!(fildes),
            opcode: field!(lio_opcode),
            priority: field!(reqprio),
            buffer: field!(buf).expose_provenance(),
            bytes: field!(nbytes),
            offset: field!(offset),
            sigevent: field!(sigevent),
        }
    }

    fn error_code(&self) -> &AtomicI32 {
        // SAFETY: the contract of `at`; it is touched as an atomic only.
        unsafe { &(*self.0.as_ptr()).error_code }
    }

    fn return_value(&self) -> &AtomicIsize {
        // SAFETY: as above.
        unsafe { &(*self.0.as_ptr()).return_value }
    }

    fn generation(&self) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { &(*self.0.as_ptr()).generation }
    }

    /// Marks it as in progress.
    pub fn begin(self) {
        // Relaxed: the program does not look before it was told.
        self.generation().store(aio2_compat::process::generation(), Ordering::Relaxed);
        self.return_value().store(0, Ordering::Relaxed);
        self.error_code().store(libc::EINPROGRESS, Ordering::Relaxed);
    }

    /// Marks it as ended with a result or a negative errno; it is the program's
    /// from here on.
    pub fn end(self, result: i64) {
        let (value, error) = if result < 0 { (-1, -result as i32) } else { (result as isize, 0) };
        self.return_value().store(value, Ordering::Relaxed);
        // Release: who sees it sees the result, and what was read.
        self.error_code().store(error, Ordering::Release);
    }

    /// What aio_error says.
    pub fn error(self) -> i32 {
        // Acquire: pairs with the release in `end`.
        self.error_code().load(Ordering::Acquire)
    }

    /// Whether its request is in flight in this process: what a parent had in
    /// flight at a fork is not.
    pub fn in_progress(self) -> bool {
        self.error() == libc::EINPROGRESS && self.is_of_this_process()
    }

    /// Whether it was this process that began it.
    pub fn is_of_this_process(self) -> bool {
        self.generation().load(Ordering::Relaxed) == aio2_compat::process::generation()
    }
}
