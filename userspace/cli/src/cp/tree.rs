//! Directories: walked depth-first, finished last.
//!
//! Duty: read directories as a stream, make their copies, hand each entry to a
//! task, and set a directory's own mode and times when nothing in it is
//! pending. Memory follows the depth of the tree, never its size: a level of
//! the walk holds one buffer of entries, and the permits of
//! [`Session`](super::session::Session) bound all else. Not here: what is done
//! with an entry (`entry`).

use super::entry::{self, Entry};
use super::failure::Failure;
use super::fs::Fault;
use super::session::Session;
use super::stat::{Kind, Stat};
use aio2::submit::{Dir as At, SharedFd};
use std::ffi::CStr;
use std::rc::Rc;

/// Bytes of entries that are read at once.
const ENTRIES_BYTES: usize = 16 * 1024;
/// Only the owner may look into a directory that is not complete.
const UNFINISHED_MODE: u32 = 0o700;

/// A directory whose entries are being copied: source and target.
///
/// Whoever holds it hands it back with [`release`]; the last one finishes it.
#[derive(Debug)]
pub struct Dir {
    /// The directory above, and the name there; `None` for the base.
    parent: Option<(Rc<Dir>, Rc<CStr>)>,
    /// What the target's path begins with, if this is the base.
    prefix: Vec<u8>,
    /// Where the entries' sources are.
    pub source: At,
    /// Where the entries' copies go.
    pub target: SharedFd,
    /// What the target is given of the source's metadata at the end: nothing
    /// if it is the base, or was there and `--no-clobber` keeps it.
    stat: Option<Stat>,
    /// Whether this run has made the target, so that nothing was in it.
    pub created: bool,
    /// Whether new files in the target get its group instead of ours.
    pub sets_group: bool,
}

impl Dir {
    /// The directory that the copies of the command line's sources go to. It
    /// is not itself a copy; the sources' names begin at the working directory.
    pub fn base(target: SharedFd, prefix: Vec<u8>, stat: &Stat) -> Rc<Self> {
        Rc::new(Dir {
            parent: None,
            prefix,
            source: At::Cwd,
            target,
            stat: None,
            created: false,
            sets_group: sets_group(stat),
        })
    }

    /// The names from the base down to this directory, without the base.
    fn names(&self) -> Vec<&CStr> {
        let mut names = Vec::new();
        let mut at = self;
        while let Some((parent, name)) = &at.parent {
            names.push(&**name);
            at = parent;
        }
        names.reverse();
        names
    }

    /// The base that this directory lies under.
    pub fn root(self: &Rc<Self>) -> &Rc<Dir> {
        let mut at = self;
        while let Some((parent, _)) = &at.parent {
            at = parent;
        }
        at
    }

    /// The path of `name` in the target, from the base.
    pub fn target_path_from_base(&self, name: &CStr) -> Vec<u8> {
        let mut names: Vec<_> = self.names().into_iter().map(CStr::to_bytes).collect();
        names.push(name.to_bytes());
        names.join(&b'/')
    }

    /// The path of `name` in the target.
    pub fn target_path(self: &Rc<Self>, name: &CStr) -> Vec<u8> {
        let mut path = self.root().prefix.clone();
        if !path.is_empty() && !path.ends_with(b"/") {
            path.push(b'/');
        }
        path.extend(self.target_path_from_base(name));
        path
    }

    /// The path of `name` in the source, given what the command line calls the
    /// entry below the base.
    pub fn source_path(&self, root: &[u8], name: &CStr) -> Vec<u8> {
        let mut names: Vec<_> = self.names().into_iter().map(CStr::to_bytes).collect();
        names.push(name.to_bytes());
        names[0] = root;
        names.join(&b'/')
    }
}

fn sets_group(stat: &Stat) -> bool {
    stat.permissions() & libc::S_ISGID != 0
}

/// A directory whose entries are being read.
struct Level {
    dir: Rc<Dir>,
    root: Rc<[u8]>,
    source: SharedFd,
    entries: Vec<u8>,
    at: usize,
}

/// An entry as getdents64(2) tells it.
struct Listed {
    name: Rc<CStr>,
    kind: Option<Kind>,
}

impl Level {
    /// Takes the next entry of the buffer, leaving out `.` and `..`.
    fn next(&mut self) -> Option<Listed> {
        loop {
            let record = self.entries.get(self.at..)?;
            let len = usize::from(u16::from_ne_bytes([*record.get(16)?, *record.get(17)?]));
            let kind = match *record.get(18)? {
                libc::DT_REG => Some(Kind::Regular),
                libc::DT_DIR => Some(Kind::Directory),
                libc::DT_LNK => Some(Kind::Symlink),
                libc::DT_UNKNOWN => None,
                _ => Some(Kind::Special),
            };
            let name = CStr::from_bytes_until_nul(record.get(19..len)?).ok()?;
            self.at += len;
            if !matches!(name.to_bytes(), b"." | b"..") {
                return Some(Listed { name: name.into(), kind });
            }
        }
    }

    /// Reads more entries; false at the end.
    async fn read(&mut self, cx: &Session) -> Result<bool, Fault> {
        let buffer = vec![0; ENTRIES_BYTES];
        let mut entries = cx.fs.getdents64(&self.source, buffer).await?;
        // A level deep in the tree keeps what it read until the walk is back.
        entries.shrink_to_fit();
        self.entries = entries;
        self.at = 0;
        Ok(!self.entries.is_empty())
    }

    fn entry(&self, name: &Rc<CStr>) -> Entry {
        Entry {
            dir: Rc::clone(&self.dir),
            root: Rc::clone(&self.root),
            source_name: Rc::clone(name),
            target_name: Rc::clone(name),
            follow: false,
        }
    }
}

/// Copies the directory `entry` and everything in it.
pub async fn copy(cx: &Rc<Session>, entry: Entry) {
    let mut stack = Vec::new();
    descend(cx, &mut stack, entry).await;
    while let Some(level) = stack.last_mut() {
        let listed = if cx.stopped() { None } else { next(cx, level).await };
        match listed {
            Some(Listed { name, kind }) => {
                let entry = level.entry(&name);
                match kind {
                    Some(Kind::Directory) => descend(cx, &mut stack, entry).await,
                    Some(kind) => cx.start(entry, kind).await,
                    None => classify(cx, &mut stack, entry).await,
                }
            }
            None => {
                if let Some(level) = stack.pop() {
                    drop(level.source);
                    release(cx, level.dir);
                }
            }
        }
    }
}

/// The next entry of `level`; at its end, or if it cannot be read on, `None`.
async fn next(cx: &Session, level: &mut Level) -> Option<Listed> {
    loop {
        if let Some(listed) = level.next() {
            return Some(listed);
        }
        match level.read(cx).await {
            Ok(true) => {}
            Ok(false) => return None,
            Err(fault) => {
                let path = level.dir.source_path(&level.root, c".");
                cx.fail(&fault.at(path));
                return None;
            }
        }
    }
}

/// Goes on with an entry whose kind the file system does not tell in the list.
async fn classify(cx: &Rc<Session>, stack: &mut Vec<Level>, entry: Entry) {
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    match cx.fs.statx(&entry.dir.source, &entry.source_name, flags).await {
        Ok(stat) if stat.kind() == Kind::Directory => descend(cx, stack, entry).await,
        Ok(stat) => cx.start(entry, stat.kind()).await,
        Err(fault) => {
            cx.fail(&entry.at_source(fault));
            release(cx, entry.dir);
        }
    }
}

/// Makes the copy of a directory and puts it on the stack, to be read next.
async fn descend(cx: &Rc<Session>, stack: &mut Vec<Level>, entry: Entry) {
    cx.wait_for_finishers().await;
    match open(cx, &entry).await {
        Ok(Opened { source, target, stat, created, sets_group }) => {
            let keeps = created || !cx.options.no_clobber;
            let dir = Dir {
                sets_group,
                parent: Some((entry.dir, entry.target_name)),
                prefix: Vec::new(),
                source: At::from(&source),
                target,
                stat: keeps.then_some(stat),
                created,
            };
            let (dir, root) = (Rc::new(dir), entry.root);
            stack.push(Level { dir, root, source, entries: Vec::new(), at: 0 });
        }
        Err(failure) => {
            cx.fail(&failure);
            release(cx, entry.dir);
        }
    }
}

/// A directory and its copy, just opened.
struct Opened {
    source: SharedFd,
    target: SharedFd,
    stat: Stat,
    created: bool,
    sets_group: bool,
}

/// Opens a directory and its copy, which is made if it is not there.
async fn open(cx: &Session, entry: &Entry) -> Result<Opened, Failure> {
    let mut flags = libc::O_RDONLY | libc::O_DIRECTORY;
    if !entry.follow {
        flags |= libc::O_NOFOLLOW;
    }
    let from = &entry.dir.source;
    let source = cx.fs.openat(from, &entry.source_name, flags, 0).await;
    let source = source.map_err(|f| entry.at_source(f))?;
    let stat = cx.fs.fstat(&source).await.map_err(|f| entry.at_source(f))?;
    if cx.is_target(stat.identity()) {
        return Err(entry::into_itself(entry));
    }
    let into = At::from(&entry.dir.target);
    let created = match cx.fs.mkdirat(&into, &entry.target_name, UNFINISHED_MODE).await {
        Ok(()) => true,
        Err(fault) if fault.errno.0 == libc::EEXIST => false,
        Err(fault) => return Err(entry.at_target(fault)),
    };
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let target = cx.fs.openat(&into, &entry.target_name, flags, 0).await;
    let target = target.map_err(|f| entry.at_target(f))?;
    let target_stat = cx.fs.fstat(&target).await.map_err(|f| entry.at_target(f))?;
    if target_stat.identity() == stat.identity() {
        return Err(entry::same_file(entry));
    }
    if entry.is_root() {
        cx.add_target(target_stat.identity());
    }
    Ok(Opened { source, target, stat, created, sets_group: sets_group(&target_stat) })
}

/// Gives back a directory; if nothing in it is pending, it is finished.
pub fn release(cx: &Rc<Session>, dir: Rc<Dir>) {
    if let Some(dir) = Rc::into_inner(dir) {
        let cx2 = Rc::clone(cx);
        cx.spawn(async move { finish(&cx2, dir).await });
    }
}

/// Sets mode and times of a directory whose entries are all done.
async fn finish(cx: &Rc<Session>, dir: Dir) {
    let permit = cx.finisher().await;
    let Dir { parent, source, target, stat, prefix, .. } = dir;
    let result = match (&stat, &parent) {
        (Some(stat), Some((above, _))) => {
            entry::keep_metadata(cx, &target, stat, above.sets_group).await
        }
        _ => Ok(()),
    };
    let result = match result {
        Ok(()) if cx.options.sync => cx.fs.fsync(&target).await,
        result => result,
    };
    if parent.is_some() {
        cx.tally.directories.add(1);
    }
    if let Err(fault) = result {
        let path = match &parent {
            Some((above, name)) => above.target_path(name),
            None => prefix,
        };
        cx.fail(&fault.at(path));
    }
    if let At::Fd(source) = source {
        cx.fs.let_go(source).await;
    }
    cx.fs.let_go(target).await;
    drop(permit);
    if let Some((parent, _)) = parent {
        release(cx, parent);
    }
}
