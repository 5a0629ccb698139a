//! A timeline: trace events in JSON, as Chrome's tracing has them.
//!
//! A lane for each thread that ran requests in its own submission, and for each
//! worker, page wait or device request that ran at the same time as others.

use super::summary::{PLACES, file, operation, timed};
use aio2_record::{Record, Request, has};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Lanes of a place begin at this multiple; threads have their own numbers.
const LANES: u64 = 1 << 32;

/// # Errors
/// Those of writing.
pub fn write(record: &Record, out: &mut dyn Write) -> io::Result<()> {
    let mut requests: Vec<&Request> = timed(record).collect();
    requests.sort_by_key(|request| request.started_ns);
    let begin = requests.iter().map(|request| request.submitted_ns).min().unwrap_or(0);
    let mut lanes = Lanes::default();
    out.write_all(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n")?;
    let mut first = true;
    let mut event = |value: &Value| -> io::Result<()> {
        if !std::mem::take(&mut first) {
            out.write_all(b",\n")?;
        }
        serde_json::to_writer(&mut *out, value).map_err(io::Error::from)
    };
    for (n, request) in requests.iter().enumerate() {
        let lane = lanes.of(request);
        let at = |ns: u64| (ns - begin) as f64 / 1000.0;
        let waited = request.started_ns.saturating_sub(request.submitted_ns);
        let name = operation(request.nr);
        let (colour, cache) = cache(request);
        event(&json!({
            "name": name, "cat": cache, "ph": "X", "pid": request.pid, "tid": lane,
            "ts": at(request.started_ns),
            "dur": request.completed_ns.saturating_sub(request.started_ns) as f64 / 1000.0,
            "cname": colour,
            "args": {
                "file": file(record, request), "offset": request.offset, "length": request.length,
                "result": request.result, "cache": cache, "where": place(request),
                "waited_us": waited as f64 / 1000.0, "blocked_us": request.blocked_ns as f64 / 1000.0,
                "thread": request.tid, "cpu": request.cpu,
            },
        }))?;
        // From its acceptance to its result, beside the lanes.
        for (phase, ns) in [("b", request.submitted_ns), ("e", request.completed_ns)] {
            event(&json!({
                "name": name, "cat": "accepted", "ph": phase, "id": n, "pid": request.pid,
                "tid": request.tid, "ts": at(ns),
            }))?;
        }
    }
    for ((pid, lane), name) in &lanes.names {
        event(&json!({
            "name": "thread_name", "ph": "M", "pid": pid, "tid": lane, "args": { "name": name },
        }))?;
    }
    out.write_all(b"\n]}\n")
}

/// Which colour shows what was found in the page cache, and the word for it.
fn cache(request: &Request) -> (&'static str, &'static str) {
    match (request.has & has::CACHE != 0, request.hit, request.miss) {
        (true, 1.., 0) => ("good", "hit"),
        (true, 0, 1..) => ("terrible", "miss"),
        (true, 1.., 1..) => ("bad", "hit in part"),
        _ => ("grey", "not told"),
    }
}

fn place(request: &Request) -> &'static str {
    let known = request.has & has::PATH != 0;
    PLACES.get(request.place as usize).filter(|_| known).copied().unwrap_or("not told")
}

/// Which lanes there are, and until when each is taken.
#[derive(Default)]
struct Lanes {
    taken: BTreeMap<(u32, u32), Vec<u64>>,
    names: BTreeMap<(u32, u64), String>,
}

impl Lanes {
    fn of(&mut self, request: &Request) -> u64 {
        let inline = request.has & has::PATH == 0 || request.place == 0;
        let (lane, name) = if inline {
            (u64::from(request.tid), format!("thread {}, inline", request.tid))
        } else {
            let taken = self.taken.entry((request.pid, request.place)).or_default();
            let free = taken.iter().position(|until| *until <= request.started_ns);
            let lane = free.unwrap_or(taken.len());
            if lane == taken.len() {
                taken.push(0);
            }
            taken[lane] = request.completed_ns;
            let name = format!("{} {}", place(request), lane + 1);
            (LANES * u64::from(request.place) + lane as u64, name)
        };
        self.names.entry((request.pid, lane)).or_insert(name);
        lane
    }
}
