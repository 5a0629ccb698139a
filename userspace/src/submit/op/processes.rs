//! Operations on processes, time, and what processes share.

use super::args::{Arg, read, room};
use super::sockets::timespec;
use super::{Op, kind, signed};
use crate::submit::{Buffer, SharedFd};
use rustix::rand::GetRandomFlags;
use rustix::time::ClockId;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// How a process has changed: what a completed [`Op::waitid`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Which process.
    pub pid: i32,
    /// How: CLD_EXITED, CLD_KILLED, ...
    pub code: i32,
    /// Its exit status, or the signal.
    pub status: i32,
}

impl<B> Op<B> {
    fn number_of(nr: libc::c_long) -> Op<B, kind::Id> {
        Op::on_args(nr, [])
    }

    /// The process's id: getpid(2). Runs inline.
    #[must_use]
    pub fn getpid() -> Op<B, kind::Id> {
        Op::number_of(libc::SYS_getpid)
    }

    /// Its parent's id: getppid(2). Runs inline.
    #[must_use]
    pub fn getppid() -> Op<B, kind::Id> {
        Op::number_of(libc::SYS_getppid)
    }

    /// Its real user: getuid(2). Runs inline.
    #[must_use]
    pub fn getuid() -> Op<B, kind::Id> {
        Op::number_of(libc::SYS_getuid)
    }

    /// Its effective user: geteuid(2). Runs inline.
    #[must_use]
    pub fn geteuid() -> Op<B, kind::Id> {
        Op::number_of(libc::SYS_geteuid)
    }

    /// Its real group: getgid(2). Runs inline.
    #[must_use]
    pub fn getgid() -> Op<B, kind::Id> {
        Op::number_of(libc::SYS_getgid)
    }

    /// Its effective group: getegid(2). Runs inline.
    #[must_use]
    pub fn getegid() -> Op<B, kind::Id> {
        Op::number_of(libc::SYS_getegid)
    }

    /// The process group of a process, of this one if 0: getpgid(2). Runs inline.
    #[must_use]
    pub fn getpgid(pid: i32) -> Op<B, kind::Id> {
        Op::on_args(libc::SYS_getpgid, [Arg::Number(signed(pid))])
    }

    /// The session of a process, of this one if 0: getsid(2). Runs inline.
    #[must_use]
    pub fn getsid(pid: i32) -> Op<B, kind::Id> {
        Op::on_args(libc::SYS_getsid, [Arg::Number(signed(pid))])
    }

    /// What a clock says: clock_gettime(2), [`Op::time`]. Runs inline.
    #[must_use]
    pub fn clock_gettime(clock: ClockId) -> Op<B, kind::Time> {
        let room = Arg::Words(room::<libc::timespec>());
        Op::on_args(libc::SYS_clock_gettime, [Arg::Number(signed(clock as i32)), room])
    }

    /// Sleeps, on a worker: nanosleep(2). To wait without one there is
    /// [`crate::Handle::sleep`], or [`Op::poll`] with [`Op::deadline`].
    #[must_use]
    pub fn nanosleep(time: Duration) -> Op<B, kind::Effect> {
        Op::on_args(libc::SYS_nanosleep, [Arg::Words(timespec(time)), Arg::Number(0)])
    }

    /// Sleeps on a worker until a clock says this: clock_nanosleep(2) with
    /// TIMER_ABSTIME. For a while there is [`Op::nanosleep`].
    #[must_use]
    pub fn sleep_until(clock: ClockId, time: Duration) -> Op<B, kind::Effect> {
        let [clock, flags] = [clock as i32, libc::TIMER_ABSTIME].map(|n| Arg::Number(signed(n)));
        let args = [clock, flags, Arg::Words(timespec(time)), Arg::Number(0)];
        Op::on_args(libc::SYS_clock_nanosleep, args)
    }

    /// Waits for a child, on a worker: waitid(2) with P_PID and WEXITED.
    /// [`Op::exit`] has how it has ended.
    #[must_use]
    pub fn waitid(pid: i32) -> Op<B, kind::Exits> {
        let room = Arg::Words(room::<libc::siginfo_t>());
        let [kind, pid, flags] =
            [libc::P_PID as i32, pid, libc::WEXITED].map(|n| Arg::Number(signed(n)));
        Op::on_args(libc::SYS_waitid, [kind, pid, room, flags, Arg::Number(0)])
    }

    /// Sends a signal, or 0 to ask whether it could: kill(2).
    ///
    /// Runs on a worker, for a short time.
    #[must_use]
    pub fn kill(pid: i32, signal: i32) -> Op<B, kind::Effect> {
        Op::on_args(libc::SYS_kill, [pid, signal].map(|n| Arg::Number(signed(n))))
    }

    /// A descriptor of a process, which is readable when that has ended:
    /// pidfd_open(2). The completion holds it.
    ///
    /// Runs on a worker, for a short time.
    #[must_use]
    pub fn pidfd_open(pid: i32) -> Op<B, kind::Opens> {
        Op::on_args(libc::SYS_pidfd_open, [Arg::Number(signed(pid)), Arg::Number(0)])
    }

    /// Sends a signal to the process of a descriptor: pidfd_send_signal(2).
    ///
    /// Runs on a worker, for a short time.
    pub fn pidfd_send_signal(pidfd: impl Into<SharedFd>, signal: i32) -> Op<B, kind::Effect> {
        let zero = || Arg::Number(0);
        let args = [Arg::Fd(pidfd.into()), Arg::Number(signed(signal)), zero(), zero()];
        Op::on_args(libc::SYS_pidfd_send_signal, args)
    }

    /// Sleeps, on a worker, while a word has this value, until it is woken:
    /// futex(2) with FUTEX_WAIT, private to the process. EAGAIN if it has another.
    #[must_use]
    pub fn futex_wait(word: &Arc<AtomicU32>, value: u32) -> Op<B, kind::Effect> {
        Op::futex(word, libc::FUTEX_WAIT, value)
    }

    /// Wakes at most so many who sleep at a word: futex(2) with FUTEX_WAKE. The
    /// result says how many.
    ///
    /// Runs on a worker, for a short time.
    #[must_use]
    pub fn futex_wake(word: &Arc<AtomicU32>, count: u32) -> Op<B, kind::Woken> {
        Op::futex(word, libc::FUTEX_WAKE, count)
    }

    /// Adds `change` to a semaphore of a set, or waits on a worker until that does
    /// not make it negative: semop(2).
    #[cfg(target_arch = "x86_64")]
    #[must_use]
    pub fn semop(set: i32, number: u16, change: i16) -> Op<B, kind::Effect> {
        let args = [Arg::Number(signed(set)), sembuf(number, change), Arg::Number(1)];
        Op::on_args(libc::SYS_semop, args)
    }

    /// As [`Op::semop`], for at most `timeout`: semtimedop(2).
    ///
    /// Runs on a worker, for at most that long.
    #[cfg(target_arch = "x86_64")]
    #[must_use]
    pub fn semtimedop(
        set: i32,
        number: u16,
        change: i16,
        timeout: Duration,
    ) -> Op<B, kind::Effect> {
        let timeout = Arg::Words(timespec(timeout));
        let args = [Arg::Number(signed(set)), sembuf(number, change), Arg::Number(1), timeout];
        Op::on_args(libc::SYS_semtimedop, args)
    }
}

#[cfg(target_arch = "x86_64")]
fn sembuf<B>(number: u16, change: i16) -> Arg<B> {
    let ([a, b], [c, d]) = (number.to_ne_bytes(), change.to_ne_bytes());
    Arg::Words(Box::new([u64::from_ne_bytes([a, b, c, d, 0, 0, 0, 0])]))
}

impl<B: Buffer> Op<B> {
    /// Random bytes: getrandom(2).
    ///
    /// Runs on a worker, until the first random numbers since the machine's start are
    /// there.
    pub fn getrandom(buf: B, flags: GetRandomFlags) -> Op<B, kind::Reads> {
        let args = [Arg::Buffer(buf), Arg::Length, Arg::Number(flags.bits().into())];
        Op::on_args(libc::SYS_getrandom, args)
    }

    /// Sends a message to a POSIX message queue: mq_send(3). It waits for room on a
    /// worker.
    pub fn mq_send(queue: impl Into<SharedFd>, message: B, priority: u32) -> Op<B, kind::Writes> {
        let rest = [Arg::Number(priority.into()), Arg::Number(0)];
        let mut args = vec![Arg::Fd(queue.into()), Arg::Content(message), Arg::Length];
        args.extend(rest);
        Op::on_args(libc::SYS_mq_timedsend, args)
    }

    /// Receives the message of the highest priority from a POSIX message queue, on a
    /// worker: mq_receive(3). The buffer has room for the longest one (EMSGSIZE).
    pub fn mq_receive(queue: impl Into<SharedFd>, buf: B) -> Op<B, kind::Reads> {
        let rest = [Arg::Number(0), Arg::Number(0)];
        let mut args = vec![Arg::Fd(queue.into()), Arg::Buffer(buf), Arg::Length];
        args.extend(rest);
        Op::on_args(libc::SYS_mq_timedreceive, args)
    }
}

impl<B, K> Op<B, K> {
    fn futex(word: &Arc<AtomicU32>, command: i32, value: u32) -> Self {
        let command = Arg::Number(signed(command | libc::FUTEX_PRIVATE_FLAG));
        let mut args = vec![Arg::Shared(word.clone()), command, Arg::Number(value.into())];
        args.extend([0; 3].map(Arg::Number));
        Op::on_args(libc::SYS_futex, args)
    }
}

/// What has come of an operation.
impl<B, K> Op<B, K> {
    /// What a completed [`Op::clock_gettime`] has found.
    #[must_use]
    pub fn time(&self) -> Option<Duration> {
        // SAFETY: a structure of integers.
        let time: libc::timespec = unsafe { read(self.words(libc::SYS_clock_gettime, 0)?) }?;
        Some(Duration::new(time.tv_sec.try_into().ok()?, time.tv_nsec.try_into().ok()?))
    }

    /// How the child of a completed [`Op::waitid`] has ended.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        // SAFETY: a structure of integers, of which each value is one.
        let info: [i32; 8] = unsafe { read(self.words(libc::SYS_waitid, 0)?) }?;
        // signo, errno, code; then, aligned to 8: pid, uid, status.
        Some(Exit { pid: info[4], code: info[2], status: info[6] })
    }
}
