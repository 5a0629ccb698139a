//! A driver as a task of tokio.

mod common;

use aio2::{Context, Driver, Op, SharedFd};
use common::pipe;
use std::io::Write;
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
