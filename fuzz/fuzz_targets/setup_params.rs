//! Fuzz target; its body is a function of the conformance crate, which a plain
//! test runs too.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| aio2_conformance::fuzz::setup_params(bytes));
