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
