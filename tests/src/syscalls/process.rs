//! Rows of processes, time, memory, queues, and waiting for others.

use super::stage::{NO_FD, Played, Stage, address, fd, fill, owned, plain, prepare, to};
use super::{Row, row};
use std::io::Read;
use std::os::fd::OwnedFd;

const NOBODY: u64 = 0x7fff_ffff;
const NOW: [i64; 2] = [0, 0];
const SOON: [i64; 2] = [0, 1_000_000];
const BAD_TIME: [i64; 2] = [0, -1];
const PAGE: usize = 4096;

pub(super) const ROWS: &[Row] = &[
    row("getpid", |s| s.good(&[]).map(drop)),
    row("getppid", |s| s.good(&[]).map(drop)),
    row("getuid", |s| s.good(&[]).map(drop)),
    row("geteuid", |s| s.good(&[]).map(drop)),
    row("getgid", |s| s.good(&[]).map(drop)),
    row("getegid", |s| s.good(&[]).map(drop)),
    row("getpgid", |s| {
        s.fails(libc::ESRCH, &[NOBODY]);
        s.good(&[0]).map(drop)
    }),
    row("getsid", |s| {
        s.fails(libc::ESRCH, &[NOBODY]);
        s.good(&[0]).map(drop)
    }),
    row("clock_gettime", |s| {
        let mut times = [[0_i64; 2]; 3];
        let [before, time, after] = &mut times;
        s.fails(libc::EINVAL, &[999, s.out()]);
        s.fails(libc::EFAULT, &[1, 8]);
        plain(libc::SYS_clock_gettime, &[1, to(before)]);
        s.good(&[1, to(time)])?;
        plain(libc::SYS_clock_gettime, &[1, to(after)]);
        s.note(times.is_sorted());
        Ok(())
    }),
    row("poll", |s| {
        let mut polled = [polled(&s.pipe.reader), polled(&s.pipe.writer)];
        s.fails(libc::EINVAL, &[to(&mut polled), u32::MAX.into(), 0]);
        s.good(&[to(&mut polled[..1]), 1, 0])?;
        s.good(&[to(&mut polled), 2, u64::MAX])?;
        s.note(polled.map(|p| p.revents));
        Ok(())
    }),
    row("ppoll", |s| {
        let mut polled = [polled(&s.pipe.reader), polled(&s.pipe.writer)];
        s.fails(libc::EINVAL, &[to(&mut polled), 2, address(&BAD_TIME), 0, 0]);
        s.good(&[to(&mut polled[..1]), 1, address(&SOON), 0, 0])?;
        s.good(&[to(&mut polled), 2, 0, 0, 8])?;
        s.note(polled.map(|p| p.revents));
        Ok(())
    }),
    row("epoll_wait", |s| {
        let epoll = epoll(s);
        s.fails(libc::EINVAL, &[fd(&epoll), s.out(), 0, 0]);
        s.fails(libc::EINVAL, &[fd(&s.pipe.reader), s.out(), 4, 0]);
        s.good(&[fd(&epoll), s.out(), 4, 0])?;
        fill(&s.pipe.writer, b"x");
        s.good(&[fd(&epoll), s.out(), 4, u64::MAX]).map(drop)
    }),
    row("epoll_pwait", |s| {
        let epoll = epoll(s);
        s.fails(libc::EBADF, &[NO_FD, s.out(), 4, 0, 0, 8]);
        fill(&s.pipe.writer, b"x");
        s.good(&[fd(&epoll), s.out(), 4, u64::MAX, 0, 8]).map(drop)
    }),
    row("epoll_ctl", |s| {
        let (epoll, mut event) = (epoll(s), watch());
        let (add, delete) = (libc::EPOLL_CTL_ADD as u64, libc::EPOLL_CTL_DEL as u64);
        s.fails(libc::EEXIST, &[fd(&epoll), add, fd(&s.pipe.reader), to(&mut event)]);
        s.fails(libc::ENOENT, &[fd(&epoll), delete, fd(&s.pipe.writer), 0]);
        s.good(&[fd(&epoll), delete, fd(&s.pipe.reader), 0])?;
        s.good(&[fd(&epoll), add, fd(&s.sockets.0), to(&mut event)])?;
        fill(&s.pipe.writer, b"x");
        s.note(plain(libc::SYS_epoll_wait, &[fd(&epoll), s.out(), 4, 0]));
        Ok(())
    }),
    row("futex", |s| {
        let word = [1_u32];
        let (wait, wake) = (libc::FUTEX_WAIT as u64, libc::FUTEX_WAKE as u64);
        s.fails(libc::EAGAIN, &[address(&word), wait, 7, 0, 0, 0]);
        s.fails(libc::ETIMEDOUT, &[address(&word), wait, 1, address(&SOON), 0, 0]);
        s.good(&[address(&word), wake, 1, 0, 0, 0]).map(drop)
    }),
    row("nanosleep", |s| {
        s.fails(libc::EINVAL, &[address(&BAD_TIME), 0]);
        s.good(&[address(&SOON), 0]).map(drop)
    }),
    row("clock_nanosleep", |s| {
        s.fails(libc::EINVAL, &[999, 0, address(&NOW), 0]);
        s.good(&[1, 0, address(&SOON), 0])?;
        // Until a time that is over.
        s.good(&[1, libc::TIMER_ABSTIME as u64, address(&SOON), 0]).map(drop)
    }),
    row("mq_timedsend", |s| {
        s.fails(libc::EBADF, &[NO_FD, s.out(), 1, 0, 0]);
        let queue = message_queue(s)?;
        s.fails(libc::EMSGSIZE, &[fd(&queue), s.out(), 100, 0, 0]);
        s.good(&[fd(&queue), address(c"four"), 4, 7, 0])?;
        s.fails(libc::ETIMEDOUT, &[fd(&queue), address(c"four"), 4, 7, address(&NOW)]);
        let mut priority = [0_u32];
        let args = [fd(&queue), s.out(), 16, to(&mut priority), 0];
        s.note((plain(libc::SYS_mq_timedreceive, &args), priority));
        Ok(())
    }),
    row("mq_timedreceive", |s| {
        s.fails(libc::EBADF, &[NO_FD, s.out(), 1, 0, 0]);
        let (queue, mut priority) = (message_queue(s)?, [0_u32]);
        s.fails(libc::ETIMEDOUT, &[fd(&queue), s.out(), 16, 0, address(&NOW)]);
        plain(libc::SYS_mq_timedsend, &[fd(&queue), address(c"four"), 4, 7, 0]);
        s.fails(libc::EMSGSIZE, &[fd(&queue), s.out(), 1, 0, 0]);
        s.good(&[fd(&queue), s.out(), 16, to(&mut priority), 0])?;
        s.note(priority);
        Ok(())
    }),
    row("semop", |s| semaphores(s, None)),
    row("semtimedop", |s| semaphores(s, Some(address(&SOON)))),
    row("msgsnd", |s| {
        s.fails(libc::EINVAL, &[NO_FD, address(&MESSAGE), 8, 0]);
        let queue = prepare("msgget", libc::SYS_msgget, &[0, 0o600])? as u64;
        s.fails(libc::EINVAL, &[queue, address(&[0_u64; 2]), 8, 0]);
        s.good(&[queue, address(&MESSAGE), 8, 0])?;
        let args = [queue, s.out(), 64, 0, libc::IPC_NOWAIT as u64];
        s.note(plain(libc::SYS_msgrcv, &args));
        remove(libc::SYS_msgctl, &[queue, 0]);
        Ok(())
    }),
    row("msgrcv", |s| {
        s.fails(libc::EINVAL, &[NO_FD, s.out(), 8, 0, 0]);
        let queue = prepare("msgget", libc::SYS_msgget, &[0, 0o600])? as u64;
        s.fails(libc::ENOMSG, &[queue, s.out(), 64, 0, libc::IPC_NOWAIT as u64]);
        plain(libc::SYS_msgsnd, &[queue, address(&MESSAGE), 8, 0]);
        s.fails(libc::E2BIG, &[queue, s.out(), 1, 0, 0]);
        s.good(&[queue, s.out(), 64, 0, 0])?;
        remove(libc::SYS_msgctl, &[queue, 0]);
        Ok(())
    }),
    row("waitid", |s| {
        let (pid, exited) = (u64::from(libc::P_PID), libc::WEXITED as u64);
        s.fails(libc::ECHILD, &[pid, NOBODY, 0, exited, 0]);
        s.fails(libc::EINVAL, &[pid, NOBODY, 0, 0, 0]);
        let child = child_that_exits(7);
        // SAFETY: one of zeros is none.
        let mut info: Box<libc::siginfo_t> = Box::new(unsafe { std::mem::zeroed() });
        s.good(&[pid, child, to(&mut *info), exited, 0])?;
        // SAFETY: a child's end has it.
        let (status, pid_of) = (unsafe { info.si_status() }, unsafe { info.si_pid() });
        s.note((info.si_code, status, pid_of as u64 == child));
        s.fails(libc::ECHILD, &[pid, child, 0, exited, 0]);
        Ok(())
    }),
    row("kill", |s| {
        let own = u64::from(std::process::id());
        s.fails(libc::ESRCH, &[NOBODY, 0]);
        s.fails(libc::EINVAL, &[own, 99]);
        // By default it is ignored.
        s.good(&[own, libc::SIGWINCH as u64]).map(drop)
    }),
    row("pidfd_open", |s| {
        s.fails(libc::EINVAL, &[0, 0]);
        s.opens(&[std::process::id().into(), 0]).map(drop)
    }),
    row("pidfd_send_signal", |s| {
        let args = [u64::from(std::process::id()), 0];
        let own = owned(prepare("pidfd_open", libc::SYS_pidfd_open, &args)?);
        s.fails(libc::EBADF, &[fd(&s.file), 0, 0, 0]);
        s.fails(libc::EINVAL, &[fd(&own), 99, 0, 0]);
        s.good(&[fd(&own), libc::SIGWINCH as u64, 0, 0]).map(drop)
    }),
    row("madvise", |s| {
        let page = Page::new(None);
        page.write(b'x');
        s.fails(libc::EINVAL, &[1, PAGE as u64, 0]);
        s.fails(libc::EINVAL, &[page.at(), PAGE as u64, 999]);
        s.good(&[page.at(), PAGE as u64, libc::MADV_DONTNEED as u64])?;
        s.note(page.read());
        Ok(())
    }),
    row("msync", |s| {
        let page = Page::new(Some(fd(&s.file) as i32));
        page.write(b'x');
        s.fails(libc::EINVAL, &[page.at(), PAGE as u64, 99]);
        s.fails(libc::ENOMEM, &[8 * PAGE as u64, PAGE as u64, libc::MS_SYNC as u64]);
        s.good(&[page.at(), PAGE as u64, libc::MS_SYNC as u64]).map(drop)
    }),
    row("getrandom", |s| {
        let mut bytes = [0_u8; 32];
        s.fails(libc::EINVAL, &[s.out(), 10, 1 << 30]);
        s.fails(libc::EFAULT, &[8, 10, 0]);
        s.good(&[to(&mut bytes), 32, 0])?;
        s.note(bytes.iter().all(|b| *b == 0));
        Ok(())
    }),
];

/// A message of type 3.
const MESSAGE: [u64; 2] = [3, 0x5555_6666_7777_8888];

fn polled(file: &impl std::os::fd::AsRawFd) -> libc::pollfd {
    libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN | libc::POLLOUT, revents: 0 }
}

fn watch() -> libc::epoll_event {
    libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0x1234_5678_9abc }
}

/// An epoll that watches the pipe.
fn epoll(s: &Stage<'_>) -> OwnedFd {
    let epoll = owned(plain(libc::SYS_epoll_create1, &[libc::EPOLL_CLOEXEC as u64]));
    let mut event = watch();
    let args = [fd(&epoll), libc::EPOLL_CTL_ADD as u64, fd(&s.pipe.reader), to(&mut event)];
    assert_eq!(plain(libc::SYS_epoll_ctl, &args), 0);
    epoll
}

/// A queue for one message of 16 bytes, without a name.
fn message_queue(s: &Stage<'_>) -> Result<OwnedFd, super::stage::Lacking> {
    let name = std::ffi::CString::new(s.unique()).expect("no zero byte");
    // mq_attr: flags, messages, bytes, messages there are.
    let attributes = [0_i64, 1, 16, 0, 0, 0, 0, 0];
    let flags = (libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC) as u64;
    let args = [address(&*name), flags, 0o600, address(&attributes)];
    let queue = owned(prepare("mq_open", libc::SYS_mq_open, &args)?);
    plain(libc::SYS_mq_unlink, &[address(&*name)]);
    Ok(queue)
}

/// semop, or semtimedop with a time.
fn semaphores(s: &mut Stage<'_>, time: Option<u64>) -> Played {
    let nowait = libc::IPC_NOWAIT as i16;
    let op = |sem_op, sem_flg| [libc::sembuf { sem_num: 0, sem_op, sem_flg }];
    let args = |id, ops: &[libc::sembuf; 1]| {
        let mut args = vec![id, address(ops), 1];
        args.extend(time);
        args
    };
    let (up, down, down_if) = (op(2, 0), op(-1, 0), op(-1, nowait));
    s.fails(libc::EINVAL, &args(NO_FD, &up));
    let set = prepare("semget", libc::SYS_semget, &[0, 1, 0o600])? as u64;
    s.fails(libc::EAGAIN, &args(set, &down_if));
    s.good(&args(set, &up))?;
    s.good(&args(set, &down))?;
    s.note(plain(libc::SYS_semctl, &[set, 0, 12 /* GETVAL */, 0]));
    if time.is_some() {
        s.good(&args(set, &down))?;
        s.fails(libc::EAGAIN, &args(set, &down));
    }
    remove(libc::SYS_semctl, &[set, 0, 0]);
    Ok(())
}

/// Removes what has no owner that takes it along: IPC_RMID is 0.
fn remove(nr: libc::c_long, args: &[u64]) {
    assert_eq!(plain(nr, args), 0);
}

/// A child that has exited with this status, not waited for.
fn child_that_exits(status: i32) -> u64 {
    let told = crate::file::Pipe::new();
    // SAFETY: the child does nothing but leave.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: leaves at once.
        unsafe { libc::_exit(status) };
    }
    assert!(pid > 0, "fork: {}", std::io::Error::last_os_error());
    drop(told.writer);
    // Its end of the pipe is closed when it is gone.
    let mut end = Vec::new();
    (&told.reader).read_to_end(&mut end).expect("the end");
    pid as u64
}

/// A page of memory, of a file or of no one.
struct Page(*mut libc::c_void);

impl Page {
    fn new(file: Option<i32>) -> Self {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags =
            if file.is_some() { libc::MAP_SHARED } else { libc::MAP_PRIVATE | libc::MAP_ANONYMOUS };
        let null = std::ptr::null_mut();
        // SAFETY: a new mapping, where the kernel likes it.
        let page = unsafe { libc::mmap(null, PAGE, access, flags, file.unwrap_or(-1), 0) };
        assert_ne!(page, libc::MAP_FAILED);
        Page(page)
    }

    fn at(&self) -> u64 {
        self.0.expose_provenance() as u64
    }

    fn write(&self, byte: u8) {
        // SAFETY: it is mapped, and nobody else's.
        unsafe { self.0.cast::<u8>().write_volatile(byte) };
    }

    fn read(&self) -> u8 {
        // SAFETY: it is mapped, and nobody else's.
        unsafe { self.0.cast::<u8>().read_volatile() }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`.
        unsafe { libc::munmap(self.0, PAGE) };
    }
}
