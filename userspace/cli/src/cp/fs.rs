//! The syscalls that copying uses, each as an asynchronous operation.
//!
//! Duty: types for arguments and results. Not here: what a failure means.

use super::failure::{Failure, Reason};
use super::flight::{Done, Flight};
use super::stat::{Identity, Stat};
use super::transfer::Sum;
use aio2::{Dir, Errno, Op, SharedFd};
use std::ffi::CStr;
use std::ops::Range;

/// An operation that failed.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The syscall's name.
    pub operation: &'static str,
    /// The error it ended with.
    pub errno: Errno,
}

impl Fault {
    /// The failure that it is for `path`.
    pub fn at(self, path: Vec<u8>) -> Failure {
        let Fault { operation, errno } = self;
        Failure { operation, path, reason: Reason::Errno(errno), help: None }
    }
}

/// Bytes that were moved, and the buffer.
pub struct Moved {
    pub buffer: Vec<u8>,
    pub bytes: usize,
}

/// A file in a directory.
type At<'a> = (&'a Dir, &'a CStr);

/// File operations, all through AIO2.
pub struct Fs {
    flight: Flight,
}

impl Fs {
    /// Operations over `flight`.
    pub fn new(flight: Flight) -> Self {
        Fs { flight }
    }

    /// The operations in flight.
    pub fn flight(&self) -> &Flight {
        &self.flight
    }

    /// Takes the operations apart again.
    pub fn into_flight(self) -> Flight {
        self.flight
    }

    async fn run(&self, op: Op<Vec<u8>>) -> Result<Done, Fault> {
        let operation = op.name();
        let fault = |errno| Fault { operation, errno };
        let done = self.flight.call(op).await.map_err(fault)?;
        match done.result {
            Ok(_) => Ok(done),
            Err(errno) => Err(fault(errno)),
        }
    }

    async fn done(&self, op: Op<Vec<u8>>) -> Result<(), Fault> {
        self.run(op).await.map(|_| ())
    }

    pub async fn openat(
        &self,
        dir: &Dir,
        name: &CStr,
        flags: i32,
        mode: u32,
    ) -> Result<SharedFd, Fault> {
        let done = self.run(Op::openat(dir.clone(), name, flags, mode)).await?;
        let bad = Fault { operation: "openat", errno: Errno(libc::EBADF) };
        done.opened.map(SharedFd::new).ok_or(bad)
    }

    /// Closes a descriptor if nobody else shares it.
    pub async fn close(&self, fd: SharedFd) -> Result<(), Fault> {
        match fd.into_owned() {
            Ok(fd) => self.done(Op::close(fd)).await,
            Err(_shared) => Ok(()),
        }
    }

    /// Closes what was only read, or a directory: nothing can go wrong that
    /// matters.
    pub async fn let_go(&self, fd: SharedFd) {
        let _whatever = self.close(fd).await;
    }

    pub async fn statx(&self, dir: &Dir, name: &CStr, flags: i32) -> Result<Stat, Fault> {
        let mask = libc::STATX_BASIC_STATS;
        let done = self.run(Op::statx(dir.clone(), name, flags, mask)).await?;
        let bad = Fault { operation: "statx", errno: Errno(libc::EIO) };
        done.op.found().map(Stat::from).ok_or(bad)
    }

    /// What is known of an open file.
    pub async fn fstat(&self, fd: &SharedFd) -> Result<Stat, Fault> {
        self.statx(&Dir::from(fd), c"", libc::AT_EMPTY_PATH).await
    }

    /// Which file `name` is, symbolic links followed.
    pub async fn identity(&self, dir: &Dir, name: &CStr) -> Result<Identity, Fault> {
        Ok(self.statx(dir, name, 0).await?.identity())
    }

    /// Reads entries of a directory; at its end, none.
    pub async fn getdents64(&self, fd: &SharedFd, buffer: Vec<u8>) -> Result<Vec<u8>, Fault> {
        let done = self.run(Op::getdents(fd, buffer)).await?;
        Ok(prefix(done))
    }

    pub async fn readlinkat(
        &self,
        dir: &Dir,
        name: &CStr,
        buffer: Vec<u8>,
    ) -> Result<Vec<u8>, Fault> {
        let done = self.run(Op::readlinkat(dir.clone(), name, buffer)).await?;
        Ok(prefix(done))
    }

    /// Reads at `offset` to a part of the buffer.
    pub async fn pread64(
        &self,
        fd: &SharedFd,
        buffer: Vec<u8>,
        part: Range<usize>,
        offset: u64,
    ) -> Result<Moved, Fault> {
        let op = Op::read_at(fd, buffer, offset).range(part);
        let done = self.flight.read(op).await;
        moved("pread64", done)
    }

    /// Reads, and returns the checksum of what was read.
    pub async fn pread64_checked(
        &self,
        fd: &SharedFd,
        buffer: Vec<u8>,
        part: Range<usize>,
        offset: u64,
    ) -> Result<(Sum, Vec<u8>), Fault> {
        // Without the checksum there is nothing to compare: better to fail.
        let op = Op::read_at(fd, buffer, offset).range(part).checksum().required();
        let done = self.flight.read(op).await;
        let checksum = done.as_ref().ok().and_then(|done| done.checksum);
        let moved = moved("pread64", done)?;
        let sum = match checksum {
            Some((crc, bytes)) if bytes == moved.bytes as u64 => Sum { crc, bytes: moved.bytes },
            _ => return Err(Fault { operation: "CHECKSUM", errno: Errno(libc::ENODATA) }),
        };
        Ok((sum, moved.buffer))
    }

    /// Writes a part of the buffer at `offset`.
    pub async fn pwrite64(
        &self,
        fd: &SharedFd,
        buffer: Vec<u8>,
        part: Range<usize>,
        offset: u64,
    ) -> Result<Moved, Fault> {
        let op = Op::write_at(fd, buffer, offset).range(part);
        moved("pwrite64", self.flight.call(op).await)
    }

    pub async fn lseek(&self, fd: &SharedFd, offset: u64, whence: i32) -> Result<u64, Fault> {
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        self.run(Op::lseek(fd, offset, whence))
            .await?
            .result
            .map_err(|errno| Fault { operation: "lseek", errno })
    }

    pub async fn ftruncate(&self, fd: &SharedFd, len: u64) -> Result<(), Fault> {
        self.done(Op::ftruncate(fd, len)).await
    }

    /// Reserves room for `len` bytes.
    pub async fn fallocate(&self, fd: &SharedFd, len: u64) -> Result<(), Fault> {
        self.done(Op::fallocate(fd, 0, 0, len)).await
    }

    /// Gives advice about the whole file.
    pub async fn fadvise(&self, fd: &SharedFd, advice: i32) -> Result<(), Fault> {
        self.done(Op::fadvise(fd, 0, 0, advice)).await
    }

    pub async fn fsync(&self, fd: &SharedFd) -> Result<(), Fault> {
        self.done(Op::fsync(fd)).await
    }

    pub async fn fchmod(&self, fd: &SharedFd, mode: u32) -> Result<(), Fault> {
        self.done(Op::fchmod(fd, mode)).await
    }

    pub async fn fchown(&self, fd: &SharedFd, owner: (u32, u32)) -> Result<(), Fault> {
        self.done(Op::fchown(fd, Some(owner.0), Some(owner.1))).await
    }

    pub async fn utimens(&self, fd: &SharedFd, times: [libc::timespec; 2]) -> Result<(), Fault> {
        self.done(Op::utimens(fd, times)).await
    }

    pub async fn fchmodat(&self, dir: &Dir, name: &CStr, mode: u32) -> Result<(), Fault> {
        self.done(Op::fchmodat(dir.clone(), name, mode)).await
    }

    /// Changes the owner, of a symbolic link itself.
    pub async fn lchownat(&self, dir: &Dir, name: &CStr, owner: (u32, u32)) -> Result<(), Fault> {
        let (uid, gid) = (Some(owner.0), Some(owner.1));
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        self.done(Op::fchownat(dir.clone(), name, uid, gid, flags)).await
    }

    /// Sets the times, of a symbolic link itself.
    pub async fn lutimensat(
        &self,
        dir: &Dir,
        name: &CStr,
        times: [libc::timespec; 2],
    ) -> Result<(), Fault> {
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        self.done(Op::utimensat(dir.clone(), name, times, flags)).await
    }

    pub async fn mkdirat(&self, dir: &Dir, name: &CStr, mode: u32) -> Result<(), Fault> {
        self.done(Op::mkdirat(dir.clone(), name, mode)).await
    }

    pub async fn mknodat(
        &self,
        dir: &Dir,
        name: &CStr,
        mode: u32,
        device: u64,
    ) -> Result<(), Fault> {
        self.done(Op::mknodat(dir.clone(), name, mode, device)).await
    }

    pub async fn symlinkat(&self, says: &CStr, dir: &Dir, name: &CStr) -> Result<(), Fault> {
        self.done(Op::symlinkat(says, dir.clone(), name)).await
    }

    pub async fn linkat(&self, from: At<'_>, to: At<'_>) -> Result<(), Fault> {
        self.done(Op::linkat((from.0.clone(), from.1), (to.0.clone(), to.1), 0)).await
    }

    /// Renames within a directory.
    pub async fn renameat2(
        &self,
        dir: &Dir,
        from: &CStr,
        to: &CStr,
        flags: u32,
    ) -> Result<(), Fault> {
        self.done(Op::renameat2((dir.clone(), from), (dir.clone(), to), flags)).await
    }

    pub async fn unlinkat(&self, dir: &Dir, name: &CStr) -> Result<(), Fault> {
        self.done(Op::unlinkat(dir.clone(), name, 0)).await
    }
}

/// The part of the buffer that an operation has filled.
fn prefix(done: Done) -> Vec<u8> {
    let bytes = done.result.unwrap_or(0) as usize;
    let mut buffer = done.op.into_buffer().unwrap_or_default();
    buffer.truncate(bytes);
    buffer
}

fn moved(operation: &'static str, done: Result<Done, Errno>) -> Result<Moved, Fault> {
    let fault = |errno| Fault { operation, errno };
    let done = done.map_err(fault)?;
    let bytes = done.result.map_err(fault)? as usize;
    let buffer = done.op.into_buffer().unwrap_or_default();
    Ok(Moved { buffer, bytes })
}
