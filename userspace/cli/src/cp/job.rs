//! A file and its copy, while bytes go from the one to the other.

use super::entry::Entry;
use super::stat::Stat;
use aio2::SharedFd;

/// Bytes of a chunk, and of a buffer.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// A file and its copy, both open.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    pub entry: &'a Entry,
    pub source: &'a SharedFd,
    pub target: &'a SharedFd,
    pub stat: &'a Stat,
}
