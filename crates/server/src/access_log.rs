//! The access log: one JSON line for each request, written by a thread of its own. When it cannot keep
//! up, lines are dropped and counted; requests never wait for it.

use crate::config::AccessLogTarget;
use crate::log_text::clean;
use drystone_admin::Metrics;
use drystone_base::sync::{self, Condvar, Mutex, MutexGuard};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// The file is to be opened again: what it was may have another name now.
    reopen: AtomicBool,
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
        let out = match target {
            AccessLogTarget::Off => return Ok(Self { waiting: None, metrics }),
            AccessLogTarget::Stdout => Out::Stdout,
            AccessLogTarget::File(path) => Out::File(open_file(path)?, path.clone()),
        };
        let waiting = Arc::new(Waiting::default());
        let taken = waiting.clone();
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_lines(out, &taken))?;
        Ok(Self { waiting: Some(waiting), metrics })
    }

    /// Has the file opened again, so that the one before can be moved away.
    pub(crate) fn reopen(&self) {
        let Some(waiting) = &self.waiting else { return };
        let lines = waiting.lock();
        waiting.reopen.store(true, Ordering::Relaxed);
        drop(lines);
        waiting.arrived.notify_one();
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

/// Where lines go.
enum Out {
    Stdout,
    File(File, PathBuf),
}

impl Out {
    /// A log that cannot be written must not stop the server.
    fn write(&mut self, lines: &[u8]) {
        let _ = match self {
            Self::Stdout => {
                let mut out = io::stdout();
                out.write_all(lines).and_then(|()| out.flush())
            }
            Self::File(file, _) => file.write_all(lines),
        };
    }

    /// Opens the file again; the one before stays where that cannot be.
    fn reopen(&mut self) {
        let Self::File(file, path) = self else { return };
        match open_file(path) {
            Ok(opened) => *file = opened,
            Err(error) => tracing::error!(%error, "lines go on to the file before"),
        }
    }
}

/// A file that is there keeps its mode: it may be meant for a program that collects logs.
fn open_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    file.map_err(|error| {
        let text = format!("--access-log {}: cannot be opened: {error}", path.display());
        io::Error::new(error.kind(), text)
    })
}

fn write_lines(mut out: Out, waiting: &Waiting) {
    let mut taken = Vec::new();
    loop {
        let mut lines = waiting.lock();
        while lines.is_empty() && !waiting.reopen.load(Ordering::Relaxed) {
            lines = sync::wait(&waiting.arrived, lines);
        }
        drop(lines);
        std::thread::park_timeout(GATHER);
        if waiting.reopen.swap(false, Ordering::Relaxed) {
            out.reopen();
        }
        std::mem::swap(&mut *waiting.lock(), &mut taken);
        out.write(&taken);
        taken.clear();
    }
}
