//! Requests with the attributes that concern more than one of them.

use crate::context::{Fixture, Iocb, syscall};
use aio2_abi::iocb::{ID_OFFSET, IocbFlags};
use aio2_abi::{attr, op};
use std::fs::File;
use std::io::{PipeReader, PipeWriter};
use std::os::fd::AsRawFd;
use zerocopy::IntoBytes;

const NONE: attr::AttrFlags = attr::AttrFlags::empty();

impl Iocb {
    pub fn group_op(key: u64) -> Self {
        Iocb { nr: op::GROUP, args: vec![key], ..Iocb::nop(0) }
    }

    pub fn poll_op(fd: &impl AsRawFd, events: i16) -> Self {
        let args = vec![fd.as_raw_fd() as u64, events as u64];
        Iocb { nr: op::POLL, args, ..Iocb::nop(0) }
    }

    pub fn in_group(self, key: u64) -> Self {
        self.attr_with(attr::GROUP, NONE, attr::Group { key }.as_bytes())
    }

    pub fn after(self, kind: u32, target: u64) -> Self {
        self.attr_with(attr::AFTER, NONE, attr::After { target, kind, resv: 0 }.as_bytes())
    }

    pub fn deadline(self, timeout_ns: u64) -> Self {
        self.attr_with(attr::DEADLINE, NONE, attr::Deadline { timeout_ns }.as_bytes())
    }

    pub fn id(self) -> Self {
        self.flags(IocbFlags::WRITE_ID)
    }
}

/// A request that fails at once.
pub fn failing() -> Iocb {
    syscall(libc::SYS_read, &[u64::MAX, 0, 0])
}

/// A pipe, and a request that runs in a worker until a byte is written to it: a
/// read would wait for the pipe without one.
pub struct Slow {
    pub reader: PipeReader,
    pub writer: PipeWriter,
    null: File,
}

impl Slow {
    pub fn new() -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        let null = File::options().write(true).open("/dev/null").unwrap();
        Slow { reader, writer, null }
    }

    pub fn read(&self) -> Iocb {
        let args = [self.reader.as_raw_fd() as u64, 0, self.null.as_raw_fd() as u64, 0, 1, 0];
        syscall(libc::SYS_splice, &args)
    }

    pub fn finish(&mut self) {
        std::io::Write::write_all(&mut self.writer, &[1]).unwrap();
    }
}

/// The id of the n-th iocb of a stream of one of these.
pub fn id_of(words: &[u64], n: usize) -> u64 {
    let mut at = 0;
    for _ in 0..n {
        at += (words[at] & 0xffff_ffff) as usize / 8;
    }
    words[at + ID_OFFSET / 8]
}

/// The next `n` events: user_data and result.
pub fn ends(f: &Fixture, n: usize) -> Vec<(u64, i64)> {
    f.next_n(n).iter().map(|a| (a.user_data, a.res)).collect()
}

pub fn errno(errno: i32) -> i64 {
    -i64::from(errno)
}
