//! Attributes and their returns. SPEC: section 8.

use crate::child;
use crate::context::{Context, Event};
use crate::env::{Env, Factory, Outcome, setup, skip};
use crate::file::{BUSY_BYTES, Busy, Pipe, file_with, proc_self, socket_pair};
use crate::request::{Batch, Request};
use aio2_abi::attr::{self, AttrFlags};
use aio2_abi::iocb;
use libc::{EINVAL, ENODATA, EOPNOTSUPP, EPERM};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use zerocopy::IntoBytes;

const BOTH: AttrFlags = AttrFlags::REQUIRED.union(AttrFlags::RETURN);

fn ids(event: &Event) -> Vec<u16> {
    event.returns.iter().map(|r| r.0).collect()
}

fn monotonic() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` can be written.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

pub(crate) fn returns_are_those_asked_for_in_the_order_of_the_request(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let tag = 5_u64.to_ne_bytes();
    let event = context.run(
        Request::nop(1)
            .returns(attr::PATH)
            .attr(attr::TAG, AttrFlags::empty(), &tag)
            .returns(63)
            .returns(attr::TIMING)
            .attr(20, AttrFlags::empty(), &tag)
            .returns(12),
    );
    assert_eq!(ids(&event), [attr::PATH, 63, attr::TIMING, 12]);
    assert_eq!(event.len, 24 + 24 + 8 + 32 + 8);
    assert_eq!(ids(&context.run(Request::nop(1))), [0; 0]);
    // Also if the request fails.
    let event = context.run(Request::read(-1, &mut [0]).returns(attr::TIMING).returns(attr::PATH));
    assert!(event.res < 0);
    assert_eq!(ids(&event), [attr::TIMING, attr::PATH]);
    Ok(())
}

pub(crate) fn unknown_attribute_is_ignored_and_says_so(env: &Env<'_>) -> Outcome {
    let context = env.context();
    for id in 11..=attr::ID_MAX {
        let event = context.run(Request::nop(1).attr(id, AttrFlags::RETURN, &[0xff; 16]));
        assert_eq!((event.res, event.status(id)), (0, -EOPNOTSUPP), "attribute {id}");
        let event = context.run(Request::nop(1).attr(id, AttrFlags::empty(), &[0xff; 16]));
        assert_eq!((event.res, event.returns.len()), (0, 0), "attribute {id}");
    }
    Ok(())
}

pub(crate) fn unsupported_attribute_is_ignored_and_says_so(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let attrs = env.probe().attrs;
    let ordering = [attr::GROUP, attr::AFTER];
    for id in (1..=10).filter(|id| attrs >> id & 1 == 0 && !ordering.contains(id)) {
        let payload = vec![0; attr::kind(id).map_or(0, |kind| kind.request.into())];
        let event = context.run(Request::nop(1).attr(id, AttrFlags::RETURN, &payload));
        assert_eq!((event.res, event.status(id)), (0, -EOPNOTSUPP), "attribute {id}");
    }
    // Known, and this operation does not do it.
    for id in [attr::CACHE, attr::CHECKSUM] {
        let event = context.run(Request::nop(1).returns(id));
        assert_eq!((event.res, event.status(id)), (0, -EOPNOTSUPP), "attribute {id}");
    }
    Ok(())
}

pub(crate) fn required_attribute_fails_the_request_before_it_starts(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let pipe = Pipe::new();
    let attrs = env.probe().attrs;
    for id in (1..=attr::ID_MAX).filter(|id| attrs >> id & 1 == 0) {
        let payload = vec![0; attr::kind(id).map_or(0, |kind| kind.request.into())];
        for flags in [AttrFlags::REQUIRED, BOTH] {
            let write = Request::write(pipe.write_fd(), b"x");
            let event = context.run(write.attr(id, flags, &payload));
            assert_eq!(event.res, -i64::from(EOPNOTSUPP), "attribute {id}");
            if flags == BOTH {
                assert_eq!(event.status(id), -EOPNOTSUPP);
            }
        }
    }
    let getpid = Request::call(libc::SYS_getpid, &[]);
    let event = context.run(getpid.attr(attr::CHECKSUM, BOTH, &[]));
    assert_eq!(event.res, -i64::from(EOPNOTSUPP), "getpid has no checksum");
    assert_eq!(pipe.readable_bytes(), 0, "nothing was run");
    Ok(())
}

pub(crate) fn group_and_after_are_as_if_required(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let attrs = env.probe().attrs;
    let pipe = Pipe::new();
    for (id, payload) in [(attr::GROUP, &[0; 8][..]), (attr::AFTER, &[0; 16])] {
        if attrs >> id & 1 == 0 {
            let write = Request::write(pipe.write_fd(), b"x");
            let event = context.run(write.attr(id, AttrFlags::RETURN, payload));
            let expected = (-i64::from(EOPNOTSUPP), -EOPNOTSUPP);
            assert_eq!((event.res, event.status(id)), expected, "attribute {id}");
        }
        // A bad payload is as bad as with REQUIRED.
        let event = context.run(Request::nop(1).attr(id, AttrFlags::RETURN, &[0xff; 24]));
        assert!(event.res < 0, "attribute {id}: {event:?}");
    }
    assert_eq!(pipe.readable_bytes(), 0, "it would have run at the wrong time");
    Ok(())
}

pub(crate) fn bad_payload_is_einval(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let (_, file) = file_with(env, "payload", &[1; 64]);
    let mut buffer = [0; 64];
    let good = |kind: u32| [kind, 0].as_bytes().to_vec();
    let tail = |mut bytes: Vec<u8>| {
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 1]);
        bytes
    };
    let resv = [0_u32, 1].as_bytes().to_vec();
    let bad: Vec<(u16, &str, Vec<u8>)> = vec![
        (attr::TAG, "missing", vec![]),
        (attr::TAG, "with a tail", tail(vec![0; 8])),
        (attr::TIMING, "with a tail", vec![1; 8]),
        (attr::PATH, "with a tail", vec![0, 0, 0, 0, 0, 0, 0, 1]),
        (attr::CACHE, "an unknown hint", good(4)),
        (attr::CACHE, "an unknown hint", good(u32::MAX)),
        (attr::CACHE, "resv", resv.clone()),
        (attr::CACHE, "with a tail", tail(good(0))),
        (attr::CHECKSUM, "an unknown kind", good(1)),
        (attr::CHECKSUM, "resv", resv.clone()),
        (attr::CHECKSUM, "with a tail", tail(good(0))),
        (attr::PRIORITY, "missing", vec![]),
        (attr::PRIORITY, "resv", resv),
        (attr::PRIORITY, "no such class", good(7 << 13)),
        (attr::PRIORITY, "with a tail", tail(good(0))),
    ];
    for (id, what, payload) in bad {
        let read = Request::pread(file.as_raw_fd(), &mut buffer, 0);
        let event = context.run(read.clone().attr(id, AttrFlags::RETURN, &payload));
        assert_eq!((event.res, event.status(id)), (64, -EINVAL), "attribute {id}, {what}");
        let event = context.run(read.attr(id, BOTH, &payload));
        let expected = (-i64::from(EINVAL), -EINVAL);
        assert_eq!((event.res, event.status(id)), expected, "attribute {id}, {what}");
    }
    // Longer with zeros is an application of a later version, with defaults.
    for (id, bytes) in
        [(attr::TAG, 24), (attr::TIMING, 16), (attr::CACHE, 64), (attr::CHECKSUM, 16)]
    {
        let read = Request::pread(file.as_raw_fd(), &mut buffer, 0);
        let event = context.run(read.attr(id, BOTH, &vec![0; bytes]));
        assert_eq!((event.res, event.status(id)), (64, 0), "attribute {id} of {bytes} zeros");
    }
    Ok(())
}

pub(crate) fn return_with_a_status_has_no_payload(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let mut seen = HashSet::new();
    let mut byte = [0];
    for request in [
        Request::nop(1),
        Request::read(-1, &mut byte),
        Request::call(libc::SYS_ptrace, &[0; 4]),
        Request::call(libc::SYS_getpid, &[]),
    ] {
        let mut every = request;
        // Without those that would be REQUIRED.
        for id in (1..=attr::ID_MAX).filter(|id| ![attr::GROUP, attr::AFTER].contains(id)) {
            every = every.attr(id, AttrFlags::RETURN, &[]);
        }
        let event = context.run(every);
        assert_eq!(event.returns.len(), 61);
        for (id, status, payload) in &event.returns {
            assert!(*status <= 0 && *status > -4096, "attribute {id}: status {status}");
            assert!(*status == 0 || payload.is_empty(), "attribute {id}: {payload:?}");
            seen.insert(*status);
        }
    }
    assert!(
        seen.contains(&0) && seen.contains(&-EOPNOTSUPP) && seen.contains(&-EINVAL),
        "{seen:?}"
    );
    Ok(())
}

pub(crate) fn request_that_never_ran_has_nothing_to_say(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let mut byte = [0];
    for request in [
        Request::call(libc::SYS_ptrace, &[0; 4]),
        Request::call(libc::SYS_read, &[0]),
        Request::nop(1).flags(iocb::IocbFlags::MULTISHOT),
        Request::nop(1).attr(attr::PRIORITY, BOTH, [u32::MAX, 0].as_bytes()),
    ] {
        for (id, status) in [(attr::TIMING, -ENODATA), (attr::PATH, -ENODATA), (attr::TAG, 0)] {
            let payload = if id == attr::TAG { &[1; 8][..] } else { &[] };
            let event = context.run(request.clone().attr(id, AttrFlags::RETURN, payload));
            assert!(event.res < 0);
            assert_eq!(event.status(id), status, "{event:?}");
        }
    }
    // A read that fails: nothing was moved.
    let (_, file) = file_with(env, "write_only", &[1; 8]);
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let unreadable = std::fs::File::options().write(true).open(path).expect("it can be written");
    for id in [attr::CHECKSUM, attr::CACHE] {
        let event = context.run(Request::pread(unreadable.as_raw_fd(), &mut byte, 0).returns(id));
        assert_eq!(event.res, -i64::from(libc::EBADF));
        assert_eq!(event.status(id), -ENODATA, "attribute {id}");
    }
    Ok(())
}

pub(crate) fn tag_is_accepted(env: &Env<'_>) -> Outcome {
    let context = env.context();
    for tag in [0, 1, u64::MAX] {
        let event = context.run(Request::nop(1).attr(attr::TAG, BOTH, &tag.to_ne_bytes()));
        assert_eq!((event.res, event.status(attr::TAG)), (0, 0));
        assert_eq!(event.len, 24 + 8, "its return has no payload");
    }
    Ok(())
}

pub(crate) fn times_are_in_order_and_within_the_call(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let (_, file) = file_with(env, "timing", &[1; 64]);
    let mut buffer = [0; 64];
    let read = Request::pread(file.as_raw_fd(), &mut buffer, 0);
    for request in [Request::nop(1), read.clone(), read.on_worker(), Request::nop(2).on_worker()] {
        let before = monotonic();
        context.submit_all(&mut Batch::of([request.returns(attr::TIMING)]));
        let event = context.reap(1).remove(0);
        let after = monotonic();
        let times: attr::TimingReturn = event.payload(attr::TIMING);
        let order = [before, times.submitted, times.started, times.completed, after];
        assert!(order.is_sorted(), "{order:?}");
    }
    // A request that waits: it starts after it was submitted, when it can.
    let one = env.one_worker();
    let mut busy = Busy::new();
    one.submit_all(&mut Batch::of([busy.request()]));
    busy.wait_started();
    one.submit_all(&mut Batch::of([Request::nop(1).on_worker().returns(attr::TIMING)]));
    let submitted = monotonic();
    busy.release();
    let mut events = one.reap(2);
    events.sort_by_key(|e| e.user_data);
    let times: attr::TimingReturn = events[1].payload(attr::TIMING);
    assert!(times.submitted <= submitted && submitted <= times.started, "{times:?}");
    Ok(())
}

pub(crate) fn path_names_the_last_rung(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let place = |request: Request| context.run(request.returns(attr::PATH)).place();
    assert_eq!(place(Request::nop(1)), attr::PATH_INLINE);
    assert_eq!(place(Request::call(libc::SYS_getpid, &[])), attr::PATH_INLINE);
    assert_eq!(place(Request::nop(1).on_worker()), attr::PATH_WORKER);
    let (_, file) = file_with(env, "path", &[1; 64]);
    let args = [file.as_raw_fd() as u64, 0, 0];
    assert_eq!(place(Request::call(libc::SYS_lseek, &args)), attr::PATH_WORKER);
    let mut pipe = Pipe::new();
    pipe.writer.write_all(b"a").expect("the pipe has room");
    let mut byte = [0];
    // What is there is moved at once, where the pipe can be tried.
    let with_byte = place(Request::read(pipe.read_fd(), &mut byte));
    assert!([attr::PATH_INLINE, attr::PATH_WORKER].contains(&with_byte));
    // What is not is moved by someone else.
    let read = Request::read(pipe.read_fd(), &mut byte).returns(attr::PATH);
    context.submit_all(&mut Batch::of([read]));
    pipe.writer.write_all(b"b").expect("the pipe has room");
    assert_eq!(context.reap(1)[0].place(), attr::PATH_WORKER);
    Ok(())
}

pub(crate) fn blocked_time_is_that_of_the_submission(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let bytes = vec![3; 8 << 20];
    let (_, file) = file_with(env, "blocked", &bytes);
    let mut buffer = vec![0; bytes.len()];
    for request in [
        Request::nop(1),
        Request::pread(file.as_raw_fd(), &mut buffer, 0),
        Request::pread(file.as_raw_fd(), &mut buffer, 0).on_worker(),
    ] {
        let mut batch = Batch::of([request.returns(attr::PATH)]);
        let before = monotonic();
        context.submit_all(&mut batch);
        let submission = monotonic() - before;
        let path: attr::PathReturn = context.reap(1)[0].payload(attr::PATH);
        assert!(path.blocked_ns <= submission, "{path:?} in {submission} ns");
        // SAFETY: asks for a number.
        let cpus = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
        assert!(i64::from(path.cpu) < cpus, "{path:?}");
    }
    Ok(())
}

/// Bytes of the file's first `bytes` that are in the page cache.
fn cached_bytes(file: &std::fs::File, bytes: usize) -> u64 {
    let null = std::ptr::null_mut();
    let fd = file.as_raw_fd();
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let map = unsafe { libc::mmap(null, bytes, libc::PROT_READ, libc::MAP_SHARED, fd, 0) };
    assert_ne!(map, libc::MAP_FAILED);
    let mut pages = vec![0_u8; bytes.div_ceil(4096)];
    // SAFETY: the mapping has `bytes`, and the vector a byte for each page.
    let result = unsafe { libc::mincore(map, bytes, pages.as_mut_ptr()) };
    assert_eq!(result, 0);
    // SAFETY: mapped above, and nothing refers to it.
    unsafe { libc::munmap(map, bytes) };
    pages.iter().filter(|p| **p & 1 == 1).count() as u64 * 4096
}

pub(crate) fn cache_says_what_was_there_before(env: &Env<'_>) -> Outcome {
    const BYTES: usize = 256 << 10;
    let context = env.context();
    let (_, file) = file_with(env, "cache", &vec![9; BYTES]);
    let mut buffer = vec![0; BYTES];
    let mut read = || -> (i64, attr::CacheReturn) {
        let read = Request::pread(file.as_raw_fd(), &mut buffer, 0).returns(attr::CACHE);
        let event = context.run(read);
        (event.res, event.payload(attr::CACHE))
    };
    let all = BYTES as u64;
    let (res, cache) = read();
    assert_eq!((res, cache), (BYTES as i64, attr::CacheReturn { hit: all, miss: 0 }));
    // A fast device delivers all within a read that does not wait, at times.
    let mut cold = attr::CacheReturn::default();
    for _ in 0..5 {
        // Written back and dropped, if the file system does that.
        file.sync_all().expect("it is written");
        // SAFETY: takes numbers.
        unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        if cached_bytes(&file, BYTES) > 0 {
            println!("note: pages stay in the cache here; only hits were seen");
            return Ok(());
        }
        let (res, cache) = read();
        assert_eq!((res, cache.hit + cache.miss), (BYTES as i64, all));
        cold = cache;
        if cold.miss > 0 {
            break;
        }
    }
    assert!(cold.miss > 0, "nothing was in the cache: {cold:?}");
    let (_, cache) = read();
    assert_eq!(cache.hit, all, "now all is");
    // The end of the file counts with the bytes that were moved.
    let mut small = [0; 64];
    let tail = Request::pread(file.as_raw_fd(), &mut small, all - 10).returns(attr::CACHE);
    let event = context.run(tail);
    let cache: attr::CacheReturn = event.payload(attr::CACHE);
    assert_eq!((event.res, cache.hit + cache.miss), (10, 10));
    Ok(())
}

pub(crate) fn cache_where_it_cannot_be_told_is_not_supported(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let (_, file) = file_with(env, "uncached", &[1; 64]);
    let pipe = Pipe::new();
    (&pipe.writer).write_all(&[1; 8]).expect("the pipe has room");
    let (left, right) = socket_pair(libc::SOCK_STREAM);
    std::fs::File::from(right).write_all(b"12345678").expect("the socket has room");
    let mut buffer = [0; 8];
    let address = buffer.as_mut_ptr().addr() as u64;
    let recv = [left.as_raw_fd() as u64, address, 8, 0, 0, 0];
    for (name, request) in [
        ("a write", Request::write(file.as_raw_fd(), &[1; 8])),
        ("a pipe", Request::read(pipe.read_fd(), &mut buffer)),
        ("a socket", Request::call(libc::SYS_recvfrom, &recv)),
        ("a NOP", Request::nop(1)),
        ("another syscall", Request::call(libc::SYS_getpid, &[])),
    ] {
        let event = context.run(request.returns(attr::CACHE));
        assert!(event.res >= 0, "{name}: {event:?}");
        assert_eq!(event.status(attr::CACHE), -EOPNOTSUPP, "{name}");
    }
    Ok(())
}

pub(crate) fn hints_do_not_change_the_result(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let contents: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let (_, file) = file_with(env, "hints", &contents);
    let fd = file.as_raw_fd();
    for hint in [attr::CACHE_NORMAL, attr::CACHE_KEEP, attr::CACHE_DROP, attr::CACHE_NO_READAHEAD] {
        let payload = [hint, 0];
        let mut buffer = vec![0; 70_000];
        let read = Request::pread(fd, &mut buffer, 50_000);
        let event = context.run(read.attr(attr::CACHE, AttrFlags::RETURN, payload.as_bytes()));
        assert_eq!(event.res, 50_000, "hint {hint}");
        assert!(buffer[..50_000] == contents[50_000..], "hint {hint}");
        let status = event.status(attr::CACHE);
        let unsupported = hint != attr::CACHE_NORMAL && status == -EOPNOTSUPP;
        assert!(status == 0 || unsupported, "hint {hint}: {status}");
        let args = [fd as u64, contents.as_ptr().addr() as u64, 100, 100];
        let write = Request::call(libc::SYS_pwrite64, &args);
        let event = context.run(write.attr(attr::CACHE, AttrFlags::RETURN, payload.as_bytes()));
        assert_eq!(event.res, 100);
        // Handled or not; if it was, a write has neither hits nor misses.
        if event.status(attr::CACHE) == 0 {
            assert_ne!(hint, attr::CACHE_NORMAL);
            let cache: attr::CacheReturn = event.payload(attr::CACHE);
            assert_eq!(cache, attr::CacheReturn::default());
        } else {
            assert_eq!(event.status(attr::CACHE), -EOPNOTSUPP);
        }
    }
    Ok(())
}

/// CRC-32C, bit by bit.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 }
        })
    })
}

pub(crate) fn checksum_is_crc32c_of_the_bytes_moved(env: &Env<'_>) -> Outcome {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283, "the check value of the polynomial");
    let context = env.context();
    let contents: Vec<u8> = (0..10_000_u32).map(|n| ((n * 7) >> 3) as u8).collect();
    let (_, file) = file_with(env, "checksum", &contents);
    let (_, copy) = file_with(env, "copy", b"");
    let fd = file.as_raw_fd() as u64;
    let mut buffer = vec![0; 10_000];
    let address = buffer.as_mut_ptr().addr() as u64;
    let check = |name: &str, request: Request, moved: &[u8]| {
        let event = context.run(request.returns(attr::CHECKSUM));
        assert_eq!(event.res, moved.len() as i64, "{name}");
        let sum: attr::ChecksumReturn = event.payload(attr::CHECKSUM);
        assert_eq!((sum.kind, sum.bytes), (attr::CHECKSUM_CRC32C, moved.len() as u64), "{name}");
        assert_eq!(sum.value, crc32c(moved), "{name}");
    };
    let parts = [
        libc::iovec { iov_base: buffer.as_mut_ptr().wrapping_add(5000).cast(), iov_len: 1001 },
        libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: 0 },
        libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: 4000 },
    ];
    let parts = parts.as_ptr().addr() as u64;
    for worker in [false, true] {
        let on = |request: Request| if worker { request.on_worker() } else { request };
        let call = |nr, args: &[u64]| on(Request::call(nr, args));
        check("pread64", call(libc::SYS_pread64, &[fd, address, 10_000, 0]), &contents);
        check("short", call(libc::SYS_pread64, &[fd, address, 10_000, 9000]), &contents[9000..]);
        check("nothing", call(libc::SYS_pread64, &[fd, address, 10, 10_000]), &[]);
        check("preadv", call(libc::SYS_preadv, &[fd, parts, 3, 50, 0]), &contents[50..5051]);
        check("preadv2", call(libc::SYS_preadv2, &[fd, parts, 3, 60, 0, 0]), &contents[60..5061]);
        let to = copy.as_raw_fd() as u64;
        let from = contents.as_ptr().addr() as u64;
        check("pwrite64", call(libc::SYS_pwrite64, &[to, from, 3000, 5]), &contents[..3000]);
        check("write", call(libc::SYS_write, &[to, from + 1, 77]), &contents[1..78]);
    }
    let mut written = Vec::new();
    (&copy).read_to_end(&mut written).expect("the copy can be read");
    Ok(())
}

pub(crate) fn checksum_of_other_operations_is_not_supported(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let (left, right) = socket_pair(libc::SOCK_STREAM);
    std::fs::File::from(right).write_all(b"12345678").expect("the socket has room");
    let mut buffer = [0; 8];
    let recv = [left.as_raw_fd() as u64, buffer.as_mut_ptr().addr() as u64, 8, 0, 0, 0];
    for (name, request) in [
        ("NOP", Request::nop(1)),
        ("getpid", Request::call(libc::SYS_getpid, &[])),
        ("recvfrom", Request::call(libc::SYS_recvfrom, &recv)),
        ("fsync", Request::call(libc::SYS_fsync, &[left.as_raw_fd() as u64])),
    ] {
        let event = context.run(request.returns(attr::CHECKSUM));
        assert_eq!(event.status(attr::CHECKSUM), -EOPNOTSUPP, "{name}: {event:?}");
    }
    Ok(())
}

fn ioprio_of(tid: i32) -> i64 {
    const WHO_PROCESS: i32 = 1;
    // SAFETY: takes numbers.
    unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, tid) }
}

fn threads() -> Vec<i32> {
    proc_self("task").iter().map(|tid| tid.parse().expect("a number")).collect()
}

pub(crate) fn priority_holds_for_the_request_and_nothing_else(env: &Env<'_>) -> Outcome {
    const IDLE: u32 = 3 << 13;
    if env.probe().attrs >> attr::PRIORITY & 1 == 0 {
        return skip("PRIORITY is not supported here");
    }
    let context = env.one_worker();
    let idle = |tid: &i32| ioprio_of(*tid) >> 13 == i64::from(IDLE >> 13);
    let with_priority = |context: &Context, busy: &Busy, ioprio: u32| {
        let request = busy.request().attr(attr::PRIORITY, BOTH, [ioprio, 0].as_bytes());
        context.submit_all(&mut Batch::of([request]));
        busy.wait_started();
    };
    assert_eq!(threads().iter().filter(|t| idle(t)).count(), 0, "before");
    let mut busy = Busy::new();
    with_priority(&context, &busy, IDLE);
    let workers: Vec<i32> = threads().into_iter().filter(idle).collect();
    assert_eq!(workers.len(), 1, "the thread that runs it, and no other");
    busy.release();
    let event = context.reap(1).remove(0);
    assert_eq!((event.res, event.status(attr::PRIORITY)), (BUSY_BYTES as i64, 0));
    // The next request of the same worker has what it would have had.
    let mut busy = Busy::new();
    context.submit_all(&mut Batch::of([busy.request()]));
    busy.wait_started();
    assert_eq!(threads().iter().filter(|t| idle(t)).count(), 0, "afterwards");
    busy.release();
    assert_eq!(context.reap(1).len(), 1);
    Ok(())
}

pub(crate) fn priority_that_may_not_be_set_is_eperm(env: &Env<'_>) -> Outcome {
    const REALTIME: u32 = 1 << 13;
    if env.probe().attrs >> attr::PRIORITY & 1 == 0 {
        return skip("PRIORITY is not supported here");
    }
    // What the plain call gives, in a thread of its own.
    let plain = std::thread::spawn(|| {
        // SAFETY: takes numbers; 1 and 0 are the calling thread.
        let result = unsafe { libc::syscall(libc::SYS_ioprio_set, 1, 0, REALTIME) };
        if result == 0 { 0 } else { aio2::error::Errno::last().0 }
    });
    let plain = plain.join().expect("the thread ends");
    let priority = |context: &Context| {
        let request = Request::nop(1).on_worker();
        let payload = [REALTIME, 0];
        let event =
            context.run(request.attr(attr::PRIORITY, AttrFlags::RETURN, payload.as_bytes()));
        assert_eq!(event.res, 0);
        event.status(attr::PRIORITY)
    };
    assert_eq!(priority(&env.context()), -plain, "as for the plain call");
    if plain == 0 {
        // This user may; another one may not.
        let status = child::command(env.factory, "sets_a_priority_as_nobody").status();
        assert_eq!(status.expect("the child runs").code(), Some(EPERM));
    }
    Ok(())
}

/// Child: gives up its rights, and returns the status of a real-time priority.
pub(crate) fn sets_a_priority_as_nobody(factory: &dyn Factory) -> i32 {
    const NOBODY: u32 = 65534;
    // SAFETY: takes a number.
    let result = unsafe { libc::setuid(NOBODY) };
    assert_eq!(result, 0);
    let context = Context::new(factory.create(&setup()).expect("a context can be created"));
    let run = |flags| {
        let request = Request::nop(1).on_worker().returns(attr::TIMING);
        let payload = [1_u32 << 13, 0];
        let event = context.run(request.attr(attr::PRIORITY, flags, payload.as_bytes()));
        (event.res, event.status(attr::PRIORITY), event.status(attr::TIMING))
    };
    let (res, status, _) = run(AttrFlags::RETURN);
    assert_eq!(res, 0, "it is run all the same");
    let required = run(BOTH);
    assert_eq!(required, (i64::from(status), status, -libc::ENODATA), "it is not run");
    -status
}

pub(crate) fn attributes_work_the_same_on_every_rung(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let (_, file) = file_with(env, "rungs", &[7; 512]);
    let mut buffer = [0; 512];
    for worker in [false, true] {
        let mut request = Request::pread(file.as_raw_fd(), &mut buffer, 0)
            .returns(attr::TIMING)
            .returns(attr::PATH)
            .returns(attr::CHECKSUM)
            .returns(63)
            .attr(attr::TAG, AttrFlags::RETURN, &[1; 8]);
        if worker {
            request = request.on_worker();
        }
        let event = context.run(request);
        assert_eq!(event.res, 512);
        let expected = [
            (attr::TIMING, 0, 24),
            (attr::PATH, 0, 16),
            (attr::CHECKSUM, 0, 16),
            (63, -EOPNOTSUPP, 0),
            (attr::TAG, 0, 0),
        ];
        let got: Vec<(u16, i32, usize)> =
            event.returns.iter().map(|r| (r.0, r.1, r.2.len())).collect();
        assert_eq!(got, expected, "on a worker: {worker}");
    }
    Ok(())
}
