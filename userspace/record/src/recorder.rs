//! Recording: a bounded queue, and the thread that writes it.

use crate::format::{BlockHeader, MAGIC, NAMES, REQUESTS, Request, VERSION};
use std::collections::HashMap;
use std::fs::{File, OpenOptions, read_link};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use zerocopy::IntoBytes;

/// Requests in memory at most.
const ROOM: usize = 1 << 16;
/// As many as are worth a block at once; fewer are written after a while.
const BLOCK: usize = 2048;
const WHILE: Duration = Duration::from_millis(50);

/// Takes requests, and has them written by a thread of its own.
#[derive(Debug)]
pub struct Recorder {
    queue: Mutex<Queue>,
    /// The writer has something to do.
    filled: Condvar,
    /// The writer has written what there was.
    written: Condvar,
    pid: u32,
}

#[derive(Debug, Default)]
struct Queue {
    requests: Vec<Request>,
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
    /// stderr if that cannot be.
    #[must_use]
    pub fn from_environment() -> Option<Arc<Self>> {
        let path = std::env::var_os(crate::RECORD).filter(|path| !path.is_empty())?;
        match Recorder::create(Path::new(&path)) {
            Ok(recorder) => Some(recorder),
            Err(error) => {
                eprintln!("aio2: nothing is recorded to {}: {error}", Path::new(&path).display());
                None
            }
        }
    }

    /// Records to the end of the file at `path`.
    ///
    /// # Errors
    /// Those of open(2) and of making a thread.
    pub fn create(path: &Path) -> io::Result<Arc<Self>> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let queue = Queue { runs: true, ..Queue::default() };
        let recorder = Arc::new(Recorder {
            queue: Mutex::new(queue),
            filled: Condvar::new(),
            written: Condvar::new(),
            pid: std::process::id(),
        });
        let its = recorder.clone();
        aio2_thread::spawn(c"aio2-record", move || its.write(Writer::new(file)))?;
        flush_at_exit(&recorder);
        Ok(recorder)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request that has ended. Never waits for a file.
    pub fn take(&self, request: Request) {
        self.take_all(&mut vec![request]);
    }

    /// Takes requests that have ended, out of `requests`. Never waits for a file.
    pub fn take_all(&self, requests: &mut Vec<Request>) {
        let mut queue = self.lock();
        let before = queue.requests.len();
        let fit = requests.len().min(ROOM.saturating_sub(before));
        queue.lost += (requests.len() - fit) as u64;
        let pid = self.pid;
        queue.requests.extend(requests.drain(..).take(fit).map(|r| Request { pid, ..r }));
        queue.taken += fit as u64;
        if before < BLOCK && before + fit >= BLOCK {
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
        let mut requests = Vec::new();
        loop {
            let lost;
            {
                let queue = self.lock();
                let idle = |queue: &mut Queue| queue.requests.len() < BLOCK && !queue.flush;
                let waited = self.filled.wait_timeout_while(queue, WHILE, idle);
                let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
                std::mem::swap(&mut requests, &mut queue.requests);
                lost = std::mem::take(&mut queue.lost);
                queue.flush = false;
            }
            let failed = writer.blocks(self.pid, &mut requests, lost);
            let mut queue = self.lock();
            queue.written += requests.len() as u64;
            requests.clear();
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

/// The file, and the names that stand in it.
struct Writer {
    file: File,
    block: Vec<u8>,
    /// Number and name of the file behind each descriptor, as last seen.
    names: HashMap<i32, u32>,
    numbers: HashMap<Vec<u8>, u32>,
}

impl Writer {
    fn new(file: File) -> Self {
        Writer { file, block: Vec::new(), names: HashMap::new(), numbers: HashMap::new() }
    }

    fn blocks(&mut self, pid: u32, requests: &mut [Request], lost: u64) -> io::Result<()> {
        if requests.is_empty() && lost == 0 {
            return Ok(());
        }
        let mut names = Vec::new();
        let mut looked = HashMap::new();
        for request in &mut *requests {
            let fd = request.fd;
            request.name = *looked.entry(fd).or_insert_with(|| self.name(fd, &mut names));
        }
        if !names.is_empty() {
            self.block(NAMES, pid, &names, 0)?;
        }
        self.block(REQUESTS, pid, requests.as_bytes(), lost)
    }

    /// The number of the name of what `fd` is now, or, if it is closed, was.
    fn name(&mut self, fd: i32, new: &mut Vec<u8>) -> u32 {
        let Ok(name) = read_link(format!("/proc/self/fd/{fd}")) else {
            return self.names.get(&fd).copied().unwrap_or(0);
        };
        let name = name.as_os_str().as_bytes().to_vec();
        let next = self.numbers.len() as u32 + 1;
        let number = *self.numbers.entry(name.clone()).or_insert(next);
        if number == next {
            new.extend_from_slice([number, name.len() as u32].as_bytes());
            new.extend_from_slice(&name);
            new.resize(new.len().next_multiple_of(8), 0);
        }
        self.names.insert(fd, number);
        number
    }

    /// Writes a block at once, so that others who append to the file cannot come
    /// between.
    fn block(&mut self, kind: u32, pid: u32, payload: &[u8], lost: u64) -> io::Result<()> {
        let header = BlockHeader {
            magic: MAGIC,
            version: VERSION,
            kind,
            bytes: payload.len() as u32,
            pid,
            checksum: crc32c::crc32c(payload),
            lost,
        };
        self.block.clear();
        self.block.extend_from_slice(header.as_bytes());
        self.block.extend_from_slice(payload);
        self.file.write_all(&self.block)
    }
}

/// The recorders of this process that are flushed when it exits.
static AT_EXIT: OnceLock<Mutex<Vec<Arc<Recorder>>>> = OnceLock::new();

fn flush_at_exit(recorder: &Arc<Recorder>) {
    let all = AT_EXIT.get_or_init(|| {
        // SAFETY: the handler locks, and waits for a second at most.
        unsafe { libc::atexit(flush_all) };
        Mutex::default()
    });
    all.lock().unwrap_or_else(PoisonError::into_inner).push(recorder.clone());
}

extern "C" fn flush_all() {
    let Some(all) = AT_EXIT.get() else { return };
    // A child of a process that was in the midst of this has none of its own.
    let Ok(all) = all.try_lock() else { return };
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
