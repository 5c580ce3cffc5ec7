//! Logs of the process.

use crate::config::LogFormat;
use std::io::IsTerminal;
use tracing::level_filters::LevelFilter;

/// Sends logs to standard error.
pub(crate) fn start(format: LogFormat, level: LevelFilter) {
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr);
    let result = match format {
        LogFormat::Json => builder.json().try_init(),
        LogFormat::Text => {
            builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init()
        }
    };
    result.expect("logs are started once");
}
