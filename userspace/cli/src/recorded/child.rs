//! The program: with the drop-ins before other libraries, its signals, its end.

use crate::exit::{Exit, Trouble};
use aio2_record::{COUNT, RECORD};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

/// The drop-in that tells where they are.
const LIBAIO: &str = "libaio.so.1";
/// The one for calls by number.
const SYSCALL: &str = "libaio2-syscall.so";
/// The one for POSIX AIO.
const POSIX: &str = "libaio2-posix.so";
const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";
const PRELOAD: &str = "LD_PRELOAD";

/// Paths, before those that stand in the environment already.
fn before(paths: &[&Path], variable: &str) -> OsString {
    let others = std::env::var_os(variable).filter(|others| !others.is_empty());
    let all: Vec<_> = paths.iter().map(|path| path.as_os_str()).chain(others.as_deref()).collect();
    all.join(OsStr::new(":"))
}

/// Where the drop-ins are.
///
/// # Errors
/// They are not there.
pub fn drop_ins(told: Option<&Path>) -> Result<PathBuf, Trouble> {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.join("lib/aio2"));
    let dir = told.map(Path::to_path_buf).or_else(beside).unwrap_or_default();
    if dir.join(LIBAIO).exists() {
        return std::path::absolute(&dir)
            .map_err(|e| Trouble::new(format!("{}: {e}", dir.display())));
    }
    Err(Trouble::new(format!(
        "there is no {LIBAIO} in {}: install the drop-ins with this command (cargo xtask install \
         --prefix DIR), or say where they are (--drop-ins DIR)",
        dir.display()
    )))
}

/// What a program has left behind: daemons, and children that it did not wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    Nothing,
    /// So many processes, which have ended since.
    Ended(usize),
    /// Some that run on: a signal has ended the wait.
    Running,
}

/// What happens while they are waited for.
enum Heard {
    Signal,
    /// The last one has ended, of so many.
    Last(usize),
}

/// Runs the program to its end and that of the processes that it leaves behind, and
/// hands on the signals that come meanwhile. Once only the latter are left a signal
/// ends the wait; `tell` is called before it begins.
///
/// # Errors
/// It cannot be run.
pub fn run(
    program: &[OsString],
    drop_ins: &Path,
    by_number: bool,
    record: &Path,
    count: &Path,
    tell: impl FnOnce(),
) -> Result<(Exit, Left), Trouble> {
    let mut command = Command::new(&program[0]);
    command.args(&program[1..]).env(LIBRARY_PATH, before(&[drop_ins], LIBRARY_PATH));
    let (syscall, posix) = (drop_ins.join(SYSCALL), drop_ins.join(POSIX));
    let mut preloaded: Vec<&Path> = Vec::new();
    preloaded.extend(by_number.then_some(&*syscall));
    // Where it is not installed, the loader would complain.
    preloaded.extend(posix.exists().then_some(&*posix));
    if !preloaded.is_empty() {
        command.env(PRELOAD, before(&preloaded, PRELOAD));
    }
    // Caught before there is a program that could miss one.
    let signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2]);
    let mut signals = signals.map_err(|e| Trouble::new(format!("signals: {e}")))?;
    // What the program leaves behind becomes a child of this process. Before Linux 3.4
    // it does not, and is not waited for.
    let _ = set_child_subreaper(Some(getpid()));
    let mut child = command
        .env(RECORD, record)
        .env(COUNT, count)
        .spawn()
        .map_err(|e| Trouble::new(format!("{}: {e}", program[0].to_string_lossy())))?;
    let stop = signals.handle();
    let pid = Pid::from_child(&child);
    // A terminal sends these to the program itself.
    let by_terminal = std::io::stdin().is_terminal();
    let has_ended = Arc::new(AtomicBool::new(false));
    let (signalled, heard) = mpsc::channel();
    let last = signalled.clone();
    let hand_on = thread::spawn({
        let has_ended = has_ended.clone();
        move || {
            for signal in &mut signals {
                // Relaxed: one that comes meanwhile may go either way.
                if has_ended.load(Ordering::Relaxed) {
                    let _ = signalled.send(Heard::Signal);
                    continue;
                }
                let at_terminal = by_terminal && matches!(signal, SIGINT | SIGQUIT);
                if let Some(signal) = Signal::from_named_raw(signal).filter(|_| !at_terminal) {
                    // It may be gone already.
                    let _ = kill_process(pid, signal);
                }
            }
        }
    });
    let status = child.wait();
    has_ended.store(true, Ordering::Relaxed);
    let left = match reap(WaitOptions::NOHANG) {
        (0, true) => Left::Nothing,
        (ended, true) => Left::Ended(ended),
        (ended, false) => {
            tell();
            thread::spawn(move || {
                let _ = last.send(Heard::Last(ended + reap(WaitOptions::empty()).0));
            });
            match heard.recv() {
                Ok(Heard::Last(ended)) => Left::Ended(ended),
                Ok(Heard::Signal) | Err(mpsc::RecvError) => Left::Running,
            }
        }
    };
    stop.close();
    let _ = hand_on.join();
    let status = status.map_err(|e| Trouble::new(format!("waiting for the program: {e}")))?;
    let exit = match (status.code(), status.signal()) {
        (Some(code), _) => Exit::OfProgram(code as u8),
        (None, signal) => Exit::Signal(signal.unwrap_or(0) as usize),
    };
    Ok((exit, left))
}

/// Takes children that have ended: how many, and whether there are no others.
fn reap(options: WaitOptions) -> (usize, bool) {
    let mut ended = 0;
    loop {
        match wait(options) {
            Ok(Some(_)) => ended += 1,
            Ok(None) => return (ended, false),
            Err(Errno::INTR) => {}
            Err(_) => return (ended, true),
        }
    }
}
