//! Models of the ring, each explored through all its interleavings.
//!
//!     RUSTFLAGS='--cfg loom' cargo test --release --test loom
//!
//! Rings of a few words, starting just below the wrap of 2^32. At most three
//! preemptions unless LOOM_MAX_PREEMPTIONS says otherwise: with two, the false
//! report of corruption is not found. Which model fails when an ordering is
//! weakened stands in `ORDERINGS.md`.
#![cfg(loom)]
#![allow(unsafe_code)]

use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed as StdRelaxed};

use aio2::ring::{
    Consumer, Geometry, Heap, Memory, Pending, Producer, ReapError, Sink, View, Word, header,
    len_of, split,
};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::{Arc, Mutex, Notify};
use loom::thread;

/// Explores all interleavings of `body`, and tells how many there were.
fn model(name: &str, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(3);
    builder.max_branches = builder.max_branches.max(100_000);
    let executions = StdArc::new(AtomicUsize::new(0));
    let count = executions.clone();
    let begun = std::time::Instant::now();
    builder.check(move || {
        count.fetch_add(1, StdRelaxed);
        body();
    });
    let seconds = begun.elapsed().as_secs_f32();
    println!("{name}: {} executions, {seconds:.1} s", executions.load(StdRelaxed));
}

/// A point where the explorer may switch threads.
///
/// It remembers only the last access to each atomic, so that a thread's own
/// load of `head` hides from it that others accessed `head` before the swap.
/// Stores to a word that nobody loads order nothing, but they conflict, and
/// conflicts are what it explores.
#[derive(Clone)]
struct Step(Arc<AtomicU64>);

impl Step {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(0)))
    }

    fn step(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// A ring in which threads may be switched at each access.
struct Stepped<W> {
    heap: Heap<SteppedWord<W>>,
    step: Step,
    /// False: at accesses to the data only.
    at_views: bool,
}

struct SteppedWord<W> {
    word: W,
    step: Step,
}

impl<W: Word> Word for SteppedWord<W> {
    fn load(&self) -> u64 {
        let value = self.word.load();
        self.step.step();
        value
    }

    fn store(&self, value: u64) {
        self.step.step();
        self.word.store(value);
    }
}

impl<W: Word> Memory for Stepped<W> {
    type Word = SteppedWord<W>;

    fn view(&self) -> View<'_, SteppedWord<W>> {
        if self.at_views {
            self.step.step();
        }
        self.heap.view()
    }
}

fn stepped<W: Word>(bytes: u32, word: fn(u64) -> W) -> Stepped<W> {
    let step = Step::new();
    let heap = Heap::with_words(geometry(bytes), |value| SteppedWord {
        word: word(value),
        step: step.clone(),
    });
    Stepped { heap, step, at_views: true }
}

type Ring = Stepped<AtomicU64>;

/// A ring of `bytes` whose second word is beyond the wrap.
fn ring(bytes: u32) -> Ring {
    stepped(bytes, AtomicU64::new)
}

fn geometry(bytes: u32) -> Geometry {
    Geometry::new(bytes, bytes).unwrap().starting_at((1 << 32) - 8)
}

/// An event of `words` words. No word of it but the first is a length.
fn event(words: usize, id: u64) -> Vec<u64> {
    let mut event = vec![payload(id); words];
    event[0] = header(words as u32 * 8, id as u32);
    event
}

/// As the first word of an event, a length that is not a multiple of 8.
fn payload(id: u64) -> u64 {
    header(0xffff_fff1, id as u32)
}

/// The id of an event, every word of which must be its own.
fn id_of(event: &[u64]) -> u64 {
    let id = event[0].wrapping_sub(header(len_of(event[0]), 0)) / header(0, 1);
    assert_eq!(event, self::event(event.len(), id), "words of different events");
    id
}

/// Reaps `attempts` times, at most `batch` events each; the ids.
fn reap<M: Memory>(consumer: &Consumer<M>, attempts: usize, batch: usize) -> Vec<u64> {
    let mut ids = Vec::new();
    for _ in 0..attempts {
        let mut buffer = [0; 4];
        let events = consumer.reap(&mut buffer, batch).expect("nobody broke the ring");
        ids.extend(events.map(id_of));
    }
    assert!(ids.is_sorted_by(|a, b| a < b), "a consumer sees events in order: {ids:?}");
    ids
}

/// One producer that has filled the ring and goes on, `pushes` times, against
/// consumers that reap as often as `attempts` says of each.
fn once<W: Word + Send + Sync + 'static>(
    memory: Stepped<W>,
    lengths: &[usize],
    pushes: usize,
    attempts: &[usize],
    batch: usize,
) {
    let step = (!memory.at_views).then(|| memory.step.clone());
    let (mut producer, consumer) = split(memory);
    let mut sent = 0;
    let mut push = |producer: &mut Producer<_>| {
        step.iter().for_each(Step::step);
        let words = lengths[sent as usize % lengths.len()];
        let pushed = producer.push(&event(words, sent));
        sent += u64::from(pushed);
        pushed
    };
    while push(&mut producer) {}
    let threads: Vec<_> = attempts
        .iter()
        .map(|&attempts| {
            let consumer = consumer.clone();
            thread::spawn(move || reap(&consumer, attempts, batch))
        })
        .collect();
    for _ in 0..pushes {
        push(&mut producer);
    }
    let mut ids: Vec<u64> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
    ids.extend(reap(&consumer, 4, 4));
    ids.sort_unstable();
    assert_eq!(ids, (0..sent).collect::<Vec<_>>(), "each event once");
}

// SPEC: R-RING-9, R-RING-10, R-RING-12, R-OVF-7
#[test]
fn each_event_once_and_in_order_with_two_consumers() {
    model("once with 2 consumers", || once(ring(16), &[1], 2, &[2, 1], 1));
}

// SPEC: R-RING-12, R-OVF-7
#[test]
fn each_event_once_and_in_order_with_three_consumers() {
    // With all steps there are too many interleavings.
    let ring = || Stepped { at_views: false, ..ring(8) };
    model("once with 3 consumers", move || once(ring(), &[1], 1, &[1, 1, 1], 1));
}

// SPEC: R-RING-13
#[test]
fn a_ring_that_was_seen_empty_is_not_seen_corrupt() {
    model("empty, then not", || {
        let (mut producer, consumer) = split(ring(16));
        let other = consumer.clone();
        let thread = thread::spawn(move || reap(&other, 1, 1));
        let mut ids = Vec::new();
        for id in 0..2 {
            assert!(producer.push(&event(1, id)));
            ids.extend(reap(&consumer, 1, 1));
        }
        ids.extend(thread.join().unwrap());
        ids.sort_unstable();
        assert_eq!(ids, [0, 1], "each event once");
    });
}

// SPEC: R-RING-4, R-RING-12
#[test]
fn reaped_bytes_are_those_of_one_publication() {
    model("one publication", || once(ring(32), &[2], 2, &[1, 1], 1));
}

// SPEC: R-RING-15
#[test]
fn a_batch_claim_lands_on_event_boundaries() {
    model("batch claim", || once(ring(32), &[2, 1, 1, 1], 2, &[1, 1], 4));
}

// SPEC: R-RING-13, R-RING-14
#[test]
fn a_loser_does_not_report_corruption() {
    // The second event's last word stands where the first one began, and is no
    // length. `reap` expects no error.
    model("no false corruption", || once(ring(16), &[1, 2], 2, &[1, 1], 1));
}

// SPEC: R-RING-13
#[test]
fn real_corruption_is_reported_to_all() {
    model("real corruption", || {
        let (mut producer, consumer) = split(ring(32));
        assert!(producer.push(&event(2, 0)));
        assert!(producer.push(&event(2, 1)));
        // The start is one word below the wrap of the data.
        consumer.memory().view().words[1].word.store(payload(1), Ordering::Relaxed);
        // No clone, which would share the error.
        let other = Consumer::new(consumer.memory().clone());
        let thread = thread::spawn(move || drain_to_error(&other));
        let mut ids = drain_to_error(&consumer);
        ids.extend(thread.join().unwrap());
        assert_eq!(ids, [0]);
    });
}

fn drain_to_error<M: Memory>(consumer: &Consumer<M>) -> Vec<u64> {
    let mut ids = Vec::new();
    loop {
        let mut buffer = [0; 4];
        match consumer.reap(&mut buffer, 1) {
            Ok(events) => ids.extend(events.map(id_of)),
            Err(ReapError::Corrupt(_)) => return ids,
            Err(error) => panic!("{error}"),
        }
        assert!(ids.len() < 2, "the second event is broken");
    }
}

/// A word that the model checker allows no race on, not even a benign one.
struct PlainWord(UnsafeCell<u64>);

// SAFETY: not so in itself; the model checker proves each pair of accesses to
// be ordered, or panics.
unsafe impl Sync for PlainWord {}

impl Word for PlainWord {
    fn load(&self) -> u64 {
        // SAFETY: the model checker panics if anyone writes meanwhile.
        self.0.with(|word| unsafe { *word })
    }

    fn store(&self, value: u64) {
        // SAFETY: the model checker panics if anyone else accesses it meanwhile.
        self.0.with_mut(|word| unsafe { *word = value });
    }
}

fn plain_ring(bytes: u32) -> Stepped<PlainWord> {
    stepped(bytes, |value| PlainWord(UnsafeCell::new(value)))
}

// SPEC: R-RING-4, R-RING-5, R-RING-9, R-RING-10
#[test]
fn the_payload_happens_before_its_reading_in_place_and_that_before_its_reuse() {
    model("happens-before, in place", || {
        let (mut producer, consumer) = split(plain_ring(16));
        assert!(producer.push(&event(1, 0)));
        assert!(producer.push(&event(1, 1)));
        let mut consumer = consumer.into_exclusive().ok().unwrap();
        let thread = thread::spawn(move || {
            let mut ids = Vec::new();
            for _ in 0..3 {
                let mut drain = consumer.drain().unwrap();
                while let Some(event) = drain.next().unwrap() {
                    let mut copy = [0; 2];
                    ids.push(id_of(event.copy_to(&mut copy).unwrap()));
                }
            }
            ids
        });
        let mut sent = 2;
        for _ in 0..3 {
            sent += u64::from(producer.push(&event(1, sent)));
        }
        let ids = thread.join().unwrap();
        assert!(ids.iter().copied().eq(0..ids.len() as u64) && ids.len() as u64 <= sent);
    });
}

// SPEC: R-RING-4, R-RING-5, R-RING-9, R-RING-10
#[test]
fn the_payload_happens_before_its_copy_and_that_before_its_reuse() {
    model("happens-before, copied", || once(plain_ring(16), &[1], 3, &[3], 2));
}

// SPEC: R-RING-6, R-RING-7
#[test]
fn used_never_exceeds_capacity_whatever_the_head() {
    model("hostile head", || {
        let (mut producer, consumer) = split(ring(16));
        let memory = consumer.memory().clone();
        let start = (1u64 << 32) - 8;
        let hostile = thread::spawn(move || {
            for head in [start - 64, start + 64, start + (1 << 31)] {
                memory.view().head.store(head, Ordering::Relaxed);
            }
        });
        let mut pushed = 0;
        for id in 0..3 {
            pushed += u32::from(producer.push(&event(1, id)));
            assert!(producer.available_events(8) <= 2);
        }
        hostile.join().unwrap();
        assert!(pushed <= 2, "nothing was reaped, so the third event has no room");
        let bad = producer.bad_heads();
        assert!(pushed == 2 || bad > 0, "room is refused only for a bad head");
        assert!(!producer.push(&event(1, 3)) && producer.bad_heads() > bad, "it stays bad");
    });
}

/// A sink under a lock, as whoever owns an overflow list has it.
struct Context {
    sink: Mutex<Sink<StdArc<Ring>>>,
}

impl Context {
    fn new(bytes: u32) -> (Arc<Self>, Consumer<StdArc<Ring>>) {
        let (producer, consumer) = split(ring(bytes));
        (Arc::new(Self { sink: Mutex::new(Sink::new(producer)) }), consumer)
    }

    fn push(&self, id: u64) -> bool {
        let mut sink = self.sink.lock().unwrap();
        sink.reserve(8).unwrap();
        sink.push(&event(1, id), 8);
        sink.should_notify()
    }

    fn flush(&self) {
        self.sink.lock().unwrap().flush();
    }

    fn overflow_bytes(&self) -> usize {
        self.sink.lock().unwrap().overflow_bytes()
    }
}

// SPEC: R-OVF-3, R-OVF-5
#[test]
fn nothing_is_stranded_behind_a_ring_that_was_seen_empty() {
    model("nothing stranded", || {
        let (context, consumer) = Context::new(16);
        context.push(0);
        context.push(1);
        let thread = thread::spawn(move || {
            let mut ids = reap(&consumer, 1, 2);
            let pending = consumer.pending();
            if pending == Pending::Events {
                ids.extend(reap(&consumer, 1, 2));
            }
            (ids, pending)
        });
        context.push(2);
        let (ids, pending) = thread.join().unwrap();
        if pending == Pending::Nothing {
            assert_eq!(ids, [0, 1], "the ring was empty");
            assert_eq!(context.overflow_bytes(), 0, "but the consumer was told of nothing");
        }
    });
}

// SPEC: R-OVF-3, R-OVF-5
#[test]
fn a_flush_is_not_missed_by_who_empties_the_ring() {
    model("flush against reap", || {
        let (context, consumer) = Context::new(16);
        for id in 0..4 {
            context.push(id);
        }
        let flusher = {
            let context = context.clone();
            thread::spawn(move || {
                context.flush();
                context.flush();
            })
        };
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.extend(reap(&consumer, 1, 2));
            if consumer.pending() == Pending::Nothing {
                assert_eq!(ids, [0, 1, 2, 3], "all were there before");
            }
        }
        flusher.join().unwrap();
        assert!(ids.iter().copied().eq(0..ids.len() as u64));
    });
}

// SPEC: R-OVF-2, R-OVF-4
#[test]
fn nothing_overtakes_the_overflow_list() {
    model("overflow order", || {
        let (context, consumer) = Context::new(16);
        for id in 0..3 {
            context.push(id);
        }
        let thread = {
            let (context, consumer) = (context.clone(), consumer.clone());
            thread::spawn(move || {
                let mut ids = reap(&consumer, 1, 1);
                if consumer.pending() == Pending::Overflow {
                    context.flush();
                }
                ids.extend(reap(&consumer, 1, 2));
                ids
            })
        };
        context.push(3);
        context.push(4);
        let mut ids = thread.join().unwrap();
        for _ in 0..3 {
            context.flush();
            ids.extend(reap(&consumer, 1, 2));
        }
        assert_eq!(ids, [0, 1, 2, 3, 4]);
        assert_eq!(consumer.pending(), Pending::Nothing);
    });
}

/// A consumer that sleeps when it found nothing, until it has `events`.
fn reap_sleeping(
    context: &Context,
    consumer: &Consumer<StdArc<Ring>>,
    bell: &Notify,
    events: usize,
) -> Vec<u64> {
    let mut ids = Vec::new();
    while ids.len() < events {
        let got = reap(consumer, 1, 2);
        if got.is_empty() {
            if !consumer.notify_on() {
                bell.wait();
            }
            consumer.notify_off();
            if consumer.pending() == Pending::Overflow {
                context.flush();
            }
        }
        ids.extend(got);
    }
    ids
}

// SPEC: R-NOTIFY-2, R-NOTIFY-3
#[test]
fn who_goes_to_sleep_is_woken_for_an_event() {
    model("doorbell", || {
        let (context, consumer) = Context::new(32);
        let bell = Arc::new(Notify::new());
        consumer.notify_off();
        let thread = {
            let (context, bell) = (context.clone(), bell.clone());
            thread::spawn(move || reap_sleeping(&context, &consumer, &bell, 2))
        };
        for id in 0..2 {
            if context.push(id) {
                bell.notify();
            }
        }
        assert_eq!(thread.join().unwrap(), [0, 1]);
    });
}

// SPEC: R-NOTIFY-2, R-NOTIFY-3
#[test]
fn who_goes_to_sleep_is_woken_for_an_overflow() {
    model("doorbell, overflow", || {
        let (context, consumer) = Context::new(8);
        let bell = Arc::new(Notify::new());
        consumer.notify_off();
        context.push(0);
        let thread = {
            let (context, bell) = (context.clone(), bell.clone());
            thread::spawn(move || reap_sleeping(&context, &consumer, &bell, 2))
        };
        if context.push(1) {
            bell.notify();
        }
        assert_eq!(thread.join().unwrap(), [0, 1]);
    });
}

// SPEC: R-NOTIFY-3, R-NOTIFY-5
#[test]
fn switching_off_and_on_against_the_producer_loses_no_wakeup() {
    model("off/on race", || {
        let (context, consumer) = Context::new(16);
        let bell = Arc::new(Notify::new());
        let thread = {
            let (context, bell) = (context.clone(), bell.clone());
            thread::spawn(move || {
                // On, off, on: the producer may see any of them.
                consumer.notify_off();
                reap_sleeping(&context, &consumer, &bell, 1)
            })
        };
        if context.push(0) {
            bell.notify();
        }
        assert_eq!(thread.join().unwrap(), [0]);
    });
}

/// A ring of two words whose tail wraps after four, and its head with it or not.
struct Wrapping<const HEAD_BITS: u32>(Heap);

impl<const HEAD_BITS: u32> Memory for Wrapping<HEAD_BITS> {
    type Word = AtomicU64;
    const HEAD_MASK: u64 = u64::MAX >> (64 - HEAD_BITS);
    const TAIL_MASK: u32 = 31;

    fn view(&self) -> View<'_, AtomicU64> {
        self.0.view()
    }
}

/// A consumer that may sleep while all positions of the tail go by.
fn stall<const HEAD_BITS: u32>() {
    let heap = Heap::new(Geometry::new(16, 16).unwrap());
    let (mut producer, consumer) = split(Wrapping::<HEAD_BITS>(heap));
    assert!(producer.push(&event(1, 0)));
    let stalled = consumer.clone();
    let thread = thread::spawn(move || reap(&stalled, 1, 1));
    let mut ids = Vec::new();
    for id in 1..5 {
        assert!(producer.push(&event(1, id)));
        ids.extend(reap(&consumer, 1, 1));
    }
    let stalled = thread.join().unwrap();
    assert_eq!(stalled.len(), 1, "each event: the ring was never empty");
    ids.extend(stalled);
    ids.extend(reap(&consumer, 1, 1));
    ids.sort_unstable();
    assert_eq!(ids, [0, 1, 2, 3, 4], "each event once");
}

// SPEC: R-RING-11
#[test]
#[should_panic(expected = "each event")]
fn a_narrow_head_is_fooled_when_it_comes_round() {
    model("ABA, narrow head", stall::<5>);
}

// SPEC: R-RING-11
#[test]
fn a_wide_head_is_not_fooled() {
    model("ABA, wide head", stall::<64>);
}
