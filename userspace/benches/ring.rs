//! `cargo xtask bench ring [--json] [--short]`: the ring against queues that users have.
//!
//! Events of 64 bytes from one producer to one or two consumers, on real
//! threads, and within one thread, in turns in one run. Prints medians and ratios, and the round trip
//! of a cache line in the same run, on which all else depends. `--json`
//! prints an object a line, with the rates of all rounds. Not a test: nothing passes or
//! fails by speed.
#![allow(missing_docs)]

#[path = "common/mod.rs"]
mod common;

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use aio2::ring::{self, Consumer, ExclusiveConsumer, Geometry, Pending, Producer, Word, header};
use aio2::shm::{ConsumerMap, ProducerMap, create};
use common::{median, quartiles, round_trip_ns};
use crossbeam_queue::ArrayQueue;
use crossbeam_utils::Backoff;
use ringbuf::HeapRb;
use ringbuf::traits::{Consumer as _, Producer as _, Split as _};

const EVENT_WORDS: usize = 8;
const RING_EVENTS: usize = 1024;
const BATCH: usize = 32;
const ROUNDS: usize = 9;
/// Ends a consumer of the queue, which has no flag for it.
const LAST: u64 = u64::MAX;

type Event = [u64; EVENT_WORDS];

/// A way to pass `events` events through; events a second.
struct Contender {
    name: &'static str,
    /// 0: the producer's own thread reaps.
    consumers: usize,
    events: u64,
    run: fn(u64, usize) -> f64,
    baseline: bool,
}

const CONTENDERS: [Contender; 14] = [
    contender("crossbeam ArrayQueue", 0, 4_000_000, array_queue_alone).baseline(),
    contender("aio2 in place, batches of 32", 0, 16_000_000, in_place_alone),
    contender("crossbeam ArrayQueue", 1, 2_000_000, array_queue).baseline(),
    contender("aio2 in place, batches of 32", 1, 16_000_000, in_place::<BATCH>),
    contender("aio2 in place, one by one", 1, 4_000_000, in_place::<1>),
    contender("aio2 claimed, batches of 32", 1, 8_000_000, claimed::<BATCH>),
    contender("rtrb, chunks of 32", 1, 16_000_000, rtrb_chunks),
    contender("rtrb, one by one", 1, 4_000_000, rtrb_singly),
    contender("ringbuf, batches of 32", 1, 16_000_000, ringbuf_batches),
    contender("crossbeam ArrayQueue", 2, 2_000_000, array_queue).baseline(),
    contender("aio2 claimed, batches of 32", 2, 8_000_000, claimed::<BATCH>),
    contender("aio2 claimed, one by one", 2, 2_000_000, claimed::<1>),
    contender("rtrb, a ring each, chunks of 32", 2, 8_000_000, rtrb_chunks),
    contender("ringbuf, a ring each, batches of 32", 2, 8_000_000, ringbuf_batches),
];

const fn contender(
    name: &'static str,
    consumers: usize,
    events: u64,
    run: fn(u64, usize) -> f64,
) -> Contender {
    Contender { name, consumers, events, run, baseline: false }
}

impl Contender {
    const fn baseline(self) -> Self {
        Self { baseline: true, ..self }
    }
}

fn main() {
    let has = |name: &str| std::env::args().any(|arg| arg == name);
    let json = has("--json");
    let (rounds, share) = if has("--short") { (3, 100) } else { (ROUNDS, 4) };
    let mut rates: Vec<Vec<f64>> = CONTENDERS.iter().map(|_| Vec::new()).collect();
    let mut trips = Vec::new();
    for _ in 0..rounds {
        trips.push(round_trip_ns());
        for (contender, rates) in CONTENDERS.iter().zip(&mut rates) {
            let events = (contender.events / share).next_multiple_of(2 * BATCH as u64);
            rates.push((contender.run)(events, contender.consumers));
        }
    }
    let trip = median(&trips);
    if !json {
        println!("events of 64 bytes, one producer; medians of {rounds} rounds, in turns");
        println!("round trip of a cache line between two threads: {trip:.0} ns\n");
        println!("| consumers | | M events/s | x ArrayQueue (quartiles) |\n|---|---|---|---|");
    }
    for (contender, own) in CONTENDERS.iter().zip(&rates) {
        let (_, base) = CONTENDERS
            .iter()
            .zip(&rates)
            .find(|(other, _)| other.baseline && other.consumers == contender.consumers)
            .expect("each number of consumers has a baseline");
        // Of the same round: what disturbs a round disturbs both.
        let ratios: Vec<f64> = own.iter().zip(base).map(|(own, base)| own / base).collect();
        let [low, ratio, high] = quartiles(&ratios);
        let (name, consumers, rate) = (contender.name, contender.consumers, median(own) / 1e6);
        if json {
            let all = own.iter().map(|rate| format!("{rate:.0}")).collect::<Vec<_>>().join(",");
            println!(
                "{{\"bench\":\"ring\",\"contender\":\"{name}\",\"consumers\":{consumers},\
                 \"round_trip_ns\":{trip:.1},\"per_second\":[{all}]}}"
            );
        } else {
            println!("| {consumers} | {name} | {rate:.1} | {ratio:.2} ({low:.2} to {high:.2}) |");
        }
    }
}

fn event(id: u64) -> Event {
    [header(size_of::<Event>() as u32, 0), id, id, id, id, id, id, id]
}

/// Runs a producer and its consumers, which return sums of ids; the rate.
fn race<P, C>(events: u64, produce: P, consumers: Vec<C>) -> f64
where
    P: FnOnce() + Send,
    C: FnOnce() -> u64 + Send,
{
    let barrier = Barrier::new(consumers.len() + 1);
    let barrier = &barrier;
    let (seconds, sum) = thread::scope(|scope| {
        let threads: Vec<_> = consumers
            .into_iter()
            .map(|consume| {
                scope.spawn(move || {
                    barrier.wait();
                    consume()
                })
            })
            .collect();
        barrier.wait();
        let begun = Instant::now();
        produce();
        let sums = threads.into_iter().map(|thread| thread.join().expect("no consumer panics"));
        let sum: u64 = sums.sum();
        (begun.elapsed().as_secs_f64(), sum)
    });
    assert_eq!(sum, events * (events - 1) / 2, "each event once");
    events as f64 / seconds
}

fn new_ring() -> (Producer<ProducerMap>, Consumer<ConsumerMap>) {
    let bytes = (RING_EVENTS * size_of::<Event>()) as u32;
    let geometry = Geometry::new(bytes, 1024).expect("sizes of a ring");
    let (producer, files) = create(geometry.starting_at((1 << 32) - 4096)).expect("shared memory");
    (producer, files.map().expect("mapped"))
}

/// Publishes `events` events, `N` at a time.
fn produce<const N: usize>(mut producer: Producer<ProducerMap>, events: u64) {
    let backoff = Backoff::new();
    let mut id = 0;
    while id < events {
        let before = id;
        let mut batch = producer.batch();
        while id < events && id - before < N as u64 && batch.push(&event(id)) {
            id += 1;
        }
        drop(batch);
        if id == before {
            backoff.snooze();
        } else {
            backoff.reset();
        }
    }
    producer.set_dead();
}

fn in_place<const N: usize>(events: u64, _: usize) -> f64 {
    let (producer, consumer) = new_ring();
    let consumer = consumer.into_exclusive().unwrap_or_else(|_| panic!("the only handle"));
    let consume = move || if N == 1 { one_by_one(consumer) } else { drain(consumer) };
    race(events, move || produce::<N>(producer, events), vec![consume])
}

/// Reads whatever is there in place, and gives it back together.
fn drain(mut consumer: ExclusiveConsumer<ConsumerMap>) -> u64 {
    let backoff = Backoff::new();
    let mut sum = 0;
    loop {
        let mut batch = consumer.drain().expect("not broken");
        let bytes = batch.bytes_left();
        while let Some(event) = batch.next().expect("not broken") {
            sum += last_word(event);
        }
        drop(batch);
        if bytes > 0 {
            backoff.reset();
        } else if consumer.is_dead() && consumer.pending() == Pending::Nothing {
            return sum;
        } else {
            backoff.snooze();
        }
    }
}

/// Reads the whole event.
fn last_word<W: Word>(event: ring::EventRef<'_, W>) -> u64 {
    let mut words = [0; EVENT_WORDS];
    event.copy_to(&mut words);
    black_box(&words)[7]
}

/// Reads one event in place, and gives it back.
fn one_by_one(mut consumer: ExclusiveConsumer<ConsumerMap>) -> u64 {
    let backoff = Backoff::new();
    let mut sum = 0;
    loop {
        let mut batch = consumer.drain().expect("not broken");
        if let Some(event) = batch.next().expect("not broken") {
            sum += last_word(event);
            backoff.reset();
            continue;
        }
        drop(batch);
        if consumer.is_dead() && consumer.pending() == Pending::Nothing {
            return sum;
        }
        backoff.snooze();
    }
}

fn claimed<const N: usize>(events: u64, consumers: usize) -> f64 {
    let (producer, consumer) = new_ring();
    let consumers = (0..consumers).map(|_| {
        let consumer = consumer.clone();
        move || {
            let backoff = Backoff::new();
            let mut buffer = [0; BATCH * EVENT_WORDS];
            let mut sum = 0;
            loop {
                let claim = consumer.reap(&mut buffer, N).expect("not broken");
                if claim.len() > 0 {
                    sum += claim.map(|event| black_box(&event)[7]).sum::<u64>();
                    backoff.reset();
                } else if consumer.is_dead() && consumer.pending() == Pending::Nothing {
                    return sum;
                } else {
                    backoff.snooze();
                }
            }
        }
    });
    race(events, move || produce::<N>(producer, events), consumers.collect())
}

fn array_queue(events: u64, consumers: usize) -> f64 {
    let queue = ArrayQueue::<Event>::new(RING_EVENTS);
    let queue = &queue;
    let push = move |event: Event| {
        let backoff = Backoff::new();
        while queue.push(event).is_err() {
            backoff.snooze();
        }
    };
    let produce = move || {
        (0..events).for_each(|id| push(event(id)));
        (0..consumers).for_each(|_| push(event(LAST)));
    };
    let consume = || {
        let backoff = Backoff::new();
        let mut sum = 0;
        loop {
            match queue.pop() {
                Some(event) if event[7] == LAST => return sum,
                Some(event) => {
                    sum += black_box(&event)[7];
                    backoff.reset();
                }
                None => backoff.snooze(),
            }
        }
    };
    race(events, produce, (0..consumers).map(|_| consume).collect())
}

fn in_place_alone(events: u64, _: usize) -> f64 {
    let (mut producer, consumer) = new_ring();
    let mut consumer = consumer.into_exclusive().unwrap_or_else(|_| panic!("the only handle"));
    let begun = Instant::now();
    let mut sum = 0;
    for first in (0..events).step_by(BATCH) {
        let mut batch = producer.batch();
        for id in first..first + BATCH as u64 {
            assert!(batch.push(&event(id)), "an empty ring has room");
        }
        drop(batch);
        let mut batch = consumer.drain().expect("not broken");
        while let Some(event) = batch.next().expect("not broken") {
            sum += last_word(event);
        }
    }
    assert_eq!(sum, events * (events - 1) / 2, "each event once");
    events as f64 / begun.elapsed().as_secs_f64()
}

fn array_queue_alone(events: u64, _: usize) -> f64 {
    let queue = ArrayQueue::<Event>::new(RING_EVENTS);
    let begun = Instant::now();
    let mut sum = 0;
    for first in (0..events).step_by(BATCH) {
        for id in first..first + BATCH as u64 {
            assert!(queue.push(event(id)).is_ok(), "an empty queue has room");
        }
        while let Some(event) = queue.pop() {
            sum += black_box(&event)[7];
        }
    }
    assert_eq!(sum, events * (events - 1) / 2, "each event once");
    events as f64 / begun.elapsed().as_secs_f64()
}

/// How many events each consumer has, where it has a ring of its own.
fn share(events: u64, consumers: usize) -> u64 {
    events / consumers as u64
}

/// The ids of each batch, and whose it is.
fn batches(events: u64, consumers: usize) -> impl Iterator<Item = (usize, [Event; BATCH])> {
    assert!(events.is_multiple_of(consumers as u64 * BATCH as u64), "whole batches for each");
    (0..events / BATCH as u64).map(move |batch| {
        let first = batch * BATCH as u64;
        let to = (batch % consumers as u64) as usize;
        (to, std::array::from_fn(|n| event(first + n as u64)))
    })
}

/// Rings of one producer and one consumer, one for each consumer.
fn rtrb_chunks(events: u64, consumers: usize) -> f64 {
    let (mut producers, rings): (Vec<_>, Vec<_>) =
        (0..consumers).map(|_| rtrb::RingBuffer::<Event>::new(RING_EVENTS)).unzip();
    let produce = move || {
        let backoff = Backoff::new();
        for (to, batch) in batches(events, consumers) {
            loop {
                if let Ok(chunk) = producers[to].write_chunk_uninit(BATCH) {
                    chunk.fill_from_iter(batch);
                    backoff.reset();
                    break;
                }
                backoff.snooze();
            }
        }
    };
    let consume = |mut ring: rtrb::Consumer<Event>| {
        move || {
            let backoff = Backoff::new();
            let (mut sum, mut seen) = (0, 0);
            while seen < share(events, consumers) {
                let there = ring.slots();
                if there == 0 {
                    backoff.snooze();
                    continue;
                }
                backoff.reset();
                let chunk = ring.read_chunk(there).expect("so many are there");
                let (first, rest) = chunk.as_slices();
                sum += first.iter().chain(rest).map(|event| black_box(event)[7]).sum::<u64>();
                seen += there as u64;
                chunk.commit_all();
            }
            sum
        }
    };
    race(events, produce, rings.into_iter().map(consume).collect())
}

fn rtrb_singly(events: u64, _: usize) -> f64 {
    let (mut producer, mut ring) = rtrb::RingBuffer::<Event>::new(RING_EVENTS);
    let produce = move || {
        let backoff = Backoff::new();
        for id in 0..events {
            while producer.push(event(id)).is_err() {
                backoff.snooze();
            }
            backoff.reset();
        }
    };
    let consume = move || {
        let backoff = Backoff::new();
        let (mut sum, mut seen) = (0, 0);
        while seen < events {
            match ring.pop() {
                Ok(event) => {
                    sum += black_box(&event)[7];
                    seen += 1;
                    backoff.reset();
                }
                Err(_) => backoff.snooze(),
            }
        }
        sum
    };
    race(events, produce, vec![consume])
}

/// As [`rtrb_chunks`].
fn ringbuf_batches(events: u64, consumers: usize) -> f64 {
    let (mut producers, rings): (Vec<_>, Vec<_>) =
        (0..consumers).map(|_| HeapRb::<Event>::new(RING_EVENTS).split()).unzip();
    let produce = move || {
        let backoff = Backoff::new();
        for (to, batch) in batches(events, consumers) {
            let mut left = &batch[..];
            while !left.is_empty() {
                let taken = producers[to].push_slice(left);
                left = &left[taken..];
                if taken == 0 { backoff.snooze() } else { backoff.reset() }
            }
        }
    };
    let consume = |mut ring: ringbuf::HeapCons<Event>| {
        move || {
            let backoff = Backoff::new();
            let (mut sum, mut seen) = (0, 0);
            while seen < share(events, consumers) {
                let there = ring.iter().map(|event| {
                    sum += black_box(event)[7];
                });
                let there = there.count();
                if there == 0 {
                    backoff.snooze();
                    continue;
                }
                backoff.reset();
                ring.skip(there);
                seen += there as u64;
            }
            sum
        }
    };
    race(events, produce, rings.into_iter().map(consume).collect())
}
