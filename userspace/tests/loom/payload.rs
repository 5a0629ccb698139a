//! The payload happens before its reading, and that before its reuse; and a
//! producer is not fooled by a head.

use crate::common::{Stepped, event, id_of, model, once, ring, stepped};
use aio2::ring::{Memory, Word, split};
use loom::cell::UnsafeCell;
use loom::sync::atomic::Ordering;
use loom::thread;

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
