//! Metrics, in the text form of Prometheus.
//!
//! | name | unit | labels |
//! | --- | --- | --- |
//! | `drystone_requests_total` | requests | operation, status |
//! | `drystone_request_seconds_total` | seconds | operation |
//! | `drystone_access_log_dropped_total` | lines | |
//! | `drystone_log_flushes_total` | flushes of the device | |
//! | `drystone_space_bytes` | bytes | state: total, free, used |
//! | `drystone_budget_free_bytes` | bytes | |
//! | `drystone_catalog_retained_frame_bytes` | bytes | |
//! | `drystone_drive_quarantined` | 0 or 1 | |

use drystone_engine::Engine;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

/// One request that was served.
#[derive(Clone, Copy, Debug)]
pub struct RequestRecord {
    /// Operation, or `other`.
    pub operation: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Microseconds until the head of the response was ready.
    pub micros: u64,
}

#[derive(Default)]
struct Requests {
    by_status: BTreeMap<(&'static str, u16), u64>,
    micros: BTreeMap<&'static str, u64>,
}

/// Counters of the process.
#[derive(Default)]
pub struct Metrics {
    requests: Mutex<Requests>,
    dropped_log_lines: AtomicU64,
}

impl Metrics {
    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().expect("no thread panicked while it held this lock")
    }

    /// Counts a request.
    pub fn record(&self, record: RequestRecord) {
        let mut requests = self.lock();
        *requests.by_status.entry((record.operation, record.status)).or_default() += 1;
        *requests.micros.entry(record.operation).or_default() += record.micros;
    }

    /// Counts a line of the access log that found no room.
    pub fn drop_log_line(&self) {
        self.dropped_log_lines.fetch_add(1, Ordering::Relaxed);
    }

    /// All metrics as text.
    #[must_use]
    pub fn render(&self, engine: &Engine) -> String {
        let mut out = String::new();
        let head = |out: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        };
        let requests = self.lock();
        head(&mut out, "drystone_requests_total", "counter", "Requests served.");
        for ((operation, status), count) in &requests.by_status {
            let labels = format!("operation=\"{operation}\",status=\"{status}\"");
            let _ = writeln!(out, "drystone_requests_total{{{labels}}} {count}");
        }
        let name = "drystone_request_seconds_total";
        head(&mut out, name, "counter", "Seconds until the head of the response.");
        for (operation, micros) in &requests.micros {
            let seconds = *micros as f64 / 1e6;
            let _ = writeln!(out, "{name}{{operation=\"{operation}\"}} {seconds}");
        }
        drop(requests);
        let mut one = |name: &str, kind: &str, help: &str, value: u64| {
            head(&mut out, name, kind, help);
            let _ = writeln!(out, "{name} {value}");
        };
        let dropped = self.dropped_log_lines.load(Ordering::Relaxed);
        one("drystone_access_log_dropped_total", "counter", "Lines without room.", dropped);
        let log = engine.drive().log();
        one("drystone_log_flushes_total", "counter", "Flushes of the device.", log.flush_count());
        let quarantined = u64::from(log.is_quarantined());
        one("drystone_drive_quarantined", "gauge", "The drive failed.", quarantined);
        let free = engine.budget().free_bytes();
        one("drystone_budget_free_bytes", "gauge", "Free bytes of the memory budget.", free);
        let retained = engine.catalog().retained_frame_bytes();
        let name = "drystone_catalog_retained_frame_bytes";
        one(name, "gauge", "Segments with frames that no export covers.", retained);
        if let Ok(space) = engine.space() {
            let name = "drystone_space_bytes";
            let _ = writeln!(out, "# HELP {name} Space of the drive.\n# TYPE {name} gauge");
            let states = [
                ("total", space.total_bytes),
                ("free", space.free_bytes),
                ("used", space.used_bytes),
            ];
            for (state, bytes) in states {
                let _ = writeln!(out, "{name}{{state=\"{state}\"}} {bytes}");
            }
        }
        out
    }
}
