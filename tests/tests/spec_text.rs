//! SPEC.md as a text: its links lead somewhere, and its examples are true.
//!
//! Which rules it has, and which tests show them, is in `traceability.rs`.

use aio2::backend::{Backend, Wait};
use aio2::engine::Engine;
use aio2_abi::event::EventView;
use aio2_abi::iocb::Stream;
use aio2_abi::setup::Setup;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use zerocopy::IntoBytes;

fn spec() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../SPEC.md");
    std::fs::read_to_string(path).expect("SPEC.md is there")
}

/// The name by which a heading can be linked to.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// Everything that can be linked to, as often as it stands there.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let headings = headings.map(|line| slug(line.trim_start_matches('#').trim()));
    let ids = text.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next());
    headings.chain(ids.map(str::to_owned)).collect()
}

/// What the internal links lead to.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](#").skip(1).filter_map(|rest| rest.split(')').next())
}

#[test]
fn internal_links_lead_to_one_place_each() {
    let text = spec();
    let all = anchors(&text);
    let places: BTreeSet<&String> = all.iter().collect();
    assert_eq!(places.len(), all.len(), "two places with one name");
    let dead: Vec<&str> =
        links(&text).filter(|link| !places.contains(&(*link).to_owned())).collect();
    assert_eq!(dead, [""; 0]);
    assert!(links(&text).count() > 15, "the list of contents has links");
    let named = |name: &str| places.contains(&name.to_owned());
    assert!(named("r-ring-1") && named("11-lifetime") && !named("12-lifetime"));
}

#[test]
fn sections_that_are_named_are_there() {
    let text = spec();
    let mut missing = Vec::new();
    let numbers = text.match_indices("section ").map(|(at, word)| &text[at + word.len()..]);
    for rest in numbers {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number = rest[..end].trim_end_matches('.');
        let is_heading = |line: &str| {
            let title = line.trim_start_matches('#').trim();
            line.starts_with('#') && title.strip_prefix(number).is_some_and(|t| t.starts_with(' '))
        };
        if !number.is_empty() && !text.lines().any(is_heading) {
            missing.push(number);
        }
    }
    assert_eq!(missing, [""; 0]);
}

/// An example: its fields, each with its value as it stands in the text.
#[derive(Debug, Default)]
struct Example {
    title: String,
    bytes: Vec<u8>,
    fields: Vec<(String, i128)>,
}

impl Example {
    /// The value of the first field of this name.
    fn field(&self, name: &str) -> Option<i128> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| *value)
    }

    fn fields(&self, prefix: &str) -> impl Iterator<Item = i128> {
        let fields = self.fields.iter().filter(move |(field, _)| field.starts_with(prefix));
        fields.map(|(_, value)| *value)
    }

    /// Adds a row of the table; what is wrong with it.
    fn add(&mut self, row: &str) -> Result<(), String> {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let &[offset, bytes, field, value] = cells.as_slice() else {
            return Err(format!("{row} is no row"));
        };
        if offset.parse() != Ok(self.bytes.len()) {
            return Err(format!("{row} does not stand at {}", self.bytes.len()));
        }
        let bytes: Result<Vec<u8>, _> =
            bytes.split(' ').map(|byte| u8::from_str_radix(byte, 16)).collect();
        let bytes = bytes.map_err(|e| format!("{row}: {e}"))?;
        let number = value.split(' ').next().unwrap_or_default();
        let number: i128 = number.parse().map_err(|e| format!("{row}: {e}"))?;
        let mut room = [if number < 0 { 0xff } else { 0 }; 16];
        room[..bytes.len()].copy_from_slice(&bytes);
        if i128::from_le_bytes(room) != number {
            return Err(format!("{row}: the bytes say {}", i128::from_le_bytes(room)));
        }
        self.bytes.extend(bytes);
        self.fields.push((field.to_owned(), number));
        Ok(())
    }
}

/// The examples of the text, in order.
fn examples(text: &str) -> Result<Vec<Example>, String> {
    let mut found: Vec<Example> = Vec::new();
    let (_, appendix) = text.split_once("\n## Appendix G").ok_or("there are no examples")?;
    for line in appendix.lines() {
        if let Some(title) = line.strip_prefix("### ") {
            found.push(Example { title: title.to_owned(), ..Example::default() });
        } else if line.starts_with("| ") && !line.starts_with("| offset ") {
            found.last_mut().ok_or("a table without a title")?.add(line)?;
        }
    }
    Ok(found)
}

/// Copies bytes to where an iocb may stand.
fn aligned(bytes: &[u8]) -> Vec<u64> {
    let mut words = vec![0; bytes.len().div_ceil(8)];
    words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
    words
}

fn check_iocb(example: &Example) {
    let words = aligned(&example.bytes);
    let mut stream = Stream::new(words.as_bytes()).expect("it is aligned");
    let iocb = stream.next().expect("an iocb").expect("it is well-formed");
    assert!(stream.next().is_none(), "{}", example.title);
    let header = iocb.header;
    for (name, value) in [
        ("len", i128::from(header.len)),
        ("nr_args", header.nr_args.into()),
        ("flags", header.flags.into()),
        ("nr", header.nr.into()),
        ("resv", header.resv.into()),
        ("user_data", header.user_data.into()),
        ("id", header.id.into()),
    ] {
        assert_eq!(example.field(name), Some(value), "{}: {name}", example.title);
    }
    let args = iocb.args[..usize::from(header.nr_args)].iter().map(|arg| *arg as i64);
    assert!(example.fields("args[").eq(args.map(i128::from)), "{}", example.title);
    let ids = iocb.attrs().map(|attr| attr.id.into());
    assert!(example.fields("attr id").eq(ids), "{}", example.title);
    let flags = iocb.attrs().map(|attr| attr.flags.bits().into());
    assert!(example.fields("attr flags").eq(flags), "{}", example.title);
}

fn check_event(example: &Example) {
    let (event, rest) = EventView::parse(&example.bytes).expect("it is an event");
    assert!(rest.is_empty(), "{}", example.title);
    for (name, value) in [
        ("len", i128::from(event.header.len)),
        ("flags", event.header.flags.into()),
        ("user_data", event.header.user_data.into()),
        ("res", event.header.res.into()),
    ] {
        assert_eq!(example.field(name), Some(value), "{}: {name}", example.title);
    }
    let ids = event.returns().map(|ret| ret.id.into());
    assert!(example.fields("return id").eq(ids), "{}", example.title);
    let statuses = event.returns().map(|ret| ret.status.into());
    assert!(example.fields("return status").eq(statuses), "{}", example.title);
}

#[test]
fn examples_are_what_stands_beside_their_bytes() {
    if cfg!(target_endian = "big") {
        println!("SKIP: the examples are those of a little-endian machine");
        return;
    }
    let examples = examples(&spec()).expect("each row is right");
    let of = |kind: &str| examples.iter().filter(|e| e.title.starts_with(kind)).collect::<Vec<_>>();
    let (iocbs, events) = (of("iocb: "), of("event: "));
    assert_eq!((iocbs.len(), events.len(), examples.len()), (3, 4, 7));
    iocbs.iter().for_each(|example| check_iocb(example));
    events.iter().for_each(|example| check_event(example));

    let engine = Engine::new(&Setup { version: 1, ..Setup::default() }, None).expect("a context");
    let mut stream = aligned(&[&iocbs[0].bytes[..], &iocbs[2].bytes].concat());
    let bytes = stream.as_bytes().len();
    // SAFETY: neither names memory.
    assert_eq!(unsafe { engine.submit(stream.as_mut_bytes()) }, Ok(bytes));
    let mut found = [0; 1024];
    let wait = Wait::events(2).within(Duration::from_secs(20));
    // SAFETY: nothing is submitted.
    let got = unsafe { engine.wait(&wait, &mut [], Some(&mut found)) }.expect("two events");
    assert_eq!(found[..got.bytes], [&events[0].bytes[..], &events[1].bytes].concat());
}

#[test]
fn a_wrong_example_is_found() {
    let row = "| 0 | 01 00 | kind | 1 |";
    assert_eq!(Example::default().add(row), Ok(()));
    for wrong in ["| 8 | 01 00 | kind | 1 |", "| 0 | 01 00 | kind | 2 |", "| 0 | 0x | kind | 1 |"] {
        assert!(Example::default().add(wrong).is_err(), "{wrong}");
    }
    assert!(examples("no appendix").is_err());
}
