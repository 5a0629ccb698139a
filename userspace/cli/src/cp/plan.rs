//! What the command line asks to copy, and where to.
//!
//! Duty: turn `SRC... DST` into entries under a base directory, and refuse what
//! cannot be meant: several sources for one name, a directory into itself.

use super::entry::{self, Entry};
use super::failure::Failure;
use super::fs::Fault;
use super::session::Session;
use super::stat::{Identity, Kind, Stat};
use super::tree::{self, Dir};
use crate::printable::Printable;
use aio2::Dir as At;
use std::collections::HashSet;
use std::ffi::{CString, OsString};
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;

/// Why nothing can be copied at all.
#[derive(Debug)]
pub struct BadTarget(String);

impl fmt::Display for BadTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A path of the command line, without the slashes at its end.
struct Given {
    path: Vec<u8>,
    /// It ended with a slash: a directory is meant.
    slash: bool,
}

impl Given {
    fn new(path: OsString) -> Self {
        let mut path = path.into_vec();
        let slash = path.ends_with(b"/");
        while path.len() > 1 && path.ends_with(b"/") {
            path.pop();
        }
        Given { path, slash }
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

fn c_string(bytes: &[u8]) -> CString {
    // Arguments of a process cannot contain a zero byte.
    CString::new(bytes).unwrap_or_default()
}

/// Where the copies go: a directory, and their name if it is given.
struct Base {
    dir: Rc<Dir>,
    name: Option<Vec<u8>>,
    chain: HashSet<Identity>,
}

/// Copies all `sources` to `target`.
///
/// # Errors
/// If the target cannot hold them; nothing was copied then.
pub async fn run(
    cx: &Rc<Session>,
    sources: Vec<OsString>,
    target: OsString,
) -> Result<(), BadTarget> {
    let base = resolve(cx, sources.len(), Given::new(target)).await?;
    let mut names = HashSet::new();
    for source in sources {
        let source = Given::new(source);
        let name = base.name.clone().unwrap_or_else(|| source.copy_name().to_vec());
        let entry = Entry {
            dir: Rc::clone(&base.dir),
            root: source.path.as_slice().into(),
            source_name: c_string(&source.path).into(),
            target_name: c_string(&name).into(),
            follow: !cx.options.recursive || source.slash,
        };
        if name != b"." && !names.insert(name) {
            cx.fail(&twice(&entry));
            continue;
        }
        if let Err((failure, entry)) = start(cx, entry, &base.chain).await {
            cx.fail(&failure);
            entry::release(cx, entry);
        }
    }
    tree::release(cx, base.dir);
    Ok(())
}

/// Opens the directory that copies go to.
async fn resolve(cx: &Session, sources: usize, target: Given) -> Result<Base, BadTarget> {
    let shown = Printable(&target.path);
    let path = c_string(&target.path);
    let (dir, name) = match cx.fs.statx(&At::Cwd, &path, 0).await {
        Ok(stat) if stat.kind() == Kind::Directory => (target.path.as_slice(), None),
        Ok(_) if sources > 1 => {
            let why = format!("{shown} is not a directory, and there are {sources} sources");
            return Err(BadTarget(why));
        }
        Ok(_) if target.slash => return Err(BadTarget(format!("{shown} is not a directory"))),
        Err(fault) if fault.errno.0 == libc::ENOENT && sources > 1 => {
            let why = format!("{shown} does not exist, and {sources} sources need a directory");
            return Err(BadTarget(format!("{why}; make it first")));
        }
        Err(fault) if fault.errno.0 != libc::ENOENT => return Err(bad(&target.path, fault)),
        Ok(_) | Err(_) => {
            let (dir, name) = target.split();
            (dir, Some(name.to_vec()))
        }
    };
    let flags = libc::O_RDONLY | libc::O_DIRECTORY;
    let opened = cx.fs.openat(&At::Cwd, &c_string(dir), flags, 0).await;
    let opened = opened.map_err(|f| bad(dir, f))?;
    let stat = cx.fs.fstat(&opened).await.map_err(|f| bad(dir, f))?;
    let chain = chain(cx, &At::from(&opened), &stat).await.map_err(|f| bad(dir, f))?;
    let prefix = if name.is_some() && dir == b"." { Vec::new() } else { dir.to_vec() };
    Ok(Base { dir: Dir::base(opened, prefix, &stat), name, chain })
}

fn bad(path: &[u8], fault: Fault) -> BadTarget {
    let Fault { operation, errno } = fault;
    let hint = match errno.0 {
        libc::ENOENT => "; make the directory first",
        libc::ENOTDIR => "; choose a target in a directory",
        _ => "",
    };
    BadTarget(format!("{}: {operation}: {errno}{hint}", Printable(path)))
}

/// The directory and all above it: none of them can be copied into it.
async fn chain(cx: &Session, dir: &At, stat: &Stat) -> Result<HashSet<Identity>, Fault> {
    let mut chain = HashSet::from([stat.identity()]);
    let mut up = String::from("..");
    loop {
        match cx.fs.identity(dir, &c_string(up.as_bytes())).await {
            Ok(above) if !chain.insert(above) => return Ok(chain),
            Ok(_) => up.push_str("/.."),
            // Above what may be looked at: what cannot be read is not copied.
            Err(fault) if matches!(fault.errno.0, libc::EACCES | libc::ENAMETOOLONG) => {
                return Ok(chain);
            }
            Err(fault) => return Err(fault),
        }
    }
}

/// Starts to copy one source.
async fn start(
    cx: &Rc<Session>,
    entry: Entry,
    chain: &HashSet<Identity>,
) -> Result<(), (Failure, Entry)> {
    let flags = if entry.follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
    let stat = match cx.fs.statx(&At::Cwd, &entry.source_name, flags).await {
        Ok(stat) => stat,
        Err(fault) => {
            let mut failure = entry.at_source(fault);
            if fault.errno.0 == libc::ENOENT {
                failure.help = Some("name a source that exists");
            }
            return Err((failure, entry));
        }
    };
    if stat.kind() != Kind::Directory {
        cx.start(entry, stat.kind()).await;
    } else if !cx.options.recursive {
        let failure =
            Failure::found("cp", entry.source_path(), "it is a directory", "copy it with -r");
        return Err((failure, entry));
    } else if chain.contains(&stat.identity()) {
        return Err((entry::into_itself(&entry), entry));
    } else {
        tree::copy(cx, entry).await;
    }
    Ok(())
}

fn twice(entry: &Entry) -> Failure {
    Failure::found(
        "cp",
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
