//! How far it is, for a person who watches.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the line is drawn.
const INTERVAL: Duration = Duration::from_millis(100);

/// A line on the terminal, if standard error is one.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    drawn: Mutex<Instant>,
}

impl Progress {
    /// Shown only to a terminal, and not if `quiet`.
    pub fn new(quiet: bool) -> Self {
        let shown = !quiet && stderr().is_terminal();
        let bar = shown.then(|| {
            let style = "{spinner} {elapsed_precise}  {bytes} at {bytes_per_sec}  {msg}";
            let style = ProgressStyle::with_template(style);
            let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
            ProgressBar::new_spinner().with_style(style)
        });
        Progress { bar, drawn: Mutex::new(Instant::now()) }
    }

    /// Draws the line, if it is time.
    pub fn show(&self, files: u64, bytes: u64, failures: u64) {
        let Some(bar) = &self.bar else { return };
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if drawn.elapsed() < INTERVAL {
            return;
        }
        *drawn = Instant::now();
        bar.set_position(bytes);
        bar.set_message(match failures {
            0 => format!("{files} files"),
            n => format!("{files} files, {n} failures"),
        });
    }

    /// Prints a line on standard error, above the progress. Where nobody can read
    /// it, it is not said: the exit status tells.
    pub fn say(&self, line: &str) {
        let _unread = self.suspend(|| stderr().write_all(format!("{line}\n").as_bytes()));
    }

    /// Runs something that prints.
    pub fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Removes the line.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
