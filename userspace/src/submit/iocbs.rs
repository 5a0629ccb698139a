//! A growable stream of iocbs, at an address that is a multiple of 8.
//!
//! Memory that was once allocated is used again; nothing is allocated for an
//! iocb in the steady state. SPEC: sections 6.1 and 6.2.

use aio2_abi::iocb::{Encoder, Header, IocbFlags, LEN_MAX, NoRoom};
use aio2_abi::{align8, attr};
use zerocopy::IntoBytes;

/// Words that an iocb can need at most.
const IOCB_WORDS: usize = LEN_MAX / 8;

/// Where an iocb has its user_data, in words.
const USER_DATA_WORD: usize = std::mem::offset_of!(Header, user_data) / 8;

/// Where an iocb has the number of its operation, in bytes.
const NR_OFFSET: usize = std::mem::offset_of!(Header, nr);

/// Bytes of the iocb whose first word this is.
fn len_of(first: u64) -> usize {
    let [a, b, c, d, ..] = first.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d]) as usize
}

/// Iocbs that are to be submitted, in order.
#[derive(Clone, Debug, Default)]
pub struct Iocbs {
    /// The iocbs stand in words `start..end`; the rest is room.
    words: Vec<u64>,
    start: usize,
    end: usize,
    count: usize,
}

impl Iocbs {
    /// No iocbs, and no memory yet.
    #[must_use]
    pub const fn new() -> Self {
        Iocbs { words: Vec::new(), start: 0, end: 0, count: 0 }
    }

    /// Appends an iocb; attributes can be added to what is returned.
    ///
    /// # Errors
    /// [`NoRoom`] if there are more than 6 arguments; nothing is appended.
    #[inline]
    pub fn push(
        &mut self,
        nr: u32,
        args: &[u64],
        flags: IocbFlags,
        user_data: u64,
    ) -> Result<IocbMut<'_>, NoRoom> {
        self.make_room();
        let at = self.end;
        let room = self.words[at..].as_mut_bytes();
        let encoder = Encoder::new(room, nr, args, flags, user_data)?;
        self.end = at + encoder.len() / 8;
        self.count += 1;
        Ok(IocbMut { encoder, at, end: &mut self.end })
    }

    /// Number of iocbs.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of all iocbs together.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        (self.end - self.start) * 8
    }

    /// True if there is no iocb.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The stream.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.words[self.start..self.end].as_bytes()
    }

    /// The stream, to be submitted; with WRITE_ID the ids are written into it.
    #[inline]
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.words[self.start..self.end].as_mut_bytes()
    }

    /// Removes all iocbs and keeps the memory.
    #[inline]
    pub fn clear(&mut self) {
        (self.start, self.end, self.count) = (0, 0, 0);
    }

    /// Removes the iocbs that lie in the first `bytes`, which a submission has
    /// accepted; returns how many those were. One that lies there only in part
    /// stays.
    pub fn consume(&mut self, mut bytes: usize) -> usize {
        let before = self.count;
        while let Some(len) = self.front_len().filter(|&len| len <= bytes) {
            bytes -= len;
            self.remove_front();
        }
        before - self.count
    }

    /// Bytes of the first iocb.
    fn front_len(&self) -> Option<usize> {
        self.words[self.start..self.end].first().map(|&word| len_of(word))
    }

    /// Removes the first iocb, if there is one.
    pub(crate) fn remove_front(&mut self) {
        let Some(len) = self.front_len() else { return };
        self.start += len / 8;
        self.count -= 1;
        if self.count == 0 {
            self.clear();
        }
    }

    /// The user_data of all iocbs, in order.
    pub(crate) fn user_datas(&self) -> impl Iterator<Item = u64> {
        let mut rest = &self.words[self.start..self.end];
        std::iter::from_fn(move || {
            let user_data = *rest.get(USER_DATA_WORD)?;
            rest = &rest[len_of(rest[0]) / 8..];
            Some(user_data)
        })
    }

    /// Has the iocb with this `user_data` name the operation `nr`.
    pub(crate) fn rename(&mut self, user_data: u64, nr: u32) {
        let mut at = self.start;
        while at < self.end {
            let len = len_of(self.words[at]) / 8;
            if self.words[at + USER_DATA_WORD] == user_data {
                let bytes = self.words[at..].as_mut_bytes();
                bytes[NR_OFFSET..NR_OFFSET + 4].copy_from_slice(&nr.to_ne_bytes());
                return;
            }
            at += len;
        }
    }

    /// Keeps the iocbs for whose user_data `keep` is true.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(u64) -> bool) {
        let (mut from, mut to) = (self.start, self.start);
        while from < self.end {
            let len = len_of(self.words[from]) / 8;
            if keep(self.words[from + USER_DATA_WORD]) {
                self.words.copy_within(from..from + len, to);
                to += len;
            } else {
                self.count -= 1;
            }
            from += len;
        }
        self.end = to;
    }

    /// Removes the iocb with this `user_data`; false if there is none.
    pub(crate) fn remove(&mut self, user_data: u64) -> bool {
        let mut at = self.start;
        while at < self.end {
            let len = len_of(self.words[at]) / 8;
            if self.words[at + USER_DATA_WORD] == user_data {
                // The fewer of the others move.
                if at - self.start < self.end - at {
                    self.words.copy_within(self.start..at, self.start + len);
                    self.start += len;
                } else {
                    self.words.copy_within(at + len..self.end, at);
                    self.end -= len;
                }
                self.count -= 1;
                return true;
            }
            at += len;
        }
        false
    }

    /// Makes room for the longest iocb behind the others.
    #[inline]
    fn make_room(&mut self) {
        if self.words.len() - self.end < IOCB_WORDS {
            self.grow();
        }
    }

    #[cold]
    fn grow(&mut self) {
        // What was consumed is room too, if moving pays.
        if self.start >= self.words.len() / 2 && self.start >= IOCB_WORDS {
            self.words.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.words.len() - self.end < IOCB_WORDS {
            let words = (self.words.len() * 2).max(4 * IOCB_WORDS);
            self.words.resize(words, 0);
        }
    }
}

/// An iocb that was just appended to [`Iocbs`].
#[derive(Debug)]
pub struct IocbMut<'a> {
    encoder: Encoder<'a>,
    at: usize,
    end: &'a mut usize,
}

impl IocbMut<'_> {
    /// Appends an attribute, its payload padded with zeros.
    ///
    /// # Errors
    /// [`NoRoom`] if the iocb would be longer than the ABI allows; the
    /// attribute is not appended.
    #[inline]
    pub fn attr(&mut self, id: u16, flags: attr::AttrFlags, payload: &[u8]) -> Result<(), NoRoom> {
        // Refused here too, since a length beyond u16 would be cut by the encoder.
        if align8(payload.len()) > LEN_MAX {
            return Err(NoRoom);
        }
        self.encoder.attr(id, flags, payload)?;
        *self.end = self.at + self.encoder.len() / 8;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aio2_abi::iocb::Stream;

    fn user_datas(iocbs: &Iocbs) -> Vec<u64> {
        Stream::new(iocbs.bytes()).unwrap().map(|i| i.unwrap().header.user_data).collect()
    }

    #[test]
    fn what_a_partial_submission_left_stands_at_the_front() {
        let mut iocbs = Iocbs::new();
        for n in 0..1000 {
            let mut iocb = iocbs.push(1, &[n; 3], IocbFlags::empty(), n).unwrap();
            iocb.attr(attr::TAG, attr::AttrFlags::empty(), &n.to_ne_bytes()).unwrap();
        }
        let one = iocbs.len() / 1000;
        assert_eq!(iocbs.consume(one * 400), 400);
        assert_eq!(user_datas(&iocbs), (400..1000).collect::<Vec<_>>());
        iocbs.push(1, &[], IocbFlags::empty(), 1000).unwrap();
        assert!(iocbs.remove(500));
        assert!(!iocbs.remove(500));
        assert_eq!(iocbs.count(), 600);
        assert_eq!(user_datas(&iocbs).len(), 600);
    }

    #[test]
    fn in_the_steady_state_memory_is_used_again() {
        let mut iocbs = Iocbs::new();
        let mut words = 0;
        for round in 0..10_000_u64 {
            for n in 0..8 {
                iocbs.push(1, &[1, 2, 3], IocbFlags::empty(), round * 8 + n).unwrap();
            }
            // One iocb stays behind at any time.
            let leave = if round == 0 { 56 } else { 0 };
            iocbs.consume(8 * 56 - leave);
            if round == 100 {
                words = iocbs.words.len();
            }
        }
        assert_eq!(iocbs.words.len(), words);
        assert_eq!(user_datas(&iocbs), [79_999]);
    }

    #[test]
    fn seven_arguments_are_refused_and_leave_nothing() {
        let mut iocbs = Iocbs::new();
        assert_eq!(iocbs.push(1, &[0; 7], IocbFlags::empty(), 0).err(), Some(NoRoom));
        assert!(iocbs.is_empty() && iocbs.bytes().is_empty());
    }
}
