//! The series' KUnit tests, on user mode Linux: ring and parser, on this host,
//! without a machine.

use super::boot::tail;
use super::{Workshop, build, tree};
use anyhow::{Context, Result};
use std::process::Stdio;

/// Builds and runs them; prints how many passed, and returns what was wrong.
pub fn run(shop: &Workshop) -> Result<Vec<String>> {
    let dir = shop.cache.path("build-kunit");
    let mut kunit = super::child("python3");
    if let Some((path, settings)) = build::compiler_cache(&dir, &shop.cache) {
        kunit.env("PATH", path).envs(settings);
    }
    let ran = kunit
        .current_dir(tree::source_dir(shop))
        .args(["tools/testing/kunit/kunit.py", "run", "--kunitconfig", "fs/aio2", "--build_dir"])
        .arg(&dir)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("python3 cannot be run")?;
    let said = String::from_utf8_lossy(&ran.stdout);
    println!("KUnit: {}", summary(&said).unwrap_or("no result"));
    if ran.status.success() {
        return Ok(Vec::new());
    }
    Ok(vec![format!("KUnit:\n{}", tail(&said, 40))])
}

/// What `kunit.py` says at its end of how many tests ran and passed.
fn summary(said: &str) -> Option<&str> {
    said.lines().find_map(|line| Some(line.split_once("Testing complete. ")?.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ran_is_told_by_the_last_line() {
        let said = "[14:50:38] [FAILED] b\n[14:50:38] ====\n\
                    [14:50:38] Testing complete. Ran 2 tests: passed: 1, failed: 1\n";
        assert_eq!(summary(said), Some("Ran 2 tests: passed: 1, failed: 1"));
        assert_eq!(summary("[14:50:38] Building KUnit Kernel ...\n"), None);
    }
}
