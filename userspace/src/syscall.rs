//! The allow list: which syscalls can be run, and what must be known of them.
//!
//! Default deny: what has no row is refused with EOPNOTSUPP. SPEC: section 6.4
//! and appendix A, which a test holds against this table. Of the table, an
//! architecture has those rows whose syscall it has with values of 64 bits.

use libc::c_long;
#[allow(unused_imports)] // by none, where the C library has all
use number::*;

/// How an implementation may run a syscall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Never sleeps: run within the submission.
    Inline,
    /// Reads from a file; a try without blocking is possible.
    Read,
    /// Writes to a file; a try without blocking is possible.
    Write,
    /// Receives or sends on a socket; a try without blocking is possible.
    Socket,
    /// May sleep: a worker runs it.
    Worker,
}

/// One syscall of the allow list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syscall {
    /// Number on this architecture.
    pub nr: u32,
    /// Name as in syscalls(2).
    pub name: &'static str,
    /// Number of arguments that an iocb must give.
    pub nr_args: u8,
    /// Whether the first argument is a file descriptor.
    pub fd: bool,
    /// How it may be run.
    pub class: Class,
}

const fn row(nr: c_long, name: &'static str, nr_args: u8, fd: bool, class: Class) -> Syscall {
    Syscall { nr: nr as u32, name, nr_args, fd, class }
}

macro_rules! table {
    ($($class:ident $($name:ident $sys:ident $nr_args:literal $fd:literal),+;)*) => {{
        // They hide those of `number` that this architecture has.
        use libc::*;
        [$($(row($sys, stringify!($name), $nr_args, $fd == 1, Class::$class)),+),*]
    }};
}

/// Numbers of what an architecture may lack: those of the C library where it has
/// them, otherwise below zero, each another one.
pub(crate) mod number {
    // Which of them is used, and which import, is another matter on each architecture.
    #![allow(dead_code, unused_imports, non_upper_case_globals)]

    macro_rules! numbers {
        ($($name:ident $absent:literal),+) => {
            mod absent {
                $(pub(super) const $name: libc::c_long = $absent;)+
            }
            $(pub(crate) const $name: libc::c_long = {
                use absent::*;
                {
                    // What it has hides what stands further out.
                    use libc::*;
                    $name
                }
            };)+
        };
    }
    numbers!(
        SYS_newfstatat - 1,
        SYS_accept - 2,
        SYS_poll - 3,
        SYS_epoll_wait - 4,
        SYS_semop - 5,
        SYS_semtimedop - 6,
        SYS_msgsnd - 7,
        SYS_msgrcv - 8
    );
}

/// What a 32-bit architecture passes a 64-bit argument in two registers to, or has
/// another syscall for, with values of 64 bits.
const OF_32_BITS: &[c_long] = &[
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_clock_gettime,
    libc::SYS_sync_file_range,
    libc::SYS_lseek,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_utimensat,
    libc::SYS_truncate,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_readahead,
    libc::SYS_sendfile,
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_mq_timedsend,
    libc::SYS_mq_timedreceive,
    number::SYS_semtimedop,
];

/// All rows, in the order of appendix A: name, number, arguments, whether the first
/// one is a file descriptor.
const TABLE: &[Syscall] = &table! {
    Read
        read SYS_read 3 1, pread64 SYS_pread64 4 1, readv SYS_readv 3 1,
        preadv SYS_preadv 5 1, preadv2 SYS_preadv2 6 1;
    Write
        write SYS_write 3 1, pwrite64 SYS_pwrite64 4 1, writev SYS_writev 3 1,
        pwritev SYS_pwritev 5 1, pwritev2 SYS_pwritev2 6 1;
    Socket
        recvfrom SYS_recvfrom 6 1, sendto SYS_sendto 6 1,
        recvmsg SYS_recvmsg 3 1, sendmsg SYS_sendmsg 3 1;
    Inline
        getpid SYS_getpid 0 0, getppid SYS_getppid 0 0, getuid SYS_getuid 0 0,
        geteuid SYS_geteuid 0 0, getgid SYS_getgid 0 0, getegid SYS_getegid 0 0,
        getpgid SYS_getpgid 1 0, getsid SYS_getsid 1 0,
        clock_gettime SYS_clock_gettime 2 0;
    Worker
        fsync SYS_fsync 1 1, fdatasync SYS_fdatasync 1 1,
        sync_file_range SYS_sync_file_range 4 1, syncfs SYS_syncfs 1 1,
        openat SYS_openat 4 0, openat2 SYS_openat2 4 0, close SYS_close 1 1,
        close_range SYS_close_range 3 1, dup SYS_dup 1 1, dup3 SYS_dup3 3 1,
        pipe2 SYS_pipe2 2 0, lseek SYS_lseek 3 1, fcntl SYS_fcntl 3 1,
        flock SYS_flock 2 1,
        statx SYS_statx 5 0, newfstatat SYS_newfstatat 4 0, fstat SYS_fstat 2 1,
        statfs SYS_statfs 2 0, fstatfs SYS_fstatfs 2 1,
        getxattr SYS_getxattr 4 0, lgetxattr SYS_lgetxattr 4 0, fgetxattr SYS_fgetxattr 4 1,
        setxattr SYS_setxattr 5 0, lsetxattr SYS_lsetxattr 5 0, fsetxattr SYS_fsetxattr 5 1,
        listxattr SYS_listxattr 3 0, llistxattr SYS_llistxattr 3 0,
        flistxattr SYS_flistxattr 3 1,
        removexattr SYS_removexattr 2 0, lremovexattr SYS_lremovexattr 2 0,
        fremovexattr SYS_fremovexattr 2 1,
        fchmod SYS_fchmod 2 1, fchmodat SYS_fchmodat 3 0,
        fchown SYS_fchown 3 1, fchownat SYS_fchownat 5 0, utimensat SYS_utimensat 4 0,
        truncate SYS_truncate 2 0, ftruncate SYS_ftruncate 2 1,
        fallocate SYS_fallocate 4 1, fadvise64 SYS_fadvise64 4 1,
        readahead SYS_readahead 3 1,
        renameat2 SYS_renameat2 5 0, linkat SYS_linkat 5 0, unlinkat SYS_unlinkat 3 0,
        mkdirat SYS_mkdirat 3 0, mknodat SYS_mknodat 4 0, symlinkat SYS_symlinkat 3 0,
        readlinkat SYS_readlinkat 4 0, faccessat SYS_faccessat 3 0,
        faccessat2 SYS_faccessat2 4 0, getdents64 SYS_getdents64 3 1,
        copy_file_range SYS_copy_file_range 6 1, sendfile SYS_sendfile 4 1,
        splice SYS_splice 6 1, tee SYS_tee 4 1,
        socket SYS_socket 3 0, socketpair SYS_socketpair 4 0, bind SYS_bind 3 1,
        listen SYS_listen 2 1, accept SYS_accept 3 1, accept4 SYS_accept4 4 1,
        connect SYS_connect 3 1, shutdown SYS_shutdown 2 1,
        getsockname SYS_getsockname 3 1, getpeername SYS_getpeername 3 1,
        getsockopt SYS_getsockopt 5 1, setsockopt SYS_setsockopt 5 1,
        poll SYS_poll 3 0, ppoll SYS_ppoll 5 0, epoll_wait SYS_epoll_wait 4 1,
        epoll_pwait SYS_epoll_pwait 6 1, epoll_ctl SYS_epoll_ctl 4 1,
        futex SYS_futex 6 0,
        nanosleep SYS_nanosleep 2 0, clock_nanosleep SYS_clock_nanosleep 4 0,
        mq_timedsend SYS_mq_timedsend 5 1, mq_timedreceive SYS_mq_timedreceive 5 1,
        semop SYS_semop 3 0, semtimedop SYS_semtimedop 4 0,
        msgsnd SYS_msgsnd 4 0, msgrcv SYS_msgrcv 5 0,
        waitid SYS_waitid 5 0, kill SYS_kill 2 0,
        pidfd_open SYS_pidfd_open 2 0, pidfd_send_signal SYS_pidfd_send_signal 4 1,
        madvise SYS_madvise 3 0, msync SYS_msync 3 0,
        getrandom SYS_getrandom 3 0;
};

/// Whether this architecture has the row.
const fn is_here(row: &Syscall) -> bool {
    let mut is_here = (row.nr as i32) >= 0;
    let mut i = 0;
    while cfg!(target_pointer_width = "32") && i < OF_32_BITS.len() {
        is_here &= row.nr != OF_32_BITS[i] as u32;
        i += 1;
    }
    is_here
}

const ROWS: usize = {
    let (mut rows, mut i) = (0, 0);
    while i < TABLE.len() {
        rows += is_here(&TABLE[i]) as usize;
        i += 1;
    }
    rows
};

/// The allow list: the rows of appendix A that this architecture has, in its order.
pub const ALLOWED: &[Syscall] = &{
    let mut allowed = [TABLE[0]; ROWS];
    let (mut rows, mut i) = (0, 0);
    while i < TABLE.len() {
        if is_here(&TABLE[i]) {
            allowed[rows] = TABLE[i];
            rows += 1;
        }
        i += 1;
    }
    allowed
};

/// Rows by number: 0 is no row, otherwise the index in [`ALLOWED`] plus one.
const BY_NR: [u8; 512] = {
    let mut by_nr = [0; 512];
    let mut i = 0;
    while i < ALLOWED.len() {
        assert!(by_nr[ALLOWED[i].nr as usize] == 0, "a syscall stands twice");
        by_nr[ALLOWED[i].nr as usize] = i as u8 + 1;
        i += 1;
    }
    by_nr
};

/// The row of syscall `nr`, or `None` if it must not be run.
#[inline]
#[must_use]
pub fn lookup(nr: u32) -> Option<&'static Syscall> {
    let row = *BY_NR.get(nr as usize)?;
    ALLOWED.get(usize::from(row).checked_sub(1)?)
}

/// The row of the syscall of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Syscall> {
    ALLOWED.iter().find(|s| s.name == name)
}

/// The allow list as the bitmap of `aio2_setup.syscalls`.
#[must_use]
pub fn bitmap() -> [u64; 8] {
    let mut map = [0; 8];
    for s in ALLOWED {
        map[s.nr as usize / 64] |= 1 << (s.nr % 64);
    }
    map
}

/// Whether the arguments are among those that may be run. `args` are as the
/// plain syscall would get them; a pointer is not followed.
#[inline]
#[must_use]
pub fn args_allowed(nr: u32, args: &[u64; 6]) -> bool {
    match nr as c_long {
        libc::SYS_fcntl => matches!(
            args[1] as i32,
            libc::F_DUPFD
                | libc::F_DUPFD_CLOEXEC
                | libc::F_GETFD
                | libc::F_SETFD
                | libc::F_GETFL
                | libc::F_SETFL
                | libc::F_GETLK
                | libc::F_SETLK
                | libc::F_SETLKW
                | libc::F_OFD_GETLK
                | libc::F_OFD_SETLK
                | libc::F_OFD_SETLKW
                | libc::F_GETPIPE_SZ
                | libc::F_SETPIPE_SZ
                | libc::F_ADD_SEALS
                | libc::F_GET_SEALS
        ),
        // Plain wait and wake only: no PI, no requeue, no robust list.
        libc::SYS_futex => matches!(
            args[1] as i32 & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME),
            libc::FUTEX_WAIT | libc::FUTEX_WAKE | libc::FUTEX_WAIT_BITSET | libc::FUTEX_WAKE_BITSET
        ),
        // A signal mask belongs to a thread.
        libc::SYS_ppoll => args[3] == 0,
        libc::SYS_epoll_pwait => args[4] == 0,
        // It would give the thread descriptors of its own, for good.
        libc::SYS_close_range => args[2] as u32 & libc::CLOSE_RANGE_UNSHARE == 0,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_by_number_and_by_name() {
        for s in ALLOWED {
            assert_eq!(lookup(s.nr), Some(s));
            assert_eq!(by_name(s.name), Some(s));
        }
        assert_eq!(lookup(libc::SYS_ptrace as u32), None);
        assert_eq!(lookup(u32::MAX), None);
        let ones: u32 = bitmap().iter().map(|w| w.count_ones()).sum();
        assert_eq!(ones as usize, ALLOWED.len());
    }

    #[test]
    fn no_row_is_there_that_the_architecture_has_not() {
        let has = |name| by_name(name).is_some();
        let is_32_bit = cfg!(target_pointer_width = "32");
        let is_new = cfg!(any(target_arch = "aarch64", target_arch = "riscv64"));
        assert_eq!([has("poll"), has("epoll_wait")], [!is_new; 2]);
        assert_eq!([has("accept"), has("semop"), has("msgsnd")], [!cfg!(target_arch = "x86"); 3]);
        assert_eq!([has("pread64"), has("futex"), has("newfstatat")], [!is_32_bit; 3]);
        assert!(has("read") && has("openat") && has("accept4") && has("statx"));
        assert!(cfg!(not(target_arch = "x86_64")) || ALLOWED.len() == TABLE.len());
    }
}
