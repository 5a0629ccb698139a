//! An entry of a directory that is to be copied, whatever it is.
//!
//! Duty: where it comes from and where it goes, which way its kind is copied,
//! and what all kinds have in common: whether the target may be replaced, and
//! the metadata that is kept.

use super::failure::Failure;
use super::fs::Fault;
use super::session::Session;
use super::stat::{Kind, Stat};
use super::tree::{self, Dir};
use super::{file, node};
use aio2::submit::{Dir as At, SharedFd};
use std::ffi::CStr;
use std::rc::Rc;

/// Something to be copied: a name in a source directory and in its copy.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Source and target directory.
    pub dir: Rc<Dir>,
    /// What the command line calls the source that it belongs to.
    pub root: Rc<[u8]>,
    /// Its name in the source; a path if it was on the command line.
    pub source_name: Rc<CStr>,
    /// Its name in the target.
    pub target_name: Rc<CStr>,
    /// Whether a symbolic link is followed: on the command line, without `-r`.
    pub follow: bool,
}

impl Entry {
    /// Its path in the source.
    pub fn source_path(&self) -> Vec<u8> {
        self.dir.source_path(&self.root, &self.source_name)
    }

    /// Its path in the target.
    pub fn target_path(&self) -> Vec<u8> {
        self.dir.target_path(&self.target_name)
    }

    /// The failure of an operation on the source.
    pub fn at_source(&self, fault: Fault) -> Failure {
        fault.at(self.source_path())
    }

    /// The failure of an operation on the target.
    pub fn at_target(&self, fault: Fault) -> Failure {
        fault.at(self.target_path())
    }

    /// The directory that the copy goes to.
    pub fn into(&self) -> At {
        At::from(&self.dir.target)
    }

    /// Whether it was named on the command line.
    pub fn is_root(&self) -> bool {
        Rc::ptr_eq(&self.dir, self.dir.root())
    }
}

/// Copies what is not a directory.
pub async fn copy(cx: &Session, entry: &Entry, kind: Kind) -> Result<(), Failure> {
    if cx.stopped() {
        return Err(Failure::stopped(entry.source_path()));
    }
    match kind {
        Kind::Regular => file::copy(cx, entry).await,
        Kind::Symlink | Kind::Special | Kind::Directory => node::copy(cx, entry).await,
    }
}

/// What may be done with the target's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nothing is in the way, or it may be replaced.
    Free,
    /// Something is there, and it is to be kept.
    Kept,
}

/// Looks what is in the target already, unless this run has made the directory.
pub async fn look(cx: &Session, entry: &Entry, stat: &Stat) -> Result<Target, Failure> {
    if entry.dir.created {
        return Ok(Target::Free);
    }
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    match cx.fs.statx(&entry.into(), &entry.target_name, flags).await {
        Ok(there) if there.identity() == stat.identity() => Err(same_file(entry)),
        Ok(_) if cx.options.no_clobber => Ok(Target::Kept),
        Ok(there) if there.kind() == Kind::Directory => Err(Failure::found(
            "cp",
            entry.target_path(),
            "it is a directory, and the source is not",
            "move the directory away, or choose another target",
        )),
        Err(fault) if fault.errno.0 != libc::ENOENT => Err(entry.at_target(fault)),
        Ok(_) | Err(_) => Ok(Target::Free),
    }
}

/// Source and target are one file.
pub fn same_file(entry: &Entry) -> Failure {
    Failure::found(
        "cp",
        entry.source_path(),
        "source and target are the same file",
        "choose another target",
    )
}

/// A directory would be copied into itself.
pub fn into_itself(entry: &Entry) -> Failure {
    Failure::found(
        "cp",
        entry.source_path(),
        "the target lies within this directory: it cannot be copied into itself",
        "choose a target outside of the source",
    )
}

/// What the owner in the target has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// That of the source.
    Kept,
    /// Ours: the owner may not be given away.
    Lost,
}

/// Whether a new file in the target would not belong to the source's owner.
pub fn must_chown(cx: &Session, stat: &Stat, sets_group: bool) -> bool {
    sets_group || stat.owner() != cx.owner
}

/// The permissions to set: without those that act for an owner who was lost.
pub fn permissions(stat: &Stat, owner: Owner) -> u32 {
    match owner {
        Owner::Kept => stat.permissions(),
        Owner::Lost => stat.permissions() & !(libc::S_ISUID | libc::S_ISGID),
    }
}

/// What a failed change of the owner means.
pub fn owner_after(cx: &Session, result: Result<(), Fault>) -> Result<Owner, Fault> {
    match result {
        Ok(()) => Ok(Owner::Kept),
        // "Where permitted": as cp -p does, but counted and told.
        Err(fault) if matches!(fault.errno.0, libc::EPERM | libc::EINVAL) => {
            cx.tally.owners_lost.add(1);
            Ok(Owner::Lost)
        }
        Err(fault) => Err(fault),
    }
}

/// Gives `target` the owner, the mode and the times of the source, in this
/// order: each of them is lost by what comes before.
pub async fn keep_metadata(
    cx: &Session,
    target: &SharedFd,
    stat: &Stat,
    sets_group: bool,
) -> Result<(), Fault> {
    let owner = if must_chown(cx, stat, sets_group) {
        owner_after(cx, cx.fs.fchown(target, stat.owner()).await)?
    } else {
        Owner::Kept
    };
    cx.fs.fchmod(target, permissions(stat, owner)).await?;
    cx.fs.utimens(target, stat.times()).await
}

/// Hands `entry` back to its directory.
pub fn release(cx: &Rc<Session>, entry: Entry) {
    tree::release(cx, entry.dir);
}
