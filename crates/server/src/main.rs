//! drystone
fn main() {}
