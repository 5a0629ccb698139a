//! Random syscalls, each made plainly in one world and through AIO2 in another
//! that is alike: result, errno, memory, position, size, contents, mode and names
//! have to be the same.
//!
//! Where the plain call would wait, which an alarm finds out, the request has to
//! wait too: it is cancelled then, and both worlds are built anew.
//!
//! | room | duty |
//! |---|---|
//! | `world` | what calls work on |
//! | `calls` | which calls, with which arguments |
//!
//! SPEC: R-OP-3, R-RUN-4, R-RUN-12.

mod calls;
mod world;

use crate::context::Context;
use crate::env::{Env, Factory};
use crate::mounts::{Kind as FileSystem, Mount};
use crate::random::Random;
use crate::request::{Batch, Request};
use aio2::syscall;

use aio2_abi::iocb::IocbFlags;
use aio2_abi::setup::Features;
use aio2_abi::wait::{Cancel, CancelFlags};
use calls::{Call, Maker, Told};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use world::{Arg, DATA, DATA_BYTES, Kind, STRUCTS, World};

/// Calls in one pair of worlds.
const CALLS: u64 = 2000;
/// A plain call that takes so long, on what may wait, waits.
const ALARM_US: i64 = 1500;
/// As much, where what it waits for is to come.
const ARRIVAL_US: i64 = 50_000;
/// How often signals come while a request is made in a storm of them.
const STORM_US: i64 = 60;
/// As much, on what should not.
const LATE_US: i64 = 900_000;
/// A file is no larger, in bytes.
const FILE_BYTES: u64 = 4 << 20;

static ALARM: AtomicBool = AtomicBool::new(false);

extern "C" fn ring(_: i32) {
    ALARM.store(true, Ordering::SeqCst);
}

/// What was done.
#[derive(Debug, Default)]
pub struct Report {
    /// Calls that were compared.
    pub calls: u64,
    /// How often of each syscall, of which some failed and some did not.
    pub by_name: BTreeMap<&'static str, [u64; 2]>,
    /// By the file system and the way to run them.
    pub by_way: BTreeMap<String, u64>,
    /// Results that may differ, as the kernel leaves them open.
    pub explained: u64,
    /// Calls that would have waited.
    pub waited: u64,
    /// Calls that waited until something came.
    pub arrived: u64,
    /// Requests that were made while signals came.
    pub storms: u64,
    /// What was not the same.
    pub differences: Vec<String>,
}

/// How a request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Plain,
    Worker,
    Exec,
    Batch,
    After,
    Group,
    Deadline,
    Full,
}

const WAYS: [Way; 8] = [
    Way::Plain,
    Way::Worker,
    Way::Exec,
    Way::Batch,
    Way::After,
    Way::Group,
    Way::Deadline,
    Way::Full,
];

/// Runs random calls for so long, or about so many, or until something is not the
/// same.
///
/// # Panics
/// If the process cannot be prepared.
pub fn run(factory: &dyn Factory, dir: &Path, seed: u64, time: Duration, calls: u64) -> Report {
    let begun = Instant::now();
    let mut report = Report::default();
    let mut places: Vec<(String, PathBuf, Option<Mount>)> = vec![("here".into(), dir.into(), None)];
    let kinds = [
        FileSystem::Ext4,
        FileSystem::Xfs,
        FileSystem::Btrfs,
        FileSystem::Tmpfs,
        FileSystem::Overlay,
        FileSystem::Fuse,
    ];
    for kind in kinds {
        let name = format!("{kind:?}").to_lowercase();
        let under = dir.join(format!("fs-{name}"));
        std::fs::create_dir_all(&under).expect("a directory can be made");
        match Mount::new(kind, "", &under) {
            Ok(mount) => places.push((name, mount.dir().to_owned(), Some(mount))),
            Err(why) => println!("SKIP {name}: {}", why.0),
        }
    }
    prepare();
    let mut random = Random::new(seed);
    for round in 0_u64.. {
        let is_over = begun.elapsed() >= time || report.calls >= calls;
        if is_over || !report.differences.is_empty() {
            break;
        }
        let (name, dir, _) = &places[(round % places.len() as u64) as usize];
        let mut round = Round {
            context: Env { factory, dir }.context(),
            random: Random::new(random.next()),
            dir: dir.join(format!("round-{round}")),
            place: name,
            report: &mut report,
            last: Vec::new(),
        };
        round.run(begun + time);
    }
    report
}

/// Signals that a call may bring change nothing; files stay small.
fn prepare() {
    for signo in [libc::SIGPIPE, libc::SIGXFSZ, libc::SIGIO, libc::SIGURG, libc::SIGHUP] {
        // SAFETY: no handler.
        unsafe { libc::signal(signo, libc::SIG_IGN) };
    }
    // SAFETY: a sigaction may be all zeros.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = ring as extern "C" fn(i32) as usize;
    // SAFETY: the handler stores to an atomic.
    unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) };
    let limit = libc::rlimit { rlim_cur: FILE_BYTES, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: reads the limit.
    unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) };
}

/// Has SIGALRM sent again and again from so many microseconds on; 0 for never.
fn alarm(us: i64) {
    let time = libc::timeval { tv_sec: 0, tv_usec: us };
    let timer = libc::itimerval { it_interval: time, it_value: time };
    // SAFETY: the time can be read.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}

struct Round<'a> {
    context: Context,
    random: Random,
    dir: PathBuf,
    place: &'a str,
    report: &'a mut Report,
    /// The calls before, to be told with a difference.
    last: Vec<String>,
}

/// What is seen of one call.
type Seen = (i64, Vec<u8>, Vec<[i64; 4]>);

impl Round<'_> {
    fn run(&mut self, until: Instant) {
        let mut worlds = None;
        let mut made = 0;
        for n in 0..CALLS {
            if n % 64 == 0 && Instant::now() >= until || !self.report.differences.is_empty() {
                return;
            }
            let pair = worlds.get_or_insert_with(|| {
                made += 1;
                [("plain", 900), ("aio2", 901)].map(|(name, spare)| {
                    let dir = self.dir.join(format!("{name}-{made}"));
                    World::new(&dir, spare).expect("a world can be built")
                })
            });
            let [plain, other] = &*pair;
            if !self.step(plain, other) {
                worlds = None;
                continue;
            }
            if n % 100 == 99 || n + 1 == CALLS {
                let all = [plain, other].map(World::look_at_all);
                if all[0] != all[1] {
                    self.differ(format!("{:#?}\nis not\n{:#?}", all[0], all[1]));
                }
            }
        }
        drop(worlds);
        let _ = std::fs::remove_dir_all(&self.dir);
    }

    fn differ(&mut self, what: String) {
        let last = self.last.join("\n");
        self.report.differences.push(format!("on {}, after\n{last}\n{what}", self.place));
    }

    /// Makes one call in both worlds; false if they are to be built anew.
    fn step(&mut self, plain: &World, other: &World) -> bool {
        let call = Maker { random: &mut self.random, world: plain }.call();
        let row = syscall::by_name(call.name).expect("allowed");
        debug_assert_eq!(call.args.len(), usize::from(row.nr_args), "{}", call.name);
        let mut way = WAYS[self.random.below(WAYS.len() as u64) as usize];
        let nr = libc::c_long::from(row.nr);
        let pattern = self.random.next() as u8;
        for world in [plain, other] {
            fill(world, &call, pattern);
        }
        let args = arguments(plain, &call);
        ALARM.store(false, Ordering::SeqCst);
        alarm(if call.waits { ALARM_US } else { LATE_US });
        let expected = plainly(nr, &args);
        alarm(0);
        let rang = ALARM.load(Ordering::SeqCst);
        self.last.push(describe(plain, &call, way, expected));
        if self.last.len() > 12 {
            self.last.remove(0);
        }
        if rang {
            // One that has moved something might have moved more; and these look for
            // signals also where they do not wait.
            let looks = matches!(call.name, "sendfile" | "splice" | "tee" | "copy_file_range");
            if expected != -i64::from(libc::EINTR) || looks {
                return false;
            }
            return match self.random.below(2) {
                0 => self.wait_in_vain(other, &call, nr),
                _ => self.wait_for_arrival([plain, other], &call, nr),
            };
        }
        let wants_all = match (call.name, call.args.get(2)) {
            ("read" | "pread64" | "write" | "pwrite64", Some(Arg::Num(len))) => {
                expected >= 0 && expected as u64 == *len
            }
            _ => false,
        };
        if way == Way::Full && !wants_all
            || way == Way::Exec
                && !self.context.backend().setup().features().contains(Features::EXEC)
        {
            way = Way::Plain;
        }
        let Some(got) =
            self.request(nr, &arguments(other, &call)[..call.args.len()], way, call.waits)
        else {
            if fills_terminal(plain, &call, expected) {
                self.report.explained += 1;
            } else {
                self.differ(format!("{way:?}: it waits, the plain call gave {expected}"));
            }
            return false;
        };
        let seen = [(plain, expected), (other, got)].map(|(world, res)| look(world, &call, res));
        self.report.calls += 1;
        self.report.by_name.entry(call.name).or_default()[usize::from(expected < 0)] += 1;
        *self.report.by_way.entry(format!("{way:?} on {}", self.place)).or_default() += 1;
        if seen[0] != seen[1] && is_explained(plain, &call, [expected, got]) {
            self.report.explained += 1;
            return false;
        }
        if seen[0] != seen[1] {
            let place = seen[0].1.iter().zip(&seen[1].1).position(|(a, b)| a != b);
            self.differ(format!(
                "{way:?}: {:?} {:?}, the plain call {:?} {:?}; first different byte {place:?}",
                seen[1].0, seen[1].2, seen[0].0, seen[0].2
            ));
        }
        !fails_direct_write(plain, &call, expected)
    }

    /// The plain call waits, and so does the request, until something comes; false
    /// if the worlds are to be built anew.
    fn wait_for_arrival(&mut self, worlds: [&World; 2], call: &Call, nr: libc::c_long) -> bool {
        let Some(&Arg::Fd(place)) = call.args.first() else { return true };
        let Some(partner) = worlds[0].partner(place) else { return true };
        let reads = call.name.contains("read") || call.name.starts_with("recv");
        let len = if worlds[0].name(place) == "eventfd" { 8 } else { 1 + self.random.below(100) };
        let (delay, way) = (self.random.below(400), self.random.below(3) as usize);
        let mut results = [0; 2];
        for (n, world) in worlds.into_iter().enumerate() {
            let fd = world.fd(partner);
            let result = std::thread::scope(|scope| {
                scope.spawn(move || {
                    without_alarms();
                    std::thread::sleep(Duration::from_micros(delay + 200 * (1 - n as u64)));
                    come(fd, reads, len as usize);
                });
                let args = arguments(world, call);
                if n == 1 {
                    let way = [Way::Plain, Way::Worker, Way::Deadline][way];
                    return self.request(nr, &args[..call.args.len()], way, true);
                }
                ALARM.store(false, Ordering::SeqCst);
                alarm(ARRIVAL_US);
                let result = plainly(nr, &args);
                alarm(0);
                Some(result).filter(|_| !ALARM.load(Ordering::SeqCst))
            });
            match result {
                Some(result) => results[n] = result,
                // It waits for more.
                None if n == 0 => return false,
                None => {
                    self.differ(format!("it waits, the plain call gave {}", results[0]));
                    return false;
                }
            }
        }
        self.report.arrived += 1;
        let seen = [0, 1].map(|n| look(worlds[n], call, results[n]));
        if seen[0] != seen[1] {
            self.differ(format!("after an arrival: {:?}, the plain call {:?}", seen[1], seen[0]));
        }
        true
    }

    /// The plain call waits: so must the request, until it is cancelled. False if
    /// the worlds are to be built anew.
    fn wait_in_vain(&mut self, other: &World, call: &Call, nr: libc::c_long) -> bool {
        self.report.waited += 1;
        let args = arguments(other, call);
        let mut batch = Batch::of([Request::call(nr, &args[..call.args.len()])]);
        self.context.submit_all(&mut batch);
        std::thread::sleep(Duration::from_micros(self.random.below(300)));
        let ended = self.context.reap_ring(1);
        if let Some(event) = ended.first() {
            self.differ(format!("it has ended with {}, the plain call waits", event.res));
            return false;
        }
        let flags = CancelFlags::ALL | CancelFlags::WAIT;
        let _ = self.context.cancel(flags, Cancel::default());
        let event = self.context.reap(1).remove(0);
        if event.res < 0 && event.res != -i64::from(libc::ECANCELED) {
            self.differ(format!("cancelled while it waited: {}", event.res));
        }
        // Nothing was moved in either of them.
        event.res == -i64::from(libc::ECANCELED)
    }

    /// The result of the request; none if it waits.
    fn request(&mut self, nr: libc::c_long, args: &[u64], way: Way, waits: bool) -> Option<i64> {
        let request = Request::call(nr, args).user_data(7);
        let batch = match way {
            Way::Exec if waits => vec![request],
            Way::Exec => return Some(self.execute(request)),
            Way::Plain => vec![request],
            Way::Worker => vec![request.on_worker()],
            Way::Full => vec![request.flags(IocbFlags::FULL)],
            Way::Batch => vec![Request::nop(1), request, Request::nop(2)],
            Way::After => {
                let first = Request::nop(1).on_worker();
                vec![first, request.after(aio2_abi::attr::AFTER_STREAM, 1)]
            }
            Way::Group => vec![request.in_group(3), Request::close_group(3)],
            Way::Deadline => vec![request.deadline(3_600_000_000_000)],
        };
        let count = batch.len();
        // They come to this thread: what it does for the request must not see them.
        let storm = self.random.below(4) == 0;
        if storm {
            self.report.storms += 1;
            self.last.push(String::from("  while signals come"));
            alarm(STORM_US);
        }
        self.context.submit_all(&mut Batch::of(batch));
        if storm {
            std::thread::sleep(Duration::from_micros(self.random.below(200)));
        }
        let result = self.end_of(count);
        alarm(0);
        result
    }

    /// The result of the request among so many that were submitted; none if they
    /// wait.
    fn end_of(&mut self, count: usize) -> Option<i64> {
        let mut events = self.context.reap_ring(count);
        let begun = Instant::now();
        while events.len() < count {
            let wait = aio2::backend::Wait::events(1).within(Duration::from_secs(5));
            if self.context.wait(&wait).is_err() && begun.elapsed() > Duration::from_secs(5) {
                let flags = CancelFlags::ALL | CancelFlags::WAIT;
                let _ = self.context.cancel(flags, Cancel::default());
                let _ = self.context.reap(count - events.len());
                return None;
            }
            events.extend(self.context.reap_ring(count - events.len()));
        }
        events.iter().find(|event| event.user_data == 7).map(|event| event.res)
    }

    fn execute(&self, request: Request) -> i64 {
        let mut batch = Batch::of([request]);
        let mut event = [0_u64; 64];
        let room = zerocopy::IntoBytes::as_mut_bytes(&mut event[..]);
        // SAFETY: what the arguments name is the world's, or not there.
        let result = unsafe { self.context.backend().exec(batch.bytes(), room) };
        result.expect("a good iocb");
        event[2] as i64
    }
}

/// Makes a call; its result, or the negative errno.
fn plainly(nr: libc::c_long, args: &[u64; 6]) -> i64 {
    // SAFETY: what the arguments name is a world's, or not there.
    let result = unsafe { libc::syscall(nr, args[0], args[1], args[2], args[3], args[4], args[5]) };
    if result < 0 {
        return -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0));
    }
    result
}

/// Keeps SIGALRM from this thread: it is another one's.
fn without_alarms() {
    // SAFETY: a set may be all zeros.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set can be written.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGALRM) };
    // SAFETY: the set can be read.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
}

/// Has bytes come to the other end of `fd`, or go from it.
fn come(fd: i32, come: bool, len: usize) {
    let mut room = [0_u8; 1 << 16];
    room[0] = 1;
    let events = if come { libc::POLLOUT } else { libc::POLLIN };
    let mut poll = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: one entry, which can be written.
    if unsafe { libc::poll(&raw mut poll, 1, 100) } <= 0 || poll.revents & events == 0 {
        return;
    }
    let at = room.as_mut_ptr();
    if come {
        // SAFETY: so many bytes can be read.
        unsafe { libc::write(fd, at.cast(), len) };
    } else {
        // SAFETY: so many bytes can be written.
        unsafe { libc::read(fd, at.cast(), room.len()) };
    }
}

/// Whether a call sends from memory that ends before all is sent: how much a socket
/// has taken before that depends on a buffer of the thread.
fn sends_beyond_memory(call: &Call) -> bool {
    let beyond = |at: usize, len: u64| at as u64 + len.min(1 << 40) > world::END as u64;
    let pairs = |args: &[Arg]| {
        args.windows(2).any(|pair| match pair {
            [Arg::Memory(at), Arg::Num(len)] => beyond(*at, *len),
            _ => false,
        })
    };
    let words: Vec<Arg> = call.words.iter().map(|(_, word)| *word).collect();
    let sends = call.name.contains("write") || call.name.starts_with("send");
    sends && (pairs(&call.args) || pairs(&words))
}

/// Whether the kernel leaves it open which of these two results a call has.
fn is_explained(world: &World, call: &Call, results: [i64; 2]) -> bool {
    let has_nowait = |arg: &Arg| matches!(arg, Arg::Num(n) if n & libc::RWF_NOWAIT as u64 != 0);
    let is_socket = |arg: &Arg| match arg {
        Arg::Fd(at) => world.kind(*at) == Kind::Socket,
        // It may be a duplicate of one.
        arg => matches!(arg, Arg::Spare),
    };
    let is_terminal = |arg: &Arg| matches!(arg, Arg::Fd(at) if world.name(*at).starts_with("term"));
    let one_is = |errno: i32| results.contains(&-i64::from(errno));
    // What is echoed comes before or after what is written.
    call.args.first().is_some_and(is_terminal)
        && call.name.contains("read")
        && results.iter().all(|res| *res > 0)
    // A lock that another thread of the kernel holds, a block to be allocated.
        || call.name.ends_with("v2") && call.args.last().is_some_and(has_nowait) && one_is(libc::EAGAIN)
        // Of a hole, a direct read looks at memory and not at alignment; whether there is
        // one depends on what was written back by then.
        || is_direct(world, call)
            && call.name.contains("read")
            && one_is(libc::EFAULT)
            && one_is(libc::EINVAL)
        // How much goes into a thread's buffer before memory ends.
        || call.args.first().is_some_and(is_socket)
            && (one_is(libc::EFAULT)
                || results.iter().all(|res| *res > 0) && sends_beyond_memory(call))
}

/// Whether a call is one on a file that is open for direct transfers.
fn is_direct(world: &World, call: &Call) -> bool {
    matches!(call.args.first(), Some(Arg::Fd(at)) if world.name(*at) == "direct")
}

/// Whether a call is a direct write that has failed. How much the file has got of it by
/// then depends on where its blocks are: what lies before the block that is refused may
/// be written.
fn fails_direct_write(world: &World, call: &Call, result: i64) -> bool {
    result < 0 && call.name.contains("write") && is_direct(world, call)
}

/// Whether a call has written so much to a terminal that another one may have to
/// wait: when the kernel moves on what the terminal holds is left open.
fn fills_terminal(world: &World, call: &Call, result: i64) -> bool {
    const HELD: i64 = 4096;
    let is_terminal = |arg: &Arg| matches!(arg, Arg::Fd(at) if world.name(*at).starts_with("term"));
    let to = match call.name {
        "splice" => call.args.get(2),
        name if name == "sendfile" || name.contains("write") => call.args.first(),
        _ => None,
    };
    result >= HELD && to.is_some_and(is_terminal)
}

fn fill(world: &World, call: &Call, pattern: u8) {
    world.write(DATA, &[pattern; DATA_BYTES]);
    world.write(STRUCTS, &[0; 4096]);
    for (at, word) in &call.words {
        world.write(*at, &world.resolve(*word).to_ne_bytes());
    }
}

fn arguments(world: &World, call: &Call) -> [u64; 6] {
    std::array::from_fn(|n| call.args.get(n).map_or(0, |arg| world.resolve(*arg)))
}

/// What is seen after a call, without what two worlds do not share.
fn look(world: &World, call: &Call, result: i64) -> Seen {
    let mut result = result;
    let out = STRUCTS + 3200;
    let close = |fd: i32| {
        // SAFETY: takes a number; the call before has made it.
        unsafe { libc::close(fd) };
    };
    let mut memory = world.bytes(DATA, DATA_BYTES).to_vec();
    // What a direct read that is short writes behind the end of the file.
    let is_whole = matches!(call.args.get(2), Some(Arg::Num(len)) if *len as i64 == result)
        && !call.name.contains('v');
    if call.name.contains("read") && !is_whole && is_direct(world, call) {
        memory.clear();
    }
    match call.told {
        Told::Descriptor if result >= 0 && world.is_spare(result) => result = 1,
        Told::Descriptor if result >= 0 => {
            close(result as i32);
            result = 0;
        }
        Told::Descriptors if result >= 0 => {
            for at in [out, out + 4] {
                let bytes = world.bytes(at, 4).try_into().expect("four bytes");
                close(i32::from_ne_bytes(bytes));
            }
        }
        Told::Stat if result == 0 => {
            // st_nlink, st_mode, st_size of those that are no directories.
            let is_dir = world.bytes(out + 25, 1)[0] & 0xf0 == 0x40;
            memory.extend_from_slice(world.bytes(out + 16, 12));
            memory.extend_from_slice(if is_dir { &[] } else { world.bytes(out + 48, 8) });
        }
        Told::Statx if result == 0 => {
            let is_dir = world.bytes(out + 29, 1)[0] & 0xf0 == 0x40;
            memory.extend_from_slice(world.bytes(out + 16, 14));
            memory.extend_from_slice(if is_dir { &[] } else { world.bytes(out + 40, 8) });
        }
        Told::Result => memory.clear(),
        Told::Errno => {
            memory.clear();
            result = result.min(1);
        }
        Told::All => memory.extend_from_slice(world.bytes(out, 64)),
        _ => {}
    }
    let fds = call.args.iter().filter_map(|arg| match arg {
        Arg::Fd(place) if world.kind(*place) != Kind::Other => Some(world.look(*place)),
        _ => None,
    });
    let partners = call.args.iter().filter_map(|arg| match arg {
        Arg::Fd(place) => world.look_at_partner(*place),
        _ => None,
    });
    (result, memory, fds.chain(partners).collect())
}

fn describe(world: &World, call: &Call, way: Way, result: i64) -> String {
    let show = |arg: &Arg| match arg {
        Arg::Fd(place) => format!("<{}>", world.name(*place)),
        Arg::Num(n) => format!("{:#x}", n),
        other => format!("{other:?}"),
    };
    let args: Vec<_> = call.args.iter().map(show).collect();
    let words: Vec<_> =
        call.words.iter().map(|(at, word)| format!("{at}: {}", show(word))).collect();
    format!("{}({}) [{}] {way:?} = {result}", call.name, args.join(", "), words.join(", "))
}
