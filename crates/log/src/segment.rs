//! The table of segments of a drive, and the pool of free ones.

use crate::error::{LogError, failed};
use crate::format::{Class, SEAL_OFFSET, Seal, SegmentHeader};
use drystone_io::{Disk, DiskFile};
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::Arc;

/// One segment as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Segment id, from 1.
    pub segment: u32,
    /// Its present incarnation.
    pub incarnation: u32,
    /// Its class.
    pub class: Class,
    /// Everything in it has an lsn above this.
    pub after_lsn: u64,
    /// Highest lsn in it; `u64::MAX` while it is written to.
    pub last_lsn: u64,
    /// Offset behind its last batch. While it is written to: behind what was found in it when the log
    /// was opened, or 0 if this process began it.
    pub end: u32,
    /// Whether its end is fixed.
    pub sealed: bool,
    /// Highest lsn that was found in it when the log was opened; where there was none, as `after_lsn`.
    pub found_lsn: u64,
}

impl SegmentInfo {
    /// Whether there is a part of it that can be read from one end to the other.
    #[must_use]
    pub fn has_readable_part(&self) -> bool {
        self.end > 0
    }
}

pub(crate) struct Entry {
    pub(crate) file: Arc<dyn DiskFile>,
    /// `None` in the pool.
    pub(crate) info: Option<SegmentInfo>,
    /// Given to a writer that has not entered it yet: not in the pool any more.
    pub(crate) reserved: bool,
}

/// All segments of a drive.
pub(crate) struct SegmentTable {
    pub(crate) entries: BTreeMap<u32, Entry>,
    /// Files in the place of segments that are none: left alone, and their numbers are not used.
    pub(crate) strange: Vec<u32>,
    pub(crate) next_incarnation: u32,
    /// The last segment that was to be made found no space.
    pub(crate) is_full: bool,
}

/// Segments kept in the pool for deletes, compaction and recovery.
pub(crate) const SPARE_COUNT: usize = 2;
/// Free segments kept instead of being given back to the filesystem.
const POOL_COUNT_MAX: usize = 6;

pub(crate) fn file_name(segment: u32) -> String {
    format!("seg-{segment:08}.log")
}

pub(crate) fn parse_file_name(name: &str) -> Option<u32> {
    name.strip_prefix("seg-")?.strip_suffix(".log")?.parse().ok().filter(|id| *id > 0)
}

/// Writes a header into its own sector. The seal's sector stays as it is: a write of both that is cut
/// could leave the old header without its seal, and a sealed segment would be taken for an open one.
/// A seal of an earlier incarnation says nothing.
pub(crate) fn write_header(file: &dyn DiskFile, header: &SegmentHeader) -> Result<(), LogError> {
    let mut sector = header.encode();
    sector.resize(SEAL_OFFSET as usize, 0);
    let written = file.write_at(0, &mut [IoSlice::new(&sector)]);
    written.map_err(failed("a write to the header", header.segment))
}

pub(crate) fn write_seal(file: &dyn DiskFile, segment: u32, seal: &Seal) -> Result<(), LogError> {
    let written = file.write_at(SEAL_OFFSET, &mut [IoSlice::new(&seal.encode(segment))]);
    written.and_then(|()| file.sync_data()).map_err(failed("a write to the seal", segment))
}

impl SegmentTable {
    pub(crate) fn free_ids(&self) -> Vec<u32> {
        let free = self.entries.iter().filter(|(_, entry)| entry.info.is_none() && !entry.reserved);
        free.map(|(id, _)| *id).collect()
    }

    /// A free segment and a new incarnation number. The last spares, which are open already, are only
    /// given to those that may have them, where no other can be made.
    pub(crate) fn acquire(
        &mut self,
        disk: &dyn Disk,
        len_bytes: u64,
        may_use_spares: bool,
    ) -> Result<(u32, u32, Arc<dyn DiskFile>), LogError> {
        let free = self.free_ids();
        let id = if free.len() > SPARE_COUNT {
            free[0]
        } else {
            match self.create(disk, len_bytes) {
                Ok(id) => id,
                Err(error) if error.is_refusal() && may_use_spares && !free.is_empty() => free[0],
                Err(error) => return Err(error),
            }
        };
        let incarnation = self.next_incarnation;
        self.next_incarnation += 1;
        let entry = self.entries.get_mut(&id).expect("a free segment is in the table");
        entry.reserved = true;
        Ok((id, incarnation, entry.file.clone()))
    }

    /// Whether spares are in use for want of space.
    pub(crate) fn is_in_reserve(&self) -> bool {
        self.is_full && self.free_ids().len() < SPARE_COUNT
    }

    /// Creates a segment into the pool.
    pub(crate) fn create(&mut self, disk: &dyn Disk, len_bytes: u64) -> Result<u32, LogError> {
        let is_used = |id: &u32| self.entries.contains_key(id) || self.strange.contains(id);
        let id = (1..).find(|id| !is_used(id)).expect("fewer than 2^32 segments");
        let created = disk.create(&file_name(id), len_bytes).map_err(LogError::of_creation);
        match &created {
            Ok(_) => self.is_full = false,
            Err(error) => self.is_full |= matches!(error, LogError::Full),
        }
        let file = created?;
        let made = file.sync_data().and_then(|()| disk.sync_dir());
        made.map_err(failed("making", id))?;
        self.entries.insert(id, Entry { file, info: None, reserved: false });
        Ok(id)
    }

    /// Writes the seal of the segment before one in its class again, if there is one.
    pub(crate) fn seal_before(&self, segment: u32, incarnation: u32) -> Result<(), LogError> {
        let class = self.entries.get(&segment).and_then(|entry| entry.info).map(|info| info.class);
        let before = self
            .entries
            .values()
            .filter_map(|entry| entry.info.map(|info| (info, &entry.file)))
            .filter(|(info, _)| Some(info.class) == class && info.incarnation < incarnation)
            .max_by_key(|(info, _)| info.incarnation);
        let Some((info, file)) = before else { return Ok(()) };
        let seal = Seal { incarnation: info.incarnation, end: info.end, last_lsn: info.last_lsn };
        write_seal(&**file, info.segment, &seal)
    }

    /// Gives segments beyond the pool's size back to the filesystem.
    pub(crate) fn trim(&mut self, disk: &dyn Disk) -> Result<(), LogError> {
        let free = self.free_ids();
        let surplus = free.iter().skip(POOL_COUNT_MAX);
        let mut last = None;
        for id in surplus {
            // One that cannot be removed stays in the pool.
            if disk.remove(&file_name(*id)).is_ok() {
                self.entries.remove(id);
                last = Some(*id);
            }
        }
        match last {
            Some(id) => disk.sync_dir().map_err(failed("removing", id)),
            None => Ok(()),
        }
    }
}
