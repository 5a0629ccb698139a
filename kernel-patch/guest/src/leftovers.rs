//! What there is of processes, workers and memory, to be compared.

use aio2_conformance::context::slowness;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// Memory that may be missing afterwards, in bytes: caches of the allocators.
const SLACK: u64 = 16 << 20;
/// As much on a kernel that watches itself: also the stacks that it remembers, and what
/// a detector of errors keeps back.
const SLACK_OF_WATCHERS: u64 = 64 << 20;
/// How long what was freed may take to be seen so.
const PATIENCE: Duration = Duration::from_secs(60);
/// The implementation's own kinds of objects.
const SLABS: [&str; 2] = ["aio2_req", "aio2_rw"];

/// What there is at a time.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// Processes that are not the kernel's: number and name.
    processes: Vec<String>,
    /// Threads of AIO2's pools.
    workers: Vec<String>,
    /// Bytes that could be had.
    available: u64,
    /// Objects by kind, where the kernel counts them.
    objects: BTreeMap<String, u64>,
}

impl Inventory {
    /// What there is now.
    pub fn take() -> Result<Self> {
        Ok(Inventory {
            processes: processes(),
            workers: worker_threads(None),
            available: available()?,
            objects: SLABS
                .iter()
                .filter_map(|name| Some(((*name).into(), objects(name)?)))
                .collect(),
        })
    }

    /// What there is more now than there was then; nothing if it is the same.
    pub fn since(&self, before: &Inventory) -> Vec<String> {
        let mut more = Vec::new();
        let new = |now: &[String], then: &[String]| -> Vec<String> {
            now.iter().filter(|x| !then.contains(x)).cloned().collect()
        };
        more.extend(new(&self.processes, &before.processes).iter().map(|p| format!("process {p}")));
        more.extend(new(&self.workers, &before.workers).iter().map(|w| format!("worker {w}")));
        let slack = if slowness() > 1 { SLACK_OF_WATCHERS } else { SLACK };
        if self.available + slack < before.available {
            more.push(format!("{} KiB of memory", (before.available - self.available) >> 10));
        }
        for (kind, now) in &self.objects {
            let then = before.objects.get(kind).copied().unwrap_or(0);
            if *now > then {
                more.push(format!("{} of {kind}", now - then));
            }
        }
        more
    }
}

/// Fails unless within a while there is no more than there was `before`.
pub fn ensure_nothing_since(before: &Inventory) -> Result<()> {
    let start = Instant::now();
    loop {
        let more = Inventory::take()?.since(before);
        if more.is_empty() {
            return Ok(());
        }
        ensure!(start.elapsed() < PATIENCE, "left: {}", more.join(", "));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The threads of AIO2's pools, in this process or in all: number and name.
pub fn worker_threads(process: Option<u32>) -> Vec<String> {
    let Some(process) = process else {
        return numbered("/proc").into_iter().flat_map(|p| worker_threads(Some(p))).collect();
    };
    let dir = format!("/proc/{process}/task");
    let mut workers = Vec::new();
    for tid in numbered(&dir) {
        let name = fs::read_to_string(format!("{dir}/{tid}/comm")).unwrap_or_default();
        let of_pool = name
            .trim()
            .strip_prefix("aio2-")
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
        if of_pool {
            workers.push(format!("{tid} {}", name.trim()));
        }
    }
    workers
}

/// The entries of a directory that are numbers.
fn numbered(dir: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.to_str()?.parse().ok()).collect()
}

fn processes() -> Vec<String> {
    let of_user = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Kernel threads are kthreadd, number 2, and its children.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
        *pid != 2 && parent.is_some_and(|parent| parent != "2")
    };
    let name = |pid| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!("{pid} {}", comm.trim())
    };
    numbered("/proc").into_iter().filter(of_user).map(name).collect()
}

/// Memory that could be had, in bytes.
fn available() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    Ok(kib.context("MemAvailable")? << 10)
}

/// Objects of a kind; None on a kernel that does not count them one by one.
fn objects(kind: &str) -> Option<u64> {
    let dir = format!("/sys/kernel/slab/{kind}");
    // Otherwise what a processor keeps for later counts as in use.
    let _ = fs::write(format!("{dir}/shrink"), "1");
    let text = fs::read_to_string(format!("{dir}/objects")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}
