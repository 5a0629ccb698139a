//! `cargo xtask kernel check`: each patch by itself, as a reviewer would.
//!
//! Applies them with git am, reads them with checkpatch, has sparse read what
//! they added, with `--kunit` runs their KUnit tests, and with `--build` builds
//! after each of them, with the option on and off. A complaint of checkpatch
//! counts unless it is explained.

use super::build::Build;
use super::config::{self, Config};
use super::series::Series;
use super::tree::{self, Applied, BASE_TAG, git};
use super::{Workshop, kunit, sparse};
use crate::packages;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// What to check beyond what takes a minute.
#[derive(clap::Args)]
pub struct Args {
    /// Build after each patch what it touches, with AIO2 on and off, and all
    /// of the kernel after the last: half an hour
    #[arg(long)]
    build: bool,
    /// Run the KUnit tests, on user mode Linux: some minutes to build it once
    #[arg(long)]
    kunit: bool,
}

/// Complaints of checkpatch about what is right as it is: lines of
/// `NUMBER TYPE reason`, the number's first digits for several patches.
const EXPLAINED: &str = "checkpatch.explained";

pub fn run(shop: &Workshop, args: &Args) -> Result<()> {
    packages::for_check(&shop.sh)?;
    let series = shop.series()?;
    let applied = tree::apply(shop, &series)?;
    println!("git am: {} patches apply to {}", series.patches.len(), applied.base.version);

    let mut wrong = style(shop, &series)?;
    println!("checkpatch --strict: {} unexplained", wrong.len());
    let warnings = sparse::run(shop, &applied)?;
    println!("sparse: {} warnings about added lines", warnings.len());
    wrong.extend(warnings);
    if args.kunit {
        wrong.extend(kunit::run(shop)?);
    }
    if args.build {
        wrong.extend(each_patch(shop, &series, &applied)?);
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{}", wrong.join("\n"))
}

/// What checkpatch says of the patches and no line explains.
fn style(shop: &Workshop, series: &Series) -> Result<Vec<String>> {
    let explained = fs::read_to_string(shop.patches().join(EXPLAINED)).unwrap_or_default();
    let source = tree::source_dir(shop);
    let mut wrong = Vec::new();
    for patch in &series.patches {
        let said = Command::new("perl")
            .arg("scripts/checkpatch.pl")
            .args(["--strict", "--terse", "--show-types", "--no-summary"])
            .arg(patch)
            .current_dir(&source)
            .output()
            .context("perl cannot be run")?;
        let said = String::from_utf8_lossy(&said.stdout);
        let name = patch.file_name().unwrap_or_default().to_string_lossy();
        wrong.extend(unexplained(&said, &name, &explained));
    }
    Ok(wrong)
}

/// The complaints in checkpatch's terse output about the patch `name`, without
/// those that a line of `explained` names by the patch's number and the type.
fn unexplained(said: &str, name: &str, explained: &str) -> Vec<String> {
    let is_explained = |kind: &str| {
        explained.lines().any(|line| {
            let mut words = line.split_whitespace();
            let number = words.next().unwrap_or_default();
            !number.is_empty()
                && name.starts_with(number)
                && words.next() == Some(kind)
                && words.next().is_some()
        })
    };
    let complaint = |line: &str| {
        let at = ["ERROR:", "WARNING:", "CHECK:"].iter().find_map(|level| line.find(level))?;
        let kind = line[at..].split(':').nth(1)?;
        (!is_explained(kind)).then(|| format!("{name}: {}", &line[at..]))
    };
    said.lines().filter_map(complaint).collect()
}

/// A setting of options over the minimal configuration, and its name.
type Variant = (&'static str, &'static str);

const ON: Variant = ("on", "");
const OFF: Variant = ("off", "CONFIG_AIO2=n\n");
/// What the series can do without; built with all patches.
const WITHOUT: &[Variant] = &[
    ("without-io_uring", "CONFIG_IO_URING=n\nCONFIG_AIO=n\n"),
    ("without-audit", "CONFIG_AUDIT=n\n"),
    ("without-seccomp", "CONFIG_SECCOMP=n\nCONFIG_SECCOMP_FILTER=n\n"),
    ("without-net", "CONFIG_NET=n\nCONFIG_INET=n\nCONFIG_UNIX=n\nCONFIG_SECCOMP_FILTER=n\n"),
    (
        "without-block",
        "CONFIG_BLOCK=n\nCONFIG_BLK_DEV=n\nCONFIG_BLK_DEV_LOOP=n\nCONFIG_BLK_DEV_NULL_BLK=n\n\
         CONFIG_VIRTIO_BLK=n\nCONFIG_EXT4_FS=n\n",
    ),
];

/// Builds after each patch what the series has touched so far, and all of the
/// kernel after the last; returns what the compiler said.
fn each_patch(shop: &Workshop, series: &Series, applied: &Applied) -> Result<Vec<String>> {
    let source = checkout(shop, applied)?;
    let range = format!("{BASE_TAG}..{}", applied.commit);
    let commits = git(&shop.sh, &source, ["rev-list", "--reverse", range.as_str()]).read()?;
    let last = series.patches.len().saturating_sub(1);
    let mut wrong = Vec::new();
    for (i, (commit, patch)) in commits.lines().zip(&series.patches).enumerate() {
        git(&shop.sh, &source, ["checkout", "--quiet", "--detach", commit]).run()?;
        let touched = git(&shop.sh, &source, ["diff", "--name-only", BASE_TAG, commit]).read()?;
        let touched = targets(&touched, |file| source.join(file).exists());
        let name = patch.file_name().unwrap_or_default().to_string_lossy();
        let mut builds: Vec<(Variant, bool)> = vec![(ON, i == last), (OFF, i == last)];
        if i == last {
            builds.extend(WITHOUT.iter().map(|variant| (*variant, false)));
        }
        for ((variant, settings), whole) in builds {
            let start = Instant::now();
            // Those that share most of their objects share a directory.
            let place = if variant == OFF.0 { OFF.0 } else { ON.0 };
            let dir = shop.cache.path(&format!("check-{place}"));
            let what = if whole { vec![String::from("vmlinux")] } else { touched.clone() };
            let result = build(shop, &source, &dir, settings, &what);
            let said = match &result {
                Ok(warnings) if warnings.is_empty() => "ok".into(),
                Ok(warnings) => format!("{} warnings", warnings.len()),
                Err(_) => String::from("FAILED"),
            };
            println!("{name}: {variant}: {said}, {} s", start.elapsed().as_secs());
            match result {
                Ok(warnings) => wrong.extend(warnings),
                Err(error) => wrong.push(format!("{name}: {variant}: {error:#}")),
            }
        }
    }
    Ok(wrong)
}

/// What make has to build of the files that a patch touches: the object of a
/// source; of AIO2's own directory all that the configuration asks for.
fn targets(touched: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    const OWN: &str = "fs/aio2/";
    let mut targets: Vec<String> = touched
        .lines()
        .filter(|file| !file.starts_with("tools/") && exists(file))
        .filter_map(|file| match file.strip_suffix(".c") {
            Some(_) if file.starts_with(OWN) => Some(OWN.into()),
            Some(stem) => Some(format!("{stem}.o")),
            None => None,
        })
        .collect();
    targets.sort();
    targets.dedup();
    targets
}

/// A working tree of its own, so that the builds of the series stay as they
/// are; the objects are shared.
fn checkout(shop: &Workshop, applied: &Applied) -> Result<PathBuf> {
    const ENTRY: &str = "check";
    let dir = shop.cache.path(ENTRY);
    if shop.cache.stamp(ENTRY).as_ref() != Some(&applied.base) || !dir.is_dir() {
        shop.cache.clear_stamp(ENTRY)?;
        let made = shop.cache.empty("check.new")?;
        let args = ["clone", "--quiet", "--shared", "--no-checkout"].map(Into::into);
        let paths = [tree::source_dir(shop).into_os_string(), made.clone().into_os_string()];
        git(&shop.sh, shop.root, args.into_iter().chain(paths)).run()?;
        shop.cache.replace(ENTRY, &made)?;
        shop.cache.set_stamp(ENTRY, &applied.base)?;
    }
    // What a broken run left.
    git(&shop.sh, &dir, ["checkout", "--quiet", "--force", "--detach", BASE_TAG]).run()?;
    Ok(dir)
}

/// Builds `what` in the minimal configuration with `settings` over it; returns
/// the warnings of the compiler.
fn build(
    shop: &Workshop,
    source: &Path,
    dir: &Path,
    settings: &str,
    what: &[String],
) -> Result<Vec<String>> {
    fs::create_dir_all(dir)?;
    let mut fragments = Config::Minimal.fragments(shop);
    let text = config::text(&fragments)? + settings;
    fragments.push(dir.join("settings.config"));
    fs::write(dir.join("settings.config"), settings)?;
    let build = Build { source, dir };
    build.configure(&fragments, &text)?;
    let what: Vec<&str> = what.iter().map(String::as_str).collect();
    // Without a target make would build everything.
    build.make(if what.is_empty() { &["prepare"] } else { &what })?;
    let log = fs::read_to_string(dir.join("make.log"))?;
    Ok(log.lines().filter(|line| line.contains(" warning: ")).map(String::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
/p/0003-x.patch:12: WARNING:FILE_PATH_CHANGES: added, moved or deleted file(s)
/p/0003-x.patch:40: CHECK:SPACING: spaces preferred around that '+' (ctx:VxV)
/p/0003-x.patch:41: ERROR:CODE_INDENT: code indent should use tabs where possible
total: 1 errors, 1 warnings
";

    #[test]
    fn a_complaint_counts_unless_it_is_explained_for_that_patch() {
        let said = |explained| unexplained(SAID, "0003-x.patch", explained).len();
        assert_eq!(said(""), 3);
        assert_eq!(said("0003 FILE_PATH_CHANGES MAINTAINERS comes in the last patch\n"), 2);
        assert_eq!(said("0003 FILE_PATH_CHANGES\n"), 3, "no reason is given");
        assert_eq!(said("0004 FILE_PATH_CHANGES another patch\n\n"), 3);
    }

    #[test]
    fn what_a_patch_touches_is_built() {
        let touched = "Kbuild\nfs/aio2/a.c\nfs/aio2/b.c\nio_uring/io-wq.c\ninclude/x.h\n\
                       kernel/gone.c\ntools/testing/selftests/aio2/t.c\n";
        let targets = targets(touched, |file| file != "kernel/gone.c");
        assert_eq!(targets, ["fs/aio2/", "io_uring/io-wq.o"]);
    }
}
