//! Strays: shards of uploads that were in progress when a process stopped.
//!
//! While a process runs, an upload that is given up declares its blob dead itself. After a crash
//! no one does. To find what was left, the drive writes down from time to time an lsn before which no
//! upload in progress began (the *floor*); at the next start only shards behind the last floor can be
//! strays. Which of them are named by a row is the catalog's business.

use crate::drive::Drive;
use crate::error::DriveError;
use crate::shard::ShardId;
use bytes::Bytes;
use drystone_base::BlobId;
use drystone_base::sync::{Mutex, lock};
use drystone_log::{Class, Durability, RecordInput, RecordKind, Scanned};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Counts = Arc<Mutex<BTreeMap<u64, usize>>>;

/// Lsns at which uploads in progress began.
#[derive(Default)]
pub(crate) struct Beginnings {
    counts: Counts,
}

/// An upload in progress; held from before its first shard until its row is committed or given up.
pub struct InProgress {
    counts: Counts,
    lsn: u64,
}

impl Drop for InProgress {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        if let Some(count) = counts.get_mut(&self.lsn) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.lsn);
            }
        }
    }
}

impl Drive {
    /// Notes that an upload begins.
    #[must_use]
    pub fn begin_upload(&self) -> InProgress {
        let counts = self.shared.in_progress.counts.clone();
        let mut begun = lock(&counts);
        let lsn = self.log().last_lsn();
        *begun.entry(lsn).or_default() += 1;
        drop(begun);
        InProgress { counts, lsn }
    }

    /// No upload in progress began before this lsn.
    fn floor_now(&self) -> u64 {
        let begun = lock(&self.shared.in_progress.counts);
        begun.keys().next().copied().unwrap_or_else(|| self.log().last_lsn())
    }

    /// The last floor that was written down.
    ///
    /// # Errors
    ///
    /// The index failed.
    pub fn floor(&self) -> Result<u64, DriveError> {
        self.shared.table.floor()
    }

    /// Writes the floor down. Blocks until it is durable, `pump` lets the log work in a simulation.
    ///
    /// # Errors
    ///
    /// What the log reports.
    pub fn write_floor(&self, pump: &dyn Fn()) -> Result<(), DriveError> {
        let payload = Bytes::copy_from_slice(&self.floor_now().to_le_bytes());
        let record = RecordInput::new(RecordKind::Floor, Bytes::new(), payload);
        let ticket = self.log().append_ticket(Class::Small, vec![record], Durability::Flushed);
        pump();
        ticket.wait()?;
        Ok(())
    }

    /// Gives each blob that has shards on the drive once, in order.
    ///
    /// # Errors
    ///
    /// The index failed, or `visit` did, which ends it.
    pub fn visit_blobs(
        &self,
        visit: &mut dyn FnMut(BlobId) -> Result<(), DriveError>,
    ) -> Result<(), DriveError> {
        self.shared.table.visit_blobs(None, visit)
    }

    /// All blobs that have shards on the drive; for tools.
    ///
    /// # Errors
    ///
    /// The index failed.
    pub fn all_blobs(&self) -> Result<BTreeSet<BlobId>, DriveError> {
        self.gather(None)
    }

    fn gather(&self, stripe: Option<u32>) -> Result<BTreeSet<BlobId>, DriveError> {
        let mut blobs = BTreeSet::new();
        self.shared.table.visit_blobs(stripe, &mut |blob| {
            blobs.insert(blob);
            Ok(())
        })?;
        Ok(blobs)
    }

    /// All blobs whose manifests are on the drive.
    ///
    /// # Errors
    ///
    /// The index failed.
    pub fn manifests(&self) -> Result<BTreeSet<BlobId>, DriveError> {
        self.gather(Some(ShardId::MANIFEST))
    }

    /// Blobs of earlier processes that have shards behind an lsn and were not declared dead.
    ///
    /// # Errors
    ///
    /// What log and index report; damage is an error, for what cannot be read proves nothing.
    pub fn blobs_of_closed_epochs(&self, after_lsn: u64) -> Result<BTreeSet<BlobId>, DriveError> {
        let term = self.identity().term;
        let mut blobs = BTreeSet::new();
        // A small payload is in the batch of its frame only where there is one drive.
        let classes = match self.identity().roster.len() {
            0 | 1 => &[Class::Bulk, Class::Moved][..],
            _ => &Class::ALL[..],
        };
        for class in classes.iter().copied() {
            self.log().scan(class, after_lsn, |scanned| {
                match scanned {
                    Scanned::Damage(damage) => {
                        return Err(drystone_log::LogError::Damaged(damage).into());
                    }
                    // A moved shard was born where it was written first: its row is as old.
                    Scanned::Record(record)
                        if record.kind == RecordKind::Shard && record.birth_lsn > after_lsn =>
                    {
                        let shard = ShardId::of_meta(&record.meta);
                        blobs.extend(shard.map(|s| s.blob).filter(|blob| blob.epoch() < term));
                    }
                    Scanned::Record(_) => {}
                }
                Ok::<_, DriveError>(())
            })?;
        }
        let mut alive = BTreeSet::new();
        for blob in blobs {
            if !self.shared.table.is_gone(blob)? {
                alive.insert(blob);
            }
        }
        Ok(alive)
    }
}
