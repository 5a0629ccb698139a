//! What has no contents of its own: symbolic links, fifos, sockets, devices.
//!
//! Duty: make such a thing again under a temporary name, with owner, mode and
//! times, and rename it. All by name, since most of it must not be opened.

use super::entry::{Decision, Entry, Target, look};
use super::failure::Failure;
use super::links;
use super::meta;
use super::place::{Commit, make_named, settle};
use super::session::Session;
use super::stat::{Kind, Stat};
use super::sys::{self, At, Fault, Named};
use rustix::fs::{FileType, Mode};
use std::ffi::CString;

/// Copies the symbolic link or special file `entry`.
pub fn copy(cx: &Session, entry: &Entry) -> Result<(), Failure> {
    let stat = sys::stat(&entry.source(), entry.follow).map_err(|f| entry.at_source(f))?;
    if matches!(stat.kind(), Kind::Regular | Kind::Directory) {
        return Err(Failure::found(
            entry.source_path(),
            "it became something else since its directory was listed",
            "copy again",
        ));
    }
    if links::may_be(cx, &stat) {
        links::copy(cx, entry, &stat, || replace(cx, entry, &stat))
    } else {
        replace(cx, entry, &stat).map(|_| ())
    }
}

fn replace(cx: &Session, entry: &Entry, stat: &Stat) -> Result<Commit, Failure> {
    let Decision::Copy(target) = look(cx, entry, stat)? else {
        cx.tally.kept.add(1);
        return Ok(Commit::Kept);
    };
    entry.tell(cx);
    let commit = put(cx, entry, stat, &target)?;
    match (commit, stat.kind()) {
        (Commit::Kept, _) => cx.tally.kept.add(1),
        (_, Kind::Symlink) => cx.tally.symlinks.add(1),
        (_, _) => cx.tally.specials.add(1),
    }
    Ok(commit)
}

fn put(cx: &Session, entry: &Entry, stat: &Stat, target: &Target<'_>) -> Result<Commit, Failure> {
    let says = match stat.kind() {
        Kind::Symlink => Some(read_link(entry)?),
        _ => None,
    };
    // In a directory that only grows a temporary name would stay.
    if entry.dir.traits.append_only {
        if target.there.is_some() {
            return Err(entry.at_target(Fault::new("renameat2", libc::EPERM)));
        }
        make(stat, says.as_ref(), &target.at()).map_err(|f| entry.at_target(f))?;
        give(cx, entry, stat, &target.at()).map_err(|f| entry.at_target(f))?;
        return Ok(Commit::Done);
    }
    let made = make_named(cx, target, |at| make(stat, says.as_ref(), at));
    let (name, ()) = made.map_err(|f| entry.at_target(f))?;
    let temporary = target.beside(&name);
    if let Err(fault) = give(cx, entry, stat, &temporary) {
        let failure = entry.at_target(fault);
        sys::unlink(&temporary).map_err(|f| entry.at_target(f))?;
        return Err(failure);
    }
    settle(cx, entry, target, &name)
}

fn make(stat: &Stat, says: Option<&CString>, at: &At<'_>) -> Result<(), Fault> {
    if let Some(says) = says {
        return rustix::fs::symlinkat(&**says, at.dir, &*at.name).named("symlinkat");
    }
    let kind = FileType::from_raw_mode(stat.format());
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(at.dir, &*at.name, kind, mode, stat.device()).named("mknodat")
}

fn give(cx: &Session, entry: &Entry, stat: &Stat, at: &At<'_>) -> Result<(), Fault> {
    meta::give_by_name(cx, &entry.source(), at, stat, &entry.dir.traits)
}

/// What the symbolic link says.
fn read_link(entry: &Entry) -> Result<CString, Failure> {
    let at = entry.source();
    rustix::fs::readlinkat(at.dir, &*at.name, Vec::new())
        .named("readlinkat")
        .map_err(|f| entry.at_source(f))
}
