//! The suite on the engine and on the kernel, side by side.
//!
//! The same tests must have run on both. What ended otherwise on the kernel is
//! listed with its reason. Reasons to leave a test out are a feature or an
//! attribute that the kernel says it does not have, and a requirement that appendix B of SPEC.md
//! does not claim for it.

use aio2_conformance::spec::{Requirement, Spec, Status};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What the suite says of a test for something that the implementation says
/// itself it does not have.
const MISSING: [&str; 2] = ["no Features(", "no attribute "];

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    Skipped(String),
    Failed(String),
}

impl Verdict {
    fn word(&self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Skipped(_) => "skipped",
            Verdict::Failed(_) => "FAILED",
        }
    }

    fn reason(&self) -> &str {
        match self {
            Verdict::Ok => "",
            Verdict::Skipped(why) | Verdict::Failed(why) => why,
        }
    }
}

/// A line of the suite.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    name: String,
    ids: Vec<String>,
    verdict: Verdict,
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ')?;
        let (test, why) = match word {
            "ok" => (rest, ""),
            "SKIP" | "FAIL" => rest.split_once(": ").unwrap_or((rest, "")),
            _ => return None,
        };
        let mut words = test.split(' ');
        let name = words.next().filter(|name| name.contains("::"))?;
        let verdict = match word {
            "ok" => Verdict::Ok,
            "SKIP" => Verdict::Skipped(why.into()),
            _ => Verdict::Failed(why.into()),
        };
        Some(Line { name: name.into(), ids: words.map(String::from).collect(), verdict })
    }
}

/// What the suite said on both.
#[derive(Debug)]
pub struct Comparison {
    engine: Vec<Line>,
    kernel: Vec<Line>,
    /// What was run beside the suite, on the kernel only.
    checks: Vec<Line>,
}

impl Comparison {
    /// Reads the outputs of both runs, and of the guest's checks.
    pub fn parse(engine: &str, kernel: &str, checks: &str) -> Self {
        let lines = |text: &str| text.lines().filter_map(Line::parse).collect();
        Comparison { engine: lines(engine), kernel: lines(kernel), checks: lines(checks) }
    }

    /// The tests that ended differently, or did not run on one of them, with
    /// the verdicts.
    fn differences(&self) -> Vec<(&str, Option<&Line>, Option<&Line>)> {
        let mut by_name: BTreeMap<&str, (Option<&Line>, Option<&Line>)> = BTreeMap::new();
        for line in &self.engine {
            by_name.entry(&line.name).or_default().0 = Some(line);
        }
        for line in &self.kernel {
            by_name.entry(&line.name).or_default().1 = Some(line);
        }
        let word = |line: Option<&Line>| line.map_or("not run", |l| l.verdict.word());
        let all = by_name.into_iter().map(|(name, (engine, kernel))| (name, engine, kernel));
        all.filter(|(_, engine, kernel)| word(*engine) != word(*kernel)).collect()
    }

    /// A table of the requirements, then the counts and each difference.
    pub fn table(&self, spec: &Spec) -> String {
        let mut text = format!("{:<14} {:<22} {}\n", "requirement", "engine", "kernel");
        for row in &spec.table {
            let engine = cell(self.engine.iter(), &row.id, row.engine);
            let kernel = cell(self.kernel.iter().chain(&self.checks), &row.id, row.kernel);
            let _ = writeln!(text, "{:<14} {engine:<22} {kernel}", row.id);
        }
        for (name, lines) in [("engine", &self.engine), ("kernel", &self.kernel)] {
            let _ = writeln!(text, "{name}: {} tests: {}", lines.len(), count(lines.iter()));
        }
        for (name, engine, kernel) in self.differences() {
            let word = |line: Option<&Line>| line.map_or("not run", |l| l.verdict.word());
            let mut reasons = [kernel, engine].into_iter().flatten().map(|l| l.verdict.reason());
            let reason = reasons.find(|reason| !reason.is_empty()).unwrap_or("no reason");
            let planned = kernel.map_or(Vec::new(), |line| unclaimed(line, spec));
            let rows: Vec<String> =
                planned.iter().map(|row| format!("{} is {}", row.id, row.kernel)).collect();
            let _ = writeln!(
                text,
                "difference: {name}: engine {}, kernel {}: {}",
                word(engine),
                word(kernel),
                [&[reason.to_owned()], &rows[..]].concat().join("; ")
            );
        }
        text
    }

    /// What must not be: other tests on the one than on the other, and tests
    /// left out that appendix B gives no reason for.
    pub fn complaints(&self, spec: &Spec) -> Vec<String> {
        let mut wrong = Vec::new();
        for (name, engine, kernel) in self.differences() {
            match (engine, kernel) {
                (None, _) => wrong.push(format!("{name} was run on the kernel only")),
                (_, None) => wrong.push(format!("{name} was run on the engine only")),
                (_, Some(line))
                    if matches!(&line.verdict, Verdict::Skipped(why) if !is_missing(why))
                        && unclaimed(line, spec).is_empty() =>
                {
                    wrong.push(format!(
                        "{name} was skipped on the kernel, of which SPEC.md claims {}: {}",
                        line.ids.join(" "),
                        line.verdict.reason()
                    ));
                }
                // A test that failed has made the suite fail.
                _ => {}
            }
        }
        wrong
    }
}

/// Whether a test was left out since the kernel says it lacks what that is about.
fn is_missing(why: &str) -> bool {
    MISSING.iter().any(|missing| why.starts_with(missing))
}

/// The requirements of a test that appendix B does not claim for the kernel.
fn unclaimed<'a>(line: &Line, spec: &'a Spec) -> Vec<&'a Requirement> {
    let rows = spec.table.iter().filter(|row| line.ids.contains(&row.id));
    rows.filter(|row| row.kernel != Status::Yes).collect()
}

/// How the tests of a requirement ended; what appendix B says if there is none.
fn cell<'a>(lines: impl Iterator<Item = &'a Line>, id: &str, status: Status) -> String {
    let mut of_it = lines.filter(|line| line.ids.iter().any(|i| i == id)).peekable();
    if of_it.peek().is_none() {
        return format!("{status}, not run");
    }
    count(of_it)
}

/// How many ended in which way.
fn count<'a>(lines: impl Iterator<Item = &'a Line>) -> String {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    lines.for_each(|line| *counts.entry(line.verdict.word()).or_default() += 1);
    let of = |word| counts.get(word).map(|n| format!("{n} {word}"));
    let parts: Vec<String> = ["ok", "skipped", "FAILED"].into_iter().filter_map(of).collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINE: &str =
        "ok a::x Q-A-1 Q-B-1\nok a::y Q-A-1\nnoise\naio2-conform: backend=engine ok=2\n";

    fn row(id: &str, kernel: Status) -> Requirement {
        Requirement { id: id.into(), engine: Status::Yes, kernel }
    }

    fn spec() -> Spec {
        let table = vec![row("Q-A-1", Status::Yes), row("Q-B-1", Status::Planned)];
        Spec { table, ..Spec::default() }
    }

    #[test]
    fn a_skip_needs_a_reason() {
        let complaints =
            |kernel: &str| Comparison::parse(ENGINE, kernel, "").complaints(&spec()).len();
        assert_eq!(complaints(ENGINE), 0);
        assert_eq!(complaints("SKIP a::x Q-A-1 Q-B-1: not there\nok a::y Q-A-1\n"), 0);
        assert_eq!(complaints("ok a::x Q-A-1 Q-B-1\nSKIP a::y Q-A-1: no wish\n"), 1);
        let without = "ok a::x Q-A-1 Q-B-1\nSKIP a::y Q-A-1: no Features(GROW)\n";
        assert_eq!(complaints(without), 0);
    }

    #[test]
    fn the_tests_must_be_the_same() {
        let complaints =
            |kernel: &str| Comparison::parse(ENGINE, kernel, "").complaints(&spec()).len();
        assert_eq!(complaints("ok a::x Q-A-1 Q-B-1\n"), 1);
        assert_eq!(complaints(&format!("{ENGINE}ok a::z Q-A-1\n")), 1);
        assert_eq!(complaints(""), 2);
    }

    #[test]
    fn a_difference_stands_in_the_table_with_its_reason() {
        let kernel = "SKIP a::x Q-A-1 Q-B-1: not there\nok a::y Q-A-1\n";
        let table = Comparison::parse(ENGINE, kernel, "").table(&spec());
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = table.lines().map(words).collect();
        assert_eq!(
            lines,
            [
                "requirement engine kernel",
                "Q-A-1 2 ok 1 ok, 1 skipped",
                "Q-B-1 1 ok 1 skipped",
                "engine: 2 tests: 2 ok",
                "kernel: 2 tests: 1 ok, 1 skipped",
                "difference: a::x: engine ok, kernel skipped: not there; Q-B-1 is planned",
            ]
        );
    }

    #[test]
    fn what_was_not_run_is_told_and_checks_count_for_the_kernel() {
        let spec = Spec { table: vec![row("Q-C-1", Status::Yes)], ..Spec::default() };
        assert!(Comparison::parse(ENGINE, ENGINE, "").table(&spec).contains("yes, not run"));
        let checks = "ok checks::z Q-C-1";
        assert!(!Comparison::parse(ENGINE, ENGINE, checks).table(&spec).contains("kernel: 3"));
        let words: Vec<String> = Comparison::parse(ENGINE, ENGINE, checks)
            .table(&spec)
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(words[1], "Q-C-1 yes, not run 1 ok");
    }
}
