//! A TCP echo server with thousands of connections, written the obvious way: what
//! is received on a connection is sent back, and then the next is received.
//!
//!     cargo run --release --example echo -- [CONNECTIONS [SECONDS]]
//!
//! A connection that has nothing to say costs a request that waits, and no thread.
//! The client, in a thread beside it, sends numbered messages on all connections
//! and compares what comes back: an answer that is lost, doubled or out of order
//! is not what is expected next.
#![allow(unsafe_code)] // setrlimit(2)

use aio2::flags::{RecvFlags, SendFlags};
use aio2::{Context, Op, Prefer, Queue, SharedFd, Timeout};
use std::error::Error;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const MESSAGE_BYTES: usize = 64;

/// What a request was for.
enum Step {
    Accept,
    Received(SharedFd),
    Sent(SharedFd),
}

/// Serves so many connections until each of them is closed; how many bytes came back.
///
/// # Errors
/// Of the context, or of a socket.
pub fn serve(
    listener: TcpListener,
    connections: usize,
) -> Result<u64, Box<dyn Error + Send + Sync>> {
    let context = Context::builder()
        .prefer(Prefer::Engine)
        .max_requests(connections as u32 + 16)
        .concurrency(4)
        .build()?;
    let mut queue: Queue<Vec<u8>, Step> = Queue::new(context);
    // std has room for 128 that wait to be accepted; another one tries again after a second.
    rustix::net::listen(&listener, 4096)?;
    let listener = SharedFd::from(listener);
    let (mut accepted, mut open, mut echoed) = (0, 0, 0);
    queue.push(Op::accept(&listener), Step::Accept);
    while accepted < connections || open > 0 {
        queue.wait(1, Timeout::Forever)?;
        while let Some(done) = queue.pop()? {
            let len = done.result? as usize;
            match done.token {
                Step::Accept => {
                    accepted += 1;
                    open += 1;
                    let socket = SharedFd::from(done.opened.ok_or("no socket")?);
                    let buffer = vec![0; MESSAGE_BYTES];
                    queue.push(
                        Op::recv(&socket, buffer, RecvFlags::empty()),
                        Step::Received(socket),
                    );
                    if accepted < connections {
                        queue.push(Op::accept(&listener), Step::Accept);
                    }
                }
                Step::Received(_) if len == 0 => open -= 1,
                Step::Received(socket) => {
                    let buffer = done.op.into_buffer().ok_or("no buffer")?;
                    queue.push(
                        Op::send(&socket, buffer, SendFlags::empty()).range(0..len).full(),
                        Step::Sent(socket),
                    );
                }
                Step::Sent(socket) => {
                    echoed += len as u64;
                    let buffer = done.op.into_buffer().ok_or("no buffer")?;
                    queue.push(
                        Op::recv(&socket, buffer, RecvFlags::empty()),
                        Step::Received(socket),
                    );
                }
            }
        }
    }
    Ok(echoed)
}

/// What is sent on a connection in a round.
fn message(connection: usize, round: u64) -> [u8; MESSAGE_BYTES] {
    let mut message = [0; MESSAGE_BYTES];
    for (n, word) in message.chunks_exact_mut(8).enumerate() {
        let value = (connection as u64) << 32 | round << 8 | n as u64;
        word.copy_from_slice(&value.to_ne_bytes());
    }
    message
}

/// Sends on so many connections, beside as many that are `idle`, and compares; how
/// many messages came back.
///
/// # Errors
/// Of a socket.
pub fn ask(
    to: SocketAddr,
    connections: usize,
    idle: usize,
    time: Duration,
) -> Result<u64, Box<dyn Error>> {
    let connect = |n| (0..n).map(|_| TcpStream::connect(to)).collect::<Result<Vec<_>, _>>();
    let (quiet, mut sockets) = (connect(idle)?, connect(connections)?);
    let (begun, mut round) = (Instant::now(), 0);
    while round == 0 || begun.elapsed() < time {
        for (n, socket) in sockets.iter_mut().enumerate() {
            socket.write_all(&message(n, round))?;
        }
        for (n, socket) in sockets.iter_mut().enumerate() {
            let mut answer = [0; MESSAGE_BYTES];
            socket.read_exact(&mut answer)?;
            assert_eq!(answer, message(n, round), "connection {n}, round {round}");
        }
        round += 1;
    }
    for socket in &mut sockets {
        socket.shutdown(Shutdown::Write)?;
        assert_eq!(socket.read(&mut [0; MESSAGE_BYTES])?, 0, "more came back than was sent");
    }
    drop(quiet);
    Ok(round * connections as u64)
}

/// Lets this process have as many descriptors as it may; how many that is.
pub fn raise_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit can be written.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the limit can be read.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    limit.rlim_cur
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let connections = args.next().map_or(Ok(1000), |n| n.parse())?;
    let seconds = args.next().map_or(Ok(1), |n| n.parse())?;
    raise_limit();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let to = listener.local_addr()?;
    let server = std::thread::spawn(move || serve(listener, connections));
    let messages = ask(to, connections, 0, Duration::from_secs(seconds))?;
    let echoed = server.join().expect("the server does not panic").map_err(|e| e.to_string())?;
    assert_eq!(echoed, messages * MESSAGE_BYTES as u64);
    println!("{messages} messages, each came back once and in order");
    Ok(())
}
