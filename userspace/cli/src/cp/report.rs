//! What was done, at the end: for a person or for a program.

use super::session::Session;
use super::summary::{OperationSummary, Summary};
use crate::args::ReportForm;
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;
use std::fmt;
use std::fs;
use std::time::Duration;

/// The outcome of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Who has run what went through AIO2, if that is certain.
    pub backend: Option<String>,
    pub files: u64,
    pub directories: u64,
    pub symlinks: u64,
    pub hard_links: u64,
    pub special_files: u64,
    pub bytes: u64,
    /// Files that share their blocks with the source.
    pub reflinks: u64,
    pub verified_bytes: u64,
    /// Copies of what can be read once only.
    pub unverified: u64,
    /// What was there, and was left as it was.
    pub kept: u64,
    /// Copies that belong to us, since their owner may not be given away.
    pub owners_lost: u64,
    /// Copies without an extended attribute of the source.
    pub xattrs_lost: u64,
    /// Copies without the source's access control list.
    pub acls_lost: u64,
    /// Copies of their own instead of hard links.
    pub links_lost: u64,
    /// Copies without the source's holes.
    pub holes_lost: u64,
    pub failures: u64,
    /// Given up because of the signal.
    pub stopped: u64,
    /// The signal that ended the run early.
    pub signal: Option<usize>,
    pub elapsed_ns: u64,
    pub peak_rss_bytes: u64,
    /// Most files in the table of hard links: the one that grows with a tree.
    pub most_hard_links_open: u64,
    /// `None` if nothing went through AIO2, or no attributes were asked for.
    pub attributes: Option<Summary>,
    #[serde(skip)]
    long: bool,
}

impl Report {
    /// The report of a session that has ended.
    pub fn new(cx: &Session, backend: Option<String>, elapsed: Duration, form: ReportForm) -> Self {
        let tally = &cx.tally;
        Report {
            backend,
            files: tally.files.get(),
            directories: tally.directories.get(),
            symlinks: tally.symlinks.get(),
            hard_links: tally.hard_links.get(),
            special_files: tally.specials.get(),
            bytes: tally.bytes.get(),
            reflinks: tally.reflinks.get(),
            verified_bytes: tally.verified.get(),
            unverified: tally.unverified.get(),
            kept: tally.kept.get(),
            owners_lost: tally.owners_lost.get(),
            xattrs_lost: tally.xattrs_lost.get(),
            acls_lost: tally.acls_lost.get(),
            links_lost: tally.links_lost.get(),
            holes_lost: tally.holes_lost.get(),
            failures: cx.failures.count(),
            stopped: cx.failures.stopped(),
            signal: Some(cx.signal()).filter(|&signal| signal != 0),
            elapsed_ns: elapsed.as_nanos() as u64,
            peak_rss_bytes: peak_rss_bytes(),
            most_hard_links_open: cx.links.most() as u64,
            attributes: None,
            long: form == ReportForm::Long,
        }
    }

    /// What was copied, in words; empty if nothing was.
    fn copied(&self) -> String {
        let counts = [
            (self.files, "file", "files"),
            (self.directories, "directory", "directories"),
            (self.symlinks, "symbolic link", "symbolic links"),
            (self.hard_links, "hard link", "hard links"),
            (self.special_files, "special file", "special files"),
        ];
        let counts = counts.into_iter().filter(|(n, _, _)| *n > 0);
        let counts = counts.map(|(n, one, many)| count(n, one, many));
        counts.collect::<Vec<_>>().join(", ")
    }

    /// What copies do not have of their sources, and other remarks.
    fn remarks(&self) -> Vec<String> {
        let copies = |n| count(n, "copy", "copies");
        let remarks = [
            (self.kept, format!("{} kept: something was there", count(self.kept, "name", "names"))),
            (self.reflinks, format!("{} share blocks with the source", copies(self.reflinks))),
            (self.verified_bytes, format!("verified {}", HumanBytes(self.verified_bytes))),
            (self.unverified, format!("{} not verified: read once only", copies(self.unverified))),
            (self.owners_lost, format!("owner lost: {}", copies(self.owners_lost))),
            (self.xattrs_lost, format!("extended attributes lost: {}", copies(self.xattrs_lost))),
            (self.acls_lost, format!("access control lists lost: {}", copies(self.acls_lost))),
            (self.links_lost, format!("hard links lost: {}", copies(self.links_lost))),
            (self.holes_lost, format!("holes lost: {}", copies(self.holes_lost))),
            (self.stopped, format!("given up: {}", count(self.stopped, "file", "files"))),
            (self.failures, count(self.failures, "failure", "failures")),
        ];
        remarks.into_iter().filter_map(|(n, remark)| (n > 0).then_some(remark)).collect()
    }
}

/// A number with its noun.
fn count(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", HumanCount(n), if n == 1 { one } else { many })
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
        match self.copied() {
            nothing if nothing.is_empty() => write!(f, "nothing copied")?,
            copied => write!(f, "copied {copied}: {} in {seconds:.3} s", HumanBytes(self.bytes))?,
        }
        if let Some(signal) = self.signal {
            write!(f, "\nstopped by signal {signal}")?;
        }
        for remark in self.remarks() {
            write!(f, "\n{remark}")?;
        }
        if !self.long {
            return Ok(());
        }
        if let Some(attributes) = &self.attributes {
            write!(f, "\n{attributes}")?;
        }
        write!(f, "\npeak memory {}", HumanBytes(self.peak_rss_bytes))?;
        if let Some(backend) = &self.backend {
            write!(f, ", bytes through the {backend}")?;
        }
        if self.most_hard_links_open > 0 {
            let files = count(self.most_hard_links_open, "file", "files");
            write!(f, ", {files} with several names open at most")?;
        }
        Ok(())
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
        let places = [
            (places.inline, "inline"),
            (places.page_wait, "after a page wait"),
            (places.worker, "in a worker"),
            (places.device, "by the device"),
        ];
        let places = places.into_iter().filter(|(n, _)| *n > 0);
        let places = places.map(|(n, place)| format!("{} {place}", HumanCount(n)));
        write!(f, "\nran: {}", places.collect::<Vec<_>>().join(", "))?;
        if self.cache_hit_bytes + self.cache_miss_bytes > 0 {
            let (hit, miss) = (HumanBytes(self.cache_hit_bytes), HumanBytes(self.cache_miss_bytes));
            write!(f, "\nreads: {hit} found in the page cache, {miss} not")?;
        }
        Ok(())
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
