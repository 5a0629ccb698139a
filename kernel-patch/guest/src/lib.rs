//! What the guest says to its host: lines on the second serial port.
//!
//! Both sides use these: the guest's first process writes them, xtask reads
//! them. Kernel messages never come this way.

pub mod leftovers;

use std::fmt;

/// The serial port of the report, in the guest.
pub const REPORT: &str = "/dev/ttyS1";
/// The list of commands to run, a line each, in the initrd.
pub const COMMANDS: &str = "/commands";
/// Where the guest's disk is mounted, if it is given one.
pub const FILES: &str = "/disk";
/// What is on that disk, in the initrd: chunks, back to back.
pub const IMAGE: &str = "/image";
/// Bytes of a chunk.
pub const CHUNK: usize = 4096;
/// A command of the first process itself: writes its arguments to the kernel's
/// log, as if the kernel had said it.
pub const PLANT: &str = "plant";
/// Operations in a measurement of the program `cost`.
pub const OPERATIONS: usize = 512;
/// What every line of the first process begins with.
const MARK: &str = "aio2-guest: ";

/// A chunk of the disk's image: where it goes, and its bytes.
#[must_use]
pub fn chunk(at: u64, bytes: &[u8; CHUNK]) -> Vec<u8> {
    [&at.to_le_bytes()[..], bytes].concat()
}

/// The chunks of an image; what is no whole chunk at its end is left out.
pub fn chunks(image: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let (records, _) = image.as_chunks::<{ 8 + CHUNK }>();
    records.iter().map(|record| {
        let (at, bytes) = record.split_at(8);
        (at.iter().rev().fold(0, |at, byte| at << 8 | u64::from(*byte)), bytes)
    })
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

/// A line of the first process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A command begins; its output follows.
    Begin(String),
    /// The command has ended.
    End(End),
    /// A process that the command has left behind.
    Left(String),
    /// A line of the kernel's list of leaked memory.
    Leak(String),
    /// Something in the guest's set-up failed.
    Broken(String),
    /// All commands were run.
    Done,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mark::Begin(command) => write!(f, "{MARK}begin {command}"),
            Mark::End(End::Exit(status)) => write!(f, "{MARK}exit {status}"),
            Mark::End(End::Signal(signal)) => write!(f, "{MARK}signal {signal}"),
            Mark::Left(process) => write!(f, "{MARK}left {process}"),
            Mark::Leak(line) => write!(f, "{MARK}leak {line}"),
            Mark::Broken(what) => write!(f, "{MARK}broken {what}"),
            Mark::Done => write!(f, "{MARK}done"),
        }
    }
}

impl Mark {
    /// The mark that a line is; None for a line of a command's output.
    #[must_use]
    pub fn parse(line: &str) -> Option<Mark> {
        // A command may have ended within a line.
        let (_, rest) = line.split_once(MARK)?;
        let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let number = || rest.parse().ok();
        match word {
            "begin" => Some(Mark::Begin(rest.into())),
            "exit" => Some(Mark::End(End::Exit(number()?))),
            "signal" => Some(Mark::End(End::Signal(number()?))),
            "left" => Some(Mark::Left(rest.into())),
            "leak" => Some(Mark::Leak(rest.into())),
            "broken" => Some(Mark::Broken(rest.into())),
            "done" => Some(Mark::Done),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_read_as_it_was_written() {
        let image = [chunk(0, &[1; CHUNK]), chunk(0x1_2345_6000, &[2; CHUNK])].concat();
        let read: Vec<_> = chunks(&image).map(|(at, bytes)| (at, bytes[7])).collect();
        assert_eq!(read, [(0, 1), (0x1_2345_6000, 2)]);
    }

    #[test]
    fn what_is_written_is_read() {
        for mark in [
            Mark::Begin("aio2-conform --list".into()),
            Mark::End(End::Exit(77)),
            Mark::End(End::Signal(11)),
            Mark::Left("12 sleeper".into()),
            Mark::Leak("unreferenced object".into()),
            Mark::Broken("mount".into()),
            Mark::Done,
        ] {
            assert_eq!(Mark::parse(&mark.to_string()), Some(mark));
        }
        assert_eq!(Mark::parse("ok"), None);
    }
}
