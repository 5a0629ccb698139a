//! What has no contents of its own: symbolic links, fifos, sockets, devices.
//!
//! Duty: make such a thing again under a temporary name, with owner, mode and
//! times, and rename it. All by name, since most of it must not be opened.

use super::entry::{self, Entry, Owner, Target};
use super::failure::Failure;
use super::fs::Fault;
use super::links;
use super::session::Session;
use super::stat::{Kind, Stat};
use super::temp::{Commit, Temp};
use std::ffi::{CStr, CString};

/// Longest text of a symbolic link, in bytes.
const LINK_BYTES: usize = libc::PATH_MAX as usize;

/// Copies the symbolic link or special file `entry`.
pub async fn copy(cx: &Session, entry: &Entry) -> Result<(), Failure> {
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    let stat = cx.fs.statx(&entry.dir.source, &entry.source_name, flags).await;
    let stat = stat.map_err(|f| entry.at_source(f))?;
    if matches!(stat.kind(), Kind::Regular | Kind::Directory) {
        return Err(Failure::found(
            "statx",
            entry.source_path(),
            "it became something else since its directory was listed",
            "copy again",
        ));
    }
    if stat.links() > 1 {
        links::copy(cx, entry, &stat, async || replace(cx, entry, &stat).await).await
    } else {
        replace(cx, entry, &stat).await.map(|_| ())
    }
}

async fn replace(cx: &Session, entry: &Entry, stat: &Stat) -> Result<Commit, Failure> {
    let mut commit = Commit::Kept;
    if entry::look(cx, entry, stat).await? == Target::Free {
        let temp = make(cx, entry, stat).await?;
        let kept = keep_metadata(cx, entry, temp.name(), stat).await;
        commit = temp.settle(cx, kept.map_err(|f| entry.at_target(f))).await?;
    }
    match (commit, stat.kind()) {
        (Commit::Kept, _) => cx.tally.kept.add(1),
        (Commit::Done, Kind::Symlink) => cx.tally.symlinks.add(1),
        (Commit::Done, _) => cx.tally.specials.add(1),
    }
    Ok(commit)
}

/// Makes the thing under a temporary name.
async fn make<'a>(cx: &Session, entry: &'a Entry, stat: &Stat) -> Result<Temp<'a>, Failure> {
    let into = entry.into();
    let made = if stat.kind() == Kind::Symlink {
        let says = read_link(cx, entry).await?;
        let make = async |name: &CStr| cx.fs.symlinkat(&says, &into, name).await;
        Temp::make(cx, entry, make).await
    } else {
        let mode = stat.format() | 0o600;
        let make = async |name: &CStr| cx.fs.mknodat(&into, name, mode, stat.device()).await;
        Temp::make(cx, entry, make).await
    };
    made.map(|(temp, ())| temp)
}

/// What the symbolic link says.
async fn read_link(cx: &Session, entry: &Entry) -> Result<CString, Failure> {
    let buffer = vec![0; LINK_BYTES];
    let says = cx.fs.readlinkat(&entry.dir.source, &entry.source_name, buffer).await;
    let says = says.map_err(|f| entry.at_source(f))?;
    CString::new(says).map_err(|_| {
        let what = "the link's text has a zero byte";
        Failure::found("readlinkat", entry.source_path(), what, "check the source's file system")
    })
}

/// Gives it the owner, the mode (a symbolic link has none) and the times.
async fn keep_metadata(cx: &Session, entry: &Entry, name: &CStr, stat: &Stat) -> Result<(), Fault> {
    let into = entry.into();
    let owner = if entry::must_chown(cx, stat, entry.dir.sets_group) {
        entry::owner_after(cx, cx.fs.lchownat(&into, name, stat.owner()).await)?
    } else {
        Owner::Kept
    };
    if stat.kind() != Kind::Symlink {
        cx.fs.fchmodat(&into, name, entry::permissions(stat, owner)).await?;
    }
    cx.fs.lutimensat(&into, name, stat.times()).await
}
