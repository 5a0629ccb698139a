//! What a dump consists of, and how it is printed.

use crate::attribute::{self, Fields};
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// Something decoded: a line of values, and lines of details.
#[derive(Debug)]
pub struct Record {
    /// What it is, with its place among its like.
    pub what: &'static str,
    /// Where it begins, in bytes from the start of the file.
    pub offset: usize,
    /// Its values.
    pub fields: Fields,
    /// What it contains: attributes or returns, each with a name.
    pub parts: Vec<(String, Fields)>,
}

/// Prints records one by one and counts problems.
pub struct Printer<W> {
    json: bool,
    out: W,
    records: u64,
    problems: u64,
}

impl<W: Write> Printer<W> {
    /// Prints to `out`, for a program if `json`.
    pub fn new(json: bool, out: W) -> Self {
        Printer { json, out, records: 0, problems: 0 }
    }

    /// Prints a record.
    pub fn record(&mut self, record: Record) -> io::Result<()> {
        self.records += 1;
        let Record { what, offset, fields, parts } = record;
        if self.json {
            return self.line(&as_json(what, offset, fields, parts));
        }
        writeln!(self.out, "{offset:#010x} {what}: {}", attribute::line(&fields))?;
        for (name, fields) in parts {
            let colon = if fields.is_empty() { "" } else { ": " };
            writeln!(self.out, "           {name}{colon}{}", attribute::line(&fields))?;
        }
        Ok(())
    }

    /// Prints what is wrong at `offset`, with what would be right.
    pub fn problem(&mut self, offset: usize, what: &str) -> io::Result<()> {
        self.problems += 1;
        if self.json {
            return self.line(&json!({ "what": "problem", "offset": offset, "problem": what }));
        }
        writeln!(self.out, "{offset:#010x} PROBLEM: {what}")
    }

    /// Prints the sums; returns the number of problems.
    pub fn finish(mut self) -> io::Result<u64> {
        let (records, problems) = (self.records, self.problems);
        if self.json {
            self.line(&json!({ "what": "end", "records": records, "problems": problems }))?;
        } else {
            writeln!(self.out, "{records} records, {problems} problems")?;
        }
        self.out.flush()?;
        Ok(problems)
    }

    fn line(&mut self, value: &Value) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, value)?;
        writeln!(self.out)
    }
}

fn as_json(what: &str, offset: usize, fields: Fields, parts: Vec<(String, Fields)>) -> Value {
    let mut object =
        Map::from_iter([("what".to_owned(), json!(what)), ("offset".to_owned(), json!(offset))]);
    object.append(&mut attribute::object(fields));
    let parts: Vec<Value> = parts
        .into_iter()
        .map(|(name, fields)| {
            let mut part = Map::from_iter([("name".to_owned(), json!(name))]);
            part.append(&mut attribute::object(fields));
            Value::Object(part)
        })
        .collect();
    object.insert("attributes".to_owned(), Value::Array(parts));
    Value::Object(object)
}

/// The names of flags in one word.
pub fn flags<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.collect();
    if names.is_empty() { "none".into() } else { names.join("|") }
}

/// How far bytes are well-formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WellFormed {
    pub bytes: usize,
}

impl WellFormed {
    /// Whether they are from the first to the last, and there are any.
    pub fn is_multiple(self, bytes: &[u8]) -> bool {
        self.bytes == bytes.len() && !bytes.is_empty()
    }
}
