//! Bytes as a person can read them, without loss: file names and buffers.
//!
//! Duty: text that shows any bytes on one line and says which bytes they were,
//! and the way back for arguments. Not here: hexadecimal dumps.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// Shows bytes: printable UTF-8 as it is, everything else as `\n`, `\xNN`, `\u{N}`.
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(pub &'a [u8]);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    '\n' => f.write_str("\\n")?,
                    '\r' => f.write_str("\\r")?,
                    '\t' => f.write_str("\\t")?,
                    c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                    c if c.is_control() => write!(f, "{}", c.escape_unicode())?,
                    c => f.write_char(c)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// The bytes that `text` stands for: `\n`, `\r`, `\t`, `\0`, `\\`, `\xNN`.
///
/// # Errors
/// The escape that is none of these.
pub fn unescape(text: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    if !text.contains(&b'\\') {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'\\' {
            bytes.push(first);
            continue;
        }
        let (byte, taken) = match rest {
            [b'n', ..] => (b'\n', 1),
            [b'r', ..] => (b'\r', 1),
            [b't', ..] => (b'\t', 1),
            [b'0', ..] => (0, 1),
            [b'\\', ..] => (b'\\', 1),
            [b'x', high, low, ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => return Err(bad_escape(rest)),
            },
            _ => return Err(bad_escape(rest)),
        };
        bytes.push(byte);
        rest = &rest[taken..];
    }
    Ok(Cow::Owned(bytes))
}

fn bad_escape(rest: &[u8]) -> String {
    format!(
        "escape \\{} is not one of \\n \\r \\t \\0 \\\\ \\xNN",
        Printable(&rest[..rest.len().min(3)])
    )
}

/// The value of a hexadecimal digit.
pub fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|d| d as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_are_shown_on_one_line_and_found_again() {
        let bytes: Vec<u8> = (0..=255).collect();
        let shown = Printable(&bytes).to_string();
        assert!(!shown.contains('\n'));
        assert_eq!(unescape(shown.as_bytes()).unwrap().as_ref(), bytes);
        assert_eq!(Printable("naïve\nfile".as_bytes()).to_string(), "naïve\\nfile");
    }

    #[test]
    fn an_unknown_escape_is_named() {
        assert!(unescape(b"a\\q").unwrap_err().contains("\\q"));
        assert!(unescape(b"a\\xg0").is_err());
        assert!(unescape(b"a\\").is_err());
    }
}
