//! `aio2-trace`: replays a trace, makes one, and makes one that fails small.
//!
//! The format is that of `aio2_conformance::trace`. Each attempt is a process
//! of its own, so that one that hangs or dies has failed like one that panics.

use aio2_ccore::trace::replay;
use aio2_conformance::backends::{InProcess, kernel};
use aio2_conformance::env::Factory;
use aio2_conformance::random::Random;
use aio2_conformance::trace::{Trace, smaller::smaller};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

const USAGE: &str = "\
aio2-trace replay FILE [kernel]    on model, C core and engine (or kernel)
aio2-trace random OPS SEED         prints a random trace of so many calls
aio2-trace search OPS SEED FILE    tries seeds from this one until a trace fails, and writes it
aio2-trace minimize FILE OUTPUT    makes a trace (or an input of the fuzz target engine_ops)
                                   that fails as small as can be, and writes it";

/// Seconds that an attempt may take.
const SECONDS: &str = "60";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args[..] {
        ["replay", file] => read(file).map(|trace| replay(&trace, &InProcess)),
        ["replay", file, "kernel"] => on_kernel(file),
        ["random", ops, seed] => random(ops, seed).map(|trace| print!("{trace}")),
        ["search", ops, seed, file] => search(ops, seed, file),
        ["minimize", file, output] => minimize(file, output),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A trace; what is no text is taken for an input of the fuzz target.
fn read(file: &str) -> Result<Trace, String> {
    let bytes = std::fs::read(file).map_err(|e| format!("{file}: {e}"))?;
    if !file.ends_with(".trace") {
        return Ok(Trace::decode(&bytes, 80));
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("{file} is no text"))?;
    text.parse().map_err(|e| format!("{file}: {e}"))
}

fn on_kernel(file: &str) -> Result<(), String> {
    let factory: Box<dyn Factory> = kernel().map_err(|skip| format!("SKIP: {}", skip.0))?;
    replay(&read(file)?, &*factory);
    Ok(())
}

fn random(ops: &str, seed: &str) -> Result<Trace, String> {
    let number = |text: &str| text.parse().map_err(|_| format!("{text} is no number"));
    let ops = number(ops)? as usize;
    // A call takes at most 9 bytes.
    Ok(Trace::decode(&Random::new(number(seed)?).bytes(9 * ops + 1), ops))
}

fn search(ops: &str, seed: &str, file: &str) -> Result<(), String> {
    let first: u64 = seed.parse().map_err(|_| format!("{seed} is no number"))?;
    for seed in first..first + 1000 {
        let trace = random(ops, &seed.to_string())?;
        write(file, &trace)?;
        if fails(Path::new(file))?.is_some() {
            println!("seed {seed} fails: {file}");
            return Ok(());
        }
    }
    Err(format!("none of 1000 traces of {ops} calls fails"))
}

fn minimize(file: &str, output: &str) -> Result<(), String> {
    let trace = read(file)?;
    let tried = Path::new(output).with_extension("tried.trace");
    let mut attempts = 0;
    let mut attempt = |trace: &Trace| {
        attempts += 1;
        write(&tried.to_string_lossy(), trace)?;
        fails(&tried)
    };
    let Some(said) = attempt(&trace)? else { return Err(format!("{file} does not fail")) };
    println!("{} calls: {said}", trace.ops.len());
    let mut trouble = None;
    let small = smaller(&trace, |trace| match attempt(trace) {
        Ok(said) => said.is_some(),
        Err(error) => {
            trouble = Some(error);
            false
        }
    });
    let said = attempt(&small)?.unwrap_or_else(|| "it does not always fail".into());
    // Only a help on the way.
    let _ = std::fs::remove_file(&tried);
    if let Some(error) = trouble {
        return Err(error);
    }
    write(output, &small)?;
    println!("{} calls after {attempts} attempts: {said}\n\n{small}\n{output}", small.ops.len());
    Ok(())
}

fn write(file: &str, trace: &Trace) -> Result<(), String> {
    std::fs::write(file, trace.to_string()).map_err(|e| format!("{file}: {e}"))
}

/// What the replay of the trace fails with, if it does.
fn fails(file: &Path) -> Result<Option<String>, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let out = Command::new("timeout")
        .args(["--signal=KILL", SECONDS])
        .arg(program)
        .arg("replay")
        .arg(file)
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::null())
        .output()
        .map_err(|e| format!("timeout: {e}"))?;
    if out.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&out.stderr);
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Ok(Some(match said[..] {
        [] => out.status.to_string(),
        _ => said[..said.len().min(4)].join(" | "),
    }))
}
