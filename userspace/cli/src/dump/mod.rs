//! `aio2 dump`: decodes saved requests, events and rings.
//!
//! Duty: read the bytes, find out what they are, and print records and
//! problems as they are found. The bytes are not trusted: each problem is told
//! with its offset, what is wrong and what would be right, and decoding goes
//! on where the next record can be found.

mod event;
mod iocb;
mod record;
mod ring;

use crate::args::{DumpArgs, Form, Global, unwritable};
use crate::exit::{Exit, Trouble};
use crate::printable::Printable;
use record::Printer;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use zerocopy::IntoBytes;

pub use event::{error, returns};

/// Largest dump, in bytes: the largest ring with its pages.
const LARGEST: u64 = (1 << 30) + (1 << 18);

/// Bytes at an address that is a multiple of 8, as the parsers want them.
pub struct Image {
    words: Vec<u64>,
    len: usize,
}

impl Image {
    fn read(mut from: impl Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        from.by_ref().take(LARGEST + 1).read_to_end(&mut bytes)?;
        let mut words = vec![0_u64; bytes.len().div_ceil(8)];
        words.as_mut_bytes()[..bytes.len()].copy_from_slice(&bytes);
        Ok(Image { words, len: bytes.len() })
    }

    fn bytes(&self) -> &[u8] {
        &self.words.as_bytes()[..self.len]
    }
}

/// Decodes a file.
///
/// # Errors
/// If it cannot be read or nobody can tell what it is.
pub fn run(global: &Global, args: &DumpArgs) -> Result<Exit, Trouble> {
    let shown = Printable(args.file.as_os_str().as_bytes());
    let image = read(&args.file).map_err(|error| Trouble::new(format!("{shown}: {error}")))?;
    let bytes = image.bytes();
    if bytes.len() as u64 > LARGEST {
        return Err(Trouble::new(format!("{shown}: above {LARGEST} bytes, which no ring has")));
    }
    let form = match args.form {
        Some(form) => form,
        None => detect(bytes).map_err(|why| Trouble::new(format!("{shown}: {why}")))?,
    };
    let mut printer = Printer::new(global.json, io::stdout().lock());
    let written = match form {
        Form::Iocb => iocb::dump(bytes, &mut printer),
        Form::Event => event::dump(bytes, 0, &mut printer),
        Form::Ring => ring::dump(bytes, &mut printer),
    };
    let problems = written.and_then(|()| printer.finish()).map_err(unwritable)?;
    Ok(if problems == 0 { Exit::Done } else { Exit::SomeFailed })
}

fn read(path: &Path) -> io::Result<Image> {
    if path == Path::new("-") {
        Image::read(io::stdin().lock())
    } else {
        Image::read(File::open(path)?)
    }
}

/// What the bytes are: a ring has a magic number; requests and events are told
/// apart by which of them the bytes are from the first to the last.
fn detect(bytes: &[u8]) -> Result<Form, &'static str> {
    if ring::find(bytes).is_some() {
        return Ok(Form::Ring);
    }
    if ring::lacks_consumer(bytes) {
        return Err("it is a ring without its consumer page: put that before it (cat both)");
    }
    let (iocbs, events) = (iocb::well_formed(bytes), event::well_formed(bytes));
    match (iocbs.is_multiple(bytes), events.is_multiple(bytes)) {
        (true, false) => Ok(Form::Iocb),
        (false, true) => Ok(Form::Event),
        _ if iocbs.bytes > events.bytes => Ok(Form::Iocb),
        _ if events.bytes > iocbs.bytes => Ok(Form::Event),
        _ => Err("it may be requests or events: say --as iocb, --as event or --as ring"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A generator of bytes that repeats itself from run to run.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }
    }

    fn dump_as_everything(bytes: &[u8]) {
        let image = Image::read(bytes).unwrap();
        let _form = detect(image.bytes());
        for json in [false, true] {
            let mut printer = Printer::new(json, io::sink());
            iocb::dump(image.bytes(), &mut printer).unwrap();
            event::dump(image.bytes(), 0, &mut printer).unwrap();
            ring::dump(image.bytes(), &mut printer).unwrap();
            printer.finish().unwrap();
        }
    }

    #[test]
    fn any_bytes_are_decoded_without_a_panic() {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for round in 0..4000 {
            let len = (random.next() % 300) as usize;
            let mut bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
            // Small first words make lengths that can be, and so go deeper.
            for at in (0..len.saturating_sub(8)).step_by(8) {
                if random.next().is_multiple_of(2) {
                    bytes[at..at + 8].copy_from_slice(&(random.next() % 128).to_ne_bytes());
                }
            }
            dump_as_everything(&bytes[..len.min(round)]);
        }
    }

    #[test]
    fn any_damage_to_a_ring_is_decoded_without_a_panic() {
        let mut random = Random(0x0123_4567_89ab_cdef);
        let ring = ring::tests::image(4096, u64::from(u32::MAX) - 15, &[24, 56, 24]);
        for _ in 0..2000 {
            let mut bytes = ring.clone();
            for _ in 0..random.next() % 4 {
                let page = [0, 4096, 4096 + 64, 8192][(random.next() % 4) as usize];
                let at = page + (random.next() % 16) as usize * 4;
                bytes[at..at + 4]
                    .copy_from_slice(&(random.next() as u32 >> (random.next() % 32)).to_ne_bytes());
            }
            bytes.truncate(bytes.len() - (random.next() % 6000) as usize);
            dump_as_everything(&bytes);
        }
    }
}
