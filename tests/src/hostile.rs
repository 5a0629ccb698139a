//! An application that writes over everything that it can write, all the time:
//! the consumer page, its iocbs while they are read, the descriptors that its
//! requests name. It gets errors; nothing crashes or hangs.
//!
//! It is a child process with nothing to lose. What it writes are words from a
//! list, so that no stray iocb becomes a syscall that would hurt the test: as
//! numbers they are `read`, `fcntl`, operations of AIO2, and what is not
//! allowed; as addresses they are bad.
//!
//! SPEC: section 12.2.

use crate::child;
use crate::context::{Context, Stop, errno, patience};
use crate::env::{Env, Factory, Outcome, setup};
use crate::file::{Pipe, TwoViews, eventfd, file_with, socket_pair};
use crate::random::{Random, cases};
use crate::request::{Batch, Request};
use crate::words::Words;
use aio2::backend::Wait;
use aio2::ring::Memory;
use aio2_abi::attr;
use aio2_abi::iocb::{self, IocbFlags};
use aio2_abi::setup::Setup;
use aio2_abi::wait::{Cancel, CancelFlags};
use std::os::fd::AsRawFd;
use std::process::Stdio;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};
use std::time::Duration;

/// Words that are written over others.
const WORDS: [u64; 16] = [
    0,
    2,
    7,
    8,
    16,
    24,
    32,
    48,
    72,
    96,
    1024,
    1032,
    1 << 31,
    (1 << 31) + 1,
    (1 << 31) + 2,
    u32::MAX as u64,
];
/// Descriptors that are replaced all the time.
const FDS: u64 = 800;
const NR_FDS: u64 = 6;
const BUFFER_BYTES: usize = 4096;
/// Calls that the application makes on a context.
const STEPS: u64 = 150;
/// Contexts that it is hostile to, if nobody wants more.
const CONTEXTS: u64 = 40;

/// A word that is written over another one.
fn word(random: &mut Random) -> u64 {
    match random.below(8) {
        0 => random.next(),
        1 => WORDS[random.below(16) as usize] << 32 | WORDS[random.below(16) as usize],
        _ => WORDS[random.below(16) as usize],
    }
}

/// What the threads of the application share.
struct Peer<'a> {
    context: &'a Context,
    iocbs: TwoViews,
    /// Where reads go; nobody looks at it.
    buffer: [AtomicU8; BUFFER_BYTES],
    /// Bytes of iocbs that were accepted.
    accepted: AtomicU64,
    done: AtomicBool,
}

/// Child: is hostile to one context after the other; 0 if it survives.
pub(crate) fn is_hostile(factory: &dyn Factory) -> i32 {
    let mut random = Random::from_environment("hostile application");
    let setup = Setup { ring_bytes: 4096, max_requests: 256, concurrency: 3, ..setup() };
    let create = || Context::new(factory.create(&setup).expect("a context can be created"));
    let other = create();
    let (mut accepted, mut bad_heads) = (0, 0);
    for n in 0..cases(CONTEXTS) {
        let context = create();
        let consumer = context.backend().consumer();
        accepted += be_hostile(&context, &mut random);
        bad_heads += consumer.memory().view().bad_heads.load(Relaxed);
        drop(context);
        assert!(consumer.is_dead());
        assert_eq!(other.run(Request::nop(n)).user_data, n, "another context");
    }
    println!("{accepted} bytes of iocbs were accepted, and {bad_heads} bad heads seen");
    assert!(accepted > 0 && bad_heads > 0, "it did no harm");
    0
}

/// Is hostile to a context, until it holds no request any more; the bytes
/// of iocbs that it accepted.
///
/// # Panics
/// If it gives what it must not, or holds a request for ever.
pub fn be_hostile(context: &Context, random: &mut Random) -> u64 {
    let peer = Peer {
        context,
        iocbs: TwoViews::new(),
        buffer: [const { AtomicU8::new(0) }; BUFFER_BYTES],
        accepted: AtomicU64::new(0),
        done: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        let _stop = Stop(&peer.done);
        let seeds = [random.next(), random.next(), random.next()];
        let peer = &peer;
        scope.spawn(move || peer.write_over_the_consumer_page(Random::new(seeds[0])));
        scope.spawn(move || peer.write_over_iocbs(Random::new(seeds[1])));
        scope.spawn(move || peer.replace_descriptors(Random::new(seeds[2])));
        (0..STEPS).for_each(|_| peer.call(random));
        // Nothing runs on that could not be stopped, while they go on.
        let flags = CancelFlags::ALL | CancelFlags::WAIT | CancelFlags::TIMEOUT;
        let timeout = patience().as_nanos() as u64;
        let result = context.cancel(flags, Cancel { timeout, ..Cancel::default() });
        assert!(matches!(errno(result), None | Some(libc::ENOENT)), "something does not end");
    });
    peer.accepted.load(Relaxed)
}

impl Peer<'_> {
    fn write_over_the_consumer_page(&self, mut random: Random) {
        let consumer = self.context.backend().consumer();
        let view = consumer.memory().view();
        let page = std::ptr::from_ref(view.head).expose_provenance();
        while !self.done.load(Relaxed) {
            let at = match random.below(4) {
                // The head, most of all.
                0 | 1 => 0,
                2 => 8,
                _ => random.below(512),
            };
            let place = std::ptr::with_exposed_provenance::<AtomicU64>(page + 8 * at as usize);
            // SAFETY: the head stands at the start of a page, which can be
            // written and is mapped as long as the consumer lives.
            let place = unsafe { &*place };
            let old = place.load(Relaxed);
            let new = match random.below(4) {
                0 => old.wrapping_add(8 * random.below(64)).wrapping_sub(256),
                1 => u64::from(view.tail.load(Relaxed)),
                _ => word(&mut random),
            };
            place.store(new, Relaxed);
        }
    }

    fn write_over_iocbs(&self, mut random: Random) {
        while !self.done.load(Relaxed) {
            // Mostly where there are iocbs.
            let end = if random.below(4) == 0 { TwoViews::BYTES as u64 / 8 } else { 48 };
            let at = random.below(end) as usize;
            let place = self.iocbs.addresses[1].cast::<u64>().wrapping_add(at);
            // SAFETY: in the page, aligned.
            unsafe { place.write_volatile(word(&mut random)) };
        }
    }

    fn replace_descriptors(&self, mut random: Random) {
        let (pipe, event, sockets) = (Pipe::new(), eventfd(), socket_pair(libc::SOCK_STREAM));
        while !self.done.load(Relaxed) {
            let new = (FDS + random.below(NR_FDS)) as i32;
            let old = match random.below(6) {
                0 => pipe.read_fd(),
                1 => pipe.write_fd(),
                2 => event.as_raw_fd(),
                3 => sockets.0.as_raw_fd(),
                4 => sockets.1.as_raw_fd(),
                _ => -1,
            };
            if old < 0 {
                // SAFETY: takes a number; these descriptors are nobody else's.
                unsafe { libc::close(new) };
            } else {
                // SAFETY: as above.
                unsafe { libc::dup3(old, new, 0) };
            }
            std::thread::sleep(Duration::from_micros(random.below(50)));
        }
    }

    /// A request that hurts nobody, whatever else is written over it.
    fn request(&self, random: &mut Random, n: u64) -> Request {
        let fd = FDS + random.below(NR_FDS);
        let at = self.buffer.as_ptr().addr() as u64;
        let len = random.below(BUFFER_BYTES as u64);
        let request = match random.below(8) {
            0 => Request::nop(n),
            1 => Request::nop(n).on_worker(),
            2 => Request::call(libc::SYS_read, &[fd, at, len]),
            3 => Request::call(libc::SYS_pread64, &[fd, at, len, random.below(100)]),
            4 => Request::call(libc::SYS_write, &[fd, at, 1 + random.below(9)]),
            5 => Request::poll(fd as i32, libc::POLLIN),
            6 => Request::poll(fd as i32, libc::POLLIN).flags(IocbFlags::MULTISHOT),
            _ => Request::close_group(random.below(3)),
        };
        match random.below(10) {
            0 => request.in_group(random.below(3)),
            1 => request.after(random.below(4) as u32, word(random)),
            2 => request.deadline(random.below(100_000)),
            3 => request.with_id().returns(attr::TIMING).returns(attr::CHECKSUM),
            4 => request.flags(IocbFlags::FULL).returns(attr::PATH).returns(attr::CACHE),
            5 => {
                // SIGNAL is left out: it would be the test that is hit.
                let id = 4 + random.below(60) as u16;
                let len = 8 * random.below(4) as usize;
                let payload = random.bytes(len);
                request.attr(
                    id,
                    attr::AttrFlags::from_bits_retain(random.below(4) as u32),
                    &payload,
                )
            }
            _ => request,
        }
        .user_data(n)
    }

    /// One call. It may give any error that there is.
    fn call(&self, random: &mut Random) {
        match random.below(8) {
            0..=2 => self.submit(random),
            3 | 4 => self.wait(random),
            5 => {
                let mut words = vec![0; random.below(200) as usize];
                let _ = self.context.backend().consumer().reap(&mut words, 9);
            }
            6 => {
                let mut cancel = Cancel {
                    flags: random.below(128) as u32 & !CancelFlags::WAIT.bits(),
                    fd: random.below(1000) as i32,
                    nr: word(random) as u32,
                    id: word(random),
                    user_data: random.below(12),
                    ..Cancel::default()
                };
                // Fields without a flag are an error; half of the time there are none.
                if random.below(2) == 0 {
                    let flags = CancelFlags::USER_DATA.bits();
                    cancel = Cancel { flags, user_data: cancel.user_data, ..Cancel::default() };
                }
                let _ = self.context.backend().cancel(&mut cancel);
            }
            _ => self.exec(random),
        }
    }

    fn submit(&self, random: &mut Random) {
        let requests: Vec<Request> =
            (0..1 + random.below(12)).map(|n| self.request(random, n)).collect();
        let mut batch = Batch::of(requests);
        let len = batch.bytes().len().min(TwoViews::BYTES);
        let stream = self.iocbs.addresses[0];
        // SAFETY: `len` bytes fit into the page; others write there too, but not
        // through a reference.
        unsafe { std::ptr::copy_nonoverlapping(batch.bytes().as_ptr(), stream, len) };
        // SAFETY: mapped, and changed by others only through the other address.
        let bytes = unsafe { std::slice::from_raw_parts_mut(stream, len) };
        match self.context.submit_bytes(bytes) {
            Ok(accepted) => {
                assert!(accepted <= len);
                self.accepted.fetch_add(accepted as u64, Relaxed);
            }
            Err(errno) => {
                assert!([libc::EINVAL, libc::E2BIG, libc::EAGAIN].contains(&errno.0), "{errno}");
            }
        }
    }

    fn wait(&self, random: &mut Random) {
        let id = (random.below(4) == 0).then(|| word(random));
        let gather = Duration::from_micros(random.below(50));
        let time = Duration::from_micros(random.below(200));
        let wait = Wait { id, gather, ..Wait::events(random.below(4) as u32) }.within(time);
        let mut buffer = vec![0; random.below(2000) as usize];
        let room = buffer.len();
        let into = (id.is_none() && random.below(2) == 0).then_some(&mut buffer[..]);
        // SAFETY: no iocbs.
        if let Ok(got) = unsafe { self.context.backend().wait(&wait, &mut [], into) } {
            assert!(got.bytes <= room);
        }
    }

    /// Only what cannot sleep: it is this thread that would.
    fn exec(&self, random: &mut Random) {
        let mut batch = Batch::of([Request::nop(1).returns(attr::TIMING)]);
        let words = batch.bytes().len() as u64 / 8;
        if random.below(2) == 0 {
            let at = 8 * random.below(words) as usize;
            // Not the number.
            if at != 8 {
                batch.bytes()[at..at + 8].copy_from_slice(&word(random).to_ne_bytes());
            }
        }
        let mut event = vec![0; random.below(200) as usize];
        // SAFETY: a NOP has no addresses.
        let result = unsafe { self.context.backend().exec(batch.bytes(), &mut event) };
        assert!(result.is_err() || result.is_ok_and(|bytes| bytes <= event.len()));
    }
}

pub(crate) fn everything_that_can_be_written_is_written_over(env: &Env<'_>) -> Outcome {
    let (_, input) = file_with(env, "input", b"");
    let mut command = child::command(env.factory, "is_hostile");
    command.current_dir(env.dir).stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = command.output().expect("the child runs");
    print!("{}", String::from_utf8_lossy(&ended.stdout));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{}: {said}", ended.status);
    Ok(())
}

pub(crate) fn length_that_was_checked_is_the_one_that_counts(env: &Env<'_>) -> Outcome {
    const PAGE: usize = 4096;
    // Its header is the end of a page of the stream: what reads by pages comes
    // back for the rest.
    const AT: usize = PAGE - iocb::HEADER_BYTES;
    const GOOD: usize = iocb::HEADER_BYTES + attr::HEADER_BYTES;
    let nop = |n, payload: &[u8]| Request::nop(n).attr(63, attr::AttrFlags::empty(), payload);
    let mut stream = Batch::of((0..4).map(|n| nop(n, &[0; AT / 4 - GOOD])));
    stream.push(&nop(4, &[]));
    let context = env.context();
    let views = TwoViews::new();
    let ours = views.addresses[0];
    // SAFETY: fits into the memory, which nothing else uses yet.
    unsafe { std::ptr::copy_nonoverlapping(stream.bytes().as_ptr(), ours, AT + GOOD) };

    // More than an iocb has or than is left, and an attribute behind the good
    // one, with which this would be good too, or go on behind another page.
    for (bad, attr_end, bytes) in [
        (iocb::LEN_MAX, iocb::LEN_MAX, AT + 512),
        (iocb::LEN_MAX + 8, iocb::LEN_MAX + 8, TwoViews::BYTES),
        (PAGE, PAGE, TwoViews::BYTES),
        (PAGE + 8, PAGE, TwoViews::BYTES),
    ] {
        let header = 62 | ((attr_end - GOOD) as u64) << 16;
        // SAFETY: in the memory, aligned.
        unsafe { ours.wrapping_add(AT + GOOD).cast::<u64>().write(header) };
        let done = AtomicBool::new(false);
        let (mut refused, mut taken) = (0, 0);
        std::thread::scope(|scope| {
            let _stop = Stop(&done);
            let (views, done) = (&views, &done);
            scope.spawn(move || {
                let len = views.addresses[1].wrapping_add(AT).cast::<u32>();
                for value in [bad, GOOD].into_iter().cycle() {
                    if done.load(Relaxed) {
                        break;
                    }
                    // SAFETY: in the memory, aligned.
                    unsafe { len.write_volatile(value as u32) };
                }
            });
            while refused.min(taken) < 250 {
                // SAFETY: mapped, and changed by others only through the other address.
                let stream = unsafe { std::slice::from_raw_parts_mut(ours, bytes) };
                let accepted = context.submit_bytes(stream);
                let count = if accepted == Ok(AT) { &mut refused } else { &mut taken };
                *count += 1;
                assert!([AT, AT + GOOD].map(Ok).contains(&accepted), "{accepted:?}, len {bad}");
                let events = 4 + u64::from(accepted != Ok(AT));
                let order: Vec<_> =
                    context.reap(events as usize).iter().map(|e| e.user_data).collect();
                assert_eq!(order, (0..events).collect::<Vec<_>>());
            }
        });
    }
    context.assert_idle();
    Ok(())
}
