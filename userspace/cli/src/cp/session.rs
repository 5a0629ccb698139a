//! What the tasks of one run of `cp` share.
//!
//! Duty: options, permits that bound what is open and under way, counters, and
//! starting tasks. Everything is on one thread: the concurrency is the
//! context's.

use super::entry::{self, Entry};
use super::failure::{Failure, Failures};
use super::fs::Fs;
use super::links::Links;
use super::progress::Progress;
use super::stat::{Identity, Kind};
use super::temp;
use super::transfer::CHUNK_BYTES;
use async_lock::{Semaphore, SemaphoreGuardArc};
use futures::executor::LocalSpawner;
use futures::task::LocalSpawnExt;
use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Files that are under way at most.
const FILES_IN_FLIGHT: usize = 64;
/// Directories that are being finished at most.
const FINISHING: usize = 32;
/// Buffers at most; each has [`CHUNK_BYTES`].
const BUFFERS: usize = 96;

/// What the command line asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    pub recursive: bool,
    pub sync: bool,
    pub verify: bool,
    pub no_clobber: bool,
}

/// A counter.
#[derive(Debug, Default)]
pub struct Count(Cell<u64>);

impl Count {
    pub fn add(&self, n: u64) {
        self.0.set(self.0.get() + n);
    }

    pub fn get(&self) -> u64 {
        self.0.get()
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
    /// What `--no-clobber` left as it was.
    pub kept: Count,
    /// Copies that belong to us instead of the source's owner.
    pub owners_lost: Count,
    pub bytes: Count,
    pub verified: Count,
}

/// Buffers for chunks: a fixed number, made when they are needed.
#[derive(Debug)]
pub struct Buffers {
    permits: Arc<Semaphore>,
    free: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    /// The right to have a buffer.
    pub async fn permit(&self) -> SemaphoreGuardArc {
        self.permits.acquire_arc().await
    }

    /// A buffer, for the holder of a permit.
    pub fn take(&self) -> Vec<u8> {
        self.free.borrow_mut().pop().unwrap_or_else(|| vec![0; CHUNK_BYTES])
    }

    /// Gives both back. After a failure the buffer may be dropped instead.
    pub fn give(&self, buffer: Vec<u8>, permit: SemaphoreGuardArc) {
        self.free.borrow_mut().push(buffer);
        drop(permit);
    }
}

/// One run of `cp`.
pub struct Session {
    pub fs: Fs,
    pub options: Options,
    pub tally: Tally,
    pub failures: Failures,
    pub links: Links,
    pub buffers: Buffers,
    /// Our effective user and group: owner of what we make.
    pub owner: (u32, u32),
    pub progress: Progress,
    files: Arc<Semaphore>,
    finishers: Arc<Semaphore>,
    spawner: LocalSpawner,
    tasks: Cell<usize>,
    names: Cell<u64>,
    targets: RefCell<Vec<Identity>>,
    stop: Arc<AtomicUsize>,
}

impl Session {
    /// A run that nothing has been done of; `stop` becomes the number of the
    /// signal that ends it early.
    pub fn new(
        fs: Fs,
        options: Options,
        failures: Failures,
        progress: Progress,
        spawner: LocalSpawner,
        stop: Arc<AtomicUsize>,
    ) -> Rc<Self> {
        let permits = |n| Arc::new(Semaphore::new(n));
        Rc::new(Session {
            fs,
            options,
            tally: Tally::default(),
            failures,
            links: Links::default(),
            buffers: Buffers { permits: permits(BUFFERS), free: RefCell::default() },
            owner: (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()),
            progress,
            files: permits(FILES_IN_FLIGHT),
            finishers: permits(FINISHING),
            spawner,
            tasks: Cell::new(0),
            names: Cell::new(0),
            targets: RefCell::default(),
            stop,
        })
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

    /// A name that no other file of this process has had.
    pub fn temporary_name(&self, prefix: &str) -> CString {
        self.names.set(self.names.get() + 1);
        temp::name(prefix, std::process::id(), self.names.get())
    }

    /// Notes a directory that this run copies to.
    pub fn add_target(&self, identity: Identity) {
        self.targets.borrow_mut().push(identity);
    }

    /// Whether this run copies to this very directory.
    pub fn is_target(&self, identity: Identity) -> bool {
        self.targets.borrow().contains(&identity)
    }

    /// Runs a task beside the others.
    pub fn spawn(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        self.tasks.set(self.tasks.get() + 1);
        let cx = Rc::clone(self);
        let spawned = self.spawner.spawn_local(async move {
            task.await;
            cx.tasks.set(cx.tasks.get() - 1);
        });
        // The executor outlives the session; it refuses only when it is gone.
        spawned.expect("the executor is there as long as the session");
    }

    /// Whether all tasks have ended.
    pub fn is_idle(&self) -> bool {
        self.tasks.get() == 0
    }

    /// Starts copying what is not a directory, once fewer than the most files
    /// are under way.
    pub async fn start(self: &Rc<Self>, entry: Entry, kind: Kind) {
        let permit = self.files.acquire_arc().await;
        let cx = Rc::clone(self);
        self.spawn(async move {
            if let Err(failure) = entry::copy(&cx, &entry, kind).await {
                cx.fail(&failure);
            }
            entry::release(&cx, entry);
            drop(permit);
        });
    }

    /// The right to finish a directory.
    pub async fn finisher(&self) -> SemaphoreGuardArc {
        self.finishers.acquire_arc().await
    }

    /// Waits until a directory more would find room to be finished, so that
    /// those whose entries are done do not pile up behind a fast walk.
    pub async fn wait_for_finishers(&self) {
        drop(self.finishers.acquire().await);
    }
}
