//! `cargo xtask bench --costs`: what a call costs while more and more requests are
//! in flight, in instructions, as a table.
//!
//! That it does not grow with them is what the table shows: a call that looked at
//! all of them would cost a thousand times as much in the last column. Time is not
//! measured, and the kernel's instructions are not counted.

use super::budget;
use crate::packages;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Where the table is.
const TABLE: &str = "userspace/benches/COSTS.md";
/// What the head of the table says before the compiler.
const HEAD: &str = "| call, with so many in flight | 10^3 | 10^4 | 10^5 | 10^6 | ";
/// Requests in flight.
const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// How much more a call may cost with the most in flight than with the fewest: room
/// for what depends on their logarithm.
const GROWTH: f64 = 3.0;

/// What to do with what was counted.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Costs {
    /// Fail if a call costs more the more there are in flight
    Check,
    /// Also write the table anew
    Write,
}

pub fn run(costs: Costs) -> Result<()> {
    if cfg!(not(target_arch = "x86_64")) {
        println!("SKIP costs: the program asks valgrind as it is asked on x86-64");
        return Ok(());
    }
    packages::for_counting(&xshell::Shell::new()?)?;
    let program = budget::build("costs")?;
    let names = Command::new(&program).output()?.stdout;
    let mut rows = Vec::new();
    for name in String::from_utf8(names)?.lines() {
        let mut row = Vec::new();
        for len in SIZES {
            row.push(each(&program, name, len)?);
        }
        println!("{name:<60} {row:>12.0?}");
        rows.push((name.to_owned(), row));
    }
    if costs == Costs::Write {
        let table = crate::root().join(TABLE);
        let text = fs::read_to_string(&table).context(TABLE)?;
        fs::write(&table, with_rows(&text, &budget::compiler()?, &rows))?;
    }
    check(&rows)
}

/// Instructions of one call while `len` requests are in flight.
fn each(program: &Path, name: &str, len: usize) -> Result<f64> {
    let arguments = [name, &len.to_string()];
    let (count, said) = budget::collected(program, &arguments, &["--instr-atstart=no"])?;
    let calls: f64 = said.trim().parse().with_context(|| format!("{name}: {said:?}"))?;
    Ok(count as f64 / calls)
}

/// `text` with its table replaced, which stands at its end.
fn with_rows(text: &str, compiler: &str, rows: &[(String, Vec<f64>)]) -> String {
    let before = text.split_once(HEAD).map_or(text, |(before, _)| before);
    let mut all = format!("{before}{HEAD}{compiler} |\n|---|---:|---:|---:|---:|---|\n");
    for (name, row) in rows {
        let cells: Vec<_> = row.iter().map(|count| format!("{count:.0}")).collect();
        all += &format!("| {name} | {} | |\n", cells.join(" | "));
    }
    all
}

/// Fails if a call costs much more with many in flight.
fn check(rows: &[(String, Vec<f64>)]) -> Result<()> {
    ensure!(!rows.is_empty(), "nothing was counted");
    for (name, row) in rows {
        let (Some(first), Some(last)) = (row.first(), row.last()) else { bail!("{name}: no row") };
        ensure!(
            *first > 0.0 && last / first <= GROWTH,
            "{name}: {first:.0} instructions with {}, {last:.0} with {}",
            SIZES[0],
            SIZES[SIZES.len() - 1]
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_with_those_in_flight_fails() {
        let row = |last: f64| vec![("a".to_owned(), vec![100.0, 100.0, 100.0, last])];
        assert!(check(&row(299.0)).is_ok() && check(&row(1000.0)).is_err());
        assert!(check(&[]).is_err());
    }

    #[test]
    fn a_table_is_replaced() {
        let rows = [("a".to_owned(), vec![1.2, 2.0, 3.0, 4.0])];
        let text = with_rows("# Title\n\n", "rustc 1", &rows);
        assert!(text.ends_with("| a | 1 | 2 | 3 | 4 | |\n"));
        assert_eq!(with_rows(&text, "rustc 1", &rows), text);
    }
}
