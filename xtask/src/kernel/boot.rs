//! Boots a kernel in qemu, by translation: KVM is not used, and hangs on some
//! hosts.

use super::Workshop;
use super::config::Config;
use crate::packages;
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What to boot.
#[derive(clap::Args)]
pub struct Args {
    /// Configuration of the kernel, built if need be
    #[arg(long, default_value = "minimal")]
    config: Config,
    /// Initial file system, a compressed cpio archive
    #[arg(long)]
    initrd: PathBuf,
    /// Appended to the kernel's command line
    #[arg(long, default_value = "")]
    append: String,
    /// Seconds after which the machine is ended
    #[arg(long, default_value_t = 120)]
    timeout: u64,
}

/// A machine to boot.
#[derive(Debug)]
pub struct Machine {
    pub kernel: PathBuf,
    pub initrd: PathBuf,
    /// Appended to the command line.
    pub append: String,
    /// Count instructions: one processor, whose clock ticks once for each.
    pub counted: bool,
    /// A plugin of qemu, with its arguments.
    pub plugin: Option<String>,
    pub timeout: Duration,
}

/// What came out of a machine.
#[derive(Debug)]
pub struct Output {
    /// The kernel's messages.
    pub console: String,
    /// What the first process wrote for the host.
    pub report: String,
    /// Whether it had to be ended.
    pub timed_out: bool,
}

impl Machine {
    /// The arguments to qemu, serial ports excepted.
    fn arguments(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| args.extend(words.iter().map(OsString::from));
        if self.counted {
            add(&["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-smp", "1"]);
            add(&["-rtc", "base=2020-01-01T00:00:00,clock=vm", "-seed", "1"]);
            add(&["-cpu", "qemu64,-rdrand,-rdseed"]);
        } else {
            add(&["-accel", "tcg", "-smp", "2"]);
        }
        if let Some(plugin) = &self.plugin {
            add(&["-plugin", plugin]);
        }
        add(&["-m", "4G", "-display", "none", "-monitor", "none", "-nodefaults", "-no-reboot"]);
        // On a busy host the emulated timer can be too late for its check at boot.
        let mut line = String::from(
            "console=ttyS0 loglevel=7 panic=-1 oops=panic printk.time=1 no_timer_check",
        );
        if self.counted {
            line += " nokaslr norandmaps randomize_kstack_offset=off";
        }
        line = format!("{line} {}", self.append);
        add(&["-append", line.trim_end()]);
        args.extend(["-kernel".into(), self.kernel.clone().into()]);
        args.extend(["-initrd".into(), self.initrd.clone().into()]);
        args
    }

    /// Boots it and waits until it is off; its files go to `dir`.
    pub fn run(&self, dir: &Path) -> Result<Output> {
        let [console, report] = ["console.log", "report.log"].map(|name| dir.join(name));
        let mut qemu = self.command();
        for file in [&console, &report] {
            File::create(file)?;
            qemu.arg("-serial").arg(format!("file:{}", file.display()));
        }
        let timed_out = wait(qemu, self.timeout)?;
        // Serial lines end as terminals end them, and may carry any byte.
        let read = |path| -> Result<String> {
            Ok(String::from_utf8_lossy(&fs::read(path)?).replace('\r', ""))
        };
        Ok(Output { console: read(&console)?, report: read(&report)?, timed_out })
    }

    fn command(&self) -> Command {
        let mut qemu = super::child("qemu-system-x86_64");
        qemu.args(self.arguments()).stdin(Stdio::null());
        qemu
    }
}

/// Runs qemu; true if it had to be ended.
fn wait(mut qemu: Command, timeout: Duration) -> Result<bool> {
    let mut child = qemu.spawn().context("qemu-system-x86_64 cannot be run")?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            if !status.success() {
                bail!("qemu failed ({status}); it was run as {qemu:?}");
            }
            return Ok(false);
        }
        if start.elapsed() > timeout {
            child.kill()?;
            child.wait()?;
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The last lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

pub fn run(shop: &Workshop, args: &Args) -> Result<()> {
    packages::for_guest(&shop.sh)?;
    let machine = Machine {
        kernel: shop.kernel(args.config)?,
        initrd: args.initrd.clone(),
        append: args.append.clone(),
        counted: false,
        plugin: None,
        timeout: Duration::from_secs(args.timeout),
    };
    let mut qemu = machine.command();
    // Both ports on this terminal.
    qemu.args(["-chardev", "stdio,id=out,mux=on,signal=on"]);
    qemu.args(["-serial", "chardev:out", "-serial", "chardev:out"]);
    if wait(qemu, machine.timeout)? {
        bail!("the machine was not off after {} s and was ended", args.timeout);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_last_lines() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 2), "a");
    }

    #[test]
    fn a_machine_is_never_run_on_kvm() {
        for counted in [false, true] {
            let machine = Machine {
                kernel: "k".into(),
                initrd: "i".into(),
                append: String::new(),
                counted,
                plugin: None,
                timeout: Duration::ZERO,
            };
            let args = machine.arguments();
            let accel = args.iter().position(|a| a == "-accel").map(|at| &args[at + 1]);
            assert!(accel.is_some_and(|a| a.to_string_lossy().starts_with("tcg")));
        }
    }
}
