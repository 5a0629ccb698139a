//! `cargo xtask bench fio`: the drop-ins beside the originals, and AIO2's engine for
//! fio beside others, in one run.
//!
//! Each round runs all contenders of a row one after the other on the same file; the
//! ratio to the first of them is taken within the round, and its median is told; so is
//! that of the processor time of a request, all threads together, which says more where
//! the machine has other things to do. What was to go through AIO2 and did not fails the
//! run.

use super::page::Spread;
use crate::install;
use aio2_record::{Count, Counters};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROUNDS: usize = 5;
const FILE_MIB: usize = 64;

/// A way to read a file.
struct Contender {
    name: &'static str,
    engine: &'static str,
    /// Of the environment, the value a file of the drop-ins' directory, or that itself.
    environment: Option<(&'static str, &'static str)>,
    reaches: Reaches,
}

/// By what it is known that requests have reached AIO2.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reaches {
    Nothing,
    /// A drop-in counts them.
    DropIn,
    /// The engine's report.
    Engine,
    /// The same, and each is recorded.
    Recorded,
}

const fn original(name: &'static str, engine: &'static str) -> Contender {
    Contender { name, engine, environment: None, reaches: Reaches::Nothing }
}

/// Contenders, the first one of which the others are held against, and the ratio
/// that each of these is to reach: at depth 1, at depth 32, for direct transfers.
type Group = ([f64; 3], Vec<Contender>);

fn groups() -> [Group; 4] {
    let drop_in = |name, engine, environment| Contender {
        name,
        engine,
        environment: Some(environment),
        reaches: Reaches::DropIn,
    };
    let aio2 = |name, reaches| Contender { name, engine: "external:", environment: None, reaches };
    [
        (
            [1.6, 1.3, 0.9],
            vec![
                original("libaio", "libaio"),
                drop_in("libaio drop-in", "libaio", ("LD_LIBRARY_PATH", "")),
            ],
        ),
        (
            [20.0, 1.5, 0.0],
            vec![
                original("glibc's POSIX AIO", "posixaio"),
                drop_in("POSIX AIO drop-in", "posixaio", ("LD_PRELOAD", "libaio2-posix.so")),
            ],
        ),
        (
            [0.0; 3],
            vec![
                original("io_uring", "io_uring"),
                original("psync", "psync"),
                aio2("AIO2's engine", Reaches::Engine),
            ],
        ),
        (
            [1.0 / 1.15; 3],
            vec![
                aio2("AIO2's engine, no record", Reaches::Engine),
                aio2("AIO2's engine, recorded", Reaches::Recorded),
            ],
        ),
    ]
}

/// How requests are made.
struct How {
    name: &'static str,
    depth: &'static str,
    options: &'static [&'static str],
    is_direct: bool,
}

const BATCHES: [&str; 2] = ["--iodepth_batch_submit=32", "--iodepth_batch_complete_min=32"];
const HOWS: [How; 5] = [
    How { name: "cached, depth 1", depth: "1", options: &[], is_direct: false },
    How { name: "cached, depth 32", depth: "32", options: &[], is_direct: false },
    How { name: "cached, batches of 32", depth: "32", options: &BATCHES, is_direct: false },
    How { name: "direct, depth 1", depth: "1", options: &[], is_direct: true },
    How { name: "direct, depth 32", depth: "32", options: &[], is_direct: true },
];

/// What a contender has done in a round.
#[derive(Clone, Copy)]
struct Round {
    /// Requests in a second.
    rate: f64,
    /// Processor time of a request.
    cpu_ns: f64,
}

/// Where all of it is.
struct Stage {
    dir: tempfile::TempDir,
    drop_ins: PathBuf,
}

pub fn run(as_json: bool) -> Result<()> {
    let target = crate::root().join("target/side-by-side");
    install::run(&install::Args {
        prefix: "/usr".into(),
        destdir: target.clone(),
        profile: "dist".into(),
        fio: true,
    })?;
    let stage =
        Stage { dir: tempfile::tempdir_in(&target)?, drop_ins: target.join("usr/lib/aio2") };
    let mut file = fs::File::create(stage.path("file"))?;
    let block: Vec<u8> =
        (0..1_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for _ in 0..FILE_MIB {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    if !as_json {
        println!("4 KiB reads of {FILE_MIB} MiB, medians of {ROUNDS} rounds of a second");
        println!(
            "{:<24} {:<26} {:>10} {:>8} {:>8} {:>10} {:>8}",
            "", "", "IOPS", "ratio", "goal", "CPU ns", "ratio"
        );
    }
    for (goals, contenders) in groups() {
        for how in &HOWS {
            row(&stage, how, goals, &contenders, as_json)?;
        }
    }
    Ok(())
}

/// Runs the rounds of a row, and prints it.
fn row(
    stage: &Stage,
    how: &How,
    goals: [f64; 3],
    contenders: &[Contender],
    as_json: bool,
) -> Result<()> {
    let mut all = vec![Vec::new(); contenders.len()];
    for _ in 0..ROUNDS {
        for (rounds, contender) in all.iter_mut().zip(contenders) {
            let round = stage.round(how, contender);
            rounds.push(round.with_context(|| format!("{}, {}", contender.name, how.name))?);
        }
    }
    let goal = match how {
        How { is_direct: true, .. } => goals[2],
        How { depth: "1", .. } => goals[0],
        _ => goals[1],
    };
    for (n, contender) in contenders.iter().enumerate() {
        let told = |of: fn(&Round) -> f64| {
            let ratios = all[n].iter().zip(&all[0]).map(|(own, first)| of(own) / of(first));
            (median(all[n].iter().map(of).collect()), median(ratios.collect()))
        };
        let ((rate, ratio), (cpu, cpu_ratio)) = (told(|r| r.rate), told(|r| r.cpu_ns));
        let goal = if n > 0 && goal > 0.0 { Some(goal) } else { None };
        if as_json {
            let line = json!({
                "how": how.name, "contender": contender.name, "iops": rate, "ratio": ratio,
                "goal": goal, "cpu_ns": cpu, "cpu_ratio": cpu_ratio,
            });
            println!("{line}");
        } else {
            let goal = goal.map_or_else(String::new, |goal| format!("{goal:.2}"));
            println!(
                "{:<24} {:<26} {rate:>10.0} {ratio:>8.2} {goal:>8} {cpu:>10.0} {cpu_ratio:>8.2}",
                how.name, contender.name
            );
        }
    }
    Ok(())
}

fn median(of: Vec<f64>) -> f64 {
    Spread::of(of).map_or(f64::NAN, |spread| spread.mid)
}

impl Stage {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn round(&self, how: &How, contender: &Contender) -> Result<Round> {
        let (count, record) = (self.path("count"), self.path("record"));
        for file in [&count, &record] {
            let _ = fs::remove_file(file);
        }
        let mut fio = Command::new("fio");
        fio.current_dir(self.dir.path())
            .args(["--name=t", "--filename=file", "--rw=randread", "--bs=4k", "--invalidate=0"])
            .args(["--time_based", "--runtime=1", "--output-format=json"])
            .arg(format!("--iodepth={}", how.depth))
            .args(how.options)
            .arg(format!("--direct={}", u8::from(how.is_direct)));
        let is_own = matches!(contender.reaches, Reaches::Engine | Reaches::Recorded);
        if is_own {
            let engine = self.drop_ins.join(aio2_link::FIO.soname);
            fio.arg(format!("--ioengine={}{}", contender.engine, engine.display()));
        } else {
            fio.arg(format!("--ioengine={}", contender.engine));
        }
        if let Some((variable, file)) = contender.environment {
            fio.env(variable, self.drop_ins.join(file)).env("AIO2_COUNT", &count);
        }
        if contender.reaches == Reaches::Recorded {
            fio.env("AIO2_RECORD", &record);
        }
        let before = cpu_of_children()?;
        let output = fio.output().context("fio cannot be started (apt-get install fio)")?;
        let cpu = cpu_of_children()? - before;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        // A note may stand before it.
        let json = said.find('{').map_or("", |at| &said[at..]);
        let told: Value = serde_json::from_str(json).context("fio's report")?;
        let read = &told["jobs"][0]["read"];
        let done = read["total_ios"].as_u64().unwrap_or(0);
        let reached = reached(contender.reaches, &count, &record)?;
        ensure!(reached.is_none_or(|n| n >= done), "{reached:?} of {done} requests reached AIO2");
        let rate = read["iops"].as_f64().context("fio tells no rate")?;
        Ok(Round { rate, cpu_ns: cpu * 1e9 / done.max(1) as f64 })
    }
}

/// Processor time of all children so far, in seconds: proc_pid_stat(5).
pub fn cpu_of_children() -> Result<f64> {
    /// USER_HZ, which no architecture has otherwise.
    const TICKS: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat")?;
    // Behind the name, which may have spaces, cutime and cstime are the 14th and 15th.
    let behind = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind.split_whitespace().skip(13).take(2).map(str::parse::<u64>);
    Ok(ticks.sum::<Result<u64, _>>()? as f64 / TICKS)
}

/// How many requests have reached AIO2, as far as that is counted.
fn reached(by: Reaches, count: &Path, record: &Path) -> Result<Option<u64>> {
    Ok(match by {
        Reaches::DropIn => Some(Counters::open(count)?.get(Count::Events)),
        Reaches::Recorded => {
            let record = aio2_record::read(record)?;
            Some(record.requests.len() as u64 + record.lost)
        }
        Reaches::Nothing | Reaches::Engine => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert!((median(vec![9.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }

    #[test]
    fn each_group_is_held_against_its_first() {
        for (_, contenders) in groups() {
            assert!(contenders.len() > 1);
            assert_ne!(contenders[0].name, contenders[1].name);
        }
    }
}
