//! What the attributes of all operations say together, to be told.
//!
//! Duty: percentiles and sums of what the library's metrics have, by operation.

use aio2::metrics::{Histogram, Metrics, Operations};
use aio2::reap::{CacheBytes, Place};
use serde::Serialize;
use std::collections::BTreeMap;

/// How many operations ended where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Places {
    pub inline: u64,
    pub page_wait: u64,
    pub worker: u64,
    pub device: u64,
}

/// Figures of all operations.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub operations: Vec<OperationSummary>,
    pub places: Places,
    pub cache_hit_bytes: u64,
    pub cache_miss_bytes: u64,
}

impl Summary {
    /// That of what was measured.
    pub fn of(metrics: &Metrics) -> Self {
        let mut by_name: BTreeMap<&'static str, Operations> = BTreeMap::new();
        let mut places = Places::default();
        for (name, place, operations) in metrics.operations() {
            by_name
                .entry(name)
                .and_modify(|all| all.add(operations))
                .or_insert_with(|| operations.clone());
            match place {
                Some(Place::Inline) => places.inline += operations.count(),
                Some(Place::PageWait) => places.page_wait += operations.count(),
                Some(Place::Worker) => places.worker += operations.count(),
                Some(Place::Device) => places.device += operations.count(),
                _ => {}
            }
        }
        let CacheBytes { hit, miss } = metrics.cache();
        let operations = by_name.iter().map(|(&name, all)| OperationSummary::of(name, all));
        Summary {
            operations: operations.collect(),
            places,
            cache_hit_bytes: hit,
            cache_miss_bytes: miss,
        }
    }
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

impl Percentiles {
    fn of(latency: &Histogram<u64>) -> Self {
        Percentiles {
            p50: latency.value_at_quantile(0.5),
            p90: latency.value_at_quantile(0.9),
            p99: latency.value_at_quantile(0.99),
            p99_9: latency.value_at_quantile(0.999),
            max: latency.max(),
        }
    }
}

impl OperationSummary {
    fn of(name: &'static str, operations: &Operations) -> Self {
        let latency = operations.latency_ns();
        OperationSummary {
            name,
            count: operations.count(),
            errors: operations.errors(),
            latency_ns: (!latency.is_empty()).then(|| Percentiles::of(latency)),
            waited_ns: operations.waited().as_nanos() as u64,
            ran_ns: operations.ran().as_nanos() as u64,
        }
    }
}
