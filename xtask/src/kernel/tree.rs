//! The source: unpacked once into a git repository, the series on top of it.
//!
//! One working tree serves all series: another series resets and applies
//! again, so that only what the patches touch is newer, and a build that
//! continues is short.

use super::Workshop;
use super::series::{Base, Series};
use crate::packages;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};
use xshell::{Cmd, Shell, cmd};

/// The source in the cache, and its stamp.
const SOURCE: &str = "linux";
/// The stamp of the series in it.
const APPLIED: &str = "linux-applied";
/// The tag of the source without the series.
pub const BASE_TAG: &str = "base";

/// Source with a series applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The package that was unpacked.
    pub base: Base,
    /// Hash of the series.
    pub series: String,
    /// The commit of the last patch.
    pub commit: String,
}

/// Where the source stands.
pub fn source_dir(shop: &Workshop) -> PathBuf {
    shop.cache.path(SOURCE)
}

/// Unpacks the base's source unless it is there; says what was unpacked.
pub fn fetch(shop: &Workshop, wanted: &Base) -> Result<Base> {
    packages::for_build(&shop.sh, &wanted.package, &wanted.tarball)?;
    let installed = packages::installed_version(&shop.sh, &wanted.package)
        .unwrap_or_else(|| String::from("unknown"));
    if installed != wanted.version {
        eprintln!(
            "note: {} is installed as {installed}; the series was made on {} (kernel-patch/BASE)",
            wanted.package, wanted.version
        );
    }
    let base = Base { version: installed, ..wanted.clone() };
    if shop.cache.stamp::<Base>(SOURCE).as_ref() == Some(&base) && source_dir(shop).is_dir() {
        return Ok(base);
    }
    let start = Instant::now();
    shop.cache.clear_stamp(APPLIED)?;
    shop.cache.clear_stamp(SOURCE)?;
    let made = shop.cache.empty("linux.new")?;
    unpack(&shop.sh, &base, &made)?;
    shop.cache.replace(SOURCE, &made)?;
    shop.cache.set_stamp(SOURCE, &base)?;
    println!("unpacked {} {} in {} s", base.package, base.version, start.elapsed().as_secs());
    Ok(base)
}

/// Makes a repository of the source in the empty directory `dir`.
fn unpack(sh: &Shell, base: &Base, dir: &Path) -> Result<()> {
    let tarball = &base.tarball;
    // Touched: a build that is there must find everything newer.
    cmd!(sh, "tar -xf {tarball} -C {dir} --strip-components=1 --touch")
        .quiet()
        .run()
        .with_context(|| format!("{} cannot be unpacked", tarball.display()))?;
    git(sh, dir, ["init", "--quiet", "--initial-branch=aio2"]).run()?;
    // Forced: Debian's .gitignore ends by ignoring everything. The threshold
    // makes one pack rather than a file for each blob, of which there are 80,000.
    git(sh, dir, ["-c", "core.bigFileThreshold=1", "-c", "core.compression=1"])
        .args(["add", "--all", "--force", "."])
        .run()?;
    let subject = format!("{} {}", base.package, base.version);
    git(sh, dir, ["commit", "--quiet", "--no-verify", "-m", subject.as_str()]).run()?;
    git(sh, dir, ["tag", BASE_TAG]).run()?;
    Ok(())
}

/// Applies the series to the source unless it is applied.
pub fn apply(shop: &Workshop, series: &Series) -> Result<Applied> {
    let base = fetch(shop, &series.base)?;
    let (sh, dir) = (&shop.sh, source_dir(shop));
    if let Some(applied) = shop.cache.stamp::<Applied>(APPLIED)
        && applied.base == base
        && applied.series == series.hash
        && is_clean_at(sh, &dir, &applied.commit)
    {
        return Ok(applied);
    }
    shop.cache.clear_stamp(APPLIED)?;
    let before = patched_files(sh, &dir)?;
    am(sh, &dir, BASE_TAG, &series.patches)?;
    keep_times(&before)?;
    let commit = git(sh, &dir, ["rev-parse", "HEAD"]).read()?;
    let applied = Applied { base, series: series.hash.clone(), commit };
    shop.cache.set_stamp(APPLIED, &applied)?;
    println!("applied {} patches to {}", series.patches.len(), dir.display());
    Ok(applied)
}

/// A file of the source as it was before.
struct Was {
    path: PathBuf,
    contents: Vec<u8>,
    modified: SystemTime,
}

/// The files that the series that is applied now has touched.
fn patched_files(sh: &Shell, dir: &Path) -> Result<Vec<Was>> {
    let names = git(sh, dir, ["diff", "--name-only", BASE_TAG, "HEAD"]).read()?;
    let mut files = Vec::new();
    for path in names.lines().map(|name| dir.join(name)).filter(|path| path.is_file()) {
        let modified = fs::metadata(&path)?.modified()?;
        files.push(Was { contents: fs::read(&path)?, modified, path });
    }
    Ok(files)
}

/// Gives files that are what they were their old times: applying writes every
/// file again, and a table of system calls that looks new rebuilds everything.
fn keep_times(before: &[Was]) -> Result<()> {
    for was in before {
        if fs::read(&was.path).is_ok_and(|now| now == was.contents) {
            fs::File::options().write(true).open(&was.path)?.set_modified(was.modified)?;
        }
    }
    Ok(())
}

/// Puts the working tree `dir` at `start` and applies patches there.
pub fn am(sh: &Shell, dir: &Path, start: &str, patches: &[PathBuf]) -> Result<()> {
    // There is one to abort only if a run was broken off.
    let _ = git(sh, dir, ["am", "--abort"]).ignore_stdout().ignore_stderr().run();
    git(sh, dir, ["reset", "--quiet", "--hard", start]).run()?;
    // What a broken run left: -x, since the .gitignore hides all of it.
    git(sh, dir, ["clean", "-fdxq"]).run()?;
    for patch in patches {
        let file = patch.as_os_str();
        let args = [OsStr::new("am"), OsStr::new("--quiet"), file];
        let output = git(sh, dir, args).ignore_status().output()?;
        if !output.status.success() {
            bail!(
                "{} does not apply in {}:\n{}{}",
                patch.display(),
                dir.display(),
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
    Ok(())
}

/// Whether the working tree stands at `commit` without a change.
fn is_clean_at(sh: &Shell, dir: &Path, commit: &str) -> bool {
    let head = git(sh, dir, ["rev-parse", "HEAD"]).ignore_stderr().read();
    let status = git(sh, dir, ["status", "--porcelain", "--untracked-files=no"]).read();
    matches!((head, status), (Ok(head), Ok(status)) if head == commit && status.is_empty())
}

/// git in `dir`, untouched by the user's settings and hooks.
pub fn git<'a>(
    sh: &'a Shell,
    dir: &Path,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Cmd<'a> {
    cmd!(sh, "git -C {dir}")
        .args(["-c", "user.name=aio2", "-c", "user.email=aio2@localhost"])
        .args(["-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false"])
        .args(["-c", "gc.auto=0", "-c", "core.looseCompression=1"])
        .args(args)
        .quiet()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_applies_from_whatever_state_a_broken_run_left() -> Result<()> {
        let (sh, dir, out) = (Shell::new()?, tempfile::tempdir()?, tempfile::tempdir()?);
        let (dir, out) = (dir.path(), out.path());
        git(&sh, dir, ["init", "--quiet"]).run()?;
        fs::write(dir.join(".gitignore"), "/*\n")?;
        fs::write(dir.join("a"), "one\n")?;
        git(&sh, dir, ["add", "--all", "--force", "."]).run()?;
        git(&sh, dir, ["commit", "--quiet", "-m", "base"]).run()?;
        git(&sh, dir, ["tag", BASE_TAG]).run()?;
        fs::write(dir.join("a"), "two\n")?;
        fs::write(dir.join("new"), "new\n")?;
        git(&sh, dir, ["add", "--all", "--force", "."]).run()?;
        git(&sh, dir, ["commit", "--quiet", "-m", "change"]).run()?;
        let args = ["format-patch", "--quiet", "-o"].map(OsStr::new);
        git(&sh, dir, args.into_iter().chain([out.as_os_str(), OsStr::new(BASE_TAG)])).run()?;
        let patch = out.join("0001-change.patch");

        let head = git(&sh, dir, ["rev-parse", "HEAD"]).read()?;
        assert!(is_clean_at(&sh, dir, &head));
        fs::write(dir.join("a"), "edited\n")?;
        assert!(!is_clean_at(&sh, dir, &head), "an edit by hand is not seen");
        assert!(am(&sh, dir, BASE_TAG, &[patch.clone(), patch.clone()]).is_err(), "applies twice");
        am(&sh, dir, BASE_TAG, std::slice::from_ref(&patch))?;
        assert_eq!(fs::read_to_string(dir.join("a"))?, "two\n");

        let before = patched_files(&sh, dir)?;
        assert_eq!(before.len(), 2);
        fs::write(dir.join("new"), "edited\n")?;
        am(&sh, dir, BASE_TAG, &[patch])?;
        keep_times(&before)?;
        assert_eq!(fs::metadata(dir.join("a"))?.modified()?, before[0].modified);
        assert_eq!(fs::read_to_string(dir.join("new"))?, "new\n");
        Ok(())
    }
}
