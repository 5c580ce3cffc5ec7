//! Multipart uploads.

use crate::blob::Stored;
use crate::digest::combine_crc;
use crate::engine::{CommittedView, Engine};
use crate::error::EngineError;
use crate::object::ObjectDraft;
use crate::plan::{self, CompletePlan, Conditions, WriteOutcome, part_blob};
use crate::repair::note_lacking_too;
use crate::tasks::spawn;
use drystone_base::limits::{OBJECT_LEN_BYTES_MAX, PART_LEN_BYTES_MIN};
use drystone_base::{BucketId, Seq, UploadId};
use drystone_catalog::{
    BucketRow, Checksum, ChecksumAlgorithm, ChecksumKind, Data, ETag, Initiator, Key, Manifest,
    ObjectRow, PartRow, Tx, UploadRow, UploadState,
};
use drystone_index::prefix_range;
use md5::Digest as _;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Uploads of more parts are completed a few at a time.
const SHORT_COUNT_MAX: usize = 1000;
/// So many.
pub(crate) const LONG_AT_ONCE_MAX: usize = 2;

/// An upload to open.
pub struct NewUpload {
    /// Bucket.
    pub bucket: String,
    /// Key.
    pub object: Vec<u8>,
    /// Everything but the bytes.
    pub draft: ObjectDraft,
    /// Checksum that was asked for.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    /// As [`UploadRow::said`].
    pub said: Vec<(String, String)>,
    /// As [`UploadRow::initiator`].
    pub initiator: Option<Initiator>,
}

/// A part as the client lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartInput {
    /// Number.
    pub number: u32,
    /// Entity tag, without quotes.
    pub etag: String,
    /// Checksum, if the client gives it.
    pub checksum: Option<(ChecksumAlgorithm, Vec<u8>)>,
}

/// An upload to complete.
#[derive(Clone, Debug)]
pub struct CompleteRequest {
    /// Bucket.
    pub bucket: String,
    /// Key.
    pub object: Vec<u8>,
    /// Upload.
    pub upload: UploadId,
    /// Parts, in order.
    pub parts: Vec<PartInput>,
    /// Conditions on the current version.
    pub conditions: Conditions,
    /// Checksum of the whole object, if the client gives it.
    pub checksum: Option<(ChecksumAlgorithm, Vec<u8>)>,
    /// Kind of checksum, if the client gives it.
    pub checksum_kind: Option<ChecksumKind>,
    /// Size of the whole object, if the client gives it.
    pub object_size: Option<u64>,
}

impl Engine {
    /// Opens an upload.
    ///
    /// # Errors
    ///
    /// [`EngineError::BucketNotFound`], [`EngineError::Full`], or the catalog failed.
    pub async fn create_upload(&self, request: NewUpload) -> Result<UploadId, EngineError> {
        self.check_space()?;
        let NewUpload { bucket, object, draft, checksum, said, initiator } = request;
        let bucket_id = self.bucket_id(&bucket)?;
        if draft.sealed_in.is_some_and(|sealed_in| sealed_in != bucket_id) {
            return Err(EngineError::BucketNotFound);
        }
        let template = self.hide((bucket_id, &object), draft.into_row())?;
        let asked = UploadRow { said, initiator, ..UploadRow::new(0, template, checksum) };
        let plan =
            move |tx: &mut Tx<'_>| plan::create_upload(tx, bucket_id, &object, asked.clone());
        self.commit(plan).await
    }

    /// What an upload was initiated with, whatever became of it; `None` if it is not there.
    #[must_use]
    pub fn initiated(
        &self,
        bucket: &BucketRow,
        object: &[u8],
        upload: UploadId,
    ) -> Option<UploadRow> {
        let view = CommittedView(&self.shared.catalog);
        let tx = Tx::new(&view, &*self.shared.rng, 0, Seq(0));
        let (_, mut row) = plan::load_upload(&tx, bucket.id, object, upload).ok()?;
        self.reveal((bucket.id, object), &mut row.template).ok()?;
        Some(row)
    }

    /// The bucket and row of an upload. Its template is as it is stored.
    ///
    /// # Errors
    ///
    /// [`EngineError::UploadNotFound`], [`EngineError::BucketNotFound`], or the catalog failed.
    pub fn find_upload(
        &self,
        bucket: &str,
        object: &[u8],
        upload: UploadId,
    ) -> Result<(BucketRow, UploadRow), EngineError> {
        let bucket = self.bucket_id(bucket)?;
        let view = CommittedView(&self.shared.catalog);
        let tx = Tx::new(&view, &*self.shared.rng, 0, Seq(0));
        let (bucket, row) = plan::load_upload(&tx, bucket, object, upload)?;
        match row.state {
            UploadState::Completed { .. } => Err(EngineError::UploadNotFound),
            UploadState::Open | UploadState::Completing { .. } => Ok((bucket, row)),
        }
    }

    /// Makes a body a part of an upload.
    ///
    /// # Errors
    ///
    /// [`EngineError::UploadNotFound`], [`EngineError::UploadBusy`], or the catalog failed.
    pub async fn put_part(
        &self,
        bucket: &str,
        object: Vec<u8>,
        upload: UploadId,
        number: u16,
        stored: Stored,
    ) -> Result<PartRow, EngineError> {
        let stray = stored.stray_blob();
        let mut checksum = Some(stored.checksum.clone());
        if stored.etag != stored.md5 {
            let hidden = self.hide_part_checksum(stored.salt.as_ref(), checksum);
            checksum = hidden.inspect_err(|_| self.bury(stray))?;
        }
        let part = PartRow {
            number,
            size: stored.size,
            md5: stored.etag,
            modified_ms: 0,
            checksum,
            data: stored.data.clone(),
            seq: Seq(0),
            salt: stored.salt,
        };
        let bucket = self.bucket_id(bucket).inspect_err(|_| self.bury(stray))?;
        // The bytes are bound to the bucket that they were taken in for.
        if stored.bucket != bucket {
            self.bury(stray);
            return Err(EngineError::BucketNotFound);
        }
        let (payload, term) = (stored.payload.clone(), self.term());
        let outcome = self
            .commit_body(stored, move |tx| {
                plan::put_part(tx, bucket, &object, upload, part, payload, term)
            })
            .await;
        let mut part = outcome?;
        self.reveal_part(&mut part)?;
        Ok(part)
    }

    /// Parts of an upload with numbers above `after`, and whether there are more than `limit`.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn list_parts(
        &self,
        upload: UploadId,
        after: u32,
        limit: usize,
    ) -> Result<(Vec<PartRow>, bool), EngineError> {
        let snapshot = self.shared.catalog.snapshot();
        let mut parts = Vec::new();
        let mut range = prefix_range(&Key::parts_of(upload));
        if after > 0 {
            let last = Key::part(upload, u16::try_from(after).unwrap_or(u16::MAX));
            range.0 = Bound::Excluded(last);
        }
        for row in snapshot.scan(range) {
            let (_, value) = row?;
            if parts.len() == limit {
                return Ok((parts, true));
            }
            let mut part = PartRow::decode(&value)?;
            self.reveal_part(&mut part)?;
            parts.push(part);
        }
        Ok((parts, false))
    }

    /// Forgets an upload; the bytes of its parts are given back soon.
    ///
    /// # Errors
    ///
    /// [`EngineError::UploadNotFound`], [`EngineError::UploadBusy`], or the catalog failed.
    pub async fn abort_upload(
        &self,
        bucket: &str,
        object: Vec<u8>,
        upload: UploadId,
    ) -> Result<(), EngineError> {
        let (bucket, term) = (self.bucket_id(bucket)?, self.term());
        self.commit(move |tx| plan::abort_upload(tx, bucket, &object, upload, term)).await
    }

    /// Makes an upload an object. Repeating it with the same parts gives the same answer.
    ///
    /// # Errors
    ///
    /// A part that does not fit, a condition or checksum that does not hold,
    /// [`EngineError::UploadNotFound`], or the catalog failed. The upload stays as it was.
    pub async fn complete_upload(
        &self,
        request: CompleteRequest,
    ) -> Result<WriteOutcome, EngineError> {
        // A long list is there several times until it is committed.
        let turn = match request.parts.len() > SHORT_COUNT_MAX {
            true => Some(self.shared.completion_turns.turn(self.consumer()).await),
            false => None,
        };
        let engine = self.clone();
        // A client may leave: what was frozen must be completed or opened again all the same.
        let completed = spawn(async move {
            let _turn = turn;
            engine.complete_to_end(request).await
        });
        completed.await.expect("completing an upload does not panic")
    }

    async fn complete_to_end(&self, request: CompleteRequest) -> Result<WriteOutcome, EngineError> {
        let (bucket, object, upload) =
            (self.bucket_id(&request.bucket)?, request.object.clone(), request.upload);
        let term = self.term();
        let (bucket_row, row) =
            self.commit(move |tx| plan::freeze_upload(tx, bucket, &object, upload, term)).await?;
        if let UploadState::Completed { selected, result, .. } = &row.state {
            let asked = request.parts.iter().map(|part| (part.number, part.etag.clone()));
            let had = selected.iter().map(|(n, md5)| (u32::from(*n), drystone_base::hex(md5)));
            if !asked.eq(had) {
                return Err(EngineError::UploadNotFound);
            }
            let row = (**result).clone();
            let outcome = Ok(WriteOutcome { row, versioning: bucket_row.versioning });
            return self.revealed((bucket_row.id, &request.object), outcome);
        }
        let request = Arc::new(request);
        let result = self.complete_frozen(&request, bucket_row.id, &row).await;
        if result.is_err() {
            let object = request.object.clone();
            let reopen = move |tx: &mut Tx<'_>| plan::reopen_upload(tx, bucket, &object, upload);
            self.undecided().commit(reopen).await?;
        }
        result
    }

    async fn complete_frozen(
        &self,
        request: &Arc<CompleteRequest>,
        bucket_id: BucketId,
        upload: &UploadRow,
    ) -> Result<WriteOutcome, EngineError> {
        let named = (bucket_id, &request.object[..]);
        let (engine, asked, upload) = (self.clone(), request.clone(), upload.clone());
        let work = move || engine.put_together(&asked, bucket_id, &upload);
        let (manifest, draft) = self.in_turn(work).await?;
        let manifest_id = self.pool().new_blob(self.now_ms(), 0);
        let draft = ObjectRow { data: Data::Manifest(manifest_id), ..draft };
        let conditions = request.conditions.clone();
        let parts = manifest.clone();
        let plan = CompletePlan { draft, manifest_id, manifest, conditions };
        let (object, id) = (request.object.clone(), request.upload);
        // Drives that went while the parts came lack no shard of them, but get no manifest.
        let first = parts.parts.iter().find(|part| part_blob(&part.data).is_some());
        let lacking = first.and_then(|part| self.lacks_manifest(&part.data, part.stored_len()));
        let completed = self.commit(move |tx| {
            let outcome = plan::complete_upload(tx, bucket_id, &object, id, plan)?;
            lacking.map(|lacking| note_lacking_too(tx, &lacking)).transpose()?;
            Ok(outcome)
        });
        let outcome = completed.await?;
        // Only now: the parts outlive a completion that is refused, and must not look like an object.
        let bucket = self.find_bucket(&request.bucket)?;
        self.write_manifest(&bucket, &request.object, &outcome.row, Some(&parts));
        self.revealed(named, Ok(outcome))
    }
}

impl Engine {
    /// Checks the client's list against what was uploaded, and puts the object together as it is stored.
    /// Blocks for as long as a long list takes.
    fn put_together(
        &self,
        request: &CompleteRequest,
        bucket: BucketId,
        upload: &UploadRow,
    ) -> Result<(Manifest, ObjectRow), EngineError> {
        let (uploaded, _) = self.list_parts(request.upload, 0, usize::MAX)?;
        let (mut manifest, mut draft) = select_parts(request, upload, uploaded)?;
        if let Some(encryption) = draft.encryption.as_ref().filter(|e| e.hides_digests()) {
            let named = (bucket, &request.object[..]);
            draft.checksum = self.hide_checksum(named, Some(encryption), draft.checksum)?;
            for part in &mut manifest.parts {
                let checksum = part.checksum.take();
                part.checksum = self.hide_part_checksum(part.salt.as_ref(), checksum)?;
            }
        }
        Ok((manifest, draft))
    }
}

/// Checks the client's list against what was uploaded, and puts the object together.
fn select_parts(
    request: &CompleteRequest,
    upload: &UploadRow,
    uploaded: Vec<PartRow>,
) -> Result<(Manifest, ObjectRow), EngineError> {
    if request.parts.windows(2).any(|pair| pair[0].number >= pair[1].number) {
        return Err(EngineError::InvalidPartOrder);
    }
    let mut by_number: BTreeMap<u32, PartRow> =
        uploaded.into_iter().map(|part| (u32::from(part.number), part)).collect();
    let mut parts = Vec::with_capacity(request.parts.len());
    for input in &request.parts {
        let number = input.number;
        let part = by_number.remove(&number).ok_or(EngineError::InvalidPart { number })?;
        check_part(input, &part, upload)?;
        parts.push(part);
    }
    for part in parts.iter().rev().skip(1) {
        if part.size < PART_LEN_BYTES_MIN {
            return Err(EngineError::PartTooSmall {
                number: part.number.into(),
                size_bytes: part.size,
                etag: drystone_base::hex(&part.md5),
            });
        }
    }
    let size = parts.iter().map(|part| part.size).sum();
    if size > OBJECT_LEN_BYTES_MAX {
        return Err(EngineError::ObjectTooLarge { size_bytes: size });
    }
    if request.object_size.is_some_and(|expected| expected != size) {
        return Err(EngineError::Invalid(
            "The provided 'x-amz-mp-object-size' header does not match what was computed.",
        ));
    }
    let mut md5 = md5::Md5::new();
    parts.iter().for_each(|part| md5.update(part.md5));
    let part_count = Some(parts.len() as u16);
    let checksum = whole_checksum(request, upload, &parts)?;
    let mut draft = upload.template.clone();
    draft.size = size;
    draft.etag = ETag { md5: md5.finalize().into(), part_count };
    draft.checksum = checksum;
    Ok((Manifest { parts }, draft))
}

fn check_part(input: &PartInput, part: &PartRow, upload: &UploadRow) -> Result<(), EngineError> {
    let invalid = EngineError::InvalidPart { number: input.number };
    if input.etag != drystone_base::hex(&part.md5) {
        return Err(invalid);
    }
    match (&input.checksum, &part.checksum) {
        (Some((algorithm, value)), Some(stored))
            if *algorithm == stored.algorithm && *value == stored.value => {}
        (Some((algorithm, _)), Some(stored)) if *algorithm == stored.algorithm => {
            return Err(invalid);
        }
        (Some(_), _) if upload.checksum.is_some() => return Err(invalid),
        (None, _) if matches!(upload.checksum, Some((_, ChecksumKind::Composite))) => {
            return Err(EngineError::Invalid(
                "The upload was created using a checksum. The complete request must include the \
                 checksum for each part. It was missing for at least one part in the request.",
            ));
        }
        _ => {}
    }
    Ok(())
}

/// The checksum of the object: of the kind that was asked for, else CRC64NVME of the whole.
fn whole_checksum(
    request: &CompleteRequest,
    upload: &UploadRow,
    parts: &[PartRow],
) -> Result<Option<Checksum>, EngineError> {
    let declared = upload.checksum;
    if let (Some((_, kind)), Some(asked)) = (declared, request.checksum_kind)
        && kind != asked
    {
        return Err(EngineError::Invalid(
            "The checksum type of the request differs from that of the upload.",
        ));
    }
    let checksum = match declared {
        Some((algorithm, ChecksumKind::Composite)) => composite(algorithm, parts),
        Some((algorithm, ChecksumKind::FullObject)) => full_object(algorithm, parts),
        None => full_object(ChecksumAlgorithm::Crc64Nvme, parts),
    };
    if let Some((algorithm, value)) = &request.checksum {
        let same =
            |checksum: &Checksum| checksum.algorithm == *algorithm && checksum.value == *value;
        if !checksum.as_ref().is_some_and(same) {
            return Err(EngineError::ChecksumMismatch { algorithm: Some(*algorithm) });
        }
    }
    Ok(checksum)
}

fn composite(algorithm: ChecksumAlgorithm, parts: &[PartRow]) -> Option<Checksum> {
    let mut digests = crate::digest::Digests::new(algorithm);
    for part in parts {
        let checksum = part.checksum.as_ref().filter(|c| c.algorithm == algorithm)?;
        digests.update(&checksum.value);
    }
    let (_, checksum) = digests.finish();
    Some(Checksum { kind: ChecksumKind::Composite, ..checksum })
}

fn full_object(algorithm: ChecksumAlgorithm, parts: &[PartRow]) -> Option<Checksum> {
    let mut parts = parts.iter();
    let first = parts.next()?;
    let of = |part: &PartRow| {
        let checksum = part.checksum.as_ref().filter(|c| c.algorithm == algorithm)?;
        Some(checksum.value.clone())
    };
    let mut value = of(first)?;
    for part in parts {
        value = combine_crc(algorithm, &value, &of(part)?, part.size)?;
    }
    Some(Checksum { algorithm, kind: ChecksumKind::FullObject, value, is_sealed: false })
}
