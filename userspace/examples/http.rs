//! A server of static files over HTTP/1.1.
//!
//!     cargo run --release --example http -- DIRECTORY [PORT]
//!
//! Each connection is a future that says what happens on it, line by line: receive the
//! head of a request, open the file, send it piece by piece. One thread runs them all,
//! and who waits for a client costs a request in flight, and no thread of its own.
//!
//! Files are opened beneath the directory only, whatever links there are (RESOLVE_BENEATH).
//! A peer that sends or takes nothing for too long is let go by a deadline of the
//! operation itself.

use aio2::flags::{AtFlags, Mode, OFlags, RecvFlags, ResolveFlags, SendFlags, StatxFlags};
use aio2::io::{TcpListener, TcpStream};
use aio2::{Context, Driver, Errno, Handle, Op, Prefer, SharedFd};
use futures_util::stream::{StreamExt, unfold};
use std::cell::Cell;
use std::error::Error;
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

/// The longest head of a request, in bytes.
const HEAD_BYTES: usize = 16 << 10;
/// What is read and sent at once, in bytes.
const PIECE_BYTES: usize = 64 << 10;
/// How long a head may take to come, and a piece to be sent.
const PATIENCE: Duration = Duration::from_secs(60);

/// What has come of a request.
pub enum Parsed {
    /// Its head has not come whole.
    Partial,
    /// It is whole.
    Request(Request),
    /// It is answered with this status, and the connection ends.
    Bad(&'static str),
}

/// A request for a file.
pub struct Request {
    /// Bytes of its head.
    pub len: usize,
    /// Beneath the directory.
    pub path: String,
    /// The file itself, and not only what would be said of it.
    pub wants_body: bool,
    /// Another request may follow.
    pub keeps_alive: bool,
}

/// Reads the head of a request from what has been received.
pub fn parse(received: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let len = match request.parse(received) {
        Ok(httparse::Status::Complete(len)) if len <= HEAD_BYTES => len,
        Ok(httparse::Status::Partial) if received.len() < HEAD_BYTES => return Parsed::Partial,
        Ok(_) => return Parsed::Bad("431 Request Header Fields Too Large"),
        Err(httparse::Error::TooManyHeaders) => {
            return Parsed::Bad("431 Request Header Fields Too Large");
        }
        Err(_) => return Parsed::Bad("400 Bad Request"),
    };
    let mut keeps_alive = request.version == Some(1);
    for header in request.headers {
        if header.name.eq_ignore_ascii_case("connection") {
            let value = String::from_utf8_lossy(header.value).to_ascii_lowercase();
            keeps_alive = value.contains("keep-alive") || keeps_alive && !value.contains("close");
        }
        let has_body = header.name.eq_ignore_ascii_case("content-length") && header.value != b"0";
        if has_body || header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Parsed::Bad("413 Content Too Large");
        }
    }
    let wants_body = match request.method {
        Some("GET") => true,
        Some("HEAD") => false,
        _ => return Parsed::Bad("501 Not Implemented"),
    };
    match request.path.and_then(file_path) {
        Some(path) => Parsed::Request(Request { len, path, wants_body, keeps_alive }),
        None => Parsed::Bad("400 Bad Request"),
    }
}

/// The file that a target names.
fn file_path(target: &str) -> Option<String> {
    let path = target.strip_prefix('/')?.split(['?', '#']).next()?;
    let mut path = percent_encoding::percent_decode_str(path).decode_utf8().ok()?.into_owned();
    if path.is_empty() || path.ends_with('/') {
        path.push_str("index.html");
    }
    (!path.contains('\0')).then_some(path)
}

/// The head of an answer.
pub fn head(status: &str, kind: &str, len: u64, keeps_alive: bool) -> Vec<u8> {
    let connection = if keeps_alive { "keep-alive" } else { "close" };
    let fields = format!("content-type: {kind}\r\ncontent-length: {len}\r\n");
    format!("HTTP/1.1 {status}\r\n{fields}connection: {connection}\r\n\r\n").into_bytes()
}

/// What a file is, by its name.
pub fn kind(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("txt" | "md") => "text/plain; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        _ => "application/octet-stream",
    }
}

/// What all connections share.
struct Server {
    handle: Handle<Vec<u8>>,
    directory: SharedFd,
    /// Files that were sent.
    files: Cell<u64>,
}

/// One client, and what has come from it.
struct Connection<'a> {
    server: &'a Server,
    stream: TcpStream,
    /// Its first `filled` bytes were received, and are not handled.
    buffer: Vec<u8>,
    filled: usize,
}

impl Server {
    /// The next client. Where there are no descriptors for one, there may be some later.
    async fn next(&self, listener: &TcpListener) -> TcpStream {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => eprintln!("accept: {error}"),
            }
            let _over = self.handle.sleep(Duration::from_millis(100)).await;
        }
    }

    /// A file, and its length. Whatever is none is not found.
    async fn open(&self, path: &str) -> Result<(SharedFd, u64), Errno> {
        let (flags, rules) = (OFlags::RDONLY | OFlags::NONBLOCK, ResolveFlags::BENEATH);
        let path = std::ffi::CString::new(path).map_err(|_| Errno(libc::ENOENT))?;
        let open = Op::openat2(&self.directory, path, flags, Mode::empty(), rules);
        let file = SharedFd::new(self.handle.run(open).await.value()?);
        let mask = StatxFlags::TYPE | StatxFlags::SIZE;
        let ask = Op::statx(&file, c"", AtFlags::EMPTY_PATH, mask);
        let found = self.handle.run(ask).await.value()?;
        let is_file = u32::from(found.stx_mode) & libc::S_IFMT == libc::S_IFREG;
        is_file.then_some((file, found.stx_size)).ok_or(Errno(libc::ENOENT))
    }
}

impl Connection<'_> {
    /// Answers requests, one after the other, until one of both sides has enough.
    async fn serve(mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        let mut until = Instant::now() + PATIENCE;
        loop {
            let request = match parse(&self.buffer[..self.filled]) {
                Parsed::Partial if self.receive(until).await? => continue,
                Parsed::Partial => return Ok(()),
                Parsed::Bad(status) => {
                    return self.send(head(status, "text/plain", 0, false)).await.map(drop);
                }
                Parsed::Request(request) => request,
            };
            self.buffer.copy_within(request.len..self.filled, 0);
            self.filled -= request.len;
            self.answer(&request).await?;
            if !request.keeps_alive {
                return Ok(());
            }
            until = Instant::now() + PATIENCE;
        }
    }

    /// Receives more; false if there is no more.
    async fn receive(&mut self, until: Instant) -> io::Result<bool> {
        let mut buffer = std::mem::take(&mut self.buffer);
        if self.filled == buffer.len() {
            buffer.resize((2 * self.filled).max(1024), 0);
        }
        let room = self.filled..buffer.len();
        let patience = until.saturating_duration_since(Instant::now());
        let receive =
            Op::recv(self.stream.fd(), buffer, RecvFlags::empty()).range(room).deadline(patience);
        let done = self.server.handle.run(receive).await;
        let bytes = done.bytes()?;
        self.buffer = done.into_buffer().unwrap_or_default();
        self.filled += bytes;
        Ok(bytes > 0)
    }

    /// Sends all of it, and gives the memory back.
    async fn send(&self, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let send = Op::send(self.stream.fd(), bytes, SendFlags::NOSIGNAL).full();
        let done = self.server.handle.run(send.deadline(PATIENCE)).await;
        done.bytes()?;
        Ok(done.into_buffer().unwrap_or_default())
    }

    async fn answer(&self, request: &Request) -> io::Result<()> {
        let Ok((file, len)) = self.server.open(&request.path).await else {
            let head = head("404 Not Found", "text/plain", 0, request.keeps_alive);
            return self.send(head).await.map(drop);
        };
        let mut piece = head("200 OK", kind(&request.path), len, request.keeps_alive);
        let (mut sent, len) = (0, if request.wants_body { len } else { 0 });
        loop {
            // The first piece goes with the head.
            let (begin, bytes) = (piece.len(), (len - sent).min(PIECE_BYTES as u64));
            if bytes > 0 {
                piece.resize(begin + bytes as usize, 0);
                let part = begin..piece.len();
                // A file that has become shorter ends the connection: its head is sent.
                let read = Op::read_at(&file, piece, sent).range(part).full();
                let done = self.server.handle.run(read).await;
                done.bytes()?;
                piece = done.into_buffer().unwrap_or_default();
            }
            piece = self.send(piece).await?;
            piece.clear();
            sent += bytes;
            if sent == len {
                self.server.files.update(|files| files + 1);
                return Ok(());
            }
        }
    }
}

/// Serves the files of a directory until so many connections were accepted and closed;
/// how many files were sent.
///
/// # Errors
/// Of the context or the listener; those of a connection end it.
pub fn serve(
    listener: std::net::TcpListener,
    directory: File,
    connections: usize,
) -> Result<u64, Box<dyn Error + Send + Sync>> {
    let context = Context::builder()
        .prefer(Prefer::Engine)
        .max_requests(connections.min(100_000) as u32 + 16)
        .concurrency(4)
        .build()?;
    let mut driver = Driver::new(context)?;
    let (handle, directory) = (driver.handle(), SharedFd::new(directory));
    // std has room for 128 that wait to be accepted; another one tries again after a second.
    rustix::net::listen(&listener, 4096)?;
    let listener = TcpListener::over(&handle, listener);
    let server = Server { handle, directory, files: Cell::new(0) };
    driver.block_on(async {
        let clients = unfold((), |()| async { Some((server.next(&listener).await, ())) });
        let clients = clients.take(connections);
        let each = clients.for_each_concurrent(None, async |stream| {
            let connection = Connection { server: &server, stream, buffer: Vec::new(), filled: 0 };
            // A peer that is gone, or too slow, is no fault of the server.
            let _ended = connection.serve().await;
        });
        each.await;
    })?;
    Ok(server.files.get())
}

#[allow(dead_code)] // the tests serve by themselves
fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut args = std::env::args().skip(1);
    let directory = File::open(args.next().ok_or("usage: http DIRECTORY [PORT]")?)?;
    let port = args.next().map_or(Ok(0), |port| port.parse())?;
    let listener = std::net::TcpListener::bind(("127.0.0.1", port))?;
    println!("http://{}/", listener.local_addr()?);
    serve(listener, directory, usize::MAX)?;
    Ok(())
}
