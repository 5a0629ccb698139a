//! `io_cancel2`. SPEC: sections 4.4 and 9.1.

use crate::context::{Context, Event, errno, until};
use crate::env::{Env, Outcome, setup};
use crate::file::{Busy, Pipe, file_with};
use crate::request::{Batch, Request};
use aio2::backend::Wait;
use aio2::syscall::{ALLOWED, Syscall};
use aio2_abi::op;
use aio2_abi::setup::{Features, Setup};
use aio2_abi::wait::{Cancel, CancelFlags as F};
use libc::{ECANCELED, EINVAL, ENOENT, EOPNOTSUPP, ETIME};
use std::os::fd::AsRawFd;
use std::time::Duration;
use zerocopy::IntoBytes;

const CANCELLED: i64 = -(ECANCELED as i64);

/// A context whose only worker is busy, so that nothing else starts.
fn with_busy_worker(env: &Env<'_>) -> (Context, Busy) {
    let context = env.one_worker();
    let busy = Busy::new();
    context.submit_all(&mut Batch::of([busy.request().user_data(999)]));
    busy.wait_started();
    (context, busy)
}

fn waiting(user_data: u64) -> Request {
    Request::nop(user_data).on_worker()
}

fn sorted(mut events: Vec<Event>) -> Vec<(u64, i64)> {
    events.sort_by_key(|e| e.user_data);
    events.iter().map(|e| (e.user_data, e.res)).collect()
}

fn counts(cancel: &Cancel) -> (u32, u32, u32) {
    (cancel.cancelled, cancel.interrupted, cancel.too_late)
}

pub(crate) fn request_that_has_not_started_is_cancelled_by_id(env: &Env<'_>) -> Outcome {
    let (context, mut busy) = with_busy_worker(env);
    let ids: Vec<u64> = (1..=3).map(|n| context.submit_one(waiting(n))).collect();
    let (matches, done) =
        context.cancel(F::ID, Cancel { id: ids[1], ..Cancel::default() }).expect("it matches");
    assert_eq!((matches, counts(&done)), (1, (1, 0, 0)));
    let again = context.cancel(F::ID, Cancel { id: ids[1], ..Cancel::default() });
    assert_eq!(errno(again), Some(ENOENT), "it is not in flight any more");
    let all = busy.release();
    assert_eq!(sorted(context.reap(4)), [(1, 0), (2, CANCELLED), (3, 0), (999, all)]);
    context.assert_idle();
    Ok(())
}

pub(crate) fn each_named_field_must_match(env: &Env<'_>) -> Outcome {
    let (context, mut busy) = with_busy_worker(env);
    let (_, file) = file_with(env, "cancel", &[3; 8]);
    let (_, other) = file_with(env, "other", &[3; 8]);
    let mut buffers = [[0; 8]; 4];
    let fds = [file.as_raw_fd(), file.as_raw_fd(), other.as_raw_fd(), other.as_raw_fd()];
    for (n, buffer) in buffers.iter_mut().enumerate() {
        let read = Request::pread(fds[n], buffer, 0).on_worker();
        context.submit_all(&mut Batch::of([read.user_data(n as u64 % 2)]));
    }
    context.submit_all(&mut Batch::of([waiting(0), waiting(7)]));
    let cancel = |flags, fields| {
        context.cancel(flags, fields).map(|(matches, done)| {
            assert_eq!(counts(&done), (matches, 0, 0));
            matches
        })
    };
    let fd = file.as_raw_fd();
    let pread = libc::SYS_pread64 as u32;
    let none = Cancel::default();
    // Nothing has all of these.
    let fields = Cancel { fd, nr: op::NOP, ..none };
    assert_eq!(errno(cancel(F::FD | F::NR, fields)), Some(ENOENT));
    assert_eq!(errno(cancel(F::USER_DATA, Cancel { user_data: 5, ..none })), Some(ENOENT));
    assert_eq!(errno(cancel(F::FD, Cancel { fd: 1 << 20, ..none })), Some(ENOENT));
    assert_eq!(errno(cancel(F::NR, Cancel { nr: op::POLL, ..none })), Some(ENOENT));
    // One has: the second read of `file`.
    let fields = Cancel { fd, nr: pread, user_data: 1, ..none };
    assert_eq!(cancel(F::FD | F::NR | F::USER_DATA, fields), Ok(1));
    // The first read of `other`, and the first NOP.
    let fields = Cancel { fd: other.as_raw_fd(), user_data: 0, ..none };
    assert_eq!(cancel(F::FD | F::USER_DATA, fields), Ok(1));
    assert_eq!(cancel(F::NR, Cancel { nr: op::NOP, ..none }), Ok(2));
    assert_eq!(cancel(F::FD, Cancel { fd, ..none }), Ok(1));
    assert_eq!(cancel(F::USER_DATA, Cancel { user_data: 1, ..none }), Ok(1));
    let all = busy.release();
    let c = CANCELLED;
    let expected = [(0, c), (0, c), (0, c), (1, c), (1, c), (7, c), (999, all)];
    assert_eq!(sorted(context.reap(7)), expected);
    context.assert_idle();
    Ok(())
}

pub(crate) fn descriptor_finds_the_calls_that_have_one(env: &Env<'_>) -> Outcome {
    const FD: i32 = 1 << 20;
    let (context, mut busy) = with_busy_worker(env);
    let request = |call: &Syscall| {
        let mut args = vec![0; call.nr_args.into()];
        args.iter_mut().take(1).for_each(|first| *first = FD as u64);
        Request::new(call.nr, &args).on_worker().user_data(call.nr.into())
    };
    context.submit_all(&mut Batch::of(ALLOWED.iter().map(request)));
    // Arguments that are excluded, zeros among them.
    let refused = context.reap_ring(ALLOWED.len());
    assert!(refused.iter().all(|e| e.res == -i64::from(EOPNOTSUPP)), "{refused:?}");
    assert!(refused.len() < 5, "{refused:?}");
    let waits = |call: &&Syscall| refused.iter().all(|e| e.user_data != call.nr.into());
    let waiting: Vec<&Syscall> = ALLOWED.iter().filter(waits).collect();
    let with_fd = waiting.iter().filter(|call| call.fd);
    let mut expected: Vec<_> = with_fd.map(|call| (call.nr.into(), CANCELLED)).collect();
    expected.sort_unstable();
    let matches = context.cancel(F::FD, Cancel { fd: FD, ..Cancel::default() }).map(|c| c.0);
    assert_eq!(matches, Ok(expected.len() as u32));
    assert_eq!(sorted(context.reap(expected.len())), expected);
    let rest = waiting.len() - expected.len();
    let (_, done) = context.cancel(F::ALL, Cancel::default()).expect("it matches");
    assert_eq!(done.cancelled as usize, rest, "none of them has run");
    if done.too_late == 1 {
        busy.release();
    }
    assert_eq!(context.reap(rest + 1).len(), rest + 1);
    context.assert_idle();
    Ok(())
}

pub(crate) fn all_matches_what_runs_and_what_waits(env: &Env<'_>) -> Outcome {
    let (context, mut busy) = with_busy_worker(env);
    context.submit_all(&mut Batch::of((0..10).map(waiting)));
    let (matches, done) = context.cancel(F::ALL, Cancel::default()).expect("it matches");
    assert_eq!(matches, 11);
    assert_eq!(done.cancelled, 10, "none of them had started");
    assert_eq!(done.interrupted + done.too_late, 1, "one was running");
    if done.too_late == 1 {
        busy.release();
    }
    let events = sorted(context.reap(11));
    assert!(events[..10].iter().all(|e| e.1 == CANCELLED), "{events:?}");
    assert_eq!(events[10].0, 999);
    if done.too_late == 1 {
        assert_eq!(events[10].1, 256 << 10, "it ran to its end");
    }
    context.assert_idle();
    Ok(())
}

pub(crate) fn cancelled_request_has_no_effect_and_one_event(env: &Env<'_>) -> Outcome {
    let (context, mut busy) = with_busy_worker(env);
    let (path, _file) = file_with(env, "kept", b"kept");
    let name = std::ffi::CString::new(path.to_str().expect("text")).expect("no zero byte");
    let args = [libc::AT_FDCWD as u64, name.as_ptr().addr() as u64, 0];
    let id = context.submit_one(Request::call(libc::SYS_unlinkat, &args).user_data(1));
    assert_eq!(context.cancel(F::ID, Cancel { id, ..Cancel::default() }).map(|c| c.0), Ok(1));
    busy.release();
    let events = context.reap(2);
    assert_eq!(events.iter().filter(|e| e.user_data == 1).count(), 1);
    assert!(path.exists(), "the operation was not run");
    context.assert_idle();
    Ok(())
}

pub(crate) fn nothing_in_flight_gives_enoent(env: &Env<'_>) -> Outcome {
    let context = env.context();
    assert_eq!(errno(context.cancel(F::ALL, Cancel::default())), Some(ENOENT));
    let id = context.submit_one(Request::nop(4));
    for (flags, fields) in [
        (F::ALL, Cancel::default()),
        (F::ALL | F::WAIT, Cancel::default()),
        (F::ID, Cancel { id, ..Cancel::default() }),
        (F::USER_DATA, Cancel { user_data: 4, ..Cancel::default() }),
        (F::NR, Cancel { nr: op::NOP, ..Cancel::default() }),
    ] {
        assert_eq!(errno(context.cancel(flags, fields)), Some(ENOENT), "it has ended");
    }
    assert_eq!(context.reap(1).len(), 1);
    Ok(())
}

pub(crate) fn id_matches_no_later_request(env: &Env<'_>) -> Outcome {
    let context = env.context_with(Setup { max_requests: 2, concurrency: 1, ..setup() });
    let mut old = Vec::new();
    for n in 0..50 {
        old.push(context.submit_one(Request::nop(n)));
        assert_eq!(context.reap(1).len(), 1);
    }
    let mut busy = Busy::new();
    let running = context.submit_one(busy.request());
    busy.wait_started();
    let queued = context.submit_one(waiting(1));
    for id in old {
        assert!(id != running && id != queued);
        let cancel = context.cancel(F::ID, Cancel { id, ..Cancel::default() });
        assert_eq!(errno(cancel), Some(ENOENT));
    }
    let all = busy.release();
    assert_eq!(sorted(context.reap(2)), [(0, all), (1, 0)]);
    Ok(())
}

pub(crate) fn wait_returns_when_all_matches_have_ended(env: &Env<'_>) -> Outcome {
    let (context, mut busy) = with_busy_worker(env);
    context.submit_all(&mut Batch::of((0..5).map(waiting)));
    // Those that wait end at once, and their events are there then.
    let fields = Cancel { nr: op::NOP, ..Cancel::default() };
    assert_eq!(context.cancel(F::NR | F::WAIT, fields).map(|c| c.0), Ok(5));
    assert_eq!(context.wait(&Wait::events(5).within(Duration::ZERO)), Ok(()));
    assert_eq!(context.reap_ring(9).len(), 5);
    // One that runs: the wait is as long as it runs.
    let user_data = 999;
    let fields = Cancel { user_data, timeout: 2_000_000, ..Cancel::default() };
    let mut request = Cancel { flags: (F::USER_DATA | F::WAIT | F::TIMEOUT).bits(), ..fields };
    let result = context.backend().cancel(&mut request);
    if errno(result) == Some(ETIME) {
        assert_eq!(counts(&request), (0, request.interrupted, request.too_late));
        assert_eq!(request.interrupted + request.too_late, 1, "counted with ETIME too");
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                context.cancel(F::USER_DATA | F::WAIT, Cancel { user_data, ..Cancel::default() })
            });
            // What was interrupted ends without, and does not write the rest.
            if request.interrupted == 0 {
                busy.release();
            }
            // It may have ended before the call.
            let result = waiter.join().expect("the thread ends").map(|c| c.0);
            assert!(matches!(result, Ok(1)) || errno(result) == Some(ENOENT), "{result:?}");
        });
    } else {
        assert_eq!((result, request.interrupted), (Ok(1), 1), "it was interrupted");
    }
    assert_eq!(context.wait(&Wait::events(1).within(Duration::ZERO)), Ok(()));
    assert_eq!(context.reap_ring(9).len(), 1);
    Ok(())
}

pub(crate) fn each_match_is_counted_once(env: &Env<'_>) -> Outcome {
    let context = env.context_with(Setup { concurrency: 2, ..setup() });
    for round in 0..50 {
        let mut batch = Batch::of((0..40).map(waiting));
        context.submit_all(&mut batch);
        let (matches, done) = match context.cancel(F::ALL | F::WAIT, Cancel::default()) {
            Ok(result) => result,
            Err(e) => {
                // All had ended already.
                assert_eq!(e.0, ENOENT);
                (0, Cancel::default())
            }
        };
        assert_eq!(matches, done.cancelled + done.interrupted + done.too_late);
        let events = context.reap(40);
        let cancelled = events.iter().filter(|e| e.res == CANCELLED).count();
        assert!(cancelled >= done.cancelled as usize, "round {round}");
        assert!(cancelled <= (done.cancelled + done.interrupted) as usize, "round {round}");
        assert!(events.iter().all(|e| e.res == CANCELLED || e.res == 0));
        context.assert_idle();
    }
    Ok(())
}

pub(crate) fn cancel_during_completion_gives_one_event(env: &Env<'_>) -> Outcome {
    let context = env.context_with(Setup { concurrency: 2, ..setup() });
    for round in 0..300 {
        let id = context.submit_one(waiting(round));
        let outcome = context.cancel(F::ID, Cancel { id, ..Cancel::default() });
        let event = context.reap(1).remove(0);
        assert_eq!(event.user_data, round);
        match outcome {
            Ok((1, done)) if done.cancelled == 1 => assert_eq!(event.res, CANCELLED),
            Ok((1, done)) if done.interrupted == 1 => {
                assert!(event.res == CANCELLED || event.res == 0);
            }
            Ok((1, done)) => {
                assert_eq!(counts(&done), (0, 0, 1));
                assert_eq!(event.res, 0);
            }
            Ok(other) => panic!("one request, and {other:?}"),
            Err(e) => assert_eq!((e.0, event.res), (ENOENT, 0)),
        }
        context.assert_idle();
    }
    Ok(())
}

/// Whether a cancel comes before or after a worker has begun depends on the moment;
/// what it has counted and what the event says of that may not differ.
pub(crate) fn count_and_event_agree_on_what_never_began(env: &Env<'_>) -> Outcome {
    env.needs(Features::NOT_STARTED)?;
    let context = env.context_with(Setup { concurrency: 2, ..setup() });
    let pipe = Pipe::new();
    let mut byte = [0];
    for round in 0..1000 {
        let read = Request::read(pipe.reader.as_raw_fd(), &mut byte).on_worker();
        let id = context.submit_one(read.user_data(round));
        for _ in 0..round % 50 * 20 {
            std::hint::spin_loop();
        }
        let cancel = Cancel { id, ..Cancel::default() };
        let (matches, done) = context.cancel(F::ID, cancel).expect("nothing else ends it");
        let event = context.reap(1).remove(0);
        assert_eq!((matches, event.user_data, event.res), (1, round, CANCELLED));
        let expected = if event.never_began() { (1, 0, 0) } else { (0, 1, 0) };
        assert_eq!(counts(&done), expected, "round {round}");
    }
    context.assert_idle();
    Ok(())
}

pub(crate) fn bad_flags_and_fields_are_refused(env: &Env<'_>) -> Outcome {
    let (context, mut busy) = with_busy_worker(env);
    let none = Cancel::default();
    for (name, request) in [
        ("no match", none),
        ("no match, WAIT", Cancel { flags: F::WAIT.bits(), ..none }),
        ("ALL and ID", Cancel { flags: (F::ALL | F::ID).bits(), id: 1, ..none }),
        ("ALL and FD", Cancel { flags: (F::ALL | F::FD).bits(), ..none }),
        ("ALL and NR", Cancel { flags: (F::ALL | F::NR).bits(), ..none }),
        ("ALL and USER_DATA", Cancel { flags: (F::ALL | F::USER_DATA).bits(), ..none }),
        ("TIMEOUT without WAIT", Cancel { flags: (F::ALL | F::TIMEOUT).bits(), ..none }),
        ("fd without FD", Cancel { flags: F::ALL.bits(), fd: 1, ..none }),
        ("nr without NR", Cancel { flags: F::ALL.bits(), nr: 1, ..none }),
        ("id without ID", Cancel { flags: F::ALL.bits(), id: 1, ..none }),
        ("user_data without USER_DATA", Cancel { flags: F::ALL.bits(), user_data: 1, ..none }),
        (
            "timeout without TIMEOUT",
            Cancel { flags: (F::ALL | F::WAIT).bits(), timeout: 1, ..none },
        ),
        ("resv", Cancel { flags: F::ALL.bits(), resv: 1, ..none }),
        ("resv2", Cancel { flags: F::ALL.bits(), resv2: 1, ..none }),
        ("unknown flag", Cancel { flags: F::ALL.bits() | 1 << 7, ..none }),
        ("unknown flag", Cancel { flags: F::ALL.bits() | 1 << 31, ..none }),
    ] {
        let mut changed = request;
        assert_eq!(errno(context.backend().cancel(&mut changed)), Some(EINVAL), "{name}");
        assert_eq!(changed.as_bytes(), request.as_bytes(), "{name}: nothing is written");
    }
    // EINVAL is found before ENOENT, which writes nothing either.
    let request = Cancel { flags: F::ID.bits(), id: u64::MAX, cancelled: 7, too_late: 9, ..none };
    let mut changed = Cancel { resv: 1, ..request };
    assert_eq!(errno(context.backend().cancel(&mut changed)), Some(EINVAL));
    let mut changed = request;
    assert_eq!(errno(context.backend().cancel(&mut changed)), Some(ENOENT));
    assert_eq!(changed.as_bytes(), request.as_bytes());
    busy.release();
    assert_eq!(context.reap(1).len(), 1, "it was not cancelled by any of these");
    Ok(())
}

pub(crate) fn other_requests_go_on_after_a_cancel(env: &Env<'_>) -> Outcome {
    let (context, mut busy) = with_busy_worker(env);
    let id = context.submit_one(waiting(1));
    context.cancel(F::ID, Cancel { id, ..Cancel::default() }).expect("it matches");
    until("its event comes", || !context.reap_ring(1).is_empty());
    context.submit_all(&mut Batch::of([waiting(2)]));
    let all = busy.release();
    assert_eq!(sorted(context.reap(2)), [(2, 0), (999, all)]);
    Ok(())
}
