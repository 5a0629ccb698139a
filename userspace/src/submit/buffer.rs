//! Buffers that a request can own while the kernel reads or writes them.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Memory that an operation moves bytes from or to.
///
/// Its length is how much is asked for: a read fills at most that much, and
/// does not change the length.
///
/// It is not sealed: memory that is mapped, locked or shared belongs to crates that
/// this one does not know, and the promise below is all that is needed of it.
///
/// # Safety
/// The slice that `bytes_mut` returns must stay valid, initialised, and at its
/// address until the value is moved, dropped, or mutably borrowed again.
pub unsafe trait Buffer: 'static {
    /// All of it.
    fn bytes_mut(&mut self) -> &mut [u8];
}

// SAFETY: a vector's elements stay where they are as long as it is not mutated.
unsafe impl Buffer for Vec<u8> {
    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}

// SAFETY: a box's contents stay where they are as long as it lives.
unsafe impl Buffer for Box<[u8]> {
    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}

// SAFETY: there are no bytes.
unsafe impl Buffer for () {
    /// None: for queues whose operations move no bytes.
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut []
    }
}

/// A buffer at an aligned address, as direct I/O (O_DIRECT) wants it.
pub struct DirectBuf {
    memory: NonNull<u8>,
    layout: Layout,
}

impl DirectBuf {
    /// `len` zeroed bytes at a multiple of `align`.
    ///
    /// # Panics
    /// If `len` is 0, or `align` is not a power of two, or the two together
    /// are beyond what an allocation can be.
    #[must_use]
    pub fn new(len: usize, align: usize) -> Self {
        assert!(len > 0, "a direct buffer without bytes");
        let layout = Layout::from_size_align(len, align).expect("alignment is a power of two");
        // SAFETY: the layout has at least one byte.
        let memory = unsafe { alloc_zeroed(layout) };
        match NonNull::new(memory) {
            Some(memory) => DirectBuf { memory, layout },
            None => handle_alloc_error(layout),
        }
    }
}

impl Drop for DirectBuf {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and freed only here.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) }
    }
}

impl Deref for DirectBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: so many bytes were allocated, zeroed, and `self` owns them.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.layout.size()) }
    }
}

impl DerefMut for DirectBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: so many bytes were allocated, zeroed, and `self` owns them alone.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.layout.size()) }
    }
}

impl fmt::Debug for DirectBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DirectBuf({} bytes at {:?})", self.layout.size(), self.memory)
    }
}

// SAFETY: it owns its memory, as a box does, and has no interior mutability.
unsafe impl Send for DirectBuf {}
// SAFETY: as above: through a shared reference it can only be read.
unsafe impl Sync for DirectBuf {}

// SAFETY: the memory stays where it is until the value is dropped.
unsafe impl Buffer for DirectBuf {
    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}
