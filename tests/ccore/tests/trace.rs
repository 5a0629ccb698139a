//! Traces on the kernel's ring and parser beside the engine: the committed
//! ones, and some random ones (`AIO2_SEED`, `AIO2_CASES`).

use aio2_ccore::trace::replay;
use aio2_conformance::backends::InProcess;
use aio2_conformance::random::{Random, cases, seed};
use aio2_conformance::trace::{Trace, committed};

/// SPEC: R-OVF-2, R-OVF-3, R-OVF-6, R-OVF-7, R-RING-15, R-RING-16, R-GET-3, R-GET-6
#[test]
fn committed_traces_go_as_the_model_says() {
    for (name, trace) in committed() {
        println!("trace {name}");
        replay(&trace, &InProcess);
    }
}

/// SPEC: R-OVF-2, R-OVF-3, R-OVF-6, R-OVF-7, R-RING-15, R-RING-16, R-GET-3, R-GET-6
#[test]
fn random_traces_go_as_the_model_says() {
    let (first, count) = (seed(), cases(100));
    for n in 0..count {
        let seed = first.wrapping_add(n);
        let trace = Trace::decode(&Random::new(seed).bytes(900), 200);
        let result = std::panic::catch_unwind(|| replay(&trace, &InProcess));
        assert!(result.is_ok(), "aio2-trace random 200 of AIO2_SEED={seed} AIO2_CASES=1");
    }
    println!("{count} random traces from AIO2_SEED={first}");
}
