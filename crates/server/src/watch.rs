//! Says in the log when a drive fails, or its index does.

use crate::places;
use drystone_cluster::{DriveId, PoolDrive};
use drystone_engine::Engine;
use std::collections::{HashMap, HashSet};

/// Looks in a row that an index may fail at, before the next start rebuilds it: about ten seconds.
const LOOKS_MAX: u32 = 50;

/// What was said so far.
#[derive(Default)]
pub(crate) struct DriveWatch {
    failed: HashSet<DriveId>,
    full: HashSet<DriveId>,
    /// For how many looks in a row an index has failed.
    behind: HashMap<DriveId, u32>,
}

impl DriveWatch {
    /// Looks at every drive, and gives indexes what they lack.
    pub(crate) fn look(&mut self, engine: &Engine) {
        for member in engine.pool().drives() {
            let Some(drive) = &member.drive else { continue };
            if let Some(failure) = drive.log().failure()
                && self.failed.insert(member.info.id)
            {
                tracing::error!(
                    drive = member.path,
                    operation = failure.operation,
                    segment = failure.segment,
                    error = %failure.error,
                    "a write or a flush failed: the drive takes no more writes; check its device, then \
                     start the server again, or replace the drive"
                );
            }
            self.look_at_index(&member, drive);
        }
    }

    /// Says when a drive has no room for new objects, and when it has some again. Asks the file systems.
    pub(crate) fn look_at_room(&mut self, engine: &Engine) {
        for member in engine.pool().drives() {
            let (id, path) = (member.info.id, &member.path);
            let Some(drive) = engine.pool().get(id) else { continue };
            match engine.is_full(&drive) {
                true if self.full.insert(id) => tracing::error!(
                    drive = path,
                    "a drive is full: new objects are refused with 507; delete objects or versions, or add a \
                     drive"
                ),
                false if self.full.remove(&id) => {
                    tracing::info!(drive = path, "a drive has room again");
                }
                _ => {}
            }
        }
    }

    fn look_at_index(&mut self, member: &PoolDrive, drive: &drystone_drive::Drive) {
        let looks = self.behind.entry(member.info.id).or_default();
        if !drive.is_index_behind() {
            *looks = 0;
            return;
        }
        let Err(error) = drive.tend_index() else {
            tracing::info!(drive = member.path, "the index of a drive has caught up");
            *looks = 0;
            return;
        };
        *looks = looks.saturating_add(1);
        let error = &error as &dyn std::error::Error;
        if *looks == 1 {
            tracing::error!(
                drive = member.path,
                error,
                "the index of a drive fails: the drive takes writes, but what is looked up in the index \
                 fails and nothing is freed"
            );
        }
        if *looks == LOOKS_MAX {
            tracing::error!(
                drive = member.path,
                error,
                "the index of a drive still fails: the next start rebuilds it from the log"
            );
            places::condemn_drive_index(&member.path);
        }
    }
}
