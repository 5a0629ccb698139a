//! `cargo xtask bench --kernel`: costs by counted instructions, in one boot.
//!
//! The machine's clock ticks once an instruction, so that the numbers are the
//! same in every run and on every host. They say nothing of caches and locks.

use super::Workshop;
use super::boot::{Machine, tail};
use super::config::Config;
use super::guest::{self, Program};
use super::report::Report;
use crate::packages;
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::time::Duration;

const COST: Program = Program { package: "aio2-guest", binary: "cost" };
/// The null block device completes within the submission.
const APPEND: &str = "null_blk.irqmode=0 null_blk.submit_queues=1";

/// A measured number.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cost {
    operation: String,
    batch: u32,
    interface: String,
    instructions: u64,
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

/// Measures on the configuration for numbers, and prints a table, or with
/// `json` an object a line.
pub fn run(json: bool, config: Config) -> Result<()> {
    let shop = Workshop::open(None)?;
    packages::for_guest(&shop.sh)?;
    let kernel = shop.kernel(config)?;
    let dir = tempfile::tempdir()?;
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
        print!("{}", table(&costs));
    }
    Ok(())
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
    let mut text = format!("{:<12} {:>6}", "operation", "batch");
    columns.iter().for_each(|column| text += &format!(" {column:>12}"));
    text.push('\n');
    for row in rows {
        text += &format!("{:<12} {:>6}", row.0, row.1);
        for column in &columns {
            match cells.get(&(row, column)) {
                Some(instructions) => text += &format!(" {instructions:>12}"),
                None => text += &format!(" {:>12}", "-"),
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
