//! Random operations on a queue against a model of it: each push ends with one
//! completion, with its token, its buffer, and a result that can be.

mod common;

use aio2::{Cancelled, Completion, Errno, Key, Op, Queue, SharedFd, Timeout};
use aio2_abi::attr;
use aio2_abi::setup::Setup;
use common::{Random, at_random, stingy};
use std::collections::HashMap;
use std::io::Write;

const FILE_BYTES: u64 = 4096;

/// What a request may end with.
#[derive(Clone, Copy)]
enum Expected {
    Nop,
    Read { offset: u64, len: usize },
    Unsupported,
    Malformed,
}

struct Request {
    key: Key,
    expected: Expected,
    cancelled: bool,
}

struct Model {
    file: SharedFd,
    requests: HashMap<u64, Request>,
    next_token: u64,
    completed: u64,
    cancelled: u64,
}

fn content(offset: u64) -> u8 {
    (offset * 31 % 251) as u8
}

impl Model {
    fn push(&mut self, queue: &mut Queue<Vec<u8>, u64>, random: &mut Random) {
        let (op, expected) = match random.below(20) {
            0..8 => (Op::nop().untyped(), Expected::Nop),
            8..17 => {
                let offset = random.below(FILE_BYTES + 100);
                let len = 1 + random.below(200) as usize;
                let op = Op::read_at(&self.file, vec![0xee; len], offset);
                (op.untyped(), Expected::Read { offset, len })
            }
            17 => {
                // SAFETY: no payload, so no address.
                let op = unsafe { Op::nop().attr_raw(50, attr::AttrFlags::REQUIRED, &[]) };
                (op.untyped(), Expected::Unsupported)
            }
            18 => {
                // SAFETY: no payload, so no address.
                let op = unsafe { Op::nop().attr_raw(0, attr::AttrFlags::empty(), &[]) };
                (op.untyped(), Expected::Malformed)
            }
            _ => (
                Op::read_at(&self.file, vec![0xee; 9], 0).not_inline().untyped(),
                Expected::Read { offset: 0, len: 9 },
            ),
        };
        let op = match random.below(4) {
            0 => op.timing().execution_path(),
            1 => op.checksum(),
            _ => op,
        };
        let token = self.next_token;
        self.next_token += 1;
        let key = queue.push(op, token);
        self.requests.insert(token, Request { key, expected, cancelled: false });
    }

    fn cancel(&mut self, queue: &mut Queue<Vec<u8>, u64>, random: &mut Random) {
        let token = self.next_token - random.below(20).min(self.next_token);
        let Some(request) = self.requests.get_mut(&token) else { return };
        match queue.cancel(request.key) {
            Ok(Cancelled::NotStarted | Cancelled::Interrupted) => request.cancelled = true,
            // Ended, and its completion not taken yet; or ending.
            Ok(Cancelled::TooLate) | Err(_) => {}
        }
    }

    fn check(&mut self, done: Completion<Vec<u8>, u64>) {
        let request = self.requests.remove(&done.token).expect("a completion that was owed");
        self.completed += 1;
        if done.result == Err(Errno(libc::ECANCELED)) {
            assert!(request.cancelled, "nobody cancelled {done:?}");
            self.cancelled += 1;
            return;
        }
        match request.expected {
            Expected::Nop => assert_eq!(done.result, Ok(0)),
            Expected::Unsupported => assert_eq!(done.result, Err(Errno(libc::EOPNOTSUPP))),
            Expected::Malformed => assert_eq!(done.result, Err(Errno(libc::EINVAL))),
            Expected::Read { offset, len } => {
                let there = FILE_BYTES.saturating_sub(offset).min(len as u64);
                assert_eq!(done.result, Ok(there));
                let buffer = done.into_buffer().expect("a read has a buffer");
                let read = (offset..offset + there).map(content);
                let beyond = std::iter::repeat_n(0xee, len - there as usize);
                assert!(buffer.into_iter().eq(read.chain(beyond)));
            }
        }
    }
}

// SPEC: R-EVENT-1, R-EVENT-4, R-OVF-7
#[test]
fn a_hundred_thousand_random_operations_agree_with_the_model() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&(0..FILE_BYTES).map(content).collect::<Vec<_>>()).unwrap();
    let setup = Setup {
        version: 1,
        ring_bytes: 4096,
        max_requests: 100,
        concurrency: 2,
        ..Setup::default()
    };
    let mut queue = Queue::new(stingy(&setup, at_random(1)));
    let mut model = Model {
        file: SharedFd::new(file),
        requests: HashMap::new(),
        next_token: 0,
        completed: 0,
        cancelled: 0,
    };
    let mut random = Random(2);
    for _ in 0..100_000 {
        match random.below(10) {
            0..5 => model.push(&mut queue, &mut random),
            5 => drop(queue.submit()),
            6 => model.cancel(&mut queue, &mut random),
            7 => {
                let min = random.below(3) as usize;
                // Refused, since nothing is in flight: as a limit that a wait
                // cannot lift.
                if let Ok(completions) = queue.wait(min, Timeout::Forever) {
                    let take = random.below(20) as usize;
                    completions.take(take).for_each(|done| model.check(done));
                }
            }
            _ => {
                if let Some(done) = queue.pop().unwrap() {
                    model.check(done);
                }
            }
        }
        assert_eq!(queue.len(), model.requests.len());
    }
    while !queue.is_empty() {
        if let Ok(completions) = queue.wait(1, Timeout::Forever) {
            completions.for_each(|done| model.check(done));
        }
    }
    assert!(model.requests.is_empty());
    assert_eq!(model.completed, model.next_token);
    println!("{} requests, {} cancelled", model.completed, model.cancelled);
}
