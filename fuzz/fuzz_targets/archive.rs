//! Fuzzes what `crates/s3/src/lib.rs::parsers` or the catalog reads: archive.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drystone_fuzz::archive(bytes));
