//! Requests, one after another.

use super::record::{self, Printer, Record, WellFormed};
use crate::attribute;
use crate::exec::signature;
use aio2_abi::iocb::{HEADER_BYTES, Header, Iocb, LEN_MAX, Malformed, Stream};
use serde_json::json;
use std::io::{self, Write};
use zerocopy::FromBytes;

/// How far the bytes are well-formed requests.
pub fn well_formed(bytes: &[u8]) -> WellFormed {
    match Stream::new(bytes) {
        Ok(mut stream) => {
            while let Some(Ok(_)) = stream.next() {}
            WellFormed { bytes: stream.consumed() }
        }
        Err(_) => WellFormed { bytes: 0 },
    }
}

/// Prints all requests in `bytes`, which begin at a multiple of 8.
pub fn dump(bytes: &[u8], printer: &mut Printer<impl Write>) -> io::Result<()> {
    let mut offset = 0;
    while let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) {
        match Stream::new(rest).map(|stream| stream.peek()) {
            Ok(Some(Ok(iocb))) => {
                printer.record(record(&iocb, offset))?;
                offset += iocb.header.len as usize;
            }
            Ok(Some(Err(malformed))) | Err(malformed) => {
                let Some(len) = skippable(rest, malformed) else {
                    let lost = rest.len();
                    let what = format!("{malformed}; the {lost} bytes from here on are left out");
                    return printer.problem(offset, &what);
                };
                let what = format!("{malformed}; going on {len} bytes further, where it ends");
                printer.problem(offset, &what)?;
                offset += len;
            }
            Ok(None) => break,
        }
    }
    Ok(())
}

/// The length of a malformed request, if that at least can be believed.
fn skippable(rest: &[u8], malformed: Malformed) -> Option<usize> {
    let (header, _) = Header::read_from_prefix(rest).ok()?;
    let len = header.len as usize;
    let believable = (HEADER_BYTES..=LEN_MAX).contains(&len) && len.is_multiple_of(8);
    let inside = !matches!(malformed, Malformed::Misaligned) && len <= rest.len();
    (believable && inside).then_some(len)
}

fn record(iocb: &Iocb<'_>, offset: usize) -> Record {
    let header = &iocb.header;
    let args = &iocb.args[..usize::from(header.nr_args)];
    let flags = record::flags(iocb.flags().iter_names().map(|(name, _)| name));
    let fields = vec![
        ("call", json!(signature::call(header.nr, args))),
        ("nr", json!(header.nr)),
        ("args", json!(args.iter().map(|arg| format!("{arg:#x}")).collect::<Vec<_>>())),
        ("flags", json!(flags)),
        ("user_data", json!(format!("{:#x}", header.user_data))),
        ("id", json!(header.id)),
        ("bytes", json!(header.len)),
        ("event_bytes", json!(iocb.event_bytes)),
    ];
    let parts = iocb.attrs().map(|attr| {
        let flags = record::flags(attr.flags.iter_names().map(|(name, _)| name));
        let mut fields = vec![("flags", json!(flags))];
        fields.append(&mut attribute::request_fields(attr.id, attr.payload));
        (attribute::name(attr.id), fields)
    });
    Record { what: "iocb", offset, fields, parts: parts.collect() }
}
