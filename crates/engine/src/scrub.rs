//! Reading everything once in a while: each drive its segments, in order, and what the records of a stripe
//! say about the other drives of its group is compared with what these have.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::layout::Layout;
use crate::pace::Work;
use crate::repair::RepairReport;
use drystone_base::{BlobId, DecodeError, Reader, Writer};
use drystone_catalog::{Decision, Key};
use drystone_cluster::DriveId;
use drystone_drive::{Coding, Drive, ShardId};
use drystone_log::SegmentInfo;
use std::collections::BTreeMap;

const FORMAT: u8 = 1;
/// Shards of blobs that are younger may be on their way: nothing is said to be missing.
const YOUNG_MS: u64 = 15 * 60 * 1000;
/// Progress is written down after so long, at most.
const SAVE_AFTER_MS: u64 = 60_000;

/// How far the scrub of a drive is, and what it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubState {
    /// When the pass began, in milliseconds since 1970; 0 if none runs.
    pub started_ms: u64,
    /// When a pass ended last; 0 for never.
    pub finished_ms: u64,
    /// The last segment that this pass has read.
    pub segment: u32,
    /// Bytes read by this pass, or by the last one if none runs.
    pub bytes: u64,
    /// Shards that did not verify.
    pub damaged: u64,
    /// Shards that other drives of a stripe should have and did not.
    pub missing: u64,
    /// Stretches of the log that did not verify.
    pub stretches: u64,
    /// Shards given back.
    pub repaired: u64,
}

impl ScrubState {
    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u8(FORMAT).u64(self.started_ms).u64(self.finished_ms).u32(self.segment);
        w.u64(self.bytes).u64(self.damaged).u64(self.missing);
        w.u64(self.stretches).u64(self.repaired);
        w.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes, "scrub row");
        if r.u8()? != FORMAT {
            return Err(r.malformed());
        }
        let (started_ms, finished_ms, segment) = (r.u64()?, r.u64()?, r.u32()?);
        let (bytes, damaged, missing) = (r.u64()?, r.u64()?, r.u64()?);
        let (stretches, repaired) = (r.u64()?, r.u64()?);
        Ok(Self { started_ms, finished_ms, segment, bytes, damaged, missing, stretches, repaired })
    }

    /// Whether a pass runs, or is due: so long after the last one ended, or the drive was made.
    fn is_due(&self, now_ms: u64, created_ms: u64, every_ms: u64) -> bool {
        let last = self.finished_ms.max(created_ms);
        self.started_ms != 0 || now_ms.saturating_sub(last) >= every_ms
    }
}

/// A shard that is to be given back, at a place of its stripe.
type Lack = (Layout, (u32, usize));

impl Engine {
    /// How far the scrub of a drive is.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn scrub_state(&self, drive: DriveId) -> Result<ScrubState, EngineError> {
        let row = self.shared.catalog.get(&Key::scrub(drive.0))?;
        // What cannot be read is not worth stopping for: the pass begins again.
        Ok(row.and_then(|row| ScrubState::decode(&row).ok()).unwrap_or_default())
    }

    /// Scrubs each drive for which it is time, and gives back what lacks. `every_ms`: from the end of one
    /// pass to the next. `goes_on` is asked after each segment. Blocks, for long. Says whether anything
    /// was read.
    ///
    /// # Errors
    ///
    /// The catalog failed, or a drive does not take what it is given back.
    pub fn scrub(&self, every_ms: u64, goes_on: &dyn Fn() -> bool) -> Result<bool, EngineError> {
        let mut has_read = false;
        for drive in self.pool().online() {
            let state = self.scrub_state(DriveId(drive.identity().drive))?;
            let created_ms = drive.identity().created_ms;
            if goes_on() && state.is_due(self.now_ms(), created_ms, every_ms) {
                has_read = true;
                self.scrub_drive(&drive, state, goes_on)?;
            }
        }
        Ok(has_read)
    }

    fn scrub_drive(
        &self,
        drive: &Drive,
        known: ScrubState,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<(), EngineError> {
        let id = DriveId(drive.identity().drive);
        let mut state = known;
        if state.started_ms == 0 {
            let (started_ms, finished_ms) = (self.now_ms(), known.finished_ms);
            state = ScrubState { started_ms, finished_ms, ..ScrubState::default() };
        }
        let mut saved_ms = self.now_ms();
        let mut segments = drive.log().segments();
        segments.retain(|info| info.has_readable_part() && info.segment > state.segment);
        segments.sort_by_key(|info| info.segment);
        for info in segments {
            if !goes_on() {
                return self.save_scrub(id, state);
            }
            self.scrub_segment(drive, &info, &mut state)?;
            state.segment = info.segment;
            if self.now_ms().saturating_sub(saved_ms) >= SAVE_AFTER_MS {
                self.save_scrub(id, state)?;
                saved_ms = self.now_ms();
            }
        }
        (state.started_ms, state.finished_ms, state.segment) = (0, self.now_ms(), 0);
        let ScrubState { bytes, damaged, missing, repaired, .. } = state;
        tracing::info!(drive = %id, bytes, damaged, missing, repaired, "the drive was scrubbed");
        self.save_scrub(id, state)
    }

    fn save_scrub(&self, drive: DriveId, state: ScrubState) -> Result<(), EngineError> {
        let ticket = self.shared.catalog.submit(move |tx| {
            tx.use_reserve();
            tx.put(Key::scrub(drive.0), state.encode());
            Ok(Decision::Commit(()))
        });
        Ok(ticket.wait()?)
    }

    fn scrub_segment(
        &self,
        drive: &Drive,
        info: &SegmentInfo,
        state: &mut ScrubState,
    ) -> Result<(), EngineError> {
        let mut meter = self.shared.pace.meter(Work::Scrub);
        let mut lacks: Vec<Lack> = Vec::new();
        let mut failed = None;
        let scrubbed = drive.scrub_segment(info, &mut |len, shard| {
            state.bytes += len;
            if let Some((shard, coding)) = shard
                && let Err(error) = self.compare_stripe(drive, shard, &coding, &mut lacks)
            {
                failed = Some(error);
            }
            meter.step(len);
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        state.missing += lacks.len() as u64;
        state.stretches += scrubbed.stretches.len() as u64;
        state.damaged += scrubbed.damaged.len() as u64;
        for damage in &scrubbed.stretches {
            let drive = DriveId(drive.identity().drive);
            tracing::error!(%drive, ?damage, "a scrub found a stretch that does not verify");
        }
        for shard in scrubbed.damaged {
            match self.layout_of_damaged(drive, shard)? {
                Some(lack) => lacks.push(lack),
                None => tracing::error!(%shard, "a damaged shard cannot be rebuilt"),
            }
        }
        state.repaired += self.give_back_all(drive, &lacks)?;
        Ok(())
    }

    /// Notes which shards of a stripe the other drives of its group lack, if a record of it knows how long
    /// the stripe is.
    fn compare_stripe(
        &self,
        drive: &Drive,
        shard: ShardId,
        coding: &Coding,
        lacks: &mut Vec<Lack>,
    ) -> Result<(), EngineError> {
        let own = usize::from(coding.member);
        let is_old = self.now_ms().saturating_sub(shard.blob.time_ms()) >= YOUNG_MS;
        let is_member = self.place_of(drive, shard.blob) == Some(own);
        if !coding.knows_stripe() || coding.parity == 0 || !is_old || !is_member {
            return Ok(());
        }
        let layout = Layout::of_stripe(shard, coding);
        for place in (0..layout.shape.shard_count()).filter(|place| *place != own) {
            let member = self.pool().member_of(shard.blob, place);
            let Some(member) = member.filter(|_| layout.shard_len(shard.stripe, place) > 0) else {
                continue;
            };
            if !member.has(shard)? {
                lacks.push((layout, (shard.stripe, place)));
            }
        }
        Ok(())
    }

    /// Place of a drive in a blob's group.
    fn place_of(&self, drive: &Drive, blob: BlobId) -> Option<usize> {
        let (id, group) = (DriveId(drive.identity().drive), self.pool().group(blob.group())?);
        group.members.iter().position(|member| *member == id)
    }

    /// The layout of a damaged shard's stripe, from what the other drives have of it.
    fn layout_of_damaged(
        &self,
        drive: &Drive,
        shard: ShardId,
    ) -> Result<Option<Lack>, EngineError> {
        let Some(own) = self.place_of(drive, shard.blob) else { return Ok(None) };
        for member in self.pool().members_of(shard.blob).into_iter().flatten() {
            if member.identity().drive == drive.identity().drive {
                continue;
            }
            if let Some(coding) = member.coding(shard)?.filter(Coding::knows_stripe) {
                return Ok(Some((Layout::of_stripe(shard, &coding), (shard.stripe, own))));
            }
        }
        Ok(None)
    }

    /// Writes shards again. Of blobs that were declared dead meanwhile nothing stays.
    fn give_back_all(&self, witness: &Drive, lacks: &[Lack]) -> Result<u64, EngineError> {
        let mut report = RepairReport::default();
        let mut blobs: BTreeMap<BlobId, u32> = BTreeMap::new();
        let mut meter = self.shared.pace.meter(Work::Repair);
        for (layout, at) in lacks {
            self.give_back(layout, *at, &mut report)?;
            *blobs.entry(layout.blob).or_default() |= 1 << at.1;
            meter.step(layout.shard_len(at.0, at.1));
        }
        for (blob, places) in blobs {
            self.flush_members(blob, places)?;
            if witness.is_buried(blob)? {
                self.pool().bury_later(&[blob]);
            }
        }
        Ok(report.shards)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_due_after_its_time_and_goes_on_after_a_restart() {
        let day = 24 * 3600 * 1000;
        let new = ScrubState::default();
        assert!(!new.is_due(10 * day, 9 * day, 14 * day));
        assert!(new.is_due(30 * day, 9 * day, 14 * day));
        let runs = ScrubState { started_ms: 5, ..new };
        assert!(runs.is_due(6, 9 * day, 14 * day));
        let done = ScrubState { finished_ms: 29 * day, bytes: 7, ..new };
        assert!(!done.is_due(30 * day, 9 * day, 14 * day));
        assert_eq!(ScrubState::decode(&done.encode()).expect("is read"), done);
        assert!(ScrubState::decode(&[9]).is_err());
    }
}
