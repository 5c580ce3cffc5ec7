//! Logs of the process.

use crate::config::LogFormat;
use drystone_base::log_limit;
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

/// Writes the counts of log lines that were left out and that no line has counted since.
pub(crate) fn write_suppressed() {
    for (kind, count) in log_limit::take_suppressed() {
        tracing::warn!(kind, count, "log lines were left out");
    }
}
