//! Each byte that a peer can write is flipped, after each step of a scenario: the
//! consumer page, which a hostile consumer writes, and the producer page and the data,
//! which a hostile producer does. Whoever was not hit does what the text says of what
//! stands there: both sides are held against a reading of sections 5.4 to 5.6 of a few
//! lines, step by step, and what is on the producer's list is lost by nothing.
//!
//! And once more with a whole context: its requests all end, and their events are
//! there once the application has put a right head in place.
//!
//! Normal runs take some of the bytes and steps, `AIO2_FLIPS=1` all of them
//! (`cargo xtask verify --flips`).
//!
//! SPEC: R-HOST-1, R-HOST-2, R-HOST-3, R-HOST-5, R-RING-6, R-RING-7, R-RING-8, R-RING-14,
//! SPEC: R-RING-15, R-OVF-2, R-OVF-3, R-OVF-7.

use aio2::backend::Wait;
use aio2::error::Errno;
use aio2::ring::{Consumer, Geometry, Memory, Producer, ReapError, Sink, header, len_of};
use aio2::shm::{ConsumerMap, ProducerMap, RingFiles, create};
use aio2_abi::ring::RingFlags;
use aio2_abi::setup::Setup;
use aio2_abi::wait::{Cancel, CancelFlags};
use aio2_conformance::backends::InProcess;
use aio2_conformance::context::{Context, errno};
use aio2_conformance::env::{Factory, setup};
use aio2_conformance::request::{Batch, Request};
use aio2_conformance::words::Words;
use libc::{EIO, ENOENT};
use std::collections::VecDeque;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};
use std::time::Duration;

const RING_BYTES: u32 = 4096;
const EVENT_MAX: u32 = 1024;
const PAGE: usize = 4096;
/// The low half of the positions wraps within the scenario.
const START: u64 = (7 << 32) - 2048;
/// What is flipped of a byte.
const MASKS: [u8; 3] = [0x01, 0x80, 0xff];

/// A step of a ring; numbers are words.
#[derive(Clone, Copy, Debug)]
enum Step {
    Push(usize),
    PushIfFits(usize),
    Flush,
    /// With a buffer of so many words, at most so many events.
    Reap(usize, usize),
    Notify(bool),
    Look,
}

use Step::{Flush, Look, Notify, Push, PushIfFits, Reap};

/// Short and long events, a full ring, a list, and all of it taken, twice round.
const STEPS: [Step; 34] = [
    Push(3),
    Push(1),
    Push(5),
    Reap(40, 2),
    Push(128),
    Push(128),
    Look,
    Push(128),
    Push(100),
    PushIfFits(20),
    PushIfFits(128),
    Push(128),
    Push(3),
    Look,
    Reap(2, 1),
    Reap(128, 1),
    Flush,
    Notify(false),
    Push(4),
    Reap(600, 99),
    Flush,
    Notify(true),
    Look,
    Reap(600, 99),
    Reap(600, 99),
    Push(128),
    Push(64),
    Push(128),
    Push(128),
    Push(128),
    Reap(128, 1),
    Push(2),
    Reap(600, 99),
    Reap(600, 99),
];

/// What is hit: at which byte, how, and after which step.
#[derive(Clone, Copy, Debug)]
struct Hit {
    place: Place,
    at: usize,
    mask: u8,
    after: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    ConsumerPage,
    ProducerPage,
    Data,
}

/// Flips bits of the byte `at` behind the start of a mapping.
fn flip(start: usize, at: usize, mask: u8) {
    let byte = std::ptr::with_exposed_provenance::<AtomicU8>(start + at);
    // SAFETY: the callers name writable mappings that live, and offsets within them.
    unsafe { &*byte }.fetch_xor(mask, SeqCst);
}

/// Where a word stands whose mapping may be written.
fn place<T>(word: &T) -> usize {
    std::ptr::from_ref(word).expose_provenance()
}

fn event(words: usize, id: u64) -> Vec<u64> {
    let mut event = vec![id; words];
    event[0] = header(8 * words as u32, 0);
    event
}

/// The producer, as sections 5.4 and 5.6 have it.
struct Model {
    tail: u32,
    /// The last head that it has looked at: it looks again when that leaves no room.
    head: u32,
    list: VecDeque<Vec<u64>>,
    overflowed: u64,
    bad: bool,
}

impl Model {
    fn fits(&mut self, words: usize, head: u32) -> bool {
        let len = 8 * words as u32;
        let room = |model: &Self| RING_BYTES - model.tail.wrapping_sub(model.head);
        if room(self) >= len {
            return true;
        }
        let used = self.tail.wrapping_sub(head);
        if used > RING_BYTES || !used.is_multiple_of(8) {
            self.bad = true;
            self.head = self.tail.wrapping_sub(RING_BYTES);
            return false;
        }
        self.head = head;
        room(self) >= len
    }

    /// The events that are published, in order.
    fn flush(&mut self, head: u32) -> Vec<Vec<u64>> {
        let mut published = Vec::new();
        while let Some(words) = self.list.front().map(Vec::len) {
            if !self.fits(words, head) {
                break;
            }
            self.tail = self.tail.wrapping_add(8 * words as u32);
            published.extend(self.list.pop_front());
        }
        published
    }

    fn push(&mut self, event: Vec<u64>, head: u32, may_wait: bool) -> (bool, Vec<Vec<u64>>) {
        let mut published = self.flush(head);
        let fits = self.list.is_empty() && self.fits(event.len(), head);
        if fits {
            self.tail = self.tail.wrapping_add(8 * event.len() as u32);
            published.push(event);
        } else if may_wait {
            self.list.push_back(event);
            self.overflowed += 1;
            if self.list.len() == 1 {
                published.extend(self.flush(head));
            }
        }
        (fits, published)
    }
}

/// A ring with both its sides, and what they have to do.
struct Ring {
    sink: Sink<ProducerMap>,
    consumer: Consumer<ConsumerMap>,
    _files: RingFiles,
    model: Model,
    broken: bool,
    next: u64,
    /// Whether the tail in the page is the producer's.
    shows_own: bool,
}

impl Ring {
    fn new() -> Self {
        let geometry = Geometry::new(RING_BYTES, EVENT_MAX).expect("sizes that can be");
        let (producer, files): (Producer<_>, _) =
            create(geometry.starting_at(START)).expect("there is memory");
        let consumer = files.map().expect("there is memory");
        let (tail, head) = (START as u32, START as u32);
        let model = Model { tail, head, list: VecDeque::new(), overflowed: 0, bad: false };
        let sink = Sink::new(producer);
        Ring { sink, consumer, _files: files, model, broken: false, next: 1, shows_own: true }
    }

    fn hit(&mut self, hit: Hit) {
        let start = match hit.place {
            Place::ConsumerPage => place(self.consumer.memory().view().head),
            Place::ProducerPage => place(self.sink.producer().memory().view().tail) - 64,
            Place::Data => place(&self.sink.producer().memory().view().words[0]),
        };
        flip(start, hit.at, hit.mask);
        self.shows_own &= hit.place != Place::ProducerPage || !(64..68).contains(&hit.at);
    }

    fn head(&self) -> u64 {
        self.consumer.memory().view().head.load(SeqCst)
    }

    fn word(&self, position: u64) -> u64 {
        let words = self.consumer.memory().view().words;
        words[(position as u32 & (RING_BYTES - 1)) as usize / 8].load(SeqCst)
    }

    fn take(&mut self, words: usize, may_wait: bool) {
        let event = event(words, self.next);
        let (head, tail) = (self.head() as u32, self.model.tail);
        self.next += 1;
        let (fits, published) = self.model.push(event.clone(), head, may_wait);
        if may_wait {
            self.sink.reserve(EVENT_MAX as usize).expect("there is memory");
            self.sink.push(&event, EVENT_MAX as usize);
        } else {
            assert_eq!(self.sink.push_if_fits(&event), fits);
        }
        self.has_published(tail, &published);
    }

    /// What the producer has written, and where.
    fn has_published(&mut self, from: u32, events: &[Vec<u64>]) {
        let mut position = u64::from(from);
        for word in events.iter().flatten() {
            assert_eq!(self.word(position), *word, "at {position:#x}");
            position += 8;
        }
        self.shows_own |= !events.is_empty();
        let view = self.sink.producer().memory().view();
        if self.shows_own {
            assert_eq!(view.tail.load(SeqCst), self.model.tail, "the tail is its own");
        }
        let list: usize = self.model.list.iter().map(|event| 8 * event.len()).sum();
        assert_eq!(self.sink.overflow_bytes(), list, "nothing of the list is lost");
        assert_eq!(self.sink.overflow_events(), self.model.list.len());
        assert_eq!(self.sink.overflowed(), self.model.overflowed);
        assert_eq!(self.sink.producer().bad_heads() > 0, self.model.bad, "bad heads");
    }

    /// What a consumer has to find, by section 5.5: the events, and the new head.
    fn expected(&self, room: usize, most: usize) -> Result<(Vec<Vec<u64>>, u64), ReapError> {
        let view = self.consumer.memory().view();
        let (mut head, tail) = (view.head.load(SeqCst), view.tail.load(SeqCst));
        let mut left = tail.wrapping_sub(head as u32);
        // Which corruption it is matters to nobody.
        let corrupt = self.any_corruption(head, tail);
        if left > RING_BYTES || !left.is_multiple_of(8) || !head.is_multiple_of(8) {
            return Err(corrupt);
        }
        let (mut found, mut words_left) = (Vec::new(), room);
        while left > 0 && found.len() < most {
            let len = len_of(self.word(head));
            let words = len as usize / 8;
            if !len.is_multiple_of(8) || !(8..=EVENT_MAX.min(left)).contains(&len) {
                if found.is_empty() {
                    return Err(corrupt);
                }
                break;
            }
            if words > words_left {
                if found.is_empty() {
                    return Err(ReapError::BufferTooSmall { event_bytes: len });
                }
                break;
            }
            let event = (0..words as u64).map(|at| self.word(head.wrapping_add(8 * at)));
            found.push(event.collect());
            words_left -= words;
            head = head.wrapping_add(len.into());
            left -= len;
        }
        Ok((found, head))
    }

    fn any_corruption(&self, head: u64, tail: u32) -> ReapError {
        ReapError::Corrupt(aio2::ring::Corruption::BadPosition { head, tail })
    }

    fn reap(&mut self, room: usize, most: usize) {
        let expected = self.expected(room, most);
        let before = self.head();
        let mut buffer = vec![0; room];
        let got = self.consumer.reap(&mut buffer, most);
        match (got, expected) {
            (Err(ReapError::Corrupt(_)), _) if self.broken => {}
            (Err(ReapError::Corrupt(_)), Err(ReapError::Corrupt(_))) => self.broken = true,
            (Ok(events), Ok((expected, head))) if !self.broken => {
                let events: Vec<Vec<u64>> = events.map(<[u64]>::to_vec).collect();
                assert_eq!(events, expected);
                assert_eq!(self.head(), head, "head moves over what was taken");
                return;
            }
            (Err(got), Err(expected)) if !self.broken => assert_eq!(got, expected),
            (got, expected) => panic!("{got:?}, where {expected:?} is right"),
        }
        assert_eq!(self.head(), before, "nothing was taken");
    }

    fn step(&mut self, step: Step) {
        match step {
            Push(words) => self.take(words, true),
            PushIfFits(words) => self.take(words, false),
            Flush => {
                let (head, tail) = (self.head() as u32, self.model.tail);
                let published = self.model.flush(head);
                assert_eq!(self.sink.flush(), self.model.list.is_empty());
                self.has_published(tail, &published);
            }
            Reap(room, most) => self.reap(room, most),
            Notify(true) => _ = self.consumer.notify_on(),
            Notify(false) => self.consumer.notify_off(),
            Look => {
                let notify = self.consumer.memory().view().notify.load(SeqCst);
                assert_eq!(self.sink.should_notify(), notify != 1, "R-NOTIFY-5");
                let _ = (self.consumer.pending(), self.consumer.is_dead());
            }
        }
    }

    /// The application puts a right head in place: the list empties.
    fn recovers(&mut self) {
        let mut rounds = 0;
        while !self.model.list.is_empty() {
            let head = u64::from(self.model.tail);
            self.consumer.memory().view().head.store(head, SeqCst);
            self.step(Flush);
            rounds += 1;
            assert!(rounds < 9, "the list does not empty");
        }
        let flags =
            RingFlags::from_bits_retain(self.sink.producer().memory().view().flags.load(SeqCst));
        // Its own again, if it has stored them since they were hit.
        if rounds > 0 {
            assert_eq!(flags.contains(RingFlags::BAD_HEAD), self.model.bad);
            assert!(!flags.contains(RingFlags::OVERFLOW));
        }
    }
}

fn run(hit: Option<Hit>) -> Ring {
    let mut ring = Ring::new();
    for (at, step) in STEPS.into_iter().enumerate() {
        ring.step(step);
        if let Some(hit) = hit.filter(|hit| hit.after == at) {
            ring.hit(hit);
        }
    }
    ring.recovers();
    ring
}

fn all_wanted() -> bool {
    std::env::var_os("AIO2_FLIPS").is_some()
}

/// Each byte, mask and step; in a normal run those of fields, and some of the others.
fn hits(place: Place, bytes: usize, fields: usize, steps: usize) -> Vec<Hit> {
    let all = all_wanted();
    let bytes = (0..bytes).filter(move |at| all || *at < fields || at % 61 == 0);
    let hits = bytes.flat_map(|at| MASKS.map(|mask| (at, mask)));
    let hits = hits.flat_map(|(at, mask)| (0..steps).map(move |after| (at, mask, after)));
    let hits = hits.map(|(at, mask, after)| Hit { place, at, mask, after });
    hits.filter(|hit| all || (hit.at + hit.after) % 5 == 0).collect()
}

/// Runs one, and says which it was that failed.
fn try_hit(hit: Hit, body: impl FnOnce() + std::panic::UnwindSafe) {
    if std::panic::catch_unwind(body).is_err() {
        panic!("{hit:?}");
    }
}

#[test]
fn whoever_is_not_hit_does_what_the_text_says_of_what_stands_there() {
    let whole = run(None);
    assert!(!whole.model.bad && !whole.broken && whole.model.overflowed > 2);
    let (mut flips, bad, broken) = (0_u64, AtomicU64::new(0), AtomicU64::new(0));
    for (place, bytes, fields) in [
        (Place::ConsumerPage, PAGE, 72),
        (Place::ProducerPage, PAGE, 96),
        (Place::Data, RING_BYTES as usize, 16),
    ] {
        for hit in hits(place, bytes, fields, STEPS.len()) {
            try_hit(hit, || {
                let ring = run(Some(hit));
                // Only head is looked at by a producer.
                let is_head = place == Place::ConsumerPage && hit.at < 8;
                assert!(is_head || !ring.model.bad);
                assert!(place != Place::ConsumerPage || is_head || !ring.broken);
                bad.fetch_add(ring.model.bad.into(), SeqCst);
                broken.fetch_add(ring.broken.into(), SeqCst);
            });
            flips += 1;
        }
    }
    let (bad, broken) = (bad.into_inner(), broken.into_inner());
    println!(
        "flips: {flips} of bytes of a ring, after {} steps: {bad} bad heads, {broken} rings corrupt, \
         all as the text says",
        STEPS.len()
    );
    assert!(bad > 0 && broken > 0, "nothing was shown");
}

/// Requests of the first, the second and the third submission.
const REQUESTS: [u64; 3] = [3, 200, 5];
const CALLS: usize = 8;

/// What a context's calls gave, and the events that were taken.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    results: Vec<Result<u32, Errno>>,
    events: Vec<u64>,
}

/// What became of the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Head {
    Right,
    /// It can be, and is wrong: events are passed over, or come again.
    Moved,
    /// It cannot be.
    Bad,
}

/// R-RING-6.
fn is_bad(head: &AtomicU64, tail: &AtomicU32) -> bool {
    let used = tail.load(SeqCst).wrapping_sub(head.load(SeqCst) as u32);
    used > RING_BYTES || !used.is_multiple_of(8)
}

/// The scenario of a whole context.
fn context(hit: Option<Hit>) -> (Seen, Head) {
    let setup = Setup { ring_bytes: RING_BYTES, max_requests: 1024, concurrency: 1, ..setup() };
    let context = Context::new(InProcess.create(&setup).expect("there is memory"));
    let consumer = context.backend().consumer();
    let view = consumer.memory().view();
    let mut seen = Seen::default();
    let (mut next, mut head, mut right) = (0, Head::Right, 0);
    for call in 0..CALLS {
        let result = match call {
            0 | 2 | 5 => {
                let count = REQUESTS[[0, 9, 1, 9, 9, 2][call]];
                let mut batch = Batch::of((next..next + count).map(Request::nop));
                next += count;
                let bytes = batch.bytes().len();
                assert_eq!(context.submit(&mut batch), Ok(bytes), "{hit:?}");
                Ok(count as u32)
            }
            1 | 4 => context.wait(&Wait::events(3).within(Duration::ZERO)).map(|()| 0),
            _ => {
                let wait = Wait::events(2).within(Duration::ZERO);
                context.wait_copy(&wait, 24 * 40).map(|events| {
                    seen.events.extend(events.iter().map(|event| event.user_data));
                    events.len() as u32
                })
            }
        };
        // The producer goes on as far as the last good head leaves room, and may come
        // past a bad one.
        if head == Head::Bad && !is_bad(view.head, view.tail) {
            head = Head::Moved;
        }
        if head == Head::Bad && ![0, 2, 5].contains(&call) {
            // Events on the list are available all the same; none can be copied.
            let on_list = context.ring_flags().contains(RingFlags::OVERFLOW);
            let enough = call == 4 && on_list && result == Ok(0);
            assert!(enough || result == Err(Errno(EIO)), "{hit:?}: {result:?}");
        }
        seen.results.push(result);
        if let Some(hit) = hit.filter(|hit| hit.after == call) {
            right = view.head.load(SeqCst);
            flip(place(view.head), hit.at, hit.mask);
            let now = view.head.load(SeqCst);
            if is_bad(view.head, view.tail) {
                head = Head::Bad;
                // Without an end: it would sleep for ever.
                let result = context.wait(&Wait::events(1000));
                assert_eq!(errno(result), Some(EIO), "R-HOST-5: {hit:?}");
            } else if now as u32 != right as u32 {
                head = Head::Moved;
            }
        }
    }
    let all = context.cancel(CancelFlags::ALL, Cancel::default());
    assert_eq!(errno(all), Some(ENOENT), "a request has not ended: {hit:?}");
    match head {
        Head::Right => {}
        Head::Bad => view.head.store(right, SeqCst),
        Head::Moved => return (seen, head),
    }
    loop {
        let events = context.wait_copy(&Wait::events(0), 24 * 300);
        let events = events.unwrap_or_else(|errno| panic!("{errno}: {hit:?}, {head:?}: {seen:?}"));
        if events.is_empty() {
            break;
        }
        seen.events.extend(events.iter().map(|event| event.user_data));
    }
    assert!(seen.events.iter().copied().eq(0..next), "{hit:?}, each once: {:?}", seen.events);
    (seen, head)
}

#[test]
fn a_context_loses_no_request_whatever_its_consumer_page_holds() {
    let (whole, _) = context(None);
    let (mut flips, mut bad) = (0_u64, 0_u64);
    for hit in hits(Place::ConsumerPage, PAGE, 72, CALLS) {
        let (seen, head) = context(Some(hit));
        assert!(head != Head::Right || seen.results == whole.results, "{hit:?}: {seen:?}");
        flips += 1;
        bad += u64::from(head == Head::Bad);
    }
    println!(
        "flips: {flips} of bytes of a context, after {CALLS} calls: {bad} bad heads, no request lost"
    );
    assert!(bad > 0, "nothing was shown");
}
