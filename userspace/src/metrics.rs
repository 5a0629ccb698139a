//! Figures of many operations (feature `metrics`): how long they took, by what they were
//! and where they ran, and what they found in the page cache.
//!
//! [`Metrics`] is given completions by whoever takes them, and keeps no lock and no
//! thread: each thread has its own, and [`Metrics::add`] puts them together. What a
//! completion is to tell has to be asked for: [`Op::timing`](crate::Op::timing) for the
//! latencies, [`Op::execution_path`](crate::Op::execution_path) for the place,
//! [`Op::cache`](crate::Op::cache) for the bytes.
//!
//! ```
//! use aio2::metrics::Metrics;
//! use aio2::{CacheHint, Context, Op, Queue, Timeout};
//! use std::fs::File;
//!
//! let mut queue = Queue::new(Context::new()?);
//! let mut metrics = Metrics::default();
//! let file = aio2::SharedFd::new(File::open("/etc/passwd")?);
//! for n in 0..100 {
//!     let read = Op::read_at(&file, vec![0; 16], n);
//!     queue.push(read.timing().execution_path().cache(CacheHint::Normal), ());
//! }
//! while !queue.is_empty() {
//!     for done in queue.wait(1, Timeout::Forever)? {
//!         metrics.take(&done);
//!     }
//! }
//! for (name, place, operations) in metrics.operations() {
//!     let ns = operations.latency_ns().value_at_quantile(0.99);
//!     let place = place.map_or("an unknown place".to_owned(), |place| place.to_string());
//!     println!("{name} ({place}): {}, 99 % within {ns} ns", operations.count());
//! }
//! # assert_eq!(metrics.operations().map(|(_, _, all)| all.count()).sum::<u64>(), 100);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::Completion;
use crate::reap::{CacheBytes, Place, Timing};
pub use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// Significant decimal digits of a latency.
const DIGITS: u8 = 2;
/// Latencies above are counted as this much, in nanoseconds: about 18 minutes.
const LONGEST_NS: u64 = 1 << 40;

/// What completions have said.
///
/// It takes some 30 KB for each operation and place that was seen, and no more however
/// many completions there are.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    operations: BTreeMap<(&'static str, Option<Place>), Operations>,
    hit: u64,
    miss: u64,
}

/// All operations of one syscall that ran at one place.
#[derive(Clone, Debug)]
pub struct Operations {
    count: u64,
    errors: u64,
    latency_ns: Histogram<u64>,
    waited: Duration,
    ran: Duration,
}

impl Operations {
    fn new() -> Option<Self> {
        // Refused only if the bounds above contradict each other.
        let latency_ns = Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).ok()?;
        let zero = Duration::ZERO;
        Some(Operations { count: 0, errors: 0, latency_ns, waited: zero, ran: zero })
    }

    fn time(&mut self, timing: Timing) {
        self.latency_ns.saturating_record(timing.total().as_nanos() as u64);
        self.waited += timing.waited();
        self.ran += timing.ran();
    }

    /// Takes in what others have seen of the same.
    pub fn add(&mut self, other: &Operations) {
        self.count += other.count;
        self.errors += other.errors;
        self.waited += other.waited;
        self.ran += other.ran;
        // Both have the same bounds.
        let _added = self.latency_ns.add(&other.latency_ns);
    }

    /// How many have ended.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many of them have failed.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// Latencies from submission to completion in nanoseconds, to two digits; 18 minutes
    /// at most. Empty if TIMING was not asked for.
    #[must_use]
    pub fn latency_ns(&self) -> &Histogram<u64> {
        &self.latency_ns
    }

    /// How long they waited before they were begun, all together.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// How long they ran, all together.
    #[must_use]
    pub fn ran(&self) -> Duration {
        self.ran
    }
}

impl Metrics {
    /// Takes in what a completion says.
    pub fn take<B, T, K>(&mut self, done: &Completion<B, T, K>) {
        let place = done.execution_path().handled().map(|path| path.place);
        let Some(operations) = self.entry(done.op.name(), place) else { return };
        operations.count += 1;
        operations.errors += u64::from(done.result.is_err());
        if let Some(timing) = done.timing().handled() {
            operations.time(timing);
        }
        if let Some(CacheBytes { hit, miss }) = done.cache().handled() {
            self.hit += hit;
            self.miss += miss;
        }
    }

    fn entry(&mut self, name: &'static str, place: Option<Place>) -> Option<&mut Operations> {
        use std::collections::btree_map::Entry;
        match self.operations.entry((name, place)) {
            Entry::Occupied(entry) => Some(entry.into_mut()),
            Entry::Vacant(entry) => Some(entry.insert(Operations::new()?)),
        }
    }

    /// Takes in what another has seen.
    pub fn add(&mut self, other: &Metrics) {
        for (&(name, place), theirs) in &other.operations {
            if let Some(ours) = self.entry(name, place) {
                ours.add(theirs);
            }
        }
        self.hit += other.hit;
        self.miss += other.miss;
    }

    /// Whether no completion was taken in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// By the syscall's name and where they ran, in that order; no place if PATH was not
    /// asked for, or they never ran.
    pub fn operations(&self) -> impl Iterator<Item = (&'static str, Option<Place>, &Operations)> {
        self.operations.iter().map(|(&(name, place), operations)| (name, place, operations))
    }

    /// What reads with CACHE have found in the page cache.
    #[must_use]
    pub fn cache(&self) -> CacheBytes {
        CacheBytes { hit: self.hit, miss: self.miss }
    }
}
