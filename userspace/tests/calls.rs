//! Operations with arguments of their own: each has the effect of its syscall, and
//! its results are typed. The last test counts how many syscalls have a constructor.

use aio2::{Buffer, Completion, Context, Dir, Errno, Op, Queue, SharedFd, Timeout};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

type Bytes = Vec<u8>;

fn run<B: Buffer>(op: Op<B>) -> Completion<B, ()> {
    let mut queue = Queue::new(Context::new().unwrap());
    queue.push(op, ());
    queue.wait(1, Timeout::Forever).unwrap().next().expect("it waited for one")
}

fn plain(op: Op<Bytes>) -> Result<u64, i32> {
    run(op).result.map_err(|Errno(errno)| errno)
}

fn c(text: &str) -> CString {
    CString::new(text).unwrap()
}

fn file(bytes: &[u8]) -> SharedFd {
    let file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, bytes, 0).unwrap();
    file.into()
}

fn content(file: &SharedFd, len: usize) -> Bytes {
    let done = run(Op::read_at(file, vec![0; len], 0));
    let bytes = done.result.unwrap() as usize;
    done.into_buffer().unwrap()[..bytes].to_vec()
}

#[test]
fn several_buffers_are_written_and_read_in_order() {
    let file = file(b"");
    let buffers = || vec![b"ab".to_vec(), b"".to_vec(), b"cde".to_vec()];
    assert_eq!(plain(Op::writev(&file, buffers())), Ok(5));
    assert_eq!(plain(Op::writev_at(&file, buffers(), 5)), Ok(5));
    assert_eq!(plain(Op::pwritev2(&file, buffers(), 10, libc::RWF_DSYNC)), Ok(5));
    assert_eq!(content(&file, 20), b"abcdeabcdeabcde");
    let room = || vec![vec![0; 3], vec![0; 4]];
    plain(Op::lseek(&file, 1, libc::SEEK_SET)).unwrap();
    let ops = [Op::readv(&file, room()), Op::readv_at(&file, room(), 1)];
    for op in ops.into_iter().chain([Op::preadv2(&file, room(), 1, 0)]) {
        let done = run(op);
        assert_eq!(done.result, Ok(7));
        assert_eq!(done.op.into_buffers(), [b"bcd".to_vec(), b"eabc".to_vec()]);
    }
}

#[test]
fn files_are_asked_and_changed() {
    let file = file(b"0123456789");
    let name = format!("/proc/self/fd/{}", std::os::fd::AsFd::as_fd(&file).as_raw_fd());
    assert_eq!(run(Op::<Bytes>::fstat(&file)).op.stat().unwrap().st_size, 10);
    let done = run(Op::<Bytes>::fstatat(Dir::Cwd, c("/"), 0));
    assert_eq!(done.op.stat().unwrap().st_mode & libc::S_IFMT, libc::S_IFDIR);
    assert!(run(Op::<Bytes>::fstatfs(&file)).op.file_system().unwrap().f_bsize > 0);
    assert_eq!(run(Op::<Bytes>::statfs(c("/proc"))).op.file_system().unwrap().f_type, 0x9fa0);
    assert_eq!(plain(Op::truncate(c(&name), 4)), Ok(0));
    assert_eq!(content(&file, 20), b"0123");
    for op in [Op::sync_file_range(&file, 0, 4, 0), Op::syncfs(&file), Op::readahead(&file, 0, 4)] {
        assert_eq!(plain(op), Ok(0));
    }
    assert_eq!(plain(Op::faccessat(Dir::Cwd, c("/"), libc::R_OK as u32)), Ok(0));
    assert_eq!(plain(Op::faccessat2(Dir::Cwd, c("/none"), 0, 0)), Err(libc::ENOENT));
    let flags = plain(Op::status_flags(&file)).unwrap() as i32;
    assert_eq!(flags & libc::O_ACCMODE, libc::O_RDWR);
    for op in [Op::dup(&file), Op::duplicate(&file)] {
        let done = run::<Bytes>(op);
        assert_eq!(content(&done.opened.unwrap().into(), 9), b"0123");
    }
    let open = |resolve| run(Op::<Bytes>::openat2(Dir::Cwd, c("/etc/passwd"), 0, 0, resolve));
    assert!(open(0).opened.is_some());
    assert_eq!(open(libc::RESOLVE_BENEATH).result, Err(Errno(libc::EXDEV)));
}

#[test]
fn locks_hold_others_off() {
    let path = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let [one, other] = [(); 2].map(|()| SharedFd::from(path.reopen().unwrap()));
    assert_eq!(plain(Op::flock(&one, libc::LOCK_EX)), Ok(0));
    let again = libc::LOCK_EX | libc::LOCK_NB;
    assert_eq!(plain(Op::flock(&other, again)), Err(libc::EWOULDBLOCK));
    assert_eq!(plain(Op::flock(&one, libc::LOCK_UN)), Ok(0));
    assert_eq!(plain(Op::lock(&one, libc::F_WRLCK, 0, 10, true)), Ok(0));
    assert_eq!(plain(Op::lock(&other, libc::F_WRLCK, 9, 1, false)), Err(libc::EAGAIN));
    assert_eq!(plain(Op::lock(&other, libc::F_WRLCK, 10, 0, false)), Ok(0));
}

#[test]
fn extended_attributes_are_set_read_listed_and_removed() {
    let path = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (fd, name) = (SharedFd::from(path.reopen().unwrap()), path.path().to_str().unwrap());
    let (path, key) = (|| c(name), || c("user.aio2"));
    if plain(Op::fsetxattr(&fd, key(), b"one".to_vec(), 0)) == Err(libc::EOPNOTSUPP) {
        println!("SKIP: the file system has no extended attributes");
        return;
    }
    let read = |op: Op<Bytes>, expected: &[u8]| {
        let done = run(op);
        assert_eq!(done.result, Ok(expected.len() as u64));
        assert_eq!(done.into_buffer().unwrap()[..expected.len()], *expected);
    };
    read(Op::fgetxattr(&fd, key(), vec![0; 9]), b"one");
    assert_eq!(plain(Op::setxattr(path(), key(), b"two!".to_vec(), 0)), Ok(0));
    read(Op::getxattr(path(), key(), vec![0; 9]), b"two!");
    assert_eq!(plain(Op::lsetxattr(path(), key(), b"3".to_vec(), 0)), Ok(0));
    read(Op::lgetxattr(path(), key(), vec![0; 9]), b"3");
    for list in [
        Op::flistxattr(&fd, vec![0; 64]),
        Op::listxattr(path(), vec![0; 64]),
        Op::llistxattr(path(), vec![0; 64]),
    ] {
        let done = run(list);
        let list = String::from_utf8(done.into_buffer().unwrap()).unwrap();
        assert!(list.contains("user.aio2\0"), "{list}");
    }
    for remove in [
        Op::fremovexattr(&fd, key()),
        Op::removexattr(path(), key()),
        Op::lremovexattr(path(), key()),
    ] {
        assert_eq!(plain(remove), Ok(0));
        assert_eq!(plain(Op::getxattr(path(), key(), vec![0; 9])), Err(libc::ENODATA));
        plain(Op::fsetxattr(&fd, key(), b"x".to_vec(), 0)).unwrap();
    }
}

#[test]
fn bytes_go_from_file_to_file_without_a_buffer() {
    let (from, to) = (file(b"0123456789"), file(b""));
    assert_eq!(plain(Op::copy_file_range((&from, Some(2)), (&to, Some(0)), 4)), Ok(4));
    assert_eq!(plain(Op::sendfile(&to, (&from, Some(8)), 100)), Ok(2));
    assert_eq!(content(&to, 20), b"8945");
    let pipes = || std::io::pipe().map(|(r, w)| (OwnedFd::from(r), OwnedFd::from(w))).unwrap();
    let ((reader, writer), (other_reader, other_writer)) = (pipes(), pipes());
    let [reader, writer] = [reader, writer].map(SharedFd::new);
    assert_eq!(plain(Op::splice((&from, Some(1)), (&writer, None), 3, 0)), Ok(3));
    assert_eq!(plain(Op::tee(&reader, other_writer, 9, 0)), Ok(3));
    for pipe in [reader, other_reader.into()] {
        assert_eq!(run(Op::read(pipe, vec![0; 3])).into_buffer().unwrap(), b"123");
    }
}

#[test]
fn sockets_are_made_named_and_asked() {
    let made = run(Op::<Bytes>::socket(libc::AF_INET, libc::SOCK_STREAM, 0));
    let listener = SharedFd::new(made.opened.unwrap());
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let reuse = || (libc::SOL_SOCKET, libc::SO_REUSEADDR);
    assert_eq!(plain(Op::setsockopt(&listener, reuse().0, reuse().1, 1)), Ok(0));
    let asked = run(Op::<Bytes>::getsockopt(&listener, reuse().0, reuse().1));
    assert_eq!((asked.result, asked.op.option_value()), (Ok(0), Some(1)));
    assert_eq!(plain(Op::bind(&listener, local)), Ok(0));
    assert_eq!(plain(Op::listen(&listener, 8)), Ok(0));
    let at = run(Op::<Bytes>::getsockname(&listener)).op.peer().unwrap();
    let client = std::net::TcpStream::connect(at).unwrap();
    let accepted = run(Op::<Bytes>::accept_from(&listener));
    assert_eq!(accepted.op.peer(), Some(client.local_addr().unwrap()));
    let server = SharedFd::new(accepted.opened.unwrap());
    let peer = run(Op::<Bytes>::getpeername(&server)).op.peer();
    assert_eq!(peer, Some(client.local_addr().unwrap()));
    assert_eq!(plain(Op::shutdown(&server, libc::SHUT_WR)), Ok(0));
    assert_eq!(plain(Op::recv(client, vec![0; 9], 0)), Ok(0));
}

#[test]
fn messages_have_addresses_and_carry_descriptors() {
    let [one, other] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let (from, to) = (one.local_addr().unwrap(), other.local_addr().unwrap());
    let [one, other] = [one, other].map(SharedFd::from);
    assert_eq!(plain(Op::send_to(&one, b"abc".to_vec(), 0, to)), Ok(3));
    let got = run(Op::recv_from(&other, vec![0; 9], 0));
    assert_eq!((got.result, got.op.peer()), (Ok(3), Some(from)));
    let parts = vec![b"a".to_vec(), b"bc".to_vec()];
    assert_eq!(plain(Op::sendmsg(&one, parts, Some(to), vec![], 0)), Ok(3));
    let got = run(Op::recvmsg(&other, vec![vec![0; 2], vec![0; 2]], 0, 0));
    assert_eq!((got.result, got.op.peer()), (Ok(3), Some(from)));
    assert_eq!(got.op.into_buffers(), [b"ab".to_vec(), b"c\0".to_vec()]);
    let lent = Op::sendmsg(&one, vec![b"a".to_vec()], Some(to), vec![], libc::MSG_ZEROCOPY);
    assert_eq!(plain(lent), Err(libc::EOPNOTSUPP));
    let lent = Op::send_to(&one, b"a".to_vec(), libc::MSG_ZEROCOPY, to);
    assert_eq!(plain(lent), Err(libc::EOPNOTSUPP));

    let (left, right) = UnixStream::pair().unwrap();
    let [left, right] = [left, right].map(SharedFd::from);
    let sent = vec![file(b"first"), file(b"second")];
    assert_eq!(plain(Op::sendmsg(&left, vec![b"x".to_vec()], None, sent, 0)), Ok(1));
    let mut got = run(Op::recvmsg(&right, vec![vec![0; 1]], 2, 0));
    let received = got.op.take_descriptors();
    assert_eq!((received.len(), got.op.take_descriptors().len()), (2, 0));
    let texts: Vec<_> = received.into_iter().map(|fd| content(&fd.into(), 9)).collect();
    assert_eq!(texts, [b"first".to_vec(), b"second".to_vec()]);
    // Those that nobody takes are closed with the completion.
    let (reader, writer) = std::io::pipe().unwrap();
    let writer = SharedFd::new(OwnedFd::from(writer));
    assert_eq!(plain(Op::sendmsg(&left, vec![b"x".to_vec()], None, vec![writer], 0)), Ok(1));
    drop(run(Op::recvmsg(&right, vec![vec![0; 1]], 1, 0)));
    assert_eq!(plain(Op::read(OwnedFd::from(reader), vec![0; 1])), Ok(0));
}

#[test]
fn readiness_of_several_files_is_told() {
    let ((_left, right), (mut other, ready)) =
        (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    std::io::Write::write_all(&mut other, b"x").unwrap();
    let files = [right, ready].map(|socket| (SharedFd::from(socket), libc::POLLIN as u16));
    let polled = run(Op::<Bytes>::ppoll(&files, Some(Duration::from_secs(100))));
    assert_eq!((polled.result, polled.op.ready()), (Ok(1), vec![0, libc::POLLIN as u16]));
    assert_eq!(plain(Op::ppoll(&files[..1], Some(Duration::ZERO))), Ok(0));
    // SAFETY: takes no address.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    // SAFETY: it is new, and nobody else's.
    let epoll = SharedFd::new(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(epoll) });
    let data = u64::MAX - 7;
    let add = Op::epoll_ctl(&epoll, libc::EPOLL_CTL_ADD, &files[1].0, libc::EPOLLIN as u32, data);
    assert_eq!(plain(add), Ok(0));
    let waited = run(Op::<Bytes>::epoll_wait(&epoll, 4, 1000));
    assert_eq!(waited.result, Ok(1));
    assert_eq!(waited.op.epoll_events(1), [(libc::EPOLLIN as u32, data)]);
}

#[test]
fn processes_clocks_and_words() {
    let pid = std::process::id();
    assert_eq!(plain(Op::getpid()), Ok(pid.into()));
    for op in [Op::getppid(), Op::getuid(), Op::geteuid(), Op::getgid(), Op::getegid()] {
        assert!(plain(op).is_ok());
    }
    assert!(plain(Op::getpgid(0)).is_ok() && plain(Op::getsid(0)).is_ok());
    let clock = || run(Op::<Bytes>::clock_gettime(libc::CLOCK_MONOTONIC)).op.time().unwrap();
    let (before, nap) = (clock(), Duration::from_millis(2));
    assert_eq!(plain(Op::nanosleep(nap)), Ok(0));
    assert_eq!(plain(Op::clock_nanosleep(libc::CLOCK_MONOTONIC, 0, nap)), Ok(0));
    assert!(clock() >= before + 2 * nap);
    #[allow(clippy::zombie_processes)] // an operation waits for it
    let child = std::process::Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
    let child = child.id() as i32;
    let pidfd = run(Op::<Bytes>::pidfd_open(child)).opened.unwrap();
    let readable = Op::poll(pidfd.try_clone().unwrap(), libc::POLLIN as u16);
    assert!(plain(readable).is_ok());
    let exit = run(Op::<Bytes>::waitid(child)).op.exit().unwrap();
    assert_eq!((exit.pid, exit.code, exit.status), (child, libc::CLD_EXITED, 7));
    assert_eq!(plain(Op::pidfd_send_signal(pidfd, 0)), Err(libc::ESRCH));
    assert_eq!(plain(Op::kill(pid as i32, 0)), Ok(0));
    let word = Arc::new(AtomicU32::new(3));
    assert_eq!(plain(Op::futex_wait(&word, 4)), Err(libc::EAGAIN));
    assert_eq!(plain(Op::futex_wake(&word, 1)), Ok(0));
    let done = run(Op::getrandom(vec![0; 32], 0));
    assert_eq!(done.result, Ok(32));
    assert_ne!(done.into_buffer().unwrap(), [0; 32]);
}

/// Those of System V and of POSIX that processes share.
#[test]
fn queues_of_messages_and_semaphores() {
    let name = CString::new(format!("/aio2-{}", std::process::id())).unwrap();
    // SAFETY: room for a structure of integers, which may all be zero.
    let mut attr: libc::mq_attr = unsafe { std::mem::zeroed() };
    (attr.mq_maxmsg, attr.mq_msgsize) = (4, 16);
    let flags = libc::O_CREAT | libc::O_RDWR;
    // SAFETY: a name, and attributes.
    let queue = unsafe { libc::mq_open(name.as_ptr(), flags, 0o600, &raw const attr) };
    // SAFETY: a name.
    unsafe { libc::mq_unlink(name.as_ptr()) };
    if queue < 0 {
        println!("SKIP: no message queues here: {}", std::io::Error::last_os_error());
    } else {
        // SAFETY: it is new, and nobody else's.
        let queue = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(queue) };
        let queue = SharedFd::new(queue);
        assert_eq!(plain(Op::mq_send(&queue, b"low".to_vec(), 1)), Ok(0));
        assert_eq!(plain(Op::mq_send(&queue, b"urgent".to_vec(), 7)), Ok(0));
        let got = run(Op::mq_receive(&queue, vec![0; 16]));
        assert_eq!(got.result, Ok(6));
        assert_eq!(got.into_buffer().unwrap()[..6], *b"urgent");
        assert_eq!(plain(Op::mq_receive(&queue, vec![0; 4])), Err(libc::EMSGSIZE));
    }
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: takes no address.
        let set = unsafe { libc::semget(libc::IPC_PRIVATE, 1, 0o600) };
        assert!(set >= 0, "{}", std::io::Error::last_os_error());
        assert_eq!(plain(Op::semop(set, 0, 2)), Ok(0));
        assert_eq!(plain(Op::semop(set, 0, -2)), Ok(0));
        let late = Op::semtimedop(set, 0, -1, Duration::from_millis(2));
        assert_eq!(plain(late), Err(libc::EAGAIN));
        // SAFETY: takes no address.
        unsafe { libc::semctl(set, 0, libc::IPC_RMID) };
        let files = [(file(b"x"), libc::POLLIN as u16)];
        let polled = run(Op::<Bytes>::poll_several(&files, 0));
        assert_eq!((polled.result, polled.op.ready()), (Ok(1), vec![libc::POLLIN as u16]));
    }
}

/// Syscalls that a safe constructor makes, of those that may be run.
#[test]
fn ninety_syscalls_have_a_safe_constructor() {
    let fd = || file(b"");
    let (name, b) = (|| c("x"), || vec![0_u8; 1]);
    let (d, at) = (Dir::Cwd, SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    let word = Arc::new(AtomicU32::new(0));
    let second = Duration::from_secs(1);
    let times = [libc::timespec { tv_sec: 0, tv_nsec: 0 }; 2];
    let dir = || d.clone();
    let ops: Vec<Op<Bytes>> = vec![
        Op::read(fd(), b()),
        Op::read_at(fd(), b(), 0),
        Op::readv(fd(), vec![]),
        Op::readv_at(fd(), vec![], 0),
        Op::preadv2(fd(), vec![], 0, 0),
        Op::write(fd(), b()),
        Op::write_at(fd(), b(), 0),
        Op::writev(fd(), vec![]),
        Op::writev_at(fd(), vec![], 0),
        Op::pwritev2(fd(), vec![], 0, 0),
        Op::recv(fd(), b(), 0),
        Op::send(fd(), b(), 0),
        Op::recvmsg(fd(), vec![], usize::MAX, 0),
        Op::sendmsg(fd(), vec![], None, vec![], 0),
        Op::getpid(),
        Op::getppid(),
        Op::getuid(),
        Op::geteuid(),
        Op::getgid(),
        Op::getegid(),
        Op::getpgid(0),
        Op::getsid(0),
        Op::clock_gettime(0),
        Op::fsync(fd()),
        Op::fdatasync(fd()),
        Op::sync_file_range(fd(), 0, 0, 0),
        Op::syncfs(fd()),
        Op::openat(dir(), name(), 0, 0),
        Op::openat2(dir(), name(), 0, 0, 0),
        Op::dup(fd()),
        Op::lseek(fd(), 0, 0),
        Op::status_flags(fd()),
        Op::flock(fd(), 0),
        Op::statx(dir(), name(), 0, 0),
        Op::fstatat(dir(), name(), 0),
        Op::fstat(fd()),
        Op::statfs(name()),
        Op::fstatfs(fd()),
        Op::getxattr(name(), name(), b()),
        Op::lgetxattr(name(), name(), b()),
        Op::fgetxattr(fd(), name(), b()),
        Op::setxattr(name(), name(), b(), 0),
        Op::lsetxattr(name(), name(), b(), 0),
        Op::fsetxattr(fd(), name(), b(), 0),
        Op::listxattr(name(), b()),
        Op::llistxattr(name(), b()),
        Op::flistxattr(fd(), b()),
        Op::removexattr(name(), name()),
        Op::lremovexattr(name(), name()),
        Op::fremovexattr(fd(), name()),
        Op::fchmod(fd(), 0),
        Op::fchmodat(dir(), name(), 0),
        Op::fchown(fd(), None, None),
        Op::fchownat(dir(), name(), None, None, 0),
        Op::utimensat(dir(), name(), times, 0),
        Op::truncate(name(), 0),
        Op::ftruncate(fd(), 0),
        Op::fallocate(fd(), 0, 0, 1),
        Op::fadvise(fd(), 0, 0, 0),
        Op::readahead(fd(), 0, 0),
        Op::renameat2((dir(), name()), (dir(), name()), 0),
        Op::linkat((dir(), name()), (dir(), name()), 0),
        Op::unlinkat(dir(), name(), 0),
        Op::mkdirat(dir(), name(), 0),
        Op::mknodat(dir(), name(), 0, 0),
        Op::symlinkat(name(), dir(), name()),
        Op::readlinkat(dir(), name(), b()),
        Op::faccessat(dir(), name(), 0),
        Op::faccessat2(dir(), name(), 0, 0),
        Op::getdents(fd(), b()),
        Op::copy_file_range((fd(), None), (fd(), None), 0),
        Op::sendfile(fd(), (fd(), None), 0),
        Op::splice((fd(), None), (fd(), None), 0, 0),
        Op::tee(fd(), fd(), 0, 0),
        Op::socket(0, 0, 0),
        Op::bind(fd(), at),
        Op::listen(fd(), 0),
        Op::accept(fd()),
        Op::connect(fd(), at),
        Op::shutdown(fd(), 0),
        Op::getsockname(fd()),
        Op::getpeername(fd()),
        Op::getsockopt(fd(), 0, 0),
        Op::setsockopt(fd(), 0, 0, 0),
        Op::ppoll(&[], None),
        Op::epoll_ctl(fd(), 0, fd(), 0, 0),
        Op::epoll_wait(fd(), 0, 0),
        Op::futex_wake(&word, 0),
        Op::nanosleep(second),
        Op::clock_nanosleep(0, 0, second),
        Op::mq_send(fd(), b(), 0),
        Op::mq_receive(fd(), b()),
        Op::waitid(0),
        Op::kill(0, 0),
        Op::pidfd_open(0),
        Op::pidfd_send_signal(fd(), 0),
        Op::getrandom(b(), 0),
    ];
    let listed = ops.len();
    let names: BTreeSet<_> = ops.iter().map(Op::name).collect();
    assert_eq!(names.len(), listed, "each is another syscall");
    assert!(names.len() >= 90 && !names.contains("syscall"), "{}: {names:?}", names.len());
}
