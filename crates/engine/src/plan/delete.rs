//! Deleting a key or one of its versions.

use super::condition::{Conditions, check_delete};
use super::put::{Payload, put_over};
use super::rows::{VersionRef, adjust_usage, count_version, load_bucket, load_head, load_version};
use super::share::release_version;
use crate::error::EngineError;
use drystone_base::{BucketId, DecodeError};
use drystone_catalog::{BucketRow, Key, ObjectRow, Tx, Versioning};
use drystone_index::prefix_range;

/// What a delete did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOutcome {
    /// Version id to report: the marker that was made, or the version that was removed.
    pub version: Option<String>,
    /// A delete marker was made, or removed.
    pub is_marker: bool,
}

/// Deletes a key, or one version of it. What is not there counts as deleted.
///
/// # Errors
///
/// [`EngineError::BucketNotFound`], a condition that does not hold, [`EngineError::Locked`], or the catalog
/// failed.
pub fn delete_object(
    tx: &mut Tx<'_>,
    bucket_id: BucketId,
    object: &[u8],
    version: Option<VersionRef>,
    conditions: &Conditions,
) -> Result<DeleteOutcome, EngineError> {
    let bucket = load_bucket(tx, bucket_id)?;
    let head = load_head(tx, bucket.id, object)?;
    let Some(version) = version else {
        check_delete(conditions, head.as_ref())?;
        if bucket.versioning != Versioning::Off {
            if frees_null_version(tx, &bucket, object, head.as_ref())? {
                tx.use_reserve();
            }
            let marker = ObjectRow { is_marker: true, ..ObjectRow::empty() };
            let made = put_over(tx, &bucket, object, head, marker, Payload::Stored)?;
            return Ok(DeleteOutcome { version: Some(made.row.version_text()), is_marker: true });
        }
        tx.use_reserve();
        if let Some(head) = head {
            if let Ok(row) = head {
                adjust_usage(tx, bucket.id, |usage| count_version(usage, &row, true, -1))?;
                release_version(tx, &row)?;
            }
            tx.delete(Key::head(bucket.id, object));
        }
        return Ok(DeleteOutcome::default());
    };
    if bucket.needs_mfa && !conditions.has_mfa {
        return Err(EngineError::MfaNeeded);
    }
    tx.use_reserve();
    if matches!(head, Some(Err(_))) {
        check_delete(conditions, head.as_ref())?;
        // A lock that cannot be read holds.
        if bucket.lock.is_some() {
            return Err(EngineError::Locked);
        }
        return delete_damaged_head(tx, bucket.id, object, version);
    }
    let Some((is_head, row)) = load_version(tx, bucket.id, object, version)? else {
        check_delete(conditions, None)?;
        return Ok(DeleteOutcome { version: Some(text_of(version)), is_marker: false });
    };
    check_delete(conditions, Some(&Ok(row.clone())))?;
    if row.lock.holds(tx.locks_ended_ms(), conditions.bypasses_governance) {
        return Err(EngineError::Locked);
    }
    adjust_usage(tx, bucket.id, |usage| count_version(usage, &row, is_head, -1))?;
    release_version(tx, &row)?;
    let outcome = DeleteOutcome { version: Some(row.version_text()), is_marker: row.is_marker };
    if is_head {
        promote(tx, bucket.id, object, row.null_seq)?;
    } else {
        tx.delete(Key::version(bucket.id, object, row.seq));
        if row.is_null
            && let Some(Ok(head)) = head
        {
            let head = ObjectRow { null_seq: None, ..head };
            tx.put(Key::head(bucket.id, object), head.encode());
        }
    }
    Ok(outcome)
}

/// Whether a marker without an id takes the place of a version that has bytes.
///
/// Any other marker frees nothing, and is refused where a drive is full: no number of deletes may use up what
/// deletes are kept space for.
fn frees_null_version(
    tx: &Tx<'_>,
    bucket: &BucketRow,
    object: &[u8],
    head: Option<&Result<ObjectRow, DecodeError>>,
) -> Result<bool, EngineError> {
    if bucket.versioning != Versioning::Suspended || !matches!(head, Some(Ok(_))) {
        return Ok(false);
    }
    let null = load_version(tx, bucket.id, object, VersionRef::Null)?;
    Ok(null.is_some_and(|(_, row)| !row.is_marker))
}

fn text_of(version: VersionRef) -> String {
    match version {
        VersionRef::Null => "null".to_owned(),
        VersionRef::Id(id) => id.to_text(),
    }
}

/// A head that cannot be understood: the version that is named may be the head itself, which must
/// be removable. A version below it is removed by its own row.
fn delete_damaged_head(
    tx: &mut Tx<'_>,
    bucket: BucketId,
    object: &[u8],
    version: VersionRef,
) -> Result<DeleteOutcome, EngineError> {
    let outcome = DeleteOutcome { version: Some(text_of(version)), is_marker: false };
    if let VersionRef::Id(id) = version {
        let key = Key::version(bucket, object, id.seq);
        if tx.get(&key)?.is_some() {
            tx.delete(key);
            return Ok(outcome);
        }
    }
    promote(tx, bucket, object, None)?;
    Ok(outcome)
}

/// The newest noncurrent version becomes the head, or the key goes.
fn promote(
    tx: &mut Tx<'_>,
    bucket: BucketId,
    object: &[u8],
    null_seq: Option<drystone_base::Seq>,
) -> Result<(), EngineError> {
    let newest = tx.first(prefix_range(&Key::versions_of(bucket, object)))?;
    let Some((key, value)) = newest else {
        tx.delete(Key::head(bucket, object));
        return Ok(());
    };
    let row = ObjectRow::decode(&value)?;
    adjust_usage(tx, bucket, |usage| {
        count_version(usage, &row, false, -1);
        count_version(usage, &row, true, 1);
    })?;
    tx.delete(key.to_vec());
    let head = ObjectRow { null_seq: null_seq.filter(|seq| *seq != row.seq), ..row };
    tx.put(Key::head(bucket, object), head.encode());
    Ok(())
}
