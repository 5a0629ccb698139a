//! Directories: walked depth-first.
//!
//! Duty: read directories, make their copies, and hand each entry to the copiers.
//! Memory follows the depth of the tree, never its size: a level of the walk
//! holds the entries that one call gives. Where descriptors are few, deep
//! directories are held by path, and a level holds all entries of its
//! directory. Not here: what is done with an entry.

use super::copiers::Copiers;
use super::dir::{Dir, release};
use super::entry::{self, Entry};
use super::failure::Failure;
use super::options::{Existing, Follow};
use super::session::Session;
use super::stat::{Identity, Kind, Stat};
use super::sys::{self, Base, Fault};
use super::traits::Traits;
use rustix::fs::{FileType, RawDir};
use std::collections::VecDeque;
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Bytes of entries that are read at once.
const ENTRIES_BYTES: usize = 32 * 1024;
/// Only the owner may look into a directory that is not complete.
const UNFINISHED_MODE: u32 = 0o700;

/// A directory whose entries are being read.
struct Level {
    dir: Arc<Dir>,
    root: Arc<[u8]>,
    identity: Identity,
    listed: VecDeque<Listed>,
    ended: bool,
}

/// An entry as getdents64(2) tells it.
struct Listed {
    name: CString,
    kind: Option<Kind>,
}

impl Level {
    /// The next entry; at the end, or if it cannot be read on, `None`.
    fn next(&mut self, cx: &Session) -> Option<Listed> {
        while self.listed.is_empty() && !self.ended {
            let read = self.dir.source.with(|fd| read(fd, &mut self.listed));
            self.ended = match read {
                Ok(ended) => ended,
                Err(fault) => {
                    let path = self.dir.source_path(&self.root, c".");
                    cx.fail(&fault.at(super::failure::Side::Source, path));
                    true
                }
            };
        }
        self.listed.pop_front()
    }

    fn entry(&self, name: CString, cx: &Session) -> Entry {
        Entry {
            dir: Arc::clone(&self.dir),
            root: Arc::clone(&self.root),
            source_name: name,
            other_name: None,
            follow: cx.options.follow == Follow::Always,
        }
    }
}

/// Reads entries; true at the end.
fn read(fd: BorrowedFd<'_>, listed: &mut VecDeque<Listed>) -> Result<bool, Fault> {
    let mut buffer = [MaybeUninit::uninit(); ENTRIES_BYTES];
    let mut entries = RawDir::new(fd, &mut buffer);
    loop {
        let Some(entry) = entries.next() else { return Ok(true) };
        let entry = entry.map_err(|e| Fault::new("getdents64", e.raw_os_error()))?;
        let kind = match entry.file_type() {
            FileType::RegularFile => Some(Kind::Regular),
            FileType::Directory => Some(Kind::Directory),
            FileType::Symlink => Some(Kind::Symlink),
            FileType::Unknown => None,
            _ => Some(Kind::Special),
        };
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            listed.push_back(Listed { name: entry.file_name().to_owned(), kind });
        }
        if entries.is_buffer_empty() {
            return Ok(false);
        }
    }
}

/// Copies the directory `entry` and everything in it.
pub fn copy(cx: &Session, copiers: &mut Copiers<'_, '_>, entry: Entry) {
    let mut stack = Vec::new();
    descend(cx, &mut stack, entry);
    while let Some(level) = stack.last_mut() {
        cx.show();
        let listed = if cx.stopped() { None } else { level.next(cx) };
        let Some(Listed { name, kind }) = listed else {
            if let Some(level) = stack.pop() {
                release(cx, level.dir);
            }
            continue;
        };
        let entry = level.entry(name, cx);
        let kind = match kind {
            Some(Kind::Symlink) if entry.follow => None,
            kind => kind,
        };
        let kind = match kind {
            Some(kind) => Ok(kind),
            None => sys::stat(&entry.source(), entry.follow).map(|stat| stat.kind()),
        };
        match kind {
            Ok(Kind::Directory) => descend(cx, &mut stack, entry),
            Ok(kind) => copiers.start(entry, kind),
            Err(fault) => {
                cx.fail(&entry.at_source(fault));
                entry.release(cx);
            }
        }
    }
}

/// Makes the copy of a directory and puts it on the stack, to be read next.
fn descend(cx: &Session, stack: &mut Vec<Level>, entry: Entry) {
    let top = stack.first().map(|level| level.identity);
    let known =
        |identity| entry.follow && stack.iter().any(|level: &Level| level.identity == identity);
    match open(cx, &entry, known) {
        Ok(opened) => {
            let Opened { source, target, stat, there, created, traits, listed } = opened;
            let other = top.is_some_and(|top| top.device != stat.identity().device);
            let ended = listed.is_some() || (cx.options.one_file_system && other);
            let listed = if other && cx.options.one_file_system { None } else { listed };
            let keeps = created || cx.options.existing != Existing::Keep;
            let name = entry.target_name().to_owned();
            let dir = Dir {
                parent: Some((entry.dir, name)),
                prefix: Vec::new(),
                source,
                target,
                stat: keeps.then_some(stat),
                there,
                created,
                traits,
            };
            stack.push(Level {
                dir: Arc::new(dir),
                root: entry.root,
                identity: stat.identity(),
                listed: listed.unwrap_or_default(),
                ended,
            });
        }
        Err(failure) => {
            cx.fail(&failure);
            entry.release(cx);
        }
    }
}

/// A directory and its copy, just opened.
struct Opened {
    source: Base,
    target: Base,
    stat: Stat,
    /// What the copy was before.
    there: Option<Stat>,
    created: bool,
    traits: Traits,
    /// All entries, if the directory is held by path.
    listed: Option<VecDeque<Listed>>,
}

/// Opens a directory and its copy, which is made if it is not there.
fn open(cx: &Session, entry: &Entry, known: impl Fn(Identity) -> bool) -> Result<Opened, Failure> {
    let source = sys::open_dir(&entry.source(), entry.follow).map_err(|f| entry.at_source(f))?;
    let stat = sys::fstat(&source).map_err(|f| entry.at_source(f))?;
    if cx.is_target(stat.identity()) {
        return Err(entry::into_itself(entry));
    }
    if known(stat.identity()) {
        return Err(Failure::found(
            entry.source_path(),
            "a symbolic link leads to a directory above itself: the copy would never end",
            "copy without -L",
        ));
    }
    let by_path = cx.directories_open.get() + 2 > cx.directories_max;
    let (source, listed) = if by_path {
        let listed = list(&source).map_err(|f| entry.at_source(f))?;
        (Base::Path(entry.source_path()), Some(listed))
    } else {
        (Base::Fd(source), None)
    };
    let at = entry.target();
    let mode = rustix::fs::Mode::from_raw_mode(UNFINISHED_MODE);
    let created = match rustix::fs::mkdirat(at.dir, &*at.name, mode) {
        Ok(()) => true,
        Err(rustix::io::Errno::EXIST) => false,
        Err(error) => return Err(entry.at_target(Fault::new("mkdirat", error.raw_os_error()))),
    };
    let target = sys::open_dir(&at, false).map_err(|f| entry.at_target(f))?;
    let target_stat = sys::fstat(&target).map_err(|f| entry.at_target(f))?;
    if target_stat.identity() == stat.identity() {
        return Err(entry::same_file(entry));
    }
    if entry.is_root() {
        cx.add_target(target_stat.identity());
    }
    if created {
        entry.tell(cx);
    }
    let target = Base::Fd(target);
    let traits = Traits::of(&target, &target_stat);
    let target = if by_path { Base::Path(entry.target_path()) } else { target };
    if !by_path {
        cx.directories_open.add(2);
    }
    let there = (!created).then_some(target_stat);
    Ok(Opened { source, target, stat, there, created, traits, listed })
}

fn list(fd: &OwnedFd) -> Result<VecDeque<Listed>, Fault> {
    let mut listed = VecDeque::new();
    while !read(fd.as_fd(), &mut listed)? {}
    Ok(listed)
}
