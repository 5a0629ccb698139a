//! `cargo xtask verify --litmus`: the pairs of barriers, each as a litmus test.
//!
//! `tests/litmus/` has them in the forms that herd7 takes, for the kernel's
//! model and for C11; each says in a comment `Result:` what is expected, and
//! each pair has twins, in which a barrier is missing and the outcome becomes
//! possible. herd7 is in no registry, so that the axioms that are needed are
//! here, over all candidate executions; well-known tests with published answers
//! tell whether these axioms are right.

mod axioms;
mod execution;
mod program;

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;

/// What a test asks: can its `exists` come about?
fn sometimes(text: &str) -> Result<(bool, u64)> {
    let program = program::parse(text)?;
    let model = if text.contains("atomic_") { axioms::c11 } else { axioms::kernel };
    let (mut reached, mut executions) = (false, 0);
    execution::each(&program, &mut |execution| {
        executions += 1;
        reached |= execution.ends_as(&program.exists) && model(execution);
    });
    Ok((reached, executions))
}

/// Runs each test of a directory; how many there are, how many of them have to
/// be possible, and executions looked at.
fn directory(dir: &Path) -> Result<(usize, usize, u64)> {
    let mut sum = (0, 0, 0);
    let mut files: Vec<_> = dir.read_dir()?.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
    files.sort();
    let mut wrong = Vec::new();
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "litmus")) {
        let text = fs::read_to_string(file)?;
        let name = file.display().to_string();
        let (_, expected) = text.split_once("Result: ").with_context(|| name.clone())?;
        let expected = expected.starts_with("Sometimes");
        let (found, executions) = sometimes(&text).with_context(|| name.clone())?;
        if found != expected {
            wrong.push(format!("{name}: {}", if found { "Sometimes" } else { "Never" }));
        }
        sum = (sum.0 + 1, sum.1 + usize::from(expected), sum.2 + executions);
    }
    ensure!(wrong.is_empty(), "not as expected:\n{}", wrong.join("\n"));
    Ok(sum)
}

/// Runs all; a line for each kind.
///
/// # Errors
/// If an outcome is not the one that is expected.
pub fn run(root: &Path) -> Result<Vec<String>> {
    let mut rows = Vec::new();
    for (what, dir) in [
        ("well-known ones", "tests/litmus/known"),
        ("pairs of barriers, kernel", "tests/litmus/kernel"),
        ("pairs of barriers, C11", "tests/litmus/c11"),
    ] {
        let (tests, twins, executions) = directory(&root.join(dir))?;
        rows.push(format!(
            "litmus, {what}: {} never, {twins} sometimes as they must, {executions} executions",
            tests - twins
        ));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_litmus_test_ends_as_it_says() {
        super::run(crate::root()).unwrap();
    }

    /// Beside a pair stand its twins: its name, and what is missing.
    #[test]
    fn each_pair_has_twins_that_are_possible() {
        for dir in ["kernel", "c11"] {
            let dir = crate::root().join("tests/litmus").join(dir);
            let files: Vec<(String, String)> = dir
                .read_dir()
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .map(|path| {
                    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                    (name, std::fs::read_to_string(path).unwrap())
                })
                .collect();
            for (name, text) in &files {
                if text.contains("Result: Never") {
                    let twin = format!("{name}-no-");
                    let twins = files.iter().filter(|(other, _)| other.starts_with(&twin));
                    assert!(twins.count() > 0, "{name} has no twin");
                }
                assert!(text.contains(&format!("C {name}\n")), "{name}");
            }
        }
    }
}
