//! The `drystone` binary: settings, wiring, listeners, and the command line.
//!
//! # Not here
//!
//! Everything that has a meaning: see `engine`, `s3` and the crates below them.

mod access_log;
mod admission;
mod bench;
mod cli;
mod collect;
mod config;
mod connection;
mod drive_files;
mod heads;
mod holder;
mod index_files;
mod keys;
mod known;
mod leaving;
mod left_out;
mod listen;
mod log_text;
mod mounts;
mod node;
mod places;
mod ports;
mod proxy;
mod repair;
mod rights;
mod root_keys;
mod running;
mod secrets;
mod slots;
mod socket;
mod streams;
mod telemetry;
mod tls;
mod version;
mod watch;

use std::process::ExitCode;

/// A GET makes about 60 allocations of mixed sizes; glibc spends a fifth of its CPU on them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A buffer of 256 KiB in a huge page keeps 2 MiB, which the kernel clears first. Where the kernel
    // refuses, memory is bounded less tightly, but bounded.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    cli::run()
}
