//! What a cancel does to what runs. SPEC: section 9.1, R-CANCEL-7.

use crate::context::Context;
use crate::env::{Env, Outcome, setup};
use crate::file::{Pipe, Slow};
use crate::request::Request;
use aio2_abi::attr::{self, AFTER_STREAM};
use aio2_abi::iocb::IocbFlags;
use aio2_abi::op;
use aio2_abi::setup::{Features, Setup};
use aio2_abi::wait::{Cancel, CancelFlags};

const ECANCELED: i64 = -(libc::ECANCELED as i64);

fn cancel_all(context: &Context) -> (u32, u32, u32) {
    let flags = CancelFlags::ALL | CancelFlags::WAIT;
    let (_, done) = context.cancel(flags, Cancel::default()).expect("something is in flight");
    (done.cancelled, done.interrupted, done.too_late)
}

pub(crate) fn what_sleeps_is_interrupted_however_early(env: &Env<'_>) -> Outcome {
    race(env, 500)
}

/// The same a hundred thousand times.
///
/// # Errors
/// If the implementation interrupts nothing.
pub fn what_sleeps_is_interrupted_a_hundred_thousand_times(env: &Env<'_>) -> Outcome {
    race(env, 100_000)
}

/// Cancels reads as soon as they run, and waits until they have ended.
fn race(env: &Env<'_>, rounds: usize) -> Outcome {
    env.needs(Features::INTERRUPT)?;
    let context = env.context_with(Setup { concurrency: 4, ..setup() });
    let pipes: Vec<Slow> = (0..4).map(|_| Slow::new()).collect();
    for round in 0..rounds {
        context.submit_these(pipes.iter().map(Slow::read));
        // Each time a little later, so that the moment is met.
        (0..round % 1000 * 8).for_each(|_| std::hint::spin_loop());
        let (cancelled, interrupted, too_late) = cancel_all(&context);
        assert_eq!((cancelled + interrupted, too_late), (4, 0));
        assert!(context.ends(4).iter().all(|end| end.1 == ECANCELED));
    }
    Ok(())
}

pub(crate) fn next_operation_of_the_worker_is_not_interrupted(env: &Env<'_>) -> Outcome {
    env.needs(Features::INTERRUPT)?;
    let context = env.one_worker();
    let (first, second) = (Slow::new(), Slow::new());
    for round in 0..200 {
        context.submit_these([first.read().user_data(1), second.read().user_data(2)]);
        let fields = Cancel { user_data: 1, ..Cancel::default() };
        context.cancel(CancelFlags::USER_DATA, fields).expect("it is in flight");
        if round % 2 == 0 {
            second.finish();
            assert_eq!(context.ends(2), [(1, ECANCELED), (2, 1)]);
        } else {
            assert_eq!(context.ends(1), [(1, ECANCELED)]);
            assert_eq!(context.reap_ring(1), []);
            second.finish();
            assert_eq!(context.ends(1), [(2, 1)]);
        }
    }
    Ok(())
}

pub(crate) fn what_was_moved_is_the_result_unless_all_was_wanted(env: &Env<'_>) -> Outcome {
    env.needs(Features::INTERRUPT | Features::FULL)?;
    for (flags, is_result) in [(IocbFlags::empty(), true), (IocbFlags::FULL, false)] {
        let context = env.context();
        let pipe = Pipe::new();
        let data = vec![0; 1 << 20];
        context.submit_these([Request::write(pipe.write_fd(), &data).flags(flags)]);
        crate::context::until("the pipe is full", || pipe.readable_bytes() == 65536);
        assert_eq!(cancel_all(&context), (0, 1, 0));
        assert_eq!(context.ends(1), [(0, if is_result { 65536 } else { ECANCELED })]);
    }
    Ok(())
}

pub(crate) fn closing_interrupts_what_sleeps(env: &Env<'_>) -> Outcome {
    env.needs(Features::INTERRUPT)?;
    env.needs_op(op::POLL)?;
    env.needs_attr(attr::AFTER)?;
    let context = env.context();
    let slow = Slow::new();
    context.submit_these([
        slow.read().user_data(1),
        Request::poll(slow.fd(), libc::POLLIN).user_data(2),
        Request::nop(3).after(AFTER_STREAM, 2),
    ]);
    let consumer = context.backend().consumer();
    drop(context);
    assert!(consumer.is_dead());
    let mut words = [0; 64];
    assert_eq!(consumer.reap(&mut words, 9).expect("the ring is sound").len(), 3);
    Ok(())
}

pub(crate) fn match_that_ends_by_another_is_counted_once(env: &Env<'_>) -> Outcome {
    env.needs(Features::INTERRUPT)?;
    env.needs_attr(attr::AFTER)?;
    let context = env.one_worker();
    let slow = Slow::new();
    context.submit_these([
        slow.read().user_data(1),
        slow.read().user_data(2),
        Request::nop(3).after(AFTER_STREAM, 1),
        Request::nop(4).after(AFTER_STREAM, 1),
    ]);
    let (cancelled, interrupted, too_late) = cancel_all(&context);
    assert_eq!((cancelled + interrupted, too_late), (4, 0));
    assert!(cancelled >= 3);
    assert!(context.ends(4).iter().all(|end| end.1 == ECANCELED));
    Ok(())
}
