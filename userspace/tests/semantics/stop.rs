//! SPEC: section 9.1, R-CANCEL-7.

use crate::context::{Fixture, Iocb, address, syscall};
use crate::request::{Slow, ends, errno};
use aio2::backend::Backend;
use aio2_abi::iocb::Flags;
use aio2_abi::wait::{Cancel, CancelFlags};
use std::io::Write;
use std::os::fd::AsRawFd;

const ECANCELED: i64 = -(libc::ECANCELED as i64);

fn cancel_all(f: &Fixture) -> (u32, u32, u32) {
    let flags = (CancelFlags::ALL | CancelFlags::WAIT).bits();
    let mut all = Cancel { flags, ..Cancel::default() };
    f.engine.cancel(&mut all).unwrap();
    (all.cancelled, all.interrupted, all.too_late)
}

/// Cancels reads as soon as they run, and waits until they have ended.
fn race(rounds: usize) {
    let f = Fixture::with(|s| s.concurrency = 4);
    let mut pipes: Vec<Slow> = (0..4).map(|_| Slow::new()).collect();
    for round in 0..rounds {
        f.submit(pipes.iter_mut().map(Slow::read));
        // Each time a little later, so that the moment is met.
        (0..round % 1000 * 8).for_each(|_| std::hint::spin_loop());
        let (cancelled, interrupted, too_late) = cancel_all(&f);
        assert_eq!((cancelled + interrupted, too_late), (4, 0));
        assert!(ends(&f, 4).iter().all(|end| end.1 == ECANCELED));
    }
}

/// SPEC: R-CANCEL-5, R-CANCEL-7
#[test]
fn what_sleeps_is_interrupted_however_early_the_signal_comes() {
    race(500);
}

/// Without the second signal it hangs: the first came before the syscall.
#[test]
#[ignore = "takes a minute"]
fn what_sleeps_is_interrupted_a_hundred_thousand_times() {
    race(100_000);
}

/// SPEC: R-CANCEL-7, R-RUN-7
#[test]
fn the_next_operation_of_the_worker_is_not_interrupted() {
    let f = Fixture::with(|s| s.concurrency = 1);
    let mut pipes = [Slow::new(), Slow::new()];
    for round in 0..200 {
        let [first, second] = &mut pipes;
        f.submit([first.read().user_data(1), second.read().user_data(2)]);
        let flags = CancelFlags::USER_DATA.bits();
        let mut one = Cancel { flags, user_data: 1, ..Cancel::default() };
        f.engine.cancel(&mut one).unwrap();
        if round % 2 == 0 {
            second.finish();
            assert_eq!(ends(&f, 2), [(1, ECANCELED), (2, 1)]);
        } else {
            assert_eq!(ends(&f, 1), [(1, ECANCELED)]);
            assert!(f.reap().is_empty());
            second.finish();
            assert_eq!(ends(&f, 1), [(2, 1)]);
        }
    }
}

/// SPEC: R-CANCEL-7, R-RUN-4, R-RUN-5
#[test]
fn what_was_moved_is_the_result_unless_all_was_wanted() {
    for (flags, result) in [(Flags::empty(), 65536), (Flags::FULL, ECANCELED)] {
        let f = Fixture::new();
        let (reader, writer) = std::io::pipe().unwrap();
        let mut data = vec![0_u8; 1 << 20];
        let fd = writer.as_raw_fd() as u64;
        f.submit([syscall(libc::SYS_write, &[fd, address(&mut data[..]), 1 << 20]).flags(flags)]);
        assert_eq!(cancel_all(&f), (0, 1, 0));
        assert_eq!(ends(&f, 1), [(0, result)]);
        drop(reader);
    }
}

/// SPEC: R-LIFE-1
#[test]
fn dropping_interrupts_what_sleeps() {
    let f = Fixture::new();
    let mut slow = Slow::new();
    f.submit([
        slow.read().user_data(1),
        Iocb::poll_op(&slow.reader, libc::POLLIN).user_data(2),
        Iocb::nop(3).after(aio2_abi::attr::AFTER_STREAM, 2),
    ]);
    let consumer = f.engine.consumer();
    drop(f);
    assert!(consumer.is_dead());
    let mut words = [0; 64];
    assert_eq!(consumer.reap(&mut words, 9).unwrap().len(), 3);
}

/// SPEC: R-CANCEL-3
#[test]
fn each_match_is_counted_once_also_if_it_ends_by_another() {
    let f = Fixture::with(|s| s.concurrency = 1);
    let mut slow = Slow::new();
    f.submit([
        slow.read().user_data(1),
        slow.read().user_data(2),
        Iocb::nop(3).after(aio2_abi::attr::AFTER_STREAM, 1),
        Iocb::nop(4).after(aio2_abi::attr::AFTER_STREAM, 1),
    ]);
    let (cancelled, interrupted, too_late) = cancel_all(&f);
    assert_eq!((cancelled + interrupted, too_late), (4, 0));
    assert!(cancelled >= 3);
    assert!(ends(&f, 4).iter().all(|end| end.1 == ECANCELED));
    slow.writer.flush().unwrap();
    assert_eq!(errno(libc::ECANCELED), ECANCELED);
}
