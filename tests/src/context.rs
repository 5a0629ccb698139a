//! A context under test: submits, and reaps by each of the ways there are.
//!
//! No wait is without end: what does not come within [`patience`] has failed.

use crate::request::{Batch, Request};
use crate::words::Words;
use aio2::backend::{Backend, Wait};
use aio2::error::Errno;
use aio2::ring::Memory;
use aio2_abi::attr;
use aio2_abi::event::{EventFlags, EventView};
use aio2_abi::ring::RingFlags;
use aio2_abi::wait::{Cancel, CancelFlags};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// How many times as slow this system is as others: `AIO2_SLOWNESS`, for kernels
/// that watch themselves.
pub fn slowness() -> u32 {
    static SLOWNESS: LazyLock<u32> = LazyLock::new(|| {
        std::env::var("AIO2_SLOWNESS").ok().and_then(|s| s.parse().ok()).unwrap_or(1)
    });
    *SLOWNESS
}

/// How long anything may take that has to happen.
pub fn patience() -> Duration {
    Duration::from_secs(30) * slowness()
}

/// An event, out of the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its length in bytes.
    pub len: u32,
    /// Its flags.
    pub flags: u32,
    /// That of the request.
    pub user_data: u64,
    /// The result.
    pub res: i64,
    /// What attributes returned: id, status, payload.
    pub returns: Vec<(u16, i32, Vec<u8>)>,
}

impl Event {
    /// The events that stand in `bytes`, back to back.
    ///
    /// # Panics
    /// If they do not.
    #[must_use]
    pub fn parse_all(mut bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            let (event, rest) = EventView::parse(bytes).expect("an event stands there");
            events.push(Event {
                len: event.header.len,
                flags: event.header.flags,
                user_data: event.header.user_data,
                res: event.header.res,
                returns: event.returns().map(|r| (r.id, r.status, r.payload.to_vec())).collect(),
            });
            bytes = rest;
        }
        events
    }

    /// Whether it is the last one of its request.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.flags & EventFlags::MORE.bits() == 0
    }

    /// Whether it says that the operation never began.
    #[must_use]
    pub fn never_began(&self) -> bool {
        self.flags & EventFlags::NOT_STARTED.bits() != 0
    }

    /// Status of the return of attribute `id`.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn status(&self, id: u16) -> i32 {
        self.find(id).1
    }

    /// Payload of the return of attribute `id`, which was handled.
    ///
    /// # Panics
    /// If it was not.
    #[must_use]
    pub fn payload<T: FromBytes + Immutable + KnownLayout>(&self, id: u16) -> T {
        let (_, status, payload) = self.find(id);
        assert_eq!(*status, 0, "attribute {id} was not handled: {self:?}");
        T::read_from_bytes(payload).expect("the payload has its size")
    }

    fn find(&self, id: u16) -> &(u16, i32, Vec<u8>) {
        let mut found = self.returns.iter().filter(|r| r.0 == id);
        let Some(ret) = found.next() else { panic!("no return of attribute {id}: {self:?}") };
        assert!(found.next().is_none(), "two returns of attribute {id}: {self:?}");
        ret
    }

    /// Where it ran.
    ///
    /// # Panics
    /// If it does not say.
    #[must_use]
    pub fn place(&self) -> u32 {
        self.payload::<attr::PathReturn>(attr::PATH).place
    }
}

/// Number of the error, if it is one.
#[must_use]
pub fn errno<T>(result: Result<T, Errno>) -> Option<i32> {
    result.err().map(|e| e.0)
}

/// A context under test.
#[derive(Debug)]
pub struct Context {
    backend: Box<dyn Backend>,
}

impl Context {
    /// Takes the context over.
    #[must_use]
    pub fn new(backend: Box<dyn Backend>) -> Self {
        Context { backend }
    }

    /// The implementation.
    #[must_use]
    pub fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// Submits the stream.
    ///
    /// # Errors
    /// Those of `io_submit2`.
    pub fn submit(&self, batch: &mut Batch) -> Result<usize, Errno> {
        self.submit_bytes(batch.bytes())
    }

    /// Submits any bytes.
    ///
    /// # Errors
    /// Those of `io_submit2`.
    pub fn submit_bytes(&self, bytes: &mut [u8]) -> Result<usize, Errno> {
        // SAFETY: each test keeps what its arguments name until it has reaped
        // the events, or until the context is gone.
        unsafe { self.backend.submit(bytes) }
    }

    /// Submits the stream, which must be accepted whole.
    ///
    /// # Panics
    /// If it is not.
    pub fn submit_all(&self, batch: &mut Batch) {
        let len = batch.bytes().len();
        assert_eq!(self.submit(batch), Ok(len), "the stream is accepted whole");
    }

    /// Submits these, which must all be accepted; the stream, for its ids.
    ///
    /// # Panics
    /// If they are not.
    pub fn submit_these(&self, requests: impl IntoIterator<Item = Request>) -> Batch {
        let mut batch = Batch::of(requests);
        self.submit_all(&mut batch);
        batch
    }

    /// Submits one request with its id written back; returns the id.
    ///
    /// # Panics
    /// If it is not accepted.
    pub fn submit_one(&self, request: Request) -> u64 {
        self.submit_these([request.with_id()]).id(0)
    }

    /// Runs one request, to its only event.
    ///
    /// # Panics
    /// If it is not accepted or does not end.
    pub fn run(&self, request: Request) -> Event {
        self.submit_all(&mut Batch::of([request]));
        let mut events = self.reap(1);
        self.assert_idle();
        events.remove(0)
    }

    /// `io_getevents2`.
    ///
    /// # Errors
    /// As SPEC section 4.3 lists them.
    pub fn wait(&self, wait: &Wait<'_>) -> Result<(), Errno> {
        // SAFETY: no iocbs.
        let got = unsafe { self.backend.wait(wait, &mut [], None) }?;
        assert_eq!((got.submitted, got.bytes, got.events), (0, 0, 0), "nothing was asked for");
        Ok(())
    }

    /// `io_getevents2` with a buffer of `bytes` for events.
    ///
    /// # Errors
    /// As SPEC section 4.3 lists them.
    ///
    /// # Panics
    /// If what is copied is not what it says.
    pub fn wait_copy(&self, wait: &Wait<'_>, bytes: usize) -> Result<Vec<Event>, Errno> {
        let mut buffer = vec![0xdead_beef_u64; bytes.div_ceil(8)];
        let buffer = &mut buffer.as_mut_bytes()[..bytes];
        // SAFETY: no iocbs.
        let got = unsafe { self.backend.wait(wait, &mut [], Some(&mut *buffer)) }?;
        let events = Event::parse_all(&buffer[..got.bytes]);
        assert_eq!(events.len(), got.events as usize, "the number of events is the right one");
        Ok(events)
    }

    /// Takes what is in the ring, and in those that replaced it, at most `max`
    /// events.
    ///
    /// # Panics
    /// If the ring is corrupt.
    #[must_use]
    pub fn reap_ring(&self, max: usize) -> Vec<Event> {
        let mut consumer = self.backend.consumer();
        let mut buffer = vec![0; 64 << 10];
        let mut found = Vec::new();
        while found.len() < max {
            let events = consumer.reap(&mut buffer, max - found.len()).expect("the ring is sound");
            if events.len() == 0 {
                if consumer.advance() {
                    continue;
                }
                break;
            }
            found.extend(Event::parse_all(events.words().as_bytes()));
        }
        found
    }

    /// Reaps exactly `count` events from the ring, waiting for them.
    ///
    /// # Panics
    /// If they do not come.
    #[must_use]
    pub fn reap(&self, count: usize) -> Vec<Event> {
        let mut events = self.reap_ring(count);
        while events.len() < count {
            self.wait(&Wait::events(1).within(patience()))
                .unwrap_or_else(|e| panic!("{e:?} after {} of {count} events", events.len()));
            events.extend(self.reap_ring(count - events.len()));
        }
        events
    }

    /// user_data and result of the next `count` events.
    ///
    /// # Panics
    /// If they do not come.
    #[must_use]
    pub fn ends(&self, count: usize) -> Vec<(u64, i64)> {
        self.reap(count).iter().map(|event| (event.user_data, event.res)).collect()
    }

    /// Nothing is to be reaped, neither in the ring nor on the overflow list.
    ///
    /// # Panics
    /// If there is.
    pub fn assert_idle(&self) {
        let none = self.wait(&Wait::events(1).within(Duration::ZERO));
        assert_eq!(errno(none), Some(libc::ETIME), "there is nothing: {:?}", self.reap_ring(1));
        assert_eq!(self.reap_ring(1), []);
    }

    /// `io_cancel2` of what matches these flags and fields.
    ///
    /// # Errors
    /// As SPEC section 4.4 lists them.
    pub fn cancel(&self, flags: CancelFlags, fields: Cancel) -> Result<(u32, Cancel), Errno> {
        let mut request = Cancel { flags: flags.bits(), ..fields };
        self.backend.cancel(&mut request).map(|matches| (matches, request))
    }

    /// The flags of the ring that events go to.
    #[must_use]
    pub fn ring_flags(&self) -> RingFlags {
        let consumer = self.backend.consumer();
        let view = consumer.last_memory().view();
        RingFlags::from_bits_retain(view.flags.load(std::sync::atomic::Ordering::Acquire))
    }

    /// How many events have gone by the overflow list.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        let consumer = self.backend.consumer();
        consumer.last_memory().view().overflowed.load(std::sync::atomic::Ordering::Acquire)
    }
}

/// Tells threads of a scope to stop when it is dropped, also when the thread
/// that holds it fails: else the scope would wait for them for ever.
pub(crate) struct Stop<'a>(pub(crate) &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until `what` holds.
///
/// # Panics
/// If it does not within [`patience`].
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < patience(), "it did not happen: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
