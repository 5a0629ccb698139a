//! What is submitted and cancelled: one thread's choices.

use super::check::{Kind, Made, Target};
use super::{PER_THREAD, Round};
use crate::context::{errno, patience};
use crate::random::Random;
use crate::request::{Batch, Request};
use aio2::backend::Wait;
use aio2_abi::attr::{self, AFTER_GROUP, AFTER_REQUEST, AFTER_STREAM};
use aio2_abi::iocb::IocbFlags;
use aio2_abi::op;
use aio2_abi::wait::{Cancel, CancelFlags};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const KEYS: usize = 4;
/// Requests of one call, at most.
const BATCH: u64 = 24;
/// How far back a thread looks for something to cancel or to wait for.
const RECENT: u64 = 200;
/// An attribute that nobody knows.
const UNKNOWN: u16 = 40;
/// Keys that all threads use begin here.
const COMMON_KEY: u64 = 1 << 40;
/// How long a thread leaves the others alone when the limit has stopped it.
const PAUSE: Duration = Duration::from_micros(50);
/// The time that a sleep takes.
static NAP: [i64; 2] = [0, 30_000];

/// Attributes that can be asked to return something, as bits of
/// [`Made::returns`], in this order.
pub(super) const RETURNS: [u16; 4] = [attr::TAG, UNKNOWN, attr::CHECKSUM, attr::TIMING];

/// Groups by key: the one that is open, and the one that was closed last, from
/// which [`Groups`] leads to those before it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Book {
    open: [Option<u32>; KEYS],
    closed: [Option<u32>; KEYS],
}

impl Book {
    /// The group that is open; one is opened if none is.
    fn open(&mut self, key: usize, groups: &Groups) -> u32 {
        let closed = self.closed[key];
        *self.open[key].get_or_insert_with(|| groups.open(closed))
    }

    /// The group that is closed, if one was open.
    fn close(&mut self, key: usize) -> Option<u32> {
        let group = self.open[key].take();
        self.closed[key] = group.or(self.closed[key]);
        group
    }
}

/// All groups of a round: of each, the one of its key that was there before it.
#[derive(Debug, Default)]
pub(super) struct Groups(Mutex<Vec<Option<u32>>>);

impl Groups {
    fn open(&self, before: Option<u32>) -> u32 {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        groups.push(before);
        groups.len() as u32 - 1
    }

    /// What was opened, by number.
    pub(super) fn all(&self) -> Vec<Option<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A thread that submits.
pub(super) struct Maker<'a> {
    round: &'a Round<'a>,
    thread: u32,
    random: Random,
    book: Book,
    made: Vec<Made>,
}

impl<'a> Maker<'a> {
    pub(super) fn new(round: &'a Round<'a>, thread: u32) -> Self {
        let random = Random::new(round.seed ^ u64::from(thread + 1) << 48);
        let made = Vec::with_capacity(PER_THREAD as usize * 2);
        Maker { round, thread, random, book: Book::default(), made }
    }

    /// Submits all; what it was.
    pub(super) fn run(mut self) -> Vec<Made> {
        while self.made.len() < PER_THREAD as usize {
            match self.random.below(16) {
                0 | 1 => self.cancel(),
                2 => self.wait_for_one(),
                3 => self.round.feed(),
                4 if self.random.below(16) == 0 => self.cancel_many(),
                5 | 6 => {
                    // Who holds the book knows who is a member of what.
                    let round = self.round;
                    let mut common = round.common();
                    self.submit_some(&mut common, COMMON_KEY);
                }
                _ => {
                    let mut own = self.book;
                    self.submit_some(&mut own, u64::from(self.thread) << 8);
                    self.book = own;
                }
            }
        }
        let mut own = self.book;
        self.close_all(&mut own, u64::from(self.thread) << 8);
        let round = self.round;
        self.close_all(&mut round.common(), COMMON_KEY);
        self.made
    }

    fn index(&self, place: usize) -> u32 {
        self.round.first(self.thread) + place as u32
    }

    fn submit_some(&mut self, book: &mut Book, keys: u64) {
        let count = 1 + self.random.below(BATCH) as usize;
        let (requests, made): (Vec<Request>, Vec<Made>) =
            (0..count).map(|n| self.choose(n, book, keys)).unzip();
        self.submit(requests, made);
    }

    fn close_all(&mut self, book: &mut Book, keys: u64) {
        let open = (0..KEYS).filter(|key| book.open[*key].is_some()).collect::<Vec<_>>();
        let first = self.made.len();
        let (requests, made) = open
            .into_iter()
            .enumerate()
            .map(|(n, key)| {
                let user_data = self.round.user_data(self.index(first + n));
                let made = Made::new(Kind::Close(book.close(key)));
                (Request::close_group(keys + key as u64).user_data(user_data), made)
            })
            .unzip();
        self.submit(requests, made);
    }

    /// The next request, `n` behind those that were accepted.
    fn choose(&mut self, n: usize, book: &mut Book, keys: u64) -> (Request, Made) {
        let index = self.index(self.made.len() + n);
        let key = self.random.below(KEYS as u64) as usize;
        let (mut request, mut made) = self.operation(key, book, keys);
        request = request.user_data(self.round.user_data(index));
        if !matches!(made.kind, Kind::Close(_)) {
            if self.random.below(3) == 0 {
                made.group = Some(book.open(key, &self.round.groups));
                request = request.in_group(keys + key as u64);
            }
            request = self.order(request, &mut made, n, book, keys);
        }
        if self.random.below(6) == 0 {
            let is_close = matches!(made.kind, Kind::Close(_));
            let none = !is_close && self.random.below(8) == 0;
            let timeout = if none { 0 } else { 1 + self.random.below(3_000_000) };
            made.deadline = Some(timeout);
            request = request.deadline(timeout);
        }
        if self.random.below(3) == 0 {
            request = request.flags(IocbFlags::WRITE_ID);
        }
        (self.returns(request, &mut made), made)
    }

    fn operation(&mut self, key: usize, book: &mut Book, keys: u64) -> (Request, Made) {
        let round = self.round;
        let pipe = self.random.below(super::PIPES as u64) as usize;
        let (reader, writer) = (round.pipes[pipe].read_fd(), round.pipes[pipe].write_fd());
        let at = round.scratch.as_ptr().addr() as u64;
        let (request, kind) = match self.random.below(32) {
            0..=8 => (Request::nop(0), Kind::Nop),
            9..=13 => (Request::nop(0).on_worker(), Kind::Nop),
            14 | 15 => {
                (Request::call(libc::SYS_read, &[reader as u64, at, 1]), Kind::ReadPipe(pipe))
            }
            16 => (Request::call(libc::SYS_write, &[writer as u64, at, 1]), Kind::WritePipe),
            n @ 17..=20 => {
                let to = round.read.as_ptr().addr() as u64;
                let args = [round.file.as_raw_fd() as u64, to, super::FILE_BYTES as u64, 0];
                let read = Request::call(libc::SYS_pread64, &args);
                (if n == 20 { read.on_worker() } else { read }, Kind::ReadFile)
            }
            21 => (Request::call(libc::SYS_read, &[u64::MAX, at, 1]), Kind::BadDescriptor),
            22 => (Request::call(libc::SYS_ptrace, &[0; 4]), Kind::Forbidden),
            23 => (Request::call(libc::SYS_getpid, &[1]), Kind::WrongArguments),
            24 => (Request::nop(0).attr(60, attr::AttrFlags::REQUIRED, &[]), Kind::Required),
            25 => (Request::poll(reader, libc::POLLIN), Kind::Poll(pipe)),
            26 if self.random.below(4) == 0 => {
                let poll = Request::poll(reader, libc::POLLIN).flags(IocbFlags::MULTISHOT);
                (poll, Kind::Multishot(pipe))
            }
            27 => {
                let nap = (&raw const NAP).addr() as u64;
                (Request::call(libc::SYS_nanosleep, &[nap, 0]), Kind::Sleep)
            }
            28.. => (Request::close_group(keys + key as u64), Kind::Close(book.close(key))),
            _ => (Request::nop(0).on_worker(), Kind::Nop),
        };
        (request, Made::new(kind))
    }

    /// Perhaps has the request wait for something.
    fn order(
        &mut self,
        request: Request,
        made: &mut Made,
        n: usize,
        book: &Book,
        keys: u64,
    ) -> Request {
        match self.random.below(12) {
            0..=2 => {
                // 0 and one more than there are name nothing.
                let back = self.random.below(n as u64 + 2);
                made.target = Target::Stream(back as u32);
                request.after(AFTER_STREAM, back)
            }
            3 | 4 => {
                let key = self.random.below(KEYS as u64) as usize;
                made.target = match (book.open[key], book.closed[key]) {
                    (Some(group), _) => Target::Group(group),
                    (None, Some(group)) => Target::Closed(group),
                    (None, None) => return request,
                };
                request.after(AFTER_GROUP, keys + key as u64)
            }
            5 => {
                let Some(index) = self.recent() else { return request };
                let id = self.round.ids[index as usize].load(SeqCst);
                if id == 0 {
                    return request;
                }
                made.target = Target::Request(index);
                request.after(AFTER_REQUEST, id)
            }
            _ => request,
        }
    }

    fn returns(&mut self, request: Request, made: &mut Made) -> Request {
        let bits = self.random.next();
        let mut request = request;
        for (n, id) in RETURNS.into_iter().enumerate() {
            // CHECKSUM for reads only.
            let wanted = if id == attr::CHECKSUM {
                made.kind == Kind::ReadFile && bits & 1 == 0
            } else {
                bits >> (3 * n + 1) & 7 == 0
            };
            if wanted {
                made.returns |= 1 << n;
                let tag = if id == attr::TAG { bits.to_ne_bytes().to_vec() } else { vec![] };
                request = request.attr(id, attr::AttrFlags::RETURN, &tag);
            }
        }
        request
    }

    /// A request of this thread or of another that was accepted a while ago.
    fn recent(&mut self) -> Option<u32> {
        let thread = self.random.below(self.round.submitters.into()) as u32;
        let accepted = u64::from(self.round.accepted[thread as usize].load(SeqCst));
        let back = 1 + self.random.below(RECENT);
        let place = accepted.checked_sub(back)?;
        Some(self.round.first(thread) + place as u32)
    }

    /// Submits all of them, in as many calls as it takes.
    fn submit(&mut self, requests: Vec<Request>, made: Vec<Made>) {
        let mut batch = Batch::of(requests);
        let start = Instant::now();
        let mut at = 0;
        while at < batch.len() {
            self.round.assert_sound();
            let from = batch.offset(at);
            let result = if self.random.below(8) == 0 {
                let stream = batch.bytes_from(at);
                // SAFETY: what the requests name lives as long as the round.
                let got =
                    unsafe { self.round.context.backend().wait(&Wait::events(0), stream, None) };
                got.map(|got| got.submitted)
            } else {
                self.round.context.submit_bytes(batch.bytes_from(at))
            };
            match result {
                Ok(bytes) => {
                    let count = (1..).find(|n| batch.offset(at + n) - from >= bytes);
                    let count = count.expect("something was accepted");
                    assert_eq!(batch.offset(at + count) - from, bytes, "whole iocbs");
                    self.accept(&batch, &made, at, count);
                    at += count;
                }
                Err(errno) => {
                    assert_eq!(errno.0, libc::EAGAIN);
                    assert!(start.elapsed() < 2 * patience(), "nothing is accepted any more");
                    self.round.refused.fetch_add(1, Relaxed);
                    self.help();
                }
            }
        }
    }

    /// Notes that a call has accepted `count` requests from `at` on.
    fn accept(&mut self, batch: &Batch, made: &[Made], at: usize, count: usize) {
        for (n, one) in made.iter().enumerate().skip(at).take(count) {
            let mut one = *one;
            let index = self.index(self.made.len());
            if let Target::Stream(back) = one.target {
                let known = back > 0 && back as usize <= n - at;
                one.target = if known { Target::Request(index - back) } else { Target::Never };
            }
            self.round.ids[index as usize].store(batch.id(n), SeqCst);
            self.made.push(one);
        }
        self.round.accepted[self.thread as usize].store(self.made.len() as u32, SeqCst);
    }

    /// Brings something to an end, so that there is room.
    fn help(&mut self) {
        self.round.feed();
        self.cancel();
        assert_eq!(self.round.context.wait(&Wait::events(0)), Ok(()));
        // A yield costs a slice of each program beside this one.
        std::thread::sleep(PAUSE);
    }

    fn cancel(&mut self) {
        let by_id = self.random.below(2) == 0;
        if let Some(index) = self.recent() {
            self.round.cancel_one(index, by_id);
        }
    }

    /// Cancels all that has a descriptor or a number in common.
    fn cancel_many(&mut self) {
        let which = self.random.below(super::PIPES as u64 + 2) as usize;
        let fields = Cancel::default();
        let (flags, fields) = match self.round.pipes.get(which) {
            Some(pipe) => (CancelFlags::FD, Cancel { fd: pipe.read_fd(), ..fields }),
            None if which == super::PIPES => (CancelFlags::NR, Cancel { nr: op::NOP, ..fields }),
            None => (CancelFlags::NR, Cancel { nr: libc::SYS_nanosleep as u32, ..fields }),
        };
        self.round.wide.fetch_or(1 << which, SeqCst);
        match self.round.context.cancel(flags, fields) {
            Ok((matches, done)) => {
                assert_eq!(matches, done.cancelled + done.interrupted + done.too_late);
            }
            Err(errno) => assert_eq!(errno.0, libc::ENOENT),
        }
    }

    fn wait_for_one(&mut self) {
        let Some(index) = self.recent() else { return };
        let id = self.round.ids[index as usize].load(SeqCst);
        if id != 0 {
            let wait = Wait { id: Some(id), ..Wait::events(0) };
            let result = self.round.context.wait(&wait.within(Duration::from_micros(50)));
            assert!(matches!(errno(result), None | Some(libc::ETIME)));
        }
    }
}
