//! What io_uring(7) and Linux AIO run underneath, and what becomes of it when they are
//! lost.

use crate::context::{Fixture, Iocb, alone, syscall};
use crate::gone::filter_threads;
use crate::request::errno;
use aio2::Executor;
use aio2::backend::Backend;
use aio2::engine::Engine;
use aio2_abi::attr::{self, PATH_DEVICE, PATH_INLINE, PATH_WORKER};
use aio2_abi::iocb::IocbFlags;
use aio2_abi::setup::Setup;
use aio2_abi::wait::{Cancel, CancelFlags};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::thread;
use std::time::Duration;

const BLOCK: usize = 4096;
const BLOCKS: usize = 64;

#[derive(Clone)]
#[repr(align(4096))]
struct Block([u8; BLOCK]);

/// Blocks, each filled with its number, in a file that is opened with O_DIRECT, and
/// a context that has such a facility.
struct Direct {
    f: Fixture,
    file: File,
}

const FACILITIES: [Executor; 2] = [Executor::IoUring, Executor::LinuxAio];

/// None, and says why, where this cannot be.
fn direct(executor: Executor) -> Option<Direct> {
    let setup = Setup { version: 1, ..Setup::default() };
    let engine = Engine::with_executor(&setup, None, Some(executor), None).unwrap();
    if engine.executor() != executor {
        println!("SKIP: {executor} is not to be had here, or AIO2_EXECUTOR forbids it");
        return None;
    }
    let mut plain = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for number in 0..BLOCKS {
        plain.write_all(&[number as u8; BLOCK]).unwrap();
    }
    plain.sync_all().unwrap();
    let path = format!("/proc/self/fd/{}", plain.as_raw_fd());
    let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) => {
            println!("SKIP: no O_DIRECT in {}: {error}", env!("CARGO_TARGET_TMPDIR"));
            return None;
        }
    };
    // Not by what a transfer says: that is what is tested.
    let kind = rustix::fs::fstatfs(&file).unwrap().f_type as libc::c_long;
    if ![libc::EXT4_SUPER_MAGIC, libc::XFS_SUPER_MAGIC, libc::BTRFS_SUPER_MAGIC].contains(&kind) {
        println!("SKIP: {} is on no file system for it", env!("CARGO_TARGET_TMPDIR"));
        return None;
    }
    let d = Direct { f: Fixture { engine }, file };
    let mut memory = blocks(1);
    d.f.submit([d.read(&mut memory[0], 0, 0).attr(attr::PATH)]);
    assert_eq!(place(&d.f.next()), PATH_DEVICE);
    Some(d)
}

fn blocks(n: usize) -> Vec<Block> {
    vec![Block([0xff; BLOCK]); n]
}

fn address(block: &mut Block) -> u64 {
    crate::context::address(&mut block.0)
}

fn place(answer: &crate::context::Answer) -> u32 {
    answer.payload::<attr::PathReturn>(attr::PATH).unwrap().place
}

impl Direct {
    fn fd(&self) -> u64 {
        self.file.as_raw_fd() as u64
    }

    /// A read of one block.
    fn read(&self, to: &mut Block, number: usize, user_data: u64) -> Iocb {
        let args = [self.fd(), address(to), BLOCK as u64, (number % BLOCKS * BLOCK) as u64];
        syscall(libc::SYS_pread64, &args).user_data(user_data)
    }

    /// Reads `n` blocks at once, with `meanwhile` while they are in flight; where each
    /// was moved. Each has one event, and the right bytes.
    fn read_all(&self, n: usize, meanwhile: impl FnOnce()) -> Vec<u32> {
        let mut memory = blocks(n);
        let reads = memory.iter_mut().enumerate();
        self.f.submit(reads.map(|(i, to)| self.read(to, i, i as u64).attr(attr::PATH)));
        meanwhile();
        let mut seen = vec![0; n];
        let answers = self.f.next_n(n);
        let places = answers.iter().map(|answer| {
            assert_eq!(answer.res, BLOCK as i64);
            seen[answer.user_data as usize] += 1;
            place(answer)
        });
        let places = places.collect();
        assert!(seen.iter().all(|&n| n == 1), "one event each: {seen:?}");
        for (i, block) in memory.iter().enumerate() {
            assert!(block.0.iter().all(|&byte| byte == (i % BLOCKS) as u8), "block {i}");
        }
        assert!(self.f.reap().is_empty());
        places
    }
}

/// More than are with the device at once.
const MANY: usize = 500;

/// SPEC: R-RUN-14, R-PATH-1
#[test]
fn a_direct_transfer_is_moved_by_the_device() {
    for executor in FACILITIES {
        a_direct_transfer_is_moved_by_the_device_by(executor);
    }
}

fn a_direct_transfer_is_moved_by_the_device_by(executor: Executor) {
    let Some(d) = direct(executor) else { return };
    assert!(d.read_all(MANY, || {}).iter().all(|&place| place == PATH_DEVICE));
    // ASYNC changes nothing, and a vector is one as well.
    let mut memory = blocks(2);
    let iov =
        [0, 1].map(|i| libc::iovec { iov_base: memory[i].0.as_mut_ptr().cast(), iov_len: BLOCK });
    let at = (&raw const iov).expose_provenance() as u64;
    let args = [d.fd(), at, 2, 3 * BLOCK as u64, 0];
    d.f.submit([syscall(libc::SYS_preadv, &args).flags(IocbFlags::ASYNC).attr(attr::PATH)]);
    let answer = d.f.next();
    assert_eq!((answer.res, place(&answer)), (2 * BLOCK as i64, PATH_DEVICE));
    assert!(memory[0].0 == [3; BLOCK] && memory[1].0 == [4; BLOCK]);
    // What is written is there.
    memory[1].0.fill(0xab);
    let args = [d.fd(), address(&mut memory[1]), BLOCK as u64, 0];
    let write = syscall(libc::SYS_pwrite64, &args).flags(IocbFlags::FULL).attr(attr::PATH);
    // The one that has to change the file's times, or finds its pages in the cache,
    // would wait: a worker makes it, and the next one need not.
    let mut by_device = (0..1000).map(|_| {
        d.f.submit([write.clone().attr(attr::TIMING)]);
        let answer = d.f.next();
        assert_eq!(answer.res, BLOCK as i64);
        let times: attr::TimingReturn = answer.payload(attr::TIMING).unwrap();
        assert!(times.submitted <= times.started && times.started <= times.completed);
        place(&answer) == PATH_DEVICE
    });
    assert!(by_device.any(|by_device| by_device), "none of 1000 writes");
    d.file.read_exact_at(&mut memory[0].0, 0).unwrap();
    assert!(memory[0].0 == [0xab; BLOCK]);
}

/// SPEC: R-RUN-14, R-RUN-5
#[test]
fn what_is_not_moved_whole_has_the_result_of_the_plain_call() {
    for executor in FACILITIES {
        what_is_not_moved_whole_has_the_result_of_the_plain_call_by(executor);
    }
}

fn what_is_not_moved_whole_has_the_result_of_the_plain_call_by(executor: Executor) {
    let Some(d) = direct(executor) else { return };
    let end = (BLOCKS * BLOCK) as u64;
    d.file.set_len(end + 100).unwrap();
    let mut memory = blocks(2);
    let at = address(&mut memory[0]);
    let len = BLOCK as u64;
    let read = |nr, args: &[u64]| syscall(nr, args).attr(attr::PATH);
    let pread = |args: &[u64]| read(libc::SYS_pread64, args);
    for (what, request, result) in [
        ("a part, at the end", pread(&[d.fd(), at, len, end]), 100),
        ("nothing, at the end", pread(&[d.fd(), at, len, end + len]), 0),
        (
            "no data for FULL",
            pread(&[d.fd(), at, len, end + len]).flags(IocbFlags::FULL),
            errno(libc::ENODATA),
        ),
        ("no such alignment", pread(&[d.fd(), at + 1, 7, 0]), errno(libc::EINVAL)),
        ("no such memory", pread(&[d.fd(), 0, len, 0]), errno(libc::EFAULT)),
        ("no such vector", read(libc::SYS_preadv, &[d.fd(), 8, 1, 0, 0]), errno(libc::EFAULT)),
        ("too far", pread(&[d.fd(), at, len, i64::MAX as u64 & !4095]), errno(libc::EINVAL)),
    ] {
        let args = request.args.clone();
        let mut nothing = [0; 6];
        nothing[..args.len()].copy_from_slice(&args);
        let is_full = request.flags.contains(IocbFlags::FULL);
        d.f.submit([request.clone()]);
        let answer = d.f.next();
        assert_eq!(answer.res, result, "{what}");
        assert_eq!(place(&answer), PATH_WORKER, "{what}");
        if !is_full {
            // SAFETY: as the request.
            let plain = unsafe {
                libc::syscall(
                    request.nr as libc::c_long,
                    nothing[0],
                    nothing[1],
                    nothing[2],
                    nothing[3],
                    0,
                )
            };
            let plain = if plain < 0 { errno(aio2::Errno::last().0) } else { plain };
            assert_eq!(answer.res, plain, "{what}");
        }
    }
}

/// SPEC: R-RUN-14, R-RUN-4, R-RUN-5, R-CACHE-2
#[test]
fn what_is_not_in_the_page_cache_is_read_without_a_worker() {
    let Some(Direct { f, file }) = direct(Executor::IoUring) else { return };
    let end = (BLOCKS * BLOCK) as u64;
    file.set_len(end + 100).unwrap();
    let file = File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    let d = Direct { f, file };
    let advise = |advice| {
        // SAFETY: takes numbers.
        assert_eq!(unsafe { libc::posix_fadvise(d.file.as_raw_fd(), 0, 0, advice) }, 0);
    };
    // The first that is read does not bring the others along.
    advise(libc::POSIX_FADV_RANDOM);
    advise(libc::POSIX_FADV_DONTNEED);
    let places = d.read_all(BLOCKS, || {});
    assert!(places.contains(&PATH_DEVICE), "{places:?}");
    assert!(d.read_all(BLOCKS, || {}).iter().all(|&place| place == PATH_INLINE));
    let mut memory = blocks(2);
    let iov =
        [0, 1].map(|i| libc::iovec { iov_base: memory[i].0.as_mut_ptr().cast(), iov_len: BLOCK });
    let (at, len) = (address(&mut memory[0]), BLOCK as u64);
    let vector = (&raw const iov).expose_provenance() as u64;
    let last = end - len;
    let pread = |offset, flags| {
        syscall(libc::SYS_pread64, &[d.fd(), at, len, offset]).flags(flags).attr(attr::CACHE)
    };
    let preadv = |offset| syscall(libc::SYS_preadv, &[d.fd(), vector, 2, offset, 0]);
    let (none, full) = (IocbFlags::empty(), IocbFlags::FULL);
    for (what, request, result) in [
        ("a block", pread(last, none), len as i64),
        ("a block that is wanted whole", pread(last, full), len as i64),
        ("two blocks", preadv(last - len), 2 * len as i64),
        ("a part, at the end", pread(end, none), 100),
        ("a part of two blocks", preadv(last), len as i64 + 100),
        ("no data for FULL", pread(end, full), errno(libc::ENODATA)),
        ("nothing, at the end", pread(end + len, none), 0),
    ] {
        advise(libc::POSIX_FADV_DONTNEED);
        d.f.submit([request]);
        let answer = d.f.next();
        assert_eq!(answer.res, result, "{what}");
        if what == "a block" {
            let told: attr::CacheReturn = answer.payload(attr::CACHE).unwrap();
            assert_eq!((told.hit, told.miss), (0, len), "{what}");
        }
    }
}

/// The descriptors of this process that are io_urings.
fn rings() -> Vec<i32> {
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    let numbers = all.map(|fd| fd.unwrap().file_name().to_str().unwrap().parse().unwrap());
    let is_ring = |fd: &i32| {
        std::fs::read_link(format!("/proc/self/fd/{fd}"))
            .is_ok_and(|name| name.as_os_str() == "anon_inode:[io_uring]")
    };
    numbers.filter(is_ring).collect()
}

/// SPEC: R-RUN-15
#[test]
fn who_closes_its_descriptor_loses_nothing_and_what_has_its_number_is_left_alone() {
    if !alone(
        "device::who_closes_its_descriptor_loses_nothing_and_what_has_its_number_is_left_alone",
    ) {
        return;
    }
    let Some(d) = direct(Executor::IoUring) else { return };
    let ring = rings()[0];
    d.read_all(MANY, || {
        // SAFETY: of nobody but the engine, which must bear it.
        assert_eq!(unsafe { libc::dup2(d.file.as_raw_fd(), ring) }, ring);
    });
    d.read_all(MANY, || {});
    drop(d);
    assert!(rings().is_empty());
    // SAFETY: takes no address.
    assert!(unsafe { libc::fcntl(ring, libc::F_GETFD) } >= 0, "the application's");
}

/// SPEC: R-RUN-15
#[test]
fn a_filter_that_comes_later_leaves_the_rest_to_workers() {
    if !alone("device::a_filter_that_comes_later_leaves_the_rest_to_workers") {
        return;
    }
    let calls = [
        (Executor::IoUring, libc::SYS_io_uring_enter),
        (Executor::LinuxAio, libc::SYS_io_submit),
        (Executor::LinuxAio, libc::SYS_io_getevents),
    ];
    let errors = [libc::EPERM, libc::EAGAIN, libc::ENOMEM, libc::ENOSYS];
    for ((executor, nr), error) in calls.into_iter().flat_map(|call| errors.map(|e| (call, e))) {
        // The filter is for good, so each has a process of its own.
        // SAFETY: the child makes its own context, and ends at once.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // A context that has lost something is not to be waited for.
            std::panic::set_hook(Box::new(|why| {
                eprintln!("{why}");
                std::process::exit(1);
            }));
            let Some(d) = direct(executor) else { std::process::exit(0) };
            let refuse = libc::SECCOMP_RET_ERRNO | error as u32;
            d.read_all(MANY, || {
                filter_threads(nr, refuse, libc::SECCOMP_FILTER_FLAG_TSYNC);
            });
            let places = d.read_all(MANY, || {});
            assert!(places.iter().all(|&place| place == PATH_WORKER), "{nr} {error}");
            drop(d);
            assert!(rings().is_empty());
            std::process::exit(0);
        }
        let mut status = -1;
        // SAFETY: the status can be written.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0, "{nr} {error}");
    }
}

/// SPEC: R-RUN-15
#[test]
fn where_it_is_forbidden_workers_run_the_same() {
    if !alone("device::where_it_is_forbidden_workers_run_the_same") {
        return;
    }
    for executor in FACILITIES {
        refused_by_its_thread(executor);
    }
}

/// The thread that makes the ring is refused it, though the probe was not.
fn refused_by_its_thread(executor: Executor) {
    let Some(d) = direct(executor) else { return };
    drop(d);
    let Some(d) = direct(executor) else { return };
    thread::sleep(Duration::from_millis(2500));
    assert!(rings().is_empty(), "the idle thread has gone");
    filter_threads(
        match executor {
            Executor::IoUring => libc::SYS_io_uring_setup,
            _ => libc::SYS_io_setup,
        },
        libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        libc::SECCOMP_FILTER_FLAG_TSYNC,
    );
    assert!(d.read_all(MANY, || {}).iter().all(|&place| place == PATH_WORKER));
}

/// Whether a thread of this process sleeps in syscall `nr`.
fn a_thread_is_in(nr: libc::c_long) -> bool {
    std::fs::read_dir("/proc/self/task").unwrap().any(|task| {
        let said = std::fs::read_to_string(task.unwrap().path().join("syscall"));
        said.is_ok_and(|said| said.split(' ').next() == Some(&nr.to_string()))
    })
}

/// SPEC: R-RUN-10, R-RUN-15
#[test]
fn what_a_thread_had_that_was_killed_ends_when_it_is_cancelled() {
    if !alone("device::what_a_thread_had_that_was_killed_ends_when_it_is_cancelled") {
        return;
    }
    killed(Executor::IoUring, libc::SYS_io_uring_enter);
    killed(Executor::LinuxAio, libc::SYS_io_getevents);
}

fn killed(executor: Executor, nr: libc::c_long) {
    let Some(d) = direct(executor) else { return };
    while !a_thread_is_in(nr) {
        thread::sleep(Duration::from_millis(1));
    }
    let kill = libc::SECCOMP_RET_KILL_THREAD;
    filter_threads(nr, kill, libc::SECCOMP_FILTER_FLAG_TSYNC);
    let mut memory = blocks(3);
    let [one, two, three] = &mut memory[..] else { unreachable!() };
    d.f.submit([d.read(one, 0, 1)]);
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    // The test's harness has two.
    while threads() > 2 {
        thread::sleep(Duration::from_millis(1));
    }
    let mut all = Cancel { flags: CancelFlags::ALL.bits(), ..Cancel::default() };
    assert_eq!(d.f.engine.cancel(&mut all), Ok(1));
    assert_eq!((all.interrupted, d.f.next().res), (1, errno(libc::EOWNERDEAD)));
    d.f.submit([d.read(two, 1, 2), d.read(three, 2, 3)]);
    assert!(d.f.next_n(2).iter().all(|answer| answer.res == BLOCK as i64));
}

/// SPEC: R-CANCEL-3, R-CANCEL-4, R-LIFE-1, R-LIFE-3
#[test]
fn what_is_cancelled_at_any_moment_has_one_event_and_nothing_is_left_behind() {
    if !alone("device::what_is_cancelled_at_any_moment_has_one_event_and_nothing_is_left_behind") {
        return;
    }
    for (executor, round) in FACILITIES.into_iter().flat_map(|e| (0..100).map(move |n| (e, n))) {
        let Some(d) = direct(executor) else { return };
        let mut memory = blocks(MANY);
        let reads = memory.iter_mut().enumerate();
        d.f.submit(reads.map(|(i, to)| d.read(to, i, i as u64).deadline(1000 * round)));
        let mut all = Cancel { flags: CancelFlags::ALL.bits(), ..Cancel::default() };
        let _ = d.f.engine.cancel(&mut all);
        let consumer = d.f.engine.consumer();
        let before = d.f.reap();
        if round % 2 == 0 {
            drop(d);
            let mut words = vec![0; 3 * MANY];
            let left = consumer.reap(&mut words, usize::MAX).unwrap().len();
            assert_eq!(before.len() + left, MANY);
        } else {
            let left = MANY - before.len();
            let last = d.f.next_n(left);
            assert_eq!(before.len() + last.len(), MANY);
            for answer in before.iter().chain(&last) {
                let res = answer.res;
                assert!(
                    res == BLOCK as i64
                        || [libc::ECANCELED, libc::ETIMEDOUT].map(errno).contains(&res)
                );
            }
            assert!(d.f.reap().is_empty());
            drop(d);
        }
        assert!(consumer.is_dead());
    }
    assert!(rings().is_empty());
}
