//! The bytes of a regular file, copied or compared.
//!
//! Duty: find the data of a file, choose the way that its bytes take, and read
//! it to its end, whatever its size says. Not here: what comes before and after
//! (`file`), and how chunks fly (`flow`).

use super::failure::Failure;
use super::flow::{CHUNKS_IN_FLIGHT, Flow, Pass};
use super::job::{CHUNK_BYTES, Job};
use super::session::Session;
use super::sys::{Fault, Named};
use crate::args::When;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

/// From this many bytes on a range is worth a thread's hop for each chunk.
const FLOW_BYTES: u64 = 4 * CHUNK_BYTES as u64;
/// From this many bytes on the kernel copies by itself for less.
const KERNEL_BYTES: u64 = 16 << 10;
/// What the kernel copies at once, so that a signal is seen.
const PIECE_BYTES: u64 = 32 << 20;
/// What is looked at for zeros at once, with --sparse=always.
const BLOCK_BYTES: usize = 4096;

/// What a thread copies with.
#[derive(Debug)]
pub struct Worker {
    buffer: Vec<u8>,
    pub flow: Flow,
}

impl Worker {
    /// One that has used no memory yet.
    pub fn new(flow: Flow) -> Self {
        Worker { buffer: Vec::new(), flow }
    }

    /// Its buffer, made when it is first needed.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn buffer(&mut self) -> Result<&mut [u8], Fault> {
        if self.buffer.is_empty() {
            let room = self.buffer.try_reserve_exact(CHUNK_BYTES);
            room.map_err(|_| Fault::new("malloc", libc::ENOMEM))?;
            self.buffer.resize(CHUNK_BYTES, 0);
        }
        Ok(&mut self.buffer)
    }
}

/// Makes the target's bytes those of the source; returns where they end.
pub fn copy(cx: &Session, worker: &mut Worker, job: &Job<'_>) -> Result<u64, Failure> {
    let size = job.stat.size();
    if size > 0 && share(cx, job)? {
        cx.tally.reflinks.add(1);
        cx.tally.bytes.add(size);
        return Ok(size);
    }
    let sparse = job.stat.is_sparse() && cx.options.sparse != When::Never;
    let holes = sparse || cx.options.sparse == When::Always;
    if holes {
        rustix::fs::ftruncate(job.target, size)
            .named("ftruncate")
            .map_err(|f| job.entry.at_target(f))?;
    }
    let mut extents = Extents::new(size, sparse);
    let mut end = 0;
    while let Some((from, to)) = extents.next(job)? {
        end = range(cx, worker, job, from, to)?;
        if end < to {
            return finish(job, end, holes);
        }
    }
    // Also what is beyond the size, or does not tell it, as in /proc.
    end = plain(cx, worker, job, size.max(end), u64::MAX)?;
    let end = finish(job, end, holes)?;
    if extents.found_holes && !super::sys::fstat(job.target).is_ok_and(|copy| copy.is_sparse()) {
        cx.tally.holes_lost.add(1);
    }
    Ok(end)
}

/// Gives the copy its length, if it was given one before.
fn finish(job: &Job<'_>, end: u64, truncated: bool) -> Result<u64, Failure> {
    if truncated && end != job.stat.size() {
        let cut = rustix::fs::ftruncate(job.target, end).named("ftruncate");
        cut.map_err(|f| job.entry.at_target(f))?;
    }
    Ok(end)
}

/// Reads both files again and compares.
pub fn verify(cx: &Session, worker: &mut Worker, job: &Job<'_>, end: u64) -> Result<(), Failure> {
    let sparse = job.stat.is_sparse();
    // What does not tell its size, as in /proc, is made while it is read: in order.
    let width = if job.stat.size() < end { 1 } else { CHUNKS_IN_FLIGHT };
    let mut extents = Extents::new(end, sparse);
    while let Some((from, to)) = extents.next(job)? {
        match worker.flow.run(cx, job, from, to, (Pass::Verify, width))? {
            Some(at) if at == to => {}
            // It has shrunk: that it has changed is found out next.
            Some(_) => return Ok(()),
            None => {
                return Err(Failure::found(
                    job.entry.target_path(),
                    "it cannot be verified: there is no context for the checksums",
                    "copy without --verify",
                ));
            }
        }
    }
    Ok(())
}

/// Lets the target share the source's blocks; false if that cannot be.
fn share(cx: &Session, job: &Job<'_>) -> Result<bool, Failure> {
    let traits = &job.entry.dir.traits;
    let always = cx.options.reflink == When::Always;
    if cx.options.reflink == When::Never
        || cx.options.sparse != When::Auto
        || !(always || traits.may_share())
    {
        return Ok(false);
    }
    match rustix::fs::ioctl_ficlone(job.target, job.source) {
        Ok(()) => Ok(true),
        Err(error) if always => {
            Err(error).named("ioctl(FICLONE)").map_err(|f| job.entry.at_target(f))
        }
        Err(error) => {
            if matches!(error, Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV | Errno::NOSYS) {
                traits.shares_nothing.store(true, Ordering::Relaxed);
            }
            Ok(false)
        }
    }
}

/// Copies the bytes from one offset to another; returns where the source ended,
/// if that is before.
fn range(
    cx: &Session,
    worker: &mut Worker,
    job: &Job<'_>,
    from: u64,
    to: u64,
) -> Result<u64, Failure> {
    let from = within_kernel(cx, job, from, to)?;
    if from == to {
        return Ok(to);
    }
    let worth = to - from >= FLOW_BYTES || cx.options.attributes;
    if worth
        && cx.options.sparse != When::Always
        && let Some(end) = worker.flow.run(cx, job, from, to, (Pass::Copy, CHUNKS_IN_FLIGHT))?
    {
        return Ok(end);
    }
    plain(cx, worker, job, from, to)
}

/// Lets the kernel copy by itself, as far as it will; returns how far that was.
/// What ends it early is found out by reading and writing on from there.
fn within_kernel(cx: &Session, job: &Job<'_>, from: u64, to: u64) -> Result<u64, Failure> {
    let traits = &job.entry.dir.traits;
    let plain = cx.options.reflink == When::Never
        || cx.options.sparse != When::Auto
        || cx.options.attributes;
    if plain || to - from < KERNEL_BYTES || !traits.may_copy() {
        return Ok(from);
    }
    let (mut at, mut to_at) = (from, from);
    while at < to {
        if cx.stopped() {
            return Err(Failure::stopped(job.entry.source_path()));
        }
        let piece = (to - at).min(PIECE_BYTES) as usize;
        let source = job.source;
        match rustix::fs::copy_file_range(
            source,
            Some(&mut at),
            job.target,
            Some(&mut to_at),
            piece,
        ) {
            Ok(0) => break,
            Ok(bytes) => cx.tally.bytes.add(bytes as u64),
            Err(Errno::INTR) => {}
            Err(error) => {
                if matches!(error, Errno::XDEV | Errno::OPNOTSUPP | Errno::NOSYS) {
                    traits.copies_nothing.store(true, Ordering::Relaxed);
                }
                break;
            }
        }
        cx.show();
    }
    Ok(at)
}

/// As [`range`], in this thread.
fn plain(
    cx: &Session,
    worker: &mut Worker,
    job: &Job<'_>,
    from: u64,
    to: u64,
) -> Result<u64, Failure> {
    let skip_zeros = cx.options.sparse == When::Always;
    let buffer = worker.buffer().map_err(|f| job.entry.at_source(f))?;
    let mut at = from;
    while at < to {
        if cx.stopped() {
            return Err(Failure::stopped(job.entry.source_path()));
        }
        let room = usize::try_from(to - at).map_or(buffer.len(), |left| left.min(buffer.len()));
        let bytes = match rustix::io::pread(job.source.as_fd(), &mut buffer[..room], at) {
            Err(Errno::INTR) => continue,
            read => read.named("pread64").map_err(|f| job.entry.at_source(f))?,
        };
        if bytes == 0 {
            break;
        }
        write(job, &buffer[..bytes], at, skip_zeros).map_err(|f| job.entry.at_target(f))?;
        cx.tally.bytes.add(bytes as u64);
        at += bytes as u64;
    }
    Ok(at)
}

fn write(job: &Job<'_>, bytes: &[u8], at: u64, skip_zeros: bool) -> Result<(), Fault> {
    if !skip_zeros {
        return write_all(job, bytes, at);
    }
    let mut offset = at;
    for block in bytes.chunks(BLOCK_BYTES) {
        if block.iter().any(|&byte| byte != 0) {
            write_all(job, block, offset)?;
        }
        offset += block.len() as u64;
    }
    Ok(())
}

fn write_all(job: &Job<'_>, bytes: &[u8], at: u64) -> Result<(), Fault> {
    let mut written = 0;
    while written < bytes.len() {
        match rustix::io::pwrite(job.target.as_fd(), &bytes[written..], at + written as u64) {
            Err(Errno::INTR) => {}
            Ok(0) => return Err(Fault::new("pwrite64", libc::EIO)),
            result => written += result.named("pwrite64")?,
        }
    }
    Ok(())
}

/// Where the data of a file are.
#[derive(Debug)]
struct Extents {
    /// Next byte to look at.
    at: u64,
    size: u64,
    sparse: bool,
    found_holes: bool,
}

impl Extents {
    fn new(size: u64, sparse: bool) -> Self {
        Extents { at: 0, size, sparse, found_holes: false }
    }

    /// The next range of data, in bytes.
    fn next(&mut self, job: &Job<'_>) -> Result<Option<(u64, u64)>, Failure> {
        if self.at >= self.size {
            return Ok(None);
        }
        let (start, end) = if self.sparse {
            match self.find(job).map_err(|f| job.entry.at_source(f))? {
                Some(found) => found,
                None => {
                    (self.at, self.found_holes) = (self.size, true);
                    return Ok(None);
                }
            }
        } else {
            (self.at, self.size)
        };
        self.found_holes |= start > self.at;
        self.at = end;
        Ok((start < end).then_some((start, end)))
    }

    /// The data at or behind the next byte to look at, if there are any.
    fn find(&self, job: &Job<'_>) -> Result<Option<(u64, u64)>, Fault> {
        let seek = |to| rustix::fs::seek(job.source, to);
        let start = match seek(SeekFrom::Data(self.at)) {
            Ok(start) => start.min(self.size),
            Err(Errno::NXIO) => return Ok(None),
            // A file system that does not know its holes: all is data.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((self.at, self.size))),
            Err(error) => return Err(error).named("lseek"),
        };
        match seek(SeekFrom::Hole(start)) {
            Ok(end) => Ok(Some((start, end.min(self.size)))),
            // It has shrunk since: the end of the data is found by reading.
            Err(Errno::NXIO) => Ok(Some((start, self.size))),
            Err(error) => Err(error).named("lseek"),
        }
    }
}
