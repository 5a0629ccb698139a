//! Requests that wait for their file: no thread sleeps in them, and they end as
//! the plain calls do.

use crate::context::{Fixture, Iocb, address, syscall};
use crate::request::{Slow, ends, errno, id_of};
use aio2::Errno;
use aio2::backend::{Backend, Wait};
use aio2_abi::attr;
use aio2_abi::iocb::IocbFlags;
use aio2_abi::wait::{Cancel, CancelFlags};
use std::fs::File;
use std::io::{Read, Write, pipe};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::thread;
use std::time::Duration;

fn recv(socket: &impl AsRawFd, buffer: &mut [u8], flags: i32) -> Iocb {
    let len = buffer.len() as u64;
    let args = [socket.as_raw_fd() as u64, address(buffer), len, flags as u64, 0, 0];
    syscall(libc::SYS_recvfrom, &args)
}

fn send(socket: &impl AsRawFd, buffer: &mut [u8]) -> Iocb {
    let len = buffer.len() as u64;
    syscall(libc::SYS_sendto, &[socket.as_raw_fd() as u64, address(buffer), len, 0, 0, 0])
}

fn read(file: &impl AsRawFd, buffer: &mut [u8]) -> Iocb {
    let len = buffer.len() as u64;
    syscall(libc::SYS_read, &[file.as_raw_fd() as u64, address(buffer), len])
}

/// The threads of this process that are workers.
fn workers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.map(|t| std::fs::read_to_string(t.path().join("comm")).unwrap_or_default());
    names.filter(|name| name.trim() == "aio2-wrk").count()
}

/// A new descriptor of this process.
fn owned(fd: i32) -> File {
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: it is new, and no one else's.
    unsafe { File::from_raw_fd(fd) }
}

fn goes_on_without_reaping(f: &Fixture) {
    f.submit([Iocb::nop(99).flags(IocbFlags::ASYNC)]);
}

fn goes_on(f: &Fixture) {
    goes_on_without_reaping(f);
    assert_eq!(ends(f, 1), [(99, 0)]);
}

/// SPEC: R-WAIT-1
#[test]
fn idle_receives_leave_the_workers_to_others() {
    for flags in [IocbFlags::empty(), IocbFlags::ASYNC] {
        let f = Fixture::with(|s| s.concurrency = 4);
        let pairs: Vec<_> = (0..64).map(|_| UnixStream::pair().unwrap()).collect();
        let mut buffers = vec![[0_u8; 8]; 64];
        for ((n, (ours, _)), buffer) in (0..).zip(&pairs).zip(&mut buffers) {
            f.submit([recv(ours, buffer, 0).user_data(n).flags(flags)]);
        }
        goes_on(&f);
        assert!(f.reap().is_empty());
        for (n, (_, theirs)) in (0..).zip(&pairs) {
            (&mut &*theirs).write_all(&[n as u8; 3]).unwrap();
            assert_eq!(ends(&f, 1), [(n, 3)]);
        }
        assert!((0..).zip(&buffers).all(|(n, buffer)| buffer[..4] == [n, n, n, 0]));
    }
}

/// They are closed by the application once they are received on: two descriptors
/// for each would be more than many systems allow.
///
/// SPEC: R-WAIT-1, R-WAIT-3, R-LIFE-2
#[test]
fn ten_thousand_idle_receives_take_one_thread() {
    const IDLE: usize = 10_000;
    if !crate::context::alone("waits::ten_thousand_idle_receives_take_one_thread") {
        return;
    }
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: fills in the limit.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: reads the limit.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    if limit.rlim_cur < IDLE as u64 + 100 {
        println!("SKIP: {} descriptors are allowed, {} needed", limit.rlim_cur, IDLE + 100);
        return;
    }
    let f = Fixture::with(|s| (s.concurrency, s.max_requests) = (4, 2 * IDLE as u32));
    let mut buffers = vec![[0_u8; 4]; IDLE];
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    let mut names = Vec::new();
    for (n, buffer) in (0..).zip(&mut buffers) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        f.submit([recv(&socket, buffer, 0).user_data(n)]);
        names.push(socket.local_addr().unwrap());
    }
    assert_eq!((threads(), workers()), (before + 1, 0));
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for n in (0..IDLE).step_by(100) {
        sender.send_to(b"abc", names[n]).unwrap();
        assert_eq!(ends(&f, 1), [(n as u64, 3)]);
    }
    assert_eq!((threads(), workers()), (before + 1, 0));
    drop(f);
    assert_eq!(threads(), before);
}

/// Reaps until an event comes, without waiting in the engine.
fn next_without_a_wait(f: &Fixture) -> (u64, i64) {
    let start = std::time::Instant::now();
    loop {
        if let [event] = &f.reap()[..] {
            return (event.user_data, event.res);
        }
        assert!(start.elapsed() < Duration::from_secs(20), "nobody sees to the file");
        thread::sleep(Duration::from_millis(1));
    }
}

/// SPEC: R-WAIT-7
#[test]
fn a_file_is_seen_to_whether_or_not_somebody_waits() {
    let f = Fixture::new();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let (mut buffer, mut other) = ([0_u8; 4], [0_u8; 4]);
    let vain = Wait::events(1).within(Duration::from_millis(20));
    for n in 0..4 {
        f.submit([recv(&ours, &mut buffer, 0).user_data(n)]);
        if n % 2 == 0 {
            // Who waits leads, and goes; or nobody ever waits.
            // SAFETY: there is no request.
            assert_eq!(unsafe { f.engine.wait(&vain, &mut [], None) }, Err(Errno(libc::ETIME)));
        }
        theirs.write_all(b"ab").unwrap();
        assert_eq!(next_without_a_wait(&f), (n, 2));
    }
    // One that leads is told of what others bring about, and several share the lead.
    f.submit([recv(&ours, &mut other, 0).user_data(9)]);
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| ends(&f, 1)[0].0)).collect();
        thread::sleep(Duration::from_millis(20));
        goes_on_without_reaping(&f);
        thread::sleep(Duration::from_millis(20));
        f.submit([recv(&ours, &mut buffer, 0).user_data(10)]);
        theirs.write_all(b"abcdef").unwrap();
        let mut ends: Vec<_> = waiting.into_iter().map(|t| t.join().unwrap()).collect();
        ends.sort_unstable();
        assert_eq!(ends, [9, 10, 99]);
    });
}

/// Waits for a receive on `ours`, and has it find what is sent by `theirs`.
fn receives(f: &Fixture, ours: &impl AsRawFd, theirs: &mut impl Write, n: u8) {
    let mut buffer = [0_u8; 4];
    f.submit([recv(ours, &mut buffer, 0).user_data(n.into())]);
    theirs.write_all(&[n; 3]).unwrap();
    assert_eq!(ends(f, 1), [(n.into(), 3)]);
    assert_eq!(buffer, [n, n, n, 0]);
}

/// A number that was waited for may mean another file, as it was or changed.
///
/// SPEC: R-WAIT-3, R-WAIT-6, R-RUN-8
#[test]
fn a_socket_is_let_go_of_when_nobody_waits_for_it() {
    let f = Fixture::new();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let number = ours.as_raw_fd();
    (0..20).for_each(|n| receives(&f, &ours, &mut theirs, n));
    // What is there already, and what has changed since.
    theirs.write_all(b"xyz").unwrap();
    let mut buffer = [0_u8; 8];
    f.submit([recv(&ours, &mut buffer, 0)]);
    assert_eq!(ends(&f, 1), [(0, 3)]);
    let set: [fn(&UnixStream, bool); 2] = [
        |socket, set| socket.set_nonblocking(set).unwrap(),
        |socket, set| socket.set_read_timeout(set.then_some(Duration::from_millis(5))).unwrap(),
    ];
    for set in set {
        receives(&f, &ours, &mut theirs, 1);
        set(&ours, true);
        f.submit([recv(&ours, &mut buffer, 0)]);
        assert_eq!(ends(&f, 1), [(0, errno(libc::EAGAIN))]);
        set(&ours, false);
    }
    // Another file by its number, while it is open elsewhere, or not.
    let elsewhere = ours.try_clone().unwrap();
    let (other, mut others) = UnixStream::pair().unwrap();
    // SAFETY: takes numbers, both of this test.
    assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), number) }, number);
    receives(&f, &ours, &mut others, 2);
    receives(&f, &elsewhere, &mut theirs, 3);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::dup2(elsewhere.as_raw_fd(), number) }, number);
    receives(&f, &ours, &mut theirs, 4);
    drop((ours, other));
    others.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(others.read(&mut buffer).unwrap(), 0, "nobody has the other end");
    theirs.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    assert!(theirs.read(&mut buffer).is_err(), "it is open elsewhere");
    drop(elsewhere);
    theirs.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(theirs.read(&mut buffer).unwrap(), 0, "nobody has it");
}

/// SPEC: R-WAIT-1
#[test]
fn each_kind_of_file_is_waited_for() {
    let f = Fixture::with(|s| s.concurrency = 1);
    let mut buffers = [[0_u8; 512]; 10];
    let [b0, b1, b2, b3, b4, b5, b6, b7, b8, _] = &mut buffers;
    let (reader, mut writer) = pipe().unwrap();
    // SAFETY: takes numbers.
    let mut eventfd = owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) });
    // SAFETY: takes numbers.
    let timer = owned(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) });
    // SAFETY: takes a number.
    let watch = owned(unsafe { libc::inotify_init1(libc::IN_CLOEXEC) });
    let dir = tempfile::tempdir().unwrap();
    let name = std::ffi::CString::new(dir.path().to_str().unwrap()).unwrap();
    let mask = libc::IN_CREATE;
    // SAFETY: a C string.
    assert!(unsafe { libc::inotify_add_watch(watch.as_raw_fd(), name.as_ptr(), mask) } > 0);
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client_end = TcpStream::connect(client.local_addr().unwrap()).unwrap();
    let (server_end, _) = client.accept().unwrap();
    let (full, mut drained) = UnixStream::pair().unwrap();
    full.set_nonblocking(true).unwrap();
    while (&full).write(&[0; 4096]).is_ok() {}
    full.set_nonblocking(false).unwrap();
    let (mut master, mut slave) = (0, 0);
    let none = std::ptr::null_mut();
    // SAFETY: writes two numbers.
    let made =
        unsafe { libc::openpty(&raw mut master, &raw mut slave, none, none.cast(), none.cast()) };
    assert_eq!(made, 0);
    let (mut master, slave) = (owned(master), owned(slave));
    f.submit([
        read(&reader, b0).user_data(0),
        read(&eventfd, &mut b1[..8]).user_data(1),
        read(&timer, &mut b2[..8]).user_data(2),
        read(&watch, b3).user_data(3),
        recv(&ours, b4, 0).user_data(4),
        syscall(libc::SYS_accept, &[listener.as_raw_fd() as u64, 0, 0]).user_data(5),
        recv(&server_end, b6, 0).user_data(6),
        send(&full, &mut b7[..16]).user_data(7),
        read(&slave, b8).user_data(8),
    ]);
    let _ = b5;
    goes_on(&f);
    assert!(f.reap().is_empty(), "none is ready");
    writer.write_all(b"ab").unwrap();
    assert_eq!(ends(&f, 1), [(0, 2)]);
    eventfd.write_all(&1_u64.to_ne_bytes()).unwrap();
    assert_eq!(ends(&f, 1), [(1, 8)]);
    let soon = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let time = libc::itimerspec { it_interval: never, it_value: soon };
    // SAFETY: reads the time.
    unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &raw const time, std::ptr::null_mut()) };
    assert_eq!(ends(&f, 1), [(2, 8)]);
    File::create(dir.path().join("x")).unwrap();
    assert!(ends(&f, 1)[0].1 > 0);
    theirs.send(b"abc").unwrap();
    assert_eq!(ends(&f, 1), [(4, 3)]);
    let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let [(5, accepted)] = ends(&f, 1)[..] else { panic!("it is accepted") };
    drop(owned(accepted as i32));
    client_end.write_all(b"abcd").unwrap();
    assert_eq!(ends(&f, 1), [(6, 4)]);
    drained.set_nonblocking(true).unwrap();
    while drained.read(&mut [0; 4096]).is_ok() {}
    assert_eq!(ends(&f, 1), [(7, 16)]);
    master.write_all(b"line\n").unwrap();
    assert_eq!(ends(&f, 1), [(8, 5)]);
}

/// A socket that could take more may say that it is not ready for it: what cannot
/// be sent since the memory ends does not wait.
///
/// SPEC: R-OP-3, R-WAIT-1
#[test]
fn a_send_whose_memory_ends_does_not_wait() {
    const GOOD: usize = 48 << 10;
    let (null, all) = (std::ptr::null_mut(), libc::PROT_READ | libc::PROT_WRITE);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let memory = unsafe { libc::mmap(null, 2 * GOOD, all, flags, -1, 0) };
    assert_ne!(memory, libc::MAP_FAILED);
    let behind = memory.wrapping_byte_add(GOOD);
    // SAFETY: a part of the mapping above.
    assert_eq!(unsafe { libc::mprotect(behind, GOOD, libc::PROT_NONE) }, 0);
    let f = Fixture::new();
    for flags in [IocbFlags::empty(), IocbFlags::ASYNC] {
        for beyond in [1, GOOD] {
            let [(plain, _peer), (ours, _other)] = [(); 2].map(|()| UnixStream::pair().unwrap());
            for mut socket in [&plain, &ours] {
                // Enough to be no longer ready.
                socket.write_all(&[0; 64 << 10]).unwrap();
            }
            let len = GOOD + beyond;
            // SAFETY: the kernel finds out what cannot be read.
            let expected = unsafe { libc::send(plain.as_raw_fd(), memory, len, 0) };
            assert!(expected > 0);
            let at = memory.expose_provenance() as u64;
            let args = [ours.as_raw_fd() as u64, at, len as u64, 0, 0, 0];
            f.submit([syscall(libc::SYS_sendto, &args).flags(flags)]);
            assert_eq!(ends(&f, 1), [(0, expected as i64)]);
        }
    }
    // SAFETY: mapped above, and no request is under way.
    unsafe { libc::munmap(memory, 2 * GOOD) };
}

/// SPEC: R-WAIT-2
#[test]
fn first_come_first_served_on_one_descriptor() {
    let f = Fixture::new();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut buffers = [[0_u8; 1]; 8];
    let requests = (0..).zip(&mut buffers).map(|(n, b)| recv(&ours, b, 0).user_data(n));
    f.submit(requests);
    theirs.write_all(b"abcdefgh").unwrap();
    let order: Vec<_> = ends(&f, 8).into_iter().map(|(user_data, _)| user_data).collect();
    assert_eq!(order, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(buffers.as_flattened(), b"abcdefgh");
    // One that comes when the data are there does not overtake.
    for _ in 0..200 {
        let [a, b] = &mut [[0_u8; 1]; 2];
        f.submit([recv(&ours, a, 0).user_data(1)]);
        theirs.write_all(b"ab").unwrap();
        f.submit([recv(&ours, b, 0).user_data(2)]);
        assert_eq!(ends(&f, 2).len(), 2);
        assert_eq!([*a, *b], [[b'a'], [b'b']]);
    }
}

/// SPEC: R-WAIT-3
#[test]
fn a_file_that_is_closed_is_waited_for_all_the_same() {
    let f = Fixture::new();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut buffer = [0_u8; 4];
    f.submit([recv(&ours, &mut buffer, 0).user_data(1)]);
    let number = ours.as_raw_fd();
    drop(ours);
    // Another file has its number.
    let (other, mut peer) = UnixStream::pair().unwrap();
    // SAFETY: takes numbers.
    let again = owned(unsafe { libc::fcntl(other.as_raw_fd(), libc::F_DUPFD_CLOEXEC, number) });
    let mut second = [0_u8; 4];
    f.submit([recv(&again, &mut second, 0).user_data(2)]);
    peer.write_all(b"bb").unwrap();
    assert_eq!(ends(&f, 1), [(2, 2)]);
    theirs.write_all(b"aaa").unwrap();
    assert_eq!(ends(&f, 1), [(1, 3)]);
    assert_eq!((&buffer, &second), (b"aaa\0", b"bb\0\0"));
    // Nobody holds it any more, soon.
    while theirs.write_all(b"x").is_ok() {
        thread::yield_now();
    }
}

/// SPEC: R-WAIT-4
#[test]
fn what_waits_is_cancelled_with_what_it_has_moved() {
    let f = Fixture::new();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut buffers = [[0_u8; 4]; 3];
    let [a, b, c] = &mut buffers;
    let words = f.submit([
        recv(&ours, a, 0).user_data(1).flags(IocbFlags::WRITE_ID),
        recv(&ours, b, 0).user_data(2).flags(IocbFlags::FULL | IocbFlags::WRITE_ID),
    ]);
    let by_id = |id| Cancel { id, flags: CancelFlags::ID.bits(), ..Cancel::default() };
    let mut cancel = by_id(id_of(&words, 0));
    assert_eq!(f.engine.cancel(&mut cancel), Ok(1));
    assert_eq!(cancel.interrupted, 1);
    assert_eq!(ends(&f, 1), [(1, errno(libc::ECANCELED))]);
    theirs.write_all(b"xy").unwrap();
    thread::sleep(Duration::from_millis(20));
    let mut cancel = by_id(id_of(&words, 1));
    assert_eq!(f.engine.cancel(&mut cancel), Ok(1));
    assert_eq!(ends(&f, 1), [(2, errno(libc::ECANCELED))]);
    assert_eq!(&b[..2], b"xy");
    f.submit([recv(&ours, c, 0).user_data(3).deadline(1_000_000)]);
    assert_eq!(ends(&f, 1), [(3, errno(libc::ETIMEDOUT))]);
    f.submit([recv(&ours, c, 0).user_data(4)]);
    theirs.write_all(b"z").unwrap();
    assert_eq!(ends(&f, 1), [(4, 1)]);
}

/// It has waited, as the plain call has that sleeps: so it has begun, and goes on
/// having begun when a worker is to make the call.
///
/// SPEC: R-WAIT-4, R-EVENT-7, R-CANCEL-3
#[test]
fn what_has_waited_for_its_file_has_begun() {
    let f = Fixture::with(|s| s.concurrency = 1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let accept = || {
        syscall(libc::SYS_accept4, &[listener.as_raw_fd() as u64, 0, 0, 0])
            .flags(IocbFlags::WRITE_ID)
            .attr(attr::TIMING)
    };
    let cancel = |words: &[u64]| {
        let flags = CancelFlags::ID.bits();
        let mut cancel = Cancel { id: id_of(words, 0), flags, ..Cancel::default() };
        assert_eq!(f.engine.cancel(&mut cancel), Ok(1));
        assert_eq!((cancel.interrupted, cancel.cancelled), (1, 0));
        let ended = f.next();
        assert_eq!((ended.res, ended.returns[0].1), (errno(libc::ECANCELED), 0), "{ended:?}");
    };
    cancel(&f.submit([accept()]));
    // Now it waits for the only worker when its file is ready.
    let mut slow = Slow::new();
    let words = f.submit([accept()]);
    f.submit([slow.read().user_data(1)]);
    let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    thread::sleep(Duration::from_millis(50));
    cancel(&words);
    slow.finish();
    assert_eq!(ends(&f, 1), [(1, 1)]);
}

/// SPEC: R-WAIT-1, R-RUN-5
#[test]
fn all_bytes_come_with_full_and_with_msg_waitall() {
    let f = Fixture::new();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    for flags in [IocbFlags::FULL, IocbFlags::FULL | IocbFlags::ASYNC, IocbFlags::empty()] {
        let wait_all = if flags.is_empty() { libc::MSG_WAITALL } else { 0 };
        let mut buffer = [0_u8; 6];
        f.submit([recv(&ours, &mut buffer, wait_all).flags(flags)]);
        for part in [b"ab", b"cd", b"ef"] {
            assert!(f.reap().is_empty());
            theirs.write_all(part).unwrap();
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(ends(&f, 1), [(0, 6)]);
        assert_eq!(&buffer, b"abcdef");
    }
    let mut bytes = vec![7; 1 << 20];
    f.submit([send(&ours, &mut bytes).user_data(1)]);
    goes_on(&f);
    let mut got = vec![0; 1 << 20];
    theirs.read_exact(&mut got).unwrap();
    assert_eq!(ends(&f, 1), [(1, 1 << 20)]);
    assert_eq!(got, bytes);
}

/// SPEC: R-WAIT-6, R-RUN-8
#[test]
fn timeouts_and_o_nonblock_are_those_of_the_file() {
    let f = Fixture::new();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let mut buffer = [0_u8; 4];
    ours.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
    let begun = std::time::Instant::now();
    f.submit([recv(&ours, &mut buffer, 0).user_data(1)]);
    assert_eq!(ends(&f, 1), [(1, errno(libc::EAGAIN))]);
    assert!(begun.elapsed() >= Duration::from_millis(30));
    ours.set_read_timeout(None).unwrap();
    ours.set_nonblocking(true).unwrap();
    for flags in [IocbFlags::empty(), IocbFlags::ASYNC] {
        f.submit([recv(&ours, &mut buffer, 0).user_data(2).flags(flags)]);
        assert_eq!(ends(&f, 1), [(2, errno(libc::EAGAIN))]);
    }
}

/// SPEC: R-WAIT-5
#[test]
fn without_a_descriptor_for_the_file_a_worker_waits() {
    if !crate::context::alone("waits::without_a_descriptor_for_the_file_a_worker_waits") {
        return;
    }
    let f = Fixture::new();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let most = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let mut buffer = [0_u8; 4];
    crate::context::with_limit(libc::RLIMIT_NOFILE, most.min(3), || {
        f.submit([recv(&ours, &mut buffer, 0).user_data(1)]);
    });
    assert!(f.reap().is_empty());
    theirs.write_all(b"ab").unwrap();
    assert_eq!(ends(&f, 1), [(1, 2)]);
}

/// What has something to say at once says it, and does not wait for its file.
///
/// SPEC: R-WAIT-1, R-OP-3
#[test]
fn what_fails_at_once_does_not_wait() {
    let f = Fixture::new();
    let (reader, _writer) = pipe().unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let socket: OwnedFd = UnixDatagram::unbound().unwrap().into();
    // SAFETY: takes two numbers.
    let timer = owned(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, 0) });
    // SAFETY: takes a number.
    let epoll = owned(unsafe { libc::epoll_create1(0) });
    let terminal = File::options().read(true).write(true).open("/dev/ptmx").unwrap();
    let stream = ours.as_raw_fd() as u64;
    let all = libc::MSG_WAITALL as u64;
    let mut buffer = [0_u8; 4];
    let at = address(&mut buffer);
    for flags in [IocbFlags::empty(), IocbFlags::ASYNC] {
        let cases = [
            (syscall(libc::SYS_write, &[timer.as_raw_fd() as u64, at, 4]), libc::EINVAL),
            (syscall(libc::SYS_read, &[epoll.as_raw_fd() as u64, at, 4]), libc::EINVAL),
            (syscall(libc::SYS_readv, &[terminal.as_raw_fd() as u64, u64::MAX, 0]), 0),
            (syscall(libc::SYS_recvmsg, &[stream, 8, all]), libc::EFAULT),
            (syscall(libc::SYS_recvfrom, &[stream, u64::MAX, 9, all, 0, 0]), libc::EFAULT),
            (syscall(libc::SYS_read, &[terminal.as_raw_fd() as u64, u64::MAX, 9]), libc::EFAULT),
            (recv(&reader, &mut buffer, 0), libc::ENOTSOCK),
            (recv(&ours, &mut buffer, libc::MSG_OOB), libc::EOPNOTSUPP),
            (syscall(libc::SYS_accept, &[ours.as_raw_fd() as u64, 0, 0]), libc::EINVAL),
            (syscall(libc::SYS_accept, &[socket.as_raw_fd() as u64, 0, 0]), libc::EOPNOTSUPP),
            (syscall(libc::SYS_accept4, &[ours.as_raw_fd() as u64, 0, 0, 1]), libc::EINVAL),
            (syscall(libc::SYS_read, &[reader.as_raw_fd() as u64, address(&mut buffer), 0]), 0),
        ];
        for (iocb, expected) in cases {
            let is_any = iocb.nr == libc::SYS_recvfrom as u32;
            f.submit([iocb.clone().flags(flags)]);
            let [(_, result)] = ends(&f, 1)[..] else { panic!("one") };
            let fails = is_any && result < 0;
            assert!(fails || result == errno(expected), "{iocb:?}: {result}");
        }
    }
}

/// A number that was waited for may mean a socket of another family by now, whose calls
/// may sleep whatever their flags say.
///
/// SPEC: R-RUN-3
#[test]
fn a_number_that_is_used_again_is_asked_anew() {
    let f = Fixture::new();
    let ours = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (mut buffer, number) = ([0_u8; 4], ours.as_raw_fd());
    f.submit([recv(&ours, &mut buffer, 0)]);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"abc", ours.local_addr().unwrap()).unwrap();
    assert_eq!(ends(&f, 1), [(0, 3)]);
    // SAFETY: takes numbers.
    let other = owned(unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW, 0) });
    // SAFETY: takes numbers; `number` is `ours`, which means the other one from now on.
    assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), number) }, number);
    // NLMSG_NOOP, to the kernel.
    let mut message = [16_u32, 1, 0, 0];
    let mut bytes = zerocopy::IntoBytes::as_mut_bytes(&mut message).to_vec();
    let send = send(&ours, &mut bytes);
    f.submit([send.attr(attr::PATH)]);
    let answer = f.next();
    let place = answer.payload::<attr::PathReturn>(attr::PATH).unwrap().place;
    assert_eq!((answer.res, place), (16, attr::PATH_WORKER));
}
