//! The page: the goals, what was measured of them, and the plots.

use super::results::{Measured, Results, Spread, ratio};
use super::{plot, tree};
use std::fmt::Write as _;

const CACHED: &str = "cached read, 4 KiB";
const DIRECT: &str = "O_DIRECT read, 4 KiB";
const COLD: &str = "cold read, 4 KiB";
const RAW: &str = "AIO2, io_uring";
const URING: &str = "io_uring";

/// What is compared.
#[derive(Clone, Copy)]
enum By {
    /// Time for one: less is better.
    Time,
    /// Processor time for one: less is better.
    Cpu,
    /// How many in a time: more is better.
    Rate,
}

/// A goal: what, the ratio that was found, and the one that is wanted.
struct Goal {
    what: String,
    found: Option<Spread>,
    /// At most, or at least.
    wanted: f64,
    at_most: bool,
}

/// The ratio of one contender to another.
fn compared(by: By, own: Option<&Measured>, base: Option<&Measured>) -> Option<Spread> {
    let (own, base) = (own?, base?);
    match by {
        By::Time => ratio(&own.wall_ns, &base.wall_ns),
        By::Cpu => ratio(&own.cpu_ns, &base.cpu_ns),
        By::Rate if own.per_second.is_empty() => ratio(&base.wall_ns, &own.wall_ns),
        By::Rate => ratio(&own.per_second, &base.per_second),
    }
}

fn goals(results: &Results) -> Vec<Goal> {
    let mut all = Vec::new();
    let mut goal = |what: String, found, (at_most, wanted)| {
        all.push(Goal { what, found, wanted, at_most });
    };
    let at = |by, work, depth, own, base| {
        compared(by, results.one(work, depth, own), results.one(work, depth, base))
    };
    let most = |wanted| (true, wanted);
    let least = |wanted| (false, wanted);
    let nowait = "preadv2, RWF_NOWAIT";
    for (base, name) in [(nowait, "preadv2(RWF_NOWAIT)"), (URING, "io_uring")] {
        let what = format!("cached read of 4 KiB, batch 32, time to {name}");
        goal(what, at(By::Time, CACHED, 32, RAW, base), most(1.05));
    }
    let what = "cached read of 4 KiB, one at a time, time to preadv2(RWF_NOWAIT)";
    goal(what.into(), at(By::Time, CACHED, 1, RAW, nowait), most(1.15));
    for (depth, wanted) in [(32, 1.08), (1, 1.10)] {
        let what =
            format!("the same by the safe queue, {depth} in flight, time to the raw interface");
        goal(what, at(By::Time, CACHED, depth, "AIO2, safe queue", RAW), most(wanted));
    }
    let what = "TIMING and CACHE on, batch 32, time to without";
    goal(what.into(), at(By::Time, CACHED, 32, "AIO2, TIMING and CACHE", RAW), most(1.15));
    goal("NOP, batch 32, rate to io_uring".into(), at(By::Rate, "NOP", 32, RAW, URING), least(4.0));
    for depth in [1, 32] {
        let what = format!("O_DIRECT read of 4 KiB, {depth} in flight, to io_uring");
        goal(format!("{what}: rate"), at(By::Rate, DIRECT, depth, RAW, URING), least(0.95));
        goal(format!("{what}: processor time"), at(By::Cpu, DIRECT, depth, RAW, URING), most(1.2));
    }
    goal(
        "cold read, 32 in flight, rate to io_uring".into(),
        at(By::Rate, COLD, 32, RAW, URING),
        least(1.0),
    );
    let what = "cold read, 32 in flight, processor time to io_uring";
    goal(what.into(), at(By::Cpu, COLD, 32, RAW, URING), most(1.2));
    let without = ["AIO2, Linux AIO", "AIO2, threads"];
    let without = without.into_iter().find(|name| results.one(DIRECT, 32, name).is_some());
    let what = format!(
        "O_DIRECT, 32 in flight, io_uring forbidden ({}), rate to Linux AIO",
        without.unwrap_or("not measured")
    );
    let found = without.and_then(|own| at(By::Rate, DIRECT, 32, own, "Linux AIO"));
    goal(what, found, least(1.0));
    let ring =
        |consumers, name: &str| results.ring(consumers).into_iter().find(|m| m.contender == name);
    let best = ["rtrb, chunks of 32", "ringbuf, batches of 32"].map(|name| ring(1, name));
    let middle = |m: &&Measured| Spread::of(m.per_second.iter().copied()).map_or(0.0, |s| s.mid);
    let best = best.into_iter().flatten().max_by(|a, b| middle(a).total_cmp(&middle(b)));
    let name = best.map_or("", |best| best.contender.as_str());
    for (own, wanted) in [("in place", 1.0), ("claimed", 0.9)] {
        let one = ring(1, &format!("aio2 {own}, batches of 32"));
        let what = format!("ring, 1 consumer, {own}, rate to {name}");
        goal(what, compared(By::Rate, one, best), least(wanted));
    }
    let one = ring(2, "aio2 claimed, one by one");
    let what = "ring, 2 consumers, one by one, rate to ArrayQueue";
    goal(what.into(), compared(By::Rate, one, ring(2, "crossbeam ArrayQueue")), least(2.0));
    let one = ring(2, "aio2 claimed, batches of 32");
    let what = "ring, 2 consumers, batches of 32, rate to two rings of ringbuf";
    let base = ring(2, "ringbuf, a ring each, batches of 32");
    goal(what.into(), compared(By::Rate, one, base), least(1.0));
    let trees: Vec<&Measured> = results.measured.iter().filter(|m| m.work == tree::WORK).collect();
    if let [cp, own] = trees[..] {
        let what = format!("`{}` of {} small files, rate to `cp -r`", own.contender, own.depth);
        goal(what, compared(By::Rate, Some(own), Some(cp)), least(1.5));
    }
    all
}

/// The page, with plots of these names.
pub fn page(results: &Results, plots: &[&str]) -> String {
    let Results { machine, kernel, file_system, compiler, day, commit, load, .. } = results;
    let [before, after] = load;
    let mut text = format!(
        "# What AIO2 costs beside its peers\n\n\
         Made by `cargo xtask bench --page`, which measures for some nine minutes and writes all of\n\
         this directory anew; do so on an idle machine. [results.json](results.json) has the times of\n\
         every round, and `--redraw` makes the page of them again.\n\n\
         | | |\n|---|---|\n| machine | {machine} |\n| kernel | Linux {kernel} |\n\
         | file system | {file_system} |\n| compiler | {compiler} |\n| day | {day} UTC |\n\
         | commit | {commit}, or on top of it |\n| load average before, after (1, 5 min) | {before}; {after} |\n\n\
         Each round has every contender do a piece of the same work, in turn. A ratio is taken within\n\
         a round; below stand the median of the rounds and, in brackets, the quartiles. Nanoseconds\n\
         are those of this machine: compare ratios. Processor time is all of the process, its kernel\n\
         threads included. io_uring is in its best mode (one issuer, deferred task work, ring, file and\n\
         memory registered). A thread pool, and AIO2 with threads, has a thread for each request in\n\
         flight, at most 64. Instructions of each path stand in [BUDGET.md](../BUDGET.md) and\n\
         [COSTS.md](../COSTS.md).\n\n## Goals\n\n\
         | what | goal | found | |\n|---|---|---|---|\n"
    );
    for Goal { what, found, wanted, at_most } in goals(results) {
        let sign = if at_most { "≤" } else { "≥" };
        let (found, met) = match found {
            None => ("not measured".into(), ""),
            Some(Spread { low, mid, high }) => {
                let met = if at_most { mid <= wanted } else { mid >= wanted };
                let met = if met { "met" } else { "not met" };
                (format!("{mid:.2} ({low:.2} to {high:.2})"), met)
            }
        };
        let _ = writeln!(text, "| {what} | {sign} {wanted:.2} | {found} | {met} |");
    }
    text += "\n## Plots\n";
    for name in plots {
        let _ = writeln!(text, "\n![{name}]({name}.svg)");
    }
    text += "\n## Numbers\n\nMedians: time for one, its ratio to the first contender, and the same of processor time.\n";
    for work in results.works() {
        let mut depths: Vec<usize> =
            results.measured.iter().filter(|m| m.work == work).map(|m| m.depth).collect();
        depths.sort_unstable();
        depths.dedup();
        for depth in depths {
            let all = results.at(work, depth);
            let Some(base) = all.first() else { continue };
            let _ = writeln!(
                text,
                "\n| {work}, {depth} in flight | time | ratio | processor time | ratio |\n|---|---:|---:|---:|---:|"
            );
            for m in &all {
                let own = |values: &[f64]| {
                    Spread::of(values.iter().copied())
                        .map_or_else(String::new, |s| plot::nanoseconds(s.mid))
                };
                let to = |own: &[f64], base: &[f64]| {
                    ratio(own, base).map_or_else(String::new, |s| format!("{:.2}", s.mid))
                };
                let _ = writeln!(
                    text,
                    "| {} | {} | {} | {} | {} |",
                    m.contender,
                    own(&m.wall_ns),
                    to(&m.wall_ns, &base.wall_ns),
                    own(&m.cpu_ns),
                    to(&m.cpu_ns, &base.cpu_ns)
                );
            }
        }
    }
    text
}
