//! Requests in a block: of each what is not as the one before it lets expect.
//!
//! A row is a word of two bytes, a bit for each field in the order of [`each`], and
//! for each field whose bit is set how far it is from what was expected: modulo 2^64,
//! with its sign in the lowest bit, seven bits in a byte, the lowest ones first
//! (`integer-encoding`). What is recorded is written to a file, which costs more for
//! each byte than to compare costs: a cached read in a batch is about ten bytes.
//!
//! The first row of a block is held against zeros, so that a block is read by itself.

use crate::format::{NO_OFFSET, Request, has};
use integer_encoding::VarInt;

/// Fields that are expected to be as before, by number.
const NR: usize = 0;
const FD: usize = 1;
const NAME: usize = 2;
const TID: usize = 3;
const HAS: usize = 4;
const PLACE: usize = 5;
const CPU: usize = 6;
const LENGTH: usize = 7;
/// Fields that are expected to follow from others.
const OFFSET: usize = 8;
const RESULT: usize = 9;
const SUBMITTED: usize = 10;
const STARTED: usize = 11;
const COMPLETED: usize = 12;
const HIT: usize = 13;
const MISS: usize = 14;
const BLOCKED: usize = 15;
const FIELDS: usize = 16;

const MASK_BYTES: usize = size_of::<u16>();
/// Bytes of a row at most.
const MOST: usize = MASK_BYTES + FIELDS * u64::BITS.div_ceil(7) as usize;

const _: () = assert!(FIELDS == u16::BITS as usize);

/// The fields of a request, one in a word.
type Words = [u64; FIELDS];

/// The row before, as those of a block are written or read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rows {
    before: Words,
}

impl Rows {
    /// Appends the row of `request` to `block`.
    #[inline]
    pub(crate) fn push(&mut self, request: &Request, block: &mut Vec<u8>) {
        let mut row = to_words(request);
        let mut bytes = [0; MOST];
        let (mut mask, mut len) = (0_u16, MASK_BYTES);
        each(&mut row, &self.before, |n, value, expected| {
            if *value != expected {
                mask |= 1 << n;
                len += (value.wrapping_sub(expected) as i64).encode_var(&mut bytes[len..]);
            }
        });
        bytes[..MASK_BYTES].copy_from_slice(&mask.to_ne_bytes());
        block.extend_from_slice(&bytes[..len]);
        self.before = row;
    }

    /// The request of the first row of `bytes`, of process `pid`, and what is behind
    /// it; none if there is no whole row.
    pub(crate) fn next<'b>(&mut self, pid: u32, bytes: &'b [u8]) -> Option<(Request, &'b [u8])> {
        let (mask, mut rest) = bytes.split_first_chunk()?;
        let mask = u16::from_ne_bytes(*mask);
        let mut row = Words::default();
        let mut is_whole = true;
        each(&mut row, &self.before, |n, value, expected| {
            let mut distance = 0;
            if mask >> n & 1 == 1 {
                match i64::decode_var(rest) {
                    Some((read, len)) => (distance, rest) = (read, &rest[len..]),
                    None => is_whole = false,
                }
            }
            *value = expected.wrapping_add(distance as u64);
        });
        self.before = row;
        is_whole.then(|| (from_words(pid, &row), rest))
    }
}

/// Calls `field` for each field of a row in turn, with its number, its value and what
/// is expected of it: by the row before, and by what was gone through of its own.
#[inline(always)]
fn each(row: &mut Words, before: &Words, mut field: impl FnMut(usize, &mut u64, u64)) {
    for n in NR..=LENGTH {
        field(n, &mut row[n], before[n]);
    }
    // One behind the other, as a file is read.
    let next = match before[OFFSET] {
        NO_OFFSET => NO_OFFSET,
        offset => offset.wrapping_add(before[LENGTH]),
    };
    field(OFFSET, &mut row[OFFSET], next);
    let length = row[LENGTH];
    field(RESULT, &mut row[RESULT], length);
    // What the one before has ended with begins this one.
    field(SUBMITTED, &mut row[SUBMITTED], before[COMPLETED]);
    let submitted = row[SUBMITTED];
    field(STARTED, &mut row[STARTED], submitted);
    let started = row[STARTED];
    field(COMPLETED, &mut row[COMPLETED], started);
    let moved = if row[HAS] & u64::from(has::CACHE) == 0 { 0 } else { row[RESULT] };
    field(HIT, &mut row[HIT], moved);
    let missed = moved.wrapping_sub(row[HIT]);
    field(MISS, &mut row[MISS], missed);
    // The whole of it, where it ran within the submission.
    let ran = row[COMPLETED].wrapping_sub(submitted);
    let held = if row[PLACE] == 0 { ran } else { 0 };
    field(BLOCKED, &mut row[BLOCKED], held);
}

#[inline]
fn to_words(request: &Request) -> Words {
    let mut words = Words::default();
    words[NR] = request.nr.into();
    words[FD] = i64::from(request.fd) as u64;
    words[NAME] = request.name.into();
    words[TID] = request.tid.into();
    words[HAS] = request.has.into();
    words[PLACE] = request.place.into();
    words[CPU] = request.cpu.into();
    words[LENGTH] = request.length;
    words[OFFSET] = request.offset;
    words[RESULT] = request.result as u64;
    words[SUBMITTED] = request.submitted_ns;
    words[STARTED] = request.started_ns;
    words[COMPLETED] = request.completed_ns;
    words[HIT] = request.hit;
    words[MISS] = request.miss;
    words[BLOCKED] = request.blocked_ns;
    words
}

fn from_words(pid: u32, words: &Words) -> Request {
    Request {
        nr: words[NR] as u32,
        fd: words[FD] as i32,
        name: words[NAME] as u32,
        pid,
        tid: words[TID] as u32,
        has: words[HAS] as u32,
        offset: words[OFFSET],
        length: words[LENGTH],
        result: words[RESULT] as i64,
        submitted_ns: words[SUBMITTED],
        started_ns: words[STARTED],
        completed_ns: words[COMPLETED],
        hit: words[HIT],
        miss: words[MISS],
        place: words[PLACE] as u32,
        cpu: words[CPU] as u32,
        blocked_ns: words[BLOCKED],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(pid: u32, block: &[u8]) -> Vec<Request> {
        let (mut rows, mut rest, mut read) = (Rows::default(), block, Vec::new());
        while !rest.is_empty() {
            let (request, behind) = rows.next(pid, rest).expect("a whole row");
            read.push(request);
            rest = behind;
        }
        read
    }

    /// As one batch of cached reads has them.
    fn cached(n: u64) -> Request {
        Request {
            nr: 17,
            fd: 5,
            name: 1,
            pid: 9,
            tid: 9,
            has: has::TIMING | has::CACHE | has::PATH,
            offset: n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (1 << 30),
            length: 4096,
            result: 4096,
            submitted_ns: 1_000_000_000_000 + n * 900,
            started_ns: 1_000_000_000_000 + n * 900,
            completed_ns: 1_000_000_000_000 + (n + 1) * 900,
            hit: 4096,
            miss: 0,
            place: 0,
            cpu: 1,
            blocked_ns: 900,
        }
    }

    #[test]
    fn what_is_as_expected_takes_no_room() {
        let (mut rows, mut block) = (Rows::default(), Vec::new());
        rows.push(&cached(0), &mut block);
        let first = block.len();
        rows.push(&cached(1), &mut block);
        // The mask, where in the file, and how long it took.
        assert!(block.len() - first <= 2 + 5 + 2, "{first}, {}", block.len());
        assert_eq!(read_back(9, &block), [cached(0), cached(1)]);
    }

    /// Each field, as far from all others as it can be.
    #[test]
    fn every_value_of_every_field_comes_back() {
        let (mut rows, mut block, mut written) = (Rows::default(), Vec::new(), Vec::new());
        let values = [0, 1, 127, 128, u64::MAX, 1 << 63, u64::MAX >> 1, 0x8000_0000, 0xffff_ffff];
        for n in 0..FIELDS {
            for value in values {
                let mut words = to_words(&cached(value % 1000));
                words[n] = value;
                let request = from_words(7, &words);
                rows.push(&request, &mut block);
                written.push(request);
            }
        }
        assert_eq!(read_back(7, &block), written);
    }

    #[test]
    fn a_row_that_is_cut_off_is_none() {
        let mut block = Vec::new();
        Rows::default().push(&cached(3), &mut block);
        for len in 0..block.len() {
            assert!(Rows::default().next(9, &block[..len]).is_none(), "{len}");
        }
    }
}
