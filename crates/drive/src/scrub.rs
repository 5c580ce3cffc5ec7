//! Reading everything once: a drive finds out what it has lost before anybody asks for it.

use crate::drive::Drive;
use crate::error::DriveError;
use crate::shard::{Coding, ShardId};
use drystone_log::{Damage, LogError, RecordKind, SHARD_META_LEN_BYTES, Scanned, SegmentInfo};
use std::collections::BTreeMap;

/// Shards of a group whose records are looked at.
const SAMPLE_COUNT: usize = 64;

/// What a scrub of one segment found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Stretches that do not verify.
    pub stretches: Vec<Damage>,
    /// Shards in them that do not verify.
    pub damaged: Vec<ShardId>,
}

impl Drive {
    /// Reads a segment, as far as it can be, from the device, in order. `visit` gets the length of each
    /// record, and which shard it is if that is alive. Blocks.
    ///
    /// # Errors
    ///
    /// The index failed. A segment that was freed meanwhile has nothing to find.
    pub fn scrub_segment(
        &self,
        info: &SegmentInfo,
        visit: &mut dyn FnMut(u64, Option<(ShardId, Coding)>),
    ) -> Result<Scrubbed, DriveError> {
        let mut stretches = Vec::new();
        let mut each = |scanned| {
            match scanned {
                Scanned::Damage(damage) => stretches.push(damage),
                Scanned::Record(record) => {
                    let len = u64::from(record.location.payload_len);
                    let shard = match record.kind {
                        RecordKind::Shard => ShardId::of_meta(&record.meta),
                        _ => None,
                    };
                    let is_alive = match shard {
                        Some(shard) => self.shared.table.find(shard)? == Some(record.location),
                        None => false,
                    };
                    let coded = shard.filter(|_| is_alive).zip(Coding::of_meta(&record.meta));
                    visit(len, coded);
                }
            }
            Ok(())
        };
        match self.log().scrub_segment::<DriveError>(info.segment, &mut each) {
            Ok(()) => {}
            Err(DriveError::Log(LogError::NotThere)) => return Ok(Scrubbed::default()),
            Err(error) => return Err(error),
        }
        let mut damaged = Vec::new();
        if !stretches.is_empty() {
            // What memory still has of them is not what the device has.
            self.log().drop_cached(info.segment);
            for shard in self.shared.table.shards_in(&stretches, info.incarnation)? {
                let len = self.shared.table.find(shard)?.map(|location| location.payload_len);
                if len.is_some_and(|len| self.read(shard, None, 0..len).is_err()) {
                    damaged.push(shard);
                }
            }
        }
        Ok(Scrubbed { stretches, damaged })
    }

    /// What the record of a shard says about its stripe; nothing if the shard is not here or its head
    /// cannot be read.
    ///
    /// # Errors
    ///
    /// The index failed.
    pub fn coding(&self, shard: ShardId) -> Result<Option<Coding>, DriveError> {
        let Some(location) = self.shared.table.find(shard)? else { return Ok(None) };
        let read = self.log().read(location, SHARD_META_LEN_BYTES, 0..0);
        Ok(read.ok().and_then(|read| Coding::of_meta(&read.meta)))
    }

    /// The drive's place in each placement group of which it has shards, and the number of shards of the
    /// widest code that was seen there: from the records of some shards. For a catalog that was lost.
    ///
    /// # Errors
    ///
    /// The index failed.
    pub fn places_by_group(&self) -> Result<BTreeMap<u16, (u8, u8)>, DriveError> {
        let mut places = BTreeMap::new();
        for (group, shards) in self.shared.table.samples(SAMPLE_COUNT)? {
            for shard in shards {
                let Some(coding) = self.coding(shard)? else { continue };
                let width = coding.data + coding.parity;
                let entry = places.entry(group).or_insert((coding.member, width));
                entry.1 = width.max(entry.1);
            }
        }
        Ok(places)
    }
}
