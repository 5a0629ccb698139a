//! What an operation costs, by each interface, in instructions.
//!
//! Meant for a machine that counts instructions: there the processor's time
//! stamp grows by one with each. All interfaces are measured in one run, on
//! the same files and buffers, user and kernel side together. Elsewhere the
//! numbers are time stamps, and of little use.

mod aio;
mod aio2;
mod cancel;
mod filter;
mod marks;
mod plain;
mod uring;

use aio2_guest::OPERATIONS;
use anyhow::{Context, Result, ensure};
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;

/// Measurements, of which the least counts: the others had a timer tick in them.
const REPEATS: usize = 5;
/// Sizes of a batch.
const BATCHES: [usize; 2] = [1, 32];
/// Bytes of a buffer, and its alignment.
const PAGE: usize = 4096;
/// Instructions of the seccomp filter under which some are measured again.
const FILTER: usize = 50;
/// The device that completes at once.
const DEVICE: &str = "/dev/nullb0";

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub enum Operation {
    /// Nothing.
    Nop,
    /// A read at offset 0.
    Read {
        /// From this file.
        fd: RawFd,
        /// So many bytes.
        len: usize,
    },
}

/// A way to run operations.
pub trait Interface {
    /// Its name in the table.
    fn name(&self) -> &'static str;

    /// Whether it has the operation at all.
    fn has(&self, operation: Operation) -> bool;

    /// Runs `operation` once with each buffer, submitted together, and takes
    /// what they returned.
    fn batch(&mut self, operation: Operation, buffers: &mut [Buffer]) -> Result<()>;
}

/// Memory to read into.
#[repr(align(4096))]
pub struct Buffer(pub [u8; PAGE]);

/// Checks the result of an operation.
///
/// # Errors
/// If it is not what a success gives.
pub fn check(operation: Operation, result: i64) -> Result<()> {
    let expected = match operation {
        Operation::Nop => 0,
        Operation::Read { len, .. } => len as i64,
    };
    ensure!(result == expected, "{operation:?} returned {result} instead of {expected}");
    Ok(())
}

/// The processor's time stamp.
fn stamp() -> u64 {
    // SAFETY: every x86-64 processor has it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Instructions for one operation, as many at a time as there are buffers.
fn cost(
    interface: &mut dyn Interface,
    operation: Operation,
    buffers: &mut [Buffer],
) -> Result<u64> {
    let batch = buffers.len();
    let mut least = u64::MAX;
    // The first one warms up.
    for repeat in 0..=REPEATS {
        marks::begin();
        let start = stamp();
        for _ in 0..OPERATIONS / batch {
            interface.batch(operation, buffers)?;
        }
        let spent = stamp() - start;
        marks::end();
        if repeat > 0 {
            least = least.min(spent);
        }
    }
    Ok(least / OPERATIONS as u64)
}

fn main() -> Result<()> {
    // Where the program is: its symbols are found by that.
    let maps = fs::read_to_string("/proc/self/maps").context("/proc/self/maps")?;
    let mine = maps.lines().find(|line| line.ends_with("/cost")).context("no mapping of this")?;
    println!("program {}", mine.split('-').next().unwrap_or_default());
    let zero = File::open("/dev/zero")?;
    let mut cached = File::open(DEVICE).context(DEVICE)?;
    cached.read_exact(&mut [0; PAGE])?;
    let direct = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(DEVICE)?;
    let read = |file: &File, len| Operation::Read { fd: file.as_raw_fd(), len };
    let operations = [
        ("nop", Operation::Nop),
        ("zero-1", read(&zero, 1)),
        ("cached-4096", read(&cached, PAGE)),
        ("direct-4096", read(&direct, PAGE)),
    ];
    let entries = BATCHES[1] as u32;
    let mut buffers: Vec<Buffer> = (0..BATCHES[1]).map(|_| Buffer([0; PAGE])).collect();
    let files = [&zero, &cached, &direct].map(AsRawFd::as_raw_fd);
    let mut interfaces: Vec<Box<dyn Interface>> = vec![
        Box::new(plain::Plain),
        Box::new(uring::Uring::new(entries)?),
        Box::new(uring::Uring::best(entries, &files, &mut buffers)?),
        Box::new(aio::Aio::new(entries)?),
    ];
    for asks in aio2::ASKS {
        interfaces.extend(aio2::Aio2::new(asks)?.map(|aio2| Box::new(aio2) as Box<_>));
    }
    let mut measure = |filtered: &str, operations: &[(&str, Operation)]| -> Result<()> {
        for &(name, operation) in operations {
            for batch in BATCHES {
                for interface in &mut interfaces {
                    if interface.has(operation) {
                        let cost = cost(interface.as_mut(), operation, &mut buffers[..batch])
                            .with_context(|| format!("{name} by {}", interface.name()))?;
                        println!("cost {name}{filtered} {batch} {} {cost}", interface.name());
                    }
                }
            }
        }
        Ok(())
    };
    measure("", &operations)?;
    cancel::measure()?;
    // For good: it comes last.
    filter::install(FILTER)?;
    measure("+filter", &operations[1..2])
}
