//! The submitter does not sleep, whatever kind of file and flag a request has:
//! its thread's own voluntary context switches tell.
//!
//! A thread that waits for a device, a server or a peer gives its processor up
//! each time. One that waits for a lock, or for memory, does so now and then;
//! so each case is tried several times, and once without is enough. Each case
//! is also said to run where it must: a file that is in memory may answer within
//! the submission without a sleep that could be seen.
//!
//! SPEC: R-RUN-3.

#[allow(dead_code)] // shared with other programs
mod common;
#[path = "submitter/metadata.rs"]
mod metadata;

use aio2_abi::attr;
use aio2_abi::iocb::IocbFlags;
use aio2_conformance::backends::InProcess;
use aio2_conformance::context::Context;
use aio2_conformance::env::{Env, Outcome, Skip};
use aio2_conformance::mounts::{self, Kind, Mount};
use aio2_conformance::request::Request;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

const BLOCK: usize = 4096;
const ROUNDS: usize = 20;

/// Memory at an address that a direct transfer takes.
#[repr(align(4096))]
struct Block([u8; BLOCK]);

/// How often this thread has given its processor up by itself.
fn switches() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("/proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).expect("a number")
}

/// What one submission of `request` does: the switches within it, where the
/// request was run, and its result.
fn submit(context: &Context, request: Request) -> (u64, u32, i64) {
    let before = switches();
    context.submit_one(request.returns(attr::PATH));
    let slept = switches() - before;
    let event = context.reap(1).remove(0);
    (slept, event.place(), event.res)
}

/// Fails if the submitter has slept for each of several requests, and, if it is
/// to be run elsewhere, if one was run inline. `before` comes before each.
fn check(what: &str, elsewhere: bool, mut before: impl FnMut(), request: impl Fn() -> Request) {
    let env = Env { factory: &InProcess, dir: Path::new("/") };
    let context = env.one_worker();
    // The worker is there already.
    context.run(Request::nop(0).on_worker());
    let mut least = u64::MAX;
    for _ in 0..ROUNDS {
        before();
        let (slept, place, result) = submit(&context, request());
        assert!(result >= 0, "{what}: {result}");
        assert!(!elsewhere || place != attr::PATH_INLINE, "{what}: within the submission");
        least = least.min(slept);
    }
    assert_eq!(least, 0, "{what}: the submitter sleeps each time");
    println!("{what}: the submitter does not sleep");
}

fn open(path: &Path, flags: i32) -> std::io::Result<File> {
    File::options().read(true).write(true).custom_flags(flags).open(path)
}

fn forget(file: &File) {
    file.sync_all().expect("it is written");
    // SAFETY: takes numbers.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
}

/// The reads and writes of one file, in each family of calls.
fn transfers(file: &File, block: &mut Block, flags: i32) -> Vec<(&'static str, Request)> {
    let (fd, at) = (file.as_raw_fd() as u64, block.0.as_mut_ptr().expose_provenance() as u64);
    let iovec =
        Box::leak(Box::new(libc::iovec { iov_base: block.0.as_mut_ptr().cast(), iov_len: BLOCK }));
    let vector = (&raw mut *iovec).expose_provenance() as u64;
    let (len, flags) = (BLOCK as u64, flags as u64);
    if flags != 0 {
        let args = [fd, vector, 1, 0, 0, flags];
        return vec![
            ("preadv2", Request::call(libc::SYS_preadv2, &args)),
            ("pwritev2", Request::call(libc::SYS_pwritev2, &args)),
        ];
    }
    vec![
        ("pread64", Request::call(libc::SYS_pread64, &[fd, at, len, 0])),
        ("pwrite64", Request::call(libc::SYS_pwrite64, &[fd, at, len, 0])),
        ("preadv", Request::call(libc::SYS_preadv, &[fd, vector, 1, 0, 0])),
        ("pwritev", Request::call(libc::SYS_pwritev, &[fd, vector, 1, 0, 0])),
    ]
}

/// Each transfer on a file of `dir`, with each flag of file and call.
fn on_files_of(name: &str, dir: &Path, writes_wait: bool) {
    let path = dir.join("file");
    std::fs::write(&path, vec![7; 16 * BLOCK]).expect("a file can be made");
    let mut block = Block([0; BLOCK]);
    let cases = [
        ("no flag", 0, 0),
        ("O_DIRECT", libc::O_DIRECT, 0),
        ("O_SYNC", libc::O_SYNC, 0),
        ("O_DSYNC", libc::O_DSYNC, 0),
        ("RWF_DSYNC", 0, libc::RWF_DSYNC),
        ("RWF_SYNC", 0, libc::RWF_SYNC),
        ("RWF_HIPRI", libc::O_DIRECT, libc::RWF_HIPRI),
        ("RWF_NOWAIT and O_DIRECT", libc::O_DIRECT, libc::RWF_NOWAIT),
    ];
    for (flag, open_flags, call_flags) in cases {
        let Ok(file) = open(&path, open_flags) else {
            println!("SKIP {name}, {flag}: the file system does not have it");
            continue;
        };
        for (call, request) in transfers(&file, &mut block, call_flags) {
            let waits = flag != "no flag" && (open_flags == libc::O_DIRECT || call.contains("wri"));
            let waits = waits || writes_wait && call.contains("wri");
            let what = format!("{name}, {flag}, {call}");
            let context = Env { factory: &InProcess, dir }.one_worker();
            if context.run(request.clone()).res < 0 {
                println!("SKIP {what}: not there");
                continue;
            }
            check(&what, waits, || forget(&file), || request.clone());
        }
    }
}

fn each(kind: Kind, options: &'static str, dir: &Path) -> Outcome {
    let mount = Mount::new(kind, options, dir)?;
    let name = format!("{kind:?} {options}");
    on_files_of(&name, mount.dir(), options.contains("sync"));
    Ok(())
}

/// chattr(1)'s S.
fn with_sync_attribute(kind: Kind, dir: &Path) -> Outcome {
    let mount = Mount::new(kind, "", dir)?;
    let path = mount.dir().join("file");
    std::fs::write(&path, [7; BLOCK]).map_err(|e| Skip(e.to_string()))?;
    let set = Command::new("chattr").arg("+S").arg(&path).status();
    if !set.is_ok_and(|status| status.success()) {
        return Err(Skip("no chattr +S".into()));
    }
    on_files_of(&format!("{kind:?} with chattr +S"), mount.dir(), true);
    Ok(())
}

/// A disk of its own: the image of a file system, by its loop device.
fn block_device(dir: &Path) -> Outcome {
    let mount = Mount::new(Kind::Ext4, "", dir)?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("/proc is mounted");
    let line = mounts.lines().find(|line| line.contains(&*mount.dir().to_string_lossy()));
    let device = line.and_then(|line| line.split(' ').next()).expect("it is mounted").to_owned();
    let file = File::open(&device).map_err(|e| Skip(format!("{device}: {e}")))?;
    let direct = File::options().read(true).custom_flags(libc::O_DIRECT).open(&device);
    let direct = direct.map_err(|e| Skip(format!("{device}: {e}")))?;
    let mut block = Block([0; BLOCK]);
    for (file, name, elsewhere) in [(&file, "block device", false), (&direct, "direct", true)] {
        for (call, request) in transfers(file, &mut block, 0) {
            if call.contains("read") {
                let forget = || {
                    // SAFETY: takes numbers.
                    unsafe {
                        libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED)
                    };
                };
                check(&format!("{name}, {call}"), elsewhere, forget, || request.clone());
            }
        }
    }
    Ok(())
}

/// What has no NOWAIT, and what sleeps for a peer.
fn other_kinds(_: &Path) -> Outcome {
    let mut block = Block([0; BLOCK]);
    for path in ["/proc/self/status", "/sys/kernel/mm/transparent_hugepage/enabled", "/dev/zero"] {
        let Ok(file) = File::open(path) else {
            println!("SKIP {path}: not there");
            continue;
        };
        for (call, request) in transfers(&file, &mut block, 0) {
            if call.contains("read") {
                check(&format!("{path}, {call}"), false, || (), || request.clone());
            }
        }
    }
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let request = Request::read(reader.as_raw_fd(), &mut block.0);
    let context = Env { factory: &InProcess, dir: Path::new("/") }.one_worker();
    context.run(Request::nop(0).on_worker());
    let least = (0..ROUNDS).map(|_| {
        let before = switches();
        context.submit_one(request.clone().flags(IocbFlags::empty()));
        let slept = switches() - before;
        std::io::Write::write_all(&mut &writer, &[1]).expect("the pipe has room");
        assert_eq!(context.reap(1)[0].res, 1);
        slept
    });
    assert_eq!(least.min(), Some(0), "an empty pipe: the submitter sleeps each time");
    Ok(())
}

static SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: i32) {
    SIGNALS.fetch_add(1, Ordering::SeqCst);
}

/// A write over the limit of a file's size is cut, and no signal comes of it.
fn file_size_limit(dir: &Path) -> Outcome {
    const LIMIT: u64 = 100_000;
    let mount = Mount::new(Kind::Xfs, "", dir)?;
    let handler = count as extern "C" fn(i32) as usize;
    // SAFETY: the handler changes an atomic.
    unsafe { libc::signal(libc::SIGXFSZ, handler) };
    let env = Env { factory: &InProcess, dir };
    let context = env.context();
    let bytes = vec![7_u8; 3 * LIMIT as usize];
    let before = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    for round in 0..100 {
        let path = mount.dir().join("file");
        let file = File::create(&path).map_err(|e| Skip(e.to_string()))?;
        let at = bytes.as_ptr().expose_provenance() as u64;
        let args = [file.as_raw_fd() as u64, at, bytes.len() as u64, 0];
        let limit = libc::rlimit { rlim_cur: LIMIT, ..before };
        // SAFETY: reads the limit.
        unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) };
        let result = context.run(Request::call(libc::SYS_pwrite64, &args)).res;
        // SAFETY: as above.
        unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const before) };
        let seen = (result, SIGNALS.load(Ordering::SeqCst));
        assert_eq!(seen, (LIMIT as i64, 0), "round {round}");
    }
    Ok(())
}

fn main() {
    // Where it may not be, each mount says so.
    let hidden = mounts::hide();
    type Case = (&'static str, Box<dyn Fn(&Path) -> Outcome + Send + Sync>);
    let mounted = |kind, options| Box::new(move |dir: &Path| each(kind, options, dir)) as Box<_>;
    let metadata =
        |kind, local| Box::new(move |dir: &Path| metadata::on(kind, local, dir)) as Box<_>;
    let cases: [Case; 20] = [
        ("ext4", mounted(Kind::Ext4, "")),
        ("ext4_mounted_sync", mounted(Kind::Ext4, "sync")),
        ("xfs", mounted(Kind::Xfs, "")),
        ("xfs_mounted_sync", mounted(Kind::Xfs, "sync")),
        ("btrfs", mounted(Kind::Btrfs, "")),
        ("btrfs_mounted_sync", mounted(Kind::Btrfs, "sync")),
        ("tmpfs", mounted(Kind::Tmpfs, "")),
        ("fuse", mounted(Kind::Fuse, "")),
        ("xfs_chattr_sync", Box::new(|dir: &Path| with_sync_attribute(Kind::Xfs, dir))),
        ("btrfs_chattr_sync", Box::new(|dir: &Path| with_sync_attribute(Kind::Btrfs, dir))),
        ("block_device", Box::new(block_device)),
        ("file_size_limit", Box::new(file_size_limit)),
        ("other_kinds", Box::new(other_kinds)),
        ("metadata_on_ext4", metadata(Kind::Ext4, true)),
        ("metadata_on_xfs", metadata(Kind::Xfs, true)),
        ("metadata_on_btrfs", metadata(Kind::Btrfs, true)),
        ("metadata_on_tmpfs", metadata(Kind::Tmpfs, true)),
        ("metadata_on_overlay", metadata(Kind::Overlay, false)),
        ("metadata_on_fuse", metadata(Kind::Fuse, false)),
        ("opening_that_waits_for_others", Box::new(metadata::for_others)),
    ];
    let trials = cases.into_iter().map(|(name, case)| {
        let hidden = hidden.clone();
        libtest_mimic::Trial::test(format!("submitter_does_not_sleep::{name}"), move || {
            let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
            if let Err(Skip(why)) = hidden.and_then(|()| case(dir.path())) {
                println!("SKIP {name}: {why}");
            }
            Ok(())
        })
    });
    libtest_mimic::run(&common::arguments(), trials.collect()).exit();
}
