//! The conformance suite on the running kernel, if it has the calls.

use aio2_conformance::backends;
use aio2_conformance::suite::{TESTS, Verdict, run_all};

#[test]
fn kernel_passes_the_suite() {
    let factory = match backends::kernel() {
        Ok(factory) => factory,
        Err(skip) => {
            println!("SKIP all {} tests on the kernel: {}", TESTS.len(), skip.0);
            return;
        }
    };
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let report = run_all(&*factory, "", scratch.path(), |test, verdict| {
        if *verdict != Verdict::Ok {
            println!("{}: {verdict:?}", test.name);
        }
    });
    let (ok, failed, skipped) = report.counts();
    println!("kernel: {ok} ok, {failed} failed, {skipped} skipped");
    assert_eq!(failed, 0);
}
