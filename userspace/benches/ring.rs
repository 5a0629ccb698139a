//! `cargo bench -p aio2 --bench ring`: the ring against a queue that users have.
//!
//! Events of 64 bytes from one producer to one or two consumers, on real
//! threads, and within one thread, in turns in one run. Prints medians and ratios, and the round trip
//! of a cache line in the same run, on which all else depends. `--json`
//! prints an object a line. Not a test: nothing passes or fails by speed.
#![allow(missing_docs)]

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

use aio2::ring::{self, Consumer, ExclusiveConsumer, Geometry, Pending, Producer, Word, header};
use aio2::shm::{ConsumerMap, ProducerMap, create};
use crossbeam_queue::ArrayQueue;
use crossbeam_utils::Backoff;

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

const CONTENDERS: [Contender; 9] = [
    contender("crossbeam ArrayQueue", 0, 4_000_000, array_queue_alone).baseline(),
    contender("aio2 in place, batches of 32", 0, 16_000_000, in_place_alone),
    contender("crossbeam ArrayQueue", 1, 2_000_000, array_queue).baseline(),
    contender("aio2 in place, batches of 32", 1, 16_000_000, in_place::<BATCH>),
    contender("aio2 in place, one by one", 1, 4_000_000, in_place::<1>),
    contender("aio2 claimed, batches of 32", 1, 8_000_000, claimed::<BATCH>),
    contender("crossbeam ArrayQueue", 2, 2_000_000, array_queue).baseline(),
    contender("aio2 claimed, batches of 32", 2, 8_000_000, claimed::<BATCH>),
    contender("aio2 claimed, one by one", 2, 2_000_000, claimed::<1>),
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
    let json = std::env::args().any(|arg| arg == "--json");
    let mut rates: Vec<Vec<f64>> = CONTENDERS.iter().map(|_| Vec::new()).collect();
    let mut trips = Vec::new();
    for _ in 0..ROUNDS {
        trips.push(round_trip_ns());
        for (contender, rates) in CONTENDERS.iter().zip(&mut rates) {
            rates.push((contender.run)(contender.events, contender.consumers));
        }
    }
    let trip = median(&trips);
    if json {
        println!("{{\"bench\":\"ring\",\"round_trip_ns\":{trip:.1}}}");
    } else {
        println!("events of 64 bytes, one producer; medians of {ROUNDS} rounds, in turns");
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
            println!(
                "{{\"bench\":\"ring\",\"name\":\"{name}\",\"consumers\":{consumers},\
                 \"million_per_second\":{rate:.1},\"ratio\":{ratio:.2},\
                 \"ratio_low\":{low:.2},\"ratio_high\":{high:.2}}}"
            );
        } else {
            println!("| {consumers} | {name} | {rate:.1} | {ratio:.2} ({low:.2} to {high:.2}) |");
        }
    }
}

fn quartiles(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| sorted[(sorted.len() - 1) * quarter / 4])
}

fn median(values: &[f64]) -> f64 {
    quartiles(values)[1]
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

/// How long a cache line takes to another processor and back, in ns.
fn round_trip_ns() -> f64 {
    const TRIPS: u64 = 100_000;
    let ball = AtomicU64::new(0);
    let wait_for = |value| {
        let mut spins = 0;
        while ball.load(Relaxed) != value {
            spins += 1;
            if spins % 10_000 == 0 { thread::yield_now() } else { std::hint::spin_loop() }
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for trip in 0..TRIPS {
                wait_for(2 * trip + 1);
                ball.store(2 * trip + 2, Relaxed);
            }
        });
        let begun = Instant::now();
        for trip in 0..TRIPS {
            ball.store(2 * trip + 1, Relaxed);
            wait_for(2 * trip + 2);
        }
        begun.elapsed().as_nanos() as f64 / TRIPS as f64
    })
}
