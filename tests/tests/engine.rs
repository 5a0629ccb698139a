//! The conformance suite on the in-process engine.

mod common;

use aio2_conformance::backends::InProcess;
use aio2_conformance::child;
use aio2_conformance::suite::TESTS;

fn main() {
    child::play_role(&[&InProcess]);
    let trials = common::trials(TESTS, &InProcess);
    libtest_mimic::run(&common::arguments(), trials).exit();
}
