//! Events: their parser and their encoder. SPEC: section 7.

use crate::attr;
use bitflags::bitflags;
use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of [`Header`], and of an event without returns.
pub const HEADER_BYTES: usize = 24;
/// Longest event in bytes.
pub const LEN_MAX: usize = 1024;

bitflags! {
    /// `aio2_event.flags`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct EventFlags: u32 {
        /// Not the last event of its request.
        const MORE = 1 << 0;
        /// The last event of a request whose operation never began: the result
        /// is an errno of AIO2's, and the operation has had no effect.
        const NOT_STARTED = 1 << 1;
    }
}

/// `struct aio2_event`: the fixed part of an event.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Header {
    /// Bytes of the whole event, a multiple of 8.
    pub len: u32,
    /// [`EventFlags`].
    pub flags: u32,
    /// That of the request.
    pub user_data: u64,
    /// Result, or a negative errno.
    pub res: i64,
}

const _: () = {
    assert!(size_of::<Header>() == HEADER_BYTES);
    // Returns of all attributes at once: ten known, the others a header each.
    assert!(
        HEADER_BYTES + 63 * attr::HEADER_BYTES + (24 + 16 + 16 + 16) <= LEN_MAX,
        "an event that a well-formed iocb can ask for is longer than LEN_MAX"
    );
    assert!(LEN_MAX <= crate::setup::RING_BYTES_MIN as usize);
};

/// Why bytes are not an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// Fewer bytes are left than a header has.
    Truncated {
        /// Bytes left.
        left: usize,
    },
    /// The length is below a header's, not a multiple of 8, above the maximum,
    /// or beyond the bytes that are there.
    Length {
        /// The event's length in bytes.
        len: u32,
        /// Bytes left.
        left: usize,
    },
    /// A return's length is below 8, not a multiple of 8, or beyond the event.
    ReturnLength {
        /// Attribute id.
        id: u16,
        /// Its length in bytes.
        len: u16,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Malformed::Truncated { left } => {
                write!(f, "{left} bytes are left, an event has at least {HEADER_BYTES}")
            }
            Malformed::Length { len, left } => write!(
                f,
                "event length {len} must be a multiple of 8 from {HEADER_BYTES} to {LEN_MAX}, and {left} bytes are there"
            ),
            Malformed::ReturnLength { id, len } => write!(
                f,
                "return of attribute {id} has length {len}, which must be a multiple of 8, at least 8, within the event"
            ),
        }
    }
}

impl core::error::Error for Malformed {}

/// Whether `len` can be the length of an event, in bytes.
#[inline]
#[must_use]
pub const fn len_is_valid(len: u32) -> bool {
    len >= HEADER_BYTES as u32 && len <= LEN_MAX as u32 && len.is_multiple_of(8)
}

/// An event, in the bytes where it stands.
#[derive(Clone, Copy, Debug)]
pub struct EventView<'a> {
    /// The fixed part.
    pub header: Header,
    returns: &'a [u8],
}

/// An attribute's return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Return<'a> {
    /// Attribute id.
    pub id: u16,
    /// 0, or a negative errno.
    pub status: i32,
    /// Its payload, a multiple of 8 bytes; empty if the status is not 0.
    pub payload: &'a [u8],
}

impl<'a> EventView<'a> {
    /// Parses the event at the start of `bytes`; returns what stands behind it too.
    ///
    /// # Errors
    /// What is wrong with its length or the framing of its returns.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<(EventView<'a>, &'a [u8]), Malformed> {
        let left = bytes.len();
        let (header, _) =
            Header::read_from_prefix(bytes).map_err(|_| Malformed::Truncated { left })?;
        let len = header.len as usize;
        // Most have no returns: nothing else is to be checked of these.
        if len == HEADER_BYTES {
            return Ok((EventView { header, returns: &[] }, &bytes[HEADER_BYTES..]));
        }
        if !len_is_valid(header.len) || len > left {
            return Err(Malformed::Length { len: header.len, left });
        }
        let (event, rest) = bytes.split_at(len);
        let returns = &event[HEADER_BYTES..];
        let mut unchecked = returns;
        while let Ok((h, _)) = attr::ReturnHeader::read_from_prefix(unchecked) {
            let n = usize::from(h.len);
            if n < attr::HEADER_BYTES || !n.is_multiple_of(8) || n > unchecked.len() {
                return Err(Malformed::ReturnLength { id: h.id, len: h.len });
            }
            unchecked = &unchecked[n..];
        }
        Ok((EventView { header, returns }, rest))
    }

    /// Its attribute returns, in the order of the request's attributes.
    #[must_use]
    pub fn returns(&self) -> Returns<'a> {
        Returns { rest: self.returns }
    }

    /// The return of attribute `id`, if there is one.
    #[must_use]
    pub fn find(&self, id: u16) -> Option<Return<'a>> {
        self.returns().find(|r| r.id == id)
    }

    /// The payload of attribute `id`, if it was handled and is as long as `T`.
    #[must_use]
    pub fn payload<T: FromBytes + Immutable + KnownLayout>(&self, id: u16) -> Option<T> {
        let ret = self.find(id).filter(|r| r.status == 0)?;
        T::read_from_prefix(ret.payload).ok().map(|(value, _)| value)
    }

    /// True if no further event of this request follows.
    #[must_use]
    pub fn is_last(&self) -> bool {
        !self.flags().contains(EventFlags::MORE)
    }

    /// Its flags; bits of a later version are kept.
    #[must_use]
    pub fn flags(&self) -> EventFlags {
        EventFlags::from_bits_retain(self.header.flags)
    }
}

/// Iterator over the returns of an [`EventView`].
#[derive(Clone, Debug)]
pub struct Returns<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Returns<'a> {
    type Item = Return<'a>;

    fn next(&mut self) -> Option<Return<'a>> {
        let (h, _) = attr::ReturnHeader::read_from_prefix(self.rest).ok()?;
        let bytes = self.rest.get(..usize::from(h.len))?;
        self.rest = &self.rest[bytes.len()..];
        Some(Return { id: h.id, status: h.status, payload: bytes.get(attr::HEADER_BYTES..)? })
    }
}

/// Writes one event into a buffer that the request has reserved.
#[derive(Debug)]
pub struct Encoder<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl<'a> Encoder<'a> {
    /// Begins an event at the start of `buf`; `None` if the header does not fit.
    #[inline]
    #[must_use]
    pub fn new(buf: &'a mut [u8], flags: EventFlags, user_data: u64, res: i64) -> Option<Self> {
        let h = Header { len: HEADER_BYTES as u32, flags: flags.bits(), user_data, res };
        buf.get_mut(..HEADER_BYTES)?.copy_from_slice(h.as_bytes());
        Some(Encoder { buf, len: HEADER_BYTES })
    }

    /// Appends a return; `None`, and nothing written, if it does not fit.
    /// The payload is sent only with status 0, padded to a multiple of 8.
    #[inline]
    pub fn ret(&mut self, id: u16, status: i32, payload: &[u8]) -> Option<()> {
        let payload = if status == 0 { payload } else { &[] };
        let len = attr::HEADER_BYTES + crate::align8(payload.len());
        if self.len + len > LEN_MAX {
            return None;
        }
        let room = self.buf.get_mut(self.len..self.len + len)?;
        let h = attr::ReturnHeader { id, len: len as u16, status };
        let (head, body) = room.split_at_mut(attr::HEADER_BYTES);
        head.copy_from_slice(h.as_bytes());
        body[..payload.len()].copy_from_slice(payload);
        body[payload.len()..].fill(0);
        self.len += len;
        self.buf[..4].copy_from_slice(&(self.len as u32).to_ne_bytes());
        Some(())
    }

    /// The finished event.
    #[inline]
    #[must_use]
    pub fn finish(self) -> &'a [u8] {
        &self.buf[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_parsed_back() {
        let mut buf = [0xaa; 128];
        let mut e = Encoder::new(&mut buf, EventFlags::MORE, 9, -5).unwrap();
        e.ret(attr::TIMING, 0, &[1; 24]).unwrap();
        e.ret(attr::PATH, -95, &[2; 16]).unwrap();
        let bytes = e.finish();
        assert_eq!(bytes.len(), 24 + 32 + 8);
        let (event, rest) = EventView::parse(bytes).unwrap();
        assert!(rest.is_empty());
        assert_eq!((event.header.user_data, event.header.res), (9, -5));
        assert!(!event.is_last());
        assert_eq!(event.find(attr::TIMING).unwrap().payload, [1; 24]);
        let path = event.find(attr::PATH).unwrap();
        assert_eq!((path.status, path.payload.len()), (-95, 0));
        assert_eq!(event.payload::<attr::PathReturn>(attr::PATH), None);
    }

    #[test]
    fn returns_fill_the_event_that_they_stand_in() {
        let mut buf = [0; 40];
        buf[0] = 40;
        for (len, is_right) in
            [(16, true), (8, false), (0, false), (4, false), (12, false), (24, false)]
        {
            buf[HEADER_BYTES + 2] = len;
            assert_eq!(EventView::parse(&buf).is_ok(), is_right, "{len}");
        }
        // Two of them.
        buf[HEADER_BYTES + 2] = 8;
        buf[HEADER_BYTES + 10] = 8;
        assert_eq!(EventView::parse(&buf).unwrap().0.returns().count(), 2);
    }

    #[test]
    fn no_event_is_longer_than_the_longest() {
        let mut buf = [0; 2 * LEN_MAX];
        let mut e = Encoder::new(&mut buf, EventFlags::empty(), 0, 0).unwrap();
        let most = LEN_MAX - HEADER_BYTES - attr::HEADER_BYTES;
        assert_eq!(e.ret(1, 0, &[0; LEN_MAX][..most + 8]), None);
        assert_eq!(e.ret(1, 0, &[0; LEN_MAX][..most]), Some(()));
        assert_eq!(e.ret(2, 0, &[]), None);
        assert_eq!(e.finish().len(), LEN_MAX);
    }

    #[test]
    fn an_error_says_what_is_wrong() {
        extern crate std;
        use std::string::ToString;
        let error = EventView::parse(&[0; 8]).unwrap_err();
        assert_eq!(error.to_string(), "8 bytes are left, an event has at least 24");
        let error = EventView::parse(&[0; 24]).unwrap_err();
        assert!(error.to_string().starts_with("event length 0 must be a multiple of 8"));
        let error = Malformed::ReturnLength { id: 9, len: 4 };
        assert!(error.to_string().starts_with("return of attribute 9 has length 4,"));
    }

    #[test]
    fn a_length_that_cannot_be_is_refused() {
        let mut buf = [0; 64];
        for len in [0_u32, 8, 16, 25, 72, 1032, u32::MAX] {
            buf[..4].copy_from_slice(&len.to_ne_bytes());
            assert!(EventView::parse(&buf).is_err(), "length {len}");
        }
    }
}
