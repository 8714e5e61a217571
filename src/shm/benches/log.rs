//! What the log costs.

fn main() {}
