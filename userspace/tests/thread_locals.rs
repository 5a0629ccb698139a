//! A program whose thread-local variables do not fit into a worker's stack.

use aio2::{Context, Op, Prefer, Queue, Timeout};
use std::cell::Cell;

thread_local! {
    static LARGE: [Cell<u8>; 1 << 20] = const { [const { Cell::new(0) }; 1 << 20] };
}

/// SPEC: R-RUN-1
#[test]
fn a_worker_has_room_for_thread_local_variables() {
    LARGE.with(|large| large.iter().for_each(|byte| byte.set(1)));
    let context = Context::builder().prefer(Prefer::Engine).build().unwrap();
    let mut queue: Queue<Vec<u8>, ()> = Queue::new(context);
    queue.push(Op::nop().not_inline(), ());
    let done = queue.wait(1, Timeout::Forever).unwrap().next().expect("it ends");
    assert_eq!(done.result, Ok(0));
    // Without a worker, who waits would have run it.
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let mut names = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")));
    assert!(names.any(|name| name.is_ok_and(|name| name == "aio2-wrk\n")), "there is no worker");
}
