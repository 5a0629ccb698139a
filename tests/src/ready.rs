//! Requests that wait for their file. SPEC: section 6.4, R-WAIT-1 to 5 and 7.

use crate::context::{Context, until};
use crate::env::{Env, Outcome};
use crate::file::{Pipe, file_with, socket_pair};
use crate::request::{Batch, Request};
use aio2_abi::attr;
use aio2_abi::wait::{Cancel, CancelFlags};
use libc::{ECANCELED, ETIMEDOUT, MSG_WAITALL};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::ptr;

/// More than a pipe has room for.
const MUCH: usize = 1 << 20;

/// A worker is there to run something else.
fn assert_free_worker(context: &Context) {
    context.submit_these([Request::nop(999).on_worker()]);
    assert_eq!(context.ends(1), [(999, 0)], "no worker is kept");
}

fn receive(fd: i32, buffer: &mut [u8], flags: i32) -> Request {
    let (at, len) = (buffer.as_mut_ptr().addr() as u64, buffer.len() as u64);
    Request::call(libc::SYS_recvfrom, &[fd as u64, at, len, flags as u64, 0, 0])
}

pub(crate) fn idle_files_keep_no_worker(env: &Env<'_>) -> Outcome {
    let context = env.one_worker();
    let pipes: Vec<Pipe> = (0..20).map(|_| Pipe::new()).collect();
    let mut bytes = [0; 20];
    let reads = pipes.iter().zip(bytes.chunks_mut(1)).zip(0..);
    context.submit_these(reads.map(|((pipe, byte), n)| {
        let read = Request::read(pipe.read_fd(), byte).user_data(n);
        if n % 2 == 0 { read } else { read.on_worker() }
    }));
    let pairs = [(); 3].map(|()| socket_pair(libc::SOCK_STREAM));
    let mut got = [[0; 4]; 3];
    let [plain, addressed, message] = &mut got;
    let fd = |n: usize| pairs[n].0.as_raw_fd();
    let (mut address, mut address_len) = ([0_u8; 128], 128_u32);
    let (at, len) = (addressed.as_mut_ptr().addr() as u64, addressed.len() as u64);
    let to = [address.as_mut_ptr().addr() as u64, ptr::from_mut(&mut address_len).addr() as u64];
    let mut vector = libc::iovec { iov_base: message.as_mut_ptr().cast(), iov_len: 4 };
    // SAFETY: numbers and pointers, of which zero is a valid value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    (header.msg_iov, header.msg_iovlen) = (&raw mut vector, 1);
    context.submit_these([
        receive(fd(0), plain, 0).user_data(20),
        Request::call(libc::SYS_recvfrom, &[fd(1) as u64, at, len, 0, to[0], to[1]]).user_data(21),
        Request::call(libc::SYS_recvmsg, &[fd(2) as u64, (&raw mut header).addr() as u64, 0])
            .user_data(22),
    ]);
    let path = env.dir.join("listener");
    let listener = UnixListener::bind(&path).expect("it is not there yet");
    let accept = [listener.as_raw_fd() as u64, 0, 0, libc::SOCK_CLOEXEC as u64];
    context.submit_these([Request::call(libc::SYS_accept4, &accept).user_data(23)]);
    let full = Pipe::new();
    let much = vec![7; MUCH];
    context.submit_these([Request::write(full.write_fd(), &much).user_data(24)]);
    assert_free_worker(&context);

    for pipe in &pipes {
        (&pipe.writer).write_all(b"x").expect("there is room");
    }
    for (_, other) in &pairs {
        File::from(other.try_clone().expect("there is a descriptor"))
            .write_all(b"four")
            .expect("there is room");
    }
    let mut ends = context.ends(23);
    ends.sort_unstable();
    let expected: Vec<_> = (0..23).map(|n| (n, if n < 20 { 1 } else { 4 })).collect();
    assert_eq!(ends, expected);
    assert_eq!((bytes, got), ([b'x'; 20], [*b"four"; 3]));
    let _peer = UnixStream::connect(&path).expect("somebody listens");
    let accepted = context.ends(1);
    assert!(accepted[0].0 == 23 && accepted[0].1 >= 0, "{accepted:?}");
    // SAFETY: the descriptor is new, and no one else's.
    assert_eq!(unsafe { libc::close(accepted[0].1 as i32) }, 0);
    assert_free_worker(&context);
    let mut read = vec![0; MUCH];
    (&full.reader).read_exact(&mut read).expect("all is written");
    assert_eq!(context.ends(1), [(24, MUCH as i64)]);
    assert!(read == much, "in order");
    Ok(())
}

pub(crate) fn those_that_wait_for_a_file_are_run_in_order(env: &Env<'_>) -> Outcome {
    let context = env.context();
    for _ in 0..20 {
        let pipe = Pipe::new();
        let mut bytes = [0; 9];
        let mut reads = bytes.chunks_mut(1).zip(0..);
        let request =
            |(byte, n): (&mut [u8], u64)| Request::read(pipe.read_fd(), byte).user_data(n);
        context.submit_these(reads.by_ref().take(8).map(request));
        (&pipe.writer).write_all(b"abcde").expect("there is room");
        // It comes when the file may be ready, and others wait still.
        context.submit_these(reads.map(request));
        (&pipe.writer).write_all(b"fghi").expect("there is room");
        assert_eq!(context.reap(9).len(), 9);
        assert_eq!(&bytes, b"abcdefghi");
    }
    Ok(())
}

pub(crate) fn file_that_is_waited_for_is_kept(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let (pipe, other) = (Pipe::new(), Pipe::new());
    let number = pipe.read_fd();
    let mut bytes = [0; 2];
    let reads = bytes.chunks_mut(1).zip(0..);
    context.submit_these(reads.map(|(byte, n)| Request::read(number, byte).user_data(n)));
    // The number names another file, of which nobody shall read.
    // SAFETY: takes two numbers, both of this test.
    assert_eq!(unsafe { libc::dup2(other.read_fd(), number) }, number);
    (&other.writer).write_all(b"no").expect("there is room");
    (&pipe.writer).write_all(b"ab").expect("it has a reader, the request");
    assert_eq!(context.reap(2).len(), 2);
    assert_eq!((&bytes, other.readable_bytes()), (b"ab", 2));
    Ok(())
}

pub(crate) fn request_that_waits_ends_at_once(env: &Env<'_>) -> Outcome {
    let context = env.one_worker();
    let pipe = Pipe::new();
    let mut bytes = [0; 3];
    let reads = bytes.chunks_mut(1).zip(0..);
    let batch = Batch::of(
        reads.map(|(byte, n)| Request::read(pipe.read_fd(), byte).user_data(n).with_id()),
    );
    let mut batch = batch;
    context.submit_all(&mut batch);
    // The first, and one that is behind it.
    for n in [0, 1] {
        let cancel = Cancel { id: batch.id(n), ..Cancel::default() };
        let (_, done) = context.cancel(CancelFlags::ID, cancel).expect("it waits");
        assert_eq!((done.cancelled, done.interrupted, done.too_late), (0, 1, 0));
        let event = context.reap(1).remove(0);
        assert_eq!((event.user_data, event.res), (n as u64, -i64::from(ECANCELED)));
        assert!(!event.never_began());
    }
    (&pipe.writer).write_all(b"x").expect("there is room");
    assert_eq!(context.ends(1), [(2, 1)]);
    assert_eq!(&bytes, b"\0\0x");
    // With what it has moved.
    let much = vec![7; MUCH];
    let id = context.submit_one(Request::write(pipe.write_fd(), &much));
    let cancel = Cancel { id, ..Cancel::default() };
    let (_, done) = context.cancel(CancelFlags::ID, cancel).expect("it waits");
    assert_eq!((done.cancelled, done.interrupted, done.too_late), (0, 1, 0));
    let (_, res) = context.ends(1)[0];
    assert_eq!(res, pipe.readable_bytes() as i64, "it tells what it has written");
    assert!(res > 0);
    if env.needs_attr(attr::DEADLINE).is_ok() {
        let empty = Pipe::new();
        // Long enough for a slow guest to have begun it.
        let read = Request::read(empty.read_fd(), &mut bytes[..1]).deadline(200_000_000);
        let event = context.run(read);
        assert_eq!((event.res, event.never_began()), (-i64::from(ETIMEDOUT), false));
    }
    Ok(())
}

pub(crate) fn what_cannot_be_waited_for_is_run_by_a_worker(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let (_, file) = file_with(env, "whole", b"abcd");
    let (left, right) = socket_pair(libc::SOCK_STREAM);
    let mut bytes = [[0; 4]; 2];
    let [first, second] = &mut bytes;
    context.submit_these([
        Request::pread(file.as_raw_fd(), first, 0).on_worker(),
        // All of it, which no file tells of.
        receive(left.as_raw_fd(), second, MSG_WAITALL).user_data(1),
    ]);
    assert_eq!(context.ends(1), [(0, 4)]);
    let mut right = File::from(right);
    for half in [b"ef", b"gh"] {
        right.write_all(half).expect("there is room");
    }
    assert_eq!(context.ends(1), [(1, 4)]);
    assert_eq!(bytes, [*b"abcd", *b"efgh"]);
    Ok(())
}

pub(crate) fn nobody_has_to_wait_for_the_events(env: &Env<'_>) -> Outcome {
    let context = env.one_worker();
    let pipes = [(); 4].map(|()| Pipe::new());
    let mut bytes = [0; 4];
    let reads = pipes.iter().zip(bytes.chunks_mut(1));
    context.submit_these(reads.map(|(pipe, byte)| Request::read(pipe.read_fd(), byte)));
    for pipe in &pipes {
        (&pipe.writer).write_all(b"x").expect("there is room");
    }
    let mut there = 0;
    // Looks at the ring only: no call of the context is made.
    until("the reads have ended", || {
        there += context.reap_ring(4).len();
        there == 4
    });
    Ok(())
}
