//! A regular file, from its source to its final name.
//!
//! Duty: the order of the steps that make a complete copy or none. Not here:
//! moving its bytes (`transfer`).

use super::entry::{self, Entry, Target};
use super::failure::Failure;
use super::links;
use super::session::Session;
use super::stat::{Kind, Stat};
use super::temp::{Commit, Temp};
use super::transfer::{self, Pass, Transfer};
use aio2::submit::SharedFd;
use std::ffi::CStr;

/// How often a file that changes while it is read is read again.
const ATTEMPTS: u32 = 3;

/// Copies the regular file `entry`.
pub async fn copy(cx: &Session, entry: &Entry) -> Result<(), Failure> {
    // Should it have become a fifo, opening it must not wait for a writer.
    let mut flags = libc::O_RDONLY | libc::O_NOCTTY | libc::O_NONBLOCK;
    if !entry.follow {
        flags |= libc::O_NOFOLLOW;
    }
    let source = cx.fs.openat(&entry.dir.source, &entry.source_name, flags, 0).await;
    let source = source.map_err(|f| entry.at_source(f))?;
    let result = copy_opened(cx, entry, &source).await;
    cx.fs.let_go(source).await;
    result
}

async fn copy_opened(cx: &Session, entry: &Entry, source: &SharedFd) -> Result<(), Failure> {
    let stat = cx.fs.fstat(source).await.map_err(|f| entry.at_source(f))?;
    if stat.kind() != Kind::Regular {
        return Err(Failure::found(
            "openat",
            entry.source_path(),
            "it is no longer a regular file",
            "it was replaced since its directory was listed; copy again",
        ));
    }
    if stat.links() > 1 {
        let copy = async || replace(cx, entry, source, stat).await;
        links::copy(cx, entry, &stat, copy).await
    } else {
        replace(cx, entry, source, stat).await.map(|_| ())
    }
}

/// Copies the contents under a temporary name and renames it, unless what is
/// there is to be kept.
async fn replace(
    cx: &Session,
    entry: &Entry,
    source: &SharedFd,
    mut stat: Stat,
) -> Result<Commit, Failure> {
    let mut commit = Commit::Kept;
    if entry::look(cx, entry, &stat).await? == Target::Free {
        let mut attempts = ATTEMPTS;
        commit = loop {
            match attempt(cx, entry, source, &stat).await? {
                Attempt::Ended(commit) => break commit,
                Attempt::Changed(later) => stat = later,
            }
            attempts -= 1;
            if attempts == 0 {
                return Err(changed(entry));
            }
        };
    }
    match commit {
        Commit::Done => cx.tally.files.add(1),
        Commit::Kept => cx.tally.kept.add(1),
    }
    Ok(commit)
}

fn changed(entry: &Entry) -> Failure {
    Failure::found(
        "cp",
        entry.source_path(),
        format!("it changed while it was copied, {ATTEMPTS} times in a row"),
        "copy it when nobody writes to it; the target was left as it was",
    )
}

/// How an attempt went.
enum Attempt {
    Ended(Commit),
    /// The source is not what it was when the attempt began.
    Changed(Stat),
}

async fn attempt(
    cx: &Session,
    entry: &Entry,
    source: &SharedFd,
    stat: &Stat,
) -> Result<Attempt, Failure> {
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
    let flags = flags | if cx.options.verify { libc::O_RDWR } else { libc::O_WRONLY };
    let into = entry.into();
    let make = async |name: &CStr| cx.fs.openat(&into, name, flags, 0o600).await;
    let (temp, target) = Temp::make(cx, entry, make).await?;
    let transfer = Transfer { entry, source, target: &target, stat };
    let filled = fill(cx, &transfer).await;
    // On network file systems close reports what write could not.
    let closed = cx.fs.close(target).await;
    match filled {
        Ok(None) => {
            let closed = closed.map_err(|f| entry.at_target(f));
            temp.settle(cx, closed).await.map(Attempt::Ended)
        }
        Ok(Some(later)) => {
            temp.discard(cx).await;
            Ok(Attempt::Changed(later))
        }
        Err(failure) => temp.settle(cx, Err(failure)).await.map(Attempt::Ended),
    }
}

/// Makes the target a copy; if the source changed meanwhile, says what it is now.
async fn fill(cx: &Session, files: &Transfer<'_>) -> Result<Option<Stat>, Failure> {
    let Transfer { entry, source, target, stat } = *files;
    let end = transfer::run(cx, files, Pass::Copy).await?;
    if end < stat.size() {
        cx.fs.ftruncate(target, end).await.map_err(|f| entry.at_target(f))?;
    }
    let kept = entry::keep_metadata(cx, target, stat, entry.dir.sets_group).await;
    kept.map_err(|f| entry.at_target(f))?;
    if cx.options.sync {
        cx.fs.fsync(target).await.map_err(|f| entry.at_target(f))?;
    }
    let verified = if cx.options.verify { verify(cx, files).await } else { Ok(()) };
    let later = cx.fs.fstat(source).await.map_err(|f| entry.at_source(f))?;
    if stat.unchanged(&later) { verified.map(|()| None) } else { Ok(Some(later)) }
}

/// Reads both files again and compares.
async fn verify(cx: &Session, files: &Transfer<'_>) -> Result<(), Failure> {
    // As far as possible from the device: what is not yet written out stays.
    let dropped = cx.fs.fadvise(files.target, libc::POSIX_FADV_DONTNEED).await;
    dropped.map_err(|f| files.entry.at_target(f))?;
    transfer::run(cx, files, Pass::Verify).await.map(|_| ())
}
