//! What the engine asks the host about a descriptor, beside the operation.
//!
//! Answers are stale at once; they choose a path, never a result. Nothing here waits
//! for a device or a server.
//!
//! SPEC: sections 6.4 (R-RUN-3), 8 (CACHE).
#![allow(unsafe_code)] // calls of the C library

use crate::error::Errno;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// The descriptor in an argument: the kernel looks at the low half only.
#[inline]
pub(crate) fn descriptor(arg: u64) -> i32 {
    arg as i32
}

/// Where `fd` reads next, in bytes; none if it cannot seek.
pub(crate) fn position(fd: i32) -> Option<u64> {
    // SAFETY: takes no address.
    let at = unsafe { libc::lseek64(fd, 0, libc::SEEK_CUR) };
    u64::try_from(at).ok()
}

/// Drops `len` bytes from `offset` on from the page cache; 0 or an errno.
pub(crate) fn drop_pages(fd: i32, offset: u64, len: u64) -> i32 {
    // SAFETY: takes no address.
    unsafe { libc::posix_fadvise64(fd, offset as i64, len as i64, libc::POSIX_FADV_DONTNEED) }
}

/// What the name of a descriptor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file with bytes at offsets.
    Regular,
    /// A block device.
    Block,
    /// /dev/zero and its like.
    Memory,
    /// A pipe, with a name or without.
    Pipe,
    /// A socket.
    Socket,
    /// An eventfd or one of its relatives: what it gives at once is all.
    Record,
    /// Something else, or nothing.
    Other,
}

/// Major number of /dev/zero and its like.
const MEMORY_MAJOR: u32 = 1;

/// The kind of `fd`, as of now; no server is asked.
pub(crate) fn kind(fd: i32) -> Kind {
    look(fd).map_or(Kind::Other, |found| kind_of(&found))
}

/// The kind of what was `found`.
fn kind_of(found: &libc::statx) -> Kind {
    match file_type(found) {
        libc::S_IFREG => Kind::Regular,
        libc::S_IFBLK => Kind::Block,
        libc::S_IFCHR if found.stx_rdev_major == MEMORY_MAJOR => Kind::Memory,
        libc::S_IFIFO => Kind::Pipe,
        libc::S_IFSOCK => Kind::Socket,
        0 => Kind::Record,
        _ => Kind::Other,
    }
}

/// What the kernel has at hand of `fd`. fstat(2) would ask a FUSE or network
/// server, and wait for it.
fn look(fd: i32) -> Option<libc::statx> {
    let mut found = MaybeUninit::<libc::statx>::uninit();
    let (name, place) = (c"".as_ptr(), found.as_mut_ptr());
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    let mask = libc::STATX_TYPE | libc::STATX_NLINK | libc::STATX_SIZE | libc::STATX_MNT_ID_UNIQUE;
    // The C library's own would call fstat(2) where there is no statx(2).
    // SAFETY: an empty name; `found` can be written.
    let result = unsafe { libc::syscall(libc::SYS_statx, fd, name, flags, mask, place) };
    // SAFETY: statx has filled it in.
    (result == 0).then(|| unsafe { found.assume_init() })
}

/// The type of a file that was looked at, as in the mode of stat(2).
fn file_type(found: &libc::statx) -> u32 {
    u32::from(found.stx_mode) & libc::S_IFMT
}

/// A file system of this machine that keeps what stat(2) tells with what is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum System {
    /// ext4, XFS or Btrfs: a transfer waits for nothing but a device.
    Disk,
    /// tmpfs.
    Memory,
}

/// Mounts of a [`System`], by their ids, which are never used again, and a bit that is
/// set for a disk; 0 is none.
static KNOWN: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

/// Whether what stat(2) tells of `fd` is in memory, so that nobody is asked for it: it
/// is on a file system of this machine that keeps it with what is open.
pub(crate) fn is_in_memory(fd: i32) -> bool {
    look(fd).is_some_and(|found| system(fd, &found).is_some())
}

/// As [`is_in_memory`], and a regular file.
pub(crate) fn is_regular_in_memory(fd: i32) -> bool {
    look(fd).is_some_and(|found| kind_of(&found) == Kind::Regular && system(fd, &found).is_some())
}

/// The kind of `fd`, and whether nothing of it comes behind the offset `at`: of a regular
/// file as [`is_in_memory`], whose size no server changes.
pub(crate) fn kind_and_end(fd: i32, at: u64) -> (Kind, bool) {
    let Some(found) = look(fd) else { return (Kind::Other, false) };
    let kind = kind_of(&found);
    let ends = kind == Kind::Regular && found.stx_size <= at && system(fd, &found).is_some();
    (kind, ends)
}

/// The file system of `fd`, of which this was `found`, if it is one of those.
fn system(fd: i32, found: &libc::statx) -> Option<System> {
    // Where there are no such ids it is asked for each time.
    let mount = if found.stx_mask & libc::STATX_MNT_ID_UNIQUE != 0 { found.stx_mnt_id } else { 0 };
    let known = &KNOWN[mount as usize % KNOWN.len()];
    // Relaxed: the word is all there is to it.
    let word = known.load(Ordering::Relaxed);
    if mount != 0 && word >> 1 == mount {
        return Some(if word & 1 == 1 { System::Disk } else { System::Memory });
    }
    // Of another type in each C library.
    let kind = file_system(fd, found)?.f_type as libc::c_long;
    let on_disk = [libc::EXT4_SUPER_MAGIC, libc::XFS_SUPER_MAGIC, libc::BTRFS_SUPER_MAGIC];
    let system = match kind {
        kind if on_disk.contains(&(kind as _)) => System::Disk,
        kind if kind == libc::TMPFS_MAGIC as libc::c_long => System::Memory,
        _ => return None,
    };
    known.store(mount << 1 | u64::from(system == System::Disk), Ordering::Relaxed);
    Some(system)
}

/// Mounts of [`is_in_memory`] by ids that are used again, and their devices; 0 is none.
static TOLD: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

/// Whether what statx(2) has `told` of `fd`, asked for no more than it tells of each
/// file and without asking a server, is all that it would tell: the file is one of
/// [`is_in_memory`].
///
/// By the mount in the answer itself, so that nothing more is asked of those that are
/// known. Its id and its device may be another's by now, but not a server's: none says
/// that it keeps chattr(1)'s flags.
pub(crate) fn is_told_whole(fd: i32, told: &libc::statx) -> bool {
    if !is_here(told) {
        return false;
    }
    let is_once = told.stx_mask & libc::STATX_MNT_ID_UNIQUE != 0;
    if is_once || told.stx_mask & libc::STATX_MNT_ID == 0 {
        return system(fd, told).is_some();
    }
    let device = told.stx_dev_major << 20 | told.stx_dev_minor;
    let mount = told.stx_mnt_id << 32 | u64::from(device);
    let known = &TOLD[told.stx_mnt_id as usize % TOLD.len()];
    // Relaxed: as above.
    let is_told = known.load(Ordering::Relaxed) == mount || is_in_memory(fd);
    if is_told {
        known.store(mount, Ordering::Relaxed);
    }
    is_told
}

/// Whether `fd`, which is open with `flags` and not to write, can be closed without an
/// effect on its file: it is a file or directory that has a name, as [`is_in_memory`], and of which
/// nothing waits to be written, what others have written included. Some file systems
/// begin with that when any descriptor is closed.
pub(crate) fn is_only_read(fd: i32, flags: i32) -> bool {
    /// What is looked through, in bytes of a file.
    const MOST: u64 = 1 << 20;
    let Some(found) = look(fd) else { return false };
    if found.stx_nlink == 0 || system(fd, &found).is_none() {
        return false;
    }
    match file_type(&found) {
        libc::S_IFDIR => true,
        _ if flags & libc::O_PATH != 0 => true,
        libc::S_IFREG => found.stx_size <= MOST && is_clean(fd),
        _ => false,
    }
}

/// Whether no page of `fd` is to be written; false where that is not known.
fn is_clean(fd: i32) -> bool {
    /// The same number on all architectures; Linux 6.5.
    const SYS_CACHESTAT: libc::c_long = 451;
    let all = [0_u64; 2];
    // Pages in memory, and those of them that are to be written.
    let mut pages = [0_u64; 5];
    let place = pages.as_mut_ptr();
    // SAFETY: reads an offset and a length, writes five numbers.
    let result = unsafe { libc::syscall(SYS_CACHESTAT, fd, all.as_ptr(), place, 0) };
    result == 0 && pages[1] == 0
}

/// A descriptor of the engine's own that is closed at once, unless it is kept.
#[derive(Debug)]
pub(crate) struct Transient(OwnedFd);

impl Transient {
    /// Owns `fd`, which was just opened.
    pub(crate) fn new(fd: i32) -> Self {
        // SAFETY: nobody else knows of it.
        Transient(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    pub(crate) fn number(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// It is somebody else's from now on.
    pub(crate) fn keep(self) -> i32 {
        self.0.into_raw_fd()
    }
}

/// The status flags of `fd`, O_DIRECT and others; -1 if it is not open.
pub(crate) fn status_flags(fd: i32) -> i32 {
    // SAFETY: F_GETFL takes no address.
    unsafe { libc::fcntl(fd, libc::F_GETFL) }
}

/// Sets what can be set of the status flags of `fd`; whether that was done.
pub(crate) fn set_status_flags(fd: i32, flags: i32) -> bool {
    // SAFETY: F_SETFL takes no address.
    unsafe { libc::fcntl(fd, libc::F_SETFL, flags) == 0 }
}

/// The file system of `fd`, of which this was `found`, if it is on this machine.
fn file_system(fd: i32, found: &libc::statx) -> Option<libc::statfs64> {
    // The call below would ask a server.
    if !is_here(found) {
        return None;
    }
    let mut found = MaybeUninit::<libc::statfs64>::uninit();
    // SAFETY: `found` can be written.
    if unsafe { libc::fstatfs64(fd, found.as_mut_ptr()) } < 0 {
        return None;
    }
    // SAFETY: fstatfs has filled it in.
    Some(unsafe { found.assume_init() })
}

/// Whether a file of which this was `found` is on a file system that keeps one of
/// chattr(1)'s flags, which none behind a server tells of.
fn is_here(found: &libc::statx) -> bool {
    found.stx_attributes_mask & libc::STATX_ATTR_NODUMP as u64 != 0
}

/// As [`file_system`].
fn system_of(fd: i32) -> Option<libc::statfs64> {
    file_system(fd, &look(fd)?)
}

/// Whether a transfer of `fd`, opened with O_DIRECT, or a read of what is not in the page
/// cache, waits for nothing but a device: of a block device, or of a file of a
/// [`System::Disk`].
pub(crate) fn is_on_device(fd: i32) -> bool {
    let Some(found) = look(fd) else { return false };
    match kind_of(&found) {
        Kind::Block => true,
        Kind::Regular => system(fd, &found) == Some(System::Disk),
        _ => false,
    }
}

/// Whether a write to the file `fd`, opened without O_SYNC, leaves the device for
/// later, and can be tried without blocking: not on a file system that is mounted
/// to write synchronously, nor with chattr(1)'s S.
pub(crate) fn writes_behind(fd: i32) -> bool {
    let Some(found) = system_of(fd) else { return false };
    // Of another type in each C library.
    if !matches!(found.f_type as libc::c_long, libc::XFS_SUPER_MAGIC | libc::BTRFS_SUPER_MAGIC)
        || found.f_flags as libc::c_ulong & libc::ST_SYNCHRONOUS != 0
    {
        return false;
    }
    let mut flags: libc::c_int = 0;
    // SAFETY: the ioctl writes an int, whatever the type in its number says.
    let result = unsafe { libc::ioctl(fd, FS_IOC_GETFLAGS as _, &raw mut flags) };
    result == 0 && flags & FS_SYNC_FL == 0
}

/// `_IOR('f', 1, long)`, and the flag of chattr(1)'s S: linux/fs.h.
const FS_IOC_GETFLAGS: libc::c_ulong =
    2 << 30 | (size_of::<libc::c_long>() as libc::c_ulong) << 16 | 0x6601;
const FS_SYNC_FL: libc::c_int = 8;

/// What a socket is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Unix,
    /// AF_INET or AF_INET6.
    Inet,
    /// Another one, or no socket: its calls may ask devices, or have the kernel do
    /// things, even with MSG_DONTWAIT.
    Other,
}

/// The family of `fd`. The calls of a [`Family::Unix`] or [`Family::Inet`] wait for
/// nothing but room or a peer, so that with MSG_DONTWAIT they do not wait.
pub(crate) fn family(fd: i32) -> Family {
    match socket_option(fd, libc::SO_DOMAIN) {
        Some(libc::AF_UNIX) => Family::Unix,
        Some(libc::AF_INET | libc::AF_INET6) => Family::Inet,
        _ => Family::Other,
    }
}

/// Bytes that a receiver on socket `fd` waits for (SO_RCVLOWAT).
pub(crate) fn low_water(fd: i32) -> Option<i32> {
    socket_option(fd, libc::SO_RCVLOWAT)
}

fn socket_option(fd: i32, name: i32) -> Option<i32> {
    let mut value = 0_i32;
    let mut len = size_of::<i32>() as libc::socklen_t;
    let place = (&raw mut value).cast();
    // SAFETY: `value` has `len` bytes.
    let result = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, name, place, &raw mut len) };
    (result == 0).then_some(value)
}

/// Whether a call on `fd` may wait.
pub(crate) fn is_blocking(fd: i32) -> bool {
    let flags = status_flags(fd);
    flags >= 0 && flags & libc::O_NONBLOCK == 0
}

/// Whether `fd`, which is no socket, may be one of those that can be polled.
pub(crate) fn may_be_polled(fd: i32) -> bool {
    !matches!(kind(fd), Kind::Regular | Kind::Block | Kind::Memory)
}

/// Whether `fd` is a socket that listens.
pub(crate) fn is_listening(fd: i32) -> bool {
    socket_option(fd, libc::SO_ACCEPTCONN) == Some(1)
}

/// Whether `fd` is a terminal.
pub(crate) fn is_terminal(fd: i32) -> bool {
    modes(fd).is_some()
}

/// The modes of terminal `fd`.
fn modes(fd: i32) -> Option<libc::termios> {
    let mut modes = MaybeUninit::<libc::termios>::uninit();
    // SAFETY: it can be written.
    let result = unsafe { libc::tcgetattr(fd, modes.as_mut_ptr()) };
    // SAFETY: tcgetattr has filled it in.
    (result == 0).then(|| unsafe { modes.assume_init() })
}

/// Whether `fd` is a terminal of which a read with so much `room` may end before it
/// polls readable (termios(3)): with a VMIN of 0 it ends empty, and with room for less
/// than VMIN when that is full.
pub(crate) fn is_terminal_read_early(fd: i32, room: u64) -> bool {
    let Some(modes) = modes(fd) else { return false };
    let (least, time) = (u64::from(modes.c_cc[libc::VMIN]), modes.c_cc[libc::VTIME]);
    let may_end = least == 0 || time == 0 && room < least;
    modes.c_lflag & libc::ICANON == 0 && may_end && !is_terminal_master(fd)
}

/// Whether `fd` is the master of a pseudoterminal. The modes that it tells are those of
/// the other end; its own are always raw, with a VMIN of 1.
fn is_terminal_master(fd: i32) -> bool {
    let mut number = 0_u32;
    // SAFETY: writes a number.
    unsafe { libc::ioctl(fd, libc::TIOCGPTN, &raw mut number) == 0 }
}

/// Whether `fd` is an epoll instance, as far as the process can see its descriptors.
pub(crate) fn is_epoll(fd: i32) -> bool {
    is_named(fd, b"anon_inode:[eventpoll]")
}

/// Bytes that a read of `fd`, of [`Kind::Record`], takes at least: with less it fails
/// at once.
pub(crate) fn least_record(fd: i32) -> u64 {
    match fd {
        _ if is_named(fd, b"anon_inode:[eventfd]") => 8,
        _ if is_named(fd, b"anon_inode:[timerfd]") => 8,
        _ if is_named(fd, b"anon_inode:[signalfd]") => size_of::<libc::signalfd_siginfo>() as u64,
        _ => 1,
    }
}

/// Whether the file of `fd` has this name in /proc.
fn is_named(fd: i32, wanted: &[u8]) -> bool {
    // Without memory of its own: there may be none.
    let (mut path, mut name) = ([0_u8; 32], [0_u8; 32]);
    let Ok(()) = write!(&mut path[..31], "/proc/self/fd/{fd}") else { return false };
    let place = name.as_mut_ptr().cast();
    // SAFETY: a C string; so many bytes can be written.
    let len = unsafe { libc::readlink(path.as_ptr().cast(), place, name.len()) };
    usize::try_from(len).ok().and_then(|len| name.get(..len)) == Some(wanted)
}

/// How long a call on socket `fd` waits to receive, in ns, 0 if it is for ever; none
/// if it is no socket.
pub(crate) fn receive_timeout(fd: i32) -> Option<u64> {
    timeout(fd, libc::SO_RCVTIMEO)
}

/// As [`receive_timeout`], to send.
pub(crate) fn send_timeout(fd: i32) -> Option<u64> {
    timeout(fd, libc::SO_SNDTIMEO)
}

fn timeout(fd: i32, name: i32) -> Option<u64> {
    let mut time = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let mut len = size_of::<libc::timeval>() as libc::socklen_t;
    let place = (&raw mut time).cast();
    // SAFETY: `time` has `len` bytes.
    let result = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, name, place, &raw mut len) };
    (result == 0).then_some(time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000)
}

/// Whether two descriptors mean one open file; false where nobody says so.
pub(crate) fn is_same(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> bool {
    /// Linux 6.10; the C library does not know it.
    const F_DUPFD_QUERY: i32 = 1024 + 3;
    const KCMP_FILE: i32 = 0;
    let (a, b) = (a.as_raw_fd(), b.as_raw_fd());
    // SAFETY: takes no address.
    match unsafe { libc::fcntl(a, F_DUPFD_QUERY, b) } {
        0 => return false,
        1 => return true,
        _ => {}
    }
    // SAFETY: takes no address.
    let pid = unsafe { libc::getpid() };
    // SAFETY: takes no address.
    unsafe { libc::syscall(libc::SYS_kcmp, pid, pid, KCMP_FILE, a, b) == 0 }
}

const IOPRIO_WHO_PROCESS: libc::c_int = 1;

/// The I/O priority of this thread, as in ioprio_get(2).
pub(crate) fn priority() -> Result<u32, Errno> {
    // SAFETY: takes no address.
    let value = unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0) };
    u32::try_from(value).map_err(|_| Errno::last())
}

/// Sets the I/O priority of this thread, as in ioprio_set(2).
pub(crate) fn set_priority(ioprio: u32) -> Result<(), Errno> {
    // SAFETY: takes no address.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, ioprio) };
    if result < 0 { Err(Errno::last()) } else { Ok(()) }
}
