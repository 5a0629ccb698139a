//! Random values for fuzzing: streams of iocbs and of events, mostly
//! well-formed, and then with any field replaced.
//!
//! Duty: to make bytes that get far into a parser before they break a rule.
//! What a parser must make of them is said elsewhere.
//!
//! SPEC: sections 6.1, 7 and 8 (formats).

use crate::{attr, event, iocb, op};
use arbitrary::{Arbitrary, Result, Unstructured};
use core::fmt;
use zerocopy::IntoBytes;

/// Words of 8 bytes in the buffer of a random stream.
const WORDS: usize = 512;

/// A stream of iocbs, aligned to 8 bytes.
#[derive(Clone)]
pub struct Iocbs {
    words: [u64; WORDS],
    len: usize,
}

/// A stream of events, aligned to 8 bytes.
#[derive(Clone)]
pub struct Events {
    words: [u64; WORDS],
    len: usize,
}

macro_rules! stream {
    ($name:ident) => {
        impl $name {
            /// Its bytes.
            #[must_use]
            pub fn bytes(&self) -> &[u8] {
                &self.words.as_bytes()[..self.len]
            }

            /// Its bytes, to be changed.
            #[must_use]
            pub fn bytes_mut(&mut self) -> &mut [u8] {
                &mut self.words.as_mut_bytes()[..self.len]
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:02x?})", stringify!($name), self.bytes())
            }
        }
    };
}

stream!(Iocbs);
stream!(Events);

/// Syscall numbers and operations, those that there are most of all.
fn number(u: &mut Unstructured<'_>) -> Result<u32> {
    Ok(match u.int_in_range(0..=4)? {
        0 => op::NOP,
        1 => op::OP | u.int_in_range(0..=3)?,
        2 | 3 => u.int_in_range(0..=511)?,
        _ => u.arbitrary()?,
    })
}

/// An attribute id: a known one, one that can be, or any.
fn attribute(u: &mut Unstructured<'_>) -> Result<u16> {
    Ok(match u.int_in_range(0..=3)? {
        0 | 1 => u.int_in_range(1..=10)?,
        2 => u.int_in_range(1..=attr::ID_MAX)?,
        _ => u.arbitrary()?,
    })
}

/// Where the fields of a stream are, with their sizes: what a parser looks at.
struct Fields {
    places: [(usize, usize); 160],
    len: usize,
}

impl Fields {
    const IOCB: &'static [(usize, usize)] = &[(0, 4), (4, 2), (6, 2), (8, 4), (12, 4), (24, 8)];
    const EVENT: &'static [(usize, usize)] = &[(0, 4), (4, 4), (16, 8)];
    const ATTR: &'static [(usize, usize)] = &[(0, 2), (2, 2), (4, 4)];

    fn new() -> Self {
        Fields { places: [(0, 1); 160], len: 0 }
    }

    /// Adds those of a structure at `start`; as many as there is room for.
    fn add(&mut self, start: usize, fields: &[(usize, usize)]) {
        for (offset, size) in fields {
            if let Some(place) = self.places.get_mut(self.len) {
                *place = (start + offset, *size);
                self.len += 1;
            }
        }
    }
}

impl<'a> Arbitrary<'a> for Iocbs {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut stream = Iocbs { words: [0; WORDS], len: 0 };
        let mut fields = Fields::new();
        for _ in 0..u.int_in_range(0..=8)? {
            let buffer = &mut stream.words.as_mut_bytes()[stream.len..];
            let args: [u64; iocb::MAX_ARGS] = u.arbitrary()?;
            let nr_args = u.int_in_range(0..=iocb::MAX_ARGS)?;
            let flags = iocb::IocbFlags::from_bits_truncate(u.arbitrary()?);
            let nr = number(u)?;
            let Ok(mut encoder) =
                iocb::Encoder::new(buffer, nr, &args[..nr_args], flags, u.arbitrary()?)
            else {
                break;
            };
            fields.add(stream.len, Fields::IOCB);
            for _ in 0..u.int_in_range(0..=4)? {
                let id = attribute(u)?;
                let start = stream.len + encoder.len();
                let flags = attr::AttrFlags::from_bits_truncate(u.arbitrary()?);
                let expected = attr::kind(id).map_or(8, |kind| usize::from(kind.request));
                let len = if u.ratio(3, 4)? { expected } else { u.int_in_range(0..=40)? };
                let payload: [u64; 5] = u.arbitrary()?;
                // Without room the iocb stays as it is.
                if encoder.attr(id, flags, &payload.as_bytes()[..len]).is_ok() {
                    fields.add(start, Fields::ATTR);
                }
            }
            stream.len += encoder.len();
        }
        damage(u, &fields, stream.words.as_mut_bytes(), &mut stream.len)?;
        Ok(stream)
    }
}

impl<'a> Arbitrary<'a> for Events {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut stream = Events { words: [0; WORDS], len: 0 };
        let mut fields = Fields::new();
        for _ in 0..u.int_in_range(0..=8)? {
            let buffer = &mut stream.words.as_mut_bytes()[stream.len..];
            let flags = event::EventFlags::from_bits_retain(u.arbitrary()?);
            let Some(mut encoder) =
                event::Encoder::new(buffer, flags, u.arbitrary()?, u.arbitrary()?)
            else {
                break;
            };
            fields.add(stream.len, Fields::EVENT);
            let mut start = stream.len + event::HEADER_BYTES;
            for _ in 0..u.int_in_range(0..=4)? {
                let id = attribute(u)?;
                let status = if u.ratio(1, 2)? { 0 } else { u.arbitrary()? };
                let len = u.int_in_range(0..=40)?;
                let payload: [u64; 5] = u.arbitrary()?;
                // Without room the event stays as it is.
                if encoder.ret(id, status, &payload.as_bytes()[..len]).is_some() {
                    fields.add(start, Fields::ATTR);
                    let sent = if status == 0 { crate::align8(len) } else { 0 };
                    start += attr::HEADER_BYTES + sent;
                }
            }
            stream.len += encoder.finish().len();
        }
        damage(u, &fields, stream.words.as_mut_bytes(), &mut stream.len)?;
        Ok(stream)
    }
}

/// Leaves the stream alone, or replaces fields, or cuts it off.
fn damage(
    u: &mut Unstructured<'_>,
    fields: &Fields,
    bytes: &mut [u8],
    len: &mut usize,
) -> Result<()> {
    if fields.len == 0 || u.ratio(1, 2)? {
        return Ok(());
    }
    for _ in 0..u.int_in_range(1..=2)? {
        let (place, size) = if u.ratio(7, 8)? {
            *u.choose(&fields.places[..fields.len])?
        } else {
            (u.int_in_range(0..=*len / 8 - 1)? * 8, 8)
        };
        let field = &mut bytes[place..place + size];
        let mut old = [0; 8];
        old[..size].copy_from_slice(field);
        let old = u64::from_ne_bytes(old);
        let value = match u.int_in_range(0..=5)? {
            0 => u.int_in_range(0..=8)?,
            1 => u64::MAX,
            2 => old.wrapping_add(u.int_in_range(1..=16)?),
            3 => old.wrapping_sub(u.int_in_range(1..=16)?),
            4 => u64::from(u.int_in_range::<u16>(0..=1100)?),
            _ => u.arbitrary()?,
        };
        field.copy_from_slice(&value.to_ne_bytes()[..size]);
    }
    if u.ratio(1, 4)? {
        *len = u.int_in_range(0..=*len)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_often_well_formed_and_often_not() {
        let mut seed = 1_u64;
        let (mut good, mut bad) = (0, 0);
        for _ in 0..500 {
            let mut bytes = [0; 1024];
            for byte in &mut bytes {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = (seed >> 56) as u8;
            }
            let stream = Iocbs::arbitrary(&mut Unstructured::new(&bytes)).unwrap();
            for iocb in iocb::Stream::new(stream.bytes()).unwrap() {
                match iocb {
                    Ok(_) => good += 1,
                    Err(_) => {
                        bad += 1;
                        break;
                    }
                }
            }
        }
        assert!(good > 200, "{good} well-formed iocbs");
        assert!(bad > 50, "{bad} malformed ones");
    }
}
