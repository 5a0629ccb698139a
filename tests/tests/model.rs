//! Random sequences of calls on the engine and on the sequential model.
//!
//! `AIO2_SEED` repeats what failed; `AIO2_CASES` tries more or fewer.

use aio2_conformance::backends::InProcess;
use aio2_conformance::model;
use aio2_conformance::random::{Random, cases, seed};

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
        let bytes = Random::new(seed).bytes(300);
        let (max_requests, ops) = model::decode(&bytes);
        calls += ops.len();
        let result = std::panic::catch_unwind(|| model::run(&InProcess, &file, max_requests, &ops));
        assert!(result.is_ok(), "AIO2_SEED={seed} AIO2_CASES=1, limit {max_requests}: {ops:#?}");
    }
    println!("{count} sequences from AIO2_SEED={first}, {calls} calls");
    assert!(calls > 20 * count as usize, "the sequences are too short to show anything");
}
