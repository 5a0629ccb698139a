//! What could not be copied: named, explained, counted.
//!
//! Duty: a failure as a value, its text and its JSON. Not here: deciding what
//! is one, which the operations do.

use crate::printable::Printable;
use aio2::error::Errno;
use serde_json::json;
use std::cell::Cell;

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

/// One thing that was not copied.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was tried: a syscall's name, or a step of the copier.
    pub operation: &'static str,
    /// The path that it concerns.
    pub path: Vec<u8>,
    /// Why it failed.
    pub reason: Reason,
    /// What would help, if the error number does not say it.
    pub help: Option<&'static str>,
}

impl Failure {
    /// Something that the copier has found.
    pub fn found(
        operation: &'static str,
        path: Vec<u8>,
        what: impl Into<String>,
        help: &'static str,
    ) -> Self {
        Failure { operation, path, reason: Reason::Found(what.into()), help: Some(help) }
    }

    /// The copier was told to stop before `path` was complete.
    pub fn stopped(path: Vec<u8>) -> Self {
        Failure { operation: "stop", path, reason: Reason::Stopped, help: None }
    }

    /// True if nothing was wrong but that the copier was told to stop.
    pub fn is_stop(&self) -> bool {
        matches!(self.reason, Reason::Stopped)
    }

    fn why(&self) -> String {
        match &self.reason {
            Reason::Errno(errno) => {
                let known = nix::errno::Errno::from_raw(errno.0);
                format!("{} ({known:?})", known.desc())
            }
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
        self.help.or_else(|| advice(self.operation, self.errno()?))
    }
}

/// What would help against an error of an operation.
fn advice(operation: &str, errno: i32) -> Option<&'static str> {
    Some(match errno {
        libc::EACCES | libc::EPERM => "copy as a user who may do this, or change the permissions",
        libc::ENOENT => "it vanished since its directory was listed; copy again if it is back",
        libc::EROFS => "mount the target's file system read-write, or choose another target",
        libc::ENOSPC => "free space or inodes in the target's file system and copy again",
        libc::EDQUOT => {
            "the quota in the target's file system is used up; free some and copy again"
        }
        libc::EMFILE | libc::ENFILE => "raise the limit of open files (ulimit -n)",
        libc::ENAMETOOLONG => "the target's file system takes shorter names only; rename it",
        libc::ELOOP => "it became a symbolic link since its directory was listed; copy again",
        libc::EISDIR | libc::ENOTDIR | libc::ENOTEMPTY if operation == "renameat2" => {
            "a directory of that name is in the target; move it away"
        }
        libc::EEXIST | libc::ENOTDIR => {
            "something else of that name is in the target; move it away"
        }
        libc::EXDEV | libc::EMLINK => {
            "the target cannot hold this hard link; copy the file by name"
        }
        libc::EIO => "the device reports an error; see the kernel's log",
        libc::EFBIG => "raise the limit of file sizes (ulimit -f), or choose another file system",
        _ => return None,
    })
}

/// Where failures are named and counted.
#[derive(Debug)]
pub struct Failures {
    json: bool,
    count: Cell<u64>,
    stopped: Cell<u64>,
}

impl Failures {
    /// None yet; `json` chooses how they are named on standard error.
    pub fn new(json: bool) -> Self {
        Failures { json, count: Cell::new(0), stopped: Cell::new(0) }
    }

    /// How many there were, those aside that a signal caused.
    pub fn count(&self) -> u64 {
        self.count.get()
    }

    /// How many files were given up because a signal said so.
    pub fn stopped(&self) -> u64 {
        self.stopped.get()
    }

    /// The line that names `failure`, unless it is only the signal's effect.
    pub fn take(&self, failure: &Failure) -> Option<String> {
        if failure.is_stop() {
            self.stopped.set(self.stopped.get() + 1);
            return None;
        }
        self.count.set(self.count.get() + 1);
        Some(if self.json { failure.to_json() } else { failure.to_text() })
    }
}

impl Failure {
    fn to_text(&self) -> String {
        let path = Printable(&self.path);
        let mut line = format!("aio2: {path}: {}: {}", self.operation, self.why());
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
            path: b"a\n\xff".to_vec(),
            reason: Reason::Errno(Errno(libc::EACCES)),
            help: None,
        };
        let line = failures.take(&failure).unwrap();
        for part in ["a\\n\\xff", "openat", "EACCES", "copy as a user"] {
            assert!(line.contains(part), "{line}");
        }
        assert!(!line.contains('\n'));
        assert_eq!(failures.count(), 1);
        assert_eq!(failures.take(&Failure::stopped(vec![])), None);
        assert_eq!((failures.count(), failures.stopped()), (1, 1));
    }
}
