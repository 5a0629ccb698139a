//! What was measured, and where.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::fs;
use std::process::Command;

/// One contender at one kind of work, by rounds.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Measured {
    /// `engine`, `ring` or `tree`.
    pub bench: String,
    /// The kind of work.
    #[serde(default)]
    pub work: String,
    /// Requests in flight.
    #[serde(default)]
    pub depth: usize,
    /// Consumers of a ring; none: the producer's own thread.
    #[serde(default)]
    pub consumers: usize,
    /// By its name.
    pub contender: String,
    /// Round trip of a cache line, in ns, in the same run.
    #[serde(default)]
    pub round_trip_ns: f64,
    /// Time that passed for one operation.
    #[serde(default)]
    pub wall_ns: Vec<f64>,
    /// Processor time for one operation.
    #[serde(default)]
    pub cpu_ns: Vec<f64>,
    /// Or events in a second.
    #[serde(default)]
    pub per_second: Vec<f64>,
}

/// All of a run.
#[derive(Debug, Deserialize, Serialize)]
pub struct Results {
    /// The processors and how many.
    pub machine: String,
    /// The kernel's release.
    pub kernel: String,
    /// The file system of the scratch files.
    pub file_system: String,
    /// The compiler.
    pub compiler: String,
    /// The day, and the time at the beginning, UTC.
    pub day: String,
    /// What was measured was this commit, or on top of it.
    pub commit: String,
    /// Load averages at the beginning and at the end.
    pub load: [String; 2],
    /// What was measured.
    pub measured: Vec<Measured>,
}

/// A median and its quartiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The lower quartile.
    pub low: f64,
    /// The median.
    pub mid: f64,
    /// The upper quartile.
    pub high: f64,
}

impl Spread {
    /// Of these values, if there are any.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let [low, mid, high] = [1, 2, 3].map(|quarter| sorted[last * quarter / 4]);
        Some(Spread { low, mid, high })
    }
}

/// Ratios of values to those of the same rounds.
pub fn ratio(own: &[f64], base: &[f64]) -> Option<Spread> {
    Spread::of(own.iter().zip(base).map(|(own, base)| own / base))
}

impl Results {
    /// Nothing measured yet, on this machine.
    pub fn here() -> Result<Self> {
        let cpus = fs::read_to_string("/proc/cpuinfo")?;
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name"));
        let model = model.and_then(|rest| rest.split_once(": ")).map_or("?", |(_, name)| name);
        let number = std::thread::available_parallelism()?;
        let said = |program: &str, args: &[&str]| -> Result<String> {
            let output = Command::new(program).args(args).current_dir(crate::root()).output()?;
            Ok(String::from_utf8(output.stdout)?.trim().to_owned())
        };
        Ok(Results {
            machine: format!("{number} processors, {model}, {}", hypervisor(&cpus)),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            file_system: said("stat", &["-f", "-c", "%T", "."])?,
            compiler: crate::bench::budget::compiler()?,
            day: said("date", &["-u", "+%F %R"])?,
            commit: said("git", &["rev-parse", "--short", "HEAD"])?,
            load: [load()?, String::new()],
            measured: Vec::new(),
        })
    }

    /// Notes what stands at the end of a run.
    pub fn end(&mut self) -> Result<()> {
        self.load[1] = load()?;
        Ok(())
    }

    /// One line for each that was measured, so that two runs can be compared.
    pub fn to_json(&self) -> Result<String> {
        let mut all = serde_json::to_value(self)?;
        let measured = all["measured"].take();
        let mut text = serde_json::to_string_pretty(&all)?;
        let lines: Vec<String> =
            measured.as_array().into_iter().flatten().map(ToString::to_string).collect();
        text = text.replace("null", &format!("[\n{}\n]", lines.join(",\n")));
        Ok(text + "\n")
    }

    /// The works of the engine, in order, each once.
    pub fn works(&self) -> Vec<&str> {
        let mut works: Vec<&str> = Vec::new();
        for measured in self.measured.iter().filter(|measured| measured.bench == "engine") {
            if !works.contains(&measured.work.as_str()) {
                works.push(&measured.work);
            }
        }
        works
    }

    /// What was measured of a work at a depth, the one first that others are compared to.
    pub fn at(&self, work: &str, depth: usize) -> Vec<&Measured> {
        self.measured.iter().filter(|m| m.work == work && m.depth == depth).collect()
    }

    /// One of them.
    pub fn one(&self, work: &str, depth: usize, contender: &str) -> Option<&Measured> {
        self.at(work, depth).into_iter().find(|m| m.contender == contender)
    }

    /// What was measured of rings with so many consumers.
    pub fn ring(&self, consumers: usize) -> Vec<&Measured> {
        let here = |m: &&Measured| m.bench == "ring" && m.consumers == consumers;
        self.measured.iter().filter(here).collect()
    }
}

fn load() -> Result<String> {
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(load.split(' ').take(2).collect::<Vec<_>>().join(", "))
}

fn hypervisor(cpus: &str) -> &'static str {
    if cpus.contains(" hypervisor") { "virtual" } else { "bare" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        // A round that is twice as slow is so for both.
        let spread = ratio(&[10.0, 20.0, 30.0, 11.0, 9.0], &[5.0, 10.0, 15.0, 5.0, 5.0]).unwrap();
        assert_eq!((spread.low, spread.mid, spread.high), (2.0, 2.0, 2.0));
        assert_eq!(ratio(&[], &[]), None);
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let line = "{\"bench\":\"engine\",\"work\":\"NOP\",\"depth\":1,\"contender\":\"a\",\
                    \"round_trip_ns\":45.0,\"wall_ns\":[1.0,2.5],\"cpu_ns\":[1.0,2.0]}";
        let mut results = Results::here().unwrap();
        results.measured.push(serde_json::from_str(line).unwrap());
        let again: Results = serde_json::from_str(&results.to_json().unwrap()).unwrap();
        assert_eq!(again.one("NOP", 1, "a").unwrap().wall_ns, [1.0, 2.5]);
        assert_eq!(again.works(), ["NOP"]);
    }
}
