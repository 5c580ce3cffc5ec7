//! The access log: one JSON line for each request, written by a thread of its own. When it cannot keep
//! up, lines are dropped and counted; requests never wait for it.

use crate::config::AccessLogTarget;
use drystone_admin::Metrics;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

const QUEUE_LEN: usize = 16 << 10;
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// Takes lines.
#[derive(Clone)]
pub(crate) struct AccessLog {
    lines: Option<SyncSender<String>>,
    metrics: Arc<Metrics>,
}

/// What a line says.
pub(crate) struct Line<'a> {
    pub(crate) time: String,
    pub(crate) remote: &'a str,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) operation: &'a str,
    pub(crate) status: u16,
    pub(crate) error: Option<&'a str>,
    pub(crate) len_bytes: Option<u64>,
    pub(crate) micros: u64,
    pub(crate) request_id: &'a str,
}

impl AccessLog {
    /// Opens the log and starts its thread.
    pub(crate) fn open(target: &AccessLogTarget, metrics: Arc<Metrics>) -> io::Result<Self> {
        let out: Box<dyn Write + Send> = match target {
            AccessLogTarget::Off => return Ok(Self { lines: None, metrics }),
            AccessLogTarget::Stdout => Box::new(io::stdout()),
            AccessLogTarget::File(path) => {
                Box::new(OpenOptions::new().append(true).create(true).open(path)?)
            }
        };
        let (sender, receiver) = sync_channel(QUEUE_LEN);
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_lines(BufWriter::new(out), &receiver))?;
        Ok(Self { lines: Some(sender), metrics })
    }

    pub(crate) fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    pub(crate) fn write(&self, line: &Line<'_>) {
        let Some(lines) = &self.lines else { return };
        let text = |text: &str| serde_json::to_string(text).unwrap_or_default();
        let mut out = format!(
            "{{\"time\":\"{}\",\"remote\":\"{}\",\"method\":{},\"path\":{},\"operation\":\"{}\",\
             \"status\":{},\"micros\":{},\"request_id\":\"{}\"",
            line.time,
            line.remote,
            text(line.method),
            text(line.path),
            line.operation,
            line.status,
            line.micros,
            line.request_id
        );
        if let Some(error) = line.error {
            out.push_str(&format!(",\"error\":\"{error}\""));
        }
        if let Some(len) = line.len_bytes {
            out.push_str(&format!(",\"len_bytes\":{len}"));
        }
        out.push_str("}\n");
        if lines.try_send(out).is_err() {
            self.metrics.drop_log_line();
        }
    }
}

fn write_lines(mut out: BufWriter<Box<dyn Write + Send>>, lines: &Receiver<String>) {
    while let Ok(line) = lines.recv() {
        let _ = out.write_all(line.as_bytes());
        loop {
            match lines.recv_timeout(FLUSH_EVERY) {
                Ok(line) => drop(out.write_all(line.as_bytes())),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        let _ = out.flush();
    }
}
