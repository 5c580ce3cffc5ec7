//! Multipart uploads, and tags.

use super::condition::{Conditions, check_write};
use super::put::{Payload, WriteOutcome, put_over, store};
use super::rows::{
    SweepItem, VersionRef, add_sweep, adjust_usage, load_bucket, load_head, load_version,
};
use super::share::{SourceRef, add_owner, release_part, share_source};
use crate::error::EngineError;
use drystone_base::{BlobId, BucketId, UploadId};
use drystone_catalog::{
    BucketRow, Data, Key, Manifest, ObjectRow, PartRow, Tx, UploadRow, UploadState,
};

/// Time that a completed upload answers a repeated request, in milliseconds.
const COMPLETED_KEPT_MS: u64 = 24 * 3600 * 1000;

/// Opens an upload as it was asked for; when, is filled in.
///
/// # Errors
///
/// [`EngineError::BucketNotFound`], or the catalog failed.
pub fn create_upload(
    tx: &mut Tx<'_>,
    bucket_id: BucketId,
    object: &[u8],
    asked: UploadRow,
) -> Result<UploadId, EngineError> {
    let bucket = load_bucket(tx, bucket_id)?;
    if bucket.lock.is_none() && !asked.template.lock.is_empty() {
        return Err(EngineError::NoBucketLock);
    }
    let seq = tx.next_seq();
    let upload = UploadId::new(seq, tx.rng());
    let template = ObjectRow { seq, ..asked.template };
    let row = UploadRow { initiated_ms: tx.now_ms(), template, ..asked };
    tx.put(Key::upload(bucket.id, object, upload), row.encode());
    adjust_usage(tx, bucket.id, |usage| usage.upload_count += 1)?;
    Ok(upload)
}

/// The bucket and row of an upload.
///
/// # Errors
///
/// [`EngineError::BucketNotFound`], [`EngineError::UploadNotFound`], or the catalog failed.
pub fn load_upload(
    tx: &Tx<'_>,
    bucket_id: BucketId,
    object: &[u8],
    upload: UploadId,
) -> Result<(BucketRow, UploadRow), EngineError> {
    let bucket = load_bucket(tx, bucket_id)?;
    let bytes = tx.get(&Key::upload(bucket.id, object, upload))?;
    let row = UploadRow::decode(&bytes.ok_or(EngineError::UploadNotFound)?)?;
    Ok((bucket, row))
}

/// Whether an upload takes parts and may be completed or aborted by the process of this term.
fn check_open(row: &UploadRow, term: u32) -> Result<(), EngineError> {
    match row.state {
        UploadState::Open => Ok(()),
        // The process that was completing it is gone.
        UploadState::Completing { term: other } if other < term => Ok(()),
        UploadState::Completing { .. } => Err(EngineError::UploadBusy),
        UploadState::Completed { .. } => Err(EngineError::UploadNotFound),
    }
}

/// Adds or replaces a part.
///
/// # Errors
///
/// [`EngineError::UploadNotFound`], [`EngineError::UploadBusy`], or the catalog failed.
pub fn put_part(
    tx: &mut Tx<'_>,
    bucket_id: BucketId,
    object: &[u8],
    upload: UploadId,
    mut part: PartRow,
    payload: Payload,
    term: u32,
) -> Result<PartRow, EngineError> {
    let (bucket, row) = load_upload(tx, bucket_id, object, upload)?;
    check_open(&row, term)?;
    part.seq = tx.next_seq();
    part.modified_ms = tx.now_ms();
    if matches!(part.data, Data::Slice { .. }) {
        add_owner(tx, &part.data, part.seq);
    }
    let key = Key::part(upload, part.number);
    let mut replaced = None;
    if let Some(bytes) = tx.get(&key)?
        && let Ok(old) = PartRow::decode(&bytes)
    {
        release_part(tx, &old)?;
        replaced = Some(old.size);
    }
    adjust_usage(tx, bucket.id, |usage| {
        usage.part_count += u64::from(replaced.is_none());
        usage.part_bytes = usage.part_bytes + part.size - replaced.unwrap_or(0);
    })?;
    store(tx, key, &part.data, part.encode(), payload);
    Ok(part)
}

/// Adds or replaces a part that is a piece of a version.
///
/// # Errors
///
/// As [`put_part`]; [`EngineError::Conflict`] if the source is not what it was.
pub fn put_part_reference(
    tx: &mut Tx<'_>,
    bucket_id: BucketId,
    object: &[u8],
    upload: UploadId,
    (source, part): (&SourceRef, PartRow),
    term: u32,
) -> Result<PartRow, EngineError> {
    share_source(tx, source)?;
    put_part(tx, bucket_id, object, upload, part, Payload::Stored, term)
}

/// Freezes the parts of an upload. A completed one is given back as it is.
///
/// # Errors
///
/// [`EngineError::UploadNotFound`], [`EngineError::UploadBusy`], or the catalog failed.
pub fn freeze_upload(
    tx: &mut Tx<'_>,
    bucket_id: BucketId,
    object: &[u8],
    upload: UploadId,
    term: u32,
) -> Result<(BucketRow, UploadRow), EngineError> {
    let (bucket, mut row) = load_upload(tx, bucket_id, object, upload)?;
    if matches!(row.state, UploadState::Completed { .. }) {
        return Ok((bucket, row));
    }
    check_open(&row, term)?;
    row.state = UploadState::Completing { term };
    tx.put(Key::upload(bucket.id, object, upload), row.encode());
    Ok((bucket, row))
}

/// Takes the freezing back.
///
/// # Errors
///
/// The catalog failed.
pub fn reopen_upload(
    tx: &mut Tx<'_>,
    bucket_id: BucketId,
    object: &[u8],
    upload: UploadId,
) -> Result<(), EngineError> {
    let (bucket, mut row) = load_upload(tx, bucket_id, object, upload)?;
    if matches!(row.state, UploadState::Completing { .. }) {
        row.state = UploadState::Open;
        tx.use_reserve();
        tx.put(Key::upload(bucket.id, object, upload), row.encode());
    }
    Ok(())
}

/// What becomes of an upload whose parts were frozen and checked.
#[derive(Clone, Debug)]
pub struct CompletePlan {
    /// The object; its data is the manifest.
    pub draft: ObjectRow,
    /// Id of the manifest.
    pub manifest_id: BlobId,
    /// The selected parts.
    pub manifest: Manifest,
    /// Conditions on the current version.
    pub conditions: Conditions,
}

/// Makes an upload an object.
///
/// # Errors
///
/// [`EngineError::UploadNotFound`], a condition that does not hold, or the catalog failed.
pub fn complete_upload(
    tx: &mut Tx<'_>,
    bucket_id: BucketId,
    object: &[u8],
    upload: UploadId,
    plan: CompletePlan,
) -> Result<WriteOutcome, EngineError> {
    let (bucket, mut row) = load_upload(tx, bucket_id, object, upload)?;
    if !matches!(row.state, UploadState::Completing { .. }) {
        return Err(EngineError::UploadNotFound);
    }
    let head = load_head(tx, bucket.id, object)?;
    check_write(&plan.conditions, head.as_ref())?;
    let selected = plan.manifest.parts.iter().map(|part| (part.number, part.md5)).collect();
    tx.put(Key::manifest(plan.manifest_id), plan.manifest.encode());
    let outcome = put_over(tx, &bucket, object, head, plan.draft, Payload::Stored)?;
    let at_ms = tx.now_ms();
    row.state = UploadState::Completed { selected, result: Box::new(outcome.row.clone()), at_ms };
    tx.put(Key::upload(bucket.id, object, upload), row.encode());
    adjust_usage(tx, bucket.id, |usage| usage.upload_count -= 1)?;
    let manifest = Some(plan.manifest_id);
    add_sweep(tx, at_ms, &SweepItem::Parts { bucket: bucket.id, upload, manifest });
    let item = SweepItem::Upload { bucket: bucket.id, upload, object: object.to_vec() };
    add_sweep(tx, at_ms + COMPLETED_KEPT_MS, &item);
    Ok(outcome)
}

/// Forgets an upload; its parts are swept.
///
/// # Errors
///
/// [`EngineError::UploadNotFound`], [`EngineError::UploadBusy`], or the catalog failed.
pub fn abort_upload(
    tx: &mut Tx<'_>,
    bucket_id: BucketId,
    object: &[u8],
    upload: UploadId,
    term: u32,
) -> Result<(), EngineError> {
    let (bucket, row) = load_upload(tx, bucket_id, object, upload)?;
    check_open(&row, term)?;
    tx.use_reserve();
    tx.delete(Key::upload(bucket.id, object, upload));
    adjust_usage(tx, bucket.id, |usage| usage.upload_count -= 1)?;
    let now = tx.now_ms();
    add_sweep(tx, now, &SweepItem::Parts { bucket: bucket.id, upload, manifest: None });
    Ok(())
}

/// Changes what is said of a version besides its bytes; returns the version.
///
/// # Errors
///
/// What is named does not exist or is a delete marker, or the catalog failed.
pub fn change_version(
    tx: &mut Tx<'_>,
    bucket_id: BucketId,
    object: &[u8],
    version: Option<VersionRef>,
    change: impl FnOnce(&mut ObjectRow),
) -> Result<ObjectRow, EngineError> {
    let bucket = load_bucket(tx, bucket_id)?;
    let (is_head, mut row) = match version {
        Some(version) => {
            load_version(tx, bucket.id, object, version)?.ok_or(EngineError::VersionNotFound)?
        }
        None => match load_head(tx, bucket.id, object)? {
            Some(head) => (true, head?),
            None => return Err(EngineError::ObjectNotFound { marker: None }),
        },
    };
    if row.is_marker {
        let version_text = row.version_text();
        return Err(match version {
            None => EngineError::ObjectNotFound { marker: Some(version_text) },
            Some(_) => {
                EngineError::IsDeleteMarker { version: version_text, modified_ms: row.modified_ms }
            }
        });
    }
    change(&mut row);
    let key = if is_head {
        Key::head(bucket.id, object)
    } else {
        Key::version(bucket.id, object, row.seq)
    };
    tx.put(key, row.encode());
    Ok(row)
}

/// Replaces the tags of a version. Removing them goes on where a drive is full.
///
/// # Errors
///
/// As [`change_version`].
pub fn set_tags(
    tx: &mut Tx<'_>,
    bucket_id: BucketId,
    object: &[u8],
    version: Option<VersionRef>,
    tags: Vec<(String, String)>,
) -> Result<ObjectRow, EngineError> {
    let mut removes = false;
    let change = |row: &mut ObjectRow| {
        removes = tags.is_empty() && !row.tags.is_empty();
        row.tags = tags;
    };
    let row = change_version(tx, bucket_id, object, version, change)?;
    if removes {
        tx.use_reserve();
    }
    Ok(row)
}

/// Whether data is a part's own, so that dropping the part drops the bytes.
pub(crate) fn part_blob(data: &Data) -> Option<BlobId> {
    match data {
        Data::Blob { blob, .. } => Some(*blob),
        Data::Empty | Data::Inline(_) | Data::Manifest(_) | Data::Slice { .. } => None,
    }
}
