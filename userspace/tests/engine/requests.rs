//! What becomes of a request: results, rungs of the ladder, attributes.

use crate::context::{Answer, Fixture, Iocb, address, alone, file_of, syscall};
use crate::gone::filter;
use crate::request::{Slow, ends, errno, failing};
use aio2::Errno;
use aio2::backend::Backend;
use aio2_abi::iocb::{ID_OFFSET, IocbFlags};
use aio2_abi::wait::{Cancel, CancelFlags};
use aio2_abi::{attr, op};
use std::fs::File;
use std::io::{Read, Write, pipe};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;
use zerocopy::IntoBytes;

const RETURN: attr::AttrFlags = attr::AttrFlags::RETURN;
const REQUIRED: attr::AttrFlags = attr::AttrFlags::REQUIRED.union(RETURN);

fn only(f: &Fixture, iocb: Iocb) -> Answer {
    f.submit([iocb]);
    f.next()
}

fn read(fd: &impl AsRawFd, buf: &mut [u8]) -> Iocb {
    syscall(libc::SYS_read, &[fd.as_raw_fd() as u64, address(buf), buf.len() as u64])
}

fn pread(fd: &impl AsRawFd, buf: &mut [u8], offset: u64) -> Iocb {
    let args = [fd.as_raw_fd() as u64, address(buf), buf.len() as u64, offset];
    syscall(libc::SYS_pread64, &args)
}

fn write(fd: &impl AsRawFd, buf: &mut [u8]) -> Iocb {
    Iocb { nr: libc::SYS_write as u32, ..read(fd, buf) }
}

#[test]
fn a_batch_of_nops_completes_inline_and_in_order() {
    let f = Fixture::new();
    f.submit((0..500).map(Iocb::nop));
    let answers = f.reap();
    assert_eq!(answers.iter().map(|a| a.user_data).collect::<Vec<_>>(), Vec::from_iter(0..500));
    assert!(answers.iter().all(|a| a.res == 0));
}

#[test]
fn what_is_not_allowed_ends_with_eopnotsupp_and_wrong_arguments_with_einval() {
    let f = Fixture::new();
    let zeros = [0; 6];
    for (iocb, errno) in [
        (syscall(libc::SYS_ptrace, &zeros[..4]), libc::EOPNOTSUPP),
        (syscall(1000, &[]), libc::EOPNOTSUPP),
        (Iocb { nr: op::OP | 99, ..Iocb::nop(0) }, libc::EOPNOTSUPP),
        (Iocb { nr: op::GROUP, args: vec![], ..Iocb::nop(0) }, libc::EINVAL),
        (Iocb { nr: op::POLL, args: vec![0, 1 << 16], ..Iocb::nop(0) }, libc::EINVAL),
        (Iocb { args: vec![1], ..Iocb::nop(0) }, libc::EINVAL),
        (syscall(libc::SYS_read, &zeros[..2]), libc::EINVAL),
        (syscall(libc::SYS_fcntl, &[0, libc::F_NOTIFY as u64, 0]), libc::EOPNOTSUPP),
        (Iocb::nop(0).flags(IocbFlags::MULTISHOT), libc::EOPNOTSUPP),
        (Iocb::nop(0).flags(IocbFlags::FULL), libc::EOPNOTSUPP),
        (syscall(libc::SYS_fsync, &[0]).flags(IocbFlags::FULL), libc::EOPNOTSUPP),
    ] {
        assert_eq!(only(&f, iocb.clone()).res, -i64::from(errno), "{iocb:?}");
    }
}

#[test]
fn a_malformed_iocb_stops_the_stream() {
    let f = Fixture::new();
    let mut words = [Iocb::nop(1).words(), Iocb::nop(2).words()].concat();
    words[4] = 7;
    assert_eq!(f.try_submit(&mut words), Ok(32));
    assert_eq!(f.reap().len(), 1);
    assert_eq!(f.try_submit(&mut words[4..]), Err(Errno(libc::EINVAL)));
    assert_eq!(f.try_submit(&mut []), Ok(0));
}

#[test]
fn a_syscall_has_its_own_result() {
    let f = Fixture::new();
    assert_eq!(only(&f, syscall(libc::SYS_getpid, &[])).res, i64::from(std::process::id()));
    assert_eq!(only(&f, syscall(libc::SYS_close, &[u64::MAX])).res, -i64::from(libc::EBADF));
    let mut buf = [0; 4];
    let file = file_of(b"abcd");
    let at_minus_one = pread(&file, &mut buf, u64::MAX);
    assert_eq!(only(&f, at_minus_one).res, -i64::from(libc::EINVAL));
    let wild = syscall(libc::SYS_pread64, &[file.as_raw_fd() as u64, 8, 4, 0]);
    assert_eq!(only(&f, wild).res, -i64::from(libc::EFAULT));
}

#[test]
fn a_read_from_the_page_cache_completes_inline() {
    let f = Fixture::new();
    let file = file_of(b"hello world");
    let mut buf = [0_u8; 64];
    let iocb = pread(&file, &mut buf, 6).user_data(7);
    f.submit([iocb.attr(attr::PATH).attr(attr::CACHE).attr(attr::CHECKSUM)]);
    let a = f.next();
    assert_eq!((a.user_data, a.res), (7, 5));
    assert_eq!(&buf[..5], b"world");
    assert_eq!(
        a.returns.iter().map(|r| r.0).collect::<Vec<_>>(),
        [attr::PATH, attr::CACHE, attr::CHECKSUM]
    );
    let sum: attr::ChecksumReturn = a.payload(attr::CHECKSUM).unwrap();
    assert_eq!((sum.value, sum.bytes), (crc32c::crc32c(b"world"), 5));
    let path: attr::PathReturn = a.payload(attr::PATH).unwrap();
    if path.place == attr::PATH_INLINE {
        let cache: attr::CacheReturn = a.payload(attr::CACHE).unwrap();
        assert_eq!((cache.hit, cache.miss), (5, 0));
    }
}

#[test]
fn a_vector_is_read_and_summed_in_order() {
    let f = Fixture::new();
    let file = file_of(b"hello world");
    let (mut a, mut b) = ([0_u8; 3], [0_u8; 5]);
    let mut iovecs = [
        libc::iovec { iov_base: a.as_mut_ptr().cast(), iov_len: 3 },
        libc::iovec { iov_base: b.as_mut_ptr().cast(), iov_len: 5 },
    ];
    let args = [file.as_raw_fd() as u64, address(&mut iovecs), 2, 0, 0];
    let answer = only(&f, syscall(libc::SYS_preadv, &args).attr(attr::CHECKSUM));
    assert_eq!((answer.res, &a, &b), (8, b"hel", b"lo wo"));
    let sum: attr::ChecksumReturn = answer.payload(attr::CHECKSUM).unwrap();
    assert_eq!((sum.value, sum.bytes), (crc32c::crc32c(b"hello wo"), 8));
    let full = syscall(libc::SYS_preadv, &[args[0], args[1], 2, 6, 0]).flags(IocbFlags::FULL);
    assert_eq!(only(&f, full).res, -i64::from(libc::ENODATA));
    assert_eq!((&a, &b[..2]), (b"wor", b"ld".as_slice()));
}

#[test]
fn reads_at_the_file_position_move_it() {
    let f = Fixture::new();
    let mut file = file_of(b"abcdef");
    std::io::Seek::rewind(&mut file).unwrap();
    let mut buf = [0; 4];
    assert_eq!(only(&f, read(&file, &mut buf)).res, 4);
    assert_eq!(only(&f, read(&file, &mut buf)).res, 2);
    assert_eq!(only(&f, read(&file, &mut buf)).res, 0);
    assert_eq!(&buf, b"efcd");
}

#[test]
fn a_read_that_would_wait_goes_to_a_worker() {
    let f = Fixture::new();
    let (reader, mut writer) = pipe().unwrap();
    let mut buf = [0_u8; 8];
    f.submit([read(&reader, &mut buf).attr(attr::PATH).attr(attr::TIMING).attr(attr::CACHE)]);
    assert!(f.reap().is_empty());
    writer.write_all(b"abc").unwrap();
    let a = f.next();
    assert_eq!((a.res, &buf[..3]), (3, b"abc".as_slice()));
    assert_eq!(a.payload::<attr::PathReturn>(attr::PATH).unwrap().place, attr::PATH_WORKER);
    assert_eq!(a.status(attr::CACHE), -libc::EOPNOTSUPP, "a pipe has no page cache");
    let t: attr::TimingReturn = a.payload(attr::TIMING).unwrap();
    assert!(t.submitted > 0 && t.submitted <= t.started && t.started <= t.completed);
}

#[test]
fn a_short_read_from_a_pipe_is_final_unless_full() {
    let f = Fixture::new();
    let (reader, mut writer) = pipe().unwrap();
    let mut buf = [0_u8; 6];
    writer.write_all(b"abc").unwrap();
    assert_eq!(only(&f, read(&reader, &mut buf)).res, 3);
    writer.write_all(b"def").unwrap();
    f.submit([read(&reader, &mut buf).flags(IocbFlags::FULL)]);
    writer.write_all(b"gh").unwrap();
    assert!(f.reap().is_empty());
    writer.write_all(b"i").unwrap();
    assert_eq!(f.next().res, 6);
    assert_eq!(&buf, b"defghi");
    f.submit([read(&reader, &mut buf).flags(IocbFlags::FULL)]);
    writer.write_all(b"x").unwrap();
    drop(writer);
    assert_eq!(f.next().res, -i64::from(libc::ENODATA));
}

#[test]
fn a_write_that_would_wait_is_one_call_all_the_same() {
    let f = Fixture::new();
    let (mut reader, writer) = pipe().unwrap();
    let mut bytes: Vec<u8> = (0..300_000_u32).map(|i| i as u8).collect();
    f.submit([write(&writer, &mut bytes).attr(attr::CHECKSUM)]);
    let mut got = vec![0; bytes.len()];
    reader.read_exact(&mut got).unwrap();
    let a = f.next();
    assert_eq!(a.res, 300_000);
    assert!(got == bytes, "nothing twice, nothing left out");
    let sum: attr::ChecksumReturn = a.payload(attr::CHECKSUM).unwrap();
    assert_eq!(sum.value, crc32c::crc32c(&bytes));
}

#[test]
fn sockets_are_tried_without_waiting() {
    let f = Fixture::new();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut buf = [0_u8; 4];
    let fd = theirs.as_raw_fd() as u64;
    let recv = |flags: i32, at| syscall(libc::SYS_recvfrom, &[fd, at, 4, flags as u64, 0, 0]);
    let at = address(&mut buf);
    assert_eq!(only(&f, recv(libc::MSG_DONTWAIT, at)).res, -i64::from(libc::EAGAIN));
    f.submit([recv(0, at).attr(attr::PATH)]);
    ours.write_all(b"ab").unwrap();
    let a = f.next();
    assert_eq!(a.res, 2);
    assert_eq!(a.payload::<attr::PathReturn>(attr::PATH).unwrap().place, attr::PATH_WORKER);
    ours.write_all(b"cd").unwrap();
    f.submit([recv(libc::MSG_WAITALL, at)]);
    ours.write_all(b"ef").unwrap();
    assert_eq!(f.next().res, 4);
    theirs.set_nonblocking(true).unwrap();
    assert_eq!(only(&f, recv(0, at)).res, -i64::from(libc::EAGAIN));
    assert_eq!(only(&f, read(&theirs, &mut buf)).res, -i64::from(libc::EAGAIN));
    let mut iovec = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: 4 };
    // SAFETY: a msghdr may be all zeros.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut iovec, 1);
    ours.write_all(b"wxyz").unwrap();
    let recvmsg = syscall(libc::SYS_recvmsg, &[fd, address(&mut message), 0]);
    assert_eq!(only(&f, recvmsg).res, 4);
    assert_eq!(&buf, b"wxyz");
}

#[test]
fn a_full_message_is_received_in_several_steps() {
    let f = Fixture::new();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let (mut a, mut b) = ([0_u8; 3], [0_u8; 3]);
    let mut iovecs = [
        libc::iovec { iov_base: a.as_mut_ptr().cast(), iov_len: 3 },
        libc::iovec { iov_base: b.as_mut_ptr().cast(), iov_len: 3 },
    ];
    // SAFETY: a msghdr may be all zeros.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (iovecs.as_mut_ptr(), 2);
    ours.write_all(b"ab").unwrap();
    let args = [theirs.as_raw_fd() as u64, address(&mut message), 0];
    f.submit([syscall(libc::SYS_recvmsg, &args).flags(IocbFlags::FULL)]);
    ours.write_all(b"cd").unwrap();
    assert!(f.reap().is_empty());
    ours.write_all(b"ef").unwrap();
    assert_eq!(f.next().res, 6);
    assert_eq!((&a, &b), (b"abc", b"def"));
}

#[test]
fn async_is_not_run_inline() {
    let f = Fixture::new();
    let file = file_of(b"abcd");
    let mut buf = [0; 4];
    let iocb = pread(&file, &mut buf, 0).flags(IocbFlags::ASYNC).attr(attr::PATH).attr(attr::CACHE);
    let a = only(&f, iocb);
    assert_eq!((a.res, &buf), (4, b"abcd"));
    assert_eq!(a.payload::<attr::PathReturn>(attr::PATH).unwrap().place, attr::PATH_WORKER);
    let cache = a.payload::<attr::CacheReturn>(attr::CACHE).unwrap();
    assert_eq!(cache.hit + cache.miss, 4);
}

#[test]
fn an_attribute_that_is_not_known_is_told_and_fails_only_if_required() {
    let f = Fixture::new();
    let a = only(&f, Iocb::nop(0).attr(63).attr(attr::TIMING).attr(attr::CACHE));
    assert_eq!(a.res, 0);
    assert_eq!(
        a.returns.iter().map(|r| (r.0, r.1)).collect::<Vec<_>>(),
        [(63, -libc::EOPNOTSUPP), (attr::TIMING, 0), (attr::CACHE, -libc::EOPNOTSUPP)]
    );
    let required = Iocb::nop(0).attr(attr::TIMING).attr_with(63, REQUIRED, &[]);
    let a = only(&f, required.attr_with(attr::PRIORITY, RETURN, &[0; 8]));
    assert_eq!(a.res, -i64::from(libc::EOPNOTSUPP));
    assert_eq!(a.status(attr::TIMING), -libc::ENODATA, "it never ran");
    assert_eq!(a.status(attr::PRIORITY), -libc::ENODATA);
    assert_eq!(
        only(&f, Iocb::nop(0).attr_with(63, attr::AttrFlags::empty(), &[])).returns.len(),
        0
    );
}

#[test]
fn a_bad_payload_is_told_and_fails_only_if_required() {
    let f = Fixture::new();
    let file = file_of(b"abcd");
    let mut buf = [0; 4];
    let bad: [(u16, &[u8]); 7] = [
        (attr::TAG, &[]),
        (attr::TAG, &[0, 0, 0, 0, 0, 0, 0, 0, 1]),
        (attr::TIMING, &[1]),
        (attr::CACHE, &[9, 0, 0, 0, 0, 0, 0, 0]),
        (attr::CACHE, &[0, 0, 0, 0, 1, 0, 0, 0]),
        (attr::CHECKSUM, &[1, 0, 0, 0, 0, 0, 0, 0]),
        (attr::PRIORITY, &[0, 0, 1, 0, 0, 0, 0, 0]),
    ];
    for (id, payload) in bad {
        let a = only(&f, pread(&file, &mut buf, 0).attr_with(id, RETURN, payload));
        assert_eq!((a.res, a.status(id)), (4, -libc::EINVAL), "attribute {id}");
        let a = only(&f, pread(&file, &mut buf, 0).attr_with(id, REQUIRED, payload));
        assert_eq!((a.res, a.status(id)), (-i64::from(libc::EINVAL), -libc::EINVAL));
    }
}

#[test]
fn a_failed_read_has_nothing_to_say_of_its_bytes() {
    let f = Fixture::new();
    let mut buf = [0; 4];
    let iocb = pread(&std::os::fd::RawFd::MAX, &mut buf, 0);
    let a = only(&f, iocb.attr(attr::CACHE).attr(attr::CHECKSUM).attr(attr::TIMING));
    assert_eq!(a.res, -i64::from(libc::EBADF));
    assert_eq!(a.status(attr::CACHE), -libc::ENODATA);
    assert_eq!(a.status(attr::CHECKSUM), -libc::ENODATA);
    assert_eq!(a.status(attr::TIMING), 0, "it ran");
}

#[test]
fn a_cache_hint_changes_no_result() {
    let f = Fixture::new();
    let file = file_of(&[7; 8192]);
    file.sync_all().unwrap();
    let mut buf = [0; 8192];
    for (hint, status) in [
        (attr::CACHE_NORMAL, 0),
        (attr::CACHE_KEEP, 0),
        (attr::CACHE_DROP, 0),
        (attr::CACHE_NO_READAHEAD, -libc::EOPNOTSUPP),
    ] {
        let payload = attr::Cache { hint, resv: 0 };
        let iocb = pread(&file, &mut buf, 0).attr_with(attr::CACHE, RETURN, payload.as_bytes());
        let a = only(&f, iocb);
        assert_eq!((a.res, a.status(attr::CACHE)), (8192, status), "hint {hint}");
    }
    let hint = attr::Cache { hint: attr::CACHE_DROP, resv: 0 };
    let iocb = write(&file, &mut buf).attr_with(attr::CACHE, REQUIRED, hint.as_bytes());
    let a = only(&f, iocb);
    assert_eq!((a.res, a.status(attr::CACHE)), (8192, 0));
    assert_eq!(a.payload(attr::CACHE), Some(attr::CacheReturn::default()));
}

#[test]
fn a_priority_is_set_for_its_request_by_a_worker() {
    let f = Fixture::new();
    const IDLE: u32 = 3 << 13;
    let payload = attr::Priority { ioprio: IDLE, resv: 0 };
    let a = only(
        &f,
        Iocb::nop(0).attr_with(attr::PRIORITY, RETURN, payload.as_bytes()).attr(attr::PATH),
    );
    assert_eq!((a.res, a.status(attr::PRIORITY)), (0, 0));
    assert_eq!(a.payload::<attr::PathReturn>(attr::PATH).unwrap().place, attr::PATH_WORKER);
}

#[test]
fn ids_are_written_back_and_differ() {
    let f = Fixture::new();
    let with_id = Iocb::nop(0).flags(IocbFlags::WRITE_ID);
    let words = f.submit(vec![with_id; 300]);
    let ids: std::collections::HashSet<u64> =
        words.chunks(4).map(|iocb| iocb[ID_OFFSET / 8]).collect();
    assert_eq!(ids.len(), 300);
    assert!(!ids.contains(&0));
}

#[test]
fn exec_gives_the_event_that_the_ring_would() {
    let f = Fixture::new();
    let file = file_of(b"hello");
    let mut buf = [0; 5];
    let iocb = pread(&file, &mut buf, 0).user_data(3).attr(attr::CHECKSUM).attr(attr::TIMING);
    let (mut words, mut event) = (iocb.words(), [0_u8; 128]);
    let exec = |words: &mut [u64], event: &mut [u8]| {
        // SAFETY: the file and the buffer are alive.
        unsafe { f.engine.exec(words.as_mut_bytes(), event) }
    };
    let bytes = exec(&mut words, &mut event).unwrap();
    assert_eq!(bytes, 24 + 24 + 32);
    let [a] = Answer::parse(&event[..bytes]).try_into().unwrap();
    assert_eq!((a.user_data, a.res, &buf), (3, 5, b"hello"));
    let sum: attr::ChecksumReturn = a.payload(attr::CHECKSUM).unwrap();
    assert_eq!(sum.value, crc32c::crc32c(b"hello"));
    buf.fill(0);
    assert_eq!(exec(&mut words, &mut event[..bytes - 8]), Err(Errno(libc::ENOBUFS)));
    assert_eq!(buf, [0; 5], "it was not run");
    words.push(0);
    assert_eq!(exec(&mut words, &mut event), Err(Errno(libc::EINVAL)));
}

#[test]
fn a_request_over_the_limit_gets_eagain_until_its_events_are_in_the_ring() {
    let f = Fixture::with(|s| (s.max_requests, s.ring_bytes) = (4, 4096));
    let (reader, mut writer) = pipe().unwrap();
    let mut bufs = [[0_u8; 1]; 5];
    let mut words: Vec<u64> = bufs.iter_mut().flat_map(|buf| read(&reader, buf).words()).collect();
    let one = words.len() / 5;
    assert_eq!(f.try_submit(&mut words), Ok(4 * one * 8));
    assert_eq!(f.try_submit(&mut words[4 * one..]), Err(Errno(libc::EAGAIN)));
    writer.write_all(b"abcde").unwrap();
    f.next_n(4);
    assert_eq!(f.try_submit(&mut words[4 * one..]), Ok(one * 8));
    assert_eq!(f.next().res, 1);
    // 170 NOPs fill the ring, 4 the list.
    let fill = f.try_submit(&mut vec![Iocb::nop(0).words(); 200].concat());
    assert_eq!(fill, Ok((4096 / 24 + 4) * 32));
    assert_eq!(f.try_submit(&mut Iocb::nop(0).words()), Err(Errno(libc::EAGAIN)));
    assert_eq!(f.reap().len(), 170);
    assert_eq!(f.try_submit(&mut Iocb::nop(0).words()), Ok(32));
}

/// SPEC: R-LIMIT-1, R-SUBMIT-1
#[test]
fn what_is_not_accepted_does_not_count_towards_the_limit() {
    let f = Fixture::with(|s| s.max_requests = 4);
    for _ in 0..10 {
        let mut words = Iocb::nop(1).words();
        let good = words.len();
        words.extend(Iocb::nop(2).words());
        // Its length is right, so that it is admitted; a reserved field is not 0.
        words[good + 1] |= 1 << 32;
        assert_eq!(f.try_submit(&mut words), Ok(good * 8));
        assert_eq!(f.next().user_data, 1);
    }
    f.submit((0..4).map(|i| Iocb::nop(i).flags(IocbFlags::ASYNC)));
    assert_eq!(f.next_n(4).len(), 4);
}

/// A vector of the parts of `buffer` that are named.
fn iovecs<const N: usize>(
    buffer: &mut [u8],
    parts: [std::ops::Range<usize>; N],
) -> [libc::iovec; N] {
    parts.map(|part| {
        let part = &mut buffer[part];
        libc::iovec { iov_base: part.as_mut_ptr().cast(), iov_len: part.len() }
    })
}

/// SPEC: R-RUN-5, R-CHECKSUM-1
#[test]
fn a_vector_is_gone_on_with_in_the_middle_of_a_part() {
    let f = Fixture::new();
    let (reader, mut writer) = pipe().unwrap();
    let mut buf = [b'-'; 16];
    let mut iovecs = iovecs(&mut buf, [1..4, 5..10, 11..13]);
    let readv = syscall(
        libc::SYS_readv,
        &[reader.as_raw_fd() as u64, address(&mut iovecs), iovecs.len() as u64],
    );
    let readv = readv.attr(attr::CHECKSUM);
    let sum = |a: &Answer| a.payload::<attr::ChecksumReturn>(attr::CHECKSUM).unwrap();
    writer.write_all(b"abcd").unwrap();
    let a = only(&f, readv.clone());
    assert_eq!((a.res, &buf), (4, b"-abc-d----------"));
    assert_eq!((sum(&a).value, sum(&a).bytes), (crc32c::crc32c(b"abcd"), 4));
    // In the submission, and then when the pipe is ready.
    for (first, second, third) in [("ABCD", "EFGHIJ", ""), ("k", "lmno", "pqrst")] {
        buf.fill(b'-');
        writer.write_all(first.as_bytes()).unwrap();
        f.submit([readv.clone().flags(IocbFlags::FULL)]);
        thread::sleep(Duration::from_millis(5));
        writer.write_all(second.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(5));
        writer.write_all(third.as_bytes()).unwrap();
        let (a, all) = (f.next(), [first, second, third].concat());
        let (x, y, z) = (&all[..3], &all[3..8], &all[8..]);
        assert_eq!((a.res, str::from_utf8(&buf)), (10, Ok(&*format!("-{x}-{y}-{z}---"))));
        assert_eq!((sum(&a).value, sum(&a).bytes), (crc32c::crc32c(all.as_bytes()), 10));
    }
}

/// SPEC: R-RUN-5, R-RUN-8, R-RUN-16
#[test]
fn a_message_that_is_only_looked_at_or_not_waited_for_is_not_gone_on_with() {
    let f = Fixture::new();
    let (socket, mut peer) = UnixStream::pair().unwrap();
    let mut buf = [b'-'; 6];
    let args = [socket.as_raw_fd() as u64, address(&mut buf), 6];
    let recv = |flags| syscall(libc::SYS_recvfrom, &[args[0], args[1], 6, flags as u64, 0, 0]);
    peer.write_all(b"abc").unwrap();
    for flags in [libc::MSG_PEEK, libc::MSG_PEEK | libc::MSG_WAITALL | libc::MSG_DONTWAIT] {
        let a = only(&f, recv(flags).attr(attr::PATH));
        assert_eq!((a.res, &buf, place(&a)), (3, b"abc---", attr::PATH_INLINE));
    }
    let a = only(&f, recv(libc::MSG_PEEK).flags(IocbFlags::FULL));
    assert_eq!((a.res, &buf), (errno(libc::EOPNOTSUPP), b"abc---"), "there is no rest");
    let a = only(&f, recv(libc::MSG_DONTWAIT).flags(IocbFlags::FULL).attr(attr::PATH));
    assert_eq!((a.res, &buf, place(&a)), (errno(libc::EAGAIN), b"abc---", attr::PATH_INLINE));
}

/// SPEC: R-EXEC-1
#[test]
fn exec_refuses_a_required_attribute_only_if_it_does_not_have_it() {
    let f = Fixture::new();
    let exec = |iocb: Iocb| {
        let mut event = [0_u8; 128];
        // SAFETY: a NOP has no addresses.
        let bytes = unsafe { f.engine.exec(iocb.words().as_mut_bytes(), &mut event) }.unwrap();
        Answer::parse(&event[..bytes]).remove(0).res
    };
    let required = |id, payload: &[u8]| exec(Iocb::nop(0).attr_with(id, REQUIRED, payload));
    assert_eq!((required(attr::TIMING, &[]), exec(Iocb::nop(0).deadline(1 << 60))), (0, 0));
    assert_eq!(required(attr::DEADLINE, &[1; 8]), errno(libc::EOPNOTSUPP));
    let wrong = syscall(libc::SYS_close, &[]).attr_with(attr::DEADLINE, REQUIRED, &[1; 8]);
    assert_eq!(exec(wrong), errno(libc::EINVAL), "what is wrong already stays so");
}

/// SPEC: R-PRIO-1, R-EXEC-1
#[test]
fn the_caller_of_exec_has_its_priority_back() {
    const WHO_PROCESS: i32 = 1;
    let [own, idle] = [2_u32 << 13 | 7, 3 << 13];
    // SAFETY: takes numbers; 0 is this thread.
    unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, own) };
    let f = Fixture::new();
    let payload = attr::Priority { ioprio: idle, resv: 0 };
    let nop = Iocb::nop(0).attr_with(attr::PRIORITY, REQUIRED, payload.as_bytes());
    let mut event = [0_u8; 64];
    // SAFETY: a NOP has no addresses.
    let bytes = unsafe { f.engine.exec(nop.words().as_mut_bytes(), &mut event) }.unwrap();
    assert_eq!(Answer::parse(&event[..bytes])[0].status(attr::PRIORITY), 0);
    // SAFETY: as above.
    let after = unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, 0) };
    assert_eq!(after, i64::from(own));
}

/// SPEC: R-GROUP-1, R-AFTER-1, R-DEADLINE-1, R-SIGNAL-1
#[test]
fn a_request_can_ask_for_all_that_concerns_others() {
    let f = Fixture::new();
    // To the process, which ignores it.
    let signal = attr::Signal { signo: libc::SIGURG as u32, tid: 0, value: 0 };
    let all = Iocb::nop(2).in_group(7).after(attr::AFTER_STREAM, 1).deadline(u64::MAX / 2);
    let all = all.attr_with(attr::SIGNAL, attr::AttrFlags::empty(), signal.as_bytes());
    f.submit([failing().user_data(1), all, Iocb::group_op(7).user_data(3)]);
    let mut all = ends(&f, 3);
    all.sort_unstable();
    assert_eq!(all, [(1, errno(libc::EBADF)), (2, errno(libc::ECANCELED)), (3, 1)]);
}

/// SPEC: R-RUN-4, R-TIMING-1
#[test]
fn what_was_moved_before_a_worker_came_is_not_moved_again() {
    let f = Fixture::new();
    let (reader, mut writer) = pipe().unwrap();
    let mut buf = [0_u8; 6];
    writer.write_all(b"abc").unwrap();
    let full = read(&reader, &mut buf).flags(IocbFlags::FULL);
    f.submit([full.attr(attr::CACHE).attr(attr::TIMING)]);
    writer.write_all(b"def").unwrap();
    let a = f.next();
    assert_eq!((a.res, &buf), (6, b"abcdef"));
    let time: attr::TimingReturn = a.payload(attr::TIMING).unwrap();
    assert_eq!(time.started, time.submitted, "it began in the submission");
}

/// SPEC: R-CANCEL-2, R-RUN-4, R-RUN-5
#[test]
fn what_was_moved_before_a_worker_came_is_the_result_of_a_cancel() {
    let f = Fixture::with(|s| s.concurrency = 1);
    let slow = Slow::new();
    let mut data = vec![7; 1 << 20];
    f.submit([slow.read().flags(IocbFlags::ASYNC)]);
    for (full, result) in [(false, 65536), (true, errno(libc::ECANCELED))] {
        let (_reader, writer) = pipe().unwrap();
        let flags = if full { IocbFlags::FULL } else { IocbFlags::empty() };
        f.submit([write(&writer, &mut data).user_data(1).flags(flags)]);
        let flags = CancelFlags::USER_DATA.bits();
        let mut one = Cancel { flags, user_data: 1, ..Cancel::default() };
        assert_eq!((f.engine.cancel(&mut one), one.interrupted), (Ok(1), 1));
        assert_eq!(f.next().res, result);
    }
}

/// SPEC: R-CHECKSUM-1
#[test]
fn nothing_that_was_read_has_a_checksum_too() {
    let f = Fixture::new();
    let file = file_of(b"abcd");
    let a = only(&f, pread(&file, &mut [0; 4], 4).attr(attr::CHECKSUM).attr(attr::CACHE));
    let sum: attr::ChecksumReturn = a.payload(attr::CHECKSUM).unwrap();
    assert_eq!((a.res, sum.value, sum.bytes), (0, 0, 0));
    assert_eq!(a.payload(attr::CACHE), Some(attr::CacheReturn { hit: 0, miss: 0 }));
}

fn place(answer: &Answer) -> u32 {
    answer.payload::<attr::PathReturn>(attr::PATH).unwrap().place
}

/// SPEC: R-PATH-1
#[test]
fn only_a_write_that_drops_what_it_wrote_has_to_be_run_by_a_worker() {
    let f = Fixture::new();
    let file = file_of(&[7; 8]);
    let (_reader, writer) = pipe().unwrap();
    let mut buf = [7; 8];
    let hint = attr::Cache { hint: attr::CACHE_DROP, resv: 0 };
    let drop = |iocb: Iocb| iocb.attr_with(attr::CACHE, REQUIRED, hint.as_bytes());
    for (iocb, rung) in [
        (write(&writer, &mut buf), attr::PATH_INLINE),
        (drop(pread(&file, &mut buf, 0)), attr::PATH_INLINE),
        (drop(write(&file, &mut buf)), attr::PATH_WORKER),
    ] {
        let a = only(&f, iocb.attr(attr::PATH));
        assert_eq!((a.res, place(&a)), (8, rung));
    }
}

/// SPEC: R-OP-3, R-RUN-12
#[test]
fn where_the_calls_with_flags_are_refused_the_plain_ones_are_run() {
    if !alone("requests::where_the_calls_with_flags_are_refused_the_plain_ones_are_run") {
        return;
    }
    // As an old kernel, and as a filter does it.
    filter(libc::SYS_preadv2, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
    filter(libc::SYS_pwritev2, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32);
    let f = Fixture::new();
    let (file, mut buf) = (file_of(b"hello world"), [0; 5]);
    assert_eq!((only(&f, pread(&file, &mut buf, 6)).res, &buf), (5, b"world"));
    let (mut reader, writer) = pipe().unwrap();
    assert_eq!(only(&f, write(&writer, &mut buf)).res, 5);
    let (near, far) = UnixStream::pair().unwrap();
    assert_eq!(only(&f, write(&near, &mut buf)).res, 5);
    assert_eq!(only(&f, read(&far, &mut buf)).res, 5);
    let told = only(&f, pread(&file, &mut buf, 0).attr(attr::CACHE));
    assert_eq!((told.res, told.status(attr::CACHE)), (5, -libc::EOPNOTSUPP));
    reader.read_exact(&mut buf).unwrap();
    assert_eq!(&buf, b"world");
}

/// As on kernels where these files have no call that does not wait: a record that
/// does not fit fails at once, and one that does is waited for.
///
/// SPEC: R-OP-3, R-WAIT-1
#[test]
fn where_a_file_has_no_such_call_short_reads_fail_at_once() {
    if !alone("requests::where_a_file_has_no_such_call_short_reads_fail_at_once") {
        return;
    }
    filter(libc::SYS_preadv2, libc::SECCOMP_RET_ERRNO | libc::EOPNOTSUPP as u32);
    let f = Fixture::with(|s| s.concurrency = 1);
    let own = |fd: i32| {
        assert!(fd >= 0);
        // SAFETY: it is new, and no one else's.
        unsafe { File::from_raw_fd(fd) }
    };
    // SAFETY: takes numbers.
    let eventfd = own(unsafe { libc::eventfd(0, 0) });
    // SAFETY: takes numbers.
    let timerfd = own(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, 0) });
    // SAFETY: a set may be all zeros.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set can be read.
    let signalfd = own(unsafe { libc::signalfd(-1, &raw mut set, 0) });
    let mut short = [0_u8; 7];
    let mut iovec = libc::iovec { iov_base: short.as_mut_ptr().cast(), iov_len: 7 };
    for file in [&eventfd, &timerfd, &signalfd] {
        assert_eq!(only(&f, read(file, &mut short)).res, -i64::from(libc::EINVAL));
        let args = [file.as_raw_fd() as u64, address(&mut iovec), 1];
        let res = only(&f, syscall(libc::SYS_readv, &args)).res;
        assert_eq!(res, -i64::from(libc::EINVAL));
    }
    let mut whole = [0_u8; 8];
    f.submit([read(&eventfd, &mut whole).user_data(1)]);
    f.submit([Iocb::nop(2).flags(IocbFlags::ASYNC)]);
    assert_eq!(f.next().user_data, 2, "it keeps no worker");
    (&eventfd).write_all(&5_u64.to_ne_bytes()).unwrap();
    assert_eq!((f.next().res, whole), (8, 5_u64.to_ne_bytes()));
}

/// SPEC: R-RUN-8
#[test]
fn who_asks_not_to_wait_gets_eagain_at_once() {
    let f = Fixture::new();
    let (reader, _writer) = pipe().unwrap();
    let (socket, _peer) = UnixStream::pair().unwrap();
    let mut buf = [0; 8];
    let mut iovec = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: 8 };
    let [pipe, socket] = [reader.as_raw_fd(), socket.as_raw_fd()].map(|fd| fd as u64);
    // SAFETY: a msghdr may be all zeros.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut iovec, 1);
    let dontwait = libc::MSG_DONTWAIT as u64;
    let preadv2 = [pipe, address(&mut iovec), 1, u64::MAX, 0, libc::RWF_NOWAIT as u64];
    for iocb in [
        syscall(libc::SYS_preadv2, &preadv2),
        syscall(libc::SYS_recvfrom, &[socket, address(&mut buf), 8, dontwait, 0, 0]),
        syscall(libc::SYS_recvmsg, &[socket, address(&mut message), dontwait]),
    ] {
        f.submit([iocb.clone().attr(attr::PATH)]);
        let [a] = f.reap().try_into().expect("it is run inline");
        assert_eq!((a.res, place(&a)), (-i64::from(libc::EAGAIN), attr::PATH_INLINE), "{iocb:?}");
    }
}

/// SPEC: R-RUN-5
#[test]
fn all_of_nothing_is_nothing() {
    let f = Fixture::new();
    let file = file_of(&[7; 8]);
    let mut iovec = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
    let args = [file.as_raw_fd() as u64, address(&mut iovec), 1, 0, 0];
    let full = syscall(libc::SYS_preadv, &args).flags(IocbFlags::FULL);
    assert_eq!(only(&f, full.clone()).res, 0);
    assert_eq!(only(&f, full.flags(IocbFlags::ASYNC)).res, 0);
}

#[test]
fn what_is_refused_takes_no_worker() {
    let f = Fixture::new();
    f.submit([syscall(libc::SYS_ptrace, &[0; 4]).flags(IocbFlags::ASYNC)]);
    assert_eq!(f.reap().len(), 1, "it has ended at once");
}

#[test]
fn a_request_with_a_deadline_is_run_where_others_are() {
    let f = Fixture::new();
    for (flags, rung) in
        [(IocbFlags::empty(), attr::PATH_INLINE), (IocbFlags::ASYNC, attr::PATH_WORKER)]
    {
        let a = only(&f, Iocb::nop(0).deadline(u64::MAX / 2).flags(flags).attr(attr::PATH));
        assert_eq!((a.res, place(&a)), (0, rung));
    }
}

/// Runs `f` on each processor that this thread may run on.
fn on_each_processor(f: impl Fn(u32)) {
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: a cpu_set_t may be all zeros.
    let mut all: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: fills in the set.
    assert_eq!(unsafe { libc::sched_getaffinity(0, size, &raw mut all) }, 0);
    for cpu in 0..libc::CPU_SETSIZE as usize {
        // SAFETY: the set was filled in, and has this one.
        if unsafe { libc::CPU_ISSET(cpu, &all) } {
            // SAFETY: as above.
            let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
            // SAFETY: changes the set.
            unsafe { libc::CPU_SET(cpu, &mut one) };
            // SAFETY: the set can be read.
            assert_eq!(unsafe { libc::sched_setaffinity(0, size, &raw const one) }, 0);
            f(cpu as u32);
        }
    }
}

/// SPEC: R-PATH-1
#[test]
fn a_path_names_the_processor() {
    let f = Fixture::new();
    on_each_processor(|cpu| {
        let path = only(&f, Iocb::nop(0).attr(attr::PATH)).payload::<attr::PathReturn>(attr::PATH);
        assert_eq!(path.unwrap().cpu, cpu);
    });
}

/// SPEC: R-TIMING-1, R-TIMING-3
#[test]
fn times_are_those_of_each_request_of_a_batch() {
    let f = Fixture::new();
    let first = only(&f, Iocb::nop(0).attr(attr::TIMING));
    let mut before = first.payload::<attr::TimingReturn>(attr::TIMING).unwrap().completed;
    let [told, untold] = [attr::TIMING, attr::TAG].map(|id| {
        let payload: &[u8] = if id == attr::TAG { &[0; 8] } else { &[] };
        move || Iocb::nop(0).attr_with(id, RETURN, payload)
    });
    f.submit([told(), untold(), told(), Iocb::nop(0), told(), told()]);
    for answer in f.next_n(6) {
        let Some(&(attr::TIMING, ..)) = answer.returns.first() else { continue };
        let time: attr::TimingReturn = answer.payload(attr::TIMING).unwrap();
        assert!(before <= time.submitted && time.submitted <= time.started, "{time:?}");
        assert!(time.started <= time.completed);
        before = time.completed;
    }
}

/// SPEC: R-PATH-2
#[test]
fn each_request_takes_time_of_the_submission() {
    let f = Fixture::new();
    for flags in [IocbFlags::empty(), IocbFlags::ASYNC] {
        f.submit((0..100).map(|i| Iocb::nop(i).flags(flags).attr(attr::PATH)));
        let blocked = |a: Answer| a.payload::<attr::PathReturn>(attr::PATH).unwrap().blocked_ns;
        let sum: u64 = f.next_n(100).into_iter().map(blocked).sum();
        assert!((101..1_000_000_000_000).contains(&sum), "{sum} ns");
    }
}

/// SPEC: R-RUN-5, R-EVENT-3
#[test]
fn more_than_4_gib_are_moved_with_full() {
    const PARTS: usize = 1024;
    const PART: usize = (4 << 20) + 4096;
    // What Linux moves in one call, at most.
    const ONE_CALL: i64 = 0x7fff_f000;
    // Of holes, which take no memory.
    // SAFETY: a name, and a number.
    let fd = unsafe { libc::memfd_create(c"large".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0);
    // SAFETY: it is new, and no one else's.
    let file = unsafe { File::from_raw_fd(fd) };
    let bytes = PARTS * PART;
    file.set_len(bytes as u64 + 1).unwrap();
    file.write_all_at(b"end", bytes as u64 - 3).unwrap();
    let mut buffer = vec![1_u8; PART];
    let mut parts = [[address(buffer.as_mut_slice()), PART as u64]; PARTS];
    let args = [file.as_raw_fd() as u64, address(&mut parts), PARTS as u64, 0, 0];
    let (f, preadv) = (Fixture::new(), syscall(libc::SYS_preadv, &args));
    assert_eq!(only(&f, preadv.clone()).res, ONE_CALL);
    assert_eq!(only(&f, preadv.clone().flags(IocbFlags::FULL)).res, bytes as i64);
    assert_eq!(&buffer[PART - 3..], b"end");
    let elsewhere = preadv.flags(IocbFlags::FULL | IocbFlags::ASYNC);
    assert_eq!(only(&f, elsewhere).res, bytes as i64);
}
