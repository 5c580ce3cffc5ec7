//! The drive index: where each shard is, how much of each segment is alive, what is dead.
//!
//! Rows: 1, blob, stripe → location and birth lsn · 2, segment, incarnation → live records, live
//! bytes, least birth lsn · 3, blob → lsn of its tombstone, and 1 if it is a discard · 4 → floor · 5,
//! class → the newest incarnation that records were taken in from · 6 → number of the last frame. Sources
//! are the classes of the log.

mod waiting;

use crate::error::DriveError;
use crate::shard::ShardId;
use bytes::Bytes;
use drystone_base::sync::{Mutex, MutexGuard, lock};
use drystone_base::{BlobId, Reader, Writer};
use drystone_index::{Change, Index, prefix_range};
use drystone_log::{Class, Damage, Location, RecordKind, Recorded, SegmentInfo};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use waiting::Waiting;

const SHARD: u8 = 1;
const SEGMENT: u8 = 2;
const TOMBSTONE: u8 = 3;
const FLOOR: [u8; 1] = [4];
const NEWEST: u8 = 5;
const LAST_FRAME: [u8; 1] = [6];

/// What is alive in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alive {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// Least birth lsn of any shard that was ever put into the segment.
    pub(crate) least_birth_lsn: u64,
}

/// A segment and its incarnation.
pub(crate) type Place = (u32, u32);

/// Where records come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// They were written just now.
    Written,
    /// They were found in the log at the start.
    Replayed,
}

pub(crate) struct Table {
    index: Arc<dyn Index>,
    alive: Mutex<HashMap<Place, Alive>>,
    /// For each class, the newest incarnation that the index knows of.
    newest: [AtomicU32; 3],
    /// For each class, what the index has not taken because it failed.
    waiting: [Mutex<Waiting>; 3],
    is_behind: AtomicBool,
}

/// Changes that are being collected for one batch.
struct Batch<'a> {
    index: &'a dyn Index,
    alive: MutexGuard<'a, HashMap<Place, Alive>>,
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// What was alive before, in the segments that the batch touches.
    before: BTreeMap<Place, Option<Alive>>,
}

fn shard_key(shard: ShardId) -> Vec<u8> {
    let mut key = vec![SHARD];
    key.extend_from_slice(&shard.blob.0);
    key.extend_from_slice(&shard.stripe.to_be_bytes());
    key
}

fn shard_of_key(key: &[u8]) -> Option<ShardId> {
    let stripe = u32::from_be_bytes(key.get(17..21)?.try_into().ok()?);
    Some(ShardId { blob: BlobId::from_slice(&key[1..17])?, stripe })
}

fn blob_key(kind: u8, blob: BlobId) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(&blob.0);
    key
}

fn segment_key((segment, incarnation): Place) -> Vec<u8> {
    let mut key = vec![SEGMENT];
    key.extend_from_slice(&segment.to_be_bytes());
    key.extend_from_slice(&incarnation.to_be_bytes());
    key
}

/// Name of a class as a source of the index.
pub(crate) fn source(class: Class) -> u8 {
    match class {
        Class::Small => 10,
        Class::Bulk => 11,
        Class::Moved => 12,
    }
}

fn place(location: Location) -> Place {
    (location.segment, location.incarnation)
}

impl Table {
    pub(crate) fn open(index: Arc<dyn Index>) -> Result<Self, DriveError> {
        let snapshot = index.snapshot();
        let mut alive = HashMap::new();
        for row in index.scan(&snapshot, prefix_range(&[SEGMENT])) {
            let (key, value) = row?;
            let mut key = Reader::new(&key[1..], "segment row");
            let mut value = Reader::new(&value, "segment row");
            let mut read = || {
                let place = (key.u32()?.swap_bytes(), key.u32()?.swap_bytes());
                let (records, bytes) = (value.u64()?, value.u64()?);
                Ok((place, Alive { records, bytes, least_birth_lsn: value.u64()? }))
            };
            let (place, state) = read().map_err(|error: drystone_base::DecodeError| {
                drystone_index::IndexError { reason: error.to_string() }
            })?;
            alive.insert(place, state);
        }
        let table = Self {
            index,
            alive: Mutex::new(alive),
            newest: Default::default(),
            waiting: Default::default(),
            is_behind: AtomicBool::new(false),
        };
        for class in Class::ALL {
            let row = table.index.get(&[NEWEST, source(class)])?;
            let newest = row.and_then(|bytes| bytes[..].try_into().ok());
            let newest = newest.map_or(0, u32::from_le_bytes);
            table.newest[class as usize].store(newest, Ordering::Relaxed);
        }
        Ok(table)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Alive>> {
        lock(&self.alive)
    }

    pub(crate) fn position(&self, class: Class) -> Result<u64, DriveError> {
        Ok(self.index.position(source(class))?)
    }

    /// The lsn behind which a class has to be taken in again. Recovery may have written a tail to a
    /// new place under the same lsns: segments that the index has not heard of are read whole.
    pub(crate) fn replay_from(
        &self,
        class: Class,
        segments: &[SegmentInfo],
    ) -> Result<u64, DriveError> {
        let newest = self.newest[class as usize].load(Ordering::Relaxed);
        let unknown = segments.iter().filter(|s| s.class == class && s.incarnation > newest);
        let after = unknown.map(|segment| segment.after_lsn).min().unwrap_or(u64::MAX);
        Ok(self.position(class)?.min(after))
    }

    pub(crate) fn find(&self, shard: ShardId) -> Result<Option<Location>, DriveError> {
        self.catch_up()?;
        let row = self.index.get(&shard_key(shard))?;
        Ok(row.and_then(|bytes| Location::from_bytes(&bytes[..Location::LEN_BYTES])))
    }

    /// The last floor that was written down.
    pub(crate) fn floor(&self) -> Result<u64, DriveError> {
        let row = self.index.get(&FLOOR)?;
        Ok(row.and_then(|bytes| bytes[..].try_into().ok()).map_or(0, u64::from_le_bytes))
    }

    /// Number of the last catalog frame; 0 if there is none, or frames had no numbers.
    pub(crate) fn last_frame(&self) -> Result<u64, DriveError> {
        let row = self.index.get(&LAST_FRAME)?;
        Ok(row.and_then(|bytes| bytes[..].try_into().ok()).map_or(0, u64::from_le_bytes))
    }

    /// Gives each blob that has shards here, or that one, once, in order.
    pub(crate) fn visit_blobs(
        &self,
        stripe: Option<u32>,
        visit: &mut dyn FnMut(BlobId) -> Result<(), DriveError>,
    ) -> Result<(), DriveError> {
        self.catch_up()?;
        let snapshot = self.index.snapshot();
        let mut last = None;
        for row in self.index.scan(&snapshot, prefix_range(&[SHARD])) {
            let Some(shard) = shard_of_key(&row?.0) else { continue };
            let is_meant = stripe.is_none_or(|stripe| shard.stripe == stripe);
            if is_meant && last.replace(shard.blob) != Some(shard.blob) {
                visit(shard.blob)?;
            }
        }
        Ok(())
    }

    /// Some shards of each placement group, at most `most` of one.
    pub(crate) fn samples(&self, most: usize) -> Result<BTreeMap<u16, Vec<ShardId>>, DriveError> {
        self.catch_up()?;
        let snapshot = self.index.snapshot();
        let mut samples: BTreeMap<u16, Vec<ShardId>> = BTreeMap::new();
        for row in self.index.scan(&snapshot, prefix_range(&[SHARD])) {
            let Some(shard) = shard_of_key(&row?.0) else { continue };
            let of_group = samples.entry(shard.blob.group()).or_default();
            if of_group.len() < most {
                of_group.push(shard);
            }
        }
        Ok(samples)
    }

    /// Shards whose records lie in one of some stretches of an incarnation, or reach into it. Looks at the
    /// whole index: for what is rare.
    pub(crate) fn shards_in(
        &self,
        stretches: &[Damage],
        incarnation: u32,
    ) -> Result<Vec<ShardId>, DriveError> {
        self.catch_up()?;
        let is_in = |location: &Location| {
            let end = location.offset.saturating_add(location.payload_len);
            let touches = |stretch: &Damage| {
                stretch.segment == location.segment
                    && location.offset < stretch.to
                    && end >= stretch.from
            };
            location.incarnation == incarnation && stretches.iter().any(touches)
        };
        let snapshot = self.index.snapshot();
        let mut shards = Vec::new();
        for row in self.index.scan(&snapshot, prefix_range(&[SHARD])) {
            let (key, value) = row?;
            if location_of(&value).as_ref().is_some_and(is_in) {
                shards.extend(shard_of_key(&key));
            }
        }
        Ok(shards)
    }

    /// Whether a blob was declared dead for good.
    pub(crate) fn is_buried(&self, blob: BlobId) -> Result<bool, DriveError> {
        self.catch_up()?;
        let row = self.index.get(&blob_key(TOMBSTONE, blob))?;
        let death = row.and_then(|row| Death::decode(&row));
        Ok(matches!(death, Some(Death::Final { .. })))
    }

    /// Whether a blob was declared dead, or has no shard here any more.
    pub(crate) fn is_gone(&self, blob: BlobId) -> Result<bool, DriveError> {
        self.catch_up()?;
        let snapshot = self.index.snapshot();
        let has_shard = self.index.scan(&snapshot, prefix_range(&blob_key(SHARD, blob))).next();
        Ok(has_shard.transpose()?.is_none())
    }

    pub(crate) fn alive(&self, segment: u32, incarnation: u32) -> Option<Alive> {
        self.lock().get(&(segment, incarnation)).copied()
    }

    /// Takes durable records of a class in: new ones, or in a replay ones that may be known already,
    /// perhaps at another place.
    pub(crate) fn record(
        &self,
        class: Class,
        records: &[Recorded],
        origin: Origin,
    ) -> Result<(), DriveError> {
        let Some(last) = records.last() else { return Ok(()) };
        let position = self.index.position(source(class))?.max(last.lsn);
        let mut batch = Batch {
            index: &*self.index,
            alive: self.lock(),
            rows: BTreeMap::new(),
            before: BTreeMap::new(),
        };
        for record in records {
            let is_first = origin == Origin::Written
                && class == Class::Small
                && record.birth_lsn == record.lsn;
            if let Err(error) = batch.add(record, is_first) {
                batch.undo();
                return Err(error);
            }
        }
        let newest = records.iter().map(|record| record.location.incarnation).max().unwrap_or(0);
        if self.newest[class as usize].fetch_max(newest, Ordering::Relaxed) < newest {
            let row = newest.to_le_bytes().to_vec();
            batch.rows.insert(vec![NEWEST, source(class)], Some(row));
        }
        let changes = batch.changes();
        self.index.apply(source(class), position, changes);
        // The lock was held until here: batches of two classes build on each other.
        drop(batch);
        Ok(())
    }

    /// Whether no row points into a segment. What was counted there is corrected then.
    pub(crate) fn is_empty(&self, segment: u32, incarnation: u32) -> Result<bool, DriveError> {
        let whole = [Damage { segment, from: 0, to: u32::MAX, after_lsn: 0 }];
        if !self.shards_in(&whole, incarnation)?.is_empty() {
            return Ok(false);
        }
        if let Some(alive) = self.lock().get_mut(&(segment, incarnation)) {
            (alive.records, alive.bytes) = (0, 0);
        }
        Ok(true)
    }

    /// Forgets a freed segment.
    pub(crate) fn forget(&self, segment: u32, incarnation: u32) -> Result<(), DriveError> {
        let mut alive = self.lock();
        alive.remove(&(segment, incarnation));
        let key = segment_key((segment, incarnation)).into();
        // The sources do not move: the position is what it was.
        let position = self.index.position(source(Class::Moved))?;
        self.index.apply(source(Class::Moved), position, vec![Change { key, value: None }]);
        Ok(())
    }

    /// Forgets segments that are not in the log any more, and the shards that were in them: an index
    /// that lost its last batches in a crash may know of segments that were freed since. What was
    /// alive in them has been moved, and has been replayed at its new place.
    pub(crate) fn forget_missing(&self, present: &BTreeSet<Place>) -> Result<(), DriveError> {
        let mut alive = self.lock();
        if alive.keys().all(|place| present.contains(place)) {
            return Ok(());
        }
        alive.retain(|place, _| present.contains(place));
        let snapshot = self.index.snapshot();
        let mut changes = Vec::new();
        for row in self.index.scan(&snapshot, prefix_range(&[SHARD])) {
            let (key, value) = row?;
            if location_of(&value).is_none_or(|location| !present.contains(&place(location))) {
                changes.push(Change { key, value: None });
            }
        }
        for row in self.index.scan(&snapshot, prefix_range(&[SEGMENT])) {
            let (key, _) = row?;
            if !present.iter().any(|place| segment_key(*place) == key) {
                changes.push(Change { key, value: None });
            }
        }
        let position = self.index.position(source(Class::Moved))?;
        self.index.apply(source(Class::Moved), position, changes);
        Ok(())
    }

    /// Drops tombstones that no shard can be left for.
    pub(crate) fn drop_tombstones(&self, before_lsn: u64) -> Result<u64, DriveError> {
        let snapshot = self.index.snapshot();
        let mut changes = Vec::new();
        for row in self.index.scan(&snapshot, prefix_range(&[TOMBSTONE])) {
            let (key, value) = row?;
            let lsn = Death::decode(&value).map_or(u64::MAX, Death::lsn);
            if lsn < before_lsn {
                changes.push(Change { key, value: None });
            }
        }
        let count = changes.len() as u64;
        if count > 0 {
            let _guard = self.lock();
            let position = self.index.position(source(Class::Moved))?;
            self.index.apply(source(Class::Moved), position, changes);
        }
        Ok(count)
    }
}

impl Batch<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DriveError> {
        match self.rows.get(key) {
            Some(value) => Ok(value.clone()),
            None => Ok(self.index.get(key)?.map(|bytes| bytes.to_vec())),
        }
    }

    fn add(&mut self, record: &Recorded, is_first: bool) -> Result<(), DriveError> {
        let blobs = || record.control.chunks_exact(16).filter_map(BlobId::from_slice);
        match record.kind {
            RecordKind::Shard => self.add_shard(record, is_first)?,
            RecordKind::Floor => {
                drop(self.rows.insert(FLOOR.to_vec(), Some(record.control.to_vec())))
            }
            RecordKind::Frame if record.meta.len() == 8 => {
                drop(self.rows.insert(LAST_FRAME.to_vec(), Some(record.meta.to_vec())))
            }
            RecordKind::Tombstones => {
                for blob in blobs() {
                    self.bury(blob, Death::Final { lsn: record.lsn })?;
                }
            }
            RecordKind::Discards => {
                for blob in blobs() {
                    self.bury(blob, Death::Before { lsn: record.birth_lsn })?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Remembers what is alive in a segment before the batch changes it.
    fn touch(&mut self, here: Place) {
        let alive = &self.alive;
        self.before.entry(here).or_insert_with(|| alive.get(&here).copied());
    }

    /// Leaves what is alive as it was before the batch, which failed.
    fn undo(mut self) {
        for (here, before) in std::mem::take(&mut self.before) {
            match before {
                Some(alive) => drop(self.alive.insert(here, alive)),
                None => drop(self.alive.remove(&here)),
            }
        }
    }

    /// `is_first`: the first copy of a small payload. Tombstones are in the same class and come later,
    /// and blob ids are never used again, so there is nothing to look up. Manifests are looked up: a blob
    /// gets another one when its object is renamed or appended to.
    fn add_shard(&mut self, record: &Recorded, is_first: bool) -> Result<(), DriveError> {
        let Some(shard) = ShardId::of_meta(&record.meta) else { return Ok(()) };
        let is_first = is_first && shard.stripe != ShardId::MANIFEST;
        let death = match is_first {
            true => None,
            false => self.get(&blob_key(TOMBSTONE, shard.blob))?,
        };
        let buried = death.is_some_and(|row| {
            Death::decode(&row).is_none_or(|death| death.is_of(record.birth_lsn))
        });
        let key = shard_key(shard);
        let here = place(record.location);
        self.touch(here);
        let state = self.alive.entry(here).or_insert(Alive {
            records: 0,
            bytes: 0,
            least_birth_lsn: u64::MAX,
        });
        state.least_birth_lsn = state.least_birth_lsn.min(record.birth_lsn);
        if buried {
            return Ok(());
        }
        let known = if is_first { None } else { self.get(&key)? };
        // The one that was born last counts, such as what repair wrote: a start takes in one class after the
        // other, and a copy that compaction moves may come after a newer one.
        if known.as_ref().is_some_and(|row| birth_of(row) > record.birth_lsn) {
            return Ok(());
        }
        if let Some(old) = known.and_then(|row| location_of(&row)) {
            if old == record.location {
                return Ok(());
            }
            self.count(old, -1);
        }
        self.count(record.location, 1);
        let mut row = Writer::new();
        row.raw(&record.location.to_bytes()).u64(record.birth_lsn);
        self.rows.insert(key, Some(row.finish()));
        Ok(())
    }

    fn bury(&mut self, blob: BlobId, death: Death) -> Result<(), DriveError> {
        let key = blob_key(TOMBSTONE, blob);
        let known = self.get(&key)?.and_then(|row| Death::decode(&row));
        let death = known.map_or(death, |known| known.or(death));
        let prefix = blob_key(SHARD, blob);
        let mut found: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let snapshot = self.index.snapshot();
        for row in self.index.scan(&snapshot, prefix_range(&prefix)) {
            let (key, value) = row?;
            found.insert(key.to_vec(), value.to_vec());
        }
        for (key, value) in self.rows.range(prefix.clone()..) {
            if !key.starts_with(&prefix) {
                break;
            }
            match value {
                Some(value) => drop(found.insert(key.clone(), value.clone())),
                None => drop(found.remove(key)),
            }
        }
        for (shard, value) in found {
            if !death.is_of(birth_of(&value)) {
                continue;
            }
            if let Some(location) = location_of(&value) {
                self.count(location, -1);
            }
            self.rows.insert(shard, None);
        }
        self.rows.insert(key, Some(death.encode()));
        Ok(())
    }

    fn count(&mut self, location: Location, by: i64) {
        let here = place(location);
        self.touch(here);
        if let Some(state) = self.alive.get_mut(&here) {
            state.records = state.records.saturating_add_signed(by);
            let bytes = i64::from(location.payload_len) * by;
            state.bytes = state.bytes.saturating_add_signed(bytes);
        }
    }

    fn changes(&mut self) -> Vec<Change> {
        for here in self.before.keys() {
            if let Some(state) = self.alive.get(here) {
                let mut w = Writer::new();
                w.u64(state.records).u64(state.bytes).u64(state.least_birth_lsn);
                self.rows.insert(segment_key(*here), Some(w.finish()));
            }
        }
        let rows = std::mem::take(&mut self.rows).into_iter();
        rows.map(|(key, value)| Change { key: key.into(), value: value.map(Bytes::from) }).collect()
    }
}

fn location_of(row: &[u8]) -> Option<Location> {
    Location::from_bytes(row.get(..Location::LEN_BYTES)?)
}

/// Birth lsn of the shard of a row; 0 if it cannot be read.
fn birth_of(row: &[u8]) -> u64 {
    let bytes = row.get(Location::LEN_BYTES..).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

/// Which shards of a blob are dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    /// All of them: the id is never used again.
    Final { lsn: u64 },
    /// Those born before an lsn: the blob may have come back later.
    Before { lsn: u64 },
}

impl Death {
    fn lsn(self) -> u64 {
        match self {
            Self::Final { lsn } | Self::Before { lsn } => lsn,
        }
    }

    /// Whether a shard is dead that was born at an lsn.
    fn is_of(self, birth_lsn: u64) -> bool {
        match self {
            Self::Final { .. } => true,
            Self::Before { lsn } => birth_lsn < lsn,
        }
    }

    /// What both say together.
    fn or(self, other: Self) -> Self {
        let lsn = self.lsn().max(other.lsn());
        match (self, other) {
            (Self::Before { .. }, Self::Before { .. }) => Self::Before { lsn },
            _ => Self::Final { lsn },
        }
    }

    fn encode(self) -> Vec<u8> {
        let mut row = self.lsn().to_le_bytes().to_vec();
        row.extend(matches!(self, Self::Before { .. }).then_some(1));
        row
    }

    fn decode(row: &[u8]) -> Option<Self> {
        let (lsn, kind) = row.split_at_checked(8)?;
        let lsn = u64::from_le_bytes(lsn.try_into().ok()?);
        Some(if kind == [1] { Self::Before { lsn } } else { Self::Final { lsn } })
    }
}
