//! Running a request: the ladder's rungs, and what is measured on them.
//!
//! [`try_inline`] never sleeps and says when it would have to; [`run_blocking`]
//! goes on from there, in a worker or in the caller of exec. Both work on a
//! [`Progress`], so that nothing is moved twice. What is told of it afterwards
//! is [`outcome`]'s business; where a request runs and when its event is
//! published is decided by those that call this.
//!
//! | room | duty |
//! |---|---|
//! | `cached` | calls on names and descriptors that memory answers |
//! | `ready` | whether a file is ready, for POLL |
//! | `sure` | whether what was tried is what the plain call would give |
//! | `outcome` | what is measured |
//! | `event` | what is told |
//!
//! SPEC: sections 6.4 (running), 8 (PRIORITY).

mod cached;
pub(crate) mod event;
pub(crate) mod outcome;
pub(crate) mod ready;
pub(crate) mod sure;

use crate::engine::host::file;
use crate::engine::host::seat::Seat;
use crate::engine::request::operation::Operation;
use crate::engine::request::progress::Progress;
use crate::engine::request::transfer::Transfer;
use crate::engine::request::{Request, call};
use crate::os::clock;
use crate::syscall::{self, Class, number};
use aio2_abi::attr;
use aio2_abi::iocb::IocbFlags;
use libc::{EAGAIN, EINTR, ENODATA, EOPNOTSUPP, c_long};
use outcome::Outcome;
use std::time::{Duration, Instant};
use sure::{Facts, Verdict};

/// A request with this user data panics in its worker.
#[cfg(test)]
pub(crate) const PANICS: u64 = 0xdead;

/// Who runs a request, which tells what a signal does to it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Runner<'a> {
    /// A worker, which lets no signal through but the one that tells it to
    /// stop: what else interrupts it is a stop of the process, which must not
    /// change a result (R-LIFE-8).
    Worker(&'a Seat),
    /// The caller of exec.
    Caller,
}

/// Whether the request has to be run by a worker from the start.
#[inline]
pub(crate) fn needs_worker(request: &Request) -> bool {
    match request.operation {
        // POLL and GROUP run nothing. SPEC: R-RUN-2
        Operation::Refused(_) | Operation::Poll | Operation::Group => false,
        _ if request.flags.contains(IocbFlags::ASYNC) => true,
        _ => request.plan.as_ref().is_some_and(|plan| {
            // Dropping what was written begins to write it back.
            plan.ioprio().is_some()
                || plan.drops_behind() && request.operation.class() == Some(Class::Write)
        }),
    }
}

/// Runs the request as far as that goes without sleeping; the result, or none
/// if it has to wait.
#[inline(always)] // see `try_transfer`
pub(crate) fn try_inline(
    request: &Request,
    progress: &mut Progress,
    facts: &mut Facts,
) -> Option<i64> {
    progress.started = progress.submitted;
    match request.operation {
        Operation::Nop => Some(0),
        Operation::Refused(errno) => Some(-i64::from(errno)),
        Operation::Poll if request.is_multishot() => None,
        Operation::Poll => ready::look(request),
        Operation::Group => None,
        Operation::Syscall(Class::Inline) => Some(request.call.run()),
        Operation::Syscall(Class::Worker) => cached::run(request),
        Operation::Syscall(class) => {
            let transfer = Transfer::new(&request.call, class)?;
            if facts.may_try(&transfer) {
                try_transfer(request, &transfer, progress, facts)
            } else {
                None
            }
        }
    }
}

/// Tries a transfer without sleeping. What is most frequent, all bytes at once
/// from the page cache, returns through no other frame: each return after a
/// syscall is mispredicted.
#[inline(always)]
fn try_transfer(
    request: &Request,
    transfer: &Transfer<'_>,
    progress: &mut Progress,
    facts: &mut Facts,
) -> Option<i64> {
    progress.tried = true;
    progress.tells_hits =
        request.measures(attr::CACHE) && transfer.is_read && facts.is_cached(transfer.fd());
    let moved = transfer.try_first();
    if transfer.is_whole(moved) {
        progress.done = moved as u64;
        progress.hit = moved as u64;
        return Some(moved);
    }
    try_further(request, transfer, progress, moved)
}

/// Goes on after a first try that has `moved` so many bytes, or an errno.
#[inline(never)]
fn try_further(
    request: &Request,
    transfer: &Transfer<'_>,
    progress: &mut Progress,
    mut moved: i64,
) -> Option<i64> {
    let full = request.is_full();
    loop {
        if moved > 0 {
            progress.done += moved as u64;
            progress.hit = progress.done;
        }
        match sure::judge(transfer, full, progress.done, moved) {
            Verdict::Sure if moved >= 0 && progress.done >= transfer.wanted(full) => {
                return Some(progress.done as i64);
            }
            Verdict::Sure => return Some(end(progress, full, moved.min(0))),
            Verdict::Further => {
                moved = transfer.try_rest(progress.done, transfer.wanted(full), true);
            }
            Verdict::Unsure => {
                // Another errno says nothing of the page cache.
                progress.tells_hits &= moved == -i64::from(EAGAIN) || progress.done > 0;
                progress.stuck = moved > 0 || moved == -i64::from(EAGAIN);
                progress.refused = moved == -i64::from(EOPNOTSUPP);
                return None;
            }
        }
    }
}

/// Whether a request whose file has become ready can be tried again, in any
/// thread, without waiting: if not, a worker makes the plain call.
pub(crate) fn may_retry(request: &Request, facts: &mut Facts) -> bool {
    let Some(class) = request.operation.class() else { return false };
    let has_priority = request.plan.as_ref().is_some_and(|plan| plan.ioprio().is_some());
    !has_priority
        && class != Class::Worker
        && Transfer::new(&request.call, class).is_some_and(|transfer| facts.may_try(&transfer))
}

/// Whether the call of a request that cannot be tried, or not so, waits if `fd` is not ready,
/// and has nothing else to say.
pub(crate) fn waits_if_not_ready(request: &Request, progress: &Progress, fd: i32) -> bool {
    const ACCEPT_FLAGS: u64 = (libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) as u64;
    /// Bytes of one event of epoll_wait(2), at least.
    const EVENT_BYTES: u64 = size_of::<libc::epoll_event>() as u64;
    let args = request.call.args();
    let has_memory = || is_memory(args[1], args[2]);
    let transfer =
        || request.operation.class().and_then(|class| Transfer::new(&request.call, class));
    // Only after what it names is known to be memory: it reads vectors.
    let ends_early = || {
        transfer().is_some_and(|transfer| {
            transfer.is_read && file::is_terminal_read_early(fd, transfer.wanted(false))
        })
    };
    let untried = || file::is_terminal(fd) || transfers_untried(request, fd);
    // As a kind of try that is not to be had: not by a file that has no such call,
    // of which the plain one says so at once.
    let takes_a_record = |transfer: Transfer<'_>| transfer.wanted(false) >= file::least_record(fd);
    let refused = || {
        progress.refused
            && file::kind(fd) == file::Kind::Record
            && transfer().is_some_and(takes_a_record)
    };
    match request.call.nr() {
        number::SYS_accept => file::is_listening(fd),
        libc::SYS_accept4 => args[3] & !ACCEPT_FLAGS == 0 && file::is_listening(fd),
        libc::SYS_read | libc::SYS_write => {
            has_memory() && (refused() || untried() && !ends_early())
        }
        // They read their structures before they wait, and may fail at that.
        libc::SYS_readv | libc::SYS_writev => {
            refused() || untried() && are_buffers(args[1], args[2]) && !ends_early()
        }
        libc::SYS_recvfrom => has_memory() && transfers_untried(request, fd),
        libc::SYS_recvmsg => {
            let is_message = |message: libc::msghdr| {
                let named = message.msg_name.is_null() || message.msg_namelen as i32 >= 0;
                let iovecs = message.msg_iov.expose_provenance() as u64;
                named && are_buffers(iovecs, message.msg_iovlen as u64)
            };
            transfers_untried(request, fd) && call::copy_of(args[1]).is_some_and(is_message)
        }
        number::SYS_epoll_wait | libc::SYS_epoll_pwait => {
            let most = i32::MAX as u64 / EVENT_BYTES;
            (1..=most).contains(&args[2])
                && is_memory(args[1], args[2] * EVENT_BYTES)
                && file::is_epoll(fd)
        }
        _ => false,
    }
}

/// Whether the call of a request is a receive that waits if its socket has nothing,
/// and has nothing else to say then.
pub(crate) fn waits_if_empty(request: &Request) -> bool {
    const FLAGS: u64 = (libc::MSG_TRUNC | libc::MSG_NOSIGNAL | libc::MSG_CMSG_CLOEXEC) as u64;
    let [_, address, len, flags, ..] = *request.call.args();
    request.call.nr() == libc::SYS_recvfrom
        && flags & !FLAGS == 0
        && len > 0
        && is_memory(address, len)
}

/// Whether a transfer by a socket waits for its peer only, and cannot be tried.
fn transfers_untried(request: &Request, fd: i32) -> bool {
    file::family(fd) != file::Family::Other && !may_retry(request, &mut Facts::default())
}

/// Whether a process may have memory there: where none has is EFAULT at once.
fn is_memory(address: u64, len: u64) -> bool {
    const MEMORY_END: u64 = 1 << 47;
    address.checked_add(len).is_some_and(|end| end < MEMORY_END)
}

/// Whether `count` iovecs at `address` can be read, and name what may be memory, at
/// least a byte of it.
fn are_buffers(address: u64, count: u64) -> bool {
    const IOVECS: u64 = 1024;
    let mut bytes = 0_u64;
    let all = (0..count.min(IOVECS + 1)).all(|n| {
        let at = address.wrapping_add(n * size_of::<libc::iovec>() as u64);
        call::copy_of(at).is_some_and(|iovec: libc::iovec| {
            bytes = bytes.saturating_add(iovec.iov_len as u64);
            is_memory(iovec.iov_base.expose_provenance() as u64, iovec.iov_len as u64)
        })
    });
    all && count <= IOVECS && bytes > 0
}

/// Tries a request again whose file has become ready; the result, or none if it
/// has to wait on, which [`Progress::stuck`] says, or a worker has to make the
/// plain call.
pub(crate) fn retry(request: &Request, progress: &mut Progress, facts: &mut Facts) -> Option<i64> {
    progress.stuck = false;
    let class = request.operation.class()?;
    let transfer = Transfer::new(&request.call, class)?;
    if progress.done == 0 {
        return try_transfer(request, &transfer, progress, facts);
    }
    let moved = transfer.try_rest(progress.done, transfer.wanted(request.is_full()), true);
    try_further(request, &transfer, progress, moved)
}

/// Runs the request to its end, from where the inline try left it.
pub(crate) fn run_blocking(request: &Request, progress: &mut Progress, runner: Runner<'_>) -> i64 {
    #[cfg(test)]
    assert_ne!(request.user_data, PANICS);
    let class = match request.operation {
        Operation::Nop | Operation::Group => return 0,
        Operation::Poll => return ready::wait(request),
        Operation::Refused(errno) => return -i64::from(errno),
        Operation::Syscall(class) => class,
    };
    let Some(transfer) = Transfer::new(&request.call, class) else {
        return uninterrupted(request.call.nr(), runner, || request.call.run())
            .unwrap_or_else(|stopped| progress.withhold(stopped));
    };
    let mut ahead = None;
    if !progress.tried && transfer.is_read && request.measures(attr::CACHE) {
        let mut facts = Facts::default();
        let is_cached = facts.is_cached(transfer.fd());
        if is_cached && transfer.offset().is_none() {
            ahead = transfer.look_ahead(request.is_full());
            progress.tells_hits = ahead.is_some();
        } else if is_cached
            && transfer.has_usual_length()
            && let Some(result) = try_transfer(request, &transfer, progress, &mut facts)
        {
            return result;
        }
    }
    let result = run_transfer(request, &transfer, progress, runner);
    if let Some(ahead) = ahead {
        progress.hit = ahead.min(progress.done);
    }
    result
}

/// Moves what the tries have left, waiting.
fn run_transfer(
    request: &Request,
    transfer: &Transfer<'_>,
    progress: &mut Progress,
    runner: Runner<'_>,
) -> i64 {
    let full = request.is_full();
    loop {
        let moved = uninterrupted(request.call.nr(), runner, || match progress.done {
            0 => request.call.run(),
            done => transfer.try_rest(done, transfer.wanted(full), false),
        });
        let moved = match moved {
            Ok(moved) => moved,
            Err(stopped) if progress.done == 0 => return progress.withhold(stopped),
            Err(stopped) => -i64::from(stopped),
        };
        if moved < 0 {
            return end(progress, full, moved);
        }
        progress.done += moved as u64;
        if !full || moved == 0 || !transfer.can_be_full() {
            return if full && progress.done < transfer.wanted(full) {
                end(progress, full, 0)
            } else {
                progress.done as i64
            };
        }
        if progress.done >= transfer.wanted(full) {
            return progress.done as i64;
        }
    }
}

/// The result of a transfer that stops short, with the errno of its last step
/// or, if that is 0, at the end of the data.
///
/// SPEC: R-RUN-4, R-RUN-5
fn end(progress: &Progress, full: bool, last: i64) -> i64 {
    match (full, last) {
        (true, 0) => -i64::from(ENODATA),
        (false, 0) => progress.done as i64,
        (false, _) if progress.done > 0 => progress.done as i64,
        (_, errno) => errno,
    }
}

/// The result of a request that is stopped with `errno` (positive) while it
/// waits for a worker; none if it has not begun.
///
/// SPEC: R-RUN-4, section 9.1
pub(crate) fn result_if_stopped(request: &Request, progress: &Progress, errno: i32) -> Option<i64> {
    (progress.done > 0 || progress.begun)
        .then(|| end(progress, request.is_full(), -i64::from(errno)))
}

/// Repeats what a signal has interrupted, as SA_RESTART would, unless the worker
/// has been told to stop. What says EINTR again and again is not interrupted: it
/// is its result.
///
/// # Errors
/// The errno (positive) to end with if that was before the first run.
///
/// SPEC: R-RUN-7, R-LIFE-8, R-CANCEL-7
fn uninterrupted(nr: c_long, runner: Runner<'_>, mut run: impl FnMut() -> i64) -> Result<i64, i32> {
    let mut interrupted = Interruptions::default();
    let mut ran = false;
    loop {
        if let Runner::Worker(seat) = runner
            && let Some(errno) = seat.stopped()
        {
            return if ran { Ok(-i64::from(errno)) } else { Err(errno) };
        }
        let result = run();
        ran = true;
        let again = match runner {
            // The descriptor is gone all the same.
            _ if nr == libc::SYS_close => false,
            Runner::Worker(_) => true,
            Runner::Caller => restarts(nr),
        };
        if result != -i64::from(EINTR) || !again || interrupted.are_too_many(nr) {
            return Ok(result);
        }
    }
}

/// How often a syscall has said EINTR.
#[derive(Default)]
struct Interruptions {
    count: u32,
    last: Option<Instant>,
}

impl Interruptions {
    /// As often a stop of the process can end a call that the kernel does not
    /// repeat for itself (a FUSE server answers so).
    const MOST: u32 = 16;
    /// As often one after the other at once, of calls that a stop ends with EINTR
    /// whatever signal(7) says of SA_RESTART.
    const MOST_AT_ONCE: u32 = 10_000;
    const AT_ONCE: Duration = Duration::from_millis(1);

    /// One more; whether no signal can be the reason.
    fn are_too_many(&mut self, nr: c_long) -> bool {
        let now = Instant::now();
        let at_once = self.last.replace(now).is_none_or(|last| now - last < Self::AT_ONCE);
        let stops = !restarts(nr) || sleeps_for_a_peer(nr);
        if stops && !at_once {
            self.count = 0;
        }
        self.count += 1;
        self.count > if stops { Self::MOST_AT_ONCE } else { Self::MOST }
    }
}

/// Whether the syscall may sleep on a socket, which ends with EINTR at each stop
/// of the process if the socket has a timeout, or in another call that does so.
fn sleeps_for_a_peer(nr: c_long) -> bool {
    let class = syscall::lookup(nr as u32).map(|row| row.class);
    matches!(class, Some(Class::Read | Class::Write | Class::Socket))
        || matches!(
            nr,
            number::SYS_accept
                | libc::SYS_accept4
                | libc::SYS_connect
                | libc::SYS_sendfile
                | libc::SYS_splice
                | libc::SYS_mq_timedsend
                | libc::SYS_mq_timedreceive
        )
}

/// Whether SA_RESTART would restart the syscall: see signal(7).
fn restarts(nr: c_long) -> bool {
    !matches!(
        nr,
        libc::SYS_nanosleep
            | libc::SYS_clock_nanosleep
            | number::SYS_poll
            | libc::SYS_ppoll
            | number::SYS_epoll_wait
            | libc::SYS_epoll_pwait
            | libc::SYS_futex
            | number::SYS_semop
            | number::SYS_semtimedop
            | number::SYS_msgsnd
            | number::SYS_msgrcv
    )
}

/// Tries a request in this thread that nobody has tried before, if it is one that
/// waits for its file; none if it has to wait, which [`Progress::stuck`] says, or
/// has to be run. `place` is where that is.
pub(crate) fn try_here(request: &Request, progress: &mut Progress, place: u32) -> Option<Outcome> {
    let is_new = !progress.waited && !progress.tried;
    if !is_new || request.waits_for().is_none() {
        return None;
    }
    let mut facts = Facts::default();
    if !may_retry(request, &mut facts) {
        return None;
    }
    if request.measures(attr::TIMING) {
        progress.started = clock::now();
    }
    let result = retry(request, progress, &mut facts)?;
    Some(outcome::finish(request, progress, result, place))
}

/// Runs the request in this thread, with its attributes; `place` is where that is.
pub(crate) fn run_here(
    request: &Request,
    progress: &mut Progress,
    runner: Runner<'_>,
    place: u32,
) -> Outcome {
    let timed = request.measures(attr::TIMING);
    if timed && progress.done == 0 {
        progress.started =
            if place == attr::PATH_WORKER { clock::now() } else { progress.submitted };
    }
    let priority = request.plan.as_ref().and_then(|plan| plan.ioprio()).map(Priority::set);
    let priority_errno = match priority {
        Some(Err(errno)) => errno,
        _ => 0,
    };
    if priority_errno != 0 && request.plan.as_ref().is_some_and(|plan| plan.requires_priority()) {
        return Outcome { priority_errno, ..Outcome::not_begun(priority_errno) };
    }
    let result = run_blocking(request, progress, runner);
    Outcome { priority_errno, ..outcome::finish(request, progress, result, place) }
}

/// The I/O priority of this thread, changed until this is dropped.
struct Priority {
    before: u32,
}

impl Priority {
    /// # Errors
    /// The errno (positive) of ioprio_set(2).
    fn set(ioprio: u32) -> Result<Self, i32> {
        let before = file::priority().map_err(|errno| errno.0)?;
        file::set_priority(ioprio).map_err(|errno| errno.0)?;
        Ok(Priority { before })
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        // It was this thread's a moment ago, so it can be had again.
        let _ = file::set_priority(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result of a syscall that is interrupted once, and that of its second
    /// run.
    fn interrupted_once(nr: c_long, runner: Runner<'_>) -> i64 {
        let mut results = [-i64::from(EINTR), 7].into_iter();
        uninterrupted(nr, runner, || results.next().unwrap()).unwrap()
    }

    #[test]
    fn what_is_interrupted_is_run_again_as_signal_7_says() {
        let seat = Seat::new(1);
        for (nr, by_worker, by_caller) in [
            (libc::SYS_read, true, true),
            (libc::SYS_nanosleep, true, false),
            // The descriptor is gone all the same.
            (libc::SYS_close, false, false),
        ] {
            for (runner, again) in [(Runner::Worker(&seat), by_worker), (Runner::Caller, by_caller)]
            {
                let result = if again { 7 } else { -i64::from(EINTR) };
                assert_eq!(interrupted_once(nr, runner), result, "{nr} {runner:?}");
            }
        }
    }

    /// SPEC: R-RUN-7, R-RUN-12
    #[test]
    fn what_no_signal_can_explain_is_a_result() {
        let seat = Seat::new(1);
        for nr in [libc::SYS_fsync, libc::SYS_read, number::SYS_epoll_wait] {
            for runner in [Runner::Worker(&seat), Runner::Caller] {
                let eintr = -i64::from(EINTR);
                assert_eq!(uninterrupted(nr, runner, || eintr), Ok(eintr), "{nr} {runner:?}");
            }
        }
    }

    #[test]
    fn a_worker_that_was_told_to_stop_runs_nothing_again() {
        let seat = Seat::new(1);
        seat.enter(1);
        let result = uninterrupted(libc::SYS_read, Runner::Worker(&seat), || {
            assert!(seat.stopped().is_none() && seat.stop(libc::ECANCELED));
            -i64::from(EINTR)
        });
        assert_eq!(result, Ok(-i64::from(libc::ECANCELED)));
        let result = uninterrupted(libc::SYS_close, Runner::Worker(&seat), || unreachable!());
        assert_eq!(result, Err(libc::ECANCELED), "it was not begun");
    }
}
