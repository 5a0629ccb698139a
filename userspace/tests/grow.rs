//! What is built on the ring goes on when it grows: reapers, queues, drivers.
#![allow(unsafe_code)]

mod common;

use aio2::backend::Backend;
use aio2::engine::Engine;
use aio2::error::GrowError;
use aio2::{Context, Driver, Errno, Implementation, Iocbs, Op, Prefer, Queue, Timeout};
use aio2_abi::setup::Setup;
use aio2_abi::{iocb::IocbFlags, op};
use common::pipe;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Events of a nop that a ring of 4096 bytes holds.
const PAGE_OF_NOPS: u64 = 4096 / 24;

fn small() -> Context {
    Context::builder().ring_bytes(4096).prefer(Prefer::Engine).build().unwrap()
}

fn submit_nops(context: &Context, user_data: std::ops::Range<u64>) {
    let mut iocbs = Iocbs::new();
    for user_data in user_data {
        iocbs.push(op::NOP, &[], IocbFlags::empty(), user_data).unwrap();
    }
    // SAFETY: nops take no address.
    let bytes = unsafe { context.submit_raw(iocbs.bytes_mut()) }.unwrap();
    assert_eq!(bytes, iocbs.bytes().len());
}

#[test]
fn errors_say_what_to_do() {
    let context = small();
    for bytes in [1, 4096, u32::MAX] {
        let error = context.grow(bytes).unwrap_err();
        assert_eq!((error, error.errno()), (GrowError::NotLarger, Errno(libc::EINVAL)));
        assert!(error.to_string().contains("1 GiB"));
    }
    assert_eq!(context.grow(5000), Ok(8192));
}

/// SPEC: R-GROW-2, R-GROW-3, R-OVF-5
#[test]
fn a_reaper_goes_on_over_rings_and_list() {
    let context = small();
    let mut reaper = context.reaper();
    let mut got = Vec::new();
    let mut next = 0;
    for ring_bytes in [8192, 16384, 32768] {
        let count = u64::from(ring_bytes) / 24 + 100;
        submit_nops(&context, next..next + count);
        next += count;
        got.extend(reaper.batch().unwrap().map(|event| event.user_data()).take(100));
        // Those that a batch had are gone with it.
        context.grow(ring_bytes).unwrap();
    }
    let all = next;
    submit_nops(&context, all..all + 10);
    let mut rest = Vec::new();
    loop {
        let batch: Vec<u64> = reaper.batch().unwrap().map(|event| event.user_data()).collect();
        if batch.is_empty() {
            break;
        }
        rest.extend(batch);
    }
    assert!(got.is_sorted() && rest.is_sorted());
    assert_eq!(rest.last(), Some(&(all + 9)));
    assert!(rest.windows(2).all(|pair| pair[0] + 1 == pair[1]), "no gap");
}

#[test]
fn a_queue_gathers_completions_from_all_rings() {
    let context = small();
    let mut queue: Queue<Vec<u8>, u64> = Queue::new(context);
    let mut token = 0;
    for ring_bytes in [8192, 16384, 32768] {
        for _ in 0..2 * PAGE_OF_NOPS {
            queue.push(Op::nop(), token);
            token += 1;
        }
        queue.submit().unwrap();
        queue.context().grow(ring_bytes).unwrap();
    }
    let tokens: Vec<u64> = queue
        .wait(token as usize, Timeout::After(Duration::from_secs(30)))
        .unwrap()
        .map(|done| done.token)
        .collect();
    assert!(tokens.into_iter().eq(0..token));
}

#[test]
fn a_driver_sleeps_and_wakes_over_it() {
    let setup = Setup { version: 1, ring_bytes: 4096, ..Setup::default() };
    let engine = Arc::new(Engine::new(&setup, None).unwrap());
    // SAFETY: the engine keeps SPEC.md, and only grows beside this context.
    let context = unsafe { Context::over(engine.clone(), Implementation::Engine) };
    let mut driver: Driver<Vec<u8>> = Driver::new(context).unwrap();
    let handle = driver.handle();
    let mut ring_bytes = 4096;
    for round in 0..10_u8 {
        let (reading, writing) = pipe();
        let mut writing = File::from(writing);
        let read = handle.run(Op::read(reading, vec![0]));
        ring_bytes *= 2;
        let engine = &engine;
        thread::scope(|scope| {
            scope.spawn(move || {
                engine.grow(ring_bytes).unwrap();
                writing.write_all(&[round]).unwrap();
            });
            let done = driver.block_on(read).unwrap();
            assert_eq!(done.into_buffer().unwrap(), [round]);
        });
    }
}
