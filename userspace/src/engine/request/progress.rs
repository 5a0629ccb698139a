//! How far a request has come, which goes with it from where it is tried to where
//! it is run to its end.
//!
//! SPEC: section 8 (TIMING, PATH, CACHE).

use super::Request;
use crate::engine::host::identity::Identity;
use crate::engine::state::slots::Lane;
use crate::os::clock;
use crate::syscall::Class;
use aio2_abi::attr;

/// How far a request has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Whom it is to wait for if it has to be run.
    pub(crate) lane: Lane,
    /// Bytes moved.
    pub(crate) done: u64,
    /// Bytes of them that were moved without waiting.
    pub(crate) hit: u64,
    /// A try without blocking was made.
    pub(crate) tried: bool,
    /// That try, or a later one, found a file that is not ready.
    pub(crate) stuck: bool,
    /// The last try was refused since the file has none of its kind.
    pub(crate) refused: bool,
    /// How often its file was said to be ready, and was not.
    pub(crate) in_vain: u8,
    /// It has waited for its file, and so has begun.
    pub(crate) begun: bool,
    /// Its file was waited for, or need not be.
    pub(crate) waited: bool,
    /// That try tells which bytes were in the page cache.
    pub(crate) tells_hits: bool,
    /// It was to stop before its operation began.
    pub(crate) withheld: bool,
    /// As whom a worker is to run it; none if that makes no difference.
    pub(crate) identity: Option<Identity>,
    /// Times in ns, 0 where nobody asks.
    pub(crate) submitted: u64,
    pub(crate) started: u64,
    pub(crate) blocked: u64,
}

impl Progress {
    /// The progress of a request that is being accepted now, as far as is known
    /// since the clock was read at `just_now`.
    #[inline]
    pub(crate) fn new(request: &Request, just_now: Option<u64>) -> Self {
        let timed = request.measures(attr::TIMING) || request.measures(attr::PATH);
        let submitted = if timed { just_now.unwrap_or_else(clock::now) } else { 0 };
        Progress { submitted, ..Progress::default() }
    }

    /// Notes that the request ends with `errno` (positive) instead of beginning, if
    /// it has not begun; its result.
    pub(crate) fn withhold(&mut self, errno: i32) -> i64 {
        self.withheld = !self.begun;
        -i64::from(errno)
    }

    /// Notes that the request begins with a wait, if that was not noted.
    pub(crate) fn begin(&mut self, request: &Request) {
        self.begun = true;
        if self.started == 0 && request.measures(attr::TIMING) {
            self.started = clock::now();
        }
    }

    /// Whether a try of a read at an offset found that it is not in the page cache.
    pub(crate) fn misses_page(&self) -> bool {
        self.tried && self.stuck
    }

    /// Notes that the submission gives the request to whom it finds in `lane`.
    pub(crate) fn leave_submission(&mut self, request: &Request, lane: Lane) {
        // What is done with a file that is open was allowed when it was opened.
        if request.operation.class() == Some(Class::Worker) {
            self.identity = Some(Identity::of_this_thread());
        }
        self.lane = lane;
        if request.measures(attr::PATH) {
            self.blocked = clock::now() - self.submitted;
        }
    }
}
