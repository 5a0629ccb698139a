//! A syscall of a request: its number and arguments, ready to be run.
//!
//! The one place where the engine lets the kernel loose on addresses that an
//! application gave. Whether the syscall is allowed is checked before, in
//! [`super`]; how a transfer is tried and continued is in
//! [`super::transfer`].
//!
//! SPEC: section 6.4 (running).
#![allow(unsafe_code)] // runs syscalls whose addresses the submitter vouches for

use libc::c_long;
use std::mem::MaybeUninit;

/// A syscall with the arguments of an accepted request.
///
/// Whoever makes one vouches for its addresses until it is dropped, so that
/// running it is safe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    nr: u32,
    args: [u64; 6],
}

impl Call {
    /// A call of syscall `nr`; nothing is run yet.
    ///
    /// # Safety
    /// Every address in `args` must be valid for what the syscall does with
    /// it, and not be used otherwise, as long as the call or a copy of it can
    /// be run.
    pub(crate) unsafe fn new(nr: u32, args: [u64; 6]) -> Self {
        Call { nr, args }
    }

    /// The syscall number.
    #[inline]
    pub(crate) fn nr(&self) -> c_long {
        self.nr as c_long
    }

    /// The arguments.
    #[inline]
    pub(crate) fn args(&self) -> &[u64; 6] {
        &self.args
    }

    /// Means another descriptor of the same file from now on, which must stay open
    /// as long as it is run.
    pub(crate) fn redirect(&mut self, fd: i32) {
        self.args[0] = fd as u64;
    }

    /// Runs it; the result, or the negative errno.
    #[inline(always)]
    pub(crate) fn run(&self) -> i64 {
        self.run_with(self.args)
    }

    /// Runs it with other arguments, which must be a part of its own: addresses
    /// within the memory that those name, or memory of the engine's.
    #[inline(always)]
    pub(crate) fn run_with(&self, args: [u64; 6]) -> i64 {
        // SAFETY: `new`'s caller vouches for the addresses.
        unsafe { raw(self.nr(), args) }
    }

    /// Runs another syscall on a part of the memory that this one names.
    #[inline(always)]
    pub(crate) fn run_other(&self, nr: c_long, args: [u64; 6]) -> i64 {
        // SAFETY: as in `run_with`; callers are in this room only, and pass
        // addresses of this call or of their own buffers.
        unsafe { raw(nr, args) }
    }

    /// The memory from `address` on, `len` bytes, which this call has just
    /// read or written with success.
    pub(crate) fn bytes(&self, address: u64, len: usize) -> &[u8] {
        if len == 0 {
            return &[];
        }
        // SAFETY: the kernel has read or written these bytes for this call a
        // moment ago; its maker vouches that they stay valid and unused by
        // others until the call is dropped. `len` is a result, so below
        // isize::MAX.
        unsafe {
            std::slice::from_raw_parts(std::ptr::with_exposed_provenance(address as usize), len)
        }
    }

    /// The array of `count` structures at `address`, which the kernel has just
    /// read for this call with success.
    pub(crate) fn structs<T: Plain>(&self, address: u64, count: usize) -> impl Iterator<Item = T> {
        let first = std::ptr::with_exposed_provenance::<T>(address as usize);
        (0..count).map(move |i| {
            // SAFETY: as in `bytes`; any alignment will do, and any bytes are
            // a `T`.
            unsafe { first.wrapping_add(i).read_unaligned() }
        })
    }
}

/// A copy of the structure at `address`, or none if it cannot be read: the kernel
/// copies it, and so finds that out.
pub(crate) fn copy_of<T: Plain>(address: u64) -> Option<T> {
    let mut copy = MaybeUninit::<T>::uninit();
    let to = iovec(&raw mut copy, size_of::<T>());
    let from = iovec(std::ptr::with_exposed_provenance_mut::<T>(address as usize), size_of::<T>());
    // SAFETY: takes nothing.
    let this = unsafe { libc::getpid() };
    // SAFETY: `copy` has room, and what cannot be read is not.
    let copied = unsafe { libc::process_vm_readv(this, &raw const to, 1, &raw const from, 1, 0) };
    // SAFETY: all of it was written, and any bytes are a `T`.
    (copied == size_of::<T>() as isize).then(|| unsafe { copy.assume_init() })
}

fn iovec<T>(base: *mut T, len: usize) -> libc::iovec {
    libc::iovec { iov_base: base.cast(), iov_len: len }
}

/// Structures of the C library for which any bytes are a value.
pub(crate) trait Plain: Copy {}
impl Plain for libc::iovec {}
impl Plain for libc::msghdr {}
impl Plain for libc::statx {}

/// The syscall itself; its result, or the negative errno.
///
/// # Safety
/// The addresses in `args` must be valid for what the syscall does.
#[cfg(target_arch = "x86_64")]
#[inline(always)] // see `run::try_transfer`
unsafe fn raw(nr: c_long, args: [u64; 6]) -> i64 {
    let [a, b, c, d, e, f] = args;
    let result: i64;
    // SAFETY: this is how Linux is called: the kernel changes rax, rcx and r11
    // only, and memory as this function's contract allows.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") nr => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// The syscall itself; its result, or the negative errno.
///
/// # Safety
/// The addresses in `args` must be valid for what the syscall does.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn raw(nr: c_long, args: [u64; 6]) -> i64 {
    // An allowed call has no argument that does not fit into a register.
    let [a, b, c, d, e, f] = args.map(|arg| arg as libc::c_ulong);
    // SAFETY: by this function's contract; surplus arguments are ignored.
    let result = unsafe { libc::syscall(nr, a, b, c, d, e, f) };
    if result == -1 { -i64::from(crate::error::Errno::last().0) } else { i64::from(result) }
}
