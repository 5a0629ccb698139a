//! What was done, at the end: for a person or for a program.

use super::session::Session;
use super::statistics::{OperationSummary, Summary};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;
use std::fmt;
use std::fs;
use std::time::Duration;

/// The outcome of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    pub backend: String,
    pub files: u64,
    pub directories: u64,
    pub symlinks: u64,
    pub hard_links: u64,
    pub special_files: u64,
    pub bytes: u64,
    pub verified_bytes: u64,
    /// Left as they were by `--no-clobber`.
    pub kept: u64,
    /// Copies that belong to us, since their owner may not be given away.
    pub owners_lost: u64,
    pub failures: u64,
    /// Given up because of the signal.
    pub stopped: u64,
    /// The signal that ended the run early.
    pub signal: Option<usize>,
    pub elapsed_ns: u64,
    pub peak_rss_bytes: u64,
    /// Most files in the table of hard links: the one that grows with a tree.
    pub most_hard_links_open: u64,
    /// `None` if no attributes were asked for.
    pub attributes: Option<Summary>,
}

impl Report {
    /// The report of a session whose tasks have ended.
    pub fn new(cx: &Session, backend: String, elapsed: Duration) -> Self {
        let tally = &cx.tally;
        Report {
            backend,
            files: tally.files.get(),
            directories: tally.directories.get(),
            symlinks: tally.symlinks.get(),
            hard_links: tally.hard_links.get(),
            special_files: tally.specials.get(),
            bytes: tally.bytes.get(),
            verified_bytes: tally.verified.get(),
            kept: tally.kept.get(),
            owners_lost: tally.owners_lost.get(),
            failures: cx.failures.count(),
            stopped: cx.failures.stopped(),
            signal: Some(cx.signal()).filter(|&signal| signal != 0),
            elapsed_ns: elapsed.as_nanos() as u64,
            peak_rss_bytes: peak_rss_bytes(),
            most_hard_links_open: cx.links.most() as u64,
            attributes: None,
        }
    }
}

/// The most memory that was resident at any time.
fn peak_rss_bytes() -> u64 {
    // getrusage counts also what the parent had resident at the exec, so it
    // comes second.
    let own = fs::read_to_string("/proc/self/status").ok().and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    });
    let kib = own.or_else(|| {
        let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF);
        u64::try_from(usage.ok()?.max_rss()).ok()
    });
    kib.unwrap_or(0) * 1024
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = Duration::from_nanos(self.elapsed_ns).as_secs_f64();
        write!(
            f,
            "copied {} files, {} directories, {} symbolic links, {} hard links",
            self.files, self.directories, self.symlinks, self.hard_links
        )?;
        if self.special_files > 0 {
            write!(f, ", {} special files", self.special_files)?;
        }
        let rate = self.bytes as f64 / seconds.max(1e-9);
        writeln!(
            f,
            "\n{} in {seconds:.3} s ({}/s) through the {}",
            HumanBytes(self.bytes),
            HumanBytes(rate as u64),
            self.backend
        )?;
        if self.verified_bytes > 0 {
            writeln!(f, "verified {}", HumanBytes(self.verified_bytes))?;
        }
        if self.kept > 0 {
            writeln!(f, "kept {} that were there (--no-clobber)", self.kept)?;
        }
        if self.owners_lost > 0 {
            writeln!(f, "{} copies belong to the user who made them", self.owners_lost)?;
        }
        if let Some(attributes) = &self.attributes {
            attributes.fmt(f)?;
        }
        writeln!(
            f,
            "peak memory {}, {} files with several names open at most",
            HumanBytes(self.peak_rss_bytes),
            self.most_hard_links_open
        )?;
        if let Some(signal) = self.signal {
            writeln!(f, "stopped by signal {signal}: {} files given up", self.stopped)?;
        }
        write!(f, "{} failures", self.failures)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<12} {:>9} {:>7} {:>9} {:>9} {:>9} {:>9} {:>9} {:>10} {:>10}",
            "operation", "count", "errors", "p50", "p90", "p99", "p99.9", "max", "waited", "ran"
        )?;
        for operation in &self.operations {
            operation.fmt(f)?;
        }
        let places = self.places;
        writeln!(
            f,
            "\nran: {} inline, {} after a page wait, {} in a worker, {} by the device",
            HumanCount(places.inline),
            HumanCount(places.page_wait),
            HumanCount(places.worker),
            HumanCount(places.device)
        )?;
        writeln!(
            f,
            "reads: {} found in the page cache, {} not",
            HumanBytes(self.cache_hit_bytes),
            HumanBytes(self.cache_miss_bytes)
        )
    }
}

impl fmt::Display for OperationSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<12} {:>9} {:>7}", self.name, self.count, self.errors)?;
        if let Some(latency) = &self.latency_ns {
            for ns in [latency.p50, latency.p90, latency.p99, latency.p99_9, latency.max] {
                write!(f, " {:>9}", short(ns))?;
            }
            write!(f, " {:>10} {:>10}", short(self.waited_ns), short(self.ran_ns))?;
        }
        writeln!(f)
    }
}

/// A time in three or four digits.
fn short(ns: u64) -> String {
    let ns = ns as f64;
    match ns {
        ..1e3 => format!("{ns:.0} ns"),
        ..1e6 => format!("{:.1} us", ns / 1e3),
        ..1e9 => format!("{:.1} ms", ns / 1e6),
        _ => format!("{:.2} s", ns / 1e9),
    }
}
