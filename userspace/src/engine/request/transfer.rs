//! Transfers: syscalls that move bytes, can be tried without blocking, and can
//! be continued behind what was moved already.
//!
//! A [`Transfer`] is a view of a [`Call`] that knows its buffers. It keeps no
//! state: how many bytes are done is told to it. When to try, to continue or to
//! stop is decided in `run`.
//!
//! SPEC: section 6.4 (R-RUN-4, R-RUN-5, R-RUN-8).

use super::call::Call;
use crate::engine::host::file;
use crate::syscall::Class;
use libc::c_long;

/// Most bytes that one read or write moves: Linux's MAX_RW_COUNT.
const ONE_CALL_BYTES: u64 = 0x7fff_f000;
/// Most entries of an iovec array: Linux's UIO_MAXIOV.
const IOVECS: u64 = 1024;
/// The offset that stands for the file position, in preadv2(2).
const FILE_POSITION: i64 = -1;

const NOWAIT: u64 = libc::RWF_NOWAIT as u64;
const DONTWAIT: u64 = libc::MSG_DONTWAIT as u64;
const PEEK: u64 = libc::MSG_PEEK as u64;

/// Which family of syscalls moves the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// preadv2 or pwritev2 do it, at an offset.
    File { nr: c_long, offset: i64 },
    /// recvfrom or sendto.
    Socket,
    /// recvmsg or sendmsg.
    Message,
}

/// Where the bytes are.
#[derive(Clone, Copy, Debug)]
enum Buffers {
    One {
        address: u64,
        len: u64,
    },
    Many {
        iovecs: u64,
        count: u64,
    },
    /// Those of the message header at this address.
    Message(u64),
}

/// A transfer at an offset, as io_uring(7) takes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AtOffset {
    /// It goes through the page cache, and waits for what is not there.
    pub(crate) is_buffered: bool,
    pub(crate) fd: i32,
    /// Of the buffer, or of the vector.
    pub(crate) address: u64,
    /// Its bytes, or its entries.
    pub(crate) len: u32,
    pub(crate) offset: u64,
    pub(crate) is_vector: bool,
    pub(crate) is_read: bool,
}

/// A call that moves bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer<'a> {
    call: &'a Call,
    family: Family,
    buffers: Buffers,
    /// RWF_* or MSG_*, as the caller gave them.
    flags: u64,
    /// Bytes come from the file.
    pub(crate) is_read: bool,
}

impl<'a> Transfer<'a> {
    /// `call` as a transfer, or none if it is not one that can be tried: then
    /// the plain syscall says what is wrong with it.
    #[inline(always)]
    pub(crate) fn new(call: &'a Call, class: Class) -> Option<Self> {
        let [_, b, c, d, _, f] = *call.args();
        let is_read = match class {
            Class::Read => true,
            Class::Socket => matches!(call.nr(), libc::SYS_recvfrom | libc::SYS_recvmsg),
            Class::Write | Class::Inline | Class::Worker => false,
        };
        let (buffers, offset, flags) = match (class, call.nr()) {
            (_, libc::SYS_read | libc::SYS_write) => {
                (Buffers::One { address: b, len: c }, FILE_POSITION, 0)
            }
            (_, libc::SYS_readv | libc::SYS_writev) => {
                (Buffers::Many { iovecs: b, count: c }, FILE_POSITION, 0)
            }
            // A negative offset is an error in these, and the file position in
            // the call that stands in for them.
            (_, libc::SYS_pread64 | libc::SYS_pwrite64) if d as i64 >= 0 => {
                (Buffers::One { address: b, len: c }, d as i64, 0)
            }
            (_, libc::SYS_preadv | libc::SYS_pwritev) if d as i64 >= 0 => {
                (Buffers::Many { iovecs: b, count: c }, d as i64, 0)
            }
            (_, libc::SYS_preadv2 | libc::SYS_pwritev2) if d as i64 >= FILE_POSITION => {
                (Buffers::Many { iovecs: b, count: c }, d as i64, f)
            }
            (Class::Socket, libc::SYS_recvfrom | libc::SYS_sendto) => {
                let buffers = Buffers::One { address: b, len: c };
                return Some(Transfer { call, family: Family::Socket, buffers, flags: d, is_read });
            }
            (Class::Socket, _) => {
                let buffers = Buffers::Message(b);
                return Some(Transfer {
                    call,
                    family: Family::Message,
                    buffers,
                    flags: c,
                    is_read,
                });
            }
            _ => return None,
        };
        let nr = if is_read { libc::SYS_preadv2 } else { libc::SYS_pwritev2 };
        Some(Transfer { call, family: Family::File { nr, offset }, buffers, flags, is_read })
    }

    /// The caller himself asked not to wait, so that EAGAIN is a result.
    #[inline]
    pub(crate) fn is_nonblocking(&self) -> bool {
        match self.family {
            Family::File { .. } => self.flags & NOWAIT != 0,
            Family::Socket | Family::Message => self.flags & DONTWAIT != 0,
        }
    }

    /// Whether this belongs to the read and write families.
    #[inline]
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.family, Family::File { .. })
    }

    /// The descriptor.
    #[inline]
    pub(crate) fn fd(&self) -> i32 {
        file::descriptor(self.call.args()[0])
    }

    /// RWF_* or MSG_*, as the caller gave them.
    pub(crate) fn flags(&self) -> u64 {
        self.flags
    }

    /// Whether it is what is most frequent: a read at an offset into one buffer.
    #[inline]
    pub(crate) fn is_plain_file_read(&self) -> bool {
        let Family::File { offset: 0.., .. } = self.family else { return false };
        self.is_read && matches!(self.buffers, Buffers::One { len: 1..=ONE_CALL_BYTES, .. })
    }

    /// Whether its buffer stands in the arguments themselves.
    pub(crate) fn has_one_buffer(&self) -> bool {
        matches!(self.buffers, Buffers::One { .. })
    }

    /// Whether the call that stands in for a read or write of one buffer takes its
    /// length as the plain one does.
    pub(crate) fn has_usual_length(&self) -> bool {
        !matches!(self.buffers, Buffers::One { len, .. } if len == 0 || len > ONE_CALL_BYTES)
    }

    /// Whether the bytes can be asked for again: not if they stay where they are.
    pub(crate) fn can_be_full(&self) -> bool {
        self.is_file() || self.flags & PEEK == 0
    }

    /// Bytes that the caller wants. The structures that tell it are read from
    /// his memory: only after the kernel has read them with success.
    pub(crate) fn wanted(&self, full: bool) -> u64 {
        let sum = self.iovecs().fold(0, |sum: u64, v| sum.saturating_add(v.iov_len as u64));
        if full { sum } else { sum.min(ONE_CALL_BYTES) }
    }

    /// Whether `moved` is all of a single buffer, so that nothing else has to be
    /// looked at: the plain call would have moved no more.
    #[inline]
    pub(crate) fn is_whole(&self, moved: i64) -> bool {
        matches!(self.buffers, Buffers::One { len, .. } if len == moved as u64)
    }

    /// Moves bytes, from the first one on, without waiting; the result is that
    /// of the syscall.
    #[inline(always)] // see `run::try_transfer`
    pub(crate) fn try_first(&self) -> i64 {
        let args = *self.call.args();
        match (self.family, self.buffers) {
            (Family::File { nr, offset }, Buffers::One { address, len }) => {
                let iovec = iovec(address, len);
                let at = (&raw const iovec).expose_provenance() as u64;
                // The calls with one buffer have no flags.
                self.call.run_other(nr, [args[0], at, 1, offset as u64, high(offset), NOWAIT])
            }
            (Family::File { nr, offset }, Buffers::Many { iovecs, count }) => {
                let flags = self.flags | NOWAIT;
                let args = [args[0], iovecs, count, offset as u64, high(offset), flags];
                self.call.run_other(nr, args)
            }
            (Family::Socket, _) => {
                let [a, b, c, d, e, f] = args;
                self.call.run_with([a, b, c, d | DONTWAIT, e, f])
            }
            (Family::Message, _) | (Family::File { .. }, Buffers::Message(_)) => {
                let [a, b, c, d, e, f] = args;
                self.call.run_with([a, b, c | DONTWAIT, d, e, f])
            }
        }
    }

    /// Moves bytes behind the first `done` ones, at most up to `wanted`;
    /// without waiting if so told. To be used when `done` bytes were moved, so
    /// that the kernel has read the caller's structures with success.
    pub(crate) fn try_rest(&self, done: u64, wanted: u64, nowait: bool) -> i64 {
        let (one, many);
        let rest: &[libc::iovec] = match self.buffers {
            Buffers::One { address, .. } => {
                one = [iovec(address + done, wanted.saturating_sub(done))];
                &one
            }
            _ => match self.rest(done, wanted) {
                Ok(rest) => {
                    many = rest;
                    &many
                }
                Err(errno) => return -i64::from(errno),
            },
        };
        let [fd, b, _, _, e, f] = *self.call.args();
        let at = rest.as_ptr().expose_provenance() as u64;
        let count = rest.len() as u64;
        // What has sent a part brings no SIGPIPE.
        let quiet = if self.is_file() || self.is_read { 0 } else { libc::MSG_NOSIGNAL as u64 };
        let flags = self.flags | quiet;
        let with = |flag| if nowait { flags | flag } else { flags };
        match self.family {
            Family::File { nr, offset } => {
                let offset = if offset == FILE_POSITION { offset } else { offset + done as i64 };
                let args = [fd, at, count, offset as u64, high(offset), with(NOWAIT)];
                self.call.run_other(nr, args)
            }
            Family::Socket => {
                let first = rest.first().copied().unwrap_or(iovec(0, 0));
                let address = first.iov_base.expose_provenance() as u64;
                self.call.run_with([fd, address, first.iov_len as u64, with(DONTWAIT), e, f])
            }
            Family::Message => {
                let Some(mut message) = self.call.structs::<libc::msghdr>(b, 1).next() else {
                    return 0;
                };
                message.msg_iov = rest.as_ptr().cast_mut();
                message.msg_iovlen = rest.len() as _;
                // It went with the first bytes.
                message.msg_control = std::ptr::null_mut();
                message.msg_controllen = 0;
                let at = (&raw const message).expose_provenance() as u64;
                self.call.run_with([fd, at, with(DONTWAIT), 0, 0, 0])
            }
        }
    }

    /// How many bytes of a read at the file position can be had without waiting,
    /// at most up to what it wants; none if that cannot be told. They are read,
    /// and the position stays.
    pub(crate) fn look_ahead(&self, full: bool) -> Option<u64> {
        let Family::File { nr, offset: FILE_POSITION } = self.family else { return None };
        let offset = file::position(self.fd())? as i64;
        let ahead = Transfer { family: Family::File { nr, offset }, flags: 0, ..*self };
        let mut moved = ahead.try_first();
        let mut done = 0;
        while moved > 0 {
            done += moved as u64;
            moved = ahead.try_rest(done, self.wanted(full), true);
        }
        (done > 0 || moved == 0 || moved == -i64::from(libc::EAGAIN)).then_some(done)
    }

    /// The first `len` bytes of the buffers, which were moved.
    pub(crate) fn moved(&self, len: u64, mut each: impl FnMut(&[u8])) {
        let mut left = len;
        for v in self.iovecs() {
            let n = left.min(v.iov_len as u64);
            each(self.call.bytes(v.iov_base.expose_provenance() as u64, n as usize));
            left -= n;
        }
    }

    /// Bytes from the file's start that the transfer begins at; none if it is
    /// not at an offset.
    pub(crate) fn offset(&self) -> Option<u64> {
        match self.family {
            Family::File { offset, .. } => u64::try_from(offset).ok(),
            _ => None,
        }
    }

    /// The transfer, from its first byte on, if it is one at an offset.
    pub(crate) fn at_offset(&self) -> Option<AtOffset> {
        let (address, len, is_vector) = match self.buffers {
            Buffers::One { address, len } => (address, len, false),
            Buffers::Many { iovecs, count } => (iovecs, count, true),
            Buffers::Message(_) => return None,
        };
        let (fd, is_read) = (self.fd(), self.is_read);
        let (len, offset) = (u32::try_from(len).ok()?, self.offset()?);
        let is_buffered = false;
        Some(AtOffset { is_buffered, fd, address, len, offset, is_vector, is_read })
    }

    /// What is left of the buffers behind `done` bytes, up to `wanted`.
    fn rest(&self, done: u64, wanted: u64) -> Result<Vec<libc::iovec>, i32> {
        let mut rest = Vec::new();
        let (mut skip, mut left) = (done, wanted.saturating_sub(done));
        for v in self.iovecs() {
            let len = v.iov_len as u64;
            let skipped = skip.min(len);
            skip -= skipped;
            let n = left.min(len - skipped);
            rest.try_reserve(1).map_err(|_| libc::ENOMEM)?;
            rest.push(iovec(v.iov_base.expose_provenance() as u64 + skipped, n));
            left -= n;
        }
        Ok(rest)
    }

    /// The caller's buffers, in order.
    fn iovecs(&self) -> impl Iterator<Item = libc::iovec> {
        let (one, iovecs, count) = match self.buffers {
            Buffers::One { address, len } => (Some(iovec(address, len)), 0, 0),
            Buffers::Many { iovecs, count } => (None, iovecs, count),
            Buffers::Message(header) => {
                let message = self.call.structs::<libc::msghdr>(header, 1).next();
                let (at, count) = message.map_or((0, 0), |m| {
                    (m.msg_iov.expose_provenance() as u64, m.msg_iovlen as u64)
                });
                (None, at, count)
            }
        };
        one.into_iter().chain(self.call.structs(iovecs, count.min(IOVECS) as usize))
    }
}

/// What preadv2 and pwritev2 take of an offset behind what fits into a register.
#[inline]
fn high(offset: i64) -> u64 {
    if cfg!(target_pointer_width = "64") { 0 } else { offset as u64 >> 32 }
}

/// An iovec of a buffer that the caller gave by its address.
fn iovec(address: u64, len: u64) -> libc::iovec {
    libc::iovec {
        iov_base: std::ptr::with_exposed_provenance_mut(address as usize),
        iov_len: len as usize,
    }
}
