//! As whom workers act: as the thread that has submitted.

use crate::context::{Fixture, syscall};
use crate::request::ends;
use std::ffi::CString;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::thread;

const NOBODY: u32 = 65_534;

/// Has this thread act on files as another user.
fn act_as(user: u32) {
    // SAFETY: takes a number.
    unsafe { libc::syscall(libc::SYS_setfsuid, user) };
}

/// The effective capabilities of this thread without those in `less`, or all that
/// are permitted.
fn have_capabilities(less: u64) {
    let mut header = [0x2008_0522_u32, 0];
    let mut all = [[0_u32; 3]; 2];
    let (header, at) = (header.as_mut_ptr(), all.as_mut_ptr());
    // SAFETY: both can be written.
    assert_eq!(unsafe { libc::syscall(libc::SYS_capget, header, at) }, 0);
    for (n, half) in all.iter_mut().enumerate() {
        half[0] = half[1] & !((less >> (32 * n)) as u32);
    }
    let at = all.as_ptr();
    // SAFETY: both can be read.
    assert_eq!(unsafe { libc::syscall(libc::SYS_capset, header, at) }, 0);
}

/// The errno of openat(2) by a worker, or 0.
fn open(f: &Fixture, path: &CString) -> i32 {
    let name = path.as_ptr().expose_provenance() as u64;
    let args = [libc::AT_FDCWD as u64, name, libc::O_RDONLY as u64, 0];
    f.submit([syscall(libc::SYS_openat, &args)]);
    let [(_, result)] = ends(f, 1)[..] else { panic!("one") };
    if result >= 0 {
        // SAFETY: it is new, and no one else's.
        drop(unsafe { OwnedFd::from_raw_fd(result as i32) });
        return 0;
    }
    -result as i32
}

fn plainly(path: &CString) -> i32 {
    let file = std::fs::File::open(path.to_str().unwrap());
    file.err().map_or(0, |why| why.raw_os_error().unwrap())
}

/// What a thread does that changes as whom it acts.
type Change = fn();

/// SPEC: R-SEC-7, R-OP-3
#[test]
fn a_worker_acts_as_who_has_submitted() {
    // SAFETY: takes nothing.
    if unsafe { libc::geteuid() } != 0 {
        println!("SKIP: only root can act as somebody else");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let paths = [("roots", 0), ("others", 1000)].map(|(name, owner)| {
        let path = dir.path().join(name);
        std::fs::write(&path, "x").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        chown(&path, Some(owner), None).unwrap();
        CString::new(path.to_str().unwrap()).unwrap()
    });
    const READS_ALL: u64 = 1 << 1 | 1 << 2;
    let changes: [Change; 6] = [
        || {},
        || act_as(NOBODY),
        || act_as(1000),
        || act_as(0),
        || have_capabilities(READS_ALL),
        || have_capabilities(0),
    ];
    // As a thread of its own: it changes itself only.
    let refused = thread::scope(|scope| {
        let of_thread = scope.spawn(|| {
            let mut refused = 0;
            // A worker that was made by each of them, for all of them.
            for first in changes {
                first();
                let f = Fixture::with(|s| s.concurrency = 1);
                open(&f, &paths[0]);
                for change in changes {
                    change();
                    for path in &paths {
                        let expected = plainly(path);
                        assert_eq!(open(&f, path), expected, "{path:?}");
                        refused += usize::from(expected == libc::EACCES);
                    }
                }
            }
            refused
        });
        of_thread.join().unwrap()
    });
    assert!(refused >= 6 * 3, "some may not: {refused}");
}
