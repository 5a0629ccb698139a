//! The example of an HTTP server: what it answers, to each kind of client.

mod common;
#[path = "../examples/http.rs"]
mod http;

use common::response;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

/// The server, for so many connections, over a directory with some files; its address,
/// and what it returns.
fn over_files(
    connections: usize,
) -> (tempfile::TempDir, SocketAddr, thread::JoinHandle<Option<u64>>) {
    let dir = tempfile::tempdir().unwrap();
    let large: Vec<u8> = (0..1_000_001_u32).map(|n| (n % 251) as u8).collect();
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    std::fs::write(dir.path().join("index.html"), "<p>home").unwrap();
    std::fs::write(dir.path().join("sub/a b.txt"), "named").unwrap();
    std::fs::write(dir.path().join("large"), large).unwrap();
    std::fs::write(dir.path().join("empty"), "").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("out")).unwrap();
    std::os::unix::fs::symlink("sub/a b.txt", dir.path().join("in")).unwrap();
    let fifo = dir.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let open = std::fs::File::open(dir.path()).unwrap();
    let server = thread::spawn(move || http::serve(listener, open, connections).ok());
    (dir, to, server)
}

fn ask(client: &mut TcpStream, request: &str) -> (String, Vec<u8>) {
    client.write_all(request.as_bytes()).unwrap();
    response(client)
}

#[test]
fn a_client_that_sends_byte_by_byte_is_served_as_any_other() {
    let (_dir, to, server) = over_files(1);
    let mut client = TcpStream::connect(to).unwrap();
    client.set_nodelay(true).unwrap();
    for round in 0..3 {
        for byte in b"GET /sub/a%20b.txt?x=1 HTTP/1.1\r\nhost: here\r\nx-more: 1\r\n\r\n" {
            client.write_all(&[*byte]).unwrap();
            thread::sleep(Duration::from_micros(300 * round));
        }
        let (head, body) = response(&mut client);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("content-type: text/plain"), "{head}");
        assert_eq!(body, b"named");
    }
    drop(client);
    assert_eq!(server.join().unwrap(), Some(3));
}

#[test]
fn requests_are_answered_as_they_say() {
    const MORE: &str = " HTTP/1.1\r\nhost: here\r\n\r\n";
    let long = format!("GET /{}{MORE}", "a".repeat(20_000));
    let cases: &[(&str, &str, &str, bool)] = &[
        // A request, the status, the body, and whether another one may follow.
        ("GET / HTTP/1.1\r\n\r\n", "200", "<p>home", true),
        ("GET / HTTP/1.0\r\n\r\n", "200", "<p>home", false),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "200", "<p>home", true),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "200", "<p>home", false),
        ("GET /in HTTP/1.1\r\n\r\n", "200", "named", true),
        ("GET /empty HTTP/1.1\r\n\r\n", "200", "", true),
        ("GET /out HTTP/1.1\r\n\r\n", "404", "", true),
        ("GET /sub/../../etc/passwd HTTP/1.1\r\n\r\n", "404", "", true),
        ("GET //etc/passwd HTTP/1.1\r\n\r\n", "404", "", true),
        ("GET /fifo HTTP/1.1\r\n\r\n", "404", "", true),
        ("GET /sub HTTP/1.1\r\n\r\n", "404", "", true),
        ("GET /sub/ HTTP/1.1\r\n\r\n", "404", "", true),
        ("GET /none HTTP/1.1\r\n\r\n", "404", "", true),
        ("GET /a%00b HTTP/1.1\r\n\r\n", "400", "", false),
        ("GET /a%ff HTTP/1.1\r\n\r\n", "400", "", false),
        ("GET none HTTP/1.1\r\n\r\n", "400", "", false),
        ("nonsense\r\n\r\n", "400", "", false),
        ("POST / HTTP/1.1\r\n\r\n", "501", "", false),
        ("GET / HTTP/1.1\r\ncontent-length: 5\r\n\r\n12345", "413", "", false),
        ("GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", "413", "", false),
        (&long, "431", "", false),
    ];
    let (_dir, to, server) = over_files(cases.len() + 2);
    for (request, status, body, goes_on) in cases {
        let mut client = TcpStream::connect(to).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let (head, got) = ask(&mut client, request);
        let begin = request.chars().take(60).collect::<String>();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{begin}: {head}");
        assert_eq!(got, body.as_bytes(), "{begin}");
        if *goes_on {
            let (head, _) = ask(&mut client, "GET / HTTP/1.1\r\n\r\n");
            assert!(head.starts_with("HTTP/1.1 200 "), "{begin}: {head}");
        } else {
            // The end, or a reset: what it had sent beyond was never read.
            let end = client.read(&mut [0; 10]);
            assert!(!matches!(end, Ok(1..)), "{begin}: {end:?}");
        }
    }
    // No body, but its length.
    let mut client = TcpStream::connect(to).unwrap();
    client.write_all(b"HEAD /large HTTP/1.1\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("content-length: 1000001\r\n") && answer.ends_with("\r\n\r\n"));
    // Many at once, before the first answer is read.
    let mut client = TcpStream::connect(to).unwrap();
    client.write_all("GET /large HTTP/1.1\r\n\r\n".repeat(20).as_bytes()).unwrap();
    for _ in 0..20 {
        let (_, body) = response(&mut client);
        assert!(body.iter().enumerate().all(|(n, byte)| *byte == (n % 251) as u8));
        assert_eq!(body.len(), 1_000_001);
    }
    drop(client);
    assert!(server.join().unwrap().is_some());
}

/// Whether a program is there; says so if it is not.
fn has(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        println!("SKIP {program}: it is not installed");
    }
    there
}

#[test]
fn curl_fetches_what_is_there() {
    if !has("curl") {
        return;
    }
    let (dir, to, _server) = over_files(1000);
    let url = |path: &str| format!("http://{to}{path}");
    let curl = |args: &[&str]| {
        let output = Command::new("curl").args(["-sS", "--max-time", "120"]).args(args).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let large = std::fs::read(dir.path().join("large")).unwrap();
    // Four times on one connection.
    let got = curl(&[&url("/large"), &url("/large"), &url("/sub/a%20b.txt"), &url("/large")]);
    assert!(got == [&large[..], &large, b"named", &large].concat());
    let only_status = ["-o", "/dev/null", "-w", "%{http_code} %{num_connects}"];
    let status = |args: &[&str]| String::from_utf8(curl(&[&only_status, args].concat())).unwrap();
    assert_eq!(status(&[&url("/none")]), "404 1");
    assert_eq!(status(&["-I", &url("/large")]), "200 1");
    assert_eq!(status(&["-0", &url("/")]), "200 1");
    assert_eq!(status(&["-d", "text", &url("/")]), "413 1");
    let several = curl(&["--parallel", "--parallel-max", "50", &url("/large?[1-100]")]);
    assert_eq!(several.len(), 100 * large.len());
}

#[test]
fn wrk_meets_no_error() {
    if !has("wrk") {
        return;
    }
    let (_dir, to, _server) = over_files(1000);
    for path in ["/sub/a%20b.txt", "/large"] {
        let output = Command::new("wrk")
            .args(["-t2", "-c100", "-d1s", "--timeout", "60s", &format!("http://{to}{path}")])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        println!("{path}: {told}");
        assert!(output.status.success() && told.contains("requests in "), "{told}");
        assert!(!told.contains("Socket errors") && !told.contains("Non-2xx"), "{told}");
        assert!(!told.contains("\n  0 requests"), "{told}");
    }
}
