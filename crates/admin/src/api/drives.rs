//! Drives: their state, putting new ones in, and reading everything.

use super::{Failed, Outcome};
use crate::Admin;
use crate::door::Actor;
use crate::rights::Right;
use crate::state::{NOW, State as ServerState};
use drystone_admin_api::{
    AccessLog, Answer, ClassStatus, Drive, DriveState, DriveWork, Failure, FailureCode, Inactive,
    LostObject, Moving, Obstacle, Progress, Request, Scrub, Stalled, Status, Verification,
};
use drystone_base::sync::{self, Mutex, MutexGuard};
use drystone_engine::deployment::{
    self as of_drives, DeploymentStatus, DriveState as State, DriveWork as Work,
};
use drystone_engine::{
    AuditReport, AuditScope, Engine, EngineError, InactiveCount, Unrepaired, Verified,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a verification found so far is kept after so long.
const KEEP_EVERY: Duration = Duration::from_secs(30);

/// The drives of the process, as its administration needs them. Calls may block.
pub trait Drives: Send + Sync {
    /// The state of all drives.
    ///
    /// # Errors
    ///
    /// In words.
    fn status(&self) -> Result<DeploymentStatus, String>;

    /// Nothing can be changed: too few drives were there at the start.
    fn is_read_only(&self) -> bool;

    /// Puts the empty directory `path` into the place of a drive that is gone, named by id or path. Returns
    /// the id of the new one.
    ///
    /// # Errors
    ///
    /// In words.
    fn replace(&self, old: &str, path: &str) -> Result<String, String>;

    /// Makes the empty directory `path` another drive. Returns its id.
    ///
    /// # Errors
    ///
    /// In words.
    fn add(&self, path: &str, zone: &str) -> Result<String, String>;

    /// Empties a drive, named by id or path, and takes it out; with `cancel` lets it be.
    ///
    /// # Errors
    ///
    /// In words.
    fn drain(&self, drive: &str, cancel: bool) -> Result<(), String>;

    /// Takes a drive out that is gone, named by id or path.
    ///
    /// # Errors
    ///
    /// In words.
    fn remove(&self, drive: &str) -> Result<(), String>;
}

/// The verification that runs, or ran last.
#[derive(Default)]
pub(crate) struct Verifying {
    state: Mutex<Verification>,
    runs: AtomicBool,
    /// What verifications left that could not be written down: in memory it is known until the end of the
    /// process.
    unwritten: Mutex<Option<Unrepaired>>,
}

/// What is known to lack.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lacking {
    /// Shards that scrubs found since the last verification of everything, and could not repair.
    pub(crate) by_scrub: u64,
    /// Shards that were damaged or missing on drives that are here.
    pub(crate) shards: u64,
    /// Objects that could not be read as a whole.
    pub(crate) objects: u64,
}

impl Verifying {
    /// What verifications left, if not all drives were scrubbed since: those found it too, and repaired it
    /// or say so themselves.
    pub(crate) fn lacking(&self, engine: &Engine, status: &DeploymentStatus) -> Lacking {
        let unwritten = *sync::lock(&self.unwritten);
        let known = unwritten.map_or_else(|| engine.unrepaired(), Ok).unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "what verifications found cannot be read");
            Unrepaired::default()
        });
        let mut shards = known.shards;
        let mut here = status.drives.iter().filter(|drive| !drive.state.is_gone());
        if here.all(|drive| drive.scrub.finished_ms > known.ended_ms) {
            shards = 0;
        }
        let by_scrub = status.unrepaired_by_scrub(known.verified_ms);
        Lacking { by_scrub, shards, objects: known.objects }
    }

    /// Keeps what a verification left, also for the next process.
    fn keep(&self, engine: &Engine, found: &Verification, is_of_all: bool) {
        let found = Verified {
            is_of_all: is_of_all && found.failed.is_none() && !found.running,
            shards: (found.damaged + found.missing).saturating_sub(found.repaired),
            objects: found.lost_count,
        };
        let mut unwritten = sync::lock(&self.unwritten);
        // What could not be written before comes first.
        let known =
            unwritten.map_or_else(|| engine.unrepaired().unwrap_or_default(), |known| known);
        let after = known.after(&found, engine.now_ms());
        *unwritten = match engine.keep_unrepaired(after) {
            Ok(()) => None,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "what a verification found is not known after a restart");
                Some(after)
            }
        };
    }
}

/// Looks at what a verification finds, while it goes on.
struct Kept {
    found: (u64, u64),
    at: Instant,
}

impl Kept {
    fn new() -> Self {
        Self { found: (0, 0), at: Instant::now() }
    }

    /// Whether what was found so far is to be kept, should the process end before the verification does.
    fn is_due(&mut self, report: &AuditReport) -> bool {
        let found = (report.damaged + report.missing, report.lost_count);
        let is_due = found != self.found && self.at.elapsed() >= KEEP_EVERY;
        if is_due {
            *self = Self { found, at: Instant::now() };
        }
        is_due
    }
}

fn failed(message: String) -> Failed {
    Failed(Failure { code: FailureCode::Invalid, message })
}

pub(super) async fn run(
    actor: &Actor<'_>,
    admin: &Admin,
    request: Request,
) -> Result<Outcome, Request> {
    Ok(match request {
        Request::DriveList => list(actor, admin).await,
        Request::Status => status(actor, admin).await,
        Request::DriveReplace { old, path } => replace(actor, admin, old, path).await,
        Request::DriveAdd { path, zone } => add(actor, admin, path, zone).await,
        Request::DriveRemove { drive } => remove(actor, admin, drive).await,
        Request::DriveDrain { drive, cancel } => drain(actor, admin, drive, cancel).await,
        Request::VerifyStart { bucket, prefix, repair } => {
            start_verifying(actor, admin, bucket, prefix.unwrap_or_default(), repair)
        }
        Request::VerifyState => verification(actor, admin),
        request => return Err(request),
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, Failed> {
    tokio::task::spawn_blocking(work).await.expect("the work does not panic").map_err(failed)
}

/// As [`blocking`], for a change: refused if anything of the account was changed until there was a thread for
/// it.
async fn changing<T: Send + 'static>(
    actor: &Actor<'_>,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, Failed> {
    let directory = actor.directory.clone();
    let decided = blocking(move || {
        if !directory.is_decision_current() {
            return Ok(directory.refuse_decision());
        }
        // It may take long, and the directory has no part in it.
        directory.end_decision();
        work().map(Ok)
    });
    Ok(decided.await??)
}

async fn list(actor: &Actor<'_>, admin: &Admin) -> Outcome {
    actor.require_server(Right::StorageInfo)?;
    let status = admin.state(NOW).await.drives.ok_or_else(no_state)?;
    Ok(Answer::Drives(drives_of(&status)))
}

fn no_state() -> Failed {
    failed("the state of the drives cannot be read, or not in time; the log says more".to_owned())
}

fn drives_of(status: &DeploymentStatus) -> Vec<Drive> {
    let one = |drive: &drystone_engine::deployment::DriveStatus| Drive {
        id: drive.id.to_string(),
        path: drive.path.clone(),
        zone: drive.zone.clone(),
        state: match drive.state {
            State::Online => DriveState::Online,
            State::Filling => DriveState::Filling,
            State::Draining => DriveState::Draining,
            State::Failed => DriveState::Failed,
            State::Missing => DriveState::Missing,
            State::NotTrusted => DriveState::NotTrusted,
        },
        holds_catalog: drive.holds_catalog,
        total_bytes: drive.total_bytes,
        free_bytes: drive.free_bytes,
        is_full: drive.is_full,
        damage_count: drive.damage_count as u64,
        failure: drive.failure.clone(),
        scrub: Scrub {
            running: drive.scrub.started_ms != 0,
            finished_ms: drive.scrub.finished_ms,
            bytes: drive.scrub.bytes,
            damaged: drive.scrub.damaged,
            missing: drive.scrub.missing,
            repaired: drive.scrub.repaired,
        },
    };
    status.drives.iter().map(one).collect()
}

/// Access logs of buckets that are not as they should be.
fn access_logs(admin: &Admin) -> Vec<AccessLog> {
    let states = admin.engine.log_room().states().into_iter();
    let shown = states.map(|state| AccessLog {
        bucket: state.bucket,
        waiting_bytes: state.waiting_bytes,
        failing: state.failing.as_ref().map(|failure| failure.code.to_owned()),
        target: state.failing.as_ref().map(|failure| failure.target.clone()),
        reason: state.failing.map(|failure| failure.reason),
        omitted: state.omitted,
    });
    shown.collect()
}

/// What is stored and does not act. A catalog that cannot be read says so elsewhere.
fn inactive(admin: &Admin) -> Vec<Inactive> {
    let counts = tokio::task::block_in_place(|| admin.engine.count_inactive());
    let counts = counts.unwrap_or_default().into_iter().filter(|count| count.buckets > 0);
    let shown = |count: InactiveCount| Inactive {
        what: count.inactive.what.to_owned(),
        buckets: count.buckets,
    };
    counts.map(shown).collect()
}

fn classes_of(status: &DeploymentStatus) -> Vec<ClassStatus> {
    let one = |class: &drystone_engine::deployment::ClassStatus| ClassStatus {
        class: class.class.to_owned(),
        code: class.shape.to_string(),
        is_readable: class.unreadable_groups == 0,
        unreadable_groups: class.unreadable_groups as u64,
        survives_now: class.can_lose as u64,
    };
    status.classes.iter().map(one).collect()
}

/// Work on the drives that does not get on, with what an operator can do about it.
fn stalled_of(status: &DeploymentStatus) -> Vec<Stalled> {
    let one = |stalled: &of_drives::Stalled| {
        let (work, id) = match stalled.work {
            Work::GiveUp(id) => (DriveWork::GiveUp, Some(id)),
            Work::Fill(id) => (DriveWork::Fill, Some(id)),
            Work::Move => (DriveWork::Move, None),
            Work::Repair => (DriveWork::Repair, None),
            Work::Recruit => (DriveWork::Recruit, None),
        };
        let drive = status.drives.iter().find(|drive| Some(drive.id) == id);
        let obstacle = match &stalled.obstacle {
            of_drives::Obstacle::TooFewDrives { needed, there } => {
                Obstacle::TooFewDrives { needed: *needed as u64, there: *there as u64 }
            }
            of_drives::Obstacle::NoRoom { needed_bytes, free_bytes } => {
                Obstacle::NoRoom { needed_bytes: *needed_bytes, free_bytes: *free_bytes }
            }
            of_drives::Obstacle::Failed(error) => Obstacle::Failed { error: error.clone() },
        };
        Stalled {
            work,
            drive: drive.map(|drive| drive.path.clone()),
            advice: advice(&obstacle).to_owned(),
            obstacle,
            since_ms: stalled.since_ms,
            last_ms: stalled.last_ms,
            tries: stalled.tries,
        }
    };
    status.stalled.iter().map(one).collect()
}

/// What an operator can do about an obstacle.
fn advice(obstacle: &Obstacle) -> &'static str {
    match obstacle {
        Obstacle::TooFewDrives { .. } => {
            "bring the drive back, put an empty one in its place (drystone drive replace), or do with one \
             drive less and another code for what is stored (drystone drive remove)"
        }
        Obstacle::NoRoom { .. } => {
            "delete objects, add a drive (drystone drive add), or put an empty one in the place of the one \
             that is gone (drystone drive replace)"
        }
        Obstacle::Failed { .. } => {
            "it is tried again by itself; if the error stays, see what it names, and run: drystone verify"
        }
    }
}

async fn status(actor: &Actor<'_>, admin: &Admin) -> Outcome {
    actor.require_server(Right::StorageInfo)?;
    let ServerState { drives, lacking: left, health } = admin.state(NOW).await;
    let status = drives.ok_or_else(no_state)?;
    let lacking: BTreeMap<u64, u64> = status
        .groups_by_lack
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
        .map(|(lack, count)| (lack as u64, *count as u64))
        .collect();
    let clock = admin.engine.lock_clock_state();
    Ok(Answer::Status(Box::new(Status {
        health,
        code: status.shape.to_string(),
        survives: status.shape.parity.into(),
        survives_now: status.can_lose() as u64,
        is_whole: status.is_whole() && left.shards + left.objects + left.by_scrub == 0,
        missing_drives: status.gone_count() as u64,
        classes: classes_of(&status),
        unrepaired_by_verify: left.shards,
        lost_by_verify: left.objects,
        unrepaired_by_scrub: left.by_scrub,
        is_read_only: status.is_read_only,
        lacks_drives_to_write: !admin.engine.takes_writes(),
        is_lock_clock_held: clock.is_held,
        lock_clock_behind_s: clock.behind_ms / 1000,
        forwarded_untrusted: admin.metrics.connections.forwarded.load(Ordering::Relaxed),
        is_lock_clock_ahead: clock.is_ahead,
        lock_clock_ahead_s: clock.ahead_ms / 1000,
        access_logs: access_logs(admin),
        inactive: inactive(admin),
        groups_by_lacking_drives: lacking,
        waiting_repairs: status.repair_count as u64,
        moving: status.moving.map(|moving| Moving {
            objects: moving.rows,
            shards: moving.shards,
            bytes: moving.bytes,
            recoded: moving.recoded,
        }),
        progress: status.progress.map(|progress| Progress {
            percent: progress.percent(),
            objects: progress.done,
            of_objects: progress.of,
            left_s: status.left_s,
        }),
        stalled: stalled_of(&status),
        drives: drives_of(&status),
    })))
}

/// Refuses a change of the drives where nothing can be changed.
fn must_take_changes(admin: &Admin) -> Result<(), Failed> {
    match admin.drives.is_read_only() {
        true => Err(EngineError::ReadOnly.into()),
        false => Ok(()),
    }
}

async fn replace(actor: &Actor<'_>, admin: &Admin, old: String, path: String) -> Outcome {
    actor.require_server(Right::Decommission)?;
    must_take_changes(admin)?;
    let drives = admin.drives.clone();
    let id = changing(actor, move || drives.replace(&old, &path)).await?;
    Ok(Answer::Changed(vec![id]))
}

async fn add(actor: &Actor<'_>, admin: &Admin, path: String, zone: String) -> Outcome {
    actor.require_server(Right::Decommission)?;
    must_take_changes(admin)?;
    let drives = admin.drives.clone();
    let id = changing(actor, move || drives.add(&path, &zone)).await?;
    Ok(Answer::Changed(vec![id]))
}

async fn drain(actor: &Actor<'_>, admin: &Admin, drive: String, cancel: bool) -> Outcome {
    actor.require_server(Right::Decommission)?;
    must_take_changes(admin)?;
    let drives = admin.drives.clone();
    changing(actor, move || drives.drain(&drive, cancel)).await?;
    Ok(Answer::Done)
}

async fn remove(actor: &Actor<'_>, admin: &Admin, drive: String) -> Outcome {
    actor.require_server(Right::Decommission)?;
    must_take_changes(admin)?;
    let drives = admin.drives.clone();
    changing(actor, move || drives.remove(&drive)).await?;
    Ok(Answer::Done)
}

fn start_verifying(
    actor: &Actor<'_>,
    admin: &Admin,
    bucket: Option<String>,
    prefix: String,
    repairs: bool,
) -> Outcome {
    actor.require_server(Right::Heal)?;
    let bucket = match bucket {
        None => None,
        Some(name) => {
            let row = admin.engine.find_bucket(&name).map_err(|error| failed(error.to_string()))?;
            Some((row.id, prefix.into_bytes()))
        }
    };
    let verifying = admin.verifying.clone();
    if verifying.runs.swap(true, Ordering::AcqRel) {
        return Err(failed("a verification is running".to_owned()));
    }
    *verifying.lock() = Verification { running: true, ..Verification::default() };
    let engine = admin.engine.clone();
    tokio::task::spawn_blocking(move || {
        let scope = AuditScope { bucket, drive: None, reads: true, repairs };
        let kept = RefCell::new(Kept::new());
        let tell = |report: &AuditReport| {
            let found = shown(&engine, report, true);
            // What is being repaired is not known to lack.
            if !repairs && kept.borrow_mut().is_due(report) {
                verifying.keep(&engine, &found, false);
            }
            *verifying.lock() = found;
            true
        };
        let outcome = engine.audit(&scope, &tell);
        let mut state = verifying.lock().clone();
        match outcome {
            Ok(report) => state = shown(&engine, &report, false),
            Err(error) => (state.running, state.failed) = (false, Some(error.to_string())),
        }
        // Whoever is told that it ended finds in the status what it left.
        verifying.keep(&engine, &state, scope.bucket.is_none());
        *verifying.lock() = state;
        verifying.runs.store(false, Ordering::Release);
    });
    Ok(Answer::Done)
}

fn verification(actor: &Actor<'_>, admin: &Admin) -> Outcome {
    actor.require_server(Right::Heal)?;
    Ok(Answer::Verification(admin.verifying.lock().clone()))
}

impl Verifying {
    fn lock(&self) -> MutexGuard<'_, Verification> {
        sync::lock(&self.state)
    }
}

fn shown(engine: &Engine, report: &AuditReport, running: bool) -> Verification {
    let lost = report.lost.iter().map(|(bucket, key)| LostObject {
        bucket: engine.bucket_name(*bucket).ok().flatten().unwrap_or_default(),
        key: String::from_utf8_lossy(key).into_owned(),
    });
    Verification {
        running,
        failed: None,
        objects: report.rows,
        shards: report.shards,
        bytes: report.bytes,
        missing: report.missing,
        damaged: report.damaged,
        unreachable: report.unreachable,
        repaired: report.repaired,
        lost_count: report.lost_count,
        lost: lost.collect(),
    }
}
