//! What an operation owns, and the call that names it by address.

use super::address::SocketAddress;
use super::args::Args;
use super::register::{address, raw_fd, signed};
use super::way::Way;
use crate::submit::{Buffer, Dir, PathArg, SharedFd};
use aio2_abi::op::MAX_ARGS;
use std::ops::Range;
use std::os::fd::OwnedFd;

/// What an operation owns, by the shape of its arguments.
pub(super) enum Shape<B> {
    /// Numbers; whatever they mean, the caller vouches for it.
    Plain { args: [u64; MAX_ARGS], nr_args: usize },
    /// A descriptor, then numbers.
    Fd { fd: SharedFd, args: [u64; 3], nr_args: usize },
    /// A descriptor, bytes with their length, a number, then zeros.
    Bytes { fd: SharedFd, buf: B, way: Way, range: Range<usize>, arg: u64, nr_args: usize },
    /// A path, then numbers.
    Path { dir: Dir, path: PathArg, args: [u64; 3], nr_args: usize },
    /// A path, bytes with their length.
    PathBytes { dir: Dir, path: PathArg, buf: B },
    /// Two paths and flags.
    Paths { from: (Dir, PathArg), to: (Dir, PathArg), flags: u64 },
    /// What a link says, and its path.
    Symlink { target: PathArg, dir: Dir, path: PathArg },
    /// A descriptor's times of access and of modification.
    Times { fd: SharedFd, times: [libc::timespec; 2] },
    /// A path, its times, and flags.
    PathTimes { dir: Dir, path: PathArg, times: [libc::timespec; 2], flags: u32 },
    /// A path, and room for what is found.
    Statx { dir: Dir, path: PathArg, flags: u32, mask: u32, buf: Box<libc::statx> },
    /// A socket and where to connect it.
    Connect { fd: SharedFd, address: Box<SocketAddress> },
    /// Any others.
    Args(Box<Args<B>>),
    /// A descriptor that is to be closed; none once it was.
    Close { fd: Option<OwnedFd> },
}

impl<B: Buffer> Shape<B> {
    /// The arguments and their number, with addresses of what it owns. They hold
    /// until `self` is moved or borrowed again.
    #[inline]
    pub(super) fn arguments(&mut self) -> ([u64; MAX_ARGS], usize) {
        let mut args = [0; MAX_ARGS];
        let nr_args = match self {
            Shape::Plain { args: plain, nr_args } => {
                args = *plain;
                *nr_args
            }
            Shape::Fd { fd, args: [a, b, c], nr_args } => {
                args[..4].copy_from_slice(&[raw_fd(fd), *a, *b, *c]);
                *nr_args
            }
            Shape::Bytes { fd, buf, way, range, arg, nr_args } => {
                let (start, all) = way.place(buf);
                // A buffer of others may have another length now.
                let end = range.end.min(all);
                let begin = range.start.min(end);
                let (start, len) = (address(start.wrapping_add(begin)), (end - begin) as u64);
                args[..4].copy_from_slice(&[raw_fd(fd), start, len, *arg]);
                *nr_args
            }
            Shape::Path { dir, path, args: [a, b, c], nr_args } => {
                args[..2].copy_from_slice(&[signed(dir.raw()), address(path.as_ptr())]);
                args[2..5].copy_from_slice(&[*a, *b, *c]);
                *nr_args
            }
            Shape::PathBytes { dir, path, buf } => {
                let (start, len) = Way::In.place(buf);
                let (start, len) = (address(start), len as u64);
                args[..4].copy_from_slice(&[signed(dir.raw()), address(path.as_ptr()), start, len]);
                4
            }
            Shape::Paths { from, to, flags } => {
                args[..2].copy_from_slice(&[signed(from.0.raw()), address(from.1.as_ptr())]);
                args[2..4].copy_from_slice(&[signed(to.0.raw()), address(to.1.as_ptr())]);
                args[4] = *flags;
                5
            }
            Shape::Symlink { target, dir, path } => {
                args[..2].copy_from_slice(&[address(target.as_ptr()), signed(dir.raw())]);
                args[2] = address(path.as_ptr());
                3
            }
            Shape::Times { fd, times } => {
                args[..3].copy_from_slice(&[raw_fd(fd), 0, address(times.as_ptr())]);
                4
            }
            Shape::PathTimes { dir, path, times, flags } => {
                args[..2].copy_from_slice(&[signed(dir.raw()), address(path.as_ptr())]);
                args[2..4].copy_from_slice(&[address(times.as_ptr()), (*flags).into()]);
                4
            }
            Shape::Statx { dir, path, flags, mask, buf } => {
                args[..2].copy_from_slice(&[signed(dir.raw()), address(path.as_ptr())]);
                args[2..4].copy_from_slice(&[(*flags).into(), (*mask).into()]);
                args[4] = address(&raw mut **buf);
                5
            }
            Shape::Connect { fd, address: to } => {
                args[..3].copy_from_slice(&[raw_fd(fd), address(to.as_ptr()), to.len()]);
                3
            }
            Shape::Args(list) => list.place(&mut args),
            Shape::Close { fd } => {
                args[0] = fd.as_ref().map_or(signed(-1), raw_fd);
                1
            }
        };
        (args, nr_args)
    }
}

impl<B> Shape<B> {
    /// Whether a path of it is none.
    #[inline]
    pub(super) fn is_nameless(&self) -> bool {
        match self {
            Shape::Path { path, .. }
            | Shape::PathBytes { path, .. }
            | Shape::PathTimes { path, .. }
            | Shape::Statx { path, .. } => path.is_none(),
            Shape::Paths { from, to, .. } => from.1.is_none() || to.1.is_none(),
            Shape::Symlink { target, path, .. } => target.is_none() || path.is_none(),
            Shape::Args(args) => args.is_nameless(),
            _ => false,
        }
    }
}
