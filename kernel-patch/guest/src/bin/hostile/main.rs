//! A hostile user, and another one beside him:
//!
//!     hostile [--seconds N] [--seed S]
//!
//! Processes of an ordinary user do to AIO2 whatever such a user may (`acts`), some of
//! them in a memory cgroup that is too small, or with allocations that fail. They are
//! stopped and killed at any time, and their file system is frozen. Beside them another
//! user types, reads and starts commands (`bystander`), and measures that: alone, beside
//! as many processes that only compute, and under attack.
//!
//! It fails if a process of the attacker does not end, if something is left (processes,
//! workers, kernel threads that sleep for ever, memory), or if the bystander has to wait
//! so long that somebody would give up. What the kernel's log says is for the host to
//! judge. Times are printed, and judged by a reader: they depend on the host.
//!
//! To be run as root, who prepares the guest and becomes these users.

mod acts;
mod bystander;

use aio2_conformance::child::forked;
use aio2_conformance::context::{patience, slowness};
use aio2_conformance::file::socket_pair;
use aio2_conformance::random::{Random, seed};
use aio2_guest::leftovers::{Inventory, ensure_nothing_since};
use aio2_guest::{FILES, IMAGE, chunks};
use anyhow::{Context, Result, bail, ensure};
use bystander::{Bystander, Phase};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, chown};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The user who attacks, and the one who suffers.
const ATTACKER: u32 = 1000;
const OTHER: u32 = 2000;
/// The attacker's disk, and where it is mounted.
const DISK: &str = "/dev/nullb1";
const HOME: &str = "/home";
/// A memory cgroup that is too small for what is done in it.
const CGROUP: &str = "/sys/fs/cgroup/hostile";
const CGROUP_BYTES: &str = "25165824";
/// Attacking processes at a time, without what they fork.
const PROCESSES: usize = 4;
/// How long one may live before it is killed.
const LIFE: Duration = Duration::from_secs(2);
/// ioctls of a file system: see `linux/fs.h`.
const FIFREEZE: libc::Ioctl = 0xc004_5877_u32 as libc::Ioctl;
const FITHAW: libc::Ioctl = 0xc004_5878_u32 as libc::Ioctl;
/// What this program is called for, as the successor of an attacker.
const SUCCESSOR: &str = "successor";
/// What it is called for, as a command that does nothing.
const NOTHING: &str = "nothing";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some(NOTHING) => return ExitCode::SUCCESS,
        Some(SUCCESSOR) => return acts::succeed(),
        _ => {}
    }
    let (mut seconds, mut seed) = (20, seed());
    for pair in args.chunks(2) {
        match pair {
            [name, value] if name == "--seconds" => seconds = value.parse().unwrap_or(seconds),
            [name, value] if name == "--seed" => seed = value.parse().unwrap_or(seed),
            _ => {
                eprintln!("usage: hostile [--seconds N] [--seed S]");
                return ExitCode::from(2);
            }
        }
    }
    println!("hostile: --seconds {seconds} --seed {seed}");
    match run(Duration::from_secs(seconds), seed) {
        Ok(()) => {
            println!("ok hostile");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("FAIL hostile: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The whole of it: for so long, of which a part is to know how it is without attack.
fn run(time: Duration, seed: u64) -> Result<()> {
    // What forks in the attack and loses its parent comes to this process.
    // SAFETY: takes numbers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    let home = Home::mount()?;
    let means = Means::prepare();
    // Once before, so that what is kept for the next time is there.
    acts::rehearse();
    drop_caches();
    let before = Inventory::take()?;
    let bystander = Bystander::start()?;

    let quiet = (time / 8).max(Duration::from_secs(2));
    std::thread::sleep(quiet);
    bystander.enter(Phase::Busy);
    let busy = compute(PROCESSES)?;
    std::thread::sleep(quiet);
    busy.into_iter().for_each(kill);
    reap_all(&[bystander.pid()])?;

    bystander.enter(Phase::Attacked);
    let mut attack = Attack::new(&home, &means, Random::new(seed));
    let result = attack.go_on_for(time.saturating_sub(quiet * 2));
    home.thaw();
    // Also what has forked.
    let killed = forked(|| {
        become_user(ATTACKER);
        // SAFETY: takes numbers; this user's processes are the attacker's.
        unsafe { libc::kill(-1, libc::SIGKILL) }
    });
    let reaped = reap_all(&[bystander.pid()]);
    println!("  {}", attack.summary());
    let calm = bystander.stop();
    result?;
    ensure!(killed.code().is_some(), "{killed}");
    reaped?;
    calm?;
    ensure!(attack.ended > 0, "nobody has attacked");

    // What holds itself by a socket that it is in flight in is looked for when one is closed.
    drop(socket_pair(libc::SOCK_STREAM));
    drop_caches();
    home.unmount()?;
    ensure_nothing_since(&before)?;
    no_kernel_thread_sleeps_for_ever()
}

/// The attacker's file system.
struct Home {
    dir: File,
}

impl Home {
    /// As the guest's disk was at its beginning, on another device.
    fn mount() -> Result<Home> {
        let image = fs::read(IMAGE).context(IMAGE)?;
        let disk = File::options().write(true).open(DISK).context(DISK)?;
        for (at, bytes) in chunks(&image) {
            disk.write_all_at(bytes, at)?;
        }
        disk.sync_all()?;
        fs::create_dir_all(HOME)?;
        let [disk, home, kind] = [DISK, HOME, "ext4"].map(|s| CString::new(s).expect("no zero"));
        // SAFETY: C strings that are alive, and no options.
        let mounted = unsafe {
            libc::mount(disk.as_ptr(), home.as_ptr(), kind.as_ptr(), 0, std::ptr::null())
        };
        ensure!(mounted == 0, "{DISK} on {HOME}: {}", io::Error::last_os_error());
        chown(HOME, Some(ATTACKER), Some(ATTACKER))?;
        // Larger than what a device takes at a time, and cold.
        fs::write(acts::BIG, vec![7; acts::BIG_BYTES])?;
        chown(acts::BIG, Some(ATTACKER), Some(ATTACKER))?;
        Ok(Home { dir: File::open(HOME)? })
    }

    /// As who owns it could, if he may mount such a file system himself.
    fn freeze(&self) {
        // SAFETY: an ioctl without memory.
        unsafe { libc::ioctl(self.dir.as_raw_fd(), FIFREEZE, 0) };
    }

    fn thaw(&self) {
        // SAFETY: an ioctl without memory.
        unsafe { libc::ioctl(self.dir.as_raw_fd(), FITHAW, 0) };
    }

    fn unmount(self) -> Result<()> {
        drop(self.dir);
        let home = CString::new(HOME).expect("no zero");
        let begun = Instant::now();
        // SAFETY: a C string.
        while unsafe { libc::umount(home.as_ptr()) } != 0 {
            let error = io::Error::last_os_error();
            ensure!(begun.elapsed() < patience(), "{HOME} is in use by somebody: {error}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// What this kernel has to make a process suffer.
struct Means {
    /// Allocations can be made to fail.
    faults: bool,
    /// There is a memory cgroup.
    cgroup: bool,
    /// User space can handle page faults of the kernel.
    userfaults: bool,
}

impl Means {
    fn prepare() -> Means {
        let set = |path: &str, value: &str| fs::write(path, value).is_ok();
        let faults = fs::exists("/proc/self/make-it-fail").unwrap_or(false)
            && ["failslab", "fail_page_alloc"].iter().all(|kind| {
                let dir = format!("/sys/kernel/debug/{kind}");
                // One in a hundred allocations of who has asked for it, silently.
                [
                    ("task-filter", "Y"),
                    ("probability", "1"),
                    ("interval", "1"),
                    ("times", "-1"),
                    ("verbose", "0"),
                    ("ignore-gfp-wait", "N"),
                ]
                .iter()
                .all(|(name, value)| set(&format!("{dir}/{name}"), value))
            });
        let cgroup2 = CString::new("cgroup2").expect("no zero");
        let at = CString::new("/sys/fs/cgroup").expect("no zero");
        // SAFETY: C strings that are alive, and no options. It may be there already.
        unsafe {
            libc::mount(cgroup2.as_ptr(), at.as_ptr(), cgroup2.as_ptr(), 0, std::ptr::null())
        };
        let cgroup = set("/sys/fs/cgroup/cgroup.subtree_control", "+memory")
            && (fs::create_dir(CGROUP).is_ok() || fs::exists(CGROUP).unwrap_or(false))
            && set(&format!("{CGROUP}/memory.max"), CGROUP_BYTES);
        let userfaults = set("/proc/sys/vm/unprivileged_userfaultfd", "1");
        let means = Means { faults, cgroup, userfaults };
        for (has, what) in [
            (means.faults, "allocations that fail"),
            (means.cgroup, "a memory cgroup"),
            (means.userfaults, "userfaultfd"),
        ] {
            if !has {
                println!("  SKIP {what}: this kernel has none");
            }
        }
        means
    }
}

impl Drop for Means {
    fn drop(&mut self) {
        for kind in ["failslab", "fail_page_alloc"] {
            let _ = fs::write(format!("/sys/kernel/debug/{kind}/probability"), "0");
            let _ = fs::write(format!("/sys/kernel/debug/{kind}/task-filter"), "N");
        }
        let _ = fs::remove_dir(CGROUP);
    }
}

/// A process of the attacker.
struct Process {
    pid: i32,
    act: &'static str,
    /// When it is killed.
    until: Instant,
    /// It has what memory it wants, so that no act fails by itself.
    has_memory: bool,
    /// Whether that was done.
    killed: bool,
}

/// The attack: processes that come and go.
struct Attack<'a> {
    home: &'a Home,
    means: &'a Means,
    random: Random,
    processes: Vec<Process>,
    /// How often each act was begun.
    begun: BTreeMap<&'static str, u32>,
    /// Processes that have ended, by themselves and by force.
    ended: u32,
    killed: u32,
    /// Ends with an error that an act did not expect, without memory.
    failed: u32,
    freezes: u32,
    stops: u32,
}

impl<'a> Attack<'a> {
    fn new(home: &'a Home, means: &'a Means, random: Random) -> Self {
        Attack {
            home,
            means,
            random,
            processes: Vec::new(),
            begun: BTreeMap::new(),
            ended: 0,
            killed: 0,
            failed: 0,
            freezes: 0,
            stops: 0,
        }
    }

    fn go_on_for(&mut self, time: Duration) -> Result<()> {
        let begun = Instant::now();
        let mut frozen: Option<Instant> = None;
        while begun.elapsed() < time {
            while self.processes.len() < PROCESSES {
                self.start()?;
            }
            std::thread::sleep(Duration::from_millis(2 + self.random.below(10)));
            match frozen {
                Some(until) if until < Instant::now() => {
                    self.home.thaw();
                    frozen = None;
                }
                None if self.random.below(100) == 0 => {
                    self.home.freeze();
                    self.freezes += 1;
                    let time = Duration::from_millis(10 + self.random.below(200));
                    frozen = Some(Instant::now() + time);
                }
                _ => {}
            }
            self.disturb();
            self.reap(frozen.is_some())?;
        }
        Ok(())
    }

    /// One process more.
    fn start(&mut self) -> Result<()> {
        let act = acts::any(&mut self.random, self.means.userfaults);
        let random = Random::new(self.random.next());
        let faults = self.means.faults && self.random.below(4) == 0;
        let cgroup = self.means.cgroup && self.random.below(3) == 0;
        let life = LIFE.mul_f64(0.02 + self.random.below(100) as f64 / 100.0) * slowness();
        // SAFETY: this process has one thread.
        let pid = unsafe { libc::fork() };
        ensure!(pid >= 0, "fork: {}", io::Error::last_os_error());
        if pid == 0 {
            if cgroup {
                let _ = fs::write(format!("{CGROUP}/cgroup.procs"), "0");
            }
            if faults {
                let _ = fs::write("/proc/self/make-it-fail", "1");
            }
            if faults || cgroup {
                say_nothing();
            }
            let failed = std::panic::catch_unwind(|| {
                become_user(ATTACKER);
                let _ = std::env::set_current_dir(HOME);
                acts::attack(act, random);
            });
            // SAFETY: leaves, whatever other threads do.
            unsafe { libc::_exit(i32::from(failed.is_err())) };
        }
        *self.begun.entry(act.name).or_default() += 1;
        let until = Instant::now() + life;
        let has_memory = !faults && !cgroup;
        self.processes.push(Process { pid, act: act.name, until, has_memory, killed: false });
        Ok(())
    }

    /// Stops some, lets them go on.
    fn disturb(&mut self) {
        for process in &self.processes {
            let signal = match self.random.below(40) {
                0 => libc::SIGSTOP,
                1..=8 => libc::SIGCONT,
                _ => continue,
            };
            self.stops += u32::from(signal == libc::SIGSTOP);
            // SAFETY: takes numbers; the process was not waited for yet.
            unsafe { libc::kill(process.pid, signal) };
        }
    }

    /// Takes leave of those that have ended, and kills those whose time is over.
    fn reap(&mut self, frozen: bool) -> Result<()> {
        let mut left = Vec::new();
        for mut process in std::mem::take(&mut self.processes) {
            let mut status = 0;
            // SAFETY: the status can be written.
            if unsafe { libc::waitpid(process.pid, &raw mut status, libc::WNOHANG) } == process.pid
            {
                self.ended += 1;
                if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) != 0 {
                    self.failed += 1;
                    ensure!(!process.has_memory, "{} has failed", process.act);
                }
                continue;
            }
            let over = Instant::now().saturating_duration_since(process.until);
            if !over.is_zero() && !process.killed {
                kill(process.pid);
                process.killed = true;
                self.killed += 1;
            }
            if over > patience() && !frozen {
                bail!("{} does not die:\n{}", process.act, look_at(process.pid));
            }
            left.push(process);
        }
        self.processes = left;
        // Those that were forked there, and lost their parents.
        let ours: Vec<i32> = self.processes.iter().map(|process| process.pid).collect();
        reap_orphans(&ours);
        Ok(())
    }

    fn summary(&self) -> String {
        let acts: Vec<String> = self.begun.iter().map(|(act, n)| format!("{act} {n}")).collect();
        format!(
            "{} processes ended, {} of them killed, {} with an error; {} stops, {} freezes; {}",
            self.ended,
            self.killed,
            self.failed,
            self.stops,
            self.freezes,
            acts.join(", ")
        )
    }
}

/// Takes on the identity and the limits of an ordinary user.
fn become_user(user: u32) {
    for (resource, most) in [
        (libc::RLIMIT_NOFILE, 1024),
        (libc::RLIMIT_NPROC, 400),
        (libc::RLIMIT_MEMLOCK, 8 << 20),
        (libc::RLIMIT_CORE, 0),
        (libc::RLIMIT_FSIZE, 64 << 20),
    ] {
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: the limit can be read.
        unsafe { libc::setrlimit(resource, &raw const limit) };
    }
    // SAFETY: takes numbers and no list.
    let groups = unsafe { libc::setgroups(0, std::ptr::null()) };
    // SAFETY: takes numbers.
    let group = unsafe { libc::setresgid(user, user, user) };
    // SAFETY: takes numbers.
    let user = unsafe { libc::setresuid(user, user, user) };
    assert_eq!((groups, group, user), (0, 0, 0), "{}", io::Error::last_os_error());
}

/// Without memory anything may panic, and to tell of it takes memory.
fn say_nothing() {
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        // SAFETY: takes numbers.
        unsafe { libc::dup2(null.as_raw_fd(), libc::STDERR_FILENO) };
    }
}

/// As many processes of the attacker that only compute.
fn compute(count: usize) -> Result<Vec<i32>> {
    let mut all = Vec::new();
    for _ in 0..count {
        // SAFETY: this process has one thread.
        let pid = unsafe { libc::fork() };
        ensure!(pid >= 0, "fork: {}", io::Error::last_os_error());
        if pid == 0 {
            become_user(ATTACKER);
            loop {
                std::hint::spin_loop();
            }
        }
        all.push(pid);
    }
    Ok(all)
}

fn kill(pid: i32) {
    // SAFETY: takes numbers; it was not waited for yet.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// Waits for children that are none of `but`, as many as have ended.
fn reap_orphans(but: &[i32]) {
    loop {
        // SAFETY: an info may be all zeros.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: the info can be written.
        let found = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, options) };
        // SAFETY: waitid has written it, or it is all zeros.
        let pid = unsafe { info.si_pid() };
        if found != 0 || pid == 0 || but.contains(&pid) {
            return;
        }
        // SAFETY: no status is asked for.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    }
}

/// Waits for all children but these.
fn reap_all(but: &[i32]) -> Result<()> {
    let begun = Instant::now();
    loop {
        reap_orphans(but);
        let path = format!("/proc/self/task/{}/children", std::process::id());
        let children: Vec<i32> = match fs::read_to_string(&path) {
            Ok(text) => text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect(),
            Err(_) => children_by_parent(),
        };
        let Some(left) = children.into_iter().find(|pid| !but.contains(pid)) else { return Ok(()) };
        ensure!(begun.elapsed() < patience(), "it does not end:\n{}", look_at(left));
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The children of this process, where the kernel does not list them.
fn children_by_parent() -> Vec<i32> {
    let own = std::process::id().to_string();
    let is_child = |stat: &String| {
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)) == Some(own.as_str())
    };
    let stats = stats().filter(is_child);
    stats.filter_map(|stat| stat.split(' ').next()?.parse().ok()).collect()
}

/// `/proc/*/stat` of all processes.
fn stats() -> impl Iterator<Item = String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbered =
        entries.filter(|e| e.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()));
    numbered.filter_map(|e| fs::read_to_string(e.path().join("stat")).ok())
}

/// What can be known of a process that does not end.
fn look_at(pid: i32) -> String {
    let mut text = String::new();
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    for thread in threads {
        for name in ["comm", "stat", "wchan", "stack"] {
            let said = fs::read_to_string(thread.path().join(name)).unwrap_or_default();
            text += &format!("{name}: {}\n", said.trim_end());
        }
    }
    text
}

/// Kernel threads that sleep so that no signal wakes them do so for a while only.
fn no_kernel_thread_sleeps_for_ever() -> Result<()> {
    let sleeping = || -> Vec<String> {
        let is_asleep = |stat: &String| {
            let Some((_, rest)) = stat.rsplit_once(") ") else { return false };
            let mut fields = rest.split(' ');
            (fields.next(), fields.next()) == (Some("D"), Some("2"))
        };
        stats().filter(is_asleep).collect()
    };
    let begun = Instant::now();
    loop {
        let left = sleeping();
        if left.is_empty() {
            return Ok(());
        }
        ensure!(begun.elapsed() < patience(), "kernel threads sleep: {}", left.join("; "));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// So that memory that is free can be told from memory that is kept: by caches, and by
/// KASAN, which keeps back what was freed until its cache shrinks.
fn drop_caches() {
    let _ = File::open(FILES).map(|disk| disk.sync_all());
    let _ = fs::write("/proc/sys/vm/drop_caches", "3");
    for cache in fs::read_dir("/sys/kernel/slab").into_iter().flatten().flatten() {
        let _ = fs::write(cache.path().join("shrink"), "1");
    }
}
