//! The guest's first process: makes a system, runs commands, powers off.
//!
//! It mounts what the suite needs, runs each line of `/commands` in a session
//! of its own, and looks afterwards for what a command has left behind. It
//! judges nothing: everything goes to the report, which the host reads.

use aio2_guest::{COMMANDS, End, FILES, IMAGE, Mark, PLANT, REPORT, chunks};
use anyhow::{Context, Result};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// File systems: kind, where, options. Those that the kernel lacks are left out.
const MOUNTS: &[(&str, &str, &str)] = &[
    ("devtmpfs", "/dev", ""),
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("tmpfs", "/tmp", ""),
    ("tmpfs", "/dev/shm", ""),
    ("devpts", "/dev/pts", "ptmxmode=0666"),
    ("tracefs", "/sys/kernel/tracing", ""),
    ("debugfs", "/sys/kernel/debug", ""),
    ("mqueue", "/dev/mqueue", ""),
];
/// A disk in memory that takes its time, so that a read has to be waited for.
const DISK: &str = "/dev/nullb0";
/// The leak detector's file.
const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";

fn main() {
    for (kind, target, options) in MOUNTS {
        // Not each kernel has each of them; what is missed fails where it is used.
        let _ = mount(kind, kind, target, options);
    }
    match File::create(REPORT).context(REPORT) {
        Ok(mut report) => {
            if let Err(error) = raw(&report).and_then(|()| session(&mut report)) {
                say(&mut report, &Mark::Broken(format!("{error:#}")));
            }
            // SAFETY: waits until what was written to the terminal is out.
            unsafe { libc::tcdrain(report.as_raw_fd()) };
        }
        Err(error) => eprintln!("{error:#}"),
    }
    // SAFETY: a system call without memory.
    unsafe { libc::sync() };
    // SAFETY: as above; the first process may do it.
    unsafe { libc::reboot(libc::RB_POWER_OFF) };
}

/// Writes the image to the disk, and mounts it, if there is one.
fn mount_disk() -> Result<()> {
    let image = fs::read(IMAGE).context(IMAGE)?;
    if image.is_empty() {
        return Ok(());
    }
    let disk = File::options().write(true).open(DISK)?;
    for (at, bytes) in chunks(&image) {
        disk.write_all_at(bytes, at)?;
    }
    disk.sync_all()?;
    mount(DISK, "ext4", FILES, "")
}

/// Runs all commands.
fn session(report: &mut File) -> Result<()> {
    loopback_up().context("network interface lo")?;
    mount_disk().with_context(|| format!("{DISK} on {FILES}"))?;
    let commands = fs::read_to_string(COMMANDS).context(COMMANDS)?;
    for line in commands.lines().filter(|l| !l.trim().is_empty()) {
        // A planted line is to be found in the kernel's log, not in this one.
        let shown = if line.starts_with(PLANT) { PLANT } else { line };
        say(report, &Mark::Begin(shown.into()));
        let end = run(line, report).with_context(|| format!("command {line:?}"))?;
        say(report, &Mark::End(end));
        for process in left_behind() {
            say(report, &Mark::Left(process));
        }
    }
    for line in leaks() {
        say(report, &Mark::Leak(line));
    }
    say(report, &Mark::Done);
    Ok(())
}

/// Runs a command line: words, of which the first ones may be settings of the
/// environment.
fn run(line: &str, report: &File) -> Result<End> {
    if let Some(text) = line.strip_prefix(PLANT) {
        fs::write("/dev/kmsg", text.trim_start()).context("/dev/kmsg")?;
        return Ok(End::Exit(0));
    }
    let is_setting = |word: &&str| word.contains('=');
    let settings: Vec<_> = line
        .split_whitespace()
        .take_while(is_setting)
        .filter_map(|word| word.split_once('='))
        .collect();
    let mut words = line.split_whitespace().skip(settings.len());
    let program = words.next().context("no program")?;
    let mut command = Command::new(program);
    command
        .args(words)
        .env_clear()
        .envs([("PATH", "/bin"), ("HOME", "/tmp"), ("TMPDIR", "/tmp"), ("TERM", "dumb")])
        .envs(settings)
        .current_dir("/tmp")
        .stdin(Stdio::null())
        .stdout(report.try_clone()?)
        .stderr(report.try_clone()?);
    // SAFETY: setsid is async-signal-safe and touches no memory.
    unsafe { command.pre_exec(new_session) };
    let status = command.spawn()?.wait()?;
    Ok(match (status.code(), status.signal()) {
        (Some(code), _) => End::Exit(code),
        (None, signal) => End::Signal(signal.unwrap_or(0)),
    })
}

fn new_session() -> io::Result<()> {
    // SAFETY: a system call without memory.
    match unsafe { libc::setsid() } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Processes besides this one that are no kernel threads. They have some
/// seconds to end, and are killed then.
fn left_behind() -> Vec<String> {
    let mut left = Vec::new();
    for _ in 0..30 {
        reap_orphans();
        left = processes();
        if left.is_empty() {
            return Vec::new();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    // SAFETY: kills all but this process, which is what they are here for.
    unsafe { libc::kill(-1, libc::SIGKILL) };
    std::thread::sleep(Duration::from_millis(100));
    reap_orphans();
    left
}

fn reap_orphans() {
    // SAFETY: no status is asked for.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
}

/// All processes but the first and the kernel's: number, name and state.
fn processes() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let stats = entries
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .filter_map(|e| fs::read_to_string(e.path().join("stat")).ok());
    stats.filter_map(|stat| describe(&stat)).collect()
}

/// What to say of a process, from its `/proc/*/stat`; None for the first one,
/// and for kernel threads, whose parent is kthreadd.
fn describe(stat: &str) -> Option<String> {
    let (head, tail) = stat.rsplit_once(") ")?;
    let (pid, name) = head.split_once(" (")?;
    let mut fields = tail.split(' ');
    let (state, parent) = (fields.next()?, fields.next()?);
    let is_kernel = pid == "2" || parent == "2";
    (pid != "1" && !is_kernel).then(|| format!("{pid} {name} in state {state}"))
}

/// What the leak detector has found, if there is one.
fn leaks() -> Vec<String> {
    if !Path::new(KMEMLEAK).exists() {
        return Vec::new();
    }
    // It believes no younger object to be leaked, and a pointer may hide in a
    // register during the first scan.
    std::thread::sleep(Duration::from_secs(6));
    for _ in 0..2 {
        let _ = fs::write(KMEMLEAK, "scan");
        std::thread::sleep(Duration::from_secs(1));
    }
    let found = fs::read_to_string(KMEMLEAK).unwrap_or_default();
    found.lines().map(String::from).collect()
}

fn say(report: &mut File, mark: &Mark) {
    // To the console too, so that messages of the kernel stand beside it.
    eprintln!("{mark}");
    let _ = writeln!(report, "{mark}");
}

/// Makes a terminal pass on bytes as they are.
fn raw(terminal: &File) -> Result<()> {
    // SAFETY: a structure of integers.
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: `settings` is alive and of the right type.
    if unsafe { libc::tcgetattr(terminal.as_raw_fd(), &raw mut settings) } != 0 {
        return Err(io::Error::last_os_error()).context(REPORT);
    }
    // SAFETY: as above.
    unsafe { libc::cfmakeraw(&raw mut settings) };
    // SAFETY: as above.
    if unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, &raw const settings) } != 0 {
        return Err(io::Error::last_os_error()).context(REPORT);
    }
    Ok(())
}

fn mount(source: &str, kind: &str, target: &str, options: &str) -> Result<()> {
    fs::create_dir_all(target)?;
    let [source, kind, target, options] =
        [source, kind, target, options].map(|s| CString::new(s).unwrap_or_default());
    // SAFETY: four C strings that are alive.
    let result = unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, options.as_ptr().cast())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error().into()) }
}

/// Brings up the loopback interface.
fn loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: a structure of integers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[..2].copy_from_slice(&[b'l'.cast_signed(), b'o'.cast_signed()]);
    request.ifr_ifru.ifru_flags = libc::IFF_UP as i16;
    // SAFETY: `request` is alive and of the type that SIOCSIFFLAGS reads.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
