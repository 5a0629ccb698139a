//! What safe code cannot do is not there.
#![forbid(unsafe_code)]

/// The words of a context's ring, files that are no rings, and descriptors by
/// their numbers.
#[test]
fn what_would_break_memory_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/refused/*.rs");
}
