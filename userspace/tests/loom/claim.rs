//! Claiming events: each one once, in order, whole, and no corruption where there
//! is none.

use crate::common::{event, id_of, model, once, payload, reap, ring};
use aio2::ring::{Consumer, Memory, ReapError, split};
use loom::sync::atomic::Ordering;
use loom::thread;

// SPEC: R-RING-9, R-RING-10, R-RING-12, R-OVF-7
#[test]
fn each_event_once_and_in_order_with_two_consumers() {
    model("once with 2 consumers", || once(ring(16), &[1], 2, &[2, 1], 1));
}

// SPEC: R-RING-12, R-OVF-7
#[test]
fn each_event_once_and_in_order_with_three_consumers() {
    // With all steps there are too many interleavings.
    model("once with 3 consumers", || once(ring(8).coarse(), &[1], 1, &[1, 1, 1], 1));
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
