//! The series' own selftests, as kselftest builds them.

use super::build::Build;
use aio2_guest::FILES;
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds them in `dir`, static, with the headers of a built kernel; none if its
/// source has none.
pub fn build(kernel: &Build<'_>, dir: &Path) -> Result<Vec<PathBuf>> {
    let tests = kernel.source.join("tools/testing/selftests/aio2");
    if !tests.exists() {
        return Ok(Vec::new());
    }
    kernel.make(&["headers"])?;
    fs::create_dir_all(dir)?;
    let made = Command::new("make")
        .arg("-C")
        .arg(&tests)
        .arg(format!("OUTPUT={}", dir.display()))
        .arg("LDFLAGS=-static")
        .arg(format!("KHDR_INCLUDES=-isystem {}", kernel.dir.join("usr/include").display()))
        .output()
        .context("make cannot be run")?;
    if !made.status.success() {
        bail!(
            "the selftests in {} do not build:\n{}",
            tests.display(),
            String::from_utf8_lossy(&made.stderr)
        );
    }
    let mut programs = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let data = entry.metadata()?;
        if data.is_file() && data.permissions().mode() & 0o111 != 0 {
            programs.push(entry.path());
        }
    }
    programs.sort();
    Ok(programs)
}

/// The commands that run them in the guest. What they ask of the page cache
/// needs a file system that can say no.
pub fn commands(programs: &[PathBuf]) -> impl Iterator<Item = String> {
    let names = programs.iter().filter_map(|path| path.file_name()?.to_str());
    names.map(|name| format!("TMPDIR={FILES} /bin/{name}"))
}
