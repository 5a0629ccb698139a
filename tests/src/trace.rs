//! Traces: the calls of a run as text, which every implementation replays.
//!
//! One call a line, as its word and its numbers, in the order of the fields of
//! [`Op`]; what is behind `#` is a comment. The first line says what the
//! context is:
//!
//! ```text
//! # What it has shown once.
//! context 8            at most 8 requests, rings of 4096 bytes, one worker
//! submit 5 0x17        5 requests, whose kinds and returns these bits pick
//! gate                 the worker is busy from here
//! queue 2              2 requests that wait for it
//! cancel 1 true        one of them, by id
//! ungate
//! copy 600 3           io_getevents2: 600 bytes, min_events 3
//! exec forbidden 2     io_exec2, with 2 returns
//! ```
//!
//! [`Trace::replay`] runs one on an implementation and on the sequential model,
//! and tells a witness what the model says; the C core of the kernel series is
//! such a witness. A trace that fails is made smaller by [`smaller`].

pub mod smaller;

use crate::env::{Env, Factory, Outcome};
use crate::model::{self, Change, Kind, Op};
use arbitrary::{Arbitrary, Unstructured};
use std::fmt;
use std::fs::File;
use std::str::FromStr;

/// The traces of `tests/traces`: each has failed once, or shows something else
/// that must not be lost.
pub const COMMITTED: &[(&str, &str)] = &[
    ("dropped-overflow", include_str!("../traces/dropped-overflow.trace")),
    ("leaked-request", include_str!("../traces/leaked-request.trace")),
    ("overwritten-event", include_str!("../traces/overwritten-event.trace")),
];

/// A context and the calls on it.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The limit on requests, less one.
    pub limit: u8,
    /// The calls.
    pub ops: Vec<Op>,
}

impl Trace {
    /// What `bytes` stand for, of at most so many calls.
    #[must_use]
    pub fn decode(bytes: &[u8], most: usize) -> Trace {
        let mut u = Unstructured::new(bytes);
        let limit = u.arbitrary().unwrap_or(0);
        let mut ops = Vec::new();
        while !u.is_empty() && ops.len() < most {
            ops.extend(Op::arbitrary(&mut u).ok());
        }
        Trace { limit, ops }
    }

    /// Runs it on the implementation and on the model; `witness` is told what
    /// the model says.
    ///
    /// # Panics
    /// At the first difference.
    pub fn replay(&self, factory: &dyn Factory, file: &File, witness: &mut dyn FnMut(&Change)) {
        model::run(factory, file, self.limit, &self.ops, witness);
    }
}

/// A number of a trace: decimal, or 0x and hexadecimal.
fn number<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    let wrong = || format!("`{text}` is no number that can stand here");
    parsed.ok().and_then(|n| T::try_from(n).ok()).ok_or_else(wrong)
}

/// A field of a call, as text.
trait Field: Sized {
    fn read(text: &str) -> Result<Self, String>;
    fn show(&self) -> String;
}

impl Field for u8 {
    fn read(text: &str) -> Result<Self, String> {
        number(text)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Field for u16 {
    fn read(text: &str) -> Result<Self, String> {
        number(text)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// Fields of 32 bits are bits.
impl Field for u32 {
    fn read(text: &str) -> Result<Self, String> {
        number(text)
    }

    fn show(&self) -> String {
        format!("{self:#x}")
    }
}

impl Field for bool {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("`{text}` is neither true nor false"))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

const KINDS: [(&str, Kind); 4] = [
    ("nop", Kind::Nop),
    ("forbidden", Kind::Forbidden),
    ("wrong-arguments", Kind::WrongArguments),
    ("required", Kind::Required),
];

impl Field for Kind {
    fn read(text: &str) -> Result<Self, String> {
        let found = KINDS.iter().find(|(word, _)| *word == text);
        found.map(|(_, kind)| *kind).ok_or_else(|| format!("`{text}` is no kind of request"))
    }

    fn show(&self) -> String {
        let found = KINDS.iter().find(|(_, kind)| kind == self);
        found.map_or("", |(word, _)| word).to_owned()
    }
}

macro_rules! words {
    ($($word:literal $op:ident { $($at:tt $field:ident),* })*) => {
        impl fmt::Display for Op {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Op::$op { $($at: $field),* } => {
                        f.write_str($word)?;
                        $(write!(f, " {}", $field.show())?;)*
                        Ok(())
                    })*
                }
            }
        }

        impl FromStr for Op {
            type Err = String;

            fn from_str(line: &str) -> Result<Self, String> {
                let mut words = line.split_whitespace();
                let word = words.next().unwrap_or_default();
                let op = match word {
                    $($word => Op::$op {
                        $($at: Field::read(words.next().ok_or(concat!(
                            $word, " needs ", stringify!($field)))?)?),*
                    },)*
                    _ => return Err(format!("no call is named `{word}`")),
                };
                match words.next() {
                    Some(more) => Err(format!("`{more}` is too much")),
                    None => Ok(op),
                }
            }
        }
    };
}

words! {
    "submit" Submit { 0 count, 1 bits }
    "malformed" Malformed { 0 good }
    "submit-and-copy" SubmitAndCopy { 0 count, 1 bytes }
    "read" Read { 0 offset, 1 bytes }
    "gate" Gate {}
    "queue" Queue { 0 count }
    "ungate" Ungate {}
    "cancel" Cancel { 0 which, 1 by_id }
    "reap" Reap { 0 max }
    "copy" Copy { 0 bytes, 1 min_events }
    "wait" Wait { 0 min_events }
    "wait-id" WaitId { 0 which }
    "exec" Exec { 0 kind, 1 returns }
    "grow" Grow { 0 pages }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "context {}", u16::from(self.limit) + 1)?;
        self.ops.iter().try_for_each(|op| writeln!(f, "{op}"))
    }
}

impl FromStr for Trace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lines = text.lines().zip(1..).map(|(line, n)| (line.split('#').next(), n));
        let mut lines = lines.map(|(line, n)| (line.unwrap_or_default().trim(), n));
        let mut lines = lines.by_ref().filter(|(line, _)| !line.is_empty());
        let (first, _) = lines.next().ok_or("it is empty")?;
        let limit = first.strip_prefix("context ").ok_or("it does not begin with `context`")?;
        let limit: u16 = number(limit.trim())?;
        let limit = limit.checked_sub(1).and_then(|n| u8::try_from(n).ok());
        let limit = limit.ok_or("at most 256 requests, and at least one")?;
        let ops = lines.map(|(line, n)| line.parse().map_err(|e| format!("line {n}: {e}")));
        Ok(Trace { limit, ops: ops.collect::<Result<_, String>>()? })
    }
}

/// Each committed trace.
///
/// # Panics
/// If one cannot be read.
pub fn committed() -> impl Iterator<Item = (&'static str, Trace)> {
    COMMITTED.iter().map(|(name, text)| {
        let trace = text.parse().unwrap_or_else(|e| panic!("{name}: {e}"));
        (*name, trace)
    })
}

/// Conformance test: each committed trace.
pub(crate) fn committed_traces_go_as_the_model_says(env: &Env<'_>) -> Outcome {
    let file = model::file();
    for (name, trace) in committed() {
        println!("trace {name}");
        trace.replay(env.factory, &file, &mut |_| {});
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn what_is_written_is_what_is_read() {
        for seed in 0..50 {
            let trace = Trace::decode(&Random::new(seed).bytes(2000), 500);
            let text = trace.to_string();
            assert!(text.lines().count() > 100);
            let again: Trace = text.parse().expect("it is a trace");
            assert_eq!(again.to_string(), text);
            assert_eq!(format!("{:?}", again.ops), format!("{:?}", trace.ops));
        }
    }

    #[test]
    fn what_is_no_trace_is_refused_with_its_line() {
        let of = |text: &str| text.parse::<Trace>().map(|t| t.to_string());
        assert_eq!(
            of("# why\n\ncontext 256 # so\n  copy 0x10 3\n").unwrap(),
            "context 256\ncopy 16 3\n"
        );
        let context = "it does not begin with `context`";
        for (text, error) in [
            ("", "it is empty"),
            ("gate\n", context),
            ("context 0", "at most 256 requests, and at least one"),
            ("context 257", "at most 256 requests, and at least one"),
            ("context 1\n\nleap 1", "line 3: no call is named `leap`"),
            ("context 1\ncopy 1", "line 2: copy needs min_events"),
            ("context 1\ngate 1", "line 2: `1` is too much"),
            ("context 1\nreap 256", "line 2: `256` is no number that can stand here"),
            ("context 1\ncancel 1 yes", "line 2: `yes` is neither true nor false"),
            ("context 1\nexec jump 1", "line 2: `jump` is no kind of request"),
        ] {
            assert_eq!(of(text).unwrap_err(), error, "{text:?}");
        }
    }

    #[test]
    fn each_file_of_the_directory_is_replayed() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("traces");
        let mut names: Vec<String> = dir
            .read_dir()
            .expect("it is there")
            .map(|entry| entry.expect("a trace").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        let listed: Vec<String> =
            COMMITTED.iter().map(|(name, _)| format!("{name}.trace")).collect();
        assert_eq!(listed, names);
    }
}
