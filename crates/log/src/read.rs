//! Reading one record, or a range of it.

use crate::buffers::Buffer;
use crate::error::{Damage, LogError};
use crate::format::{FRAME_LEN, Location, RecordHeader, RecordKind, head_len};
use crate::log::Log;
use bytes::Bytes;
use drystone_base::sync::lock;
use drystone_io::DiskFile;
use std::ops::Range;
use std::sync::Arc;

/// A verified record, or a range of its payload.
#[derive(Clone, Debug)]
pub struct RecordRead {
    /// What it is.
    pub kind: RecordKind,
    /// Lsn of its first copy.
    pub birth_lsn: u64,
    /// Its meta.
    pub meta: Bytes,
    /// The bytes asked for.
    pub payload: Bytes,
}

/// A read that is about to be made: either without waiting for the device, or with.
pub struct ReadPlan {
    file: Arc<dyn DiskFile>,
    location: Location,
    meta_len: usize,
    range: Range<u32>,
}

impl Log {
    /// Prepares reading bytes `range` of the payload of a record whose meta has `meta_len` bytes.
    ///
    /// # Errors
    ///
    /// [`LogError::NotThere`] if the segment is gone, was recycled, or the range does not fit.
    pub fn plan_read(
        &self,
        location: Location,
        meta_len: usize,
        range: Range<u32>,
    ) -> Result<ReadPlan, LogError> {
        let table = lock(&self.shared.table);
        let entry = table.entries.get(&location.segment).ok_or(LogError::NotThere)?;
        let same = entry.info.is_some_and(|info| info.incarnation == location.incarnation);
        let end = u64::from(location.offset)
            + head_len(meta_len, location.payload_len as usize) as u64
            + u64::from(location.payload_len);
        let fits = range.start <= range.end
            && range.end <= location.payload_len
            && end <= u64::from(self.shared.config.segment_len);
        if !same || !fits {
            return Err(LogError::NotThere);
        }
        Ok(ReadPlan { file: entry.file.clone(), location, meta_len, range })
    }

    /// Reads bytes `range` of a record, waiting for the device if need be.
    ///
    /// # Errors
    ///
    /// As [`Log::plan_read`] and [`ReadPlan::run`].
    pub fn read(
        &self,
        location: Location,
        meta_len: usize,
        range: Range<u32>,
    ) -> Result<RecordRead, LogError> {
        self.plan_read(location, meta_len, range)?.run()
    }
}

impl ReadPlan {
    fn head_len(&self) -> usize {
        head_len(self.meta_len, self.location.payload_len as usize)
    }

    /// Payload bytes that must be read to verify the range: whole frames.
    fn frames(&self) -> Range<usize> {
        let start = self.range.start as usize / FRAME_LEN * FRAME_LEN;
        let end = (self.range.end as usize).next_multiple_of(FRAME_LEN);
        if self.range.is_empty() {
            0..0
        } else {
            start..end.min(self.location.payload_len as usize)
        }
    }

    /// Reads and verifies, waiting for the device if need be.
    ///
    /// # Errors
    ///
    /// [`LogError::NotThere`] if another record is at this place, [`LogError::Damaged`] if the
    /// record does not verify, or input and output errors.
    pub fn run(&self) -> Result<RecordRead, LogError> {
        let read = self.read_with(&mut |offset, bytes| {
            self.file.read_at(offset, bytes)?;
            Ok(true)
        })?;
        Ok(read.expect("a waiting read is complete"))
    }

    /// Reads and verifies if everything is in memory; `None` if the device would have to be waited for.
    ///
    /// # Errors
    ///
    /// As [`ReadPlan::run`].
    pub fn run_cached(&self) -> Result<Option<RecordRead>, LogError> {
        self.read_with(&mut |offset, bytes| self.file.read_cached_at(offset, bytes))
    }

    fn read_with(
        &self,
        read: &mut dyn FnMut(u64, &mut [u8]) -> std::io::Result<bool>,
    ) -> Result<Option<RecordRead>, LogError> {
        let (head_len, frames) = (self.head_len(), self.frames());
        let at = u64::from(self.location.offset);
        let joined = frames.start == 0;
        let first_len = if joined { head_len + frames.len() } else { head_len };
        let mut first = Buffer::new(first_len);
        if !read(at, first.as_mut())? {
            return Ok(None);
        }
        let mut second = Buffer::new(0);
        if !joined {
            second = Buffer::new(frames.len());
            if !read(at + (head_len + frames.start) as u64, second.as_mut())? {
                return Ok(None);
            }
        }
        let header = self.verify_head(first.as_ref())?;
        let payload = if joined { &first.as_ref()[head_len..] } else { second.as_ref() };
        for (index, frame) in payload.chunks(FRAME_LEN).enumerate() {
            if !header.verify_frame(first.as_ref(), index + frames.start / FRAME_LEN, frame) {
                return Err(LogError::Damaged(self.damage()));
            }
        }
        let from = self.range.start as usize - frames.start;
        let to = from + self.range.len();
        let (meta_at, first) = (crate::format::RECORD_HEADER_LEN, first.share());
        let payload = if joined {
            first.slice(head_len + from..head_len + to)
        } else {
            second.share().slice(from..to)
        };
        Ok(Some(RecordRead {
            kind: header.kind,
            birth_lsn: header.birth_lsn,
            meta: first.slice(meta_at..meta_at + self.meta_len),
            payload,
        }))
    }

    fn verify_head(&self, head: &[u8]) -> Result<RecordHeader, LogError> {
        let Location { incarnation, offset, payload_len, .. } = self.location;
        let expected = |header: &RecordHeader| {
            usize::from(header.meta_len) == self.meta_len && header.payload_len == payload_len
        };
        match RecordHeader::decode(head, incarnation, offset) {
            Some((header, _)) if expected(&header) => Ok(header),
            Some(_) => Err(LogError::NotThere),
            None => Err(LogError::Damaged(self.damage())),
        }
    }

    fn damage(&self) -> Damage {
        let from = self.location.offset;
        let to = from + self.head_len() as u32 + self.location.payload_len;
        Damage { segment: self.location.segment, from, to, after_lsn: 0 }
    }
}
