//! The ring against an oracle, and against peers that keep no rules: random
//! operations from any start position. A failure tells its seed.
#![cfg(not(aio2_loom))]

mod common;

use common::Random;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use aio2::ring::{
    Consumer, Corruption, Geometry, Heap, Memory, Pending, Producer, ReapError, Sink, header,
    len_of, split,
};

const SEEDS: u64 = 3000;
const STEPS: usize = 60;

/// Where a ring begins: mostly just before a wrap.
fn start(random: &mut Random) -> u64 {
    match random.below(4) {
        0 => random.next(),
        1 => u64::MAX - random.below(256),
        _ => (random.below(4) << 32).wrapping_sub(random.below(256)),
    }
}

/// An event of `words` words.
fn event(random: &mut Random, words: usize) -> Vec<u64> {
    let mut event: Vec<u64> = (0..words).map(|_| random.next()).collect();
    event[0] = header(words as u32 * 8, random.next() as u32);
    event
}

fn geometry(random: &mut Random) -> Geometry {
    let ring_bytes = 64 << random.below(4);
    let event_max = 8 * (1 + random.below(u64::from(ring_bytes) / 8)) as u32;
    Geometry::new(ring_bytes, event_max).unwrap().starting_at(start(random))
}

#[derive(Debug)]
enum Op {
    /// Events of so many words, published together.
    Push(Vec<usize>),
    /// The same, given back to back.
    PushAll(Vec<usize>),
    Flush,
    Reap {
        buffer_words: usize,
        max_events: usize,
    },
    /// Reads at most so many in place.
    Drain(usize),
    Available(usize),
}

impl Op {
    fn random(random: &mut Random, event_max: u32) -> Self {
        let max_words = u64::from(event_max) / 8;
        let count = random.below(5);
        let lengths = (0..count).map(|_| 1 + random.below(max_words) as usize).collect();
        match random.below(9) {
            0..2 => Op::Push(lengths),
            2 | 8 => Op::PushAll(lengths),
            3 => Op::Flush,
            4 => Op::Available(random.below(10) as usize),
            _ if random.below(2) == 0 => Op::Drain(random.below(6) as usize),
            _ => Op::Reap {
                buffer_words: random.below(2 * max_words + 1) as usize,
                max_events: random.below(6) as usize,
            },
        }
    }
}

/// Either consumer; one becomes the other and back by a new handle.
struct Reaper(Arc<Heap>);

impl Reaper {
    fn reap(&self, buffer_words: usize, max_events: usize) -> Result<Vec<Vec<u64>>, ReapError> {
        let mut buffer = vec![0; buffer_words];
        let events = Consumer::new(self.0.clone()).reap(&mut buffer, max_events)?;
        Ok(events.map(<[u64]>::to_vec).collect())
    }

    fn drain(&self, max_events: usize) -> Result<Vec<Vec<u64>>, Corruption> {
        let corruption = |error| match error {
            ReapError::Corrupt(corruption) => corruption,
            other => panic!("{other}"),
        };
        let mut consumer = Consumer::new(self.0.clone()).into_exclusive().ok().unwrap();
        let mut drain = consumer.drain().map_err(corruption)?;
        let mut events = Vec::new();
        while events.len() < max_events {
            let Some(event) = drain.next()? else { break };
            let mut copy = vec![0; event.len()];
            assert_eq!(event.copy_to(&mut copy).unwrap().len(), event.len());
            let words: Vec<u64> = (0..event.len()).map(|i| event.word(i)).collect();
            assert_eq!(words, copy, "nobody writes meanwhile");
            events.push(copy);
        }
        Ok(events)
    }
}

/// What the ring and its list should hold.
struct Oracle {
    ring: VecDeque<Vec<u64>>,
    list: VecDeque<Vec<u64>>,
    ring_words: usize,
}

impl Oracle {
    fn used_words(&self) -> usize {
        self.ring.iter().map(Vec::len).sum()
    }

    fn flush(&mut self) {
        while let Some(event) = self.list.front()
            && self.used_words() + event.len() <= self.ring_words
        {
            self.ring.extend(self.list.pop_front());
        }
    }

    fn push(&mut self, event: Vec<u64>) {
        self.list.push_back(event);
        self.flush();
    }

    /// What a claim takes: whole events, up to both limits.
    fn take(&mut self, mut words: usize, events: usize) -> Vec<Vec<u64>> {
        let mut taken = Vec::new();
        while taken.len() < events
            && let Some(event) = self.ring.front()
            && event.len() <= words
        {
            words -= event.len();
            taken.extend(self.ring.pop_front());
        }
        taken
    }
}

fn agrees_with_oracle(seed: u64) {
    let mut random = Random(seed);
    let geometry = geometry(&mut random);
    let (producer, consumer) = split(Heap::new(geometry));
    let mut sink = Sink::new(producer);
    let reaper = Reaper(consumer.memory().clone());
    let mut oracle = Oracle {
        ring: VecDeque::new(),
        list: VecDeque::new(),
        ring_words: geometry.ring_bytes() as usize / 8,
    };
    for step in 0..STEPS {
        let op = Op::random(&mut random, geometry.event_max());
        let at = format!("seed {seed}, step {step}: {op:?}");
        match op {
            Op::Push(lengths) => {
                let bytes: usize = lengths.iter().map(|words| words * 8).sum();
                sink.reserve(bytes).unwrap();
                let mut batch = sink.batch();
                for words in lengths {
                    let event = event(&mut random, words);
                    batch.push(&event, words * 8);
                    oracle.push(event);
                }
            }
            Op::PushAll(lengths) => {
                let events: Vec<_> =
                    lengths.into_iter().map(|words| event(&mut random, words)).collect();
                let all = events.concat();
                sink.reserve(all.len() * 8).unwrap();
                sink.push_all(&all, all.len() * 8);
                // It flushes even if there is nothing to push.
                oracle.flush();
                events.into_iter().for_each(|event| oracle.push(event));
            }
            Op::Flush => {
                oracle.flush();
                assert_eq!(sink.flush(), oracle.list.is_empty(), "{at}");
            }
            Op::Reap { buffer_words, max_events } => {
                let too_small = oracle
                    .ring
                    .front()
                    .filter(|event| max_events > 0 && event.len() > buffer_words)
                    .map(|event| ReapError::BufferTooSmall { event_bytes: event.len() as u32 * 8 });
                let expected =
                    too_small.map_or_else(|| Ok(oracle.take(buffer_words, max_events)), Err);
                assert_eq!(reaper.reap(buffer_words, max_events), expected, "{at}");
            }
            Op::Drain(n) => assert_eq!(reaper.drain(n), Ok(oracle.take(usize::MAX, n)), "{at}"),
            Op::Available(limit) => {
                assert_eq!(sink.available_events(limit), oracle.ring.len().min(limit), "{at}");
            }
        }
        let pending = match (oracle.ring.is_empty(), oracle.list.is_empty()) {
            (false, _) => Pending::Events,
            (true, false) => Pending::Overflow,
            (true, true) => Pending::Nothing,
        };
        assert_eq!(consumer.pending(), pending, "{at}");
        let view = reaper.0.view();
        let used = view.tail.load(Relaxed).wrapping_sub(view.head.load(Relaxed) as u32);
        assert_eq!(used as usize, oracle.used_words() * 8, "{at}");
        assert_eq!(sink.overflow_bytes() / 8, oracle.list.iter().map(Vec::len).sum(), "{at}");
        assert_eq!(sink.reserved_bytes(), 0, "{at}");
    }
    assert_eq!(sink.producer().bad_heads(), 0, "seed {seed}");
}

// SPEC: R-RING-16, R-OVF-2, R-OVF-3, R-OVF-4, R-OVF-7
#[test]
fn any_operations_from_any_start_agree_with_the_oracle() {
    (0..SEEDS).for_each(agrees_with_oracle);
}

/// A value that a peer could write to make trouble.
fn hostile_value(random: &mut Random, near: u64) -> u64 {
    match random.below(5) {
        0 => random.next(),
        1 => near.wrapping_add(random.below(64)).wrapping_sub(32),
        2 => near.wrapping_add(8 * random.below(64)).wrapping_sub(256),
        3 => [0, u64::MAX, 1 << 31, 1 << 32, near ^ (1 << 31)][random.below(5) as usize],
        _ => near,
    }
}

fn producer_survives(seed: u64) {
    let mut random = Random(seed);
    let geometry = geometry(&mut random);
    let (producer, consumer) = split(Heap::new(geometry));
    let mut sink = Sink::new(producer);
    let mut sent = 0;
    for step in 0..STEPS {
        let view = consumer.memory().view();
        let bad_heads = sink.producer().bad_heads();
        if random.below(2) == 0 {
            let head = hostile_value(&mut random, view.head.load(Relaxed));
            view.head.store(head, Relaxed);
            view.notify.store(random.next() as u32, Relaxed);
        }
        let tail = view.tail.load(Relaxed);
        match Op::random(&mut random, geometry.event_max()) {
            Op::Push(lengths) | Op::PushAll(lengths) => {
                for words in lengths {
                    let mut event = vec![sent; words];
                    event[0] = header(words as u32 * 8, 0);
                    sink.reserve(words * 8).unwrap();
                    sink.push(&event, words * 8);
                    sent += words as u64 * 8;
                }
            }
            Op::Available(limit) => assert!(sink.available_events(limit) <= limit),
            _ => _ = sink.flush(),
        }
        // What was sent is in the ring or on the list, whatever head says; and
        // with a bad head, nothing was written.
        let published = view.tail.load(Relaxed).wrapping_sub(geometry.start() as u32);
        assert_eq!(u64::from(published) + sink.overflow_bytes() as u64, sent, "{seed}, {step}");
        let used = tail.wrapping_sub(view.head.load(Relaxed) as u32);
        if used > geometry.ring_bytes() && sink.producer().bad_heads() > bad_heads {
            assert_ne!(view.flags.load(Relaxed) & 2, 0, "BAD_HEAD: {seed}, {step}");
        }
        let _ = sink.should_notify();
    }
}

// SPEC: R-RING-6, R-RING-8, R-OVF-7
#[test]
fn a_producer_loses_nothing_whatever_is_written_over_head() {
    (0..SEEDS).for_each(producer_survives);
}

/// Writes anything anywhere in the ring.
fn scribble(random: &mut Random, heap: &Heap) {
    let view = heap.view();
    let head = view.head.load(Relaxed);
    let value = hostile_value(random, head);
    match random.below(6) {
        0 => view.head.store(value, Relaxed),
        1 => view.tail.store(value as u32, Relaxed),
        2 => view.flags.store(value as u32, Relaxed),
        _ => {
            let index = random.below(view.words.len() as u64) as usize;
            let word = match random.below(3) {
                0 => header(random.below(64) as u32, 0),
                1 => header(8 * random.below(64) as u32, 0),
                _ => random.next(),
            };
            view.words[index].store(word, Relaxed);
        }
    }
}

fn consumers_survive(seed: u64) {
    let mut random = Random(seed);
    let geometry = geometry(&mut random);
    let (mut producer, consumer): (Producer<_>, Consumer<_>) = split(Heap::new(geometry));
    let other = Consumer::new(consumer.memory().clone());
    let mut alone = Consumer::new(consumer.memory().clone()).into_exclusive().ok().unwrap();
    let heap = consumer.memory().clone();
    let mut buffer = vec![0; 64];
    let mut broken = None;
    for step in 0..STEPS {
        if step > 3 && random.below(2) == 0 {
            scribble(&mut random, &heap);
        }
        if random.below(2) == 0 {
            let _ = producer.push(&[header(8, 0)]);
        }
        match consumer.reap(&mut buffer, random.below(8) as usize) {
            Ok(events) => {
                assert_eq!(broken, None, "an error goes on: {seed}, {step}");
                for event in events {
                    assert_eq!(len_of(event[0]) as usize, event.len() * 8, "{seed}, {step}");
                    assert!(event.len() * 8 <= geometry.event_max() as usize);
                }
            }
            Err(ReapError::Corrupt(corruption)) => {
                assert_eq!(*broken.get_or_insert(corruption), corruption, "{seed}, {step}");
            }
            Err(error) => assert!(matches!(error, ReapError::BufferTooSmall { .. })),
        }
        let _ = other.reap(&mut buffer, 2);
        let _ = (other.pending(), other.notify_on(), other.is_dead());
        if let Ok(mut drain) = alone.drain() {
            let mut words = 0;
            while let Ok(Some(event)) = drain.next() {
                words += event.len();
                let _ = event.word(event.len() - 1);
            }
            assert!(words * 8 <= geometry.ring_bytes() as usize, "{seed}, {step}");
        }
    }
}

// SPEC: R-RING-14
#[test]
fn consumers_neither_panic_nor_hang_whatever_is_written_over_the_ring() {
    (0..SEEDS).for_each(consumers_survive);
}
