//! What was measured.

use super::work::Outcome;
use super::{BenchArguments, Workload};
use std::time::Duration;

/// Figures of one run.
pub(crate) struct Report {
    workload: Workload,
    concurrency: usize,
    size: u64,
    pub(crate) seconds: f64,
    pub(crate) bytes: u64,
    pub(crate) errors: u64,
    pub(crate) server_cpu_micros: Option<u64>,
    /// Objects or keys handled; equals requests for most workloads.
    units: u64,
    /// Latencies in microseconds, sorted at the end.
    latencies: Vec<u32>,
    first_error: Option<String>,
}

/// CPU time of a process so far, in microseconds (proc(5), fields utime and stime).
pub(crate) fn cpu_micros(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    // Linux gives user space 100 ticks a second, whatever the kernel uses.
    Some(ticks * 10_000)
}

impl Report {
    pub(crate) fn new(arguments: &BenchArguments, size: u64) -> Self {
        Self {
            workload: arguments.workload,
            concurrency: arguments.concurrency,
            size,
            seconds: 0.0,
            bytes: 0,
            errors: 0,
            server_cpu_micros: None,
            units: 0,
            latencies: Vec::new(),
            first_error: None,
        }
    }

    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.errors += outcome.errors;
        self.units += outcome.units;
        self.latencies.extend(outcome.latencies);
        self.first_error = self.first_error.take().or(outcome.first_error);
    }

    pub(crate) fn finish(&mut self) {
        self.latencies.sort_unstable();
    }

    fn percentile(&self, share: f64) -> Duration {
        let at =
            ((self.latencies.len() as f64 * share) as usize).min(self.latencies.len().max(1) - 1);
        Duration::from_micros(self.latencies.get(at).copied().unwrap_or(0).into())
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.seconds.max(1e-9)
    }

    fn cpu_per_request(&self) -> Option<f64> {
        let requests = self.latencies.len().max(1) as f64;
        self.server_cpu_micros.map(|micros| micros as f64 / requests)
    }

    pub(crate) fn as_text(&self) -> String {
        let millis = |share| self.percentile(share).as_secs_f64() * 1e3;
        let mut text = format!(
            "{:?}, {} bytes, {} workers, {:.1} s\n  requests    {:>12} ({:.0}/s)\n  objects     \
             {:>12} ({:.0}/s)\n  throughput  {:>12.1} MiB/s\n  latency     p50 {:.2} ms, p90 {:.2} \
             ms, p99 {:.2} ms, max {:.2} ms\n  errors      {:>12}\n",
            self.workload,
            self.size,
            self.concurrency,
            self.seconds,
            self.latencies.len(),
            self.per_second(self.latencies.len() as u64),
            self.units,
            self.per_second(self.units),
            self.per_second(self.bytes) / 1048576.0,
            millis(0.5),
            millis(0.9),
            millis(0.99),
            millis(1.0),
            self.errors
        );
        if let Some(micros) = self.cpu_per_request() {
            text += &format!("  server CPU  {micros:>12.1} µs per request\n");
        }
        if let Some(error) = &self.first_error {
            text += &format!("  first error {error}\n");
        }
        text
    }

    pub(crate) fn as_json(&self) -> String {
        let micros = |share| self.percentile(share).as_micros() as u64;
        let value = serde_json::json!({
            "workload": format!("{:?}", self.workload).to_lowercase(),
            "size_bytes": self.size,
            "concurrency": self.concurrency,
            "seconds": self.seconds,
            "requests": self.latencies.len(),
            "requests_per_second": self.per_second(self.latencies.len() as u64),
            "objects": self.units,
            "objects_per_second": self.per_second(self.units),
            "mib_per_second": self.per_second(self.bytes) / 1048576.0,
            "latency_micros": {
                "p50": micros(0.5), "p90": micros(0.9), "p99": micros(0.99), "max": micros(1.0),
            },
            "errors": self.errors,
            "server_cpu_micros_per_request": self.cpu_per_request(),
        });
        format!("{value}\n")
    }
}
