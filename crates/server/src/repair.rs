//! The repair thread: shards that readers found damaged or writers could not write, drives that were put
//! in, drives to hold the catalog, and drives that are gone for so long that the others do without.
//!
//! What does not get on is noted in the deployment, which says so in its status, and is tried again.

use crate::known;
use drystone_base::say;
use drystone_cluster::DriveId;
use drystone_engine::deployment::{Deployment, DriveWork, MoveReport, Obstacle};
use drystone_engine::{AuditReport, EngineError, RepairReport};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Pause between two rounds.
const PAUSE: Duration = Duration::from_secs(1);
/// Pause between two tries to give a drive up that is gone, where nothing but an error was in the way.
const GIVE_UP_PAUSE: Duration = Duration::from_secs(60);

/// Drives that are gone, and when each is to be given up.
type GiveUpAt = HashMap<DriveId, Instant>;

/// The body of the thread.
pub(crate) fn run(deployment: &Deployment, rehome_after: Option<Duration>, stop: &AtomicBool) {
    let mut give_up_at = GiveUpAt::new();
    let mut known = ids(deployment);
    while !stop.load(Ordering::Acquire) && !deployment.is_read_only() {
        recruit(deployment);
        match deployment.engine.repair() {
            Ok(report) => {
                deployment.note_going_on(DriveWork::Repair);
                if let RepairReport { shards: 1.., .. } = report {
                    tracing::info!(?report, "shards were repaired");
                }
            }
            Err(EngineError::Closed) => {}
            Err(error) => note_failed(deployment, DriveWork::Repair, &error),
        }
        if let Some(delay) = rehome_after {
            give_up_lost(deployment, delay, &mut give_up_at);
        }
        for drive in deployment.to_refill().unwrap_or_default() {
            refill(deployment, drive, stop);
        }
        match deployment.rebalance(&|_| !stop.load(Ordering::Acquire)) {
            Ok(moved) => {
                deployment.note_going_on(DriveWork::Move);
                if let Some(MoveReport { shards, bytes, stopped: false, .. }) = moved {
                    tracing::info!(shards, bytes, "shards were moved to where they belong");
                }
            }
            Err(error) => note_failed(deployment, DriveWork::Move, &error),
        }
        note_places(deployment, &mut known);
        std::thread::park_timeout(PAUSE);
    }
}

fn ids(deployment: &Deployment) -> Vec<DriveId> {
    deployment.engine.pool().drives().iter().map(|drive| drive.info.id).collect()
}

/// Writes down which drives there are after one was taken out: the next start is not to look for it.
fn note_places(deployment: &Deployment, known: &mut Vec<DriveId>) {
    let now = ids(deployment);
    if *known != now {
        let drives = deployment.engine.pool().drives();
        let open = drives.iter().filter(|drive| drive.drive.is_some());
        let homes: Vec<_> = open.map(|drive| PathBuf::from(&drive.path)).collect();
        known::write(&homes, &drives);
        *known = now;
    }
}

/// Notes an error of some work, and logs it where it is news.
fn note_failed(
    deployment: &Deployment,
    work: DriveWork,
    error: &(dyn std::error::Error + 'static),
) {
    if deployment.note_stalled(work, Obstacle::Failed(say(error))) {
        tracing::error!(?work, error, "work on the drives failed; it is tried again");
    }
}

/// First of all the catalog is to be on as many drives as it should be.
fn recruit(deployment: &Deployment) {
    loop {
        match deployment.recruit() {
            Ok(true) => {}
            Ok(false) => return deployment.note_going_on(DriveWork::Recruit),
            Err(error) => return note_failed(deployment, DriveWork::Recruit, &error),
        }
    }
}

/// Takes drives out that have been gone for so long, where the others have room for what they had. Whether
/// they have is looked at from the beginning, so that the status says it before the time has come.
fn give_up_lost(deployment: &Deployment, delay: Duration, give_up_at: &mut GiveUpAt) {
    let pool = deployment.engine.pool();
    let drives = pool.drives();
    let ids = drives.iter().map(|member| member.info.id);
    let gone: Vec<DriveId> = ids.filter(|id| pool.get(*id).is_none()).collect();
    give_up_at.retain(|id, _| gone.contains(id));
    for id in gone {
        let at = give_up_at.entry(id).or_insert_with(|| Instant::now() + delay);
        let work = DriveWork::GiveUp(id);
        let obstacle = match deployment.obstacle_without(id) {
            Ok(None) if Instant::now() < *at => {
                deployment.note_going_on(work);
                continue;
            }
            Ok(None) => {
                // Whatever comes of it, it is not tried all the time.
                *at = Instant::now() + delay.min(GIVE_UP_PAUSE);
                match deployment.remove_drive(id) {
                    Ok(()) => {
                        deployment.note_going_on(work);
                        tracing::warn!(drive = %id, "a drive that is gone is given up");
                        continue;
                    }
                    Err(error) => Obstacle::Failed(say(&error)),
                }
            }
            Ok(Some(obstacle)) => obstacle,
            Err(error) => Obstacle::Failed(say(&error)),
        };
        let reason = obstacle.to_string();
        if deployment.note_stalled(work, obstacle) {
            tracing::error!(drive = %id, reason, "a drive that is gone cannot be given up");
        }
    }
}

fn refill(deployment: &Deployment, drive: DriveId, stop: &AtomicBool) {
    let work = DriveWork::Fill(drive);
    let tell = |report: &AuditReport| {
        let AuditReport { rows, repaired, .. } = report;
        tracing::debug!(%drive, rows, repaired, "filling a drive");
        !stop.load(Ordering::Acquire)
    };
    match deployment.refill(drive, &tell) {
        Ok(AuditReport { missing, repaired, .. }) if missing == repaired => {
            deployment.note_going_on(work);
            tracing::info!(%drive, repaired, "the drive has all of its shards");
        }
        Ok(AuditReport { missing, repaired, .. }) => {
            let left = missing - repaired;
            let reason = format!("{left} of {missing} shards cannot be made yet");
            if deployment.note_stalled(work, Obstacle::Failed(reason)) {
                tracing::warn!(%drive, missing, repaired, "some shards cannot be made yet");
            }
        }
        Err(error) => note_failed(deployment, work, &error),
    }
}
