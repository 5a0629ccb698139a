//! Fuzz target; its body is a function of the crate that has the kernel's ring
//! and parser, which a plain test runs too.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| aio2_ccore::iocbs::compare(bytes));
