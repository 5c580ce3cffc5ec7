//! Metrics, in the text form of Prometheus.
//!
//! | name | unit | labels |
//! | --- | --- | --- |
//! | `drystone_requests_total` | requests | operation, status |
//! | `drystone_request_seconds_total` | seconds | operation |
//! | `drystone_health` | as the field of `drystone status --json` of this name: 0 or 1, or drives | of |
//! | `drystone_access_log_dropped_total` | lines | |
//! | `drystone_connections_open`, `drystone_connections_limit` | connections | |
//! | `drystone_connections_refused_total` | connections | |
//! | `drystone_connections_ended_total` | connections that were too slow | |
//! | `drystone_forwarded_untrusted_total` | requests that a proxy forwarded which is not trusted | |
//! | `drystone_access_log_waiting_bytes` | bytes of lines that wait for delivery | |
//! | `drystone_access_log_failing_buckets` | buckets whose lines cannot be delivered | |
//! | `drystone_access_log_failing` | 1 for each of these buckets, 100 at most | bucket, target, code |
//! | `drystone_access_log_omitted_total` | requests that were counted and have no line | |
//! | `drystone_access_log_refused_total` | requests refused because there was no room for lines | |
//! | `drystone_lock_clock_ahead_seconds` | seconds ahead of the wall clock | |
//! | `drystone_lock_clock_behind_seconds` | seconds behind the wall clock | |
//! | `drystone_lock_clock_held` | 0 or 1: waits for an operator | |
//! | `drystone_lock_clock_refused_total` | writes refused because the two clocks are too far apart | |
//! | `drystone_space_bytes` | bytes | state: total, free, used |
//! | `drystone_budget_free_bytes` | bytes that clients can still take | |
//! | `drystone_budget_bytes` | bytes that a kind of work draws on | kind: decode, upload, read, … |
//! | `drystone_budget_used_bytes` | bytes | kind |
//! | `drystone_budget_waiting` | requests | kind |
//! | `drystone_budget_refused_total` | requests | kind |
//! | `drystone_catalog_retained_frame_bytes` | bytes | |
//! | `drystone_drive_up` | 0 or 1 | drive |
//! | `drystone_drive_quarantined` | 0 or 1: a write or flush failed | drive |
//! | `drystone_drive_full` | 0 or 1: no room for new objects | drive |
//! | `drystone_drive_index_behind` | 0 or 1: its index fails, and lacks records | drive |
//! | `drystone_drive_space_bytes` | bytes | drive, state: total, free |
//! | `drystone_drive_flushes_total` | flushes | drive |
//! | `drystone_drive_damaged_stretches` | stretches of the log | drive |
//! | `drystone_scrub_bytes` | bytes of the pass that runs, or of the last one | drive |
//! | `drystone_scrub_finished_seconds` | seconds since 1970 | drive |
//! | `drystone_scrub_found` | shards of that pass | drive, state: damaged, missing, repaired |
//! | `drystone_background_bytes_total` | bytes | work: repair, move, compaction, scrub |
//! | `drystone_hedged_reads_total` | reads | |
//! | `drystone_repair_waiting` | objects and parts | |
//! | `drystone_groups_lacking` | placement groups | drives: that they lack |
//! | `drystone_survives_drives` | drives that can be lost now | |
//! | `drystone_drives_missing` | drives that are missing, failed or not trusted | |
//! | `drystone_groups_unreadable` | placement groups that lack more drives than the class can | class |
//! | `drystone_class_survives_drives` | drives that can be lost now | class |
//! | `drystone_read_only` | 0 or 1: nothing can be changed | |
//! | `drystone_unrepaired_shards` | shards found damaged or missing, and not repaired | by: verify, scrub |
//! | `drystone_lost_objects` | objects that the last verification could not read | |
//! | `drystone_work_percent` | percent of filling a drive, or moving; 100 without | |
//! | `drystone_moved_bytes` | bytes, while drives change | |
//! | `drystone_stalled` | tries of work on the drives that did not get on, in a row | work, reason, drive |
//! | `drystone_stalled_room_bytes` | bytes of room to give a drive up | drive, room: needed, free |

use crate::api::Lacking;
use crate::state::State;
use drystone_admin_api::Health;
use drystone_base::sync::{self, Mutex, MutexGuard};
use drystone_engine::deployment::{
    ClassStatus, DeploymentStatus, DriveStatus, DriveWork, Obstacle, Stalled,
};
use drystone_engine::{ByteBudget, Engine, InactiveCount, Kind, KindUsage, Work};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// Connections of clients, kept up to date by the listener.
    pub connections: ConnectionCounts,
}

/// Connections of clients, on all ports.
#[derive(Default)]
pub struct ConnectionCounts {
    /// Open now.
    pub open: AtomicU64,
    /// That may be open at once.
    pub limit: AtomicU64,
    /// Refused since the start because too many were open.
    pub refused: AtomicU64,
    /// Ended since the start because the client was too slow, or silent for too long.
    pub ended: AtomicU64,
    /// Requests since the start that say they were forwarded, from an address that is not trusted.
    pub forwarded: AtomicU64,
}

impl Metrics {
    fn lock(&self) -> MutexGuard<'_, Requests> {
        sync::lock(&self.requests)
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
    pub(crate) fn render(&self, engine: &Engine, state: &State) -> String {
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
        let ConnectionCounts { open, limit, refused, ended, forwarded } = &self.connections;
        for (name, kind, help, value) in [
            ("drystone_connections_open", "gauge", "Connections of clients.", open),
            ("drystone_connections_limit", "gauge", "Connections that may be open.", limit),
            ("drystone_connections_refused_total", "counter", "Above a limit.", refused),
            ("drystone_connections_ended_total", "counter", "Silent or too slow.", ended),
            ("drystone_forwarded_untrusted_total", "counter", "By no trusted proxy.", forwarded),
        ] {
            one(name, kind, help, value.load(Ordering::Relaxed));
        }
        let hedged = engine.hedge_count();
        one("drystone_hedged_reads_total", "counter", "Reads around a late drive.", hedged);
        one("drystone_budget_free_bytes", "gauge", "Free bytes.", engine.budget().free_bytes());
        let retained = engine.catalog().retained_frame_bytes();
        let name = "drystone_catalog_retained_frame_bytes";
        one(name, "gauge", "Segments with frames that no export covers.", retained);
        render_lock_clock(&mut out, engine);
        render_buckets(&mut out, engine);
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
        render_budget(&mut out, engine.budget());
        let name = "drystone_background_bytes_total";
        head(&mut out, name, "counter", "Bytes of work in the background.");
        for work in Work::ALL {
            let (kind, bytes) = (work.name(), engine.pace().bytes(work));
            let _ = writeln!(out, "{name}{{work=\"{kind}\"}} {bytes}");
        }
        render_health(&mut out, &state.health);
        // What cannot be read now is left out.
        if let Some(status) = &state.drives {
            render_drives(&mut out, status, state.lacking);
        }
        out
    }
}

/// A metric with a value for each of some labels.
struct Labelled<'a> {
    name: &'a str,
    kind: &'a str,
    help: &'a str,
}

impl Labelled<'_> {
    fn write(&self, out: &mut String, values: impl Iterator<Item = (String, u64)>) {
        let Self { name, kind, help } = self;
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in values {
            let _ = match labels.is_empty() {
                true => writeln!(out, "{name} {value}"),
                false => writeln!(out, "{name}{{{labels}}} {value}"),
            };
        }
    }
}

fn render_health(out: &mut String, health: &Health) {
    let values = health.values().into_iter();
    let values = values.map(|(of, value)| (format!("of=\"{of}\""), value));
    Labelled { name: "drystone_health", kind: "gauge", help: "What the server can do now." }
        .write(out, values);
}

fn render_budget(out: &mut String, budget: &ByteBudget) {
    let of = |kind: Kind| format!("kind=\"{}\"", kind.name());
    let gauge = |name, help| Labelled { name, kind: "gauge", help };
    let each = |value: fn(KindUsage) -> u64| {
        Kind::ALL.into_iter().map(move |kind| (of(kind), value(budget.usage(kind))))
    };
    let bytes = Kind::ALL.into_iter().map(|kind| (of(kind), budget.partition_bytes(kind)));
    gauge("drystone_budget_bytes", "Memory that a kind of work draws on.").write(out, bytes);
    gauge("drystone_budget_used_bytes", "Memory held.").write(out, each(|u| u.used_bytes));
    gauge("drystone_budget_waiting", "Requests that wait for memory.")
        .write(out, each(|usage| usage.waiting));
    let (name, help) = ("drystone_budget_refused_total", "Requests refused for lack of memory.");
    Labelled { name, kind: "counter", help }.write(out, each(|usage| usage.refused));
}

/// The access logs of buckets.
fn render_access_logs(out: &mut String, engine: &Engine) {
    let totals = engine.log_room().totals();
    let mut one = |name, kind, help, value: u64| {
        Labelled { name, kind, help }.write(out, std::iter::once((String::new(), value)));
    };
    let name = "drystone_access_log_waiting_bytes";
    one(name, "gauge", "Lines that wait for delivery.", totals.waiting_bytes);
    let name = "drystone_access_log_failing_buckets";
    one(name, "gauge", "Buckets whose lines cannot be delivered.", totals.failing_buckets);
    let failing = engine.log_room().states().into_iter().filter_map(|state| {
        let (failure, bucket) = (state.failing?, state.bucket);
        let (target, code) = (failure.target, failure.code);
        Some((format!("bucket=\"{bucket}\",target=\"{target}\",code=\"{code}\""), 1))
    });
    let (name, help) = ("drystone_access_log_failing", "The last delivery to the target failed.");
    Labelled { name, kind: "gauge", help }.write(out, failing);
    let mut one = |name, kind, help, value: u64| {
        Labelled { name, kind, help }.write(out, std::iter::once((String::new(), value)));
    };
    let name = "drystone_access_log_omitted_total";
    one(name, "counter", "Requests counted without lines of their own.", totals.omitted);
    let name = "drystone_access_log_refused_total";
    one(name, "counter", "Requests refused without room for lines.", totals.refused);
}

/// What buckets have that an operator looks after.
fn render_buckets(out: &mut String, engine: &Engine) {
    render_access_logs(out, engine);
    render_inactive(out, engine);
}

/// Documents of buckets that nothing acts on.
fn render_inactive(out: &mut String, engine: &Engine) {
    let counts = tokio::task::block_in_place(|| engine.count_inactive()).unwrap_or_default();
    let each = |value: fn(&InactiveCount) -> u64| {
        let row = move |count: &InactiveCount| {
            (format!("kind=\"{}\"", count.inactive.name), value(count))
        };
        counts.iter().map(row)
    };
    let name = "drystone_inactive_buckets";
    let help = "Buckets with a document that this version stores and does not act on.";
    Labelled { name, kind: "gauge", help }.write(out, each(|count| count.buckets));
    let name = "drystone_inactive_documents_stored_total";
    let help = "Documents that were stored and are not acted on.";
    Labelled { name, kind: "counter", help }.write(out, each(|count| count.stored));
}

fn render_lock_clock(out: &mut String, engine: &Engine) {
    let clock = engine.lock_clock_state();
    let mut one = |name, kind, help, value: u64| {
        Labelled { name, kind, help }.write(out, std::iter::once((String::new(), value)));
    };
    let name = "drystone_lock_clock_behind_seconds";
    one(name, "gauge", "How far locks are behind the wall clock.", clock.behind_ms / 1000);
    let name = "drystone_lock_clock_ahead_seconds";
    one(name, "gauge", "How far locks are ahead of the wall clock.", clock.ahead_ms / 1000);
    one("drystone_lock_clock_held", "gauge", "Locks wait for an operator.", clock.is_held.into());
    let name = "drystone_lock_clock_refused_total";
    one(name, "counter", "Writes refused: the clocks are too far apart.", clock.refused);
}

/// Whether everything can be read, and what is known to lack.
fn render_safety(out: &mut String, status: &DeploymentStatus, left: Lacking) {
    let mut gauge = |name, help, values: Vec<(String, u64)>| {
        Labelled { name, kind: "gauge", help }.write(out, values.into_iter());
    };
    let one = |value: u64| vec![(String::new(), value)];
    let by_class = |value: fn(&ClassStatus) -> usize| {
        let each = status.classes.iter();
        each.map(|class| (format!("class=\"{}\"", class.class), value(class) as u64)).collect()
    };
    let name = "drystone_drives_missing";
    gauge(name, "Drives missing, failed or not trusted.", one(status.gone_count() as u64));
    let name = "drystone_groups_unreadable";
    let help = "Placement groups that lack more drives than objects of the class can.";
    gauge(name, help, by_class(|class| class.unreadable_groups));
    let name = "drystone_class_survives_drives";
    gauge(name, "Drives that can be lost now.", by_class(|class| class.can_lose));
    gauge("drystone_read_only", "Nothing can be changed.", one(status.is_read_only.into()));
    let found = [("verify", left.shards), ("scrub", left.by_scrub)];
    let found = found.map(|(by, count)| (format!("by=\"{by}\""), count)).to_vec();
    gauge("drystone_unrepaired_shards", "Found damaged or missing, and not repaired.", found);
    let name = "drystone_lost_objects";
    gauge(name, "Objects that the last verification could not read.", one(left.objects));
}

/// The label of a drive.
fn of(drive: &DriveStatus) -> String {
    let path = drive.path.replace('\\', "\\\\").replace('"', "\\\"");
    format!("drive=\"{path}\"")
}

/// Work on the drives that does not get on.
fn render_stalled(out: &mut String, status: &DeploymentStatus) {
    let of = |id| status.drives.iter().find(|drive| drive.id == id).map(of).unwrap_or_default();
    let of_work = |work| match work {
        DriveWork::GiveUp(id) => ("give-up", format!(",{}", of(id))),
        DriveWork::Fill(id) => ("fill", format!(",{}", of(id))),
        DriveWork::Move => ("move", String::new()),
        DriveWork::Repair => ("repair", String::new()),
        DriveWork::Recruit => ("recruit", String::new()),
    };
    let gauge = |name, help| Labelled { name, kind: "gauge", help };
    let tries = status.stalled.iter().map(|stalled| {
        let reason = match stalled.obstacle {
            Obstacle::TooFewDrives { .. } => "too-few-drives",
            Obstacle::NoRoom { .. } => "no-room",
            Obstacle::Failed(_) => "failed",
        };
        let (work, drive) = of_work(stalled.work);
        (format!("work=\"{work}\",reason=\"{reason}\"{drive}"), stalled.tries)
    });
    gauge("drystone_stalled", "Tries of work on the drives that did not get on.").write(out, tries);
    let room = |stalled: &Stalled| match (stalled.work, &stalled.obstacle) {
        (DriveWork::GiveUp(id), Obstacle::NoRoom { needed_bytes, free_bytes }) => vec![
            (format!("{},room=\"needed\"", of(id)), *needed_bytes),
            (format!("{},room=\"free\"", of(id)), *free_bytes),
        ],
        _ => Vec::new(),
    };
    gauge("drystone_stalled_room_bytes", "Room on the other drives to give one up.")
        .write(out, status.stalled.iter().flat_map(room));
}

fn render_drives(out: &mut String, status: &DeploymentStatus, left: Lacking) {
    render_safety(out, status, left);
    render_stalled(out, status);
    let gauge = |name, help| Labelled { name, kind: "gauge", help };
    let each = |value: fn(&DriveStatus) -> u64| {
        status.drives.iter().map(move |drive| (of(drive), value(drive)))
    };
    let states = |values: fn(&DriveStatus) -> Vec<(&'static str, u64)>| {
        status.drives.iter().flat_map(move |drive| {
            let one = move |(state, value)| (format!("{},state=\"{state}\"", of(drive)), value);
            values(drive).into_iter().map(one)
        })
    };
    let is_up = |drive: &DriveStatus| u64::from(!drive.state.is_gone());
    gauge("drystone_drive_up", "The drive is there and works.").write(out, each(is_up));
    gauge("drystone_drive_quarantined", "A write or flush failed: it takes no more writes.")
        .write(out, each(|drive| u64::from(drive.failure.is_some())));
    gauge("drystone_drive_full", "It has no room for new objects.")
        .write(out, each(|drive| u64::from(drive.is_full)));
    gauge("drystone_drive_index_behind", "Its index fails, and lacks records.")
        .write(out, each(|drive| u64::from(drive.is_index_behind)));
    let space =
        |drive: &DriveStatus| vec![("total", drive.total_bytes), ("free", drive.free_bytes)];
    gauge("drystone_drive_space_bytes", "Space of the drive.").write(out, states(space));
    Labelled { name: "drystone_drive_flushes_total", kind: "counter", help: "Flushes." }
        .write(out, each(|drive| drive.flush_count));
    gauge("drystone_drive_damaged_stretches", "Stretches of its log that do not verify.")
        .write(out, each(|drive| drive.damage_count as u64));
    gauge("drystone_scrub_bytes", "Bytes of the pass that runs, or of the last one.")
        .write(out, each(|drive| drive.scrub.bytes));
    gauge("drystone_scrub_finished_seconds", "When a pass ended last.")
        .write(out, each(|drive| drive.scrub.finished_ms / 1000));
    let found = |drive: &DriveStatus| {
        let scrub = drive.scrub;
        vec![("damaged", scrub.damaged), ("missing", scrub.missing), ("repaired", scrub.repaired)]
    };
    gauge("drystone_scrub_found", "Shards that the pass found.").write(out, states(found));
    let one = |value: u64| std::iter::once((String::new(), value));
    gauge("drystone_repair_waiting", "Objects and parts that lack shards since they were written.")
        .write(out, one(status.repair_count as u64));
    let lacks = status.groups_by_lack.iter().enumerate();
    gauge("drystone_groups_lacking", "Placement groups by the number of drives that they lack.")
        .write(out, lacks.map(|(lack, count)| (format!("drives=\"{lack}\""), *count as u64)));
    gauge("drystone_survives_drives", "Drives that can be lost now.")
        .write(out, one(status.can_lose() as u64));
    let moved = status.moving.map_or(0, |moving| moving.bytes);
    let percent = status.progress.map_or(100, |progress| progress.percent());
    gauge("drystone_work_percent", "How far filling a drive, or moving, is; 100 without.")
        .write(out, one(percent));
    gauge("drystone_moved_bytes", "Bytes moved to other drives so far.").write(out, one(moved));
}
