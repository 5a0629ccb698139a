//! Kinds of buffers, and paths: what a read fills and a write takes of each, and that
//! what is shared is never written.

use aio2::flags::{
    AtFlags, GetRandomFlags, Mode, OFlags, ReadWriteFlags, RecvFlags, RenameFlags, SendFlags,
    StatxFlags, XattrFlags,
};
use aio2::{
    AnyBuf, Buffer, Completion, Context, Dir, DirectBuf, Errno, Op, PathArg, Queue, ReadBuf,
    SharedFd, Timeout,
};
use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn run<B: Buffer, K>(op: Op<B, K>) -> Completion<B, ()> {
    let mut queue = Queue::new(Context::new().unwrap());
    queue.push(op, ());
    queue.wait(1, Timeout::Forever).unwrap().next().unwrap()
}

/// A file with "0123456789".
fn digits() -> SharedFd {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"0123456789").unwrap();
    file.into()
}

fn text(file: &SharedFd) -> Vec<u8> {
    run(Op::read_at(file, vec![0; 100], 0)).into_bytes().unwrap()
}

#[test]
fn what_a_read_gives_are_its_bytes() {
    let file = digits();
    assert_eq!(run(Op::read_at(&file, vec![7; 100], 4)).into_bytes().unwrap(), b"456789");
    assert_eq!(run(Op::read_at(&file, vec![7; 3], 4)).into_bytes().unwrap(), b"456");
    let part = run(Op::read_at(&file, vec![7; 100], 8).range(3..50));
    assert_eq!((part.bytes(), part.into_bytes().unwrap()), (Ok(2), b"\x07\x07\x0789".to_vec()));
    let bad = run(Op::read(fs::File::open("/").unwrap(), vec![0; 9]));
    assert_eq!(
        (bad.bytes(), bad.into_bytes()),
        (Err(Errno(libc::EISDIR)), Err(Errno(libc::EISDIR)))
    );
    // The whole buffer, also of a short read, for who wants to use it again.
    let short = run(Op::read_at(&file, vec![7; 12], 8));
    assert_eq!(short.into_buffer().unwrap(), b"89\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07");
}

#[test]
fn what_an_open_gives_is_its_descriptor() {
    let opened =
        run::<(), _>(Op::openat(Dir::Cwd, "/etc/passwd", OFlags::RDONLY, Mode::empty())).into_fd();
    assert!(opened.is_ok());
    let none = run::<(), _>(Op::openat(Dir::Cwd, "/none", OFlags::RDONLY, Mode::empty())).into_fd();
    assert_eq!(none.err(), Some(Errno(libc::ENOENT)));
    assert_eq!(run::<(), _>(Op::nop()).into_fd().err(), Some(Errno(libc::EBADF)));
    let mut taken = run::<(), _>(Op::duplicate(opened.unwrap()));
    assert!(taken.opened.take().is_some());
    assert_eq!(taken.into_fd().err(), Some(Errno(libc::EBADF)));
}

#[test]
fn reads_append_to_room_that_is_not_initialised() {
    let file = digits();
    let mut buffer = ReadBuf::with_capacity(8);
    buffer.extend_from_slice(b"<<");
    let room = buffer.capacity() - 2;
    let done = run(Op::read_at(&file, buffer, 0));
    assert_eq!(done.bytes(), Ok(room.min(10)));
    let buffer = done.into_buffer().unwrap();
    assert_eq!(**buffer, b"<<0123456789"[..2 + room.min(10)]);
    // A write takes what is in it.
    let done = run(Op::write_at(&file, buffer, 0));
    assert_eq!((done.bytes(), text(&file).starts_with(b"<<01")), (Ok(2 + room.min(10)), true));
    let vec: Vec<u8> = done.into_buffer().unwrap().into();
    assert!(vec.starts_with(b"<<"));

    // Nothing is taken for read that was not.
    let file = digits();
    let empty = || ReadBuf::with_capacity(100);
    for op in [
        Op::read_at(&file, empty(), 0).range(5..20),
        Op::read_at(&file, empty(), 0).full(),
        Op::read_at(&file, empty(), 10),
        Op::read(fs::File::open("/").unwrap(), empty()),
    ] {
        let done = run(op);
        assert_eq!(done.into_buffer().unwrap().len(), 0);
    }
    let part = run(Op::read_at(&file, empty(), 0).range(0..4));
    assert_eq!(**part.into_buffer().unwrap(), *b"0123");
}

#[test]
fn room_follows_the_result_of_each_operation_that_fills() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("somewhere", dir.path().join("link")).unwrap();
    let room = || ReadBuf::with_capacity(64);
    let here: SharedFd = fs::File::open(dir.path()).unwrap().into();
    let link = run(Op::readlinkat(&here, "link", room()));
    assert_eq!(**link.into_buffer().unwrap(), *b"somewhere");
    let random = run(Op::getrandom(room(), GetRandomFlags::empty()));
    let bytes = random.bytes().unwrap();
    assert_eq!(random.into_buffer().unwrap().len(), bytes);
    let entries = run(Op::getdents(&here, ReadBuf::with_capacity(4096)));
    let bytes = entries.bytes().unwrap();
    assert_eq!((bytes > 0, entries.into_buffer().unwrap().len()), (true, bytes));

    // Several, one after the other.
    let file = digits();
    let done = run(Op::readv_at(&file, vec![ReadBuf::from(Vec::with_capacity(3)), room()], 0));
    assert_eq!(done.bytes(), Ok(10));
    let buffers = done.op.into_buffers();
    let first = buffers[0].len();
    assert_eq!([buffers[0].to_vec(), buffers[1].to_vec()].concat(), b"0123456789");
    assert!(first >= 3 && first == buffers[0].capacity());

    // A datagram that is cut, with its whole length as the result: not so many bytes came.
    let (a, b) = UnixDatagram::pair().unwrap();
    let b: SharedFd = b.into();
    for _ in 0..4 {
        a.send(&[b'x'; 1000]).unwrap();
    }
    let small = || ReadBuf::from(Vec::with_capacity(10));
    let done = run(Op::recv(&b, small(), RecvFlags::TRUNC));
    assert_eq!((done.bytes(), done.into_buffer().unwrap().len()), (Ok(1000), 0));
    let done = run(Op::recv_from(&b, small(), RecvFlags::TRUNC));
    assert_eq!((done.bytes(), done.into_buffer().unwrap().len()), (Ok(1000), 0));
    let done = run(Op::recvmsg(&b, vec![small()], 0, RecvFlags::TRUNC));
    assert_eq!((done.bytes(), done.into_buffer().unwrap().len()), (Ok(1000), 0));
    let done = run(Op::recvmsg(&b, vec![small(), small()], 0, RecvFlags::empty()));
    let all: Vec<usize> = done.op.into_buffers().iter().map(|buffer| buffer.len()).collect();
    assert_eq!(all, [10, 10]);
}

/// Its operations that fill end with EFAULT, and those that write write `bytes`.
fn is_shared<B: Buffer>(bytes: &[u8], buffer: impl Fn() -> B) {
    let file = digits();
    let (dir, socket) = (fs::File::open("/proc/self").unwrap(), UnixDatagram::unbound().unwrap());
    let (dir, socket) = (SharedFd::from(dir), SharedFd::from(socket));
    for op in [
        Op::read_at(&file, buffer(), 0).untyped(),
        Op::read(&file, buffer()).untyped(),
        Op::recv(&socket, buffer(), RecvFlags::empty()).untyped(),
        Op::recv_from(&socket, buffer(), RecvFlags::empty()).untyped(),
        Op::recvmsg(&socket, vec![buffer()], 0, RecvFlags::empty()).untyped(),
        Op::getdents(&dir, buffer()).untyped(),
        Op::readlinkat(&dir, "exe", buffer()).untyped(),
        Op::getrandom(buffer(), GetRandomFlags::empty()).untyped(),
        Op::mq_receive(&socket, buffer()).untyped(),
        Op::fgetxattr(&file, "user.a", buffer()).untyped(),
        Op::flistxattr(&file, buffer()).untyped(),
        Op::getxattr("/", "user.a", buffer()).untyped(),
        Op::lgetxattr("/", "user.a", buffer()).untyped(),
        Op::listxattr("/", buffer()).untyped(),
        Op::llistxattr("/", buffer()).untyped(),
        Op::readv(&file, vec![buffer()]).untyped(),
        Op::readv_at(&file, vec![buffer(), buffer()], 0).untyped(),
        Op::preadv2(&file, vec![buffer()], 0, ReadWriteFlags::empty()).untyped(),
    ] {
        let name = op.name();
        let done = run(op);
        assert_eq!((done.result, done.never_began()), (Err(Errno(libc::EFAULT)), true), "{name}");
        assert_eq!(done.into_buffer().unwrap().content(), bytes, "{name}");
    }
    assert_eq!(run(Op::write_at(&file, buffer(), 0)).bytes(), Ok(bytes.len()));
    assert_eq!(
        run(Op::writev_at(&file, vec![buffer(), buffer()], bytes.len() as u64)).bytes(),
        Ok(2 * bytes.len())
    );
    assert!(text(&file).starts_with(&bytes.repeat(3)));
    let (a, b) = UnixDatagram::pair().unwrap();
    assert_eq!(
        run(Op::send(SharedFd::from(a), buffer(), SendFlags::empty())).bytes(),
        Ok(bytes.len())
    );
    let got = run(Op::recv(SharedFd::from(b), vec![0; 100], RecvFlags::empty())).into_bytes();
    assert_eq!(got.unwrap(), bytes);
}

#[test]
fn what_is_shared_is_written_out_and_never_filled() {
    static BYTES: &[u8] = b"static";
    is_shared(b"static", || BYTES);
    let shared: Arc<[u8]> = Arc::from(*b"shared");
    is_shared(b"shared", || shared.clone());
    is_shared(b"shared", || AnyBuf::from(shared.clone()));
    is_shared(b"static", || AnyBuf::from(BYTES));
    assert_eq!(&*shared, b"shared");
    #[cfg(feature = "bytes")]
    is_shared(b"bytes", || bytes::Bytes::from_static(b"bytes"));
}

/// It is filled from its beginning on, and written out whole.
fn is_own<B: Buffer>(buffer: B) {
    let file = digits();
    let done = run(Op::read_at(&file, buffer, 2));
    assert_eq!(done.bytes(), Ok(4));
    let buffer = done.into_buffer().unwrap();
    assert_eq!(buffer.content(), b"2345");
    assert_eq!(run(Op::write_at(&file, buffer, 0)).bytes(), Ok(4));
    assert_eq!(text(&file), b"2345456789");
}

#[test]
fn what_is_ones_own_is_filled_and_written_out() {
    is_own(vec![0; 4]);
    is_own(vec![0; 4].into_boxed_slice());
    is_own([0; 4]);
    is_own(DirectBuf::new(4, 8));
    is_own(AnyBuf::from(vec![0; 4]));
    let exact = || ReadBuf::from(Vec::from(Box::<[u8]>::from([])));
    let mut four = exact();
    four.reserve_exact(4);
    is_own(AnyBuf::from(four));
    #[cfg(feature = "bytes")]
    {
        let file = digits();
        let mut buffer = bytes::BytesMut::with_capacity(64);
        buffer.extend_from_slice(b"<");
        let buffer = run(Op::read_at(&file, buffer, 0)).into_buffer().unwrap();
        assert_eq!(&buffer[..], b"<0123456789");
        assert_eq!(run(Op::write_at(&file, buffer, 0)).bytes(), Ok(11));
        assert_eq!(text(&file), b"<0123456789");
    }
}

#[test]
fn a_queue_of_several_kinds_reads_and_writes_at_once() {
    let file = digits();
    let mut queue: Queue<AnyBuf, &str> = Queue::new(Context::new().unwrap());
    queue.push(Op::write_at(&file, AnyBuf::from(&b"abc"[..]), 20), "static");
    queue.push(Op::write_at(&file, AnyBuf::from(Arc::<[u8]>::from(*b"def")), 23), "shared");
    queue
        .push(Op::read_at(&file, AnyBuf::from(ReadBuf::with_capacity(50)), 0).range(0..10), "read");
    let mut seen = 0;
    while !queue.is_empty() {
        for done in queue.wait(1, Timeout::Forever).unwrap() {
            seen += done.bytes().unwrap();
            if done.token == "read" {
                assert_eq!(done.into_buffer().unwrap().as_ref(), b"0123456789");
            }
        }
    }
    assert_eq!((seen, &text(&file)[20..]), (16, &b"abcdef"[..]));
}

#[test]
fn paths_are_given_as_they_are_at_hand() {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("file");
    fs::write(&path, "text").unwrap();
    let string = path.to_str().unwrap().to_owned();
    let paths: [PathArg; 10] = [
        PathArg::from(&*path),
        PathArg::from(&path),
        PathArg::from(path.clone()),
        PathArg::from(path.as_os_str()),
        PathArg::from(OsString::from(&path)),
        PathArg::from(&OsString::from(&path)),
        PathArg::from(&*string),
        PathArg::from(&string),
        PathArg::from(CString::new(&*string).unwrap()),
        PathArg::from(&*CString::new(&*string).unwrap()),
    ];
    for path in paths {
        let done = run::<(), _>(Op::statx(Dir::Cwd, path, AtFlags::empty(), StatxFlags::SIZE));
        assert_eq!(done.op.statx_buf().unwrap().stx_size, 4);
    }
    // A byte 0 is no end: the operation never begins.
    let file = digits();
    let bad = || "fi\0le";
    let ops: [Op<Vec<u8>>; 9] = [
        Op::openat(Dir::Cwd, bad(), OFlags::RDONLY, Mode::empty()).untyped(),
        Op::statx(Dir::Cwd, Path::new(bad()), AtFlags::empty(), StatxFlags::empty()).untyped(),
        Op::readlinkat(Dir::Cwd, OsStr::new(bad()), vec![0; 9]).untyped(),
        Op::renameat2((Dir::Cwd, "a"), (Dir::Cwd, bad()), RenameFlags::empty()).untyped(),
        Op::linkat((Dir::Cwd, bad()), (Dir::Cwd, "b"), AtFlags::empty()).untyped(),
        Op::symlinkat(bad(), Dir::Cwd, "s").untyped(),
        Op::symlinkat("s", Dir::Cwd, bad()).untyped(),
        Op::truncate(bad(), 0).untyped(),
        Op::fsetxattr(&file, bad(), vec![0; 3], XattrFlags::empty()).untyped(),
    ];
    for op in ops {
        let name = op.name();
        let done = run(op);
        assert_eq!((done.result, done.never_began()), (Err(Errno(libc::EINVAL)), true), "{name}");
    }
}
