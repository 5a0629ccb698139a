//! Another user: types, reads, starts commands, and measures how long each takes.

use crate::{NOTHING, OTHER, become_user};
use aio2_conformance::context::slowness;
use aio2_guest::FILES;
use anyhow::{Context, Result, ensure};
use std::alloc::Layout;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt, chown};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Nobody waits so long: a terminal that does not answer is closed.
const GIVEN_UP: Duration = Duration::from_secs(10);
/// How long he rests between two things.
const REST: Duration = Duration::from_millis(4);
const BLOCK: usize = 4096;
const BLOCKS: usize = 256;

/// What goes on around him.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Idle,
    Busy,
    Attacked,
    Over,
}

/// What he does.
const KINDS: [&str; 4] = ["terminal", "cached read", "cold read", "command"];

pub struct Bystander {
    pid: i32,
    phase: &'static AtomicU32,
}

impl Bystander {
    /// Begins to measure, with nothing around him.
    pub fn start() -> Result<Self> {
        let path = format!("{FILES}/bystander");
        fs::write(&path, vec![1; BLOCK * BLOCKS])?;
        chown(&path, Some(OTHER), Some(OTHER))?;
        let (access, how) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), BLOCK, access, how, -1, 0) };
        ensure!(page != libc::MAP_FAILED, "mmap: {}", io::Error::last_os_error());
        // SAFETY: a page of zeros, which stays.
        let phase = unsafe { &*page.cast::<AtomicU32>() };
        // SAFETY: this process has one thread.
        let pid = unsafe { libc::fork() };
        ensure!(pid >= 0, "fork: {}", io::Error::last_os_error());
        if pid == 0 {
            become_user(OTHER);
            let result = live(phase, &path);
            if let Err(error) = &result {
                println!("  the bystander: {error:#}");
            }
            // SAFETY: leaves; there is no other thread.
            unsafe { libc::_exit(i32::from(result.is_err())) };
        }
        let bystander = Bystander { pid, phase };
        bystander.enter(Phase::Idle);
        Ok(bystander)
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u32, Ordering::SeqCst);
    }

    /// Has him print what he has measured; an error if he has waited too long.
    pub fn stop(self) -> Result<()> {
        self.enter(Phase::Over);
        let mut status = 0;
        // SAFETY: the status can be written.
        unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
        ensure!(status == 0, "the bystander has waited too long, or could not go on");
        Ok(())
    }
}

/// Times of one kind in one phase, in ns.
type Times = [[Vec<u64>; 3]; KINDS.len()];

fn live(phase: &AtomicU32, path: &str) -> Result<()> {
    let mut terminal = Terminal::open().context("a terminal")?;
    let cached = File::open(path)?;
    let cold = File::options().read(true).custom_flags(libc::O_DIRECT).open(path)?;
    let buffer = Block::new();
    let mut times = Times::default();
    for n in 0_u64.. {
        let now = phase.load(Ordering::SeqCst) as usize;
        if now == Phase::Over as usize {
            break;
        }
        let at = (n as usize % BLOCKS * BLOCK) as u64;
        for (kind, times) in times.iter_mut().enumerate() {
            let begun = Instant::now();
            match kind {
                0 => terminal.type_a_letter()?,
                1 => buffer.read(&cached, at)?,
                2 => buffer.read(&cold, at)?,
                _ if n % 8 == 0 => {
                    let status = Command::new("/proc/self/exe").arg(NOTHING).status()?;
                    ensure!(status.success(), "{status}");
                }
                _ => continue,
            }
            times[now].push(begun.elapsed().as_nanos() as u64);
        }
        std::thread::sleep(REST);
    }
    tell(&mut times)
}

/// Prints a table; an error if something took too long.
fn tell(times: &mut Times) -> Result<()> {
    println!(
        "  {:<12} {:>28} {:>28} {:>28} {:>16} {:>16}",
        "µs", "idle", "beside busy ones", "under attack", "to idle", "to busy"
    );
    let mut late = Vec::new();
    for (kind, times) in KINDS.into_iter().zip(times) {
        let ranks = times.each_mut().map(|times| {
            times.sort_unstable();
            let rank = |of: usize| times.get((times.len() * of / 100).min(times.len().max(1) - 1));
            [50, 99, 100].map(|of| rank(of).copied().unwrap_or(0) / 1000)
        });
        let text = |[median, p99, most]: [u64; 3]| format!("{median} / {p99} / {most}");
        let ratio = |a: [u64; 3], b: [u64; 3]| {
            let of = |n: usize| a[n] as f64 / b[n].max(1) as f64;
            format!("{:.1} / {:.1}", of(0), of(1))
        };
        let [idle, busy, attacked] = ranks;
        println!(
            "  {kind:<12} {:>28} {:>28} {:>28} {:>16} {:>16}",
            text(idle),
            text(busy),
            text(attacked),
            ratio(attacked, idle),
            ratio(attacked, busy)
        );
        ensure!(times.iter().all(|times| !times.is_empty()), "{kind}: nothing was measured");
        if u128::from(attacked[2]) > (GIVEN_UP * slowness()).as_micros() {
            late.push(format!("{kind}: {} s", attacked[2] / 1_000_000));
        }
    }
    println!("  (median / 99th percentile / longest; ratios of the first two)");
    ensure!(late.is_empty(), "it had to wait: {}", late.join(", "));
    Ok(())
}

/// A block of memory for direct transfers.
struct Block(*mut u8);

impl Block {
    const LAYOUT: Layout = match Layout::from_size_align(BLOCK, BLOCK) {
        Ok(layout) => layout,
        Err(_) => panic!("a power of two"),
    };

    fn new() -> Self {
        // SAFETY: of a size above 0.
        let memory = unsafe { std::alloc::alloc_zeroed(Self::LAYOUT) };
        assert!(!memory.is_null(), "there is memory");
        Block(memory)
    }

    fn read(&self, file: &File, at: u64) -> Result<()> {
        // SAFETY: so many bytes, which nothing else uses.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.0, BLOCK) };
        Ok(file.read_exact_at(bytes, at)?)
    }
}

/// A terminal, at whose one end somebody types and sees what he has typed.
struct Terminal {
    master: File,
    /// Kept open, or there would be nobody.
    _slave: File,
}

impl Terminal {
    fn open() -> Result<Self> {
        let (mut master, mut slave) = (-1, -1);
        let null = std::ptr::null_mut::<u8>();
        // SAFETY: both numbers can be written; the rest is not asked for.
        let made = unsafe {
            libc::openpty(&raw mut master, &raw mut slave, null.cast(), null.cast(), null.cast())
        };
        ensure!(made == 0, "openpty: {}", io::Error::last_os_error());
        // SAFETY: the descriptor is new.
        let master = unsafe { File::from_raw_fd(master) };
        // SAFETY: as above.
        let slave = unsafe { File::from_raw_fd(slave) };
        Ok(Terminal { master, _slave: slave })
    }

    /// Until it is seen.
    fn type_a_letter(&mut self) -> Result<()> {
        // Erased at once, so that the line does not grow.
        self.master.write_all(b"x\x15")?;
        let most = (GIVEN_UP * slowness()).as_millis() as i32 * 2;
        let mut asked =
            libc::pollfd { fd: self.master.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, which can be written.
        let ready = unsafe { libc::poll(&raw mut asked, 1, most) };
        ensure!(ready == 1, "the terminal does not answer");
        let mut seen = [0; 64];
        self.master.read(&mut seen).context("the terminal").map(drop)
    }
}
