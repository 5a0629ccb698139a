//! Sums up the bytes of files, with several reads of each under way, as futures
//! without any runtime.
//!
//!     cargo run --example async_read -- FILE…

use aio2::{Context, Driver, Handle, Op, SharedFd};
use std::error::Error;
use std::fs::File;
use std::future::Future;
use std::pin::pin;
use std::task::Poll;

const BLOCK: usize = 64 << 10;

/// Reads every other block, beginning with `first`, until the file ends.
async fn sum(handle: &Handle<Vec<u8>>, file: &SharedFd, first: u64) -> Result<u64, Box<dyn Error>> {
    let mut buffer = vec![0; BLOCK];
    let mut sum = 0;
    for block in (first..).step_by(2) {
        let done = handle.run(Op::read_at(file, buffer, block * BLOCK as u64)).await;
        let bytes = done.result? as usize;
        if bytes == 0 {
            break;
        }
        buffer = done.into_buffer().ok_or("a read gives its buffer back")?;
        sum += buffer[..bytes].iter().map(|&b| u64::from(b)).sum::<u64>();
    }
    Ok(sum)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut driver = Driver::new(Context::new()?)?;
    let handle = driver.handle();
    for path in std::env::args().skip(1) {
        let file = SharedFd::from(File::open(&path)?);
        let (even, odd) = driver.block_on(both(sum(&handle, &file, 0), sum(&handle, &file, 1)))?;
        println!("{path}: {}", even? + odd?);
    }
    Ok(())
}

/// Polls two futures in turn until both are ready.
async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut of_a, mut of_b) = (None, None);
    std::future::poll_fn(|task| {
        if of_a.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(task)
        {
            of_a = Some(output);
        }
        if of_b.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(task)
        {
            of_b = Some(output);
        }
        match (of_a.take(), of_b.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (of_a, of_b) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}
