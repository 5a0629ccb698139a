//! A write-ahead log whose writer is killed at random points.
//!
//! A child process writes transactions: data, fdatasync, and a commit record in
//! another file, each a request that a worker runs, ordered by AFTER alone. Its
//! parent kills it and recovers: for each commit record that is there, the data
//! must be in the file. That is not enough: the page cache outlives a process
//! that is killed, and does not outlive a power failure. So the parent also asks
//! the kernel, at once, which pages of the data have reached the disk
//! (cachestat(2)); if there is a commit record for one that has not, its data
//! count as lost. The same program without AFTER has to lose some.
//!
//! SPEC: section 9.3.

use crate::child;
use crate::context::Context;
use crate::env::{Env, Factory, Outcome, setup};
use crate::random::Random;
use crate::request::{Batch, Request};
use aio2_abi::attr;
use aio2_abi::iocb::IocbFlags;
use aio2_abi::setup::Setup;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

const TRANSACTIONS: u64 = 256;
const DATA_BYTES: usize = 512 << 10;
const PATTERNS: u64 = 8;
/// Transactions that are in flight at once.
const DEPTH: u64 = 4;
/// A child is killed within so long after its start.
const LIFE_US: u64 = 25_000;
/// How often a writer that shall lose something is killed at most.
const MOST_KILLS: u64 = 1000;
/// Where the child finds its files.
const DIRECTORY: &str = "AIO2_CRASH_DIRECTORY";

/// The data of transactions: that of the n-th is `blocks()[n % PATTERNS]`.
fn blocks() -> Vec<Vec<u8>> {
    (1..=PATTERNS as u8).map(|byte| vec![byte; DATA_BYTES]).collect()
}

/// Its commit record.
fn record(transaction: u64) -> u64 {
    0x636f_6d6d_6974_0000 | transaction
}

fn open(dir: &Path, name: &str) -> File {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    options.open(dir.join(name)).expect("a file")
}

/// Child: writes, in order.
pub(crate) fn writes_a_log(factory: &dyn Factory) -> i32 {
    write_log(factory, true)
}

/// Child: the same without AFTER.
pub(crate) fn writes_a_log_in_any_order(factory: &dyn Factory) -> i32 {
    write_log(factory, false)
}

fn write_log(factory: &dyn Factory, ordered: bool) -> i32 {
    let dir = PathBuf::from(std::env::var_os(DIRECTORY).expect("a directory"));
    let (data, log) = (open(&dir, "data"), open(&dir, "log"));
    let setup = Setup { concurrency: 4, ..setup() };
    let context = Context::new(factory.create(&setup).expect("a context can be created"));
    let blocks = blocks();
    let records: Vec<u64> = (0..TRANSACTIONS).map(record).collect();
    let call = |nr, args: &[u64]| Request::call(nr, args).on_worker();
    let follows = |r: Request| if ordered { r.after(attr::AFTER_STREAM, 1) } else { r };
    let (data, log) = (data.as_raw_fd() as u64, log.as_raw_fd() as u64);
    for n in 0..TRANSACTIONS {
        let block = blocks[(n % PATTERNS) as usize].as_ptr().addr() as u64;
        let commit = (&raw const records[n as usize]).addr() as u64;
        let bytes = DATA_BYTES as u64;
        let mut batch = Batch::of([
            call(libc::SYS_pwrite64, &[data, block, bytes, n * bytes]).flags(IocbFlags::FULL),
            follows(call(libc::SYS_fdatasync, &[data])),
            follows(call(libc::SYS_pwrite64, &[log, commit, 8, n * 8]).flags(IocbFlags::FULL)),
        ]);
        context.submit_all(&mut batch);
        // The first one alone, so that something is there to be recovered.
        if n == 0 || n > DEPTH {
            assert!(context.reap(3).iter().all(|event| event.res >= 0));
        }
        if n == 0 {
            println!("running");
        }
    }
    let last = context.reap(3 * DEPTH as usize);
    assert!(last.iter().all(|event| event.res >= 0));
    // Until it is killed.
    loop {
        std::thread::park();
    }
}

/// Bytes of a file that have not reached the disk, if the kernel tells.
fn unsaved_pages(file: &File, offset: u64, len: u64) -> Option<u64> {
    const SYS_CACHESTAT: libc::c_long = 451;
    let range = [offset, len];
    // Pages in the cache, dirty, being written, evicted, and of these recently.
    let mut stat = [0_u64; 5];
    // SAFETY: cachestat reads two numbers and writes five.
    let result = unsafe {
        libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), range.as_ptr(), stat.as_mut_ptr(), 0)
    };
    (result == 0).then(|| stat[1] + stat[2])
}

/// Whether the kernel tells here what has reached the disk.
fn tells_what_is_saved(dir: &Path) -> Result<(), &'static str> {
    let file = open(dir, "probe");
    file.write_all_at(&[1; DATA_BYTES], 0).expect("there is room");
    let before = unsaved_pages(&file, 0, DATA_BYTES as u64).ok_or("no cachestat(2)")?;
    file.sync_data().expect("it is saved");
    let after = unsaved_pages(&file, 0, DATA_BYTES as u64);
    if before > 0 && after == Some(0) {
        Ok(())
    } else {
        Err("this filesystem does not tell what has reached the disk")
    }
}

/// What recoveries found.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    kills: u64,
    committed: u64,
    /// Commit records whose data had not reached the disk at the kill.
    unsaved: u64,
    /// Those whose data were not in the file when the process was gone.
    missing: u64,
}

/// The commit records that are there.
fn committed(log: &File) -> Vec<u64> {
    let mut records = vec![0; 8 * TRANSACTIONS as usize];
    let len = log.read_at(&mut records, 0).expect("the log");
    let (whole, _) = records[..len].as_chunks();
    let found = (0..).zip(whole).map(|(n, found)| (n, u64::from_ne_bytes(*found)));
    let written = found.filter(|(_, found)| *found != 0);
    written.map(|(n, found)| if found == record(n) { n } else { panic!("{found:#x}") }).collect()
}

fn is_there(data: &File, transaction: u64, blocks: &[Vec<u8>]) -> bool {
    let mut found = vec![0; DATA_BYTES];
    let read = data.read_exact_at(&mut found, transaction * DATA_BYTES as u64);
    read.is_ok() && found == blocks[(transaction % PATTERNS) as usize]
}

/// Starts a child in this role and kills it, again and again, until `enough`.
fn kill(env: &Env<'_>, role: &str, tells: bool, enough: impl Fn(&Found) -> bool) -> Found {
    let mut random = Random::from_environment(role);
    let mut found = Found::default();
    let (data, log, blocks) = (open(env.dir, "data"), open(env.dir, "log"), blocks());
    let bytes = DATA_BYTES as u64;
    while !enough(&found) {
        found.kills += 1;
        for file in [&data, &log] {
            file.set_len(0).expect("an empty file");
        }
        let mut command = child::command(env.factory, role);
        command.env(DIRECTORY, env.dir).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the child runs");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        assert_eq!(lines.next().and_then(Result::ok).as_deref(), Some("running"));
        std::thread::sleep(Duration::from_micros(random.below(LIFE_US)));
        child.kill().expect("it is killed");
        // Now, since an fdatasync that runs goes on to its end all the same.
        // What is saved between these two looks is taken for safe.
        let at_once = committed(&log).into_iter();
        let is_unsaved = |n: &u64| tells && unsaved_pages(&data, n * bytes, bytes) != Some(0);
        found.unsaved += at_once.filter(is_unsaved).count() as u64;
        let status = child.wait().expect("it is our child");
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(libc::SIGKILL), "the child died of something else: {status}");
        let committed = committed(&log);
        found.committed += committed.len() as u64;
        found.missing += committed.iter().filter(|n| !is_there(&data, **n, &blocks)).count() as u64;
    }
    println!("{role}: {found:?}");
    found
}

impl Found {
    fn lost(&self) -> u64 {
        self.unsaved + self.missing
    }
}

/// Kills the writer so many times. The one that does without AFTER is killed
/// `in_vain` times, or until it has lost something if that is 0.
fn crash(env: &Env<'_>, kills: u64, in_vain: u64) -> Outcome {
    env.needs_attr(attr::AFTER)?;
    let tells = tells_what_is_saved(env.dir);
    if let Err(why) = tells {
        println!("SKIP looking for what has not reached the disk: {why}");
    }
    let tells = tells.is_ok();
    let found = kill(env, "writes_a_log", tells, |found| found.kills >= kills);
    assert_eq!(found.lost(), 0, "a commit record without its data");
    assert!(found.committed >= kills, "there was nothing to recover");
    // Without AFTER the check finds something, or it would show nothing.
    let found = kill(env, "writes_a_log_in_any_order", tells, |found| {
        found.kills >= MOST_KILLS || found.kills >= in_vain && found.lost() > 0
    });
    assert!(found.lost() > 0, "nothing was lost without AFTER");
    Ok(())
}

/// No commit record is found without its data, and without AFTER some are.
///
/// # Errors
/// If the implementation has no AFTER.
///
/// # Panics
/// If one is found with AFTER, or none without.
pub fn killed_writer_leaves_no_commit_record_without_its_data(env: &Env<'_>) -> Outcome {
    crash(env, 20, 0)
}

/// The same, a thousand times.
///
/// # Errors
/// If the implementation has no AFTER.
///
/// # Panics
/// If one is found with AFTER, or none without.
pub fn writer_is_killed_a_thousand_times(env: &Env<'_>) -> Outcome {
    crash(env, 1000, 200)
}
