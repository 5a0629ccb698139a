//! What several tests of the library need.
#![allow(dead_code)] // each test binary uses a part

use aio2::backend::{Backend, Got, Wait};
use aio2::engine::Engine;
use aio2::ring::Consumer;
use aio2::shm::ConsumerMap;
use aio2::{Context, Errno, Implementation};
use aio2_abi::iocb::Stream;
use aio2_abi::setup::Setup;
use aio2_abi::wait::Cancel;
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex};

/// Random numbers: splitmix64.
pub struct Random(pub u64);

impl Random {
    /// The next number, below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % limit
    }
}

/// A pipe: reading end, writing end.
pub fn pipe() -> (OwnedFd, OwnedFd) {
    let mut fds = [0; 2];
    // SAFETY: room for two numbers.
    let result = unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    // SAFETY: they are new, and no one else's.
    let ends = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    ends.into()
}

/// The engine, accepting fewer iocbs than it is given, or none.
pub struct Stingy {
    engine: Engine,
    /// How many to accept at the next submission, at most.
    accept: Mutex<Box<dyn FnMut() -> usize + Send>>,
}

impl fmt::Debug for Stingy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.engine.fmt(f)
    }
}

/// A context over a stingy engine.
pub fn stingy(setup: &Setup, accept: impl FnMut() -> usize + Send + 'static) -> Context {
    let engine = Engine::new(setup).expect("an engine");
    let backend = Arc::new(Stingy { engine, accept: Mutex::new(Box::new(accept)) });
    // SAFETY: it hands on to an engine of its own, and one that accepts less
    // than it could keeps the SPEC.
    unsafe { Context::over(backend, Implementation::Engine) }
}

/// Accepts up to seven at random.
pub fn at_random(seed: u64) -> impl FnMut() -> usize + Send {
    let mut random = Random(seed);
    move || random.below(8) as usize
}

impl Backend for Stingy {
    fn setup(&self) -> &Setup {
        self.engine.setup()
    }

    unsafe fn submit(&self, iocbs: &mut [u8]) -> Result<usize, Errno> {
        let accept = (self.accept.lock().unwrap())();
        let well_formed = Stream::new(iocbs).unwrap().map_while(Result::ok).take(accept);
        let bytes = well_formed.map(|iocb| iocb.header.len as usize).sum();
        if bytes == 0 && Stream::new(iocbs).unwrap().peek().is_some_and(|first| first.is_ok()) {
            return Err(Errno(libc::EAGAIN));
        }
        let some = if bytes == 0 { iocbs } else { &mut iocbs[..bytes] };
        // SAFETY: the caller vouches for the addresses.
        unsafe { self.engine.submit(some) }
    }

    unsafe fn wait(
        &self,
        wait: &Wait<'_>,
        iocbs: &mut [u8],
        events: Option<&mut [u8]>,
    ) -> Result<Got, Errno> {
        // SAFETY: the caller vouches for the addresses.
        unsafe { self.engine.wait(wait, iocbs, events) }
    }

    fn cancel(&self, request: &mut Cancel) -> Result<u32, Errno> {
        self.engine.cancel(request)
    }

    unsafe fn exec(&self, iocb: &mut [u8], event: &mut [u8]) -> Result<usize, Errno> {
        // SAFETY: the caller vouches for the addresses.
        unsafe { self.engine.exec(iocb, event) }
    }

    fn grow(&self, ring_bytes: u32) -> Result<u32, Errno> {
        self.engine.grow(ring_bytes)
    }

    fn consumer(&self) -> Consumer<ConsumerMap> {
        self.engine.consumer()
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.engine.as_fd()
    }
}
