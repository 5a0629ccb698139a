//! What a completion says, as files and streams say it.

use crate::error::Errno;
use crate::queue::Completion;
use crate::submit::{Kind, OneBuffer};
use std::io;

/// The buffer of a transfer, and how much of it was transferred.
pub(super) fn read<K: OneBuffer>(done: Completion<Vec<u8>, (), K>) -> (io::Result<usize>, Vec<u8>) {
    let (result, buffer) = done.into_parts();
    (result.map_err(io::Error::from), buffer)
}

/// What a transfer of all its bytes has come to.
pub(super) fn all<K: OneBuffer>(done: Completion<Vec<u8>, (), K>) -> (io::Result<()>, Vec<u8>) {
    let (result, buffer) = done.into_parts();
    let result = match result {
        Ok(_) => Ok(()),
        // SPEC: R-RUN-5
        Err(Errno(libc::ENODATA)) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(errno) => Err(errno.into()),
    };
    (result, buffer)
}

/// The result of an operation without a buffer.
pub(super) fn plain<K: Kind<Vec<u8>>>(done: Completion<Vec<u8>, (), K>) -> io::Result<K::Value> {
    Ok(done.value()?)
}
