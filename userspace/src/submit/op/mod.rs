//! Operations that own what they work on.
//!
//! An [`Op`] is a syscall with its descriptors, paths and buffers. It knows how
//! to name them by address once it lies where it will stay; it does not submit
//! itself.
//!
//! | room | duty |
//! |---|---|
//! | `address` | a socket address in bytes |
//! | `args` | arguments of operations without a shape of their own |
//! | `files` | operations on files, beyond those here |
//! | `sockets` | operations on sockets, and waits for readiness |
//! | `processes` | operations on processes, time, and what processes share |
//! | `register` | arguments as registers hold them |
//! | `shape` | what an operation owns, and its arguments |
//! | `way` | which way bytes go |
//! | `kind` | kinds of operations, by what they give |
//! | `value` | what each kind gives |
//! | `attributes` | the attributes asked for, and their bytes |
//! | `asked` | asking for them, one by one |
//!
//! SPEC: section 6.3 and appendix A (numbers of arguments).

use crate::error::Errno;
use crate::submit::{Buffer, Dir, PathArg, SharedFd};
use crate::syscall;
use aio2_abi::iocb::IocbFlags;
use aio2_abi::op::{self, MAX_ARGS};
use rustix::event::PollFlags;
use rustix::fs::{
    Advice, AtFlags, FallocateFlags, FileType, Mode, OFlags, RenameFlags, SeekFrom, StatxFlags,
};
use rustix::net::{RecvFlags, SendFlags};
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{IntoRawFd, OwnedFd};

mod address;
mod args;
mod asked;
mod attributes;
mod files;
pub(crate) mod kind;
mod processes;
mod register;
mod shape;
mod sockets;
mod value;
mod way;

pub(crate) use attributes::Follows;
pub use attributes::{After, CacheHint, Priority, Signal};
pub use files::SyncRange;
pub use processes::Exit;
pub use sockets::EpollChange;
pub use value::{Kind, OneBuffer, Read, Received};

use address::SocketAddress;
use attributes::Attributes;
use register::signed;
use shape::Shape;
use way::{Way, note_filled};

/// Flags of send(2) and recv(2) that leave the buffer to the caller once the call
/// has returned. Not MSG_ZEROCOPY, MSG_SPLICE_PAGES, MSG_SOCK_DEVMEM, and none
/// that a kernel of tomorrow may have.
const MESSAGE_FLAGS: i32 = libc::MSG_OOB
    | libc::MSG_PEEK
    | libc::MSG_DONTROUTE
    | libc::MSG_CTRUNC
    | libc::MSG_TRUNC
    | libc::MSG_DONTWAIT
    | libc::MSG_EOR
    | libc::MSG_WAITALL
    | libc::MSG_CONFIRM
    | libc::MSG_ERRQUEUE
    | libc::MSG_NOSIGNAL
    | libc::MSG_MORE
    | libc::MSG_WAITFORONE
    | libc::MSG_FASTOPEN
    | libc::MSG_CMSG_CLOEXEC;

/// One operation, with everything that it needs, and the attributes asked for.
///
/// While the operation is in flight all this belongs to the queue; it comes
/// back with the completion.
///
/// # Where it runs
///
/// | operation | runs |
/// |---|---|
/// | reads and writes of files | inline if that does not wait for a device, else on a worker |
/// | reads, writes, sends, receives and accepts of pipes, sockets, terminals, eventfds | inline if the file is ready; otherwise one thread waits for all of them, and no worker is taken |
/// | [`Op::poll`], [`Op::group`], what is held by [`After`], and any time before a deadline | waits without a thread |
/// | ids and [`Op::clock_gettime`] | inline |
/// | opening a file for reading, asking about it, closing it | inline if the kernel's caches suffice, else on a worker |
/// | all others | on a worker, which it holds until the call returns: a lock, a sleep or a wait for a child as long as that takes |
///
/// This is the engine's way; in a kernel with AIO2 the kernel's own workers take the place
/// of the engine's. Each operation says more: where it runs, and how long it may keep a
/// worker. [`Op::not_inline`] keeps one from the thread that submits.
///
/// When all workers are busy ([`crate::Builder::concurrency`]), what needs one waits its
/// turn, first come first served, and nothing else does.
///
/// ```
/// use aio2::{CacheHint, Op};
/// use std::fs::File;
///
/// let file = File::open("/etc/passwd")?;
/// let op = Op::read_at(file, vec![0; 4096], 0).timing().cache(CacheHint::Keep);
/// assert_eq!(op.name(), "pread64");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Op<B, K = kind::Any> {
    nr: u32,
    flags: IocbFlags,
    shape: Shape<B>,
    attributes: Attributes,
    kind: PhantomData<fn() -> K>,
}

/// A system call's number and arguments.
pub(crate) struct Call {
    pub(crate) nr: u32,
    pub(crate) flags: IocbFlags,
    pub(crate) args: [u64; MAX_ARGS],
    pub(crate) nr_args: usize,
}

impl<B, K> Op<B, K> {
    #[inline]
    fn new(nr: libc::c_long, shape: Shape<B>) -> Self {
        Op::numbered(u32::try_from(nr).expect("syscall numbers are small"), shape)
    }

    #[inline]
    fn numbered(nr: u32, shape: Shape<B>) -> Self {
        let (flags, attributes) = (IocbFlags::empty(), Attributes::default());
        Op { nr, flags, shape, attributes, kind: PhantomData }
    }

    /// The same operation, of which the type does not tell any more what it gives: so
    /// that operations of several kinds go to one place.
    #[must_use]
    #[inline]
    pub fn untyped(self) -> Op<B> {
        self.into_kind()
    }

    /// The same operation, as one of the kind that it was made as.
    #[inline]
    pub(crate) fn into_kind<L>(self) -> Op<B, L> {
        let Op { nr, flags, shape, attributes, .. } = self;
        Op { nr, flags, shape, attributes, kind: PhantomData }
    }

    fn on_fd<const N: usize>(nr: libc::c_long, fd: impl Into<SharedFd>, rest: [u64; N]) -> Self {
        let mut args = [0; 3];
        args[..N].copy_from_slice(&rest);
        Op::new(nr, Shape::Fd { fd: fd.into(), args, nr_args: 1 + N })
    }

    fn on_path<const N: usize>(
        nr: libc::c_long,
        dir: impl Into<Dir>,
        path: impl Into<PathArg>,
        rest: [u64; N],
    ) -> Self {
        let mut args = [0; 3];
        args[..N].copy_from_slice(&rest);
        Op::new(nr, Shape::Path { dir: dir.into(), path: path.into(), args, nr_args: 2 + N })
    }
}

impl<B> Op<B> {
    /// Does nothing; result 0.
    ///
    /// Runs inline.
    #[must_use]
    pub fn nop() -> Op<B, kind::Effect> {
        Op::numbered(op::NOP, Shape::Plain { args: [0; MAX_ARGS], nr_args: 0 })
    }

    /// Waits until the file is ready: for POLLIN, POLLOUT and the like, as in
    /// poll(2). The result is what it is ready for. Waits without a thread, for ever
    /// unless it has a deadline.
    pub fn poll(fd: impl Into<SharedFd>, events: PollFlags) -> Op<B, kind::Ready> {
        let events = u64::from(events.bits().cast_unsigned());
        Op::numbered(op::POLL, Shape::Fd { fd: fd.into(), args: [events, 0, 0], nr_args: 2 })
    }

    /// Closes the group of this key, and ends after its last member; the result
    /// is how many of them failed.
    ///
    /// Waits without a thread.
    #[must_use]
    pub fn group(key: u64) -> Op<B, kind::Failures> {
        let mut args = [0; MAX_ARGS];
        args[0] = key;
        Op::numbered(op::GROUP, Shape::Plain { args, nr_args: 1 })
    }

    /// Any syscall or operation by its number, with its arguments as registers.
    ///
    /// # Panics
    /// If there are more than 6 arguments.
    ///
    /// # Safety
    /// Every address among the arguments must be valid for what the operation
    /// does with it until its completion is there, also if the queue that it is
    /// pushed to is leaked. A descriptor that it closes must be the caller's to
    /// close.
    ///
    /// Some operations use memory after their completion, for as long as their
    /// manual pages say, and the memory must be valid until then: sendto(2) and
    /// sendmsg(2) with MSG_ZEROCOPY, pages that were given to a pipe
    /// (SPLICE_F_GIFT) or lent to a socket, those that getsockopt(2) maps with
    /// TCP_ZEROCOPY_RECEIVE. madvise(2) and its like change memory that others
    /// may own.
    #[must_use]
    pub unsafe fn syscall(nr: u32, args: &[u64]) -> Self {
        let mut all = [0; MAX_ARGS];
        all[..args.len()].copy_from_slice(args);
        Op::numbered(nr, Shape::Plain { args: all, nr_args: args.len() })
    }

    /// Makes the file's data and metadata durable: fsync(2).
    ///
    /// Runs on a worker, until the disk has it all: milliseconds, or seconds behind
    /// others' writes.
    pub fn fsync(fd: impl Into<SharedFd>) -> Op<B, kind::Effect> {
        Op::on_fd(libc::SYS_fsync, fd, [])
    }

    /// Makes the file's data durable: fdatasync(2).
    ///
    /// Runs on a worker, until the disk has it all: milliseconds, or seconds behind
    /// others' writes.
    pub fn fdatasync(fd: impl Into<SharedFd>) -> Op<B, kind::Effect> {
        Op::on_fd(libc::SYS_fdatasync, fd, [])
    }

    /// Reserves or gives back room, in bytes: fallocate(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn fallocate(
        fd: impl Into<SharedFd>,
        mode: FallocateFlags,
        offset: u64,
        len: u64,
    ) -> Op<B, kind::Effect> {
        Op::on_fd(libc::SYS_fallocate, fd, [mode.bits().into(), offset, len])
    }

    /// Sets the file's length in bytes: ftruncate(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn ftruncate(fd: impl Into<SharedFd>, len: u64) -> Op<B, kind::Effect> {
        Op::on_fd(libc::SYS_ftruncate, fd, [len])
    }

    /// Moves the file's position, or finds data and holes: lseek(2).
    ///
    /// Runs on a worker, for a short time.
    pub fn lseek(fd: impl Into<SharedFd>, to: SeekFrom) -> Op<B, kind::Position> {
        let (offset, whence) = match to {
            SeekFrom::Start(offset) => (offset, libc::SEEK_SET),
            SeekFrom::End(offset) => (offset.cast_unsigned(), libc::SEEK_END),
            SeekFrom::Current(offset) => (offset.cast_unsigned(), libc::SEEK_CUR),
            SeekFrom::Data(offset) => (offset, libc::SEEK_DATA),
            SeekFrom::Hole(offset) => (offset, libc::SEEK_HOLE),
        };
        Op::on_fd(libc::SYS_lseek, fd, [offset, signed(whence)])
    }

    /// Sets the file's permissions: fchmod(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn fchmod(fd: impl Into<SharedFd>, mode: Mode) -> Op<B, kind::Effect> {
        Op::on_fd(libc::SYS_fchmod, fd, [mode.bits().into()])
    }

    /// Sets the file's owner and group; `None` leaves it: fchown(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn fchown(
        fd: impl Into<SharedFd>,
        uid: Option<u32>,
        gid: Option<u32>,
    ) -> Op<B, kind::Effect> {
        let id = |id: Option<u32>| u64::from(id.unwrap_or(u32::MAX));
        Op::on_fd(libc::SYS_fchown, fd, [id(uid), id(gid)])
    }

    /// Sets the file's times of access and of modification: futimens(3).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn utimens(fd: impl Into<SharedFd>, times: [libc::timespec; 2]) -> Op<B, kind::Effect> {
        Op::new(libc::SYS_utimensat, Shape::Times { fd: fd.into(), times })
    }

    /// Sets the times of access and of modification of a name: utimensat(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn utimensat(
        dir: impl Into<Dir>,
        path: impl Into<PathArg>,
        times: [libc::timespec; 2],
        flags: AtFlags,
    ) -> Op<B, kind::Effect> {
        let flags = flags.bits();
        let shape = Shape::PathTimes { dir: dir.into(), path: path.into(), times, flags };
        Op::new(libc::SYS_utimensat, shape)
    }

    /// Tells how a range of the file will be used, in bytes: posix_fadvise(2).
    ///
    /// Runs on a worker, for a short time.
    pub fn fadvise(
        fd: impl Into<SharedFd>,
        offset: u64,
        len: u64,
        advice: Advice,
    ) -> Op<B, kind::Effect> {
        Op::on_fd(libc::SYS_fadvise64, fd, [offset, len, (advice as u32).into()])
    }

    /// Accepts a connection: accept4(2). The completion holds the new socket,
    /// which is close-on-exec.
    ///
    /// Runs inline if a connection is there; otherwise waits for one without a worker.
    pub fn accept(fd: impl Into<SharedFd>) -> Op<B, kind::Opens> {
        Op::on_fd(libc::SYS_accept4, fd, [0, 0, signed(libc::SOCK_CLOEXEC)])
    }

    /// Connects a socket: connect(2).
    ///
    /// Runs on a worker, until the connection is there or the peer is given up:
    /// minutes. [`crate::io::TcpStream::connect`] takes no worker.
    pub fn connect(fd: impl Into<SharedFd>, to: SocketAddr) -> Op<B, kind::Effect> {
        let address = Box::new(SocketAddress::from(to));
        Op::new(libc::SYS_connect, Shape::Connect { fd: fd.into(), address })
    }

    /// Closes a descriptor: close(2).
    ///
    /// Once it is accepted the descriptor is gone, whatever the result: as with
    /// the plain call it is released even if an error is reported. If the
    /// operation is cancelled before it started, the descriptor stays open
    /// without an owner, since a file system can report the same error.
    ///
    /// Runs inline if nothing but memory is let go: a file that was open for reading,
    /// with a name, all of it written. Else on a worker, for as long as the file's last
    /// close takes: on some file systems until its data is written.
    pub fn close(fd: impl Into<OwnedFd>) -> Op<B, kind::Effect> {
        Op::new(libc::SYS_close, Shape::Close { fd: Some(fd.into()) })
    }

    /// Opens a file, close-on-exec: openat(2). The completion holds the
    /// descriptor.
    ///
    /// Runs inline if it opens for reading, and the kernel's caches know the name of a
    /// regular file; else on a worker, until the file system has answered: a FIFO is
    /// opened when its other side is.
    pub fn openat(
        dir: impl Into<Dir>,
        path: impl Into<PathArg>,
        flags: OFlags,
        mode: Mode,
    ) -> Op<B, kind::Opens> {
        let flags = flags | OFlags::CLOEXEC;
        Op::on_path(libc::SYS_openat, dir, path, [flags.bits().into(), mode.bits().into()])
    }

    /// Removes a name: unlinkat(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn unlinkat(
        dir: impl Into<Dir>,
        path: impl Into<PathArg>,
        flags: AtFlags,
    ) -> Op<B, kind::Effect> {
        Op::on_path(libc::SYS_unlinkat, dir, path, [flags.bits().into()])
    }

    /// Makes a directory: mkdirat(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn mkdirat(
        dir: impl Into<Dir>,
        path: impl Into<PathArg>,
        mode: Mode,
    ) -> Op<B, kind::Effect> {
        Op::on_path(libc::SYS_mkdirat, dir, path, [mode.bits().into()])
    }

    /// Makes a fifo, socket, device or empty file: mknodat(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn mknodat(
        dir: impl Into<Dir>,
        path: impl Into<PathArg>,
        kind: FileType,
        mode: Mode,
        device: libc::dev_t,
    ) -> Op<B, kind::Effect> {
        let mode = kind.as_raw_mode() | mode.bits();
        Op::on_path(libc::SYS_mknodat, dir, path, [mode.into(), device])
    }

    /// Sets the permissions of a name, symbolic links followed: fchmodat(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn fchmodat(
        dir: impl Into<Dir>,
        path: impl Into<PathArg>,
        mode: Mode,
    ) -> Op<B, kind::Effect> {
        Op::on_path(libc::SYS_fchmodat, dir, path, [mode.bits().into()])
    }

    /// Sets owner and group of a name; `None` leaves it: fchownat(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn fchownat(
        dir: impl Into<Dir>,
        path: impl Into<PathArg>,
        uid: Option<u32>,
        gid: Option<u32>,
        flags: AtFlags,
    ) -> Op<B, kind::Effect> {
        let id = |id: Option<u32>| u64::from(id.unwrap_or(u32::MAX));
        Op::on_path(libc::SYS_fchownat, dir, path, [id(uid), id(gid), flags.bits().into()])
    }

    /// Renames a file: renameat2(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn renameat2(
        from: (impl Into<Dir>, impl Into<PathArg>),
        to: (impl Into<Dir>, impl Into<PathArg>),
        flags: RenameFlags,
    ) -> Op<B, kind::Effect> {
        let from = (from.0.into(), from.1.into());
        let to = (to.0.into(), to.1.into());
        Op::new(libc::SYS_renameat2, Shape::Paths { from, to, flags: flags.bits().into() })
    }

    /// Gives a file another name: linkat(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn linkat(
        from: (impl Into<Dir>, impl Into<PathArg>),
        to: (impl Into<Dir>, impl Into<PathArg>),
        flags: AtFlags,
    ) -> Op<B, kind::Effect> {
        let from = (from.0.into(), from.1.into());
        let to = (to.0.into(), to.1.into());
        Op::new(libc::SYS_linkat, Shape::Paths { from, to, flags: flags.bits().into() })
    }

    /// Makes a symbolic link at `path` that says `target`: symlinkat(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn symlinkat(
        target: impl Into<PathArg>,
        dir: impl Into<Dir>,
        path: impl Into<PathArg>,
    ) -> Op<B, kind::Effect> {
        let shape = Shape::Symlink { target: target.into(), dir: dir.into(), path: path.into() };
        Op::new(libc::SYS_symlinkat, shape)
    }

    /// Asks what is known of a file: statx(2). [`Op::statx_buf`] has the answer.
    ///
    /// Runs inline on ext4, XFS, Btrfs and tmpfs if the kernel's caches know the name;
    /// else on a worker, until the file system has answered.
    pub fn statx(
        dir: impl Into<Dir>,
        path: impl Into<PathArg>,
        flags: AtFlags,
        mask: StatxFlags,
    ) -> Op<B, kind::Statx> {
        // SAFETY: a structure of integers, which may all be zero.
        let buf = Box::new(unsafe { std::mem::zeroed() });
        let (flags, mask) = (flags.bits(), mask.bits());
        let shape = Shape::Statx { dir: dir.into(), path: path.into(), flags, mask, buf };
        Op::new(libc::SYS_statx, shape)
    }
}

impl<B, K> Op<B, K> {
    /// What a completed [`Op::statx`] has found; all zero before and on error.
    #[must_use]
    pub fn statx_buf(&self) -> Option<&libc::statx> {
        match &self.shape {
            Shape::Statx { buf, .. } => Some(buf),
            _ => None,
        }
    }

    /// The buffer, if the operation has one.
    #[must_use]
    pub fn buffer(&self) -> Option<&B> {
        match &self.shape {
            Shape::Bytes { buf, .. } | Shape::PathBytes { buf, .. } => Some(buf),
            Shape::Args(args) => args.buffer(),
            _ => None,
        }
    }

    /// Where in its buffer it begins.
    pub(crate) fn begin(&self) -> usize {
        match &self.shape {
            Shape::Bytes { range, .. } => range.start,
            _ => 0,
        }
    }

    /// Takes the operation apart and keeps the buffer, if it has one.
    #[must_use]
    #[inline(always)] // it is large, and would be copied
    pub fn into_buffer(self) -> Option<B> {
        match self.shape {
            // Nothing is to be dropped of it.
            Shape::Plain { .. } => None,
            Shape::Bytes { buf, .. } | Shape::PathBytes { buf, .. } => Some(buf),
            Shape::Args(args) => args.into_buffers().into_iter().next(),
            _ => None,
        }
    }

    /// Name of the syscall or operation, as in syscalls(2).
    #[must_use]
    pub fn name(&self) -> &'static str {
        syscall::lookup(self.nr)
            .map(|row| row.name)
            .or_else(|| op::describe(self.nr).map(|(name, _)| name))
            .unwrap_or("syscall")
    }
}

impl<B: Buffer, K> Op<B, K> {
    /// The call, with addresses of what the operation owns. They hold until
    /// `self` is moved or borrowed again.
    #[inline]
    pub(crate) fn call(&mut self) -> Call {
        let (args, nr_args) = self.shape.arguments();
        Call { nr: self.nr, flags: self.flags, args, nr_args }
    }

    #[inline]
    fn on_bytes(
        nr: libc::c_long,
        fd: impl Into<SharedFd>,
        mut buf: B,
        way: Way,
        arg: u64,
        nr_args: usize,
    ) -> Self {
        let range = 0..way.place(&mut buf).1;
        Op::new(nr, Shape::Bytes { fd: fd.into(), buf, way, range, arg, nr_args })
    }
}

impl<B: Buffer> Op<B> {
    /// Reads at `offset` bytes: pread(2).
    ///
    /// Runs inline as far as the page cache goes; what has to wait for the disk is with
    /// the device or on a worker until it is there.
    #[inline]
    pub fn read_at(fd: impl Into<SharedFd>, buf: B, offset: u64) -> Op<B, kind::Reads> {
        Op::on_bytes(libc::SYS_pread64, fd, buf, Way::In, offset, 4)
    }

    /// Writes at `offset` bytes: pwrite(2).
    ///
    /// Runs inline as far as the page cache goes; what has to wait for the disk is with
    /// the device or on a worker until it is there.
    #[inline]
    pub fn write_at(fd: impl Into<SharedFd>, buf: B, offset: u64) -> Op<B, kind::Writes> {
        Op::on_bytes(libc::SYS_pwrite64, fd, buf, Way::Out, offset, 4)
    }

    /// Reads at the file's position, or from a pipe: read(2).
    ///
    /// Runs as [`Op::read_at`]; of a pipe, socket, terminal or eventfd it waits for
    /// bytes without a worker.
    pub fn read(fd: impl Into<SharedFd>, buf: B) -> Op<B, kind::Reads> {
        Op::on_bytes(libc::SYS_read, fd, buf, Way::In, 0, 3)
    }

    /// Writes at the file's position, or to a pipe: write(2).
    ///
    /// Runs as [`Op::write_at`]; of a pipe, socket, terminal or eventfd it waits for
    /// room without a worker.
    pub fn write(fd: impl Into<SharedFd>, buf: B) -> Op<B, kind::Writes> {
        Op::on_bytes(libc::SYS_write, fd, buf, Way::Out, 0, 3)
    }

    /// Receives from a socket: recv(2).
    ///
    /// Flags that lend memory to the kernel are refused, as in [`Op::send`].
    ///
    /// Runs inline if bytes are there; otherwise waits for them without a worker.
    pub fn recv(fd: impl Into<SharedFd>, buf: B, flags: RecvFlags) -> Op<B, kind::Reads> {
        Op::on_bytes(libc::SYS_recvfrom, fd, buf, Way::In, flags.bits().into(), 6)
    }

    /// Sends to a socket: send(2).
    ///
    /// With MSG_ZEROCOPY the kernel may read the buffer after the completion, at
    /// a time that only the socket's error queue tells. So it is refused with
    /// EOPNOTSUPP, as is each flag that is not known here to do without the
    /// buffer afterwards; [`Op::syscall`] can do it.
    ///
    /// Runs inline if there is room; otherwise waits for it without a worker.
    pub fn send(fd: impl Into<SharedFd>, buf: B, flags: SendFlags) -> Op<B, kind::Writes> {
        Op::on_bytes(libc::SYS_sendto, fd, buf, Way::Out, flags.bits().into(), 6)
    }

    /// Reads entries of a directory: getdents64(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn getdents(fd: impl Into<SharedFd>, buf: B) -> Op<B, kind::Reads> {
        Op::on_bytes(libc::SYS_getdents64, fd, buf, Way::In, 0, 3)
    }

    /// Reads what a symbolic link says: readlinkat(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn readlinkat(dir: impl Into<Dir>, path: impl Into<PathArg>, buf: B) -> Op<B, kind::Reads> {
        let shape = Shape::PathBytes { dir: dir.into(), path: path.into(), buf };
        Op::new(libc::SYS_readlinkat, shape)
    }
}

impl<B: Buffer, K> Op<B, K> {
    /// Why it cannot be run: it could use its buffer after its completion, or would fill
    /// one that is shared, or has no path.
    #[inline]
    pub(crate) fn refusal(&mut self) -> Option<Errno> {
        let (nr, lends) = (self.nr as libc::c_long, !signed(MESSAGE_FLAGS));
        match &mut self.shape {
            Shape::Bytes { arg, .. }
                if *arg & lends != 0 && matches!(nr, libc::SYS_sendto | libc::SYS_recvfrom) =>
            {
                Some(Errno(libc::EOPNOTSUPP))
            }
            Shape::Bytes { way: Way::Out, .. } | Shape::Fd { .. } | Shape::Plain { .. } => None,
            Shape::Bytes { buf, .. } => buf.room().is_none().then_some(Errno(libc::EFAULT)),
            Shape::PathBytes { path, .. } if path.is_none() => Some(Errno(libc::EINVAL)),
            Shape::PathBytes { buf, .. } => buf.room().is_none().then_some(Errno(libc::EFAULT)),
            Shape::Args(args) => {
                let flags = match nr {
                    libc::SYS_sendto | libc::SYS_recvfrom => args.number(3),
                    libc::SYS_sendmsg | libc::SYS_recvmsg => args.number(2),
                    _ => 0,
                };
                if flags & lends != 0 {
                    return Some(Errno(libc::EOPNOTSUPP));
                }
                if args.is_nameless() {
                    return Some(Errno(libc::EINVAL));
                }
                args.is_shared().then_some(Errno(libc::EFAULT))
            }
            shape => shape.is_nameless().then_some(Errno(libc::EINVAL)),
        }
    }

    /// It has ended with `result`: buffers take note of what was read.
    #[inline]
    pub(crate) fn note_filled(&mut self, result: u64) {
        let bytes = usize::try_from(result).unwrap_or(0);
        let nr = self.nr as libc::c_long;
        let truncates = |flags: u64| flags & signed(libc::MSG_TRUNC) != 0;
        match &mut self.shape {
            // What such a receive returns is not how many bytes it has put there.
            Shape::Bytes { arg, .. } if nr == libc::SYS_recvfrom && truncates(*arg) => {}
            Shape::Bytes { buf, way: Way::In, range, .. } if range.start == 0 => {
                // SAFETY: so many bytes were put there from the beginning on.
                unsafe { note_filled(buf, bytes.min(range.end)) };
            }
            Shape::PathBytes { buf, .. } => {
                // SAFETY: as above.
                unsafe { note_filled(buf, bytes) };
            }
            Shape::Args(args) => {
                let flags = match nr {
                    libc::SYS_recvfrom => args.number(3),
                    libc::SYS_recvmsg => args.number(2),
                    _ => 0,
                };
                if !truncates(flags) {
                    args.filled(bytes);
                }
            }
            _ => {}
        }
    }

    /// Uses only this part of the buffer, in bytes; otherwise all is used.
    /// Without meaning for an operation that has no descriptor and buffer.
    ///
    /// # Panics
    /// If the range goes beyond the buffer.
    #[must_use]
    pub fn range(mut self, part: Range<usize>) -> Self {
        if let Shape::Bytes { buf, way, range, .. } = &mut self.shape {
            let len = way.place(buf).1;
            assert!(
                part.start <= part.end && part.end <= len,
                "range {part:?} of a buffer of {len} bytes"
            );
            *range = part;
        }
        self
    }
}

impl<B, K> Op<B, K> {
    /// Transfers all bytes or fails (feature FULL, R-RUN-5): ENODATA at the end of
    /// what can be read, and otherwise the errno of the call that moved no more. One
    /// that fails, is cancelled or is late may have moved a part, and does not say how
    /// much: a file can have some of the bytes, and a stream has given or taken them.
    #[must_use]
    pub fn full(mut self) -> Self {
        self.flags |= IocbFlags::FULL;
        self
    }

    /// Goes on after its first event, until it is cancelled or there is no room
    /// for a further one: [`Op::poll`] only. See [`crate::Queue::pop_any`].
    #[must_use]
    pub fn multishot(mut self) -> Self {
        self.flags |= IocbFlags::MULTISHOT;
        self
    }

    /// Does not try it within the submission.
    #[must_use]
    pub fn not_inline(mut self) -> Self {
        self.flags |= IocbFlags::ASYNC;
        self
    }

    /// The key of the group that it closes.
    pub(crate) fn closes(&self) -> Option<u64> {
        match &self.shape {
            Shape::Plain { args, .. } if self.nr == op::GROUP => Some(args[0]),
            _ => None,
        }
    }

    /// Whether it has failed, if this is its result: what is after it does not start.
    ///
    /// SPEC: R-AFTER-2
    #[inline]
    pub(crate) fn has_failed(&self, result: Result<u64, Errno>) -> bool {
        match result {
            Ok(result) => result > 0 && self.nr == op::GROUP,
            Err(_) => true,
        }
    }

    /// False if it surely neither opens, nor receives, nor closes a descriptor, which is
    /// so for what there is most of.
    #[inline]
    pub(crate) fn may_change_descriptors(&self) -> bool {
        !matches!(self.shape, Shape::Plain { .. } | Shape::Bytes { .. })
    }

    /// It has ended well: descriptors that it has received are its own.
    #[inline]
    pub(crate) fn take_received(&mut self) {
        if let Shape::Args(args) = &mut self.shape {
            args.take_received();
        }
    }

    /// True if a successful result is a new descriptor that nobody owns yet.
    #[inline]
    pub(crate) fn opens(&self) -> bool {
        match &self.shape {
            Shape::Path { .. } => self.nr as libc::c_long == libc::SYS_openat,
            Shape::Fd { args, .. } => match self.nr as libc::c_long {
                libc::SYS_accept4 | libc::SYS_dup => true,
                libc::SYS_fcntl => args[0] == signed(libc::F_DUPFD_CLOEXEC),
                _ => false,
            },
            Shape::Args(_) => matches!(
                self.nr as libc::c_long,
                libc::SYS_accept4 | libc::SYS_openat2 | libc::SYS_pidfd_open | libc::SYS_socket
            ),
            _ => false,
        }
    }

    /// Closes a descriptor that the operation was to close, and never will.
    pub(crate) fn close_unbegun(&mut self) {
        if let Shape::Close { fd } = &mut self.shape {
            drop(fd.take());
        }
    }

    /// Lets go of a descriptor that the accepted operation has closed.
    #[inline]
    pub(crate) fn let_go(&mut self) {
        if let Shape::Close { fd } = &mut self.shape
            && let Some(fd) = fd.take()
        {
            // Released by the operation: see `Op::close`.
            let _number = fd.into_raw_fd();
        }
    }
}

impl<B, K> fmt::Debug for Op<B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Op({})", self.name())
    }
}
