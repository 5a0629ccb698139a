//! Random calls: for each syscall what its arguments may be, good and bad.

use super::world::{Arg, DATA, DATA_BYTES, END, Kind, NR_NAMES, STRUCTS, World, name_at};
use crate::random::Random;
use Arg::{Fd, Memory, Messages, Num, Semaphores, Spare};

/// What of a call's outcome differs between two worlds that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing.
    All,
    /// The result is a new descriptor.
    Descriptor,
    /// Two new descriptors are written.
    Descriptors,
    /// Only the result is the same: what is written has addresses, times, numbers.
    Result,
    /// Only mode, links and size of what is written are: a struct stat.
    Stat,
    /// As above, a struct statx.
    Statx,
    /// Only whether it fails, and how.
    Errno,
}

/// A call before it is known in which world.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) args: Vec<Arg>,
    /// Words of memory that it is given.
    pub(super) words: Vec<(usize, Arg)>,
    pub(super) told: Told,
    /// It may wait for another.
    pub(super) waits: bool,
}

/// The syscalls that are called.
pub(super) const NAMES: &[&str] = &[
    "read",
    "pread64",
    "readv",
    "preadv",
    "preadv2",
    "write",
    "pwrite64",
    "writev",
    "pwritev",
    "pwritev2",
    "recvfrom",
    "sendto",
    "recvmsg",
    "sendmsg",
    "getpid",
    "getppid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getpgid",
    "getsid",
    "clock_gettime",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "openat",
    "openat2",
    "close",
    "close_range",
    "dup",
    "dup3",
    "pipe2",
    "lseek",
    "fcntl",
    "flock",
    "statx",
    "newfstatat",
    "fstat",
    "statfs",
    "fstatfs",
    "getxattr",
    "lgetxattr",
    "fgetxattr",
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "listxattr",
    "llistxattr",
    "flistxattr",
    "removexattr",
    "lremovexattr",
    "fremovexattr",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "utimensat",
    "truncate",
    "ftruncate",
    "fallocate",
    "fadvise64",
    "readahead",
    "renameat2",
    "linkat",
    "unlinkat",
    "mkdirat",
    "mknodat",
    "symlinkat",
    "readlinkat",
    "faccessat",
    "faccessat2",
    "getdents64",
    "copy_file_range",
    "sendfile",
    "splice",
    "tee",
    "socket",
    "socketpair",
    "bind",
    "listen",
    "accept",
    "accept4",
    "connect",
    "shutdown",
    "getsockname",
    "getpeername",
    "getsockopt",
    "setsockopt",
    "poll",
    "ppoll",
    "epoll_wait",
    "epoll_pwait",
    "epoll_ctl",
    "futex",
    "nanosleep",
    "clock_nanosleep",
    "mq_timedsend",
    "mq_timedreceive",
    "semop",
    "semtimedop",
    "msgsnd",
    "msgrcv",
    "waitid",
    "kill",
    "pidfd_open",
    "pidfd_send_signal",
    "syncfs",
    "madvise",
    "msync",
    "getrandom",
];

/// The kinds of data that move much more often than others are called.
const TRANSFERS: usize = 14;

pub(super) struct Maker<'a> {
    pub(super) random: &'a mut Random,
    pub(super) world: &'a World,
}

impl Maker<'_> {
    fn one_in(&mut self, n: u64) -> bool {
        self.random.below(n) == 0
    }

    fn of(&mut self, numbers: &[i64]) -> Arg {
        Num(numbers[self.random.below(numbers.len() as u64) as usize] as u64)
    }

    fn flags(&mut self, bits: &[i32]) -> Arg {
        let all = bits.iter().fold(0, |sum, bit| if self.one_in(3) { sum | bit } else { sum });
        Num(if self.one_in(40) { all as u64 | 1 << self.random.below(31) } else { all as u64 })
    }

    fn fd_of(&mut self, wanted: impl Fn(Kind) -> bool) -> Arg {
        let nr = self.world.nr_fds() as u64;
        let first = self.random.below(nr) as usize;
        let mut places = (first..first + nr as usize).map(|place| place % nr as usize);
        places.find(|&place| wanted(self.world.kind(place))).map_or(Num(u64::MAX), Fd)
    }

    fn fd(&mut self) -> Arg {
        match self.random.below(30) {
            0 => self.of(&[-1, 1 << 20, 1 << 32 | 1 << 20]),
            1 => Spare,
            2..=15 => self.fd_of(|kind| kind == Kind::File),
            _ => Fd(self.random.below(self.world.nr_fds() as u64) as usize),
        }
    }

    fn file(&mut self) -> Arg {
        if self.one_in(8) { self.fd() } else { self.fd_of(|kind| kind == Kind::File) }
    }

    fn socket(&mut self) -> Arg {
        if self.one_in(20) { self.fd() } else { self.fd_of(|kind| kind == Kind::Socket) }
    }

    fn dir(&mut self) -> Arg {
        if self.one_in(20) { self.fd() } else { Fd(0) }
    }

    /// The name of a file, by its place here or from the root.
    fn name(&mut self) -> Arg {
        if self.one_in(60) {
            return self.of(&[0, 8, -1]);
        }
        Memory(name_at(self.random.below(NR_NAMES as u64) as usize))
    }

    fn whole_name(&mut self) -> Arg {
        let half = NR_NAMES as u64 / 2;
        let n = half + self.random.below(half);
        if self.one_in(60) { Num(8) } else { Memory(name_at(n as usize)) }
    }

    fn len(&mut self) -> u64 {
        match self.random.below(16) {
            0 => 0,
            1..=5 => self.random.below(64),
            6..=11 => self.random.below(DATA_BYTES as u64),
            12 => 4096,
            13 => DATA_BYTES as u64,
            14 => self.random.below(1 << 20),
            _ => [1 << 31, 1 << 47, i64::MAX as u64, u64::MAX, 0x7fff_f000]
                [self.random.below(5) as usize],
        }
    }

    fn data(&mut self) -> Arg {
        match self.random.below(40) {
            0 => self.of(&[0, 8, -1, i64::MIN]),
            // It goes over the end.
            1 => Memory(END - self.random.below(5000) as usize),
            2..=5 => Memory(DATA + self.random.below(4000) as usize),
            _ => Memory(DATA),
        }
    }

    fn offset(&mut self) -> Arg {
        match self.random.below(12) {
            0 => self.of(&[-1, -2, i64::MAX, i64::MIN, 1 << 40, i64::MAX - 100]),
            1..=4 => Num(0),
            5..=7 => Num(4096 * self.random.below(8)),
            _ => Num(self.random.below(20_000)),
        }
    }

    /// Vectors in memory; their address and number.
    fn vectors(&mut self, words: &mut Vec<(usize, Arg)>) -> [Arg; 2] {
        let nr = self.random.below(4);
        for n in 0..nr as usize {
            let (data, len) = (self.data(), self.len());
            words.push((STRUCTS + 16 * n, data));
            words.push((STRUCTS + 16 * n + 8, Num(len)));
        }
        match self.random.below(40) {
            0 => [self.of(&[0, 8, -1]), Num(nr)],
            1 => [Memory(STRUCTS), self.of(&[1025, -1, i64::MAX])],
            _ => [Memory(STRUCTS), Num(nr)],
        }
    }

    /// A message header in memory.
    fn message(&mut self, words: &mut Vec<(usize, Arg)>) -> Arg {
        let [at, nr] = self.vectors(words);
        let header = STRUCTS + 1024;
        let control = if self.one_in(4) { Memory(STRUCTS + 2048) } else { Num(0) };
        let room = if matches!(control, Num(_)) { 0 } else { 64 };
        let fields = [Num(0), Num(0), at, nr, control, Num(room), Num(0)];
        words.extend((0..).map(|n| header + 8 * n).zip(fields));
        words.extend((0..8).map(|n| (STRUCTS + 2048 + 8 * n, Num(0))));
        if self.one_in(40) { self.of(&[0, 8]) } else { Memory(header) }
    }

    fn time(&mut self, words: &mut Vec<(usize, Arg)>) -> Arg {
        let ns = self.of(&[0, 1, 1000, 100_000, -1, 1_000_000_000]);
        words.push((STRUCTS + 3072, Num(0)));
        words.push((STRUCTS + 3080, ns));
        if self.one_in(20) { self.of(&[8, -1]) } else { Memory(STRUCTS + 3072) }
    }

    fn rwf(&mut self) -> Arg {
        self.flags(&[0, 0, libc::RWF_NOWAIT, libc::RWF_DSYNC, libc::RWF_SYNC, libc::RWF_APPEND, 1])
    }

    fn msg(&mut self) -> Arg {
        let all = [
            libc::MSG_DONTWAIT,
            libc::MSG_PEEK,
            libc::MSG_TRUNC,
            libc::MSG_WAITALL,
            libc::MSG_NOSIGNAL,
            libc::MSG_OOB,
            libc::MSG_MORE,
        ];
        if self.one_in(2) { self.of(&[0, libc::MSG_DONTWAIT.into()]) } else { self.flags(&all) }
    }

    /// A random call.
    pub(super) fn call(&mut self) -> Call {
        let end = if self.one_in(2) { TRANSFERS } else { NAMES.len() } as u64;
        let name = NAMES[self.random.below(end) as usize];
        let mut words = Vec::new();
        let (args, told) = self.arguments(name, &mut words);
        let waits = |arg: &Arg| match arg {
            Fd(place) => matches!(self.world.kind(*place), Kind::Waits | Kind::Socket),
            Spare => true,
            _ => false,
        };
        let waits = args.iter().any(waits);
        Call { name, args, words, told, waits }
    }

    fn arguments(&mut self, name: &str, words: &mut Vec<(usize, Arg)>) -> (Vec<Arg>, Told) {
        use Told::{All, Descriptor, Descriptors, Errno, Result};
        let out = Memory(STRUCTS + 3200);
        let args = match name {
            "read" | "write" => vec![self.fd(), self.data(), Num(self.len())],
            "pread64" | "pwrite64" => {
                vec![self.file(), self.data(), Num(self.len()), self.offset()]
            }
            "readv" | "writev" => {
                let [at, nr] = self.vectors(words);
                vec![self.fd(), at, nr]
            }
            "preadv" | "pwritev" => {
                let [at, nr] = self.vectors(words);
                vec![self.file(), at, nr, self.offset(), Num(0)]
            }
            "preadv2" | "pwritev2" => {
                let [at, nr] = self.vectors(words);
                vec![self.fd(), at, nr, self.offset(), Num(0), self.rwf()]
            }
            "recvfrom" | "sendto" => {
                let len = self.len();
                vec![self.socket(), self.data(), Num(len), self.msg(), Num(0), Num(0)]
            }
            "recvmsg" | "sendmsg" => vec![self.socket(), self.message(words), self.msg()],
            "getpid" | "getppid" | "getuid" | "geteuid" | "getgid" | "getegid" => vec![],
            "getpgid" | "getsid" => vec![self.of(&[0, -1, 1 << 30])],
            "clock_gettime" => return (vec![self.of(&[0, 1, 99]), out], Result),
            "fsync" | "fdatasync" => vec![self.fd()],
            "sync_file_range" => {
                vec![self.file(), self.offset(), self.offset(), self.of(&[0, 7, 9])]
            }
            "openat" => {
                let flags = [libc::O_CREAT, libc::O_RDWR, libc::O_EXCL, libc::O_TRUNC];
                let more = [libc::O_NOFOLLOW, libc::O_APPEND, libc::O_NONBLOCK, libc::O_DIRECTORY];
                let (Num(a), Num(b)) = (self.flags(&flags), self.flags(&more)) else {
                    return (vec![], All);
                };
                let flags = Num((a | b | libc::O_NONBLOCK as u64) & 0x3f_ffff);
                return (vec![self.dir(), self.name(), flags, Num(0o640)], Descriptor);
            }
            "openat2" => {
                let flags = self.of(&[0o4000, 0o4002, 0o4100, 0o4102, 0o4302, -1]);
                let resolve = self.of(&[0, 0, 8, 0x20, 0x10, 0x1000]);
                let mode = match flags {
                    Num(flags) if flags & 0o100 != 0 => Num(0o600),
                    _ => self.of(&[0, 0, 1]),
                };
                words.extend((0..).map(|n| STRUCTS + 8 * n).zip([flags, mode, resolve]));
                let size = self.of(&[24, 24, 8, 32]);
                return (vec![self.dir(), self.name(), Memory(STRUCTS), size], Descriptor);
            }
            "close" => vec![if self.one_in(3) { self.of(&[-1, 1 << 20]) } else { Spare }],
            "close_range" => vec![Spare, Spare, self.of(&[0, 4, 64])],
            "dup" => return (vec![self.fd()], Descriptor),
            "dup3" => return (vec![self.fd(), Spare, self.of(&[0, 0o2_000_000, 1])], Descriptor),
            "pipe2" => return (vec![out, self.of(&[0, 0o4000, 7])], Descriptors),
            "lseek" => vec![self.fd(), self.offset(), self.of(&[0, 1, 2, 3, 4, 9])],
            "fcntl" => {
                let commands =
                    [libc::F_GETFD, libc::F_GETFL, libc::F_GETPIPE_SZ, libc::F_GET_SEALS];
                vec![self.fd(), Num(commands[self.random.below(4) as usize] as u64), Num(0)]
            }
            "flock" => vec![Fd(self.random.below(6) as usize), self.of(&[5, 6, 8 | 4, 99])],
            "statx" => {
                let args = vec![
                    self.dir(),
                    self.name(),
                    self.of(&[0, 0x1000, 0x100, -1]),
                    Num(0x7ff),
                    out,
                ];
                return (args, Told::Statx);
            }
            "newfstatat" => {
                return (
                    vec![self.dir(), self.name(), out, self.of(&[0, 0x1000, 0x100, 1])],
                    Told::Stat,
                );
            }
            "fstat" => return (vec![self.fd(), out], Told::Stat),
            "statfs" => return (vec![self.whole_name(), out], Result),
            "fstatfs" => return (vec![self.fd(), out], Result),
            "getxattr" | "lgetxattr" | "fgetxattr" | "setxattr" | "lsetxattr" | "fsetxattr"
            | "removexattr" | "lremovexattr" | "fremovexattr" | "listxattr" | "llistxattr"
            | "flistxattr" => {
                let of = if name.starts_with('f') { self.file() } else { self.whole_name() };
                words.push((STRUCTS, Num(u64::from_ne_bytes(*b"user.abc"))));
                words.push((STRUCTS + 8, Num(0)));
                let size = self.of(&[0, 3, 8, 100, -1]);
                let mut args = vec![of];
                if !name.contains("list") {
                    args.push(Memory(STRUCTS));
                }
                if !name.contains("remove") {
                    args.extend([self.data(), size]);
                }
                if name.contains("set") {
                    args.push(self.of(&[0, 0, 1, 2, 9]));
                }
                return (args, if name.contains("list") { Result } else { All });
            }
            "fchmod" => vec![self.file(), self.of(&[0o600, 0o644, 0o777])],
            "fchmodat" => vec![self.dir(), self.name(), self.of(&[0o600, 0o644, 0o755])],
            "fchown" => vec![self.file(), self.of(&[-1, 0]), self.of(&[-1, 0])],
            "fchownat" => vec![
                self.dir(),
                self.name(),
                Num(u64::MAX),
                Num(u64::MAX),
                self.of(&[0, 0x100, 0x1000, 1]),
            ],
            "utimensat" => {
                let old = self.of(&[5, 1000, 99_999_999]);
                words.extend((0..).map(|n| STRUCTS + 8 * n).zip([
                    old,
                    Num(1),
                    old,
                    self.of(&[1, 0x3fff_fffe, -1]),
                ]));
                vec![self.dir(), self.name(), Memory(STRUCTS), self.of(&[0, 0x100, 1])]
            }
            "truncate" => vec![self.whole_name(), self.of(&[0, 100, 5000, 20_000, -1, i64::MAX])],
            "ftruncate" => vec![self.fd(), self.of(&[0, 100, 5000, 20_000, -1, i64::MAX])],
            "fallocate" => vec![
                self.file(),
                self.of(&[0, 1, 3, 16, 99]),
                self.offset(),
                self.of(&[0, 1, 4096, 50_000, -1]),
            ],
            "fadvise64" => {
                vec![self.fd(), self.offset(), self.offset(), self.of(&[0, 1, 2, 3, 4, 5, 9])]
            }
            "readahead" => vec![self.fd(), self.offset(), self.of(&[0, 4096])],
            "renameat2" => {
                vec![self.dir(), self.name(), self.dir(), self.name(), self.of(&[0, 0, 1, 2, 9])]
            }
            "linkat" => {
                vec![self.dir(), self.name(), self.dir(), self.name(), self.of(&[0, 0x400, 1])]
            }
            "unlinkat" => vec![self.dir(), self.name(), self.of(&[0, 0, 0x200, 1])],
            "mkdirat" => vec![self.dir(), self.name(), Num(0o750)],
            "mknodat" => vec![
                self.dir(),
                self.name(),
                self.of(&[0o10_600, 0o100_600, 0o140_600, 0o770_000]),
                Num(0),
            ],
            "symlinkat" => vec![Memory(name_at(2)), self.dir(), self.name()],
            "readlinkat" => vec![self.dir(), self.name(), self.data(), self.of(&[0, 1, 100, -1])],
            "faccessat" => vec![self.dir(), self.name(), self.of(&[0, 1, 4, 7, 8])],
            "faccessat2" => vec![
                self.dir(),
                self.name(),
                self.of(&[0, 4, 7]),
                self.of(&[0, 0x100, 0x200, 0x1000, 1]),
            ],
            "getdents64" => {
                return (
                    vec![
                        self.fd_of(|kind| kind == Kind::Directory),
                        Memory(DATA),
                        self.of(&[0, 10, 4096]),
                    ],
                    Errno,
                );
            }
            "copy_file_range" => vec![
                self.file(),
                Num(0),
                self.file(),
                Num(0),
                Num(self.random.below(30_000)),
                self.of(&[0, 0, 1]),
            ],
            "sendfile" => vec![self.fd(), self.file(), Num(0), Num(self.random.below(20_000))],
            "splice" => vec![
                self.fd(),
                Num(0),
                self.fd(),
                Num(0),
                Num(self.random.below(20_000)),
                self.of(&[2, 3, 2, 99]),
            ],
            "tee" => vec![self.fd(), self.fd(), Num(self.random.below(9000)), Num(2)],
            "socket" => {
                return (
                    vec![self.of(&[1, 2, 10, 99]), self.of(&[1, 2, 5, 99]), self.of(&[0, 0, 77])],
                    Descriptor,
                );
            }
            "socketpair" => {
                return (vec![self.of(&[1, 2]), self.of(&[1, 2, 5, 9]), Num(0), out], Descriptors);
            }
            "bind" | "connect" => {
                let family = self.of(&[0, 2, 1, 99]);
                words.push((STRUCTS, family));
                words.push((STRUCTS + 8, Num(0)));
                let fd = self.fd_of(|kind| kind != Kind::Socket);
                let size = self.of(&[0, 2, 16, -1]);
                vec![fd, Memory(STRUCTS), size]
            }
            "listen" => vec![self.fd_of(|kind| kind != Kind::Socket), self.of(&[0, 5])],
            "accept" => {
                return (vec![Fd(self.world.place("listener")), Num(0), Num(0)], Descriptor);
            }
            "accept4" => {
                return (
                    vec![
                        Fd(self.world.place("listener")),
                        Num(0),
                        Num(0),
                        self.of(&[0, 0o4000, 1]),
                    ],
                    Descriptor,
                );
            }
            "shutdown" => vec![self.fd_of(|kind| kind != Kind::Socket), self.of(&[0, 1, 2, 9])],
            "getsockname" | "getpeername" => {
                words.push((STRUCTS, Num(110)));
                return (vec![self.socket(), Memory(STRUCTS + 64), Memory(STRUCTS)], Result);
            }
            "getsockopt" => {
                words.push((STRUCTS, Num(4)));
                vec![
                    self.socket(),
                    Num(1),
                    self.of(&[3, 4, 8, 18, 30, 38, 39, 99]),
                    out,
                    Memory(STRUCTS),
                ]
            }
            "setsockopt" => {
                words.push((STRUCTS, self.of(&[0, 1, 10, 100])));
                vec![
                    self.socket(),
                    Num(1),
                    self.of(&[18, 9, 99]),
                    Memory(STRUCTS),
                    self.of(&[4, 4, 2, -1]),
                ]
            }
            "poll" | "ppoll" => {
                let events = self.of(&[1, 4, 5, 0x2000]);
                let (Num(events), fd) = (events, self.of(&[-1, -1, 1 << 20])) else {
                    return (vec![], All);
                };
                let Num(fd) = fd else { return (vec![], All) };
                words.push((STRUCTS, Num(fd & 0xffff_ffff | events << 32)));
                if name == "poll" {
                    vec![Memory(STRUCTS), Num(1), self.of(&[0, 1])]
                } else {
                    vec![Memory(STRUCTS), Num(1), self.time(words), Num(0), self.of(&[0, 8])]
                }
            }
            "epoll_wait" => vec![
                Fd(self.world.place("epoll")),
                Memory(DATA),
                self.of(&[1, 8, 0, -1]),
                self.of(&[0, 1]),
            ],
            "epoll_pwait" => vec![
                Fd(self.world.place("epoll")),
                Memory(DATA),
                self.of(&[1, 8, 0, -1]),
                self.of(&[0, 1]),
                Num(0),
                Num(8),
            ],
            "epoll_ctl" => {
                let events = self.of(&[1, 4, 1 | 1 << 30, 4 | 1 << 31]);
                let Num(events) = events else { return (vec![], All) };
                let place = self.random.below(self.world.nr_fds() as u64);
                words.push((STRUCTS, Num(events & 0xffff_ffff | place << 32)));
                words.push((STRUCTS + 8, Num(0)));
                vec![
                    Fd(self.world.place("epoll")),
                    self.of(&[1, 2, 3, 9]),
                    Fd(place as usize),
                    Memory(STRUCTS),
                ]
            }
            "futex" => vec![
                Memory(STRUCTS + 512),
                self.of(&[0, 1, 128, 129, 9]),
                self.of(&[77, 1]),
                self.time(words),
                Num(0),
                self.of(&[-1, 0]),
            ],
            "nanosleep" => return (vec![self.time(words), Num(0)], Result),
            "clock_nanosleep" => {
                return (vec![self.of(&[0, 1, 99]), Num(0), self.time(words), Num(0)], Result);
            }
            "mq_timedsend" | "mq_timedreceive" => {
                let queue = self.world.find("queue").filter(|_| !self.one_in(8));
                let fd = queue.map_or_else(|| self.fd(), Fd);
                let len = self.of(&[64, 64, 64, 10, 0, 65, 8192, -1]);
                let time = if self.one_in(3) { self.time(words) } else { Num(0) };
                let prio = if name == "mq_timedsend" { self.of(&[0, 1, 7, -1]) } else { out };
                vec![fd, self.data(), len, prio, time]
            }
            "semop" | "semtimedop" => {
                // Number, what is added, flags: it never waits.
                let op = self.of(&[1, 0, 3, -1, -2, 32_767]);
                let Num(op) = op else { return (vec![], All) };
                let number = self.random.below(3);
                let flags = libc::IPC_NOWAIT as u64;
                words.push((STRUCTS, Num(number | (op & 0xffff) << 16 | flags << 32)));
                let set = if self.one_in(6) { self.of(&[-1, 1 << 30]) } else { Semaphores };
                let mut args = vec![set, Memory(STRUCTS), self.of(&[1, 1, 1, 0, 1000])];
                if name == "semtimedop" {
                    args.push(self.time(words));
                }
                args
            }
            "msgsnd" | "msgrcv" => {
                let queue = if self.one_in(6) { self.of(&[-1, 1 << 30]) } else { Messages };
                let len = self.of(&[8, 8, 100, 0, -1, 9000]);
                let mut args = vec![queue, Memory(DATA), len];
                if name == "msgrcv" {
                    args.push(self.of(&[0, 0, 1, -1]));
                }
                args.push(Num(libc::IPC_NOWAIT as u64));
                args
            }
            "pidfd_send_signal" => {
                let pidfd = self.world.place("pidfd");
                let fd = if self.one_in(3) { self.fd() } else { Fd(pidfd) };
                vec![fd, self.of(&[0, 0, 99, -1]), Num(0), self.of(&[0, 0, 1 << 20])]
            }
            // It may take long where others write.
            "syncfs" if self.one_in(4) => vec![self.fd()],
            "syncfs" => vec![self.of(&[-1, 1 << 20])],
            "waitid" => {
                return (
                    vec![self.of(&[0, 1, 2, 9]), Num(1 << 22), Num(0), self.of(&[5, 4, 0]), Num(0)],
                    Result,
                );
            }
            "kill" => vec![self.of(&[1 << 30, 0]), self.of(&[0, 99])],
            "pidfd_open" => {
                return (vec![self.of(&[1 << 30, -1, 0, 1]), self.of(&[0, 1])], Descriptor);
            }
            "madvise" => vec![Memory(DATA), self.of(&[0, 4096, 8192]), self.of(&[0, 3, 99])],
            "msync" => vec![Memory(DATA), self.of(&[0, 4096]), self.of(&[1, 4, 5, 99])],
            "getrandom" => {
                return (vec![self.data(), Num(self.len().min(300)), self.of(&[0, 1, 99])], Result);
            }
            _ => vec![],
        };
        (args, All)
    }
}
