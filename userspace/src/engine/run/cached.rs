//! Opening, looking at and closing files within the submission, where memory suffices
//! for it.
//!
//! No flag of these calls keeps them from sleeping: the lookup of a name can be asked
//! to use nothing but the kernel's caches (RESOLVE_CACHED), and the rest is told by what
//! the name or the descriptor stands for. Whatever may sleep for a device, a server or
//! another process is left to a worker, and nothing that was done here shows then.
//!
//! | call | may sleep for | so it is run here |
//! |---|---|---|
//! | openat, openat2 | names, the writer of a FIFO, a device, who has a lease, room for a new file | to read a regular file whose name is cached, and so that a lease makes it fail |
//! | statx, newfstatat, fstat | names, a server | a file system of this machine, by a descriptor or a name that is cached |
//! | close | what is written back, a server, the end of a file without a name | of a file that is open to read, has a name, and of which nothing is to be written |
//! | dup, fcntl | a driver, others that use a pipe | where they touch the descriptor only |
//!
//! SPEC: section 6.4 (R-RUN-3, R-RUN-12).

use crate::engine::host::file::{self, Kind};
use crate::engine::request::Request;
use crate::engine::request::call::Call;
use crate::engine::request::opening::Opening;
use crate::os::clock;
use crate::syscall::number;
use libc::{EBADF, ENOENT};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Bits of an opening that is run here.
const OPEN_FLAGS: i32 = libc::O_CLOEXEC
    | libc::O_DIRECTORY
    | libc::O_LARGEFILE
    | libc::O_NOATIME
    | libc::O_NOCTTY
    | libc::O_NOFOLLOW
    | libc::O_NONBLOCK
    | libc::O_PATH
    // What the kernel calls so: the C library's may be 0.
    | 0o100_000;

/// Flags of statx(2) and fstatat(2) that are known here.
const LOOK_FLAGS: i32 = libc::AT_EMPTY_PATH | libc::AT_NO_AUTOMOUNT | libc::AT_SYMLINK_NOFOLLOW;
/// What is never asked for: STATX__RESERVED.
const RESERVED: u64 = 1 << 31;

/// From when on, in ns, files are opened here again.
static OPENS_AGAIN: AtomicU64 = AtomicU64::new(0);
/// How many openings took long, one after the other.
static LONG: AtomicU32 = AtomicU32::new(0);
/// An opening that takes longer may have been held up by somebody, in ns.
const LONG_NS: u64 = 500_000;
/// So many of them were, and not only by the machine's load.
const HELD_UP: u32 = 2;
/// How long others are not run here then, in ns.
const PAUSE_NS: u64 = 1_000_000_000;

/// Runs the call of a request if that needs nothing but memory; its result.
#[inline(never)]
pub(crate) fn run(request: &Request) -> Option<i64> {
    let call = &request.call;
    let [a, b, c, d, ..] = *call.args();
    let fd = file::descriptor(a);
    match call.nr() {
        libc::SYS_dup => Some(call.run()),
        libc::SYS_fcntl => of_descriptor(b as i32).then(|| call.run()),
        libc::SYS_fstat => file::is_in_memory(fd).then(|| call.run()),
        libc::SYS_statx if d & RESERVED == 0 => {
            look(call, fd, b, c as i32, LOOK_FLAGS | libc::AT_STATX_DONT_SYNC)
        }
        number::SYS_newfstatat => look(call, fd, b, d as i32, LOOK_FLAGS),
        libc::SYS_openat => open(call, fd, b, Opening::of_flags(c as i32, OPEN_FLAGS)?),
        libc::SYS_openat2 => open(call, fd, b, Opening::of_how(call, c, d)?),
        libc::SYS_close => closes_at_once(fd).then(|| call.run()),
        _ => None,
    }
}

/// Whether a command of fcntl(2) touches nothing but the descriptor.
fn of_descriptor(command: i32) -> bool {
    matches!(
        command,
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC | libc::F_GETFD | libc::F_SETFD | libc::F_GETFL
    )
}

/// What a name stands for, as the call that has it would find: its descriptor, which
/// opens nothing.
enum Found {
    File(file::Transient),
    /// There is none.
    Nothing,
}

/// Looks a name up in the kernel's caches; none if they do not suffice, or it is not
/// found out why.
fn find(call: &Call, dir: i32, path: u64, flags: i32, resolve: u64) -> Option<Found> {
    let flags = flags & (libc::O_NOFOLLOW | libc::O_DIRECTORY) | libc::O_PATH | libc::O_CLOEXEC;
    match Opening::new(flags, resolve).run_cached(call, dir, path) {
        // Whatever else is wrong may be so with this call only.
        fd if fd >= 0 => Some(Found::File(file::Transient::new(fd as i32))),
        errno if errno == -i64::from(ENOENT) => Some(Found::Nothing),
        _ => None,
    }
}

/// Runs statx(2) or fstatat(2) if no device and no server is asked, and it has no flags
/// but those that are `known`: the call says first what is wrong with others.
fn look(call: &Call, dir: i32, path: u64, flags: i32, known: i32) -> Option<i64> {
    if flags & !known != 0 {
        return None;
    }
    if flags & libc::AT_EMPTY_PATH != 0 && (path == 0 || Opening::is_empty_name(call, path)) {
        return look_at(call, dir, *call.args());
    }
    let follows = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
    match find(call, dir, path, if follows { 0 } else { libc::O_NOFOLLOW }, 0)? {
        Found::Nothing => Some(-i64::from(ENOENT)),
        Found::File(found) => {
            let mut args = *call.args();
            let flags = (flags | libc::AT_EMPTY_PATH) as u64;
            args[0] = found.number() as u64;
            args[1] = c"".as_ptr().expose_provenance() as u64;
            args[if call.nr() == libc::SYS_statx { 2 } else { 3 }] = flags;
            look_at(call, found.number(), args)
        }
    }
}

/// Runs statx(2) or fstatat(2) with these arguments, of `fd`, if its file is one of
/// [`file::is_in_memory`].
fn look_at(call: &Call, fd: i32, mut args: [u64; 6]) -> Option<i64> {
    /// What each file system has at hand; of more it may ask a server even if it is not to.
    const AT_HAND: u64 =
        (libc::STATX_BASIC_STATS | libc::STATX_MNT_ID | libc::STATX_MNT_ID_UNIQUE) as u64;
    let [_, _, _, mask, place, _] = args;
    if call.nr() != libc::SYS_statx || mask & !AT_HAND != 0 {
        return file::is_in_memory(fd).then(|| call.run_with(args));
    }
    // One call for both: what it is, and where. Whoever is to be asked is asked by a
    // worker, which writes to the same place.
    args[2] |= libc::AT_STATX_DONT_SYNC as u64;
    if call.run_with(args) != 0 {
        return None;
    }
    let told = call.structs::<libc::statx>(place, 1).next()?;
    file::is_told_whole(fd, &told).then_some(0)
}

/// Opens a file to read it if its name is cached, and nobody is waited for.
///
/// Who watches for files being opened, and is asked for permission (fanotify(7)), or has
/// a security module ask, cannot be known of before: after two that took long, workers
/// do it for a while.
fn open(call: &Call, dir: i32, path: u64, how: Opening) -> Option<i64> {
    let flags = how.flags()?;
    if flags & !OPEN_FLAGS != 0 {
        return None;
    }
    if flags & libc::O_PATH != 0 {
        let opened = how.run_cached(call, dir, path);
        return (opened >= 0 || opened == -i64::from(ENOENT)).then_some(opened);
    }
    // Relaxed: it chooses a path.
    let started = clock::now();
    if started < OPENS_AGAIN.load(Ordering::Relaxed) {
        return None;
    }
    match find(call, dir, path, flags, how.resolve())? {
        Found::Nothing => return Some(-i64::from(ENOENT)),
        // It goes first, so that the file has the number that it would have had.
        Found::File(found) => {
            if !file::is_regular_in_memory(found.number()) {
                return None;
            }
        }
    }
    // So a lease makes it fail, and if the name means a FIFO by now, no writer is
    // waited for.
    let opened = how.with(libc::O_NONBLOCK).run_cached(call, dir, path);
    note_time(clock::now() - started);
    if opened < 0 {
        return None;
    }
    if flags & libc::O_NONBLOCK == 0 {
        let fd = file::Transient::new(opened as i32);
        if file::kind(fd.number()) != Kind::Regular
            || !file::set_status_flags(fd.number(), flags & !libc::O_NONBLOCK)
        {
            return None;
        }
        fd.keep();
    }
    Some(opened)
}

/// Notes that an opening took so many ns.
fn note_time(ns: u64) {
    // Relaxed: as above.
    if ns <= LONG_NS {
        if LONG.load(Ordering::Relaxed) > 0 {
            LONG.store(0, Ordering::Relaxed);
        }
    } else if LONG.fetch_add(1, Ordering::Relaxed) + 1 >= HELD_UP {
        LONG.store(0, Ordering::Relaxed);
        OPENS_AGAIN.store(clock::now() + PAUSE_NS, Ordering::Relaxed);
    }
}

/// Whether closing `fd` writes nothing, asks nobody, and ends no file.
fn closes_at_once(fd: i32) -> bool {
    let flags = file::status_flags(fd);
    if flags < 0 {
        // As the call will say.
        return std::io::Error::last_os_error().raw_os_error() == Some(EBADF);
    }
    flags & libc::O_ACCMODE == libc::O_RDONLY && file::is_only_read(fd, flags)
}
