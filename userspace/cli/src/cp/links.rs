//! Hard links within what is copied: the first name is copied, the others are
//! linked to it.
//!
//! Duty: remember files with several names until all of them were met. This
//! is the one table that grows with the tree: an inode with several names, not
//! all met yet, costs its path and about 200 bytes.

use super::entry::{self, Entry, Target};
use super::failure::Failure;
use super::session::Session;
use super::stat::{Identity, Stat};
use super::temp::{Commit, Temp};
use aio2::submit::{Dir as At, SharedFd};
use async_lock::OnceCell;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::rc::Rc;

/// Where the first name of a file was copied to: a path from the base.
#[derive(Debug)]
struct First {
    base: SharedFd,
    path: Rc<CStr>,
}

/// A file with several names.
#[derive(Debug)]
struct Linked {
    first: OnceCell<First>,
    names_left: Cell<u32>,
}

/// The files with several names of which not all were met.
#[derive(Debug, Default)]
pub struct Links {
    files: RefCell<HashMap<Identity, Rc<Linked>>>,
    most: Cell<usize>,
}

impl Links {
    /// Most files that were in the table at any time.
    pub fn most(&self) -> usize {
        self.most.get()
    }

    /// The file, which is one name nearer to being forgotten.
    fn meet(&self, stat: &Stat) -> Rc<Linked> {
        let mut files = self.files.borrow_mut();
        let linked = files.entry(stat.identity()).or_insert_with(|| {
            Rc::new(Linked { first: OnceCell::new(), names_left: Cell::new(stat.links()) })
        });
        let linked = Rc::clone(linked);
        linked.names_left.set(linked.names_left.get().saturating_sub(1));
        if linked.names_left.get() == 0 {
            files.remove(&stat.identity());
        }
        self.most.set(self.most.get().max(files.len()));
        linked
    }
}

/// Copies a file with several names: by `copy` the first time, later as a link.
pub async fn copy(
    cx: &Session,
    entry: &Entry,
    stat: &Stat,
    copy: impl AsyncFnOnce() -> Result<Commit, Failure>,
) -> Result<(), Failure> {
    let linked = cx.links.meet(stat);
    let mut was_first = false;
    // Whoever comes first copies. The others wait here, and if that fails, the
    // next of them tries it under its own name.
    let first = linked.first.get_or_try_init(async || {
        was_first = true;
        match copy().await {
            Ok(Commit::Done) => {}
            Ok(Commit::Kept) => return Err(None),
            Err(failure) => return Err(Some(failure)),
        }
        let path = entry.dir.target_path_from_base(&entry.target_name);
        let path = CString::new(path).unwrap_or_default().into();
        Ok(First { base: entry.dir.root().target.clone(), path })
    });
    match first.await {
        Ok(_) if was_first => Ok(()),
        Ok(first) => link(cx, entry, stat, first).await,
        Err(None) => Ok(()),
        Err(Some(failure)) => Err(failure),
    }
}

/// Makes the entry's target another name of what `first` was copied to.
async fn link(cx: &Session, entry: &Entry, stat: &Stat, first: &First) -> Result<(), Failure> {
    if entry::look(cx, entry, stat).await? == Target::Kept {
        cx.tally.kept.add(1);
        return Ok(());
    }
    let base = At::from(&first.base);
    let into = entry.into();
    let make = async |name: &CStr| cx.fs.linkat((&base, &first.path), (&into, name)).await;
    let (temp, ()) = Temp::make(cx, entry, make).await?;
    let name = temp.name().to_owned();
    match temp.settle(cx, Ok(())).await? {
        Commit::Done => cx.tally.hard_links.add(1),
        Commit::Kept => cx.tally.kept.add(1),
    }
    // A rename onto another name of the same file does nothing, by POSIX.
    match cx.fs.unlinkat(&into, &name).await {
        Err(fault) if fault.errno.0 != libc::ENOENT => Err(entry.at_target(fault)),
        _ => Ok(()),
    }
}
