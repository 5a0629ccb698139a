//! Rows of what works on a descriptor.

use super::stage::{CWD, NO_FD, Stage, address, fd, plain, prepare, to};
use super::{Row, row};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsRawFd;

const KEEP_SIZE: u64 = libc::FALLOC_FL_KEEP_SIZE as u64;
/// Descriptors that nobody else uses.
const HIGH_FD: u64 = 900;

pub(super) const ROWS: &[Row] = &[
    row("fsync", |s| {
        s.fails(libc::EINVAL, &[fd(&s.pipe.writer)]);
        s.good(&[fd(&s.file)]).map(drop)
    }),
    row("fdatasync", |s| {
        s.fails(libc::EBADF, &[NO_FD]);
        s.good(&[fd(&s.file)]).map(drop)
    }),
    row("sync_file_range", |s| {
        s.fails(libc::ESPIPE, &[fd(&s.pipe.writer), 0, 0, 2]);
        s.good(&[fd(&s.file), 0, 4096, 7]).map(drop)
    }),
    row("syncfs", |s| {
        s.fails(libc::EBADF, &[NO_FD]);
        s.good(&[fd(&s.file)]).map(drop)
    }),
    row("openat", |s| {
        let flags = (libc::O_CREAT | libc::O_EXCL | libc::O_RDWR | libc::O_CLOEXEC) as u64;
        s.fails(libc::ENOENT, &[CWD, address(&*s.path("x")), 0, 0]);
        s.fails(libc::ENOTDIR, &[fd(&s.file), address(c"x"), 0, 0]);
        s.fails(libc::EFAULT, &[CWD, 8, 0, 0]);
        s.opens(&[fd(&s.directory), address(c"new"), flags, 0o640])?;
        s.fails(libc::EEXIST, &[CWD, address(&*s.path("new")), flags, 0o640]);
        s.opens(&[CWD, address(&*s.path("l")), 0, 0]).map(drop)
    }),
    row("openat2", |s| {
        // open_how: flags, mode, resolve (RESOLVE_BENEATH).
        let how = [libc::O_CLOEXEC as u64, 0, 8];
        s.fails(libc::EINVAL, &[CWD, address(&*s.path("f")), address(&how), 8]);
        s.fails(libc::EXDEV, &[fd(&s.directory), address(c"../x"), address(&how), 24]);
        s.opens(&[fd(&s.directory), address(c"f"), address(&how), 24]).map(drop)
    }),
    row("close", |s| {
        let gone = plain(libc::SYS_dup, &[fd(&s.file)]) as u64;
        s.good(&[gone])?;
        s.fails(libc::EBADF, &[gone]);
        Ok(())
    }),
    row("close_range", |s| {
        high(s, 3);
        s.fails(libc::EINVAL, &[2, 1, 0]);
        s.fails(libc::EINVAL, &[HIGH_FD, HIGH_FD, 1 << 20]);
        s.good(&[HIGH_FD, HIGH_FD + 1, 0])?;
        for n in 0..3 {
            s.note(plain(libc::SYS_fcntl, &[HIGH_FD + n, libc::F_GETFD as u64, 0]));
        }
        s.good(&[HIGH_FD + 2, HIGH_FD + 5, 0]).map(drop)
    }),
    row("dup", |s| {
        s.fails(libc::EBADF, &[NO_FD]);
        s.opens(&[fd(&s.file)]).map(drop)
    }),
    row("dup3", |s| {
        high(s, 1);
        s.fails(libc::EINVAL, &[HIGH_FD, HIGH_FD, 0]);
        let new = HIGH_FD + 1;
        assert_eq!(s.opens(&[HIGH_FD, new, libc::O_CLOEXEC as u64])?.as_raw_fd(), new as i32);
        plain(libc::SYS_close, &[HIGH_FD]);
        Ok(())
    }),
    row("pipe2", |s| {
        let mut ends = [0_i32; 2];
        s.fails(libc::EINVAL, &[to(&mut ends), 1]);
        s.fails(libc::EFAULT, &[8, 0]);
        s.good(&[to(&mut ends), libc::O_NONBLOCK as u64])?;
        for end in ends {
            s.describe(&super::stage::owned(end.into()));
        }
        Ok(())
    }),
    row("lseek", |s| {
        s.fails(libc::ESPIPE, &[fd(&s.pipe.reader), 0, 0]);
        s.fails(libc::EINVAL, &[fd(&s.file), 0, 99]);
        s.good(&[fd(&s.file), 5, libc::SEEK_END as u64])?;
        s.good(&[fd(&s.file), 77, libc::SEEK_SET as u64]).map(drop)
    }),
    row("fcntl", fcntl),
    row("flock", |s| {
        let again = again(s);
        s.fails(libc::EBADF, &[NO_FD, 1]);
        s.good(&[fd(&s.file), libc::LOCK_EX as u64])?;
        s.fails(libc::EAGAIN, &[fd(&again), (libc::LOCK_SH | libc::LOCK_NB) as u64]);
        s.good(&[fd(&s.file), libc::LOCK_UN as u64])?;
        s.good(&[fd(&again), libc::LOCK_SH as u64]).map(drop)
    }),
    row("fstat", |s| {
        s.fails(libc::EBADF, &[NO_FD, s.out()]);
        s.fails(libc::EFAULT, &[fd(&s.file), 8]);
        s.same(&[fd(&s.file), s.out()])?;
        s.same(&[fd(&s.pipe.reader), s.out()])
    }),
    row("fstatfs", |s| {
        s.fails(libc::EBADF, &[NO_FD, s.out()]);
        // The numbers of a disk change.
        s.same(&[fd(&s.pipe.reader), s.out()])
    }),
    row("fchmod", |s| {
        s.fails(libc::EBADF, &[NO_FD, 0o600]);
        s.good(&[fd(&s.file), 0o640]).map(drop)
    }),
    row("fchown", |s| {
        s.fails(libc::EBADF, &[NO_FD, 0, 0]);
        s.good(&[fd(&s.file), other_user(), u64::MAX]).map(drop)
    }),
    row("ftruncate", |s| {
        s.fails(libc::EINVAL, &[fd(&s.file), u64::MAX]);
        s.fails(libc::EINVAL, &[fd(&s.pipe.writer), 0]);
        s.good(&[fd(&s.file), 6000])?;
        s.good(&[fd(&s.file), 33]).map(drop)
    }),
    row("fallocate", |s| {
        s.fails(libc::EBADF, &[NO_FD, 0, 0, 100]);
        s.fails(libc::EINVAL, &[fd(&s.file), 0, 0, 0]);
        s.good(&[fd(&s.file), KEEP_SIZE, 0, 20_000])?;
        s.good(&[fd(&s.file), 0, 4000, 5000]).map(drop)
    }),
    row("fadvise64", |s| {
        s.fails(libc::ESPIPE, &[fd(&s.pipe.reader), 0, 0, 0]);
        s.fails(libc::EINVAL, &[fd(&s.file), 0, 0, 99]);
        s.good(&[fd(&s.file), 0, 0, libc::POSIX_FADV_WILLNEED as u64]).map(drop)
    }),
    row("readahead", |s| {
        s.fails(libc::EBADF, &[NO_FD, 0, 4096]);
        s.fails(libc::EINVAL, &[fd(&s.pipe.reader), 0, 4096]);
        s.good(&[fd(&s.file), 0, 4096]).map(drop)
    }),
    row("fgetxattr", |s| {
        s.fails(libc::EBADF, &[NO_FD, address(NAME), s.out(), 100]);
        s.fails(libc::ENODATA, &[fd(&s.file), address(NAME), s.out(), 100]);
        attribute(s)?;
        s.fails(libc::ERANGE, &[fd(&s.file), address(NAME), s.out(), 2]);
        s.good(&[fd(&s.file), address(NAME), s.out(), 100]).map(drop)
    }),
    row("fsetxattr", |s| {
        s.fails(libc::EBADF, &[NO_FD, address(NAME), address(VALUE), 5, 0]);
        s.good(&[fd(&s.file), address(NAME), address(VALUE), 5, 0])?;
        let create = libc::XATTR_CREATE as u64;
        s.fails(libc::EEXIST, &[fd(&s.file), address(NAME), address(VALUE), 5, create]);
        Ok(())
    }),
    row("flistxattr", |s| {
        s.fails(libc::EBADF, &[NO_FD, s.out(), 100]);
        attribute(s)?;
        s.good(&[fd(&s.file), s.out(), 100]).map(drop)
    }),
    row("fremovexattr", |s| {
        s.fails(libc::EBADF, &[NO_FD, address(NAME)]);
        s.fails(libc::ENODATA, &[fd(&s.file), address(NAME)]);
        attribute(s)?;
        s.good(&[fd(&s.file), address(NAME)]).map(drop)
    }),
    row("getdents64", |s| {
        s.fails(libc::ENOTDIR, &[fd(&s.file), s.out(), 4096]);
        let mut entries = vec![0_u8; 4096];
        s.fails(libc::EINVAL, &[fd(&s.directory), to(&mut entries[..]), 8]);
        let len = s.good(&[fd(&s.directory), to(&mut entries[..]), 4096])? as usize;
        s.note(names(&entries[..len]));
        s.good(&[fd(&s.directory), to(&mut entries[..]), 4096]).map(drop)
    }),
];

/// Name and value of an extended attribute.
pub(super) const NAME: &std::ffi::CStr = c"user.aio2";
pub(super) const VALUE: &std::ffi::CStr = c"value";

/// Gives the file `f` the attribute.
pub(super) fn attribute(s: &mut Stage<'_>) -> super::stage::Played {
    let args = [fd(&s.file), address(NAME), address(VALUE), 5, 0];
    prepare("fsetxattr", libc::SYS_fsetxattr, &args).map(drop)
}

/// Another user if that may be set, otherwise this one.
pub(super) fn other_user() -> u64 {
    let own = plain(libc::SYS_geteuid, &[]) as u64;
    if own == 0 { 1234 } else { own }
}

/// The file `f`, opened once more.
fn again(s: &Stage<'_>) -> File {
    let path = format!("/proc/self/fd/{}", s.file.as_raw_fd());
    File::options().read(true).write(true).open(path).expect("a file")
}

/// Makes `count` descriptors from [`HIGH_FD`] on.
fn high(s: &Stage<'_>, count: u64) {
    for n in HIGH_FD..HIGH_FD + count {
        assert_eq!(plain(libc::SYS_dup3, &[fd(&s.file), n, 0]), n as i64);
    }
}

fn fcntl(s: &mut Stage<'_>) -> super::stage::Played {
    let (file, pipe, again) = (fd(&s.file), fd(&s.pipe.writer), again(s));
    let op = |op: i32| op as u64;
    s.fails(libc::EBADF, &[NO_FD, op(libc::F_GETFD), 0]);
    s.good(&[file, op(libc::F_GETFD), 0])?;
    s.good(&[file, op(libc::F_SETFD), 0])?;
    s.good(&[pipe, op(libc::F_SETFL), op(libc::O_NONBLOCK)])?;
    s.good(&[pipe, op(libc::F_GETFL), 0])?;
    s.good(&[pipe, op(libc::F_SETPIPE_SZ), 8192])?;
    s.good(&[pipe, op(libc::F_GETPIPE_SZ), 0])?;
    s.opens(&[file, op(libc::F_DUPFD_CLOEXEC), HIGH_FD])?;
    s.opens(&[file, op(libc::F_DUPFD), HIGH_FD])?;
    s.fails(libc::EINVAL, &[file, op(libc::F_ADD_SEALS), 1]);
    // SAFETY: a lock of zeros is one of the whole file.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as i16;
    s.good(&[file, op(libc::F_OFD_SETLK), to(&mut lock)])?;
    s.fails(libc::EAGAIN, &[fd(&again), op(libc::F_OFD_SETLK), to(&mut lock)]);
    s.good(&[fd(&again), op(libc::F_OFD_GETLK), to(&mut lock)])?;
    s.note((lock.l_type, lock.l_start, lock.l_len, lock.l_pid));
    lock.l_type = libc::F_UNLCK as i16;
    lock.l_pid = 0;
    s.good(&[file, op(libc::F_OFD_SETLK), to(&mut lock)])?;
    // One of the process, whatever thread takes it.
    lock.l_type = libc::F_WRLCK as i16;
    s.good(&[file, op(libc::F_SETLKW), to(&mut lock)])?;
    s.good(&[fd(&again), op(libc::F_OFD_GETLK), to(&mut lock)])?;
    s.note((lock.l_type, lock.l_pid == std::process::id() as i32));
    Ok(())
}

/// Names in what getdents64 wrote.
fn names(mut entries: &[u8]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    while let Some(len) = entries.get(16..18) {
        let len = usize::from(u16::from_ne_bytes([len[0], len[1]]));
        let name = entries[19..len].split(|b| *b == 0).next().unwrap_or_default();
        names.insert(String::from_utf8_lossy(name).into_owned());
        entries = &entries[len..];
    }
    names
}
