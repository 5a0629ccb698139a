//! A ring that is replaced by a larger one under its consumers.

use std::sync::Arc as StdArc;

use crate::common::{Ring, Step, event, model, reap, ring};
use aio2::ring::{Consumer, Pending, Sink, split};
use loom::thread;

fn push(sink: &mut Sink<StdArc<Ring>>, id: u64) {
    sink.reserve(8).unwrap();
    sink.push(&event(1, id), 8);
}

/// Reaps `attempts` times, going on to the next ring where it may; the ids.
fn reap_over_rings(consumer: &mut Consumer<StdArc<Ring>>, attempts: usize) -> Vec<u64> {
    let mut ids = Vec::new();
    for _ in 0..attempts {
        ids.extend(reap(consumer, 1, 2));
        consumer.advance();
    }
    assert!(ids.is_sorted_by(|a, b| a < b), "a consumer sees events in order: {ids:?}");
    ids
}

/// The ring `old` is replaced by `new` while as many consumers as `attempts`
/// has reap so many times; `before` events are there, and one more is published
/// before it, and one after it.
fn grow_against(old: Ring, new: Ring, before: u64, attempts: &[usize]) {
    let (producer, mut consumer) = split(old);
    let mut sink = Sink::new(producer);
    (0..before).for_each(|id| push(&mut sink, id));
    // Known from the beginning, so that only FROZEN tells when to go on.
    let (producer, next) = split(new);
    aio2::ring::append(&consumer, next);
    let alone = attempts.len() == 1;
    let threads: Vec<_> = attempts
        .iter()
        .map(|&attempts| {
            let mut consumer = consumer.clone();
            thread::spawn(move || {
                let ids = reap_over_rings(&mut consumer, attempts);
                if alone && consumer.pending() == Pending::Nothing {
                    assert!(ids.iter().copied().take(before as usize).eq(0..before), "{ids:?}");
                }
                ids
            })
        })
        .collect();
    // No barrier between them, as there is one if somebody is told.
    push(&mut sink, before);
    aio2::ring::grow(&mut sink, producer, || ()).unwrap();
    push(&mut sink, before + 1);
    let mut ids: Vec<u64> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
    ids.sort_unstable();
    assert!(ids.iter().copied().eq(0..ids.len() as u64), "the oldest are taken first: {ids:?}");
    while consumer.pending() != Pending::Nothing {
        if consumer.pending() == Pending::Overflow {
            sink.flush();
        }
        ids.extend(reap_over_rings(&mut consumer, 1));
    }
    assert!(ids.iter().copied().eq(0..before + 2), "each event once: {ids:?}");
}

// SPEC: R-GROW-1, R-GROW-2, R-GROW-3
#[test]
fn each_event_once_and_in_order_while_the_ring_grows() {
    model("grow against reap", || grow_against(ring(16), ring(32), 1, &[3]));
}

// SPEC: R-GROW-1, R-GROW-2, R-GROW-3
#[test]
fn each_event_once_and_in_order_while_the_ring_grows_with_two_consumers() {
    // With all steps there are too many interleavings.
    let body = || grow_against(ring(16).coarse(), ring(32).coarse(), 1, &[2, 2]);
    model("grow with 2 consumers", body);
}

// SPEC: R-GROW-3, R-OVF-5
#[test]
fn what_was_on_the_overflow_list_is_found_in_the_next_ring() {
    // The new one is as small, so that some of the list is left.
    model("grow with overflow", || grow_against(ring(16), ring(16), 4, &[3]));
}

// SPEC: R-GROW-2
#[test]
fn who_finds_the_ring_frozen_can_go_on() {
    model("frozen against linking", || {
        let (producer, consumer) = split(ring(16));
        let mut sink = Sink::new(producer);
        let step = Step::new();
        let thread = thread::spawn({
            let (mut consumer, step) = (consumer.clone(), step.clone());
            move || {
                step.step();
                let frozen = consumer.pending() == Pending::Frozen;
                assert!(!frozen || consumer.advance(), "the next ring is not known");
            }
        });
        let (producer, next) = split(ring(32));
        let link = || {
            step.step();
            aio2::ring::append(&consumer, next);
        };
        aio2::ring::grow(&mut sink, producer, link).unwrap();
        thread.join().unwrap();
    });
}
