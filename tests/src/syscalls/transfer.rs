//! Rows of what moves bytes.

use super::stage::{FILE_BYTES, NO_FD, Stage, address, contents, fd, fill, owned, plain, to};
use super::{Row, row};
use crate::file::Pipe;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

pub(super) const ROWS: &[Row] = &[
    row("read", |s| {
        s.fails(libc::EBADF, &[NO_FD, s.out(), 10]);
        s.fails(libc::EISDIR, &[fd(&s.directory), s.out(), 10]);
        s.fails(libc::EFAULT, &[fd(&s.file), 8, 10]);
        s.good(&[fd(&s.file), s.out(), 1000])?;
        s.good(&[fd(&s.file), s.out(), 8000])?;
        s.good(&[fd(&s.file), s.out(), 10]).map(drop)
    }),
    row("pread64", |s| {
        s.fails(libc::EINVAL, &[fd(&s.file), s.out(), 10, u64::MAX]);
        s.fails(libc::ESPIPE, &[fd(&s.pipe.reader), s.out(), 10, 0]);
        s.good(&[fd(&s.file), s.out(), 1000, 3])?;
        s.good(&[fd(&s.file), s.out(), 1000, FILE_BYTES as u64 - 100])?;
        s.good(&[fd(&s.file), s.out(), 1000, FILE_BYTES as u64]).map(drop)
    }),
    row("readv", |s| {
        let parts = parts(s);
        s.fails(libc::EINVAL, &[fd(&s.file), address(&parts), u64::MAX]);
        s.good(&[fd(&s.file), address(&parts), 2]).map(drop)
    }),
    row("preadv", |s| {
        let parts = parts(s);
        s.fails(libc::EBADF, &[NO_FD, address(&parts), 2, 9, 0]);
        s.good(&[fd(&s.file), address(&parts), 2, 9, 0]).map(drop)
    }),
    row("preadv2", |s| {
        let parts = parts(s);
        s.fails(libc::EOPNOTSUPP, &[fd(&s.file), address(&parts), 2, 9, 0, 1 << 30]);
        s.good(&[fd(&s.file), address(&parts), 2, 9, 0, 0])?;
        // At the file's position.
        s.good(&[fd(&s.file), address(&parts), 1, NO_FD, 0, 0]).map(drop)
    }),
    row("write", |s| {
        s.fails(libc::EBADF, &[fd(&s.directory), address(&DATA), 10]);
        s.fails(libc::EFAULT, &[fd(&s.pipe.writer), 8, 10]);
        s.good(&[fd(&s.file), address(&DATA), 300])?;
        s.good(&[fd(&s.pipe.writer), address(&DATA), 200]).map(drop)
    }),
    row("pwrite64", |s| {
        s.fails(libc::EINVAL, &[fd(&s.file), address(&DATA), 10, u64::MAX]);
        s.good(&[fd(&s.file), address(&DATA), 300, FILE_BYTES as u64 + 50]).map(drop)
    }),
    row("writev", |s| {
        let parts = parts(s);
        s.fails(libc::EBADF, &[NO_FD, address(&parts), 2]);
        s.good(&[fd(&s.file), address(&parts), 2]).map(drop)
    }),
    row("pwritev", |s| {
        let parts = parts(s);
        s.fails(libc::ESPIPE, &[fd(&s.pipe.writer), address(&parts), 2, 0, 0]);
        s.good(&[fd(&s.file), address(&parts), 2, 77, 0]).map(drop)
    }),
    row("pwritev2", |s| {
        let parts = parts(s);
        s.fails(libc::EOPNOTSUPP, &[fd(&s.file), address(&parts), 2, 0, 0, 1 << 30]);
        s.good(&[fd(&s.file), address(&parts), 2, 0, 0, libc::RWF_APPEND as u64]).map(drop)
    }),
    row("recvfrom", |s| {
        let socket = fd(&s.sockets.0);
        fill(file(&s.sockets.1), &DATA[..50]);
        s.fails(libc::ENOTSOCK, &[fd(&s.pipe.reader), s.out(), 1, 0, 0, 0]);
        s.good(&[socket, s.out(), 20, libc::MSG_PEEK as u64, 0, 0])?;
        s.good(&[socket, s.out(), 20, 0, 0, 0])?;
        s.good(&[socket, s.out(), 100, 0, 0, 0])?;
        s.fails(libc::EAGAIN, &[socket, s.out(), 1, libc::MSG_DONTWAIT as u64, 0, 0]);
        Ok(())
    }),
    row("sendto", |s| {
        s.fails(libc::ENOTSOCK, &[fd(&s.pipe.writer), address(&DATA), 1, 0, 0, 0]);
        s.fails(libc::EISCONN, &[fd(&s.sockets.0), address(&DATA), 1, 0, address(&DATA), 16]);
        s.good(&[fd(&s.sockets.0), address(&DATA), 30, 0, 0, 0])?;
        received(s)
    }),
    row("recvmsg", |s| {
        let mut into = Message::new(s.out(), 20);
        fill(file(&s.sockets.1), &DATA[..5]);
        s.fails(libc::ENOTSOCK, &[fd(&s.pipe.reader), to(&mut into.header), 0]);
        s.good(&[fd(&s.sockets.0), to(&mut into.header), 0])?;
        s.fails(libc::EAGAIN, &[fd(&s.sockets.0), to(&mut into.header), 0x40]);
        // A descriptor arrives, in this process.
        let mut from = Message::new(address(&DATA), 3).with_descriptor(fd(&s.file) as i32);
        assert_eq!(plain(libc::SYS_sendmsg, &[fd(&s.sockets.1), to(&mut from.header), 0]), 3);
        let mut into = Message::new(s.out(), 20).with_descriptor(-1);
        s.good(&[fd(&s.sockets.0), to(&mut into.header), libc::MSG_CMSG_CLOEXEC as u64])?;
        s.describe(&owned(into.descriptor().into()));
        Ok(())
    }),
    row("sendmsg", |s| {
        let mut from = Message::new(address(&DATA), 20);
        s.fails(libc::ENOTSOCK, &[fd(&s.pipe.writer), to(&mut from.header), 0]);
        s.fails(libc::EFAULT, &[fd(&s.sockets.0), 8, 0]);
        s.good(&[fd(&s.sockets.0), to(&mut from.header), 0])?;
        received(s)
    }),
    row("copy_file_range", |s| {
        let (from, target) = (300_u64, other(s));
        let mut from = Box::new(from);
        s.fails(libc::EBADF, &[fd(&s.file), 0, NO_FD, 0, 10, 0]);
        s.fails(libc::EINVAL, &[fd(&s.file), 0, fd(&target), 0, 10, 1]);
        s.good(&[fd(&s.file), to(&mut *from), fd(&target), 0, 600, 0])?;
        s.note(from);
        Ok(())
    }),
    row("sendfile", |s| {
        let mut from = Box::new(100_u64);
        s.fails(libc::EBADF, &[NO_FD, fd(&s.file), 0, 10]);
        s.good(&[fd(&s.sockets.0), fd(&s.file), to(&mut *from), 500])?;
        s.good(&[fd(&s.pipe.writer), fd(&s.file), 0, 70])?;
        s.note(from);
        received(s)
    }),
    row("splice", |s| {
        let mut from = Box::new(8_u64);
        let (pipe, target) = (fd(&s.pipe.writer), other(s));
        s.fails(libc::EINVAL, &[fd(&s.file), 0, fd(&target), 0, 10, 0]);
        s.fails(libc::ESPIPE, &[fd(&s.file), 0, pipe, to(&mut *from), 10, 0]);
        s.good(&[fd(&s.file), to(&mut *from), pipe, 0, 900, 0])?;
        s.note(from);
        s.good(&[fd(&s.pipe.reader), 0, fd(&target), 0, 400, 0]).map(drop)
    }),
    row("tee", |s| {
        let other = Pipe::new();
        fill(&s.pipe.writer, &DATA[..250]);
        s.fails(libc::EINVAL, &[fd(&s.file), fd(&other.writer), 10, 0]);
        s.good(&[fd(&s.pipe.reader), fd(&other.writer), 200, 0])?;
        s.note(other.readable_bytes());
        Ok(())
    }),
];

/// What is written.
const DATA: [u8; 512] = {
    let mut data = [0; 512];
    let mut n = 0;
    while n < data.len() {
        data[n] = (n * 3) as u8;
        n += 1;
    }
    data
};

/// Two parts of what calls write to, which are read from as well.
fn parts(s: &Stage<'_>) -> [libc::iovec; 2] {
    let base: *mut libc::c_void = std::ptr::with_exposed_provenance_mut(s.out() as usize);
    [
        libc::iovec { iov_base: base, iov_len: 100 },
        libc::iovec { iov_base: base.wrapping_byte_add(150), iov_len: 200 },
    ]
}

fn file(socket: &OwnedFd) -> File {
    File::from(socket.try_clone().expect("a descriptor"))
}

/// Another file on the stage.
fn other(s: &Stage<'_>) -> File {
    let path = s.path("other");
    let path = path.to_str().expect("names of tests");
    File::options().read(true).write(true).create_new(true).open(path).expect("a file")
}

/// Keeps what has come to the second socket.
fn received(s: &mut Stage<'_>) -> super::stage::Played {
    let mut buffer = vec![0; contents().len()];
    let len = file(&s.sockets.1).read(&mut buffer).expect("something has come");
    s.note(&buffer[..len]);
    Ok(())
}

/// A message of one part, which can carry a descriptor.
struct Message {
    header: libc::msghdr,
    _part: Box<libc::iovec>,
    control: Box<Control>,
}

#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    descriptor: i32,
    padding: i32,
}

impl Message {
    fn new(at: u64, len: usize) -> Self {
        let base = std::ptr::with_exposed_provenance_mut(at as usize);
        let mut part = Box::new(libc::iovec { iov_base: base, iov_len: len });
        // SAFETY: a msghdr of zeros is empty.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = &raw mut *part;
        header.msg_iovlen = 1;
        let cmsg = libc::cmsghdr {
            cmsg_len: size_of::<libc::cmsghdr>() + size_of::<i32>(),
            cmsg_level: libc::SOL_SOCKET,
            cmsg_type: libc::SCM_RIGHTS,
        };
        let control = Box::new(Control { header: cmsg, descriptor: -1, padding: 0 });
        Message { header, _part: part, control }
    }

    fn with_descriptor(mut self, descriptor: i32) -> Self {
        self.control.descriptor = descriptor;
        self.header.msg_control = (&raw mut *self.control).cast();
        self.header.msg_controllen = size_of::<Control>();
        self
    }

    /// What it carries.
    fn descriptor(&self) -> i32 {
        assert_eq!(self.control.padding, 0);
        assert_eq!(self.control.header.cmsg_type, libc::SCM_RIGHTS);
        self.control.descriptor
    }
}
