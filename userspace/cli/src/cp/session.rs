//! What the threads of one run of `cp` share.
//!
//! Duty: options, counters, failures, and whether to stop.

use super::failure::{Failure, Failures};
use super::linked::Links;
use super::options::Options;
use super::progress::Progress;
use super::stat::Identity;
use crate::printable::Printable;
use rustix::rand::{GetRandomFlags, getrandom};
use std::ffi::CString;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// A counter. Nothing else is published by it.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What was done so far.
#[derive(Debug, Default)]
pub struct Tally {
    pub files: Count,
    pub directories: Count,
    pub symlinks: Count,
    pub hard_links: Count,
    pub specials: Count,
    /// What was there and was left as it was.
    pub kept: Count,
    /// Copies that belong to us instead of the source's owner.
    pub owners_lost: Count,
    /// Copies without an extended attribute of the source.
    pub xattrs_lost: Count,
    /// Copies without the source's access control list.
    pub acls_lost: Count,
    /// Copies that are names of their own instead of hard links.
    pub links_lost: Count,
    /// Copies without the source's holes.
    pub holes_lost: Count,
    /// Copies that share their blocks with the source.
    pub reflinks: Count,
    pub bytes: Count,
    pub verified: Count,
    /// Copies of what can be read once only.
    pub unverified: Count,
}

/// One run of `cp`.
#[derive(Debug)]
pub struct Session {
    pub options: Options,
    pub tally: Tally,
    pub failures: Failures,
    pub links: Links,
    /// Our effective user and group: owner of what we make.
    pub owner: (u32, u32),
    /// What new files are not to be given.
    pub umask: u32,
    pub progress: Progress,
    /// Directories that are open, source and target counted apart.
    pub directories_open: Count,
    /// Most directories that may be open.
    pub directories_max: u64,
    names: AtomicU64,
    random: u64,
    targets: Mutex<Vec<Identity>>,
    stop: Arc<AtomicUsize>,
    output_lost: AtomicBool,
}

impl Session {
    /// A run that nothing has been done of; `stop` becomes the number of the
    /// signal that ends it early.
    pub fn new(
        options: Options,
        failures: Failures,
        progress: Progress,
        stop: Arc<AtomicUsize>,
        directories_max: u64,
    ) -> Self {
        // Explicit modes are meant as they stand.
        let umask = rustix::process::umask(rustix::fs::Mode::empty());
        Session {
            options,
            tally: Tally::default(),
            failures,
            links: Links::default(),
            owner: (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()),
            umask: umask.as_raw_mode(),
            progress,
            directories_open: Count::default(),
            directories_max,
            names: AtomicU64::new(0),
            random: random(),
            targets: Mutex::default(),
            stop,
            output_lost: AtomicBool::new(false),
        }
    }

    /// Whether a signal has asked to stop.
    pub fn stopped(&self) -> bool {
        self.signal() != 0
    }

    /// The number of the signal that has asked to stop, or 0.
    pub fn signal(&self) -> usize {
        // The number is all that is told: nothing else is published by it.
        self.stop.load(Ordering::Relaxed)
    }

    /// Names and counts a failure.
    pub fn fail(&self, failure: &Failure) {
        if let Some(line) = self.failures.take(failure) {
            self.progress.say(&line);
        }
    }

    /// Says what is odd, and no failure.
    pub fn warn(&self, what: &str) {
        self.progress.say(&self.failures.warning(what));
    }

    /// Shows how far it is.
    pub fn show(&self) {
        let tally = &self.tally;
        self.progress.show(tally.files.get(), tally.bytes.get(), self.failures.count());
    }

    /// Says what is copied where, if that is asked for.
    pub fn tell(&self, source: &[u8], target: &[u8]) {
        if !self.options.verbose {
            return;
        }
        let line = format!("'{}' -> '{}'\n", Printable(source), Printable(target));
        if self.progress.suspend(|| io::stdout().write_all(line.as_bytes())).is_err() {
            self.output_lost.store(true, Ordering::Relaxed);
        }
    }

    /// Whether something could not be said on standard output.
    pub fn output_lost(&self) -> bool {
        self.output_lost.load(Ordering::Relaxed)
    }

    /// A name that no other file has, as far as chance can tell.
    pub fn temporary_name(&self, prefix: &str) -> CString {
        let n = self.names.fetch_add(1, Ordering::Relaxed);
        let name = format!("{prefix}{:016x}{n:x}", self.random);
        CString::new(name).unwrap_or_default()
    }

    /// Notes a directory that this run copies to.
    pub fn add_target(&self, identity: Identity) {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).push(identity);
    }

    /// Whether this run copies to this very directory.
    pub fn is_target(&self, identity: Identity) -> bool {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).contains(&identity)
    }
}

/// A number that another process does not have.
fn random() -> u64 {
    let mut bytes = [0; 8];
    match getrandom(&mut bytes, GetRandomFlags::NONBLOCK) {
        Ok(8) => u64::from_ne_bytes(bytes),
        _ => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            now.as_nanos() as u64 ^ u64::from(std::process::id()).rotate_left(40)
        }
    }
}
