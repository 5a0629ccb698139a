//! A head that comes round: what would happen without its 64 bits.
//!
//! The models of `loom.rs` show it for one interleaving after another; here
//! are threads of the machine, which must be fooled by a head of 8 bits, and
//! Spin, which must find the same in a model of its own (`aba.pml`).
#![cfg(not(aio2_loom))]

use aio2::ring::{Consumer, Geometry, Heap, Memory, View, Word, header, split};
use std::cell::RefCell;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

/// A word whose reader is interrupted after it has read: between the copy and
/// the swap, that is.
struct Interrupted(AtomicU64);

thread_local! {
    /// Where this thread waits once, twice over, when it has read a word.
    static INTERRUPT: RefCell<Option<Arc<Barrier>>> = const { RefCell::new(None) };
}

impl Word for Interrupted {
    fn load(&self) -> u64 {
        let value = Word::load(&self.0);
        match INTERRUPT.take() {
            Some(barrier) => {
                barrier.wait();
                barrier.wait();
            }
            None => thread::yield_now(),
        }
        value
    }

    fn store(&self, value: u64) {
        Word::store(&self.0, value);
    }
}

/// A ring whose tail has 8 bits, and whose head has `HEAD_BITS`.
struct Narrow<const HEAD_BITS: u32>(Heap<Interrupted>);

impl<const HEAD_BITS: u32> Memory for Narrow<HEAD_BITS> {
    type Word = Interrupted;
    const HEAD_MASK: u64 = u64::MAX >> (64 - HEAD_BITS);
    const TAIL_MASK: u32 = 255;

    fn view(&self) -> View<'_, Interrupted> {
        self.0.view()
    }
}

/// What the consumers have seen.
struct Seen {
    times: Vec<AtomicU8>,
    wrong: AtomicU64,
    done: AtomicBool,
}

impl Seen {
    fn reap<M: Memory>(&self, mut consumer: Consumer<M>, again: impl Fn() -> Consumer<M>) {
        loop {
            let done = self.done.load(Ordering::SeqCst);
            let mut buffer = [0];
            match consumer.reap(&mut buffer, 1).map(|mut events| events.next().map(|e| e[0])) {
                Ok(Some(event)) => {
                    let times = &self.times[(event >> 32) as usize];
                    let twice = times.fetch_add(1, Ordering::SeqCst) > 0;
                    self.wrong.fetch_add(twice.into(), Ordering::SeqCst);
                }
                Ok(None) if done => return,
                Ok(None) => thread::yield_now(),
                Err(_) => {
                    self.wrong.fetch_add(1, Ordering::SeqCst);
                    consumer = again();
                }
            }
        }
    }
}

/// Sends up to `events` events to three consumers, until one came twice or the
/// ring was called corrupt. How often, and how many were sent.
fn wrong_of<const HEAD_BITS: u32>(events: u32) -> (u64, u32) {
    let geometry = Geometry::new(32, 8).expect("sizes that can be");
    let heap = Heap::with_words(geometry, |value| Interrupted(AtomicU64::new(value)));
    let (mut producer, consumer) = split(Narrow::<HEAD_BITS>(heap));
    let seen = Seen {
        times: (0..events).map(|_| AtomicU8::new(0)).collect(),
        wrong: AtomicU64::new(0),
        done: AtomicBool::new(false),
    };
    let mut sent = 0;
    thread::scope(|scope| {
        for _ in 0..3 {
            let consumer = consumer.clone();
            let memory = consumer.memory().clone();
            let seen = &seen;
            scope.spawn(move || seen.reap(consumer, || Consumer::new(memory.clone())));
        }
        while sent < events && seen.wrong.load(Ordering::SeqCst) == 0 {
            if producer.push(&[header(8, sent)]) {
                sent += 1;
            } else {
                thread::yield_now();
            }
        }
        seen.done.store(true, Ordering::SeqCst);
    });
    (seen.wrong.load(Ordering::SeqCst), sent)
}

/// One consumer reads event 0 and is interrupted until another has reaped as
/// many events as bring a head of 8 bits round. Which event does it get?
fn interrupted_for_a_lap<const HEAD_BITS: u32>() -> u32 {
    const LAP: u32 = 256 / 8;
    let geometry = Geometry::new(32, 8).expect("sizes that can be");
    let heap = Heap::with_words(geometry, |value| Interrupted(AtomicU64::new(value)));
    let (mut producer, mut other) = split(Narrow::<HEAD_BITS>(heap));
    let reap = |consumer: &mut Consumer<_>| {
        let mut buffer = [0];
        let mut events = consumer.reap(&mut buffer, 1).expect("a ring that is whole");
        events.next().map(|event| (event[0] >> 32) as u32).expect("an event")
    };
    assert!(producer.push(&[header(8, 0)]), "room for the first");
    let mut consumer = other.clone();
    let barrier = Arc::new(Barrier::new(2));
    thread::scope(|scope| {
        let interrupted = scope.spawn({
            let barrier = barrier.clone();
            move || {
                INTERRUPT.set(Some(barrier));
                reap(&mut consumer)
            }
        });
        barrier.wait();
        for event in 0..LAP {
            assert_eq!(reap(&mut other), event);
            assert!(producer.push(&[header(8, event + 1)]), "room for one more");
        }
        barrier.wait();
        interrupted.join().expect("the interrupted consumer")
    })
}

// SPEC: R-RING-11
#[test]
fn a_thread_is_fooled_by_a_head_of_8_bits() {
    assert_eq!(interrupted_for_a_lap::<8>(), 0, "event 0 a second time");
}

// SPEC: R-RING-11
#[test]
fn a_thread_is_not_fooled_by_a_head_of_64_bits() {
    assert_eq!(interrupted_for_a_lap::<64>(), 32, "the event that is there");
}

// SPEC: R-RING-11, R-RING-13
#[test]
fn threads_are_not_fooled_by_a_head_of_64_bits() {
    assert_eq!(wrong_of::<64>(20_000), (0, 20_000));
}

/// Spin's verdict on the model with this modulus; `None` if there is no Spin.
fn spin(modulus: u32) -> Option<String> {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aba.pml");
    let work = tempfile::tempdir().expect("a directory to work in");
    let run = Command::new("spin")
        .current_dir(work.path())
        .arg(format!("-DM={modulus}"))
        .arg("-search")
        .arg(model)
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&run.stdout).into_owned())
}

// SPEC: R-RING-11
#[test]
fn spin_finds_the_event_that_comes_twice() {
    for (modulus, fails) in [(4, true), (6, true), (8, false)] {
        let Some(said) = spin(modulus) else {
            // Past the test runner, which would keep it to itself.
            let _ = writeln!(std::io::stdout(), "SKIP aba.pml: spin is not installed");
            return;
        };
        assert_eq!(said.contains("assertion violated"), fails, "modulus {modulus}: {said}");
        assert_eq!(said.contains("errors: 0"), !fails, "modulus {modulus}: {said}");
    }
}
