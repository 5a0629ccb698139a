//! Copies a file with callbacks: each block that was read is written, and each
//! that was written makes room for the next read.
//!
//!     cargo run --example callbacks -- FROM TO

use aio2::{Context, Dispatcher, Errno, Op, SharedFd};
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::process::ExitCode;

const BLOCK: u64 = 64 << 10;
const AT_ONCE: u64 = 8;

/// A copy that is under way.
struct Copy {
    from: SharedFd,
    to: SharedFd,
    bytes: u64,
    /// Where the next read begins.
    next: Cell<u64>,
    failed: RefCell<Option<Errno>>,
}

impl Copy {
    /// Reads the next block, if there is one.
    fn read<'c>(&'c self, work: &mut Dispatcher<'c, Vec<u8>>, mut buffer: Vec<u8>) {
        let offset = self.next.get();
        if offset >= self.bytes || self.failed.borrow().is_some() {
            return;
        }
        buffer.resize(BLOCK.min(self.bytes - offset) as usize, 0);
        self.next.set(offset + BLOCK);
        work.push(Op::read_at(&self.from, buffer, offset).full(), move |work, done| {
            if let (Some(_), Some(buffer)) = (self.check(done.result), done.into_buffer()) {
                self.write(work, buffer, offset);
            }
        });
    }

    fn write<'c>(&'c self, work: &mut Dispatcher<'c, Vec<u8>>, buffer: Vec<u8>, offset: u64) {
        work.push(Op::write_at(&self.to, buffer, offset).full(), move |work, done| {
            if let (Some(_), Some(buffer)) = (self.check(done.result), done.into_buffer()) {
                self.read(work, buffer);
            }
        });
    }

    /// Keeps the error, if it is one.
    fn check(&self, result: Result<u64, Errno>) -> Option<u64> {
        result.map_err(|errno| self.failed.borrow_mut().get_or_insert(errno).0).ok()
    }
}

fn run(from: &str, to: &str) -> Result<u64, Box<dyn std::error::Error>> {
    let (from, to) = (File::open(from)?, File::create(to)?);
    let copy = Copy {
        bytes: from.metadata()?.len(),
        from: from.into(),
        to: to.into(),
        next: Cell::new(0),
        failed: RefCell::new(None),
    };
    let mut work = Dispatcher::new(Context::new()?);
    (0..AT_ONCE).for_each(|_| copy.read(&mut work, Vec::new()));
    work.run_to_end()?;
    drop(work);
    match copy.failed.into_inner() {
        Some(errno) => Err(errno.into()),
        None => Ok(copy.bytes),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = arguments.as_slice() else {
        eprintln!("usage: callbacks FROM TO");
        return ExitCode::from(2);
    };
    match run(from, to) {
        Ok(bytes) => {
            println!("{bytes} bytes");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("{from} to {to}: {e}");
            ExitCode::FAILURE
        }
    }
}
