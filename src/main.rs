//! Command line of freshen.

fn main() {}
