//! Both parsers on a stream: the same iocbs, the same errno at the same place.
//!
//! SPEC: section 6.2 (R-IOCB-2 to R-IOCB-9).

use crate::core;
use aio2_abi::attr;
use aio2_abi::iocb::{self, Header, Iocb};
use aio2_abi::random::Iocbs;
use arbitrary::{Arbitrary, Unstructured};
use libc::EINVAL;
use zerocopy::{FromBytes, IntoBytes};

/// Compares them on the bytes as they are, and on a stream made by them.
pub fn compare(bytes: &[u8]) {
    let words = aligned(bytes);
    stream(&words.as_bytes()[..bytes.len()]);
    if let Ok(made) = Iocbs::arbitrary(&mut Unstructured::new(bytes)) {
        stream(made.bytes());
    }
}

/// A copy at an aligned address, with zeros up to a multiple of 8.
fn aligned(bytes: &[u8]) -> Box<[u64]> {
    let mut words = vec![0; bytes.len().div_ceil(8)].into_boxed_slice();
    words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
    words
}

fn stream(bytes: &[u8]) {
    let mut stream = iocb::Stream::new(bytes).expect("it is aligned");
    let mut consumed = 0;
    while consumed < bytes.len() {
        let rest = &bytes[consumed..];
        let item = stream.next().expect("the same is left");
        match (item, by_c(rest)) {
            (Ok(parsed), Ok(request)) => {
                assert_eq!(request, as_c(&parsed), "at {consumed}");
                assert_eq!(room(&request, rest), parsed.event_bytes, "at {consumed}");
                consumed += parsed.header.len as usize;
            }
            (Err(malformed), Err(errno)) => {
                assert_eq!(malformed.errno(), errno, "at {consumed}: {malformed}");
                break;
            }
            (rust, c) => panic!("at {consumed}: {rust:?} by Rust, {c:?} by C"),
        }
        assert_eq!(stream.consumed(), consumed);
    }
}

/// How many iocbs of the stream the parser in C takes, and its error for the
/// next one if that is malformed.
#[must_use]
pub fn count(bytes: &[u8]) -> (usize, Option<i32>) {
    let (mut rest, mut good) = (bytes, 0);
    while !rest.is_empty() {
        match by_c(rest) {
            Ok(request) => rest = &rest[request.header.len as usize..],
            Err(errno) => return (good, Some(errno)),
        }
        good += 1;
    }
    (good, None)
}

/// As `io_submit2` calls the parsers: what is usual to the one must be to the other what
/// it says.
///
/// # Panics
/// If it is not.
///
/// # Errors
/// The errno, if it is malformed.
pub fn by_c(rest: &[u8]) -> Result<core::Request, i32> {
    let (fixed, _) = <[u64; 4]>::read_from_prefix(rest).map_err(|_| EINVAL)?;
    let (len, left) = (fixed[0] as u32 as usize, rest.len() as u32);
    // Exactly its bytes: a sanitizer sees whoever reads further.
    let parsed = core::parse(&fixed, left, || aligned(&rest[..len]));
    let there = aligned(&rest[..len.clamp(iocb::HEADER_BYTES, rest.len())]);
    if let Some(asks) = core::usual(&there, left) {
        let Ok(request) = &parsed else { panic!("{parsed:?}, and usual: {rest:x?}") };
        let masks = (request.attr_mask, request.return_mask, request.required_mask);
        assert_eq!(masks, (asks, asks, 0), "{rest:x?}");
    }
    parsed
}

/// What C should say of what Rust says.
fn as_c(parsed: &Iocb<'_>) -> core::Request {
    let with = |flag| {
        let chosen = parsed.attrs().filter(|a| a.flags.contains(flag));
        chosen.map(|a| 1 << a.id).sum()
    };
    let attrs_at = iocb::HEADER_BYTES + usize::from(parsed.header.nr_args) * 8;
    core::Request {
        header: Header { id: 0, ..parsed.header },
        args: parsed.args,
        attrs_at,
        attr_bytes: parsed.header.len - attrs_at as u32,
        nr_attrs: parsed.attrs().count() as u32,
        attr_mask: parsed.attr_mask,
        return_mask: with(attr::AttrFlags::RETURN),
        required_mask: with(attr::AttrFlags::REQUIRED),
    }
}

/// Room for the event, from what C says only.
fn room(request: &core::Request, iocb: &[u8]) -> u32 {
    assert!(request.attrs_at + request.attr_bytes as usize <= iocb.len());
    let returns = (1..=attr::ID_MAX).filter(|id| request.return_mask >> id & 1 == 1);
    let bytes: usize = returns.map(attr::return_bytes).sum();
    24 + bytes as u32
}
