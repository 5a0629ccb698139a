//! Running the tests on a mutant, in processes of their own: what a mutant does
//! to others by mistake stays in a PID namespace.
//!
//! Each test is first run without a mutant, to see which it comes across; only
//! these tests are run on a mutant, until one fails. The few that are likely to
//! come first, those that take long last; all mutants have those of one stage
//! before any has those of the next.

use super::super::failed;
use super::list::Mutant;
use super::schema::Id;
use super::tree::{Program, REACHED, VARIABLE};
use crate::jobs::at_a_time;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

/// Programs that look for races for a long time, or at other things.
const LEFT_OUT: [&str; 8] = [
    "userspace aba",
    "userspace ring_stress",
    "userspace tokio",
    "tests kernel",
    "tests valgrind",
    "tests stress",
    "tests race",
    "tests traceability",
];
/// A test hangs if it takes so many times what it takes without a mutant, and so
/// much more.
const TIMES: u32 = 3;
const MORE: Duration = Duration::from_secs(5);
/// Tests that are run one by one, before all the others.
const FIRST: usize = 16;

/// A test that takes so long comes last.
const SLOW: Duration = Duration::from_secs(3);
/// The longest that a test may take.
const LONGEST: Duration = Duration::from_secs(90);
/// A test that takes less is no better.
const QUICK: Duration = Duration::from_millis(50);

/// What the tests say of a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This test fails.
    Caught(String),
    /// This one hangs.
    TimedOut(String),
    /// All pass that come across it.
    Missed,
    /// No test is known to come across it.
    Unreached,
}

/// Which of the tests that come across a mutant are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The few that are likely to fail.
    Likely,
    /// Those that take little time.
    Quick,
    /// The others.
    Slow,
}

impl Stage {
    /// In their order.
    pub const ALL: [Stage; 3] = [Stage::Likely, Stage::Quick, Stage::Slow];
}

impl Verdict {
    /// Whether a test tells the mutant.
    pub fn is_caught(&self) -> bool {
        matches!(self, Verdict::Caught(_) | Verdict::TimedOut(_))
    }
}

/// A test.
#[derive(Deserialize, Serialize)]
struct Test {
    program: Program,
    name: String,
    time: Duration,
    /// The places of mutants that it comes to.
    reached: BTreeSet<Id>,
    /// It fails if that is recorded, and may come to any.
    is_disturbed: bool,
}

/// The tests.
pub struct Suite {
    /// In the order in which they are run.
    tests: Vec<Test>,
    /// How many mutants of a file each of them has caught: it is likely to catch
    /// more.
    caught: Mutex<BTreeMap<(String, String), u32>>,
}

impl Suite {
    /// Runs the tests of `programs` without a mutant, `jobs` at once, unless that
    /// was done since they were built. One that fails is left out.
    ///
    /// # Errors
    /// If a program cannot be run.
    pub fn new(programs: &[Program], jobs: usize, dir: &Path) -> Result<Self> {
        let kept = dir.join("tests.json");
        if is_newer(&kept, programs) {
            return Ok(Self::of(serde_json::from_slice(&fs::read(kept)?)?));
        }
        let mut todo = Vec::new();
        for program in programs {
            if !LEFT_OUT.contains(&program.name.as_str()) {
                todo.extend(tests(program)?.into_iter().map(|name| (program.clone(), name)));
            }
        }
        println!("{} tests without a mutant", todo.len());
        let measured = at_a_time(jobs, todo, |(program, name)| {
            let said = said(&program, &name);
            let test = measure(program, name, dir)?;
            if test.is_none() {
                println!("left out, since it fails without a mutant: {said}");
            }
            Ok(test)
        })?;
        let mut tests: Vec<Test> = measured.into_iter().flatten().collect();
        // First those that are quick and look at little.
        let places = |t: &Test| u32::try_from(t.reached.len()).unwrap_or(9999);
        tests.sort_by_key(|t| (t.is_disturbed, (t.time + QUICK) * places(t)));
        fs::write(kept, serde_json::to_vec(&tests)?)?;
        Ok(Self::of(tests))
    }

    fn of(tests: Vec<Test>) -> Self {
        Suite { tests, caught: Mutex::default() }
    }

    /// Runs the tests of a stage that come across the place of `mutant`, given by
    /// `leader`, until one fails; none if there are further stages.
    ///
    /// # Errors
    /// If one cannot be run.
    pub fn judge(&self, mutant: &Mutant, leader: Id, stage: Stage) -> Result<Option<Verdict>> {
        let comes_across = |test: &&Test| test.is_disturbed || test.reached.contains(&leader);
        let mut tests: Vec<&Test> = self.tests.iter().filter(comes_across).collect();
        let is_reached = tests.iter().any(|test| !test.is_disturbed);
        self.sort(&mut tests, mutant)?;
        let groups = if stage == Stage::Likely {
            tests.truncate(FIRST);
            tests.iter().map(|test| vec![*test]).collect()
        } else {
            tests.retain(|test| (test.time >= SLOW) == (stage == Stage::Slow));
            by_program(&tests)
        };
        for group in groups {
            let Some(verdict) = run(&group, mutant.id)? else { continue };
            if let Verdict::Caught(test) = &verdict {
                let place = (mutant.file.clone(), test.clone());
                *super::lock(&self.caught)?.entry(place).or_default() += 1;
            }
            return Ok(Some(verdict));
        }
        let none = if is_reached { Verdict::Missed } else { Verdict::Unreached };
        Ok((stage == Stage::Slow).then_some(none))
    }

    /// Sorts tests by what they are likely to see of `mutant`.
    fn sort(&self, tests: &mut [&Test], mutant: &Mutant) -> Result<()> {
        let caught = super::lock(&self.caught)?;
        tests.sort_by_cached_key(|test| {
            let place = (mutant.file.clone(), said(&test.program, &test.name));
            Reverse(caught.get(&place).copied().unwrap_or(0))
        });
        Ok(())
    }

    /// Runs the tests of `programs`, which were built with `mutant`, that have
    /// the names of those here, until one fails.
    ///
    /// # Errors
    /// If one cannot be run.
    pub fn judge_all(&self, mutant: &Mutant, programs: &[Program]) -> Result<Verdict> {
        let renewed = |test: &Test| {
            let program = programs.iter().find(|program| program.name == test.program.name)?;
            let reached = BTreeSet::new();
            Some(Test { program: program.clone(), reached, name: test.name.clone(), ..*test })
        };
        let tests: Vec<Test> = self.tests.iter().filter_map(renewed).collect();
        let mut tests: Vec<&Test> = tests.iter().collect();
        self.sort(&mut tests, mutant)?;
        let (first, others) = tests.split_at(tests.len().min(FIRST));
        for group in first.iter().map(|test| vec![*test]).chain(by_program(others)) {
            if let Some(verdict) = run(&group, 0)? {
                return Ok(verdict);
            }
        }
        Ok(Verdict::Missed)
    }
}

/// Groups that can be run by one process each, the fastest first.
fn by_program<'a>(tests: &[&'a Test]) -> Vec<Vec<&'a Test>> {
    let mut groups: BTreeMap<String, Vec<&Test>> = BTreeMap::new();
    for (test, n) in tests.iter().zip(0..) {
        // The suite's runner takes one name at a time.
        let alone = if test.program.name == "tests engine" { n } else { 0 };
        groups.entry(format!("{} {alone}", test.program.name)).or_default().push(test);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|group| group.iter().map(|test| test.time).sum::<Duration>());
    groups
}

/// A process with all that it starts; killed when it is dropped.
struct Contained(Child);

impl Drop for Contained {
    fn drop(&mut self) {
        // It has ended already if this fails.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(program: &Program) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    // Not as the first process there, which signals do not end.
    command.args(["sh", "-c", "\"$0\" \"$@\"; exit $?"]).arg(&program.path);
    command.current_dir(&program.dir);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// The names of the tests in a program.
fn tests(program: &Program) -> Result<Vec<String>> {
    let out = command(program).arg("--list").output().context("unshare(1)")?;
    let ignored = command(program).args(["--list", "--ignored"]).output()?;
    let ignored = String::from_utf8_lossy(&ignored.stdout).into_owned();
    let list = String::from_utf8(out.stdout)?;
    let is_run = |line: &&str| !ignored.lines().any(|ignored| ignored == *line);
    let name = |line: &str| line.strip_suffix(": test").map(str::to_owned);
    Ok(list.lines().filter(is_run).filter_map(name).collect())
}

/// Whether `file` was written after `programs`.
fn is_newer(file: &Path, programs: &[Program]) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    let newest = programs.iter().filter_map(|program| time(&program.path)).max();
    time(file) > newest
}

/// What a test comes across; none if it fails.
fn measure(program: Program, name: String, dir: &Path) -> Result<Option<Test>> {
    // To record it takes memory and descriptors, which some tests run out of.
    for is_disturbed in [false, false, true, true] {
        let reached = NamedTempFile::new_in(dir)?;
        let begun = Instant::now();
        let mut command = command(&program);
        command.arg(&name).arg("--exact").env(VARIABLE, "0");
        if !is_disturbed {
            command.env(REACHED, reached.path());
        }
        if watch(command, LONGEST)?.is_none() {
            let bytes = fs::read(reached.path())?;
            let reached = (0..).zip(bytes).filter(|(_, byte)| *byte > 0).map(|(n, _)| n).collect();
            let time = begun.elapsed();
            return Ok(Some(Test { program, name, time, reached, is_disturbed }));
        }
    }
    Ok(None)
}

/// Runs tests of one program until one fails; none if all pass.
///
/// Those that take too long are run without the mutant too: if they take long
/// then, it is not the mutant's fault, and it gets as much more time.
fn run(tests: &[&Test], id: Id) -> Result<Option<Verdict>> {
    let Some(first) = tests.first() else { return Ok(None) };
    let names = if tests.len() == 1 { &first.name } else { "several" };
    let name = said(&first.program, names);
    let limit = limit(tests.iter().map(|test| test.time).sum());
    let mut failure = attempt(tests, id, limit)?;
    if matches!(failure, Some(Failure::Time)) {
        let begun = Instant::now();
        // What it finds is no news, how long it takes is.
        attempt(tests, 0, LONGEST)?;
        let longer = self::limit(begun.elapsed());
        if longer > limit {
            failure = attempt(tests, id, longer)?;
        }
    }
    Ok(failure.map(|failure| match failure {
        Failure::Test(test) => Verdict::Caught(said(&first.program, &test)),
        Failure::Status => Verdict::Caught(name),
        Failure::Time => Verdict::TimedOut(name),
    }))
}

/// How a test is named: without what it shows.
fn said(program: &Program, test: &str) -> String {
    format!("{} {}", program.name, test.split_whitespace().next().unwrap_or_default())
}

/// The longest that tests may take that take `time` without a mutant.
fn limit(time: Duration) -> Duration {
    time * TIMES + MORE
}

/// Runs tests of one program until one fails, or for `limit`.
fn attempt(tests: &[&Test], id: Id, limit: Duration) -> Result<Option<Failure>> {
    let Some(first) = tests.first() else { return Ok(None) };
    let mut command = command(&first.program);
    command.args(tests.iter().map(|test| &test.name));
    command.arg("--exact").env(VARIABLE, id.to_string());
    watch(command, limit)
}

/// How a program fails.
enum Failure {
    Test(String),
    Status,
    Time,
}

/// Runs `command` until a test fails, or for `limit`; none if all pass.
fn watch(mut command: Command, limit: Duration) -> Result<Option<Failure>> {
    let end = Instant::now() + limit;
    let mut child = Contained(command.spawn().context("unshare(1)")?);
    let stdout = child.0.stdout.take().context("it is piped")?;
    let (send, lines) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        lines.for_each(|line| drop(send.send(line)));
    });
    let mut ran = false;
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if let Some(test) = failed(&line) {
                    return Ok(Some(Failure::Test(test.to_owned())));
                }
                ran |= line.starts_with("test result: ok.");
            }
            Err(mpsc::RecvTimeoutError::Timeout) => return Ok(Some(Failure::Time)),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    let success = child.0.wait()?.success();
    ensure!(ran || !success, "a program says nothing of its tests: {command:?}");
    Ok((!success).then_some(Failure::Status))
}
