//! Rows of what works on a path.

use super::file::{NAME, VALUE, attribute, other_user};
use super::stage::{CWD, address, fd};
use super::{Row, row};

const NOFOLLOW: u64 = libc::AT_SYMLINK_NOFOLLOW as u64;

pub(super) const ROWS: &[Row] = &[
    row("statx", |s| {
        s.fails(libc::ENOENT, &[CWD, address(&*s.path("x")), 0, 0x7ff, s.out()]);
        s.same(&[CWD, address(&*s.path("f")), 0, 0x7ff, s.out()])?;
        s.same(&[fd(&s.directory), address(c"l"), NOFOLLOW, 0x7ff, s.out()])
    }),
    row("newfstatat", |s| {
        s.fails(libc::ENOTDIR, &[CWD, address(&*s.path("f/x")), s.out(), 0]);
        s.same(&[CWD, address(&*s.path("l")), s.out(), 0])?;
        s.same(&[CWD, address(&*s.path("l")), s.out(), NOFOLLOW])
    }),
    row("statfs", |s| {
        s.fails(libc::ENOENT, &[address(&*s.path("x")), s.out()]);
        // The numbers of a disk change.
        s.same(&[address(c"/proc"), s.out()])
    }),
    row("getxattr", |s| {
        s.fails(libc::ENOENT, &[address(&*s.path("x")), address(NAME), s.out(), 100]);
        attribute(s)?;
        s.good(&[address(&*s.path("l")), address(NAME), s.out(), 100]).map(drop)
    }),
    row("lgetxattr", |s| {
        attribute(s)?;
        s.fails(libc::ENODATA, &[address(&*s.path("l")), address(NAME), s.out(), 100]);
        s.good(&[address(&*s.path("f")), address(NAME), s.out(), 100]).map(drop)
    }),
    row("setxattr", |s| {
        s.fails(libc::ENOENT, &[address(&*s.path("x")), address(NAME), address(VALUE), 5, 0]);
        s.good(&[address(&*s.path("l")), address(NAME), address(VALUE), 5, 0]).map(drop)
    }),
    row("lsetxattr", |s| {
        s.fails(libc::EPERM, &[address(&*s.path("l")), address(NAME), address(VALUE), 5, 0]);
        s.good(&[address(&*s.path("d")), address(NAME), address(VALUE), 5, 0])?;
        s.good(&[address(&*s.path("f")), address(NAME), address(VALUE), 2, 0]).map(drop)
    }),
    row("listxattr", |s| {
        s.fails(libc::ENOENT, &[address(&*s.path("x")), s.out(), 100]);
        attribute(s)?;
        s.good(&[address(&*s.path("l")), s.out(), 100]).map(drop)
    }),
    row("llistxattr", |s| {
        s.fails(libc::ENOENT, &[address(&*s.path("x")), s.out(), 100]);
        attribute(s)?;
        s.good(&[address(&*s.path("l")), s.out(), 100])?;
        s.good(&[address(&*s.path("f")), s.out(), 100]).map(drop)
    }),
    row("removexattr", |s| {
        s.fails(libc::ENODATA, &[address(&*s.path("f")), address(NAME)]);
        attribute(s)?;
        s.good(&[address(&*s.path("l")), address(NAME)]).map(drop)
    }),
    row("lremovexattr", |s| {
        attribute(s)?;
        s.fails(libc::EPERM, &[address(&*s.path("l")), address(NAME)]);
        s.good(&[address(&*s.path("f")), address(NAME)]).map(drop)
    }),
    row("fchmodat", |s| {
        s.fails(libc::ENOENT, &[CWD, address(&*s.path("x")), 0o600]);
        s.good(&[CWD, address(&*s.path("l")), 0o604])?;
        s.good(&[fd(&s.directory), address(c"d"), 0o711]).map(drop)
    }),
    row("fchownat", |s| {
        let user = other_user();
        s.fails(libc::ENOENT, &[CWD, address(&*s.path("x")), user, user, 0]);
        s.fails(libc::EINVAL, &[CWD, address(&*s.path("f")), user, user, 1 << 30]);
        s.good(&[CWD, address(&*s.path("l")), user, u64::MAX, NOFOLLOW]).map(drop)
    }),
    row("utimensat", |s| {
        let times = [(1_000_000_i64, 5_i64), (2_000_000, 6)];
        let bad = [(1_i64, -1_i64), (1, 0)];
        s.fails(libc::ENOENT, &[CWD, address(&*s.path("x")), 0, 0]);
        s.fails(libc::EINVAL, &[CWD, address(&*s.path("f")), address(&bad), 0]);
        s.good(&[CWD, address(&*s.path("f")), address(&times), 0]).map(drop)
    }),
    row("truncate", |s| {
        s.fails(libc::ENOENT, &[address(&*s.path("x")), 0]);
        s.fails(libc::EISDIR, &[address(&*s.path("d")), 0]);
        s.good(&[address(&*s.path("l")), 77]).map(drop)
    }),
    row("renameat2", |s| {
        let exchange = libc::RENAME_EXCHANGE.into();
        let no_replace = libc::RENAME_NOREPLACE.into();
        let (f, x) = (s.path("f"), s.path("x"));
        s.fails(libc::ENOENT, &[CWD, address(&*x), CWD, address(&*f), 0]);
        s.fails(libc::EEXIST, &[CWD, address(&*f), CWD, address(&*s.path("d")), no_replace]);
        s.good(&[CWD, address(&*f), fd(&s.directory), address(c"d/moved"), 0])?;
        s.good(&[CWD, address(&*s.path("l")), CWD, address(&*s.path("d")), exchange]).map(drop)
    }),
    row("linkat", |s| {
        let (f, new) = (s.path("f"), s.path("new"));
        s.fails(libc::ENOENT, &[CWD, address(&*s.path("x")), CWD, address(&*new), 0]);
        s.fails(libc::EEXIST, &[CWD, address(&*f), CWD, address(&*s.path("l")), 0]);
        s.good(&[CWD, address(&*f), CWD, address(&*new), 0]).map(drop)
    }),
    row("unlinkat", |s| {
        let directory = libc::AT_REMOVEDIR as u64;
        s.fails(libc::ENOENT, &[CWD, address(&*s.path("x")), 0]);
        s.fails(libc::EISDIR, &[CWD, address(&*s.path("d")), 0]);
        s.fails(libc::ENOTDIR, &[CWD, address(&*s.path("f")), directory]);
        s.good(&[CWD, address(&*s.path("l")), 0])?;
        s.good(&[fd(&s.directory), address(c"d"), directory]).map(drop)
    }),
    row("mkdirat", |s| {
        s.fails(libc::EEXIST, &[CWD, address(&*s.path("d")), 0o700]);
        s.good(&[CWD, address(&*s.path("d/e")), 0o750]).map(drop)
    }),
    row("mknodat", |s| {
        let fifo = u64::from(libc::S_IFIFO | 0o600);
        s.fails(libc::EEXIST, &[CWD, address(&*s.path("f")), fifo, 0]);
        s.good(&[CWD, address(&*s.path("fifo")), fifo, 0]).map(drop)
    }),
    row("symlinkat", |s| {
        s.fails(libc::EEXIST, &[address(c"target"), CWD, address(&*s.path("l"))]);
        s.good(&[address(c"target"), fd(&s.directory), address(c"new")]).map(drop)
    }),
    row("readlinkat", |s| {
        s.fails(libc::EINVAL, &[CWD, address(&*s.path("f")), s.out(), 100]);
        s.good(&[CWD, address(&*s.path("l")), s.out(), 100]).map(drop)
    }),
    row("faccessat", |s| {
        s.fails(libc::ENOENT, &[CWD, address(&*s.path("x")), libc::R_OK as u64]);
        s.fails(libc::EACCES, &[CWD, address(&*s.path("f")), libc::X_OK as u64]);
        s.good(&[CWD, address(&*s.path("f")), libc::R_OK as u64]).map(drop)
    }),
    row("faccessat2", |s| {
        let effective = libc::AT_EACCESS as u64;
        s.fails(libc::EINVAL, &[CWD, address(&*s.path("f")), 0, 1 << 30]);
        s.good(&[CWD, address(&*s.path("f")), libc::W_OK as u64, effective]).map(drop)
    }),
];
