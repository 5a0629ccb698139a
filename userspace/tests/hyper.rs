//! hyper serves and fetches over the library's streams, and tokio copies its files.

use aio2::io::{File, TcpListener, TcpStream, UnixListener, UnixStream};
use aio2::{Context, Driver, Handle};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

fn runtimes() -> [Runtime; 2] {
    let one = Builder::new_current_thread().enable_io().build().unwrap();
    let several = Builder::new_multi_thread().worker_threads(2).enable_io().build().unwrap();
    [one, several]
}

/// A driver that is a task.
fn driven() -> Handle<Vec<u8>> {
    let driver = Driver::new(Context::new().unwrap()).unwrap();
    let handle = driver.handle();
    tokio::spawn(driver.drive());
    handle
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let text = [path.as_bytes(), b":", &body].concat();
    let status = if path == "/none" { StatusCode::NOT_FOUND } else { StatusCode::OK };
    Ok(Response::builder().status(status).body(Full::new(text.into())).unwrap())
}

async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, peer) = listener.accept().await?;
        assert!(peer.ip().is_loopback());
        tokio::spawn(async move {
            let service = service_fn(answer);
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

#[test]
fn hyper_serves_and_fetches_over_our_streams() {
    for runtime in runtimes() {
        runtime.block_on(async {
            let handle = driven();
            let listener = TcpListener::bind(&handle, "127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            tokio::spawn(serve(listener));
            let mut clients = JoinSet::new();
            for n in 0..20 {
                let handle = handle.clone();
                clients.spawn(async move {
                    // By name: one of its addresses may not answer.
                    let stream =
                        TcpStream::connect(&handle, &format!("localhost:{port}")).await.unwrap();
                    let (mut sender, connection) =
                        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
                    tokio::spawn(connection);
                    for round in 0..20 {
                        let body = vec![b'a' + n; 1000 * round];
                        let path = if round == 3 { "/none" } else { "/some" };
                        let request = Request::post(path)
                            .header("host", "localhost")
                            .body(Full::new(Bytes::from(body.clone())))
                            .unwrap();
                        let response = sender.send_request(request).await.unwrap();
                        assert_eq!(response.status() == 404, round == 3);
                        let got = response.into_body().collect().await.unwrap().to_bytes();
                        assert_eq!(got, [path.as_bytes(), b":", &body].concat());
                    }
                });
            }
            while let Some(client) = clients.join_next().await {
                client.unwrap();
            }
        });
    }
}

#[test]
fn tokio_copies_our_files() {
    for runtime in runtimes() {
        runtime.block_on(async {
            let handle = driven();
            let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let (from, to) = (directory.path().join("from"), directory.path().join("to"));
            let bytes: Vec<u8> = (0..3_000_001_u32).map(|n| (n % 251) as u8).collect();
            std::fs::write(&from, &bytes).unwrap();
            let mut source = File::open(&handle, &from).await.unwrap();
            let mut target = File::create(&handle, &to).await.unwrap();
            let copied = tokio::io::copy(&mut source, &mut target).await.unwrap();
            assert_eq!((copied, source.len().await.unwrap()), (3_000_001, 3_000_001));
            target.sync_all().await.unwrap();
            assert_eq!(std::fs::read(&to).unwrap(), bytes);
            // What a writer that is dropped took is written.
            let mut target = File::create(&handle, &to).await.unwrap();
            AsyncWriteExt::write_all(&mut target, b"dropped").await.unwrap();
            drop(target);
            let one_more = File::open(&handle, &to).await.unwrap();
            one_more.sync_all().await.unwrap();
            while one_more.len().await.unwrap() == 0 {
                tokio::task::yield_now().await;
            }
            let (read, bytes) = one_more.read_exact_at(vec![0; 7], 0).await;
            read.unwrap();
            assert_eq!(bytes, b"dropped");
            let (read, _) = one_more.read_exact_at(vec![0; 8], 0).await;
            assert_eq!(read.map_err(|e| e.kind()), Err(io::ErrorKind::UnexpectedEof));
        });
    }
}

#[test]
fn streams_of_the_unix_domain_carry_bytes_both_ways() {
    for runtime in runtimes() {
        runtime.block_on(async {
            let handle = driven();
            let directory = tempfile::tempdir().unwrap();
            let name = directory.path().join("socket");
            let listener = UnixListener::bind(&handle, &name).unwrap();
            let server = tokio::spawn(async move {
                let (mut reader, mut writer) = tokio::io::split(listener.accept().await.unwrap());
                tokio::io::copy(&mut reader, &mut writer).await.unwrap();
                writer.shutdown().await.unwrap();
            });
            let mut client = UnixStream::connect(&handle, &name).await.unwrap();
            let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n % 249) as u8).collect();
            client.write_all(bytes.clone()).await.0.unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            let mut back = Vec::new();
            client.read_to_end(&mut back).await.unwrap();
            assert_eq!(back, bytes);
            server.await.unwrap();
            let nobody = UnixStream::connect(&handle, directory.path().join("none")).await;
            assert_eq!(nobody.map_err(|e| e.kind()).err(), Some(io::ErrorKind::NotFound));
        });
    }
}

#[test]
fn a_connection_that_is_refused_is_an_error_and_takes_no_worker() {
    let runtime = Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(async {
        let handle = driven();
        let listener = TcpListener::bind(&handle, "127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let refused = TcpStream::connect_to(&handle, address).await;
        assert_eq!(refused.map_err(|e| e.kind()).err(), Some(io::ErrorKind::ConnectionRefused));
        let unknown = TcpStream::connect(&handle, "no.such.name.invalid:80").await;
        assert!(unknown.is_err());
    });
}
