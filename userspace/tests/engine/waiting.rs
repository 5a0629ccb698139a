//! Waiting, copying out, cancelling, notification.

use crate::context::{Answer, Fixture, Iocb, address, syscall};
use crate::request::Slow;
use aio2::Errno;
use aio2::backend::{Backend, Timeout, Wait};
use aio2_abi::iocb::{ID_OFFSET, IocbFlags};
use aio2_abi::setup;
use aio2_abi::wait::{Cancel, CancelFlags};
use rustix::event::{Timespec, epoll, epoll::EventFlags};
use std::io::{PipeReader, Write, pipe};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

const SOON: Duration = Duration::from_millis(20);
const LATE: Duration = Duration::from_secs(20);

fn read(reader: &PipeReader, buf: &mut [u8]) -> Iocb {
    syscall(libc::SYS_read, &[reader.as_raw_fd() as u64, address(buf), buf.len() as u64])
}

/// Copies events out.
fn get(f: &Fixture, wait: &Wait<'_>, buffer: &mut [u8]) -> Result<Vec<Answer>, Errno> {
    // SAFETY: there is no request.
    let got = unsafe { f.engine.wait(wait, &mut [], Some(buffer)) }?;
    let answers = Answer::parse(&buffer[..got.bytes]);
    assert_eq!(answers.len(), got.events as usize);
    Ok(answers)
}

fn cancel(f: &Fixture, mut c: Cancel) -> Result<Cancel, Errno> {
    let matches = f.engine.cancel(&mut c)?;
    assert_eq!(matches, c.cancelled + c.interrupted + c.too_late);
    Ok(c)
}

#[test]
fn a_wait_for_nothing_does_not_wait_and_one_in_vain_times_out() {
    let f = Fixture::new();
    assert_eq!(f.wait(&Wait::events(0)), Ok(()));
    let start = Instant::now();
    assert_eq!(f.wait(&Wait::events(1).within(SOON)), Err(Errno(libc::ETIME)));
    assert!(start.elapsed() >= SOON);
    assert_eq!(
        get(&f, &Wait::events(1).within(SOON), &mut [0; 64]).err(),
        Some(Errno(libc::ETIME))
    );
    let past = Wait { timeout: Timeout::Until(1), ..Wait::events(1) };
    assert_eq!(f.wait(&past), Err(Errno(libc::ETIME)));
    f.submit([Iocb::nop(0)]);
    assert_eq!(f.wait(&past), Ok(()));
    assert_eq!(f.wait(&Wait { min_events: 2, ..past }), Err(Errno(libc::ETIME)));
}

#[test]
fn whole_events_are_copied_in_order_as_many_as_fit() {
    let f = Fixture::new();
    f.submit((0..10).map(Iocb::nop));
    assert_eq!(get(&f, &Wait::events(1), &mut [0; 16]).err(), Some(Errno(libc::ENOBUFS)));
    // Misaligned, and not a multiple of an event.
    let mut room = [0_u8; 8 + 24 * 3 + 10];
    let first = get(&f, &Wait::events(9), &mut room[1..]).unwrap();
    assert_eq!(first.iter().map(|a| a.user_data).collect::<Vec<_>>(), [0, 1, 2]);
    let rest = get(&f, &Wait::events(1), &mut [0; 4096]).unwrap();
    assert_eq!(rest.len(), 7);
}

#[test]
fn a_wait_copies_more_than_the_ring_holds() {
    let f = Fixture::with(|s| s.ring_bytes = 4096);
    f.submit((0..1000).map(Iocb::nop));
    let mut room = vec![0; 24 * 1000];
    let all = get(&f, &Wait::events(1000), &mut room).unwrap();
    assert!(all.iter().map(|a| a.user_data).eq(0..1000));
}

#[test]
fn a_wait_moves_what_overflowed_to_the_ring() {
    let f = Fixture::with(|s| s.ring_bytes = 4096);
    f.submit((0..300).map(Iocb::nop));
    let mut seen = Vec::new();
    while seen.len() < 300 {
        let answers = f.reap();
        if answers.is_empty() {
            assert_eq!(f.engine.consumer().pending(), aio2::ring::Pending::Overflow);
            f.wait(&Wait::events(1)).unwrap();
        }
        seen.extend(answers.iter().map(|a| a.user_data));
    }
    assert!(seen.into_iter().eq(0..300));
}

#[test]
fn submit_and_wait_is_one_call_that_tells_what_was_accepted() {
    let f = Fixture::new();
    let (mut iocb, mut buffer) = (Iocb::nop(5).words(), [0; 24]);
    // SAFETY: a NOP has no addresses.
    let mut both = |wait| unsafe { f.engine.wait(&wait, iocb.as_mut_bytes(), Some(&mut buffer)) };
    let got = both(Wait::events(1)).unwrap();
    assert_eq!((got.submitted, got.bytes, got.events, got.ended), (32, 24, 1, None));
    let mut iocb = Iocb::nop(5).words();
    // SAFETY: as above.
    let got =
        unsafe { f.engine.wait(&Wait::events(2).within(SOON), iocb.as_mut_bytes(), None) }.unwrap();
    assert_eq!((got.submitted, got.ended), (32, Some(Errno(libc::ETIME))));
}

#[test]
fn several_waiters_with_different_numbers_all_get_theirs() {
    let f = Fixture::new();
    thread::scope(|s| {
        let waiters: Vec<_> = [3, 1, 2]
            .into_iter()
            .map(|n| {
                let f = &f;
                s.spawn(move || {
                    let mut room = vec![0; 24 * n];
                    get(f, &Wait::events(n as u32).within(LATE), &mut room).unwrap().len()
                })
            })
            .collect();
        for i in 0..6 {
            thread::sleep(Duration::from_millis(2));
            f.submit([Iocb::nop(i)]);
        }
        let got: Vec<usize> = waiters.into_iter().map(|w| w.join().unwrap()).collect();
        assert_eq!(got, [3, 1, 2]);
    });
}

#[test]
fn after_the_gather_time_one_event_is_enough() {
    let f = Fixture::new();
    f.submit([Iocb::nop(0)]);
    let wait = Wait { gather: SOON, ..Wait::events(100).within(LATE) };
    let start = Instant::now();
    assert_eq!(f.wait(&wait), Ok(()));
    assert!(start.elapsed() >= SOON && start.elapsed() < LATE);
    assert_eq!(get(&f, &wait, &mut [0; 4096]).unwrap().len(), 1);
    thread::scope(|s| {
        let waiter = s.spawn(|| f.wait(&wait));
        thread::sleep(SOON * 3);
        assert!(!waiter.is_finished(), "none is not enough");
        f.submit([Iocb::nop(0)]);
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
}

/// Time that this thread has run.
fn run_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: fills in the time.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn a_wait_whose_gather_time_is_over_sleeps_on() {
    let f = Fixture::new();
    let wait = Wait { gather: Duration::from_millis(1), ..Wait::events(2) };
    for (wait, result) in [(wait.within(SOON * 15), Err(Errno(libc::ETIME))), (wait, Ok(()))] {
        thread::scope(|s| {
            let waiter = s.spawn(|| (f.wait(&wait), run_time()));
            if result.is_ok() {
                thread::sleep(SOON * 15);
                f.submit([Iocb::nop(0)]);
            }
            let (waited, time) = waiter.join().unwrap();
            assert_eq!(waited, result);
            assert!(time < SOON / 2, "it has run for {time:?}");
        });
    }
}

#[test]
fn a_wait_for_a_request_takes_no_event() {
    let f = Fixture::new();
    let (reader, mut writer) = pipe().unwrap();
    let mut buf = [0; 1];
    let words = f.submit([read(&reader, &mut buf).flags(IocbFlags::WRITE_ID)]);
    let id = words[ID_OFFSET / 8];
    let wait = Wait { id: Some(id), ..Wait::events(0).within(SOON) };
    f.submit([Iocb::nop(1)]);
    assert_eq!(f.wait(&wait), Err(Errno(libc::ETIME)));
    let forever = Wait { timeout: Timeout::Forever, ..wait };
    thread::scope(|s| {
        let waiter = s.spawn(|| f.wait(&forever));
        writer.write_all(b"x").unwrap();
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
    assert_eq!(f.reap().len(), 2);
    assert_eq!(f.wait(&forever), Ok(()), "it has ended long ago");
    for never in [0, id + (1 << 40), u64::MAX] {
        let wait = Wait { id: Some(never), ..forever };
        assert_eq!(f.wait(&wait), Err(Errno(libc::ENOENT)));
    }
    assert_eq!(get(&f, &forever, &mut [0; 64]).err(), Some(Errno(libc::EINVAL)));
}

extern "C" fn nothing(_: libc::c_int) {}

/// Catches a signal, with SA_RESTART, and does nothing.
pub fn catch(signal: libc::c_int) {
    // SAFETY: a sigaction may be all zeros.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler may run at any time.
    assert_eq!(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) }, 0);
}

/// A set with these signals.
fn set_of(signals: &[libc::c_int]) -> libc::sigset_t {
    // SAFETY: a sigset_t may be all zeros, which is the empty set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    for &signal in signals {
        // SAFETY: changes the set.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    set
}

/// Blocks a signal in this thread.
fn block(signal: libc::c_int) {
    let set = set_of(&[signal]);
    // SAFETY: reads the set.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
}

/// Runs `call` in a thread that is sent signals until it ends.
pub fn disturbed<T: Send>(call: impl FnOnce() -> T + Send) -> T {
    catch(libc::SIGUSR1);
    thread::scope(|s| {
        let (tell, told) = mpsc::channel();
        let called = s.spawn(move || {
            // SAFETY: it is this thread.
            tell.send(unsafe { libc::pthread_self() }).unwrap();
            call()
        });
        let thread = told.recv().unwrap();
        // One that comes before the sleep is caught and forgotten, unless a
        // mask holds it back.
        while !called.is_finished() {
            // SAFETY: the thread is not joined yet.
            unsafe { libc::pthread_kill(thread, libc::SIGUSR1) };
            thread::sleep(Duration::from_millis(1));
        }
        called.join().unwrap()
    })
}

#[test]
fn a_signal_interrupts_a_wait() {
    let f = Fixture::new();
    let none = set_of(&[]);
    for sigmask in [None, Some(&none)] {
        let wait = Wait { sigmask, ..Wait::events(1) };
        let waited = disturbed(|| {
            if wait.sigmask.is_some() {
                block(libc::SIGUSR1);
            }
            f.wait(&wait)
        });
        assert_eq!(waited, Err(Errno(libc::EINTR)));
    }
}

#[test]
fn what_has_not_started_is_cancelled_and_what_runs_is_interrupted() {
    let f = Fixture::with(|s| s.concurrency = 1);
    let slow = Slow::new();
    let words = f.submit([
        slow.read().user_data(1).flags(IocbFlags::WRITE_ID),
        slow.read().user_data(2).flags(IocbFlags::WRITE_ID),
        slow.read().user_data(3),
        slow.read().user_data(4),
    ]);
    let second = words[words.len() / 4 + ID_OFFSET / 8];
    let by = |flags: CancelFlags| Cancel { flags: flags.bits(), ..Cancel::default() };
    let out = cancel(&f, Cancel { id: second, ..by(CancelFlags::ID) }).unwrap();
    assert_eq!((out.cancelled, out.too_late), (1, 0));
    let again = cancel(&f, Cancel { id: second, ..by(CancelFlags::ID) });
    assert_eq!(again.err(), Some(Errno(libc::ENOENT)));
    let both = CancelFlags::USER_DATA | CancelFlags::FD;
    let wrong = Cancel { user_data: 3, fd: 0, ..by(both) };
    assert_eq!(cancel(&f, wrong).err(), Some(Errno(libc::ENOENT)));
    let right = Cancel { user_data: 3, fd: slow.reader.as_raw_fd(), ..by(both) };
    assert_eq!(cancel(&f, right).unwrap().cancelled, 1);
    let cancelled: Vec<_> = f.next_n(2).iter().map(|a| (a.user_data, a.res)).collect();
    assert_eq!(cancelled, [(2, -i64::from(libc::ECANCELED)), (3, -i64::from(libc::ECANCELED))]);
    until_a_worker_is_in(libc::SYS_splice);
    let wait = CancelFlags::ALL | CancelFlags::WAIT | CancelFlags::TIMEOUT;
    let mut all = Cancel { timeout: LATE.as_nanos() as u64, ..by(wait) };
    assert_eq!(f.engine.cancel(&mut all), Ok(2));
    assert_eq!((all.cancelled, all.interrupted, all.too_late), (1, 1, 0));
    let ends: Vec<_> = f.next_n(2).iter().map(|a| (a.user_data, a.res)).collect();
    assert_eq!(ends, [(4, -i64::from(libc::ECANCELED)), (1, -i64::from(libc::ECANCELED))]);
    assert_eq!(cancel(&f, by(CancelFlags::ALL)).err(), Some(Errno(libc::ENOENT)));
}

/// Waits until a worker is in syscall `nr`.
pub fn until_a_worker_is_in(nr: libc::c_long) {
    let is_in = |task: std::fs::DirEntry| {
        let comm = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let call = std::fs::read_to_string(task.path().join("syscall")).unwrap_or_default();
        comm.trim() == "aio2-wrk" && call.starts_with(&format!("{nr} "))
    };
    while !std::fs::read_dir("/proc/self/task").unwrap().flatten().any(is_in) {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_cancel_that_makes_no_sense_is_refused() {
    let f = Fixture::new();
    let flags = |bits| Cancel { flags: bits, ..Cancel::default() };
    let all = CancelFlags::ALL.bits();
    for bad in [
        flags(0),
        flags(1 << 20 | all),
        flags(all | CancelFlags::FD.bits()),
        flags(CancelFlags::WAIT.bits()),
        flags(all | CancelFlags::TIMEOUT.bits()),
        Cancel { fd: 1, ..flags(all) },
        Cancel { resv: 1, ..flags(all) },
        Cancel { resv2: 1, ..flags(all) },
        Cancel { timeout: 1, ..flags(all | CancelFlags::WAIT.bits()) },
    ] {
        assert_eq!(cancel(&f, bad).err(), Some(Errno(libc::EINVAL)), "{bad:?}");
    }
}

fn eventfd(flags: libc::c_int) -> OwnedFd {
    // SAFETY: takes no address.
    let fd = unsafe { libc::eventfd(0, flags) };
    assert!(fd >= 0);
    // SAFETY: it is new.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn is_readable(fd: &impl AsFd) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd.
    unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
}

fn with_eventfd(fd: &OwnedFd) -> Fixture {
    Fixture::with(|s| {
        s.flags = setup::SetupFlags::EVENTFD.bits();
        s.eventfd = fd.as_raw_fd();
    })
}

#[test]
fn the_eventfd_is_signalled_unless_switched_off() {
    let fd = eventfd(libc::EFD_NONBLOCK);
    let f = with_eventfd(&fd);
    f.engine.consumer().notify_off();
    f.submit([Iocb::nop(0)]);
    assert!(!is_readable(&fd));
    assert!(f.engine.consumer().notify_on(), "something is there");
    f.reap();
    assert!(!f.engine.consumer().notify_on());
    f.submit([Iocb::nop(0)]);
    assert!(is_readable(&fd));
}

#[test]
fn the_eventfd_is_not_signalled_by_a_submission_that_publishes_nothing() {
    let fd = eventfd(libc::EFD_NONBLOCK);
    let f = with_eventfd(&fd);
    let (reader, _writer) = pipe().unwrap();
    let mut buf = [0; 1];
    f.submit([read(&reader, &mut buf)]);
    f.submit([]);
    assert!(!is_readable(&fd));
}

#[test]
fn an_eventfd_at_its_maximum_blocks_nobody() {
    let fd = eventfd(0);
    let f = with_eventfd(&fd);
    let maximum = (u64::MAX - 1).to_ne_bytes();
    // SAFETY: eight bytes.
    let n = unsafe { libc::write(fd.as_raw_fd(), maximum.as_ptr().cast(), 8) };
    assert_eq!(n, 8);
    f.submit([Iocb::nop(0)]);
    drop(fd);
    f.submit([Iocb::nop(0)]);
    assert_eq!(f.reap().len(), 2);
}

/// SPEC: R-NOTIFY-7
#[test]
fn a_signal_is_an_edge_whatever_the_counter_says() {
    let of = |flags| {
        let fd = eventfd(flags);
        (format!("flags {flags:#x}"), with_eventfd(&fd), fd)
    };
    let own = || {
        let f = Fixture::new();
        let fd = f.engine.as_fd().try_clone_to_owned().unwrap();
        ("its own".to_string(), f, fd)
    };
    let (nonblock, semaphore) = (libc::EFD_NONBLOCK, libc::EFD_SEMAPHORE);
    for before in [0, 1, u64::MAX - 1] {
        let all = [of(0), of(nonblock), of(semaphore), of(semaphore | nonblock), own()];
        for (what, f, fd) in all {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
            let (number, flags) = (epoll::EventData::new_u64(0), EventFlags::IN | EventFlags::ET);
            epoll::add(&epoll, &fd, number, flags).unwrap();
            let is_woken = || {
                let mut events = [const { MaybeUninit::uninit() }; 1];
                !epoll::wait(&epoll, &mut events, Some(&Timespec::default())).unwrap().0.is_empty()
            };
            let bytes = u64::to_ne_bytes(before);
            // SAFETY: eight bytes.
            let n = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), 8) };
            assert_eq!(n, 8);
            is_woken();
            for _ in 0..3 {
                assert!(!is_woken());
                f.submit([Iocb::nop(0)]);
                assert!(is_woken() && is_readable(&fd), "{what}, {before} before");
                f.reap();
            }
        }
    }
}

#[test]
fn the_contexts_own_descriptor_polls_readable() {
    let f = Fixture::new();
    f.submit([Iocb::nop(0)]);
    assert!(is_readable(&f.engine.as_fd()), "what was there before counts");
    let g = Fixture::new();
    assert!(!is_readable(&g.engine.as_fd()));
    g.submit([Iocb::nop(0)]);
    assert!(is_readable(&g.engine.as_fd()));
}
