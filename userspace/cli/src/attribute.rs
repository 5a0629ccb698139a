//! Attributes in words: parsed from the command line, and described.
//!
//! Duty: the payloads of SPEC section 8, as named values, for `exec` and
//! `dump`. Bytes may come from anywhere: what is no valid payload is shown in
//! hexadecimal.

use crate::{errno, printable};
use aio2_abi::attr::{self, AttrFlags};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use zerocopy::IntoBytes;

/// The values of `aio2_cache.hint`, by number.
const HINTS: [&str; 4] = ["normal", "keep", "drop", "no-readahead"];
/// The values of `aio2_after.kind`, by number.
const TARGETS: [&str; 3] = ["request", "group", "stream"];
/// The values of `aio2_path_return.where`, by number.
const PLACES: [&str; 4] = ["inline", "page-wait", "worker", "device"];

/// Named values, in order.
pub type Fields = Vec<(&'static str, Value)>;

/// An attribute to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub id: u16,
    pub flags: AttrFlags,
    pub payload: Vec<u8>,
}

/// Parses `NAME[=VALUE][,required]`.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub fn parse(spec: &str) -> Result<Asked, String> {
    let mut parts = spec.split(',');
    let (name, value) = match parts.next().unwrap_or_default().split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (parts_first(spec), None),
    };
    let mut flags = AttrFlags::RETURN;
    for option in parts {
        match option {
            "required" => flags |= AttrFlags::REQUIRED,
            other => return Err(format!("{spec}: option {other:?} is not known: required is")),
        }
    }
    let id = attr::id_by_name(name)
        .or_else(|| name.parse().ok().filter(|id| (1..=attr::ID_MAX).contains(id)))
        .ok_or_else(|| {
            let known: Vec<_> = (1..=attr::ID_MAX).filter_map(attr::kind).map(|k| k.name).collect();
            let known = known.join(", ").to_lowercase();
            format!("{spec}: no attribute {name:?}: there are {known}, and numbers from 1 to 63")
        })?;
    let payload = payload(id, value).map_err(|why| format!("{spec}: {why}"))?;
    Ok(Asked { id, flags, payload })
}

fn parts_first(spec: &str) -> &str {
    spec.split(',').next().unwrap_or_default()
}

/// The payload of attribute `id` for a value of the command line.
fn payload(id: u16, value: Option<&str>) -> Result<Vec<u8>, String> {
    let Some(value) = value else {
        return match attr::kind(id) {
            Some(kind) if !kind.optional => {
                Err(format!("{} needs a value: {0}=VALUE", kind.name.to_lowercase()))
            }
            _ => Ok(Vec::new()),
        };
    };
    let number = || number(value).ok_or_else(|| format!("{value:?} is not a number"));
    Ok(match id {
        attr::PRIORITY => {
            let ioprio = number()?;
            let ioprio = u32::try_from(ioprio).map_err(|_| format!("{value} is above 2^32"))?;
            attr::Priority { ioprio, resv: 0 }.as_bytes().to_vec()
        }
        attr::DEADLINE | attr::GROUP | attr::TAG => number()?.as_bytes().to_vec(),
        attr::CACHE => {
            let hint = HINTS.iter().position(|&hint| hint == value);
            let hint = hint.ok_or_else(|| format!("{value:?} is none of {}", HINTS.join(", ")))?;
            attr::Cache { hint: hint as u32, resv: 0 }.as_bytes().to_vec()
        }
        attr::CHECKSUM if value == "crc32c" => attr::Checksum::default().as_bytes().to_vec(),
        attr::CHECKSUM => return Err(format!("{value:?} is not crc32c")),
        attr::TIMING | attr::PATH => return Err("it takes no value".into()),
        _ => from_hex(value).ok_or_else(|| {
            format!("{value:?} is not a payload in hexadecimal: two digits a byte, up to 512")
        })?,
    })
}

/// A number in decimal, hexadecimal or octal.
fn number(text: &str) -> Option<u64> {
    match text.get(..2) {
        Some("0x" | "0X") => u64::from_str_radix(text.get(2..)?, 16).ok(),
        Some("0o" | "0O") => u64::from_str_radix(text.get(2..)?, 8).ok(),
        _ => text.parse().ok(),
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || digits.len() > 1024 {
        return None;
    }
    let byte = |pair: &[u8]| Some(printable::hex(pair[0])? << 4 | printable::hex(pair[1])?);
    digits.chunks_exact(2).map(byte).collect()
}

/// Bytes in hexadecimal.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _written = write!(hex, "{byte:02x}");
        hex
    })
}

/// Name of attribute `id`; a number if version 1 does not know it.
pub fn name(id: u16) -> String {
    attr::kind(id).map_or_else(|| format!("attribute {id}"), |kind| kind.name.to_lowercase())
}

/// One of the `names`, or the number.
fn choice(names: &[&str], value: u32) -> Value {
    names.get(value as usize).map_or_else(|| json!(value), |name| json!(name))
}

/// The payload of a request's attribute.
pub fn request_fields(id: u16, payload: &[u8]) -> Fields {
    known_request(id, payload).unwrap_or_else(|_| unknown(payload))
}

fn known_request(id: u16, payload: &[u8]) -> Result<Fields, attr::BadPayload> {
    Ok(match id {
        attr::PRIORITY => {
            let priority: attr::Priority = attr::payload(payload)?;
            vec![("ioprio", json!(priority.ioprio))]
        }
        attr::DEADLINE => {
            let deadline: attr::Deadline = attr::payload(payload)?;
            vec![("timeout_ns", json!(deadline.timeout_ns))]
        }
        attr::SIGNAL => {
            let signal: attr::Signal = attr::payload(payload)?;
            let attr::Signal { signo, tid, value } = signal;
            vec![("signo", json!(signo)), ("tid", json!(tid)), ("value", json!(value))]
        }
        attr::GROUP => {
            let group: attr::Group = attr::payload(payload)?;
            vec![("key", json!(group.key))]
        }
        attr::AFTER => {
            let after: attr::After = attr::payload(payload)?;
            vec![("target", json!(after.target)), ("kind", choice(&TARGETS, after.kind))]
        }
        attr::CACHE if !payload.is_empty() => {
            let cache: attr::Cache = attr::payload(payload)?;
            vec![("hint", choice(&HINTS, cache.hint))]
        }
        attr::TAG => {
            let tag: attr::Tag = attr::payload(payload)?;
            vec![("tag", json!(tag.tag))]
        }
        attr::CHECKSUM if !payload.is_empty() => {
            let checksum: attr::Checksum = attr::payload(payload)?;
            vec![("kind", choice(&["crc32c"], checksum.kind))]
        }
        _ => unknown(payload),
    })
}

/// The payload of an attribute's return.
pub fn return_fields(id: u16, payload: &[u8]) -> Fields {
    known_return(id, payload).unwrap_or_else(|_| unknown(payload))
}

fn known_return(id: u16, payload: &[u8]) -> Result<Fields, attr::BadPayload> {
    Ok(match id {
        attr::CACHE => {
            let cache: attr::CacheReturn = attr::payload(payload)?;
            vec![("hit_bytes", json!(cache.hit)), ("miss_bytes", json!(cache.miss))]
        }
        attr::TIMING => {
            let timing: attr::TimingReturn = attr::payload(payload)?;
            let attr::TimingReturn { submitted, started, completed } = timing;
            vec![
                ("submitted_ns", json!(submitted)),
                ("started_ns", json!(started)),
                ("completed_ns", json!(completed)),
                ("waited_ns", json!(started.wrapping_sub(submitted))),
                ("ran_ns", json!(completed.wrapping_sub(started))),
            ]
        }
        attr::PATH => {
            let path: attr::PathReturn = attr::payload(payload)?;
            vec![
                ("where", choice(&PLACES, path.place)),
                ("cpu", json!(path.cpu)),
                ("blocked_ns", json!(path.blocked_ns)),
            ]
        }
        attr::CHECKSUM => {
            let sum: attr::ChecksumReturn = attr::payload(payload)?;
            vec![
                ("kind", choice(&["crc32c"], sum.kind)),
                ("value", json!(format!("{:#010x}", sum.value))),
                ("bytes", json!(sum.bytes)),
            ]
        }
        _ => unknown(payload),
    })
}

fn unknown(payload: &[u8]) -> Fields {
    if payload.is_empty() { Vec::new() } else { vec![("payload", json!(to_hex(payload)))] }
}

/// Whether a return was handled, or why not.
pub fn status(status: i32) -> String {
    match status.checked_neg() {
        Some(0) => "handled".into(),
        Some(errno) if errno > 0 => errno::text(errno),
        _ => format!("status {status}, which is neither 0 nor a negative error number"),
    }
}

/// Named values on one line.
pub fn line(fields: &Fields) -> String {
    let pairs = fields.iter().map(|(name, value)| match value {
        Value::String(text) => format!("{name} {text}"),
        value => format!("{name} {value}"),
    });
    pairs.collect::<Vec<_>>().join(", ")
}

/// Named values as an object.
pub fn object(fields: Fields) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_becomes_an_attribute_that_is_described_the_same() {
        for (spec, id, described) in [
            ("timing", attr::TIMING, ""),
            ("cache=drop,required", attr::CACHE, "hint drop"),
            ("checksum", attr::CHECKSUM, ""),
            ("tag=0x10", attr::TAG, "tag 16"),
            ("deadline=1000", attr::DEADLINE, "timeout_ns 1000"),
            ("42=00ff", 42, "payload 00ff"),
        ] {
            let asked = parse(spec).unwrap();
            assert_eq!(asked.id, id, "{spec}");
            assert_eq!(asked.flags.contains(AttrFlags::REQUIRED), spec.ends_with("required"));
            assert_eq!(line(&request_fields(id, &asked.payload)), described, "{spec}");
        }
    }

    #[test]
    fn a_bad_spec_says_what_would_be_right() {
        for (spec, says) in [
            ("colour", "timing"),
            ("64", "63"),
            ("tag", "tag=VALUE"),
            ("cache=hot", "no-readahead"),
            ("timing=1", "no value"),
            ("42=0", "hexadecimal"),
            ("timing,urgent", "required"),
        ] {
            assert!(parse(spec).unwrap_err().contains(says), "{spec}: {:?}", parse(spec));
        }
    }

    #[test]
    fn any_payload_can_be_described() {
        for id in 0..=attr::ID_MAX + 1 {
            for len in 0..40 {
                line(&request_fields(id, &vec![0xff; len]));
                line(&return_fields(id, &vec![0xff; len]));
            }
        }
    }
}
