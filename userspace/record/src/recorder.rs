//! Recording: a bounded queue, and the thread that writes it.

use crate::format::{BlockHeader, MAGIC, NAMES, REQUESTS, Request, VERSION};
use crate::names::{self, Names};
use crate::row::Rows;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;
use zerocopy::IntoBytes;

/// Bytes of requests in memory at most, but for one.
const ROOM: usize = 4 << 20;
/// As many as are worth a block at once; fewer are written after a while.
const BLOCK: usize = 64 << 10;
const WHILE: Duration = Duration::from_millis(50);
const HEADER: usize = size_of::<BlockHeader>();

/// Takes requests, and has them written by a thread of its own.
#[derive(Debug)]
pub struct Recorder {
    queue: Mutex<Queue>,
    /// The writer has something to do.
    filled: Condvar,
    /// The writer has written what there was.
    written: Condvar,
    pid: u32,
    path: PathBuf,
}

#[derive(Debug, Default)]
struct Queue {
    block: Block,
    rows: Rows,
    names: Names,
    lost: u64,
    /// How many were taken, and written, since the beginning.
    taken: u64,
    written: u64,
    /// Somebody waits for `written`.
    flush: bool,
    /// There is a thread that writes.
    runs: bool,
}

impl Recorder {
    /// Records to the file that the environment names, if it names one; says on
    /// stderr if that cannot be. A program that runs with more rights than its
    /// user does not listen to it, as to `LD_PRELOAD`.
    #[must_use]
    pub fn from_environment() -> Option<&'static Self> {
        let path = crate::environment(crate::RECORD)?;
        match Recorder::to(&path) {
            Ok(recorder) => Some(recorder),
            Err(error) => {
                eprintln!("aio2: nothing is recorded to {}: {error}", path.display());
                None
            }
        }
    }

    /// Records to the end of the file at `path`: for all in this process who name
    /// it the same recorder, which stays until the process ends.
    ///
    /// # Errors
    /// Those of open(2) and of making a thread.
    pub fn to(path: &Path) -> io::Result<&'static Self> {
        static AT_EXIT: Once = Once::new();
        let path = std::path::absolute(path)?;
        let pid = std::process::id();
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.iter().find(|known| known.pid == pid && known.path == path) {
            return Ok(known);
        }
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let queue = Queue { runs: true, ..Queue::default() };
        let recorder: &'static Recorder = Box::leak(Box::new(Recorder {
            queue: Mutex::new(queue),
            filled: Condvar::new(),
            written: Condvar::new(),
            pid,
            path,
        }));
        aio2_thread::spawn(c"aio2-record", move || {
            recorder.write(Writer::new(file, recorder.path.clone()))
        })?;
        all.push(recorder);
        AT_EXIT.call_once(|| {
            // SAFETY: the handler locks, and waits for a second at most.
            unsafe { libc::atexit(flush_all) };
        });
        Ok(recorder)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request that has ended. Never waits for a file.
    pub fn take(&self, request: Request) {
        self.take_all([request]);
    }

    /// Takes requests that have ended. Never waits for a file.
    pub fn take_all(&self, requests: impl IntoIterator<Item = Request>) {
        let mut queue = self.lock();
        let before = queue.block.payload();
        for request in requests {
            queue.push(request);
        }
        if before < BLOCK && queue.block.payload() >= BLOCK {
            self.filled.notify_one();
        }
    }

    /// Waits until what was taken is written; at most a second.
    pub fn flush(&self) {
        let mut queue = self.lock();
        let all = queue.taken;
        queue.flush = true;
        self.filled.notify_one();
        let unwritten = |queue: &mut Queue| queue.runs && queue.written < all;
        let _ = self.written.wait_timeout_while(queue, Duration::from_secs(1), unwritten);
    }

    fn write(&self, mut writer: Writer) {
        let (mut requests, mut names) = (Block::default(), Block::default());
        loop {
            let (lost, taken);
            {
                let queue = self.lock();
                let idle = |queue: &mut Queue| queue.block.payload() < BLOCK && !queue.flush;
                let waited = self.filled.wait_timeout_while(queue, WHILE, idle);
                let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
                std::mem::swap(&mut requests, &mut queue.block);
                queue.rows = Rows::default();
                queue.names.take_new(&mut names.bytes);
                (lost, taken) = (std::mem::take(&mut queue.lost), queue.taken);
                queue.flush = false;
            }
            let failed = writer.blocks(self.pid, &mut requests, &mut names, lost);
            requests.clear();
            names.clear();
            let mut queue = self.lock();
            queue.written = taken;
            queue.runs = failed.is_ok();
            self.written.notify_all();
            drop(queue);
            if let Err(error) = failed {
                eprintln!("aio2: the record ends here: {error}");
                return;
            }
        }
    }
}

impl Queue {
    fn push(&mut self, request: Request) {
        if self.block.payload() >= ROOM {
            self.lost += 1;
            return;
        }
        let name = self.names.of(request.fd);
        self.rows.push(&Request { name, ..request }, &mut self.block.bytes);
        self.taken += 1;
    }
}

/// A payload, with room for its header before it.
#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
}

impl Default for Block {
    fn default() -> Self {
        Block { bytes: vec![0; HEADER] }
    }
}

impl Block {
    /// Bytes of the payload.
    fn payload(&self) -> usize {
        self.bytes.len() - HEADER
    }

    fn clear(&mut self) {
        self.bytes.truncate(HEADER);
    }

    /// The whole block.
    fn seal(&mut self, kind: u32, pid: u32, lost: u64) -> &[u8] {
        let (header, payload) = self.bytes.split_at_mut(HEADER);
        let words = BlockHeader {
            magic: MAGIC,
            version: VERSION,
            kind,
            bytes: payload.len() as u32,
            pid,
            checksum: crc32c::crc32c(payload),
            lost,
        };
        header.copy_from_slice(words.as_bytes());
        &self.bytes
    }
}

/// The file.
struct Writer {
    file: Option<File>,
    /// Which file it is.
    is: Option<names::File>,
    path: PathBuf,
}

impl Writer {
    fn new(file: File, path: PathBuf) -> Self {
        let is = names::file(file.as_raw_fd());
        Writer { file: Some(file), is, path }
    }

    /// The file. A program may have closed all descriptors that it does not know,
    /// and have another file by the number: that is left alone.
    fn file(&mut self) -> io::Result<&mut File> {
        if let Some(file) = self.file.take_if(|file| names::file(file.as_raw_fd()) != self.is) {
            let _not_ours = file.into_raw_fd();
        }
        match &mut self.file {
            Some(file) => Ok(file),
            none => {
                let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
                self.is = names::file(file.as_raw_fd());
                Ok(none.insert(file))
            }
        }
    }

    /// Writes blocks, each at once, so that others who append to the file cannot come
    /// between.
    fn blocks(
        &mut self,
        pid: u32,
        requests: &mut Block,
        names: &mut Block,
        lost: u64,
    ) -> io::Result<()> {
        if requests.payload() == 0 && lost == 0 {
            return Ok(());
        }
        if names.payload() > 0 {
            self.file()?.write_all(names.seal(NAMES, pid, 0))?;
        }
        self.file()?.write_all(requests.seal(REQUESTS, pid, lost))
    }
}

/// The recorders of this process, and of those that it was forked from.
static ALL: Mutex<Vec<&'static Recorder>> = Mutex::new(Vec::new());

extern "C" fn flush_all() {
    // A child of a process that was in the midst of this has none of its own.
    let Ok(all) = ALL.try_lock() else { return };
    let pid = std::process::id();
    for recorder in all.iter().filter(|recorder| recorder.pid == pid) {
        recorder.flush();
    }
}

/// The number of the calling thread.
#[must_use]
pub fn thread_id() -> u32 {
    thread_local! {
        // SAFETY: takes nothing.
        static ID: u32 = unsafe { libc::gettid() } as u32;
    }
    ID.try_with(|id| *id).unwrap_or(0)
}
