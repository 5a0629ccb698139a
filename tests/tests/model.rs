//! Random sequences of calls on the engine and on the sequential model.
//!
//! `AIO2_SEED` repeats what failed; `AIO2_CASES` tries more or fewer. What
//! fails is written down as a trace, for `cargo xtask fuzz --minimize`.

use aio2_conformance::backends::InProcess;
use aio2_conformance::model;
use aio2_conformance::random::{Random, cases, seed};
use aio2_conformance::trace::{Trace, smaller::smaller};
use std::panic::catch_unwind;
use std::path::Path;

/// SPEC: R-OVF-1, R-OVF-2, R-OVF-3, R-OVF-6, R-OVF-7, R-LIMIT-1, R-LIMIT-2,
/// R-EVENT-1, R-GET-3, R-GET-5, R-GET-6, R-GET-7, R-GET-8, R-CANCEL-2
#[test]
fn engine_and_model_agree_on_random_sequences() {
    let first = seed();
    let file = model::file();
    let count = cases(400);
    let mut calls = 0;
    for n in 0..count {
        let seed = first.wrapping_add(n);
        let trace = Trace::decode(&Random::new(seed).bytes(300), 80);
        calls += trace.ops.len();
        let result = catch_unwind(|| trace.replay(&InProcess, &file, &mut |_| {}));
        if result.is_err() {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{seed}.trace"));
            std::fs::write(&path, trace.to_string()).expect("the trace can be written");
            panic!("AIO2_SEED={seed} AIO2_CASES=1: cargo xtask fuzz --minimize {}", path.display());
        }
    }
    println!("{count} sequences from AIO2_SEED={first}, {calls} calls");
    assert!(calls > 20 * count as usize, "the sequences are too short to show anything");
}

/// A trace that differs is made small: here one on an engine of which the
/// witness claims that it never had two events at once.
#[test]
fn trace_that_fails_on_the_engine_is_made_small() {
    let file = model::file();
    let trace = Trace::decode(&Random::new(11).bytes(2000), 300);
    let fails = |trace: &Trace| {
        let mut most = 0;
        trace.replay(&InProcess, &file, &mut |change| {
            if let model::Change::Now { ring, .. } = change {
                most = most.max(*ring);
            }
        });
        most > 1
    };
    assert!(fails(&trace));
    let small = smaller(&trace, fails);
    assert!(fails(&small));
    assert_eq!((small.limit, small.ops.len()), (0, 1), "{small}");
}
