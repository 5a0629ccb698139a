//! The servers of the examples: many idle connections, many busy ones, and four
//! workers.
#![allow(dead_code)] // what the examples do alone

mod common;
#[path = "../examples/echo.rs"]
mod echo;
#[path = "../examples/http.rs"]
mod http;

use common::response;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

const IDLE: usize = 10_000;
const BUSY: usize = 1_000;
const WORKERS: usize = 4;
const ROUNDS: usize = 3;

/// Where a client, which is a process of its own, finds the server.
const SERVER: &str = "AIO2_TEST_SERVER";

/// As many idle and busy connections as this process may have: of each there is a
/// descriptor, and one that the engine holds while it waits.
fn connections() -> (usize, usize) {
    let most = (echo::raise_limit() as usize).saturating_sub(300) / 2;
    let all = (IDLE + BUSY).min(most);
    if most < IDLE + BUSY {
        println!("SKIP {IDLE} idle and {BUSY} busy ones: {most} in all are allowed here");
    }
    (all * 10 / 11, all / 11)
}

/// Has test `name` run as a client of `to` in a process of its own.
fn client_of(name: &str, to: SocketAddr) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(SERVER, to.to_string())
        .spawn()
        .unwrap()
}

/// The server, if this process is a client.
fn server() -> Option<SocketAddr> {
    std::env::var(SERVER).ok().map(|to| to.parse().unwrap())
}

/// Only one of the tests at once: both want all descriptors.
static ALONE: Mutex<()> = Mutex::new(());

/// The threads of this process that are workers.
fn workers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.map(|t| std::fs::read_to_string(t.path().join("comm")).unwrap_or_default());
    names.filter(|name| name.trim() == "aio2-wrk").count()
}

/// SPEC: R-WAIT-1, R-RUN-1
#[test]
fn idle_and_busy_connections_are_served() {
    let _alone = ALONE.lock();
    let (idle, busy) = connections();
    if let Some(to) = server() {
        let messages = echo::ask(to, busy, idle, Duration::from_secs(1)).unwrap();
        assert!(messages >= busy as u64);
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let mut client = client_of("idle_and_busy_connections_are_served", to);
    let server = thread::spawn(move || echo::serve(listener, idle + busy));
    let most = watch(&mut client);
    let echoed = server.join().unwrap().unwrap();
    assert!(echoed >= 64 * busy as u64 && echoed % 64 == 0);
    assert!(most <= WORKERS, "{most} workers");
}

/// Waits for the end of a client, which must be a good one; most workers that were
/// seen meanwhile.
fn watch(client: &mut Child) -> usize {
    let mut most = 0;
    loop {
        most = most.max(workers());
        if let Some(status) = client.try_wait().unwrap() {
            assert!(status.success());
            return most;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// SPEC: R-WAIT-1, R-RUN-1
#[test]
fn files_are_served_to_idle_and_busy_connections() {
    let _alone = ALONE.lock();
    let (idle, busy) = connections();
    let contents: Vec<Vec<u8>> =
        [0, 1, 5000, 100_000].iter().map(|len| (0..*len).map(|n| n as u8).collect()).collect();
    if let Some(to) = server() {
        return ask_for_files(to, idle, busy, &contents);
    }
    let dir = tempfile::tempdir().unwrap();
    for (n, bytes) in contents.iter().enumerate() {
        std::fs::write(dir.path().join(format!("f{n}")), bytes).unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let mut client = client_of("files_are_served_to_idle_and_busy_connections", to);
    let open = std::fs::File::open(dir.path()).unwrap();
    let server = thread::spawn(move || http::serve(listener, open, idle + busy));
    let most = watch(&mut client);
    let expected = (0..ROUNDS).flat_map(|round| (0..busy).map(move |n| (n + round) % 6));
    assert_eq!(server.join().unwrap().unwrap(), expected.filter(|file| *file < 4).count() as u64);
    assert!((1..=WORKERS).contains(&most), "{most} workers");
}

fn ask_for_files(to: SocketAddr, idle: usize, busy: usize, contents: &[Vec<u8>]) {
    let quiet: Vec<_> = (0..idle).map(|_| TcpStream::connect(to).unwrap()).collect();
    let mut clients: Vec<_> = (0..busy).map(|_| TcpStream::connect(to).unwrap()).collect();
    for round in 0..ROUNDS {
        for (n, client) in clients.iter_mut().enumerate() {
            let name = match (n + round) % 6 {
                4 => "missing".into(),
                5 => "../secret".into(),
                file => format!("f{file}"),
            };
            // In two pieces.
            write!(client, "GET /{name} HT").unwrap();
            write!(client, "TP/1.1\r\nhost: here\r\n\r\n").unwrap();
        }
        for (n, client) in clients.iter_mut().enumerate() {
            let (status, body) = match (n + round) % 6 {
                4 | 5 => ("404", &[][..]),
                file => ("200", &contents[file][..]),
            };
            let (head, got) = response(client);
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            assert!(got == body, "{head}: {} bytes of {}", got.len(), body.len());
        }
    }
    drop((quiet, clients));
}
