//! The sequential model of a context, and sequences of calls that are made on
//! it and on an implementation at once.
//!
//! The model, [`machine`], is meant to be obviously right: it has no threads, no
//! bytes and no positions, only lists of events and of requests. All must be equal:
//! what is accepted, each error, each event, its order, and whether it is in the
//! ring or on the overflow list.
//!
//! SPEC: sections 4.2 to 4.5, 5.4 to 5.6, 5.8, 10.

pub mod machine;

use self::machine::{Machine, Rings};
use crate::context::{Context, Event, errno, patience};
use crate::env::{Factory, setup};
use crate::file::Busy;
use crate::request::{Batch, Request};
use aio2::backend::Wait;
use aio2_abi::attr;
use aio2_abi::event;
use aio2_abi::ring::RingFlags;
use aio2_abi::setup::{Features, Setup};
use aio2_abi::wait::{Cancel, CancelFlags};
use arbitrary::Arbitrary;
use libc::{EAGAIN, ECANCELED, EINVAL, ENOBUFS, ENOENT, EOPNOTSUPP, ETIME};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::Duration;

const RING_BYTES: u32 = 4096;
/// Rings do not grow beyond this.
const RING_BYTES_MOST: u32 = 64 << 10;
const FILE_BYTES: u64 = 3000;

/// What a request is, as far as its event depends on it.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ends with 0.
    Nop,
    /// Not on the allow list.
    Forbidden,
    /// With too many arguments.
    WrongArguments,
    /// With a REQUIRED attribute that is not known.
    Required,
}

/// A call on a context.
#[derive(Arbitrary, Clone, Debug)]
pub enum Op {
    /// Submits so many requests that end within the call, whose kinds and
    /// numbers of returns are picked by the bits.
    Submit(u8, u32),
    /// Submits so many good iocbs (at most 7) and a malformed one.
    Malformed(u8),
    /// Submits in `io_getevents2`, and copies events to so many bytes.
    SubmitAndCopy(u8, u16),
    /// Reads the file at an offset, so many bytes.
    Read(u16, u16),
    /// Keeps the only worker busy.
    Gate,
    /// Submits requests that wait for the worker.
    Queue(u8),
    /// Lets the worker go on, until it has nothing to do.
    Ungate,
    /// Cancels one of the requests that wait, by id or by user_data, or one
    /// that has ended.
    Cancel(u8, bool),
    /// Takes up to so many events from the ring.
    Reap(u8),
    /// `io_getevents2` with a buffer of so many bytes, and min_events.
    Copy(u16, u8),
    /// `io_getevents2` without a buffer, with min_events.
    Wait(u8),
    /// Waits for one of the requests that were submitted with an id.
    WaitId(u8),
    /// `io_exec2`, with so many returns.
    Exec(Kind, u8),
    /// Asks for a ring of so many pages.
    Grow(u8),
}

/// An event as the model has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// That of the request.
    pub user_data: u64,
    /// The result.
    pub res: i64,
    /// Its length in bytes.
    pub len: u32,
    /// Whether the operation began.
    pub begun: bool,
}

/// What happens in the model, in the order in which it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A stream was submitted: its bytes, how many of its iocbs are
    /// well-formed, and the error of the next one if there is one.
    Submitted(Vec<u8>, usize, Option<i32>),
    /// The overflow list was moved to the ring, as far as there is room.
    Flushed,
    /// An event was published.
    Published(Expected),
    /// The ring was replaced by one of so many bytes.
    Grown(u32),
    /// An event was taken from the ring.
    Taken(Expected),
    /// With room for so many bytes nothing was taken, as the first event in
    /// the ring has so many.
    TooLong(u32, u32),
    /// A call is over.
    Now {
        /// Events in the ring.
        ring: usize,
        /// Events on the overflow list.
        overflow: usize,
        /// Events that were ever put on it.
        overflowed: u64,
    },
}

/// A request that the worker has, or that waits for it.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// The implementation's id, and the model's.
    id: u64,
    number: u64,
    event: Expected,
}

impl machine::Publishable for Expected {
    fn size(&self) -> u32 {
        self.len
    }

    fn ends_with(&self, res: i64, begun: bool) -> Self {
        // What is refused before it begins is published as if it ran.
        Expected { res, begun: self.begun && begun, ..*self }
    }
}

/// The model, and what is told of it.
#[derive(Debug)]
struct Model {
    machine: Machine<Expected>,
    /// What has happened since a witness was told.
    changes: Vec<Change>,
}

impl Model {
    fn rings(&self) -> &Rings<Expected> {
        &self.machine.rings
    }

    /// Takes the oldest events, as many as there are of so many.
    fn reap(&mut self, max: usize) -> Vec<Expected> {
        let taken = self.machine.rings.reap(max);
        self.changes.extend(taken.iter().copied().map(Change::Taken));
        taken
    }

    fn grow(&mut self, capacity: u32) {
        self.changes.push(Change::Grown(capacity));
        self.machine.rings.grow(capacity);
        self.flush();
    }

    fn flush(&mut self) {
        self.changes.push(Change::Flushed);
        self.machine.rings.flush();
    }

    /// Accepts a request, for which there must be room; its number.
    fn accept(&mut self, event: Expected) -> u64 {
        let (operation, group, after) = (machine::Operation::Call, None, None);
        let ask = machine::Ask { event, operation, group, after, has_deadline: false };
        self.machine.accept(ask).expect("there is room in the model")
    }

    /// A request that runs ends with this event.
    fn finish(&mut self, number: u64, event: Expected) {
        self.changes.extend([Change::Flushed, Change::Published(event)]);
        self.machine.finish(number, event.res);
    }

    /// A request that is run as soon as it is accepted.
    fn publish(&mut self, event: Expected) {
        let number = self.accept(event);
        self.machine.start(number);
        self.finish(number, event);
    }

    /// Requests that can be accepted.
    fn room(&self) -> usize {
        self.machine.room()
    }

    fn available(&self) -> usize {
        self.rings().available()
    }

    fn submitted(&mut self, batch: &mut Batch, events: &[Expected], errno: Option<i32>) {
        self.changes.push(Change::Submitted(batch.bytes().to_vec(), events.len(), errno));
    }

    fn tell(&mut self, witness: &mut dyn FnMut(&Change)) {
        let Rings { ring, overflow, overflowed, .. } = &self.machine.rings;
        let (ring, overflow, overflowed) = (ring.len(), overflow.len(), *overflowed);
        self.changes.push(Change::Now { ring, overflow, overflowed });
        self.changes.drain(..).for_each(|change| witness(&change));
    }

    /// What a call with a buffer copies, or its error.
    fn copy(&mut self, bytes: usize, min_events: usize) -> Result<Vec<Expected>, i32> {
        let mut copied = Vec::new();
        let mut left = bytes;
        loop {
            self.flush();
            match self.rings().ring.front().copied() {
                Some(event) if event.len as usize <= left => {
                    left -= event.len as usize;
                    copied.extend(self.reap(1));
                }
                Some(event) if copied.is_empty() => {
                    self.changes.push(Change::TooLong(left as u32, event.len));
                    return Err(ENOBUFS);
                }
                None if copied.is_empty() && min_events > 0 => return Err(ETIME),
                _ => return Ok(copied),
            }
        }
    }
}

/// A model and an implementation, side by side.
struct Pair<'a> {
    model: Model,
    /// What keeps the worker busy. Dropped before the context, which waits for it.
    busy: Option<(Busy, Waiting)>,
    /// Requests that wait for the worker.
    waiting: Vec<Waiting>,
    context: Context,
    file: &'a File,
    /// Ids that were given out, newest last.
    ids: Vec<u64>,
    next: u64,
}

/// Runs the calls on the implementation and on the model; `witness` is told
/// what happens in the model. [`crate::trace`] is the way to call it.
///
/// # Panics
/// At the first difference.
pub(crate) fn run(
    factory: &dyn Factory,
    file: &File,
    max_requests: u8,
    ops: &[Op],
    witness: &mut dyn FnMut(&Change),
) {
    let max_requests = u32::from(max_requests) + 1;
    let setup = Setup { ring_bytes: RING_BYTES, max_requests, concurrency: 1, ..setup() };
    let context = Context::new(factory.create(&setup).expect("a context can be created"));
    let capacity = RING_BYTES;
    let machine = Machine::new(capacity, max_requests as usize);
    let model = Model { machine, changes: Vec::new() };
    let (busy, waiting, ids) = (None, Vec::new(), Vec::new());
    let mut pair = Pair { model, busy, waiting, context, file, ids, next: 0 };
    for op in ops {
        pair.step(op);
        if matches!(op, Op::Copy(..) | Op::SubmitAndCopy(..)) {
            // Whether a call moves the list once more when it has copied is
            // left open.
            pair.flush();
        }
        assert_eq!(pair.context.overflowed(), pair.model.rings().overflowed, "after {op:?}");
        let flag = pair.context.ring_flags().contains(RingFlags::OVERFLOW);
        assert_eq!(flag, !pair.model.rings().overflow.is_empty(), "OVERFLOW after {op:?}");
        pair.model.tell(witness);
    }
    pair.finish();
    pair.model.tell(witness);
}

/// Byte `n` of [`file`].
pub(crate) fn file_byte(n: u64) -> u8 {
    ((n * n) >> 3) as u8
}

/// The file that [`Op::Read`] reads.
///
/// # Panics
/// If it cannot be made.
#[must_use]
pub fn file() -> File {
    // SAFETY: the name is a C string.
    let fd = unsafe { libc::memfd_create(c"aio2-model".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0);
    // SAFETY: the descriptor is new, and no one else's.
    let mut file: File = unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) };
    let contents: Vec<u8> = (0..FILE_BYTES).map(file_byte).collect();
    std::io::Write::write_all(&mut file, &contents).expect("it is written");
    file
}

impl Pair<'_> {
    /// Events are as expected. An implementation that has no NOT_STARTED says of
    /// none that its operation never began.
    fn same(&self, events: &[Event], expected: &[Expected]) {
        let tells = self.context.backend().setup().features().contains(Features::NOT_STARTED);
        let not_begun =
            if tells { event::EventFlags::NOT_STARTED } else { event::EventFlags::empty() };
        let flags = |e: &Expected| if e.begun { 0 } else { not_begun.bits() };
        let events: Vec<_> = events.iter().map(|e| (e.user_data, e.res, e.len, e.flags)).collect();
        let expected: Vec<_> =
            expected.iter().map(|e| (e.user_data, e.res, e.len, flags(e))).collect();
        assert_eq!(events, expected);
    }

    fn step(&mut self, op: &Op) {
        // Whether a submission moves the overflow list is left open.
        self.flush();
        match op {
            Op::Submit(count, bits) => self.submit(count % 64, *bits),
            Op::Malformed(good) => self.malformed(usize::from(good % 8)),
            Op::SubmitAndCopy(count, bytes) => self.submit_and_copy(count % 16, bytes % 600),
            Op::Read(offset, len) => self.read(*offset, *len),
            Op::Gate => self.gate(),
            Op::Queue(count) => (0..count % 8).for_each(|_| self.queue()),
            Op::Ungate => self.ungate(),
            Op::Cancel(which, by_id) => self.cancel(usize::from(*which), *by_id),
            Op::Reap(max) => self.reap(usize::from(*max)),
            Op::Copy(bytes, min) => self.copy(usize::from(bytes % 2000), *min),
            Op::Wait(min) => self.wait(*min),
            Op::WaitId(which) => self.wait_id(usize::from(*which)),
            Op::Exec(kind, returns) => self.exec(*kind, *returns),
            Op::Grow(pages) => self.grow(*pages),
        }
    }

    fn flush(&mut self) {
        assert_eq!(self.context.wait(&Wait::events(0)), Ok(()));
        self.model.flush();
    }

    /// A request, and the event that it has to have.
    fn request(&mut self, kind: Kind, returns: u8) -> (Request, Expected) {
        self.next += 1;
        let user_data = self.next;
        let returns = returns % 8;
        let mut request = match kind {
            Kind::Nop | Kind::Required => Request::nop(user_data),
            Kind::Forbidden => Request::call(libc::SYS_ptrace, &[]).user_data(user_data),
            Kind::WrongArguments => Request::call(libc::SYS_getpid, &[1]).user_data(user_data),
        };
        for id in 0..u16::from(returns) {
            request = request.attr(20 + id, attr::AttrFlags::RETURN, &[]);
        }
        if kind == Kind::Required {
            request = request.attr(60, attr::AttrFlags::REQUIRED, &[]);
        }
        let res = match kind {
            Kind::Nop => 0,
            Kind::Forbidden | Kind::Required => -i64::from(EOPNOTSUPP),
            Kind::WrongArguments => -i64::from(EINVAL),
        };
        let (len, begun) = (24 + 8 * u32::from(returns), kind == Kind::Nop);
        (request, Expected { user_data, res, len, begun })
    }

    /// Number of the iocbs that a submission accepted, which must be possible.
    fn accepted(
        &self,
        batch: &Batch,
        result: Result<usize, aio2::error::Errno>,
        events: &[Expected],
    ) -> usize {
        let room = self.model.room();
        if room == 0 && !events.is_empty() {
            assert_eq!(errno(result), Some(EAGAIN), "{room} requests can be accepted");
            return 0;
        }
        let bytes = result.expect("there is room");
        let count = (0..=batch.len()).find(|n| batch.offset(*n) == bytes);
        let count = count.expect("whole iocbs are accepted");
        // What is in the ring does not count. SPEC: R-LIMIT-6
        let rings = self.model.rings();
        let mut fits = rings.used();
        let published = events.iter().take_while(|e| {
            fits += e.len;
            rings.overflow.is_empty() && fits <= rings.capacity
        });
        let most = events.len().min(room + published.count());
        assert_eq!(count, most, "{room} can be accepted at once");
        count
    }

    fn submit(&mut self, count: u8, bits: u32) {
        let (requests, events): (Vec<Request>, Vec<Expected>) = (0..count)
            .map(|n| {
                let kind = match bits.rotate_right(n.into()) & 7 {
                    0 => Kind::Forbidden,
                    1 => Kind::WrongArguments,
                    2 => Kind::Required,
                    _ => Kind::Nop,
                };
                self.request(kind, bits.rotate_left(n.into()) as u8)
            })
            .unzip();
        let mut batch = Batch::of(requests);
        let result = self.context.submit(&mut batch);
        self.model.submitted(&mut batch, &events, None);
        let count = self.accepted(&batch, result, &events);
        events[..count].iter().for_each(|e| self.model.publish(*e));
    }

    fn malformed(&mut self, good: usize) {
        let (requests, events): (Vec<Request>, Vec<Expected>) =
            (0..=good).map(|_| self.request(Kind::Nop, 0)).unzip();
        let mut batch = Batch::of(requests);
        let last = batch.offset(good);
        // The reserved field of the last one.
        batch.bytes()[last + 12] = 1;
        let result = self.context.submit(&mut batch);
        self.model.submitted(&mut batch, &events[..good], Some(EINVAL));
        if good == 0 {
            assert_eq!(errno(result), Some(EINVAL), "malformed, whatever the limit says");
        } else {
            let count = self.accepted(&batch, result, &events[..good]);
            events[..count].iter().for_each(|e| self.model.publish(*e));
        }
    }

    fn submit_and_copy(&mut self, count: u8, bytes: u16) {
        let (requests, events): (Vec<Request>, Vec<Expected>) =
            (0..count).map(|n| self.request(Kind::Nop, n)).unzip();
        let mut batch = Batch::of(requests);
        let mut buffer = vec![0; usize::from(bytes)];
        let wait = Wait::events(1).within(Duration::ZERO);
        // SAFETY: the requests have no addresses.
        let got = unsafe { self.context.backend().wait(&wait, batch.bytes(), Some(&mut buffer)) };
        let submitted = match &got {
            Ok(got) => Ok(got.submitted),
            // Nothing was submitted; the error may be that of the wait.
            Err(_) if events.is_empty() => Ok(0),
            Err(errno) => Err(*errno),
        };
        self.model.submitted(&mut batch, &events, None);
        let count = self.accepted(&batch, submitted, &events);
        events[..count].iter().for_each(|e| self.model.publish(*e));
        if count == 0 && !events.is_empty() {
            return;
        }
        match (self.model.copy(usize::from(bytes), 1), got) {
            (Ok(expected), Ok(got)) => {
                self.same(&Event::parse_all(&buffer[..got.bytes]), &expected);
                assert_eq!((got.events as usize, got.ended), (expected.len(), None));
            }
            (Err(expected), Ok(got)) => {
                assert_eq!((got.bytes, got.ended.map(|e| e.0)), (0, Some(expected)));
            }
            (expected, Err(errno)) => assert_eq!(expected, Err(errno.0)),
        }
    }

    fn read(&mut self, offset: u16, len: u16) {
        if self.busy.is_some() {
            // It may need the worker.
            return;
        }
        self.next += 1;
        let user_data = self.next;
        let mut buffer = vec![0; usize::from(len)];
        let read = Request::pread(self.file.as_raw_fd(), &mut buffer, offset.into());
        let flags = aio2_abi::iocb::IocbFlags::WRITE_ID;
        let mut batch = Batch::of([read.user_data(user_data).flags(flags)]);
        if self.model.room() == 0 {
            assert_eq!(errno(self.context.submit(&mut batch)), Some(EAGAIN));
            return;
        }
        self.context.submit_all(&mut batch);
        self.ids.push(batch.id(0));
        self.await_id(batch.id(0));
        let res = FILE_BYTES.saturating_sub(offset.into()).min(len.into()) as i64;
        let first = u64::from(offset);
        for (n, byte) in (first..first + res as u64).zip(&buffer) {
            assert_eq!(*byte, file_byte(n), "byte {n} of the file");
        }
        self.model.publish(Expected { user_data, res, len: 24, begun: true });
    }

    fn await_id(&self, id: u64) {
        let wait = Wait { id: Some(id), ..Wait::events(0).within(patience()) };
        assert_eq!(self.context.wait(&wait), Ok(()));
    }

    fn gate(&mut self) {
        if self.busy.is_some() || self.model.room() == 0 {
            return;
        }
        self.next += 1;
        let busy = Busy::new();
        let id = self.context.submit_one(busy.request().user_data(self.next));
        busy.wait_started();
        self.ids.push(id);
        let event = Expected { user_data: self.next, res: 0, len: 24, begun: true };
        let number = self.model.accept(event);
        self.model.machine.start(number);
        self.busy = Some((busy, Waiting { id, number, event }));
    }

    fn queue(&mut self) {
        if self.busy.is_none() {
            return;
        }
        let (request, event) = self.request(Kind::Nop, self.next as u8);
        let flags = aio2_abi::iocb::IocbFlags::WRITE_ID;
        let mut batch = Batch::of([request.on_worker().flags(flags)]);
        if self.model.room() == 0 {
            assert_eq!(errno(self.context.submit(&mut batch)), Some(EAGAIN));
            return;
        }
        self.context.submit_all(&mut batch);
        self.model.submitted(&mut batch, &[event], None);
        self.ids.push(batch.id(0));
        let number = self.model.accept(event);
        self.waiting.push(Waiting { id: batch.id(0), number, event });
    }

    fn ungate(&mut self) {
        let Some((mut busy, Waiting { number, event, .. })) = self.busy.take() else { return };
        let res = busy.release();
        // One worker takes one after the other. Waiting for them moves the
        // overflow list, which is at rest as nobody reaps.
        let last = self.waiting.last().map(|w| w.id);
        self.model.finish(number, Expected { res, ..event });
        for Waiting { number, event, .. } in std::mem::take(&mut self.waiting) {
            self.model.machine.start(number);
            self.model.finish(number, event);
        }
        if let Some(id) = last {
            self.await_id(id);
        } else {
            let wanted = self.model.available() as u32;
            assert_eq!(self.context.wait(&Wait::events(wanted).within(patience())), Ok(()));
        }
    }

    fn cancel(&mut self, which: usize, by_id: bool) {
        let waits = !self.waiting.is_empty() && !which.is_multiple_of(4);
        let (flags, fields, place) = if waits {
            let place = which % self.waiting.len();
            let Waiting { id, event, .. } = self.waiting[place];
            let user_data = event.user_data;
            if by_id {
                (CancelFlags::ID, Cancel { id, ..Cancel::default() }, Some(place))
            } else {
                (CancelFlags::USER_DATA, Cancel { user_data, ..Cancel::default() }, Some(place))
            }
        } else {
            // Never given to anyone.
            let user_data = self.next + 1 + which as u64;
            (CancelFlags::USER_DATA, Cancel { user_data, ..Cancel::default() }, None)
        };
        let result = self.context.cancel(flags, fields);
        match place {
            None => assert_eq!(errno(result), Some(ENOENT)),
            Some(place) => {
                let (matches, done) = result.expect("it waits");
                assert_eq!((matches, done.cancelled), (1, 1));
                assert_eq!((done.interrupted, done.too_late), (0, 0));
                let Waiting { number, event, .. } = self.waiting.remove(place);
                let event = Expected { res: -i64::from(ECANCELED), begun: false, ..event };
                self.model.changes.extend([Change::Flushed, Change::Published(event)]);
                let outcome = self.model.machine.cancel(number);
                assert_eq!(outcome, Some(machine::Outcome::Cancelled));
            }
        }
    }

    fn reap(&mut self, max: usize) {
        let events = self.context.reap_ring(max);
        let expected = self.model.reap(max);
        self.same(&events, &expected);
    }

    /// An implementation that has no GROW says so, and the model goes on.
    fn grow(&mut self, pages: u8) {
        let wanted = u32::from(pages % 17) * RING_BYTES;
        let grown = match wanted {
            0 => RING_BYTES_MOST,
            _ => wanted.next_power_of_two(),
        };
        let result = self.context.backend().grow(wanted);
        if !self.context.backend().setup().features().contains(Features::GROW) {
            assert_eq!(errno(result), Some(EOPNOTSUPP));
        } else if grown > self.model.rings().capacity {
            assert_eq!(result, Ok(grown));
            self.model.grow(grown);
        } else {
            assert_eq!(errno(result), Some(EINVAL), "it does not get larger");
        }
    }

    fn copy(&mut self, bytes: usize, min: u8) {
        let wait = Wait::events(min.into()).within(Duration::ZERO);
        let result = self.context.wait_copy(&wait, bytes);
        match self.model.copy(bytes, min.into()) {
            Ok(expected) => {
                self.same(&result.expect("there are events, or none are needed"), &expected)
            }
            Err(expected) => assert_eq!(errno(result), Some(expected)),
        }
    }

    fn wait(&mut self, min: u8) {
        let result = self.context.wait(&Wait::events(min.into()).within(Duration::ZERO));
        let there = self.model.available() >= usize::from(min);
        assert_eq!(errno(result), if there { None } else { Some(ETIME) });
    }

    fn wait_id(&mut self, which: usize) {
        let Some(id) = self.ids.get(which % self.ids.len().max(1)).copied() else { return };
        let is_busy = self.busy.as_ref().is_some_and(|(_, busy)| busy.id == id);
        let in_flight = is_busy || self.waiting.iter().any(|w| w.id == id);
        let wait = Wait { id: Some(id), ..Wait::events(0).within(Duration::ZERO) };
        let result = errno(self.context.wait(&wait));
        assert_eq!(result, if in_flight { Some(ETIME) } else { None });
    }

    fn exec(&mut self, kind: Kind, returns: u8) {
        let (request, expected) = self.request(kind, returns);
        let mut batch = Batch::of([request]);
        let mut buffer = vec![0; expected.len as usize];
        let short = buffer.len() - 1;
        // SAFETY: the request has no addresses.
        let result = unsafe { self.context.backend().exec(batch.bytes(), &mut buffer[..short]) };
        assert_eq!(errno(result), Some(ENOBUFS));
        // SAFETY: as above.
        let result = unsafe { self.context.backend().exec(batch.bytes(), &mut buffer) };
        assert_eq!(result, Ok(buffer.len()));
        self.same(&Event::parse_all(&buffer), &[expected]);
    }

    fn finish(&mut self) {
        self.ungate();
        while self.model.available() > 0 {
            self.copy(1500, 1);
            self.reap(7);
        }
        self.context.assert_idle();
    }
}
