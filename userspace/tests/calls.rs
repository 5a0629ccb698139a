//! Operations with arguments of their own: each has the effect of its syscall, and
//! its results are typed. The last test counts how many syscalls have a constructor.

use aio2::flags::{
    Access, AddressFamily, Advice, AtFlags, ClockId, EpollChange, EpollFlags, FallocateFlags,
    FileType, FlockOperation, GetRandomFlags, Mode, OFlags, PollFlags, ReadWriteFlags, RecvFlags,
    RenameFlags, ResolveFlags, SeekFrom, SendFlags, SocketType, SpliceFlags, StatxFlags, SyncRange,
    XattrFlags,
};
use aio2::{Buffer, Completion, Context, Dir, Errno, Op, Queue, SharedFd, Timeout};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

type Bytes = Vec<u8>;

fn run<B: Buffer, K>(op: Op<B, K>) -> Completion<B, ()> {
    let mut queue = Queue::new(Context::new().unwrap());
    queue.push(op, ());
    queue.wait(1, Timeout::Forever).unwrap().next().expect("it waited for one")
}

fn plain<K>(op: Op<Bytes, K>) -> Result<u64, i32> {
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
    assert_eq!(plain(Op::pwritev2(&file, buffers(), 10, ReadWriteFlags::DSYNC)), Ok(5));
    assert_eq!(content(&file, 20), b"abcdeabcdeabcde");
    let room = || vec![vec![0; 3], vec![0; 4]];
    plain(Op::lseek(&file, SeekFrom::Start(1))).unwrap();
    let again = Op::preadv2(&file, room(), 1, ReadWriteFlags::empty());
    for op in [Op::readv(&file, room()), Op::readv_at(&file, room(), 1), again] {
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
    let done = run(Op::<Bytes>::fstatat(Dir::Cwd, c("/"), AtFlags::empty()));
    assert_eq!(done.op.stat().unwrap().st_mode & libc::S_IFMT, libc::S_IFDIR);
    assert!(run(Op::<Bytes>::fstatfs(&file)).op.file_system().unwrap().f_bsize > 0);
    assert_eq!(run(Op::<Bytes>::statfs(c("/proc"))).op.file_system().unwrap().f_type, 0x9fa0);
    assert_eq!(plain(Op::truncate(c(&name), 4)), Ok(0));
    assert_eq!(content(&file, 20), b"0123");
    for op in [
        Op::sync_file_range(&file, 0, 4, SyncRange::empty()),
        Op::syncfs(&file),
        Op::readahead(&file, 0, 4),
    ] {
        assert_eq!(plain(op), Ok(0));
    }
    assert_eq!(plain(Op::faccessat(Dir::Cwd, c("/"), Access::READ_OK)), Ok(0));
    assert_eq!(
        plain(Op::faccessat2(Dir::Cwd, c("/none"), Access::EXISTS, AtFlags::empty())),
        Err(libc::ENOENT)
    );
    let flags = plain(Op::status_flags(&file)).unwrap() as i32;
    assert_eq!(flags & libc::O_ACCMODE, libc::O_RDWR);
    for op in [Op::dup(&file), Op::duplicate(&file)] {
        let done = run::<Bytes, _>(op);
        assert_eq!(content(&done.opened.unwrap().into(), 9), b"0123");
    }
    let (path, mode) = (|| c("/etc/passwd"), Mode::empty());
    let open = |rules| run(Op::<Bytes>::openat2(Dir::Cwd, path(), OFlags::RDONLY, mode, rules));
    assert!(open(ResolveFlags::empty()).opened.is_some());
    assert_eq!(open(ResolveFlags::BENEATH).result, Err(Errno(libc::EXDEV)));
}

#[test]
fn locks_hold_others_off() {
    let path = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let [one, other] = [(); 2].map(|()| SharedFd::from(path.reopen().unwrap()));
    assert_eq!(plain(Op::flock(&one, FlockOperation::LockExclusive)), Ok(0));
    let again = FlockOperation::NonBlockingLockExclusive;
    assert_eq!(plain(Op::flock(&other, again)), Err(libc::EWOULDBLOCK));
    assert_eq!(plain(Op::flock(&one, FlockOperation::Unlock)), Ok(0));
    assert_eq!(plain(Op::lock(&one, FlockOperation::LockExclusive, 0, 10)), Ok(0));
    assert_eq!(
        plain(Op::lock(&other, FlockOperation::NonBlockingLockExclusive, 9, 1)),
        Err(libc::EAGAIN)
    );
    assert_eq!(plain(Op::lock(&other, FlockOperation::NonBlockingLockExclusive, 10, 0)), Ok(0));
}

#[test]
fn extended_attributes_are_set_read_listed_and_removed() {
    let path = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (fd, name) = (SharedFd::from(path.reopen().unwrap()), path.path().to_str().unwrap());
    let (path, key) = (|| c(name), || c("user.aio2"));
    if plain(Op::fsetxattr(&fd, key(), b"one".to_vec(), XattrFlags::empty()))
        == Err(libc::EOPNOTSUPP)
    {
        println!("SKIP: the file system has no extended attributes");
        return;
    }
    let read = |op: Op<Bytes, aio2::kind::Reads>, expected: &[u8]| {
        let done = run(op);
        assert_eq!(done.result, Ok(expected.len() as u64));
        assert_eq!(done.into_buffer().unwrap()[..expected.len()], *expected);
    };
    read(Op::fgetxattr(&fd, key(), vec![0; 9]), b"one");
    assert_eq!(plain(Op::setxattr(path(), key(), b"two!".to_vec(), XattrFlags::empty())), Ok(0));
    read(Op::getxattr(path(), key(), vec![0; 9]), b"two!");
    assert_eq!(plain(Op::lsetxattr(path(), key(), b"3".to_vec(), XattrFlags::empty())), Ok(0));
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
        plain(Op::fsetxattr(&fd, key(), b"x".to_vec(), XattrFlags::empty())).unwrap();
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
    assert_eq!(
        plain(Op::splice((&from, Some(1)), (&writer, None), 3, SpliceFlags::empty())),
        Ok(3)
    );
    assert_eq!(plain(Op::tee(&reader, other_writer, 9, SpliceFlags::empty())), Ok(3));
    for pipe in [reader, other_reader.into()] {
        assert_eq!(run(Op::read(pipe, vec![0; 3])).into_buffer().unwrap(), b"123");
    }
}

#[test]
fn sockets_are_made_named_and_asked() {
    let made = run(Op::<Bytes>::socket(AddressFamily::INET, SocketType::STREAM, None));
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
    assert_eq!(plain(Op::shutdown(&server, Shutdown::Write)), Ok(0));
    assert_eq!(plain(Op::recv(client, vec![0; 9], RecvFlags::empty())), Ok(0));
}

#[test]
fn messages_have_addresses_and_carry_descriptors() {
    let [one, other] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let (from, to) = (one.local_addr().unwrap(), other.local_addr().unwrap());
    let [one, other] = [one, other].map(SharedFd::from);
    assert_eq!(plain(Op::send_to(&one, b"abc".to_vec(), SendFlags::empty(), to)), Ok(3));
    let got = run(Op::recv_from(&other, vec![0; 9], RecvFlags::empty()));
    assert_eq!((got.result, got.op.peer()), (Ok(3), Some(from)));
    let parts = vec![b"a".to_vec(), b"bc".to_vec()];
    assert_eq!(plain(Op::sendmsg(&one, parts, Some(to), vec![], SendFlags::empty())), Ok(3));
    let got = run(Op::recvmsg(&other, vec![vec![0; 2], vec![0; 2]], 0, RecvFlags::empty()));
    assert_eq!((got.result, got.op.peer()), (Ok(3), Some(from)));
    assert_eq!(got.op.into_buffers(), [b"ab".to_vec(), b"c\0".to_vec()]);
    let lent = Op::sendmsg(
        &one,
        vec![b"a".to_vec()],
        Some(to),
        vec![],
        SendFlags::from_bits_retain(libc::MSG_ZEROCOPY as u32),
    );
    assert_eq!(plain(lent), Err(libc::EOPNOTSUPP));
    let lent = Op::send_to(
        &one,
        b"a".to_vec(),
        SendFlags::from_bits_retain(libc::MSG_ZEROCOPY as u32),
        to,
    );
    assert_eq!(plain(lent), Err(libc::EOPNOTSUPP));

    let (left, right) = UnixStream::pair().unwrap();
    let [left, right] = [left, right].map(SharedFd::from);
    let sent = vec![file(b"first"), file(b"second")];
    assert_eq!(
        plain(Op::sendmsg(&left, vec![b"x".to_vec()], None, sent, SendFlags::empty())),
        Ok(1)
    );
    let mut got = run(Op::recvmsg(&right, vec![vec![0; 1]], 2, RecvFlags::empty()));
    let received = got.op.take_descriptors();
    assert_eq!((received.len(), got.op.take_descriptors().len()), (2, 0));
    let texts: Vec<_> = received.into_iter().map(|fd| content(&fd.into(), 9)).collect();
    assert_eq!(texts, [b"first".to_vec(), b"second".to_vec()]);
    // Those that nobody takes are closed with the completion.
    let (reader, writer) = std::io::pipe().unwrap();
    let writer = SharedFd::new(OwnedFd::from(writer));
    assert_eq!(
        plain(Op::sendmsg(&left, vec![b"x".to_vec()], None, vec![writer], SendFlags::empty())),
        Ok(1)
    );
    drop(run(Op::recvmsg(&right, vec![vec![0; 1]], 1, RecvFlags::empty())));
    assert_eq!(plain(Op::read(OwnedFd::from(reader), vec![0; 1])), Ok(0));
}

#[test]
fn readiness_of_several_files_is_told() {
    let ((_left, right), (mut other, ready)) =
        (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    std::io::Write::write_all(&mut other, b"x").unwrap();
    let files = [right, ready].map(|socket| (SharedFd::from(socket), PollFlags::IN));
    let polled = run(Op::<Bytes>::ppoll(&files, Some(Duration::from_secs(100))));
    assert_eq!(
        (polled.result, polled.op.ready()),
        (Ok(1), vec![PollFlags::empty(), PollFlags::IN])
    );
    assert_eq!(plain(Op::ppoll(&files[..1], Some(Duration::ZERO))), Ok(0));
    // SAFETY: takes no address.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    // SAFETY: it is new, and nobody else's.
    let epoll = SharedFd::new(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(epoll) });
    let data = u64::MAX - 7;
    let add = Op::epoll_ctl(&epoll, EpollChange::Add, &files[1].0, EpollFlags::IN, data);
    assert_eq!(plain(add), Ok(0));
    let waited = run(Op::<Bytes>::epoll_wait(&epoll, 4, 1000));
    assert_eq!(waited.result, Ok(1));
    assert_eq!(waited.op.epoll_events(1), [(EpollFlags::IN, data)]);
}

#[test]
fn processes_clocks_and_words() {
    let pid = std::process::id();
    assert_eq!(plain(Op::getpid()), Ok(pid.into()));
    for op in [Op::getppid(), Op::getuid(), Op::geteuid(), Op::getgid(), Op::getegid()] {
        assert!(plain(op).is_ok());
    }
    assert!(plain(Op::getpgid(0)).is_ok() && plain(Op::getsid(0)).is_ok());
    let clock = || run(Op::<Bytes>::clock_gettime(ClockId::Monotonic)).op.time().unwrap();
    let (before, nap) = (clock(), Duration::from_millis(2));
    assert_eq!(plain(Op::nanosleep(nap)), Ok(0));
    assert_eq!(plain(Op::sleep_until(ClockId::Monotonic, clock() + nap)), Ok(0));
    assert!(clock() >= before + 2 * nap);
    #[allow(clippy::zombie_processes)] // an operation waits for it
    let child = std::process::Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
    let child = child.id() as i32;
    let pidfd = run(Op::<Bytes>::pidfd_open(child)).opened.unwrap();
    let readable = Op::poll(pidfd.try_clone().unwrap(), PollFlags::IN);
    assert!(plain(readable).is_ok());
    let exit = run(Op::<Bytes>::waitid(child)).op.exit().unwrap();
    assert_eq!((exit.pid, exit.code, exit.status), (child, libc::CLD_EXITED, 7));
    assert_eq!(plain(Op::pidfd_send_signal(pidfd, 0)), Err(libc::ESRCH));
    assert_eq!(plain(Op::kill(pid as i32, 0)), Ok(0));
    let word = Arc::new(AtomicU32::new(3));
    assert_eq!(plain(Op::futex_wait(&word, 4)), Err(libc::EAGAIN));
    assert_eq!(plain(Op::futex_wake(&word, 1)), Ok(0));
    let done = run(Op::getrandom(vec![0; 32], GetRandomFlags::empty()));
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
        let files = [(file(b"x"), PollFlags::IN)];
        let polled = run(Op::<Bytes>::poll_several(&files, 0));
        assert_eq!((polled.result, polled.op.ready()), (Ok(1), vec![PollFlags::IN]));
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
        Op::read(fd(), b()).untyped(),
        Op::read_at(fd(), b(), 0).untyped(),
        Op::readv(fd(), vec![]).untyped(),
        Op::readv_at(fd(), vec![], 0).untyped(),
        Op::preadv2(fd(), vec![], 0, ReadWriteFlags::empty()).untyped(),
        Op::write(fd(), b()).untyped(),
        Op::write_at(fd(), b(), 0).untyped(),
        Op::writev(fd(), vec![]).untyped(),
        Op::writev_at(fd(), vec![], 0).untyped(),
        Op::pwritev2(fd(), vec![], 0, ReadWriteFlags::empty()).untyped(),
        Op::recv(fd(), b(), RecvFlags::empty()).untyped(),
        Op::send(fd(), b(), SendFlags::empty()).untyped(),
        Op::recvmsg(fd(), vec![], usize::MAX, RecvFlags::empty()).untyped(),
        Op::sendmsg(fd(), vec![], None, vec![], SendFlags::empty()).untyped(),
        Op::getpid().untyped(),
        Op::getppid().untyped(),
        Op::getuid().untyped(),
        Op::geteuid().untyped(),
        Op::getgid().untyped(),
        Op::getegid().untyped(),
        Op::getpgid(0).untyped(),
        Op::getsid(0).untyped(),
        Op::clock_gettime(ClockId::Realtime).untyped(),
        Op::fsync(fd()).untyped(),
        Op::fdatasync(fd()).untyped(),
        Op::sync_file_range(fd(), 0, 0, SyncRange::empty()).untyped(),
        Op::syncfs(fd()).untyped(),
        Op::openat(dir(), name(), OFlags::empty(), Mode::empty()).untyped(),
        Op::openat2(dir(), name(), OFlags::empty(), Mode::empty(), ResolveFlags::empty()).untyped(),
        Op::dup(fd()).untyped(),
        Op::lseek(fd(), SeekFrom::Start(0)).untyped(),
        Op::status_flags(fd()).untyped(),
        Op::flock(fd(), FlockOperation::Unlock).untyped(),
        Op::statx(dir(), name(), AtFlags::empty(), StatxFlags::empty()).untyped(),
        Op::fstatat(dir(), name(), AtFlags::empty()).untyped(),
        Op::fstat(fd()).untyped(),
        Op::statfs(name()).untyped(),
        Op::fstatfs(fd()).untyped(),
        Op::getxattr(name(), name(), b()).untyped(),
        Op::lgetxattr(name(), name(), b()).untyped(),
        Op::fgetxattr(fd(), name(), b()).untyped(),
        Op::setxattr(name(), name(), b(), XattrFlags::empty()).untyped(),
        Op::lsetxattr(name(), name(), b(), XattrFlags::empty()).untyped(),
        Op::fsetxattr(fd(), name(), b(), XattrFlags::empty()).untyped(),
        Op::listxattr(name(), b()).untyped(),
        Op::llistxattr(name(), b()).untyped(),
        Op::flistxattr(fd(), b()).untyped(),
        Op::removexattr(name(), name()).untyped(),
        Op::lremovexattr(name(), name()).untyped(),
        Op::fremovexattr(fd(), name()).untyped(),
        Op::fchmod(fd(), Mode::empty()).untyped(),
        Op::fchmodat(dir(), name(), Mode::empty()).untyped(),
        Op::fchown(fd(), None, None).untyped(),
        Op::fchownat(dir(), name(), None, None, AtFlags::empty()).untyped(),
        Op::utimensat(dir(), name(), times, AtFlags::empty()).untyped(),
        Op::truncate(name(), 0).untyped(),
        Op::ftruncate(fd(), 0).untyped(),
        Op::fallocate(fd(), FallocateFlags::empty(), 0, 1).untyped(),
        Op::fadvise(fd(), 0, 0, Advice::Normal).untyped(),
        Op::readahead(fd(), 0, 0).untyped(),
        Op::renameat2((dir(), name()), (dir(), name()), RenameFlags::empty()).untyped(),
        Op::linkat((dir(), name()), (dir(), name()), AtFlags::empty()).untyped(),
        Op::unlinkat(dir(), name(), AtFlags::empty()).untyped(),
        Op::mkdirat(dir(), name(), Mode::empty()).untyped(),
        Op::mknodat(dir(), name(), FileType::RegularFile, Mode::empty(), 0).untyped(),
        Op::symlinkat(name(), dir(), name()).untyped(),
        Op::readlinkat(dir(), name(), b()).untyped(),
        Op::faccessat(dir(), name(), Access::EXISTS).untyped(),
        Op::faccessat2(dir(), name(), Access::EXISTS, AtFlags::empty()).untyped(),
        Op::getdents(fd(), b()).untyped(),
        Op::copy_file_range((fd(), None), (fd(), None), 0).untyped(),
        Op::sendfile(fd(), (fd(), None), 0).untyped(),
        Op::splice((fd(), None), (fd(), None), 0, SpliceFlags::empty()).untyped(),
        Op::tee(fd(), fd(), 0, SpliceFlags::empty()).untyped(),
        Op::socket(AddressFamily::INET, SocketType::STREAM, None).untyped(),
        Op::bind(fd(), at).untyped(),
        Op::listen(fd(), 0).untyped(),
        Op::accept(fd()).untyped(),
        Op::connect(fd(), at).untyped(),
        Op::shutdown(fd(), Shutdown::Read).untyped(),
        Op::getsockname(fd()).untyped(),
        Op::getpeername(fd()).untyped(),
        Op::getsockopt(fd(), 0, 0).untyped(),
        Op::setsockopt(fd(), 0, 0, 0).untyped(),
        Op::ppoll(&[], None).untyped(),
        Op::epoll_ctl(fd(), EpollChange::Add, fd(), EpollFlags::empty(), 0).untyped(),
        Op::epoll_wait(fd(), 0, 0).untyped(),
        Op::futex_wake(&word, 0).untyped(),
        Op::nanosleep(second).untyped(),
        Op::sleep_until(ClockId::Realtime, second).untyped(),
        Op::mq_send(fd(), b(), 0).untyped(),
        Op::mq_receive(fd(), b()).untyped(),
        Op::waitid(0).untyped(),
        Op::kill(0, 0).untyped(),
        Op::pidfd_open(0).untyped(),
        Op::pidfd_send_signal(fd(), 0).untyped(),
        Op::getrandom(b(), GetRandomFlags::empty()).untyped(),
    ];
    let listed = ops.len();
    let names: BTreeSet<_> = ops.iter().map(Op::name).collect();
    assert_eq!(names.len(), listed, "each is another syscall");
    assert!(names.len() >= 90 && !names.contains("syscall"), "{}: {names:?}", names.len());
}
