//! The conformance suite on the running kernel, if it has the calls.

mod common;

use aio2_conformance::backends::{Running, kernel};
use aio2_conformance::child;
use aio2_conformance::suite::TESTS;

fn main() {
    child::play_role(&[&Running]);
    let trials = match kernel() {
        Ok(_) => common::trials(TESTS, &Running),
        Err(skip) => {
            println!("SKIP kernel, {} tests: {}", TESTS.len(), skip.0);
            Vec::new()
        }
    };
    libtest_mimic::run(&common::arguments(), trials).exit();
}
