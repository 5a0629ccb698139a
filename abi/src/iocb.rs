//! Requests: the iocb, its parser and its encoder. SPEC: section 6.
//!
//! [`Stream`] turns untrusted bytes into requests. It checks what makes an
//! iocb well-formed (R-IOCB-1 to R-IOCB-9) in the order that the SPEC gives;
//! whether the operation exists is not its business.

use crate::attr;
use bitflags::bitflags;
use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of [`Header`].
pub const HEADER_BYTES: usize = 32;
/// Longest iocb in bytes.
pub const LEN_MAX: usize = 1024;
/// Largest number of arguments.
pub const MAX_ARGS: usize = crate::op::MAX_ARGS;
/// Offset of the id that is written back, in bytes from the iocb.
pub const ID_OFFSET: usize = 24;

bitflags! {
    /// `aio2_iocb.flags`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct IocbFlags: u16 {
        /// Write the request's id back into the iocb.
        const WRITE_ID = 1 << 0;
        /// Transfer everything, or fail.
        const FULL = 1 << 1;
        /// Do not try inline: run it on a worker.
        const ASYNC = 1 << 2;
        /// Events until cancelled.
        const MULTISHOT = 1 << 3;
    }
}

/// `struct aio2_iocb` without its arguments.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Header {
    /// Bytes of the whole iocb, a multiple of 8.
    pub len: u32,
    /// Number of arguments that follow.
    pub nr_args: u16,
    /// [`IocbFlags`].
    pub flags: u16,
    /// Syscall number, or an operation of [`crate::op`].
    pub nr: u32,
    /// Zero.
    pub resv: u32,
    /// Returned in the event.
    pub user_data: u64,
    /// Zero, or written back with [`IocbFlags::WRITE_ID`].
    pub id: u64,
}

const _: () = {
    assert!(size_of::<Header>() == HEADER_BYTES);
    assert!(core::mem::offset_of!(Header, id) == ID_OFFSET);
};

/// Why bytes are not a well-formed iocb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// The stream does not start at an address that is a multiple of 8.
    Misaligned,
    /// Fewer bytes are left than a header has.
    Truncated {
        /// Bytes left.
        left: usize,
    },
    /// The length is shorter than a header, or not a multiple of 8.
    Length(u32),
    /// The length is greater than [`LEN_MAX`].
    TooLong(u32),
    /// The length is greater than what is left of the stream.
    BeyondStream {
        /// The iocb's length in bytes.
        len: u32,
        /// Bytes left.
        left: usize,
    },
    /// Unknown flags.
    Flags(u16),
    /// The reserved field is not zero.
    Reserved(u32),
    /// The id is not zero, and its return was not asked for.
    Id(u64),
    /// More than [`MAX_ARGS`] arguments, or more than fit into the length.
    Args(u16),
    /// An attribute's length is below 8, not a multiple of 8, or beyond the iocb.
    AttrLength {
        /// Attribute id.
        id: u16,
        /// Its length in bytes.
        len: u16,
    },
    /// An attribute id outside 1 to [`attr::ID_MAX`].
    AttrId(u16),
    /// Unknown flags of an attribute.
    AttrFlags {
        /// Attribute id.
        id: u16,
        /// Its flags.
        flags: u32,
    },
    /// An attribute stands twice.
    AttrTwice(u16),
}

impl Malformed {
    /// The error number that a submission returns for it (positive).
    #[must_use]
    pub const fn errno(self) -> i32 {
        match self {
            Malformed::TooLong(_) => crate::errno::E2BIG,
            _ => crate::errno::EINVAL,
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Malformed::Misaligned => write!(f, "the iocb stream is not aligned to 8 bytes"),
            Malformed::Truncated { left } => {
                write!(f, "{left} bytes are left, an iocb has at least {HEADER_BYTES}")
            }
            Malformed::Length(len) => {
                write!(f, "iocb length {len} is not a multiple of 8 of at least {HEADER_BYTES}")
            }
            Malformed::TooLong(len) => {
                write!(f, "iocb length {len} is above the maximum {LEN_MAX}")
            }
            Malformed::BeyondStream { len, left } => {
                write!(f, "iocb length {len} goes beyond the {left} bytes that are left")
            }
            Malformed::Flags(flags) => write!(
                f,
                "iocb flags {flags:#x} has unknown bits {:#x}",
                flags & !IocbFlags::all().bits()
            ),
            Malformed::Reserved(v) => write!(f, "reserved field resv is {v:#x}, must be 0"),
            Malformed::Id(id) => write!(f, "id is {id:#x}, must be 0 without WRITE_ID"),
            Malformed::Args(n) => write!(
                f,
                "{n} arguments: at most {MAX_ARGS}, and they must fit into the iocb's length"
            ),
            Malformed::AttrLength { id, len } => write!(
                f,
                "attribute {id} has length {len}, which must be a multiple of 8, at least 8, within the iocb"
            ),
            Malformed::AttrId(id) => {
                write!(f, "attribute id {id} is outside 1 to {}", attr::ID_MAX)
            }
            Malformed::AttrFlags { id, flags } => write!(
                f,
                "attribute {id} has unknown flags {:#x}",
                flags & !attr::AttrFlags::all().bits()
            ),
            Malformed::AttrTwice(id) => write!(f, "attribute {id} stands twice"),
        }
    }
}

impl core::error::Error for Malformed {}

/// A well-formed request, in the bytes of its stream.
#[derive(Clone, Copy, Debug)]
pub struct Iocb<'a> {
    /// The fixed part.
    pub header: Header,
    /// The arguments; those that are not given are 0.
    pub args: [u64; MAX_ARGS],
    /// Bit n set: attribute n is present.
    pub attr_mask: u64,
    /// Room that its event needs at most, in bytes.
    pub event_bytes: u32,
    attrs: &'a [u8],
}

impl<'a> Iocb<'a> {
    /// Its flags.
    #[must_use]
    pub fn flags(&self) -> IocbFlags {
        IocbFlags::from_bits_retain(self.header.flags)
    }

    /// Its attributes, in order.
    #[must_use]
    pub fn attrs(&self) -> Attrs<'a> {
        Attrs { rest: self.attrs }
    }
}

/// An attribute of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr<'a> {
    /// Attribute id.
    pub id: u16,
    /// Its flags.
    pub flags: attr::AttrFlags,
    /// Its payload, a multiple of 8 bytes.
    pub payload: &'a [u8],
}

/// Iterator over the attributes of an [`Iocb`].
#[derive(Clone, Debug)]
pub struct Attrs<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attrs<'a> {
    type Item = Attr<'a>;

    fn next(&mut self) -> Option<Attr<'a>> {
        let (h, _) = attr::Header::read_from_prefix(self.rest).ok()?;
        let attr = self.rest.get(..usize::from(h.len))?;
        self.rest = &self.rest[attr.len()..];
        Some(Attr {
            id: h.id,
            flags: attr::AttrFlags::from_bits_retain(h.flags),
            payload: attr.get(attr::HEADER_BYTES..)?,
        })
    }
}

/// Parser of an iocb stream: where it is, and what comes next.
#[derive(Clone, Debug)]
pub struct Stream<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Stream<'a> {
    /// Starts at the first byte.
    ///
    /// # Errors
    /// [`Malformed::Misaligned`] unless `bytes` is empty or begins at a multiple of 8.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if !bytes.is_empty() && !bytes.as_ptr().addr().is_multiple_of(8) {
            return Err(Malformed::Misaligned);
        }
        Ok(Stream { bytes, at: 0 })
    }

    /// Bytes of the iocbs that were taken so far.
    #[must_use]
    pub fn consumed(&self) -> usize {
        self.at
    }

    /// Parses the iocb that stands next without taking it; `None` at the end.
    ///
    /// # Errors
    /// The first rule that it breaks, in the order of SPEC section 6.2.
    #[inline(always)] // what it returns is large, and would be copied
    pub fn peek(&self) -> Option<Result<Iocb<'a>, Malformed>> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() { None } else { Some(parse(rest)) }
    }

    /// Takes the iocb that [`Stream::peek`] has returned.
    #[inline]
    pub fn take(&mut self, iocb: &Iocb<'_>) {
        self.at = (self.at + iocb.header.len as usize).min(self.bytes.len());
    }
}

impl<'a> Iterator for Stream<'a> {
    type Item = Result<Iocb<'a>, Malformed>;

    /// The next iocb. After an error it stays where it is.
    fn next(&mut self) -> Option<Self::Item> {
        let item = self.peek()?;
        if let Ok(iocb) = &item {
            self.take(iocb);
        }
        Some(item)
    }
}

/// Parses the iocb at the start of `rest`, which may go on behind it.
#[inline]
fn parse(rest: &[u8]) -> Result<Iocb<'_>, Malformed> {
    let left = rest.len();
    let (header, _) = Header::read_from_prefix(rest).map_err(|_| Malformed::Truncated { left })?;
    let len = header.len as usize;
    if len < HEADER_BYTES || !len.is_multiple_of(8) {
        return Err(Malformed::Length(header.len));
    }
    if len > LEN_MAX {
        return Err(Malformed::TooLong(header.len));
    }
    let Some(iocb) = rest.get(..len) else {
        return Err(Malformed::BeyondStream { len: header.len, left });
    };
    if header.flags & !IocbFlags::all().bits() != 0 {
        return Err(Malformed::Flags(header.flags));
    }
    if header.resv != 0 {
        return Err(Malformed::Reserved(header.resv));
    }
    if header.id != 0 && header.flags & IocbFlags::WRITE_ID.bits() == 0 {
        return Err(Malformed::Id(header.id));
    }
    let nr_args = usize::from(header.nr_args);
    let body = &iocb[HEADER_BYTES..];
    if nr_args > MAX_ARGS || body.len() < nr_args * 8 {
        return Err(Malformed::Args(header.nr_args));
    }
    let (arg_bytes, attrs) = body.split_at(nr_args * 8);
    let mut args = [0; MAX_ARGS];
    for (arg, bytes) in args.iter_mut().zip(arg_bytes.chunks_exact(8)) {
        *arg = u64::from_ne_bytes([
            bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7],
        ]);
    }
    let (attr_mask, event_bytes) = match attrs {
        [] => (0, crate::event::HEADER_BYTES as u32),
        attrs => check_attrs(attrs)?,
    };
    Ok(Iocb { header, args, attr_mask, event_bytes, attrs })
}

/// Checks the framing of all attributes; returns their mask and the room that
/// the event needs.
fn check_attrs(mut rest: &[u8]) -> Result<(u64, u32), Malformed> {
    let mut mask = 0_u64;
    let mut event_bytes = crate::event::HEADER_BYTES;
    while let Ok((h, _)) = attr::Header::read_from_prefix(rest) {
        let len = usize::from(h.len);
        if len < attr::HEADER_BYTES || !len.is_multiple_of(8) || len > rest.len() {
            return Err(Malformed::AttrLength { id: h.id, len: h.len });
        }
        if h.id == 0 || h.id > attr::ID_MAX {
            return Err(Malformed::AttrId(h.id));
        }
        if h.flags & !attr::AttrFlags::all().bits() != 0 {
            return Err(Malformed::AttrFlags { id: h.id, flags: h.flags });
        }
        if mask >> h.id & 1 == 1 {
            return Err(Malformed::AttrTwice(h.id));
        }
        mask |= 1 << h.id;
        if h.flags & attr::AttrFlags::RETURN.bits() != 0 {
            event_bytes += attr::return_bytes(h.id);
        }
        rest = &rest[len..];
    }
    // All returns of all 63 attributes together are below EVENT_MAX: asserted there.
    Ok((mask, event_bytes as u32))
}

/// The buffer of an [`Encoder`] is too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no room: an iocb has at most {MAX_ARGS} arguments and {LEN_MAX} bytes, and must fit its buffer"
        )
    }
}

impl core::error::Error for NoRoom {}

/// Writes one iocb into a buffer.
///
/// It fills in the length with each step, so that what stands in the buffer is
/// well-formed at any time.
#[derive(Debug)]
pub struct Encoder<'a> {
    buf: &'a mut [u8],
    header: Header,
}

impl<'a> Encoder<'a> {
    /// Begins an iocb at the start of `buf`.
    ///
    /// # Errors
    /// [`NoRoom`] if header and arguments do not fit, or there are more than
    /// [`MAX_ARGS`] arguments.
    #[inline]
    pub fn new(
        buf: &'a mut [u8],
        nr: u32,
        args: &[u64],
        flags: IocbFlags,
        user_data: u64,
    ) -> Result<Self, NoRoom> {
        let len = HEADER_BYTES + args.len() * 8;
        if args.len() > MAX_ARGS {
            return Err(NoRoom);
        }
        let (fixed, rest) = buf.split_first_chunk_mut::<HEADER_BYTES>().ok_or(NoRoom)?;
        let room = rest.get_mut(..args.len() * 8).ok_or(NoRoom)?;
        let header = Header {
            len: len as u32,
            nr_args: args.len() as u16,
            flags: flags.bits(),
            nr,
            resv: 0,
            user_data,
            id: 0,
        };
        *fixed = zerocopy::transmute!(header);
        room.copy_from_slice(args.as_bytes());
        Ok(Encoder { buf, header })
    }

    /// Appends an attribute; its payload is padded with zeros to a multiple of 8.
    ///
    /// # Errors
    /// [`NoRoom`] if it does not fit into the buffer or into [`LEN_MAX`].
    #[inline]
    pub fn attr(&mut self, id: u16, flags: attr::AttrFlags, payload: &[u8]) -> Result<(), NoRoom> {
        let start = self.header.len as usize;
        let len = attr::HEADER_BYTES + crate::align8(payload.len());
        if start + len > LEN_MAX {
            return Err(NoRoom);
        }
        let room = self.buf.get_mut(start..start + len).ok_or(NoRoom)?;
        let (head, body) = room.split_first_chunk_mut::<{ attr::HEADER_BYTES }>().ok_or(NoRoom)?;
        let h = attr::Header { id, len: len as u16, flags: flags.bits() };
        *head = zerocopy::transmute!(h);
        // Many only ask, and have none.
        if let Some((content, padding)) = body.split_at_mut_checked(payload.len())
            && !payload.is_empty()
        {
            content.copy_from_slice(payload);
            padding.fill(0);
        }
        self.header.len += len as u32;
        if let Some(first) = self.buf.first_chunk_mut() {
            *first = self.header.len.to_ne_bytes();
        }
        Ok(())
    }

    /// Bytes written so far: the iocb's length.
    #[must_use]
    pub fn len(&self) -> usize {
        self.header.len as usize
    }

    /// Never true: an iocb has a header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(8))]
    struct Buf([u8; 256]);

    #[test]
    fn no_iocb_is_longer_than_the_longest() {
        let mut buf = [0; 2 * LEN_MAX];
        let mut e = Encoder::new(&mut buf, 17, &[], IocbFlags::empty(), 0).unwrap();
        let most = LEN_MAX - HEADER_BYTES - attr::HEADER_BYTES;
        let mut add = |bytes| e.attr(1, attr::AttrFlags::empty(), &[0; LEN_MAX][..bytes]);
        assert_eq!((add(most + 8), add(most), add(0)), (Err(NoRoom), Ok(()), Err(NoRoom)));
        assert!(e.len() == LEN_MAX && !e.is_empty());
    }

    #[test]
    fn an_error_says_what_is_wrong() {
        extern crate std;
        use std::string::ToString;
        assert!(NoRoom.to_string().starts_with("no room: an iocb has at most 6 arguments"));
        for (error, said) in [
            (Malformed::Misaligned, "the iocb stream is not aligned to 8 bytes"),
            (Malformed::TooLong(1032), "iocb length 1032 is above the maximum 1024"),
            (Malformed::Flags(1 << 15 | 1), "iocb flags 0x8001 has unknown bits 0x8000"),
        ] {
            assert_eq!(error.to_string(), said);
        }
    }

    #[test]
    fn what_is_encoded_is_parsed_back() {
        let mut buf = Buf([0xaa; 256]);
        let mut e = Encoder::new(&mut buf.0, 17, &[1, 2, 3], IocbFlags::ASYNC, 42).unwrap();
        e.attr(attr::TIMING, attr::AttrFlags::RETURN, &[]).unwrap();
        e.attr(attr::TAG, attr::AttrFlags::REQUIRED, &7_u64.to_ne_bytes()).unwrap();
        let len = e.len();
        let mut s = Stream::new(&buf.0[..len]).unwrap();
        let iocb = s.next().unwrap().unwrap();
        assert_eq!((iocb.header.nr, iocb.header.user_data), (17, 42));
        assert_eq!(iocb.args, [1, 2, 3, 0, 0, 0]);
        assert_eq!(iocb.event_bytes, 24 + 32);
        let mut attrs = iocb.attrs();
        assert_eq!(attrs.next().unwrap().id, attr::TIMING);
        assert_eq!(attrs.next().unwrap().payload, 7_u64.to_ne_bytes());
        assert_eq!(attrs.next(), None);
        assert!(s.next().is_none());
        assert_eq!(s.consumed(), len);
    }

    #[test]
    fn an_error_leaves_the_stream_where_it_is() {
        let mut buf = Buf([0; 256]);
        let len = Encoder::new(&mut buf.0, 0, &[], IocbFlags::empty(), 0).unwrap().len();
        let mut s = Stream::new(&buf.0).unwrap();
        assert!(s.next().unwrap().is_ok());
        assert_eq!(s.next().unwrap().unwrap_err(), Malformed::Length(0));
        assert_eq!(s.next().unwrap().unwrap_err(), Malformed::Length(0));
        assert_eq!(s.consumed(), len);
    }

    #[test]
    fn a_misaligned_stream_is_refused() {
        let buf = Buf([0; 256]);
        assert_eq!(Stream::new(&buf.0[4..]).unwrap_err(), Malformed::Misaligned);
    }
}
