//! The engine: an iocb stream in, events from the ring out.

use super::{Contender, Done};
use crate::work::{EMPTY_PATH, Request, STATX_FLAGS, STATX_MASK};
use aio2::backend::{Backend, Wait};
use aio2::engine::{Engine, Executor};
use aio2::{Consumer, error::Errno};
use aio2_abi::setup::Setup;
use aio2_abi::{attr, event, iocb, op};
use zerocopy::IntoBytes;

pub struct Aio2 {
    engine: Engine,
    consumer: Consumer,
    stream: Vec<u64>,
    used: usize,
    events: Vec<u64>,
    attributes: &'static [u16],
}

impl Aio2 {
    /// # Errors
    /// Why there is no engine with this executor here.
    pub fn new(
        slots: usize,
        executor: Executor,
        attributes: &'static [u16],
    ) -> Result<Self, Errno> {
        // As a thread pool: a worker for what has no other way.
        let concurrency = slots.min(super::pool::THREADS) as u32;
        let setup = Setup { version: 1, concurrency, ..Setup::default() };
        let engine = Engine::with_executor(&setup, None, Some(executor), None)?;
        if engine.executor() != executor {
            return Err(Errno(libc::EPERM));
        }
        let consumer = engine.consumer();
        let stream = vec![0; slots * 32];
        Ok(Aio2 { engine, consumer, stream, used: 0, events: vec![0; 8192], attributes })
    }
}

impl Contender for Aio2 {
    #[inline(always)]
    fn push(&mut self, slot: usize, request: &Request) {
        let address = |at: *mut u8| at.expose_provenance() as u64;
        let at_empty = EMPTY_PATH.expose_provenance() as u64;
        let (nr, args): (libc::c_long, &[u64]) = match *request {
            Request::Nop => (op::NOP.into(), &[]),
            Request::Read { fd, at, len, offset } => {
                (libc::SYS_pread64, &[fd as u64, address(at), len as u64, offset])
            }
            Request::Write { fd, at, len, offset } => {
                (libc::SYS_pwrite64, &[fd as u64, address(at), len as u64, offset])
            }
            Request::Sync { fd } => (libc::SYS_fdatasync, &[fd as u64]),
            Request::Open { path } => (
                libc::SYS_openat,
                &[
                    libc::AT_FDCWD as u64,
                    path.expose_provenance() as u64,
                    (libc::O_RDONLY | libc::O_CLOEXEC) as u64,
                    0,
                ],
            ),
            Request::Statx { fd, to } => (
                libc::SYS_statx,
                &[
                    fd as u64,
                    at_empty,
                    STATX_FLAGS as u64,
                    STATX_MASK.into(),
                    to.expose_provenance() as u64,
                ],
            ),
            Request::Close { fd } => (libc::SYS_close, &[fd as u64]),
            Request::Receive { fd, at, len } => {
                (libc::SYS_recvfrom, &[fd as u64, address(at), len as u64, 0, 0, 0])
            }
            Request::Send { fd, at, len } => {
                (libc::SYS_sendto, &[fd as u64, address(at), len as u64, 0, 0, 0])
            }
        };
        let room = &mut self.stream.as_mut_bytes()[self.used..];
        let flags = iocb::IocbFlags::empty();
        let mut encoder = iocb::Encoder::new(room, nr as u32, args, flags, slot as u64)
            .expect("room for an iocb");
        for &id in self.attributes {
            encoder.attr(id, attr::AttrFlags::RETURN, &[]).expect("room for an attribute");
        }
        self.used += encoder.len();
    }

    fn turn(&mut self, done: &mut Done) {
        let stream = &mut self.stream.as_mut_bytes()[..self.used];
        // SAFETY: what a request names is there while the work is.
        let taken = unsafe { self.engine.submit(stream) };
        assert_eq!(taken, Ok(self.used));
        self.used = 0;
        loop {
            for words in self.consumer.reap(&mut self.events, usize::MAX).expect("a sound ring") {
                let (event, _) = event::EventView::parse(words.as_bytes()).expect("an event");
                if let Some(times) = event.payload::<attr::TimingReturn>(attr::TIMING) {
                    assert!(times.submitted <= times.completed);
                }
                done.push((event.header.user_data as usize, event.header.res));
            }
            if !done.is_empty() {
                return;
            }
            // SAFETY: there is no request.
            unsafe { self.engine.wait(&Wait::events(1), &mut [], None) }.expect("a wait");
        }
    }
}
