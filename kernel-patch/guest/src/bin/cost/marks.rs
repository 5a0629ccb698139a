//! Marks, by which a plugin of qemu knows what is measured: `cargo xtask bench --kernel
//! --profile`. They are instructions that do nothing, with bytes that nothing else has;
//! `xtask/src/kernel/profile/plugin.c` has the same ones.

use std::arch::asm;

/// What follows is measured.
#[inline]
pub fn begin() {
    // SAFETY: an instruction without effect.
    unsafe { asm!(".byte 0x0f, 0x1f, 0x84, 0x00, 0x41, 0x49, 0x4f, 0x62", options(nomem)) };
}

/// The end of what is measured.
#[inline]
pub fn end() {
    // SAFETY: as above.
    unsafe { asm!(".byte 0x0f, 0x1f, 0x84, 0x00, 0x41, 0x49, 0x4f, 0x65", options(nomem)) };
}
