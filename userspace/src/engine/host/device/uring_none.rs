//! In place of io_uring(7), on architectures that the crate for it has no structures of:
//! there is none.

use super::bell::Bell;
use crate::engine::request::transfer::AtOffset;
use crate::error::Errno;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::time::Duration;

const NONE: Errno = Errno(libc::ENOSYS);

pub(super) fn probe() -> Result<(), Errno> {
    Err(NONE)
}

/// A ring that there is not.
pub(crate) struct Ring<'r> {
    none: Infallible,
    _bell: PhantomData<&'r Bell>,
}

pub(super) fn with_ring<T>(
    _transfers: usize,
    _bell: &Bell,
    _body: impl FnOnce(Ring<'_>, i32) -> T,
) -> Result<T, Errno> {
    Err(NONE)
}

impl Ring<'_> {
    #[allow(unsafe_code)] // as the real one
    pub(super) unsafe fn push(&mut self, _transfer: &AtOffset, _number: u64) -> bool {
        match self.none {}
    }

    pub(super) fn enter(&mut self, _timeout: Option<Duration>) -> bool {
        match self.none {}
    }

    pub(super) fn next(&mut self) -> Option<(u64, i64)> {
        match self.none {}
    }

    pub(super) fn broken(&self) -> Option<Errno> {
        match self.none {}
    }

    pub(super) fn returned(&mut self) -> Option<u64> {
        match self.none {}
    }
}
