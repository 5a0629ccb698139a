//! Reading a record, as far as it is whole.

use crate::format::{BlockHeader, MAGIC, NAMES, REQUESTS, Request, VERSION};
use crate::row::Rows;
use std::collections::HashMap;
use std::io;
use std::path::Path;
use zerocopy::FromBytes;

/// What a record holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The requests, in the order in which they were written.
    pub requests: Vec<Request>,
    /// Names of files, by process and number.
    pub names: HashMap<(u32, u32), String>,
    /// Requests that were lost since the recorder could not keep up.
    pub lost: u64,
    /// Bytes at the end that are no whole block: the writer was killed.
    pub cut_off: u64,
}

/// Reads the record at `path`, up to the last whole block.
///
/// # Errors
/// Those of reading; `InvalidData` if it does not begin with a block of this
/// version.
pub fn read(path: &Path) -> io::Result<Record> {
    let bytes = std::fs::read(path)?;
    let mut record = Record::default();
    let mut rest = &bytes[..];
    while let Some((block, payload, behind)) = next(rest) {
        record.lost += block.lost;
        match block.kind {
            REQUESTS => requests(payload, block.pid, &mut record.requests),
            NAMES => names(payload, block.pid, &mut record.names),
            // Of a later version: others go on.
            _ => {}
        }
        rest = behind;
    }
    if rest.len() == bytes.len() && !bytes.is_empty() {
        let why = format!("it does not begin with a whole block of a record of version {VERSION}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    record.cut_off = rest.len() as u64;
    Ok(record)
}

/// The first block, its payload, and what is behind it.
fn next(bytes: &[u8]) -> Option<(BlockHeader, &[u8], &[u8])> {
    let (block, rest) = BlockHeader::read_from_prefix(bytes).ok()?;
    let (payload, behind) = rest.split_at_checked(block.bytes as usize)?;
    let good = block.magic == MAGIC
        && block.version == VERSION
        && block.checksum == crc32c::crc32c(payload);
    good.then_some((block, payload, behind))
}

fn requests(mut payload: &[u8], pid: u32, to: &mut Vec<Request>) {
    let mut rows = Rows::default();
    while let Some((request, rest)) = rows.next(pid, payload) {
        to.push(request);
        payload = rest;
    }
}

fn names(mut payload: &[u8], pid: u32, to: &mut HashMap<(u32, u32), String>) {
    while let Ok(([number, len], rest)) = <[u32; 2]>::read_from_prefix(payload) {
        let Some((name, _)) = rest.split_at_checked(len as usize) else { return };
        to.insert((pid, number), String::from_utf8_lossy(name).into_owned());
        payload = rest.get((len as usize).next_multiple_of(8)..).unwrap_or_default();
    }
}
