//! Files and streams as readers and writers of futures-io.

use aio2::io::{File, TcpListener, TcpStream, UnixStream};
use aio2::{Context, Driver, Handle};
use futures_util::future::{Either, join, select};
use futures_util::{AsyncReadExt, AsyncWriteExt, io::copy};
use std::io::{Read, Write};
use std::pin::pin;
use std::time::Duration;

fn driver() -> (Driver<Vec<u8>>, Handle<Vec<u8>>) {
    let driver = Driver::new(Context::new().unwrap()).unwrap();
    let handle = driver.handle();
    (driver, handle)
}

/// More than a reader or writer moves at once.
fn bytes() -> Vec<u8> {
    (0..300_000_u32).map(|n| ((n * 7) >> 3) as u8).collect()
}

#[test]
fn a_file_is_copied_and_closed() {
    let (mut driver, handle) = driver();
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    std::fs::write(&from, bytes()).unwrap();
    let copied = driver.block_on(async {
        let from = File::open(&handle, &from).await?;
        let mut to = File::create(&handle, &to).await?;
        let copied = copy(from, &mut to).await?;
        to.close().await?;
        Ok::<_, std::io::Error>(copied)
    });
    assert_eq!(copied.unwrap().unwrap(), 300_000);
    assert_eq!(std::fs::read(&to).unwrap(), bytes());
}

#[test]
fn closing_a_stream_sends_what_was_written_and_says_so_to_the_peer() {
    let (mut driver, handle) = driver();
    let listener = TcpListener::bind(&handle, "127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = async {
        let mut stream = TcpStream::connect_to(&handle, address).await.unwrap();
        AsyncWriteExt::write_all(&mut stream, &bytes()).await.unwrap();
        stream.close().await.unwrap();
        let mut answer = String::new();
        AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
        answer
    };
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut got = Vec::new();
        // It ends, since the other side was closed.
        AsyncReadExt::read_to_end(&mut stream, &mut got).await.unwrap();
        AsyncWriteExt::write_all(&mut stream, b"all of it").await.unwrap();
        stream.close().await.unwrap();
        got
    };
    let (answer, got) = driver.block_on(join(client, server)).unwrap();
    assert_eq!((answer.as_str(), got == bytes()), ("all of it", true));
}

/// A read that is dropped while it waits loses nothing: who reads next has it.
#[test]
fn a_read_that_is_given_up_loses_no_byte() {
    let (mut driver, handle) = driver();
    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let read = driver.block_on(async {
        let mut stream = UnixStream::over(&handle, ours);
        let mut first = [0; 4];
        {
            let late = pin!(handle.sleep(Duration::from_millis(20)));
            let read = pin!(AsyncReadExt::read(&mut stream, &mut first));
            assert!(matches!(select(read, late).await, Either::Right(_)), "nobody has sent");
        }
        theirs.write_all(b"abcdef").unwrap();
        let mut all = [0; 6];
        AsyncReadExt::read_exact(&mut stream, &mut all).await.unwrap();
        stream.close().await.unwrap();
        let mut rest = Vec::new();
        theirs.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
        all
    });
    assert_eq!(read.unwrap(), *b"abcdef");
}

/// What a writer has taken is sent, also if it is dropped before a flush.
#[test]
fn a_writer_that_is_dropped_has_sent_what_it_took() {
    let (mut driver, handle) = driver();
    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    driver
        .block_on(async {
            let mut stream = UnixStream::over(&handle, ours);
            assert_eq!(AsyncWriteExt::write(&mut stream, b"taken").await.unwrap(), 5);
        })
        .unwrap();
    let mut got = [0; 5];
    theirs.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"taken");
}

/// An error of a write is that of the flush behind it.
#[test]
fn a_write_that_fails_is_told_by_the_flush() {
    let (mut driver, handle) = driver();
    let read_only = std::fs::File::open("/etc/passwd").unwrap();
    let flushed = driver.block_on(async {
        let mut file = File::over(&handle, read_only);
        AsyncWriteExt::write_all(&mut file, b"no").await?;
        file.flush().await
    });
    assert_eq!(flushed.unwrap().unwrap_err().raw_os_error(), Some(aio2::libc::EBADF));
}
