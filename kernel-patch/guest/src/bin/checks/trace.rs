//! The kernel's tracepoints, as tracefs shows them.

use anyhow::{Context, Result};
use std::fs;

const TRACEFS: &str = "/sys/kernel/tracing";

/// Tracing of some events, until it is dropped.
#[derive(Debug)]
pub struct Trace {
    events: &'static [&'static str],
}

/// A line of the trace.
#[derive(Debug)]
pub struct Hit {
    /// Name of the tracepoint.
    pub event: String,
    /// Name and number of the thread that ran, which an interrupt may have
    /// found there by chance.
    pub task: String,
    /// Whether it was hit in an interrupt, hard or soft.
    pub in_interrupt: bool,
    /// What the tracepoint says.
    pub text: String,
}

impl Trace {
    /// Begins with an empty trace of `events`, such as `aio2/aio2_complete`.
    pub fn begin(events: &'static [&'static str]) -> Result<Self> {
        write("trace", "")?;
        let trace = Trace { events };
        trace.switch("1")?;
        Ok(trace)
    }

    fn switch(&self, on: &str) -> Result<()> {
        self.events.iter().try_for_each(|event| write(&format!("events/{event}/enable"), on))
    }

    /// Ends it, and gives what was hit.
    pub fn end(self) -> Result<Vec<Hit>> {
        self.switch("0")?;
        let path = format!("{TRACEFS}/trace");
        let text = fs::read_to_string(&path).with_context(|| path)?;
        Ok(text.lines().filter(|line| !line.starts_with('#')).filter_map(Hit::parse).collect())
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // Best effort: the next trace begins anew.
        let _ = self.switch("0");
    }
}

impl Hit {
    /// A line is `task [cpu] flags time: event: text`; the third flag says in
    /// which context it was written.
    fn parse(line: &str) -> Option<Self> {
        let (head, rest) = line.split_once(": ")?;
        let (event, text) = rest.split_once(": ")?;
        let (task, rest) = head.rsplit_once(" [")?;
        let flags = rest.split_whitespace().nth(1)?;
        let context = flags.chars().nth(2)?;
        Some(Hit {
            event: event.into(),
            task: task.trim().into(),
            in_interrupt: context != '.',
            text: text.into(),
        })
    }
}

fn write(file: &str, text: &str) -> Result<()> {
    let path = format!("{TRACEFS}/{file}");
    fs::write(&path, text).with_context(|| path)
}
