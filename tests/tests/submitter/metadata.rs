//! What opens, looks at and closes files: run within the submission where memory
//! suffices, and otherwise not.
//!
//! SPEC: section 6.4 (R-RUN-3, the table of such calls).

use super::{ROUNDS, check, switches};
use aio2_abi::attr;
use aio2_conformance::backends::InProcess;
use aio2_conformance::context::Context;
use aio2_conformance::env::{Env, Outcome, Skip};
use aio2_conformance::mounts::{Kind, Mount};
use aio2_conformance::request::Request;
use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

const CWD: u64 = libc::AT_FDCWD as u64;

fn address<T>(of: &T) -> u64 {
    std::ptr::from_ref(of).expose_provenance() as u64
}

fn name(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("no byte of it is 0")
}

fn openat(name: &CString, flags: i32) -> Request {
    let path = name.as_ptr().expose_provenance() as u64;
    Request::call(libc::SYS_openat, &[CWD, path, flags as u64, 0])
}

fn openat2(name: &CString, how: &[u64; 3]) -> Request {
    let path = name.as_ptr().expose_provenance() as u64;
    Request::call(libc::SYS_openat2, &[CWD, path, address(how), size_of_val(how) as u64])
}

/// Room for what stat(2) or statx(2) tell.
#[repr(align(8))]
struct Found([u8; 512]);

fn statx(dir: u64, name: &CString, flags: i32, found: &mut Found) -> Request {
    let place = found.0.as_mut_ptr().expose_provenance() as u64;
    let path = name.as_ptr().expose_provenance() as u64;
    let mask = u64::from(libc::STATX_BASIC_STATS);
    Request::call(libc::SYS_statx, &[dir, path, flags as u64, mask, place])
}

fn newfstatat(name: &CString, flags: i32, found: &mut Found) -> Request {
    let place = found.0.as_mut_ptr().expose_provenance() as u64;
    let path = name.as_ptr().expose_provenance() as u64;
    Request::call(libc::SYS_newfstatat, &[CWD, path, place, flags as u64])
}

fn on_descriptor(nr: libc::c_long, fd: i32, more: &[u64]) -> Request {
    Request::call(nr, &[&[fd as u64], more].concat())
}

/// The result of one request, and whether it was run within its submission.
fn one(what: &str, request: impl Fn() -> Request) -> (i64, bool) {
    let context = Env { factory: &InProcess, dir: Path::new("/") }.one_worker();
    context.run(Request::nop(0).on_worker());
    let before = switches();
    context.submit_one(request().returns(attr::PATH));
    let slept = switches() - before;
    let event = context.reap(1).remove(0);
    let inline = event.place() == attr::PATH_INLINE;
    println!("{what}: {} inline {inline}, {slept} switches", event.res);
    (event.res, inline)
}

/// Owns what an opening gave.
fn opened(result: i64) -> OwnedFd {
    assert!(result >= 0, "{result}");
    // SAFETY: the engine gave it to nobody else.
    unsafe { OwnedFd::from_raw_fd(result as i32) }
}

/// What an opening gave, and whether it was run within its submission. If it is
/// `expected` so, it is tried again: one that was held up is followed by a pause.
fn opens(what: &str, expected: bool, request: &Request) -> (OwnedFd, bool) {
    let mut last = None;
    for _ in 0..ROUNDS {
        let (result, inline) = one(what, || request.clone());
        last = Some((opened(result), inline));
        if inline || !expected {
            break;
        }
        thread::sleep(Duration::from_secs(1));
    }
    last.expect("a round")
}

/// Closes `fd`; whether that was run within the submission.
fn closes(what: &str, fd: OwnedFd) -> bool {
    let fd = fd.into_raw_fd();
    let (result, inline) = one(what, || on_descriptor(libc::SYS_close, fd, &[]));
    assert_eq!(result, 0, "{what}");
    inline
}

/// The calls of SPEC's table on one file system; `is_local` says that it is one of those
/// that are answered from memory.
pub fn on(kind: Kind, is_local: bool, dir: &Path) -> Outcome {
    let mount = Mount::new(kind, "", dir)?;
    let path = mount.dir().join("file");
    std::fs::write(&path, b"content").map_err(|e| Skip(e.to_string()))?;
    let file = File::open(&path).map_err(|e| Skip(e.to_string()))?;
    file.sync_all().map_err(|e| Skip(e.to_string()))?;
    let (named, empty, mut found) = (name(&path), CString::default(), Found([0; 512]));
    let fd = file.as_raw_fd();
    let place = found.0.as_mut_ptr().expose_provenance() as u64;
    let empty_path = libc::AT_EMPTY_PATH;
    for (what, request) in [
        ("fstat", on_descriptor(libc::SYS_fstat, fd, &[place])),
        ("statx of a descriptor", statx(fd as u64, &empty, empty_path, &mut found)),
        ("statx", statx(CWD, &named, 0, &mut found)),
        ("statx of the name itself", statx(CWD, &named, libc::AT_SYMLINK_NOFOLLOW, &mut found)),
        ("newfstatat", newfstatat(&named, 0, &mut found)),
    ] {
        // By what it stands for: a name may have been forgotten.
        check(&format!("{kind:?}, {what}"), !is_local, || (), || request.clone());
        assert_eq!(one(what, || request.clone()), (0, is_local), "{kind:?}, {what}");
    }
    for name in [&named, &name(&mount.dir().join("missing of these"))] {
        // What is wrong with the flags is said before the name is looked at.
        for request in [newfstatat(name, 1, &mut found), statx(CWD, name, 1, &mut found)] {
            let missing = |what| one(what, || request.clone()).0;
            assert_eq!([missing("no such flag"); 2], [-i64::from(libc::EINVAL); 2]);
        }
    }
    let forced = statx(fd as u64, &empty, empty_path | libc::AT_STATX_FORCE_SYNC, &mut found);
    assert!(!one("AT_STATX_FORCE_SYNC", || forced.clone()).1);
    let how = [libc::O_CLOEXEC as u64, 0, libc::RESOLVE_NO_SYMLINKS];
    for (what, request) in [
        ("openat", openat(&named, libc::O_RDONLY | libc::O_CLOEXEC)),
        ("openat with O_NONBLOCK", openat(&named, libc::O_NONBLOCK | libc::O_CLOEXEC)),
        ("openat2", openat2(&named, &how)),
    ] {
        let what = format!("{kind:?}, {what}");
        let (fd, inline) = opens(&what, is_local, &request);
        assert_eq!(inline, is_local, "{what}");
        // SAFETY: takes numbers.
        let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
        let asked = what.contains("O_NONBLOCK");
        assert_eq!(flags & libc::O_NONBLOCK != 0, asked, "{what}: {flags:o}");
        assert_eq!(closes(&what, fd), is_local, "{what}");
    }
    let (result, inline) = one("O_PATH", || openat(&named, libc::O_PATH | libc::O_CLOEXEC));
    let by_path = opened(result);
    assert!(inline || !is_local, "{kind:?}, O_PATH");
    assert_eq!(closes("O_PATH", by_path), is_local, "{kind:?}");
    for (what, flags) in [
        ("to write", libc::O_WRONLY),
        ("O_CREAT", libc::O_RDONLY | libc::O_CREAT),
        ("O_TRUNC", libc::O_RDWR | libc::O_TRUNC),
    ] {
        let (result, inline) = one(what, || openat(&named, flags | libc::O_CLOEXEC));
        let fd = opened(result);
        assert!(!inline, "{kind:?}, {what}");
        assert!(flags & libc::O_ACCMODE == 0 || !closes(what, fd), "{kind:?}, {what}");
    }
    if kind == Kind::Ext4 {
        // Nobody has asked for it, so that its directory has to be read.
        let missing = name(&mount.dir().join("missing"));
        let missing = |what| one(what, || statx(CWD, &missing, 0, &mut Found([0; 512])));
        assert_eq!(missing("a name that is not cached"), (-i64::from(libc::ENOENT), false));
        assert_eq!(missing("a name that is"), (-i64::from(libc::ENOENT), true));
    }
    if is_local {
        let other = File::options().write(true).truncate(true).open(&path);
        let mut other = other.map_err(|e| Skip(e.to_string()))?;
        let reader = File::open(&path).map_err(|e| Skip(e.to_string()))?;
        other.write_all(&[7; 4096]).map_err(|e| Skip(e.to_string()))?;
        // What memory keeps is always to be written.
        let inline = closes("a file of which a page is to be written", reader.into());
        assert!(!inline || kind == Kind::Tmpfs, "{kind:?}");
        std::fs::remove_file(&path).map_err(|e| Skip(e.to_string()))?;
        assert!(!closes("a file without a name", file.into()), "{kind:?}");
    }
    Ok(())
}

/// What another process, or a file that is none, makes an opening wait for.
pub fn for_others(dir: &Path) -> Outcome {
    let mount = Mount::new(Kind::Tmpfs, "", dir)?;
    let context = Env { factory: &InProcess, dir }.one_worker();
    context.run(Request::nop(0).on_worker());
    let none_slept = |context: &Context, request: Request| {
        let before = switches();
        context.submit_one(request.returns(attr::PATH));
        assert_eq!((switches() - before, context.reap_ring(1).len()), (0, 0));
    };
    let fifo = name(&mount.dir().join("fifo"));
    // SAFETY: a C string.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
    none_slept(&context, openat(&fifo, libc::O_RDONLY));
    let writer = File::options().write(true).open(mount.dir().join("fifo"));
    drop((opened(context.reap(1)[0].res), writer.map_err(|e| Skip(e.to_string()))?));

    let path = mount.dir().join("leased");
    std::fs::write(&path, b"content").map_err(|e| Skip(e.to_string()))?;
    let holder = File::open(&path).map_err(|e| Skip(e.to_string()))?;
    // SAFETY: nothing is run by it.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
    // SAFETY: takes numbers.
    let lease = |kind: i32| unsafe { libc::fcntl(holder.as_raw_fd(), libc::F_SETLEASE, kind) };
    if lease(libc::F_WRLCK) != 0 {
        return Err(Skip(format!("no lease: {}", std::io::Error::last_os_error())));
    }
    let named = name(&path);
    none_slept(&context, openat(&named, libc::O_RDONLY));
    assert_eq!(lease(libc::F_UNLCK), 0);
    let event = context.reap(1).remove(0);
    drop(opened(event.res));
    assert_ne!(event.place(), attr::PATH_INLINE, "while somebody had a lease");
    asked_for_permission(&named)
}

/// Somebody is asked before each opening, and takes his time: only the first two can be
/// held up by it.
fn asked_for_permission(named: &CString) -> Outcome {
    const CLASS: u32 = libc::FAN_CLASS_CONTENT | libc::FAN_CLOEXEC;
    // SAFETY: takes numbers.
    let listener = unsafe { libc::fanotify_init(CLASS, libc::O_RDONLY as u32) };
    let failed = || Skip(format!("fanotify: {}", std::io::Error::last_os_error()));
    if listener < 0 {
        return Err(failed());
    }
    let mut listener = File::from(opened(i64::from(listener)));
    let fd = listener.as_raw_fd();
    // SAFETY: a C string.
    let mark = |how| unsafe {
        libc::fanotify_mark(fd, how, libc::FAN_OPEN_PERM, libc::AT_FDCWD, named.as_ptr())
    };
    if mark(libc::FAN_MARK_ADD) != 0 {
        return Err(failed());
    }
    const OPENS: usize = 5;
    let answers = thread::spawn(move || {
        let mut event = [0_u8; size_of::<libc::fanotify_event_metadata>()];
        for _ in 0..OPENS + 2 {
            std::io::Read::read_exact(&mut listener, &mut event).expect("an event");
            thread::sleep(Duration::from_millis(5));
            // The last fields are a descriptor and a process.
            let fd = i32::from_ne_bytes(event[16..20].try_into().expect("four bytes"));
            let answer = [fd.to_ne_bytes(), libc::FAN_ALLOW.to_ne_bytes()].concat();
            listener.write_all(&answer).expect("an answer");
            drop(opened(i64::from(fd)));
        }
    });
    for what in ["the first opening that asks", "the second"] {
        drop(opened(one(what, || openat(named, libc::O_RDONLY)).0));
    }
    let start = Instant::now();
    for n in 0..OPENS {
        let (result, inline) = one("an opening that asks", || openat(named, libc::O_RDONLY));
        drop(opened(result));
        // On a machine that stands still the pause may be over.
        assert!(!inline || start.elapsed() > Duration::from_millis(900), "opening {n}");
    }
    answers.join().expect("who answers");
    Ok(())
}
