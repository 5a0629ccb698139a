//! What sparse says of the lines that the series added.
//!
//! The kernel is not free of warnings; those about lines that were there
//! before are left out.

use super::Workshop;
use super::build::{self, Build};
use super::config::Config;
use super::tree::{self, Applied, BASE_TAG, git};
use anyhow::Result;
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;

/// Added lines of a file, from 1.
type Added = BTreeMap<String, Vec<Range<usize>>>;

/// Runs sparse over every file of the minimal build that the series touches;
/// returns its warnings about added lines.
pub fn run(shop: &Workshop, applied: &Applied) -> Result<Vec<String>> {
    let source = tree::source_dir(shop);
    let diff = ["diff", "--unified=0", "--no-color", "--no-ext-diff", BASE_TAG];
    let diff = git(&shop.sh, &source, diff.into_iter().chain([applied.commit.as_str()])).read()?;
    let added = added(&diff);
    build::image(shop, applied, Config::Minimal)?;
    let dir = shop.cache.path("build-minimal");
    let objects: Vec<String> = added
        .keys()
        .filter_map(|file| Some(format!("{}.o", file.strip_suffix(".c")?)))
        .filter(|object| dir.join(object).exists())
        .collect();
    if objects.is_empty() {
        return Ok(Vec::new());
    }
    let mut args = vec!["C=2", "CF=-D__CHECK_ENDIAN__"];
    args.extend(objects.iter().map(String::as_str));
    Build { source: &source, dir: &dir, cache: &shop.cache }.make(&args)?;
    let said = fs::read_to_string(dir.join("make.log"))?;
    let mut warnings: Vec<String> = said
        .lines()
        .filter(|line| is_about(line, &added))
        .map(|line| format!("sparse: {line}"))
        .collect();
    warnings.sort();
    warnings.dedup();
    Ok(warnings)
}

/// The lines that a diff without context adds.
fn added(diff: &str) -> Added {
    let mut added = Added::new();
    let mut file = String::new();
    for line in diff.lines() {
        if let Some(name) = line.strip_prefix("+++ b/") {
            file = name.into();
        } else if let Some(hunk) = line.strip_prefix("@@ -") {
            let Some(new) = hunk.split(' ').nth(1).and_then(|new| new.strip_prefix('+')) else {
                continue;
            };
            let (start, count) = new.split_once(',').unwrap_or((new, "1"));
            if let (Ok(start), Ok(count)) = (start.parse::<usize>(), count.parse::<usize>()) {
                added.entry(file.clone()).or_default().push(start..start + count);
            }
        }
    }
    added
}

/// Whether a line of sparse, `path:line:column: warning: …`, is about an
/// added one; the path may be absolute or relative to any directory.
fn is_about(said: &str, added: &Added) -> bool {
    let mut parts = said.splitn(4, ':');
    let (Some(path), Some(line), Some(_), Some(rest)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let Ok(line) = line.parse::<usize>() else { return false };
    let is_told =
        rest.trim_start().starts_with("warning:") || rest.trim_start().starts_with("error:");
    let in_file = |(file, ranges): (&String, &Vec<Range<usize>>)| {
        (path == file || path.ends_with(&format!("/{file}")))
            && ranges.iter().any(|range| range.contains(&line))
    };
    is_told && added.iter().any(in_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_warnings_about_added_lines_count() {
        let added = added(
            "+++ b/fs/aio2/ring.c\n@@ -0,0 +1,90 @@\n+x\n\
             +++ b/kernel/seccomp.c\n@@ -10,2 +12 @@ int f(void)\n@@ -40 +41,0 @@\n",
        );
        let is_about = |said| is_about(said, &added);
        assert!(is_about("../fs/aio2/ring.c:3:9: warning: incorrect type"));
        assert!(is_about("kernel/seccomp.c:12:1: warning: symbol 'f' was not declared"));
        assert!(is_about("/src/kernel/seccomp.c:12:1: error: bad constant"));
        assert!(!is_about("/src/kernel/seccomp.c:13:1: warning: old"));
        assert!(!is_about("/src/kernel/seccomp.c:41:1: warning: only removed there"));
        assert!(!is_about("/src/fs/aio.c:3:9: warning: another file"));
        assert!(!is_about("  CHECK   fs/aio2/ring.c"));
    }
}
