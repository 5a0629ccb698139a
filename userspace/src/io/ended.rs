//! What a completion says, as files and streams say it.

use crate::error::Errno;
use crate::queue::Completion;
use std::io;

/// The buffer of a transfer, and how much of it was transferred.
pub(super) fn read(done: Completion<Vec<u8>, ()>) -> (io::Result<usize>, Vec<u8>) {
    let result = done.result.map(|bytes| bytes as usize).map_err(io::Error::from);
    (result, done.into_buffer().unwrap_or_default())
}

/// What a transfer of all its bytes has come to.
pub(super) fn all(done: Completion<Vec<u8>, ()>) -> (io::Result<()>, Vec<u8>) {
    let result = match done.result {
        Ok(_) => Ok(()),
        // SPEC: R-RUN-5
        Err(Errno(libc::ENODATA)) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(errno) => Err(errno.into()),
    };
    (result, done.into_buffer().unwrap_or_default())
}

/// The result of an operation without a buffer.
pub(super) fn plain(done: Completion<Vec<u8>, ()>) -> io::Result<u64> {
    Ok(done.result?)
}
