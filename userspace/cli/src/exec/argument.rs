//! Arguments of the command line, as registers and the memory behind them.

use super::memory::Memory;
use crate::printable::{Printable, unescape};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Largest buffer, in bytes.
const LARGEST: usize = 64 << 20;

/// An argument, with what it points to or names.
#[derive(Debug)]
pub struct Argument {
    /// The register's value. An address is that of `memory`.
    pub value: u64,
    memory: Option<Memory>,
    /// Open as long as the argument is used.
    _file: Option<File>,
    shown: Shown,
}

/// How an argument is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Number,
    /// By what it points to.
    Text,
    /// By its length, and after the call what it points to.
    After,
}

impl Argument {
    /// Parses an argument.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn parse(given: &OsStr) -> Result<Self, String> {
        let bytes = given.as_bytes();
        let shown = || Printable(bytes).to_string();
        let kind = bytes.iter().position(|&b| b == b':').map(|at| (&bytes[..at], &bytes[at + 1..]));
        match kind {
            Some((b"str", text)) => {
                let mut memory = unescape(text)?.into_owned();
                memory.push(0);
                Argument::pointer(&memory, Shown::Text)
            }
            Some((b"in", text)) => Argument::pointer(&unescape(text)?, Shown::Text),
            Some((b"buf", len)) => {
                let len = std::str::from_utf8(len).ok().and_then(|len| len.parse().ok());
                let len = len.filter(|len| *len <= LARGEST).ok_or_else(|| {
                    format!("{}: the length of a buffer is 0 to {LARGEST} bytes", shown())
                })?;
                Argument::pointer(&vec![0; len], Shown::After)
            }
            Some((b"fd", path)) => {
                let file = File::open(Path::new(OsStr::from_bytes(path)))
                    .map_err(|error| format!("{}: {error}", shown()))?;
                let value = i64::from(file.as_raw_fd()).cast_unsigned();
                Ok(Argument { value, memory: None, _file: Some(file), shown: Shown::Number })
            }
            _ => {
                let text = given.to_str().and_then(number);
                let value = text.ok_or_else(|| {
                    format!("{}: neither a number nor str:, in:, buf: or fd:", shown())
                })?;
                Ok(Argument { value, memory: None, _file: None, shown: Shown::Number })
            }
        }
    }

    fn pointer(contents: &[u8], shown: Shown) -> Result<Self, String> {
        let memory = Memory::new(contents).map_err(|error| format!("no memory: {error}"))?;
        Ok(Argument { value: memory.address(), memory: Some(memory), _file: None, shown })
    }

    /// The buffer that is to be shown after the call.
    pub fn buffer(&self) -> Option<&[u8]> {
        self.memory.as_ref().filter(|_| self.shown == Shown::After).map(Memory::bytes)
    }

    /// How a person reads it in the call; a number if not otherwise.
    pub fn text(&self) -> Option<String> {
        let bytes = self.memory.as_ref()?.bytes();
        Some(match self.shown {
            Shown::Number => return None,
            Shown::Text => {
                let text = bytes.strip_suffix(b"\0").unwrap_or(bytes);
                format!("\"{}\"", Printable(text).to_string().replace('"', "\\\""))
            }
            Shown::After => format!("[{} bytes]", bytes.len()),
        })
    }
}

/// A number as C has it: decimal, 0x, 0 or 0o for octal, with a minus.
fn number(text: &str) -> Option<u64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let value = if let Some(hex) = digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        u64::from_str_radix(hex, 16)
    } else if let Some(octal) = digits.strip_prefix("0o") {
        u64::from_str_radix(octal, 8)
    } else if digits.len() > 1 && digits.starts_with('0') {
        u64::from_str_radix(digits, 8)
    } else {
        digits.parse()
    };
    match (negative, value.ok()?) {
        (false, value) => Some(value),
        (true, value) if value <= 1 << 63 => Some(value.wrapping_neg()),
        (true, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_in_c() {
        for (text, value) in [
            ("0", Some(0)),
            ("10", Some(10)),
            ("0x1f", Some(31)),
            ("0644", Some(0o644)),
            ("0o644", Some(0o644)),
            ("-100", Some((-100_i64).cast_unsigned())),
            ("18446744073709551615", Some(u64::MAX)),
            ("-9223372036854775808", Some(1 << 63)),
            ("-9223372036854775809", None),
            ("", None),
            ("0x", None),
            ("12a", None),
        ] {
            assert_eq!(number(text), value, "{text:?}");
        }
    }

    #[test]
    fn a_string_ends_with_a_zero_byte_and_a_buffer_is_shown() {
        let string = Argument::parse(OsStr::new("str:a\\n")).unwrap();
        assert_eq!(string.memory.as_ref().map(Memory::bytes), Some(b"a\n\0".as_slice()));
        assert_eq!(string.text().as_deref(), Some("\"a\\n\""));
        assert_eq!(string.buffer(), None);
        let buffer = Argument::parse(OsStr::new("buf:3")).unwrap();
        assert_eq!(buffer.buffer(), Some([0; 3].as_slice()));
        assert!(Argument::parse(OsStr::new("buf:-1")).unwrap_err().contains("buf:-1"));
        assert!(Argument::parse(OsStr::new("fd:/nonexistent")).is_err());
        assert!(Argument::parse(OsStr::new("x:1")).unwrap_err().contains("str:"));
    }
}
