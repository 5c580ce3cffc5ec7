//! Copies. Bytes are not moved where the copy can have those of its source: it becomes another owner of them
//! (`plan/share.rs`). What is said of them is read only where it is not known.

use crate::blob::{NewBlob, Stored};
use crate::digest::Digests;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::object::{Located, ObjectDraft, PutRequest};
use crate::plan::{self, Conditions, WriteOutcome};
use crate::seal::Seal;
use drystone_base::limits::PUT_LEN_BYTES_MAX;
use drystone_base::{BucketId, KIB, MIB, Seq, UploadId};
use drystone_catalog::{
    Checksum, ChecksumAlgorithm, Data, ETag, Encryption, Manifest, ObjectRow, PartRow, UploadRow,
};
use drystone_cluster::Protection;
use drystone_keyring::DataKey;
use md5::Digest as _;
use std::ops::Range;

/// Digests of sources up to this long are computed where they are not known. Longer ones keep what is
/// known, or have none.
const DIGESTED_LEN_MAX: u64 = 64 * MIB;
/// Pieces shorter than this are copied: to own them together costs more.
const SLICE_LEN_MIN: u64 = 128 * KIB;

/// A copy to make.
pub struct CopyRequest {
    /// Target bucket.
    pub bucket: String,
    /// Target key.
    pub object: Vec<u8>,
    /// Everything but the bytes, as the target will have it.
    pub draft: ObjectDraft,
    /// Checksum of the target; `None` keeps the source's algorithm.
    pub algorithm: Option<ChecksumAlgorithm>,
    /// Conditions on the target's current version.
    pub conditions: Conditions,
    /// Data key of the source, if it is encrypted.
    pub source_key: Option<DataKey>,
    /// How the target is sealed, if it is: under the data key of the source, if that has one.
    pub seal: Option<Seal>,
}

/// A part to make of a piece of a version.
pub struct CopyPart {
    /// Target bucket.
    pub bucket: String,
    /// Target key.
    pub object: Vec<u8>,
    /// Upload.
    pub upload: UploadId,
    /// Part number.
    pub number: u16,
    /// The piece.
    pub range: Range<u64>,
    /// Checksum of the part.
    pub algorithm: ChecksumAlgorithm,
    /// Data key of the source, if it is encrypted.
    pub source_key: Option<DataKey>,
    /// How the upload is sealed, if it is.
    pub seal: Option<Seal>,
}

fn hides_digests(encryption: Option<&Encryption>) -> bool {
    encryption.is_some_and(Encryption::hides_digests)
}

fn is_as_safe(source: Option<&str>, target: Option<&str>) -> bool {
    Protection::of_class(source) == Protection::of_class(target)
}

impl Engine {
    /// Copies a version onto a key.
    ///
    /// # Errors
    ///
    /// A condition that does not hold, the source is damaged or cannot be reached, or the catalog failed.
    pub async fn copy_object(
        &self,
        source: Located,
        request: CopyRequest,
    ) -> Result<WriteOutcome, EngineError> {
        let (row, draft) = (&source.row, &request.draft);
        // Also of a copy that moves no bytes it is promised that it can be read.
        self.check_reach(row, &(0..row.size), request.source_key.as_ref()).await?;
        let class = draft.storage_class.as_deref();
        let may_share = is_as_safe(row.storage_class.as_deref(), class)
            && row.encryption.is_some() == draft.encryption.is_some()
            && self.is_shareable(&row.data).await?;
        if !may_share {
            return self.copy_over(source, request).await;
        }
        let (etag, checksum) = self.digests_of_copy(&source, &request).await?;
        let mut draft = ObjectRow {
            size: row.size,
            etag,
            checksum,
            data: row.data.clone(),
            append_count: if etag.part_count.is_some() { row.append_count } else { 0 },
            ..request.draft.clone().into_row()
        };
        if let (Some(encryption), Some(old)) = (&mut draft.encryption, &row.encryption) {
            encryption.salt = old.salt;
        }
        let bucket_id = self.bucket_id(&request.bucket)?;
        if request.draft.sealed_in.is_some_and(|sealed_in| sealed_in != bucket_id) {
            return Err(EngineError::BucketNotFound);
        }
        let draft = self.hide((bucket_id, &request.object), draft)?;
        let (object, conditions) = (request.object.clone(), request.conditions.clone());
        let source_ref = source.source();
        let copied = self.commit(move |tx| {
            plan::copy_reference(tx, bucket_id, &object, &source_ref, draft, &conditions)
        });
        match copied.await {
            // It was overwritten meanwhile, or moved; its bytes are still there.
            Err(EngineError::Conflict) => self.copy_over(source, request).await,
            outcome => {
                if let (Ok(outcome), true) = (&outcome, source.is_of(&request)) {
                    self.tell_manifest(&source, &request, &outcome.row)?;
                }
                self.revealed((bucket_id, &request.object), outcome)
            }
        }
    }

    /// Lets the manifest beside the bytes say what is said of them now, after an object was copied onto
    /// itself. No one waits for it.
    fn tell_manifest(
        &self,
        source: &Located,
        request: &CopyRequest,
        row: &ObjectRow,
    ) -> Result<(), EngineError> {
        if let Some(blob) = plan::part_blob(&row.data)
            && self.manifest_layout(blob)?.is_some()
        {
            self.write_manifest(&source.bucket, &request.object, row, None);
        }
        Ok(())
    }

    /// Whether other versions can own the same bytes: those of rows are copied, and pieces of pieces of
    /// pieces would never be given back.
    async fn is_shareable(&self, data: &Data) -> Result<bool, EngineError> {
        Ok(match data {
            Data::Empty | Data::Inline(_) | Data::Slice { .. } => false,
            Data::Blob { .. } => true,
            Data::Manifest(id) => {
                let is_deep = |data: Data| match data {
                    Data::Slice { base, .. } => matches!(*base, Data::Manifest(_)),
                    _ => false,
                };
                let is_shareable = self.look_at_parts(*id, move |row| {
                    for part in Manifest::walk(row)? {
                        if is_deep(part?.data()?) {
                            return Ok(false);
                        }
                    }
                    Ok(true)
                });
                is_shareable.await?
            }
        })
    }

    /// Entity tag and checksum of a copy that has the bytes of its source.
    async fn digests_of_copy(
        &self,
        source: &Located,
        request: &CopyRequest,
    ) -> Result<(ETag, Option<Checksum>), EngineError> {
        let row = &source.row;
        let (hid, hides) = (
            hides_digests(row.encryption.as_ref()),
            hides_digests(request.draft.encryption.as_ref()),
        );
        let known = row.checksum.as_ref().map(|checksum| checksum.algorithm);
        let is_parts = row.etag.part_count.is_some();
        let must_read = (hid && !hides)
            || request.algorithm.is_some_and(|algorithm| known != Some(algorithm))
            || (is_parts && row.size <= DIGESTED_LEN_MAX);
        let (mut etag, mut checksum) = (row.etag, row.checksum.clone());
        if must_read {
            let algorithm = request.algorithm.or(known).unwrap_or(ChecksumAlgorithm::Crc64Nvme);
            let range = 0..row.size;
            let key = request.source_key.as_ref();
            let (md5, computed) = self.digest(source, range, key, algorithm).await?;
            (etag, checksum) = (ETag { md5, part_count: None }, Some(computed));
        }
        if hides {
            self.shared.rng.fill(&mut etag.md5);
        }
        Ok((etag, checksum))
    }

    /// Reads bytes to compute what is not known of them.
    async fn digest(
        &self,
        source: &Located,
        range: Range<u64>,
        key: Option<&DataKey>,
        algorithm: ChecksumAlgorithm,
    ) -> Result<([u8; 16], Checksum), EngineError> {
        let mut digests = Digests::new(algorithm);
        let lane = self.reserve_read(&source.row, &range).await?;
        let pin = self.shared.pins.pin();
        let mut reader = self.open_reader(&source.row, range, key, (pin, lane)).await?;
        while let Some(bytes) = reader.next().await? {
            digests.update(&bytes);
        }
        Ok(digests.finish())
    }

    /// Copies the bytes.
    async fn copy_over(
        &self,
        source: Located,
        request: CopyRequest,
    ) -> Result<WriteOutcome, EngineError> {
        let old = source.row.checksum.as_ref().map(|checksum| checksum.algorithm);
        let bucket = self.find_bucket(&request.bucket)?;
        let new = NewBlob {
            bucket: &bucket,
            object: &request.object,
            len: None,
            algorithm: request.algorithm.or(old).unwrap_or(ChecksumAlgorithm::Crc64Nvme),
            storage_class: request.draft.storage_class.as_deref(),
            seal: request.seal.as_ref(),
        };
        let range = 0..source.row.size;
        let stored = self.copy_bytes(source, range, request.source_key.as_ref(), new).await?;
        let CopyRequest { bucket, object, draft, conditions, .. } = request;
        self.put_object(PutRequest { bucket, object, draft, stored, conditions }).await
    }

    /// Streams bytes `range` of a version into a new body.
    pub(crate) async fn copy_bytes(
        &self,
        source: Located,
        range: Range<u64>,
        source_key: Option<&DataKey>,
        new: NewBlob<'_>,
    ) -> Result<Stored, EngineError> {
        let len = range.end - range.start;
        if len > PUT_LEN_BYTES_MAX {
            return Err(EngineError::Invalid(
                "The specified copy source is larger than the maximum allowable size for a copy \
                 source: 5368709120",
            ));
        }
        let (mut writer, lane) = self.begin_copy(NewBlob { len: Some(len), ..new }).await?;
        let held = (source.pin, lane);
        let mut reader = self.open_reader(&source.row, range, source_key, held).await?;
        while let Some(bytes) = reader.next().await? {
            writer.write(&bytes).await?;
        }
        writer.finish().await
    }

    /// Makes a piece of a version a part of an upload.
    ///
    /// # Errors
    ///
    /// As [`Engine::put_part`]; the source is damaged or cannot be reached.
    pub async fn copy_part(&self, source: Located, copy: CopyPart) -> Result<PartRow, EngineError> {
        let (bucket, upload) = self.find_upload(&copy.bucket, &copy.object, copy.upload)?;
        let (row, len) = (&source.row, copy.range.end - copy.range.start);
        let class = upload.template.storage_class.as_deref();
        self.check_reach(row, &copy.range, copy.source_key.as_ref()).await?;
        let may_share = len >= SLICE_LEN_MIN
            && row.encryption.is_none()
            && copy.seal.is_none()
            && is_as_safe(row.storage_class.as_deref(), class)
            && self.is_shareable(&row.data).await?;
        if may_share {
            let part = self.slice_of(&source, &copy, &upload).await?;
            match self.put_slice(&source, &copy, (bucket.id, part)).await {
                Err(EngineError::Conflict) => {}
                outcome => return outcome,
            }
        }
        let new = NewBlob {
            bucket: &bucket,
            object: &copy.object,
            len: None,
            algorithm: copy.algorithm,
            storage_class: class,
            seal: copy.seal.as_ref(),
        };
        let key = copy.source_key.as_ref();
        let stored = self.copy_bytes(source, copy.range.clone(), key, new).await?;
        self.put_part(&copy.bucket, copy.object, copy.upload, copy.number, stored).await
    }

    /// The part that a piece of a version becomes, as its bytes stay where they are.
    async fn slice_of(
        &self,
        source: &Located,
        copy: &CopyPart,
        upload: &UploadRow,
    ) -> Result<PartRow, EngineError> {
        let (row, range) = (&source.row, copy.range.clone());
        let size = range.end - range.start;
        let (md5, checksum) = if size <= DIGESTED_LEN_MAX || upload.checksum.is_some() {
            let (md5, checksum) = self.digest(source, range.clone(), None, copy.algorithm).await?;
            (md5, Some(checksum))
        } else {
            (etag_of_slice(row, &range), None)
        };
        let data = Data::Slice {
            base: Box::new(row.data.clone()),
            base_size: row.size,
            offset: range.start,
        };
        let (number, modified_ms, seq, salt) = (copy.number, 0, Seq(0), None);
        Ok(PartRow { number, size, md5, modified_ms, checksum, data, seq, salt })
    }

    async fn put_slice(
        &self,
        source: &Located,
        copy: &CopyPart,
        (bucket_id, part): (BucketId, PartRow),
    ) -> Result<PartRow, EngineError> {
        let (bucket, object, upload) = (bucket_id, copy.object.clone(), copy.upload);
        let (source, term) = (source.source(), self.term());
        self.commit(move |tx| {
            plan::put_part_reference(tx, bucket, &object, upload, (&source, part), term)
        })
        .await
    }
}

/// An entity tag for a piece that is not read: of what it is a piece of, and where.
fn etag_of_slice(row: &ObjectRow, range: &Range<u64>) -> [u8; 16] {
    let text = format!("{} {}-{}", row.etag.to_text(), range.start, range.end);
    md5::Md5::digest(text.as_bytes()).into()
}
