//! What a developer or CI runs: test, bench, tidy.

fn main() {}
