//! What the tests of the command share: running it, and comparing trees.

#![allow(dead_code, reason = "each test crate uses its part")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The command, to be given arguments.
pub fn aio2() -> Command {
    Command::new(env!("CARGO_BIN_EXE_aio2"))
}

/// Runs the command to its end.
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    aio2().args(args).output().expect("the command was built beside this test")
}

/// Standard output as text.
pub fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Standard error as text.
pub fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Standard output as JSON.
pub fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", out(output), err(output)))
}

/// What a test sees of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: (i64, i64),
    pub size: u64,
    pub holes: bool,
    /// Its contents, or what a symbolic link says.
    pub contents: Vec<u8>,
    /// The first path, in order, of the file with this inode.
    pub same_as: PathBuf,
}

/// Everything under `root`, by its path from there; the root itself as "".
pub fn tree(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut paths = Vec::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(path) = pending.pop() {
        let full = root.join(&path);
        if fs::symlink_metadata(&full).unwrap().is_dir() {
            let entries = fs::read_dir(&full).unwrap();
            pending.extend(entries.map(|entry| path.join(entry.unwrap().file_name())));
        }
        paths.push(path);
    }
    paths.sort();
    let mut first = BTreeMap::new();
    paths.into_iter().map(|path| (path.clone(), see(root, path, &mut first))).collect()
}

fn see(root: &Path, path: PathBuf, first: &mut BTreeMap<u64, PathBuf>) -> Seen {
    let full = root.join(&path);
    let meta = fs::symlink_metadata(&full).unwrap();
    let kind = meta.file_type();
    let contents = if kind.is_symlink() {
        fs::read_link(&full).unwrap().into_os_string().into_encoded_bytes()
    } else if kind.is_file() {
        fs::read(&full).unwrap()
    } else if kind.is_block_device() || kind.is_char_device() {
        meta.rdev().to_string().into_bytes()
    } else {
        Vec::new()
    };
    Seen {
        mode: meta.mode(),
        owner: (meta.uid(), meta.gid()),
        mtime: (meta.mtime(), meta.mtime_nsec()),
        size: if kind.is_dir() { 0 } else { meta.size() },
        holes: kind.is_file() && meta.blocks() * 512 < meta.size(),
        contents,
        same_as: first.entry(meta.ino()).or_insert(path).clone(),
    }
}

/// Fails with the first difference of two trees.
pub fn assert_same(source: &Path, target: &Path) {
    let (source, target) = (tree(source), tree(target));
    let names = |tree: &BTreeMap<PathBuf, Seen>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&source), names(&target));
    for (path, seen) in &source {
        assert!(*seen == target[path], "{path:?}: {seen:?}\n{:?}", target[path]);
    }
}

/// Every name below `root` that is a temporary one.
pub fn leftovers(root: &Path) -> Vec<PathBuf> {
    let is_temporary = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        name.as_encoded_bytes().starts_with(b".aio2-cp.")
    };
    if root.exists() { tree(root).into_keys().filter(is_temporary).collect() } else { Vec::new() }
}

/// Fails unless every file under its final name in `target` has the contents
/// of the source; returns how many there are.
pub fn assert_complete(source: &Path, target: &Path) -> usize {
    let mut count = 0;
    if target.exists() {
        for (path, seen) in tree(target) {
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            if seen.mode & libc::S_IFMT == libc::S_IFREG && !name.starts_with(b".aio2-cp.") {
                let original = fs::read(source.join(&path)).unwrap();
                assert!(original == seen.contents, "{path:?} is half-written");
                count += 1;
            }
        }
    }
    count
}

/// Bytes that differ from place to place, `len` of them.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_ne_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Says that a test could not run here, and why.
pub fn skip(reason: &str) {
    println!("SKIP: {reason}");
}

/// A file system in memory, mounted until it is dropped.
pub struct Mounted(PathBuf);

impl Mounted {
    /// Mounts `bytes` of it at `path`, which is made.
    pub fn tmpfs(path: &Path, bytes: u64) -> Result<Self, String> {
        use nix::mount::{MsFlags, mount};
        fs::create_dir_all(path).map_err(|error| error.to_string())?;
        let options = format!("size={bytes}");
        let mounted =
            mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()));
        mounted.map_err(|errno| format!("a tmpfs cannot be mounted: {errno}"))?;
        Ok(Mounted(path.to_owned()))
    }

    /// Makes it read-only.
    pub fn read_only(&self) -> Result<(), String> {
        use nix::mount::{MsFlags, mount};
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        let mounted = mount(None::<&str>, &self.0, None::<&str>, flags, None::<&str>);
        mounted.map_err(|errno| format!("the tmpfs cannot be made read-only: {errno}"))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What stays mounted shows in the removal of the directory.
        let _unmounted = nix::mount::umount(&self.0);
    }
}

/// A directory that other users can look into.
pub fn open_dir() -> io::Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o777)).tempdir()
}
