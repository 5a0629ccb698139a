//! Operations on files, beyond those that have a shape of their own.

#[cfg(target_pointer_width = "64")]
use super::args::written;
use super::args::{Arg, Args, Vectors, read, room};
use super::way::Way;
use super::{Op, Shape, kind, signed};
use crate::submit::{Buffer, Dir, PathArg, SharedFd};
use crate::syscall::number::SYS_newfstatat;
use bitflags::bitflags;
use rustix::fs::{Access, AtFlags, FlockOperation, Mode, OFlags, ResolveFlags, XattrFlags};
use rustix::io::ReadWriteFlags;
use rustix::pipe::SpliceFlags;

bitflags! {
    /// What [`Op::sync_file_range`] does: SYNC_FILE_RANGE_ and the name.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct SyncRange: u32 {
        /// Waits for writes of these pages that are under way, before it starts more.
        const WAIT_BEFORE = libc::SYNC_FILE_RANGE_WAIT_BEFORE;
        /// Starts to write pages that have changed.
        const WRITE = libc::SYNC_FILE_RANGE_WRITE;
        /// Waits until they are written.
        const WAIT_AFTER = libc::SYNC_FILE_RANGE_WAIT_AFTER;
        const _ = !0;
    }
}

/// A number that is an offset, or none: the position of the file.
fn offset<B>(offset: Option<u64>) -> Arg<B> {
    offset.map_or(Arg::Number(0), |offset| Arg::Words(Box::new([offset])))
}

impl<B, K> Op<B, K> {
    pub(super) fn on_args(nr: libc::c_long, list: impl Into<Vec<Arg<B>>>) -> Self {
        Op::new(nr, Shape::Args(Box::new(Args::new(list))))
    }

    pub(super) fn words(&self, nr: libc::c_long, n: usize) -> Option<&[u64]> {
        match &self.shape {
            Shape::Args(args) if self.nr as libc::c_long == nr => args.words(n),
            _ => None,
        }
    }
}

impl<B> Op<B> {
    /// Starts or waits for the write-back of a range, in bytes: sync_file_range(2).
    ///
    /// Runs on a worker; with the flags that wait, until the disk has the range.
    pub fn sync_file_range(
        fd: impl Into<SharedFd>,
        offset: u64,
        len: u64,
        flags: SyncRange,
    ) -> Op<B, kind::Effect> {
        Op::on_fd(libc::SYS_sync_file_range, fd, [offset, len, flags.bits().into()])
    }

    /// Makes the file system durable that the file is on: syncfs(2).
    ///
    /// Runs on a worker, until the disk has it all: milliseconds, or seconds behind
    /// others' writes.
    pub fn syncfs(fd: impl Into<SharedFd>) -> Op<B, kind::Effect> {
        Op::on_fd(libc::SYS_syncfs, fd, [])
    }

    /// Reads a range into the page cache, in bytes: readahead(2).
    ///
    /// Runs on a worker, until the range is read.
    pub fn readahead(fd: impl Into<SharedFd>, offset: u64, len: u64) -> Op<B, kind::Effect> {
        Op::on_fd(libc::SYS_readahead, fd, [offset, len])
    }

    /// Sets the length of the file of this name in bytes: truncate(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn truncate(path: impl Into<PathArg>, len: u64) -> Op<B, kind::Effect> {
        Op::on_args(libc::SYS_truncate, [Arg::Path(path.into()), Arg::Number(len)])
    }

    /// Locks or unlocks an open file: flock(2). It waits on a worker for as long as
    /// others hold it, unless it is one of the operations that do not block.
    pub fn flock(fd: impl Into<SharedFd>, operation: FlockOperation) -> Op<B, kind::Effect> {
        Op::on_fd(libc::SYS_flock, fd, [signed(operation as i32)])
    }

    /// Locks a range of an open file, in bytes: fcntl(2) with F_OFD_SETLKW, which waits
    /// on a worker for as long as others hold it, or with F_OFD_SETLK by the operations
    /// that do not block; `len` 0 means to the end.
    #[cfg(target_pointer_width = "64")]
    pub fn lock(
        fd: impl Into<SharedFd>,
        operation: FlockOperation,
        start: u64,
        len: u64,
    ) -> Op<B, kind::Effect> {
        let (kind, command) = match operation {
            FlockOperation::LockShared => (libc::F_RDLCK, libc::F_OFD_SETLKW),
            FlockOperation::LockExclusive => (libc::F_WRLCK, libc::F_OFD_SETLKW),
            FlockOperation::Unlock => (libc::F_UNLCK, libc::F_OFD_SETLKW),
            FlockOperation::NonBlockingLockShared => (libc::F_RDLCK, libc::F_OFD_SETLK),
            FlockOperation::NonBlockingLockExclusive => (libc::F_WRLCK, libc::F_OFD_SETLK),
            FlockOperation::NonBlockingUnlock => (libc::F_UNLCK, libc::F_OFD_SETLK),
        };
        // SAFETY: a structure of integers, which may all be zero.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = kind as i16;
        (lock.l_start, lock.l_len) = (start as i64, len as i64);
        // SAFETY: it was zeroed.
        let lock = unsafe { written(lock) };
        let args = [Arg::Fd(fd.into()), Arg::Number(signed(command)), Arg::Words(lock)];
        Op::on_args(libc::SYS_fcntl, args)
    }

    /// The status flags of an open file, such as O_APPEND: fcntl(2) with F_GETFL.
    ///
    /// Runs inline.
    pub fn status_flags(fd: impl Into<SharedFd>) -> Op<B, kind::StatusFlags> {
        Op::on_fd(libc::SYS_fcntl, fd, [signed(libc::F_GETFL), 0])
    }

    /// Another descriptor of the same open file, close-on-exec: fcntl(2) with
    /// F_DUPFD_CLOEXEC. The completion holds it.
    ///
    /// Runs inline.
    pub fn duplicate(fd: impl Into<SharedFd>) -> Op<B, kind::Opens> {
        Op::on_fd(libc::SYS_fcntl, fd, [signed(libc::F_DUPFD_CLOEXEC), 0])
    }

    /// Another descriptor of the same open file, which exec(2) does not close:
    /// dup(2). The completion holds it.
    ///
    /// Runs inline.
    pub fn dup(fd: impl Into<SharedFd>) -> Op<B, kind::Opens> {
        Op::on_fd(libc::SYS_dup, fd, [])
    }

    /// Opens a file, close-on-exec, as openat(2), with rules for how its path may
    /// lead, such as RESOLVE_BENEATH: openat2(2). The completion holds the descriptor.
    ///
    /// Runs inline if it opens for reading, and the kernel's caches know the name of a
    /// regular file; else on a worker, until the file system has answered: a FIFO is
    /// opened when its other side is.
    pub fn openat2(
        dir: impl Into<Dir>,
        path: impl Into<PathArg>,
        flags: OFlags,
        mode: Mode,
        resolve: ResolveFlags,
    ) -> Op<B, kind::Opens> {
        let flags = flags | OFlags::CLOEXEC;
        let how: Box<[u64]> = Box::new([flags.bits().into(), mode.bits().into(), resolve.bits()]);
        let bytes = 8 * how.len() as u64;
        let path = Arg::Path(path.into());
        let args = [Arg::Dir(dir.into()), path, Arg::Words(how), Arg::Number(bytes)];
        Op::on_args(libc::SYS_openat2, args)
    }

    /// Whether this process may use a file so, with its real ids: faccessat(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn faccessat(
        dir: impl Into<Dir>,
        path: impl Into<PathArg>,
        mode: Access,
    ) -> Op<B, kind::Effect> {
        Op::on_path(libc::SYS_faccessat, dir, path, [signed(mode.bits())])
    }

    /// As [`Op::faccessat`], with flags such as AT_EACCESS: faccessat2(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn faccessat2(
        dir: impl Into<Dir>,
        path: impl Into<PathArg>,
        mode: Access,
        flags: AtFlags,
    ) -> Op<B, kind::Effect> {
        let (mode, flags) = (signed(mode.bits()), flags.bits().into());
        Op::on_path(libc::SYS_faccessat2, dir, path, [mode, flags])
    }

    /// Asks what is known of an open file: fstat(2). [`Op::stat`] has the answer.
    ///
    /// Runs inline on ext4, XFS, Btrfs and tmpfs; else on a worker, until the file
    /// system has answered.
    pub fn fstat(fd: impl Into<SharedFd>) -> Op<B, kind::Stat> {
        let room = Arg::Words(room::<libc::stat>());
        Op::on_args(libc::SYS_fstat, [Arg::Fd(fd.into()), room])
    }

    /// Asks what is known of a name: fstatat(2). [`Op::stat`] has the answer.
    ///
    /// Runs inline on ext4, XFS, Btrfs and tmpfs if the kernel's caches know the name;
    /// else on a worker, until the file system has answered.
    #[cfg(target_pointer_width = "64")]
    pub fn fstatat(
        dir: impl Into<Dir>,
        path: impl Into<PathArg>,
        flags: AtFlags,
    ) -> Op<B, kind::Stat> {
        let (path, room) = (Arg::Path(path.into()), Arg::Words(room::<libc::stat>()));
        let args = [Arg::Dir(dir.into()), path, room, Arg::Number(flags.bits().into())];
        Op::on_args(SYS_newfstatat, args)
    }

    /// Asks about the file system of an open file: fstatfs(2). [`Op::file_system`]
    /// has the answer.
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn fstatfs(fd: impl Into<SharedFd>) -> Op<B, kind::FileSystem> {
        let room = Arg::Words(room::<libc::statfs>());
        Op::on_args(libc::SYS_fstatfs, [Arg::Fd(fd.into()), room])
    }

    /// Asks about the file system of a name: statfs(2). [`Op::file_system`] has the
    /// answer.
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn statfs(path: impl Into<PathArg>) -> Op<B, kind::FileSystem> {
        let room = Arg::Words(room::<libc::statfs>());
        Op::on_args(libc::SYS_statfs, [Arg::Path(path.into()), room])
    }

    /// Removes an extended attribute: fremovexattr(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn fremovexattr(fd: impl Into<SharedFd>, name: impl Into<PathArg>) -> Op<B, kind::Effect> {
        Op::on_args(libc::SYS_fremovexattr, [Arg::Fd(fd.into()), Arg::Path(name.into())])
    }

    /// Removes an extended attribute of a name, symbolic links followed:
    /// removexattr(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn removexattr(path: impl Into<PathArg>, name: impl Into<PathArg>) -> Op<B, kind::Effect> {
        Op::on_args(libc::SYS_removexattr, [Arg::Path(path.into()), Arg::Path(name.into())])
    }

    /// As [`Op::removexattr`], of a symbolic link itself: lremovexattr(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn lremovexattr(path: impl Into<PathArg>, name: impl Into<PathArg>) -> Op<B, kind::Effect> {
        Op::on_args(libc::SYS_lremovexattr, [Arg::Path(path.into()), Arg::Path(name.into())])
    }

    /// Copies bytes between files within the kernel, perhaps by sharing them:
    /// copy_file_range(2). An offset that is none is the file's position.
    ///
    /// Runs on a worker, until the bytes are copied: for many of them, give several
    /// ranges.
    pub fn copy_file_range(
        from: (impl Into<SharedFd>, Option<u64>),
        to: (impl Into<SharedFd>, Option<u64>),
        len: usize,
    ) -> Op<B, kind::Moves> {
        let (to, to_offset) = (Arg::Fd(to.0.into()), offset(to.1));
        let args = [Arg::Fd(from.0.into()), offset(from.1), to, to_offset];
        let rest = [Arg::Number(len as u64), Arg::Number(0)];
        Op::on_args(libc::SYS_copy_file_range, args.into_iter().chain(rest).collect::<Vec<_>>())
    }

    /// Sends bytes of a file, to a socket mostly: sendfile(2). An offset that is none
    /// is the file's position.
    ///
    /// Runs on a worker, until the bytes are read and the other side has room for them.
    pub fn sendfile(
        to: impl Into<SharedFd>,
        from: (impl Into<SharedFd>, Option<u64>),
        len: usize,
    ) -> Op<B, kind::Moves> {
        let (file, at) = (Arg::Fd(from.0.into()), offset(from.1));
        Op::on_args(libc::SYS_sendfile, [Arg::Fd(to.into()), file, at, Arg::Number(len as u64)])
    }

    /// Moves bytes between a pipe and another file: splice(2). Pages cannot be given
    /// away (SPLICE_F_GIFT does nothing here). It waits on a worker.
    pub fn splice(
        from: (impl Into<SharedFd>, Option<u64>),
        to: (impl Into<SharedFd>, Option<u64>),
        len: usize,
        flags: SpliceFlags,
    ) -> Op<B, kind::Moves> {
        let (to, to_offset) = (Arg::Fd(to.0.into()), offset(to.1));
        let args = [Arg::Fd(from.0.into()), offset(from.1), to, to_offset];
        let rest = [Arg::Number(len as u64), Arg::Number(flags.bits().into())];
        Op::on_args(libc::SYS_splice, args.into_iter().chain(rest).collect::<Vec<_>>())
    }

    /// Copies what is in a pipe to another one: tee(2). It waits on a worker.
    pub fn tee(
        from: impl Into<SharedFd>,
        to: impl Into<SharedFd>,
        len: usize,
        flags: SpliceFlags,
    ) -> Op<B, kind::Moves> {
        let rest = [Arg::Number(len as u64), Arg::Number(flags.bits().into())];
        let args = [Arg::Fd(from.into()), Arg::Fd(to.into())];
        Op::on_args(libc::SYS_tee, args.into_iter().chain(rest).collect::<Vec<_>>())
    }
}

impl<B: Buffer, K> Op<B, K> {
    fn vectored(
        nr: libc::c_long,
        fd: impl Into<SharedFd>,
        buffers: Vec<B>,
        way: Way,
        rest: &[u64],
    ) -> Self {
        let count = buffers.len() as u64;
        let mut args = vec![Arg::Fd(fd.into()), Arg::Buffers(Vectors::new(buffers, way))];
        args.push(Arg::Number(count));
        args.extend(rest.iter().map(|number| Arg::Number(*number)));
        Op::on_args(nr, args)
    }

    fn xattr(
        nr: libc::c_long,
        what: Arg<B>,
        name: Option<PathArg>,
        buf: B,
        flags: Option<XattrFlags>,
    ) -> Self {
        let mut args = vec![what];
        args.extend(name.map(Arg::Path));
        // Only those that set one have flags.
        let buffer = if flags.is_none() { Arg::Buffer(buf) } else { Arg::Content(buf) };
        args.extend([buffer, Arg::Length]);
        args.extend(flags.map(|flags| Arg::Number(flags.bits().into())));
        Op::on_args(nr, args)
    }
}

impl<B: Buffer> Op<B> {
    /// Reads at the file's position into several buffers, one after the other:
    /// readv(2). [`Op::into_buffers`] gives them back.
    ///
    /// Runs as [`Op::read_at`]; of a pipe, socket, terminal or eventfd it waits for
    /// bytes without a worker.
    pub fn readv(fd: impl Into<SharedFd>, buffers: Vec<B>) -> Op<B, kind::ReadsSeveral> {
        Op::vectored(libc::SYS_readv, fd, buffers, Way::In, &[])
    }

    /// Writes several buffers at the file's position: writev(2).
    ///
    /// Runs as [`Op::write_at`]; of a pipe, socket, terminal or eventfd it waits for
    /// room without a worker.
    pub fn writev(fd: impl Into<SharedFd>, buffers: Vec<B>) -> Op<B, kind::WritesSeveral> {
        Op::vectored(libc::SYS_writev, fd, buffers, Way::Out, &[])
    }

    /// Reads at `offset` bytes into several buffers: preadv(2).
    ///
    /// Runs inline as far as the page cache goes; what has to wait for the disk is with
    /// the device or on a worker until it is there.
    pub fn readv_at(
        fd: impl Into<SharedFd>,
        buffers: Vec<B>,
        offset: u64,
    ) -> Op<B, kind::ReadsSeveral> {
        Op::vectored(libc::SYS_preadv, fd, buffers, Way::In, &[offset, 0])
    }

    /// Writes several buffers at `offset` bytes: pwritev(2).
    ///
    /// Runs inline as far as the page cache goes; what has to wait for the disk is with
    /// the device or on a worker until it is there.
    pub fn writev_at(
        fd: impl Into<SharedFd>,
        buffers: Vec<B>,
        offset: u64,
    ) -> Op<B, kind::WritesSeveral> {
        Op::vectored(libc::SYS_pwritev, fd, buffers, Way::Out, &[offset, 0])
    }

    /// As [`Op::readv_at`], with flags such as RWF_NOWAIT: preadv2(2).
    ///
    /// Runs inline as far as the page cache goes; what has to wait for the disk is with
    /// the device or on a worker until it is there.
    pub fn preadv2(
        fd: impl Into<SharedFd>,
        buffers: Vec<B>,
        offset: u64,
        flags: ReadWriteFlags,
    ) -> Op<B, kind::ReadsSeveral> {
        Op::vectored(libc::SYS_preadv2, fd, buffers, Way::In, &[offset, 0, flags.bits().into()])
    }

    /// As [`Op::writev_at`], with flags such as RWF_DSYNC: pwritev2(2).
    ///
    /// Runs inline as far as the page cache goes; what has to wait for the disk is with
    /// the device or on a worker until it is there.
    pub fn pwritev2(
        fd: impl Into<SharedFd>,
        buffers: Vec<B>,
        offset: u64,
        flags: ReadWriteFlags,
    ) -> Op<B, kind::WritesSeveral> {
        Op::vectored(libc::SYS_pwritev2, fd, buffers, Way::Out, &[offset, 0, flags.bits().into()])
    }

    /// Reads an extended attribute: fgetxattr(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn fgetxattr(
        fd: impl Into<SharedFd>,
        name: impl Into<PathArg>,
        buf: B,
    ) -> Op<B, kind::Reads> {
        Op::xattr(libc::SYS_fgetxattr, Arg::Fd(fd.into()), Some(name.into()), buf, None)
    }

    /// Reads an extended attribute of a name, symbolic links followed: getxattr(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn getxattr(
        path: impl Into<PathArg>,
        name: impl Into<PathArg>,
        buf: B,
    ) -> Op<B, kind::Reads> {
        Op::xattr(libc::SYS_getxattr, Arg::Path(path.into()), Some(name.into()), buf, None)
    }

    /// As [`Op::getxattr`], of a symbolic link itself: lgetxattr(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn lgetxattr(
        path: impl Into<PathArg>,
        name: impl Into<PathArg>,
        buf: B,
    ) -> Op<B, kind::Reads> {
        Op::xattr(libc::SYS_lgetxattr, Arg::Path(path.into()), Some(name.into()), buf, None)
    }

    /// Sets an extended attribute: fsetxattr(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn fsetxattr(
        fd: impl Into<SharedFd>,
        name: impl Into<PathArg>,
        value: B,
        flags: XattrFlags,
    ) -> Op<B, kind::Writes> {
        Op::xattr(libc::SYS_fsetxattr, Arg::Fd(fd.into()), Some(name.into()), value, Some(flags))
    }

    /// Sets an extended attribute of a name, symbolic links followed: setxattr(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn setxattr(
        path: impl Into<PathArg>,
        name: impl Into<PathArg>,
        value: B,
        flags: XattrFlags,
    ) -> Op<B, kind::Writes> {
        Op::xattr(libc::SYS_setxattr, Arg::Path(path.into()), Some(name.into()), value, Some(flags))
    }

    /// As [`Op::setxattr`], of a symbolic link itself: lsetxattr(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn lsetxattr(
        path: impl Into<PathArg>,
        name: impl Into<PathArg>,
        value: B,
        flags: XattrFlags,
    ) -> Op<B, kind::Writes> {
        Op::xattr(
            libc::SYS_lsetxattr,
            Arg::Path(path.into()),
            Some(name.into()),
            value,
            Some(flags),
        )
    }

    /// Reads the names of extended attributes, each ended by a 0: flistxattr(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn flistxattr(fd: impl Into<SharedFd>, buf: B) -> Op<B, kind::Reads> {
        Op::xattr(libc::SYS_flistxattr, Arg::Fd(fd.into()), None, buf, None)
    }

    /// Reads the names of a name's extended attributes, symbolic links followed:
    /// listxattr(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn listxattr(path: impl Into<PathArg>, buf: B) -> Op<B, kind::Reads> {
        Op::xattr(libc::SYS_listxattr, Arg::Path(path.into()), None, buf, None)
    }

    /// As [`Op::listxattr`], of a symbolic link itself: llistxattr(2).
    ///
    /// Runs on a worker, until the file system has answered: it may read its own data
    /// from the disk first.
    pub fn llistxattr(path: impl Into<PathArg>, buf: B) -> Op<B, kind::Reads> {
        Op::xattr(libc::SYS_llistxattr, Arg::Path(path.into()), None, buf, None)
    }
}

/// What has come of an operation.
impl<B, K> Op<B, K> {
    /// What a completed [`Op::fstat`] or [`Op::fstatat`] has found; all zero before
    /// and on error.
    #[must_use]
    pub fn stat(&self) -> Option<libc::stat> {
        let words = self.words(libc::SYS_fstat, 0).or(self.words(SYS_newfstatat, 0))?;
        // SAFETY: a structure of integers.
        unsafe { read(words) }
    }

    /// What a completed [`Op::fstatfs`] or [`Op::statfs`] has found; all zero before
    /// and on error.
    #[must_use]
    pub fn file_system(&self) -> Option<libc::statfs> {
        let words = self.words(libc::SYS_fstatfs, 0).or(self.words(libc::SYS_statfs, 0))?;
        // SAFETY: a structure of integers.
        unsafe { read(words) }
    }

    /// Takes the operation apart and keeps its buffers.
    #[must_use]
    pub fn into_buffers(self) -> Vec<B> {
        match self.shape {
            Shape::Args(args) => args.into_buffers(),
            _ => self.into_buffer().into_iter().collect(),
        }
    }
}
