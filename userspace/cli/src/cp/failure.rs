//! What could not be copied: named, explained, counted.
//!
//! Duty: a failure as a value, its text and its JSON. Not here: deciding what
//! is one, which the operations do.

use crate::printable::Printable;
use aio2::error::Errno;
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why something was not copied.
#[derive(Clone, Debug)]
pub enum Reason {
    /// An operation ended with this error.
    Errno(Errno),
    /// What the copier itself has found.
    Found(String),
    /// The copier was told to stop.
    Stopped,
}

/// Which side an operation was on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Source,
    Target,
}

/// One thing that was not copied.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was tried: a syscall's name, or a step of the copier.
    pub operation: &'static str,
    /// The side that it was on.
    pub side: Side,
    /// The path that it concerns.
    pub path: Vec<u8>,
    /// Why it failed.
    pub reason: Reason,
    /// What would help, if the error number does not say it.
    pub help: Option<&'static str>,
}

impl Failure {
    /// Something that the copier has found.
    pub fn found(path: Vec<u8>, what: impl Into<String>, help: &'static str) -> Self {
        let reason = Reason::Found(what.into());
        Failure { operation: "cp", side: Side::Source, path, reason, help: Some(help) }
    }

    /// The copier was told to stop before `path` was complete.
    pub fn stopped(path: Vec<u8>) -> Self {
        let (side, reason) = (Side::Source, Reason::Stopped);
        Failure { operation: "stop", side, path, reason, help: None }
    }

    /// True if nothing was wrong but that the copier was told to stop.
    pub fn is_stop(&self) -> bool {
        matches!(self.reason, Reason::Stopped)
    }

    fn why(&self) -> String {
        match &self.reason {
            Reason::Errno(errno) => why(*errno),
            Reason::Found(what) => what.clone(),
            Reason::Stopped => "stopped by a signal".into(),
        }
    }

    fn errno(&self) -> Option<i32> {
        match &self.reason {
            Reason::Errno(errno) => Some(errno.0),
            _ => None,
        }
    }

    fn advice(&self) -> Option<&'static str> {
        self.help.or_else(|| advice(self.operation, self.side, self.errno()?))
    }
}

/// What an error number means, and its name.
pub fn why(errno: Errno) -> String {
    let known = nix::errno::Errno::from_raw(errno.0);
    format!("{} ({known:?})", known.desc())
}

/// What was tried, as a person would say it.
fn tried(operation: &str, side: Side) -> &'static str {
    match (operation, side) {
        ("openat", Side::Source) => "open",
        ("openat", Side::Target) => "create or open",
        ("statx", _) => "look at",
        ("getdents64", _) => "list",
        ("readlinkat", _) => "read the link",
        ("pread64" | "read" | "poll", Side::Source) => "read",
        ("pread64", Side::Target) => "read again",
        ("pwrite64" | "write" | "ftruncate" | "poll", _) => "write to",
        ("lseek", _) => "find the data of",
        ("fsync", _) => "make durable",
        ("fchmod" | "fchmodat", _) => "set the mode of",
        ("fchown" | "fchownat", _) => "set the owner of",
        ("utimensat", _) => "set the times of",
        ("fsetxattr" | "lsetxattr" | "fremovexattr", _) => "set an extended attribute of",
        ("mkdirat", _) => "make the directory",
        ("mknodat", _) => "make the special file",
        ("symlinkat", _) => "make the symbolic link",
        ("linkat", _) => "give a name to",
        ("renameat2", _) => "replace",
        ("unlinkat", _) => "remove",
        ("ioctl(FICLONE)", _) => "share blocks with",
        ("malloc", _) => "get memory for",
        _ => "copy",
    }
}

/// What would help against an error of an operation.
fn advice(operation: &str, side: Side, errno: i32) -> Option<&'static str> {
    Some(match (errno, side) {
        (libc::EACCES | libc::EPERM, Side::Source) => "copy as a user who may read it",
        (libc::EACCES | libc::EPERM, Side::Target) => "copy as a user who may write there",
        (libc::ENOENT, Side::Source) => "it has vanished since its directory was listed",
        (libc::ENOENT, Side::Target) => "its directory has vanished; copy again",
        (libc::EROFS, _) => "mount the target's file system read-write, or choose another target",
        (libc::ENOSPC, _) => "free space or inodes in the target's file system and copy again",
        (libc::EDQUOT, _) => {
            "the quota in the target's file system is used up; free some and copy again"
        }
        (libc::EMFILE, _) => "raise the limit of open files (ulimit -n)",
        (libc::ENFILE, _) => "the system has no more open files to give; copy later",
        (libc::ENOMEM, _) => "raise the limit of memory (ulimit -v), or free some",
        (libc::ENAMETOOLONG, Side::Target) => {
            "the target's file system takes shorter names only; rename it"
        }
        (libc::ELOOP, Side::Source) => "it is a symbolic link to itself, or has just become one",
        (libc::EISDIR | libc::ENOTDIR | libc::ENOTEMPTY, Side::Target)
            if operation == "renameat2" =>
        {
            "a directory of that name is in the target; move it away"
        }
        (libc::EEXIST | libc::ENOTDIR | libc::ELOOP, Side::Target) => {
            "something else of that name is in the target; move it away"
        }
        (libc::ENOTDIR, Side::Source) => "it is no directory: leave out the slash at its end",
        (libc::ENXIO, _) if operation == "openat" => "a socket cannot be opened",
        (libc::ETXTBSY, Side::Target) => "it is being executed; end that, or copy to another name",
        (libc::EIO, _) => "the device reports an error; see the kernel's log",
        (libc::EFBIG, Side::Target) => {
            "raise the limit of file sizes (ulimit -f), or choose another file system"
        }
        (libc::EOPNOTSUPP | libc::EXDEV | libc::ENOTTY | libc::EINVAL, _)
            if operation == "ioctl(FICLONE)" =>
        {
            "these file systems cannot; copy with --reflink=auto"
        }
        (libc::EOPNOTSUPP, Side::Target) if operation.ends_with("setxattr") => {
            "the target's file system has no such attributes; leave out --preserve=xattr"
        }
        _ => return None,
    })
}

/// Where failures are named and counted.
#[derive(Debug)]
pub struct Failures {
    json: bool,
    count: AtomicU64,
    stopped: AtomicU64,
}

impl Failures {
    /// None yet; `json` chooses how they are named on standard error.
    pub fn new(json: bool) -> Self {
        Failures { json, count: AtomicU64::new(0), stopped: AtomicU64::new(0) }
    }

    /// How many there were, those aside that a signal caused.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// How many files were given up because a signal said so.
    pub fn stopped(&self) -> u64 {
        self.stopped.load(Ordering::Relaxed)
    }

    /// The line that says what is odd, and no failure.
    pub fn warning(&self, what: &str) -> String {
        if self.json { json!({ "warning": what }).to_string() } else { format!("aio2 cp: {what}") }
    }

    /// The line that names `failure`, unless it is only the signal's effect.
    pub fn take(&self, failure: &Failure) -> Option<String> {
        if failure.is_stop() {
            self.stopped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        Some(if self.json { failure.to_json() } else { failure.to_text() })
    }
}

impl Failure {
    fn to_text(&self) -> String {
        let (path, why) = (Printable(&self.path), self.why());
        let mut line = match self.reason {
            Reason::Errno(_) => {
                let tried = tried(self.operation, self.side);
                format!("aio2 cp: cannot {tried} '{path}': {why}")
            }
            _ => format!("aio2 cp: '{path}': {why}"),
        };
        if let Some(help) = self.advice() {
            line.push_str("; ");
            line.push_str(help);
        }
        line
    }

    fn to_json(&self) -> String {
        json!({ "failure": {
            "operation": self.operation,
            "path": Printable(&self.path).to_string(),
            "errno": self.errno(),
            "reason": self.why(),
            "help": self.advice(),
        }})
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_operation_path_reason_and_help_on_one_line() {
        let failures = Failures::new(false);
        let failure = Failure {
            operation: "openat",
            side: Side::Source,
            path: b"a\n\xff".to_vec(),
            reason: Reason::Errno(Errno(libc::EACCES)),
            help: None,
        };
        let line = failures.take(&failure).unwrap();
        for part in ["cannot open 'a\\n\\xff'", "EACCES", "copy as a user"] {
            assert!(line.contains(part), "{line}");
        }
        assert!(!line.contains('\n'));
        assert_eq!(failures.count(), 1);
        assert_eq!(failures.take(&Failure::stopped(vec![])), None);
        assert_eq!((failures.count(), failures.stopped()), (1, 1));
    }
}
