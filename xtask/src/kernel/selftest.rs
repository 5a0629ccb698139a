//! The series' own selftests, as kselftest builds them.

use super::Workshop;
use super::build::Build;
use super::config::Config;
use super::tree;
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds them in `dir`, static, with the headers of the built kernel; none
/// if the series has none.
pub fn build(shop: &Workshop, config: Config, dir: &Path) -> Result<Vec<PathBuf>> {
    let source = tree::source_dir(shop);
    let tests = source.join("tools/testing/selftests/aio2");
    if !tests.exists() {
        return Ok(Vec::new());
    }
    let kernel = shop.cache.path(&format!("build-{config}"));
    Build { source: &source, dir: &kernel }.make(&["headers"])?;
    fs::create_dir_all(dir)?;
    let made = Command::new("make")
        .arg("-C")
        .arg(&tests)
        .arg(format!("OUTPUT={}", dir.display()))
        .arg("LDFLAGS=-static")
        .arg(format!("KHDR_INCLUDES=-isystem {}", kernel.join("usr/include").display()))
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
