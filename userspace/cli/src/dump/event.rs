//! Events, one after another.

use super::record::{Printer, Record, WellFormed};
use crate::attribute::{self, Fields};
use crate::errno;
use aio2_abi::event::{EventFlags, EventView, Header, len_is_valid};
use serde_json::json;
use std::io::{self, Write};
use zerocopy::FromBytes;

/// How far the bytes are well-formed events.
pub fn well_formed(bytes: &[u8]) -> WellFormed {
    let mut rest = bytes;
    while let Ok((_, behind)) = EventView::parse(rest) {
        rest = behind;
    }
    WellFormed { bytes: bytes.len() - rest.len() }
}

/// Prints all events in `bytes`, the first of which is told to be at `offset`.
pub fn dump(bytes: &[u8], offset: usize, printer: &mut Printer<impl Write>) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let at = offset + (bytes.len() - rest.len());
        match EventView::parse(rest) {
            Ok((event, behind)) => {
                printer.record(record(&event, at))?;
                rest = behind;
            }
            Err(malformed) => {
                let Some(len) = skippable(rest) else {
                    let lost = rest.len();
                    let what = format!("{malformed}; the {lost} bytes from here on are left out");
                    return printer.problem(at, &what);
                };
                let what = format!("{malformed}; going on {len} bytes further, where it ends");
                printer.problem(at, &what)?;
                rest = &rest[len..];
            }
        }
    }
    Ok(())
}

/// The length of a malformed event, if that at least can be believed.
fn skippable(rest: &[u8]) -> Option<usize> {
    let (header, _) = Header::read_from_prefix(rest).ok()?;
    let len = header.len as usize;
    (len_is_valid(header.len) && len <= rest.len()).then_some(len)
}

fn record(event: &EventView<'_>, offset: usize) -> Record {
    let header = &event.header;
    let flags = EventFlags::from_bits_retain(header.flags);
    let unknown = flags.difference(EventFlags::all());
    let mut fields = vec![
        ("user_data", json!(format!("{:#x}", header.user_data))),
        ("result", json!(header.res)),
    ];
    if let Some(errno) = error(header.res) {
        fields.push(("error", json!(errno::text(errno))));
    }
    fields.push(("more", json!(flags.contains(EventFlags::MORE))));
    if !unknown.is_empty() {
        fields.push(("unknown_flags", json!(format!("{:#x}", unknown.bits()))));
    }
    fields.push(("bytes", json!(header.len)));
    Record { what: "event", offset, fields, parts: returns(event) }
}

/// The error number in a result, if it is one.
pub fn error(res: i64) -> Option<i32> {
    (-4095..0).contains(&res).then_some(-res as i32)
}

/// The attribute returns of an event, by name.
pub fn returns(event: &EventView<'_>) -> Vec<(String, Fields)> {
    let part = |ret: aio2_abi::event::Return<'_>| {
        let mut fields = vec![("status", json!(attribute::status(ret.status)))];
        if ret.status == 0 {
            fields.append(&mut attribute::return_fields(ret.id, ret.payload));
        }
        (attribute::name(ret.id), fields)
    };
    event.returns().map(part).collect()
}
