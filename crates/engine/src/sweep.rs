//! Giving back what committed deletes released, and compaction, export and index upkeep.
//!
//! A round looks at the sweep rows that are due, starts a new generation of pins, and in the next
//! round reclaims what no reader of an older generation can still see. Blobs are declared dead on the
//! drive first; only then do their rows go: a crash in between repeats the first step.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::pace::Work;
use crate::plan::{self, SweepItem, part_blob};
use drystone_base::{BlobId, BucketId, UploadId};
use drystone_catalog::{Data, Family, Key, Manifest, PartRow, UploadRow, UploadState};
use drystone_drive::{CompactReport, Retain};
use drystone_index::prefix_range;
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Sweep rows worked off in one round.
const ROUND_COUNT_MAX: usize = 1000;
/// What waits for a missing drive is looked at again after this.
const POSTPONED_MS: u64 = 60_000;
/// Retained frames after which an export is due, in bytes, at least.
const EXPORT_AFTER_LEN: u64 = 1 << 30;

type Row = (Vec<u8>, SweepItem);

/// What one round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Sweep rows worked off.
    pub items: u64,
    /// Blobs declared dead.
    pub blobs: u64,
    /// Rows are waiting for readers, or more rows are due.
    pub has_more: bool,
}

/// A reader that takes longer loses its pin: what it still reads may be gone, and its connection is
/// then dropped. It is never given other bytes, for records verify themselves.
const PIN_MS_MAX: u64 = 3600 * 1000;

/// What waits for readers between two rounds.
#[derive(Default)]
pub struct Sweeper {
    pending: Option<Pending>,
}

struct Pending {
    generation: u64,
    since_ms: u64,
    rows: Vec<Row>,
}

impl Engine {
    /// Work that gives space back; one per process.
    #[must_use]
    pub fn sweeper(&self) -> Sweeper {
        Sweeper::default()
    }

    /// One round of the sweep.
    ///
    /// # Errors
    ///
    /// The catalog or the drive failed; the rows stay and are worked off later.
    pub async fn sweep(&self, sweeper: &mut Sweeper) -> Result<SweepReport, EngineError> {
        let mut report = SweepReport::default();
        if let Some(pending) = sweeper.pending.take() {
            let waited_ms = self.now_ms().saturating_sub(pending.since_ms);
            if self.shared.pins.is_pinned(pending.generation) && waited_ms < PIN_MS_MAX {
                sweeper.pending = Some(pending);
                report.has_more = true;
                return Ok(report);
            }
            self.reclaim(pending.rows, &mut report).await?;
        }
        let rows = self.due_rows()?;
        if !rows.is_empty() {
            report.has_more = true;
            let (generation, since_ms) = (self.shared.pins.advance(), self.now_ms());
            sweeper.pending = Some(Pending { generation, since_ms, rows });
        }
        Ok(report)
    }

    fn due_rows(&self) -> Result<Vec<Row>, EngineError> {
        let now = self.now_ms();
        let snapshot = self.shared.catalog.snapshot();
        let mut rows = Vec::new();
        for row in snapshot.scan(Family::Sweep.range()) {
            let (key, value) = row?;
            let due = key.get(1..9).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
            if due.is_none_or(|due| due > now) || rows.len() == ROUND_COUNT_MAX {
                break;
            }
            rows.push((key.to_vec(), SweepItem::decode(&value)?));
        }
        Ok(rows)
    }

    async fn reclaim(&self, rows: Vec<Row>, report: &mut SweepReport) -> Result<(), EngineError> {
        let (mut keys, mut blobs, mut slices) = (Vec::new(), Vec::new(), Vec::new());
        let (mut now, mut later) = (Vec::new(), Vec::new());
        for row in rows {
            if self.can_reclaim(&row.1).await? { now.push(row) } else { later.push(row) }
        }
        let rows = now;
        self.postpone(later).await?;
        for (key, item) in rows {
            report.items += 1;
            match item {
                SweepItem::Blob(blob) => {
                    blobs.push(blob);
                    keys.push(key);
                }
                SweepItem::Manifest(id) => {
                    // A manifest that is gone was reclaimed before a crash.
                    let decode = |list: &[u8]| Ok(Manifest::decode(list)?);
                    let manifest = self.look_at_parts_if_there(id, decode).await?;
                    for part in manifest.unwrap_or_default().parts {
                        keys.extend(inline_key(&part.data));
                        blobs.extend(part_blob(&part.data));
                        slices.extend(is_slice(&part).then_some(part));
                    }
                    keys.push(Key::manifest(id));
                    keys.push(key);
                }
                SweepItem::Parts { bucket, upload, manifest } => {
                    self.reclaim_parts(bucket, upload, manifest, report).await?;
                    keys.push(key);
                }
                SweepItem::Upload { bucket, upload, object } => {
                    self.drop_upload(Key::upload(bucket, &object, upload)).await?;
                    keys.push(key);
                }
                SweepItem::Row(row) => keys.extend([row, key]),
            }
        }
        self.bury_and_delete(blobs, keys, slices, report).await
    }

    /// Whether every drive that may have bytes of an item is there to be told. A drive that is missing
    /// would come back with bytes that nothing names.
    async fn can_reclaim(&self, item: &SweepItem) -> Result<bool, EngineError> {
        let can_bury = |data: &Data| part_blob(data).is_none_or(|blob| self.pool().can_bury(blob));
        Ok(match item {
            SweepItem::Blob(blob) => self.pool().can_bury(*blob),
            SweepItem::Manifest(id) => {
                let pool = self.pool().clone();
                let can = self.look_at_parts_if_there(*id, move |list| {
                    for part in Manifest::walk(list)? {
                        let blob = part_blob(&part?.data()?);
                        if blob.is_some_and(|blob| !pool.can_bury(blob)) {
                            return Ok(false);
                        }
                    }
                    Ok(true)
                });
                can.await?.unwrap_or(true) && self.pool().is_whole()
            }
            SweepItem::Parts { upload, .. } => {
                let mut can = self.pool().is_whole();
                let snapshot = self.shared.catalog.snapshot();
                for row in snapshot.scan(prefix_range(&Key::parts_of(*upload))) {
                    let (_, value) = row?;
                    can &= can_bury(&PartRow::decode(&value)?.data);
                }
                can
            }
            SweepItem::Upload { .. } | SweepItem::Row(_) => true,
        })
    }

    /// Makes rows due later.
    async fn postpone(&self, rows: Vec<Row>) -> Result<(), EngineError> {
        if rows.is_empty() {
            return Ok(());
        }
        let due = self.now_ms() + POSTPONED_MS;
        self.commit(move |tx| {
            tx.use_reserve();
            for (key, item) in rows {
                tx.delete(key);
                plan::add_sweep(tx, due, &item);
            }
            Ok(())
        })
        .await
    }

    pub(crate) fn manifest_if_there(&self, id: BlobId) -> Result<Option<Manifest>, EngineError> {
        let bytes = self.shared.catalog.get(&Key::manifest(id))?;
        Ok(bytes.map(|bytes| Manifest::decode(&bytes)).transpose()?)
    }

    /// Drops the part rows of an upload, and the bytes of those that did not become the object.
    async fn reclaim_parts(
        &self,
        bucket: BucketId,
        upload: UploadId,
        manifest: Option<BlobId>,
        report: &mut SweepReport,
    ) -> Result<(), EngineError> {
        let numbers = |list: &[u8]| {
            let numbers = Manifest::walk(list)?.map(|part| Ok(part?.number_and_size()?.0));
            numbers.collect::<Result<BTreeSet<u16>, EngineError>>()
        };
        let kept = match manifest {
            // If the manifest is gone, so are its blobs: declaring them dead again is harmless.
            Some(id) => self.look_at_parts_if_there(id, numbers).await?.unwrap_or_default(),
            None => BTreeSet::new(),
        };
        let snapshot = self.shared.catalog.snapshot();
        let rows: Result<Vec<_>, _> = snapshot.scan(prefix_range(&Key::parts_of(upload))).collect();
        drop(snapshot);
        for chunk in rows?.chunks(ROUND_COUNT_MAX) {
            let (mut keys, mut blobs, mut slices, mut bytes) = (vec![], vec![], vec![], 0);
            for (key, value) in chunk {
                let part = PartRow::decode(value)?;
                bytes += part.size;
                if !kept.contains(&part.number) {
                    keys.extend(inline_key(&part.data));
                    blobs.extend(part_blob(&part.data));
                    slices.extend(is_slice(&part).then_some(part));
                }
                keys.push(key.to_vec());
            }
            let count = chunk.len() as u64;
            self.bury_blobs(blobs, report).await?;
            self.commit(move |tx| {
                tx.use_reserve();
                keys.into_iter().for_each(|key| tx.delete(key));
                slices.iter().try_for_each(|part| plan::release_part(tx, part))?;
                plan::adjust_usage(tx, bucket, |usage| {
                    usage.part_count -= count;
                    usage.part_bytes -= bytes;
                })
            })
            .await?;
        }
        Ok(())
    }

    /// Drops the row of an upload that was completed a day ago.
    async fn drop_upload(&self, key: Vec<u8>) -> Result<(), EngineError> {
        self.commit(move |tx| {
            tx.use_reserve();
            let row = tx.get(&key)?.map(|bytes| UploadRow::decode(&bytes)).transpose()?;
            if row.is_some_and(|row| matches!(row.state, UploadState::Completed { .. })) {
                tx.delete(key);
            }
            Ok(())
        })
        .await
    }

    async fn bury_blobs(
        &self,
        blobs: Vec<BlobId>,
        report: &mut SweepReport,
    ) -> Result<(), EngineError> {
        if !blobs.is_empty() {
            report.blobs += blobs.len() as u64;
            self.pool().bury(&blobs).await?;
        }
        Ok(())
    }

    async fn bury_and_delete(
        &self,
        blobs: Vec<BlobId>,
        keys: Vec<Vec<u8>>,
        slices: Vec<PartRow>,
        report: &mut SweepReport,
    ) -> Result<(), EngineError> {
        let mut keys = keys;
        keys.extend(blobs.iter().map(|blob| Key::repair(*blob)));
        self.bury_blobs(blobs, report).await?;
        if keys.is_empty() {
            return Ok(());
        }
        self.commit(move |tx| {
            tx.use_reserve();
            keys.into_iter().for_each(|key| tx.delete(key));
            slices.iter().try_for_each(|part| plan::release_part(tx, part))
        })
        .await
    }

    /// Frees dead segments and moves what is alive out of mostly dead ones. Blocks.
    ///
    /// # Errors
    ///
    /// The drive failed.
    pub fn compact(&self, pump: &dyn Fn()) -> Result<CompactReport, EngineError> {
        let catalog = &self.shared.catalog;
        let mut sum = CompactReport::default();
        for drive in self.pool().online() {
            let id = drive.identity().drive;
            let (frames_floor, segments) = (catalog.frames_floor(id), catalog.export_segments(id));
            let meter = RefCell::new(self.shared.pace.meter(Work::Compaction));
            let paced = || {
                pump();
                meter.borrow_mut().step(0);
            };
            let report = drive.compact(&Retain { frames_floor, segments }, &paced)?;
            self.shared.pace.count(Work::Compaction, report.moved_bytes);
            sum.freed += report.freed;
            sum.moved += report.moved;
            sum.moved_bytes += report.moved_bytes;
            sum.damaged += report.damaged;
        }
        Ok(sum)
    }

    /// Writes an export if so many frames are retained that one is due, or if `force`. Blocks.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn export_if_due(&self, force: bool, pump: &dyn Fn()) -> Result<bool, EngineError> {
        let catalog = &self.shared.catalog;
        let limit = EXPORT_AFTER_LEN.max(catalog.export_len_bytes());
        if !force && catalog.retained_frame_bytes() <= limit {
            return Ok(false);
        }
        catalog.export(pump)?;
        Ok(true)
    }
}

fn is_slice(part: &PartRow) -> bool {
    matches!(part.data, Data::Slice { .. })
}

/// Key of the row that holds the bytes of a small part.
fn inline_key(data: &Data) -> Option<Vec<u8>> {
    match data {
        Data::Inline(id) => Some(Key::inline(*id)),
        Data::Empty | Data::Blob { .. } | Data::Manifest(_) | Data::Slice { .. } => None,
    }
}
