//! How the command ends.

use std::fmt;
use std::process::ExitCode;

/// The outcome, and with it the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done: 0.
    Done,
    /// Something failed and was named: 1.
    SomeFailed,
    /// Everything was done, but that could not be printed: 3.
    ReportLost,
    /// Stopped by this signal: 128 and its number, as shells have it.
    Signal(usize),
    /// As the program that was run.
    OfProgram(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        match exit {
            Exit::Done => ExitCode::SUCCESS,
            Exit::OfProgram(status) => ExitCode::from(status),
            Exit::SomeFailed => ExitCode::from(1),
            Exit::ReportLost => ExitCode::from(3),
            Exit::Signal(signal) => ExitCode::from(128_u8.saturating_add(signal as u8)),
        }
    }
}

/// Why nothing could be done: usage or setup. Exit status 2.
#[derive(Debug)]
pub struct Trouble(String);

impl Trouble {
    /// What is wrong, and what would be right.
    pub fn new(what: impl Into<String>) -> Self {
        Trouble(what.into())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
