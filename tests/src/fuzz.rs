//! The bodies of the fuzz targets: from any bytes to checks that may panic.
//!
//! A target of `fuzz/` calls one of these; a plain test runs each on the saved
//! corpus and on some random bytes. Each body has its own idea of what is
//! right, written apart from the code that it checks.
//!
//! SPEC: sections 4.1, 5, 6.2, 7 and 12.2 (R-HOST-1 to R-HOST-4).

use crate::backends::InProcess;
use crate::env::Factory;
use crate::model;
use crate::trace::Trace;
use crate::words::Words;
use aio2::engine::Engine;
use aio2::ring::{
    Consumer, Geometry, Heap, Memory, Pending, ReapError, Sink, header, len_of, split,
};
use aio2_abi::attr;
use aio2_abi::event;
use aio2_abi::iocb;
use aio2_abi::random::{Events, Iocbs};
use aio2_abi::setup::Setup;
use arbitrary::{Arbitrary, Unstructured};
use libc::{E2BIG, EBADF, EINVAL};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use zerocopy::{FromBytes, IntoBytes};

/// A body.
pub type Body = fn(&[u8]);

/// The targets, by name.
pub const TARGETS: &[(&str, Body)] = &[
    ("iocb_stream", iocb_stream),
    ("event_stream", event_stream),
    ("encode_decode", encode_decode),
    ("ring_ops", ring_ops),
    ("hostile_peer", hostile_peer),
    ("engine_ops", engine_ops),
    ("setup_params", setup_params),
];

/// The bytes at an aligned address, whatever their number.
fn aligned(bytes: &[u8]) -> Vec<u64> {
    let mut words = vec![0; bytes.len().div_ceil(8)];
    words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
    words
}

/// The bytes as they are, and as the choices of a random stream.
fn both_streams(bytes: &[u8], check: impl Fn(&[u8]), of_choices: impl Fn(&mut Unstructured<'_>)) {
    let words = aligned(bytes);
    check(&words.as_bytes()[..bytes.len()]);
    of_choices(&mut Unstructured::new(bytes));
}

fn u16_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u64 {
    u16_at(bytes, at) | u16_at(bytes, at + 2) << 16
}

/// Section 6.2, rule by rule: the length of the iocb at the start, or the error.
fn check_iocb(bytes: &[u8]) -> Result<usize, i32> {
    if bytes.len() < 32 {
        return Err(EINVAL);
    }
    let len = u32_at(bytes, 0) as usize;
    if !len.is_multiple_of(8) || len < 32 {
        return Err(EINVAL);
    }
    if len > 1024 {
        return Err(E2BIG);
    }
    if len > bytes.len() || u16_at(bytes, 6) > 15 || u32_at(bytes, 12) != 0 {
        return Err(EINVAL);
    }
    if bytes[24..32].iter().any(|b| *b != 0) && u16_at(bytes, 6) & 1 == 0 {
        return Err(EINVAL);
    }
    let nr_args = u16_at(bytes, 4) as usize;
    if nr_args > 6 || 32 + 8 * nr_args > len {
        return Err(EINVAL);
    }
    let mut at = 32 + 8 * nr_args;
    let mut seen = Vec::new();
    while at < len {
        let (id, size) = (u16_at(bytes, at), u16_at(bytes, at + 2) as usize);
        if size < 8 || !size.is_multiple_of(8) || at + size > len {
            return Err(EINVAL);
        }
        if !(1..=63).contains(&id) || u32_at(bytes, at + 4) > 3 || seen.contains(&id) {
            return Err(EINVAL);
        }
        seen.push(id);
        at += size;
    }
    Ok(len)
}

/// Any bytes as a stream of iocbs.
pub fn iocb_stream(bytes: &[u8]) {
    both_streams(bytes, check_iocbs, |u| {
        if let Ok(stream) = Iocbs::arbitrary(u) {
            check_iocbs(stream.bytes());
        }
    });
}

fn check_iocbs(bytes: &[u8]) {
    let mut stream = iocb::Stream::new(bytes).expect("it is aligned");
    let mut at = 0;
    loop {
        assert_eq!(stream.consumed(), at);
        let Some(item) = stream.next() else {
            assert_eq!(at, bytes.len(), "it ends at the end");
            return;
        };
        match (item, check_iocb(&bytes[at..])) {
            (Ok(parsed), Ok(len)) => {
                check_parsed(&parsed, &bytes[at..at + len]);
                at += len;
            }
            (Err(malformed), Err(errno)) => {
                assert_eq!(malformed.errno(), errno, "{malformed}");
                assert_eq!(stream.next().map(|i| i.err()), Some(Some(malformed)), "it stays");
                return;
            }
            (parsed, expected) => panic!("at {at}: {parsed:?}, and by the rules {expected:?}"),
        }
    }
}

fn check_parsed(parsed: &iocb::Iocb<'_>, bytes: &[u8]) {
    assert_eq!(parsed.header.len as usize, bytes.len());
    let nr_args = usize::from(parsed.header.nr_args);
    assert_eq!(parsed.args[..nr_args].as_bytes(), &bytes[32..32 + 8 * nr_args]);
    assert!(parsed.args[nr_args..].iter().all(|a| *a == 0));
    let (mut at, mut mask, mut room) = (32 + 8 * nr_args, 0, 24);
    for a in parsed.attrs() {
        assert_eq!(a.payload, &bytes[at + 8..at + 8 + a.payload.len()]);
        at += 8 + a.payload.len();
        mask |= 1_u64 << a.id;
        if a.flags.contains(attr::AttrFlags::RETURN) {
            room += 8 + attr::kind(a.id).map_or(0, |k| u32::from(k.returns));
        }
    }
    assert_eq!((at, mask, room), (bytes.len(), parsed.attr_mask, parsed.event_bytes));
    assert!(room <= event::LEN_MAX as u32);
}

/// Any bytes as a stream of events.
pub fn event_stream(bytes: &[u8]) {
    both_streams(bytes, check_events, |u| {
        if let Ok(stream) = Events::arbitrary(u) {
            check_events(stream.bytes());
        }
    });
}

/// The length of the event at the start, if there is one.
fn check_event(bytes: &[u8]) -> Option<usize> {
    if bytes.len() < 24 {
        return None;
    }
    let len = u32_at(bytes, 0) as usize;
    if !len.is_multiple_of(8) || !(24..=1024).contains(&len) || len > bytes.len() {
        return None;
    }
    let mut at = 24;
    while at < len {
        let size = u16_at(bytes, at + 2) as usize;
        if size < 8 || !size.is_multiple_of(8) || at + size > len {
            return None;
        }
        at += size;
    }
    Some(len)
}

fn check_events(bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        let expected = check_event(rest);
        match event::EventView::parse(rest) {
            Ok((event, behind)) => {
                let len = rest.len() - behind.len();
                assert_eq!(expected, Some(len));
                let mut at = 24;
                for ret in event.returns() {
                    assert_eq!(u16_at(rest, at), u64::from(ret.id));
                    at += 8 + ret.payload.len();
                    let first = event.find(ret.id).expect("there is one");
                    assert_eq!(first.id, ret.id);
                }
                assert_eq!(at, len, "all returns are seen, unknown ones too");
                rest = behind;
            }
            Err(malformed) => {
                assert_eq!(expected, None, "{malformed}");
                return;
            }
        }
    }
}

/// What is encoded is what is parsed.
pub fn encode_decode(bytes: &[u8]) {
    // Ends quietly where the bytes do.
    let _ = round_trip(&mut Unstructured::new(bytes));
}

fn round_trip(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let mut room = [0_u64; 128];
    let size = u.int_in_range(0..=1024)?;
    let buffer = &mut room.as_mut_bytes()[..size];
    let args: Vec<u64> = u.arbitrary()?;
    let (nr, user_data) = (u.arbitrary()?, u.arbitrary()?);
    let flags = iocb::IocbFlags::from_bits_truncate(u.arbitrary()?);
    let Ok(mut encoder) = iocb::Encoder::new(buffer, nr, &args, flags, user_data) else {
        assert!(args.len() > 6 || size < 32 + 8 * args.len());
        return Ok(());
    };
    let mut expected = Vec::new();
    for id in 1..=u.int_in_range(0..=attr::ID_MAX)? {
        let flags = attr::AttrFlags::from_bits_truncate(u.arbitrary()?);
        let payload: Vec<u8> = u.arbitrary()?;
        let before = encoder.len();
        if encoder.attr(id, flags, &payload).is_ok() {
            expected.push((id, flags, payload));
        } else {
            assert_eq!(encoder.len(), before, "nothing is written");
        }
    }
    let len = encoder.len();
    let mut stream = iocb::Stream::new(&room.as_bytes()[..len]).expect("it is aligned");
    let parsed = stream.next().expect("an iocb").expect("it is well-formed");
    assert!(stream.next().is_none());
    assert_eq!((parsed.header.nr, parsed.header.user_data), (nr, user_data));
    assert_eq!((parsed.flags(), &parsed.args[..args.len()]), (flags, &args[..]));
    let attrs: Vec<_> = parsed.attrs().collect();
    assert_eq!(attrs.len(), expected.len());
    for (a, (id, flags, payload)) in attrs.iter().zip(&expected) {
        assert_eq!((a.id, a.flags), (*id, *flags));
        assert_eq!(&a.payload[..payload.len()], payload);
        assert!(a.payload[payload.len()..].iter().all(|b| *b == 0) && a.payload.len() % 8 == 0);
    }
    Ok(())
}

/// A step on a ring.
#[derive(Arbitrary, Debug)]
enum Step {
    /// Pushes an event of up to 8 words.
    Push(u8),
    /// Pushes several in a batch.
    Batch(u8, u8),
    /// Moves the overflow list.
    Flush,
    /// Reaps with a buffer of so many words, so many events.
    Reap(u8, u8),
    /// Asks what is pending.
    Pending,
    /// Goes on in a ring of twice the size, from any start.
    Grow(u64),
    /// Goes on to the next ring, if there is one and this one is empty.
    Advance,
    /// Pushes an event of up to 8 words, if it fits.
    PushIfFits(u8),
}

fn ring_memory(u: &mut Unstructured<'_>, event_words: u32) -> arbitrary::Result<Geometry> {
    let ring_bytes = 64 << u.int_in_range(0..=3)?;
    let start = match u.int_in_range(0..=2)? {
        0 => u.arbitrary()?,
        1 => (1_u64 << 32).wrapping_sub(u.int_in_range(0..=300)?),
        _ => 0_u64.wrapping_sub(u.int_in_range(0..=300)?),
    };
    let geometry = Geometry::new(ring_bytes, event_words * 8).expect("sizes that can be");
    Ok(geometry.starting_at(start))
}

/// Operations on a ring, from any start, against a list.
pub fn ring_ops(bytes: &[u8]) {
    let _ = ring_against_list(&mut Unstructured::new(bytes));
}

/// The events of a sink, as lists.
struct Lists {
    /// In the rings, the oldest first, each with its size in bytes.
    rings: VecDeque<(usize, VecDeque<Vec<u64>>)>,
    list: VecDeque<Vec<u64>>,
    overflowed: u64,
}

fn bytes_of(events: &VecDeque<Vec<u64>>) -> usize {
    events.iter().map(|e| e.len() * 8).sum()
}

impl Lists {
    fn fits(&self, event: &[u64]) -> bool {
        let (room, ring) = self.rings.back().expect("there is a ring");
        bytes_of(ring) + event.len() * 8 <= *room
    }

    fn put(&mut self, event: Option<Vec<u64>>) {
        self.rings.back_mut().expect("there is a ring").1.extend(event);
    }

    fn flush(&mut self) {
        while self.list.front().is_some_and(|e| self.fits(e)) {
            let event = self.list.pop_front();
            self.put(event);
        }
    }

    fn push_if_fits(&mut self, event: Vec<u64>) -> bool {
        self.flush();
        let fits = self.list.is_empty() && self.fits(&event);
        self.put(fits.then_some(event));
        fits
    }

    fn push(&mut self, event: Vec<u64>) {
        self.flush();
        if self.list.is_empty() && self.fits(&event) {
            self.put(Some(event));
        } else {
            self.list.push_back(event);
            self.overflowed += 1;
        }
    }

    /// The ring that the consumer is at.
    fn ring(&mut self) -> &mut VecDeque<Vec<u64>> {
        &mut self.rings.front_mut().expect("there is a ring").1
    }

    /// Goes on to the next ring that is not empty, or the last one.
    fn advance(&mut self) -> bool {
        let before = self.rings.len();
        while self.rings.len() > 1 && self.ring().is_empty() {
            self.rings.pop_front();
        }
        self.rings.len() < before
    }

    fn pending(&mut self) -> Pending {
        match (self.ring().is_empty(), self.rings.len() > 1, self.list.is_empty()) {
            (false, ..) => Pending::Events,
            (true, true, _) => Pending::Frozen,
            (true, false, false) => Pending::Overflow,
            (true, false, true) => Pending::Nothing,
        }
    }
}

fn ring_against_list(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let geometry = ring_memory(u, 8)?;
    let (producer, mut consumer) = split(Heap::new(geometry));
    let mut sink = Sink::new(producer);
    let mut room = geometry.ring_bytes();
    let rings = VecDeque::from([(room as usize, VecDeque::new())]);
    let mut lists = Lists { rings, list: VecDeque::new(), overflowed: 0 };
    let mut id = 0;
    while !u.is_empty() {
        match u.arbitrary()? {
            Step::Push(words) => {
                id += 1;
                let event = make_event(1 + usize::from(words % 8), id);
                sink.reserve(64).expect("there is memory");
                sink.push(&event, 64);
                lists.push(event);
            }
            Step::Batch(count, words) => {
                let mut batch = Vec::new();
                for n in 0..count % 8 {
                    id += 1;
                    let event = make_event(1 + usize::from(words.rotate_left(n.into()) % 8), id);
                    sink.reserve(64).expect("there is memory");
                    batch.push(event);
                }
                {
                    let mut open = sink.batch();
                    batch.iter().for_each(|e| open.push(e, 64));
                }
                batch.into_iter().for_each(|event| lists.push(event));
            }
            Step::Flush => {
                lists.flush();
                assert_eq!(sink.flush(), lists.list.is_empty());
            }
            Step::Reap(words, max) => {
                let mut buffer = vec![0; usize::from(words % 40)];
                let size = buffer.len();
                let ring = lists.ring();
                match consumer.reap(&mut buffer, max.into()) {
                    Ok(events) => {
                        let mut left = size;
                        let count = events.len();
                        for event in events {
                            left -= event.len();
                            assert_eq!(ring.pop_front().as_deref(), Some(event));
                        }
                        let fits = ring.front().is_some_and(|e| e.len() <= left);
                        assert!(count == usize::from(max) || !fits, "it takes all that it can");
                    }
                    Err(ReapError::BufferTooSmall { event_bytes }) => {
                        let first = ring.front().expect("there is one");
                        assert_eq!(event_bytes as usize, first.len() * 8);
                        assert!(first.len() > size && max > 0);
                    }
                    Err(e) => panic!("nobody broke it: {e:?}"),
                }
            }
            Step::Pending => assert_eq!(consumer.pending(), lists.pending()),
            Step::Grow(_) if room == 4096 => {}
            Step::Grow(start) => {
                room *= 2;
                let geometry = Geometry::new(room, 64).expect("sizes that can be");
                let (producer, next) = split(Heap::new(geometry.starting_at(start)));
                aio2::ring::grow(&mut sink, producer, || aio2::ring::append(&consumer, next))
                    .expect("there is memory");
                lists.rings.push_back((room as usize, VecDeque::new()));
                lists.flush();
            }
            Step::Advance => assert_eq!(consumer.advance(), lists.advance()),
            // Nothing is reserved for it. SPEC: R-OVF-8
            Step::PushIfFits(words) => {
                id += 1;
                let event = make_event(1 + usize::from(words % 8), id);
                assert_eq!(sink.push_if_fits(&event), lists.push_if_fits(event));
            }
        }
        let there = lists.rings.iter().map(|ring| ring.1.len()).sum();
        assert_eq!(sink.available_events(usize::MAX), there);
        assert_eq!(sink.overflow_bytes(), bytes_of(&lists.list));
        assert_eq!(sink.overflowed(), lists.overflowed);
        assert_eq!(sink.producer().bad_heads(), 0);
        assert_eq!(sink.reserved_bytes(), 0);
    }
    Ok(())
}

fn make_event(words: usize, id: u64) -> Vec<u64> {
    let mut event = vec![id; words];
    event[0] = header(words as u32 * 8, 0);
    event
}

/// A step of a peer that keeps no rules.
#[derive(Arbitrary, Debug)]
enum Hostile {
    /// Overwrites the head, near where it was or anywhere.
    Head(u64, bool),
    /// Overwrites the notification control.
    Notify(u32),
    /// Overwrites the tail, as only the producer may.
    Tail(u32, bool),
    /// Overwrites the producer's flags.
    Flags(u32),
    /// Overwrites a word of the data.
    Word(u16, u64),
    /// The producer works.
    Push(u8),
    /// The producer moves the list.
    Flush,
    /// A consumer works.
    Reap(u8, u8),
    /// A consumer that is alone works, on a ring of its own.
    Drain(u8),
}

/// A ring whose shared words are overwritten at any step.
pub fn hostile_peer(bytes: &[u8]) {
    let _ = hostile(&mut Unstructured::new(bytes));
}

fn hostile(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let geometry = ring_memory(u, 8)?;
    let memory = Arc::new(Heap::new(geometry));
    let mut sink = Sink::new(aio2::ring::Producer::new(memory.clone()));
    let consumer = Consumer::new(memory.clone());
    let alone = Consumer::new(memory.clone()).into_exclusive();
    let mut alone = alone.unwrap_or_else(|_| panic!("it has no clones"));
    let view = memory.view();
    let (mut broken, mut broken_alone) = (None, None);
    let mut tail = view.tail.load(SeqCst);
    // What a producer keeps to itself; the shared copies may be anything.
    let mut overflowed = 0;
    while !u.is_empty() {
        match u.arbitrary()? {
            Hostile::Head(value, near) => {
                let old = view.head.load(SeqCst);
                let near_by = old.wrapping_add(value % 512).wrapping_sub(256);
                view.head.store(if near { near_by } else { value }, SeqCst);
            }
            Hostile::Notify(value) => view.notify.store(value, SeqCst),
            Hostile::Tail(value, near) => {
                let near_by = tail.wrapping_add(value % 512).wrapping_sub(256);
                view.tail.store(if near { near_by } else { value }, SeqCst);
            }
            Hostile::Flags(value) => view.flags.store(value, SeqCst),
            Hostile::Word(at, value) => {
                view.words[usize::from(at) % view.words.len()].store(value, SeqCst)
            }
            Hostile::Push(words) => {
                let event = make_event(1 + usize::from(words % 8), 7);
                let (list, before) = (sink.overflow_bytes(), sink.overflowed());
                sink.reserve(64).expect("there is memory");
                sink.push(&event, 64);
                if sink.overflowed() == before {
                    // It went to the ring, so the list is empty, and what was
                    // published stands where the producer knows its tail to be.
                    assert_eq!(sink.overflow_bytes(), 0);
                    tail = view.tail.load(SeqCst);
                } else {
                    assert!(sink.overflow_bytes() <= list + event.len() * 8);
                    overflowed = sink.overflowed();
                }
                assert!(sink.overflowed() >= overflowed);
                let _ = sink.should_notify();
                assert!(sink.available_events(9) <= 9);
            }
            Hostile::Flush => {
                let before = sink.overflow_bytes();
                let empty = sink.flush();
                assert!(sink.overflow_bytes() <= before);
                assert_eq!(empty, sink.overflow_bytes() == 0);
            }
            Hostile::Reap(words, max) => {
                let mut buffer = vec![0; usize::from(words % 40)];
                let size = buffer.len();
                let result = consumer.reap(&mut buffer, max.into());
                if let Some(broken) = broken {
                    // SPEC: R-HOST-3
                    assert_eq!(result.err(), Some(ReapError::Corrupt(broken)));
                    continue;
                }
                match result {
                    Ok(events) => {
                        let sum: usize = events.map(|e| len_of(e[0]) as usize / 8).sum();
                        assert!(sum <= size);
                    }
                    Err(ReapError::Corrupt(corruption)) => broken = Some(corruption),
                    Err(_) => {}
                }
            }
            Hostile::Drain(max) => {
                let result = alone.drain().map(|mut drain| {
                    for _ in 0..max {
                        match drain.next() {
                            Ok(Some(event)) => assert!((1..=8).contains(&event.len())),
                            Ok(None) => break,
                            Err(corruption) => return Some(corruption.into()),
                        }
                    }
                    None
                });
                if let Some(broken) = broken_alone {
                    assert_eq!(result.err(), Some(broken));
                } else {
                    broken_alone = result.unwrap_or_else(Some);
                }
            }
        }
        let _ = consumer.pending();
    }
    // SPEC: R-RING-8. The producer publishes its own tail and flags, whatever
    // stands in the page: with room everywhere the list empties.
    view.tail.store(u32::MAX, SeqCst);
    view.flags.store(u32::MAX, SeqCst);
    for _ in 0..=sink.overflow_bytes() {
        let own = sink.producer().bad_heads();
        view.head.store(u64::from(tail), SeqCst);
        if sink.flush() {
            break;
        }
        tail = view.tail.load(SeqCst);
        assert!(sink.producer().bad_heads() <= own + 1);
    }
    Ok(())
}

/// Calls on the engine, against the sequential model.
pub fn engine_ops(bytes: &[u8]) {
    use std::sync::OnceLock;
    static FILE: OnceLock<std::fs::File> = OnceLock::new();
    let trace = Trace::decode(bytes, 80);
    trace.replay(&InProcess, FILE.get_or_init(model::file), &mut |_| {});
}

/// The table of section 4.1, as far as it concerns a probe.
fn check_setup(s: &Setup) -> Option<i32> {
    let (probe, eventfd, grow) = (s.flags & 1 != 0, s.flags & 2 != 0, s.flags & 4 != 0);
    if s.version == 0 || s.flags > 7 || probe && grow {
        return Some(EINVAL);
    }
    if s.ring_bytes > 1 << 30 || s.max_requests > 1 << 20 || s.concurrency > 1024 {
        return Some(EINVAL);
    }
    if s.eventfd != 0 && !eventfd || s.fd != 0 && !grow {
        return Some(EINVAL);
    }
    // No descriptor is a context of the engine.
    grow.then_some(EBADF)
}

/// Any bytes as the parameters of a context.
pub fn setup_params(bytes: &[u8]) {
    let mut padded = [0; 160];
    let len = bytes.len().min(160);
    padded[..len].copy_from_slice(&bytes[..len]);
    let any = Setup::read_from_bytes(&padded).expect("it has the size");
    // Raw, and with each field brought near what can be.
    check_parameters(&any);
    check_parameters(&Setup {
        version: any.version % 3,
        flags: any.flags % 8,
        ring_bytes: any.ring_bytes >> (any.hints % 32),
        max_requests: any.max_requests >> (any.hints / 32 % 32),
        concurrency: any.concurrency % 1100,
        eventfd: if any.features % 2 == 0 { 0 } else { any.eventfd },
        fd: if any.attrs % 2 == 0 { 0 } else { any.fd },
        ..any
    });
}

fn check_parameters(wanted: &Setup) {
    let result = Engine::resolve(wanted);
    match (&result, check_setup(wanted)) {
        (Ok(given), None) => {
            assert_eq!(given.version, 1);
            assert!(given.ring_bytes.is_power_of_two() && given.ring_bytes >= wanted.ring_bytes);
            assert!((4096..=1 << 30).contains(&given.ring_bytes));
            assert!((1..=1 << 20).contains(&given.max_requests));
            assert!((1..=1024).contains(&given.concurrency));
            assert_eq!(given.hints & !1, 0);
            assert_eq!(Engine::resolve(given), Ok(*given), "it can be used again");
        }
        (Err(errno), Some(expected)) => assert_eq!(errno.0, expected),
        (result, expected) => panic!("{wanted:?}: {result:?}, by the table {expected:?}"),
    }
    // A real one where it is cheap, and names no descriptor of others.
    if let Ok(given) = result
        && given.ring_bytes <= 1 << 16
        && given.max_requests <= 1 << 12
        && wanted.flags == 0
    {
        let context = InProcess.create(wanted).expect("it was resolved");
        assert_eq!(context.setup(), &given);
        assert!(!context.consumer().memory().view().words.is_empty());
    }
}
