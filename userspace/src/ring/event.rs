//! What the ring knows of an event: its first word, and how to walk several.
//!
//! The rest of an event belongs to whoever sends it.
//!
//! SPEC: section 5.5 (reaping), step 3; section 7 has the rest of an event.

/// The first word of an event: its length in bytes, header included, and its
/// flags, laid out in memory as two native 32-bit fields.
#[inline]
pub fn header(len: u32, flags: u32) -> u64 {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&len.to_ne_bytes());
    bytes[4..].copy_from_slice(&flags.to_ne_bytes());
    u64::from_ne_bytes(bytes)
}

/// The length in bytes that a first word tells. Not validated.
#[inline]
pub fn len_of(header: u64) -> u32 {
    let [a, b, c, d, ..] = header.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

/// The length that a first word tells if it is one: a multiple of 8, at least
/// a header, at most `max` bytes.
#[inline]
pub(super) fn valid_len(header: u64, max: u32) -> Option<u32> {
    let len = len_of(header);
    (len >= 8 && len.is_multiple_of(8) && len <= max).then_some(len)
}

/// Events copied out of a ring: an iterator over slices of words.
#[derive(Clone, Debug)]
#[must_use = "the events are out of the ring already"]
pub struct Events<'b> {
    words: &'b [u64],
    count: usize,
    position: u64,
}

impl<'b> Events<'b> {
    /// `words` holds exactly `count` events of valid lengths, which stood in
    /// the ring from `position` on.
    pub(super) fn new(words: &'b [u64], count: usize, position: u64) -> Self {
        Self { words, count, position }
    }

    /// Where the next event stood: the free-running position in bytes, by which
    /// events that several consumers took can be put in order.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The words of all events that are left, back to back.
    pub fn words(&self) -> &'b [u64] {
        self.words
    }
}

impl<'b> Iterator for Events<'b> {
    type Item = &'b [u64];

    #[inline]
    fn next(&mut self) -> Option<&'b [u64]> {
        let len = len_of(*self.words.first()?) as usize / 8;
        let (event, rest) = self.words.split_at(len);
        self.words = rest;
        self.count -= 1;
        self.position = self.position.wrapping_add(len as u64 * 8);
        Some(event)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Events<'_> {}
