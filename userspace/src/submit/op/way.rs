//! Which way bytes go: into a buffer, or out of it.

use crate::submit::Buffer;

/// Which way the bytes of a buffer go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It is filled.
    In,
    /// It is written out.
    Out,
}

/// Tells a buffer how many of `bytes` an operation has put into its room, which may be
/// smaller; how many that is.
///
/// # Safety
/// It has put so many there, from the beginning on.
pub(super) unsafe fn note_filled<B: Buffer>(buffer: &mut B, bytes: usize) -> usize {
    let here = buffer.room().map_or(0, |room| room.len()).min(bytes);
    // SAFETY: by this function's contract.
    unsafe { buffer.filled(here) };
    here
}

impl Way {
    /// Where the bytes of a buffer lie that go this way, and how many they are.
    #[inline]
    pub(super) fn place<B: Buffer>(self, buffer: &mut B) -> (*mut u8, usize) {
        match self {
            // One that is shared is refused, and here it has no bytes.
            Way::In => buffer
                .room()
                .map_or((std::ptr::null_mut(), 0), |room| (room.as_ptr().cast(), room.len())),
            Way::Out => {
                let bytes = buffer.content();
                (bytes.as_ptr().cast_mut(), bytes.len())
            }
        }
    }
}
