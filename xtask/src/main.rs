//! Tasks of the workspace: `cargo xtask operations MODEL`.

mod operations;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["operations", model] => std::fs::read_to_string(model)
            .map_err(|error| error.to_string())
            .and_then(|model| operations::generate(&model))
            .and_then(|table| {
                std::fs::write("crates/s3/src/operation/table.rs", table).map_err(|e| e.to_string())
            }),
        _ => Err("usage: cargo xtask operations MODEL".to_owned()),
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
