//! One producer and several consumers of a ring, on bare pthreads.
//!
//! A plain program for `cargo xtask verify --tsan`: under ThreadSanitizer the
//! threads and locks of std and of the test runner give false reports, being
//! built without it. Without the sanitizer it is one more stress run.
//!
//! SPEC: sections 5.4, 5.5.

use aio2::ring::{Consumer, Geometry, Heap, Pending, Producer, header, len_of, split};
use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Events that are sent.
const EVENTS: u64 = 200_000;
const CONSUMERS: u64 = 3;

type Memory = Arc<Heap>;

/// What the threads share.
struct Totals {
    events: AtomicU64,
    ids: AtomicU64,
}

struct Reaping {
    consumer: Consumer<Memory>,
    totals: Arc<Totals>,
}

/// Sends the events, of one to four words.
fn produce(mut producer: Producer<Memory>) {
    for id in 0..EVENTS {
        let words = 1 + id as usize % 4;
        let mut event = [id; 4];
        event[0] = header(words as u32 * 8, id as u32);
        while !producer.push(&event[..words]) {
            std::thread::yield_now();
        }
    }
}

/// Reaps until all events are taken, by whomever.
fn consume(reaping: Reaping) {
    let Reaping { consumer, totals } = reaping;
    let mut last = None;
    while totals.events.load(Ordering::Relaxed) < EVENTS {
        let mut buffer = [0; 16];
        if consumer.pending() != Pending::Events {
            std::thread::yield_now();
        }
        for event in consumer.reap(&mut buffer, 4).expect("nobody breaks it") {
            let id = event[0] >> 32;
            assert_eq!(u64::from(len_of(event[0])), 8 + 8 * (id % 4));
            assert!(event[1..].iter().all(|word| *word == id), "words of different events");
            assert!(last.replace(id).is_none_or(|last| last < id), "out of order");
            totals.ids.fetch_add(id, Ordering::Relaxed);
            totals.events.fetch_add(1, Ordering::Relaxed);
        }
    }
}

extern "C" fn producer_thread(argument: *mut c_void) -> *mut c_void {
    // SAFETY: `main` made it from a box of this type, for this thread only.
    produce(*unsafe { Box::from_raw(argument.cast::<Producer<Memory>>()) });
    ptr::null_mut()
}

extern "C" fn consumer_thread(argument: *mut c_void) -> *mut c_void {
    // SAFETY: `main` made it from a box of this type, for this thread only.
    consume(*unsafe { Box::from_raw(argument.cast::<Reaping>()) });
    ptr::null_mut()
}

/// Starts a thread.
fn start<T: Send>(
    routine: extern "C" fn(*mut c_void) -> *mut c_void,
    argument: T,
) -> libc::pthread_t {
    let mut thread = 0;
    let argument = Box::into_raw(Box::new(argument)).cast();
    // SAFETY: `thread` can be written; each routine knows its argument's type.
    let error = unsafe { libc::pthread_create(&raw mut thread, ptr::null(), routine, argument) };
    assert_eq!(error, 0, "pthread_create");
    thread
}

fn main() {
    let geometry = Geometry::new(256, 64).expect("sizes that can be");
    let (producer, consumer) = split(Heap::new(geometry.starting_at((1 << 32) - 4096)));
    let totals = Arc::new(Totals { events: AtomicU64::new(0), ids: AtomicU64::new(0) });
    let mut threads = vec![start(producer_thread, producer)];
    for _ in 0..CONSUMERS {
        let reaping = Reaping { consumer: consumer.clone(), totals: totals.clone() };
        threads.push(start(consumer_thread, reaping));
    }
    for thread in threads {
        // SAFETY: it was started, and is joined once.
        let error = unsafe { libc::pthread_join(thread, ptr::null_mut()) };
        assert_eq!(error, 0, "pthread_join");
    }
    // SPEC: R-OVF-7
    assert_eq!(totals.events.load(Ordering::Relaxed), EVENTS);
    assert_eq!(totals.ids.load(Ordering::Relaxed), EVENTS * (EVENTS - 1) / 2);
    println!("test race ... ok: {EVENTS} events");
}
