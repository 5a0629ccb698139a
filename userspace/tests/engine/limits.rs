//! Under each limit of the process: a request is refused or ends, and a drop returns.

use crate::context::{Fixture, Iocb, address, alone, file_of, syscall, with_limit};
use crate::request::{Slow, ends};
use aio2::Errno;
use aio2::backend::{Backend, Wait};
use aio2::engine::Engine;
use aio2_abi::attr::AFTER_GROUP;
use aio2_abi::iocb::IocbFlags;
use aio2_abi::setup::Setup;
use aio2_abi::wait::{Cancel, CancelFlags};
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// What requests work on, made before there is a limit.
struct Things {
    file: File,
    pipe: (PipeReader, PipeWriter),
    sockets: (UnixStream, UnixStream),
    slow: Slow,
    nap: [i64; 2],
    buffers: Vec<[u8; 8]>,
}

impl Things {
    fn new() -> Self {
        Things {
            file: file_of(&[7; 64]),
            pipe: pipe().unwrap(),
            sockets: UnixStream::pair().unwrap(),
            slow: Slow::new(),
            nap: [3600, 0],
            buffers: vec![[0; 8]; 8],
        }
    }

    /// Requests of each kind: first those that end by themselves, inline and by a
    /// worker; then those that wait for a file, sleep, are in a group or in order.
    fn streams(&mut self) -> [Vec<Iocb>; 2] {
        let at: Vec<u64> = self.buffers.iter_mut().map(address).collect();
        let [file, pipe, socket] =
            [self.file.as_raw_fd(), self.pipe.0.as_raw_fd(), self.sockets.0.as_raw_fd()]
                .map(|fd| fd as u64);
        let recv = |at| syscall(libc::SYS_recvfrom, &[socket, at, 8, 0, 0, 0]);
        let nap = address(&mut self.nap);
        let fsync = syscall(libc::SYS_fsync, &[file]);
        let ending = vec![
            Iocb::nop(0),
            Iocb::nop(0).flags(IocbFlags::ASYNC),
            syscall(libc::SYS_pread64, &[file, at[0], 8, 0]),
            syscall(libc::SYS_pwrite64, &[file, at[1], 8, 1 << 20]),
            fsync.clone(),
            fsync.in_group(8),
            Iocb::group_op(8),
        ];
        let waiting = vec![
            recv(at[2]),
            recv(at[3]).flags(IocbFlags::ASYNC),
            recv(at[4]).deadline(1_000_000),
            recv(at[5]).deadline(u64::MAX >> 2),
            syscall(libc::SYS_read, &[pipe, at[6], 8]),
            Iocb::poll_op(&self.pipe.0, libc::POLLIN),
            self.slow.read(),
            syscall(libc::SYS_nanosleep, &[nap, 0]),
            recv(at[7]).in_group(7),
            Iocb::group_op(7),
            Iocb::nop(0).after(AFTER_GROUP, 7),
        ];
        [ending, waiting]
    }

    /// Submits, as many as are accepted; how many that is.
    fn submit(f: &Fixture, requests: Vec<Iocb>) -> usize {
        let submit = |iocb: &Iocb| match f.try_submit(&mut iocb.words()) {
            Ok(_) => true,
            Err(errno) => {
                assert_eq!(errno, Errno(libc::EAGAIN));
                false
            }
        };
        requests.iter().filter(|iocb| submit(iocb)).count()
    }

    /// Runs all: what ends by itself does, and the rest does when it is cancelled.
    fn run(&mut self, f: &Fixture) {
        let [ending, waiting] = self.streams();
        let mut left = Self::submit(f, ending);
        while left > 0 {
            f.wait(&Wait::events(1).within(Duration::from_secs(60))).unwrap();
            left -= f.reap().len();
        }
        let mut left = Self::submit(f, waiting);
        let flags = CancelFlags::ALL | CancelFlags::WAIT | CancelFlags::TIMEOUT;
        let timeout = 60_000_000_000;
        let mut all = Cancel { flags: flags.bits(), timeout, ..Cancel::default() };
        let cancelled = f.engine.cancel(&mut all);
        assert!(matches!(cancelled, Ok(_) | Err(Errno(libc::ENOENT))), "{cancelled:?}");
        while left > 0 {
            let events = f.reap().len();
            assert!(events > 0, "{left} have not ended");
            left -= events;
        }
        assert!(f.reap().is_empty());
    }
}

/// Runs requests in contexts that are made before the limit and under it, and drops
/// both under it and after.
fn survives(limit: impl Fn(&mut dyn FnMut())) {
    let mut things = Things::new();
    let mut of = Some(Fixture::with(|s| s.concurrency = 2));
    let kept = Fixture::with(|s| s.concurrency = 2);
    limit(&mut || {
        let Some(f) = of.take() else { return };
        things.run(&f);
        things.run(&kept);
        drop(f);
        let setup = Setup { version: 1, ring_bytes: 4096, ..Setup::default() };
        match Engine::new(&setup, None) {
            Ok(engine) => things.run(&Fixture { engine }),
            Err(Errno(why)) => assert!(
                [libc::ENOMEM, libc::EMFILE, libc::EAGAIN, libc::EFBIG].contains(&why),
                "{why}"
            ),
        }
    });
    things.run(&kept);
}

/// SPEC: R-RUN-13, R-LIFE-2
#[test]
fn no_threads() {
    if !alone("limits::no_threads") {
        return;
    }
    // SAFETY: takes nothing.
    if unsafe { libc::geteuid() } != 0 {
        println!("SKIP: only root can be another user, who has no other threads");
        return;
    }
    survives(|f| {
        // Root has no such limit.
        // SAFETY: takes numbers.
        assert_eq!(unsafe { libc::setresuid(65_533, 65_533, 65_533) }, 0);
        with_limit(libc::RLIMIT_NPROC, 1, || {
            assert!(std::thread::Builder::new().spawn(|| {}).is_err(), "there is no thread");
            f();
        });
    });
}

/// SPEC: R-RUN-13, R-LIFE-2
#[test]
fn no_memory_to_be_mapped() {
    if alone("limits::no_memory_to_be_mapped") {
        survives(|f| with_limit(libc::RLIMIT_AS, 1, f));
    }
}

/// SPEC: R-WAIT-5, R-LIFE-2
#[test]
fn no_descriptors() {
    if alone("limits::no_descriptors") {
        survives(|f| with_limit(libc::RLIMIT_NOFILE, 3, f));
    }
}

/// SPEC: R-RUN-12, R-LIFE-2
#[test]
fn files_of_no_size() {
    if alone("limits::files_of_no_size") {
        survives(|f| with_limit(libc::RLIMIT_FSIZE, 0, f));
    }
}

/// SPEC: R-CANCEL-9, R-LIFE-2
#[test]
fn a_full_queue_of_signals() {
    if alone("limits::a_full_queue_of_signals") {
        survives(|f| with_limit(libc::RLIMIT_SIGPENDING, 0, f));
    }
}

/// SPEC: R-RUN-13, R-LIFE-2
#[test]
fn no_mappings() {
    if !alone("limits::no_mappings") {
        return;
    }
    survives(|f| {
        // Each second page can be read, so that each page is a mapping.
        const PAGE: usize = 4096;
        let (null, flags) = (std::ptr::null_mut(), libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let most = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
        let bytes = 2 * PAGE * most.trim().parse::<usize>().unwrap();
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let memory = unsafe { libc::mmap(null, bytes, libc::PROT_NONE, flags, -1, 0) };
        assert_ne!(memory, libc::MAP_FAILED);
        let full = (0..bytes).step_by(2 * PAGE).any(|at| {
            let page = memory.wrapping_byte_add(at);
            // SAFETY: a page of the mapping above.
            unsafe { libc::mprotect(page, PAGE, libc::PROT_READ) != 0 }
        });
        assert!(full, "there are no more mappings");
        f();
        // SAFETY: mapped above, and not used.
        unsafe { libc::munmap(memory, bytes) };
    });
}

/// SPEC: R-DEADLINE-1, R-RUN-13
#[test]
fn a_deadline_is_kept_without_threads() {
    if !alone("limits::a_deadline_is_kept_without_threads") {
        return;
    }
    let f = Fixture::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut buffer = [0_u8; 8];
    let args = [ours.as_raw_fd() as u64, address(&mut buffer), 8, 0, 0, 0];
    let recv = syscall(libc::SYS_recvfrom, &args);
    with_limit(libc::RLIMIT_AS, 1, || {
        let timed = recv.clone().user_data(1).deadline(1_000_000);
        assert_eq!(Things::submit(&f, vec![timed]), 1);
        f.wait(&Wait::events(1).within(Duration::from_secs(20))).unwrap();
        assert_eq!(f.reap()[0].res, -i64::from(libc::ETIMEDOUT));
        // So is the time of the wait; and what comes is received.
        assert_eq!(Things::submit(&f, vec![recv.user_data(2)]), 1);
        let short = Wait::events(1).within(Duration::from_millis(20));
        assert_eq!(f.wait(&short), Err(Errno(libc::ETIME)));
        (&theirs).write_all(b"abc").unwrap();
        f.wait(&Wait::events(1).within(Duration::from_secs(20))).unwrap();
    });
    assert_eq!(ends(&f, 1), [(2, 3)]);
}
