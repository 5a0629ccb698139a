//! Where the new contents stand until they are complete: nothing half-written
//! stands under a final name.
//!
//! Duty: make a file without a name in the target's directory, or with a hidden
//! one of its own, and end it: it gets the final name, or is gone. A file
//! without a name leaves nothing behind even if the process is killed. What
//! cannot be replaced (a mount point, a device, a name in a directory that can
//! only grow) is written to, as cp(1) does.

use super::entry::{Entry, Target};
use super::failure::Failure;
use super::options::{Backup, Control, Existing};
use super::session::Session;
use super::stat::Kind;
use super::sys::{self, At, Base, Fault, c_string};
use rustix::fs::OFlags;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

/// What every temporary name begins with.
const PREFIX: &str = ".aio2-cp.";
/// How often another name is tried when one is taken.
const TRIES: u32 = 100;
/// How long a fifo's reader is waited for before it is looked whether to stop.
const READER: Duration = Duration::from_millis(20);

/// A file that is being filled.
#[must_use = "commit or discard it"]
#[derive(Debug)]
pub enum Place {
    /// Without a name.
    Nameless,
    /// Under a temporary one.
    Temporary(CString),
    /// Under the final one.
    Final,
}

/// What became of the final name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// It is what was made.
    Done,
    /// Something was there, and is kept.
    Kept,
    /// What is there cannot be replaced: it is to be written to.
    WriteThrough,
    /// The file cannot get a name: it is to be made with one.
    WithName,
}

/// Errors of a directory in which nothing can be made or replaced.
const FIXED: [i32; 4] = [libc::EACCES, libc::EPERM, libc::EBUSY, libc::EROFS];

impl Place {
    /// Opens a file to fill. A file without a name is made with `birth` as its
    /// mode; returns the mode if that was so.
    pub fn make(
        cx: &Session,
        entry: &Entry,
        target: &Target<'_>,
        birth: Option<u32>,
    ) -> Result<(Self, OwnedFd, Option<u32>), Failure> {
        let traits = &entry.dir.traits;
        if traits.append_only && target.there.is_some() && target.kept_by_it().is_none() {
            return Err(entry.at_target(Fault::new("renameat2", libc::EPERM)));
        }
        if target.special || (traits.append_only && target.there.is_some()) {
            let fd = open_there(cx, target).map_err(|f| entry.at_target(f))?;
            return Ok((Place::Final, fd, mode_there(target)));
        }
        let made = if traits.nameless() { nameless(target, birth) } else { None };
        let made = match made {
            Some(made) => made.map(|fd| (Place::Nameless, fd, birth)),
            None => {
                traits.names_all.store(true, Ordering::Relaxed);
                named(cx, target).map(|(name, fd)| (Place::Temporary(name), fd, None))
            }
        };
        match made {
            Err(fault) if fault.is_any(&FIXED) && is_regular(target) => {
                match open_there(cx, target) {
                    Ok(fd) => Ok((Place::Final, fd, mode_there(target))),
                    // Why it cannot be replaced says more.
                    Err(_) => Err(entry.at_target(fault)),
                }
            }
            made => made.map_err(|f| entry.at_target(f)),
        }
    }

    /// Removes it.
    pub fn discard(self, cx: &Session, entry: &Entry, target: &Target<'_>) {
        if let Place::Temporary(name) = self
            && let Err(fault) = sys::unlink(&target.beside(&name))
        {
            cx.fail(&fault.at(super::failure::Side::Target, entry.dir.target_path(&name)));
        }
    }

    /// Gives it the final name, atomically.
    pub fn commit(
        self,
        cx: &Session,
        entry: &Entry,
        target: &Target<'_>,
        fd: impl AsFd,
    ) -> Result<Commit, Failure> {
        let name = match self {
            Place::Final => return Ok(Commit::Done),
            Place::Temporary(name) => name,
            Place::Nameless => match link_nameless(cx, target, fd) {
                Ok(Linked::Final) => return Ok(Commit::Done),
                Ok(Linked::Kept) => return Ok(Commit::Kept),
                Ok(Linked::Temporary(name)) => name,
                Err(fault) if fault.is_any(&[libc::ENOENT, libc::EOPNOTSUPP, libc::ENOSYS]) => {
                    return Ok(Commit::WithName);
                }
                Err(fault) if fault.is_any(&FIXED) && is_regular(target) => {
                    return Ok(Commit::WriteThrough);
                }
                Err(fault) => return Err(entry.at_target(fault)),
            },
        };
        settle(cx, entry, target, &name)
    }
}

/// The mode of what is written to, if that does not change it.
fn mode_there(target: &Target<'_>) -> Option<u32> {
    let mode = target.there.map(|there| there.permissions());
    mode.filter(|mode| mode & (libc::S_ISUID | libc::S_ISGID) == 0)
}

/// Whether a file is there that may be written to. What is to be removed or
/// backed up may not: it can be the source under another name.
fn is_regular(target: &Target<'_>) -> bool {
    target.kept_by_it().is_some_and(|there| there.kind() == Kind::Regular)
}

/// Whether what appears in the target meanwhile is kept.
fn keeps(cx: &Session) -> bool {
    matches!(cx.options.existing, Existing::Keep | Existing::Fail)
}

/// Gives what stands under a temporary name the final one.
pub fn settle(
    cx: &Session,
    entry: &Entry,
    target: &Target<'_>,
    name: &CStr,
) -> Result<Commit, Failure> {
    let (from, to) = (target.beside(name), target.at());
    let renamed = match (&cx.options.backup, &target.there) {
        (Some(backup), Some(_)) => back_up(backup, target),
        _ => Ok(()),
    };
    let renamed = renamed.and_then(|()| sys::rename(&from, &to, !keeps(cx)));
    let Err(fault) = renamed else { return Ok(Commit::Done) };
    if let Err(fault) = sys::unlink(&from) {
        cx.fail(&fault.at(super::failure::Side::Target, entry.dir.target_path(name)));
    }
    match fault.errno.0 {
        libc::EEXIST if keeps(cx) => Ok(Commit::Kept),
        errno if FIXED.contains(&errno) && is_regular(target) => Ok(Commit::WriteThrough),
        _ => Err(entry.at_target(fault)),
    }
}

/// Makes something under a temporary name by `make`, which must fail with
/// EEXIST if the name is taken.
pub fn make_named<T>(
    cx: &Session,
    target: &Target<'_>,
    make: impl Fn(&At<'_>) -> Result<T, Fault>,
) -> Result<(CString, T), Fault> {
    let mut tries = 0;
    loop {
        let name = cx.temporary_name(PREFIX);
        match make(&target.beside(&name)) {
            Ok(made) => return Ok((name, made)),
            Err(fault) if fault.errno.0 == libc::EEXIST && tries < TRIES => tries += 1,
            Err(fault) => return Err(fault),
        }
    }
}

fn named(cx: &Session, target: &Target<'_>) -> Result<(CString, OwnedFd), Fault> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    make_named(cx, target, |at| sys::open(at, flags, 0o600))
}

/// A file without a name; `None` if the file system has none.
fn nameless(target: &Target<'_>, birth: Option<u32>) -> Option<Result<OwnedFd, Fault>> {
    let at = target.beside(c".");
    match sys::open(&at, OFlags::RDWR | OFlags::TMPFILE, birth.unwrap_or(0o600)) {
        Err(fault) if fault.is_any(&[libc::EOPNOTSUPP, libc::EISDIR, libc::EINVAL]) => None,
        opened => Some(opened),
    }
}

/// Where a file without a name has been put.
enum Linked {
    Final,
    Kept,
    Temporary(CString),
}

fn link_nameless(cx: &Session, target: &Target<'_>, fd: impl AsFd) -> Result<Linked, Fault> {
    let fd = fd.as_fd();
    if target.there.is_none() {
        match sys::link_fd(fd, &target.at()) {
            Ok(()) => return Ok(Linked::Final),
            Err(fault) if fault.errno.0 != libc::EEXIST => return Err(fault),
            Err(_) if keeps(cx) => return Ok(Linked::Kept),
            Err(_) => {}
        }
    }
    make_named(cx, target, |at| sys::link_fd(fd, at)).map(|(name, ())| Linked::Temporary(name))
}

/// Opens what is there, to write to it from its beginning.
fn open_there(cx: &Session, target: &Target<'_>) -> Result<OwnedFd, Fault> {
    let access = if cx.options.verify { OFlags::RDWR } else { OFlags::WRONLY };
    if !target.special || is_regular(target) {
        return sys::open(&target.at(), access | OFlags::TRUNC, 0);
    }
    let is_fifo = sys::stat(&target.at(), true)?.format() == libc::S_IFIFO;
    loop {
        match sys::open(&target.at(), OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY, 0) {
            // Nobody reads yet.
            Err(fault) if is_fifo && fault.errno.0 == libc::ENXIO && !cx.stopped() => {
                thread::sleep(READER);
            }
            opened => return opened,
        }
    }
}

/// Moves what is there away, under the name of a backup.
fn back_up(backup: &Backup, target: &Target<'_>) -> Result<(), Fault> {
    let name = target.name().to_bytes();
    let highest = match backup.control {
        Control::Simple => None,
        Control::Numbered => Some(highest(target.base(), name)?),
        Control::Existing => Some(highest(target.base(), name)?).filter(|&n| n > 0),
    };
    let name = match highest {
        Some(n) => [name, format!(".~{}~", n + 1).as_bytes()].concat(),
        None => [name, &backup.suffix].concat(),
    };
    sys::rename(&target.at(), &target.beside(&c_string(&name)), true)
}

/// The highest number of a backup of `name`, or 0.
fn highest(base: &Base, name: &[u8]) -> Result<u64, Fault> {
    let prefix = [name, b".~"].concat();
    let fd = sys::open_dir(&base.at(c"."), true)?;
    let dir = rustix::fs::Dir::new(fd).map_err(|e| Fault::new("getdents64", e.raw_os_error()))?;
    let number = |name: &CStr| {
        let number = name.to_bytes().strip_prefix(prefix.as_slice())?.strip_suffix(b"~")?;
        std::str::from_utf8(number).ok()?.parse::<u64>().ok()
    };
    Ok(dir.flatten().filter_map(|entry| number(entry.file_name())).max().unwrap_or(0))
}
