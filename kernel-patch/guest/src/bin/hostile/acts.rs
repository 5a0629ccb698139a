//! What an attacker does to AIO2. Each act is a process's, which nobody expects to end
//! well: it may be stopped and killed at any place, and each of its calls may fail.

use crate::{HOME, SUCCESSOR};
use aio2::backend::Wait;
use aio2_abi::attr;
use aio2_abi::iocb::IocbFlags;
use aio2_abi::setup::Setup;
use aio2_abi::wait::{Cancel, CancelFlags};
use aio2_conformance::backends::Running;
use aio2_conformance::context::Context;
use aio2_conformance::env::{Factory, setup};
use aio2_conformance::file::{Pipe, socket_pair};
use aio2_conformance::hostile::be_hostile;
use aio2_conformance::random::Random;
use aio2_conformance::request::{Batch, Request};
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// A file of the attacker's, larger than what his device takes at a time.
pub const BIG: &str = "/home/big";
pub const BIG_BYTES: usize = 8 << 20;
const BLOCK: usize = 4096;

/// One thing to do.
#[derive(Clone, Copy)]
pub struct Act {
    pub name: &'static str,
    run: fn(&mut Random) -> Option<()>,
}

const ACTS: &[Act] = &[
    Act { name: "scribble", run: scribble },
    Act { name: "tags", run: tags },
    Act { name: "frozen", run: frozen },
    Act { name: "pass", run: pass },
    Act { name: "fork", run: fork },
    Act { name: "exec", run: exec },
    Act { name: "unshare", run: unshare },
    Act { name: "many", run: many },
    Act { name: "cancel", run: cancel },
    Act { name: "chains", run: chains },
    Act { name: "hoard", run: hoard },
    Act { name: "stop", run: stop },
];
/// What needs userfaultfd(2).
const FAULTS: Act = Act { name: "userfaults", run: userfaults };

/// Any of them.
pub fn any(random: &mut Random, userfaults: bool) -> Act {
    let n = random.below(ACTS.len() as u64 + u64::from(userfaults)) as usize;
    ACTS.get(n).copied().unwrap_or(FAULTS)
}

/// What leaves something in the kernel for the next time, without an attack.
pub fn rehearse() {
    if let Some(context) = context(&mut Random::new(0)) {
        let _ = context.submit(&mut Batch::of([Request::nop(0).on_worker()]));
        let _ = context.wait(&Wait::events(1).within(Duration::from_secs(1)));
    }
}

/// Does it, again and again until the process is killed or something fails.
pub fn attack(act: Act, mut random: Random) {
    for _ in 0..1 + random.below(6) {
        if (act.run)(&mut random).is_none() {
            break;
        }
    }
}

/// As the successor of a process by execve(2): uses what it finds open, and ends.
pub fn succeed() -> ExitCode {
    for fd in 3..64 {
        // SAFETY: takes numbers; no file is open of which something could be expected.
        unsafe {
            libc::syscall(aio2_abi::nr::IO_SUBMIT2.into(), fd, std::ptr::null::<u8>(), 64, 0)
        };
    }
    std::thread::sleep(Duration::from_millis(20));
    ExitCode::SUCCESS
}

/// A context of any size.
fn context(random: &mut Random) -> Option<Context> {
    let setup = Setup {
        ring_bytes: 4096 << random.below(6),
        max_requests: 16 << random.below(9),
        concurrency: 1 + random.below(8) as u32,
        ..setup()
    };
    Running.create(&setup).ok().map(Context::new)
}

/// Submits what can be; a wrong or refused rest is left.
fn submit(context: &Context, requests: impl IntoIterator<Item = Request>) -> usize {
    context.submit(&mut Batch::of(requests)).unwrap_or(0)
}

/// Takes leave of a context in one of the ways there are.
fn part(context: Context, random: &mut Random) {
    let flags = match random.below(6) {
        0 => CancelFlags::ALL,
        1 => CancelFlags::ALL | CancelFlags::WAIT,
        2 => {
            let _ = context.wait(&Wait::events(4).within(Duration::from_millis(random.below(50))));
            let _ = context.reap_ring(64);
            return;
        }
        // The process ends with it.
        3 => return std::mem::forget(context),
        _ => return,
    };
    let _ = context.cancel(flags, Cancel::default());
}

/// Writes over the consumer page and the iocbs, and replaces descriptors, while it
/// submits, waits and cancels.
fn scribble(random: &mut Random) -> Option<()> {
    let setup = Setup { ring_bytes: 4096, max_requests: 256, concurrency: 3, ..setup() };
    be_hostile(&Context::new(Running.create(&setup).ok()?), random);
    Some(())
}

/// Memory of pages, which nobody frees before the process ends: requests may use it.
fn pages(bytes: usize) -> Option<*mut u8> {
    let (access, how) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping.
    let pages = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, how, -1, 0) };
    (pages != libc::MAP_FAILED).then_some(pages.cast())
}

fn transfer(write: bool, fd: i32, memory: *mut u8, at: u64) -> Request {
    let nr = if write { libc::SYS_pwrite64 } else { libc::SYS_pread64 };
    Request::call(nr, &[fd as u64, memory.expose_provenance() as u64, BLOCK as u64, at])
}

/// More direct reads at a time than the device takes.
fn tags(random: &mut Random) -> Option<()> {
    let file = File::options().read(true).custom_flags(libc::O_DIRECT).open(BIG).ok()?;
    let file = ManuallyDrop::new(file);
    let memory = pages(BLOCK)?;
    let context = context(random)?;
    for _ in 0..1 + random.below(16) {
        let place = |random: &mut Random| (random.below((BIG_BYTES / BLOCK) as u64)) * BLOCK as u64;
        let mut reads = Vec::new();
        for _ in 0..64 {
            reads.push(transfer(false, file.as_raw_fd(), memory, place(random)));
        }
        if random.below(4) == 0 {
            reads = reads.into_iter().map(|r| r.returns(attr::CHECKSUM).on_worker()).collect();
        }
        submit(&context, reads);
    }
    part(context, random);
    Some(())
}

/// Writes to a file system that is frozen now and then, and makes and removes files.
fn frozen(random: &mut Random) -> Option<()> {
    let name = format!("{HOME}/{}", std::process::id());
    let direct = if random.below(2) == 0 { libc::O_DIRECT } else { 0 };
    let mut options = File::options();
    options.write(true).create(true).truncate(true).custom_flags(direct);
    let file = ManuallyDrop::new(options.open(&name).ok()?);
    let _ = std::fs::remove_file(&name);
    let memory = pages(BLOCK)?;
    let context = context(random)?;
    let fd = file.as_raw_fd();
    for _ in 0..1 + random.below(30) {
        let at = random.below(64) * BLOCK as u64;
        let mut requests = vec![transfer(true, fd, memory, at)];
        match random.below(4) {
            0 => requests.push(Request::call(libc::SYS_fdatasync, &[fd as u64])),
            1 => requests.push(Request::call(libc::SYS_ftruncate, &[fd as u64, at])),
            2 => requests[0] = requests[0].clone().on_worker(),
            _ => requests[0] = requests[0].clone().deadline(random.below(5_000_000)),
        }
        submit(&context, requests);
    }
    part(context, random);
    Some(())
}

/// Sends a descriptor by a socket.
fn send(socket: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> Option<()> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let mut room = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut room);
    let fds = [fd];
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let bytes = [io::IoSlice::new(b"x")];
    sendmsg(socket, &bytes, &mut control, SendFlags::DONTWAIT).ok().map(drop)
}

/// Passes the context over a socket, to nobody, to itself, in a circle.
fn pass(random: &mut Random) -> Option<()> {
    let context = context(random)?;
    let sockets = socket_pair(libc::SOCK_STREAM);
    let memory = pages(BLOCK)?;
    let far = sockets.1.as_raw_fd();
    submit(&context, [Request::poll(far, libc::POLLOUT).flags(IocbFlags::MULTISHOT)]);
    for _ in 0..random.below(5) {
        send(sockets.0.as_fd(), context.backend().as_fd());
    }
    if random.below(2) == 0 {
        send(sockets.0.as_fd(), sockets.1.as_fd());
        send(sockets.1.as_fd(), sockets.0.as_fd());
    }
    let receive = [far as u64, memory.expose_provenance() as u64, 1, 0, 0, 0];
    submit(&context, [Request::call(libc::SYS_recvfrom, &receive), Request::nop(1).on_worker()]);
    if random.below(2) == 0 {
        // Who has the other end takes what is there, and may use it.
        drop(sockets);
    }
    part(context, random);
    Some(())
}

/// A pipe that nobody writes to, and memory to read it to, both until the process ends.
fn empty_pipe() -> Option<(ManuallyDrop<Pipe>, *mut u8)> {
    Some((ManuallyDrop::new(Pipe::new()), pages(BLOCK)?))
}

fn read_of(pipe: &Pipe, memory: *mut u8) -> Request {
    let (fd, at) = (pipe.read_fd() as u64, memory.expose_provenance() as u64);
    Request::call(libc::SYS_read, &[fd, at, 1])
}

/// Forks with requests in flight; the child uses the context that is not its own.
fn fork(random: &mut Random) -> Option<()> {
    let context = context(random)?;
    let (pipe, memory) = empty_pipe()?;
    let worker = |n| if n % 2 == 0 { read_of(&pipe, memory).on_worker() } else { Request::nop(n) };
    submit(&context, (0..random.below(40)).map(worker));
    // SAFETY: this process has one thread of its own.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        submit(&context, [Request::nop(1), read_of(&pipe, memory)]);
        let _ = context.cancel(CancelFlags::ALL, Cancel::default());
        let _ = context.wait_copy(&Wait::events(1).within(Duration::from_millis(5)), BLOCK);
        if random.below(2) == 0 {
            std::thread::sleep(Duration::from_millis(random.below(100)));
        }
        // SAFETY: leaves.
        unsafe { libc::_exit(0) };
    }
    part(context, random);
    if pid > 0 && random.below(2) == 0 {
        // SAFETY: no status is asked for.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    }
    Some(())
}

/// Becomes another program, with requests in flight; the context may be left to it.
fn exec(random: &mut Random) -> Option<()> {
    let context = context(random)?;
    let (pipe, memory) = empty_pipe()?;
    let file = ManuallyDrop::new(File::open(BIG).ok()?);
    let cold = transfer(false, file.as_raw_fd(), memory, random.below(2000) * BLOCK as u64);
    let all = [read_of(&pipe, memory), read_of(&pipe, memory).on_worker(), cold.clone()];
    submit(&context, all.into_iter().chain((0..random.below(60)).map(|_| cold.clone())));
    if random.below(2) == 0 {
        let fd = context.backend().as_fd().as_raw_fd();
        // SAFETY: takes numbers.
        unsafe { libc::fcntl(fd, libc::F_SETFD, 0) };
    }
    if random.below(3) == 0 {
        // Another thread does it, and this one goes on meanwhile.
        std::thread::spawn(|| Command::new("/proc/self/exe").arg(SUCCESSOR).exec());
        loop {
            submit(&context, [Request::nop(0), Request::nop(1).on_worker()]);
            let _ = context.reap_ring(8);
        }
    }
    let _ = Command::new("/proc/self/exe").arg(SUCCESSOR).exec();
    None
}

/// Threads with files, directories and namespaces of their own.
fn unshare(random: &mut Random) -> Option<()> {
    let context = context(random)?;
    let (pipe, memory) = empty_pipe()?;
    for _ in 0..1 + random.below(12) {
        let flags = match random.below(5) {
            0 => libc::CLONE_FILES,
            1 => libc::CLONE_FS,
            2 => libc::CLONE_FILES | libc::CLONE_FS,
            3 => libc::CLONE_SYSVSEM,
            _ => 0,
        };
        let wait = random.below(3) == 0;
        std::thread::scope(|scope| {
            let (context, pipe) = (&context, &pipe);
            let memory = memory.expose_provenance();
            let by_thread = move || {
                // SAFETY: takes a number.
                unsafe { libc::unshare(flags) };
                let memory = std::ptr::with_exposed_provenance_mut(memory);
                submit(context, [read_of(pipe, memory).on_worker(), Request::nop(1).on_worker()]);
                if wait {
                    let _ = context.wait(&Wait::events(1).within(Duration::from_millis(5)));
                }
            };
            // Where there is no thread to be had, this one does it.
            if std::thread::Builder::new().spawn_scoped(scope, by_thread).is_err() {
                by_thread();
            }
        });
    }
    // Of the whole process, which has one thread again but for workers.
    if random.below(2) == 0 {
        // SAFETY: takes a number.
        unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) };
        submit(&context, [Request::nop(2).on_worker()]);
    }
    part(context, random);
    Some(())
}

/// As many contexts and requests as there may be, which grow.
fn many(random: &mut Random) -> Option<()> {
    let mut all = Vec::new();
    let (pipe, memory) = empty_pipe()?;
    for _ in 0..random.below(200) {
        let Some(context) = context(random) else { break };
        submit(&context, [Request::nop(0), Request::nop(1).on_worker(), read_of(&pipe, memory)]);
        if random.below(4) == 0 {
            let _ = context.backend().grow(8192 << random.below(6));
        }
        all.push(context);
    }
    while let Some(context) = all.pop() {
        part(context, random);
    }
    Some(())
}

/// Longer than any attack.
fn sleep() -> Request {
    static HOUR: libc::timespec = libc::timespec { tv_sec: 3600, tv_nsec: 0 };
    let time = std::ptr::from_ref(&HOUR).expose_provenance() as u64;
    Request::call(libc::SYS_nanosleep, &[time, 0])
}

/// Thousands that wait, and threads that cancel them.
fn cancel(random: &mut Random) -> Option<()> {
    let setup = Setup { max_requests: 8192, concurrency: 2, ..setup() };
    let context = Context::new(Running.create(&setup).ok()?);
    let (pipe, memory) = empty_pipe()?;
    let on_workers = random.below(2) == 0;
    for n in 0..random.below(64) {
        let request = |m| {
            let read = read_of(&pipe, memory).user_data(64 * n + m);
            // In the queue of the file, or, behind the first two, in that of the workers.
            if on_workers { sleep().user_data(64 * n + m) } else { read }
        };
        submit(&context, (0..64).map(request));
    }
    let seeds = [random.next(), random.next()];
    std::thread::scope(|scope| {
        for seed in seeds {
            let (context, mut random) = (&context, Random::new(seed));
            let by_thread = move || {
                for _ in 0..random.below(200) {
                    let one = Cancel {
                        flags: CancelFlags::USER_DATA.bits(),
                        user_data: random.below(4096),
                        ..Cancel::default()
                    };
                    let _ = context.backend().cancel(&mut one.clone());
                }
                let _ = context.cancel(CancelFlags::ALL | CancelFlags::WAIT, Cancel::default());
            };
            let _ = std::thread::Builder::new().spawn_scoped(scope, by_thread);
        }
    });
    part(context, random);
    Some(())
}

/// Requests after requests after requests, and groups, and deadlines on all of them.
fn chains(random: &mut Random) -> Option<()> {
    let context = context(random)?;
    let (pipe, memory) = empty_pipe()?;
    for _ in 0..1 + random.below(20) {
        let mut requests = vec![read_of(&pipe, memory).deadline(random.below(3_000_000))];
        for n in 0..random.below(60) {
            let request = if n % 3 == 0 { Request::nop(n).on_worker() } else { Request::nop(n) };
            let request = request.after(attr::AFTER_STREAM, 1 + random.below(2));
            requests.push(match random.below(4) {
                0 => request.in_group(random.below(4)),
                1 => request.deadline(random.below(3_000_000)),
                _ => request,
            });
        }
        requests.push(Request::close_group(random.below(4)));
        submit(&context, requests);
    }
    part(context, random);
    Some(())
}

/// Takes memory, until there is no more.
fn hoard(random: &mut Random) -> Option<()> {
    let mut kept = Vec::new();
    for _ in 0..40 {
        let setup = Setup { ring_bytes: 1 << 20, max_requests: 1024, ..setup() };
        if let Ok(backend) = Running.create(&setup) {
            let context = Context::new(backend);
            // Events that nobody takes: they fill the ring, and go on beside it.
            for _ in 0..8 {
                submit(&context, (0..512).map(|n| Request::nop(n).returns(attr::TIMING)));
            }
            kept.push(context);
        }
        let memory = pages(1 << 20)?;
        for page in 0..256 {
            // SAFETY: in the mapping, which nothing else uses.
            unsafe { memory.wrapping_add(page * BLOCK).write_volatile(1) };
        }
        if random.below(8) == 0 {
            kept.clear();
        }
    }
    Some(())
}

/// Stops itself, with requests in flight; somebody lets it go on, or kills it.
fn stop(random: &mut Random) -> Option<()> {
    let context = context(random)?;
    let (pipe, memory) = empty_pipe()?;
    let file = ManuallyDrop::new(File::open(BIG).ok()?);
    let cold = transfer(false, file.as_raw_fd(), memory, random.below(2000) * BLOCK as u64);
    let all = [cold.clone().on_worker(), read_of(&pipe, memory).on_worker(), cold];
    submit(&context, all);
    // SAFETY: takes a number.
    unsafe { libc::raise(libc::SIGSTOP) };
    part(context, random);
    Some(())
}

/// Memory whose pages come when the process itself says so: transfers to it wait in the
/// midst of a copy.
fn userfaults(random: &mut Random) -> Option<()> {
    const PAGES: u64 = 32;
    // See `linux/userfaultfd.h`, which crate libc does not have.
    const API: libc::Ioctl = 0xc018_aa3f_u32 as libc::Ioctl;
    const REGISTER: libc::Ioctl = 0xc020_aa00_u32 as libc::Ioctl;
    const ZEROPAGE: libc::Ioctl = 0xc020_aa04_u32 as libc::Ioctl;
    const MISSING: u64 = 1;
    // SAFETY: takes a number.
    let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | libc::O_NONBLOCK) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    let call = |what, words: &mut [u64]| {
        // SAFETY: as many words as the structure has.
        (unsafe { libc::ioctl(fd, what, words.as_mut_ptr()) } == 0).then_some(())
    };
    call(API, &mut [0xaa, 0, 0])?;
    let memory = pages(PAGES as usize * BLOCK)?;
    let start = memory.expose_provenance() as u64;
    call(REGISTER, &mut [start, PAGES * BLOCK as u64, MISSING, 0])?;
    let flags = if random.below(2) == 0 { libc::O_DIRECT } else { 0 };
    let file = File::options().read(true).custom_flags(flags).open(BIG).ok()?;
    let file = ManuallyDrop::new(file);
    let (pipe, _) = empty_pipe()?;
    let byte = 0_u8;
    // SAFETY: a byte that can be read.
    unsafe { libc::write(pipe.write_fd(), (&raw const byte).cast(), 1) };
    let context = context(random)?;
    for n in 0..PAGES {
        let page = memory.wrapping_add(n as usize * BLOCK);
        let request = match n % 4 {
            0 => read_of(&pipe, page),
            1 => transfer(true, file.as_raw_fd(), page, 0),
            _ => transfer(false, file.as_raw_fd(), page, n * BLOCK as u64),
        };
        // A try within the submission would wait for this very thread.
        submit(&context, [request.on_worker()]);
    }
    std::thread::sleep(Duration::from_millis(random.below(30)));
    for n in 0..PAGES {
        if random.below(2) == 0 {
            let _ = call(ZEROPAGE, &mut [start + n * BLOCK as u64, BLOCK as u64, 0, 0]);
        }
    }
    match random.below(3) {
        // Which answers all that wait.
        // SAFETY: the descriptor is this function's.
        0 => drop(unsafe { libc::close(fd) }),
        // Memory that goes away while somebody waits for it.
        // SAFETY: nothing but requests uses it, and they have errors of that.
        1 => drop(unsafe { libc::munmap(memory.cast(), PAGES as usize * BLOCK) }),
        _ => {}
    }
    part(context, random);
    Some(())
}
