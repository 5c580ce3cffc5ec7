//! Logs of the process.
//!
//! Each field is cut and cleaned where it is written, whatever it is and wherever it comes from: an event is
//! one line, and nothing that a client sent makes another.

use crate::config::LogFormat;
use crate::log_text::clean;
use drystone_base::log_limit;
use serde_json::{Map, Value};
use std::error::Error;
use std::fmt::{self, Debug};
use std::io::IsTerminal;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Sends logs to standard error.
pub(crate) fn start(format: LogFormat, level: LevelFilter) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .fmt_fields(TextFields);
    let result = match format {
        LogFormat::Json => builder.event_format(JsonLines).try_init(),
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

/// Name of the field that is the message.
const MESSAGE: &str = "message";

/// The fields of an event, in their order.
#[derive(Default)]
struct Collected(Vec<(&'static str, Value)>);

impl Collected {
    fn push(&mut self, field: &Field, value: Value) {
        self.0.push((field.name(), value));
    }
}

impl Visit for Collected {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, clean(value).into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(error) = source {
            text += &format!(": {error}");
            source = error.source();
        }
        self.push(field, clean(&text).into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.push(field, clean(&format!("{value:?}")).into());
    }
}

/// Whether a value can stand without quotes.
fn is_token(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:+%@".contains(&byte);
    !text.is_empty() && text.bytes().all(is_plain)
}

/// Fields of a line of text: the message, then names and values.
struct TextFields;

impl<'writer> FormatFields<'writer> for TextFields {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        let mut collected = Collected::default();
        fields.record(&mut collected);
        for (index, (name, value)) in collected.0.iter().enumerate() {
            if index > 0 {
                writer.write_char(' ')?;
            }
            match value {
                Value::String(text) if *name == MESSAGE => writer.write_str(text)?,
                Value::String(text) if is_token(text) => write!(writer, "{name}={text}")?,
                // A text of several words is quoted, so that it cannot look like another field.
                value => write!(writer, "{name}={value}")?,
            }
        }
        Ok(())
    }
}

/// Lines of JSON.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut collected = Collected::default();
        event.record(&mut collected);
        let fields: Map<String, Value> =
            collected.0.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let (level, target) = (event.metadata().level().as_str(), event.metadata().target());
        let line = serde_json::json!({
            "timestamp": time, "level": level, "fields": fields, "target": target,
        });
        writeln!(writer, "{line}")
    }
}
