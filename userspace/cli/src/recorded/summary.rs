//! What the requests of a record say together, for each operation and file.

use aio2::syscall;
use aio2_abi::op;
use aio2_record::{Record, Request, has};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;

/// Significant decimal digits of a latency.
const DIGITS: u8 = 3;
/// Latencies above are counted as this much, in nanoseconds: about 17 minutes.
const LONGEST_NS: u64 = 1 << 40;
/// A submission that took longer for a request was blocked, in nanoseconds.
pub const BLOCKED_NS: u64 = 200_000;

/// Latencies, in nanoseconds.
pub type Latency = Histogram<u64>;

/// The percentiles that are told, and what they are called.
pub const PERCENTILES: [(&str, f64); 4] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// Where requests ran: 0 inline, 1 page wait, 2 worker, 3 device.
pub const PLACES: [&str; 4] = ["inline", "page wait", "worker", "device"];

/// All requests of one operation on one file.
#[derive(Debug, Serialize)]
pub struct Row {
    pub operation: String,
    pub file: String,
    pub count: u64,
    pub errors: u64,
    #[serde(serialize_with = "percentiles")]
    pub latency_ns: Latency,
    pub hit_bytes: u64,
    pub miss_bytes: u64,
    #[serde(serialize_with = "places")]
    pub places: [u64; 4],
    /// How long submissions were blocked, all and at most, in nanoseconds.
    pub blocked_ns: u64,
    pub blocked_most_ns: u64,
    /// How many submissions were blocked.
    pub blocked: u64,
    /// How long requests waited for a worker, at most, in nanoseconds.
    pub waited_most_ns: u64,
}

/// A record, summed up.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub rows: Vec<Row>,
    pub processes: usize,
    pub threads: usize,
    /// From the first submission to the last completion, in nanoseconds.
    pub span_ns: u64,
    pub lost: u64,
    pub cut_off_bytes: u64,
}

impl Summary {
    pub fn new(record: &Record) -> Self {
        let mut rows: BTreeMap<(String, String), Row> = BTreeMap::new();
        for request in &record.requests {
            let key = (operation(request.nr), file(record, request));
            rows.entry(key.clone()).or_insert_with(|| Row::new(key)).add(request);
        }
        let mut rows: Vec<Row> = rows.into_values().collect();
        // What took longest all together stands first.
        rows.sort_by_key(|row| {
            std::cmp::Reverse((row.latency_ns.mean() * row.count as f64) as u64)
        });
        let distinct = |key: fn(&Request) -> (u32, u32)| {
            record.requests.iter().map(key).collect::<std::collections::BTreeSet<_>>().len()
        };
        let first = timed(record).map(|r| r.submitted_ns).min().unwrap_or(0);
        let last = timed(record).map(|r| r.completed_ns).max().unwrap_or(0);
        Summary {
            rows,
            processes: distinct(|r| (r.pid, 0)),
            threads: distinct(|r| (r.pid, r.tid)),
            span_ns: last - first,
            lost: record.lost,
            cut_off_bytes: record.cut_off,
        }
    }
}

impl Row {
    fn new((operation, file): (String, String)) -> Self {
        let latency_ns = Latency::new_with_bounds(1, LONGEST_NS, DIGITS)
            .expect("the bounds do not contradict each other");
        Row {
            operation,
            file,
            count: 0,
            errors: 0,
            latency_ns,
            hit_bytes: 0,
            miss_bytes: 0,
            places: [0; 4],
            blocked_ns: 0,
            blocked_most_ns: 0,
            blocked: 0,
            waited_most_ns: 0,
        }
    }

    fn add(&mut self, request: &Request) {
        self.count += 1;
        self.errors += u64::from(request.result < 0);
        if request.has & has::TIMING != 0 {
            self.latency_ns.saturating_record(latency_ns(request));
        }
        if request.has & has::CACHE != 0 {
            self.hit_bytes += request.hit;
            self.miss_bytes += request.miss;
        }
        if request.has & has::PATH != 0 {
            if let Some(place) = self.places.get_mut(request.place as usize) {
                *place += 1;
            }
            self.blocked_ns += request.blocked_ns;
            self.blocked_most_ns = self.blocked_most_ns.max(request.blocked_ns);
            self.blocked += u64::from(request.blocked_ns > BLOCKED_NS);
            if request.place == 2 && request.has & has::TIMING != 0 {
                let waited = request.started_ns.saturating_sub(request.submitted_ns);
                self.waited_most_ns = self.waited_most_ns.max(waited);
            }
        }
    }

    /// A percentile of the latencies, in nanoseconds.
    pub fn percentile(&self, quantile: f64) -> u64 {
        self.latency_ns.value_at_quantile(quantile)
    }
}

/// The requests whose times are known.
pub fn timed(record: &Record) -> impl Iterator<Item = &Request> {
    record.requests.iter().filter(|request| request.has & has::TIMING != 0)
}

/// From acceptance to result, in nanoseconds.
pub fn latency_ns(request: &Request) -> u64 {
    request.completed_ns.saturating_sub(request.submitted_ns).max(1)
}

/// What an operation is called.
pub fn operation(nr: u32) -> String {
    let name = syscall::lookup(nr).map(|call| call.name).or(op::describe(nr).map(|(name, _)| name));
    name.map_or_else(|| nr.to_string(), str::to_lowercase)
}

/// What a request's file is called.
pub fn file(record: &Record, request: &Request) -> String {
    let name = record.names.get(&(request.pid, request.name));
    name.cloned().unwrap_or_else(|| format!("descriptor {}", request.fd))
}

fn percentiles<S: serde::Serializer>(latency: &Latency, to: S) -> Result<S::Ok, S::Error> {
    let told = PERCENTILES.map(|(name, quantile)| (name, latency.value_at_quantile(quantile)));
    to.collect_map(told.into_iter().chain([("max", latency.max())]))
}

fn places<S: serde::Serializer>(counts: &[u64; 4], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(PLACES.iter().zip(counts))
}
