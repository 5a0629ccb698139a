//! The bytes of a regular file, moved or compared in chunks.
//!
//! Duty: find the extents of a file, have several of its chunks in flight, and
//! copy or compare each. A chunk is read and then written from the same
//! buffer, while others are read: that is the pipeline. Not here: what comes
//! before and after (`file`).

use super::entry::Entry;
use super::failure::Failure;
use super::session::Session;
use super::stat::Stat;
use aio2::submit::SharedFd;
use futures::stream::{FuturesUnordered, StreamExt};

/// Bytes of a chunk, and of a buffer.
pub const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks of one file that are in flight at most.
const CHUNKS_IN_FLIGHT: usize = 8;
/// From this size on, room is reserved at once.
const RESERVE_BYTES: u64 = 1 << 20;

/// A file and its copy, both open.
#[derive(Clone, Copy, Debug)]
pub struct Transfer<'a> {
    pub entry: &'a Entry,
    pub source: &'a SharedFd,
    pub target: &'a SharedFd,
    pub stat: &'a Stat,
}

/// What is done with each chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Read from the source, written to the target.
    Copy,
    /// Read from both, and their checksums compared.
    Verify,
}

/// A range of a file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Chunk {
    offset: u64,
    len: usize,
}

/// Goes over all data of the source; returns where it ended, in bytes.
pub async fn run(cx: &Session, files: &Transfer<'_>, pass: Pass) -> Result<u64, Failure> {
    let size = files.stat.size();
    if size == 0 {
        // Also what has contents and does not tell its size, as in /proc.
        return until_end(cx, files, pass).await;
    }
    let sparse = files.stat.is_sparse();
    if pass == Pass::Copy {
        reserve(cx, files, sparse).await?;
    }
    let mut extents = Extents { at: 0, data_end: if sparse { 0 } else { size }, size };
    let mut running = FuturesUnordered::new();
    let mut end = size;
    let mut failed = None;
    loop {
        while failed.is_none() && running.len() < CHUNKS_IN_FLIGHT {
            if cx.stopped() {
                failed = Some(Failure::stopped(files.entry.source_path()));
                break;
            }
            match extents.next(cx, files).await {
                Ok(Some(chunk)) => running.push(one(cx, files, chunk, pass)),
                Ok(None) => break,
                Err(failure) => failed = Some(failure),
            }
        }
        // Every chunk is waited for, also after a failure: the descriptors
        // must stay open and the room in the pool taken until they have ended.
        match running.next().await {
            Some(Ok(chunk_end)) => end = end.min(chunk_end),
            Some(Err(failure)) => failed = failed.or(Some(failure)),
            None => return failed.map_or(Ok(end), Err),
        }
    }
}

/// Gives the target its size: with room for all of it, or as one hole.
async fn reserve(cx: &Session, files: &Transfer<'_>, sparse: bool) -> Result<(), Failure> {
    let (target, size) = (files.target, files.stat.size());
    let result = if sparse {
        cx.fs.ftruncate(target, size).await
    } else if size >= RESERVE_BYTES {
        match cx.fs.fallocate(target, size).await {
            // Not every file system has it, and nothing depends on it.
            Err(fault) if matches!(fault.errno.0, libc::EOPNOTSUPP | libc::ENOSYS) => Ok(()),
            result => result,
        }
    } else {
        Ok(())
    };
    result.map_err(|f| files.entry.at_target(f))
}

/// Where the data of a file are.
struct Extents {
    /// Next byte to look at.
    at: u64,
    /// End of the data that begin before or at `at`.
    data_end: u64,
    size: u64,
}

impl Extents {
    /// The next chunk of data.
    async fn next(&mut self, cx: &Session, files: &Transfer<'_>) -> Result<Option<Chunk>, Failure> {
        if self.at >= self.data_end && !self.find(cx, files).await? {
            return Ok(None);
        }
        let len = (self.data_end - self.at).min(CHUNK_BYTES as u64);
        let chunk = Chunk { offset: self.at, len: len as usize };
        self.at += len;
        Ok(Some(chunk))
    }

    /// Moves over a hole to the next data; false at the end.
    async fn find(&mut self, cx: &Session, files: &Transfer<'_>) -> Result<bool, Failure> {
        if self.at >= self.size {
            return Ok(false);
        }
        match cx.fs.lseek(files.source, self.at, libc::SEEK_DATA).await {
            Ok(start) => self.at = start,
            Err(fault) if fault.errno.0 == libc::ENXIO => return Ok(false),
            // A file system that does not know its holes: all is data.
            Err(fault) if matches!(fault.errno.0, libc::EINVAL | libc::EOPNOTSUPP) => {
                self.data_end = self.size;
                return Ok(true);
            }
            Err(fault) => return Err(files.entry.at_source(fault)),
        }
        let end = cx.fs.lseek(files.source, self.at, libc::SEEK_HOLE).await;
        let end = end.map_err(|f| files.entry.at_source(f))?;
        self.data_end = end.min(self.size);
        Ok(self.at < self.data_end)
    }
}

/// Does one chunk; returns where the source ended if that was within it,
/// otherwise the largest offset.
async fn one(cx: &Session, files: &Transfer<'_>, chunk: Chunk, pass: Pass) -> Result<u64, Failure> {
    let done = match pass {
        Pass::Copy => copy(cx, files, chunk).await?,
        Pass::Verify => compare(cx, files, chunk).await?,
    };
    Ok(if done < chunk.len { chunk.offset + done as u64 } else { u64::MAX })
}

/// Chunk after chunk until a read finds nothing.
async fn until_end(cx: &Session, files: &Transfer<'_>, pass: Pass) -> Result<u64, Failure> {
    let mut chunk = Chunk { offset: 0, len: CHUNK_BYTES };
    loop {
        if cx.stopped() {
            return Err(Failure::stopped(files.entry.source_path()));
        }
        let end = one(cx, files, chunk, pass).await?;
        if end != u64::MAX {
            return Ok(end);
        }
        chunk.offset += CHUNK_BYTES as u64;
    }
}

/// Reads a chunk and writes it; returns the bytes there were.
async fn copy(cx: &Session, files: &Transfer<'_>, chunk: Chunk) -> Result<usize, Failure> {
    let (entry, permit) = (files.entry, cx.buffers.permit().await);
    let mut buffer = cx.buffers.take();
    let mut filled = 0;
    while filled < chunk.len {
        let at = chunk.offset + filled as u64;
        let read = cx.fs.pread64(files.source, buffer, filled..chunk.len, at).await;
        let read = read.map_err(|f| entry.at_source(f))?;
        buffer = read.buffer;
        if read.bytes == 0 {
            break;
        }
        filled += read.bytes;
    }
    let mut written = 0;
    while written < filled {
        let at = chunk.offset + written as u64;
        let write = cx.fs.pwrite64(files.target, buffer, written..filled, at).await;
        let write = write.map_err(|f| entry.at_target(f))?;
        buffer = write.buffer;
        written += write.bytes;
        cx.tally.bytes.add(write.bytes as u64);
    }
    cx.buffers.give(buffer, permit);
    Ok(filled)
}

/// Reads a chunk of both files and compares checksums; returns the bytes there were.
async fn compare(cx: &Session, files: &Transfer<'_>, chunk: Chunk) -> Result<usize, Failure> {
    let (entry, permit) = (files.entry, cx.buffers.permit().await);
    let mut buffer = cx.buffers.take();
    let mut done = 0;
    let mut len = chunk.len;
    while done < chunk.len {
        let at = chunk.offset + done as u64;
        let read = cx.fs.pread64_checked(files.source, buffer, 0..len, at).await;
        let (sum, back) = read.map_err(|f| entry.at_source(f))?;
        if sum.bytes == 0 {
            buffer = back;
            break;
        }
        let read = cx.fs.pread64_checked(files.target, back, 0..sum.bytes, at).await;
        let (target_sum, back) = read.map_err(|f| entry.at_target(f))?;
        buffer = back;
        if target_sum.bytes < sum.bytes && target_sum.bytes > 0 {
            // A short read of the target: read as much of the source again.
            len = target_sum.bytes;
            continue;
        }
        agree(sum, target_sum).map_err(|what| mismatch(entry, at, &what))?;
        done += sum.bytes;
        len = chunk.len - done;
        cx.tally.verified.add(sum.bytes as u64);
    }
    cx.buffers.give(buffer, permit);
    Ok(done)
}

/// The checksum that came with a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    /// CRC-32C.
    pub crc: u32,
    /// How many bytes it is of.
    pub bytes: usize,
}

/// Whether two checksums are of the same bytes; if not, how they differ.
fn agree(source: Sum, target: Sum) -> Result<(), String> {
    if source.bytes != target.bytes {
        return Err(format!(
            "{} bytes in the target, {} in the source",
            target.bytes, source.bytes
        ));
    }
    if source.crc != target.crc {
        let Sum { crc, bytes } = source;
        return Err(format!(
            "CRC-32C of {bytes} bytes is {:#010x}, {crc:#010x} in the source",
            target.crc
        ));
    }
    Ok(())
}

fn mismatch(entry: &Entry, offset: u64, what: &str) -> Failure {
    Failure::found(
        "verify",
        entry.target_path(),
        format!("the copy differs from the source at offset {offset}: {what}"),
        "check memory and the target's device; the copy was removed",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_agree_only_on_the_same_value_of_as_many_bytes() {
        let sum = Sum { crc: 0x1234, bytes: 100 };
        assert_eq!(agree(sum, sum), Ok(()));
        let other = agree(sum, Sum { crc: 0x1235, ..sum }).unwrap_err();
        assert!(other.contains("0x00001234") && other.contains("0x00001235"), "{other}");
        assert!(agree(sum, Sum { bytes: 99, ..sum }).unwrap_err().contains("99"));
    }
}
