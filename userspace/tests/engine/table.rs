//! The table of SPEC 6.4: which calls that wait leave the workers to others, and
//! which keep one.

use crate::context::{Fixture, Iocb, address, syscall};
use crate::request::{Slow, ends};
use aio2::backend::Wait;
use aio2_abi::iocb::IocbFlags;
use std::fs::File;
use std::io::{Read, Write, pipe};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

/// A context with one worker, a request that waits, and a NOP that needs the worker.
struct Row {
    fixture: Fixture,
    name: &'static str,
}

impl Row {
    fn begin(name: &'static str, iocb: Iocb) -> Self {
        let fixture = Fixture::with(|s| s.concurrency = 1);
        fixture.submit([iocb.user_data(1)]);
        assert!(fixture.reap().is_empty(), "{name} waits");
        fixture.submit([Iocb::nop(2).flags(IocbFlags::ASYNC)]);
        Row { fixture, name }
    }

    /// It waits without the worker; its result once `finish` has made it go on.
    fn without_worker(name: &'static str, iocb: Iocb, finish: impl FnOnce()) -> i64 {
        let row = Row::begin(name, iocb);
        let wait = Wait::events(1).within(Duration::from_secs(30));
        row.fixture.wait(&wait).unwrap_or_else(|e| panic!("{name} keeps the worker: {e:?}"));
        assert_eq!(ends(&row.fixture, 1), [(2, 0)], "{name}");
        finish();
        row.end()
    }

    /// It has the worker for itself until `finish` has made it go on.
    fn with_worker(name: &'static str, iocb: Iocb, finish: impl FnOnce()) -> i64 {
        let row = Row::begin(name, iocb);
        finish();
        let result = row.end();
        assert_eq!(ends(&row.fixture, 1), [(2, 0)], "{name}");
        result
    }

    fn end(&self) -> i64 {
        let [(user_data, result)] = ends(&self.fixture, 1)[..] else { panic!("one") };
        assert_eq!(user_data, 1, "{} has the only worker", self.name);
        result
    }
}

fn of(nr: libc::c_long, fd: &impl AsRawFd, args: &[u64]) -> Iocb {
    syscall(nr, &[&[fd.as_raw_fd() as u64], args].concat())
}

fn own(fd: libc::c_long) -> OwnedFd {
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: it is new, and no one else's.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// SPEC: R-WAIT-1
#[test]
fn what_is_received_waits_without_a_worker() {
    let mut buffer = [0_u8; 8];
    let mut iovec = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: 8 };
    // SAFETY: a msghdr may be all zeros.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut iovec, 1);
    let (at, message) = (address(&mut buffer), address(&mut message));
    let all = libc::MSG_WAITALL as u64;
    for (name, nr, args) in [
        ("recvfrom", libc::SYS_recvfrom, vec![at, 8, 0, 0, 0]),
        ("recvfrom, MSG_WAITALL", libc::SYS_recvfrom, vec![at, 8, all, 0, 0]),
        ("recvmsg", libc::SYS_recvmsg, vec![message, 0]),
        ("recvmsg, MSG_WAITALL", libc::SYS_recvmsg, vec![message, all]),
        ("read", libc::SYS_read, vec![at, 8]),
        ("readv", libc::SYS_readv, vec![address(&mut iovec), 1]),
    ] {
        for low in [1, 4] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let option = (&raw const low).cast();
            let (level, lowat, len) = (libc::SOL_SOCKET, libc::SO_RCVLOWAT, 4);
            // SAFETY: four bytes can be read.
            unsafe { libc::setsockopt(ours.as_raw_fd(), level, lowat, option, len) };
            let send = || theirs.write_all(b"12345678").unwrap();
            assert_eq!(Row::without_worker(name, of(nr, &ours, &args), send), 8);
            assert_eq!(&buffer, b"12345678");
        }
    }
}

/// SPEC: R-WAIT-1
#[test]
fn a_terminal_is_waited_for_without_a_worker() {
    let (mut master, mut slave, none) = (0, 0, std::ptr::null_mut());
    // SAFETY: writes two numbers.
    let made =
        unsafe { libc::openpty(&raw mut master, &raw mut slave, none, none.cast(), none.cast()) };
    assert_eq!(made, 0);
    let (mut master, slave) = (File::from(own(master.into())), own(slave.into()));
    let mut buffer = [0_u8; 8];
    let mut iovec = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: 8 };
    let at = address(&mut buffer);
    for (name, nr, args) in [
        ("read of a terminal", libc::SYS_read, [at, 8]),
        ("readv of a terminal", libc::SYS_readv, [address(&mut iovec), 1]),
    ] {
        let write = || master.write_all(b"line\n").unwrap();
        assert_eq!(Row::without_worker(name, of(nr, &slave, &args), write), 5);
        assert_eq!(&buffer[..5], b"line\n");
    }
    // Room for less than VMIN: it ends when that is full, and polls readable later.
    // SAFETY: a termios may be all zeros.
    let mut modes: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: it can be written.
    unsafe { libc::cfmakeraw(&raw mut modes) };
    (modes.c_cc[libc::VMIN], modes.c_cc[libc::VTIME]) = (5, 0);
    // SAFETY: it can be read.
    let set = unsafe { libc::tcsetattr(slave.as_raw_fd(), libc::TCSANOW, &raw const modes) };
    assert_eq!(set, 0);
    let write = || master.write_all(b"abc").unwrap();
    let name = "read of a terminal with room for less than VMIN";
    assert_eq!(Row::with_worker(name, of(libc::SYS_read, &slave, &[at, 3]), write), 3);
    // The other end has modes of its own.
    let mut slave = File::from(slave);
    let write = || slave.write_all(b"abc").unwrap();
    let name = "read of the master of a terminal";
    assert_eq!(Row::without_worker(name, of(libc::SYS_read, &master, &[at, 3]), write), 3);
}

/// SPEC: R-WAIT-1
#[test]
fn what_is_sent_and_accepted_waits_without_a_worker() {
    let mut bytes = [7_u8; 16];
    let mut iovec = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: 16 };
    // SAFETY: a msghdr may be all zeros.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut iovec, 1);
    let at = address(&mut bytes);
    for (name, nr, args) in [
        ("sendto", libc::SYS_sendto, vec![at, 16, 0, 0, 0]),
        ("sendmsg", libc::SYS_sendmsg, vec![address(&mut message), 0]),
        ("write", libc::SYS_write, vec![at, 16]),
        ("writev", libc::SYS_writev, vec![address(&mut iovec), 1]),
    ] {
        let (full, mut other) = UnixStream::pair().unwrap();
        full.set_nonblocking(true).unwrap();
        while (&full).write(&[0; 4096]).is_ok() {}
        full.set_nonblocking(false).unwrap();
        let drain = || {
            other.set_nonblocking(true).unwrap();
            while other.read(&mut [0; 4096]).is_ok() {}
        };
        assert_eq!(Row::without_worker(name, of(nr, &full, &args), drain), 16);
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    for (name, nr, args) in [
        ("accept", libc::SYS_accept, &[0, 0][..]),
        ("accept4", libc::SYS_accept4, &[0, 0, libc::SOCK_CLOEXEC as u64]),
    ] {
        let connect = || drop(UnixStream::connect(&path).unwrap());
        drop(own(Row::without_worker(name, of(nr, &listener, args), connect)));
    }
}

/// SPEC: R-WAIT-1
#[test]
fn an_epoll_without_a_time_is_waited_for_without_a_worker() {
    // SAFETY: takes a number.
    let epoll = own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }.into());
    let (reader, mut writer) = pipe().unwrap();
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 7 };
    let (add, fd) = (libc::EPOLL_CTL_ADD, reader.as_raw_fd());
    // SAFETY: the event can be read.
    assert_eq!(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), add, fd, &raw mut event) }, 0);
    let mut events = [event; 4];
    let (at, forever) = (address(&mut events), u64::from(u32::MAX));
    let wait = of(libc::SYS_epoll_wait, &epoll, &[at, 4, forever]);
    let write = || writer.write_all(b"x").unwrap();
    assert_eq!(Row::without_worker("epoll_wait", wait, write), 1);
    assert_eq!({ events[0].u64 }, 7);
    // What is no epoll instance says so at once.
    let f = Fixture::new();
    f.submit([of(libc::SYS_epoll_wait, &reader, &[at, 4, forever])]);
    assert_eq!(ends(&f, 1), [(0, -i64::from(libc::EINVAL))]);
}

/// SPEC: R-WAIT-1, R-WAIT-5
#[test]
fn what_is_no_readiness_of_one_file_keeps_a_worker() {
    let mut slow = Slow::new();
    let splice = slow.read();
    assert_eq!(Row::with_worker("splice", splice, || slow.finish()), 1);

    let [(reader, mut writer), (_kept, out)] = [(); 2].map(|()| pipe().unwrap());
    let tee = of(libc::SYS_tee, &reader, &[out.as_raw_fd() as u64, 1, 0]);
    assert_eq!(Row::with_worker("tee", tee, || writer.write_all(b"x").unwrap()), 1);

    let [(reader, mut writer)] = [(); 1].map(|()| pipe().unwrap());
    for (name, nr, more) in
        [("poll", libc::SYS_poll, &[u64::MAX][..]), ("ppoll", libc::SYS_ppoll, &[0, 0, 0])]
    {
        let mut fds = [libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 }];
        let poll = syscall(nr, &[&[address(&mut fds), 1], more].concat());
        assert_eq!(Row::with_worker(name, poll, || writer.write_all(b"x").unwrap()), 1);
        (&reader).read_exact(&mut [0]).unwrap();
    }

    let dir = tempfile::tempdir().unwrap();
    let open = || File::create(dir.path().join("lock")).unwrap();
    let (first, second) = (open(), open());
    first.lock().unwrap();
    let flock = of(libc::SYS_flock, &second, &[libc::LOCK_EX as u64]);
    assert_eq!(Row::with_worker("flock", flock, || first.unlock().unwrap()), 0);

    let word = std::sync::atomic::AtomicU32::new(0);
    let at = word.as_ptr().expose_provenance() as u64;
    let wait = syscall(libc::SYS_futex, &[at, libc::FUTEX_WAIT as u64, 0, 0, 0, 0]);
    let wake = || {
        word.store(1, std::sync::atomic::Ordering::SeqCst);
        // SAFETY: the address is that of a word.
        unsafe { libc::syscall(libc::SYS_futex, at, libc::FUTEX_WAKE, 1, 0, 0, 0) };
    };
    let result = Row::with_worker("futex", wait, wake);
    assert!(result == 0 || result == -i64::from(libc::EAGAIN), "{result}");
}

/// SPEC: R-WAIT-1, R-WAIT-5
#[test]
fn connect_keeps_a_worker() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    // SAFETY: takes numbers.
    let listener = own(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0) }.into());
    // SAFETY: a sockaddr_un may be all zeros.
    let mut to: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    to.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (to, from) in to.sun_path.iter_mut().zip(path.to_str().unwrap().bytes()) {
        *to = from as libc::c_char;
    }
    let len = size_of_val(&to) as u64;
    let at = (&raw const to).cast();
    // SAFETY: the address can be read.
    assert_eq!(unsafe { libc::bind(listener.as_raw_fd(), at, len as u32) }, 0);
    // SAFETY: takes numbers.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    // One may wait to be accepted; the next waits to wait.
    let _first = UnixStream::connect(&path).unwrap();
    // SAFETY: takes numbers.
    let socket = own(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0) }.into());
    let connect = of(libc::SYS_connect, &socket, &[address(&mut to), len]);
    let listener = UnixListener::from(listener);
    let accept = || drop(listener.accept().unwrap());
    assert_eq!(Row::with_worker("connect", connect, accept), 0);
}
