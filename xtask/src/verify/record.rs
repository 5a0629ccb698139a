//! What the long runs came to, kept in the repository: `tests/verified.json`, with the
//! commit and the day of each.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

const FILE: &str = "tests/verified.json";

/// The last run of something.
#[derive(Clone, Serialize, Deserialize)]
pub struct Run {
    pub figures: String,
    /// With `+` if the tree had changes that were not committed.
    pub commit: String,
    /// Year, month and day.
    pub date: String,
}

fn said(root: &Path, program: &str, args: &[&str]) -> Result<String> {
    let out = Command::new(program).current_dir(root).args(args).output();
    let out = out.with_context(|| program.to_owned())?;
    let errors = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "{program} {}: {}", args.join(" "), errors.trim());
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

fn all(root: &Path) -> Result<BTreeMap<String, Run>> {
    let path = root.join(FILE);
    let Ok(bytes) = fs::read(&path) else { return Ok(BTreeMap::new()) };
    serde_json::from_slice(&bytes).with_context(|| path.display().to_string())
}

/// Keeps what a run came to, in the place of the one before.
///
/// # Errors
/// If the file cannot be read or written, or git says nothing.
pub fn keep(root: &Path, name: &str, figures: &str) -> Result<()> {
    let mut runs = all(root)?;
    // Several runs, one after the other, change this file and nothing else.
    let others = format!(":!{FILE}");
    let of = ["status", "--porcelain", "--untracked-files=no", "--", ".", &others];
    let changes = said(root, "git", &of)?;
    let commit = said(root, "git", &["rev-parse", "--short", "HEAD"])?;
    let commit = commit + if changes.is_empty() { "" } else { "+" };
    let date = said(root, "date", &["+%F"])?;
    runs.insert(name.to_owned(), Run { figures: figures.to_owned(), commit, date });
    let text = serde_json::to_string_pretty(&runs)? + "\n";
    fs::write(root.join(FILE), text).context(FILE)
}

/// The last run of this.
///
/// # Errors
/// If the file is not what it should be.
pub fn last(root: &Path, name: &str) -> Result<Option<Run>> {
    Ok(all(root)?.remove(name))
}

/// Commit and day of the last change of a file, for what keeps its figures itself.
///
/// # Errors
/// If git says nothing.
pub fn changed(root: &Path, file: &str) -> Result<String> {
    said(root, "git", &["log", "-1", "--format=%cs, %h", "--", file])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_can_be_read() {
        let runs = all(crate::root()).unwrap();
        for (name, run) in runs {
            assert!(!run.figures.is_empty() && run.date.len() == 10, "{name}");
        }
    }
}
