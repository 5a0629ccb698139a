//! Reading and writing by polls: what a file or a stream has under way.
//!
//! An operation owns its buffer, and who polls lends one. So what is read lies
//! here until it is asked for, and what is to be written is copied.

use crate::future::Run;
use crate::submit::kind;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Bytes of a transfer at most.
const CHUNK: usize = 64 << 10;

/// At most one read and one write under way.
#[derive(Debug, Default)]
pub(super) struct Pump {
    reading: Option<Run<Vec<u8>, kind::Reads>>,
    writing: Option<Run<Vec<u8>, kind::Writes>>,
    /// What was read: bytes `taken..filled` are there.
    read: Vec<u8>,
    taken: usize,
    filled: usize,
    /// Memory for the next write.
    spare: Vec<u8>,
}

impl Pump {
    /// What was read and not taken; empty at the end. Reads, by `start`, about
    /// `wanted` bytes if nothing is there.
    pub(super) fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        wanted: usize,
        start: impl FnOnce(Vec<u8>) -> Run<Vec<u8>, kind::Reads>,
    ) -> Poll<io::Result<&[u8]>> {
        if self.taken == self.filled {
            let run = match &mut self.reading {
                Some(run) => run,
                none => {
                    let mut buffer = std::mem::take(&mut self.read);
                    buffer.resize(wanted.clamp(1, CHUNK), 0);
                    none.insert(start(buffer))
                }
            };
            let done = ready!(Pin::new(run).poll(context));
            self.reading = None;
            let (result, buffer) = done.into_parts();
            self.read = buffer;
            (self.taken, self.filled) = (0, 0);
            self.filled = self.read.len().min(result.map_err(io::Error::from)?);
        }
        Poll::Ready(Ok(&self.read[self.taken..self.filled]))
    }

    /// Takes `bytes` of what was read.
    pub(super) fn take(&mut self, bytes: usize) {
        self.taken = self.filled.min(self.taken + bytes);
    }

    /// Copies bytes and starts to write them, by `start`, all of them; how many. An
    /// error is that of what was written before.
    pub(super) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
        start: impl FnOnce(Vec<u8>) -> Run<Vec<u8>, kind::Writes>,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(context))?;
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let bytes = &bytes[..bytes.len().min(CHUNK)];
        let mut buffer = std::mem::take(&mut self.spare);
        buffer.clear();
        buffer.extend_from_slice(bytes);
        self.writing = Some(start(buffer));
        Poll::Ready(Ok(bytes.len()))
    }

    /// Waits until all is written.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(run) = &mut self.writing else { return Poll::Ready(Ok(())) };
        let done = ready!(Pin::new(run).poll(context));
        self.writing = None;
        let (result, buffer) = done.into_parts();
        self.spare = buffer;
        Poll::Ready(result.map(drop).map_err(io::Error::from))
    }
}

impl Drop for Pump {
    /// What was to be written is.
    fn drop(&mut self) {
        self.writing.take().into_iter().for_each(Run::detach);
    }
}
