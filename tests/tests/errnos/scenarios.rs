//! What the child plays while system calls fail, and what has to be true of it then.

use super::tracer::tell;
use super::{BEGIN, END, ENGINE, WAS_GIVEN};
use aio2::backend::Wait;
use aio2::error::Errno;
use aio2_abi::attr;
use aio2_abi::setup::{Setup, SetupFlags};
use aio2_abi::wait::{Cancel, CancelFlags};
use aio2_conformance::backends::{InProcess, OnDevice};
use aio2_conformance::context::Context;
use aio2_conformance::env::{Factory, setup};
use aio2_conformance::file::{Pipe, eventfd, socket_pair};
use aio2_conformance::request::{Batch, Request};
use libc::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

type Scenario = (&'static str, fn());

/// Its transfers are for the facility that takes those for devices.
pub const DEVICES: &str = "files on devices";

pub const SCENARIOS: &[Scenario] = &[
    ("pipes", pipes),
    ("files", files),
    (DEVICES, files_on_devices),
    ("sockets", sockets),
    ("cancel", cancel),
    ("overflow", overflow),
    ("order", order),
];

/// What is accepted has ended by then, whatever fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs what is the engine's: its calls can fail, those of the test cannot.
fn engine<T>(run: impl FnOnce() -> T) -> T {
    tell(ENGINE, 1);
    let result = run();
    tell(ENGINE, 0);
    result
}

fn count(directory: &str) -> usize {
    std::fs::read_dir(directory).expect("/proc is mounted").count()
}

fn left_over() -> (usize, usize) {
    (count("/proc/self/task"), count("/proc/self/fd"))
}

/// Plays rounds until the tracer says that it was the last.
pub fn play() {
    let before = left_over();
    loop {
        let scenario = tell(BEGIN, 0);
        if scenario == 0 {
            return;
        }
        (SCENARIOS[scenario as usize - 1].1)();
        let end = Instant::now() + PATIENCE;
        while left_over() > before {
            let now = left_over();
            assert!(Instant::now() < end, "threads and descriptors: {before:?} became {now:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        tell(END, 0);
    }
}

/// Whether a request may end so for want of something.
fn is_excused(res: i64) -> bool {
    let errno = -res as i32;
    [EAGAIN, ENOMEM].contains(&errno) || tell(WAS_GIVEN, errno as u64) == 1
}

/// A context, and what was accepted by it.
struct Scene {
    context: Context,
    /// Results that are right, by user data.
    wanted: BTreeMap<u64, &'static [i64]>,
    ends: BTreeMap<u64, i64>,
}

impl Scene {
    /// None if the context cannot be made; SPEC 4.1, row 11: with what the system says.
    fn new(factory: &dyn Factory, setup: &Setup) -> Option<Self> {
        match engine(|| factory.create(setup)) {
            Ok(backend) => {
                let context = Context::new(backend);
                Some(Scene { context, wanted: BTreeMap::new(), ends: BTreeMap::new() })
            }
            Err(errno) => {
                let told = [EMFILE, ENFILE].contains(&errno.0) || is_excused(-i64::from(errno.0));
                assert!(told, "a context cannot be made: {errno}");
                None
            }
        }
    }

    /// Submits these, each with its right results; how many were accepted.
    fn submit(&mut self, requests: Vec<(u64, Request, &'static [i64])>) -> usize {
        let one =
            |(user_data, request, _): &(u64, Request, _)| request.clone().user_data(*user_data);
        let mut batch = Batch::of(requests.iter().map(one));
        let accepted = match engine(|| self.context.submit(&mut batch)) {
            Ok(bytes) => (0..=batch.len()).find(|n| batch.offset(*n) == bytes).expect("whole ones"),
            // SPEC: 4.2, row 9
            Err(errno) => {
                assert!(errno.0 == EAGAIN, "a submission: {errno}");
                0
            }
        };
        self.wanted.extend(requests[..accepted].iter().map(|(name, _, right)| (*name, *right)));
        accepted
    }

    fn cancel(&self, user_data: u64) {
        let fields = Cancel { user_data, ..Cancel::default() };
        let result = engine(|| self.context.cancel(CancelFlags::USER_DATA, fields));
        let told = matches!(result, Ok(_) | Err(Errno(ENOENT | EAGAIN)));
        assert!(told, "a cancel: {result:?}");
    }

    fn reap(&mut self) {
        for event in self.context.reap_ring(64) {
            if event.is_terminal() {
                let before = self.ends.insert(event.user_data, event.res);
                assert_eq!(before, None, "{} has ended twice", event.user_data);
            }
        }
    }

    /// Waits for the end of all, and tells `meanwhile` that it has not come.
    fn finish(mut self, mut meanwhile: impl FnMut(&mut Self)) -> BTreeMap<u64, i64> {
        let end = Instant::now() + PATIENCE;
        while self.ends.len() < self.wanted.len() {
            let wait = Wait::events(1).within(Duration::from_millis(20));
            let result = engine(|| self.context.wait(&wait));
            // SPEC: 4.3
            assert!(matches!(result, Ok(()) | Err(Errno(ETIME | EINTR))), "a wait: {result:?}");
            self.reap();
            meanwhile(&mut self);
            let ends = &self.ends;
            let lost = self.wanted.keys().filter(|name| !ends.contains_key(name));
            assert!(Instant::now() < end, "never ended: {:?}", lost.collect::<Vec<_>>());
        }
        self.reap();
        for (name, res) in &self.ends {
            let right = self.wanted.get(name).unwrap_or_else(|| panic!("{name} was not accepted"));
            assert!(right.contains(res) || is_excused(*res), "{name} ended with {res}");
        }
        let Scene { context, ends, .. } = self;
        engine(|| drop(context));
        ends
    }
}

fn small() -> Setup {
    Setup { ring_bytes: 4096, max_requests: 64, concurrency: 2, ..setup() }
}

/// Reads and POLLs of pipes that have nothing yet, with and without a worker.
fn pipes() {
    let (now, later) = (Pipe::new(), Pipe::new());
    (&now.writer).write_all(b"abc").expect("there is room");
    let mut buffers = [[0_u8; 1]; 4];
    let [a, b, c, d] = &mut buffers;
    let Some(mut scene) = Scene::new(&InProcess, &small()) else { return };
    scene.submit(vec![
        (1, Request::read(now.read_fd(), a), &[1]),
        (2, Request::read(now.read_fd(), b).on_worker(), &[1]),
        (3, Request::poll(now.read_fd(), POLLIN), &[POLLIN as i64]),
        (4, Request::read(later.read_fd(), c), &[1]),
        (5, Request::poll(later.read_fd(), POLLIN), &[POLLIN as i64]),
        (6, Request::read(later.read_fd(), d).on_worker(), &[1]),
        (7, Request::write(later.write_fd(), b"x").on_worker(), &[1]),
    ]);
    let mut written = 0;
    let ends = scene.finish(|_| {
        // Not more than is read, or the buffer fills.
        if written < 8 {
            written += 1;
            (&later.writer).write_all(b"x").expect("there is room");
        }
    });
    let read = |names: [u64; 2]| names.iter().filter(|name| ends.get(name) == Some(&1)).count();
    assert_eq!(now.readable_bytes(), 3 - read([1, 2]), "bytes of the first pipe");
    let wrote = usize::from(ends.get(&7) == Some(&1));
    assert_eq!(later.readable_bytes(), written + wrote - read([4, 6]), "bytes of the second");
}

fn files() {
    files_of(&InProcess);
}

fn files_on_devices() {
    files_of(&OnDevice);
}

/// Aligned as direct transfers want it.
#[repr(align(4096))]
struct Page([u8; 4096]);

/// Reads and writes of a file, buffered and direct, with attributes.
fn files_of(factory: &dyn Factory) {
    let dir = std::env::temp_dir();
    let mut open = File::options();
    open.read(true).write(true);
    let file = open.clone().custom_flags(O_TMPFILE).open(&dir).expect("a file without a name");
    file.write_all_at(&[7; 8192], 0).expect("there is room");
    let name = format!("/proc/self/fd/{}", file.as_raw_fd());
    let direct = open.custom_flags(O_DIRECT).open(&name);
    let (mut a, mut b) = ([0_u8; 512], [0_u8; 512]);
    let mut page = Box::new(Page([0; 4096]));
    let new = Box::new(Page([9; 4096]));
    let Some(mut scene) = Scene::new(factory, &small()) else { return };
    let fd = file.as_raw_fd();
    let args = |at: *const u8, len, offset| [fd as u64, at.addr() as u64, len, offset];
    let pwrite = Request::call(SYS_pwrite64, &args([3; 64].as_ptr(), 64, 16384));
    let priority = attr::Priority { ioprio: 0, ..Default::default() };
    scene.submit(vec![
        (1, Request::pread(fd, &mut a, 0).returns(attr::TIMING).returns(attr::PATH), &[512]),
        (
            2,
            Request::pread(fd, &mut b, 512).on_worker().attr(
                attr::PRIORITY,
                attr::AttrFlags::empty(),
                priority.as_bytes(),
            ),
            &[512],
        ),
        (3, Request::call(SYS_fsync, &[fd as u64]), &[0]),
        (4, pwrite.on_worker(), &[64]),
    ]);
    if let Ok(direct) = &direct {
        let fd = direct.as_raw_fd();
        scene.submit(vec![
            (5, Request::pread(fd, &mut page.0, 0), &[4096, -EINVAL as i64]),
            (
                6,
                Request::call(SYS_pwrite64, &[fd as u64, new.0.as_ptr().addr() as u64, 4096, 4096]),
                &[4096, -EINVAL as i64],
            ),
        ]);
    }
    let ends = scene.finish(|_| {});
    assert!(ends.get(&1) != Some(&512) || a == [7; 512], "what was read");
    assert!(ends.get(&2) != Some(&512) || b == [7; 512], "what was read on a worker");
    assert!(ends.get(&5) != Some(&4096) || page.0 == [7; 4096], "what was read directly");
    let mut found = [0; 4096];
    file.read_exact_at(&mut found, 4096).expect("it has so much");
    let wanted = if ends.get(&6) == Some(&4096) { 9 } else { 7 };
    assert_eq!(found, [wanted; 4096], "what was written directly");
    let mut tail = Vec::new();
    io_seek(&file, 16384).read_to_end(&mut tail).expect("it can be read");
    let wanted = if ends.get(&4) == Some(&64) { vec![3; 64] } else { Vec::new() };
    assert_eq!(tail, wanted, "what was written on a worker");
}

fn io_seek(file: &File, offset: u64) -> &File {
    let mut at = file;
    std::io::Seek::seek(&mut at, std::io::SeekFrom::Start(offset)).expect("it can seek");
    file
}

/// Receives that wait, and sends.
fn sockets() {
    let (a, b) = socket_pair(SOCK_STREAM);
    let (mut buffer, mut other) = ([0_u8; 4], [0_u8; 4]);
    let Some(mut scene) = Scene::new(&InProcess, &small()) else { return };
    let transfer =
        |nr, fd: i32, at: *const u8| Request::call(nr, &[fd as u64, at.addr() as u64, 4, 0, 0, 0]);
    let (to, from) = (b.as_raw_fd(), a.as_raw_fd());
    scene.submit(vec![
        (1, transfer(SYS_recvfrom, from, buffer.as_mut_ptr()), &[4]),
        (2, transfer(SYS_recvfrom, from, other.as_mut_ptr()).on_worker(), &[4]),
        (3, transfer(SYS_sendto, to, b"abcd".as_ptr()), &[4]),
        (4, transfer(SYS_sendto, to, b"abcd".as_ptr()).on_worker(), &[4]),
        (5, Request::poll(to, POLLOUT), &[POLLOUT as i64]),
    ]);
    let mut b = File::from(b);
    let mut sent = 0;
    let ends = scene.finish(|_| {
        if sent < 16 {
            sent += 4;
            b.write_all(b"abcd").expect("there is room");
        }
    });
    let four = |names: [u64; 2]| names.iter().filter(|name| ends.get(name) == Some(&4)).count() * 4;
    let mut left = 0_i32;
    // SAFETY: FIONREAD writes an int.
    unsafe { ioctl(from, FIONREAD, &raw mut left) };
    assert_eq!(left as usize, sent + four([3, 4]) - four([1, 2]), "bytes of the socket");
    for (name, buffer) in [(1, buffer), (2, other)] {
        assert!(ends.get(&name) != Some(&4) || buffer == *b"abcd", "what {name} received");
    }
}

/// Requests that are told to stop, by a cancel and by a deadline.
fn cancel() {
    let pipe = Pipe::new();
    let (mut a, mut b) = ([0_u8; 1], [0_u8; 1]);
    let long = timespec { tv_sec: 1000, tv_nsec: 0 };
    let sleep = Request::call(SYS_nanosleep, &[(&raw const long).addr() as u64, 0]);
    let Some(mut scene) = Scene::new(&InProcess, &small()) else { return };
    const CANCELED: &[i64] = &[-(ECANCELED as i64)];
    const TIMED_OUT: &[i64] = &[-(ETIMEDOUT as i64), -(ECANCELED as i64)];
    let short = 1_000_000;
    scene.submit(vec![
        (1, sleep.clone().on_worker(), CANCELED),
        (2, sleep.on_worker().deadline(short), TIMED_OUT),
        (3, Request::read(pipe.read_fd(), &mut a), CANCELED),
        (4, Request::read(pipe.read_fd(), &mut b).deadline(short), TIMED_OUT),
        (5, Request::poll(pipe.read_fd(), POLLIN).deadline(short), TIMED_OUT),
        (6, Request::poll(pipe.read_fd(), POLLIN), CANCELED),
    ]);
    (1..=6).for_each(|name| scene.cancel(name * u64::from(name % 2 == 1 || name == 6)));
    let end = Instant::now() + PATIENCE / 2;
    scene.finish(|scene| {
        // A stop that could not be sent is sent again. SPEC: R-CANCEL-6
        for name in [1, 3, 6] {
            scene.cancel(name);
        }
        // A deadline passes by itself.
        if Instant::now() > end {
            panic!("these had a deadline: {:?} ended", scene.ends);
        }
    });
}

/// More events than the ring holds, an eventfd, a larger ring, and signals.
fn overflow() {
    let eventfd = eventfd();
    let flags = SetupFlags::EVENTFD.bits();
    let setup = Setup { flags, eventfd: eventfd.as_raw_fd(), max_requests: 256, ..small() };
    // SAFETY: takes nothing.
    let tid = unsafe { gettid() };
    let signal = attr::Signal { signo: SIGRTMIN() as u32, tid, value: 5 };
    let set = blocked(SIGRTMIN());
    let Some(mut scene) = Scene::new(&InProcess, &setup) else { return };
    let nop = |name| (name, Request::nop(name), &[0_i64] as &[i64]);
    scene.submit((1..=200).map(nop).collect());
    let none = attr::AttrFlags::empty();
    scene.submit(vec![
        (301, Request::nop(301).attr(attr::SIGNAL, none, signal.as_bytes()), &[0]),
        (302, Request::nop(302).on_worker(), &[0]),
    ]);
    let grown = engine(|| scene.context.backend().grow(8192));
    let told = match grown {
        Ok(_) => true,
        Err(errno) => is_excused(-i64::from(errno.0)),
    };
    assert!(told, "a larger ring: {grown:?}");
    scene.submit((401..=450).map(nop).collect());
    scene.finish(|_| {});
    let at_once = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the set can be read.
    while unsafe { sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const at_once) } > 0 {}
}

/// Blocks a signal for this thread.
fn blocked(signo: i32) -> sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: fills in the set.
    unsafe { sigemptyset(set.as_mut_ptr()) };
    // SAFETY: it was filled in.
    unsafe { sigaddset(set.as_mut_ptr(), signo) };
    // SAFETY: it can be read; the old one is not asked for.
    unsafe { pthread_sigmask(SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) };
    // SAFETY: it was filled in.
    unsafe { set.assume_init() }
}

/// Groups and chains, on workers.
fn order() {
    let Some(mut scene) = Scene::new(&InProcess, &small()) else { return };
    const PASSED_ON: &[i64] = &[0, -(ECANCELED as i64), -(ENOENT as i64)];
    let nop = |name| Request::nop(name);
    scene.submit(vec![
        (1, nop(1).on_worker().in_group(9), &[0]),
        (2, nop(2).on_worker().in_group(9), &[0]),
        (3, nop(3).on_worker().after(attr::AFTER_STREAM, 1), PASSED_ON),
        (4, Request::close_group(9), &[0, 1, 2]),
        (5, nop(5).on_worker().after(attr::AFTER_STREAM, 1), PASSED_ON),
        (6, nop(6).after(attr::AFTER_GROUP, 9), PASSED_ON),
    ]);
    let ends = scene.finish(|_| {});
    let failed = [1, 2].iter().filter(|name| ends.get(name).is_some_and(|res| *res < 0)).count();
    if let Some(count) = ends.get(&4).filter(|count| **count >= 0) {
        assert_eq!(*count as usize, failed, "members that failed");
    }
}
