//! What a request costs on the engine, beside the interfaces that users have.
//!
//! Each round measures every contender for a moment, in turn, so that a change
//! of the machine's speed meets all of them, in processor time; a ratio is taken within a round,
//! and the median over the rounds is shown with its spread. One thread, one
//! file in the page cache, from the making of the request to the look at its
//! result.
//!
//! `cargo xtask bench engine [--json]`
#![allow(unsafe_code, missing_docs)]

use aio2::backend::Backend;
use aio2::engine::Engine;
use aio2::{Consumer, Context, Op, Prefer, Queue, SharedFd, Timeout};
use aio2_abi::setup::Setup;
use aio2_abi::{attr, event, iocb, op};
use std::io::Write as _;
use std::os::fd::AsRawFd;

const ROUNDS: usize = 301;
/// Short, so that most rounds meet no other process.
const OPS_PER_ROUND: usize = 1 << 11;
const BLOCK: usize = 4096;
const FILE_BYTES: usize = 16 << 20;
const BATCH_MAX: usize = 32;

/// Somewhere to read from, and the memory to read to.
struct Target {
    file: std::fs::File,
    buffers: Vec<u8>,
    /// Offsets in an order that no read-ahead or prefetcher guesses.
    offsets: Vec<u64>,
}

impl Target {
    fn new() -> Self {
        let mut file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch file");
        file.write_all(&vec![0x5a; FILE_BYTES]).expect("room for 16 MiB");
        let blocks = FILE_BYTES / BLOCK;
        let offsets = (0..blocks).map(|i| ((i * 1_597) % blocks * BLOCK) as u64).collect();
        Target { file, buffers: vec![0; BLOCK * BATCH_MAX], offsets }
    }

    fn fd(&self) -> i32 {
        self.file.as_raw_fd()
    }

    fn offset(&self, i: usize) -> u64 {
        self.offsets[i % self.offsets.len()]
    }

    fn buffer(&mut self, slot: usize) -> *mut u8 {
        self.buffers[slot * BLOCK..].as_mut_ptr()
    }
}

/// One way to do the work.
trait Contender {
    /// Does `batch` operations, the first of which has number `first`.
    fn run(&mut self, target: &mut Target, first: usize, batch: usize);
}

/// The plain syscalls.
struct Plain {
    flags: libc::c_int,
}

impl Contender for Plain {
    fn run(&mut self, target: &mut Target, first: usize, batch: usize) {
        for slot in 0..batch {
            let iov = libc::iovec { iov_base: target.buffer(slot).cast(), iov_len: BLOCK };
            let offset = target.offset(first + slot) as i64;
            // SAFETY: `iov` names a block of `target.buffers`.
            let n = unsafe { libc::preadv2(target.fd(), &raw const iov, 1, offset, self.flags) };
            assert_eq!(n, BLOCK as isize, "preadv2: {}", std::io::Error::last_os_error());
        }
    }
}

/// The engine: an iocb stream in, events from the ring out.
struct Aio2 {
    engine: Engine,
    consumer: Consumer,
    stream: Vec<u64>,
    events: Vec<u64>,
    nop: bool,
    attributes: &'static [u16],
}

impl Aio2 {
    fn new(nop: bool, attributes: &'static [u16]) -> Self {
        let engine =
            Engine::new(&Setup { version: 1, ..Setup::default() }, None).expect("an engine");
        let consumer = engine.consumer();
        let stream = vec![0; BATCH_MAX * 32];
        Aio2 { engine, consumer, stream, events: vec![0; 4096], nop, attributes }
    }

    fn encode(&mut self, target: &mut Target, first: usize, batch: usize) -> usize {
        let bytes = zerocopy::IntoBytes::as_mut_bytes(self.stream.as_mut_slice());
        let mut used = 0;
        for slot in 0..batch {
            let read = [
                target.fd() as u64,
                target.buffer(slot).expose_provenance() as u64,
                BLOCK as u64,
                target.offset(first + slot),
            ];
            let (nr, args) = if self.nop {
                (op::NOP, &read[..0])
            } else {
                (libc::SYS_pread64 as u32, &read[..])
            };
            let flags = iocb::IocbFlags::empty();
            let mut e = iocb::Encoder::new(&mut bytes[used..], nr, args, flags, slot as u64)
                .expect("room for an iocb");
            for &id in self.attributes {
                e.attr(id, attr::AttrFlags::RETURN, &[]).expect("room for an attribute");
            }
            used += e.len();
        }
        used
    }
}

impl Contender for Aio2 {
    fn run(&mut self, target: &mut Target, first: usize, batch: usize) {
        let used = self.encode(target, first, batch);
        let bytes = &mut zerocopy::IntoBytes::as_mut_bytes(self.stream.as_mut_slice())[..used];
        // SAFETY: the blocks of `target.buffers` outlive this function, which
        // reaps every event.
        let taken = unsafe { self.engine.submit(bytes) }.expect("accepted");
        assert_eq!(taken, used);
        let want = if self.nop { 0 } else { BLOCK as i64 };
        let mut seen = 0;
        while seen < batch {
            for words in self.consumer.reap(&mut self.events, batch).expect("a sound ring") {
                let bytes = zerocopy::IntoBytes::as_bytes(words);
                let (event, _) = event::Event::parse(bytes).expect("an event");
                assert_eq!(event.header.res, want);
                if let Some(t) = event.payload::<attr::TimingReturn>(attr::TIMING) {
                    assert!(t.submitted <= t.completed);
                }
                seen += 1;
            }
        }
    }
}

/// The safe queue, whose buffers go round.
struct Queued {
    queue: Queue<Vec<u8>, usize>,
    file: SharedFd,
    buffers: Vec<Vec<u8>>,
    nop: bool,
}

impl Queued {
    fn new(target: &Target, nop: bool) -> Self {
        let context = Context::builder().prefer(Prefer::Engine).build().expect("an engine");
        let file = SharedFd::new(target.file.try_clone().expect("a descriptor"));
        Queued { queue: Queue::new(context), file, buffers: vec![vec![0; BLOCK]; BATCH_MAX], nop }
    }
}

impl Contender for Queued {
    fn run(&mut self, target: &mut Target, first: usize, batch: usize) {
        for slot in 0..batch {
            let op = if self.nop {
                Op::nop()
            } else {
                let buffer = self.buffers.pop().expect("as many as a batch has");
                Op::read_at(&self.file, buffer, target.offset(first + slot))
            };
            self.queue.push(op, slot);
        }
        let want = if self.nop { 0 } else { BLOCK as u64 };
        for done in self.queue.wait(batch, Timeout::Forever).expect("accepted") {
            assert_eq!(done.result, Ok(want));
            self.buffers.extend(done.into_buffer());
        }
    }
}

/// io_uring, without registered buffers or files.
struct Uring {
    ring: io_uring::IoUring,
    nop: bool,
}

impl Uring {
    fn new(nop: bool) -> std::io::Result<Self> {
        Ok(Uring { ring: io_uring::IoUring::new(64)?, nop })
    }
}

impl Contender for Uring {
    fn run(&mut self, target: &mut Target, first: usize, batch: usize) {
        use io_uring::{opcode, types};
        for slot in 0..batch {
            let entry = if self.nop {
                opcode::Nop::new().build()
            } else {
                opcode::Read::new(types::Fd(target.fd()), target.buffer(slot), BLOCK as u32)
                    .offset(target.offset(first + slot))
                    .build()
            };
            // SAFETY: as in `Aio2::run`.
            unsafe { self.ring.submission().push(&entry.user_data(slot as u64)) }.expect("room");
        }
        self.ring.submit_and_wait(batch).expect("submitted");
        let want = if self.nop { 0 } else { BLOCK as i32 };
        let mut seen = 0;
        for event in self.ring.completion() {
            assert_eq!(event.result(), want);
            seen += 1;
        }
        assert_eq!(seen, batch);
    }
}

/// Linux AIO, as libaio calls it.
struct Libaio {
    context: u64,
    iocbs: Vec<LinuxIocb>,
    events: Vec<[u64; 4]>,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct LinuxIocb {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    fd: u32,
    buf: u64,
    nbytes: u64,
    offset: u64,
    reserved: u64,
    flags: u32,
    resfd: u32,
}

impl Libaio {
    fn new() -> std::io::Result<Self> {
        let mut context = 0_u64;
        // SAFETY: `context` can be written.
        let r = unsafe { libc::syscall(libc::SYS_io_setup, 64, &raw mut context) };
        if r < 0 {
            return Err(std::io::Error::last_os_error());
        }
        let iocbs = vec![LinuxIocb::default(); BATCH_MAX];
        Ok(Libaio { context, iocbs, events: vec![[0; 4]; BATCH_MAX] })
    }
}

impl Contender for Libaio {
    fn run(&mut self, target: &mut Target, first: usize, batch: usize) {
        let mut pointers = [std::ptr::null_mut::<LinuxIocb>(); BATCH_MAX];
        for (slot, pointer) in pointers.iter_mut().enumerate().take(batch) {
            self.iocbs[slot] = LinuxIocb {
                data: slot as u64,
                fd: target.fd() as u32,
                buf: target.buffer(slot).expose_provenance() as u64,
                nbytes: BLOCK as u64,
                offset: target.offset(first + slot),
                ..LinuxIocb::default()
            };
            *pointer = &raw mut self.iocbs[slot];
        }
        // SAFETY: as in `Aio2::run`; the iocbs are read within the call.
        let n = unsafe {
            libc::syscall(libc::SYS_io_submit, self.context, batch, pointers.as_mut_ptr())
        };
        assert_eq!(n, batch as i64);
        // SAFETY: there is room for `batch` events.
        let n = unsafe {
            libc::syscall(
                libc::SYS_io_getevents,
                self.context,
                batch,
                batch,
                self.events.as_mut_ptr(),
                0,
            )
        };
        assert_eq!(n, batch as i64);
        assert!(self.events[..batch].iter().all(|e| e[2] == BLOCK as u64));
    }
}

impl Drop for Libaio {
    fn drop(&mut self) {
        // SAFETY: the context is ours and idle.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.context) };
    }
}

/// A named contender, and what it took: nanoseconds an operation, by round.
struct Entry {
    name: &'static str,
    contender: Box<dyn Contender>,
    ns: Vec<f64>,
}

/// Processor time of this thread in nanoseconds. Every contender does all its
/// work here, so that this is its cost, whoever else wants the processor.
fn thread_ns() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` can be written.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

fn median(values: &[f64]) -> f64 {
    let mut v = values.to_vec();
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}

/// Runs all contenders in turn and prints each one's ratio to the first.
fn compare(title: &str, batch: usize, json: bool, target: &mut Target, entries: &mut [Entry]) {
    for round in 0..=ROUNDS {
        for entry in entries.iter_mut() {
            let start = thread_ns();
            for first in (0..OPS_PER_ROUND).step_by(batch) {
                entry.contender.run(target, first, batch);
            }
            // The first round warms up.
            if round > 0 {
                entry.ns.push((thread_ns() - start) as f64 / OPS_PER_ROUND as f64);
            }
        }
    }
    if !json {
        println!("\n{title}, batch {batch} (median of {ROUNDS} rounds in turn)");
        println!("{:<34} {:>8} {:>8} {:>15}", "", "ns/op", "ratio", "quartiles");
    }
    let base = entries[0].ns.clone();
    for entry in entries.iter() {
        let mut ratios: Vec<f64> = entry.ns.iter().zip(&base).map(|(a, b)| a / b).collect();
        ratios.sort_by(f64::total_cmp);
        let (low, high) = (ratios[ROUNDS / 4], ratios[ROUNDS - 1 - ROUNDS / 4]);
        let (ns, ratio) = (median(&entry.ns), median(&ratios));
        if json {
            println!(
                "{{\"work\":\"{title}\",\"batch\":{batch},\"contender\":\"{}\",\"base\":\"{}\",\"ns\":{ns:.1},\"ratio\":{ratio:.3},\"low\":{low:.3},\"high\":{high:.3}}}",
                entry.name, entries[0].name
            );
        } else {
            println!("{:<34} {ns:>8.1} {ratio:>8.2} {low:>7.2} .. {high:.2}", entry.name);
        }
    }
}

fn entry(name: &'static str, contender: impl Contender + 'static) -> Entry {
    Entry { name, contender: Box::new(contender), ns: Vec::new() }
}

/// Adds a peer if this machine has it; says so if not.
fn add<C: Contender + 'static>(
    entries: &mut Vec<Entry>,
    name: &'static str,
    peer: std::io::Result<C>,
) {
    match peer {
        Ok(peer) => entries.push(entry(name, peer)),
        Err(e) => eprintln!("SKIP {name}: {e}"),
    }
}

const TIMING_CACHE: &[u16] = &[attr::TIMING, attr::CACHE];

fn main() {
    let json = std::env::args().any(|arg| arg == "--json");
    let mut target = Target::new();
    for batch in [32, 1] {
        let mut entries = vec![
            entry("preadv2(RWF_NOWAIT)", Plain { flags: libc::RWF_NOWAIT }),
            entry("AIO2 engine", Aio2::new(false, &[])),
            entry("AIO2 engine, safe queue", Queued::new(&target, false)),
        ];
        entries.push(entry("preadv2", Plain { flags: 0 }));
        add(&mut entries, "io_uring", Uring::new(false));
        add(&mut entries, "Linux AIO", Libaio::new());
        compare("4 KiB cached read", batch, json, &mut target, &mut entries);
    }
    let mut entries = vec![
        entry("AIO2 engine", Aio2::new(false, &[])),
        entry("AIO2 engine, TIMING and CACHE", Aio2::new(false, TIMING_CACHE)),
    ];
    compare("4 KiB cached read with attributes", 32, json, &mut target, &mut entries);
    for batch in [32, 1] {
        let mut entries = vec![
            entry("AIO2 engine", Aio2::new(true, &[])),
            entry("AIO2 engine, safe queue", Queued::new(&target, true)),
        ];
        add(&mut entries, "io_uring", Uring::new(true));
        compare("NOP", batch, json, &mut target, &mut entries);
    }
}
