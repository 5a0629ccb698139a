//! The paths whose instructions are counted, each by itself: `cargo xtask bench
//! --budget` runs this under valgrind, twice with different numbers of operations.
//!
//! Arguments: the name of a path, and how many operations. Without, the names.
#![allow(unsafe_code, missing_docs)]

use aio2::backend::Backend;
use aio2::engine::Engine;
use aio2::ring::{Geometry, Producer};
use aio2::shm::{ConsumerMap, ProducerMap, create};
use aio2::{Consumer, Context, Op, Prefer, Queue, SharedFd, Timeout, ring};
use aio2_abi::setup::Setup;
use aio2_abi::{event, iocb, op};
use aio2_record::Recorder;
use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::os::fd::AsRawFd;
use zerocopy::IntoBytes;

const BLOCK: usize = 64;
const BATCH: usize = 32;
const EVENT_WORDS: usize = 8;

/// Does so many operations.
type Path = fn(usize);

const PATHS: [(&str, Path); 11] = [
    ("engine, NOP, batch 32", |n| engine(n, BATCH, false, None)),
    ("engine, NOP, one at a time", |n| engine(n, 1, false, None)),
    ("engine, cached read, batch 32", |n| engine(n, BATCH, true, None)),
    ("engine, cached read, one at a time", |n| engine(n, 1, true, None)),
    ("engine, cached read, recorded, batch 32", recorded),
    ("queue, NOP, batch 32", |n| queue(n, BATCH, false)),
    ("queue, cached read, batch 32", |n| queue(n, BATCH, true)),
    ("queue, cached read, one at a time", |n| queue(n, 1, true)),
    ("event published, batch 32", published),
    ("event published and claimed, batch 32", claimed),
    ("event published and read in place, batch 32", in_place),
];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, name, count] = &args[..] else {
        PATHS.iter().for_each(|(name, _)| println!("{name}"));
        return;
    };
    let (_, path) = PATHS.iter().find(|(known, _)| known == name).expect("a path's name");
    path(count.parse().expect("a number"));
}

fn file() -> File {
    let mut file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch file");
    file.write_all(&[0x5a; BLOCK]).expect("room for a block");
    file
}

/// With what the thread does that writes.
fn recorded(count: usize) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch directory");
    let recorder = Recorder::to(&dir.path().join("record")).expect("a record");
    engine(count, BATCH, true, Some(recorder));
    recorder.flush();
}

fn engine(count: usize, batch: usize, reads: bool, recorder: Option<&'static Recorder>) {
    let setup = Setup { version: 1, ..Setup::default() };
    let engine = Engine::with_executor(&setup, None, None, recorder).expect("an engine");
    let consumer = engine.consumer();
    let file = file();
    let mut buffers = vec![[0_u8; BLOCK]; batch];
    let (mut stream, mut events) = (vec![0_u64; batch * 32], vec![0_u64; 4096]);
    let (nr, result) = if reads { (libc::SYS_pread64 as u32, BLOCK as i64) } else { (op::NOP, 0) };
    for _ in (0..count).step_by(batch) {
        let mut used = 0;
        for (slot, buffer) in buffers.iter_mut().enumerate() {
            let address = buffer.as_mut_ptr().expose_provenance() as u64;
            let args = [file.as_raw_fd() as u64, address, BLOCK as u64, 0];
            let args = if reads { &args[..] } else { &[] };
            let room = &mut stream.as_mut_bytes()[used..];
            let iocb = iocb::Encoder::new(room, nr, args, iocb::IocbFlags::empty(), slot as u64);
            used += iocb.expect("room for an iocb").len();
        }
        // SAFETY: the buffers outlive the requests, whose events are all reaped
        // here.
        let taken = unsafe { engine.submit(&mut stream.as_mut_bytes()[..used]) };
        assert_eq!(taken, Ok(used));
        reap(&consumer, &mut events, batch, result);
    }
}

fn reap(consumer: &Consumer, events: &mut [u64], batch: usize, result: i64) {
    let mut seen = 0;
    for words in consumer.reap(events, batch).expect("a sound ring") {
        let (event, _) = event::EventView::parse(words.as_bytes()).expect("an event");
        assert_eq!(event.header.res, result);
        seen += 1;
    }
    assert_eq!(seen, batch, "all complete inline");
}

fn queue(count: usize, batch: usize, reads: bool) {
    let context = Context::builder().prefer(Prefer::Engine).build().expect("an engine");
    let mut queue = Queue::new(context);
    let file = SharedFd::new(file());
    let mut buffers = vec![vec![0_u8; BLOCK]; batch];
    for _ in (0..count).step_by(batch) {
        for slot in 0..batch {
            let op = if reads {
                Op::read_at(&file, buffers.pop().expect("one for each"), 0).untyped()
            } else {
                Op::nop().untyped()
            };
            queue.push(op, slot);
        }
        let result = Ok(if reads { BLOCK as u64 } else { 0 });
        for done in queue.wait(batch, Timeout::Forever).expect("accepted") {
            assert_eq!(done.result, result);
            buffers.extend(done.into_buffer());
        }
    }
}

type Ring = (Producer<ProducerMap>, ring::Consumer<ConsumerMap>);

/// One with room for so many events.
fn new_ring(events: usize) -> Ring {
    let bytes = (events * EVENT_WORDS * 8).next_power_of_two().max(4096) as u32;
    let geometry = Geometry::new(bytes, 1024).expect("sizes of a ring");
    let (producer, files) = create(geometry).expect("shared memory");
    (producer, files.map().expect("mapped"))
}

/// Publishes a batch of events.
fn publish(producer: &mut Producer<ProducerMap>) {
    let mut event = [0; EVENT_WORDS];
    event[0] = ring::header((EVENT_WORDS * 8) as u32, 0);
    let mut batch = producer.batch();
    for id in 0..BATCH as u64 {
        event[1] = id;
        assert!(batch.push(black_box(&event)), "there is room");
    }
}

fn published(count: usize) {
    let (mut producer, _consumer) = new_ring(count);
    for _ in (0..count).step_by(BATCH) {
        publish(&mut producer);
    }
}

fn claimed(count: usize) {
    let (mut producer, consumer) = new_ring(BATCH);
    let mut buffer = [0; BATCH * EVENT_WORDS];
    for _ in (0..count).step_by(BATCH) {
        publish(&mut producer);
        let claim = consumer.reap(&mut buffer, BATCH).expect("not broken");
        assert_eq!(claim.map(|event| black_box(event)[1]).sum::<u64>(), 496);
    }
}

fn in_place(count: usize) {
    let (mut producer, consumer) = new_ring(BATCH);
    let mut consumer = consumer.into_exclusive().unwrap_or_else(|_| panic!("the only handle"));
    for _ in (0..count).step_by(BATCH) {
        publish(&mut producer);
        let mut batch = consumer.drain().expect("not broken");
        let mut sum = 0;
        while let Some(event) = batch.next().expect("not broken") {
            sum += event.word(1);
        }
        assert_eq!(sum, 496);
    }
}
