//! A trace on the parser and the ring of the kernel: they are told what happens
//! in the sequential model, and must come to the same.
//!
//! SPEC: sections 5.2 to 5.6 and 6.2.

use crate::core::{Reaped, Ring};
use crate::iocbs;
use aio2::ring::header;
use aio2_abi::event;
use aio2_abi::ring::RingFlags;
use aio2_conformance::env::Factory;
use aio2_conformance::model::{self, Change, Expected};
use aio2_conformance::trace::Trace;
use std::collections::VecDeque;

/// That of the contexts of a trace.
const RING_BYTES: u32 = 4096;
/// The positions wrap soon.
const START: u64 = (1 << 32) - 512;

/// Replays the trace on the implementation, on the model, and on the C core.
///
/// # Panics
/// At the first difference.
pub fn replay(trace: &Trace, factory: &dyn Factory) {
    let rings = VecDeque::from([Ring::new(RING_BYTES, START)]);
    let mut core = Core { rings, list: VecDeque::new(), overflowed: 0 };
    trace.replay(factory, &model::file(), &mut |change| core.apply(change));
}

/// Rings and parser in C, and the overflow list that they need.
struct Core {
    /// The oldest first; events go to the last one.
    rings: VecDeque<Ring>,
    list: VecDeque<Vec<u64>>,
    /// Events that had to wait for room in earlier rings.
    overflowed: u64,
}

impl Core {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Submitted(stream, good, errno) => {
                assert_eq!(iocbs::count(stream), (*good, *errno), "the parser in C");
            }
            Change::Flushed => self.flush(),
            Change::Published(event) => self.publish(words(event)),
            Change::Grown(capacity) => {
                self.overflowed += self.last().producer().overflowed;
                self.rings.push_back(Ring::new(*capacity, START));
                let more = !self.list.is_empty();
                self.last().flag(RingFlags::OVERFLOW, more);
            }
            Change::Taken(event) => {
                let expected = Reaped::Events(words(event), 1);
                assert_eq!(self.first().reap(event.len, 1), expected, "the ring in C");
            }
            Change::TooLong(room, len) => {
                assert_eq!(self.first().reap(*room, 1), Reaped::TooLong(*len), "the ring in C");
            }
            Change::Now { ring, overflow, overflowed } => {
                let there: usize = self.rings.iter().map(|r| r.events(u32::MAX) as usize).sum();
                let page = self.last().producer();
                assert_eq!(
                    (there, self.list.len()),
                    (*ring, *overflow),
                    "in the ring, on the list"
                );
                assert_eq!((self.overflowed + page.overflowed, page.bad_heads), (*overflowed, 0));
                let flag = RingFlags::from_bits_retain(page.flags).contains(RingFlags::OVERFLOW);
                assert_eq!(flag, *overflow > 0, "OVERFLOW in C");
            }
        }
    }

    /// The ring that the consumer is at.
    fn first(&mut self) -> &mut Ring {
        while self.rings.len() > 1 && self.rings[0].is_empty() {
            self.rings.pop_front();
        }
        &mut self.rings[0]
    }

    fn last(&mut self) -> &mut Ring {
        self.rings.back_mut().expect("there is always one")
    }

    fn publish(&mut self, event: Vec<u64>) {
        if !self.list.is_empty() || !self.last().push(&event) {
            self.last().count_overflow();
            self.last().flag(RingFlags::OVERFLOW, true);
            self.list.push_back(event);
        }
    }

    fn flush(&mut self) {
        while let Some(event) = self.list.pop_front() {
            let moved = self.last().push(&event);
            if !moved {
                return self.list.push_front(event);
            }
            let more = !self.list.is_empty();
            self.last().flag(RingFlags::OVERFLOW, more);
        }
    }
}

/// The event, whose returns are of no matter to the ring.
fn words(event: &Expected) -> Vec<u64> {
    let mut words = vec![event.user_data; event.len as usize / 8];
    let flags =
        if event.begun { event::EventFlags::empty() } else { event::EventFlags::NOT_STARTED };
    (words[0], words[2]) = (header(event.len, flags.bits()), event.res as u64);
    words
}
