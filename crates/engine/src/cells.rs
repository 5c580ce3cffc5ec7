//! Reading ranges of cells: from the drive that has them, or around it.

use crate::layout::Layout;
use crate::pace::Pace;
use bytes::Bytes;
use drystone_base::sync::lock;
use drystone_cluster::{DriveId, Pool};
use drystone_drive::{Drive, DriveError, ShardId};
use drystone_log::Location;
use std::ops::Range;

/// Cells up to this length are kept by a reader that had to read them for their neighbour.
const SPARED_LEN: u64 = 256 << 10;

/// A range of one cell.
#[derive(Clone, Debug)]
pub(crate) struct CellRange {
    pub(crate) layout: Layout,
    pub(crate) stripe: u32,
    pub(crate) place: usize,
    pub(crate) range: Range<u32>,
    pub(crate) hint: Option<Location>,
}

/// What a read found.
pub(crate) struct CellRead {
    /// The bytes, verified.
    pub(crate) bytes: Bytes,
    /// The shard that should have had them did not, though its drive is there.
    pub(crate) is_damaged: bool,
    /// What else of the stripe was read, or could be made from that, to go around the shard: the same range
    /// of the other cells, by place.
    pub(crate) others: Vec<(usize, Bytes)>,
}

impl CellRead {
    /// What the drive had that should have it.
    pub(crate) fn direct(bytes: Bytes) -> Self {
        Self { bytes, is_damaged: false, others: Vec::new() }
    }
}

impl CellRange {
    /// Reads without waiting for a device; `None` if that would be necessary, or the shard is not as it
    /// should be.
    pub(crate) fn read_cached(&self, pool: &Pool) -> Option<Bytes> {
        let drive = pool.member_of(self.layout.blob, self.place)?;
        let shard = self.layout.shard(self.stripe);
        drive.read_cached(shard, self.hint, self.range.clone()).ok()?.map(|read| read.bytes)
    }

    /// The bytes, and what else comes with them, from as many shards as are needed.
    pub(crate) fn assemble(&self, pool: &Pool, shards: Vec<Option<Bytes>>) -> Option<CellRead> {
        let shape = self.layout.shape;
        let needed = usize::from(shape.data);
        let known: Vec<Option<&[u8]>> = shards.iter().map(Option::as_deref).collect();
        let make = |place: usize| {
            let len = self.range_at(place).len();
            pool.code(shape).recover(&known, place, len).ok().map(Bytes::from)
        };
        let bytes = make(self.place)?;
        // In a stripe of which cells are missing: the client asks for the others next.
        let mut others = Vec::new();
        if needed > 1 && self.layout.cell_len <= SPARED_LEN {
            for place in (0..needed).filter(|place| *place != self.place) {
                let cell = shards[place].clone().or_else(|| make(place));
                others.extend(cell.map(|cell| (place, cell)));
            }
        }
        Some(CellRead { bytes, is_damaged: false, others })
    }

    /// The range at another place, cut to what there is.
    pub(crate) fn range_at(&self, place: usize) -> Range<u32> {
        let len = self.layout.shard_len(self.stripe, place) as u32;
        self.range.start.min(len)..self.range.end.min(len)
    }
}

/// Reads for work in the background: blocks for as long as a drive does, and lets clients go first.
pub(crate) struct GentleReader<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) pace: &'a Pace,
}

impl GentleReader<'_> {
    /// Reads a range of a shard, in pieces, one at a time from each drive.
    fn read_shard(
        &self,
        drive: &Drive,
        shard: ShardId,
        hint: Option<Location>,
        range: Range<u32>,
    ) -> Result<Bytes, DriveError> {
        let gate = self.pool.gate(DriveId(drive.identity().drive));
        let read = |range: Range<u32>| {
            let _one = lock(&gate);
            drive.read(shard, hint, range).map(|read| read.bytes)
        };
        let mut at = range.start;
        let mut bytes = Vec::new();
        while at < range.end {
            let end = at.saturating_add(self.pace.read_len()).min(range.end);
            let piece = read(at..end)?;
            if piece.len() == range.len() {
                return Ok(piece);
            }
            bytes.reserve(range.len() - bytes.len());
            bytes.extend_from_slice(&piece);
            at = end;
        }
        Ok(bytes.into())
    }

    /// Reads from the drive that has the cell, or gives its bytes from the others.
    pub(crate) fn read(&self, cell: &CellRange) -> Result<Bytes, DriveError> {
        let shard = cell.layout.shard(cell.stripe);
        let failed = match self.pool.member_of(cell.layout.blob, cell.place) {
            Some(drive) => match self.read_shard(&drive, shard, cell.hint, cell.range.clone()) {
                Ok(bytes) => return Ok(bytes),
                Err(error) => Some(error),
            },
            None => None,
        };
        let recovered = self.recover(cell, &self.pool.members_of(cell.layout.blob));
        let error = || failed.unwrap_or(DriveError::NotFound(shard));
        recovered.map(|read| read.bytes).ok_or_else(error)
    }

    /// The bytes from other shards of the stripe; `None` if too few are left.
    pub(crate) fn recover(&self, cell: &CellRange, members: &[Option<Drive>]) -> Option<CellRead> {
        let Layout { shape, .. } = cell.layout;
        let needed = usize::from(shape.data);
        if shape.parity == 0 {
            return None;
        }
        let shard = cell.layout.shard(cell.stripe);
        let mut shards: Vec<Option<Bytes>> = vec![None; shape.shard_count()];
        let mut found = 0;
        for place in (0..shape.shard_count()).filter(|place| *place != cell.place) {
            if found == needed {
                break;
            }
            let range = cell.range_at(place);
            shards[place] = if range.is_empty() {
                // A cell that is not there counts as zeros.
                Some(Bytes::new())
            } else {
                let drive = members.get(place).and_then(Option::as_ref);
                drive.and_then(|drive| self.read_shard(drive, shard, None, range).ok())
            };
            found += usize::from(shards[place].is_some());
        }
        cell.assemble(self.pool, shards)
    }
}
