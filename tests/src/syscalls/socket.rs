//! Rows of sockets.

use super::stage::{NO_FD, Played, Stage, address, fd, fill, owned, plain, to};
use super::{Row, row};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

const UNIX: u64 = libc::AF_UNIX as u64;
const STREAM: u64 = (libc::SOCK_STREAM | libc::SOCK_CLOEXEC) as u64;
const NONBLOCKING: u64 = (libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) as u64;
const SOL_SOCKET: u64 = libc::SOL_SOCKET as u64;

pub(super) const ROWS: &[Row] = &[
    row("socket", |s| {
        s.fails(libc::EAFNOSUPPORT, &[200, 1, 0]);
        s.opens(&[UNIX, STREAM, 0]).map(drop)
    }),
    row("socketpair", |s| {
        let mut pair = [0_i32; 2];
        s.fails(libc::EAFNOSUPPORT, &[200, 1, 0, to(&mut pair)]);
        s.good(&[UNIX, STREAM, 0, to(&mut pair)])?;
        let [left, right] = pair.map(|fd| owned(fd.into()));
        s.describe(&left);
        fill(File::from(left), b"through");
        let mut through = Vec::new();
        File::from(right).read_to_end(&mut through).expect("it comes");
        s.note(through);
        Ok(())
    }),
    row("bind", |s| {
        let (socket, name) = (unix(), Name::of(s));
        s.fails(libc::EINVAL, &[fd(&socket), name.at(), 1]);
        s.good(&[fd(&socket), name.at(), name.len()])?;
        s.fails(libc::EADDRINUSE, &[fd(&unix()), name.at(), name.len()]);
        let mut len = [100_u32];
        let args = [fd(&socket), s.out(), to(&mut len)];
        s.note((plain(libc::SYS_getsockname, &args), len));
        Ok(())
    }),
    row("listen", |s| {
        let (socket, name) = (unix(), Name::of(s));
        s.fails(libc::ENOTSOCK, &[fd(&s.pipe.reader), 1]);
        s.fails(libc::EINVAL, &[fd(&socket), 1]);
        assert_eq!(plain(libc::SYS_bind, &[fd(&socket), name.at(), name.len()]), 0);
        s.good(&[fd(&socket), 1])?;
        s.note(plain(libc::SYS_connect, &[fd(&unix()), name.at(), name.len()]));
        Ok(())
    }),
    row("accept", |s| accepts(s, None)),
    row("accept4", |s| accepts(s, Some(NONBLOCKING))),
    row("connect", |s| {
        let (client, name) = (unix(), Name::of(s));
        s.fails(libc::ECONNREFUSED, &[fd(&client), name.at(), name.len()]);
        let listener = name.listener();
        s.good(&[fd(&client), name.at(), name.len()])?;
        s.fails(libc::EISCONN, &[fd(&client), name.at(), name.len()]);
        let served = owned(plain(libc::SYS_accept, &[fd(&listener), 0, 0]));
        s.describe(&served);
        Ok(())
    }),
    row("shutdown", |s| {
        let socket = fd(&s.sockets.0);
        s.fails(libc::EINVAL, &[socket, 99]);
        s.fails(libc::ENOTSOCK, &[fd(&s.pipe.reader), libc::SHUT_WR as u64]);
        s.good(&[socket, libc::SHUT_WR as u64])?;
        s.note(plain(libc::SYS_read, &[fd(&s.sockets.1), s.out(), 1]));
        Ok(())
    }),
    row("getsockname", |s| {
        let (name, mut len) = (Name::of(s), [100_u32]);
        let listener = name.listener();
        s.fails(libc::EFAULT, &[fd(&listener), s.out(), 8]);
        s.good(&[fd(&listener), s.out(), to(&mut len)])?;
        s.note(len);
        Ok(())
    }),
    row("getpeername", |s| {
        let (name, mut len) = (Name::of(s), [100_u32]);
        let (_listener, client) = (name.listener(), unix());
        s.fails(libc::ENOTCONN, &[fd(&client), s.out(), to(&mut len)]);
        assert_eq!(plain(libc::SYS_connect, &[fd(&client), name.at(), name.len()]), 0);
        s.good(&[fd(&client), s.out(), to(&mut len)])?;
        s.note(len);
        Ok(())
    }),
    row("getsockopt", |s| {
        let (socket, mut len) = (fd(&s.sockets.0), [4_u32]);
        s.fails(libc::ENOPROTOOPT, &[socket, SOL_SOCKET, 9999, s.out(), to(&mut len)]);
        s.good(&[socket, SOL_SOCKET, libc::SO_TYPE as u64, s.out(), to(&mut len)])?;
        s.note(len);
        Ok(())
    }),
    row("setsockopt", |s| {
        let (socket, size, mut len) = (fd(&s.sockets.0), [20_000_u32], [4_u32]);
        let option = libc::SO_SNDBUF as u64;
        s.fails(libc::ENOPROTOOPT, &[socket, SOL_SOCKET, 9999, address(&size), 4]);
        s.fails(libc::EINVAL, &[socket, SOL_SOCKET, option, address(&size), 1]);
        s.good(&[socket, SOL_SOCKET, option, address(&size), 4])?;
        let mut now = [0_u32];
        let args = [socket, SOL_SOCKET, option, to(&mut now), to(&mut len)];
        s.note((plain(libc::SYS_getsockopt, &args), now));
        Ok(())
    }),
];

fn unix() -> OwnedFd {
    owned(plain(libc::SYS_socket, &[UNIX, STREAM, 0]))
}

/// The abstract address of a row.
struct Name(Vec<u8>);

impl Name {
    fn of(s: &Stage<'_>) -> Self {
        let mut bytes = (libc::AF_UNIX as u16).to_ne_bytes().to_vec();
        bytes.push(0);
        bytes.extend(s.unique().bytes());
        Name(bytes)
    }

    fn at(&self) -> u64 {
        address(&self.0[..])
    }

    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn listener(&self) -> OwnedFd {
        let listener = unix();
        assert_eq!(plain(libc::SYS_bind, &[fd(&listener), self.at(), self.len()]), 0);
        assert_eq!(plain(libc::SYS_listen, &[fd(&listener), 4]), 0);
        listener
    }
}

/// accept, or accept4 with flags.
fn accepts(s: &mut Stage<'_>, flags: Option<u64>) -> Played {
    let (name, client, mut len) = (Name::of(s), unix(), [100_u32]);
    let args = |socket: u64, at, len| {
        let mut args = vec![socket, at, len];
        args.extend(flags);
        args
    };
    s.fails(libc::EBADF, &args(NO_FD, 0, 0));
    s.fails(libc::EINVAL, &args(fd(&s.sockets.0), 0, 0));
    let listener = name.listener();
    assert_eq!(plain(libc::SYS_connect, &[fd(&client), name.at(), name.len()]), 0);
    let served = s.opens(&args(fd(&listener), s.out(), to(&mut len)))?;
    s.note(len);
    fill(File::from(client), b"hello");
    let mut hello = Vec::new();
    File::from(served).take(5).read_to_end(&mut hello).expect("it comes");
    s.note(hello);
    Ok(())
}
