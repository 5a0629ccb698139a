//! What several tests of the library need.
#![allow(dead_code)] // each test binary uses a part

use aio2::backend::{Backend, Wait, Waited};
use aio2::engine::Engine;
use aio2::{Consumer, Context, Errno, Implementation};
use aio2_abi::iocb::Stream;
use aio2_abi::setup::{Features, Setup};
use aio2_abi::wait::{Cancel, CancelFlags};
use std::fmt;
use std::io::{self, Read};
use std::net::TcpStream;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Random numbers: splitmix64. A seed must mean the same for ever.
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// The next number, below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
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

/// The engine, accepting fewer iocbs than it is given, or none, and how often it
/// was called.
pub struct Stingy {
    engine: Engine,
    setup: Setup,
    submits: AtomicUsize,
    waits: AtomicUsize,
    /// How many to accept at the next submission, at most.
    accept: Mutex<Box<dyn FnMut() -> usize + Send>>,
    /// Nothing that runs can be interrupted.
    pub is_deaf: AtomicBool,
}

impl fmt::Debug for Stingy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.engine.fmt(f)
    }
}

impl Stingy {
    fn new(setup: &Setup, accept: impl FnMut() -> usize + Send + 'static) -> Self {
        let setup = Setup { version: aio2_abi::VERSION, ..*setup };
        let engine = Engine::new(&setup, None).expect("an engine");
        let setup = *engine.setup();
        let (submits, waits, is_deaf) = Default::default();
        Stingy { engine, setup, submits, waits, accept: Mutex::new(Box::new(accept)), is_deaf }
    }

    /// One that says it is elsewhere, so that its calls are dear.
    pub fn elsewhere(setup: &Setup, accept: impl FnMut() -> usize + Send + 'static) -> Arc<Self> {
        let mut stingy = Self::new(setup, accept);
        stingy.setup.features &= !Features::IN_PROCESS.bits();
        Arc::new(stingy)
    }

    /// A context over it.
    pub fn context(self: &Arc<Self>) -> Context {
        // SAFETY: it hands on to an engine of its own, and one that accepts less
        // than it could keeps the SPEC.
        unsafe { Context::over(self.clone(), Implementation::Engine) }
    }

    /// Submissions and waits since this was asked last.
    pub fn calls(&self) -> (usize, usize) {
        (self.submits.swap(0, Ordering::Relaxed), self.waits.swap(0, Ordering::Relaxed))
    }

    /// What is accepted of `iocbs`, if it is not nothing of something.
    fn some<'i>(&self, iocbs: &'i mut [u8]) -> Result<&'i mut [u8], Errno> {
        let accept = (self.accept.lock().unwrap())();
        let well_formed = Stream::new(iocbs).unwrap().map_while(Result::ok).take(accept);
        let bytes = well_formed.map(|iocb| iocb.header.len as usize).sum();
        if bytes == 0 && Stream::new(iocbs).unwrap().peek().is_some_and(|first| first.is_ok()) {
            return Err(Errno(libc::EAGAIN));
        }
        // A malformed one at the beginning gets its errno.
        Ok(if bytes == 0 { iocbs } else { &mut iocbs[..bytes] })
    }
}

/// A context over a stingy engine.
pub fn stingy(setup: &Setup, accept: impl FnMut() -> usize + Send + 'static) -> Context {
    Arc::new(Stingy::new(setup, accept)).context()
}

/// Accepts up to seven at random.
pub fn at_random(seed: u64) -> impl FnMut() -> usize + Send {
    let mut random = Random(seed);
    move || random.below(8) as usize
}

impl Backend for Stingy {
    fn setup(&self) -> &Setup {
        &self.setup
    }

    unsafe fn submit(&self, iocbs: &mut [u8]) -> Result<usize, Errno> {
        self.submits.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller vouches for the addresses.
        unsafe { self.engine.submit(self.some(iocbs)?) }
    }

    unsafe fn wait(
        &self,
        wait: &Wait<'_>,
        iocbs: &mut [u8],
        events: Option<&mut [u8]>,
    ) -> Result<Waited, Errno> {
        self.waits.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller vouches for the addresses.
        unsafe { self.engine.wait(wait, self.some(iocbs)?, events) }
    }

    fn cancel(&self, request: &mut Cancel) -> Result<u32, Errno> {
        let waits = CancelFlags::from_bits_retain(request.flags).contains(CancelFlags::WAIT);
        if self.is_deaf.load(Ordering::Relaxed) && !waits {
            return Err(Errno(libc::ENOENT));
        }
        self.engine.cancel(request)
    }

    unsafe fn exec(&self, iocb: &mut [u8], event: &mut [u8]) -> Result<usize, Errno> {
        // SAFETY: the caller vouches for the addresses.
        unsafe { self.engine.exec(iocb, event) }
    }

    fn grow(&self, ring_bytes: u32) -> Result<u32, Errno> {
        self.engine.grow(ring_bytes)
    }

    fn consumer(&self) -> Consumer {
        self.engine.consumer()
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.engine.as_fd()
    }
}

/// The head and the body of an answer of HTTP.
pub fn response(client: &mut TcpStream) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let len = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
    let len = len.parse().unwrap();
    let mut body = vec![0; len];
    client.read_exact(&mut body).unwrap();
    (head, body)
}
