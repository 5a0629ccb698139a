//! `cargo xtask fuzz`: the fuzz targets, with sanitizers, for some time each.
//!
//! Their bodies are functions of the conformance crate, which `cargo test` runs
//! on the saved corpus.

use crate::jobs::at_a_time;
use crate::packages::{self, Unavailable};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use xshell::{Shell, cmd};

/// Which target, and for how long.
#[derive(clap::Args)]
pub struct Args {
    /// Target to run; all, one after the other, if not given
    target: Option<String>,
    /// Seconds for each
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Targets that run at a time; 0: as many as there are processors
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Print SKIP with the reason, and succeed, if packages are missing and cannot be installed
    #[arg(long)]
    or_skip: bool,
    /// Keep what was found new in the committed corpus, minimized
    #[arg(long)]
    save: bool,
    /// Instead: make this trace (or input of engine_ops) that fails as small as can be
    #[arg(long, value_name = "FILE", conflicts_with_all = ["target", "save"])]
    minimize: Option<PathBuf>,
}

/// Runs them.
///
/// # Errors
/// If one crashes, or cannot be built.
pub fn run(args: Args) -> Result<()> {
    let sh = Shell::new()?;
    let root = crate::root();
    sh.change_dir(root);
    if let Some(file) = args.minimize {
        // A trace that is to stay goes to tests/traces, with a word on why.
        let small = file.with_extension("small.trace");
        let program = ["run", "--quiet", "--package", "aio2-ccore", "--bin", "aio2-trace", "--"];
        cmd!(sh, "cargo {program...} minimize {file} {small}").quiet().run()?;
        return Ok(());
    }
    match packages::for_fuzz(&sh) {
        Err(error) if args.or_skip && error.is::<Unavailable>() => {
            println!("SKIP fuzz: {error:#}");
            return Ok(());
        }
        result => result?,
    }
    // libFuzzer needs flags that the stable compiler takes only so.
    sh.set_var("RUSTC_BOOTSTRAP", "1");
    let all = targets(&root.join("fuzz/fuzz_targets"))?;
    let wanted = match args.target {
        Some(target) => {
            ensure!(all.contains(&target), "no target {target}: {}", all.join(", "));
            vec![target]
        }
        None => all,
    };
    cmd!(sh, "cargo fuzz build --fuzz-dir fuzz").quiet().run()?;
    let mut speeds = at_a_time(args.jobs, &wanted, |target| one(root, target, args.seconds))?;
    speeds.sort_by(|a, b| a.target.cmp(&b.target));
    for speed in &speeds {
        println!("{:<16} {:>12} executions, {:>8} a second", speed.target, speed.runs, speed.rate);
    }
    fs::write(root.join(SPEEDS), serde_json::to_vec_pretty(&speeds)?)?;
    if args.save {
        wanted.iter().try_for_each(|target| save(&sh, root, target))?;
    }
    Ok(())
}

/// Where the last run's numbers are kept, from the project's root.
pub const SPEEDS: &str = "fuzz/target/speeds.json";

/// What a target did, as libFuzzer tells at its end.
#[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Speed {
    pub target: String,
    /// Executions.
    pub runs: u64,
    /// Executions a second.
    pub rate: u64,
}

/// Names of the targets.
fn targets(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in dir.read_dir().with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if let Some(name) = path.file_stem().and_then(|n| n.to_str()) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// What was found new by a target: beside the build, since the committed corpus
/// is only read.
fn found(root: &Path, target: &str) -> PathBuf {
    root.join("fuzz/target/corpus").join(target)
}

fn one(root: &Path, target: &str, seconds: u32) -> Result<Speed> {
    let found = found(root, target);
    fs::create_dir_all(&found).with_context(|| found.display().to_string())?;
    println!("fuzz: {target} for {seconds} s");
    let out = Command::new(env!("CARGO"))
        .current_dir(root)
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["fuzz", "run", "--fuzz-dir", "fuzz", target])
        .args([found, root.join("fuzz/corpus").join(target)])
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .args(["-max_len=1024", "-print_final_stats=1", "-verbosity=0"])
        .output()
        .context("cargo fuzz")?;
    let said = String::from_utf8_lossy(&out.stderr);
    ensure!(
        out.status.success(),
        "{said}\n{target} fails; its input is in fuzz/artifacts/{target}"
    );
    speed(target, &said).with_context(|| format!("{target} printed no numbers:\n{said}"))
}

/// Reads what libFuzzer prints at the end.
fn speed(target: &str, said: &str) -> Option<Speed> {
    let stat = |name: &str| -> Option<u64> {
        let line = said.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name))?;
        line.strip_prefix(':')?.trim().parse().ok()
    };
    let target = target.to_owned();
    Some(Speed {
        target,
        runs: stat("number_of_executed_units")?,
        rate: stat("average_exec_per_sec")?,
    })
}

/// Adds what was found to the committed corpus, minimized.
fn save(sh: &Shell, root: &Path, target: &str) -> Result<()> {
    let found = found(root, target);
    cmd!(sh, "cargo fuzz cmin --fuzz-dir fuzz {target} {found}").quiet().run()?;
    for input in sh.read_dir(&found)? {
        sh.copy_file(&input, format!("fuzz/corpus/{target}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_run_are_read() {
        let said = "INFO: x\nstat::number_of_executed_units: 1200\n\
                    stat::average_exec_per_sec:     600\nstat::new_units_added: 3\n";
        let target = "ring_ops".to_owned();
        assert_eq!(speed("ring_ops", said), Some(Speed { target, runs: 1200, rate: 600 }));
        assert_eq!(speed("ring_ops", "stat::average_exec_per_sec: 600\n"), None);
    }
}
