//! The `aio2` command.

fn main() {}
