//! `cargo xtask verify --mutants`: which small changes of the code no test sees.
//!
//! cargo-mutants lists the changes; nearly all of them are built into one set
//! of test programs, which are run with one active at a time. The others are
//! built one by one.

mod list;
mod run;
mod schema;
mod tree;

use crate::jobs::at_a_time;
use anyhow::{Context, Result, ensure};
use list::Mutant;
use run::{Stage, Suite, Verdict};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use tree::{Program, TARGETS, Tree};

/// How the tests are run.
pub struct Options {
    /// Part `k` of `n`.
    pub shard: (u32, u32),
    /// Only mutants whose name contains this.
    pub only: Option<String>,
    /// So many at once.
    pub jobs: usize,
}

/// What was found, and kept so that a run can go on.
struct Log {
    path: PathBuf,
    lines: BTreeMap<String, String>,
}

impl Log {
    fn open(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once('\t'));
        let lines = lines.map(|(name, verdict)| (name.to_owned(), verdict.to_owned())).collect();
        Log { path, lines }
    }

    fn add(&mut self, name: &str, verdict: &str) -> Result<()> {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(&self.path)?;
        writeln!(file, "{name}\t{verdict}")?;
        self.lines.insert(name.to_owned(), verdict.to_owned());
        Ok(())
    }
}

/// Runs the tests on each mutant that is not in `target/mutants/log.tsv`, and
/// prints what they miss.
///
/// # Errors
/// If something does not build or fails without a mutant.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    let tree = Tree::new(root)?;
    let mutants = list::all(&tree.clean())?;
    let built = tree.build_all(&mutants)?;
    let dir = root.join("target/mutants");
    let suite = Suite::new(&built.programs, options.jobs, &dir)?;
    let log = Mutex::new(Log::open(dir.join("log.tsv")));
    let wanted = |mutant: &&Mutant| {
        let (k, n) = options.shard;
        mutant.id % n == k % n && options.only.as_ref().is_none_or(|o| mutant.name.contains(o))
    };
    let known: BTreeSet<String> = lock(&log)?.lines.keys().cloned().collect();
    let open = mutants.iter().filter(wanted).filter(|mutant| !known.contains(&mutant.name));
    let (mut together, mut alone) = (Vec::new(), Vec::new());
    for mutant in open {
        match built.leaders.get(&mutant.id) {
            Some(leader) => together.push((mutant, *leader)),
            None if built.wrong.contains(&mutant.id) => note(&log, mutant, "unviable")?,
            None => alone.push(mutant),
        }
    }
    println!("{} mutants in one build, {} on their own", together.len(), alone.len());
    let alone = Mutex::new(alone);
    // So that a run which is stopped has tried a fair part of all files.
    together.sort_by_key(|(mutant, _)| mutant.id.wrapping_mul(0x9e37_79b1));
    for stage in Stage::ALL {
        let left = at_a_time(options.jobs, together, |(mutant, leader)| {
            let Some(verdict) = suite.judge(mutant, leader, stage)? else {
                println!("not seen by what is {stage:?}: {}", mutant.name);
                return Ok(Some((mutant, leader)));
            };
            if verdict.is_caught() || !built.at_run_time.contains(&mutant.id) {
                note(&log, mutant, &said(&verdict))?;
            } else {
                lock(&alone)?.push(mutant);
            }
            Ok(None)
        })?;
        together = left.into_iter().flatten().collect();
    }
    let alone = alone.into_inner().ok().context("no thread panics")?;
    if !alone.is_empty() {
        let clean = contents(&tree.build_none(&mutants, TARGETS[0])?)?;
        for mutant in alone {
            note(&log, mutant, &judge_alone(&tree, &suite, &clean, mutant)?)?;
        }
    }
    report(root, mutants.iter().filter(wanted), &*lock(&log)?)
}

/// Runs the tests on a mutant that is built on its own; `clean` are the contents
/// of the first programs without a mutant: if it does not change these, it is none.
fn judge_alone(
    tree: &Tree,
    suite: &Suite,
    clean: &BTreeMap<String, Vec<u8>>,
    mutant: &Mutant,
) -> Result<String> {
    let mut verdict = Verdict::Missed;
    for targets in TARGETS {
        let Some(programs) = tree.build_one(mutant, targets)? else {
            return Ok("unviable".into());
        };
        if contents(&programs)? == *clean {
            return Ok("same".into());
        }
        verdict = suite.judge_all(mutant, &programs)?;
        if verdict.is_caught() {
            break;
        }
    }
    Ok(said(&verdict))
}

/// The bytes of each of `programs`.
fn contents(programs: &[Program]) -> Result<BTreeMap<String, Vec<u8>>> {
    programs.iter().map(|program| Ok((program.name.clone(), fs::read(&program.path)?))).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> Result<MutexGuard<'_, T>> {
    mutex.lock().ok().context("no thread panics")
}

fn said(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Caught(by) => format!("caught\t{by}"),
        Verdict::TimedOut(by) => format!("timeout\t{by}"),
        Verdict::Missed => "missed".into(),
        Verdict::Unreached => "unreached".into(),
    }
}

fn note(log: &Mutex<Log>, mutant: &Mutant, said: &str) -> Result<()> {
    if said == "missed" || said == "unreached" {
        println!("{said}: {}", mutant.name);
    }
    lock(log)?.add(&mutant.name, said)
}

/// What is committed of an earlier run: `tests/mutants.json`.
#[derive(Deserialize)]
struct Committed {
    explained: Vec<Explained>,
}

/// A mutant that no test can see, or need not.
#[derive(Deserialize)]
struct Explained {
    /// As [`Mutant::what`] has it.
    what: String,
}

/// Prints what was counted, and what no test has seen.
///
/// # Errors
/// If one of these is not explained.
fn report<'a>(root: &Path, mutants: impl Iterator<Item = &'a Mutant>, log: &Log) -> Result<()> {
    let committed: Committed = serde_json::from_slice(&fs::read(root.join("tests/mutants.json"))?)?;
    let mut counts = BTreeMap::new();
    let mut unexplained = Vec::new();
    for mutant in mutants {
        let said = log.lines.get(&mutant.name).map_or("not run", |said| said.as_str());
        let verdict = said.split('\t').next().unwrap_or_default();
        *counts.entry(verdict.to_owned()).or_insert(0_usize) += 1;
        let is_missed = ["missed", "unreached"].contains(&verdict);
        if is_missed && !committed.explained.iter().any(|e| e.what == mutant.what()) {
            unexplained.push(mutant.name.as_str());
        }
    }
    println!("{counts:?}");
    ensure!(unexplained.is_empty(), "not explained:\n{}", unexplained.join("\n"));
    Ok(())
}
