//! What an operation gives when it has ended well, as a value of its own type.

use super::Op;
use super::kind::*;
use super::processes::Exit;
use super::shape::Shape;
use crate::submit::Buffer;
use rustix::event::{PollFlags, epoll};
use rustix::fs::OFlags;
use std::fmt;
use std::net::SocketAddr;
use std::ops::{Deref, Range};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// What an operation with buffers `B` gives.
pub trait Kind<B>: Sealed + 'static {
    /// It, as a value.
    type Value;

    /// Takes it out of an operation that has returned `result` and a descriptor; none if
    /// it is not there: somebody has taken it before.
    #[doc(hidden)]
    fn take(op: Op<B>, result: u64, opened: Option<OwnedFd>) -> Option<Self::Value>;
}

/// A kind of operations that have exactly one buffer.
pub trait OneBuffer: Sealed + 'static {}

macro_rules! values {
    ($($name:ident $([$($b:tt)*])?: $value:ty = |$op:pat_param, $result:pat_param, $opened:pat_param| $take:expr;)*) => {$(
        impl<B $(: $($b)*)?> Kind<B> for $name {
            type Value = $value;

            fn take($op: Op<B>, $result: u64, $opened: Option<OwnedFd>) -> Option<$value> {
                $take
            }
        }
    )*};
}

/// A number of bytes or of things; no call returns more than fit into memory.
fn count(result: u64) -> usize {
    usize::try_from(result).unwrap_or(usize::MAX)
}

values! {
    Any: u64 = |_, result, _| Some(result);
    Effect: () = |_, _, _| Some(());
    Opens: OwnedFd = |_, _, opened| opened;
    Accepts: (OwnedFd, Option<SocketAddr>) = |op, _, opened| Some((opened?, op.peer()));
    Reads[Buffer]: Read<B> = |op, result, _| Read::of(op, count(result));
    Writes: usize = |_, result, _| Some(count(result));
    ReadsSeveral: (usize, Vec<B>) = |op, result, _| Some((count(result), op.into_buffers()));
    WritesSeveral: (usize, Vec<B>) = |op, result, _| Some((count(result), op.into_buffers()));
    ReceivesFrom[Buffer]: (Read<B>, Option<SocketAddr>) = |op, result, _| {
        let from = op.peer();
        Some((Read::of(op, count(result))?, from))
    };
    Receives: Received<B> = |op, result, _| {
        let from = op.peer();
        let mut op = op;
        let descriptors = op.take_descriptors();
        Some(Received { bytes: count(result), buffers: op.into_buffers(), from, descriptors })
    };
    Moves: usize = |_, result, _| Some(count(result));
    Named: Option<SocketAddr> = |op, _, _| Some(op.peer());
    OptionValue: i32 = |op, _, _| op.option_value();
    Ready: PollFlags = |_, result, _| Some(PollFlags::from_bits_retain(result as i16));
    ReadyOfSeveral: Vec<PollFlags> = |op, _, _| Some(op.ready());
    EpollEvents: Vec<(epoll::EventFlags, u64)> =
        |op, result, _| Some(op.epoll_events(count(result)));
    Statx: libc::statx = |op, _, _| op.statx_buf().copied();
    Stat: libc::stat = |op, _, _| op.stat();
    FileSystem: libc::statfs = |op, _, _| op.file_system();
    StatusFlags: OFlags = |_, result, _| Some(OFlags::from_bits_retain(result as u32));
    Position: u64 = |_, result, _| Some(result);
    Failures: usize = |_, result, _| Some(count(result));
    Id: u32 = |_, result, _| u32::try_from(result).ok();
    Time: Duration = |op, _, _| op.time();
    Exits: Exit = |op, _, _| op.exit();
    Woken: usize = |_, result, _| Some(count(result));
}

impl OneBuffer for Reads {}
impl OneBuffer for Writes {}
impl OneBuffer for ReceivesFrom {}

/// Bytes that were read, and the buffer that they lie in: as a slice, the bytes.
#[derive(Clone)]
pub struct Read<B> {
    buffer: B,
    range: Range<usize>,
}

impl<B: Buffer> Read<B> {
    fn of(op: Op<B>, bytes: usize) -> Option<Self> {
        let begin = op.begin();
        let buffer = op.into_buffer()?;
        let range = buffer.read_at(begin, bytes);
        Some(Read { buffer, range })
    }
}

impl<B> Read<B> {
    /// The buffer, whole.
    #[must_use]
    pub fn into_buffer(self) -> B {
        self.buffer
    }
}

impl<B: Buffer> Deref for Read<B> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer.content().get(self.range.clone()).unwrap_or_default()
    }
}

impl<B: Buffer> AsRef<[u8]> for Read<B> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl<B: Buffer> fmt::Debug for Read<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Read({} bytes)", self.len())
    }
}

/// A message that was received.
#[derive(Debug)]
#[non_exhaustive]
pub struct Received<B> {
    /// How many bytes it has.
    pub bytes: usize,
    /// The buffers, filled one after the other.
    pub buffers: Vec<B>,
    /// Who has sent it; none if that is no IP address.
    pub from: Option<SocketAddr>,
    /// Descriptors that came with it.
    pub descriptors: Vec<OwnedFd>,
}

impl<B, K: OneBuffer> Op<B, K> {
    /// Its buffer.
    pub(crate) fn take_buffer(self) -> B {
        match self.shape {
            Shape::Bytes { buf, .. } | Shape::PathBytes { buf, .. } => buf,
            Shape::Args(args) => args.into_only_buffer(),
            // Whatever is of these kinds was made so in this module's neighbours.
            _ => unreachable!("an operation of one buffer, without it"),
        }
    }
}
