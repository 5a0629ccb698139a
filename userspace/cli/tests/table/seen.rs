//! What is in a directory: each name with all that is compared, as one line.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Times before are those of a source; later ones are "now".
const OLD: i64 = 1_700_000_000;
/// The time of what is in a target already, as a row's setup makes it.
const THERE: &str = "1100000000.750000000";

/// Everything under `root`, by its path from there.
pub fn everything(root: &Path) -> BTreeMap<String, String> {
    let mut first = BTreeMap::new();
    let mut all = BTreeMap::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(path) = pending.pop() {
        let full = root.join(&path);
        let Ok(entries) = fs::read_dir(&full) else { continue };
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            let path = path.join(name);
            let meta = fs::symlink_metadata(root.join(&path)).unwrap();
            let shown = path.display().to_string();
            let same = first.entry((meta.dev(), meta.ino())).or_insert_with(|| shown.clone());
            let same = if *same == shown { String::new() } else { format!(" same as {same}") };
            all.insert(shown, format!("{}{same}", line(&root.join(&path), &meta)));
            if meta.is_dir() {
                pending.push(path);
            }
        }
    }
    all
}

/// The line of a directory that was there before, without its time: a rename in
/// it changes that, which writing to a file does not.
pub fn renamed_in(line: &str) -> String {
    match line.strip_prefix("directory") {
        Some(_) => line.replace(THERE, "now"),
        None => line.to_owned(),
    }
}

fn line(path: &Path, meta: &fs::Metadata) -> String {
    let kind = meta.file_type();
    let what = if kind.is_symlink() {
        format!("symlink to {}", fs::read_link(path).unwrap().display())
    } else if kind.is_dir() {
        "directory".into()
    } else if kind.is_file() {
        let holes = meta.size() > 100_000 && meta.blocks() * 512 < meta.size();
        format!("file {}{}", contents(path, meta.size()), if holes { " holes" } else { "" })
    } else if kind.is_fifo() {
        "fifo".into()
    } else if kind.is_socket() {
        "socket".into()
    } else {
        format!("device {}", meta.rdev())
    };
    let time = match meta.mtime() {
        ..OLD => format!("{}.{}", meta.mtime(), meta.mtime_nsec()),
        _ => "now".into(),
    };
    let mode = if kind.is_symlink() { 0o777 } else { meta.mode() & 0o7777 };
    let (uid, gid) = (meta.uid(), meta.gid());
    format!("{what}, {mode:o} {uid}:{gid} {time}{}", attributes(path))
}

fn contents(path: &Path, size: u64) -> String {
    let mut hasher = DefaultHasher::new();
    let mut file = fs::File::open(path).unwrap();
    let mut start = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    while let Ok(n @ 1..) = file.read(&mut buffer) {
        hasher.write(&buffer[..n]);
        start.extend(&buffer[..n.min(20_usize.saturating_sub(start.len()))]);
    }
    let start = String::from_utf8_lossy(&start).trim_end().to_owned();
    if size <= 20 { format!("'{start}'") } else { format!("{size} {:x}", hasher.finish()) }
}

/// Extended attributes, access control lists among them.
fn attributes(path: &Path) -> String {
    let mut names = vec![0; 4096];
    let Ok(len) = rustix::fs::llistxattr(path, names.as_mut_slice()) else { return String::new() };
    let mut shown = Vec::new();
    for name in names[..len].split(|&b| b == 0).filter(|name| !name.is_empty()) {
        let name = std::ffi::OsStr::from_bytes(name);
        let mut value = vec![0; 4096];
        let len = rustix::fs::lgetxattr(path, name, value.as_mut_slice()).unwrap_or(0);
        let hex: String = value[..len].iter().map(|b| format!("{b:02x}")).collect();
        shown.push(format!(" {}={hex}", name.display()));
    }
    shown.sort();
    shown.concat()
}
