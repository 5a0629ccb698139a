//! Memory that runs out, and memory of the application that is not there, at
//! each place of a call in turn: the kernel's fault injection makes the n-th
//! allocation or copy of a thread fail.

use crate::{Skip, context};
use aio2::backend::Wait;
use aio2::error::Errno;
use aio2_abi::attr;
use aio2_abi::wait::{Cancel, CancelFlags};
use aio2_conformance::backends::Running;
use aio2_conformance::context::Event;
use aio2_conformance::env::{Factory, setup};
use aio2_conformance::file::Pipe;
use aio2_conformance::request::{Batch, Request};
use aio2_guest::FILES;
use aio2_guest::leftovers::{Inventory, ensure_nothing_since};
use anyhow::{Context, Result, ensure};
use libc::{EAGAIN, EFAULT, ENOMEM};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;

/// Which of its fallible steps fails in a thread. proc(5): fail-nth.
const NTH: &str = "/proc/thread-self/fail-nth";
/// More steps than any call here has.
const STEPS: u32 = 5000;

/// Has allocations that may sleep fail too, and the log kept clean.
fn prepare() -> Result<()> {
    if !fs::exists(NTH)? {
        return Err(Skip(String::from("this kernel has no fault injection")).into());
    }
    for (file, value) in [
        ("failslab/ignore-gfp-wait", "N"),
        ("failslab/verbose", "0"),
        ("fail_page_alloc/ignore-gfp-wait", "N"),
        ("fail_page_alloc/min-order", "0"),
        ("fail_page_alloc/verbose", "0"),
        ("fail_usercopy/verbose", "0"),
    ] {
        let path = format!("/sys/kernel/debug/{file}");
        fs::write(&path, value).context(path)?;
    }
    Ok(())
}

/// Runs `call` while its step number `nth` fails; whether it has so many.
fn failing<T>(nth: u32, call: impl FnOnce() -> T) -> Result<(T, bool)> {
    let mut file = File::options().read(true).write(true).open(NTH)?;
    let mut left = [0; 1];
    file.write_all(nth.to_string().as_bytes())?;
    let value = call();
    // 0: it has failed. Reading it is a step of its own, which may fail.
    let hit = file.read(&mut left).is_ok() && left == *b"0";
    let _ = file.write(b"0");
    Ok((value, hit))
}

/// Runs `round` with each step of its call failing, until there is none; how
/// many there were.
fn each_step(name: &str, mut round: impl FnMut(u32) -> Result<bool>) -> Result<()> {
    for nth in 1..STEPS {
        if !round(nth).with_context(|| format!("{name}, step {nth}"))? {
            ensure!(nth > 1, "{name}: nothing has failed");
            println!("  {name}: {} steps", nth - 1);
            return Ok(());
        }
    }
    anyhow::bail!("{name}: no end after {STEPS} steps")
}

fn ensure_errno<T>(result: &Result<T, Errno>, allowed: &[i32]) -> Result<()> {
    let errno = result.as_ref().err().map_or(0, |errno| errno.0);
    ensure!(errno == 0 || allowed.contains(&errno), "errno {errno}");
    Ok(())
}

/// As many events as there are requests, one for each.
fn ensure_one_each(mut events: Vec<Event>, count: usize) -> Result<()> {
    events.sort_by_key(|event| event.user_data);
    let found: Vec<u64> = events.iter().map(|event| event.user_data).collect();
    ensure!(found.iter().copied().eq(0..count as u64), "{count} requests, events of {found:?}");
    Ok(())
}

fn setup_fails_whole() -> Result<()> {
    each_step("io_setup2", |nth| {
        let (made, hit) = failing(nth, || Running.create(&setup()))?;
        ensure_errno(&made, &[ENOMEM, EAGAIN, EFAULT])?;
        Ok(hit)
    })
}

/// What is accepted ends, what is not leaves nothing.
fn submissions_end() -> Result<()> {
    let file = File::open(format!("{FILES}/faults"))?;
    let fd = file.as_raw_fd();
    let name = c"/dev/null";
    let open = [libc::AT_FDCWD as u64, name.as_ptr().addr() as u64, 0, 0];
    let mut buffer = [0; 16];
    let vectors: Vec<[u64; 2]> = vec![[buffer.as_mut_ptr().addr() as u64, 1]; 16];
    let vector = [fd as u64, vectors.as_ptr().addr() as u64, 16, 0, 0];
    let all = [attr::TIMING, attr::PATH, attr::TAG, attr::CACHE, attr::CHECKSUM, 40, 41, 42];
    let tell_all = |request| all.into_iter().fold(request, Request::returns);
    each_step("io_submit2", |nth| {
        let context = context();
        let requests = [
            Request::nop(0),
            tell_all(Request::pread(fd, &mut buffer, 0)),
            Request::call(libc::SYS_preadv, &vector),
            Request::nop(0).on_worker(),
            Request::call(libc::SYS_openat, &open),
            tell_all(Request::nop(0)),
        ];
        let numbered = requests.into_iter().zip(0..).map(|(r, n)| r.user_data(n).with_id());
        let mut batch = Batch::of(numbered);
        let (accepted, hit) = failing(nth, || context.submit(&mut batch))?;
        ensure_errno(&accepted, &[EAGAIN, EFAULT])?;
        let bytes = accepted.unwrap_or(0);
        let count = (0..=batch.len()).find(|n| batch.offset(*n) == bytes);
        let count = count.with_context(|| format!("{bytes} bytes are no requests"))?;
        let events = context.reap(count);
        for event in events.iter().filter(|event| event.user_data == 4 && event.res >= 0) {
            // SAFETY: the request opened it, and nobody else has it.
            unsafe { libc::close(event.res as i32) };
        }
        ensure_one_each(events, count)?;
        context.assert_idle();
        Ok(hit)
    })
}

/// What cannot be copied is there the next time.
fn waits_lose_nothing() -> Result<()> {
    each_step("io_getevents2", |nth| {
        let context = context();
        context.submit_all(&mut Batch::of((0..5).map(Request::nop)));
        let (got, hit) = failing(nth, || context.wait_copy(&Wait::events(5), 4096))?;
        ensure_errno(&got, &[EFAULT, ENOMEM])?;
        let mut events = got.unwrap_or_default();
        events.extend(context.reap_ring(5));
        ensure_one_each(events, 5)?;
        Ok(hit)
    })
}

fn cancels_leave_what_they_do_not_find() -> Result<()> {
    let pipe = Pipe::new();
    let mut buffer = [0; 1];
    each_step("io_cancel2", |nth| {
        let context = context();
        context
            .submit_all(&mut Batch::of([Request::read(pipe.read_fd(), &mut buffer).user_data(0)]));
        let cancel = || context.cancel(CancelFlags::ALL, Cancel::default());
        let (matches, hit) = failing(nth, cancel)?;
        ensure_errno(&matches, &[EFAULT, EAGAIN, ENOMEM])?;
        let _ = cancel();
        ensure_one_each(context.reap(1), 1)?;
        Ok(hit)
    })
}

fn calls_of_one_request_fail_whole() -> Result<()> {
    let file = File::open(format!("{FILES}/faults"))?;
    let mut buffer = [0; 16];
    let context = context();
    each_step("io_exec2", |nth| {
        let request = Request::pread(file.as_raw_fd(), &mut buffer, 0).returns(attr::TIMING);
        let (mut iocb, mut event) = (Batch::of([request]), [0; 256]);
        // SAFETY: what the iocb names lives longer than the call.
        let run = || unsafe { context.backend().exec(iocb.bytes(), &mut event) };
        let (bytes, hit) = failing(nth, run)?;
        ensure_errno(&bytes, &[EFAULT, EAGAIN, ENOMEM])?;
        Ok(hit)
    })
}

pub fn each_step_can_fail() -> Result<()> {
    prepare()?;
    fs::write(format!("{FILES}/faults"), [7; 64])?;
    // Once before, so that what is kept for the next time is there.
    context().run(Request::nop(0).on_worker());
    let before = Inventory::take()?;
    setup_fails_whole()?;
    submissions_end()?;
    waits_lose_nothing()?;
    cancels_leave_what_they_do_not_find()?;
    calls_of_one_request_fail_whole()?;
    ensure_nothing_since(&before)
}
