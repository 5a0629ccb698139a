//! What comes back for a request.

use crate::error::Errno;
use crate::reap::{Attribute, CacheBytes, Checksum, Event, ExecutionPath, OwnedEvent, Timing};
use crate::submit::{Buffer, Kind, OneBuffer, Op, kind};
use crate::trace;
use std::fmt;
use std::os::fd::{FromRawFd, OwnedFd};

/// A request that has ended: what was given, and what came of it.
///
/// Of an operation whose kind `K` is known ([`crate::kind`]), [`Completion::value`] is what it
/// gives; `result` is what the call returned, whatever the kind.
pub struct Completion<B, T, K = kind::Any> {
    /// The caller's token.
    pub token: T,
    /// The operation, with everything that it owned.
    pub op: Op<B, K>,
    /// What it returned, or the error number with which it failed.
    pub result: Result<u64, Errno>,
    /// The descriptor that it opened; closed with the completion unless taken.
    pub opened: Option<OwnedFd>,
    event: OwnedEvent,
}

impl<B: Buffer, T> Completion<B, T> {
    /// A request that was accepted has ended with `event`.
    #[inline(always)] // it is large, and would be copied
    pub(super) fn ended(op: Op<B>, token: T, event: Event<'_>) -> Self {
        let (result, owned) = (event.result(), OwnedEvent::of(&event));
        let mut ended = Completion { token, op, result, opened: None, event: owned };
        ended.opened = take_effect(&mut ended.op, &event);
        if let Ok(bytes) = result {
            ended.op.note_filled(bytes);
        }
        trace::ended(|| ended.op.name(), &event);
        ended
    }

    /// A request that was never accepted.
    #[cold]
    pub(crate) fn refused(op: Op<B>, token: T, errno: Errno) -> Self {
        let event = OwnedEvent::failed(errno);
        Completion { token, op, result: Err(errno), opened: None, event }
    }
}

/// Does to the descriptors of an operation what its one event says: one that it
/// has closed is let go of, one that it has opened is returned. One that it never
/// came to close is closed with the operation, if that is left alone.
#[inline(always)]
pub(super) fn take_effect<B>(op: &mut Op<B>, event: &Event<'_>) -> Option<OwnedFd> {
    if !op.may_change_descriptors() {
        return None;
    }
    if !event.never_began() {
        op.let_go();
    }
    if event.result().is_ok() {
        op.take_received();
    }
    match event.result() {
        Ok(fd) if op.opens() => i32::try_from(fd).ok().map(|fd| {
            // SAFETY: the operation has just opened it for this process, and its
            // one event is seen once.
            unsafe { OwnedFd::from_raw_fd(fd) }
        }),
        _ => None,
    }
}

impl<B, T, K> Completion<B, T, K> {
    /// The same, of the kind that its operation was made as.
    #[inline]
    pub(crate) fn into_kind<L>(self) -> Completion<B, T, L> {
        let Completion { token, op, result, opened, event } = self;
        Completion { token, op: op.into_kind(), result, opened, event }
    }

    /// What it gives: a descriptor if it opens one, its bytes if it reads ([`crate::kind`]).
    /// The rest is dropped: of a read that has failed, the buffer
    /// ([`Completion::into_parts`] keeps it).
    ///
    /// ```
    /// use aio2::flags::{Mode, OFlags};
    /// use aio2::{Context, Dir, Driver, Op};
    ///
    /// let mut driver = Driver::new(Context::new()?)?;
    /// let run = driver.handle();
    /// driver.block_on(async {
    ///     let open = Op::openat(Dir::Cwd, "/etc/passwd", OFlags::RDONLY, Mode::empty());
    ///     let file = run.run(open).await.value()?;
    ///     let bytes = run.run(Op::read_at(file, vec![0; 4096], 0)).await.value()?;
    ///     assert!(bytes.starts_with(b"root:"));
    ///     Ok::<_, aio2::Errno>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The one with which it failed; EBADF if the descriptor that it opened was taken
    /// before.
    pub fn value(self) -> Result<K::Value, Errno>
    where
        K: Kind<B>,
    {
        let (op, result) = (self.op.untyped(), self.result?);
        K::take(op, result, self.opened).ok_or(Errno(libc::EBADF))
    }

    /// How many bytes it has moved, or the error; and its buffer, whatever the result.
    pub fn into_parts(self) -> (Result<usize, Errno>, B)
    where
        K: OneBuffer,
    {
        (self.bytes(), self.op.take_buffer())
    }

    /// Its event.
    #[must_use]
    pub fn event(&self) -> Event<'_> {
        self.event.as_event()
    }

    /// True if the operation never began: it was refused, or cancelled, timed
    /// out or given up before, and has had no effect. A descriptor that it was
    /// to close is still open then, and closed with the completion.
    #[must_use]
    pub fn never_began(&self) -> bool {
        self.event().never_began()
    }

    /// When it was submitted, started and completed.
    #[must_use]
    pub fn timing(&self) -> Attribute<Timing> {
        self.event().timing()
    }

    /// What a read found in the page cache.
    #[must_use]
    pub fn cache(&self) -> Attribute<CacheBytes> {
        self.event().cache()
    }

    /// Where it ran.
    #[must_use]
    pub fn execution_path(&self) -> Attribute<ExecutionPath> {
        self.event().execution_path()
    }

    /// The checksum of the bytes moved.
    #[must_use]
    pub fn checksum(&self) -> Attribute<Checksum> {
        self.event().checksum()
    }

    /// What came back about attribute `id`: its payload, as bytes.
    #[must_use]
    pub fn attribute(&self, id: u16) -> Attribute<&[u8]> {
        self.event.as_event().attribute(id)
    }

    /// The same completion with another token.
    #[must_use]
    pub fn with_token<U>(self, token: U) -> Completion<B, U, K> {
        self.replace_token(token).1
    }

    /// Its token, and the same completion with another one.
    #[must_use]
    pub fn replace_token<U>(self, token: U) -> (T, Completion<B, U, K>) {
        let Completion { token: old, op, result, opened, event } = self;
        (old, Completion { token, op, result, opened, event })
    }

    /// How many bytes it moved, if it moves bytes.
    ///
    /// # Errors
    /// The one with which it failed.
    pub fn bytes(&self) -> Result<usize, Errno> {
        // No system call moves more than isize::MAX.
        self.result.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// The descriptor that it opened.
    ///
    /// # Errors
    /// The one with which it failed; EBADF if it is no operation that opens one, or its
    /// descriptor was taken before.
    pub fn into_fd(self) -> Result<OwnedFd, Errno> {
        self.result?;
        self.opened.ok_or(Errno(libc::EBADF))
    }

    /// The buffer, if the operation had one.
    #[inline(always)] // it is large, and would be copied
    #[must_use]
    pub fn into_buffer(self) -> Option<B> {
        self.op.into_buffer()
    }
}

impl<T, K> Completion<Vec<u8>, T, K> {
    /// What it has read: its buffer, which ends with the last byte that was read.
    ///
    /// # Errors
    /// The one with which it failed.
    pub fn into_bytes(self) -> Result<Vec<u8>, Errno> {
        let end = self.op.begin().saturating_add(self.bytes()?);
        let mut bytes = self.op.into_buffer().unwrap_or_default();
        bytes.truncate(end);
        Ok(bytes)
    }
}

impl<B, T: fmt::Debug, K> fmt::Debug for Completion<B, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion")
            .field("token", &self.token)
            .field("op", &self.op)
            .field("result", &self.result)
            .finish_non_exhaustive()
    }
}
