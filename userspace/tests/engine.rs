//! The engine, one rule a test. What every implementation has to keep is in the
//! conformance suite; here are the engine's own paths.

#[path = "engine/context.rs"]
mod context;

use aio2::backend::Backend;

use aio2_abi::attr;
use context::{Fixture, Iocb, address, syscall};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

fn pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    std::io::pipe().unwrap()
}

#[test]
fn a_batch_of_nops_completes_inline_and_in_order() {
    let f = Fixture::new();
    f.submit((0..100).map(Iocb::nop));
    let answers = f.reap();
    assert_eq!(answers.iter().map(|a| a.user_data).collect::<Vec<_>>(), Vec::from_iter(0..100));
    assert!(answers.iter().all(|a| a.res == 0));
}

#[test]
fn a_read_from_the_page_cache_completes_inline() {
    let f = Fixture::new();
    let file = context::file_of(b"hello world");
    let mut buf = [0_u8; 64];
    let read = syscall(libc::SYS_pread64, &[file.as_raw_fd() as u64, address(&mut buf), 64, 6]);
    f.submit([read.user_data(7).attr(attr::PATH).attr(attr::CACHE).attr(attr::CHECKSUM)]);
    let [a] = f.reap().try_into().unwrap();
    assert_eq!((a.user_data, a.res), (7, 5));
    assert_eq!(&buf[..5], b"world");
    let path: attr::PathReturn = a.payload(attr::PATH).unwrap();
    let sum: attr::ChecksumReturn = a.payload(attr::CHECKSUM).unwrap();
    assert_eq!((sum.value, sum.bytes), (crc32c::crc32c(b"world"), 5));
    if path.place == attr::PATH_INLINE {
        let cache: attr::CacheReturn = a.payload(attr::CACHE).unwrap();
        assert_eq!((cache.hit, cache.miss), (5, 0));
    }
}

#[test]
fn a_read_that_would_wait_goes_to_a_worker() {
    let f = Fixture::new();
    let (reader, mut writer) = pipe();
    let mut buf = [0_u8; 8];
    let read = syscall(libc::SYS_read, &[reader.as_raw_fd() as u64, address(&mut buf), 8]);
    f.submit([read.attr(attr::PATH).attr(attr::TIMING)]);
    assert!(f.reap().is_empty());
    writer.write_all(b"abc").unwrap();
    let a = f.next();
    assert_eq!((a.res, &buf[..3]), (3, b"abc".as_slice()));
    let path: attr::PathReturn = a.payload(attr::PATH).unwrap();
    assert_eq!(path.place, attr::PATH_WORKER);
    let t: attr::TimingReturn = a.payload(attr::TIMING).unwrap();
    assert!(t.submitted > 0 && t.submitted <= t.started && t.started <= t.completed);
}

#[test]
fn dropping_waits_for_what_runs() {
    let f = Fixture::new();
    let nap = libc::timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    let at = (&raw const nap).expose_provenance() as u64;
    f.submit([syscall(libc::SYS_nanosleep, &[at, 0])]);
    let consumer = f.engine.consumer();
    let start = Instant::now();
    drop(f);
    assert!(start.elapsed() >= Duration::from_millis(40));
    assert!(consumer.is_dead());
    let mut words = [0; 16];
    assert_eq!(consumer.reap(&mut words, 9).unwrap().len(), 1);
}
