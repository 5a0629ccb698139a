//! The plain calls, one after the other.

use super::{Contender, Done, call};
use crate::work::Request;

pub struct Plain {
    flags: i32,
    done: Done,
}

impl Plain {
    /// With these flags of preadv2(2).
    pub fn new(flags: i32) -> Self {
        Plain { flags, done: Done::new() }
    }
}

impl Contender for Plain {
    #[inline(always)]
    fn push(&mut self, slot: usize, request: &Request) {
        let mut result = call(request, self.flags);
        // Not in the page cache any more, if others are short of memory.
        if result == -i64::from(libc::EAGAIN) && self.flags != 0 {
            result = call(request, 0);
        }
        self.done.push((slot, result));
    }

    fn turn(&mut self, done: &mut Done) {
        done.append(&mut self.done);
    }
}
