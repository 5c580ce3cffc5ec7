//! What each fuzz target does with its bytes: nothing may panic. The corpus is replayed by
//! `crates/server/tests/corpus.rs` with every change; `cargo fuzz run TARGET` goes on from there.

include!("targets.rs");
