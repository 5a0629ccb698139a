//! A consumer that sleeps while all positions go by.

use crate::common::{event, model, reap};
use aio2::ring::{Geometry, Heap, Memory, View, split};
use loom::sync::atomic::AtomicU64;
use loom::thread;

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
