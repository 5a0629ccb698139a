//! Both rings: the same operations, and after each the same bytes everywhere.
//!
//! The overflow list is not in ring.c: here is one that uses it in the order
//! in which the engine's does. The kernel's own is in context.c, and differs
//! in that an event may be counted as overflowed that finds room at once.
//!
//! SPEC: sections 5.2 to 5.6.

use crate::core::{Reaped, Ring};
use aio2::ring::{Consumer, Geometry, Heap, Memory, Producer, ReapError, Sink, header, len_of};
use aio2_abi::ring::{MAGIC, ProducerPage, RingFlags};
use aio2_abi::{VERSION, event};
use arbitrary::{Arbitrary, Unstructured};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

/// An operation on a ring.
#[derive(Arbitrary, Debug)]
enum Op {
    /// An event of so many words, modulo those there can be, filled with this.
    Push(u8, u64),
    /// Moves what waits on the overflow list.
    Flush,
    /// Reaps with room for so many words, so many events.
    Reap(u8, u8),
    /// Counts the events, up to so many.
    Count(u8),
    /// Writes a head, near where it was or anywhere.
    Head(u64, bool),
    /// Puts the head back to where it should be.
    Repair,
}

/// Runs the operations that the bytes choose.
pub fn compare(bytes: &[u8]) {
    // Ends quietly where the bytes do.
    let _ = run(&mut Unstructured::new(bytes));
}

fn run(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let ring_bytes = 1024 << u.int_in_range(0..=2)?;
    let start = match u.int_in_range(0..=2)? {
        0 => u.arbitrary()?,
        1 => (1_u64 << 32).wrapping_sub(u.int_in_range(0..=2000)?),
        _ => 0_u64.wrapping_sub(u.int_in_range(0..=2000)?),
    };
    let mut pair = Pair::new(ring_bytes, start);
    while !u.is_empty() {
        let op = u.arbitrary()?;
        pair.apply(&op);
        pair.check(&op);
    }
    Ok(())
}

struct Pair {
    memory: Arc<Heap>,
    sink: Sink<Arc<Heap>>,
    consumer: Consumer<Arc<Heap>>,
    c: Ring,
    list: VecDeque<Vec<u64>>,
    /// The head was once overwritten: the two may have looked at it another
    /// number of times.
    forged: bool,
}

impl Pair {
    fn new(ring_bytes: u32, start: u64) -> Self {
        let geometry = Geometry::new(ring_bytes, event::LEN_MAX as u32).expect("it can be");
        let geometry = geometry.starting_at(start);
        let memory = Arc::new(Heap::new(geometry));
        Pair {
            sink: Sink::new(Producer::new(memory.clone())),
            consumer: Consumer::new(memory.clone()),
            c: Ring::new(ring_bytes, geometry.start()),
            memory,
            list: VecDeque::new(),
            forged: false,
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Push(words, fill) => {
                let words = 3 + usize::from(words) % 126;
                let mut event = vec![fill; words];
                event[0] = header(words as u32 * 8, fill as u32);
                self.look();
                self.sink.reserve(event::LEN_MAX).expect("there is memory");
                self.sink.push(&event, event::LEN_MAX);
                self.flush_c();
                if !self.list.is_empty() || !self.c.push(&event) {
                    self.c.count_overflow();
                    self.c.flag(RingFlags::OVERFLOW, true);
                    self.list.push_back(event);
                }
            }
            Op::Flush => {
                if !self.list.is_empty() {
                    self.look();
                }
                assert_eq!(self.sink.flush(), self.flush_c());
            }
            Op::Reap(words, max) => self.reap(usize::from(words), u32::from(max)),
            Op::Count(max) => {
                let by_c = self.c.events(max.into()) as usize;
                if !self.forged {
                    assert_eq!(by_c, self.sink.available_events(max.into()));
                }
            }
            Op::Head(value, near) => {
                let old = self.memory.view().head.load(SeqCst);
                let near_by = old.wrapping_add(value % 2048).wrapping_sub(1024);
                self.forge(if near { near_by } else { value });
            }
            Op::Repair => self.forge(self.c.producer().tail.into()),
        }
    }

    /// Has Rust load the head now, as C does at each push.
    fn look(&mut self) {
        if self.forged {
            self.sink.available_events(0);
        }
    }

    fn forge(&mut self, head: u64) {
        self.memory.view().head.store(head, SeqCst);
        self.c.set_head(head);
        self.forged = true;
    }

    fn flush_c(&mut self) -> bool {
        while let Some(event) = self.list.front()
            && self.c.push(event)
        {
            self.list.pop_front();
            self.c.flag(RingFlags::OVERFLOW, !self.list.is_empty());
        }
        self.list.is_empty()
    }

    fn reap(&mut self, words: usize, max: u32) {
        let mut buffer = vec![0; words];
        let by_rust = match self.consumer.reap(&mut buffer, max as usize) {
            Ok(events) => Reaped::Events(events.words().to_vec(), events.len() as u32),
            Err(ReapError::BufferTooSmall { event_bytes }) => Reaped::TooLong(event_bytes),
            Err(_) => {
                // Corruption stays; another consumer has not seen it.
                self.consumer = Consumer::new(self.memory.clone());
                Reaped::Corrupt
            }
        };
        let by_c = self.c.reap(words as u32 * 8, max);
        if self.forged && has_short(&by_rust) {
            // Below 24 bytes there is no event for the kernel, while the ring
            // of Rust leaves that to who reads events (SPEC 5.5, step 3).
            self.c.set_head(self.memory.view().head.load(SeqCst));
        } else {
            assert_eq!(by_rust, by_c);
        }
    }

    /// Compares everything that both have.
    fn check(&self, op: &Op) {
        let view = self.memory.view();
        let bad_heads = view.bad_heads.load(SeqCst);
        let page = self.c.producer();
        let expected = ProducerPage {
            magic: MAGIC,
            version: VERSION,
            ring_bytes: view.ring_bytes,
            event_max: view.event_max,
            tail: view.tail.load(SeqCst),
            flags: view.flags.load(SeqCst),
            overflowed: view.overflowed.load(SeqCst),
            bad_heads: if self.forged { page.bad_heads } else { bad_heads },
            ..ProducerPage::default()
        };
        assert_eq!(page, expected, "after {op:?}");
        assert_eq!(page.bad_heads == 0, bad_heads == 0, "after {op:?}");
        let head = view.head.load(SeqCst);
        assert_eq!(self.c.consumer().head, head, "after {op:?}");
        assert_eq!(self.c.is_empty(), head as u32 == page.tail, "after {op:?}");
        let list = self.list.iter().map(|e| e.len() * 8).sum::<usize>();
        assert_eq!(self.sink.overflow_bytes(), list, "after {op:?}");
        let (once, again) = self.c.data().split_at(view.words.len());
        assert_eq!(once, again, "after {op:?}");
        for (at, (by_rust, by_c)) in view.words.iter().zip(once).enumerate() {
            assert_eq!(by_rust.load(SeqCst), *by_c, "word {at} after {op:?}");
        }
    }
}

/// Whether there is an event that is shorter than one can be.
fn has_short(reaped: &Reaped) -> bool {
    match reaped {
        Reaped::TooLong(bytes) => *bytes < event::HEADER_BYTES as u32,
        Reaped::Corrupt => false,
        Reaped::Events(words, _) => {
            let mut rest = &words[..];
            while let Some(first) = rest.first() {
                let len = len_of(*first);
                if len < event::HEADER_BYTES as u32 {
                    return true;
                }
                rest = &rest[len as usize / 8..];
            }
            false
        }
    }
}
