//! A directory and its copy, for as long as something in it is pending.
//!
//! Duty: where names are looked up, what paths are called, and finishing the
//! copy when nothing in it is pending. Not here: reading entries (`tree`).

use super::failure::Side;
use super::meta;
use super::session::Session;
use super::stat::Stat;
use super::sys::{self, Base, c_string};
use super::traits::Traits;
use std::ffi::{CStr, CString};
use std::sync::Arc;

/// A directory whose entries are being copied: source and target.
///
/// Whoever holds it hands it back with [`release`]; the last one finishes it.
#[derive(Debug)]
pub struct Dir {
    /// The directory above, and the name there; `None` for the base.
    pub parent: Option<(Arc<Dir>, CString)>,
    /// What the target's path begins with, if this is the base.
    pub prefix: Vec<u8>,
    /// Where the entries' sources are.
    pub source: Base,
    /// Where the entries' copies go.
    pub target: Base,
    /// What the target is given of the source's metadata at the end: nothing
    /// if it is the base, or was there and is to be kept.
    pub stat: Option<Stat>,
    /// What the target was before, if it was there.
    pub there: Option<Stat>,
    /// Whether this run has made the target, so that nothing was in it.
    pub created: bool,
    pub traits: Traits,
}

impl Dir {
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
    pub fn root(self: &Arc<Self>) -> &Arc<Dir> {
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
    pub fn target_path(self: &Arc<Self>, name: &CStr) -> Vec<u8> {
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

/// Opens the directory `path` below an open one, also if it is longer than the
/// kernel takes paths.
pub fn descend(base: &Base, path: &[u8]) -> Result<Base, sys::Fault> {
    const AT_ONCE: usize = 3000;
    let mut rest = path;
    let mut at = None;
    loop {
        let end = match rest.len() {
            ..=AT_ONCE => rest.len(),
            _ => rest[..AT_ONCE].iter().rposition(|&b| b == b'/').unwrap_or(rest.len()),
        };
        let part = if end == 0 { c".".to_owned() } else { c_string(&rest[..end]) };
        at = Some(Base::Fd(sys::open_dir(&at.as_ref().unwrap_or(base).at(&part), false)?));
        rest = rest.get(end + 1..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(at.unwrap_or(Base::Cwd));
        }
    }
}

/// Gives back a directory; if nothing in it is pending, it is finished, and so
/// are those above it that waited for it.
pub fn release(cx: &Session, dir: Arc<Dir>) {
    let mut next = Some(dir);
    while let Some(dir) = next.and_then(Arc::into_inner) {
        next = finish(cx, dir);
    }
}

/// Sets mode and times of a directory whose entries are all done; returns the
/// one above.
fn finish(cx: &Session, dir: Dir) -> Option<Arc<Dir>> {
    let Dir { parent, source, target, stat, there, prefix, .. } = dir;
    let result = target.with(|fd| {
        if let (Some(stat), Some((above, _))) = (&stat, &parent) {
            let from = source.with(|from| Ok(meta::read(cx, from, true)))?;
            meta::give_to(cx, fd, stat, &from, &above.traits, None, there.as_ref())?;
        }
        if cx.options.sync { sys::fsync(fd) } else { Ok(()) }
    });
    if let Err(fault) = result {
        let path = match &parent {
            Some((above, name)) => above.target_path(name),
            None => prefix,
        };
        cx.fail(&fault.at(Side::Target, path));
    }
    for base in [source, target] {
        if let Base::Fd(fd) = base {
            drop(fd);
            cx.directories_open.sub(1);
        }
    }
    parent.map(|(above, _)| {
        cx.tally.directories.add(1);
        above
    })
}
