//! The latencies as a log of HdrHistogram, a histogram for each operation.

use super::summary::{Latency, Summary};
use hdrhistogram::serialization::V2Serializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

/// # Errors
/// Those of writing.
pub fn write(summary: &Summary, mut out: &mut dyn Write) -> io::Result<()> {
    let mut operations: BTreeMap<&str, Latency> = BTreeMap::new();
    for row in &summary.rows {
        match operations.get_mut(row.operation.as_str()) {
            Some(sum) => sum.add(&row.latency_ns).map_err(io::Error::other)?,
            None => drop(operations.insert(&row.operation, row.latency_ns.clone())),
        }
    }
    let mut serializer = V2Serializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("latencies in nanoseconds, from acceptance to result; written by aio2")
        .begin_log_with(&mut out, &mut serializer)?;
    let span = Duration::from_nanos(summary.span_ns);
    for (operation, latency) in operations {
        log.write_histogram(&latency, Duration::ZERO, span, Tag::new(operation))
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
    }
    Ok(())
}
