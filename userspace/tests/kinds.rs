//! What operations give, by their kinds.

use aio2::flags::{AddressFamily, AtFlags, Mode, OFlags, PollFlags, RecvFlags, SendFlags};
use aio2::flags::{SeekFrom, SocketType, StatxFlags};
use aio2::kind::{Kind, OneBuffer};
use aio2::{AnyBuf, Buffer, Context, Dir, Dispatcher, Driver, Errno, Op, ReadBuf, SharedFd};
use std::cell::Cell;
use std::io::{IoSlice, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;

fn value<B: Buffer, K: Kind<B>>(op: Op<B, K>) -> Result<K::Value, Errno> {
    let mut driver = Driver::new(Context::new().unwrap()).unwrap();
    let run = driver.handle().run(op);
    driver.block_on(run).unwrap().value()
}

fn parts<B: Buffer, K: OneBuffer>(op: Op<B, K>) -> (Result<usize, Errno>, B) {
    let mut driver = Driver::new(Context::new().unwrap()).unwrap();
    let run = driver.handle().run(op);
    driver.block_on(run).unwrap().into_parts()
}

fn digits() -> SharedFd {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"0123456789").unwrap();
    file.into()
}

type Bytes = Vec<u8>;

#[test]
fn a_read_gives_its_bytes_whatever_the_buffer() {
    let file = digits();
    let read = value(Op::read_at(&file, vec![7; 20], 6)).unwrap();
    assert_eq!(*read, *b"6789");
    assert_eq!(read.into_buffer().len(), 20);
    assert_eq!(*value(Op::read_at(&file, [0; 3], 1)).unwrap(), *b"123");
    let part = Op::read_at(&file, vec![7; 20], 8).range(5..10);
    assert_eq!(*value(part).unwrap(), *b"89");
    let mut there = ReadBuf::with_capacity(40);
    there.extend_from_slice(b"before");
    let read = value(Op::read_at(&file, there, 7)).unwrap();
    assert_eq!(*read, *b"789");
    assert_eq!(**read.into_buffer(), *b"before789");
    let read = Op::read_at(&file, AnyBuf::from(ReadBuf::with_capacity(2)), 0);
    assert!(value(read).unwrap().starts_with(b"01"));
    assert_eq!(*value(Op::read_at(&file, AnyBuf::from(vec![0; 2]), 4)).unwrap(), *b"45");
    assert_eq!(*value(Op::read_at(&file, vec![0; 2], 10)).unwrap(), *b"");
    let link = Op::readlinkat(Dir::Cwd, "/proc/self", vec![0; 100]);
    assert_eq!(*value(link).unwrap(), *std::process::id().to_string().as_bytes());
}

#[test]
fn a_buffer_comes_back_whatever_the_result() {
    let file = digits();
    assert_eq!(parts(Op::write_at(&file, b"abc".to_vec(), 0)), (Ok(3), b"abc".to_vec()));
    let short = Op::read_at(&file, vec![1; 20], 0).full();
    let (result, buffer) = parts(short);
    assert_eq!((result, buffer.len()), (Err(Errno(libc::ENODATA)), 20));
    let no_socket = Op::recv_from(&file, vec![9; 2], RecvFlags::empty());
    assert_eq!(parts(no_socket), (Err(Errno(libc::ENOTSOCK)), vec![9; 2]));
    let name = Op::setxattr("/none", "user.a", b"v".to_vec(), aio2::flags::XattrFlags::CREATE);
    assert_eq!(parts(name), (Err(Errno(libc::ENOENT)), b"v".to_vec()));
}

#[test]
fn files_and_what_is_known_of_them() {
    let open = |path| Op::<Bytes>::openat(Dir::Cwd, path, OFlags::RDONLY, Mode::empty());
    let file = SharedFd::new(value(open("/proc/self/exe")).unwrap());
    assert_eq!(value(open("/none")).err(), Some(Errno(libc::ENOENT)));
    let length = std::fs::metadata("/proc/self/exe").unwrap().len();
    let ask = Op::<Bytes>::statx(&file, "", AtFlags::EMPTY_PATH, StatxFlags::SIZE);
    assert_eq!(value(ask).unwrap().stx_size, length);
    // With the flag, a name that is not empty is a name all the same.
    let here = env!("CARGO_MANIFEST_DIR");
    let manifest = format!("{here}/Cargo.toml");
    let bytes = std::fs::metadata(&manifest).unwrap().len();
    let dir = SharedFd::new(value(open(here)).unwrap());
    let named = |name: &str| {
        let ask = Op::<Bytes>::statx(&dir, name, AtFlags::EMPTY_PATH, StatxFlags::SIZE);
        value(ask).map(|found| found.stx_size)
    };
    assert_eq!(named("Cargo.toml"), Ok(bytes));
    assert_eq!(named(&manifest), Ok(bytes));
    assert_eq!(named("none"), Err(Errno(libc::ENOENT)));
    assert_eq!(value(Op::<Bytes>::fstat(&file)).unwrap().st_size as u64, length);
    assert_eq!(value(Op::<Bytes>::lseek(&file, SeekFrom::End(-1))), Ok(length - 1));
    let flags = value(Op::<Bytes>::status_flags(&file)).unwrap();
    assert_eq!(flags & OFlags::ACCMODE, OFlags::RDONLY);
    assert!(value(Op::<Bytes>::fstatfs(&file)).unwrap().f_bsize > 0);
    assert_eq!(value(Op::<Bytes>::getpid()), Ok(std::process::id()));
    assert_eq!(value(Op::<Bytes>::nop()), Ok(()));
}

#[test]
fn sockets_messages_and_readiness() {
    let family = Op::<Bytes>::socket(AddressFamily::INET, SocketType::STREAM, None);
    let listener = SharedFd::new(value(family).unwrap());
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    assert_eq!(value(Op::<Bytes>::bind(&listener, local)), Ok(()));
    assert_eq!(value(Op::<Bytes>::listen(&listener, 8)), Ok(()));
    let at = value(Op::<Bytes>::getsockname(&listener)).unwrap().unwrap();
    let client = TcpStream::connect(at).unwrap();
    let (server, peer) = value(Op::<Bytes>::accept_from(&listener)).unwrap();
    assert_eq!(peer, Some(client.local_addr().unwrap()));
    let ready = value(Op::<Bytes>::poll(server, PollFlags::OUT)).unwrap();
    assert!(ready.contains(PollFlags::OUT) && !ready.contains(PollFlags::IN));

    let [one, other] = [(); 2].map(|()| UdpSocket::bind(local).unwrap());
    let (from, to) = (one.local_addr().unwrap(), other.local_addr().unwrap());
    let (one, other) = (SharedFd::from(one), SharedFd::from(other));
    for _ in 0..2 {
        let send = Op::send_to(&one, b"abc".to_vec(), SendFlags::empty(), to);
        assert_eq!(value(send), Ok(3));
    }
    let (bytes, sender) = value(Op::recv_from(&other, vec![0; 9], RecvFlags::empty())).unwrap();
    assert_eq!((&*bytes, sender), (&b"abc"[..], Some(from)));
    let receive = Op::recvmsg(&other, vec![vec![0; 2], vec![0; 2]], 0, RecvFlags::empty());
    let message = value(receive).unwrap();
    assert_eq!((message.bytes, message.from), (3, Some(from)));
    assert_eq!(IoSlice::new(&message.buffers.concat()).len(), 4);
    // More than the buffer has is cut, and no slice goes beyond it.
    assert_eq!(value(Op::send_to(&one, b"abc".to_vec(), SendFlags::empty(), to)), Ok(3));
    assert_eq!(*value(Op::recv(&other, vec![0; 1], RecvFlags::TRUNC)).unwrap(), *b"a");
}

#[test]
fn callbacks_and_lists_know_the_kind() {
    let seen = Cell::new(None);
    let mut dispatcher: Dispatcher<Bytes> = Dispatcher::new(Context::new().unwrap());
    let open = Op::openat(Dir::Cwd, "/proc/self/comm", OFlags::RDONLY, Mode::empty());
    dispatcher.push(open, |more, done| {
        let file: OwnedFd = done.value().unwrap();
        more.push(Op::read_at(file, vec![0; 99], 0), |_, done| {
            seen.set(Some(done.value().unwrap().len()));
        });
    });
    dispatcher.run_to_end().unwrap();
    drop(dispatcher);
    assert_eq!(seen.get(), Some(std::fs::read("/proc/self/comm").unwrap().len()));

    let file = digits();
    let mut driver = Driver::new(Context::new().unwrap()).unwrap();
    let list = (0..3).map(|n| Op::read_at(&file, vec![0; 1], n));
    let list = driver.handle().list(list);
    let read = driver.block_on(list).unwrap();
    let read: Vec<u8> = read.into_iter().map(|done| done.value().unwrap()[0]).collect();
    assert_eq!(read, b"012");
}

/// A worker that sleeps is one that others wait for: who pushes an operation has to know
/// whether it takes one.
#[test]
fn each_operation_says_where_it_runs() {
    let source = |file: &str| {
        let path = format!("{}/src/submit/op/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    };
    let mut constructors = 0;
    for file in ["mod", "files", "sockets", "processes"] {
        let (source, mut docs) = (source(file), String::new());
        let mut lines = source.lines().map(str::trim).peekable();
        while let Some(line) = lines.next() {
            if let Some(doc) = line.strip_prefix("///") {
                docs += doc;
            } else if let Some(signature) = line.strip_prefix("pub fn ") {
                let mut signature = signature.to_owned();
                while !signature.contains('{') {
                    signature += lines.next().expect("a body");
                }
                if signature.contains("-> Op<B, kind::") {
                    constructors += 1;
                    let says = ["Runs", "runs", "worker", "without a thread"];
                    assert!(says.iter().any(|word| docs.contains(word)), "{signature}{docs}");
                }
                docs.clear();
            } else if !line.starts_with("#[") {
                docs.clear();
            }
        }
    }
    assert!(constructors > 100, "{constructors}");
}
