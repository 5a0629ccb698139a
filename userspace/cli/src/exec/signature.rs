//! Names of the arguments of each syscall that can be run.

use aio2::syscall;
use aio2_abi::op;

/// Argument names as in the manual pages, for each name of the allow list.
const ARGUMENTS: &[(&str, &str)] = &[
    ("read", "fd buf count"),
    ("pread64", "fd buf count offset"),
    ("readv", "fd iov iovcnt"),
    ("preadv", "fd iov iovcnt pos_l pos_h"),
    ("preadv2", "fd iov iovcnt pos_l pos_h flags"),
    ("write", "fd buf count"),
    ("pwrite64", "fd buf count offset"),
    ("writev", "fd iov iovcnt"),
    ("pwritev", "fd iov iovcnt pos_l pos_h"),
    ("pwritev2", "fd iov iovcnt pos_l pos_h flags"),
    ("recvfrom", "fd buf len flags addr addrlen"),
    ("sendto", "fd buf len flags addr addrlen"),
    ("recvmsg", "fd msg flags"),
    ("sendmsg", "fd msg flags"),
    ("getpid", ""),
    ("getppid", ""),
    ("getuid", ""),
    ("geteuid", ""),
    ("getgid", ""),
    ("getegid", ""),
    ("getpgid", "pid"),
    ("getsid", "pid"),
    ("clock_gettime", "clockid tp"),
    ("fsync", "fd"),
    ("fdatasync", "fd"),
    ("sync_file_range", "fd offset nbytes flags"),
    ("syncfs", "fd"),
    ("openat", "dirfd pathname flags mode"),
    ("openat2", "dirfd pathname how size"),
    ("close", "fd"),
    ("close_range", "first last flags"),
    ("dup", "oldfd"),
    ("dup3", "oldfd newfd flags"),
    ("pipe2", "pipefd flags"),
    ("lseek", "fd offset whence"),
    ("fcntl", "fd cmd arg"),
    ("flock", "fd operation"),
    ("statx", "dirfd pathname flags mask statxbuf"),
    ("newfstatat", "dirfd pathname statbuf flags"),
    ("fstat", "fd statbuf"),
    ("statfs", "path buf"),
    ("fstatfs", "fd buf"),
    ("getxattr", "path name value size"),
    ("lgetxattr", "path name value size"),
    ("fgetxattr", "fd name value size"),
    ("setxattr", "path name value size flags"),
    ("lsetxattr", "path name value size flags"),
    ("fsetxattr", "fd name value size flags"),
    ("listxattr", "path list size"),
    ("llistxattr", "path list size"),
    ("flistxattr", "fd list size"),
    ("removexattr", "path name"),
    ("lremovexattr", "path name"),
    ("fremovexattr", "fd name"),
    ("fchmod", "fd mode"),
    ("fchmodat", "dirfd pathname mode"),
    ("fchown", "fd owner group"),
    ("fchownat", "dirfd pathname owner group flags"),
    ("utimensat", "dirfd pathname times flags"),
    ("truncate", "path length"),
    ("ftruncate", "fd length"),
    ("fallocate", "fd mode offset len"),
    ("fadvise64", "fd offset len advice"),
    ("readahead", "fd offset count"),
    ("renameat2", "olddirfd oldpath newdirfd newpath flags"),
    ("linkat", "olddirfd oldpath newdirfd newpath flags"),
    ("unlinkat", "dirfd pathname flags"),
    ("mkdirat", "dirfd pathname mode"),
    ("mknodat", "dirfd pathname mode dev"),
    ("symlinkat", "target newdirfd linkpath"),
    ("readlinkat", "dirfd pathname buf bufsiz"),
    ("faccessat", "dirfd pathname mode"),
    ("faccessat2", "dirfd pathname mode flags"),
    ("getdents64", "fd dirp count"),
    ("copy_file_range", "fd_in off_in fd_out off_out len flags"),
    ("sendfile", "out_fd in_fd offset count"),
    ("splice", "fd_in off_in fd_out off_out len flags"),
    ("tee", "fd_in fd_out len flags"),
    ("socket", "domain type protocol"),
    ("socketpair", "domain type protocol sv"),
    ("bind", "sockfd addr addrlen"),
    ("listen", "sockfd backlog"),
    ("accept", "sockfd addr addrlen"),
    ("accept4", "sockfd addr addrlen flags"),
    ("connect", "sockfd addr addrlen"),
    ("shutdown", "sockfd how"),
    ("getsockname", "sockfd addr addrlen"),
    ("getpeername", "sockfd addr addrlen"),
    ("getsockopt", "sockfd level optname optval optlen"),
    ("setsockopt", "sockfd level optname optval optlen"),
    ("poll", "fds nfds timeout"),
    ("ppoll", "fds nfds tmo_p sigmask sigsetsize"),
    ("epoll_wait", "epfd events maxevents timeout"),
    ("epoll_pwait", "epfd events maxevents timeout sigmask sigsetsize"),
    ("epoll_ctl", "epfd op fd event"),
    ("futex", "uaddr futex_op val timeout uaddr2 val3"),
    ("nanosleep", "duration rem"),
    ("clock_nanosleep", "clockid flags t remain"),
    ("mq_timedsend", "mqdes msg_ptr msg_len msg_prio abs_timeout"),
    ("mq_timedreceive", "mqdes msg_ptr msg_len msg_prio abs_timeout"),
    ("semop", "semid sops nsops"),
    ("semtimedop", "semid sops nsops timeout"),
    ("msgsnd", "msqid msgp msgsz msgflg"),
    ("msgrcv", "msqid msgp msgsz msgtyp msgflg"),
    ("waitid", "idtype id infop options rusage"),
    ("kill", "pid sig"),
    ("pidfd_open", "pid flags"),
    ("pidfd_send_signal", "pidfd sig info flags"),
    ("madvise", "addr length advice"),
    ("msync", "addr length flags"),
    ("getrandom", "buf buflen flags"),
    ("nop", ""),
    ("poll_op", "fd events"),
    ("group", "key"),
];

/// A syscall or operation that can be named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    pub nr: u32,
    pub name: &'static str,
    /// Names of the arguments, separated by spaces.
    pub arguments: &'static str,
}

impl Signature {
    /// How many arguments it takes.
    pub fn count(&self) -> usize {
        self.arguments.split_whitespace().count()
    }
}

/// The signature of syscall or operation `nr`, if it can be run.
pub fn of(nr: u32) -> Option<Signature> {
    let name = match op::describe(nr) {
        // The syscall has the plain name.
        Some(("poll", _)) => "poll_op",
        Some((name, _)) => name,
        None => syscall::lookup(nr)?.name,
    };
    let (name, arguments) = *ARGUMENTS.iter().find(|(known, _)| *known == name)?;
    Some(Signature { nr, name, arguments })
}

/// The signature for a name or number of the command line.
pub fn find(given: &str) -> Option<Signature> {
    if let Ok(nr) = given.parse() {
        return of(nr);
    }
    let by_name = syscall::by_name(given).map(|row| row.nr);
    by_name
        .into_iter()
        .chain([op::NOP, op::POLL, op::GROUP])
        .filter_map(of)
        .find(|s| s.name == given)
}

/// A call as a person writes it: name and named arguments.
pub fn call(nr: u32, args: &[u64]) -> String {
    let args: Vec<_> = args.iter().map(|arg| shown(*arg)).collect();
    call_of(nr, &args)
}

/// As [`call`], of arguments that are shown otherwise than as numbers.
pub fn call_with(nr: u32, args: &[(u64, Option<String>)]) -> String {
    let args = args.iter().map(|(value, text)| text.clone().unwrap_or_else(|| shown(*value)));
    call_of(nr, &args.collect::<Vec<_>>())
}

fn call_of(nr: u32, args: &[String]) -> String {
    let Some(signature) = of(nr) else {
        return format!("syscall {nr}({})", args.join(", "));
    };
    let mut names = signature.arguments.split_whitespace();
    let args: Vec<_> =
        args.iter().map(|arg| format!("{}={arg}", names.next().unwrap_or("?"))).collect();
    format!("{}({})", signature.name, args.join(", "))
}

/// A register's value: small numbers, positive or negative, in decimal.
fn shown(value: u64) -> String {
    let signed = value.cast_signed();
    let as_int = value as u32 as i32;
    if signed.unsigned_abs() < 1 << 32 {
        format!("{signed}")
    } else if value >> 32 == 0 && as_int < 0 {
        format!("{as_int}")
    } else {
        format!("{value:#x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_of_the_allow_list_has_as_many_names_as_arguments() {
        for row in syscall::ALLOWED {
            let signature = of(row.nr).unwrap_or_else(|| panic!("{} has no names", row.name));
            assert_eq!(signature.count(), usize::from(row.nr_args), "{}", row.name);
            assert_eq!(find(row.name), Some(signature));
            assert_eq!(find(&row.nr.to_string()), Some(signature));
        }
        for nr in [op::NOP, op::POLL, op::GROUP] {
            let signature = of(nr).unwrap();
            assert_eq!(Some(signature.count()), op::describe(nr).map(|(_, count)| count));
            assert_eq!(find(signature.name), Some(signature));
        }
        assert_eq!(ARGUMENTS.len(), syscall::ALLOWED.len() + 3);
    }

    #[test]
    fn a_call_is_shown_with_the_names_of_its_arguments() {
        let nr = syscall::by_name("openat").unwrap().nr;
        let shown = call(nr, &[(-100_i64).cast_unsigned(), 0x7fff_0000_1000, 0, 0]);
        assert_eq!(shown, "openat(dirfd=-100, pathname=0x7fff00001000, flags=0, mode=0)");
        assert_eq!(call(511, &[1]), "syscall 511(1)");
    }
}
