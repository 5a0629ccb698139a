//! `cargo xtask bench --kernel`: costs by counted instructions, in one boot.
//!
//! The machine's clock ticks once an instruction, so that the numbers are the
//! same in every run and on every host. They say nothing of caches and locks.

use super::Workshop;
use super::boot::{Machine, tail};
use super::config::Config;
use super::guest::{self, Program};
use super::profile::{self, Plugin};
use super::report::Report;
use crate::bench::budget::{self, Budget, Row};
use crate::packages;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

const COST: Program = Program { package: "aio2-guest", binary: "cost" };
/// The null block device completes within the submission.
const APPEND: &str = "null_blk.irqmode=0 null_blk.submit_queues=1";

/// What AIO2's rows are held to.
const TABLE: &str = "kernel-patch/BUDGET.md";

/// A measured number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    pub operation: String,
    pub batch: u32,
    pub interface: String,
    pub instructions: u64,
}

impl Cost {
    /// A line of the program that measures.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("cost ")?.split(' ');
        Some(Cost {
            operation: words.next()?.into(),
            batch: words.next()?.parse().ok()?,
            interface: words.next()?.into(),
            instructions: words.next()?.parse().ok()?,
        })
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "bench": "kernel",
            "operation": self.operation,
            "batch": self.batch,
            "interface": self.interface,
            "instructions": self.instructions,
        })
    }
}

/// Measures on a configuration, and prints a table, or with `json` an object a
/// line; holds what AIO2 costs against the budget, or writes that.
///
/// With `profiled` the functions that take them are written to [`profile::TABLE`].
pub fn run(json: bool, config: Config, what: Budget, profiled: bool) -> Result<()> {
    let shop = Workshop::open(None)?;
    packages::for_guest(&shop.sh)?;
    let kernel = shop.kernel(config)?;
    let dir = tempfile::tempdir()?;
    let plugin = if profiled { Some(Plugin::build(dir.path())?) } else { None };
    let machine = Machine {
        kernel,
        initrd: guest::initrd(
            &shop,
            dir.path(),
            &[COST],
            &[],
            &[format!("/bin/{}", COST.binary)],
            &[],
        )?,
        append: APPEND.into(),
        counted: true,
        plugin: plugin.as_ref().map(Plugin::argument),
        timeout: Duration::from_secs(600),
    };
    let output = machine.run(dir.path())?;
    let report = Report::parse(&output.report);
    let said: String = report.commands.iter().map(|ran| ran.output.as_str()).collect();
    let wrong = report.complaints();
    if !wrong.is_empty() {
        bail!("{}\n{said}\n{}", wrong.join("\n"), tail(&output.console, 40));
    }
    let costs: Vec<Cost> = said.lines().filter_map(Cost::parse).collect();
    if json {
        costs.iter().for_each(|cost| println!("{}", cost.json()));
    } else {
        println!("instructions for one operation, user and kernel, kernel config {config}\n");
        println!("{}", table(&costs));
    }
    if let Some(plugin) = plugin {
        let program = guest::build(&shop, &[COST])?.swap_remove(0);
        let map = shop.cache.path(&format!("build-{config}")).join("System.map");
        profile::write(&plugin, &map, &program, &said, &costs, config)?;
    }
    hold(config, &costs, what)
}

/// Holds AIO2's costs against the rows of a configuration in the budget, or writes
/// these anew.
fn hold(config: Config, costs: &[Cost], what: Budget) -> Result<()> {
    let path = crate::root().join(TABLE);
    let text = fs::read_to_string(&path).context(TABLE)?;
    let compilers = compilers()?;
    let prefix = format!("{config}: ");
    let counted = rows(&prefix, costs);
    let (mine, others): (Vec<Row>, Vec<Row>) =
        budget::rows(&text).into_iter().partition(|(name, _)| name.starts_with(&prefix));
    match what {
        Budget::Check if !text.contains(&budget::head(&compilers)) => {
            println!("SKIP budget: {TABLE} is not by {compilers}");
            Ok(())
        }
        Budget::Check => budget::check(TABLE, &mine, &counted),
        Budget::Write => {
            let mut all = [others, counted].concat();
            all.sort_by(|(a, _), (b, _)| a.split(':').next().cmp(&b.split(':').next()));
            Ok(fs::write(&path, budget::with_rows(&text, &compilers, &all))?)
        }
    }
}

/// The compilers of both sides, by name and version.
fn compilers() -> Result<String> {
    let said = Command::new("gcc").arg("-dumpfullversion").output().context("gcc")?.stdout;
    Ok(format!("gcc {}, {}", String::from_utf8(said)?.trim(), budget::compiler()?))
}

/// AIO2's costs as rows of the budget.
fn rows(prefix: &str, costs: &[Cost]) -> Vec<Row> {
    let of_aio2 = costs.iter().filter(|cost| cost.interface.starts_with("aio2"));
    of_aio2
        .map(|cost| {
            let Cost { operation, batch, interface, instructions } = cost;
            let name = format!("{prefix}{operation}, batch {batch}, {interface}");
            (name, *instructions as f64)
        })
        .collect()
}

/// A row for each operation and batch, a column for each interface, in the
/// order in which they were measured.
fn table(costs: &[Cost]) -> String {
    let mut columns: Vec<&str> = Vec::new();
    let mut rows: Vec<(&str, u32)> = Vec::new();
    let mut cells = BTreeMap::new();
    for cost in costs {
        let (row, column) = ((cost.operation.as_str(), cost.batch), cost.interface.as_str());
        if !columns.contains(&column) {
            columns.push(column);
        }
        if !rows.contains(&row) {
            rows.push(row);
        }
        cells.insert((row, column), cost.instructions);
    }
    let mut text = format!("{:<14} {:>6}", "operation", "batch");
    columns.iter().for_each(|column| text += &format!(" {column:>15}"));
    text.push('\n');
    for row in rows {
        text += &format!("{:<14} {:>6}", row.0, row.1);
        for column in &columns {
            match cells.get(&(row, column)) {
                Some(instructions) => text += &format!(" {instructions:>15}"),
                None => text += &format!(" {:>15}", "-"),
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_ours_has_a_budget() {
        let said = "cost nop 1 io_uring 777\ncost nop 1 aio2 9\ncost nop 32 aio2+timing 10";
        let costs: Vec<Cost> = said.lines().filter_map(Cost::parse).collect();
        let row = |name: &str, count| (String::from(name), count);
        let expected =
            [row("c: nop, batch 1, aio2", 9.0), row("c: nop, batch 32, aio2+timing", 10.0)];
        assert_eq!(rows("c: ", &costs), expected);
    }

    #[test]
    fn what_an_interface_lacks_is_a_dash() {
        let said = "cost nop 1 io_uring 777\ncost read 1 io_uring 9\ncost read 1 libaio 10\nother";
        let costs: Vec<Cost> = said.lines().filter_map(Cost::parse).collect();
        assert_eq!(costs.len(), 3);
        let table = table(&costs);
        let rows: Vec<Vec<&str>> = table.lines().map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["operation", "batch", "io_uring", "libaio"]);
        assert_eq!(rows[1], ["nop", "1", "777", "-"]);
        assert_eq!(rows[2], ["read", "1", "9", "10"]);
    }
}
