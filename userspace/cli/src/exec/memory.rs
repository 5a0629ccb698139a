//! Memory behind which nothing can be touched.
//!
//! Duty: bytes that end where a page ends that nobody may read or write, so
//! that a length that is too large is EFAULT instead of a broken heap.

use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use std::ffi::c_void;
use std::ptr;
use std::slice;

/// Bytes before a page that is closed.
#[derive(Debug)]
pub struct Memory {
    base: *mut c_void,
    /// Bytes of the mapping, the closed page included.
    mapped: usize,
    start: *mut u8,
    len: usize,
}

impl Memory {
    /// Memory with these contents.
    ///
    /// # Errors
    /// If the system has none.
    pub fn new(contents: &[u8]) -> Result<Self, Errno> {
        let page = rustix::param::page_size();
        let open = contents.len().next_multiple_of(page);
        let mapped = open + page;
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let base = unsafe { mmap_anonymous(ptr::null_mut(), mapped, prot, MapFlags::PRIVATE) }?;
        let guard = base.wrapping_byte_add(open);
        // SAFETY: the last page of the mapping that was just made; nobody uses it.
        let closed = unsafe { mprotect(guard, page, MprotectFlags::empty()) };
        let start = guard.wrapping_byte_sub(contents.len()).cast::<u8>();
        let memory = Memory { base, mapped, start, len: contents.len() };
        closed?;
        // SAFETY: so many bytes before the closed page are mapped and writable,
        // and no reference to them exists.
        unsafe { ptr::copy_nonoverlapping(contents.as_ptr(), start, contents.len()) };
        Ok(memory)
    }

    /// Where it begins.
    pub fn address(&self) -> u64 {
        self.start.expose_provenance() as u64
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: mapped and initialised as long as `self` lives; whoever has
        // its address writes to it only while a call runs.
        unsafe { slice::from_raw_parts(self.start, self.len) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and goes with it.
        let _gone = unsafe { munmap(self.base, self.mapped) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_its_contents_and_ends_at_a_page() {
        for len in [0, 1, 4095, 4096, 4097, 70_000] {
            let contents: Vec<u8> = (0..len).map(|n: usize| n as u8).collect();
            let memory = Memory::new(&contents).unwrap();
            assert_eq!(memory.bytes(), contents);
            let end = memory.address() + len as u64;
            assert!(end.is_multiple_of(rustix::param::page_size() as u64));
        }
    }
}
