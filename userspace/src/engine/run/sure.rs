//! Whether the plain call is sure to return the same.
//!
//! A transfer may be tried without blocking before the plain call is made, in
//! the submission or when its file has become ready. What such a try means is
//! asked here, and nowhere else:
//!
//! - [`Facts::may_try`], before it: whether it cannot wait for a device or a
//!   peer, and moves nothing that the plain call would not have moved in one.
//! - [`judge`], after it: whether the plain blocking call, at this point, is
//!   sure to return the same.
//!
//! What is [`Verdict::Unsure`] with nothing moved is given to the plain call.
//! With something moved, which comes about only with files at an offset and
//! with what is sent, it goes on behind that.
//!
//! SPEC: section 6.4 (R-RUN-3, R-RUN-4, R-RUN-8), R-OP-3.

use crate::engine::host::file::{self, Family, Kind};
use crate::engine::request::transfer::Transfer;
use libc::{EACCES, EAGAIN, EBADF, EINTR, EINVAL, ENOSYS, EOPNOTSUPP, EPERM};

/// Flags of a read or write with which a try does not wait, and is one call.
const FILE_FLAGS: u64 = (libc::RWF_NOWAIT | RWF_NOAPPEND) as u64;
const RWF_NOAPPEND: i32 = 0x20;
/// As [`FILE_FLAGS`], of what is received. MSG_WAITALL would take a part of what
/// it has to wait for.
const RECEIVE_FLAGS: u64 = (libc::MSG_DONTWAIT
    | libc::MSG_PEEK
    | libc::MSG_TRUNC
    | libc::MSG_NOSIGNAL
    | libc::MSG_CMSG_CLOEXEC) as u64;
/// As [`FILE_FLAGS`], of what is sent. MSG_FASTOPEN would connect, MSG_ZEROCOPY
/// tell of each part, MSG_OOB mark the end of each.
const SEND_FLAGS: u64 = (libc::MSG_DONTWAIT
    | libc::MSG_NOSIGNAL
    | libc::MSG_MORE
    | libc::MSG_EOR
    | libc::MSG_CONFIRM
    | libc::MSG_DONTROUTE) as u64;

/// What a try without blocking says of the plain call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It would have ended here, with the bytes moved so far or, if the last
    /// step says so, with its errno.
    Sure,
    /// It would have gone on, and so may the try.
    Further,
    /// It might wait, or return something else.
    Unsure,
}

/// What was found out about a descriptor, for one submission. Stale at once: it
/// chooses a path, never a result.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    fd: Option<i32>,
    flags: Option<i32>,
    kind: Option<Kind>,
    /// A write does not wait for the device.
    writes_behind: Option<bool>,
    /// What is not in the page cache comes from a device of this machine.
    is_on_device: Option<bool>,
    family: Option<Family>,
    /// It has said that it is ready.
    is_ready: bool,
    /// A socket that gives what it has, and waits for no more.
    takes_any: Option<bool>,
}

impl Facts {
    /// Those of a socket that has said that it is ready, which `fd` is sure to mean.
    pub(crate) fn of_ready_socket(fd: i32, family: Family) -> Self {
        let (fd, family) = (Some(fd), Some(family));
        Facts { fd, family, is_ready: true, ..Facts::default() }
    }

    /// Whether `transfer` may be tried without blocking.
    #[inline(always)] // see `super::run::try_transfer`
    pub(crate) fn may_try(&mut self, transfer: &Transfer<'_>) -> bool {
        let fd = transfer.fd();
        if self.fd != Some(fd) {
            self.begin(fd);
        }
        if transfer.is_plain_file_read() {
            let open = self.flags(fd);
            return open & libc::O_DIRECT == 0 || open < 0;
        }
        self.may_try_other(transfer, fd)
    }

    /// Whether reads of `fd` go through the page cache.
    pub(crate) fn is_cached(&mut self, fd: i32) -> bool {
        if self.fd != Some(fd) {
            self.begin(fd);
        }
        self.flags(fd) & libc::O_DIRECT == 0 && matches!(self.kind(fd), Kind::Regular | Kind::Block)
    }

    /// Whether bytes of `fd` are at offsets.
    pub(crate) fn has_offsets(&mut self, fd: i32) -> bool {
        if self.fd != Some(fd) {
            self.begin(fd);
        }
        matches!(self.kind(fd), Kind::Regular | Kind::Block)
    }

    /// Whether a transfer of `fd` goes past the page cache, and waits for nothing but
    /// a device of this machine.
    pub(crate) fn is_direct(&mut self, fd: i32) -> bool {
        if self.fd != Some(fd) {
            self.begin(fd);
        }
        let open = self.flags(fd);
        open >= 0
            && open & libc::O_DIRECT != 0
            && *self.is_on_device.get_or_insert_with(|| file::is_on_device(fd))
    }

    /// Whether a read of `fd` of what is not in the page cache waits for nothing but a
    /// device of this machine.
    pub(crate) fn is_cached_on_device(&mut self, fd: i32) -> bool {
        if self.fd != Some(fd) {
            self.begin(fd);
        }
        let open = self.flags(fd);
        open >= 0
            && open & libc::O_DIRECT == 0
            && *self.is_on_device.get_or_insert_with(|| file::is_on_device(fd))
    }

    #[inline(never)]
    fn begin(&mut self, fd: i32) {
        *self = Facts { fd: Some(fd), ..Facts::default() };
    }

    #[inline(never)]
    fn may_try_other(&mut self, transfer: &Transfer<'_>, fd: i32) -> bool {
        let flags = transfer.flags();
        if !transfer.is_file() {
            // Who does not want to wait takes what there is: the try is the call.
            if transfer.is_nonblocking() {
                return self.is_quick(fd);
            }
            return if transfer.is_read {
                flags & !RECEIVE_FLAGS == 0 && self.is_quick(fd) && self.takes_any(fd)
            } else {
                flags & !SEND_FLAGS == 0 && self.is_quick(fd)
            };
        }
        let open = self.flags(fd);
        if open < 0 {
            // It is not open, as the call will say.
            return true;
        }
        if flags & !FILE_FLAGS != 0 || !transfer.has_usual_length() {
            return false;
        }
        match (transfer.offset().is_some(), transfer.is_read) {
            (true, true) => open & libc::O_DIRECT == 0,
            (true, false) => {
                let waits = libc::O_DIRECT | libc::O_SYNC | libc::O_DSYNC | libc::O_APPEND;
                match self.kind(fd) {
                    Kind::Regular => {
                        open & waits == 0
                            && *self.writes_behind.get_or_insert_with(|| file::writes_behind(fd))
                    }
                    kind => kind == Kind::Record,
                }
            }
            (false, is_read) => match self.kind(fd) {
                Kind::Pipe | Kind::Record => open & libc::O_DIRECT == 0,
                Kind::Socket => self.is_quick(fd) && (!is_read || self.takes_any(fd)),
                // Two calls that move the position would tear each other, if one
                // of them could be cut.
                Kind::Regular => is_read && transfer.is_nonblocking() && open & libc::O_DIRECT == 0,
                Kind::Block | Kind::Memory | Kind::Other => false,
            },
        }
    }

    /// A socket that waits for nothing but its peer.
    fn is_quick(&mut self, fd: i32) -> bool {
        *self.family.get_or_insert_with(|| file::family(fd)) != Family::Other
    }

    fn takes_any(&mut self, fd: i32) -> bool {
        // Those of the internet are ready when they have as much as is waited for.
        if self.is_ready && self.family == Some(Family::Inet) {
            return true;
        }
        *self.takes_any.get_or_insert_with(|| file::low_water(fd).is_some_and(|bytes| bytes <= 1))
    }

    #[inline]
    fn flags(&mut self, fd: i32) -> i32 {
        *self.flags.get_or_insert_with(|| file::status_flags(fd))
    }

    fn kind(&mut self, fd: i32) -> Kind {
        *self.kind.get_or_insert_with(|| file::kind(fd))
    }
}

/// What a try says that gave `last`, a number of bytes or a negative errno,
/// `done` bytes in all; `full` if the request wants all that it asks for.
///
/// The structures of the call are read if `last` is not negative: the kernel
/// has read them with success then.
#[inline(never)]
pub(crate) fn judge(transfer: &Transfer<'_>, full: bool, done: u64, last: i64) -> Verdict {
    if last < 0 {
        return judge_error(transfer, done, -last as i32);
    }
    let wanted = transfer.wanted(full);
    if wanted == 0 {
        // Not every file takes no bytes for nothing.
        return if transfer.is_file() { Verdict::Unsure } else { Verdict::Sure };
    }
    if done >= wanted {
        return Verdict::Sure;
    }
    if last == 0 {
        // The end of what there is to read.
        return if transfer.is_read { Verdict::Sure } else { Verdict::Unsure };
    }
    if full && transfer.is_read {
        return if transfer.can_be_full() { Verdict::Further } else { Verdict::Sure };
    }
    match (transfer.offset(), transfer.is_read) {
        // It ends there, or what comes next is not in memory.
        (Some(offset), true) => {
            match file::kind_and_end(transfer.fd(), offset.saturating_add(done)) {
                (Kind::Regular, true) => Verdict::Sure,
                (Kind::Regular | Kind::Block | Kind::Memory, _) => Verdict::Further,
                _ => Verdict::Sure,
            }
        }
        (Some(_), false) => match file::kind(transfer.fd()) {
            // A signal that the rest may bring is not the submitter's.
            Kind::Regular | Kind::Block | Kind::Memory => Verdict::Unsure,
            _ => Verdict::Sure,
        },
        // A pipe or a socket gives what it has, and a record is all there is.
        (None, true) => Verdict::Sure,
        // It takes the rest when there is room. A socket may have some, and say that
        // it has none: that it is full is known when it says EAGAIN.
        (None, false) if transfer.is_file() => Verdict::Unsure,
        (None, false) => Verdict::Further,
    }
}

fn judge_error(transfer: &Transfer<'_>, done: u64, errno: i32) -> Verdict {
    if transfer.is_nonblocking() || errno == EBADF {
        return Verdict::Sure;
    }
    if done > 0 {
        // A send that has moved something returns that, whatever stops it.
        let waits = transfer.is_file() || errno == EAGAIN;
        return if waits { Verdict::Unsure } else { Verdict::Sure };
    }
    let kind = file::kind(transfer.fd());
    if errno == EAGAIN {
        let has_no_other = matches!(kind, Kind::Pipe | Kind::Socket | Kind::Record);
        let flags = file::status_flags(transfer.fd());
        let never_waits = has_no_other && flags >= 0 && flags & libc::O_NONBLOCK != 0;
        return if never_waits { Verdict::Sure } else { Verdict::Unsure };
    }
    // Of another syscall than the plain one, which may be refused where that
    // is not.
    let is_of_the_call = matches!(errno, EINVAL | ENOSYS | EOPNOTSUPP | EPERM | EACCES | EINTR)
        && transfer.is_file();
    match kind {
        // An error may be told once, or have taken what was to be moved.
        Kind::Socket | Kind::Record if !is_of_the_call => Verdict::Sure,
        _ if !transfer.is_file() => Verdict::Sure,
        _ => Verdict::Unsure,
    }
}
