//! Reads the start of a file, and asks how that went.
//!
//!     cargo run --example first -- FILE

use aio2::{CacheHint, Context, Op, Queue, Timeout};
use std::fs::File;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "/proc/self/exe".into());
    let context = Context::new()?;
    println!("implementation: {}", context.implementation());

    let mut queue = Queue::new(context);
    let read = Op::read_at(File::open(&path)?, vec![0; 4096], 0);
    queue.push(read.timing().cache(CacheHint::Normal).execution_path(), path);

    for done in queue.wait(1, Timeout::Forever)? {
        println!("{}: {} bytes", done.token, done.result?);
        println!("  timing: {}", done.timing());
        println!("  cache: {}", done.cache());
        println!("  path: {}", done.execution_path());
    }
    Ok(())
}
