//! Giving space back: freeing dead segments, and moving what is alive out of half-dead ones.

use crate::drive::Drive;
use crate::error::DriveError;
use crate::shard::ShardId;
use bytes::Bytes;
use drystone_base::BlobId;
use drystone_log::{
    Class, Durability, Location, LogError, RecordInput, RecordKind, SHARD_META_LEN_BYTES, Scanned,
    ScannedRecord, SeededBug, SegmentInfo,
};

/// What others still need in the log.
#[derive(Clone, Debug, Default)]
pub struct Retain {
    /// Catalog frames up to this lsn are not needed any more.
    pub frames_floor: u64,
    /// Segments that hold the last export.
    pub segments: Vec<u32>,
}

/// What a round of compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactReport {
    /// Segments freed.
    pub freed: u64,
    /// Shards moved.
    pub moved: u64,
    /// Bytes of payload moved.
    pub moved_bytes: u64,
    /// Segments that stay because something in them does not verify, or is not where the index says.
    pub damaged: u64,
}

/// A segment is compacted when less than this share of it, in percent, is alive.
const ALIVE_PERCENT_MAX: u64 = 50;
/// Moved bytes between two flushes.
const MOVE_CHUNK_LEN: u64 = 4 << 20;

impl Drive {
    /// Frees what is dead and moves what is alive out of segments that are mostly dead. `pump` lets
    /// the log work in a simulation. Blocks; for a background thread.
    ///
    /// # Errors
    ///
    /// What log and index report; whatever was moved or freed before stays so.
    pub fn compact(&self, retain: &Retain, pump: &dyn Fn()) -> Result<CompactReport, DriveError> {
        let mut report = CompactReport::default();
        let segments = self.log().segments();
        // Everything in those of them that are sealed has been recorded.
        self.shared.table.catch_up()?;
        for info in segments {
            let needed = info.class == Class::Small && info.last_lsn > retain.frames_floor;
            if !info.sealed || needed || retain.segments.contains(&info.segment) {
                continue;
            }
            let alive = self.shared.table.alive(info.segment, info.incarnation);
            let alive_bytes = alive.map_or(0, |alive| alive.bytes);
            // A segment that was closed early takes the space of a full one.
            if alive_bytes * 100 > u64::from(self.log().segment_len()) * ALIVE_PERCENT_MAX {
                continue;
            }
            match self.empty(&info, &mut report, pump) {
                Ok(()) => {
                    self.log().free(info.segment, info.incarnation)?;
                    self.shared.table.forget(info.segment, info.incarnation)?;
                    report.freed += 1;
                }
                // One that cannot be emptied is no reason to leave the others.
                Err(
                    DriveError::Damaged { .. }
                    | DriveError::Log(LogError::Damaged(_) | LogError::NotThere),
                ) => report.damaged += 1,
                Err(error) => return Err(error),
            }
        }
        self.log().refill_reserve()?;
        self.shared.table.drop_tombstones(self.least_birth_lsn())?;
        Ok(report)
    }

    /// No shard on the drive was born before this lsn.
    fn least_birth_lsn(&self) -> u64 {
        if self.shared.table.is_behind() {
            return 0;
        }
        let births = self.log().segments().into_iter().map(|info| {
            let alive = self.shared.table.alive(info.segment, info.incarnation);
            let in_table = alive.map_or(u64::MAX, |alive| alive.least_birth_lsn);
            // What is on its way into an open segment may not be in the table yet.
            let unknown = info.after_lsn.max(info.found_lsn);
            if info.sealed { in_table } else { in_table.min(unknown) }
        });
        births.min().unwrap_or(0)
    }

    /// Moves everything that is alive out of a segment. When this returns, nothing in it is needed.
    fn empty(
        &self,
        info: &SegmentInfo,
        report: &mut CompactReport,
        pump: &dyn Fn(),
    ) -> Result<(), DriveError> {
        let mut moving = Moving { drive: self, pump, pending: Vec::new(), len: 0 };
        let mut tombstones: Vec<u8> = Vec::new();
        let mut discards: Vec<(Bytes, u64)> = Vec::new();
        let early = self.log().has_bug(SeededBug::DropTombstoneEarly);
        let floor = if early { u64::MAX } else { self.least_birth_lsn() };
        let mut visit = |scanned| match scanned {
            Scanned::Damage(damage) => Err(LogError::Damaged(damage).into()),
            Scanned::Record(record) => match record.kind {
                RecordKind::Shard => moving.take(&record, report),
                RecordKind::Tombstones if record.lsn >= floor => {
                    tombstones.extend_from_slice(&record.payload);
                    Ok(())
                }
                RecordKind::Discards if record.birth_lsn >= floor => {
                    discards.push((record.payload.clone(), record.birth_lsn));
                    Ok(())
                }
                _ => Ok(()),
            },
        };
        self.log().scan_segment::<DriveError>(info.segment, 0, &mut visit)?;
        moving.flush(report)?;
        for blobs in tombstones.chunks(64 << 10) {
            let blobs: Vec<_> = blobs.chunks_exact(16).filter_map(BlobId::from_slice).collect();
            let ticket = self.bury(&blobs);
            pump();
            ticket.wait()?;
        }
        for (blobs, birth_lsn) in discards {
            let ticket = self.append_discards(blobs, Some(birth_lsn));
            pump();
            ticket.wait()?;
        }
        let left = self.shared.table.alive(info.segment, info.incarnation);
        let is_done = left.is_none_or(|alive| alive.records == 0)
            || self.log().has_bug(SeededBug::FreeSourceEarly)
            // Earlier versions counted some manifests twice: what counts is where rows point.
            || self.shared.table.is_empty(info.segment, info.incarnation)?;
        match is_done {
            true => Ok(()),
            // The table knows of shards that the scan did not meet: they are not thrown away.
            false => Err(LogError::NotThere.into()),
        }
    }
}

/// Shards on their way to another segment.
struct Moving<'a> {
    drive: &'a Drive,
    pump: &'a dyn Fn(),
    pending: Vec<(ShardId, RecordInput)>,
    len: u64,
}

impl Moving<'_> {
    fn take(
        &mut self,
        record: &ScannedRecord,
        report: &mut CompactReport,
    ) -> Result<(), DriveError> {
        let Some(shard) = ShardId::of_meta(&record.meta) else { return Ok(()) };
        if self.drive.shared.table.find(shard)? != Some(record.location) {
            return Ok(());
        }
        let read = self.drive.read(shard, Some(record.location), 0..record.location.payload_len)?;
        let mut input = RecordInput::new(RecordKind::Shard, record.meta.clone(), read.bytes);
        input.birth_lsn = Some(record.birth_lsn);
        self.len += input.payload.len() as u64;
        self.pending.push((shard, input));
        let full = self.len >= MOVE_CHUNK_LEN.min(u64::from(self.drive.log().segment_len()) / 4);
        if full { self.flush(report) } else { Ok(()) }
    }

    /// Appends, flushes, and reads back. The table follows by itself: it is told before the ticket.
    fn flush(&mut self, report: &mut CompactReport) -> Result<(), DriveError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let (shards, records): (Vec<_>, Vec<_>) = self.pending.drain(..).unzip();
        let copies: Vec<Bytes> = records.iter().map(|record| record.payload.clone()).collect();
        let log = self.drive.log();
        let early = log.has_bug(SeededBug::FreeSourceEarly);
        let durability = if early { Durability::Written } else { Durability::Flushed };
        let ticket = log.append_ticket(Class::Moved, records, durability);
        (self.pump)();
        let places = ticket.wait()?;
        for ((shard, (_, location)), copy) in shards.into_iter().zip(places).zip(copies) {
            self.verify(shard, location, &copy)?;
            report.moved += 1;
            report.moved_bytes += copy.len() as u64;
        }
        self.len = 0;
        Ok(())
    }

    fn verify(&self, shard: ShardId, location: Location, copy: &Bytes) -> Result<(), DriveError> {
        let log = self.drive.log();
        let read = log.read(location, SHARD_META_LEN_BYTES, 0..location.payload_len)?;
        if read.payload == *copy { Ok(()) } else { Err(DriveError::NotFound(shard)) }
    }
}
