//! Giving shards back that a drive lost, or that were never written to it.

use crate::audit::ShardState;
use crate::budget::Share;
use crate::cells::CellRange;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::layout::Layout;
use crate::pace::Work;
use crate::stripe::Lacking;
use bytes::Bytes;
use drystone_base::{BlobId, DecodeError, Reader, Writer};
use drystone_catalog::{Family, Key, Tx};
use drystone_cluster::Shape;
use drystone_drive::Drive;
use drystone_log::{Location, LogError, Ticket};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Damaged shards that are remembered at most; a scrub finds the others.
const NOTED_COUNT_MAX: usize = 4096;
/// Shards of one of them: repair looks at all of its stripes in any case.
const NOTED_SHARD_COUNT_MAX: usize = 256;
const FORMAT: u8 = 1;

/// What a repair did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Shards that were missing or damaged and are there again.
    pub shards: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Shards that still lack: their drive is missing, or too few others are left.
    pub left: u64,
}

/// Shards that readers found damaged, by blob.
#[derive(Default)]
pub(crate) struct Noted(BTreeMap<BlobId, (Layout, BTreeSet<(u32, usize)>)>);

impl Lacking {
    /// Stored form: format, places, data, parity, cell length, size.
    fn encode(&self) -> Vec<u8> {
        let Layout { shape, cell_len, size, .. } = self.layout;
        let mut w = Writer::new();
        w.u8(FORMAT).u32(self.places).u8(shape.data).u8(shape.parity).u32(cell_len as u32);
        w.u64(size);
        w.finish()
    }

    fn decode(blob: BlobId, bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes, "repair row");
        if r.u8()? != FORMAT {
            return Err(r.malformed());
        }
        let (places, data, parity) = (r.u32()?, r.u8()?, r.u8()?);
        let (cell_len, size) = (r.u32()?.into(), r.u64()?);
        let shape = Shape::new(data, parity);
        Ok(Self { layout: Layout { blob, shape, cell_len, size, first_stripe: 0 }, places })
    }
}

/// Notes in the transaction of a blob's row what the blob lacks.
pub(crate) fn note_lacking(tx: &mut Tx<'_>, lacking: Option<&Lacking>) {
    if let Some(lacking) = lacking {
        tx.put(Key::repair(lacking.layout.blob), lacking.encode());
    }
}

/// Notes what a blob lacks whose row is there already, beside what it is known to lack.
pub(crate) fn note_lacking_too(tx: &mut Tx<'_>, lacking: &Lacking) -> Result<(), EngineError> {
    let blob = lacking.layout.blob;
    let known = tx.get(&Key::repair(blob))?.map(|row| Lacking::decode(blob, &row)).transpose()?;
    let places = lacking.places | known.map_or(0, |known| known.places);
    tx.put(Key::repair(blob), Lacking { places, ..*lacking }.encode());
    Ok(())
}

/// A shard on its way to a drive.
pub(crate) struct Writing {
    ticket: Ticket<Result<Vec<(u64, Location)>, LogError>>,
    _share: Share,
}

impl Writing {
    pub(crate) fn wait(self) -> Result<(), EngineError> {
        self.ticket.wait()?;
        Ok(())
    }
}

impl Engine {
    /// Remembers a shard that was found damaged.
    pub(crate) fn note_damage(&self, cell: &CellRange) {
        let mut noted = self.noted();
        if noted.0.len() < NOTED_COUNT_MAX {
            let entry = noted.0.entry(cell.layout.blob).or_insert((cell.layout, BTreeSet::new()));
            if entry.1.len() < NOTED_SHARD_COUNT_MAX && entry.1.insert((cell.stripe, cell.place)) {
                let (blob, stripe, place) = (cell.layout.blob, cell.stripe, cell.place);
                tracing::warn!(%blob, stripe, place, "a damaged shard was read around");
            }
        }
    }

    /// Gives back what readers found damaged and what repair rows name. Blocks.
    ///
    /// # Errors
    ///
    /// The catalog failed, or a drive does not take what it is given.
    pub fn repair(&self) -> Result<RepairReport, EngineError> {
        let mut report = RepairReport::default();
        let mut meter = self.shared.pace.meter(Work::Repair);
        let noted = std::mem::take(&mut *self.noted());
        for (layout, shards) in noted.0.into_values() {
            let places = shards.iter().fold(0, |places, (_, place)| places | 1 << place);
            for (stripe, place) in shards {
                self.repair_shard(&layout, (stripe, place), true, &mut report)?;
                meter.step(layout.shard_len(stripe, place));
            }
            self.flush_members(layout.blob, places)?;
        }
        let mut range = Family::Repair.range();
        loop {
            // A snapshot is not held while shards are repaired, and there may be millions of rows.
            let first = self.shared.catalog.snapshot().scan(range.clone()).next().transpose()?;
            let Some((key, value)) = first else { break };
            range.0 = Bound::Excluded(key.to_vec());
            let blob = BlobId::from_slice(&key[1..]).ok_or(DecodeError { what: "repair key" })?;
            let lacking = Lacking::decode(blob, &value)?;
            let before = report;
            self.repair_blob(&lacking.layout, lacking.places, &mut report)?;
            meter.step(report.bytes - before.bytes);
            if report.left == before.left {
                let ticket = self.shared.catalog.submit(move |tx| {
                    tx.use_reserve();
                    tx.delete(key.to_vec());
                    Ok(drystone_catalog::Decision::Commit(()))
                });
                ticket.wait()?;
            }
        }
        Ok(report)
    }

    /// Gives back the shards of a blob that its drives lack, at some places of its group.
    fn repair_blob(
        &self,
        layout: &Layout,
        places: u32,
        report: &mut RepairReport,
    ) -> Result<(), EngineError> {
        // Who was not there got no copy of the manifest either.
        for layout in std::iter::once(*layout).chain(self.manifest_layout(layout.blob)?) {
            let lacking = |place: &usize| places >> place & 1 == 1;
            for stripe in layout.stripes() {
                for place in (0..layout.shape.shard_count()).filter(lacking) {
                    self.repair_shard(&layout, (stripe, place), false, report)?;
                }
            }
        }
        // Also what a late member wrote after all must be durable before its row goes.
        self.flush_members(layout.blob, places)
    }

    /// Gives a shard back if it is not as it should be.
    fn repair_shard(
        &self,
        layout: &Layout,
        at: (u32, usize),
        reads: bool,
        report: &mut RepairReport,
    ) -> Result<(), EngineError> {
        if layout.shard_len(at.0, at.1) == 0 {
            return Ok(());
        }
        match self.shard_state(layout, at, reads)? {
            ShardState::Whole => Ok(()),
            ShardState::Missing | ShardState::Damaged => self.give_back(layout, at, report),
            ShardState::Unreachable => {
                report.left += 1;
                Ok(())
            }
        }
    }

    /// Writes a shard again from others. It is durable after [`Engine::flush_members`]. The shard of a
    /// blob that was declared dead meanwhile is written in vain: drives remember that.
    pub(crate) fn give_back(
        &self,
        layout: &Layout,
        at: (u32, usize),
        report: &mut RepairReport,
    ) -> Result<(), EngineError> {
        let share = self.shared.budget.reserve_blocking(layout.give_back_len(at));
        match self.start_give_back(layout, at, share, report) {
            Some(writing) => writing.wait(),
            None => Ok(()),
        }
    }

    /// As [`Engine::give_back`], but for waiting until it is written. Who has such writings waits for no
    /// share: several that did would wait for each other.
    pub(crate) fn start_give_back(
        &self,
        layout: &Layout,
        (stripe, place): (u32, usize),
        share: Share,
        report: &mut RepairReport,
    ) -> Option<Writing> {
        let len = layout.shard_len(stripe, place) as u32;
        let members = self.pool().members_of(layout.blob);
        let cell = CellRange { layout: *layout, stripe, place, range: 0..len, hint: None };
        match (members.get(place), self.gentle_reader().recover(&cell, &members)) {
            (Some(Some(drive)), Some(read)) => {
                report.shards += 1;
                report.bytes += u64::from(len);
                let ticket = self.start_shard(drive, layout, (stripe, place), read.bytes);
                Some(Writing { ticket, _share: share })
            }
            _ => {
                report.left += 1;
                None
            }
        }
    }

    /// Hands a shard to a drive.
    pub(crate) fn start_shard(
        &self,
        drive: &Drive,
        layout: &Layout,
        (stripe, place): (u32, usize),
        payload: Bytes,
    ) -> Ticket<Result<Vec<(u64, Location)>, LogError>> {
        drive.append(layout.shard(stripe).record(0, layout.coding(stripe, place), payload))
    }

    /// Makes what was written to members of a blob's group durable. `places`: which ones, a bit each.
    pub(crate) fn flush_members(&self, blob: BlobId, places: u32) -> Result<(), EngineError> {
        let members = self.pool().members_of(blob).into_iter().enumerate();
        let written = members.filter(|(place, _)| places >> place & 1 == 1);
        let tickets: Vec<_> = written.filter_map(|(_, drive)| Some(drive?.flush())).collect();
        for ticket in tickets {
            ticket.wait()?;
        }
        Ok(())
    }
}
