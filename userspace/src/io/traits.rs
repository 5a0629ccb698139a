//! Readers and writers of tokio and of futures-io.
//!
//! What a writer took is on its way, and not there before a flush; it is sent, or
//! written, also if the writer is dropped.

use super::{File, TcpStream, UnixStream};
use crate::submit::Op;
use rustix::net::{RecvFlags, SendFlags};
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

impl File {
    fn poll_fill(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<&[u8]>> {
        let start = |buffer| self.handle.start(Op::read_at(&self.fd, buffer, self.position));
        self.pump.poll_fill(cx, wanted, start)
    }

    fn take(&mut self, bytes: usize) {
        self.pump.take(bytes);
        self.position += bytes as u64;
    }

    fn poll_put(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let write = |buffer| Op::write_at(&self.fd, buffer, self.position).full();
        let start = |buffer| self.handle.start(write(buffer));
        let written = ready!(self.pump.poll_write(cx, bytes, start))?;
        self.position += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pump.poll_flush(cx)
    }
}

macro_rules! polls {
    ($($stream:ident),*) => {$(
        impl $stream {
            fn poll_fill(
                &mut self,
                cx: &mut Context<'_>,
                wanted: usize,
            ) -> Poll<io::Result<&[u8]>> {
                let start = |buffer| self.handle.start(Op::recv(&self.fd, buffer, RecvFlags::empty()));
                self.pump.poll_fill(cx, wanted, start)
            }

            fn take(&mut self, bytes: usize) {
                self.pump.take(bytes);
            }

            fn poll_put(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                let send = |buffer| Op::send(&self.fd, buffer, SendFlags::NOSIGNAL).full();
                self.pump.poll_write(cx, bytes, |buffer| self.handle.start(send(buffer)))
            }

            fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                ready!(self.pump.poll_flush(cx))?;
                Poll::Ready(match self.shutdown(Shutdown::Write) {
                    // The peer was faster.
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
                    result => result,
                })
            }
        }
    )*};
}

polls!(TcpStream, UnixStream);

#[cfg(feature = "tokio")]
macro_rules! tokio_traits {
    ($($name:ident),*) => {$(
        impl tokio::io::AsyncRead for $name {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                to: &mut tokio::io::ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let there = ready!(self.poll_fill(cx, to.remaining()))?;
                let bytes = there.len().min(to.remaining());
                to.put_slice(&there[..bytes]);
                self.take(bytes);
                Poll::Ready(Ok(()))
            }
        }

        impl tokio::io::AsyncWrite for $name {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.poll_put(cx, bytes)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.pump.poll_flush(cx)
            }

            fn poll_shutdown(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                self.poll_end(cx)
            }
        }
    )*};
}

#[cfg(feature = "tokio")]
tokio_traits!(File, TcpStream, UnixStream);

#[cfg(feature = "futures-io")]
macro_rules! futures_traits {
    ($($name:ident),*) => {$(
        impl futures_io::AsyncRead for $name {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                to: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                let there = ready!(self.poll_fill(cx, to.len()))?;
                let bytes = there.len().min(to.len());
                to[..bytes].copy_from_slice(&there[..bytes]);
                self.take(bytes);
                Poll::Ready(Ok(bytes))
            }
        }

        impl futures_io::AsyncWrite for $name {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.poll_put(cx, bytes)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.pump.poll_flush(cx)
            }

            fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_end(cx)
            }
        }
    )*};
}

#[cfg(feature = "futures-io")]
futures_traits!(File, TcpStream, UnixStream);
