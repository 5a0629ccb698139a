//! `cargo xtask bench cp`: the command's copy beside `cp -a` and `cp -r`.
//!
//! Each round copies the same source by all contenders one after the other; the ratio of
//! the times is taken within the round, and its median is told. What is left to be
//! written back by one is written before the next begins, and counted for nobody: GNU cp
//! waits for no device, so that the command is told not to, either. Source and copy are
//! on one file system: one in memory, and that of the target directory.

use super::budget;
use super::page::{Spread, ratio, scratch};
use super::side_by_side::cpu_of_children;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Where files are kept in memory.
const IN_MEMORY: &str = "/dev/shm";
/// The goals are of time, for each of the [`sources`].
const ROUNDS: usize = 5;

/// What is copied.
struct Source {
    name: String,
    files: usize,
    /// Bytes of a file, by its number.
    bytes: fn(usize) -> u64,
    /// The most that a copy may take of the time that GNU cp takes.
    goal: f64,
}

/// As the goals name them, or a hundredth and less of it.
fn sources(short: bool) -> [Source; 3] {
    let part = if short { 100 } else { 1 };
    let (ones, small) = (200_000 / part, 20_000 / part);
    let (large, name): (fn(usize) -> u64, _) =
        if short { (|_| 32 << 20, "32 MiB in one") } else { (|_| 2 << 30, "2 GiB in one") };
    [
        Source { name: format!("{ones} files of one byte"), files: ones, bytes: |_| 1, goal: 1.0 },
        Source {
            name: format!("{small} small files"),
            files: small,
            bytes: |number| 1024 + number as u64 % 3072,
            goal: 0.67,
        },
        Source { name: name.into(), files: 1, bytes: large, goal: 1.0 },
    ]
}

/// GNU cp's options, each beside the command's with the same.
const PAIRS: [&str; 2] = ["-a", "-r"];

/// What the rounds of a contender took, in seconds.
#[derive(Default)]
struct Took {
    wall: Vec<f64>,
    cpu: Vec<f64>,
}

pub fn run(as_json: bool, short: bool) -> Result<()> {
    let args = ["build", "--release", "-p", "aio2-cli", "--bin", "aio2"];
    let command = budget::program(&args, "aio2")?;
    let rounds = if short { 1 } else { ROUNDS };
    if !as_json {
        println!("seconds of a copy, medians of {rounds} rounds, and ratios within a round");
        println!(
            "{:<10} {:<26} {:<24} {:>8} {:>8} {:>7} {:>8} {:>8}",
            "", "", "", "seconds", "ratio", "goal", "CPU s", "ratio"
        );
    }
    let on_disk = scratch()?;
    for dir in [Path::new(IN_MEMORY), &on_disk] {
        let system = said("stat", &["-f", "-c", "%T"], dir)?;
        if dir == Path::new(IN_MEMORY) && system != "tmpfs" {
            eprintln!("SKIP {}: it is {system}, and not in memory", dir.display());
            continue;
        }
        for source in sources(short) {
            let free = said("stat", &["-f", "-c", "%a %S"], dir)?;
            let free: u64 = free.split(' ').filter_map(|part| part.parse::<u64>().ok()).product();
            // A file takes a block at least, and its inode.
            let bytes: u64 = (0..source.files).map(|n| (source.bytes)(n).max(4096) + 512).sum();
            if free < 3 * bytes {
                eprintln!("SKIP {} on {system}: it has {free} bytes left", source.name);
                continue;
            }
            compare(&command, &source, dir, rounds, &system, as_json)?;
        }
    }
    Ok(())
}

/// Copies a source in turns, and prints what that took.
fn compare(
    command: &Path,
    source: &Source,
    within: &Path,
    rounds: usize,
    system: &str,
    as_json: bool,
) -> Result<()> {
    let dir = tempfile::tempdir_in(within)?;
    let from = dir.path().join("from");
    let last = make(source, &from)?;
    let contenders: Vec<(String, &Path, Vec<&str>)> = PAIRS
        .iter()
        .flat_map(|&option| {
            let own = vec!["cp", option, "--no-sync"];
            [
                (format!("cp {option}"), Path::new("cp"), vec![option]),
                (format!("aio2 cp {option} --no-sync"), command, own),
            ]
        })
        .collect();
    let mut all: Vec<Took> = contenders.iter().map(|_| Took::default()).collect();
    // The first one fills caches.
    for round in 0..=rounds {
        for ((name, program, args), took) in contenders.iter().zip(&mut all) {
            said("sync", &["-f"], dir.path())?;
            let to = dir.path().join("to");
            let (before, begun) = (cpu_of_children()?, Instant::now());
            let mut copy = Command::new(program);
            copy.args(args).arg(&from).arg(&to).stdout(Stdio::null());
            let status = copy.status().with_context(|| name.clone())?;
            let wall = begun.elapsed().as_secs_f64();
            let cpu = cpu_of_children()? - before;
            ensure!(status.success(), "{name} failed");
            let copied = fs::metadata(to.join(&last)).with_context(|| format!("{name}, copied"))?;
            ensure!(copied.len() == (source.bytes)(source.files - 1), "{name} copied not all");
            fs::remove_dir_all(&to)?;
            if round > 0 {
                took.wall.push(wall);
                took.cpu.push(cpu);
            }
        }
    }
    let mid = |spread: Option<Spread>| spread.map_or(f64::NAN, |spread| spread.mid);
    for (n, ((name, ..), took)) in contenders.iter().zip(&all).enumerate() {
        let [wall, cpu] = [&took.wall, &took.cpu].map(|own| mid(Spread::of(own.iter().copied())));
        // Of a pair, the second one to the first.
        let base = &all[n - n % 2];
        let times = ratio(&took.wall, &base.wall);
        let (to_base, cpu_ratio) = (mid(times), mid(ratio(&took.cpu, &base.cpu)));
        let goal = (n % 2 == 1).then_some(source.goal);
        if as_json {
            let quartiles = times.map(|spread| [spread.low, spread.high]);
            let line = json!({
                "bench": "cp", "source": source.name, "file_system": system, "contender": name,
                "seconds": wall, "ratio": to_base, "quartiles": quartiles, "goal": goal,
                "cpu_seconds": cpu, "cpu_ratio": cpu_ratio,
            });
            println!("{line}");
        } else {
            let goal = goal.map_or_else(String::new, |goal| format!("≤ {goal:.2}"));
            println!(
                "{system:<10} {:<26} {name:<24} {wall:>8.3} {to_base:>8.2} {goal:>7} {cpu:>8.2} \
                 {cpu_ratio:>8.2}",
                source.name
            );
        }
    }
    Ok(())
}

/// Makes the files of a source, and writes them back; the name of the last one in it.
fn make(source: &Source, from: &Path) -> Result<PathBuf> {
    /// Files of a directory.
    const OF_ONE: usize = 1000;
    let piece = vec![b'x'; 1 << 20];
    let mut last = PathBuf::new();
    for number in 0..source.files {
        let sub = format!("d{}", number / OF_ONE);
        if number % OF_ONE == 0 {
            fs::create_dir_all(from.join(&sub))?;
        }
        last = Path::new(&sub).join(format!("f{number}"));
        let mut file = File::create_new(from.join(&last))?;
        let mut left = (source.bytes)(number);
        while left > 0 {
            let part = left.min(piece.len() as u64);
            file.write_all(&piece[..part as usize])?;
            left -= part;
        }
    }
    said("sync", &["-f"], from)?;
    Ok(last)
}

/// What a program says of a path.
fn said(program: &str, args: &[&str], of: &Path) -> Result<String> {
    let output = Command::new(program).args(args).arg(of).output();
    let output = output.with_context(|| program.to_owned())?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}", args.join(" "), said.trim_end());
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}
