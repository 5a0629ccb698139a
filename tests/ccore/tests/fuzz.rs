//! The kernel's ring and parser beside those of Rust, on the saved corpus and
//! on some random bytes.

use aio2_ccore::TARGETS;
use aio2_conformance::corpus;

/// SPEC: R-IOCB-2, R-IOCB-3, R-IOCB-4, R-IOCB-5, R-IOCB-6, R-IOCB-7, R-IOCB-8, R-IOCB-9
#[test]
fn c_and_rust_parse_alike() {
    corpus::run(TARGETS, "c_iocb_stream");
}

/// SPEC: R-RING-4, R-RING-6, R-RING-7, R-RING-15, R-RING-16, R-OVF-3, R-OVF-6
#[test]
fn c_and_rust_leave_the_same_bytes() {
    corpus::run(TARGETS, "c_ring_ops");
}
