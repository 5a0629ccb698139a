//! Going to sleep, and being woken.

use crate::common::{Context, Ring, model, reap};
use aio2::ring::{Consumer, Pending};
use loom::sync::{Arc, Notify};
use loom::thread;
use std::sync::Arc as StdArc;

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
