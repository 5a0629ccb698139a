//! Knowing a child process, however it was made.
//!
//! A word in a page that the kernel clears in every child that gets a copy of
//! the memory (MADV_WIPEONFORK): by fork(3), by `_Fork`, or by a clone(2) that
//! no library sees. A child that shares the memory, as one of vfork(2) does, has
//! the word too, and another number; asking for that is a syscall.
//!
//! SPEC: section 11 (R-LIFE-4).
#![allow(unsafe_code)] // mmap(2), madvise(2), pthread_atfork(3)

use crate::error::Errno;
use crate::sync::Ordering;
use crate::sync::process::{AtomicPtr, AtomicU32};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use std::ptr;

/// The page, once there is one.
static PAGE: AtomicPtr<Page> = AtomicPtr::new(ptr::null_mut());
/// The last number that stood in the word, here or in a parent.
static LAST: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
#[repr(C)]
struct Page {
    /// What tells this process from its parents; 0 in a child that has not
    /// asked yet.
    word: AtomicU32,
    /// The kernel does not clear it, which is a number other than 0.
    is_kept: AtomicU32,
}

/// The process in which something was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    page: &'static Page,
    word: u32,
    pid: i32,
}

impl Process {
    /// This one.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn this() -> Result<Self, Errno> {
        let page = page()?;
        // Relaxed, all: the word changes in a child only, before it has a second
        // thread, or from 0, by whoever is first.
        let mut word = page.word.load(Ordering::Relaxed);
        if word == 0 {
            let next = LAST.fetch_add(1, Ordering::Relaxed) + 1;
            let (new, old) = (Ordering::Relaxed, Ordering::Relaxed);
            word = page.word.compare_exchange(0, next, new, old).map_or_else(|now| now, |_| next);
        }
        Ok(Process { page, word, pid: pid() })
    }

    /// Whether this is still that process, or one that shares its memory.
    #[inline]
    pub(crate) fn is_this(self) -> bool {
        // Relaxed: as in `this`.
        self.page.word.load(Ordering::Relaxed) == self.word
            && (self.page.is_kept.load(Ordering::Relaxed) == 0 || self.has_pid())
    }

    /// Whether its process shares the memory of that one, but is another.
    pub(crate) fn only_shares_memory(self) -> bool {
        self.is_this() && !self.has_pid()
    }

    fn has_pid(self) -> bool {
        pid() == self.pid
    }
}

/// The number of this process, by the real call: a C library may know an old one.
fn pid() -> i32 {
    // SAFETY: takes no address.
    unsafe { libc::syscall(libc::SYS_getpid) as i32 }
}

/// The page; made by the first who asks.
fn page() -> Result<&'static Page, Errno> {
    // Acquire: its contents. Pairs with the release of who made it.
    let page = PAGE.load(Ordering::Acquire);
    // SAFETY: null, or a page that stays mapped and is only used atomically.
    if let Some(page) = unsafe { page.as_ref() } {
        return Ok(page);
    }
    let made = map()?;
    let (new, old) = (Ordering::Release, Ordering::Acquire);
    let page = match PAGE.compare_exchange(ptr::null_mut(), made, new, old) {
        Ok(_) => made,
        Err(first) => {
            // SAFETY: nobody else knows of it.
            let _ = unsafe { munmap(made.cast(), size_of::<Page>()) };
            first
        }
    };
    // SAFETY: as above.
    Ok(unsafe { &*page })
}

/// A new page that children find cleared.
fn map() -> Result<*mut Page, Errno> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: new memory, at no address in particular.
    let page = unsafe {
        mmap_anonymous(ptr::null_mut(), size_of::<Page>(), protection, MapFlags::PRIVATE)
    };
    let page = page.map_err(Errno::of)?;
    // SAFETY: it is ours, and nobody knows of it.
    let advised = unsafe { madvise(page, size_of::<Page>(), Advice::LinuxWipeOnFork) };
    // Where nothing is done about the advice, forks of the C library are seen.
    // SAFETY: the handler only changes an atomic, which a child may do.
    let handled = unsafe { libc::pthread_atfork(None, None, Some(clear_in_child)) };
    let page = page.cast::<Page>();
    // SAFETY: mapped above, large enough, and zero.
    let is_kept = unsafe { &(*page).is_kept };
    // Relaxed: nobody knows of it.
    is_kept.store(u32::from(advised.is_err() || handled != 0), Ordering::Relaxed);
    Ok(page)
}

extern "C" fn clear_in_child() {
    // Acquire: as in `page`.
    let page = PAGE.load(Ordering::Acquire);
    // SAFETY: as in `page`.
    if let Some(page) = unsafe { page.as_ref() } {
        // Relaxed: the child has one thread.
        page.word.store(0, Ordering::Relaxed);
    }
}
