//! Streaming a body to the drives.

use crate::budget::{Kind, ReadLane, Share};
use crate::cut::WINDOWS_LEN;
use crate::digest::Digests;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::plan::Payload;
use crate::seal::Seal;
use crate::stripe::{Lacking, StripeWriter};
use bytes::Bytes;
use drystone_base::{BlobId, BucketId, KIB, MIB, SEALED_FRAME_LEN_BYTES, sealed_len};
use drystone_catalog::{BucketRow, Checksum, ChecksumAlgorithm, Data};
use drystone_cluster::{InProgress, Protection, Shape};
use drystone_drive::{Coding, ShardId};
use drystone_keyring::{FrameCipher, FrameSalt, FrameSealer, new_salt};
use std::sync::Arc;

/// Bodies up to this long go into a row of their own beside the head.
const INLINE_LEN_MAX: u64 = KIB;
/// The same where there are several drives: a row saves a round to them.
const INLINE_LEN_MAX_SEVERAL: u64 = 4 * KIB;
/// Bodies up to this long go into one record in the same batch as the head.
const RECORD_LEN_MAX: u64 = 128 * KIB;
const CELL_LEN_MIN: u64 = 128 * KIB;
const CELL_LEN_MAX: u64 = MIB;

/// Takes a body in and puts it on the drive, in cells. Dropping it before [`BlobWriter::finish`] gives
/// up the upload: what was written is declared dead at once.
pub struct BlobWriter {
    engine: Engine,
    bucket: BucketId,
    owner: u64,
    digests: Digests,
    shape: Shape,
    /// Bytes of a cell. While the first one fills it grows as far as the budget allows.
    cell_len: u64,
    cell_len_wanted: u64,
    cell: Vec<u8>,
    /// Bytes that will be stored, if that is known.
    expected_len: Option<u64>,
    /// The same, if they become one record.
    small_len: Option<u64>,
    /// Bytes that came to be stored so far.
    stored_len: u64,
    sealing: Option<Sealing>,
    large: Option<StripeWriter>,
    /// Bytes of the budget that this upload may hold; nothing before the first byte came.
    share: Option<Share>,
    /// Counts this upload among the large ones.
    _large: Option<Arc<()>>,
}

/// What a body is sealed with.
struct Sealing {
    sealer: FrameSealer,
    salt: FrameSalt,
    hides_digests: bool,
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
    /// What the entity tag says: the MD5, unless it must not be known.
    pub etag: [u8; 16],
    /// Salt of the bytes, if they are sealed.
    pub salt: Option<[u8; 16]>,
    /// The checksum that was asked for.
    pub checksum: Checksum,
    /// Bytes that are held until the row is durable.
    _share: Option<Share>,
    /// Bucket that the upload began in: a new one of the same name is another.
    pub(crate) bucket: BucketId,
    /// Kept until the row is committed or refused.
    pub(crate) in_progress: Option<InProgress>,
    /// Shards that could not be written.
    pub(crate) lacking: Option<Lacking>,
}

impl Stored {
    /// Gives its share of the byte budget back before the row is durable: its bytes are on the drives, or so
    /// few that they are bounded otherwise.
    pub(crate) fn let_go_of_share(&mut self) {
        self._share = None;
    }

    /// The blob, if it has one that must be declared dead when the transaction is refused.
    pub(crate) fn stray_blob(&self) -> Option<BlobId> {
        match (&self.data, &self.payload) {
            (Data::Blob { blob, .. }, Payload::Stored) => Some(*blob),
            _ => None,
        }
    }
}

/// A body that is to be taken in.
#[derive(Clone, Copy)]
pub struct NewBlob<'a> {
    /// Bucket of the object.
    pub bucket: &'a BucketRow,
    /// Its key.
    pub object: &'a [u8],
    /// Length of the whole, if it is known.
    pub len: Option<u64>,
    /// Checksum to compute.
    pub algorithm: ChecksumAlgorithm,
    /// Storage class, which decides on the code; `None` for STANDARD.
    pub storage_class: Option<&'a str>,
    /// How it is to be sealed, if it is.
    pub seal: Option<&'a Seal>,
}

impl Engine {
    /// Begins to take in a body. Its share of the byte budget is taken when the first byte comes.
    ///
    /// # Errors
    ///
    /// [`EngineError::Full`], before anything is read.
    pub fn begin_blob(&self, new: NewBlob<'_>) -> Result<BlobWriter, EngineError> {
        let NewBlob { bucket, object, len, algorithm, storage_class, seal } = new;
        let expected_len = if seal.is_some() { len.map(sealed_len) } else { len };
        self.check_space()?;
        let standard = self.pool().shape().with(Protection::of_class(storage_class));
        let small_len = expected_len.filter(|len| *len <= RECORD_LEN_MAX);
        let shape = match expected_len {
            Some(len) => standard.reduced_for(len, CELL_LEN_MIN),
            None => standard,
        };
        Ok(BlobWriter {
            engine: self.clone(),
            bucket: bucket.id,
            owner: Self::owner_hash(bucket, object),
            digests: Digests::new(algorithm),
            shape,
            cell_len: CELL_LEN_MIN,
            cell_len_wanted: CELL_LEN_MIN,
            cell: Vec::new(),
            expected_len,
            small_len,
            stored_len: 0,
            sealing: seal.map(|seal| self.begin_seal(seal)),
            large: None,
            share: None,
            _large: None,
        })
    }

    /// Begins to copy: a writer, and what its readers need, reserved in one step.
    ///
    /// # Errors
    ///
    /// [`EngineError::Full`] or [`EngineError::Busy`], before anything is read.
    pub(crate) async fn begin_copy(
        &self,
        new: NewBlob<'_>,
    ) -> Result<(BlobWriter, Arc<ReadLane>), EngineError> {
        let mut writer = self.begin_blob(new)?;
        let chunk_len = ReadLane::CHUNK_LEN_MAX;
        let held = chunk_len + WINDOWS_LEN;
        let bytes = writer.minimum_bytes() + held;
        let mut share = self.reserve(Kind::Upload, bytes).await?;
        let lane = ReadLane::new(chunk_len, share.split(held));
        writer.begin(share);
        Ok((writer, lane))
    }

    fn begin_seal(&self, seal: &Seal) -> Sealing {
        let salt = new_salt(&*self.shared.rng);
        let sealer = FrameSealer::new(FrameCipher::new(&seal.key, &salt));
        Sealing { sealer, salt, hides_digests: seal.hides_digests }
    }

    /// Large cells while there are few uploads, small ones when many share the budget, and none larger
    /// than the part needs.
    fn choose_cell_len(&self, shape: Shape, expected_len: Option<u64>) -> u64 {
        let uploads = Arc::strong_count(&self.shared.large_uploads) as u64;
        let held = StripeWriter::held_cells(shape);
        let share = self.shared.budget.total_bytes() / (4 * uploads * held);
        let rounded = if share == 0 { 0 } else { 1 << share.ilog2() };
        let segments = self.pool().online().into_iter().map(|drive| drive.log().segment_len());
        let segment_len = u64::from(segments.min().unwrap_or(u32::MAX));
        let whole = match expected_len {
            Some(len) if shape.data > 1 => {
                len.div_ceil(shape.data.into()).next_multiple_of(64 * KIB)
            }
            _ => CELL_LEN_MAX,
        };
        let len = rounded.min(whole).clamp(CELL_LEN_MIN, CELL_LEN_MAX).min(segment_len / 4);
        // Sealed frames do not lie across cells.
        (len / SEALED_FRAME_LEN_BYTES * SEALED_FRAME_LEN_BYTES).max(CELL_LEN_MIN)
    }
}

impl BlobWriter {
    /// Bytes that this upload holds at least: the cell that fills, and the parity of its stripe.
    fn minimum_bytes(&self) -> u64 {
        let frame = if self.sealing.is_some() { SEALED_FRAME_LEN_BYTES } else { 0 };
        frame + self.small_len.unwrap_or(StripeWriter::minimum_cells(self.shape) * CELL_LEN_MIN)
    }

    /// The first bytes are there, and what they need is reserved.
    fn begin(&mut self, share: Share) {
        self.share = Some(share);
        if self.small_len.is_none() {
            self._large = Some(self.engine.shared.large_uploads.clone());
            self.cell_len_wanted = self.engine.choose_cell_len(self.shape, self.expected_len);
        }
    }

    /// Makes the first cell larger instead of writing it, where larger ones are wanted and the budget has
    /// room.
    fn try_larger_cell(&mut self) -> bool {
        let len = (2 * self.cell_len).min(self.cell_len_wanted);
        if self.large.is_some() || len <= self.cell_len {
            return false;
        }
        let more = StripeWriter::minimum_cells(self.shape) * (len - self.cell_len);
        let is_larger = self.share.as_mut().is_some_and(|share| share.try_grow(more));
        if is_larger {
            self.cell_len = len;
        }
        is_larger
    }

    /// Takes more of the body. Waits for its share before the first bytes, and while the drive is behind.
    ///
    /// # Errors
    ///
    /// [`EngineError::Busy`] before the first bytes; the drive failed or is full.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), EngineError> {
        if self.share.is_none() && !bytes.is_empty() {
            let share = self.engine.reserve(Kind::Upload, self.minimum_bytes()).await?;
            self.begin(share);
        }
        self.digests.update(bytes);
        if self.sealing.is_none() {
            return self.store(bytes).await;
        }
        while !bytes.is_empty() {
            let sealing = self.sealing.as_mut().expect("looked at above");
            let (taken, frame) = sealing.sealer.take(bytes);
            bytes = &bytes[taken..];
            if let Some(frame) = frame {
                self.store(&frame).await?;
            }
        }
        Ok(())
    }

    /// Takes bytes as they are to be stored.
    async fn store(&mut self, mut bytes: &[u8]) -> Result<(), EngineError> {
        self.stored_len += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = self.cell_len as usize - self.cell.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.make_room(now.len());
            self.cell.extend_from_slice(now);
            bytes = later;
            let is_whole = self.expected_len == Some(self.stored_len) && later.is_empty();
            if self.cell.len() as u64 == self.cell_len
                && !(is_whole && self.large.is_none())
                && !self.try_larger_cell()
            {
                self.append_cell().await?;
            }
        }
        Ok(())
    }

    /// Memory for the cell is taken when there are bytes for it, and all at once.
    fn make_room(&mut self, len: usize) {
        if self.cell.capacity() - self.cell.len() < len {
            let cell_len = self.small_len.unwrap_or(self.cell_len) as usize;
            self.cell.reserve_exact(cell_len.saturating_sub(self.cell.len()).max(len));
        }
    }

    /// Bytes taken so far.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.digests.len_bytes()
    }

    async fn append_cell(&mut self) -> Result<(), EngineError> {
        self.engine.shared.pace.note_client();
        let payload = Bytes::from(std::mem::take(&mut self.cell));
        if self.large.is_none() {
            let begun = StripeWriter::begin(&self.engine, self.shape, self.cell_len, self.owner)?;
            self.large = Some(begun);
        }
        self.large.as_mut().expect("begun above").append(payload).await
    }

    /// Ends the body. What went to the drive is durable when this returns; the rest becomes
    /// durable with the row.
    ///
    /// # Errors
    ///
    /// The drive failed or is full.
    pub async fn finish(mut self) -> Result<Stored, EngineError> {
        self.engine.shared.pace.note_client();
        let mut sealed_as = None;
        if let Some(Sealing { sealer, salt, hides_digests }) = self.sealing.take() {
            sealed_as = Some((salt, hides_digests));
            if let Some(frame) = sealer.finish() {
                self.store(&frame).await?;
            }
        }
        let size = self.digests.len_bytes();
        if (self.large.is_some() || self.stored_len > RECORD_LEN_MAX) && !self.cell.is_empty() {
            self.append_cell().await?;
        }
        let cell = std::mem::take(&mut self.cell);
        let (mut in_progress, mut lacking) = (None, None);
        let is_row = cell.len() as u64 <= self.inline_len_max();
        let (data, payload) = match self.large.take() {
            Some(mut large) => {
                in_progress = large.in_progress.take();
                let (data, lacks) = large.finish().await?;
                lacking = lacks;
                (data, Payload::Stored)
            }
            None if is_row || self.engine.pool().is_single() => self.small(cell),
            None => {
                let shape = Shape::new(1, self.shape.parity);
                let len = cell.len() as u64;
                let writer = StripeWriter::begin(&self.engine, shape, len, self.owner)?;
                let (data, lacks, begun) = writer.write_copies(cell.into()).await?;
                (lacking, in_progress) = (lacks, begun);
                (data, Payload::Stored)
            }
        };
        let (md5, checksum) = self.digests.finish();
        let mut etag = md5;
        if sealed_as.is_some_and(|(_, hides_digests)| hides_digests) {
            self.engine.shared.rng.fill(&mut etag);
        }
        // What is on the drives is not in memory any more.
        let share = self.share.filter(|_| !matches!(payload, Payload::Stored));
        Ok(Stored {
            data,
            payload,
            size,
            md5,
            etag,
            salt: sealed_as.map(|(salt, _)| salt),
            checksum,
            _share: share,
            bucket: self.bucket,
            in_progress,
            lacking,
        })
    }

    fn inline_len_max(&self) -> u64 {
        match self.engine.pool().is_single() {
            true => INLINE_LEN_MAX,
            false => INLINE_LEN_MAX_SEVERAL,
        }
    }

    fn small(&self, cell: Vec<u8>) -> (Data, Payload) {
        let len = cell.len() as u64;
        if len == 0 {
            return (Data::Empty, Payload::Stored);
        }
        let blob = self.engine.pool().new_blob(self.engine.now_ms(), 0);
        if len <= self.inline_len_max() {
            return (Data::Inline(blob), Payload::Inline(cell));
        }
        let cell_len = cell.len() as u32;
        let record =
            ShardId { blob, stripe: 0 }.record(self.owner, Coding::plain(cell_len), cell.into());
        (Data::Blob { blob, cell_len, code: (1, 0), hint: None }, Payload::Record(record))
    }
}
