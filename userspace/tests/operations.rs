//! Operations: each has the effect of its syscall, and gives back what it owned.

mod common;

use aio2::flags::{
    AtFlags, FallocateFlags, Mode, OFlags, RecvFlags, RenameFlags, SeekFrom, SendFlags, StatxFlags,
};
use aio2::{
    Buffer, Completion, Context, Dir, DirectBuf, Dispatcher, Driver, Errno, Op, Queue, SharedFd,
    Timeout,
};
use common::pipe;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// A queue over the engine's defaults.
fn queue<B: Buffer, T>() -> Queue<B, T> {
    Queue::new(Context::new().unwrap())
}

/// The completion of one operation.
fn run<B: Buffer, K>(queue: &mut Queue<B, ()>, op: Op<B, K>) -> Completion<B, ()> {
    queue.push(op, ());
    queue.wait(1, Timeout::Forever).unwrap().next().expect("it waited for one")
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_encoded_bytes()).unwrap()
}

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn reading_and_writing_at_the_position_moves_it() {
    let mut queue = queue();
    let mut file = file_of(b"");
    let shared = SharedFd::new(file.try_clone().unwrap());
    assert_eq!(run(&mut queue, Op::write(&shared, b"abc".to_vec())).result, Ok(3));
    assert_eq!(run(&mut queue, Op::lseek(&shared, SeekFrom::Start(1))).result, Ok(1));
    let done = run(&mut queue, Op::read(&shared, vec![0; 2]));
    assert_eq!(done.op.buffer().unwrap().as_slice(), b"bc");
    assert_eq!(file.stream_position().unwrap(), 3);
}

#[test]
fn operations_on_a_descriptor_have_their_effect() {
    let mut queue = queue::<(), ()>();
    let file = file_of(b"");
    let fd = SharedFd::new(file.try_clone().unwrap());
    let times = [(11, 12), (13, 14)].map(|(tv_sec, tv_nsec)| libc::timespec { tv_sec, tv_nsec });
    let ops = [
        Op::fallocate(&fd, FallocateFlags::empty(), 0, 8192),
        Op::ftruncate(&fd, 5000),
        Op::fchmod(&fd, 0o640.into()),
        Op::fchown(&fd, None, None),
        Op::utimens(&fd, times),
        Op::fdatasync(&fd),
        Op::fsync(&fd),
    ];
    for op in ops {
        let done = run(&mut queue, op);
        assert_eq!(done.result, Ok(0), "{done:?}");
    }
    let meta = file.metadata().unwrap();
    assert_eq!((meta.len(), meta.permissions().mode() & 0o777), (5000, 0o640));
    assert_eq!(
        (meta.atime(), meta.atime_nsec(), meta.mtime(), meta.mtime_nsec()),
        (11, 12, 13, 14)
    );
}

#[test]
fn operations_on_paths_have_their_effect() {
    let temp = tempfile::tempdir().unwrap();
    let mut queue = queue();
    let dir = Dir::from(File::open(temp.path()).unwrap());
    let name = |name: &str| CString::new(name).unwrap();
    let flags = OFlags::CREATE | OFlags::WRONLY;
    let done = run(&mut queue, Op::openat(dir.clone(), name("a"), flags, 0o600.into()));
    let opened = done.opened.expect("it opened a file");
    run(&mut queue, Op::write(opened, b"text".to_vec())).result.unwrap();
    let ops = [
        Op::mkdirat(dir.clone(), name("d"), 0o700.into()),
        Op::linkat((dir.clone(), name("a")), (dir.clone(), name("b")), AtFlags::empty()),
        Op::renameat2((dir.clone(), name("a")), (dir.clone(), name("d/c")), RenameFlags::empty()),
        Op::symlinkat(name("d/c"), dir.clone(), name("s")),
        Op::unlinkat(dir.clone(), name("b"), AtFlags::empty()),
    ];
    for op in ops {
        let done = run(&mut queue, op);
        assert_eq!(done.result, Ok(0), "{done:?}");
    }
    assert_eq!(fs::read(temp.path().join("s")).unwrap(), b"text");
    assert!(!temp.path().join("a").exists() && !temp.path().join("b").exists());

    let done = run(&mut queue, Op::readlinkat(dir.clone(), name("s"), vec![0; 16]));
    assert_eq!((done.result, &done.op.buffer().unwrap()[..3]), (Ok(3), &b"d/c"[..]));
    let path = c_path(&temp.path().join("s"));
    let done =
        run(&mut queue, Op::statx(Dir::Cwd, path, AtFlags::empty(), StatxFlags::BASIC_STATS));
    assert_eq!((done.result, done.op.statx_buf().unwrap().stx_size), (Ok(0), 4));
    let entries = run(&mut queue, Op::getdents(File::open(temp.path()).unwrap(), vec![0; 4096]));
    assert!(entries.result.unwrap() > 0);
    let missing = run(&mut queue, Op::openat(dir, name("none"), OFlags::RDONLY, Mode::empty()));
    assert_eq!((missing.result, missing.opened.is_none()), (Err(Errno(libc::ENOENT)), true));
}

#[test]
fn sockets_connect_accept_send_and_receive() {
    let mut queue = queue::<Vec<u8>, &str>();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // SAFETY: takes no address.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    // SAFETY: it is new, and no one else's.
    let socket: OwnedFd = unsafe { std::os::fd::FromRawFd::from_raw_fd(socket) };
    let client = SharedFd::new(socket);
    queue.push(Op::accept(listener), "accept");
    queue.push(Op::connect(&client, address), "connect");
    let mut server = None;
    for done in queue.wait(2, Timeout::Forever).unwrap() {
        assert!(done.result.is_ok(), "{done:?}");
        server = done.opened.or(server);
    }
    let server = SharedFd::new(TcpStream::from(server.expect("accepted")));
    queue.push(Op::recv(&server, vec![0; 16], RecvFlags::empty()), "receive");
    queue.push(Op::send(&client, b"hello".to_vec(), SendFlags::empty()), "send");
    for done in queue.wait(2, Timeout::Forever).unwrap() {
        assert_eq!(done.result, Ok(5), "{done:?}");
        assert_eq!(&done.op.buffer().unwrap()[..5], b"hello");
    }
}

#[test]
fn what_an_operation_opened_is_closed_with_its_completion() {
    let mut queue = queue::<(), ()>();
    let (reading, writing) = pipe();
    let path = CString::new(format!("/proc/self/fd/{}", writing.as_raw_fd())).unwrap();
    let done = run(&mut queue, Op::openat(Dir::Cwd, path, OFlags::WRONLY, Mode::empty()));
    assert!(done.opened.is_some());
    drop(writing);
    drop(done);
    // The end of the file: nobody can write any more.
    assert_eq!(File::from(reading).read(&mut [0]).unwrap(), 0);
}

#[test]
fn what_an_operation_opened_is_closed_with_the_queue() {
    let mut queue = queue::<(), ()>();
    let (reading, writing) = pipe();
    let path = CString::new(format!("/proc/self/fd/{}", writing.as_raw_fd())).unwrap();
    queue.push(Op::openat(Dir::Cwd, path, OFlags::WRONLY, Mode::empty()), ());
    queue.submit().unwrap();
    drop((writing, queue));
    assert_eq!(File::from(reading).read(&mut [0]).unwrap(), 0);
}

#[test]
fn close_closes_once() {
    let mut queue = queue::<(), ()>();
    let (reading, writing) = pipe();
    let done = run(&mut queue, Op::close(writing));
    assert_eq!(done.result, Ok(0));
    assert_eq!(File::from(reading).read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_direct_buffer_is_aligned_and_serves() {
    let buffer = DirectBuf::new(4096, 4096);
    assert!(buffer.as_ptr().addr().is_multiple_of(4096));
    let done = run(&mut queue(), Op::read_at(file_of(b"direct"), buffer, 0));
    assert_eq!((done.result, &done.op.buffer().unwrap()[..6]), (Ok(6), &b"direct"[..]));
}

#[test]
fn a_range_moves_only_its_part_of_the_buffer() {
    let mut queue = queue();
    let file = SharedFd::new(file_of(b"0123456789"));
    let done = run(&mut queue, Op::read_at(&file, vec![b'-'; 6], 0).range(1..4));
    assert_eq!((done.result, done.into_buffer().unwrap().as_slice()), (Ok(3), &b"-012--"[..]));
    let done = run(&mut queue, Op::write_at(&file, b"abcdef".to_vec(), 0).range(4..6));
    assert_eq!(done.result, Ok(2));
    let done = run(&mut queue, Op::read_at(&file, vec![0; 4], 0));
    assert_eq!(done.op.buffer().unwrap().as_slice(), b"ef23");
}

#[test]
fn a_raw_syscall_runs_with_its_arguments() {
    let mut queue = queue::<(), ()>();
    // SAFETY: getpid takes no address.
    let done = run(&mut queue, unsafe { Op::syscall(libc::SYS_getpid as u32, &[]) });
    assert_eq!((done.result, done.op.name()), (Ok(u64::from(std::process::id())), "getpid"));
    // SAFETY: it is refused.
    let done = run(&mut queue, unsafe { Op::syscall(libc::SYS_ptrace as u32, &[0; 4]) });
    assert_eq!(done.result, Err(Errno(libc::EOPNOTSUPP)));
}

#[test]
#[should_panic(expected = "range 3..7 of a buffer of 6 bytes")]
fn a_range_beyond_the_buffer_is_a_bug_of_the_caller() {
    let _ = Op::read(file_of(b""), vec![0; 6]).range(3..7);
}

/// A connected pair of TCP sockets, of which the first would send without a copy.
fn zerocopy_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (receiver, _) = listener.accept().unwrap();
    let on = 1_i32;
    let fd = sender.as_raw_fd();
    let (at, len) = ((&raw const on).cast(), size_of_val(&on) as u32);
    // SAFETY: `on` can be read.
    let set = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_ZEROCOPY, at, len) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    (sender, receiver)
}

#[test]
fn what_could_use_its_buffer_after_its_completion_is_refused() {
    const SPLICE_PAGES: i32 = 1 << 27;
    const SOCK_DEVMEM: i32 = 1 << 25;
    let (sender, mut receiver) = zerocopy_pair();
    let sender = SharedFd::new(sender);
    let refused = Err(Errno(libc::EOPNOTSUPP));
    let mut queue = queue();
    for flag in [libc::MSG_ZEROCOPY, SPLICE_PAGES, SOCK_DEVMEM, 1 << 24, i32::MIN] {
        let flags = (flag | libc::MSG_DONTWAIT).cast_unsigned();
        let (flags, receive) =
            (SendFlags::from_bits_retain(flags), RecvFlags::from_bits_retain(flags));
        let sent = run(&mut queue, Op::send(&sender, b"no".to_vec(), flags));
        assert_eq!((sent.result, sent.into_buffer()), (refused, Some(b"no".to_vec())));
        let received = run(&mut queue, Op::recv(&sender, vec![0; 2], receive));
        assert_eq!(received.result, refused, "{flag:#x}");
    }
    assert_eq!(
        run(&mut queue, Op::send(&sender, b"yes".to_vec(), SendFlags::empty())).result,
        Ok(3)
    );
    let mut got = [0; 9];
    assert_eq!(receiver.read(&mut got).unwrap(), 3, "and nothing else");

    let op = || {
        Op::send(&sender, b"no".to_vec(), SendFlags::from_bits_retain(libc::MSG_ZEROCOPY as u32))
    };
    let mut driver = Driver::new(Context::new().unwrap()).unwrap();
    let run = driver.handle().run(op());
    assert_eq!(driver.block_on(run).unwrap().result, refused);
    let seen = std::cell::Cell::new(None);
    let mut dispatcher = Dispatcher::new(Context::new().unwrap());
    dispatcher.push(op(), |_, done| seen.set(Some(done.result)));
    dispatcher.run_to_end().unwrap();
    drop(dispatcher);
    assert_eq!(seen.get(), Some(refused));
}

/// Each flag that is not refused does what it does in the plain call.
#[test]
fn flags_of_a_message_that_are_harmless_are_passed_on() {
    let (sender, receiver) = zerocopy_pair();
    let [sender, receiver] = [sender, receiver].map(SharedFd::new);
    let mut queue = queue();
    for flag in [libc::MSG_NOSIGNAL, libc::MSG_MORE, libc::MSG_DONTWAIT, libc::MSG_EOR] {
        let flag = SendFlags::from_bits_retain(flag.cast_unsigned());
        assert_eq!(run(&mut queue, Op::send(&sender, b"a".to_vec(), flag)).result, Ok(1));
    }
    for flag in [libc::MSG_PEEK, libc::MSG_DONTWAIT, libc::MSG_WAITALL, libc::MSG_CMSG_CLOEXEC] {
        let flags = RecvFlags::from_bits_retain(flag.cast_unsigned());
        let got = run(&mut queue, Op::recv(&receiver, vec![0; 1], flags));
        assert_eq!((got.result, got.into_buffer()), (Ok(1), Some(b"a".to_vec())), "{flag:#x}");
    }
}
