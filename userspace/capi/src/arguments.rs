//! What C gave: pointers and lengths, which become references once.
//!
//! What can be told of a pointer without reading it is told: null is EFAULT,
//! a context that is null is EBADF. Everything else is the caller's promise.

use crate::handle::Handle;
use aio2::Errno;
use std::ffi::c_void;

/// The context.
///
/// # Errors
/// EBADF for null.
///
/// # Safety
/// Not null, it is one that `aio2_context_new` gave and that is not freed.
pub unsafe fn context<'a>(context: *const Handle) -> Result<&'a Handle, Errno> {
    // SAFETY: null or, the caller says, a live context.
    unsafe { context.as_ref() }.ok_or(Errno(libc::EBADF))
}

/// A structure that is read and written.
///
/// # Errors
/// EFAULT for null; EINVAL if it is not aligned.
///
/// # Safety
/// Not null, it points to a `T` that nobody else uses meanwhile.
pub unsafe fn structure<'a, T>(pointer: *mut T) -> Result<&'a mut T, Errno> {
    if !pointer.is_aligned() {
        return Err(Errno(libc::EINVAL));
    }
    // SAFETY: aligned; null or, the caller says, valid and unshared.
    unsafe { pointer.as_mut() }.ok_or(Errno(libc::EFAULT))
}

/// `bytes` bytes at `pointer`; none at all if `bytes` is 0.
///
/// # Errors
/// EFAULT for null; EINVAL for a length that no memory has.
///
/// # Safety
/// Not null, that many bytes are valid and nobody else uses them meanwhile.
pub unsafe fn memory<'a>(pointer: *mut c_void, bytes: usize) -> Result<&'a mut [u8], Errno> {
    if bytes == 0 {
        return Ok(&mut []);
    }
    if pointer.is_null() {
        return Err(Errno(libc::EFAULT));
    }
    if bytes > isize::MAX as usize {
        return Err(Errno(libc::EINVAL));
    }
    // SAFETY: not null, and the caller vouches for the bytes.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer.cast(), bytes) })
}

/// An address that stands as a number in a structure.
pub fn address(number: u64) -> *mut c_void {
    std::ptr::with_exposed_provenance_mut(number as usize)
}
