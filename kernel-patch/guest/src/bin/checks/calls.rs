//! What is said of the kernel's calls only: the sizes of their structures,
//! the descriptor, memory that cannot be written, other processes, other users.

use crate::lifecycle::{Child, expect};
use crate::{context, context_with};
use aio2::backend::Wait;
use aio2::error::Errno;
use aio2::{kernel::Kernel, shm, syscall};
use aio2_abi::nr::{IO_CANCEL2, IO_EXEC2, IO_GETEVENTS2, IO_SETUP2, IO_SUBMIT2};
use aio2_abi::op;
use aio2_abi::ring::{ProducerPage, RingFlags};
use aio2_abi::setup::{Setup, SetupFlags};
use aio2_abi::wait::{Cancel, CancelFlags, GetEvents};
use aio2_conformance::child::forked;
use aio2_conformance::context::{Context as Aio2, Event, errno, patience, until};
use aio2_conformance::env::setup;
use aio2_conformance::file::{Busy, Pipe, Slow};
use aio2_conformance::request::{Batch, Request};
use aio2_guest::leftovers::worker_threads;
use anyhow::{Result, ensure};
use libc::{
    E2BIG, EACCES, EAGAIN, EBADF, EFAULT, EINVAL, ENOENT, ENOSYS, EOPNOTSUPP, EXDEV, c_long, c_void,
};
use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use zerocopy::IntoBytes;

const PAGE: usize = 4096;
/// A user without privileges.
const NOBODY: u32 = 65534;

fn fd_of(context: &Aio2) -> RawFd {
    context.backend().as_fd().as_raw_fd()
}

/// A result as an event has it: negated, if it is an errno.
fn result(value: c_long) -> i64 {
    if value >= 0 { value } else { -i64::from(Errno::last().0) }
}

/// A descriptor's flags, or the negated errno.
fn descriptor_flags(fd: RawFd) -> i64 {
    // SAFETY: takes numbers.
    result(unsafe { libc::fcntl(fd, libc::F_GETFD) }.into())
}

/// Bytes that stand behind a known structure count if they are not zero.
pub fn sizes_of_structures_are_checked() -> Result<()> {
    let context = context();
    let fd = fd_of(&context);
    let no_wait = GetEvents::default();
    let probe = Setup { flags: SetupFlags::PROBE.bits(), ..setup() };
    let all = Cancel { flags: CancelFlags::ALL.bits(), ..Cancel::default() };
    let with_fd = |nr: c_long, at: *mut u8, size: usize| {
        // SAFETY: there is a page behind the structure, which no size that is
        // taken goes beyond.
        result(unsafe { libc::syscall(nr, fd, at, size) })
    };
    // SAFETY: as above.
    let setup2 =
        |at: *mut u8, size: usize| result(unsafe { libc::syscall(IO_SETUP2.into(), at, size) });
    let getevents2 = |at, size| with_fd(IO_GETEVENTS2.into(), at, size);
    let cancel2 = |at, size| with_fd(IO_CANCEL2.into(), at, size);
    type Call<'a> = &'a dyn Fn(*mut u8, usize) -> i64;
    let calls: [(&str, &[u8], Call<'_>, i64); 3] = [
        ("io_setup2", probe.as_bytes(), &setup2, 0),
        ("io_getevents2", no_wait.as_bytes(), &getevents2, 0),
        // Nothing is in flight: what it says of a structure that is well.
        ("io_cancel2", all.as_bytes(), &cancel2, -i64::from(ENOENT)),
    ];
    let mut wrong = Vec::new();
    for (name, structure, call, good) in calls {
        let known = structure.len();
        let (small, big) = (-i64::from(EINVAL), -i64::from(E2BIG));
        for (size, not_zero, expected) in [
            (0, None, small),
            (known - 8, None, small),
            (known - 1, None, small),
            (known, None, good),
            (known, Some(known), good),
            (known + 1, None, good),
            (known + 1, Some(known), big),
            (known + 8, Some(known + 8), good),
            (known + 8, Some(known + 7), big),
            (PAGE, None, good),
            (PAGE, Some(PAGE - 1), big),
            (PAGE + 1, None, big),
            (usize::MAX, None, big),
        ] {
            let mut memory = vec![0; 2 * PAGE];
            memory[..known].copy_from_slice(structure);
            if let Some(at) = not_zero {
                memory[at] = 1;
            }
            let before = memory.clone();
            let found = call(memory.as_mut_ptr(), size);
            let changed = expected < 0 && memory != before;
            if found != expected || changed {
                wrong.push(format!(
                    "{name} with {size} bytes, {not_zero:?} not 0: {found} instead of {expected}, \
                     changed: {changed}"
                ));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
}

pub fn descriptor_is_close_on_exec() -> Result<()> {
    let flags = descriptor_flags(fd_of(&context()));
    ensure!(flags == i64::from(libc::FD_CLOEXEC), "F_GETFD: {flags}");
    Ok(())
}

/// Each operation on a descriptor, of the context itself and of another one.
pub fn operations_on_contexts_are_not_supported() -> Result<()> {
    let (own, other) = (context(), context());
    // What close_range names is no file, but a range.
    let closes = ["close", "close_range"];
    let on_descriptor =
        syscall::ALLOWED.iter().filter(|call| call.fd && !closes.contains(&call.name));
    let operations: Vec<(&str, u32, u8)> = on_descriptor
        .map(|call| (call.name, call.nr, call.nr_args))
        .chain([("POLL", op::POLL, 2)])
        .collect();
    let run = |nr: u32, nr_args: u8, fd: u64, is_async: bool| {
        let mut args = vec![0; nr_args.into()];
        args[0] = fd;
        let request = Request::new(nr, &args);
        own.run(if is_async { request.on_worker() } else { request }).res
    };
    let mut wrong = Vec::new();
    for (whose, context) in [("own", &own), ("other", &other)] {
        let fd = fd_of(context) as u64;
        // A descriptor is 32 bits; the calls ignore what stands above.
        for (fd, is_async) in [(fd, false), (fd, true), (fd | 1 << 32, false)] {
            for &(name, nr, nr_args) in &operations {
                let res = run(nr, nr_args, fd, is_async);
                if res != -i64::from(EOPNOTSUPP) {
                    wrong.push(format!("{name} on {fd:#x}, {whose}, async {is_async}: {res}"));
                }
            }
        }
    }
    // That some of them work elsewhere.
    let file = File::open("/proc/self/exe")?;
    for name in ["read", "fsync", "lseek", "flock"] {
        let call = syscall::by_name(name).expect("it is allowed");
        let res = run(call.nr, call.nr_args, file.as_raw_fd() as u64, false);
        ensure!(res != -i64::from(EOPNOTSUPP), "{name} on a file: {res}");
    }
    for context in [&own, &other] {
        // SAFETY: takes a number.
        let copy = unsafe { libc::dup(fd_of(context)) };
        let res = own.run(Request::call(libc::SYS_close, &[copy as u64])).res;
        let left = descriptor_flags(copy);
        if (res, left) != (0, -i64::from(EBADF)) {
            wrong.push(format!("close: {res}, and then fcntl: {left}"));
        }
        ensure!(context.run(Request::nop(1)).res == 0);
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
}

/// A stream whose end lies in a page that can only be read.
struct Stream {
    pages: *mut c_void,
    at: *mut u8,
}

impl Stream {
    /// The iocbs from `index` on lie in that page.
    fn new(batch: &mut Batch, index: usize) -> Self {
        let rw = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let pages = unsafe { libc::mmap(std::ptr::null_mut(), 2 * PAGE, rw, flags, -1, 0) };
        assert_ne!(pages, libc::MAP_FAILED);
        let second = pages.wrapping_byte_add(PAGE);
        let at = second.cast::<u8>().wrapping_sub(batch.offset(index));
        let bytes = batch.bytes();
        // SAFETY: less than a page on both sides of the boundary.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()) };
        // SAFETY: the page is there, and no reference is to it.
        let result = unsafe { libc::mprotect(second, PAGE, libc::PROT_READ) };
        assert_eq!(result, 0);
        Stream { pages, at }
    }

    /// Submits these bytes of it.
    fn submit(&self, context: &Aio2, bytes: Range<usize>) -> i64 {
        let at = self.at.wrapping_add(bytes.start);
        // SAFETY: what the iocbs name outlives the context.
        result(unsafe { libc::syscall(IO_SUBMIT2.into(), fd_of(context), at, bytes.len(), 0) })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and nothing refers to it.
        unsafe { libc::munmap(self.pages, 2 * PAGE) };
    }
}

/// What cannot be told its id is not accepted; what stands before it is run.
pub fn iocb_whose_id_cannot_be_written_is_refused() -> Result<()> {
    let pipe = Pipe::new();
    let context = context_with(Setup { max_requests: 4, ..setup() });
    let write = |user_data| Request::write(pipe.write_fd(), b"x").user_data(user_data);
    let mut batch =
        Batch::of([write(1), write(2).with_id(), write(3), write(4).with_id(), write(5)]);
    let stream = Stream::new(&mut batch, 2);
    let (refused, end) = (batch.offset(3), batch.offset(5));
    let submitted = stream.submit(&context, 0..end);
    ensure!(submitted == refused as i64, "submitted {submitted}, which is to end at {refused}");
    let ends = context.ends(3);
    ensure!(ends == [(1, 1), (2, 1), (3, 1)], "{ends:?}");
    // More often than there is room for requests.
    for n in 0..20 {
        let error = stream.submit(&context, refused..end);
        ensure!(error == -i64::from(EFAULT), "time {n}: {error}");
    }
    context.assert_idle();
    ensure!(pipe.readable_bytes() == 3, "{} writes took effect", pipe.readable_bytes());
    ensure!(context.run(write(6)).res == 1);
    Ok(())
}

/// Events that the other process takes: by copies, and out of the ring.
const COPIED: usize = 1000;
const REAPED: usize = 1000;

/// A child with the descriptor takes what the parent submits meanwhile.
pub fn another_process_reaps_and_does_not_submit() -> Result<()> {
    let slow = Slow::new();
    let context = context_with(Setup { ring_bytes: 4096, ..setup() });
    let child = Child::start(|parent| {
        parent.ready();
        let wait = Wait::events(1).within(patience());
        let mut events: Vec<Event> = Vec::new();
        while events.len() < COPIED {
            let room = 24 * (COPIED - events.len()).min(20);
            events.extend(context.wait_copy(&wait, room).expect("events come"));
        }
        // The parent's mapping is not here.
        let backend = context.backend();
        // SAFETY: it is a context's descriptor.
        let mapped = unsafe { shm::map_context(backend.as_fd(), backend.setup()) };
        let consumer = mapped.expect("a mapping");
        let mut buffer = [0; 64];
        while events.len() < COPIED + REAPED {
            context.wait(&wait).expect("events come");
            let reaped = consumer.reap(&mut buffer, REAPED).expect("the ring is sound");
            events.extend(Event::parse_all(reaped.words().as_bytes()));
        }
        let mut seen: Vec<u64> = events.iter().map(|event| event.user_data).collect();
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..(COPIED + REAPED) as u64), "each event once");

        let mut batch = Batch::of([Request::nop(1)]);
        assert_eq!(errno(context.submit(&mut batch)), Some(EXDEV));
        // SAFETY: a NOP has no arguments.
        let got = unsafe { backend.wait(&Wait::events(0), batch.bytes(), None) };
        assert_eq!(errno(got), Some(EXDEV));
        // A flag that there is not is told before that.
        let iocbs = batch.bytes();
        let unknown = GetEvents {
            flags: 1 << 31,
            iocbs: iocbs.as_ptr().addr() as u64,
            iocb_bytes: iocbs.len() as u32,
            ..GetEvents::default()
        };
        let mut unknown = unknown.as_bytes().to_vec();
        let (fd, size) = (fd_of(&context), unknown.len());
        // SAFETY: a structure of that size, which is written to at most.
        let got =
            result(unsafe { libc::syscall(IO_GETEVENTS2.into(), fd, unknown.as_mut_ptr(), size) });
        assert_eq!(got, -i64::from(EINVAL));
        assert_eq!(errno(context.cancel(CancelFlags::ALL, Cancel::default())), Some(EXDEV));
        0
    })?;
    // In flight while the child tries to cancel it.
    context.submit_all(&mut Batch::of([slow.read().user_data(u64::MAX)]));
    for n in (0..(COPIED + REAPED) as u64).step_by(10) {
        let nops = (n..n + 10).map(Request::nop);
        context
            .submit_all(&mut Batch::of(nops.map(|r| if n % 3 == 0 { r.on_worker() } else { r })));
        if n % 100 == 0 {
            // Lets it sleep.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    expect(child, 0)?;
    context.assert_idle();
    slow.finish();
    ensure!(context.ends(1) == [(u64::MAX, 1)], "it was not cancelled");
    Ok(())
}

/// Changes the effective user of this thread.
fn act_as(user: u32) {
    // SAFETY: takes numbers. The C library's function would change all threads.
    let result = unsafe { libc::syscall(libc::SYS_setresuid, -1, user, -1) };
    assert_eq!(result, 0, "setresuid: {}", std::io::Error::last_os_error());
}

/// Whoever made the worker, and whoever the thread is when the request runs.
pub fn credentials_are_those_of_the_submission() -> Result<()> {
    const SECRET: &str = "/tmp/secret";
    let path = std::ffi::CString::new(SECRET)?;
    std::fs::write(SECRET, "secret")?;
    std::fs::set_permissions(SECRET, std::fs::Permissions::from_mode(0o600))?;
    let open = [libc::AT_FDCWD as u64, path.as_ptr().addr() as u64, 0, 0];
    let open = Request::call(libc::SYS_openat, &open).user_data(2);
    let who = Request::call(libc::SYS_geteuid, &[]).user_data(3).on_worker();
    for maker in [0, NOBODY] {
        for (submitter, later) in [(0, NOBODY), (NOBODY, 0)] {
            let status = forked(|| {
                act_as(maker);
                let context = context_with(Setup { concurrency: 1, ..setup() });
                let mut busy = Busy::new();
                context.submit_all(&mut Batch::of([busy.request()]));
                busy.wait_started();
                act_as(submitter);
                context.submit_all(&mut Batch::of([open.clone(), who.clone()]));
                act_as(later);
                busy.release();
                let ends = context.ends(3);
                assert_eq!(ends[2], (3, submitter.into()));
                match ends[1] {
                    (2, fd) if submitter == 0 => assert!(fd >= 0, "{ends:?}"),
                    end => assert_eq!(end, (2, -i64::from(EACCES))),
                }
                0
            });
            ensure!(status.success(), "worker {maker}, request {submitter}: {status}");
        }
    }
    std::fs::remove_file(SECRET)?;
    Ok(())
}

/// Workers that sleep are replaced, and not by more than may be.
pub fn sleeping_workers_are_replaced_within_the_concurrency() -> Result<()> {
    const CONCURRENCY: usize = 3;
    let slow = Slow::new();
    let context = context_with(Setup { concurrency: CONCURRENCY as u32, ..setup() });
    let sleeper = || slow.read().on_worker().user_data(1);
    let workers = || worker_threads(Some(std::process::id()));
    let others = workers();
    let mine = || workers().iter().filter(|worker| !others.contains(worker)).count();
    context.submit_all(&mut Batch::of((1..CONCURRENCY).map(|_| sleeper())));
    for n in 0..100 {
        let event = context.run(Request::nop(n).on_worker());
        ensure!(event.user_data == n, "one that can run does, beside those that sleep");
    }
    context.submit_all(&mut Batch::of([sleeper()]));
    let more = (0..20).map(|n| Request::nop(n).on_worker());
    context.submit_all(&mut Batch::of(more));
    for _ in 0..200 {
        ensure!(mine() <= CONCURRENCY, "{} workers", mine());
        std::thread::sleep(Duration::from_millis(1));
    }
    ensure!(mine() == CONCURRENCY, "{} workers", mine());
    let early = context.reap_ring(1);
    ensure!(early.is_empty(), "all workers sleep, and one has run {early:?}");
    (0..CONCURRENCY).for_each(|_| slow.finish());
    ensure!(context.reap(CONCURRENCY + 20).len() == CONCURRENCY + 20);
    Ok(())
}

/// Of contexts. Requests are bounded otherwise, which is why the requirement
/// is not claimed.
/// What the producer page of the ring that is mapped at `offset` says of the last
/// tail, the flags, and the next ring.
fn producer_of(context: &Aio2, offset: u64) -> Result<(u32, u32, u64)> {
    let at = offset + u64::from(context.backend().setup().map_producer);
    let (none, fd) = (std::ptr::null_mut(), fd_of(context));
    // SAFETY: a new mapping, which is unmapped below.
    let page =
        unsafe { libc::mmap(none, PAGE, libc::PROT_READ, libc::MAP_SHARED, fd, at as libc::off_t) };
    ensure!(page != libc::MAP_FAILED, "{offset:#x}: {}", std::io::Error::last_os_error());
    // SAFETY: the page has this structure, and nothing writes to it meanwhile: no
    // request is in flight.
    let ProducerPage { tail, flags, next_map, .. } = unsafe { page.cast::<ProducerPage>().read() };
    // SAFETY: it was mapped above, and nothing refers to it.
    ensure!(unsafe { libc::munmap(page, PAGE) } == 0);
    Ok((tail, flags, next_map))
}

pub fn each_ring_stays_mappable_at_its_offset() -> Result<()> {
    let context = context();
    let setup = *context.backend().setup();
    let frozen = RingFlags::FROZEN.bits();
    let mut offsets = vec![setup.map_offset];
    for n in 1..=3_u32 {
        // More in each ring than in the one before, and all of it reaped.
        context.submit_these((0..n).map(|n| Request::nop(n.into())));
        let size = setup.ring_bytes << n;
        ensure!(context.backend().grow(size) == Ok(size));
        ensure!(context.reap(n as usize).len() == n as usize);
        let (_, flags, next) = producer_of(&context, offsets[n as usize - 1])?;
        ensure!(flags & frozen != 0 && !offsets.contains(&next), "{offsets:x?} {next:#x}");
        offsets.push(next);
    }
    let rings = offsets.iter().map(|&offset| producer_of(&context, offset));
    let rings = rings.collect::<Result<Vec<_>>>()?;
    let tails: Vec<u32> = rings.iter().map(|&(tail, ..)| tail / 24).collect();
    ensure!(tails == [1, 2, 3, 0], "{tails:?}");
    let beyond = offsets[3] + (offsets[3] - offsets[2]);
    ensure!(producer_of(&context, beyond).is_err(), "there is no ring at {beyond:#x}");
    Ok(())
}

pub fn requests_of_a_user_are_bounded() -> Result<()> {
    const LIMIT: &str = "/proc/sys/user/max_aio2_requests";
    let status = forked(|| {
        // Limits of its own.
        // SAFETY: takes a number; there is one thread.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWUSER) }, 0);
        std::fs::write(LIMIT, "100").expect(LIMIT);
        let read = || std::fs::read_to_string(LIMIT).expect(LIMIT).trim().parse::<u64>();
        assert_eq!(read(), Ok(100));
        let create = |max_requests| Kernel::new(&Setup { max_requests, ..setup() }, None);
        assert_eq!(errno(create(101)), Some(EAGAIN));
        let first = create(60).expect("within the limit");
        assert_eq!(errno(create(41)), Some(EAGAIN));
        // What was refused has taken nothing.
        let _second = create(40).expect("within the limit");
        assert_eq!(errno(create(1)), Some(EAGAIN));
        drop(first);
        until("the count is given back", || create(60).is_ok());
        0
    });
    ensure!(status.success(), "{status}");
    Ok(())
}

/// A call by the entries of other modes, which a task of 64 bits can take as well.
fn by_compat(number: i32) -> i32 {
    let result: i32;
    // SAFETY: getpid, or a call of which the kernel says that there is none; were it
    // there it would find no structure at these addresses, which are numbers.
    unsafe {
        std::arch::asm!(
            "int 0x80",
            inlateout("eax") number => result,
            in("ecx") 0, in("edx") 0, in("esi") 0, in("edi") 0,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    result
}

pub fn compat_tasks_have_none_of_the_calls() -> Result<()> {
    const X32: i64 = 0x4000_0000;
    const GETPID_OF_32_BITS: i32 = 20;
    let pid = std::process::id();
    ensure!(by_compat(GETPID_OF_32_BITS) as u32 == pid, "there is no compat mode here");
    // SAFETY: takes nothing.
    let by_x32 = unsafe { libc::syscall(X32 | libc::SYS_getpid) };
    ensure!(by_x32 == i64::from(pid), "there is no x32 here");
    for number in IO_SETUP2..=IO_EXEC2 {
        let got = by_compat(number);
        ensure!(got == -ENOSYS, "{number} by int 0x80: {got}");
        // SAFETY: as for by_compat().
        let got = result(unsafe { libc::syscall(X32 | i64::from(number), 0, 0, 0, 0) });
        ensure!(got == -i64::from(ENOSYS), "{number} by x32: {got}");
    }
    Ok(())
}

pub fn contexts_of_a_user_are_bounded() -> Result<()> {
    const LIMIT: &str = "/proc/sys/user/max_aio2_contexts";
    let status = forked(|| {
        // Limits of its own.
        // SAFETY: takes a number; there is one thread.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWUSER) }, 0);
        let read = || std::fs::read_to_string(LIMIT).expect(LIMIT).trim().parse::<u64>();
        assert!(read().is_ok_and(|limit| limit > 2));
        std::fs::write(LIMIT, "2").expect(LIMIT);
        assert_eq!(read(), Ok(2));
        let create = || Kernel::new(&setup(), None);
        let kept = [create(), create()].map(|context| context.expect("within the limit"));
        assert_eq!(errno(create()), Some(EAGAIN));
        let [first, _second] = kept;
        drop(first);
        until("the count is given back", || create().is_ok());
        0
    });
    ensure!(status.success(), "{status}");
    Ok(())
}
