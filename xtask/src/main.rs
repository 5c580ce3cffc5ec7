//! Tasks of the workspace.

mod ci;
mod compatibility;
mod operations;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask TASK
  ci                everything that must hold
  check             ci without the tests of the built binary
  blackbox          the tests of the built binary with real clients
  interleavings     log writers, committer, group writers and mover under shuttle
  tidy              ranks, sizes, names, S3 codes
  soak SEEDS        crash enumeration and simulation with many seeds
  neon              the erasure code on AArch64, in an emulator
  s3-tests DIR      ceph/s3-tests in DIR against the binary; writes docs/s3-tests.md
  nightly           neon, soak with 300 seeds, listing at 10 M keys
  compatibility     write docs/s3-compatibility.md from table, dispatcher and tests
  operations MODEL  generate the operation table from the published service model";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["ci"] => ci::ci(),
        ["check"] => ci::check(),
        ["blackbox"] => ci::blackbox(),
        ["interleavings"] => ci::interleavings(),
        ["tidy"] => ci::tidy(),
        ["soak", seeds] => ci::soak(seeds),
        ["neon"] => ci::neon(),
        ["s3-tests", folder] => ci::s3_tests(folder),
        ["nightly"] => ci::nightly(),
        ["compatibility"] => compatibility::write(),
        ["operations", model] => write_operations(model),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            let mut stderr = std::io::stderr();
            let _ = std::io::Write::write_all(&mut stderr, format!("{problem}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a tool that writes source code")]
fn write_operations(model: &str) -> Result<(), String> {
    let model = std::fs::read_to_string(model).map_err(|error| error.to_string())?;
    let table = operations::generate(&model)?;
    std::fs::write("crates/s3/src/operation/table.rs", table).map_err(|error| error.to_string())
}
