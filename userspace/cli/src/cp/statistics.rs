//! What the attributes of all operations say together.
//!
//! Duty: take in completions, and give percentiles and sums. Memory depends on
//! the number of different syscalls only.

use aio2::Completion;
use aio2::reap::{CacheBytes, Place, Timing};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Significant decimal digits of a latency.
const DIGITS: u8 = 2;
/// Latencies above are counted as this much, in nanoseconds: about 17 minutes.
const LONGEST_NS: u64 = 1 << 40;

/// All operations of one syscall.
#[derive(Debug)]
struct Operations {
    count: u64,
    errors: u64,
    latency_ns: Option<Histogram<u64>>,
    waited: Duration,
    ran: Duration,
}

impl Default for Operations {
    fn default() -> Self {
        // Refused only if the bounds above contradict each other.
        let latency_ns = Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).ok();
        let zero = Duration::ZERO;
        Operations { count: 0, errors: 0, latency_ns, waited: zero, ran: zero }
    }
}

impl Operations {
    fn time(&mut self, timing: Timing) {
        if let Some(latency) = &mut self.latency_ns {
            latency.saturating_record(timing.total().as_nanos() as u64);
        }
        self.waited += timing.waited();
        self.ran += timing.ran();
    }
}

/// How many operations ended where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Places {
    pub inline: u64,
    pub page_wait: u64,
    pub worker: u64,
    pub device: u64,
}

/// What completions have said.
#[derive(Debug, Default)]
pub struct Statistics {
    operations: BTreeMap<&'static str, Operations>,
    places: Places,
    hit_bytes: u64,
    miss_bytes: u64,
}

impl Statistics {
    /// Takes in what a completion says.
    pub fn take<T, K>(&mut self, done: &Completion<Vec<u8>, T, K>) {
        let name = done.op.name();
        let operations = self.operations.entry(name).or_default();
        operations.count += 1;
        operations.errors += u64::from(done.result.is_err());
        if let Some(timing) = done.timing().handled() {
            operations.time(timing);
        }
        match done.execution_path().handled().map(|path| path.place) {
            Some(Place::Inline) => self.places.inline += 1,
            Some(Place::PageWait) => self.places.page_wait += 1,
            Some(Place::Worker) => self.places.worker += 1,
            Some(Place::Device) => self.places.device += 1,
            _ => {}
        }
        if let Some(CacheBytes { hit, miss }) = done.cache().handled() {
            self.hit_bytes += hit;
            self.miss_bytes += miss;
        }
    }

    /// Takes in what another thread has seen.
    pub fn add(&mut self, other: Statistics) {
        for (name, theirs) in other.operations {
            let ours = self.operations.entry(name).or_default();
            ours.count += theirs.count;
            ours.errors += theirs.errors;
            ours.waited += theirs.waited;
            ours.ran += theirs.ran;
            if let (Some(ours), Some(theirs)) = (&mut ours.latency_ns, &theirs.latency_ns) {
                // Both have the same bounds.
                let _added = ours.add(theirs);
            }
        }
        self.places.inline += other.places.inline;
        self.places.page_wait += other.places.page_wait;
        self.places.worker += other.places.worker;
        self.places.device += other.places.device;
        self.hit_bytes += other.hit_bytes;
        self.miss_bytes += other.miss_bytes;
    }

    /// Whether nothing was done.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// The figures, to be told.
    pub fn summary(&self) -> Summary {
        let operations = self.operations.iter().map(|(&name, o)| OperationSummary::of(name, o));
        Summary {
            operations: operations.collect(),
            places: self.places,
            cache_hit_bytes: self.hit_bytes,
            cache_miss_bytes: self.miss_bytes,
        }
    }
}

/// Figures of all operations.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub operations: Vec<OperationSummary>,
    pub places: Places,
    pub cache_hit_bytes: u64,
    pub cache_miss_bytes: u64,
}

/// Figures of the operations of one syscall.
#[derive(Debug, Serialize)]
pub struct OperationSummary {
    pub name: &'static str,
    pub count: u64,
    pub errors: u64,
    /// `None` if TIMING was not asked for.
    pub latency_ns: Option<Percentiles>,
    pub waited_ns: u64,
    pub ran_ns: u64,
}

/// Percentiles of latencies.
#[derive(Debug, Serialize)]
pub struct Percentiles {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
    pub max: u64,
}

impl OperationSummary {
    fn of(name: &'static str, operations: &Operations) -> Self {
        let latency = operations.latency_ns.as_ref().filter(|l| !l.is_empty());
        let latency_ns = latency.map(|l| Percentiles {
            p50: l.value_at_quantile(0.5),
            p90: l.value_at_quantile(0.9),
            p99: l.value_at_quantile(0.99),
            p99_9: l.value_at_quantile(0.999),
            max: l.max(),
        });
        OperationSummary {
            name,
            count: operations.count,
            errors: operations.errors,
            latency_ns,
            waited_ns: operations.waited.as_nanos() as u64,
            ran_ns: operations.ran.as_nanos() as u64,
        }
    }
}
