//! Copies: bytes are streamed, except when an object is copied onto itself to change what is said
//! about it.

use crate::blob::{NewBlob, Stored};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::object::{Located, ObjectDraft, PutRequest};
use crate::plan::{self, Conditions, WriteOutcome};
use crate::seal::Seal;
use drystone_base::Seq;
use drystone_catalog::{ChecksumAlgorithm, ChecksumKind, Key, ObjectRow, Versioning};
use drystone_cluster::Protection;
use drystone_keyring::DataKey;
use std::ops::Range;

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
    /// The source is the target's current version.
    pub is_same_key: bool,
    /// Data key of the source, if it is encrypted.
    pub source_key: Option<DataKey>,
    /// How the target is sealed, if it is.
    pub seal: Option<Seal>,
}

impl Engine {
    /// Copies a version onto a key.
    ///
    /// # Errors
    ///
    /// A condition that does not hold, the source is damaged, or the catalog failed.
    pub async fn copy_object(
        &self,
        source: Located,
        request: CopyRequest,
    ) -> Result<WriteOutcome, EngineError> {
        let old = source.row.checksum.as_ref().map(|checksum| checksum.algorithm);
        let algorithm = request.algorithm.or(old).unwrap_or(ChecksumAlgorithm::Crc64Nvme);
        let is_whole = |row: &ObjectRow| {
            let kind = row.checksum.as_ref().map(|checksum| checksum.kind);
            row.etag.part_count.is_none() && kind == Some(ChecksumKind::FullObject)
        };
        let bucket = self.find_bucket(&request.bucket)?;
        let replaces = bucket.versioning == Versioning::Off && old == Some(algorithm);
        let class = |name: &Option<String>| Protection::of_class(name.as_deref());
        let is_as_safe = class(&source.row.storage_class) == class(&request.draft.storage_class);
        let is_plain = source.row.encryption.is_none() && request.draft.encryption.is_none();
        if request.is_same_key && replaces && is_as_safe && is_plain && is_whole(&source.row) {
            let seq = source.row.seq;
            match self.retell(&request, seq).await {
                Err(EngineError::Conflict) => {}
                result => return result,
            }
        }
        let range = 0..source.row.size;
        let new = NewBlob {
            bucket: &bucket,
            object: &request.object,
            len: Some(source.row.size),
            algorithm,
            storage_class: request.draft.storage_class.as_deref(),
            seal: request.seal.as_ref(),
        };
        let stored = self.copy_bytes(source, range, request.source_key.as_ref(), new).await?;
        let CopyRequest { bucket, object, draft, conditions, .. } = request;
        self.put_object(PutRequest { bucket, object, draft, stored, conditions }).await
    }

    /// Gives the current version, if it is still the one of `seq`, new metadata over the same bytes.
    async fn retell(&self, request: &CopyRequest, seq: Seq) -> Result<WriteOutcome, EngineError> {
        let (name, object) = (request.bucket.clone(), request.object.clone());
        let (draft, conditions) = (request.draft.clone(), request.conditions.clone());
        let told = self.commit(move |tx| {
            let bucket = plan::load_bucket(tx, &name)?;
            let head = plan::load_head(tx, bucket.id, &object)?;
            plan::check_write(&conditions, head.as_ref())?;
            let Some(Ok(old)) = head else { return Err(EngineError::Conflict) };
            if old.seq != seq || bucket.versioning != Versioning::Off {
                return Err(EngineError::Conflict);
            }
            let row = ObjectRow {
                seq: tx.next_seq(),
                random: tx.rng().u64(),
                modified_ms: tx.now_ms(),
                is_null: true,
                size: old.size,
                etag: old.etag,
                checksum: old.checksum,
                data: old.data,
                ..draft.into_row()
            };
            tx.put(Key::head(bucket.id, &object), row.encode());
            Ok(WriteOutcome { row, versioning: bucket.versioning })
        });
        let outcome = told.await?;
        if let Some(blob) = plan::part_blob(&outcome.row.data)
            && self.manifest_layout(blob)?.is_some()
        {
            let bucket = self.find_bucket(&request.bucket)?;
            self.write_manifest(&bucket, &request.object, &outcome.row, None);
        }
        Ok(outcome)
    }

    /// Streams bytes `range` of a version into a new body.
    ///
    /// # Errors
    ///
    /// The source is damaged, the drive is full or failed.
    pub async fn copy_bytes(
        &self,
        source: Located,
        range: Range<u64>,
        source_key: Option<&DataKey>,
        new: NewBlob<'_>,
    ) -> Result<Stored, EngineError> {
        let len = Some(range.end - range.start);
        let mut writer = self.begin_blob(NewBlob { len, ..new }).await?;
        let mut reader = self.read(source, range, source_key)?;
        while let Some(bytes) = reader.next().await? {
            writer.write(&bytes).await?;
        }
        writer.finish().await
    }
}
