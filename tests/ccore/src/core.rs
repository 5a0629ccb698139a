//! The C functions of the kernel series, with the preconditions that their
//! comments name turned into types.
//!
//! `layout.c` asserts that the structures are declared alike.

use aio2_abi::iocb::{self, Header};
use aio2_abi::ring::{ConsumerPage, ProducerPage, RingFlags};
use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::ptr;

/// `struct aio2_request`.
#[repr(C)]
struct RawRequest {
    len: u32,
    nr: u32,
    nr_args: u16,
    flags: u16,
    user_data: u64,
    args: [u64; iocb::MAX_ARGS],
    attrs: *const u8,
    attr_bytes: u32,
    nr_attrs: u32,
    attr_mask: u64,
    return_mask: u64,
    required_mask: u64,
}

/// `struct aio2_ring`.
#[repr(C)]
struct RawRing {
    cons: *mut ConsumerPage,
    prod: *mut ProducerPage,
    data: *mut u64,
    size: u32,
    tail: u32,
    flags: u32,
    overflowed: u64,
    bad_heads: u64,
}

const _: () = {
    assert!(size_of::<RawRequest>() == 112);
    assert!(size_of::<RawRing>() == 56);
};

unsafe extern "C" {
    fn aio2_parse_len(iocb: *const u64, left: u32) -> c_int;
    fn aio2_parse_iocb(iocb: *const u64, out: *mut RawRequest) -> c_int;
    fn aio2_ccore_usual(iocb: *const u64, left: u32, asks: *mut u64) -> bool;
    fn aio2_ring_init(
        ring: *mut RawRing,
        cons: *mut ConsumerPage,
        prod: *mut ProducerPage,
        data: *mut u64,
        size: u32,
    );
    fn aio2_ring_push(ring: *mut RawRing, event: *const u64, len: u32) -> bool;
    fn aio2_ring_flag(ring: *mut RawRing, flag: u32, on: bool);
    fn aio2_ring_count_overflow(ring: *mut RawRing);
    fn aio2_ring_empty(ring: *const RawRing) -> bool;
    fn aio2_ring_events(ring: *const RawRing, max: u32) -> u32;
    fn aio2_ring_peek(
        ring: *const RawRing,
        head: *mut u64,
        room: u32,
        nr: *mut u32,
        first: *mut u32,
    ) -> c_int;
    fn aio2_ring_claim(ring: *mut RawRing, head: u64, bytes: u32) -> bool;
}

/// A load by the C code from memory that others write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// From where.
    pub address: usize,
    /// How many bytes.
    pub bytes: usize,
    /// Whether it has acquire semantics.
    pub acquires: bool,
}

/// What the peer stores there afterwards, if it does.
type Peer = Box<dyn FnMut(Load) -> Option<u64>>;

thread_local! {
    static PEER: RefCell<Option<Peer>> = const { RefCell::new(None) };
}

/// Runs `body` beside a `peer` that acts after each load of the C code, as
/// others might that share the memory.
pub fn with_peer<R>(
    peer: impl FnMut(Load) -> Option<u64> + 'static,
    body: impl FnOnce() -> R,
) -> R {
    PEER.set(Some(Box::new(peer)));
    let result = body();
    PEER.set(None);
    result
}

/// Called as `loads.h` says.
#[unsafe(no_mangle)]
extern "C" fn aio2_loaded(at: *mut c_void, bytes: c_int, order: c_int) {
    let load = Load { address: at.addr(), bytes: bytes as usize, acquires: order == ACQUIRE };
    let stored = PEER.with_borrow_mut(|peer| peer.as_mut().and_then(|peer| peer(load)));
    match (stored, bytes) {
        (None, _) => {}
        // SAFETY: the C code has just loaded so many bytes from there, of the
        // ring's own memory.
        (Some(value), 4) => unsafe { at.cast::<u32>().write(value as u32) },
        // SAFETY: as above.
        (Some(value), _) => unsafe { at.cast::<u64>().write(value) },
    }
}

/// `__ATOMIC_ACQUIRE`.
const ACQUIRE: c_int = 2;

/// What the parser says of a well-formed iocb.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// Its fixed part; the id is not taken over.
    pub header: Header,
    /// The arguments, the rest 0.
    pub args: [u64; iocb::MAX_ARGS],
    /// Where its attributes begin, in bytes.
    pub attrs_at: usize,
    /// Bytes of the attributes.
    pub attr_bytes: u32,
    /// How many there are.
    pub nr_attrs: u32,
    /// Bit n set: attribute n is present.
    pub attr_mask: u64,
    /// Of these, those with RETURN.
    pub return_mask: u64,
    /// Of these, those with REQUIRED.
    pub required_mask: u64,
}

/// Turns 0 or -errno into a result.
fn check(result: c_int) -> Result<(), i32> {
    if result == 0 { Ok(()) } else { Err(-result) }
}

/// Parses the iocb at the start of a stream, of which `left` bytes are left.
///
/// As the kernel does: the fixed part is read, its length checked, then the
/// whole iocb is copied. So `fixed` and `whole` are copies of their own.
///
/// # Errors
/// The errno, if it is malformed.
///
/// # Panics
/// If the parser wants more bytes than the length that it found good.
pub fn parse(
    fixed: &[u64; 4],
    left: u32,
    whole: impl FnOnce() -> Box<[u64]>,
) -> Result<Request, i32> {
    // SAFETY: `fixed` is the fixed part, aligned.
    check(unsafe { aio2_parse_len(fixed.as_ptr(), left) })?;
    let whole = whole();
    let mut raw = RawRequest {
        len: 0,
        nr: 0,
        nr_args: 0,
        flags: 0,
        user_data: 0,
        args: [0; iocb::MAX_ARGS],
        attrs: ptr::null(),
        attr_bytes: 0,
        nr_attrs: 0,
        attr_mask: 0,
        return_mask: 0,
        required_mask: 0,
    };
    // SAFETY: `whole` is an iocb of the length that was found good, `raw` can
    // be written; both live until it returns.
    check(unsafe { aio2_parse_iocb(whole.as_ptr(), &raw mut raw) })?;
    Ok(Request {
        header: Header {
            len: raw.len,
            nr_args: raw.nr_args,
            flags: raw.flags,
            nr: raw.nr,
            resv: 0,
            user_data: raw.user_data,
            id: 0,
        },
        args: raw.args,
        attrs_at: raw.attrs.addr() - whole.as_ptr().addr(),
        attr_bytes: raw.attr_bytes,
        nr_attrs: raw.nr_attrs,
        attr_mask: raw.attr_mask,
        return_mask: raw.return_mask,
        required_mask: raw.required_mask,
    })
}

/// What the parser for nearly all iocbs says, `aio2_iocb_is_usual`: the attributes that
/// ask, bit n for attribute n; none if it leaves the iocb to the general one. `iocb` is
/// what is there of it, `left` as for [`parse`].
///
/// # Panics
/// If not even its fixed part is there.
#[must_use]
pub fn usual(iocb: &[u64], left: u32) -> Option<u64> {
    assert!(size_of_val(iocb) >= iocb::HEADER_BYTES);
    let mut asks = 0;
    // SAFETY: as many bytes are there as it may read: a fixed part, and what the length
    // says if that is not more than `left`.
    unsafe { aio2_ccore_usual(iocb.as_ptr(), left, &raw mut asks) }.then_some(asks)
}

/// What [`Ring::reap`] has taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Reaped {
    /// The words of some events, and how many events.
    Events(Vec<u64>, u32),
    /// The first one has so many bytes, which is too long.
    TooLong(u32),
    /// The head is no beginning of an event.
    Corrupt,
}

/// The kernel's ring, and its pages. The data have the bytes of the ring
/// twice, and nothing behind them.
pub struct Ring {
    raw: RawRing,
    /// The pages are this ring's own.
    pages: PhantomData<(ConsumerPage, ProducerPage, Box<[u64]>)>,
}

impl Ring {
    /// An empty ring that starts at `start`.
    ///
    /// # Panics
    /// If `size`, in bytes, is not a power of two of at least 8.
    #[must_use]
    pub fn new(size: u32, start: u64) -> Self {
        assert!(size.is_power_of_two() && size >= 8);
        let cons = Box::new(ConsumerPage { head: start, ..ConsumerPage::default() });
        let prod = Box::new(ProducerPage { tail: start as u32, ..ProducerPage::default() });
        let data = vec![0_u64; size as usize / 4].into_boxed_slice();
        let mut raw = RawRing {
            cons: ptr::null_mut(),
            prod: ptr::null_mut(),
            data: ptr::null_mut(),
            size: 0,
            tail: 0,
            flags: 0,
            overflowed: 0,
            bad_heads: 0,
        };
        let data = Box::into_raw(data).cast::<u64>();
        let (cons, prod) = (Box::into_raw(cons), Box::into_raw(prod));
        // SAFETY: all are valid, `data` of twice `size` bytes.
        unsafe { aio2_ring_init(&raw mut raw, cons, prod, data, size) };
        raw.tail = start as u32;
        Ring { raw, pages: PhantomData }
    }

    /// `aio2_ring_push`: whether there was room.
    ///
    /// # Panics
    /// If the event is longer than the ring.
    pub fn push(&mut self, event: &[u64]) -> bool {
        let len = size_of_val(event) as u32;
        assert!(len <= self.raw.size);
        let at = (self.raw.tail & (self.raw.size - 1)) as usize / 8;
        // SAFETY: the ring is initialised, the event has `len` bytes.
        let pushed = unsafe { aio2_ring_push(&raw mut self.raw, event.as_ptr(), len) };
        if pushed {
            self.mirror(at, event.len());
        }
        pushed
    }

    /// Does what the second mapping of the data does in the kernel.
    fn mirror(&mut self, at: usize, words: usize) {
        let size = self.raw.size as usize / 8;
        // SAFETY: the data have twice `size` words, and are this ring's own.
        let data = unsafe { std::slice::from_raw_parts_mut(self.raw.data, size * 2) };
        for written in at..at + words {
            data[(written + size) % (2 * size)] = data[written];
        }
    }

    /// `aio2_ring_flag`.
    pub fn flag(&mut self, flag: RingFlags, on: bool) {
        // SAFETY: the ring is initialised.
        unsafe { aio2_ring_flag(&raw mut self.raw, flag.bits(), on) };
    }

    /// `aio2_ring_count_overflow`.
    pub fn count_overflow(&mut self) {
        // SAFETY: the ring is initialised.
        unsafe { aio2_ring_count_overflow(&raw mut self.raw) };
    }

    /// `aio2_ring_empty`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // SAFETY: the ring is initialised.
        unsafe { aio2_ring_empty(&raw const self.raw) }
    }

    /// `aio2_ring_events`.
    #[must_use]
    pub fn events(&self, max: u32) -> u32 {
        // SAFETY: the ring is initialised.
        unsafe { aio2_ring_events(&raw const self.raw, max) }
    }

    /// Takes events as `io_getevents2` does: `aio2_ring_peek`, a copy, and
    /// `aio2_ring_claim`, with room for so many bytes and at most `max` events.
    ///
    /// # Panics
    /// If it finds more than the data hold, or the claim fails, though nobody
    /// else is there.
    pub fn reap(&mut self, room: u32, max: u32) -> Reaped {
        let (mut head, mut nr, mut first) = (0, max, 0);
        let (at, count, len) = (&raw mut head, &raw mut nr, &raw mut first);
        // SAFETY: the ring is initialised, the three can be written.
        let bytes = unsafe { aio2_ring_peek(&raw const self.raw, at, room, count, len) };
        if bytes < 0 {
            assert_eq!(bytes, -libc::EIO);
            return Reaped::Corrupt;
        }
        if bytes == 0 && first > room {
            return Reaped::TooLong(first);
        }
        let (at, words) = ((head as u32 & (self.raw.size - 1)) as usize / 8, bytes as usize / 8);
        let copy = self.data()[at..at + words].to_vec();
        // SAFETY: the ring is initialised.
        let claimed = unsafe { aio2_ring_claim(&raw mut self.raw, head, bytes as u32) };
        assert!(claimed, "nobody else moves the head");
        Reaped::Events(copy, nr)
    }

    /// The consumer page.
    #[must_use]
    pub fn consumer(&self) -> ConsumerPage {
        // SAFETY: the page is this ring's own.
        unsafe { *self.raw.cons }
    }

    /// Puts a head there.
    pub fn set_head(&mut self, head: u64) {
        // SAFETY: the page is this ring's own.
        unsafe { (*self.raw.cons).head = head };
    }

    /// The producer page.
    #[must_use]
    pub fn producer(&self) -> ProducerPage {
        // SAFETY: the page is this ring's own.
        unsafe { *self.raw.prod }
    }

    /// The data, twice.
    #[must_use]
    pub fn data(&self) -> &[u64] {
        // SAFETY: the data have twice `size` bytes, and are this ring's own.
        unsafe { std::slice::from_raw_parts(self.raw.data, self.raw.size as usize / 4) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let data = ptr::slice_from_raw_parts_mut(self.raw.data, self.raw.size as usize / 4);
        // SAFETY: it came from a box of this many words.
        drop(unsafe { Box::from_raw(data) });
        // SAFETY: it came from a box.
        drop(unsafe { Box::from_raw(self.raw.cons) });
        // SAFETY: it came from a box.
        drop(unsafe { Box::from_raw(self.raw.prod) });
    }
}
