//! Random requests by the million, against the model.
//!
//! `AIO2_SEED` repeats the choices of a run, `AIO2_EVENTS` says how many events
//! it takes: `cargo xtask verify --events N --seed S`.

use aio2_conformance::backends::{InProcess, OnDevice};
use aio2_conformance::env::Factory;
use aio2_conformance::random::seed;
use aio2_conformance::storm::{Totals, rage};
use std::process::Command;
use std::time::{Duration, Instant};

/// How often a long run says how far it is.
const REPORT: Duration = Duration::from_secs(30);

fn events(default: u64) -> u64 {
    std::env::var("AIO2_EVENTS")
        .map_or(default, |events| events.parse().expect("AIO2_EVENTS is a number"))
}

fn storm(factory: &dyn Factory, events: u64) -> Totals {
    let seed = seed();
    println!("storm of {events} events: AIO2_SEED={seed}");
    let start = Instant::now();
    let mut said = start;
    let totals = rage(factory, seed, events, |totals| {
        if said.elapsed() > REPORT {
            said = Instant::now();
            println!("{} events after {} s", totals.events, start.elapsed().as_secs());
        }
    });
    println!("{totals:#?}\nAIO2_SEED={seed}, {:.1} s", start.elapsed().as_secs_f64());
    let seconds = start.elapsed().as_secs();
    println!("storm: {} events, {} requests, {seconds} s", totals.events, totals.requests);
    assert!(totals.events >= events);
    totals
}

/// SPEC: R-EVENT-1, R-EVENT-2, R-EVENT-4, R-OVF-7, R-CANCEL-2, R-CANCEL-3, R-CANCEL-4,
/// SPEC: R-GROUP-2, R-GROUP-3, R-GROUP-6, R-AFTER-1, R-AFTER-2, R-AFTER-3, R-AFTER-4,
/// SPEC: R-AFTER-5, R-DEADLINE-1, R-LIMIT-1, R-LIMIT-2, R-ATTR-1, R-RING-12
#[test]
fn random_requests_end_once_as_they_may_and_in_the_order_that_was_asked_for() {
    let totals = storm(&InProcess, events(150_000));
    let [cancelled, interrupted, _] = totals.cancels;
    if totals.events > 100_000 {
        let seen = [cancelled, interrupted, totals.late, totals.groups, totals.ordered];
        assert!(seen.iter().all(|n| *n > 0), "nothing was shown");
        assert!(totals.passed_on > 0 && totals.overflowed > 0 && totals.refused > 0);
    }
}

/// SPEC: R-RUN-14, R-EVENT-1, R-OVF-7, R-CANCEL-4, R-DEADLINE-1
#[test]
fn random_requests_end_once_also_where_io_uring_has_a_part_in_them() {
    storm(&OnDevice, events(150_000));
}

/// The environment chooses Linux AIO, for the process: in one of its own.
///
/// SPEC: R-RUN-14, R-RUN-15, R-EVENT-1, R-OVF-7, R-CANCEL-4, R-DEADLINE-1
#[test]
fn random_requests_end_once_also_where_linux_aio_has_a_part_in_them() {
    let mut storm = Command::new(std::env::current_exe().expect("this test"));
    let only = "random_requests_end_once_also_where_io_uring_has_a_part_in_them";
    storm.env("AIO2_EXECUTOR", "linux_aio").args(["--exact", only, "--nocapture"]);
    assert!(storm.status().expect("it starts").success());
}

#[test]
#[ignore = "takes minutes"]
fn millions_of_random_requests() {
    storm(&InProcess, events(10_000_000));
}

#[test]
#[ignore = "takes minutes"]
fn millions_of_random_requests_with_io_uring() {
    storm(&OnDevice, events(10_000_000));
}
