//! What the command line asks to copy, and where to.
//!
//! Duty: turn `SRC... DST` into entries under a base directory, and refuse what
//! cannot be meant: several sources for one name, a directory into itself.

use super::copiers::Copiers;
use super::dir::{Dir, release};
use super::entry::{self, Entry};
use super::failure::{self, Failure, Side};
use super::options::{Control, Follow};
use super::session::Session;
use super::stat::{Identity, Kind, Stat};
use super::sys::{self, Base, Fault, c_string};
use super::traits::Traits;
use super::tree;
use crate::printable::Printable;
use std::collections::{HashMap, HashSet};
use std::ffi::{CString, OsString};
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

/// Why nothing can be copied at all.
#[derive(Debug)]
pub struct BadTarget(String);

impl fmt::Display for BadTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How the target is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Into {
    /// A directory to copy into if it is one, otherwise the copy's name.
    Either,
    /// -t: a directory.
    Directory,
    /// -T: the copy's name.
    Name,
}

/// A path of the command line.
struct Given {
    /// As it was given.
    raw: Vec<u8>,
    /// Without the slashes at its end.
    path: Vec<u8>,
    /// It ended with a slash: a directory is meant.
    slash: bool,
}

impl Given {
    fn new(path: OsString) -> Self {
        let raw = path.into_vec();
        let mut path = raw.clone();
        let slash = path.ends_with(b"/");
        while path.len() > 1 && path.ends_with(b"/") {
            path.pop();
        }
        Given { raw, path, slash }
    }

    /// Directory and last component.
    fn split(&self) -> (&[u8], &[u8]) {
        match self.path.iter().rposition(|&b| b == b'/') {
            Some(0) => (b"/", &self.path[1..]),
            Some(at) => (&self.path[..at], &self.path[at + 1..]),
            None => (b".", &self.path),
        }
    }

    /// The name of the copy within a directory; the contents of `.`, `..` and
    /// `/` go to the directory itself.
    fn copy_name(&self) -> &[u8] {
        match self.split().1 {
            b"" | b".." => b".",
            name => name,
        }
    }
}

/// Where the copies go: a directory, and their name if it is given.
struct Target {
    dir: Arc<Dir>,
    name: Option<Vec<u8>>,
    /// The name is to be that of a directory.
    slash: bool,
    chain: HashSet<Identity>,
}

/// Copies all `sources` to `target`.
///
/// # Errors
/// If the target cannot hold them; nothing was copied then.
pub fn run(
    cx: &Session,
    copiers: &mut Copiers<'_, '_>,
    sources: Vec<OsString>,
    target: OsString,
    into: Into,
) -> Result<(), BadTarget> {
    let target = resolve(cx, sources.len(), &Given::new(target), into)?;
    let mut names: HashMap<Vec<u8>, (CString, Option<Stat>)> = HashMap::new();
    let backup = cx.options.backup.as_ref().map(|backup| backup.control);
    for source in sources {
        let source = Given::new(source);
        let name = target.name.clone().unwrap_or_else(|| source.copy_name().to_vec());
        let dots = name == b".";
        let entry = Entry {
            dir: Arc::clone(&target.dir),
            root: source.path.as_slice().into(),
            source_name: c_string(&source.raw),
            other_name: Some(c_string(&name)),
            follow: cx.options.follow != Follow::Never || source.slash,
        };
        let found = found(cx, &entry, &target);
        let stat = found.as_ref().ok().copied();
        let is_dir = |stat: Stat| stat.kind() == Kind::Directory;
        let given = (entry.source_name.clone(), stat);
        let before = if dots { None } else { names.insert(name, given) };
        let merges = dots || before.is_some();
        if let (Some((path, Some(before))), Some(stat)) = (before, stat) {
            let (dirs, same) =
                (is_dir(before) && is_dir(stat), before.identity() == stat.identity());
            // Another name of the same file is another source.
            let (one, other) = ((&Base::Cwd, &*path), (&Base::Cwd, &*entry.source_name));
            let same = same && (dirs || entry::same_directory(one, other).unwrap_or(true));
            if same && (dirs || backup.is_none()) {
                let path = Printable(&entry.root);
                cx.warn(&format!("'{path}' is given twice; it is copied once"));
                entry.release(cx);
                continue;
            }
            // With numbers, each of them stays.
            if !dirs && backup != Some(Control::Numbered) {
                cx.fail(&twice(&entry));
                entry.release(cx);
                continue;
            }
        }
        // Names of the one may be names of the other: in their order.
        if merges {
            copiers.barrier();
        }
        match found.map(|stat| stat.kind()) {
            Ok(Kind::Directory) => tree::copy(cx, copiers, entry),
            Ok(kind) => copiers.start(entry, kind),
            Err(failure) => {
                cx.fail(&failure);
                entry.release(cx);
            }
        }
        if merges {
            copiers.barrier();
        }
    }
    copiers.barrier();
    release(cx, target.dir);
    Ok(())
}

/// Opens the directory that copies go to.
fn resolve(cx: &Session, sources: usize, target: &Given, into: Into) -> Result<Target, BadTarget> {
    let shown = Printable(&target.path);
    let found = sys::stat(&Base::Cwd.at(&c_string(&target.raw)), true);
    let (dir, name) = match found {
        Ok(stat) if stat.kind() == Kind::Directory && into != Into::Name => {
            (target.path.as_slice(), None)
        }
        Ok(_) | Err(_) if into == Into::Directory => {
            return Err(match found {
                Err(fault) => bad(&target.path, fault),
                Ok(_) => BadTarget(format!("'{shown}' is not a directory")),
            });
        }
        _ if into == Into::Name && sources > 1 => {
            return Err(BadTarget(format!("-T takes one source, and there are {sources}")));
        }
        Ok(_) if sources > 1 => {
            let why = format!("'{shown}' is not a directory, and there are {sources} sources");
            return Err(BadTarget(why));
        }
        Err(fault) if fault.errno.0 == libc::ENOTDIR && target.slash => {
            return Err(BadTarget(format!("'{shown}' is not a directory")));
        }
        Err(fault) if fault.errno.0 == libc::ENOENT && sources > 1 => {
            let why = format!("'{shown}' does not exist, and {sources} sources need a directory");
            return Err(BadTarget(format!("{why}; make it first")));
        }
        Err(fault) if !fault.is_any(&[libc::ENOENT, libc::ELOOP]) => {
            return Err(bad(&target.path, fault));
        }
        Ok(_) | Err(_) => {
            let (dir, name) = target.split();
            (dir, Some(if name.is_empty() { b".".to_vec() } else { name.to_vec() }))
        }
    };
    let path = c_string(dir);
    let opened = sys::open_dir(&Base::Cwd.at(&path), true).map_err(|f| bad(dir, f))?;
    let stat = sys::fstat(&opened).map_err(|f| bad(dir, f))?;
    let opened = Base::Fd(opened);
    let chain = chain(&opened, &stat).map_err(|f| bad(dir, f))?;
    let traits = Traits::of(&opened, &stat);
    let base = if cx.directories_max == 0 { Base::Path(dir.to_vec()) } else { opened };
    if let Base::Fd(_) = base {
        cx.directories_open.add(1);
    }
    let prefix = if name.is_some() && dir == b"." { Vec::new() } else { dir.to_vec() };
    let dir = Arc::new(Dir {
        parent: None,
        prefix,
        source: Base::Cwd,
        target: base,
        stat: None,
        there: None,
        created: false,
        traits,
    });
    Ok(Target { dir, name, slash: target.slash, chain })
}

fn bad(path: &[u8], fault: Fault) -> BadTarget {
    let why = failure::why(fault.errno);
    let hint = match fault.errno.0 {
        libc::ENOENT => "; make the directory first",
        libc::ENOTDIR => "; choose a target in a directory",
        _ => "",
    };
    BadTarget(format!("target '{}': {why}{hint}", Printable(path)))
}

/// The directory and all above it: none of them can be copied into it.
fn chain(dir: &Base, stat: &Stat) -> Result<HashSet<Identity>, Fault> {
    let mut chain = HashSet::from([stat.identity()]);
    let mut up = String::from("..");
    loop {
        match sys::stat(&dir.at(&c_string(up.as_bytes())), true) {
            Ok(above) if !chain.insert(above.identity()) => return Ok(chain),
            Ok(_) => up.push_str("/.."),
            // Above what may be looked at: what cannot be read is not copied.
            Err(fault) if fault.is_any(&[libc::EACCES, libc::ENAMETOOLONG]) => return Ok(chain),
            Err(fault) => return Err(fault),
        }
    }
}

/// What a source is, if it can be copied to the target.
fn found(cx: &Session, entry: &Entry, target: &Target) -> Result<Stat, Failure> {
    let stat = sys::stat(&entry.source(), entry.follow).map_err(|fault| {
        let mut failure = fault.at(Side::Source, entry.source_path());
        if fault.errno.0 == libc::ENOENT {
            failure.help = Some("name a source that exists");
        }
        failure
    })?;
    if stat.kind() != Kind::Directory {
        if target.slash && target.name.is_some() {
            let what = "a directory of that name is not there, and the source is no directory";
            return Err(Failure::found(entry.target_path(), what, "make the directory first"));
        }
    } else if !cx.options.recursive {
        let help = "copy it with -r";
        return Err(Failure::found(entry.source_path(), "it is a directory", help));
    } else if target.chain.contains(&stat.identity()) {
        return Err(entry::into_itself(entry));
    }
    Ok(stat)
}

fn twice(entry: &Entry) -> Failure {
    Failure::found(
        entry.source_path(),
        "another source of this name was copied to the same place",
        "copy it to another directory",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_as_a_person_reads_it() {
        let split = |path: &str| {
            let given = Given::new(path.into());
            let (dir, name) = given.split();
            (String::from_utf8_lossy(dir).into_owned(), String::from_utf8_lossy(name).into_owned())
        };
        for (path, dir, name) in [
            ("a", ".", "a"),
            ("a/b//", "a", "b"),
            ("/a", "/", "a"),
            ("/", "/", ""),
            ("../x", "..", "x"),
        ] {
            assert_eq!(split(path), (dir.into(), name.into()), "{path}");
        }
        assert_eq!(Given::new("a/.".into()).copy_name(), b".");
        assert_eq!(Given::new("/".into()).copy_name(), b".");
        assert_eq!(Given::new("a/b/".into()).copy_name(), b"b");
    }
}
