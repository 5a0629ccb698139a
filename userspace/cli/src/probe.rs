//! `aio2 probe`: what this system offers.
//!
//! Duty: facts about the kernel's AIO2, the implementation that is chosen, and
//! the older interfaces beside it. Nothing is created but what is closed again.

use crate::args::{Global, ProbeArgs};
use crate::errno;
use crate::exit::{Exit, Trouble};
use aio2::kernel::Probe;
use aio2::syscall;
use aio2_abi::setup::{Features, Setup};
use aio2_abi::{VERSION, attr, op};
use serde::Serialize;
use std::fmt;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// What there is.
#[derive(Debug, Serialize)]
struct Offer {
    abi_version: u32,
    kernel_release: String,
    kernel_aio2: String,
    io_uring: String,
    linux_aio: String,
    backend: String,
    executor: String,
    version: u32,
    features: Vec<String>,
    attributes: Vec<String>,
    returns: Vec<String>,
    operations: Vec<String>,
    syscalls: Vec<&'static str>,
    ring_bytes: u32,
    max_requests: u32,
    concurrency: u32,
    iocb_max: u32,
    event_max: u32,
    map_bytes: u32,
    #[serde(skip)]
    verbose: bool,
}

/// Prints what this system offers.
///
/// # Errors
/// If there is no implementation as the command line asks for it.
pub fn run(global: &Global, args: &ProbeArgs) -> Result<Exit, Trouble> {
    let context = global.unrecorded_context()?;
    let setup = context.setup();
    let offer = Offer {
        abi_version: VERSION,
        kernel_release: kernel_release(),
        kernel_aio2: kernel_aio2(),
        io_uring: io_uring(),
        linux_aio: linux_aio(),
        backend: context.implementation().to_string(),
        executor: context.executor().map_or("of the kernel".into(), |e| e.to_string()),
        version: setup.version,
        features: setup.features().iter_names().map(|(name, _)| name.to_lowercase()).collect(),
        attributes: attributes(setup.attrs),
        returns: attributes(setup.returns),
        operations: operations(setup),
        syscalls: syscalls(setup),
        ring_bytes: setup.ring_bytes,
        max_requests: setup.max_requests,
        concurrency: setup.concurrency,
        iocb_max: setup.iocb_max,
        event_max: setup.event_max,
        map_bytes: setup.map_bytes,
        verbose: args.verbose,
    };
    global.print(&offer, &offer)?;
    Ok(Exit::Done)
}

fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|error| format!("unknown: {error}"), |release| release.trim().to_owned())
}

fn kernel_aio2() -> String {
    match Probe::run() {
        Probe::Available(setup) => format!("version {}", setup.version),
        Probe::NotImplemented => "not there".into(),
        Probe::Refused(refused) => format!("refused: {}", errno::text(refused.0)),
    }
}

/// What became of a call that only tries whether something is there.
fn tried(result: i64) -> String {
    if result >= 0 {
        return "available".into();
    }
    let error = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    match error {
        libc::ENOSYS => format!("not there: {}", errno::text(error)),
        _ => format!("refused: {}", errno::text(error)),
    }
}

fn io_uring() -> String {
    // As large as io_uring_params has ever been; zero asks for nothing special.
    let mut params = [0_u64; 15];
    // SAFETY: the kernel writes its io_uring_params, which are 120 bytes.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1_u32, params.as_mut_ptr()) };
    let said = tried(fd);
    if let Ok(fd @ 0..) = i32::try_from(fd) {
        // SAFETY: the call has just opened it, and nobody else knows it.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
    said
}

fn linux_aio() -> String {
    let mut context = 0_u64;
    // SAFETY: the kernel writes the context's number to a variable of its size.
    let result = unsafe { libc::syscall(libc::SYS_io_setup, 1_u32, &raw mut context) };
    let said = tried(result);
    if result >= 0 {
        // SAFETY: the context was just made and is used by nobody.
        unsafe { libc::syscall(libc::SYS_io_destroy, context) };
    }
    said
}

fn attributes(mask: u64) -> Vec<String> {
    (1..=attr::ID_MAX).filter(|id| mask >> id & 1 == 1).map(crate::attribute::name).collect()
}

fn operations(setup: &Setup) -> Vec<String> {
    let there = (0..64).filter(|n| setup.ops >> n & 1 == 1);
    let name =
        |n| op::describe(op::OP | n).map_or(format!("operation {n}"), |(name, _)| name.into());
    there.map(name).collect()
}

fn syscalls(setup: &Setup) -> Vec<&'static str> {
    syscall::ALLOWED.iter().filter(|row| setup.has_syscall(row.nr)).map(|row| row.name).collect()
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kernel       {}", self.kernel_release)?;
        writeln!(f, "  AIO2       {}", self.kernel_aio2)?;
        writeln!(f, "  io_uring   {}", self.io_uring)?;
        writeln!(f, "  Linux AIO  {}", self.linux_aio)?;
        writeln!(f, "backend      {}, version {}", self.backend, self.version)?;
        writeln!(f, "  executor   {}", self.executor)?;
        writeln!(f, "  features   {}", self.features.join(", "))?;
        let missing = Features::all().iter_names().map(|(name, _)| name.to_lowercase());
        let missing: Vec<_> = missing.filter(|name| !self.features.contains(name)).collect();
        if !missing.is_empty() {
            writeln!(f, "  not there  {}", missing.join(", "))?;
        }
        writeln!(f, "  attributes {}", self.attributes.join(", "))?;
        writeln!(f, "  returns    {}", self.returns.join(", "))?;
        writeln!(f, "  operations {}", self.operations.join(", "))?;
        if self.verbose {
            writeln!(f, "  syscalls   {}", self.syscalls.join(", "))?;
        } else {
            writeln!(f, "  syscalls   {} (-v lists them)", self.syscalls.len())?;
        }
        writeln!(f, "limits       {} requests, {} workers", self.max_requests, self.concurrency)?;
        write!(
            f,
            "sizes        ring {} bytes in a mapping of {}, iocb up to {}, event up to {}",
            self.ring_bytes, self.map_bytes, self.iocb_max, self.event_max
        )
    }
}
