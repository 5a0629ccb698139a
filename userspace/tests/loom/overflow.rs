//! The overflow list behind a full ring.

use crate::common::{Context, event, model, reap, ring};
use aio2::ring::{Pending, split};
use loom::thread;

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

// SPEC: R-LIFE-1
#[test]
fn who_sees_that_nothing_will_come_sees_what_came() {
    model("dead against reap", || {
        let (mut producer, consumer) = split(ring(16));
        let thread = thread::spawn(move || {
            let dead = consumer.is_dead();
            let ids = reap(&consumer, 1, 2);
            assert!(!dead || ids == [0], "an event comes after the end");
        });
        assert!(producer.push(&event(1, 0)));
        producer.set_dead();
        thread.join().unwrap();
    });
}

// SPEC: R-LIFE-1
#[test]
fn who_reads_in_place_sees_what_came_before_the_end() {
    // One look at `tail` only, where a consumer that copies takes a second one.
    model("dead against reading in place", || {
        let (mut producer, consumer) = split(ring(16));
        let mut consumer = consumer.into_exclusive().ok().unwrap();
        let thread = thread::spawn(move || {
            let dead = consumer.is_dead();
            let is_there = consumer.drain().unwrap().next().unwrap().is_some();
            assert!(!dead || is_there, "an event comes after the end");
        });
        assert!(producer.push(&event(1, 0)));
        producer.set_dead();
        thread.join().unwrap();
    });
}
