//! What the models share: the explorer, and rings whose threads may be switched
//! at each access.

use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed as StdRelaxed};

use aio2::ring::{
    Consumer, Geometry, Heap, Memory, Producer, Sink, View, Word, header, len_of, split,
};
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

/// Explores all interleavings of `body`, and tells how many there were.
pub fn model(name: &str, body: impl Fn() + Sync + Send + 'static) {
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
pub struct Step(Arc<AtomicU64>);

impl Step {
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(0)))
    }

    pub fn step(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// A ring in which threads may be switched at each access.
pub struct Stepped<W> {
    pub heap: Heap<SteppedWord<W>>,
    step: Step,
    /// False: at accesses to the data only.
    at_views: bool,
}

pub struct SteppedWord<W> {
    pub word: W,
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

impl<W> Stepped<W> {
    /// Threads are switched at accesses to the data only.
    pub fn coarse(self) -> Self {
        Stepped { at_views: false, ..self }
    }
}

pub fn stepped<W: Word>(bytes: u32, word: fn(u64) -> W) -> Stepped<W> {
    let step = Step::new();
    let heap = Heap::with_words(geometry(bytes), |value| SteppedWord {
        word: word(value),
        step: step.clone(),
    });
    Stepped { heap, step, at_views: true }
}

pub type Ring = Stepped<AtomicU64>;

/// A ring of `bytes` whose second word is beyond the wrap.
pub fn ring(bytes: u32) -> Ring {
    stepped(bytes, AtomicU64::new)
}

pub fn geometry(bytes: u32) -> Geometry {
    Geometry::new(bytes, bytes).unwrap().starting_at((1 << 32) - 8)
}

/// An event of `words` words. No word of it but the first is a length.
pub fn event(words: usize, id: u64) -> Vec<u64> {
    let mut event = vec![payload(id); words];
    event[0] = header(words as u32 * 8, id as u32);
    event
}

/// As the first word of an event, a length that is not a multiple of 8.
pub fn payload(id: u64) -> u64 {
    header(0xffff_fff1, id as u32)
}

/// The id of an event, every word of which must be its own.
pub fn id_of(event: &[u64]) -> u64 {
    let id = event[0].wrapping_sub(header(len_of(event[0]), 0)) / header(0, 1);
    assert_eq!(event, self::event(event.len(), id), "words of different events");
    id
}

/// Reaps `attempts` times, at most `batch` events each; the ids.
pub fn reap<M: Memory>(consumer: &Consumer<M>, attempts: usize, batch: usize) -> Vec<u64> {
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
pub fn once<W: Word + Send + Sync + 'static>(
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

/// A sink under a lock, as whoever owns an overflow list has it.
pub struct Context {
    sink: Mutex<Sink<StdArc<Ring>>>,
}

impl Context {
    pub fn new(bytes: u32) -> (Arc<Self>, Consumer<StdArc<Ring>>) {
        let (producer, consumer) = split(ring(bytes));
        (Arc::new(Self { sink: Mutex::new(Sink::new(producer)) }), consumer)
    }

    pub fn push(&self, id: u64) -> bool {
        let mut sink = self.sink.lock().unwrap();
        sink.reserve(8).unwrap();
        sink.push(&event(1, id), 8);
        sink.should_notify()
    }

    pub fn flush(&self) {
        self.sink.lock().unwrap().flush();
    }

    pub fn overflow_bytes(&self) -> usize {
        self.sink.lock().unwrap().overflow_bytes()
    }
}
