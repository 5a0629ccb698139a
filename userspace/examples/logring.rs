//! Streams log records through a ring to another process.
//!
//!     cargo run --release --example logring [RECORDS]
//!
//! The logger makes a ring, starts itself once more as the collector, and
//! passes it the ring's two files and an eventfd over a socket. The collector
//! reads records in place from memory that it cannot write, and sleeps when
//! there are none. Half-way it is stopped for a while by SIGSTOP: the logger
//! goes on, and what the ring cannot hold waits on the overflow list. At the
//! end both compare what they have sent and seen.
#![allow(unsafe_code)]

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use aio2::ring::{Geometry, Pending, Sink, header};
use aio2::shm::{ProducerMap, RingFiles, create};

const RING_BYTES: u32 = 64 << 10;
const RECORD_MAX: u32 = 256;
const BATCH: u64 = 64;
/// A logger that is this far ahead waits, unless the collector is stopped.
const AHEAD_MAX: usize = 1 << 20;
const STOPPED: Duration = Duration::from_millis(300);
/// How the collector is told to be one.
const COLLECT: &str = "--collect";

fn main() -> Result<(), Box<dyn Error>> {
    match env::args().nth(1).as_deref() {
        Some(COLLECT) => collect(),
        Some(records) => log(records.parse().map_err(|_| "usage: logring [RECORDS]")?),
        None => log(1_000_000),
    }
}

/// What was sent, or seen.
#[derive(Default, PartialEq)]
struct Tally {
    records: u64,
    checksum: u64,
}

impl Tally {
    /// FNV-1a over words, so that order counts.
    fn add(&mut self, words: impl Iterator<Item = u64>) {
        self.records += 1;
        for word in words {
            self.checksum = (self.checksum ^ word).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Writes the record's words into `buffer`; how many there are.
fn record(buffer: &mut [u64; RECORD_MAX as usize / 8], text: &mut String, n: u64) -> usize {
    use std::fmt::Write;
    text.clear();
    write!(text, "{n} GET /object/{} {} ms", n.wrapping_mul(0x9e37_79b9) % 100_000, n % 97)
        .expect("a String takes everything");
    let words = 1 + text.len().div_ceil(8);
    buffer[0] = header(words as u32 * 8, 0);
    for (word, bytes) in buffer[1..].iter_mut().zip(text.as_bytes().chunks(8)) {
        let mut padded = [0; 8];
        padded[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_ne_bytes(padded);
    }
    words
}

struct Logger {
    sink: Sink<ProducerMap>,
    bell: File,
    collector: Child,
    sent: Tally,
    text: String,
}

impl Logger {
    /// Logs `records` records, in batches.
    fn log(&mut self, records: u64) -> Result<(), Box<dyn Error>> {
        let end = self.sent.records + records;
        while self.sent.records < end {
            let count = BATCH.min(end - self.sent.records);
            self.sink.reserve(count as usize * RECORD_MAX as usize)?;
            let mut batch = self.sink.batch();
            for _ in 0..count {
                let mut buffer = [0; RECORD_MAX as usize / 8];
                let words = record(&mut buffer, &mut self.text, self.sent.records);
                batch.push(&buffer[..words], RECORD_MAX as usize);
                self.sent.add(buffer[..words].iter().copied());
            }
            drop(batch);
            self.ring_bell()?;
        }
        Ok(())
    }

    /// Wakes the collector if it wants to be told.
    fn ring_bell(&mut self) -> io::Result<()> {
        if self.sink.should_notify() {
            self.bell.write_all(&1u64.to_ne_bytes())?;
        }
        Ok(())
    }

    /// Waits until no more than `bytes` wait on the overflow list.
    fn wait_until_behind(&mut self, bytes: usize) -> io::Result<()> {
        while !self.sink.flush() && self.sink.overflow_bytes() > bytes {
            self.ring_bell()?;
            if let Some(status) = self.collector.try_wait()? {
                return Err(io::Error::other(format!("the collector ended: {status}")));
            }
            sleep(Duration::from_micros(100));
        }
        self.ring_bell()
    }

    /// As `log`, but not faster than the collector can follow.
    fn log_paced(&mut self, records: u64) -> Result<(), Box<dyn Error>> {
        let mut left = records;
        while left > 0 {
            let count = left.min(1024);
            self.log(count)?;
            self.wait_until_behind(AHEAD_MAX)?;
            left -= count;
        }
        Ok(())
    }
}

fn log(records: u64) -> Result<(), Box<dyn Error>> {
    let (producer, files) = create(Geometry::new(RING_BYTES, RECORD_MAX)?)?;
    let bell = eventfd()?;
    let (ours, theirs) = UnixStream::pair()?;
    let collector =
        Command::new(env::current_exe()?).arg(COLLECT).stdin(OwnedFd::from(theirs)).spawn()?;
    let (consumer_file, data_file) = files.into_fds();
    send_fds(&ours, [consumer_file.as_fd(), data_file.as_fd(), bell.as_fd()])?;

    let mut logger = Logger {
        sink: Sink::new(producer),
        bell: bell.into(),
        collector,
        sent: Tally::default(),
        text: String::new(),
    };
    let begun = Instant::now();
    logger.log_paced(records / 2)?;
    let before = logger.sink.overflowed();
    signal(&logger.collector, libc::SIGSTOP)?;
    logger.log(records / 4)?;
    let waiting = logger.sink.overflow_bytes();
    let overflowed = logger.sink.overflowed() - before;
    sleep(STOPPED);
    signal(&logger.collector, libc::SIGCONT)?;
    logger.log_paced(records - records / 2 - records / 4)?;
    logger.wait_until_behind(0)?;
    logger.sink.set_dead();
    logger.ring_bell()?;

    let mut report = [0; 16];
    (&ours).read_exact(&mut report)?;
    let seconds = (begun.elapsed() - STOPPED).as_secs_f64();
    let (count, checksum) = report.split_at(8);
    let seen = Tally {
        records: u64::from_ne_bytes(count.try_into()?),
        checksum: u64::from_ne_bytes(checksum.try_into()?),
    };
    println!("sent  {:>9} records, checksum {:016x}", logger.sent.records, logger.sent.checksum);
    println!("seen  {:>9} records, checksum {:016x}", seen.records, seen.checksum);
    println!("while the collector was stopped, {overflowed} records overflowed: {waiting} bytes");
    println!("rate  {:.2} million records a second", records as f64 / seconds / 1e6);
    if seen != logger.sent || !logger.collector.wait()?.success() {
        return Err("records were lost".into());
    }
    println!("nothing was lost");
    Ok(())
}

fn collect() -> Result<(), Box<dyn Error>> {
    let mut logger = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let [consumer_file, data_file, bell] = receive_fds(&logger)?;
    let ring = RingFiles::from_fds(consumer_file, data_file)?.map()?;
    let mut ring = ring.into_exclusive().map_err(|_| "the ring has other consumers")?;
    let mut bell = File::from(bell);
    let mut seen = Tally::default();
    ring.notify_off();
    loop {
        let dead = ring.is_dead();
        let mut drain = ring.drain()?;
        let any = drain.bytes_left() > 0;
        while let Some(record) = drain.next()? {
            seen.add((0..record.len()).map(|i| record.word(i)));
        }
        drop(drain);
        if any {
            continue;
        }
        if dead && ring.pending() == Pending::Nothing {
            break;
        }
        // Sleep, unless something came meanwhile. The logger moves what has
        // overflowed by itself, and tells when it has.
        if !ring.notify_on() || ring.pending() == Pending::Overflow {
            bell.read_exact(&mut [0; 8])?;
        }
        ring.notify_off();
    }
    logger.write_all(&seen.records.to_ne_bytes())?;
    logger.write_all(&seen.checksum.to_ne_bytes())?;
    Ok(())
}

fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: takes and gives numbers.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and no one else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn signal(child: &Child, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: takes numbers; the child has not been waited for, so the id is its own.
    let result = unsafe { libc::kill(child.id() as libc::pid_t, signal) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Room for a control message of three file descriptors, aligned for it.
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    fds: [RawFd; 3],
    /// As CMSG_SPACE(3) pads.
    padding: RawFd,
}

const CONTROL_LEN: usize = size_of::<libc::cmsghdr>() + size_of::<[RawFd; 3]>();

/// Calls `f` with a message of one byte and `control`.
fn with_message<T>(control: &mut Control, f: impl FnOnce(&mut libc::msghdr) -> T) -> T {
    let mut byte = 0u8;
    let mut data = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: all zeros is a message without anything.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut data;
    message.msg_iovlen = 1;
    message.msg_control = (control as *mut Control).cast();
    message.msg_controllen = size_of::<Control>();
    f(&mut message)
}

fn send_fds(socket: &UnixStream, fds: [BorrowedFd<'_>; 3]) -> io::Result<()> {
    let mut control = Control {
        header: libc::cmsghdr {
            cmsg_len: CONTROL_LEN,
            cmsg_level: libc::SOL_SOCKET,
            cmsg_type: libc::SCM_RIGHTS,
        },
        fds: fds.map(|fd| fd.as_raw_fd()),
        padding: 0,
    };
    let sent = with_message(&mut control, |message| {
        // SAFETY: the message refers to a byte and to `control`, both alive.
        unsafe { libc::sendmsg(socket.as_raw_fd(), message, libc::MSG_NOSIGNAL) }
    });
    if sent == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn receive_fds(socket: &UnixStream) -> io::Result<[OwnedFd; 3]> {
    // SAFETY: a header and numbers, for which zeros are valid.
    let mut control: Control = unsafe { zeroed() };
    let received = with_message(&mut control, |message| {
        // SAFETY: the message refers to a byte and to `control`, both alive,
        // and says how large they are.
        unsafe { libc::recvmsg(socket.as_raw_fd(), message, libc::MSG_CMSG_CLOEXEC) }
    });
    if received < 0 {
        return Err(io::Error::last_os_error());
    }
    let header = &control.header;
    if (header.cmsg_len, header.cmsg_type) != (CONTROL_LEN, libc::SCM_RIGHTS) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not the files of a ring"));
    }
    // SAFETY: the kernel has just made these descriptors for us.
    Ok(control.fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }))
}
