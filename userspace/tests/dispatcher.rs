//! Callbacks: each is run once, or dropped.

mod common;

use aio2::error::WaitError;
use aio2::{Cancelled, Context, Dispatcher, Errno, Op, SharedFd, Timeout};
use aio2_abi::setup::Setup;
use common::{pipe, stingy};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

type Bytes = Vec<u8>;

fn dispatcher<'c>() -> Dispatcher<'c, Bytes> {
    Dispatcher::new(Context::new().unwrap())
}

#[test]
fn each_callback_is_run_once_with_its_completion() {
    let seen = RefCell::new(Vec::new());
    let mut dispatcher = dispatcher();
    let (reader, writer) = pipe();
    dispatcher.push(Op::write(writer, b"four".to_vec()), |_, done| {
        seen.borrow_mut().push(("write", done.result));
    });
    dispatcher.push(Op::read(reader, vec![0; 9]), |_, done| {
        seen.borrow_mut().push(("read", done.result));
        assert_eq!(&done.into_buffer().unwrap()[..4], b"four");
    });
    assert_eq!(dispatcher.len(), 2);
    dispatcher.run_to_end().unwrap();
    assert_eq!(dispatcher.run(1, Timeout::Forever).unwrap(), 0, "nothing is left to wait for");
    drop(dispatcher);
    let mut seen = seen.into_inner();
    seen.sort_by_key(|s| s.0);
    assert_eq!(seen, [("read", Ok(4)), ("write", Ok(4))]);
}

#[test]
fn a_callback_pushes_the_next_request() {
    fn chain<'c>(dispatcher: &mut Dispatcher<'c, Bytes>, left: u32, count: &'c Cell<u32>) {
        if left > 0 {
            dispatcher.push(Op::nop(), move |more, done| {
                assert_eq!(done.result, Ok(0));
                count.set(count.get() + 1);
                chain(more, left - 1, count);
            });
        }
    }
    let count = Cell::new(0);
    let setup = Setup { version: aio2_abi::VERSION, ..Setup::default() };
    // Also where the implementation takes less than it is given.
    let contexts = [Context::new().unwrap(), stingy(&setup, common::at_random(7))];
    for (n, context) in (1..).zip(contexts) {
        let mut dispatcher = Dispatcher::new(context);
        (0..20).for_each(|_| chain(&mut dispatcher, 500, &count));
        while !dispatcher.is_empty() {
            match dispatcher.run(1, Timeout::Forever) {
                // None of them, this time.
                Err(WaitError::Submit(error)) if error.is_full() => {}
                run => assert!(run.unwrap() > 0),
            }
        }
        assert_eq!(count.get(), n * 10_000);
    }
}

#[test]
fn a_panic_in_a_callback_ends_the_run_and_loses_no_other() {
    let count = Cell::new(0);
    let mut dispatcher = dispatcher();
    for n in 0..10 {
        let count = &count;
        dispatcher.push(Op::nop(), move |more, _| {
            count.set(count.get() + 1);
            more.push(Op::nop(), |_, _| count.set(count.get() + 100));
            assert!(n % 3 != 0, "as the test wants");
        });
    }
    let mut panics = 0;
    while !dispatcher.is_empty() {
        let run = catch_unwind(AssertUnwindSafe(|| dispatcher.run(1, Timeout::Forever)));
        match run {
            Ok(result) => drop(result.unwrap()),
            Err(_) => panics += 1,
        }
    }
    assert_eq!((panics, count.get()), (4, 1010));
}

#[test]
fn a_drop_ends_what_is_in_flight_and_drops_its_callback() {
    let held = Rc::new(());
    let (reader, writer) = pipe();
    let mut dispatcher = dispatcher();
    for submits in [true, false] {
        let held = held.clone();
        let read = Op::read(reader.try_clone().unwrap(), vec![0; 8]);
        dispatcher.push(read, move |_, _| panic!("it must not be run: {held:?}"));
        if submits {
            assert_eq!(dispatcher.submit(), Ok(1));
        }
    }
    assert_eq!((Rc::strong_count(&held), dispatcher.len()), (3, 2));
    drop(dispatcher);
    assert_eq!(Rc::strong_count(&held), 1);
    drop(writer);
}

#[test]
fn a_cancelled_request_has_its_callback_run() {
    let ends = RefCell::new(Vec::new());
    let (reader, _writer) = pipe();
    let reader = SharedFd::new(reader);
    let mut dispatcher = dispatcher();
    let read = |n: u32| {
        let (read, ends) = (Op::read(&reader, vec![0; 8]), &ends);
        (read, move |_: &mut Dispatcher<'_, Bytes>, done: aio2::Completion<Bytes, (), _>| {
            ends.borrow_mut().push((n, done.result));
        })
    };
    let (op, callback) = read(0);
    let in_flight = dispatcher.push(op, callback);
    assert_eq!(dispatcher.submit(), Ok(1));
    let (op, callback) = read(1);
    let queued = dispatcher.push(op, callback);
    assert_eq!(dispatcher.cancel(queued), Ok(Cancelled::NotStarted));
    assert!(dispatcher.cancel(in_flight).is_ok());
    dispatcher.run_to_end().unwrap();
    assert!(dispatcher.cancel(in_flight).is_err());
    drop(dispatcher);
    let mut ends = ends.into_inner();
    ends.sort_by_key(|end| end.0);
    let cancelled = Err(Errno(libc::ECANCELED));
    assert_eq!(ends, [(0, cancelled), (1, cancelled)]);
}

#[test]
fn a_run_whose_time_is_over_runs_what_there_is() {
    let count = Cell::new(0);
    let (reader, _writer) = pipe();
    let mut dispatcher = dispatcher();
    dispatcher.push(Op::read(reader, vec![0; 8]), |_, _| ());
    dispatcher.push(Op::nop(), |_, _| count.set(1));
    let soon = Timeout::After(Duration::from_millis(5));
    assert_eq!(dispatcher.run(2, soon).unwrap(), 1);
    assert_eq!((count.get(), dispatcher.len()), (1, 1));
}
