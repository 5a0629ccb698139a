//! Whose memory is when. SPEC: section 6.8.

use crate::env::{Env, Outcome, setup};
use crate::file::Pipe;
use crate::request::Request;
use aio2_abi::attr;
use aio2_abi::setup::{Features, Setup};
use aio2_abi::wait::{Cancel, CancelFlags};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU8, Ordering};

/// Rounds, each of which stops reads at another moment.
const ROUNDS: u64 = 300;
const READS: usize = 4;

/// Pipes, and a byte of memory for a read from each.
struct Reads([(Pipe, AtomicU8); READS]);

impl Reads {
    fn new() -> Self {
        Reads(std::array::from_fn(|_| (Pipe::new(), AtomicU8::new(0))))
    }

    fn requests(&self) -> impl Iterator<Item = Request> {
        self.0.iter().map(|(pipe, byte)| {
            let args = [pipe.read_fd() as u64, byte.as_ptr().addr() as u64, 1];
            Request::call(libc::SYS_read, &args)
        })
    }

    /// The reads have ended with an error: what comes now is not theirs.
    fn assert_over(&self) {
        for (pipe, byte) in &self.0 {
            (&pipe.writer).write_all(b"x").expect("there is room");
            std::thread::yield_now();
            let mut left = [0];
            assert_eq!(pipe.readable_bytes(), 1, "nobody reads any more");
            (&pipe.reader).read_exact(&mut left).expect("it is there");
            assert_eq!(byte.load(Ordering::SeqCst), 0, "and nobody writes");
        }
    }
}

pub(crate) fn memory_is_not_used_once_the_event_is_available(env: &Env<'_>) -> Outcome {
    env.needs(Features::INTERRUPT)?;
    env.needs_attr(attr::DEADLINE)?;
    let context = env.context_with(Setup { concurrency: READS as u32, ..setup() });
    let reads = Reads::new();
    for round in 0..ROUNDS {
        context.submit_these(reads.requests().map(|read| read.deadline(1 + round * 1000)));
        let ends = context.ends(READS);
        assert!(ends.iter().all(|end| end.1 == -i64::from(libc::ETIMEDOUT)), "{ends:?}");
        reads.assert_over();
    }
    Ok(())
}

pub(crate) fn memory_is_not_used_once_a_cancel_has_waited(env: &Env<'_>) -> Outcome {
    env.needs(Features::INTERRUPT)?;
    let context = env.context_with(Setup { concurrency: 2, ..setup() });
    let reads = Reads::new();
    for round in 0..ROUNDS {
        context.submit_these(reads.requests());
        (0..round * 8).for_each(|_| std::hint::spin_loop());
        let flags = CancelFlags::ALL | CancelFlags::WAIT;
        context.cancel(flags, Cancel::default()).expect("they are in flight");
        reads.assert_over();
        assert_eq!(context.reap_ring(READS).len(), READS);
    }
    Ok(())
}
