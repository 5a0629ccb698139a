//! A server of static files over HTTP/1.1, written the obvious way: receive a
//! request, open the file, read it piece by piece and send each piece.
//!
//!     cargo run --release --example files -- DIRECTORY [PORT]
//!
//! One thread of its own, whatever the number of connections: one that is idle is a
//! request that waits. Files are opened beneath the directory only, by names
//! without `..`; links are not followed.

use aio2::{Completion, Context, Op, Prefer, Queue, SharedFd, Timeout};
use std::error::Error;
use std::ffi::CString;
use std::fs::File;
use std::net::TcpListener;

/// Longest head of a request, and the size of a piece, in bytes.
const BYTES: usize = 16 << 10;

type Failure = Box<dyn Error + Send + Sync>;

/// A connection, and what is known of the request that it is at.
struct Client {
    socket: SharedFd,
    /// What has come, and is not handled.
    head: Vec<u8>,
    file: Option<SharedFd>,
    /// Bytes of the file that were sent, and all of them.
    sent: u64,
    size: u64,
}

/// What a request was for.
enum Step {
    Accept,
    Received(Client),
    Opened(Client),
    Looked(Client),
    Read(Client),
    /// Answered, or a piece of the answer.
    Sent(Client),
}

type Files = Queue<Vec<u8>, Step>;

/// Serves the files of `dir` until so many connections were accepted and closed;
/// how many files were sent.
///
/// # Errors
/// Of the context or the listener; those of a connection close it.
pub fn serve(listener: TcpListener, dir: File, connections: usize) -> Result<u64, Failure> {
    let context = Context::builder()
        .prefer(Prefer::Engine)
        .max_requests(connections.min(100_000) as u32 + 16)
        .concurrency(4)
        .build()?;
    let mut queue: Files = Queue::new(context);
    // std has room for 128 that wait to be accepted; another one tries again after a second.
    rustix::net::listen(&listener, 4096)?;
    let (listener, dir) = (SharedFd::from(listener), SharedFd::new(dir));
    let (mut accepted, mut open, mut files) = (0, 0_usize, 0);
    queue.push(Op::accept(&listener), Step::Accept);
    while accepted < connections || open > 0 {
        queue.wait(1, Timeout::Forever)?;
        while let Some(mut done) = queue.pop()? {
            let socket = done.opened.take();
            if let Step::Accept = done.token {
                done.result?;
                (accepted, open) = (accepted + 1, open + 1);
                let socket = SharedFd::from(socket.ok_or("no socket")?);
                let client = Client { socket, head: Vec::new(), file: None, sent: 0, size: 0 };
                receive(&mut queue, client, Vec::new());
                if accepted < connections {
                    queue.push(Op::accept(&listener), Step::Accept);
                }
                continue;
            }
            done.opened = socket;
            if !go_on(&mut queue, &dir, done, &mut files) {
                open -= 1;
            }
        }
    }
    Ok(files)
}

/// Does the next step for a connection; false if it has ended.
fn go_on(
    queue: &mut Files,
    dir: &SharedFd,
    done: Completion<Vec<u8>, Step>,
    files: &mut u64,
) -> bool {
    let Completion { token, op, result, opened, .. } = done;
    match (token, result) {
        (Step::Accept, _) | (Step::Received(_), Ok(0)) => false,
        (Step::Received(mut client), Ok(len)) => {
            let buffer = op.into_buffer().unwrap_or_default();
            client.head.extend_from_slice(&buffer[..len as usize]);
            answer(queue, dir, client, buffer)
        }
        (Step::Opened(mut client), Ok(_)) => {
            let Some(file) = opened else { return false };
            let file = SharedFd::from(file);
            let look = Op::statx(&file, c"", libc::AT_EMPTY_PATH, libc::STATX_SIZE);
            client.file = Some(file);
            queue.push(look, Step::Looked(client));
            true
        }
        (Step::Opened(client), Err(_)) => {
            refuse(queue, client, "404 Not Found");
            true
        }
        (Step::Looked(mut client), Ok(_)) => {
            (client.sent, client.size) = (0, op.statx_buf().map_or(0, |found| found.stx_size));
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", client.size);
            queue.push(Op::send(&client.socket, head.into_bytes(), 0).full(), Step::Sent(client));
            true
        }
        (Step::Read(mut client), Ok(len)) if len > 0 => {
            client.sent += len;
            let piece = op.into_buffer().unwrap_or_default();
            let send = Op::send(&client.socket, piece, 0).range(0..len as usize).full();
            queue.push(send, Step::Sent(client));
            true
        }
        (Step::Sent(mut client), Ok(_)) => {
            let mut buffer = op.into_buffer().unwrap_or_default();
            match &client.file {
                Some(file) if client.sent < client.size => {
                    buffer.resize(BYTES, 0);
                    let left = (client.size - client.sent).min(BYTES as u64) as usize;
                    let read = Op::read_at(file, buffer, client.sent).range(0..left);
                    queue.push(read, Step::Read(client));
                    true
                }
                file => {
                    *files += u64::from(file.is_some());
                    client.file = None;
                    answer(queue, dir, client, buffer)
                }
            }
        }
        // The file was cut short, or the peer is gone.
        _ => false,
    }
}

/// Handles the request that has come, or receives more; false if it is none.
fn answer(queue: &mut Files, dir: &SharedFd, mut client: Client, buffer: Vec<u8>) -> bool {
    let Some(end) = client.head.windows(4).position(|at| at == b"\r\n\r\n") else {
        if client.head.len() > BYTES {
            return false;
        }
        receive(queue, client, buffer);
        return true;
    };
    let head: Vec<u8> = client.head.drain(..end + 4).collect();
    match name(&head) {
        Some(name) => {
            let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
            queue.push(Op::openat(dir, name, flags, 0), Step::Opened(client));
        }
        None => refuse(queue, client, "400 Bad Request"),
    }
    true
}

fn receive(queue: &mut Files, client: Client, mut buffer: Vec<u8>) {
    buffer.resize(1024, 0);
    queue.push(Op::recv(&client.socket, buffer, 0), Step::Received(client));
}

fn refuse(queue: &mut Files, client: Client, why: &str) {
    let head = format!("HTTP/1.1 {why}\r\ncontent-length: 0\r\n\r\n").into_bytes();
    queue.push(Op::send(&client.socket, head, 0).full(), Step::Sent(client));
}

/// The file that a request asks for: a name without directories.
fn name(head: &[u8]) -> Option<CString> {
    let line = head.split(|&byte| byte == b'\r').next()?;
    let path = line.strip_prefix(b"GET /")?.split(|&byte| byte == b' ').next()?;
    let is_plain = !path.is_empty() && path != b".." && !path.contains(&b'/');
    CString::new(path).ok().filter(|_| is_plain)
}

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let dir = File::open(args.next().ok_or("usage: files DIRECTORY [PORT]")?)?;
    let port = args.next().map_or(Ok(0), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    println!("http://{}/", listener.local_addr()?);
    serve(listener, dir, usize::MAX)?;
    Ok(())
}
