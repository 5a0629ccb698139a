//! Sockets: listeners, and streams.

use super::ended::{all, plain, read};
use super::name::resolve;
#[cfg(any(feature = "tokio", feature = "futures-io"))]
use super::pump::Pump;
use crate::future::Handle;
use crate::submit::{Op, SharedFd};
use rustix::event::PollFlags;
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect,
    socket_with, sockopt,
};
use std::io;
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net as unix;
use std::path::Path;

/// Connects `socket` without a thread that waits for it.
async fn connect_socket(
    handle: &Handle<Vec<u8>>,
    family: AddressFamily,
    start: impl FnOnce(&OwnedFd) -> rustix::io::Result<()>,
) -> io::Result<SharedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    let started = start(&socket);
    let socket = SharedFd::new(socket);
    match started {
        Ok(()) => {}
        Err(Errno::INPROGRESS) => {
            plain(handle.start(Op::poll(&socket, PollFlags::OUT)).await)?;
            sockopt::socket_error(&socket)??;
        }
        Err(errno) => return Err(errno.into()),
    }
    // Operations on it wait.
    ioctl_fionbio(&socket, false)?;
    Ok(socket)
}

macro_rules! stream {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name {
            pub(super) handle: Handle<Vec<u8>>,
            pub(super) fd: SharedFd,
            #[cfg(any(feature = "tokio", feature = "futures-io"))]
            pub(super) pump: Pump,
        }

        impl $name {
            /// A stream over a socket that is connected already, and not
            /// O_NONBLOCK: otherwise its operations do not wait (EAGAIN).
            pub fn over(handle: &Handle<Vec<u8>>, socket: impl Into<SharedFd>) -> Self {
                $name {
                    handle: handle.clone(),
                    fd: socket.into(),
                    #[cfg(any(feature = "tokio", feature = "futures-io"))]
                    pump: Pump::default(),
                }
            }

            /// Receives what is there, at most as many bytes as the buffer has; how
            /// many, 0 at the end. Waits until there is something. Bytes that have
            /// come when the future is dropped are lost with it.
            pub async fn read(&self, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
                read(self.handle.start(Op::recv(&self.fd, buffer, RecvFlags::empty())).await)
            }

            /// Fills the buffer; UnexpectedEof if the peer sends no more before.
            /// What it has received when the future is dropped is lost with it.
            pub async fn read_exact(&self, buffer: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
                all(self.handle.start(Op::recv(&self.fd, buffer, RecvFlags::empty()).full()).await)
            }

            /// Sends all of the buffer. A peer that is gone is EPIPE, and no signal. What it
            /// has sent when the future is dropped is sent. Await one before the next is
            /// begun: parts of two at once may come mixed, as those of two threads.
            pub async fn write_all(&self, buffer: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
                all(self.handle.start(Op::send(&self.fd, buffer, SendFlags::NOSIGNAL).full()).await)
            }

            /// Ends one direction, or both: shutdown(2). Never waits.
            ///
            /// # Errors
            /// As shutdown(2).
            pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
                let how = match how {
                    Shutdown::Read => rustix::net::Shutdown::Read,
                    Shutdown::Write => rustix::net::Shutdown::Write,
                    Shutdown::Both => rustix::net::Shutdown::Both,
                };
                Ok(rustix::net::shutdown(&self.fd, how)?)
            }
        }
    };
}

stream! {
    /// A TCP connection whose operations are futures of a driver.
    ///
    /// While it waits it takes no thread. One read and one write can be under way
    /// at once, in different tasks.
    TcpStream
}

stream! {
    /// A connection of the UNIX domain whose operations are futures of a driver.
    UnixStream
}

impl TcpStream {
    /// Connects to `host:port`: to the first of the name's addresses that answers.
    ///
    /// # Errors
    /// As getaddrinfo(3) and connect(2), of the last address.
    pub async fn connect(handle: &Handle<Vec<u8>>, name: &str) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in resolve(name).await? {
            match TcpStream::connect_to(handle, address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Connects to an address.
    ///
    /// # Errors
    /// As socket(2) and connect(2).
    pub async fn connect_to(handle: &Handle<Vec<u8>>, address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = connect_socket(handle, family, |socket| connect(socket, &address)).await?;
        Ok(TcpStream::over(handle, socket))
    }

    /// The address of the peer.
    ///
    /// # Errors
    /// As getpeername(2).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        let address = rustix::net::getpeername(&self.fd)?;
        Ok(address.ok_or(Errno::NOTCONN)?.try_into()?)
    }

    /// Sends small pieces at once, or gathers them first: TCP_NODELAY.
    ///
    /// # Errors
    /// As setsockopt(2).
    pub fn set_nodelay(&self, at_once: bool) -> io::Result<()> {
        Ok(sockopt::set_tcp_nodelay(&self.fd, at_once)?)
    }
}

impl UnixStream {
    /// Connects to the socket of this name.
    ///
    /// # Errors
    /// As connect(2): EAGAIN if more wait to be accepted than the listener lets.
    pub async fn connect(handle: &Handle<Vec<u8>>, path: impl AsRef<Path>) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path.as_ref())?;
        let start = |socket: &OwnedFd| connect(socket, &address);
        let socket = connect_socket(handle, AddressFamily::UNIX, start).await?;
        Ok(UnixStream::over(handle, socket))
    }
}

macro_rules! listener {
    ($(#[$doc:meta])* $name:ident gives $stream:ident) => {
        $(#[$doc])*
        pub struct $name {
            pub(super) handle: Handle<Vec<u8>>,
            pub(super) fd: SharedFd,
        }

        impl $name {
            /// A listener over a socket that listens already, and not O_NONBLOCK:
            /// otherwise an accept does not wait (EAGAIN).
            pub fn over(handle: &Handle<Vec<u8>>, socket: impl Into<SharedFd>) -> Self {
                $name { handle: handle.clone(), fd: socket.into() }
            }

            /// The next connection. Waits without a thread.
            async fn next(&self) -> io::Result<$stream> {
                let socket = plain(self.handle.start(Op::accept(&self.fd)).await)?;
                Ok($stream::over(&self.handle, socket))
            }
        }
    };
}

listener! {
    /// A socket on which TCP connections arrive.
    TcpListener gives TcpStream
}

listener! {
    /// A socket of the UNIX domain on which connections arrive.
    UnixListener gives UnixStream
}

impl TcpListener {
    /// Listens at the first of the addresses that can be had.
    ///
    /// # Errors
    /// As bind(2) and listen(2).
    pub fn bind(handle: &Handle<Vec<u8>>, at: impl ToSocketAddrs) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(at)?;
        // std has room for 128 that wait to be accepted; another one tries again after
        // a second. The system has a limit of its own.
        rustix::net::listen(&listener, i32::MAX)?;
        Ok(TcpListener::over(handle, listener))
    }

    /// Its own address.
    ///
    /// # Errors
    /// As getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(rustix::net::getsockname(&self.fd)?.try_into()?)
    }

    /// Accepts a connection; with the address of the peer. Dropping the future
    /// loses none.
    ///
    /// # Errors
    /// As accept(2).
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let stream = self.next().await?;
        let peer = stream.peer_addr()?;
        Ok((stream, peer))
    }
}

impl UnixListener {
    /// Listens at this name, which must not be there.
    ///
    /// # Errors
    /// As bind(2) and listen(2).
    pub fn bind(handle: &Handle<Vec<u8>>, path: impl AsRef<Path>) -> io::Result<Self> {
        let listener = unix::UnixListener::bind(path)?;
        Ok(UnixListener::over(handle, listener))
    }

    /// Accepts a connection.
    ///
    /// # Errors
    /// As accept(2).
    pub async fn accept(&self) -> io::Result<UnixStream> {
        self.next().await
    }
}
