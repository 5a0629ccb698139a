//! Builds: one directory a configuration, continued when the series changes.

use super::Workshop;
use super::cache::Cache;
use super::config::{self, Config};
use super::series::hex;
use super::tree::{self, Applied};
use crate::packages;
use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// What a build was made from.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Built {
    applied: Applied,
    /// Hash of the configuration's fragments.
    config: String,
}

/// How often a build says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// Where a build has its bzImage.
pub const IMAGE: &str = "arch/x86/boot/bzImage";

/// A source tree and the directory to build it in.
pub struct Build<'a> {
    pub source: &'a Path,
    pub dir: &'a Path,
    /// Has what was compiled before.
    pub cache: &'a Cache,
}

/// The bzImage of the applied source; built unless it is there.
pub fn image(shop: &Workshop, applied: &Applied, config: Config) -> Result<PathBuf> {
    let fragments = config.fragments(shop);
    let text = config::text(&fragments)?;
    let built = Built { applied: applied.clone(), config: hex(&Sha256::digest(text.as_bytes())) };
    let entry = format!("build-{config}");
    let (source, dir) = (tree::source_dir(shop), shop.cache.path(&entry));
    let image = dir.join(IMAGE);
    if shop.cache.stamp::<Built>(&entry).as_ref() == Some(&built) && image.exists() {
        return Ok(image);
    }

    let start = Instant::now();
    shop.cache.clear_stamp(&entry)?;
    let mut fresh = !dir.join(".config").exists();
    loop {
        if fresh {
            shop.cache.empty(&entry)?;
        }
        let how = if fresh { "from nothing" } else { "continued" };
        println!("building {config}, {how}, in {}", dir.display());
        let build = Build { source: &source, dir: &dir, cache: &shop.cache };
        let result = build.configure(&fragments, &text).and_then(|()| build.make(&["bzImage"]));
        match result {
            Ok(()) => break,
            Err(e) if fresh || is_fault_of_source(&dir) => return Err(e),
            Err(e) => {
                eprintln!("{e:#}\nthe build that was there may be broken: once more from nothing");
                fresh = true;
            }
        }
    }
    shop.cache.set_stamp(&entry, &built)?;
    println!("built {config} in {} s", start.elapsed().as_secs());
    Ok(image)
}

impl Build<'_> {
    /// Writes `.config`: tinyconfig with the fragments, whose text is `text`.
    pub fn configure(&self, fragments: &[PathBuf], text: &str) -> Result<()> {
        self.make(&["tinyconfig"])?;
        let merge = Command::new(self.source.join("scripts/kconfig/merge_config.sh"))
            .current_dir(self.source)
            .args(["-m", "-O"])
            .arg(self.dir)
            .arg(self.dir.join(".config"))
            .args(fragments)
            .stdout(Stdio::null())
            .status()?;
        if !merge.success() {
            bail!("merge_config.sh of {} failed", self.source.display());
        }
        self.make(&["olddefconfig"])?;
        let has_aio2 = self.source.join("fs/aio2/Kconfig").exists()
            || self.source.join("fs/aio2/Makefile").exists();
        config::verify(self.dir, text, (!has_aio2).then_some("CONFIG_AIO2"))
    }

    /// Runs make on all processors; what it says goes to `make.log`, and how far it
    /// is is told from time to time.
    pub fn make(&self, args: &[&str]) -> Result<()> {
        let path = self.dir.join("make.log");
        let log = File::create(&path).with_context(|| path.display().to_string())?;
        let mut make = super::child("make");
        if let Some((path, settings)) = compiler_cache(self.dir, self.cache) {
            make.env("PATH", path).envs(settings);
        }
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let child = make
            .arg("-C")
            .arg(self.source)
            .arg(format!("O={}", self.dir.display()))
            .arg(format!("-j{jobs}"))
            .arg("--output-sync=target")
            .args(args)
            // The same source gives the same bytes.
            .env("KBUILD_BUILD_TIMESTAMP", "2020-01-01")
            .env("KBUILD_BUILD_USER", "aio2")
            .env("KBUILD_BUILD_HOST", "aio2")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("make cannot be run")?;
        let status = wait(child, SAY_EVERY, |seconds| {
            let said = fs::read_to_string(&path).unwrap_or_default();
            println!("  after {seconds} s: {}", progress(&said));
        })?;
        if status.success() {
            return Ok(());
        }
        let said = fs::read_to_string(&path).unwrap_or_default();
        bail!(
            "make {} failed in {}:\n{}",
            args.join(" "),
            self.dir.display(),
            errors(&said).join("\n")
        )
    }
}

/// Waits for `child`; calls `say` with the seconds since each time that `every` is over.
fn wait(mut child: Child, every: Duration, say: impl Fn(u64)) -> Result<ExitStatus> {
    let start = Instant::now();
    let (ended, end) = mpsc::channel();
    let waiting = thread::spawn(move || {
        let status = child.wait();
        // Nobody listens if this thread was not waited for.
        let _ = ended.send(());
        status
    });
    while end.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        say(start.elapsed().as_secs());
    }
    let status = waiting.join().map_err(|_| anyhow!("the thread that waits for make panicked"))?;
    status.context("make cannot be waited for")
}

/// How far make is, by what it has said.
fn progress(log: &str) -> String {
    let made = |line: &&str| {
        let mut words = line.split_whitespace();
        let does = words.next().is_some_and(|w| w.chars().all(|c| c.is_ascii_uppercase()));
        line.starts_with("  ") && does && words.next().is_some()
    };
    let count = log.lines().filter(made).count();
    match log.lines().rfind(made) {
        Some(last) => {
            let last: Vec<&str> = last.split_whitespace().collect();
            format!("{count} files made, the last by {}", last.join(" "))
        }
        None => String::from("nothing made yet"),
    }
}

/// The PATH on which `gcc` is ccache, and ccache's settings; None if it is not
/// installed. What was compiled is kept beside the builds, and found again from
/// another cache too, since paths count from the build's directory.
pub fn compiler_cache(
    dir: &Path,
    cache: &Cache,
) -> Option<(OsString, [(&'static str, OsString); 3])> {
    let programs =
        Path::new(packages::CCACHE).parent().filter(|_| Path::new(packages::CCACHE).exists())?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(programs.to_owned()).chain(std::env::split_paths(&path));
    let base = dir.parent()?;
    let store = std::env::var_os("CCACHE_DIR").unwrap_or_else(|| cache.path("ccache").into());
    let settings =
        [("CCACHE_DIR", store), ("CCACHE_BASEDIR", base.into()), ("CCACHE_NOHASHDIR", "1".into())];
    Some((std::env::join_paths(all).ok()?, settings))
}

/// Whether the compiler refused the source, so that building it again is vain.
fn is_fault_of_source(dir: &Path) -> bool {
    fs::read_to_string(dir.join("make.log")).is_ok_and(|log| log.contains(" error: "))
}

/// The lines of a make log that tell why it failed, with what surrounds them;
/// its end if there are none.
fn errors(log: &str) -> Vec<&str> {
    let lines: Vec<&str> = log.lines().collect();
    let is_error = |l: &&str| l.contains("error:") || l.contains("undefined reference");
    let first = lines.iter().position(is_error);
    match first {
        Some(at) => lines[at.saturating_sub(5)..lines.len().min(at + 35)].to_vec(),
        None => lines[lines.len().saturating_sub(30)..].to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_counts_what_was_made() {
        assert_eq!(progress("make[1]: Entering directory '/x'\n"), "nothing made yet");
        let log = "  CC      fs/open.o\n  AR      fs/built-in.a\nx.c:1: warning: y\n";
        assert_eq!(progress(log), "2 files made, the last by AR fs/built-in.a");
    }

    #[test]
    fn a_child_is_waited_for_and_its_progress_told() {
        let child = Command::new("sh").args(["-c", "read _; exit 3"]).stdin(Stdio::piped()).spawn();
        let mut child = child.expect("there is a shell");
        let stdin = std::cell::Cell::new(child.stdin.take());
        let said = std::cell::Cell::new(0);
        let status = wait(child, Duration::from_millis(1), |_| {
            said.set(said.get() + 1);
            if said.get() == 3 {
                drop(stdin.take());
            }
        });
        assert_eq!(status.expect("it is our child").code(), Some(3));
        assert!(said.get() >= 3);
    }

    #[test]
    fn the_first_error_is_told_rather_than_the_end() {
        let mut log = String::from("  CC x\nx.c:1:2: error: no\n");
        log += &"more\n".repeat(100);
        assert_eq!(errors(&log)[1], "x.c:1:2: error: no");
        assert_eq!(errors("a\nb").last(), Some(&"b"));
    }
}
