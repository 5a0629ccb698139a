//! Where reads complete, as PATH tells and as the tracepoints count.

use crate::context;
use crate::trace::{Hit, Trace};
use aio2_abi::attr;
use aio2_conformance::context::Context as Aio2;
use aio2_conformance::request::{Batch, Request};
use aio2_guest::FILES;
use aio2_guest::leftovers::worker_threads;
use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

/// Reads of each kind.
const READS: usize = 32;
/// Bytes of a read, and from one to the next: no read is in what another has
/// fetched.
const PAGE: usize = 4096;
const STRIDE: u64 = 64 << 10;
/// A device without a file system that completes from a timer's interrupt.
const DEVICE: &str = "/dev/nullb1";
const EVENTS: &[&str] = &["aio2/aio2_complete", "task/task_newtask"];

/// Memory that direct I/O takes.
#[repr(align(4096))]
struct Buffer([u8; PAGE]);

/// A kind of reads: what must be told of them.
struct Kind {
    name: &'static str,
    place: u32,
    word: &'static str,
    /// Completed in an interrupt; None if it does not matter.
    in_interrupt: Option<bool>,
    makes_workers: bool,
    /// One is kept for what a page gives back.
    keeps_one: bool,
    /// A page may come before it is waited for: then the read is inline.
    may_be_inline: bool,
}

pub fn reads_complete_where_they_should() -> Result<()> {
    let context = context();
    let path = format!("{FILES}/places");
    let mut file =
        File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    file.write_all(&vec![7; READS * STRIDE as usize])?;
    let advise = |advice| {
        // SAFETY: takes numbers.
        unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, advice) }
    };
    file.sync_all()?;
    advise(libc::POSIX_FADV_RANDOM);
    advise(libc::POSIX_FADV_DONTNEED);
    let mut direct = File::options();
    direct.read(true).custom_flags(libc::O_DIRECT);
    let device = direct.open(DEVICE).context(DEVICE)?;
    let direct = direct.open(&path).context("O_DIRECT")?;
    let kind = |name, place, word, in_interrupt| Kind {
        name,
        place,
        word,
        in_interrupt,
        makes_workers: false,
        keeps_one: false,
        may_be_inline: false,
    };
    let cold = Kind {
        may_be_inline: true,
        keeps_one: true,
        ..kind("buffered, cold", attr::PATH_PAGE_WAIT, "page-wait", None)
    };
    let worker =
        Kind { makes_workers: true, ..kind("told to be async", attr::PATH_WORKER, "worker", None) };
    println!(
        "{:<22} {:<10} {:>6} {:>12} {:>12}",
        "reads", "place", "number", "in interrupt", "new threads"
    );
    let mut wrong = Vec::new();
    for (file, kind) in [
        (&file, cold),
        (&file, kind("buffered, warm", attr::PATH_INLINE, "inline", Some(false))),
        (&direct, kind("O_DIRECT, file", attr::PATH_DEVICE, "device", Some(true))),
        (&device, kind("O_DIRECT, device", attr::PATH_DEVICE, "device", Some(true))),
        (&file, worker),
    ] {
        if let Err(error) = reads(&context, file, &kind) {
            wrong.push(format!("{}: {error:#}", kind.name));
        }
    }
    drop(context);
    std::fs::remove_file(&path)?;
    if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("; ")) }
}

/// Makes the reads of a kind, one batch, and checks what is told of them.
fn reads(context: &Aio2, file: &File, kind: &Kind) -> Result<()> {
    let mut buffers: Vec<Buffer> = (0..READS).map(|_| Buffer([0; PAGE])).collect();
    let mut batch = Batch::new();
    for (i, buffer) in buffers.iter_mut().enumerate() {
        let read = Request::pread(file.as_raw_fd(), &mut buffer.0, i as u64 * STRIDE)
            .user_data(i as u64)
            .returns(attr::PATH);
        batch.push(&if kind.makes_workers { read.on_worker() } else { read });
    }
    let workers = worker_threads(Some(std::process::id()));
    let trace = Trace::begin(EVENTS)?;
    context.submit_all(&mut batch);
    let events = context.reap(READS);
    let hits = trace.end()?;
    let told = events.iter().filter(|e| e.place() == kind.place).count();
    let is_here = |hit: &&Hit| hit.event == "aio2_complete";
    let says = |hit: &&Hit| hit.text.split(' ').any(|word| word == kind.word);
    let counted: Vec<&Hit> = hits.iter().filter(is_here).filter(says).collect();
    let in_interrupt = counted.iter().filter(|hit| hit.in_interrupt).count();
    let comm = std::fs::read_to_string("/proc/self/comm")?;
    let mine = |hit: &&Hit| hit.event == "task_newtask" && hit.task.starts_with(comm.trim());
    let new_threads = hits.iter().filter(mine).count();
    println!("{:<22} {:<10} {told:>6} {in_interrupt:>12} {new_threads:>12}", kind.name, kind.word);
    ensure!(events.iter().all(|e| e.res == PAGE as i64), "a read did not read all: {events:?}");
    let inline = events.iter().filter(|e| e.place() == attr::PATH_INLINE).count();
    let others = if kind.may_be_inline { inline } else { 0 };
    ensure!(told > 0 && told + others == READS, "PATH says {} of {told} only", kind.word);
    ensure!(counted.len() == told, "the tracepoint counts {}", counted.len());
    match kind.in_interrupt {
        // Or by the submission itself, which may be slower than the device.
        Some(true) => {
            let by_nobody_else = |hit: &&Hit| hit.in_interrupt || hit.task.starts_with(comm.trim());
            ensure!(counted.iter().all(by_nobody_else), "by others than it and interrupts");
        }
        Some(false) => ensure!(in_interrupt == 0, "{in_interrupt} in an interrupt"),
        None => {}
    }
    let now = worker_threads(Some(std::process::id()));
    if kind.makes_workers {
        ensure!(!now.is_empty(), "no worker is there");
    } else if kind.keeps_one {
        // One that begins does not count as idle yet; the default concurrency bounds them.
        ensure!((1..=8).contains(&new_threads), "{new_threads} threads were made");
    } else {
        ensure!(new_threads == 0, "{new_threads} threads were made");
        // Idle ones may have left meanwhile, as they do after a while.
        let is_old = |worker| workers.contains(worker);
        ensure!(now.iter().all(is_old), "workers: {workers:?} before, {now:?} after");
    }
    Ok(())
}
