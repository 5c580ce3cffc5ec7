//! The access log: one JSON line for each request, written by a thread of its own. When it cannot keep
//! up, lines are dropped and counted; requests never wait for it.

use crate::config::AccessLogTarget;
use crate::log_text::clean;
use drystone_admin::Metrics;
use drystone_base::sync::{self, Condvar, Mutex, MutexGuard};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of lines that wait at most.
const WAITING_LEN_MAX: usize = 4 << 20;
/// Lines are gathered for so long, so that a busy server wakes the thread ten times a second and an
/// idle one never.
const GATHER: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Waiting {
    lines: Mutex<Vec<u8>>,
    arrived: Condvar,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        sync::lock(&self.lines)
    }
}

/// Takes lines.
#[derive(Clone)]
pub(crate) struct AccessLog {
    waiting: Option<Arc<Waiting>>,
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
            AccessLogTarget::Off => return Ok(Self { waiting: None, metrics }),
            AccessLogTarget::Stdout => Box::new(io::stdout()),
            AccessLogTarget::File(path) => {
                // A file that is there keeps its mode: it may be meant for a program that collects logs.
                let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
                let named = |error: io::Error| {
                    let path = path.display();
                    io::Error::new(
                        error.kind(),
                        format!("--access-log {path}: cannot be opened: {error}"),
                    )
                };
                Box::new(file.map_err(named)?)
            }
        };
        let waiting = Arc::new(Waiting::default());
        let taken = waiting.clone();
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_lines(out, &taken))?;
        Ok(Self { waiting: Some(waiting), metrics })
    }

    pub(crate) fn is_on(&self) -> bool {
        self.waiting.is_some()
    }

    pub(crate) fn write(&self, line: &Line<'_>) {
        let Some(waiting) = &self.waiting else { return };
        let text = |text: &str| serde_json::to_string(&clean(text)).unwrap_or_default();
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
        let mut lines = waiting.lock();
        if lines.len() + out.len() > WAITING_LEN_MAX {
            self.metrics.drop_log_line();
            return;
        }
        let was_empty = lines.is_empty();
        lines.extend_from_slice(out.as_bytes());
        drop(lines);
        if was_empty {
            waiting.arrived.notify_one();
        }
    }
}

fn write_lines(mut out: Box<dyn Write + Send>, waiting: &Waiting) {
    let mut taken = Vec::new();
    loop {
        let mut lines = waiting.lock();
        while lines.is_empty() {
            lines = sync::wait(&waiting.arrived, lines);
        }
        drop(lines);
        std::thread::park_timeout(GATHER);
        std::mem::swap(&mut *waiting.lock(), &mut taken);
        // A log that cannot be written must not stop the server.
        let _ = out.write_all(&taken);
        let _ = out.flush();
        taken.clear();
    }
}
