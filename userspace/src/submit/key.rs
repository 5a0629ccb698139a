//! The name of a request of a queue.

/// Names a request of a queue, from its push to its completion, and for what is
/// to start after it also a while beyond. It is the request's user_data.
///
/// It means nothing to another queue, which finds no request by it: a cancel is
/// `NotFound`, and what is to start after it ends with ESTALE or ENOENT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub(crate) u64);

impl Key {
    /// That of no request: what is after it ends with ENOENT.
    #[cfg(not(aio2_loom))]
    pub(crate) const NONE: Key = Key(u64::MAX);
}
