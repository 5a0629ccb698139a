//! The HTTP server of the examples (examples/http.rs), beside one with a thread for each
//! connection and one of hyper on tokio: answers a second, by the number of connections,
//! all of them busy. `cargo xtask bench http`.
//!
//! All three read the same heads and do the same to a file: they open it, look what it
//! is, read it and send it. The client is a process of its own, the same for all of
//! them; each ratio is the middle one of those of several turns, in which the servers
//! take turns.
#![allow(missing_docs, dead_code)]

mod common;
#[path = "../examples/http.rs"]
mod http;

use common::median;
use http::{Parsed, Request};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use std::convert::Infallible;
use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

const TURNS: usize = 5;
const TIME: Duration = Duration::from_millis(800);
/// Bytes of the file.
const BYTES: usize = 1024;
const NAME: &str = "file.txt";

type Failure = Box<dyn Error + Send + Sync>;
/// Serves the files of a directory to so many connections until each of them is closed.
type Server = fn(TcpListener, File, usize) -> Result<(), Failure>;

const SERVERS: [(&str, Server); 3] =
    [("AIO2", with_aio2), ("threads", with_threads), ("hyper", with_hyper)];

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    if let [_, client, to, connections] = &args[..]
        && client == "--client"
    {
        println!("{}", fetch(to.parse()?, connections.parse()?)?);
        return Ok(());
    }
    let json = args.iter().any(|arg| arg == "--json");
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join(NAME), [b'x'; BYTES])?;
    if !json {
        println!(
            "{:>12} {:>10} {:>10} {:>10}   AIO2 to threads, to hyper",
            "connections", "AIO2", "threads", "hyper"
        );
    }
    for connections in [1, 8, 64, 256] {
        let mut rates = [const { Vec::new() }; SERVERS.len()];
        for _ in 0..TURNS {
            for ((_, server), rates) in SERVERS.iter().zip(&mut rates) {
                rates.push(turn(*server, File::open(dir.path())?, connections)?);
            }
        }
        let ratio = |other: usize| {
            let pairs = rates[0].iter().zip(&rates[other]);
            median(&pairs.map(|(ours, theirs): (&f64, &f64)| ours / theirs).collect::<Vec<_>>())
        };
        let (to_threads, to_hyper) = (ratio(1), ratio(2));
        let [aio2, threads, hyper] = rates.each_ref().map(|rates| median(rates));
        if json {
            println!(
                "{{\"bench\":\"http\",\"connections\":{connections},\"aio2\":{aio2:.0},\"threads\":{threads:.0},\"hyper\":{hyper:.0},\"to_threads\":{to_threads:.3},\"to_hyper\":{to_hyper:.3}}}"
            );
        } else {
            println!(
                "{connections:>12} {aio2:>10.0} {threads:>10.0} {hyper:>10.0}   {to_threads:.2}, {to_hyper:.2}"
            );
        }
    }
    Ok(())
}

/// Answers a second of one server.
fn turn(server: Server, dir: File, connections: usize) -> Result<f64, Box<dyn Error>> {
    common::turn(connections, TIME, |listener| server(listener, dir, connections))
}

/// Fetches the file again and again on so many connections; how often.
fn fetch(to: SocketAddr, connections: usize) -> Result<u64, Box<dyn Error>> {
    let connect = (0..connections).map(|_| TcpStream::connect(to));
    let mut sockets = connect.collect::<Result<Vec<_>, _>>()?;
    let request = format!("GET /{NAME} HTTP/1.1\r\nhost: here\r\n\r\n");
    let (begun, mut rounds) = (Instant::now(), 0);
    let mut buffer = vec![0; 16 << 10];
    while begun.elapsed() < TIME {
        for socket in &mut sockets {
            socket.write_all(request.as_bytes())?;
        }
        for socket in &mut sockets {
            let mut filled = 0;
            // The head, and behind it the file.
            loop {
                filled += socket.read(&mut buffer[filled..])?;
                let head = buffer[..filled].windows(4).position(|at| at == b"\r\n\r\n");
                if let Some(head) = head
                    && filled >= head + 4 + BYTES
                {
                    assert!(filled == head + 4 + BYTES && buffer.starts_with(b"HTTP/1.1 200"));
                    break;
                }
            }
        }
        rounds += 1;
    }
    Ok(rounds * connections as u64)
}

fn with_aio2(listener: TcpListener, dir: File, connections: usize) -> Result<(), Failure> {
    http::serve(listener, dir, connections).map(drop)
}

fn with_threads(listener: TcpListener, dir: File, connections: usize) -> Result<(), Failure> {
    std::thread::scope(|scope| {
        for _ in 0..connections {
            let (stream, _) = listener.accept()?;
            let dir = &dir;
            std::thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, move || {
                // Its end is the client's.
                let _ended = serve_one(stream, dir);
            })?;
        }
        Ok(())
    })
}

fn serve_one(mut stream: TcpStream, dir: &File) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 1024];
    let mut filled = 0;
    let mut piece = Vec::new();
    loop {
        match http::parse(&buffer[..filled]) {
            Parsed::Partial => {
                let bytes = stream.read(&mut buffer[filled..])?;
                filled += bytes;
                if bytes == 0 {
                    return Ok(());
                }
            }
            Parsed::Bad(status) => return Err(status.into()),
            Parsed::Request(request) => {
                buffer.copy_within(request.len..filled, 0);
                filled -= request.len;
                read_file(dir, &request, &mut piece)?;
                stream.write_all(&piece)?;
            }
        }
    }
}

/// An answer, with its head.
fn read_file(dir: &File, request: &Request, piece: &mut Vec<u8>) -> Result<(), Failure> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file =
        File::from(openat2(dir, &*request.path, flags, Mode::empty(), ResolveFlags::BENEATH)?);
    let len = file.metadata()?.len();
    *piece = http::head("200 OK", http::kind(&request.path), len, request.keeps_alive);
    let begin = piece.len();
    piece.resize(begin + usize::try_from(len)?, 0);
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut piece[begin..], 0)?;
    Ok(())
}

fn with_hyper(listener: TcpListener, dir: File, connections: usize) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_io().build()?;
    let dir = Arc::new(dir);
    runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..connections {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let dir = dir.clone();
            tasks.spawn(async move {
                let service = service_fn(|request| answer(request, dir.clone()));
                let _ended = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
        while tasks.join_next().await.is_some() {}
        Ok(())
    })
}

async fn answer(
    request: hyper::Request<Incoming>,
    dir: Arc<File>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path()[1..].to_owned();
    let kind = http::kind(&path);
    // As tokio's own files: in a thread that may block.
    let read = tokio::task::spawn_blocking(move || -> Result<Vec<u8>, Failure> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat2(&dir, path, flags, Mode::empty(), ResolveFlags::BENEATH)?;
        let file = File::from(file);
        let mut bytes = vec![0; usize::try_from(file.metadata()?.len())?];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0)?;
        Ok(bytes)
    });
    let response = hyper::Response::builder().header("content-type", kind);
    let response = match read.await {
        Ok(Ok(bytes)) => response.body(Full::new(bytes.into())),
        _ => response.status(404).body(Full::default()),
    };
    Ok(response.unwrap_or_default())
}
