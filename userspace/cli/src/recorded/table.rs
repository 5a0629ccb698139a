//! The report for a person.

use super::summary::{BLOCKED_NS, PERCENTILES, PLACES, Row, Summary};
use std::fmt;

/// Rows at most; the rest is summed up in a line.
const ROWS: usize = 20;
/// Letters of a file's name: its end tells more than its beginning.
const NAME: usize = 40;

pub struct Table<'a>(pub &'a Summary);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = self.0;
        let count: u64 = summary.rows.iter().map(|row| row.count).sum();
        writeln!(
            f,
            "{count} requests by {} threads of {} processes in {}",
            summary.threads,
            summary.processes,
            Time(summary.span_ns)
        )?;
        if summary.lost > 0 {
            writeln!(f, "{} more were not recorded: they came too fast", summary.lost)?;
        }
        if summary.cut_off_bytes > 0 {
            writeln!(
                f,
                "the record is cut off: its last {} bytes are not whole",
                summary.cut_off_bytes
            )?;
        }
        write!(f, "\n{:<10} {:>9} {:>6}", "operation", "count", "errors")?;
        for (name, _) in PERCENTILES {
            write!(f, " {name:>8}")?;
        }
        writeln!(f, " {:>8} {:>9} {:>9}  file", "max", "hit", "miss")?;
        for row in summary.rows.iter().take(ROWS) {
            write!(f, "{:<10} {:>9} {:>6}", row.operation, row.count, row.errors)?;
            for (_, quantile) in PERCENTILES {
                write!(f, " {:>8}", Time(row.percentile(quantile)).to_string())?;
            }
            let most = Time(row.latency_ns.max()).to_string();
            let (hit, miss) = (Bytes(row.hit_bytes).to_string(), Bytes(row.miss_bytes).to_string());
            writeln!(f, " {most:>8} {hit:>9} {miss:>9}  {}", end_of(&row.file))?;
        }
        if let Some(more) = summary.rows.len().checked_sub(ROWS).filter(|more| *more > 0) {
            writeln!(f, "and {more} more files")?;
        }
        places(f, summary)?;
        not_asynchronous(f, summary)
    }
}

fn places(f: &mut fmt::Formatter<'_>, summary: &Summary) -> fmt::Result {
    let sum = |place: usize| summary.rows.iter().map(|row| row.places[place]).sum::<u64>();
    let told: Vec<String> = PLACES
        .iter()
        .enumerate()
        .filter(|(place, _)| sum(*place) > 0)
        .map(|(place, name)| format!("{name} {}", sum(place)))
        .collect();
    if !told.is_empty() {
        writeln!(f, "\nwhere they ran: {}", told.join(", "))?;
    }
    let blocked: u64 = summary.rows.iter().map(|row| row.blocked_ns).sum();
    let most = summary.rows.iter().map(|row| row.blocked_most_ns).max().unwrap_or(0);
    writeln!(
        f,
        "submissions were blocked for {} all together, at most {} for one",
        Time(blocked),
        Time(most)
    )
}

/// What blocked its submission, or had to wait for a worker.
fn not_asynchronous(f: &mut fmt::Formatter<'_>, summary: &Summary) -> fmt::Result {
    let mut rows: Vec<&Row> =
        summary.rows.iter().filter(|row| row.blocked > 0 || row.places[2] > 0).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.blocked_most_ns.max(row.latency_ns.max())));
    if rows.is_empty() {
        return writeln!(f, "all were truly asynchronous, or did not block");
    }
    writeln!(f, "\nnot truly asynchronous:")?;
    for row in rows.iter().take(ROWS) {
        let name = end_of(&row.file);
        if row.blocked > 0 {
            writeln!(
                f,
                "  {}: {} of {} {} blocked their submission for more than {}, at most {}",
                name,
                row.blocked,
                row.count,
                row.operation,
                Time(BLOCKED_NS),
                Time(row.blocked_most_ns)
            )?;
        }
        if row.places[2] > 0 {
            writeln!(
                f,
                "  {}: {} of {} {} needed a worker; they waited for it at most {}, and took at most {}",
                name,
                row.places[2],
                row.count,
                row.operation,
                Time(row.waited_most_ns),
                Time(row.latency_ns.max())
            )?;
        }
    }
    Ok(())
}

/// The end of a name that is too long.
fn end_of(name: &str) -> String {
    let letters = name.chars().count();
    if letters <= NAME {
        return name.to_owned();
    }
    let end: String = name.chars().skip(letters - NAME + 1).collect();
    format!("…{end}")
}

/// A time in nanoseconds, with three digits and its unit.
pub struct Time(pub u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        scaled(f, self.0 as f64, &["ns", "µs", "ms", "s"], 1000.0)
    }
}

/// Bytes, with three digits and their unit.
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        scaled(f, self.0 as f64, &["B", "KiB", "MiB", "GiB", "TiB"], 1024.0)
    }
}

fn scaled(f: &mut fmt::Formatter<'_>, mut value: f64, units: &[&str], step: f64) -> fmt::Result {
    let mut unit = 0;
    while value >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let digits = match value {
        _ if unit == 0 => 0,
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    f.pad(&format!("{value:.digits$} {}", units[unit]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_three_digits_and_its_unit() {
        let told = [0, 999, 1000, 12_345, 999_999, 5_000_000_000].map(|ns| Time(ns).to_string());
        assert_eq!(told, ["0 ns", "999 ns", "1.00 µs", "12.3 µs", "1000 µs", "5.00 s"]);
    }

    #[test]
    fn a_long_name_keeps_its_end() {
        let name = format!("/{}/end", "x".repeat(100));
        assert!(end_of(&name).ends_with("/end"));
        assert_eq!(end_of(&name).chars().count(), NAME);
    }
}
