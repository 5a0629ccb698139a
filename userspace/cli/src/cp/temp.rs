//! Temporary names: nothing half-written stands under its final name.
//!
//! Duty: make something under a hidden name in the target directory, and end
//! it: renamed over the final name, or removed. A name begins with
//! [`PREFIX`], so that what a killed run leaves behind can be found.

use super::entry::Entry;
use super::failure::Failure;
use super::fs::Fault;
use super::session::Session;
use std::ffi::{CStr, CString};
use std::rc::Rc;

/// What every temporary name begins with.
pub const PREFIX: &str = ".aio2-cp.";

/// How often another name is tried when one is taken.
const TRIES: u32 = 100;

/// Something under a temporary name in the directory of an entry's target.
#[must_use = "commit or discard it"]
#[derive(Debug)]
pub struct Temp<'a> {
    entry: &'a Entry,
    name: Rc<CStr>,
}

/// What became of the final name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// It is what was made.
    Done,
    /// Something was there, and `--no-clobber` keeps it.
    Kept,
}

impl<'a> Temp<'a> {
    /// Makes something by `make`, which must fail with EEXIST if the name is taken.
    pub async fn make<T>(
        cx: &Session,
        entry: &'a Entry,
        make: impl AsyncFn(&CStr) -> Result<T, Fault>,
    ) -> Result<(Self, T), Failure> {
        let mut tries = 0;
        loop {
            let name = cx.temporary_name(PREFIX);
            match make(&name).await {
                Ok(made) => return Ok((Temp { entry, name: name.into() }, made)),
                Err(fault) if fault.errno.0 == libc::EEXIST && tries < TRIES => tries += 1,
                Err(fault) => return Err(entry.at_target(fault)),
            }
        }
    }

    /// The temporary name.
    pub fn name(&self) -> &CStr {
        &self.name
    }

    /// Removes it.
    pub async fn discard(self, cx: &Session) {
        if let Err(fault) = cx.fs.unlinkat(&self.entry.into(), &self.name).await {
            cx.fail(&fault.at(self.entry.dir.target_path(&self.name)));
        }
    }

    /// Ends it as `result` says: commits on success, discards on failure.
    pub async fn settle(
        self,
        cx: &Session,
        result: Result<(), Failure>,
    ) -> Result<Commit, Failure> {
        match result {
            Ok(()) => self.commit(cx).await,
            Err(failure) => {
                self.discard(cx).await;
                Err(failure)
            }
        }
    }

    /// Gives it the final name, atomically.
    async fn commit(self, cx: &Session) -> Result<Commit, Failure> {
        let (into, to) = (self.entry.into(), &self.entry.target_name);
        let renamed = if cx.options.no_clobber {
            self.rename_to_free_name(cx).await
        } else {
            cx.fs.renameat2(&into, &self.name, to, 0).await
        };
        match renamed {
            Ok(()) => Ok(Commit::Done),
            Err(fault) => {
                let kept = cx.options.no_clobber && fault.errno.0 == libc::EEXIST;
                let failure = self.entry.at_target(fault);
                self.discard(cx).await;
                if kept { Ok(Commit::Kept) } else { Err(failure) }
            }
        }
    }

    /// Renames without replacing; by a hard link where the file system cannot.
    async fn rename_to_free_name(&self, cx: &Session) -> Result<(), Fault> {
        let (into, to) = (self.entry.into(), &self.entry.target_name);
        match cx.fs.renameat2(&into, &self.name, to, libc::RENAME_NOREPLACE).await {
            Err(fault) if fault.errno.0 == libc::EINVAL => {
                cx.fs.linkat((&into, &self.name), (&into, to)).await?;
                cx.fs.unlinkat(&into, &self.name).await
            }
            result => result,
        }
    }
}

/// The temporary name number `n` of process `pid`.
pub fn name(prefix: &str, pid: u32, n: u64) -> CString {
    CString::new(format!("{prefix}{pid}.{n}")).unwrap_or_default()
}
