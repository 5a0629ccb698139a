//! A key-value store with a write-ahead log.
//!
//!     cargo run --release --example store -- DIRECTORY
//!
//! Commands come by the standard input, a line each: `put KEY VALUE`, `del KEY`,
//! `get KEY`. The answers are `ok`, `value VALUE` and `none`, in order. What was
//! answered with `ok` is there after a crash, whenever that comes.
//!
//! The pairs are in memory. A batch of commands is one write to the log and an
//! fdatasync that starts after it only if it was written whole: one submission, no
//! wakeup in between, and no answer before the second has ended. From time to time
//! all pairs are written to a new snapshot, and a new log begins: four operations,
//! each after the one before, so that a snapshot is never seen half written.

use aio2::flags::{AtFlags, Mode, OFlags, RenameFlags};
use aio2::io::File;
use aio2::{Context, Driver, Handle, Op, SharedFd};
use std::collections::HashMap;
use std::ffi::CString;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;

/// A log that is longer is replaced by a snapshot.
const LOG_BYTES: u64 = 1 << 20;
/// Bytes before a record: its length and its checksum, of 4 bytes each.
const HEAD_BYTES: usize = 8;
/// No record is longer.
const RECORD_BYTES: usize = 1 << 20;

type Bytes = Vec<u8>;

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Appends a record: a key, with its value unless it is removed.
fn encode(log: &mut Bytes, key: &[u8], value: Option<&[u8]>) {
    let mut body = vec![u8::from(value.is_some())];
    body.extend((key.len() as u32).to_le_bytes());
    body.extend(key);
    body.extend(value.unwrap_or_default());
    log.extend((body.len() as u32).to_le_bytes());
    log.extend(crc32c::crc32c(&body).to_le_bytes());
    log.extend(body);
}

/// The first record of `log`: its length, its key, its value. None if it is not
/// there whole, which is where a crash has cut the log.
#[allow(clippy::type_complexity)]
fn decode(log: &[u8]) -> Option<(usize, &[u8], Option<&[u8]>)> {
    let number = |at: usize| Some(u32::from_le_bytes(*log.get(at..)?.first_chunk()?));
    let len = number(0)? as usize;
    let body = log.get(HEAD_BYTES..HEAD_BYTES.checked_add(len)?)?;
    if len > RECORD_BYTES || crc32c::crc32c(body) != number(4)? {
        return None;
    }
    let (has_value, rest) = body.split_first()?;
    let (key_len, rest) = rest.split_first_chunk()?;
    let (key, value) = rest.split_at_checked(u32::from_le_bytes(*key_len) as usize)?;
    Some((HEAD_BYTES + len, key, (*has_value == 1).then_some(value)))
}

/// The store, on one thread.
pub struct Store {
    handle: Handle<Bytes>,
    directory: SharedFd,
    pairs: HashMap<Bytes, Bytes>,
    /// Each snapshot begins a log of its own, which has this number.
    generation: u64,
    log: File,
    log_bytes: u64,
}

impl Store {
    /// Opens the store of a directory: the snapshot, and what the log has beyond it.
    pub async fn open(handle: &Handle<Bytes>, path: &Path) -> io::Result<Store> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = File::open_with(handle, path, flags, Mode::empty()).await?.fd().clone();
        let mut pairs = HashMap::new();
        let snapshot = match File::open(handle, path.join("snapshot")).await {
            Ok(file) => read_all(&file).await?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => vec![0; 8],
            Err(error) => return Err(error),
        };
        let (number, records) = snapshot.split_first_chunk().ok_or(bad("a short snapshot"))?;
        let generation = u64::from_le_bytes(*number);
        if replay(records, &mut pairs) != records.len() {
            return Err(bad("a bad snapshot"));
        }
        let flags = OFlags::RDWR | OFlags::CREATE;
        let name = path.join(format!("log.{generation}"));
        let log = File::open_with(handle, name, flags, 0o644.into()).await?;
        let records = read_all(&log).await?;
        let log_bytes = replay(&records, &mut pairs) as u64;
        // What a crash has cut off must not be taken for a record later.
        log.set_len(log_bytes).await?;
        log.sync_all().await?;
        sync(handle, &directory).await?;
        let handle = handle.clone();
        Ok(Store { handle, directory, pairs, generation, log, log_bytes })
    }

    /// Carries out a batch of commands; their answers, once they are durable.
    pub async fn execute(&mut self, commands: &str) -> io::Result<String> {
        let (mut records, mut answers) = (Bytes::new(), String::new());
        for command in commands.lines() {
            let mut words = command.splitn(3, ' ');
            match (words.next(), words.next(), words.next()) {
                (Some("put"), Some(key), Some(value)) => {
                    encode(&mut records, key.as_bytes(), Some(value.as_bytes()));
                    self.pairs.insert(key.into(), value.into());
                    answers.push_str("ok\n");
                }
                (Some("del"), Some(key), None) => {
                    encode(&mut records, key.as_bytes(), None);
                    self.pairs.remove(key.as_bytes());
                    answers.push_str("ok\n");
                }
                (Some("get"), Some(key), None) => match self.pairs.get(key.as_bytes()) {
                    Some(value) => {
                        answers.push_str("value ");
                        answers.push_str(&String::from_utf8_lossy(value));
                        answers.push('\n');
                    }
                    None => answers.push_str("none\n"),
                },
                _ => answers.push_str("put KEY VALUE, get KEY or del KEY\n"),
            }
        }
        if !records.is_empty() {
            self.append(records).await?;
        }
        Ok(answers)
    }

    /// Makes records durable.
    async fn append(&mut self, records: Bytes) -> io::Result<()> {
        let (fd, bytes) = (self.log.fd(), records.len() as u64);
        let write = self.handle.run(Op::write_at(fd, records, self.log_bytes).full());
        let sync = self.handle.run(Op::fdatasync(fd).after(&write));
        // If one has failed nobody knows what is on the disk: the store ends.
        write.await.result?;
        sync.await.result?;
        self.log_bytes += bytes;
        if self.log_bytes > LOG_BYTES { self.snapshot().await } else { Ok(()) }
    }

    /// Replaces snapshot and log.
    async fn snapshot(&mut self) -> io::Result<()> {
        let next = self.generation + 1;
        let mut bytes = next.to_le_bytes().to_vec();
        for (key, value) in &self.pairs {
            encode(&mut bytes, key, Some(value));
        }
        let new_log = self.create(&format!("log.{next}")).await?;
        let file = self.create("snapshot.new").await?;
        let here = |name: &str| CString::new(name).map(|name| (&self.directory, name));
        let written = self.handle.run(Op::write_at(&file, bytes, 0).full());
        let safe = self.handle.run(Op::fsync(&file).after(&written));
        let rename = Op::renameat2(here("snapshot.new")?, here("snapshot")?, RenameFlags::empty());
        let renamed = self.handle.run(rename.after(&safe));
        let last = self.handle.run(Op::fsync(&self.directory).after(&renamed));
        written.await.value()?;
        for step in [safe, renamed, last] {
            step.await.value()?;
        }
        let (directory, old) = here(&format!("log.{}", self.generation))?;
        self.handle.run(Op::unlinkat(directory, old, AtFlags::empty())).await.value()?;
        (self.generation, self.log, self.log_bytes) = (next, File::over(&self.handle, new_log), 0);
        Ok(())
    }

    /// A new and empty file in the directory.
    async fn create(&self, name: &str) -> io::Result<SharedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC;
        let open = Op::openat(&self.directory, CString::new(name)?, flags, 0o644.into());
        Ok(SharedFd::new(self.handle.run(open).await.value()?))
    }
}

/// Takes records into `pairs`, up to the first that is not whole; their bytes.
fn replay(log: &[u8], pairs: &mut HashMap<Bytes, Bytes>) -> usize {
    let mut at = 0;
    while let Some((len, key, value)) = decode(&log[at..]) {
        match value {
            Some(value) => drop(pairs.insert(key.into(), value.into())),
            None => drop(pairs.remove(key)),
        }
        at += len;
    }
    at
}

async fn read_all(file: &File) -> io::Result<Bytes> {
    let len = usize::try_from(file.len().await?).map_err(|_| bad("too long a file"))?;
    let (read, bytes) = file.read_exact_at(vec![0; len], 0).await;
    if len > 0 { read.map(|()| bytes) } else { Ok(bytes) }
}

async fn sync(handle: &Handle<Bytes>, directory: &SharedFd) -> io::Result<()> {
    Ok(handle.run(Op::fsync(directory)).await.result.map(drop)?)
}

/// Serves the standard input until it ends.
pub fn serve(directory: &Path, mut output: impl Write) -> Result<(), Box<dyn std::error::Error>> {
    let mut driver = Driver::new(Context::new()?)?;
    let handle = driver.handle();
    let input = SharedFd::new(io::stdin().as_fd().try_clone_to_owned()?);
    driver.block_on(async {
        let mut store = Store::open(&handle, directory).await?;
        let (mut buffer, mut rest) = (vec![0; 64 << 10], Bytes::new());
        loop {
            let done = handle.run(Op::read(&input, buffer)).await;
            let bytes = done.result? as usize;
            buffer = done.into_buffer().unwrap_or_default();
            rest.extend(&buffer[..bytes]);
            let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let commands = String::from_utf8_lossy(&rest[..whole]).into_owned();
            let answers = store.execute(&commands).await?;
            output.write_all(answers.as_bytes())?;
            output.flush()?;
            rest.drain(..whole);
            if bytes == 0 {
                return Ok(());
            }
        }
    })?
}

#[allow(dead_code)] // the test serves by itself
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args_os().nth(1).ok_or("which directory?")?;
    std::fs::create_dir_all(&directory)?;
    serve(directory.as_ref(), io::stdout())
}
