//! The end of a context, of a thread, of a process. SPEC: section 11.

use crate::child;
use crate::context::{Context, Event, errno, patience, until};
use crate::env::{Env, Factory, Outcome, setup};
use crate::file::{
    BUSY_BYTES, Busy, Pipe, file_with, gettid, proc_self, socket_pair, thread_state,
};
use crate::request::{Batch, Request};
use aio2::backend::Wait;
use aio2_abi::setup::Features;
use aio2_abi::setup::Setup;
use aio2_abi::wait::{Cancel, CancelFlags};
use libc::{ECANCELED, ETIME, EXDEV};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

pub(crate) fn closing_cancels_what_waits_and_the_ring_stays_with_dead_set(
    env: &Env<'_>,
) -> Outcome {
    let (path, _file) = file_with(env, "survivor", b"kept");
    let name = std::ffi::CString::new(path.to_str().expect("text")).expect("no zero byte");
    let context = env.one_worker();
    let consumer = context.backend().consumer();
    let mut busy = Busy::new();
    let args = [libc::AT_FDCWD as u64, name.as_ptr().addr() as u64, 0];
    let unlink = Request::call(libc::SYS_unlinkat, &args);
    context.submit_all(&mut Batch::of([
        busy.request().user_data(1),
        unlink.clone().user_data(2),
        unlink.user_data(3),
    ]));
    busy.wait_started();
    assert!(!consumer.is_dead());
    let closer = gettid();
    let interrupts = context.backend().setup().features().contains(Features::INTERRUPT);
    std::thread::scope(|scope| {
        if interrupts {
            return drop(context);
        }
        scope.spawn(|| {
            // Teardown waits for what runs: by then it has cancelled the rest.
            let mut asleep = 0;
            until("the teardown sleeps", || {
                asleep = if thread_state(closer) == Some('S') { asleep + 1 } else { 0 };
                asleep > 20
            });
            busy.release();
        });
        drop(context);
    });
    assert!(consumer.is_dead());
    assert!(path.exists(), "what had not started was not run");
    let mut buffer = vec![0; 1 << 13];
    let events = consumer.reap(&mut buffer, 100).expect("the ring is sound");
    let mut events = Event::parse_all(events.words().as_bytes());
    events.sort_by_key(|e| e.user_data);
    let results: Vec<(u64, i64)> = events.iter().map(|e| (e.user_data, e.res)).collect();
    let cancelled = -i64::from(ECANCELED);
    // What was interrupted has moved what the socket holds.
    let all = BUSY_BYTES as i64;
    let moved = results[0].1;
    assert!(if interrupts { (1..all).contains(&moved) } else { moved == all }, "{moved}");
    assert_eq!(results, [(1, moved), (2, cancelled), (3, cancelled)]);
    Ok(())
}

pub(crate) fn teardown_returns_when_nothing_runs_any_more(env: &Env<'_>) -> Outcome {
    for _ in 0..20 {
        let context = env.one_worker();
        let mut buffer = vec![1_u8; 4096];
        let (_, file) = file_with(env, "runs", &[2; 4096]);
        let reads = (0..50).map(|_| Request::pread(file.as_raw_fd(), &mut buffer, 0).on_worker());
        context.submit_all(&mut Batch::of(reads));
        drop(context);
        // The buffer is the test's own again: whoever wrote to it now would be
        // caught.
        buffer.fill(9);
        std::thread::yield_now();
        assert!(buffer.iter().all(|b| *b == 9));
    }
    Ok(())
}

/// Descriptors, mappings and threads of this process.
fn belongings() -> (usize, usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    // Those of allocators and stacks come and go.
    let rings = maps.lines().filter(|line| line.contains("aio2")).count();
    (proc_self("fd").len(), rings, proc_self("task").len())
}

pub(crate) fn teardown_leaves_nothing(env: &Env<'_>) -> Outcome {
    let use_it = |n: u64| {
        let context = env.context_with(Setup { concurrency: 3, ring_bytes: 4096, ..setup() });
        let pipe = Pipe::new();
        let mut buffers = [[0; 1]; 3];
        for buffer in &mut buffers {
            context.submit_all(&mut Batch::of([Request::read(pipe.read_fd(), buffer)]));
        }
        context.submit_all(&mut Batch::of((0..n).map(Request::nop)));
        drop(pipe);
        // Some is reaped, some is not.
        assert_eq!(context.reap(n as usize / 2).len(), n as usize / 2);
    };
    let threads = belongings().2;
    // A thread that was joined, or that the kernel ends, is in /proc a moment
    // longer.
    let settled = || {
        until("threads leave", || belongings().2 <= threads);
        belongings()
    };
    use_it(10);
    let before = settled();
    (0..30).for_each(|n| use_it(n * 11));
    assert_eq!(settled(), before, "descriptors, mappings of rings, threads");
    Ok(())
}

pub(crate) fn calls_in_a_child_after_fork_give_exdev(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let mut pipe = Pipe::new();
    let mut byte = [0];
    context.submit_all(&mut Batch::of([Request::read(pipe.read_fd(), &mut byte).user_data(1)]));
    let mut nop = Batch::of([Request::nop(2)]);
    let mut event = [0; 64];
    // The kernel lets another process reap (R-LIFE-7), so a wait there waits.
    let in_process = context.backend().setup().features().contains(Features::IN_PROCESS);
    let waits = if in_process { EXDEV } else { ETIME };
    for (name, call) in [("submit", 0), ("wait", 1), ("cancel", 2), ("wait and submit", 3)] {
        let status = child::forked(|| {
            let result = match call {
                0 => errno(context.submit(&mut nop)),
                1 => errno(context.wait(&Wait::events(1).within(Duration::from_millis(1)))),
                2 => {
                    let flags = CancelFlags::ALL.bits();
                    let mut all = Cancel { flags, ..Cancel::default() };
                    errno(context.backend().cancel(&mut all))
                }
                _ => {
                    let wait = Wait::events(1).within(patience());
                    // SAFETY: a NOP has no arguments.
                    errno(unsafe { context.backend().wait(&wait, nop.bytes(), Some(&mut event)) })
                }
            };
            result.unwrap_or(0)
        });
        let expected = if call == 1 { waits } else { EXDEV };
        assert_eq!(status.code(), Some(expected), "{name}");
    }
    // The parent has all of it still.
    pipe.writer.write_all(&[1]).expect("the pipe has room");
    let event = context.reap(1).remove(0);
    assert_eq!((event.user_data, event.res), (1, 1));
    assert_eq!(context.run(Request::nop(3)).user_data, 3);
    Ok(())
}

pub(crate) fn drop_in_a_child_does_not_harm_the_parent(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let mut pipe = Pipe::new();
    let mut byte = [0];
    context.submit_all(&mut Batch::of([Request::read(pipe.read_fd(), &mut byte).user_data(1)]));
    let mut context = Some(context);
    let status = child::forked(|| {
        drop(context.take());
        7
    });
    assert_eq!(status.code(), Some(7), "it does not hang there");
    let context = context.expect("the parent has it still");
    pipe.writer.write_all(&[1]).expect("the pipe has room");
    assert_eq!(context.reap(1)[0].res, 1);
    Ok(())
}

/// A pipe that is leaked, so that its read sleeps as long as the process lives.
fn with_requests_in_flight(factory: &dyn Factory) -> Context {
    let context = Context::new(factory.create(&setup()).expect("a context can be created"));
    let pipe: &'static Pipe = Box::leak(Box::default());
    let buffer: &'static mut [u8; 1] = Box::leak(Box::new([0]));
    let word: &'static u32 = Box::leak(Box::new(0));
    let futex = [(&raw const *word).addr() as u64, libc::FUTEX_WAIT as u64, 0, 0, 0, 0];
    context.submit_all(&mut Batch::of([
        Request::read(pipe.read_fd(), buffer),
        Request::call(libc::SYS_futex, &futex),
        Request::nop(1).on_worker(),
    ]));
    assert_eq!(context.reap(1).len(), 1);
    context
}

/// Child: exits while its requests sleep.
pub(crate) fn exits_with_requests_in_flight(factory: &dyn Factory) -> i32 {
    std::mem::forget(with_requests_in_flight(factory));
    23
}

/// Child: becomes another program while its requests sleep.
pub(crate) fn execs_with_requests_in_flight(factory: &dyn Factory) -> i32 {
    std::mem::forget(with_requests_in_flight(factory));
    let again = child::command(factory, "exits_with_requests_in_flight");
    let program = std::ffi::CString::new(again.get_program().as_encoded_bytes());
    let program = program.expect("no zero byte");
    for (name, value) in again.get_envs() {
        // SAFETY: no other thread of this process reads the environment.
        unsafe { std::env::set_var(name, value.unwrap_or_default()) };
    }
    let args = [program.as_ptr(), std::ptr::null()];
    // SAFETY: the program's name, and a list that ends with null.
    unsafe { libc::execv(program.as_ptr(), args.as_ptr()) };
    1
}

pub(crate) fn exit_and_exec_end_every_request(env: &Env<'_>) -> Outcome {
    for role in ["exits_with_requests_in_flight", "execs_with_requests_in_flight"] {
        let mut child = child::command(env.factory, role).spawn().expect("the child runs");
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("it is our child") {
                break status;
            }
            if start.elapsed() > patience() {
                child.kill().expect("it is our child");
                panic!("{role}: it does not end");
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        assert_eq!((status.code(), status.signal()), (Some(23), None), "{role}");
    }
    Ok(())
}

pub(crate) fn request_outlives_the_thread_that_submitted_it(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let mut pipe = Pipe::new();
    let mut byte = [0];
    std::thread::scope(|scope| {
        let mut batch = Batch::of([
            Request::read(pipe.read_fd(), &mut byte).user_data(1),
            Request::nop(2).on_worker(),
        ]);
        let context = &context;
        scope.spawn(move || context.submit_all(&mut batch)).join().expect("the thread ends");
    });
    assert_eq!(context.reap(1)[0].user_data, 2);
    pipe.writer.write_all(&[1]).expect("the pipe has room");
    let event = context.reap(1).remove(0);
    assert_eq!((event.user_data, event.res), (1, 1));
    Ok(())
}

/// Child: has calls in flight that a stop interrupts, tells when they sleep,
/// and prints their results.
pub(crate) fn waits_while_it_is_stopped(factory: &dyn Factory) -> i32 {
    let threads = proc_self("task").len();
    let setup = Setup { concurrency: 8, ..setup() };
    let context = Context::new(factory.create(&setup).expect("a context can be created"));
    let pipes = [Pipe::new(), Pipe::new(), Pipe::new()];
    let (left, right) = socket_pair(libc::SOCK_STREAM);
    // SAFETY: takes a number.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    let mut interest = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
    // SAFETY: `interest` can be read.
    let added = unsafe {
        libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, pipes[1].read_fd(), &raw mut interest)
    };
    assert_eq!(added, 0);
    let mut events = [interest; 1];
    let mut poll = libc::pollfd { fd: pipes[2].read_fd(), events: libc::POLLIN, revents: 0 };
    let (mut a, mut b) = ([0; 4], [0; 4]);
    let word = 0_u32;
    let address = |pointer: *const u8| pointer.addr() as u64;
    let recv = [left.as_raw_fd() as u64, address(b.as_mut_ptr()), 4, 0, 0, 0];
    let futex = [(&raw const word).addr() as u64, libc::FUTEX_WAIT as u64, 0, 0, 0, 0];
    context.submit_all(&mut Batch::of([
        Request::read(pipes[0].read_fd(), &mut a).user_data(1),
        Request::call(
            libc::SYS_epoll_wait,
            &[epoll as u64, address(events.as_mut_ptr().cast()), 1, u64::MAX],
        )
        .user_data(2),
        Request::call(libc::SYS_poll, &[(&raw mut poll).addr() as u64, 1, u64::MAX]).user_data(3),
        Request::call(libc::SYS_recvfrom, &recv).user_data(4),
        Request::call(libc::SYS_futex, &futex).user_data(5),
    ]));
    // The engine has one thread for the files that three of them wait for; in the kernel
    // two of them wait without a thread, and one is kept for them, at least.
    let in_process = context.backend().setup().features().contains(Features::IN_PROCESS);
    let sleepers = if in_process { 3 } else { 4 };
    until("they sleep", || {
        let tids = proc_self("task");
        tids.len() >= threads + sleepers
            && tids.iter().filter(|t| thread_state(t.parse().unwrap_or(0)) == Some('S')).count()
                >= sleepers
    });
    println!("asleep");
    let mut line = [0];
    std::io::stdin().read_exact(&mut line).expect("the parent goes on");
    assert_eq!(context.reap_ring(9), []);
    for pipe in &pipes {
        (&pipe.writer).write_all(b"x").expect("the pipe has room");
    }
    std::fs::File::from(right).write_all(b"xy").expect("the socket has room");
    let wake = [(&raw const word).addr() as u64, libc::FUTEX_WAKE as u64, 1, 0, 0, 0];
    // It may not wait yet, since it was interrupted and begins again.
    until("the futex is woken", || {
        context.submit_all(&mut Batch::of([Request::call(libc::SYS_futex, &wake).user_data(6)]));
        let mut woken = 0;
        while woken == 0 {
            for event in context.reap(1) {
                if event.user_data == 6 {
                    woken = 1 + event.res;
                } else {
                    println!("{} {}", event.user_data, event.res);
                }
            }
        }
        woken == 2
    });
    // SAFETY: opened above and not used any more.
    unsafe { libc::close(epoll) };
    while context.wait(&Wait::events(1).within(Duration::from_millis(200))).is_ok() {
        for event in context.reap_ring(9) {
            println!("{} {}", event.user_data, event.res);
        }
    }
    0
}

pub(crate) fn stopping_the_process_does_not_change_a_result(env: &Env<'_>) -> Outcome {
    let mut child = child::command(env.factory, "waits_while_it_is_stopped")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child runs");
    let mut input = child.stdin.take().expect("a pipe");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let asleep = lines.next().and_then(Result::ok);
    assert_eq!(asleep.as_deref(), Some("asleep"));
    let pid = child.id() as i32;
    for _ in 0..10 {
        // SAFETY: takes numbers; it is our child, not waited for yet.
        unsafe { libc::kill(pid, libc::SIGSTOP) };
        until("it is stopped", || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        });
        // SAFETY: as above.
        unsafe { libc::kill(pid, libc::SIGCONT) };
        std::thread::sleep(Duration::from_millis(2));
    }
    input.write_all(b"\n").expect("the child reads");
    let mut results: Vec<String> = lines.map_while(Result::ok).collect();
    results.sort_unstable();
    assert_eq!(results, ["1 1", "2 1", "3 1", "4 2", "5 0"]);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    Ok(())
}
