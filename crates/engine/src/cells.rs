//! Reading ranges of cells: from the drive that has them, or around it.

use crate::layout::Layout;
use bytes::Bytes;
use drystone_cluster::Pool;
use drystone_drive::{Drive, DriveError};
use drystone_log::Location;
use std::ops::Range;

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
}

impl CellRange {
    /// Reads without waiting for a device; `None` if that would be necessary, or the shard is not as it
    /// should be.
    pub(crate) fn read_cached(&self, pool: &Pool) -> Option<Bytes> {
        let drive = pool.member_of(self.layout.blob, self.place)?;
        let shard = self.layout.shard(self.stripe);
        drive.read_cached(shard, self.hint, self.range.clone()).ok()?.map(|read| read.bytes)
    }

    /// Reads from the drive that has the cell, or gives its bytes from the others. Blocks.
    pub(crate) fn read(&self, pool: &Pool) -> Result<CellRead, DriveError> {
        let shard = self.layout.shard(self.stripe);
        let failed = match pool.member_of(self.layout.blob, self.place) {
            Some(drive) => match drive.read(shard, self.hint, self.range.clone()) {
                Ok(read) => return Ok(CellRead { bytes: read.bytes, is_damaged: false }),
                Err(error) => Some(error),
            },
            None => None,
        };
        let is_damaged = failed.is_some();
        match self.recover(pool, &pool.members_of(self.layout.blob)) {
            Some(bytes) => Ok(CellRead { bytes, is_damaged }),
            None => Err(failed.unwrap_or(DriveError::NotFound(shard))),
        }
    }

    /// The bytes from other shards of the stripe; `None` if too few are left.
    pub(crate) fn recover(&self, pool: &Pool, members: &[Option<Drive>]) -> Option<Bytes> {
        let Layout { shape, .. } = self.layout;
        let needed = usize::from(shape.data);
        if shape.parity == 0 {
            return None;
        }
        let shard = self.layout.shard(self.stripe);
        let mut shards: Vec<Option<Bytes>> = vec![None; shape.shard_count()];
        let mut found = 0;
        for place in (0..shape.shard_count()).filter(|place| *place != self.place) {
            if found == needed {
                break;
            }
            let len = self.layout.shard_len(self.stripe, place) as u32;
            let range = self.range.start.min(len)..self.range.end.min(len);
            shards[place] = if range.is_empty() {
                // A cell that is not there counts as zeros.
                Some(Bytes::new())
            } else {
                let drive = members.get(place).and_then(Option::as_ref);
                let read = drive.and_then(|drive| drive.read(shard, None, range).ok());
                read.map(|read| read.bytes)
            };
            found += usize::from(shards[place].is_some());
        }
        let len = (self.range.end - self.range.start) as usize;
        let shards: Vec<Option<&[u8]>> = shards.iter().map(Option::as_deref).collect();
        pool.code(shape).recover(&shards, self.place, len).ok().map(Bytes::from)
    }
}
