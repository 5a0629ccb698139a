//! What can be asked of a kernel at each patch of the series: that io_uring's
//! workers do what they did, also for a thread that leaves its process behind,
//! and whether there is AIO2.

use aio2::kernel::Probe;
use anyhow::{Context, Result, ensure};
use io_uring::{IoUring, opcode, squeue, types};
use std::fs::{self, File};
use std::os::fd::AsRawFd;

const PAGE: usize = 4096;
/// Operations, submitted together.
const PAGES: usize = 32;

/// Runs operations on io_uring's workers; each must have moved a page.
fn on_workers(entries: impl Iterator<Item = squeue::Entry>) -> Result<()> {
    let mut ring = IoUring::new(PAGES as u32).context("io_uring")?;
    for entry in entries {
        // SAFETY: the caller's buffers live until all completions were taken below.
        unsafe { ring.submission().push(&entry.flags(squeue::Flags::ASYNC)) }?;
    }
    ring.submit_and_wait(PAGES)?;
    let moved: Vec<i32> = ring.completion().map(|completion| completion.result()).collect();
    ensure!(moved == [PAGE as i32; PAGES], "workers of io_uring returned {moved:?}");
    Ok(())
}

/// Writes a file and reads it, a page an operation.
fn write_and_read(path: &str) -> Result<()> {
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
    let fd = types::Fd(file.as_raw_fd());
    let written: Vec<[u8; PAGE]> = (0..PAGES).map(|i| [i as u8 + 1; PAGE]).collect();
    on_workers(written.iter().enumerate().map(|(i, page)| {
        opcode::Write::new(fd, page.as_ptr(), PAGE as u32).offset((i * PAGE) as u64).build()
    }))?;
    let mut read = vec![[0; PAGE]; PAGES];
    on_workers(read.iter_mut().enumerate().map(|(i, page)| {
        opcode::Read::new(fd, page.as_mut_ptr(), PAGE as u32).offset((i * PAGE) as u64).build()
    }))?;
    ensure!(read == written, "{path} has other bytes than were written");
    fs::remove_file(path)?;
    Ok(())
}

fn main() -> Result<()> {
    let dir = std::env::var("TMPDIR").context("TMPDIR")?;
    write_and_read(&format!("{dir}/first"))?;
    let thread = std::thread::spawn(move || write_and_read(&format!("{dir}/second")));
    thread.join().expect("the thread does not panic")?;
    let has_aio2 = matches!(Probe::run(), Probe::Available(_));
    println!("io_uring's workers did it; AIO2 is {}", if has_aio2 { "there" } else { "not there" });
    Ok(())
}
