//! Operations on sockets, and waits for readiness.

use super::address::{SocketAddress, socket_addr};
use super::args::{Arg, Message, address_room, length_of, read, written};
use super::{Op, Shape, kind, signed};
use crate::submit::{Buffer, SharedFd};
use rustix::event::{PollFlags, epoll};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketType};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// What [`Op::epoll_ctl`] does with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum EpollChange {
    /// It is watched from now on: EPOLL_CTL_ADD.
    Add = libc::EPOLL_CTL_ADD,
    /// It is watched for something else: EPOLL_CTL_MOD.
    Modify = libc::EPOLL_CTL_MOD,
    /// It is no longer watched: EPOLL_CTL_DEL.
    Delete = libc::EPOLL_CTL_DEL,
}

/// Descriptors that a message has at most: Linux's SCM_MAX_FD.
const MOST_DESCRIPTORS: usize = 253;

/// A relative time, as the words of a `timespec`; what is longer than one can be is cut
/// to 68 years.
pub(super) fn timespec(time: Duration) -> Box<[u64]> {
    // SAFETY: a structure of integers, which may all be zero.
    let mut value: libc::timespec = unsafe { std::mem::zeroed() };
    value.tv_sec = time.as_secs().try_into().unwrap_or(i32::MAX.into());
    value.tv_nsec = time.subsec_nanos() as libc::c_long;
    // SAFETY: it was zeroed.
    unsafe { written(value) }
}

impl<B> Op<B> {
    /// Makes a socket, close-on-exec: socket(2). The completion holds it.
    ///
    /// Runs on a worker, for a short time.
    #[must_use]
    pub fn socket(
        family: AddressFamily,
        kind: SocketType,
        protocol: Option<Protocol>,
    ) -> Op<B, kind::Opens> {
        let kind = u64::from(kind.as_raw()) | signed(libc::SOCK_CLOEXEC);
        let protocol = protocol.map_or(0, |protocol| protocol.as_raw().get().into());
        let numbers = [family.as_raw().into(), kind, protocol];
        Op::on_args(libc::SYS_socket, numbers.map(Arg::Number))
    }

    /// Gives a socket its address: bind(2).
    ///
    /// Runs on a worker, for a short time.
    pub fn bind(fd: impl Into<SharedFd>, at: SocketAddr) -> Op<B, kind::Effect> {
        let at = Box::new(SocketAddress::from(at));
        let len = Arg::Number(at.len());
        Op::on_args(libc::SYS_bind, [Arg::Fd(fd.into()), Arg::Address(at), len])
    }

    /// Has a socket listen: listen(2).
    ///
    /// Runs on a worker, for a short time.
    pub fn listen(fd: impl Into<SharedFd>, backlog: i32) -> Op<B, kind::Effect> {
        Op::on_fd(libc::SYS_listen, fd, [signed(backlog)])
    }

    /// Ends a direction of a connection, or both: shutdown(2).
    ///
    /// Runs on a worker, for a short time.
    pub fn shutdown(fd: impl Into<SharedFd>, how: Shutdown) -> Op<B, kind::Effect> {
        let how = match how {
            Shutdown::Read => libc::SHUT_RD,
            Shutdown::Write => libc::SHUT_WR,
            Shutdown::Both => libc::SHUT_RDWR,
        };
        Op::on_fd(libc::SYS_shutdown, fd, [signed(how)])
    }

    /// As [`Op::accept`], with the address of the peer: [`Op::peer`].
    ///
    /// Runs inline if a connection is there; otherwise waits for one without a worker.
    pub fn accept_from(fd: impl Into<SharedFd>) -> Op<B, kind::Accepts> {
        let room = address_room();
        let len = Arg::Words(length_of(&room));
        let flags = Arg::Number(signed(libc::SOCK_CLOEXEC));
        Op::on_args(libc::SYS_accept4, [Arg::Fd(fd.into()), Arg::Words(room), len, flags])
    }

    fn name_of(nr: libc::c_long, fd: SharedFd) -> Op<B, kind::Named> {
        let room = address_room();
        let len = Arg::Words(length_of(&room));
        Op::on_args(nr, [Arg::Fd(fd), Arg::Words(room), len])
    }

    /// Asks for a socket's own address: getsockname(2). [`Op::peer`] has it.
    ///
    /// Runs on a worker, for a short time.
    pub fn getsockname(fd: impl Into<SharedFd>) -> Op<B, kind::Named> {
        Op::name_of(libc::SYS_getsockname, fd.into())
    }

    /// Asks for the address of the peer: getpeername(2). [`Op::peer`] has it.
    ///
    /// Runs on a worker, for a short time.
    pub fn getpeername(fd: impl Into<SharedFd>) -> Op<B, kind::Named> {
        Op::name_of(libc::SYS_getpeername, fd.into())
    }

    /// Sets an option whose value is a number: setsockopt(2).
    ///
    /// Runs on a worker, for a short time.
    pub fn setsockopt(
        fd: impl Into<SharedFd>,
        level: i32,
        option: i32,
        value: i32,
    ) -> Op<B, kind::Effect> {
        let value = Arg::Words(Box::new([u64::from_le_bytes(pad(value))]));
        let [level, option, bytes] = [level, option, 4].map(|n| Arg::Number(signed(n)));
        let args = [Arg::Fd(fd.into()), level, option, value, bytes];
        Op::on_args(libc::SYS_setsockopt, args)
    }

    /// Asks for an option whose value is a number: getsockopt(2).
    /// [`Op::option_value`] has it.
    ///
    /// Runs on a worker, for a short time.
    pub fn getsockopt(
        fd: impl Into<SharedFd>,
        level: i32,
        option: i32,
    ) -> Op<B, kind::OptionValue> {
        let [level, option] = [level, option].map(|n| Arg::Number(signed(n)));
        let (value, len) = (Arg::Words(Box::new([0])), u64::from_le_bytes(pad(4)));
        let args = [Arg::Fd(fd.into()), level, option, value, Arg::Words(Box::new([len]))];
        Op::on_args(libc::SYS_getsockopt, args)
    }

    /// Waits for one of several files, on a worker: ppoll(2). [`Op::ready`] tells
    /// which. To wait for one there is [`Op::poll`], which takes no worker.
    #[must_use]
    pub fn ppoll(
        files: &[(SharedFd, PollFlags)],
        timeout: Option<Duration>,
    ) -> Op<B, kind::ReadyOfSeveral> {
        let (owners, list) = poll_list(files);
        let count = Arg::Number(files.len() as u64);
        let timeout = timeout.map_or(Arg::Number(0), |time| Arg::Words(timespec(time)));
        let args = [Arg::Words(list), count, timeout, Arg::Number(0), Arg::Number(8)];
        Op::on_args(libc::SYS_ppoll, args).keeping(owners)
    }

    /// As [`Op::ppoll`], its timeout in ms, for ever if negative: poll(2).
    ///
    /// Runs on a worker, until one is ready or the time is over.
    #[cfg(target_arch = "x86_64")]
    #[must_use]
    pub fn poll_several(
        files: &[(SharedFd, PollFlags)],
        timeout_ms: i32,
    ) -> Op<B, kind::ReadyOfSeveral> {
        let (owners, list) = poll_list(files);
        let (count, timeout) = (files.len() as u64, signed(timeout_ms));
        let args = [Arg::Words(list), Arg::Number(count), Arg::Number(timeout)];
        Op::on_args(libc::SYS_poll, args).keeping(owners)
    }

    /// Adds, changes or removes a file of an epoll instance: epoll_ctl(2).
    ///
    /// Runs on a worker, for a short time.
    pub fn epoll_ctl(
        epoll: impl Into<SharedFd>,
        operation: EpollChange,
        fd: impl Into<SharedFd>,
        events: epoll::EventFlags,
        data: u64,
    ) -> Op<B, kind::Effect> {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&events.bits().to_ne_bytes());
        let at = std::mem::offset_of!(libc::epoll_event, u64);
        bytes[at..at + 8].copy_from_slice(&data.to_ne_bytes());
        let words = u128::from_ne_bytes(bytes);
        let event: Box<[u64]> = Box::new([words as u64, (words >> 64) as u64]);
        let operation = Arg::Number(signed(operation as i32));
        let args = [Arg::Fd(epoll.into()), operation, Arg::Fd(fd.into()), Arg::Words(event)];
        Op::on_args(libc::SYS_epoll_ctl, args)
    }

    /// Waits for events of an epoll instance, at most `max` of them, at most
    /// `timeout_ms`, for ever if negative, on a worker: epoll_pwait(2).
    /// [`Op::epoll_events`] has them.
    pub fn epoll_wait(
        epoll: impl Into<SharedFd>,
        max: u16,
        timeout_ms: i32,
    ) -> Op<B, kind::EpollEvents> {
        let bytes = usize::from(max) * size_of::<libc::epoll_event>();
        let room = Arg::Words(vec![0; bytes.div_ceil(8)].into());
        let [max, timeout] = [i32::from(max), timeout_ms].map(|n| Arg::Number(signed(n)));
        let mut args = vec![Arg::Fd(epoll.into()), room, max, timeout];
        args.extend([Arg::Number(0), Arg::Number(8)]);
        Op::on_args(libc::SYS_epoll_pwait, args)
    }
}

impl<B, K> Op<B, K> {
    /// Keeps descriptors open that stand in its structures only.
    fn keeping(mut self, owners: Vec<SharedFd>) -> Self {
        if let Shape::Args(args) = &mut self.shape {
            args.kept = owners;
        }
        self
    }
}

/// A number in the first bytes of a word.
fn pad(value: i32) -> [u8; 8] {
    let [a, b, c, d] = value.to_ne_bytes();
    let bytes = [a, b, c, d, 0, 0, 0, 0];
    u64::from_ne_bytes(bytes).to_le_bytes()
}

/// The owners of descriptors, and `pollfd`s of them.
fn poll_list(files: &[(SharedFd, PollFlags)]) -> (Vec<SharedFd>, Box<[u64]>) {
    use std::os::fd::{AsFd, AsRawFd};
    let list = files.iter().map(|(fd, events)| {
        let number = fd.as_fd().as_raw_fd().to_ne_bytes();
        let events = events.bits().to_ne_bytes();
        let bytes = [number[0], number[1], number[2], number[3], events[0], events[1], 0, 0];
        u64::from_ne_bytes(bytes)
    });
    (files.iter().map(|(fd, _)| fd.clone()).collect(), list.collect())
}

impl<B: Buffer> Op<B> {
    /// Sends to an address: sendto(2). Flags as [`Op::send`].
    ///
    /// Runs inline if there is room; otherwise waits for it without a worker.
    pub fn send_to(
        fd: impl Into<SharedFd>,
        buf: B,
        flags: SendFlags,
        to: SocketAddr,
    ) -> Op<B, kind::Writes> {
        let to = Box::new(SocketAddress::from(to));
        let len = Arg::Number(to.len());
        let mut args = vec![Arg::Fd(fd.into()), Arg::Content(buf), Arg::Length];
        args.extend([Arg::Number(flags.bits().into()), Arg::Address(to), len]);
        Op::on_args(libc::SYS_sendto, args)
    }

    /// Receives, with the address of the sender: recvfrom(2), [`Op::peer`]. Flags as
    /// [`Op::recv`].
    ///
    /// Runs inline if bytes are there; otherwise waits for them without a worker.
    pub fn recv_from(
        fd: impl Into<SharedFd>,
        buf: B,
        flags: RecvFlags,
    ) -> Op<B, kind::ReceivesFrom> {
        let room = address_room();
        let len = Arg::Words(length_of(&room));
        let mut args = vec![Arg::Fd(fd.into()), Arg::Buffer(buf), Arg::Length];
        args.extend([Arg::Number(flags.bits().into()), Arg::Words(room), len]);
        Op::on_args(libc::SYS_recvfrom, args)
    }

    /// Sends several buffers as one message, to an address if there is one, with
    /// descriptors over a socket of the UNIX domain: sendmsg(2). Flags as [`Op::send`].
    ///
    /// Runs inline if there is room; otherwise waits for it without a worker.
    pub fn sendmsg(
        fd: impl Into<SharedFd>,
        buffers: Vec<B>,
        to: Option<SocketAddr>,
        descriptors: Vec<SharedFd>,
        flags: SendFlags,
    ) -> Op<B, kind::WritesSeveral> {
        let message = Message::to(buffers, to.map(SocketAddress::from), descriptors);
        let message = Arg::Message(Box::new(message));
        let args = [Arg::Fd(fd.into()), message, Arg::Number(flags.bits().into())];
        Op::on_args(libc::SYS_sendmsg, args)
    }

    /// Receives a message into several buffers, with the address of the sender
    /// ([`Op::peer`]) and at most so many descriptors, close-on-exec
    /// ([`Op::take_descriptors`]): recvmsg(2). Flags as [`Op::recv`].
    ///
    /// Runs inline if bytes are there; otherwise waits for them without a worker.
    pub fn recvmsg(
        fd: impl Into<SharedFd>,
        buffers: Vec<B>,
        descriptors: usize,
        flags: RecvFlags,
    ) -> Op<B, kind::Receives> {
        let descriptors = descriptors.min(MOST_DESCRIPTORS);
        let message = Arg::Message(Box::new(Message::from(buffers, descriptors)));
        let flags = flags | RecvFlags::CMSG_CLOEXEC;
        let args = [Arg::Fd(fd.into()), message, Arg::Number(flags.bits().into())];
        Op::on_args(libc::SYS_recvmsg, args)
    }
}

/// What has come of an operation.
impl<B, K> Op<B, K> {
    /// The address that a completed operation has got from the kernel; none if it is
    /// no IP address.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        match &self.shape {
            Shape::Args(args) => socket_addr(args.address()?),
            _ => None,
        }
    }

    /// Takes the descriptors that a completed [`Op::recvmsg`] has brought. Those that
    /// are not taken are closed with the operation.
    #[must_use]
    pub fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        match &mut self.shape {
            Shape::Args(args) => std::mem::take(&mut args.received),
            _ => Vec::new(),
        }
    }

    /// What a completed [`Op::getsockopt`] has found.
    #[must_use]
    pub fn option_value(&self) -> Option<i32> {
        // SAFETY: an integer.
        unsafe { read(self.words(libc::SYS_getsockopt, 0)?) }
    }

    /// What each file of a completed [`Op::ppoll`] is ready for, in the order given.
    #[must_use]
    pub fn ready(&self) -> Vec<PollFlags> {
        let Shape::Args(args) = &self.shape else { return Vec::new() };
        let words = args.words(0).unwrap_or_default();
        words.iter().map(|word| PollFlags::from_bits_retain((word >> 48) as i16)).collect()
    }

    /// The first `count` events that a completed [`Op::epoll_wait`] has brought, of
    /// which its result says the number: what happened, and the data of the file.
    #[must_use]
    pub fn epoll_events(&self, count: usize) -> Vec<(epoll::EventFlags, u64)> {
        let words = self.words(libc::SYS_epoll_pwait, 0).unwrap_or_default();
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let at = std::mem::offset_of!(libc::epoll_event, u64);
        let events = bytes.chunks_exact(size_of::<libc::epoll_event>()).take(count);
        let events = events.filter_map(|event| {
            let what = u32::from_ne_bytes(*event.first_chunk()?);
            let what = epoll::EventFlags::from_bits_retain(what);
            Some((what, u64::from_ne_bytes(*event.get(at..)?.first_chunk()?)))
        });
        events.collect()
    }
}
