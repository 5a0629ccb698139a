//! The cache: directories, and stamps that say what they were made from.
//!
//! A stamp is removed before the work that it stands for begins and written
//! when that is done, so work without a stamp is half-made, and work with
//! another stamp than wanted is stale. A lock keeps two runs from working in
//! the cache at once.

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// The cache's directory, locked by this run until it is dropped.
pub struct Cache {
    dir: PathBuf,
    _lock: File,
}

impl Cache {
    /// Opens the cache in `dir`, or where XDG says; waits for another run.
    pub fn open(dir: Option<PathBuf>) -> Result<Self> {
        let dir = match dir {
            Some(dir) => std::path::absolute(dir)?,
            None => default_dir()?,
        };
        fs::create_dir_all(&dir)
            .with_context(|| format!("the cache {} cannot be made; see --cache", dir.display()))?;
        let lock = File::create(dir.join("lock"))?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            eprintln!("waiting for another run that uses {}", dir.display());
            lock.lock()?;
        }
        Ok(Cache { dir, _lock: lock })
    }

    /// The path of an entry, there or not.
    pub fn path(&self, entry: &str) -> PathBuf {
        self.dir.join(entry)
    }

    /// What a piece of work was made from; None if it is not there or half-made.
    pub fn stamp<S: DeserializeOwned>(&self, name: &str) -> Option<S> {
        serde_json::from_slice(&fs::read(self.stamp_path(name)).ok()?).ok()
    }

    /// Says that a piece of work is complete, and what it was made from.
    pub fn set_stamp<S: Serialize>(&self, name: &str, stamp: &S) -> Result<()> {
        let path = self.stamp_path(name);
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec_pretty(stamp)?)?;
        fs::rename(&new, &path).with_context(|| format!("stamp {}", path.display()))
    }

    /// Says that a piece of work is being worked on.
    pub fn clear_stamp(&self, name: &str) -> Result<()> {
        absent_is_fine(fs::remove_file(self.stamp_path(name)))
    }

    /// An empty directory, there or not before.
    pub fn empty(&self, entry: &str) -> Result<PathBuf> {
        let path = self.path(entry);
        absent_is_fine(fs::remove_dir_all(&path))?;
        fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// Puts the directory `made` in the place of an entry.
    pub fn replace(&self, entry: &str, made: &Path) -> Result<()> {
        let path = self.path(entry);
        absent_is_fine(fs::remove_dir_all(&path))?;
        fs::rename(made, &path)
            .with_context(|| format!("{} cannot be renamed to {entry}", made.display()))
    }

    fn stamp_path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.stamp"))
    }
}

fn default_dir() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("XDG_CACHE_HOME").filter(|d| !d.is_empty()) {
        return Ok(PathBuf::from(dir).join("aio2"));
    }
    let home = std::env::home_dir().context("there is no home directory; give --cache")?;
    Ok(home.join(".cache/aio2"))
}

fn absent_is_fine(result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_complete_only_with_its_stamp() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let cache = Cache::open(Some(dir.path().into()))?;
        fs::write(cache.empty("tree.new")?.join("half"), "")?;
        let made = cache.empty("tree.new")?;
        assert!(!made.join("half").exists(), "leavings of a broken run are used");
        cache.replace("tree", &made)?;
        assert!(cache.path("tree").is_dir());
        assert_eq!(cache.stamp::<u32>("tree"), None, "complete before it was stamped");
        cache.set_stamp("tree", &7_u32)?;
        assert_eq!(cache.stamp("tree"), Some(7_u32));
        assert_eq!(cache.stamp::<String>("tree"), None, "a stamp of another form is none");
        cache.clear_stamp("tree")?;
        assert_eq!(cache.stamp::<u32>("tree"), None);
        cache.clear_stamp("tree")
    }
}
