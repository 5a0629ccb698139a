//! The table of all conformance tests.
//!
//! The one place that says which function shows which requirement.

/// A conformance test.
#[derive(Clone, Copy, Debug)]
pub struct Test {
    /// Module and function; the function's name states the rule.
    pub name: &'static str,
    /// The requirements that it shows.
    pub ids: &'static [&'static str],
}

/// All of them.
pub const TESTS: &[Test] = &[];
