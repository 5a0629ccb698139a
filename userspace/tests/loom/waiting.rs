//! The engine: those that wait are told, and a context goes.

use crate::common::model;
use crate::context::{Answer, Fixture, Iocb};
use crate::request::id_of;
use crate::requests::{context, ends, nop};
use aio2::backend::{Backend, Wait};
use loom::thread;
use std::os::fd::AsRawFd;
use zerocopy::IntoBytes;

/// Waits for an event and copies it out; its user data.
fn copy_one(f: &Fixture) -> u64 {
    let mut room = [0_u64; 4];
    // SAFETY: there is no request.
    let got = unsafe { f.engine.wait(&Wait::events(1), &mut [], Some(room.as_mut_bytes())) };
    let bytes = got.unwrap().bytes;
    Answer::parse(&room.as_bytes()[..bytes])[0].user_data
}

// SPEC: R-GET-2, R-GET-13, R-GET-14
#[test]
fn each_of_two_that_wait_gets_one_of_two_events() {
    model("two waiters", || {
        let f = context(1);
        let of_thread = f.clone();
        let thread = thread::spawn(move || copy_one(&of_thread));
        f.submit([Iocb::nop(1), Iocb::nop(2)]);
        let mut got = [copy_one(&f), thread.join().unwrap()];
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
    });
}

// SPEC: R-GET-9
#[test]
fn who_waits_for_the_end_of_a_request_is_told() {
    model("wait for an end", || {
        let f = context(1);
        let words = f.submit([nop(1).id()]);
        let wait = Wait { id: Some(id_of(&words, 0)), ..Wait::events(0) };
        f.wait(&wait).unwrap();
        assert_eq!(ends(&f, 1), [(1, 0)]);
    });
}

// SPEC: R-NOTIFY-4
#[test]
fn the_eventfd_tells_of_an_event_that_came_while_it_was_asked_for() {
    model("first look at the eventfd", || {
        let f = context(1);
        let of_thread = f.clone();
        let thread = thread::spawn(move || drop(of_thread.submit([Iocb::nop(1)])));
        let fd = f.engine.as_fd().as_raw_fd();
        thread.join().unwrap();
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd, which can be written.
        assert_eq!(unsafe { libc::poll(&raw mut poll, 1, 0) }, 1, "an event is there");
    });
}

// SPEC: R-LIFE-1, R-LIFE-3, R-OVF-7
#[test]
fn a_context_goes_while_its_worker_runs_and_another_thread_reaps() {
    model("teardown against reap", || {
        let f = context(1);
        f.submit([nop(1), nop(2)]);
        let consumer = f.engine.consumer();
        let of_thread = consumer.clone();
        let thread = thread::spawn(move || {
            let dead = of_thread.is_dead();
            let mut words = [0; 8];
            let events = of_thread.reap(&mut words, 8).unwrap();
            assert!(!dead || events.len() == 2, "events come after the end");
            events.map(|event| event[1]).collect::<Vec<_>>()
        });
        drop(f);
        assert!(consumer.is_dead());
        let mut seen = thread.join().unwrap();
        let mut words = [0; 8];
        seen.extend(consumer.reap(&mut words, 8).unwrap().map(|event| event[1]));
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
    });
}
