//! The ring under real threads: nothing lost, nothing twice, order kept.
#![cfg(not(aio2_loom))]

use std::sync::Mutex;
use std::thread;

use aio2::ring::{Consumer, Geometry, Memory, Pending, Sink, header, split};
use aio2::shm::create;

const CONSUMERS: usize = 8;
const EVENTS: u64 = 200_000;

/// An event of 1 to 16 words, all but the first of them `id`.
fn event(id: u64) -> ([u64; 16], usize) {
    let words = 1 + (id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as usize;
    let mut event = [id; 16];
    // The shortest one has its id in the flags.
    event[0] = header(words as u32 * 8, id as u32);
    (event, words)
}

/// Reaps until the ring is dead and empty; the ids, in order.
fn consume<M: Memory, P: Memory>(
    consumer: &Consumer<M>,
    sink: &Mutex<Sink<P>>,
    batch: usize,
) -> Vec<u32> {
    let mut ids = Vec::new();
    let mut buffer = [0; 256];
    loop {
        let dead = consumer.is_dead();
        let events = consumer.reap(&mut buffer, batch).expect("nobody broke the ring");
        if events.len() == 0 {
            match consumer.pending() {
                Pending::Events => {}
                Pending::Overflow => _ = sink.lock().unwrap().flush(),
                Pending::Nothing if dead => return ids,
                Pending::Nothing => thread::yield_now(),
                Pending::Frozen => panic!("there is no other ring"),
            }
        }
        for got in events {
            let id = (got[0] >> 32) as u32;
            let (sent, words) = event(u64::from(id));
            assert_eq!(got, &sent[..words], "words of different events");
            assert!(ids.last().is_none_or(|last| *last < id), "out of order");
            ids.push(id);
        }
    }
}

/// Sends through `sink` to consumers made by `consumer`; events overflowed.
fn stress<M, P>(sink: Sink<P>, consumer: impl Fn() -> Consumer<M>) -> u64
where
    M: Memory + Send + Sync,
    P: Memory + Send,
{
    let sink = Mutex::new(sink);
    let mut ids: Vec<u32> = thread::scope(|scope| {
        let threads: Vec<_> = (0..CONSUMERS)
            .map(|i| {
                let (consumer, sink) = (consumer(), &sink);
                scope.spawn(move || consume(&consumer, sink, 1 + 3 * i))
            })
            .collect();
        let mut id = 0;
        while id < EVENTS {
            let mut sink = sink.lock().unwrap();
            sink.reserve(128 * 7).unwrap();
            let mut batch = sink.batch();
            for _ in 0..7 {
                let (event, words) = event(id);
                batch.push(&event[..words], 128);
                id += 1;
            }
        }
        // Dead only when nothing waits on the list any more.
        while !sink.lock().unwrap().flush() {
            thread::yield_now();
        }
        sink.lock().unwrap().set_dead();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    ids.sort_unstable();
    let sent = EVENTS.div_ceil(7) * 7;
    assert!(ids.iter().map(|id| u64::from(*id)).eq(0..sent), "each event once");
    sink.lock().unwrap().overflowed()
}

fn geometry() -> Geometry {
    Geometry::new(4096, 1024).unwrap().starting_at((1 << 32) - (1 << 20))
}

// SPEC: R-OVF-7, R-RING-16
#[test]
fn eight_consumers_get_each_event_once_in_order_from_a_ring_of_a_page() {
    let (producer, files) = create(geometry()).unwrap();
    let overflowed = stress(Sink::new(producer), || files.map().unwrap());
    println!("{EVENTS} events, {overflowed} of them by the overflow list");
}

#[test]
fn eight_consumers_get_each_event_once_in_order_from_plain_memory() {
    let (producer, consumer) = split(aio2::ring::Heap::new(geometry()));
    stress(Sink::new(producer), || consumer.clone());
}
