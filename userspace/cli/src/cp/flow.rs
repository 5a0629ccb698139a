//! Bytes through AIO2: chunks of large files, checksums, and fsync.
//!
//! Duty: a driver of the library with a context of its own, made when it is
//! first needed; several chunks of a file in flight, each read and then written
//! from the same buffer while others are read; and the fsync of many files at
//! once. Where no context can be had, nothing flows, and the caller does it by
//! plain calls.

use super::failure::Failure;
use super::job::{CHUNK_BYTES, Job};
use super::session::Session;
use super::sys::Fault;
use crate::args::Global;
use aio2::future::Handle;
use aio2::kind::OneBuffer;
use aio2::metrics::Metrics;
use aio2::{CacheHint, Completion, Context, Driver, Errno, Op, SharedFd};
use futures::stream::{FuturesUnordered, StreamExt};
use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

/// Chunks of one file that are in flight at most.
pub const CHUNKS_IN_FLIGHT: usize = 8;
/// Errors that mean that an operation was not run, and can be by a plain call.
const NOT_RUN: [i32; 3] = [libc::EAGAIN, libc::ENOMEM, libc::ECANCELED];

/// What is done with each chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Read from the source, written to the target.
    Copy,
    /// Read from both, and their checksums compared.
    Verify,
}

/// A driver, as soon as it is needed.
pub struct Flow {
    global: Global,
    workers: Option<u32>,
    state: State,
    attributes: bool,
    buffers: RefCell<Vec<Vec<u8>>>,
    metrics: RefCell<Metrics>,
}

enum State {
    NotTried,
    Ready(Box<Driver<Vec<u8>>>),
    Gone,
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").finish_non_exhaustive()
    }
}

impl Flow {
    /// Nothing yet; a context will be as `global` asks for it, with so many
    /// workers if it does not say.
    pub fn new(global: &Global, workers: Option<u32>, attributes: bool, allowed: bool) -> Self {
        Flow {
            global: global.clone(),
            workers,
            state: if allowed { State::NotTried } else { State::Gone },
            attributes,
            buffers: RefCell::default(),
            metrics: RefCell::default(),
        }
    }

    /// Uses this context.
    pub fn adopt(&mut self, context: Context) {
        self.state = Driver::new(context).map_or(State::Gone, |d| State::Ready(Box::new(d)));
    }

    /// What the attributes have said so far.
    pub fn into_metrics(self) -> Metrics {
        self.metrics.into_inner()
    }

    fn driver(&mut self) -> Option<&mut Driver<Vec<u8>>> {
        if let State::NotTried = self.state {
            self.state = State::Gone;
            if let Ok(context) = self.global.context(self.workers) {
                self.adopt(context);
            }
        }
        match &mut self.state {
            State::Ready(driver) => Some(driver),
            _ => None,
        }
    }

    /// Copies or compares a range, `width` chunks at a time; returns where the source ended if that is
    /// within it, otherwise the end of the range. `None` if nothing flows.
    pub fn run(
        &mut self,
        cx: &Session,
        job: &Job<'_>,
        from: u64,
        to: u64,
        (pass, width): (Pass, usize),
    ) -> Result<Option<u64>, Failure> {
        let Some(driver) = self.driver() else { return Ok(None) };
        let handle = driver.handle();
        let mut state = std::mem::replace(&mut self.state, State::Gone);
        let State::Ready(driver) = &mut state else { return Ok(None) };
        let line = Line { cx, job, handle, flow: &*self, pass, width };
        let ended = driver.block_on(line.all(from, to));
        match ended {
            Ok(Ok(end)) => {
                self.state = state;
                Ok(Some(end))
            }
            Ok(Err(Stop::Failed(failure))) => {
                self.state = state;
                Err(failure)
            }
            // The rest is done by plain calls.
            Ok(Err(Stop::NotRun)) | Err(_) => Ok(None),
        }
    }

    /// Makes all files durable, together; the results in their order.
    pub fn fsync(&mut self, files: &[SharedFd]) -> Vec<Result<(), Fault>> {
        let plain = |file: &SharedFd| super::sys::fsync(file);
        if files.len() < 2 && !self.attributes {
            return files.iter().map(plain).collect();
        }
        let Some(driver) = self.driver() else { return files.iter().map(plain).collect() };
        let handle = driver.handle();
        let attributes = self.attributes;
        let State::Ready(driver) = &mut self.state else { return Vec::new() };
        let all = files.iter().map(|file| handle.run(asked(Op::fsync(file), attributes)));
        let ended = driver.block_on(futures::future::join_all(all));
        let Ok(ended) = ended else {
            self.state = State::Gone;
            return files.iter().map(plain).collect();
        };
        let mut metrics = self.metrics.borrow_mut();
        let results = ended.into_iter().zip(files).map(|(done, file)| {
            metrics.take(&done);
            match done.result {
                Ok(_) => Ok(()),
                Err(errno) if NOT_RUN.contains(&errno.0) => plain(file),
                Err(errno) => Err(Fault { operation: "fsync", errno }),
            }
        });
        results.collect()
    }
}

fn asked<K>(op: Op<Vec<u8>, K>, attributes: bool) -> Op<Vec<u8>, K> {
    if attributes { op.timing().execution_path() } else { op }
}

/// Why a range was not done.
enum Stop {
    Failed(Failure),
    /// The context did not run an operation.
    NotRun,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Stop::Failed(failure)
    }
}

/// A range of a file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Chunk {
    offset: u64,
    len: usize,
}

/// Bytes that were moved, and the buffer.
struct Moved {
    buffer: Vec<u8>,
    bytes: usize,
    /// CRC-32C, if it was asked for.
    crc: Option<u32>,
}

/// The chunks of one range, on their way.
struct Line<'a> {
    cx: &'a Session,
    job: &'a Job<'a>,
    handle: Handle<Vec<u8>>,
    flow: &'a Flow,
    pass: Pass,
    width: usize,
}

impl Line<'_> {
    async fn all(&self, from: u64, to: u64) -> Result<u64, Stop> {
        let mut at = from;
        let mut end = to;
        let mut running = FuturesUnordered::new();
        let mut failed = None;
        loop {
            while failed.is_none() && running.len() < self.width && at < to {
                if self.cx.stopped() {
                    failed = Some(Failure::stopped(self.job.entry.source_path()).into());
                    break;
                }
                let len = (to - at).min(CHUNK_BYTES as u64);
                running.push(self.one(Chunk { offset: at, len: len as usize }));
                at += len;
            }
            // Every chunk is waited for, also after a failure: what was begun
            // must not write behind the back of what comes next.
            match running.next().await {
                Some(Ok(chunk_end)) => end = end.min(chunk_end),
                Some(Err(stop)) => failed = failed.or(Some(stop)),
                None => return failed.map_or(Ok(end), Err),
            }
        }
    }

    /// Does one chunk; returns where the source ended if that was within it,
    /// otherwise the largest offset.
    async fn one(&self, chunk: Chunk) -> Result<u64, Stop> {
        let buffer = match self.flow.buffers.borrow_mut().pop() {
            Some(buffer) => buffer,
            None => buffer()?,
        };
        let (done, buffer) = match self.pass {
            Pass::Copy => self.copy(chunk, buffer).await?,
            Pass::Verify => self.compare(chunk, buffer).await?,
        };
        self.flow.buffers.borrow_mut().push(buffer);
        Ok(if done < chunk.len { chunk.offset + done as u64 } else { u64::MAX })
    }

    /// Reads a chunk and writes it; returns the bytes there were.
    async fn copy(&self, chunk: Chunk, mut buffer: Vec<u8>) -> Result<(usize, Vec<u8>), Stop> {
        let mut filled = 0;
        while filled < chunk.len {
            let at = chunk.offset + filled as u64;
            let read = self.read(self.job.source, buffer, filled..chunk.len, at).await;
            let read = self.checked(read, "pread64", true)?;
            buffer = read.buffer;
            if read.bytes == 0 {
                break;
            }
            filled += read.bytes;
        }
        let mut written = 0;
        while written < filled {
            let at = chunk.offset + written as u64;
            let op = Op::write_at(self.job.target, buffer, at).range(written..filled);
            let write = moved(self.take(asked(op, self.flow.attributes)).await);
            let write = self.checked(write, "pwrite64", false)?;
            buffer = write.buffer;
            written += write.bytes;
            self.cx.tally.bytes.add(write.bytes as u64);
        }
        self.cx.show();
        Ok((filled, buffer))
    }

    /// Reads a chunk of both files and compares checksums; returns the bytes there were.
    async fn compare(&self, chunk: Chunk, mut buffer: Vec<u8>) -> Result<(usize, Vec<u8>), Stop> {
        let mut done = 0;
        let mut len = chunk.len;
        while done < chunk.len {
            let at = chunk.offset + done as u64;
            let read = self.read(self.job.source, buffer, 0..len, at).await;
            let source = self.checked(read, "pread64", true)?;
            if source.bytes == 0 {
                return Ok((done, source.buffer));
            }
            let read = self.read(self.job.target, source.buffer, 0..source.bytes, at).await;
            let target = self.checked(read, "pread64", false)?;
            buffer = target.buffer;
            if target.bytes < source.bytes && target.bytes > 0 {
                // A short read of the target: read as much of the source again.
                len = target.bytes;
                continue;
            }
            if (source.bytes, source.crc) != (target.bytes, target.crc) {
                return Err(self.mismatch(at).into());
            }
            done += source.bytes;
            len = chunk.len - done;
            self.cx.tally.verified.add(source.bytes as u64);
        }
        self.cx.show();
        Ok((done, buffer))
    }

    async fn read(
        &self,
        file: &SharedFd,
        buffer: Vec<u8>,
        part: Range<usize>,
        offset: u64,
    ) -> Result<Moved, Errno> {
        let op = Op::read_at(file, buffer, offset).range(part);
        let op = if self.flow.attributes { op.cache(CacheHint::Normal) } else { op };
        let op = asked(op, self.flow.attributes);
        match self.pass {
            Pass::Copy => moved(self.take(op).await),
            // Without the checksum there is nothing to compare: better to fail.
            Pass::Verify => {
                let done = self.take(op.checksum().required()).await;
                let sum = done.checksum().handled();
                let moved = moved(done)?;
                match sum.filter(|sum| sum.bytes == moved.bytes as u64) {
                    Some(sum) => Ok(Moved { crc: Some(sum.crc32c), ..moved }),
                    None => Err(Errno(libc::ENODATA)),
                }
            }
        }
    }

    async fn take<K>(&self, op: Op<Vec<u8>, K>) -> Completion<Vec<u8>, (), K> {
        let done = self.handle.run(op).await;
        if self.flow.attributes {
            self.flow.metrics.borrow_mut().take(&done);
        }
        done
    }

    fn checked(
        &self,
        moved: Result<Moved, Errno>,
        operation: &'static str,
        source: bool,
    ) -> Result<Moved, Stop> {
        moved.map_err(|errno| {
            let fault = Fault { operation, errno };
            match source {
                _ if NOT_RUN.contains(&errno.0) => Stop::NotRun,
                true => self.job.entry.at_source(fault).into(),
                false => self.job.entry.at_target(fault).into(),
            }
        })
    }

    fn mismatch(&self, offset: u64) -> Failure {
        Failure::found(
            self.job.entry.target_path(),
            format!("the copy differs from the source at offset {offset}: CRC-32C is another"),
            "check memory and the target's device; the copy was removed",
        )
    }
}

fn buffer() -> Result<Vec<u8>, Stop> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(CHUNK_BYTES).map_err(|_| Stop::NotRun)?;
    buffer.resize(CHUNK_BYTES, 0);
    Ok(buffer)
}

fn moved<K: OneBuffer>(done: Completion<Vec<u8>, (), K>) -> Result<Moved, Errno> {
    let (bytes, buffer) = done.into_parts();
    Ok(Moved { buffer, bytes: bytes?, crc: None })
}
