//! An entry of a directory that is to be copied, whatever it is.
//!
//! Duty: where it comes from, where it goes, and what is there already: whether
//! that may be replaced, is written to, or stays.

use super::dir::{Dir, release};
use super::failure::{Failure, Side};
use super::options::{Control, Existing, Follow};
use super::session::Session;
use super::stat::{Kind, Stat};
use super::sys::{self, At, Base, Fault, c_string};
use crate::printable::Printable;
use rustix::fs::OFlags;
use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::io::{self, BufRead, Write};
use std::os::fd::AsFd;
use std::sync::Arc;

/// Something to be copied: a name in a source directory and in its copy.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Source and target directory.
    pub dir: Arc<Dir>,
    /// What the command line calls the source that it belongs to.
    pub root: Arc<[u8]>,
    /// Its name in the source; a path if it was on the command line.
    pub source_name: CString,
    /// Its name in the target, if that is another.
    pub other_name: Option<CString>,
    /// Whether a symbolic link is followed.
    pub follow: bool,
}

impl Entry {
    /// Its name in the target.
    pub fn target_name(&self) -> &CStr {
        self.other_name.as_deref().unwrap_or(&self.source_name)
    }

    /// Its path in the source.
    pub fn source_path(&self) -> Vec<u8> {
        self.dir.source_path(&self.root, &self.source_name)
    }

    /// Its path in the target.
    pub fn target_path(&self) -> Vec<u8> {
        self.dir.target_path(self.target_name())
    }

    /// The failure of an operation on the source.
    pub fn at_source(&self, fault: Fault) -> Failure {
        fault.at(Side::Source, self.source_path())
    }

    /// The failure of an operation on the target.
    pub fn at_target(&self, fault: Fault) -> Failure {
        fault.at(Side::Target, self.target_path())
    }

    /// Where it is read.
    pub fn source(&self) -> At<'_> {
        self.dir.source.at(&self.source_name)
    }

    /// Where its copy goes.
    pub fn target(&self) -> At<'_> {
        self.dir.target.at(self.target_name())
    }

    /// Whether it was named on the command line.
    pub fn is_root(&self) -> bool {
        self.dir.parent.is_none()
    }

    /// Says that it is copied.
    pub fn tell(&self, cx: &Session) {
        if cx.options.verbose {
            cx.tell(&self.source_path(), &self.target_path());
        }
    }

    /// Hands it back to its directory.
    pub fn release(self, cx: &Session) {
        release(cx, self.dir);
    }
}

/// Where a copy is to be put.
#[derive(Debug)]
pub struct Target<'a> {
    base: Where<'a>,
    name: Cow<'a, CStr>,
    /// What is there.
    pub there: Option<Stat>,
    /// It is a fifo or device, and is written to.
    pub special: bool,
    /// The copy has nothing of what is there.
    fresh: bool,
}

#[derive(Debug)]
enum Where<'a> {
    Own(&'a Base),
    /// A symbolic link leads elsewhere.
    Elsewhere(Base),
}

impl Target<'_> {
    /// The directory and the name.
    pub fn at(&self) -> At<'_> {
        self.base().at(&self.name)
    }

    /// Another name in the same directory.
    pub fn beside<'a>(&'a self, name: &'a CStr) -> At<'a> {
        self.base().at(name)
    }

    /// What is there, if the copy is to be it: what is not kept of the source
    /// stays as it was.
    pub fn kept_by_it(&self) -> Option<&Stat> {
        self.there.as_ref().filter(|_| !self.fresh)
    }

    /// The name in its directory.
    pub fn name(&self) -> &CStr {
        &self.name
    }

    /// The directory.
    pub fn base(&self) -> &Base {
        match &self.base {
            Where::Own(base) => base,
            Where::Elsewhere(base) => base,
        }
    }
}

/// What is to be done with an entry.
#[derive(Debug)]
pub enum Decision<'a> {
    Copy(Target<'a>),
    /// What is there stays.
    Keep,
}

/// Looks what is in the target already, unless this run has made the directory.
pub fn look<'a>(cx: &Session, entry: &'a Entry, stat: &Stat) -> Result<Decision<'a>, Failure> {
    let mut target = Target {
        base: Where::Own(&entry.dir.target),
        name: Cow::Borrowed(entry.target_name()),
        there: None,
        special: false,
        fresh: false,
    };
    if entry.dir.created {
        return Ok(Decision::Copy(target));
    }
    let there = match sys::stat(&target.at(), false) {
        Ok(there) => there,
        Err(fault) if fault.errno.0 == libc::ENOENT => return Ok(Decision::Copy(target)),
        Err(fault) => return Err(entry.at_target(fault)),
    };
    target.there = Some(there);
    let keeps = cx.options.existing == Existing::Keep;
    if there.identity() == stat.identity() {
        match another_name(cx, entry, stat, &target) {
            Some(Another::Replaced) => {}
            Some(Another::Kept) => return Ok(Decision::Keep),
            None if keeps => return Ok(Decision::Keep),
            None => return Err(same_file(entry)),
        }
    } else if !keeps && replaces_itself(cx, entry, stat, &there) {
        return Err(same_file(entry));
    }
    if let Some(backup) = &cx.options.backup
        && backup.control != Control::Numbered
        && is_backup(entry, stat, &target, &backup.suffix)
    {
        return Err(Failure::found(
            entry.source_path(),
            "the backup of the target would take its place",
            "choose another suffix, or --backup=numbered",
        ));
    }
    let bytes = match stat.kind() {
        Kind::Regular => true,
        Kind::Special => !cx.options.recursive,
        _ => false,
    };
    // As with cp(1), who removes then what is there.
    target.fresh = cx.options.backup.is_some()
        || cx.options.remove_destination
        || (stat.kind() == Kind::Special && cx.options.follow == Follow::Never);
    let through = bytes && !target.fresh;
    match there.kind() {
        Kind::Special if through => target.special = true,
        Kind::Symlink if through => follow(entry, stat, &mut target)?,
        _ => {}
    }
    let there = target.there.unwrap_or(there);
    match cx.options.existing {
        Existing::Keep => return Ok(Decision::Keep),
        Existing::Older if there.modified() >= stat.modified() => return Ok(Decision::Keep),
        Existing::Fail => {
            let what = "something of that name is there, and is not replaced";
            return Err(Failure::found(entry.target_path(), what, "choose another target"));
        }
        _ => {}
    }
    if there.kind() == Kind::Directory {
        return Err(Failure::found(
            entry.target_path(),
            "it is a directory, and the source is not",
            "move the directory away, or choose another target",
        ));
    }
    if cx.options.existing == Existing::Ask && !may_replace(cx, entry) {
        return Ok(Decision::Keep);
    }
    Ok(Decision::Copy(target))
}

/// What becomes of another name of the source.
enum Another {
    /// It becomes a file of its own.
    Replaced,
    /// It is what it would become.
    Kept,
}

/// What to do if the target is the source under another name; `None` if it is
/// the very name, or if writing to the one would empty the other.
fn another_name(cx: &Session, entry: &Entry, stat: &Stat, target: &Target<'_>) -> Option<Another> {
    // With one link a second name is another spelling of the first.
    if stat.links() < 2 || same_name(entry, target) {
        None
    } else if cx.options.backup.is_some() || cx.options.remove_destination {
        Some(Another::Replaced)
    } else if stat.kind() == Kind::Symlink {
        Some(Another::Kept)
    } else {
        None
    }
}

/// Whether the source is a symbolic link to what it would replace: that would
/// be lost, and the link would lead to itself. A backup keeps it.
fn replaces_itself(cx: &Session, entry: &Entry, stat: &Stat, there: &Stat) -> bool {
    stat.kind() == Kind::Symlink
        && there.kind() != Kind::Symlink
        && cx.options.backup.is_none()
        && sys::stat(&entry.source(), true).is_ok_and(|to| to.identity() == there.identity())
}

/// Directory and last component of a name.
fn split(name: &CStr) -> (CString, &[u8]) {
    let name = name.to_bytes();
    match name.iter().rposition(|&b| b == b'/') {
        Some(at) => (c_string(&name[..=at]), &name[at + 1..]),
        None => (c".".into(), name),
    }
}

/// Whether two paths, each from a directory, lead to names in one directory.
pub fn same_directory(one: (&Base, &CStr), other: (&Base, &CStr)) -> Result<bool, Fault> {
    let found = |(base, path): (&Base, &CStr)| sys::stat(&base.at(&split(path).0), true);
    Ok(found(one)?.identity() == found(other)?.identity())
}

/// Whether source and target are one name in one directory; so it is taken if
/// that cannot be seen.
fn same_name(entry: &Entry, target: &Target<'_>) -> bool {
    let source = entry.source_name.as_c_str();
    split(source).1 == target.name().to_bytes()
        && same_directory((&entry.dir.source, source), (target.base(), target.name()))
            .unwrap_or(true)
}

/// Whether the source has the name that a simple backup of the target gets.
fn is_backup(entry: &Entry, stat: &Stat, target: &Target<'_>, suffix: &[u8]) -> bool {
    let name = [target.name().to_bytes(), suffix].concat();
    split(&entry.source_name).1 == name
        && sys::stat(&target.beside(&c_string(&name)), entry.follow)
            .is_ok_and(|found| found.identity() == stat.identity())
}

/// Goes on to where a symbolic link in the target leads, as cp(1) does.
fn follow(entry: &Entry, stat: &Stat, target: &mut Target<'_>) -> Result<(), Failure> {
    let opened = sys::open(&target.at(), OFlags::PATH, 0);
    let opened = match opened {
        Err(fault) if fault.is_any(&[libc::ENOENT, libc::ELOOP]) => {
            return Err(Failure::found(
                entry.target_path(),
                "a symbolic link that leads nowhere is there",
                "remove it, or replace it by --remove-destination",
            ));
        }
        opened => opened.map_err(|f| entry.at_target(f))?,
    };
    let there = sys::fstat(&opened).map_err(|f| entry.at_target(f))?;
    if there.identity() == stat.identity() {
        return Err(same_file(entry));
    }
    target.there = Some(there);
    target.special = there.kind() != Kind::Directory;
    if there.kind() == Kind::Regular
        && let Some((base, name)) = resolve(opened.as_fd(), &there)
    {
        (target.base, target.name) = (Where::Elsewhere(base), Cow::Owned(name));
        target.special = false;
    }
    Ok(())
}

/// The directory and the name of an open file, if they can be found.
fn resolve(fd: std::os::fd::BorrowedFd<'_>, stat: &Stat) -> Option<(Base, CString)> {
    let path = rustix::fs::readlinkat(rustix::fs::CWD, sys::fd_path(fd), Vec::new()).ok()?;
    let slash = path.to_bytes().iter().rposition(|&b| b == b'/')?;
    let (dir, name) = path.to_bytes().split_at(slash);
    let dir = if dir.is_empty() { b"/" } else { dir };
    let base = Base::Path(dir.to_vec());
    let name = c_string(name.get(1..)?);
    let found = sys::stat(&base.at(&name), false).ok()?;
    (found.identity() == stat.identity()).then_some((base, name))
}

fn may_replace(cx: &Session, entry: &Entry) -> bool {
    let question = format!("aio2 cp: overwrite '{}'? ", Printable(&entry.target_path()));
    cx.progress.suspend(|| {
        // Who cannot be asked has not agreed.
        let asked = io::stderr().write_all(question.as_bytes());
        let mut answer = String::new();
        asked.is_ok()
            && io::stdin().lock().read_line(&mut answer).is_ok()
            && matches!(answer.trim_start().chars().next(), Some('y' | 'Y'))
    })
}

/// Source and target are one file.
pub fn same_file(entry: &Entry) -> Failure {
    let what = "source and target are the same file";
    Failure::found(entry.source_path(), what, "choose another target")
}

/// A directory would be copied into itself.
pub fn into_itself(entry: &Entry) -> Failure {
    Failure::found(
        entry.source_path(),
        "the target lies within this directory: it cannot be copied into itself",
        "choose a target outside of the source",
    )
}
