//! An echo server written the obvious way (examples/echo.rs), beside one with a thread
//! for each connection and one with epoll: messages a second by the number of
//! connections, all of them busy. `cargo xtask bench servers`.
//!
//! The client is a process of its own, the same for all of them; each number is the
//! middle one of several turns, in which the servers take turns.
//!
//!     cargo bench --bench servers -- --server AIO2 64
//!
//! is one turn of one server, and tells its processor time for each message.
#![allow(unsafe_code, missing_docs, dead_code)]

mod common;
#[path = "../examples/echo.rs"]
mod echo;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

const BYTES: usize = 64;
const TURNS: usize = 5;
const TIME: Duration = Duration::from_millis(800);

type Failure = Box<dyn Error + Send + Sync>;
/// Serves so many connections until each of them is closed.
type Server = fn(TcpListener, usize) -> Result<u64, Failure>;

const SERVERS: [(&str, Server); 3] =
    [("AIO2", echo::serve), ("epoll", with_epoll), ("threads", with_threads)];

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    echo::raise_limit();
    if let [_, client, to, connections] = &args[..]
        && client == "--client"
    {
        let to: SocketAddr = to.parse()?;
        println!("{}", echo::ask(to, connections.parse()?, 0, TIME)?);
        return Ok(());
    }
    if let [_, server, name, connections, ..] = &args[..]
        && server == "--server"
    {
        let (_, server) = SERVERS.iter().find(|server| server.0 == name).ok_or("no such server")?;
        let before = processor_ns();
        let messages = turn(*server, connections.parse()?)? * TIME.as_secs_f64();
        let each = (processor_ns() - before) as f64 / messages;
        println!("{messages:.0} messages, {each:.0} ns of the server's processors for each");
        return Ok(());
    }
    let json = args.iter().any(|arg| arg == "--json");
    if !json {
        println!(
            "{:>12} {:>10} {:>10} {:>10}   AIO2 to epoll, to threads",
            "connections", "AIO2", "epoll", "threads"
        );
    }
    for connections in [1, 8, 64, 256, 1000] {
        let mut rates = [const { Vec::new() }; SERVERS.len()];
        for _ in 0..TURNS {
            for ((_, server), rates) in SERVERS.iter().zip(&mut rates) {
                rates.push(turn(*server, connections)?);
            }
        }
        let [aio2, epoll, threads] = rates.each_ref().map(|rates| common::median(rates));
        if json {
            println!(
                "{{\"bench\":\"echo\",\"connections\":{connections},\"aio2\":{aio2:.0},\"epoll\":{epoll:.0},\"threads\":{threads:.0}}}"
            );
        } else {
            println!(
                "{connections:>12} {aio2:>10.0} {epoll:>10.0} {threads:>10.0}   {:.2}, {:.2}",
                aio2 / epoll,
                aio2 / threads
            );
        }
    }
    Ok(())
}

/// Processor time that this process has used, in ns.
fn processor_ns() -> u64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: there is room for it.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    // SAFETY: all zeros are one.
    let usage = unsafe { usage.assume_init() };
    [usage.ru_utime, usage.ru_stime]
        .map(|time| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000)
        .iter()
        .sum()
}

/// Messages a second of one server.
fn turn(server: Server, connections: usize) -> Result<f64, Box<dyn Error>> {
    common::turn(connections, TIME, |listener| server(listener, connections).map(drop))
}

fn with_threads(listener: TcpListener, connections: usize) -> Result<u64, Failure> {
    std::thread::scope(|scope| {
        for _ in 0..connections {
            let (mut socket, _) = listener.accept()?;
            std::thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, move || {
                let mut buffer = [0; BYTES];
                while let Ok(len @ 1..) = socket.read(&mut buffer) {
                    if socket.write_all(&buffer[..len]).is_err() {
                        return;
                    }
                }
            })?;
        }
        Ok(0)
    })
}

fn with_epoll(listener: TcpListener, connections: usize) -> Result<u64, Failure> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut sockets: Vec<Option<TcpStream>> = Vec::new();
    epoll::add(&epoll, &listener, EventData::new_u64(u64::MAX), EventFlags::IN)?;
    let mut open = 0;
    let mut events = [const { MaybeUninit::uninit() }; 64];
    while sockets.len() < connections || open > 0 {
        let (ready, _) = epoll::wait(&epoll, &mut events, None)?;
        for event in ready {
            let place = event.data.u64() as usize;
            if place == usize::MAX {
                let (socket, _) = listener.accept()?;
                socket.set_nonblocking(true)?;
                let data = EventData::new_u64(sockets.len() as u64);
                epoll::add(&epoll, &socket, data, EventFlags::IN)?;
                sockets.push(Some(socket));
                open += 1;
                continue;
            }
            let mut buffer = [0; BYTES];
            let Some(mut socket) = sockets[place].as_ref() else { continue };
            match socket.read(&mut buffer) {
                Ok(0) => {
                    sockets[place] = None;
                    open -= 1;
                }
                Ok(len) => socket.write_all(&buffer[..len])?,
                Err(why) if why.kind() == ErrorKind::WouldBlock => {}
                Err(why) => return Err(why.into()),
            }
        }
    }
    Ok(0)
}
