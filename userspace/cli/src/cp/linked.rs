//! Files with several names, until all of them were met.
//!
//! Duty: the one table that grows with the tree: an inode with several names,
//! not all met yet, costs its path and about 200 bytes.

use super::stat::{Identity, Stat};
use std::collections::HashMap;
use std::ffi::CString;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Where the first name of a file was copied to.
#[derive(Debug)]
pub struct First {
    /// The directory, from the base.
    pub dir: Vec<u8>,
    pub name: CString,
    /// Which file the copy is: the name may have been given to another since.
    pub copy: Identity,
}

/// A file with several names.
#[derive(Debug)]
pub struct Linked {
    /// Locked while its contents are copied: the other names wait for them.
    pub first: Mutex<Option<First>>,
    names_left: AtomicUsize,
}

/// The files with several names of which not all were met.
#[derive(Debug, Default)]
pub struct Links {
    files: Mutex<HashMap<Identity, Arc<Linked>>>,
    most: AtomicUsize,
}

impl Links {
    /// Most files that were in the table at any time.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// The file, which is one name nearer to being forgotten.
    ///
    /// If symbolic links are `followed`, nobody knows how many names will come.
    pub fn meet(&self, stat: &Stat, followed: bool) -> Arc<Linked> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let linked = files.entry(stat.identity()).or_insert_with(|| {
            let names_left =
                AtomicUsize::new(if followed { usize::MAX } else { stat.links() as usize });
            Arc::new(Linked { first: Mutex::default(), names_left })
        });
        let linked = Arc::clone(linked);
        // Under the lock of the table: no other thread counts meanwhile.
        if linked.names_left.fetch_sub(1, Ordering::Relaxed) <= 1 {
            files.remove(&stat.identity());
        }
        self.most.fetch_max(files.len(), Ordering::Relaxed);
        linked
    }
}
