//! What there is to change: the list that cargo-mutants makes.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

/// What is changed: the ABI, the ring, the engine.
const FILES: [&str; 4] = [
    "abi/src/*.rs",
    "userspace/src/ring/*.rs",
    "userspace/src/os/*.rs",
    "userspace/src/engine/**/*.rs",
];

/// What stands in for the system under the model checker.
const MODELS: &str = "**/*_model.rs";

/// What makes inputs for the tests: others are as good.
const RANDOM: &str = "abi/src/random.rs";

/// Where a character stands, both from 1.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Place {
    line: usize,
    column: usize,
}

/// A part of a source text.
#[derive(Clone, Debug, Deserialize)]
pub struct Span {
    start: Place,
    end: Place,
}

/// What kind of change a mutant is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Genre {
    /// A function returns at once.
    FnValue,
    /// Another binary operator.
    BinaryOperator,
    /// A unary operator is left out.
    UnaryOperator,
    /// An arm of a match is left out.
    MatchArm,
    /// The guard of an arm is always true, or never.
    MatchArmGuard,
    /// A field of a struct expression keeps its default.
    StructField,
}

/// One small change.
#[derive(Clone, Debug, Deserialize)]
pub struct Mutant {
    /// Its number, from 1.
    #[serde(skip)]
    pub id: u32,
    /// File, line, column, and what is changed.
    pub name: String,
    /// Path of the file, from the root.
    pub file: String,
    /// The kind.
    pub genre: Genre,
    /// What stands there then.
    pub replacement: String,
    /// What is replaced.
    pub span: Span,
}

impl Span {
    /// In bytes of `source`.
    pub fn range(&self, source: &str) -> Range<usize> {
        offset(source, self.start)..offset(source, self.end)
    }
}

impl Mutant {
    /// What is changed and where, without the line, which changes.
    pub fn what(&self) -> String {
        let change = self.name.split_once(": ").map_or("", |(_, change)| change);
        format!("{}: {change}", self.file)
    }
}

fn offset(source: &str, place: Place) -> usize {
    let lines = source.split_inclusive('\n');
    let before: usize = lines.clone().take(place.line - 1).map(str::len).sum();
    let line = lines.clone().nth(place.line - 1).unwrap_or_default();
    let column = line.char_indices().nth(place.column - 1).map_or(line.len(), |(at, _)| at);
    before + column
}

/// All mutants of the tree at `root`.
///
/// # Errors
/// If cargo-mutants is not there.
pub fn all(root: &Path) -> Result<Vec<Mutant>> {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root).args(["mutants", "--list", "--json"]);
    FILES.iter().for_each(|files| {
        command.args(["--file", files]);
    });
    command.args(["--exclude", MODELS, "--exclude", RANDOM]);
    let out = command.output().context("cargo mutants")?;
    let said = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "cargo mutants (cargo install cargo-mutants): {said}");
    let mut mutants: Vec<Mutant> = serde_json::from_slice(&out.stdout)?;
    // A module that is declared twice, with another visibility, is listed twice.
    let mut names = BTreeSet::new();
    mutants.retain(|mutant| names.insert(mutant.name.clone()));
    (1..).zip(&mut mutants).for_each(|(id, mutant)| mutant.id = id);
    Ok(mutants)
}
