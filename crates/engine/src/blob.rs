//! Streaming a body to the drive.

use crate::budget::Share;
use crate::digest::Digests;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::plan::Payload;
use bytes::Bytes;
use drystone_base::{BlobId, BucketId, KIB, MIB};
use drystone_catalog::{BucketRow, Checksum, ChecksumAlgorithm, Data};
use drystone_drive::{InProgress, ShardId};
use drystone_log::{Location, LogError, SeededBug, Ticket};
use std::sync::Arc;

/// Bodies up to this long go into a row of their own beside the head.
const INLINE_LEN_MAX: u64 = KIB;
/// Bodies up to this long go into one record in the same batch as the head.
const RECORD_LEN_MAX: u64 = 128 * KIB;
const CELL_LEN_MIN: u64 = 128 * KIB;
const CELL_LEN_MAX: u64 = MIB;

type Appended = Ticket<Result<Vec<(u64, Location)>, LogError>>;

/// Takes a body in and puts it on the drive, in cells. Dropping it before [`BlobWriter::finish`] gives
/// up the upload: what was written is declared dead at once.
pub struct BlobWriter {
    engine: Engine,
    bucket: BucketId,
    owner: u64,
    digests: Digests,
    cell_len: u64,
    cell: Vec<u8>,
    expected_len: Option<u64>,
    large: Option<Large>,
    /// Bytes of the budget that this upload may hold.
    _share: Share,
    /// Counts this upload among the large ones.
    _large: Option<Arc<()>>,
}

/// The part of an upload that has cells on the drive.
struct Large {
    blob: BlobId,
    stripe: u32,
    offset: u64,
    first: Option<Location>,
    in_flight: Option<Appended>,
    engine: Engine,
    kept: bool,
    in_progress: Option<InProgress>,
}

impl Drop for Large {
    fn drop(&mut self) {
        if !self.kept {
            self.engine.drive().bury_later(&[self.blob]);
        }
    }
}

/// A body that is on the drive, or will be with the row that names it.
pub struct Stored {
    /// Where it is.
    pub data: Data,
    /// What has to go into the transaction.
    pub payload: Payload,
    /// Its length in bytes.
    pub size: u64,
    /// MD5.
    pub md5: [u8; 16],
    /// The checksum that was asked for.
    pub checksum: Checksum,
    _share: Share,
    /// Bucket that the upload began in: a new one of the same name is another.
    pub(crate) bucket: BucketId,
    /// Kept until the row is committed or refused.
    pub(crate) in_progress: Option<InProgress>,
}

impl Stored {
    /// The blob, if it has one that must be declared dead when the transaction is refused.
    pub(crate) fn stray_blob(&self) -> Option<BlobId> {
        match (&self.data, &self.payload) {
            (Data::Blob { blob, .. }, Payload::Stored) => Some(*blob),
            _ => None,
        }
    }
}

impl Engine {
    /// Begins to take in a body. `expected_len`, if known, is the length of the whole.
    ///
    /// # Errors
    ///
    /// [`EngineError::Full`] or [`EngineError::Busy`], before anything is read.
    pub async fn begin_blob(
        &self,
        bucket: &BucketRow,
        object: &[u8],
        expected_len: Option<u64>,
        algorithm: ChecksumAlgorithm,
    ) -> Result<BlobWriter, EngineError> {
        self.check_space()?;
        let small = expected_len.filter(|len| *len <= RECORD_LEN_MAX);
        let counted = small.is_none().then(|| self.shared.large_uploads.clone());
        let cell_len = match small {
            Some(_) => RECORD_LEN_MAX,
            None => self.choose_cell_len(),
        };
        let share = self.shared.budget.take(small.unwrap_or(2 * cell_len)).await?;
        Ok(BlobWriter {
            engine: self.clone(),
            bucket: bucket.id,
            owner: Self::owner_hash(bucket, object),
            digests: Digests::new(algorithm),
            cell_len,
            cell: Vec::with_capacity(small.unwrap_or(cell_len) as usize),
            expected_len,
            large: None,
            _share: share,
            _large: counted,
        })
    }

    /// Large cells while there are few uploads, small ones when many share the budget.
    fn choose_cell_len(&self) -> u64 {
        let uploads = Arc::strong_count(&self.shared.large_uploads) as u64;
        let share = self.shared.budget.total_bytes() / (8 * uploads);
        let rounded = if share == 0 { 0 } else { 1 << share.ilog2() };
        let segment_len = u64::from(self.shared.drive.log().segment_len());
        rounded.clamp(CELL_LEN_MIN, CELL_LEN_MAX).min(segment_len / 4).max(CELL_LEN_MIN)
    }
}

impl BlobWriter {
    /// Takes more of the body. Waits while the drive is behind.
    ///
    /// # Errors
    ///
    /// The drive failed or is full.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), EngineError> {
        self.digests.update(bytes);
        while !bytes.is_empty() {
            let room = self.cell_len as usize - self.cell.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.cell.extend_from_slice(now);
            bytes = later;
            let is_whole = self.expected_len == Some(self.digests.len_bytes()) && later.is_empty();
            if self.cell.len() as u64 == self.cell_len && !(is_whole && self.large.is_none()) {
                self.append_cell().await?;
            }
        }
        Ok(())
    }

    /// Bytes taken so far.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.digests.len_bytes()
    }

    async fn append_cell(&mut self) -> Result<(), EngineError> {
        let next = Vec::with_capacity(self.cell.capacity());
        let payload = Bytes::from(std::mem::replace(&mut self.cell, next));
        let engine = &self.engine;
        let large = self.large.get_or_insert_with(|| Large {
            blob: engine.drive().new_blob(engine.now_ms()),
            stripe: 0,
            offset: 0,
            first: None,
            in_flight: None,
            engine: engine.clone(),
            kept: false,
            in_progress: Some(engine.drive().begin_upload()),
        });
        large.wait().await?;
        let shard = ShardId { blob: large.blob, stripe: large.stripe };
        let len = payload.len() as u64;
        let record = shard.record(large.offset, self.owner, payload);
        large.in_flight = Some(engine.drive().append(record));
        large.stripe += 1;
        large.offset += len;
        Ok(())
    }

    /// Ends the body. What went to the drive is durable when this returns; the rest becomes
    /// durable with the row.
    ///
    /// # Errors
    ///
    /// The drive failed or is full.
    pub async fn finish(mut self) -> Result<Stored, EngineError> {
        let size = self.digests.len_bytes();
        if (self.large.is_some() || size > RECORD_LEN_MAX) && !self.cell.is_empty() {
            self.append_cell().await?;
        }
        let cell = std::mem::take(&mut self.cell);
        let mut in_progress = None;
        let (data, payload) = match self.large.take() {
            Some(mut large) => {
                in_progress = large.in_progress.take();
                (large.finish(self.cell_len).await?, Payload::Stored)
            }
            None => self.small(cell),
        };
        let (md5, checksum) = self.digests.finish();
        Ok(Stored {
            data,
            payload,
            size,
            md5,
            checksum,
            _share: self._share,
            bucket: self.bucket,
            in_progress,
        })
    }

    fn small(&self, cell: Vec<u8>) -> (Data, Payload) {
        let len = cell.len() as u64;
        if len == 0 {
            return (Data::Empty, Payload::Stored);
        }
        let blob = self.engine.drive().new_blob(self.engine.now_ms());
        if len <= INLINE_LEN_MAX {
            return (Data::Inline(blob), Payload::Inline(cell));
        }
        let cell_len = cell.len() as u32;
        let record = ShardId { blob, stripe: 0 }.record(0, self.owner, cell.into());
        (Data::Blob { blob, cell_len, code: (1, 0), hint: None }, Payload::Record(record))
    }
}

impl Large {
    /// Waits for the cell in flight.
    async fn wait(&mut self) -> Result<(), EngineError> {
        if let Some(ticket) = self.in_flight.take() {
            let places = ticket.await?;
            self.first = self.first.or(places.first().map(|(_, location)| *location));
        }
        Ok(())
    }

    async fn finish(mut self, cell_len: u64) -> Result<Data, EngineError> {
        self.wait().await?;
        if !self.engine.drive().log().has_bug(SeededBug::FrameBeforePayload) {
            self.engine.drive().flush().await?;
        }
        self.kept = true;
        let cell_len = cell_len as u32;
        Ok(Data::Blob { blob: self.blob, cell_len, code: (1, 0), hint: self.first })
    }
}
