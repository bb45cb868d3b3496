//! Sidegate: gate, serve and prove, in one program.

fn main() {}
