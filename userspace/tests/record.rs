//! A context that records: each request once, with what was measured, and no event
//! differs from what its request has asked for.

use aio2::abi::iocb::IocbFlags;
use aio2::abi::{attr, event};
use aio2::libc;
use aio2::{Attribute, Context, Implementation, Iocbs, Prefer, SetupError, Wait};
use aio2_record::{NO_OFFSET, Record, Recorder, Request, has, read};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::path::Path;

fn recorded(path: &Path) -> Record {
    Recorder::to(path).unwrap().flush();
    read(path).unwrap()
}

fn of(record: &Record, fd: i32) -> Vec<Request> {
    record.requests.iter().filter(|request| request.fd == fd).copied().collect()
}

#[test]
fn each_request_is_recorded_and_no_event_grows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("record");
    std::fs::write(dir.path().join("file"), vec![7; 8192]).unwrap();
    let file = File::open(dir.path().join("file")).unwrap();
    let fd = file.as_raw_fd();
    let context = Context::builder().record(&path).build().unwrap();
    assert_eq!(context.implementation(), Implementation::Engine);
    let mut memory = vec![0_u8; 4096];
    let to = memory.as_mut_ptr().expose_provenance() as u64;
    let iovecs = [(0, 100), (100, 200)].map(|(at, len)| libc::iovec {
        iov_base: memory.as_mut_ptr().wrapping_add(at).cast(),
        iov_len: len,
    });
    let vector = iovecs.as_ptr().expose_provenance() as u64;
    let mut stream = Iocbs::new();
    let number = fd as u64;
    let calls: [(i64, &[u64]); 5] = [
        (libc::SYS_pread64, &[number, to, 1000, 4096]),
        (libc::SYS_preadv, &[number, vector, 2, 8, 0]),
        (libc::SYS_read, &[number, to, 64]),
        (libc::SYS_pread64, &[u64::MAX, to, 64, 0]),
        // By a worker.
        (libc::SYS_fsync, &[number]),
    ];
    for (n, (call, args)) in calls.into_iter().enumerate() {
        stream.push(call as u32, args, IocbFlags::empty(), n as u64).unwrap();
    }
    let mut asks =
        stream.push(libc::SYS_pread64 as u32, calls[0].1, IocbFlags::empty(), 5).unwrap();
    asks.attr(attr::TIMING, attr::AttrFlags::RETURN, &[]).unwrap();
    // SAFETY: file, memory and vector outlive the wait.
    assert_eq!(unsafe { context.submit_raw(stream.bytes_mut()) }.unwrap(), stream.len());
    context.wait(&Wait::events(6)).unwrap();
    let mut reaper = context.reaper();
    let mut results = [i64::MIN; 6];
    for event in reaper.batch().unwrap() {
        let n = event.user_data() as usize;
        results[n] = event.parsed().header.res;
        let is_asked = matches!(event.timing(), Attribute::Handled(_));
        assert_eq!((is_asked, event.bytes().len() > event::HEADER_BYTES), (n == 5, n == 5), "{n}");
    }
    assert_eq!(results, [1000, 300, 64, -i64::from(libc::EBADF), 0, 1000]);

    let record = recorded(&path);
    assert_eq!((record.requests.len(), record.lost), (6, 0));
    // SAFETY: takes nothing.
    let tid = unsafe { libc::gettid() } as u32;
    for request in &record.requests {
        assert_eq!((request.pid, request.tid), (std::process::id(), tid));
        assert_eq!(request.has & (has::TIMING | has::PATH), has::TIMING | has::PATH);
        assert!(request.submitted_ns > 0 && request.submitted_ns <= request.started_ns);
        assert!(request.started_ns <= request.completed_ns);
    }
    let mut told: Vec<_> = of(&record, fd)
        .iter()
        .map(|r| (i64::from(r.nr), r.offset, r.length, r.result, r.hit + r.miss))
        .collect();
    told.sort_unstable();
    let mut wanted = vec![
        (libc::SYS_pread64, 4096, 1000, 1000, 1000),
        (libc::SYS_pread64, 4096, 1000, 1000, 1000),
        (libc::SYS_preadv, 8, 300, 300, 300),
        (libc::SYS_read, NO_OFFSET, 64, 64, 64),
        (libc::SYS_fsync, NO_OFFSET, 0, 0, 0),
    ];
    wanted.sort_unstable();
    assert_eq!(told, wanted);
    let failed = of(&record, -1);
    assert_eq!((failed.len(), failed[0].result), (1, -i64::from(libc::EBADF)));
    let of_fsync = record.requests.iter().find(|r| i64::from(r.nr) == libc::SYS_fsync);
    assert_eq!(of_fsync.map(|r| r.place), Some(attr::PATH_WORKER));
    let first = of(&record, fd)[0];
    assert!(record.names[&(first.pid, first.name)].ends_with("/file"));
}

/// A name is asked for before anything that was submitted later can change it.
#[test]
fn a_read_before_a_close_of_its_file_has_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("record");
    std::fs::write(dir.path().join("file"), [7; 64]).unwrap();
    let file = File::open(dir.path().join("file")).unwrap();
    // Nothing waits to be written, so that it is closed within the submission.
    file.sync_all().unwrap();
    let fd = file.into_raw_fd();
    let context = Context::builder().record(&path).build().unwrap();
    let mut memory = [0_u8; 64];
    let to = memory.as_mut_ptr().expose_provenance() as u64;
    let mut stream = Iocbs::new();
    let read = [fd as u64, to, 64, 0];
    stream.push(libc::SYS_pread64 as u32, &read, IocbFlags::empty(), 1).unwrap();
    stream.push(libc::SYS_close as u32, &read[..1], IocbFlags::empty(), 2).unwrap();
    // SAFETY: the memory outlives the wait, and nobody else has the descriptor.
    assert_eq!(unsafe { context.submit_raw(stream.bytes_mut()) }.unwrap(), stream.len());
    context.wait(&Wait::events(2)).unwrap();
    let record = recorded(&path);
    let of_read = record.requests.iter().find(|r| i64::from(r.nr) == libc::SYS_pread64).unwrap();
    let name = record.names.get(&(of_read.pid, of_read.name)).expect("it has a name");
    assert!(name.ends_with("/file"), "{name}");
}

#[test]
fn contexts_share_a_record_and_those_that_are_not_told_have_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("record");
    let told = [(); 2].map(|()| Context::builder().record(&path).build().unwrap());
    let untold = Context::builder().record_nothing().build().unwrap();
    for context in told.iter().chain([&untold]) {
        let mut stream = Iocbs::new();
        stream.push(aio2::abi::op::NOP, &[], IocbFlags::empty(), 1).unwrap();
        // SAFETY: it has no addresses.
        unsafe { context.submit_raw(stream.bytes_mut()) }.unwrap();
        context.wait(&Wait::events(1)).unwrap();
    }
    // Who drops them waits until it is written.
    drop(told);
    assert_eq!(read(&path).unwrap().requests.len(), 2);
}

#[test]
fn a_record_that_cannot_be_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("record");
    let refused = Context::builder().prefer(Prefer::Kernel).record(&path).build().unwrap_err();
    assert_eq!(refused, SetupError::Record(aio2::Errno(libc::EOPNOTSUPP)));
    assert!(refused.to_string().contains("Prefer::Engine"), "{refused}");
    assert!(!path.exists());
    let refused = Context::builder().record(dir.path().join("no/where")).build().unwrap_err();
    assert_eq!(io::Error::from(refused).kind(), io::ErrorKind::NotFound);
}
