//! Asking for attributes, one by one.
//!
//! SPEC: section 8.

use super::Op;
use super::attributes::{After, CacheHint, Follows, Priority, Signal};
use crate::submit::IocbMut;
use aio2_abi::attr::AttrFlags;
use aio2_abi::iocb::NoRoom;
use aio2_abi::op;
use std::time::Duration;

/// Attributes. Each asks for a return in the event, so that the completion can
/// say whether the attribute was handled; asking twice replaces.
impl<B, K> Op<B, K> {
    /// Asks when it was submitted, started and completed.
    #[must_use]
    pub fn timing(mut self) -> Self {
        self.attributes.timing();
        self
    }

    /// Asks where it ran.
    #[must_use]
    pub fn execution_path(mut self) -> Self {
        self.attributes.path();
        self
    }

    /// Gives a hint to the page cache, and asks how many of the bytes were there.
    #[must_use]
    pub fn cache(mut self, hint: CacheHint) -> Self {
        self.attributes.cache(hint);
        self
    }

    /// Asks for the CRC-32C of the bytes moved.
    #[must_use]
    pub fn checksum(mut self) -> Self {
        self.attributes.checksum();
        self
    }

    /// Gives it a tag that tracepoints show.
    #[must_use]
    pub fn tag(mut self, tag: u64) -> Self {
        self.attributes.tag(tag);
        self
    }

    /// Gives it an I/O priority.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.attributes.priority(priority);
        self
    }

    /// Cancels it after this time, counted from its acceptance, with ETIMEDOUT.
    /// Spans beyond 584 years are cut; none at all is over before it begins. One that
    /// has moved something by then ends with what it has moved, unless it is
    /// [`Op::full`].
    #[must_use]
    pub fn deadline(mut self, after: Duration) -> Self {
        self.attributes.deadline(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
        self
    }

    /// Makes it a member of the group of this key, which [`Op::group`] closes.
    #[must_use]
    pub fn in_group(mut self, key: u64) -> Self {
        self.attributes.group(key);
        self
    }

    /// Starts it only after something else has ended well.
    #[must_use]
    pub fn after(mut self, after: impl Into<After>) -> Self {
        self.attributes.after(after.into());
        self
    }

    /// Sends a signal when its completion is there.
    #[must_use]
    pub fn signal(mut self, signal: Signal) -> Self {
        self.attributes.signal(signal);
        self
    }

    /// Makes the attribute that was added last a condition: the operation ends
    /// with EOPNOTSUPP (EINVAL for a bad payload) before it starts, if the
    /// attribute cannot be handled.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.attributes.require_last();
        self
    }

    /// Adds any attribute by its id, 1 to 63.
    ///
    /// # Safety
    /// If an implementation knows the attribute, its payload must be right for
    /// it: an address in it valid for what is done with it until the completion
    /// is there. One that the ABI does not know now it may know tomorrow.
    #[must_use]
    pub unsafe fn attr_raw(mut self, id: u16, flags: AttrFlags, payload: &[u8]) -> Self {
        self.attributes.raw(id, flags, payload);
        self
    }

    /// Appends the attributes to the operation's iocb.
    #[inline]
    pub(crate) fn encode_attributes(
        &self,
        iocb: &mut IocbMut<'_>,
        follows: Follows,
    ) -> Result<(), NoRoom> {
        self.attributes.encode(iocb, follows)
    }

    /// Whether it has a place among others: it is after one, a member of a group,
    /// or closes one.
    #[inline]
    pub(crate) fn has_order(&self) -> bool {
        self.attributes.has_order() || self.nr == op::GROUP
    }

    /// What it is after.
    pub(crate) fn asked_after(&self) -> Option<After> {
        self.attributes.asked_after()
    }

    /// The key of the group that it is a member of.
    pub(crate) fn member_of(&self) -> Option<u64> {
        self.attributes.member_of()
    }
}
