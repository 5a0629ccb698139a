//! `cargo xtask kernel check`: each patch by itself, as a reviewer would.
//!
//! Applies them with git am, reads them with checkpatch, has sparse read what
//! they added, with `--kunit` runs their KUnit tests, and with `--build` builds
//! after each of them, with the option on and off; with `--boot` it boots where
//! something became reachable. A complaint of checkpatch counts unless it is
//! explained.

use super::boot::{Machine, tail};
use super::build::{Build, IMAGE};
use super::config::{self, Config};
use super::guest::{self, Program};
use super::report::Report;
use super::series::Series;
use super::tree::{self, Applied, BASE_TAG, git};
use super::{Workshop, kunit, selftest, sparse, test};
use crate::packages;
use aio2_guest::FILES;
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
    /// Boot the kernel with as many patches as each line of kernel-patch/boots
    /// says, to the selftests that it has there
    #[arg(long)]
    boot: bool,
    /// Build and boot after these patches only: their numbers
    #[arg(long, value_name = "PATCH")]
    at: Vec<usize>,
}

/// Complaints of checkpatch about what is right as it is: lines of
/// `NUMBER TYPE reason`, the number's first digits for several patches.
const EXPLAINED: &str = "checkpatch.explained";

pub fn run(shop: &Workshop, args: &Args) -> Result<()> {
    packages::for_check(&shop.sh)?;
    if args.boot {
        packages::for_guest(&shop.sh)?;
    }
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
    if args.build || args.boot {
        wrong.extend(each_patch(shop, args, &series, &applied)?);
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

/// A setting of options over the minimal configuration: its name, the options,
/// and what the series touches that is not built then.
type Variant = (&'static str, &'static str, &'static str);

const ON: Variant = ("on", "", "");
const OFF: Variant = ("off", "CONFIG_AIO2=n\n", "");
/// What the series can do without; built with all patches.
const WITHOUT: &[Variant] = &[
    ("without-io_uring", "CONFIG_IO_URING=n\nCONFIG_AIO=n\n", "io_uring/tctx.o"),
    ("without-audit", "CONFIG_AUDIT=n\n", ""),
    ("without-seccomp", "CONFIG_SECCOMP=n\nCONFIG_SECCOMP_FILTER=n\n", "kernel/seccomp.o"),
    (
        "without-net",
        "CONFIG_NET=n\nCONFIG_INET=n\nCONFIG_UNIX=n\nCONFIG_SECCOMP_FILTER=n\nCONFIG_AUDIT=n\n\
         CONFIG_POSIX_MQUEUE=n\n",
        "",
    ),
    (
        "without-block",
        "CONFIG_BLOCK=n\nCONFIG_BLK_DEV=n\nCONFIG_BLK_DEV_LOOP=n\nCONFIG_BLK_DEV_NULL_BLK=n\n\
         CONFIG_VIRTIO_BLK=n\nCONFIG_EXT4_FS=n\n",
        "",
    ),
];

/// Builds after each patch what the series has touched so far, and all of the
/// kernel after the last; boots where it is to; returns what was wrong.
fn each_patch(
    shop: &Workshop,
    args: &Args,
    series: &Series,
    applied: &Applied,
) -> Result<Vec<String>> {
    let boots = if args.boot { boots(shop)? } else { Vec::new() };
    let source = checkout(shop, applied)?;
    let range = format!("{BASE_TAG}..{}", applied.commit);
    let commits = git(&shop.sh, &source, ["rev-list", "--reverse", range.as_str()]).read()?;
    let mut wrong = Vec::new();
    for (i, (commit, patch)) in commits.lines().zip(&series.patches).enumerate() {
        let (number, is_last) = (i + 1, i + 1 == series.patches.len());
        if !args.at.is_empty() && !args.at.contains(&number) {
            continue;
        }
        git(&shop.sh, &source, ["checkout", "--quiet", "--detach", commit]).run()?;
        let name = patch.file_name().unwrap_or_default().to_string_lossy();
        let mut say = |what: &str, start: Instant, result: Result<Vec<String>>| {
            let said = match &result {
                Ok(complaints) if complaints.is_empty() => String::from("ok"),
                Ok(complaints) => format!("{} complaints", complaints.len()),
                Err(_) => String::from("FAILED"),
            };
            println!("{name}: {what}: {said}, {} s", start.elapsed().as_secs());
            let complaints = result.unwrap_or_else(|error| vec![format!("{error:#}")]);
            wrong.extend(complaints.iter().map(|line| format!("{name}: {what}: {line}")));
        };
        if boots.contains(&number) {
            say("boot", Instant::now(), boot(shop, &source));
        }
        if !args.build {
            continue;
        }
        let touched = git(&shop.sh, &source, ["diff", "--name-only", BASE_TAG, commit]).read()?;
        let touched = targets(&touched, |file| source.join(file).exists());
        let whole = vec![String::from("vmlinux")];
        let what = if is_last { &whole } else { &touched };
        let mut builds = vec![(ON, what), (OFF, what)];
        if is_last {
            builds.extend(WITHOUT.iter().map(|variant| (*variant, &touched)));
        }
        for ((variant, settings, missing), what) in builds {
            let what: Vec<String> = what.iter().filter(|file| *file != missing).cloned().collect();
            // Those that share most of their objects share a directory.
            let place = if variant == OFF.0 { OFF.0 } else { ON.0 };
            let dir = shop.cache.path(&format!("{CHECK}/{place}"));
            say(variant, Instant::now(), build(shop, &source, &dir, settings, &what));
        }
    }
    Ok(wrong)
}

/// After which patches to boot: the numbers that begin the lines of a file.
fn boots(shop: &Workshop) -> Result<Vec<usize>> {
    let path = shop.patches().join("boots");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let number = |line: &str| line.split(' ').next()?.parse().ok();
    lines.map(|line| number(line).with_context(|| format!("kernel-patch/boots: {line}"))).collect()
}

/// What can be asked at each patch.
const SMOKE: Program = Program { package: "aio2-guest", binary: "smoke" };

/// Builds the minimal kernel of `source` and boots it to the selftests that
/// are there; returns what was wrong.
fn boot(shop: &Workshop, source: &Path) -> Result<Vec<String>> {
    let dir = shop.cache.path(&format!("{CHECK}/{}", ON.0));
    build(shop, source, &dir, ON.1, &[String::from("bzImage")])?;
    let temporary = tempfile::tempdir()?;
    let kernel = Build { source, dir: &dir, cache: &shop.cache };
    let selftests = selftest::build(&kernel, &temporary.path().join("selftests"))?;
    let smoke = format!("TMPDIR={FILES} /bin/{}", SMOKE.binary);
    let commands: Vec<String> =
        std::iter::once(smoke).chain(selftest::commands(&selftests)).collect();
    let disk = guest::file_system(temporary.path())?;
    let machine = Machine {
        kernel: dir.join(IMAGE),
        initrd: guest::initrd(shop, temporary.path(), &[SMOKE], &selftests, &commands, &disk)?,
        append: test::APPEND.into(),
        counted: false,
        plugin: None,
        timeout: Config::Minimal.patience(),
    };
    let output = machine.run(temporary.path())?;
    let report = Report::parse(&output.report);
    // The last line of each has its counts.
    for ran in &report.commands {
        println!("    {}: {}", ran.command, tail(&ran.output, 1));
    }
    test::complaints(shop, &machine, &output, &report)
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

/// Source and builds of the checks. They lie to each other as those of the
/// series do, so that ccache finds what was compiled there.
const CHECK: &str = "check";

/// A working tree of its own, so that the builds of the series stay as they
/// are; the objects are shared.
fn checkout(shop: &Workshop, applied: &Applied) -> Result<PathBuf> {
    let entry = format!("{CHECK}/linux");
    let dir = shop.cache.path(&entry);
    if shop.cache.stamp(CHECK).as_ref() != Some(&applied.base) || !dir.is_dir() {
        shop.cache.clear_stamp(CHECK)?;
        fs::create_dir_all(shop.cache.path(CHECK))?;
        let made = shop.cache.empty("check.new")?;
        let args = ["clone", "--quiet", "--shared", "--no-checkout"].map(Into::into);
        let paths = [tree::source_dir(shop).into_os_string(), made.clone().into_os_string()];
        git(&shop.sh, shop.root, args.into_iter().chain(paths)).run()?;
        shop.cache.replace(&entry, &made)?;
        shop.cache.set_stamp(CHECK, &applied.base)?;
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
    let build = Build { source, dir, cache: &shop.cache };
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
