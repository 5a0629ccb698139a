//! io_uring underneath: what is given to it ends once, whatever the host says, and
//! whoever cancels it or closes the context meanwhile.
//!
//! The host of the model takes what it is given, and has one result at each look; at
//! some offsets it would wait, or refuses to take anything more.

use crate::common::model;
use crate::context::{Fixture, Iocb, address, syscall};
use crate::requests::ends;
use aio2::backend::Backend;
use aio2::engine::Engine;
use aio2_abi::setup::Setup;
use aio2_abi::wait::{Cancel, CancelFlags};
use loom::thread;
use std::os::fd::AsRawFd;
use std::sync::Arc;

const BYTES: usize = 8;
/// Where the host would have to wait, where it breaks, and where it has no room: a
/// worker reads there, and finds nothing.
const WOULD_WAIT: u64 = 1 << 40;
const BREAKS: u64 = 2 << 40;
const FULL: u64 = 3 << 40;

/// A context that gives the host whatever it can, and a file of some bytes.
struct Model {
    f: Fixture,
    file: std::fs::File,
    buffers: Vec<[u8; BYTES]>,
}

impl Model {
    fn new(requests: usize) -> Arc<Self> {
        let setup = Setup {
            version: 1,
            ring_bytes: 4096,
            max_requests: 8,
            concurrency: 1,
            ..Setup::default()
        };
        // SAFETY: it names no descriptor.
        let engine = unsafe { Engine::with_all_on_device(&setup) }.unwrap();
        let file = crate::context::file_of(&[7; BYTES]);
        Arc::new(Model { f: Fixture { engine }, file, buffers: vec![[0; BYTES]; requests] })
    }

    /// Reads at these offsets, each with its place as user data.
    fn reads(&self, offsets: &[u64]) -> Vec<Iocb> {
        let read = |(n, offset): (usize, &u64)| {
            let mut to = self.buffers[n];
            let args = [self.file.as_raw_fd() as u64, address(&mut to), BYTES as u64, *offset];
            let flags = aio2_abi::iocb::IocbFlags::ASYNC;
            syscall(libc::SYS_pread64, &args).flags(flags).user_data(n as u64)
        };
        offsets.iter().enumerate().map(read).collect()
    }

    fn cancel_all(&self) -> (u32, u32, u32) {
        let mut all = Cancel { flags: CancelFlags::ALL.bits(), ..Cancel::default() };
        match self.f.engine.cancel(&mut all) {
            Ok(_) => (all.cancelled, all.interrupted, all.too_late),
            Err(_) => (0, 0, 0),
        }
    }
}

/// What a read at this offset gives.
fn result(offset: u64) -> i64 {
    if offset == 0 { BYTES as i64 } else { 0 }
}

/// Reads at these offsets all end, once and so.
fn all_end(name: &str, offsets: &'static [u64]) {
    model(name, move || {
        let m = Model::new(offsets.len());
        m.f.submit(m.reads(offsets));
        let mut ends = ends(&m.f, offsets.len() as u32);
        ends.sort_unstable();
        let expected: Vec<_> =
            offsets.iter().enumerate().map(|(n, offset)| (n as u64, result(*offset))).collect();
        assert_eq!(ends, expected);
    });
}

// SPEC: R-RUN-14
#[test]
fn what_the_host_takes_ends_once() {
    all_end("io_uring: two", &[0, 0]);
}

// SPEC: R-RUN-14, R-RUN-4
#[test]
fn what_would_wait_goes_on_with_a_worker() {
    all_end("io_uring: one would wait", &[WOULD_WAIT, 0]);
}

// SPEC: R-RUN-15
#[test]
fn what_a_broken_host_did_not_take_is_run_by_a_worker() {
    all_end("io_uring: broken", &[0, BREAKS]);
}

// SPEC: R-RUN-15
#[test]
fn what_finds_no_room_is_run_by_a_worker() {
    all_end("io_uring: full", &[FULL, 0]);
    all_end("io_uring: full, and nothing else", &[FULL]);
}

// SPEC: R-DEADLINE-1, R-CANCEL-3
#[test]
fn a_deadline_that_comes_at_any_moment_fits_the_one_end() {
    for (name, offset) in [
        ("io_uring: deadline", 0),
        ("io_uring: deadline of what would wait", WOULD_WAIT),
        ("io_uring: deadline of what finds no room", FULL),
    ] {
        model(name, move || {
            let m = Model::new(1);
            m.f.submit(m.reads(&[offset]));
            let of_thread = m.clone();
            let thread = thread::spawn(move || of_thread.f.engine.deadlines_come());
            let ended = ends(&m.f, 1)[0].1;
            let timed_out = -i64::from(libc::ETIMEDOUT);
            let surely = thread.join().unwrap();
            assert!(ended == timed_out || !surely && ended == result(offset), "{ended}");
        });
    }
}

// SPEC: R-RUN-14
#[test]
fn a_request_that_comes_while_the_thread_falls_asleep_is_seen() {
    model("io_uring: submit against sleep", || {
        let m = Model::new(2);
        let reads = m.reads(&[0, 0]);
        let (first, second) = (reads[0].clone(), reads[1].clone());
        m.f.submit([first]);
        let of_thread = m.clone();
        let thread = thread::spawn(move || of_thread.f.submit([second]));
        let mut ends = ends(&m.f, 2);
        ends.sort_unstable();
        assert_eq!(ends, [(0, BYTES as i64), (1, BYTES as i64)]);
        thread.join().unwrap();
    });
}

// SPEC: R-CANCEL-3, R-CANCEL-4, R-CANCEL-7
#[test]
fn a_cancel_that_comes_at_any_moment_fits_the_one_end() {
    for (name, offset) in
        [("io_uring: cancel", 0), ("io_uring: cancel of what would wait", WOULD_WAIT)]
    {
        model(name, move || {
            let m = Model::new(1);
            m.f.submit(m.reads(&[offset]));
            let of_thread = m.clone();
            let thread = thread::spawn(move || of_thread.cancel_all());
            let ended = ends(&m.f, 1)[0].1;
            let cancelled = -i64::from(libc::ECANCELED);
            match thread.join().unwrap() {
                (1, 0, 0) => assert_eq!(ended, cancelled),
                (0, 1, 0) => assert!(ended == cancelled || ended == result(offset), "{ended}"),
                (0, 0, n) if n <= 1 => assert_eq!(ended, result(offset)),
                counts => panic!("{counts:?} of one request"),
            }
        });
    }
}

// SPEC: R-LIFE-1, R-LIFE-2
#[test]
fn a_context_that_is_closed_waits_for_what_the_host_has() {
    model("io_uring: close", || {
        let m = Model::new(2);
        let consumer = m.f.engine.consumer();
        m.f.submit(m.reads(&[0, WOULD_WAIT]));
        drop(m);
        assert!(consumer.is_dead());
        let mut words = [0; 64];
        assert_eq!(consumer.reap(&mut words, 9).unwrap().len(), 2);
    });
}
