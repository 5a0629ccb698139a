//! The conformance suite: one function for each requirement of SPEC.md.
