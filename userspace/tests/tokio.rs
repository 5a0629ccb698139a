//! A driver as a task of tokio.

mod common;

use aio2::{After, Context, Driver, Errno, Op, SharedFd};
use aio2_abi::setup::Setup;
use common::{Stingy, pipe};
use std::io::Write;
use std::sync::atomic::Ordering::Relaxed;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

fn runtimes() -> [Runtime; 2] {
    let one = Builder::new_current_thread().enable_io().build().unwrap();
    let several = Builder::new_multi_thread().worker_threads(2).enable_io().build().unwrap();
    [one, several]
}

#[test]
fn tasks_await_operations_of_a_driver_that_is_a_task() {
    for runtime in runtimes() {
        runtime.block_on(async {
            let driver = Driver::new(Context::builder().max_requests(2).build().unwrap()).unwrap();
            let handle = driver.handle();
            let driving = tokio::spawn(driver.drive());
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&(0..200).collect::<Vec<u8>>()).unwrap();
            let file = SharedFd::new(file);
            let mut tasks = JoinSet::new();
            for n in 0..200 {
                let (handle, file) = (handle.clone(), file.clone());
                tasks.spawn(async move {
                    let op = Op::read_at(&file, vec![0], n);
                    let op = if n % 2 == 0 { op.not_inline() } else { op };
                    assert_eq!(handle.run(op).await.into_buffer().unwrap(), [n as u8]);
                });
            }
            while let Some(task) = tasks.join_next().await {
                task.unwrap();
            }
            driving.abort();
        });
    }
}

#[test]
fn a_task_waits_for_another_by_a_pipe() {
    for runtime in runtimes() {
        runtime.block_on(async {
            let driver = Driver::new(Context::new().unwrap()).unwrap();
            let handle = driver.handle();
            let driving = tokio::spawn(driver.drive());
            let (reading, writing) = pipe();
            let reader = {
                let handle = handle.clone();
                tokio::spawn(async move { handle.run(Op::read(reading, vec![0; 4])).await })
            };
            let done = handle.run(Op::write(writing, b"ping".to_vec())).await;
            assert_eq!(done.result, Ok(4));
            assert_eq!(reader.await.unwrap().into_buffer().unwrap(), b"ping");
            driving.abort();
        });
    }
}

/// What tasks start in one turn goes in one call.
#[test]
fn tasks_of_one_turn_are_submitted_together() {
    let runtime = Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(async {
        let engine = Stingy::elsewhere(&Setup::default(), || usize::MAX);
        let driver: Driver<Vec<u8>> = Driver::new(engine.context()).unwrap();
        let handle = driver.handle();
        let driving = tokio::spawn(driver.drive());
        tokio::task::yield_now().await;
        for _ in 0..10 {
            engine.calls();
            let mut tasks = JoinSet::new();
            for _ in 0..100 {
                let handle = handle.clone();
                tasks.spawn(async move { handle.run(Op::nop()).await.result });
            }
            while let Some(task) = tasks.join_next().await {
                assert_eq!(task.unwrap(), Ok(0));
            }
            assert_eq!(engine.calls().0, 1, "for 100 operations");
        }
        driving.abort();
    });
}

/// SPEC: R-AFTER-1
#[test]
fn a_sync_follows_its_write_also_if_tasks_run_in_between() {
    for runtime in runtimes() {
        runtime.block_on(async {
            let driver = Driver::new(Context::builder().max_requests(3).build().unwrap()).unwrap();
            let handle = driver.handle();
            let driving = tokio::spawn(driver.drive());
            let file: SharedFd = tempfile::tempfile().unwrap().into();
            let mut tasks = JoinSet::new();
            for n in 0..100 {
                let (handle, file) = (handle.clone(), file.clone());
                tasks.spawn(async move {
                    let write = Op::write_at(&file, vec![1; 10], 10 * n).full().not_inline();
                    let write = handle.run(write);
                    tokio::task::yield_now().await;
                    let sync = handle.run(Op::fdatasync(&file).after(&write));
                    let other = handle.run(Op::nop().after(After::Previous(1)));
                    [write.await.result, sync.await.result, other.await.result]
                });
            }
            while let Some(task) = tasks.join_next().await {
                assert_eq!(task.unwrap(), [Ok(10), Ok(0), Ok(0)]);
            }
            driving.abort();
        });
    }
}

#[test]
fn futures_end_when_the_task_of_their_driver_is_aborted() {
    for runtime in runtimes() {
        runtime.block_on(async {
            let driver = Driver::new(Context::new().unwrap()).unwrap();
            let handle = driver.handle();
            let driving = tokio::spawn(driver.drive());
            let (reading, _writing) = pipe();
            let read = handle.run(Op::read(reading, vec![0; 4]));
            driving.abort();
            assert!(driving.await.unwrap_err().is_cancelled());
            let cancelled = Err(Errno(libc::ECANCELED));
            assert_eq!(read.await.result, cancelled);
            assert_eq!(handle.run(Op::nop()).await.result, cancelled);
        });
    }
}

/// What cannot be interrupted is waited for by a task, and no thread.
#[test]
fn a_driver_that_is_closed_ends_without_holding_up_other_tasks() {
    let runtime = Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(async {
        let engine = Stingy::elsewhere(&Setup::default(), || usize::MAX);
        let driver = Driver::new(engine.context()).unwrap();
        let handle = driver.handle();
        let driving = tokio::spawn(driver.drive());
        let (reading, writing) = pipe();
        let read = handle.run(Op::read(reading, vec![0; 4]));
        tokio::task::yield_now().await;
        engine.is_deaf.store(true, Relaxed);
        handle.close().unwrap();
        // It never begins, though another request is in flight.
        let late = handle.run(Op::nop()).await;
        assert_eq!((late.result, late.never_began()), (Err(Errno(libc::ECANCELED)), true));
        let other = tokio::spawn(async move {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            std::fs::File::from(writing).write_all(b"last")
        });
        assert!(driving.await.unwrap().is_ok(), "it was closed");
        assert!(other.is_finished(), "before the driver");
        assert_eq!(read.await.into_buffer().unwrap(), b"last");
    });
}

#[test]
fn what_can_be_cancelled_ends_when_the_driver_is_closed() {
    for runtime in runtimes() {
        runtime.block_on(async {
            let driver = Driver::new(Context::new().unwrap()).unwrap();
            let handle = driver.handle();
            let driving = tokio::spawn(driver.drive());
            let (reading, _writing) = pipe();
            let read = handle.run(Op::read(reading, vec![0; 4]));
            let sleep = handle.sleep(std::time::Duration::from_secs(1000));
            tokio::task::yield_now().await;
            handle.close().unwrap();
            driving.await.unwrap().unwrap();
            let cancelled = Err(Errno(libc::ECANCELED));
            assert_eq!((read.await.result, sleep.await), (cancelled, Err(Errno(libc::ECANCELED))));
        });
    }
}

/// A driver for each worker of the runtime, each over a context of its own.
#[test]
fn several_drivers_run_in_one_runtime() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_io().build().unwrap();
    runtime.block_on(async {
        let mut handles = Vec::new();
        let mut driving = JoinSet::new();
        for _ in 0..4 {
            let driver = Driver::new(Context::new().unwrap()).unwrap();
            handles.push(driver.handle());
            driving.spawn(driver.drive());
        }
        let mut tasks = JoinSet::new();
        for n in 0..400 {
            let handle = handles[n % 4].clone();
            let (reading, writing) = pipe();
            tasks.spawn(async move {
                let read = handle.run(Op::read(reading, vec![0; 1]));
                assert_eq!(handle.run(Op::write(writing, vec![n as u8])).await.result, Ok(1));
                assert_eq!(read.await.into_buffer().unwrap(), [n as u8]);
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
        driving.abort_all();
    });
}
