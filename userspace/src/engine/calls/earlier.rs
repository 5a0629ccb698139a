//! What became of the iocbs that one call has accepted so far.
//!
//! For AFTER with a place in the stream. Kept only if an iocb with attributes
//! follows, and only for those that did not succeed at once: what is not in the
//! list has ended well.
//!
//! SPEC: R-AFTER-1 (the n-th accepted iocb before it in the same call).

use crate::engine::state::slots::Id;
use aio2_abi::iocb::HEADER_BYTES;

/// What became of an iocb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// Ended, and did not fail.
    Succeeded,
    /// Ended, and failed.
    Failed,
    /// Its slot knows.
    Slot(Id),
}

/// The iocbs that one call has accepted.
#[derive(Debug, Default)]
pub(crate) struct Earlier {
    accepted: usize,
    /// In the order of the stream.
    notable: Vec<(usize, Past)>,
    /// Whether an iocb with attributes follows, if that was looked for.
    needed: Option<bool>,
    /// The memory for an entry could not be had.
    has_gaps: bool,
}

impl Earlier {
    /// One more was accepted.
    #[inline]
    pub(crate) fn accept(&mut self) {
        self.accepted += 1;
    }

    /// Whether what becomes of the iocb at the front of `stream` may be asked.
    #[cold]
    pub(crate) fn is_needed(&mut self, stream: &[u8]) -> bool {
        *self.needed.get_or_insert_with(|| has_attributes(behind_first(stream)))
    }

    /// Notes what became of the one that was accepted last.
    #[cold]
    pub(crate) fn note(&mut self, past: Past) {
        if self.notable.try_reserve(1).is_err() {
            self.has_gaps = true;
            return;
        }
        self.notable.push((self.accepted - 1, past));
    }

    /// What became of the `n`-th one before the one that was accepted last.
    ///
    /// # Errors
    /// ENOENT if there is none, EAGAIN if it was forgotten (positive).
    pub(crate) fn before(&self, n: u64) -> Result<Past, i32> {
        let n = usize::try_from(n).map_err(|_| libc::ENOENT)?;
        if n == 0 || n >= self.accepted {
            return Err(libc::ENOENT);
        }
        if self.has_gaps {
            return Err(libc::EAGAIN);
        }
        let place = self.accepted - 1 - n;
        Ok(match self.notable.binary_search_by_key(&place, |(place, _)| *place) {
            Ok(found) => self.notable[found].1,
            Err(_) => Past::Succeeded,
        })
    }

    /// The ids that were noted.
    pub(crate) fn ids(&self) -> impl Iterator<Item = Id> {
        self.notable.iter().filter_map(|(_, past)| match past {
            Past::Slot(id) => Some(*id),
            _ => None,
        })
    }
}

fn len(iocb: &[u8]) -> Option<usize> {
    let len = u32::from_ne_bytes(*iocb.first_chunk()?) as usize;
    (len >= HEADER_BYTES && len <= iocb.len()).then_some(len)
}

fn behind_first(stream: &[u8]) -> &[u8] {
    len(stream).map_or(&[], |len| &stream[len..])
}

/// Whether an iocb of `stream` is longer than its arguments, as far as the
/// lengths can be true.
fn has_attributes(mut stream: &[u8]) -> bool {
    while let Some(len) = len(stream) {
        let nr_args = usize::from(u16::from_ne_bytes([stream[4], stream[5]]));
        if len > HEADER_BYTES + 8 * nr_args {
            return true;
        }
        stream = &stream[len..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_noted_has_succeeded() {
        let mut earlier = Earlier::default();
        earlier.accept();
        earlier.accept();
        earlier.note(Past::Failed);
        earlier.accept();
        earlier.accept();
        assert_eq!(earlier.before(1), Ok(Past::Succeeded));
        assert_eq!(earlier.before(2), Ok(Past::Failed));
        assert_eq!(earlier.before(3), Ok(Past::Succeeded));
        for n in [0, 4, u64::MAX] {
            assert_eq!(earlier.before(n), Err(libc::ENOENT));
        }
    }

    #[test]
    fn what_is_pinned_is_known_to_the_end() {
        let mut slots = crate::engine::state::slots::Slots::<()>::new();
        slots.reserve(1).unwrap();
        let id = slots.start(Default::default());
        let mut earlier = Earlier::default();
        earlier.accept();
        earlier.note(Past::Failed);
        earlier.accept();
        earlier.note(Past::Slot(id));
        earlier.accept();
        assert_eq!(earlier.ids().collect::<Vec<_>>(), [id]);
        assert_eq!(earlier.before(1), Ok(Past::Slot(id)));
    }

    #[test]
    fn attributes_are_found_behind_the_first_iocb_only() {
        let mut bytes = [0; 32 + 40];
        bytes[0] = 32;
        bytes[32] = 40;
        assert!(Earlier::default().is_needed(&bytes));
        bytes[32 + 4] = 1;
        assert!(!Earlier::default().is_needed(&bytes), "it is an argument");
        assert!(!Earlier::default().is_needed(&bytes[32..]));
        assert!(!Earlier::default().is_needed(&[1; 40]));
        let mut bytes = [0; 32 + 48];
        (bytes[0], bytes[32], bytes[32 + 4]) = (32, 48, 1);
        assert!(Earlier::default().is_needed(&bytes), "an argument and an attribute");
        bytes[32] = 32;
        assert!(!Earlier::default().is_needed(&bytes), "neither");
    }
}
