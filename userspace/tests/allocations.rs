//! In the steady state nothing is allocated for a request, or for a poll.
//!
//! Without the harness, whose own thread allocates at times of its own.

use aio2::{CacheHint, Context, Driver, Op, Queue, SharedFd, Timeout};
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: it hands on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations per round after the first ten.
fn allocations(mut round: impl FnMut()) -> u64 {
    (0..10).for_each(|_| round());
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (0..1000).for_each(|_| round());
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

// One test, since the count is of the whole process.
fn main() {
    the_steady_state_allocates_nothing();
    println!("test the_steady_state_allocates_nothing ... ok");
}

fn the_steady_state_allocates_nothing() {
    const BATCH: u64 = 32;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[1; 4096]).unwrap();
    let file = SharedFd::new(file);
    let read = |buffer| {
        let op = Op::read_at(&file, buffer, 0);
        op.timing().cache(CacheHint::Normal).execution_path().checksum()
    };

    let mut queue = Queue::new(Context::new().unwrap());
    let mut buffers: Vec<_> = (0..BATCH).map(|_| vec![0; 512]).collect();
    let by_queue = allocations(|| {
        while let Some(buffer) = buffers.pop() {
            queue.push(read(buffer), ());
        }
        while !queue.is_empty() {
            let done = queue.wait(1, Timeout::Forever).unwrap();
            buffers.extend(done.filter_map(|done| done.into_buffer()));
        }
    });
    assert_eq!((by_queue, buffers.len() as u64), (0, BATCH), "by a queue");

    let mut driver = Driver::new(Context::new().unwrap()).unwrap();
    let handle = driver.handle();
    let mut buffer = vec![0; 512];
    let by_driver = allocations(|| {
        let done = driver.block_on(handle.run(read(std::mem::take(&mut buffer)))).unwrap();
        buffer = done.into_buffer().unwrap();
    });
    assert_eq!(by_driver, 0, "by a driver");
}
