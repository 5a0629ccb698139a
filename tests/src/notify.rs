//! The eventfd, and the descriptor that can be polled. SPEC: sections 4.6, 5.7.

use crate::context::{Context, until};
use crate::env::{Env, Outcome, setup};
use crate::file::{Pipe, eventfd, eventfd_count};
use crate::request::{Batch, Request};
use crate::words::Words;
use aio2::backend::Wait;
use aio2::ring::Memory;
use aio2_abi::ring::{NOTIFY_OFF, NOTIFY_ON};
use aio2_abi::setup::{Features, Setup, SetupFlags};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU64, Ordering};

fn watched(env: &Env<'_>) -> (Context, File) {
    let eventfd = eventfd();
    let flags = SetupFlags::EVENTFD.bits();
    let setup = Setup { flags, eventfd: eventfd.as_raw_fd(), ring_bytes: 4096, ..setup() };
    (env.context_with(setup), eventfd)
}

fn nops(count: u64) -> Batch {
    Batch::of((0..count).map(Request::nop))
}

/// Whether poll(2) says readable, within this time.
fn readable(fd: &impl AsFd, timeout_ms: i32) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd.
    unsafe { libc::poll(&raw mut poll, 1, timeout_ms) == 1 }
}

pub(crate) fn eventfd_is_signalled_for_events(env: &Env<'_>) -> Outcome {
    let (context, eventfd) = watched(env);
    assert_eq!(eventfd_count(&eventfd), 0, "nothing happened yet");
    context.submit_all(&mut nops(1));
    assert!(eventfd_count(&eventfd) >= 1, "inline");
    context.submit_all(&mut nops(50));
    let count = eventfd_count(&eventfd);
    assert!((1..=50).contains(&count), "once for a batch suffices: {count}");
    context.submit_all(&mut Batch::of([Request::nop(1).on_worker()]));
    until("the worker signals", || eventfd_count(&eventfd) >= 1);
    assert_eq!(context.reap_ring(100).len(), 52);
    Ok(())
}

/// Who sleeps on it alone learns that nothing will come any more.
pub(crate) fn eventfd_tells_that_the_context_is_gone(env: &Env<'_>) -> Outcome {
    for (notify, signals) in [(NOTIFY_ON, 1), (NOTIFY_OFF, 0)] {
        let (context, eventfd) = watched(env);
        let consumer = context.backend().consumer();
        if notify == NOTIFY_OFF {
            consumer.notify_off();
        }
        drop(context);
        assert!(consumer.is_dead());
        assert_eq!(eventfd_count(&eventfd), signals, "notify {notify}");
    }
    Ok(())
}

pub(crate) fn eventfd_is_signalled_for_overflow(env: &Env<'_>) -> Outcome {
    let (context, eventfd) = watched(env);
    context.submit_all(&mut nops(4096 / 24));
    assert!(eventfd_count(&eventfd) >= 1);
    assert_eq!(context.overflowed(), 0);
    context.submit_all(&mut nops(1));
    assert_eq!(context.overflowed(), 1);
    assert!(eventfd_count(&eventfd) >= 1, "the ring is full");
    assert_eq!(context.reap(4096 / 24 + 1).len(), 4096 / 24 + 1);
    Ok(())
}

pub(crate) fn nothing_is_signalled_while_notify_is_off(env: &Env<'_>) -> Outcome {
    let (context, eventfd) = watched(env);
    let consumer = context.backend().consumer();
    let notify = consumer.memory().view().notify;
    assert_eq!(notify.load(SeqCst), NOTIFY_ON, "at first");
    consumer.notify_off();
    assert_eq!(notify.load(SeqCst), NOTIFY_OFF);
    context.submit_all(&mut nops(300));
    assert_eq!(eventfd_count(&eventfd), 0);
    // Switched on again, it says that there is something already.
    assert!(consumer.notify_on());
    assert_eq!(context.reap(300).len(), 300);
    assert!(!consumer.notify_on());
    context.submit_all(&mut nops(1));
    assert!(eventfd_count(&eventfd) >= 1);
    Ok(())
}

pub(crate) fn any_other_value_of_notify_counts_as_on(env: &Env<'_>) -> Outcome {
    let (context, eventfd) = watched(env);
    let consumer = context.backend().consumer();
    for value in [NOTIFY_ON, 2, 1 << 31, u32::MAX] {
        consumer.memory().view().notify.store(value, SeqCst);
        context.submit_all(&mut nops(1));
        assert!(eventfd_count(&eventfd) >= 1, "notify is {value}");
    }
    Ok(())
}

pub(crate) fn full_eventfd_blocks_nothing_and_loses_nothing(env: &Env<'_>) -> Outcome {
    let (context, eventfd) = watched(env);
    (&eventfd).write_all(&(u64::MAX - 1).to_ne_bytes()).expect("it counts so far");
    context.submit_all(&mut nops(200));
    context.submit_all(&mut Batch::of((200..210).map(|n| Request::nop(n).on_worker())));
    let mut order: Vec<u64> = context.reap(210).iter().map(|e| e.user_data).collect();
    order.sort_unstable();
    assert_eq!(order, (0..210).collect::<Vec<u64>>());
    // What it counts is nobody's; that it counts says that something came.
    assert!(eventfd_count(&eventfd) > 0);
    Ok(())
}

pub(crate) fn eventfd_that_blocks_does_not_block_the_producer(env: &Env<'_>) -> Outcome {
    // SAFETY: takes two numbers.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    assert!(fd >= 0);
    // SAFETY: the descriptor is new, and no one else's.
    let eventfd: File = unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) };
    (&eventfd).write_all(&(u64::MAX - 1).to_ne_bytes()).expect("it counts so far");
    let context =
        env.context_with(Setup { flags: SetupFlags::EVENTFD.bits(), eventfd: fd, ..setup() });
    // Were the write to it plain, this would sleep for ever.
    context.submit_all(&mut nops(100));
    assert_eq!(context.reap(100).len(), 100);
    Ok(())
}

/// Clears O_NONBLOCK of an open file, whoever else has it, and fills its
/// counter.
fn make_it_block(eventfd: BorrowedFd<'_>) {
    // SAFETY: takes numbers.
    assert_eq!(unsafe { libc::fcntl(eventfd.as_raw_fd(), libc::F_SETFL, 0) }, 0);
    let eventfd = File::from(eventfd.try_clone_to_owned().expect("a descriptor is left"));
    (&eventfd).write_all(&(u64::MAX - 1).to_ne_bytes()).expect("it counts so far");
}

pub(crate) fn eventfd_that_blocks_from_now_on_does_not_block_the_producer(
    env: &Env<'_>,
) -> Outcome {
    let (context, eventfd) = watched(env);
    make_it_block(eventfd.as_fd());
    context.submit_all(&mut nops(100));
    context.submit_all(&mut Batch::of([Request::nop(100).on_worker()]));
    assert_eq!(context.reap(101).len(), 101);
    if env.probe().features().contains(Features::IN_PROCESS) {
        // What it gives away is an eventfd as well.
        let context = env.context();
        make_it_block(context.backend().as_fd());
        context.submit_all(&mut nops(100));
        assert_eq!(context.reap(100).len(), 100);
    }
    Ok(())
}

pub(crate) fn closed_eventfd_loses_nothing(env: &Env<'_>) -> Outcome {
    let (context, eventfd) = watched(env);
    let number = eventfd.as_raw_fd();
    drop(eventfd);
    // Something else gets the number; it must not be written to.
    let pipe = Pipe::new();
    // SAFETY: takes numbers.
    let other = unsafe { libc::fcntl(pipe.write_fd(), libc::F_DUPFD_CLOEXEC, number) };
    assert!(other >= 0);
    context.submit_all(&mut nops(300));
    assert_eq!(context.reap(300).len(), 300);
    context.submit_all(&mut Batch::of([Request::nop(1).on_worker()]));
    assert_eq!(context.reap(1).len(), 1);
    assert_eq!(pipe.readable_bytes(), 0);
    // SAFETY: opened above and not used any more.
    unsafe { libc::close(other) };
    Ok(())
}

/// Whether an epoll that waits for edges of `fd` has seen one.
fn edges_of(fd: BorrowedFd<'_>) -> impl Fn() -> bool {
    // SAFETY: takes a number.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    assert!(epoll >= 0);
    // SAFETY: the descriptor is new, and no one else's.
    let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
    let mut wanted = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: 0 };
    // SAFETY: one event, which is copied.
    let added = unsafe {
        let (epoll, fd) = (epoll.as_raw_fd(), fd.as_raw_fd());
        libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut wanted)
    };
    assert_eq!(added, 0);
    move || {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: room for one event.
        unsafe { libc::epoll_wait(epoll.as_raw_fd(), &raw mut event, 1, 0) == 1 }
    }
}

pub(crate) fn signal_is_an_edge_whatever_the_counter_says(env: &Env<'_>) -> Outcome {
    for before in [1, u64::MAX - 1] {
        let (context, eventfd) = watched(env);
        (&eventfd).write_all(&before.to_ne_bytes()).expect("it counts so far");
        let woken = [edges_of(eventfd.as_fd()), edges_of(context.backend().as_fd())];
        for edge in &woken {
            edge();
        }
        for _ in 0..3 {
            assert!(!woken.iter().any(|edge| edge()), "nothing has happened");
            context.submit_all(&mut nops(1));
            let seen = woken.each_ref().map(|edge| edge());
            assert_eq!(seen, [true; 2], "{before} before, the eventfd and the context");
            assert_eq!(context.reap(1).len(), 1);
        }
    }
    Ok(())
}

pub(crate) fn sleeper_on_the_eventfd_misses_no_event(env: &Env<'_>) -> Outcome {
    const EVENTS: u64 = 5000;
    let (context, eventfd) = watched(env);
    let reaped = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let (context, reaped) = (&context, &reaped);
        scope.spawn(move || {
            for n in 0..EVENTS {
                let request = Request::nop(n);
                let request = if n % 7 == 0 { request.on_worker() } else { request };
                while context.submit(&mut Batch::of([request.clone()])).is_err() {
                    std::thread::yield_now();
                }
                // Mostly one at a time, so that the consumer goes to sleep often.
                if n % 3 == 0 {
                    until("it is reaped", || reaped.load(Ordering::Acquire) > n / 2);
                }
            }
        });
        let consumer = context.backend().consumer();
        let mut count = 0;
        while count < EVENTS {
            consumer.notify_off();
            let mut found = context.reap_ring(100).len() as u64;
            if found == 0 && !consumer.notify_on() {
                assert!(readable(&eventfd, 30_000), "a wakeup was lost at {count}");
                eventfd_count(&eventfd);
            }
            if consumer.pending() == aio2::ring::Pending::Overflow {
                assert_eq!(context.wait(&Wait::events(0)), Ok(()));
                found += context.reap_ring(100).len() as u64;
            }
            count += found;
            reaped.store(count, Ordering::Release);
        }
        assert_eq!(count, EVENTS);
    });
    context.assert_idle();
    Ok(())
}

pub(crate) fn descriptor_polls_readable_after_an_event(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let fd = context.backend().as_fd();
    assert!(!readable(&fd, 0));
    context.submit_all(&mut nops(1));
    assert!(readable(&fd, 30_000), "inline");
    let mut count = [0; 8];
    // An eventfd in the engine; the kernel's descriptor cannot be read.
    // SAFETY: eight bytes can be written.
    unsafe { libc::read(fd.as_raw_fd(), count.as_mut_ptr().cast(), 8) };
    assert_eq!(context.reap_ring(9).len(), 1);
    assert!(!readable(&fd, 0));
    context.submit_all(&mut Batch::of([Request::nop(1).on_worker()]));
    assert!(readable(&fd, 30_000), "by a worker");
    assert_eq!(context.reap(1).len(), 1);
    Ok(())
}

pub(crate) fn descriptor_polls_readable_for_what_was_there_before(env: &Env<'_>) -> Outcome {
    let context = env.context();
    context.submit_all(&mut nops(1));
    assert!(readable(&context.backend().as_fd(), 30_000));
    assert_eq!(context.reap(1).len(), 1);
    Ok(())
}
