//! Whether addresses that a program gave can be read or written.
//!
//! The original's kernel says EFAULT where a library would die. The kernel is
//! asked by a copy within the process, once for each page: the pages that were
//! good are remembered. A page that is unmapped later is not noticed.

use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};

const PAGE: usize = 4096;
/// Where user space ends on x86-64 and arm64 with 48 bits.
const END: usize = 1 << 47;
const REMEMBERED: usize = 256;

static READABLE: [AtomicUsize; REMEMBERED] = [const { AtomicUsize::new(0) }; REMEMBERED];
static WRITABLE: [AtomicUsize; REMEMBERED] = [const { AtomicUsize::new(0) }; REMEMBERED];

/// Whether a range can be an address of a program at all.
pub fn is_ours(at: usize, bytes: usize) -> bool {
    at.checked_add(bytes).is_some_and(|end| end <= END)
}

#[inline]
pub fn readable(at: usize, bytes: usize) -> bool {
    is_known(at, bytes, &READABLE) || each_page(at, bytes, &READABLE, read_byte)
}

#[inline]
pub fn writable(at: usize, bytes: usize) -> bool {
    is_known(at, bytes, &WRITABLE) || each_page(at, bytes, &WRITABLE, write_byte)
}

/// Whether a range lies in one page, which was good.
#[inline]
fn is_known(at: usize, bytes: usize, good: &[AtomicUsize; REMEMBERED]) -> bool {
    let page = at / PAGE;
    // Relaxed: as below.
    page != 0
        && at % PAGE + bytes <= PAGE
        && good[page % REMEMBERED].load(Ordering::Relaxed) == page
}

#[cold]
fn each_page(
    at: usize,
    bytes: usize,
    good: &[AtomicUsize; REMEMBERED],
    ask: impl Fn(usize) -> bool,
) -> bool {
    if at < PAGE || !is_ours(at, bytes) {
        return bytes == 0;
    }
    let last = at + bytes.max(1) - 1;
    (at / PAGE..=last / PAGE).all(|page| {
        let known = &good[page % REMEMBERED];
        // Relaxed: nothing but the number itself is told by it.
        if known.load(Ordering::Relaxed) == page {
            return true;
        }
        let is_good = ask(at.max(page * PAGE));
        if is_good {
            known.store(page, Ordering::Relaxed);
        }
        is_good
    })
}

/// Copies a byte from `from` to `to`, by the kernel; false if that is EFAULT.
fn copy(from: usize, to: usize, call: libc::c_long) -> bool {
    let iov = |at: usize| libc::iovec { iov_base: at as *mut c_void, iov_len: 1 };
    let (local, remote) = if call == libc::SYS_process_vm_readv { (to, from) } else { (from, to) };
    let (local, remote) = (iov(local), iov(remote));
    // SAFETY: takes no address.
    let pid = unsafe { libc::getpid() };
    // SAFETY: the kernel checks both addresses; what is written is what the
    // caller may write, or what stood there.
    let copied = unsafe {
        libc::syscall(call, pid, &raw const local, 1_usize, &raw const remote, 1_usize, 0_usize)
    };
    // A filter may forbid the call: then there is no way to tell.
    copied == 1 || std::io::Error::last_os_error().raw_os_error() != Some(libc::EFAULT)
}

fn read_byte(at: usize) -> bool {
    let mut byte = 0_u8;
    copy(at, (&raw mut byte).expose_provenance(), libc::SYS_process_vm_readv)
}

fn write_byte(at: usize) -> bool {
    let mut byte = 0_u8;
    let here = (&raw mut byte).expose_provenance();
    copy(at, here, libc::SYS_process_vm_readv) && copy(here, at, libc::SYS_process_vm_writev)
}
