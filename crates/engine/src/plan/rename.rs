//! Renaming a key: its current version gets another one.

use super::condition::Conditions;
use super::delete::delete_object;
use super::put::{Payload, put_dated, put_over};
use super::rows::{SweepItem, add_sweep, adjust_usage, count_version, load_bucket, load_head};
use super::share::{SourceRef, forget_owner, share_source};
use crate::error::{Condition, EngineError};
use drystone_base::{BlobId, BucketId, hash64};
use drystone_catalog::{BucketRow, Checksum, Data, Encryption, Key, ObjectRow, Tx, Versioning};

/// Time that a token is remembered, in milliseconds.
const TOKEN_KEPT_MS: u64 = 24 * 3600 * 1000;

/// Conditions on what a key has, at either end of a renaming.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SideConditions {
    /// One of these entity tags, or `*`.
    pub if_match: Option<Vec<String>>,
    /// None of these entity tags; `*`: nothing.
    pub if_none_match: Option<Vec<String>>,
    /// Changed after this, in milliseconds since 1970.
    pub if_modified_since_ms: Option<u64>,
    /// Not changed after this, in milliseconds since 1970.
    pub if_unmodified_since_ms: Option<u64>,
}

impl SideConditions {
    /// The condition that does not hold, if one does not.
    fn failed(&self, row: Option<&ObjectRow>) -> Option<Condition> {
        let matches = |tags: &[String]| {
            row.is_some_and(|row| {
                let etag = row.etag.to_text();
                tags.iter().any(|tag| tag == "*" || *tag == etag)
            })
        };
        // Dates of HTTP have whole seconds.
        let modified = row.map(|row| row.modified_ms / 1000 * 1000);
        if self.if_match.as_deref().is_some_and(|tags| !matches(tags)) {
            return Some(Condition::IfMatch);
        }
        if self.if_none_match.as_deref().is_some_and(matches) {
            return Some(Condition::IfNoneMatch);
        }
        if let (Some(since), Some(modified)) = (self.if_modified_since_ms, modified)
            && modified <= since
        {
            return Some(Condition::IfModifiedSince);
        }
        if let (Some(since), Some(modified)) = (self.if_unmodified_since_ms, modified)
            && modified > since
        {
            return Some(Condition::IfUnmodifiedSince);
        }
        None
    }

    fn check(&self, row: Option<&ObjectRow>) -> Result<(), EngineError> {
        match self.failed(row) {
            Some(condition) => Err(EngineError::PreconditionFailed(condition)),
            None => Ok(()),
        }
    }
}

/// A renaming.
#[derive(Clone, Debug, Default)]
pub struct RenameRequest {
    /// Key that is there.
    pub source: Vec<u8>,
    /// Key that it gets.
    pub target: Vec<u8>,
    /// Conditions on the source.
    pub source_conditions: SideConditions,
    /// Conditions on what the target has before.
    pub target_conditions: SideConditions,
    /// By which a repeated request is known.
    pub token: Option<String>,
    /// What is sealed of the source, and the same for the target, if it is encrypted.
    pub resealed: Option<Resealed>,
}

/// What is sealed of a version beside its bytes, and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedFields {
    encryption: Option<Encryption>,
    hidden: Option<Vec<u8>>,
    checksum: Option<Checksum>,
}

impl SealedFields {
    /// Those of a row as it is stored.
    #[must_use]
    pub fn of(row: &ObjectRow) -> Self {
        let (encryption, hidden) = (row.encryption.clone(), row.hidden.clone());
        Self { encryption, hidden, checksum: row.checksum.clone() }
    }
}

/// What is sealed of a version, and the same sealed for another key. Made before the plan, which does not
/// seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resealed {
    /// The bucket that both are bound to.
    pub bucket: BucketId,
    /// As it was found.
    pub from: SealedFields,
    /// As it is to be.
    pub to: SealedFields,
}

/// Gives the current version of a key another key. In a bucket that keeps versions the target gets a new
/// version with the same bytes, and the source a delete marker. `fresh` is an id that is not in use.
/// Returns the version, or `None` if the same request was carried out before.
///
/// # Errors
///
/// [`EngineError::ObjectNotFound`], a condition that does not hold, [`EngineError::TokenMismatch`],
/// [`EngineError::BucketNotFound`], [`EngineError::Conflict`] if what is sealed of the source is not what was
/// sealed again for the target, or the catalog failed.
pub fn rename(
    tx: &mut Tx<'_>,
    bucket_id: BucketId,
    request: &RenameRequest,
    fresh: BlobId,
) -> Result<Option<ObjectRow>, EngineError> {
    let bucket = load_bucket(tx, bucket_id)?;
    if let Some(token) = &request.token
        && was_done(tx, &bucket, request, token)?
    {
        return Ok(None);
    }
    let row = match load_head(tx, bucket.id, &request.source)? {
        None => return Err(EngineError::ObjectNotFound { marker: None }),
        Some(row) => row?,
    };
    if row.is_marker {
        return Err(EngineError::ObjectNotFound { marker: Some(row.version_text()) });
    }
    request.source_conditions.check(Some(&row))?;
    let row = resealed(bucket.id, row, request.resealed.as_ref())?;
    let head = load_head(tx, bucket.id, &request.target)?;
    let there = head.as_ref().and_then(|head| head.as_ref().ok()).filter(|head| !head.is_marker);
    request.target_conditions.check(there)?;
    let renamed = match bucket.versioning {
        Versioning::Off => {
            // The bytes are owned under the new seq.
            forget_owner(tx, &row)?;
            adjust_usage(tx, bucket.id, |usage| count_version(usage, &row, true, -1))?;
            tx.delete(Key::head(bucket.id, &request.source));
            put_dated(tx, &bucket, &request.target, head, row, Payload::Stored)?
        }
        Versioning::Enabled | Versioning::Suspended => {
            let source = SourceRef {
                bucket: bucket.id,
                object: request.source.clone(),
                seq: row.seq,
                data: row.data.clone(),
            };
            let (row, payload) = with_same_bytes(tx, row, &source, fresh)?;
            let made = put_over(tx, &bucket, &request.target, head, row, payload)?;
            delete_object(tx, bucket_id, &request.source, None, &Conditions::default())?;
            made
        }
    };
    Ok(Some(renamed.row))
}

/// The row as it is to be under the new key.
fn resealed(
    bucket: BucketId,
    row: ObjectRow,
    resealed: Option<&Resealed>,
) -> Result<ObjectRow, EngineError> {
    match resealed {
        None if row.encryption.is_none() => Ok(row),
        Some(Resealed { bucket: known, from, to })
            if *known == bucket && *from == SealedFields::of(&row) =>
        {
            let SealedFields { encryption, hidden, checksum } = to.clone();
            Ok(ObjectRow { encryption, hidden, checksum, ..row })
        }
        _ => Err(EngineError::Conflict),
    }
}

/// A new version with the bytes of another, which keeps them.
fn with_same_bytes(
    tx: &mut Tx<'_>,
    row: ObjectRow,
    source: &SourceRef,
    fresh: BlobId,
) -> Result<(ObjectRow, Payload), EngineError> {
    let lock = Default::default();
    if let Data::Inline(id) = row.data {
        let bytes = tx.get(&Key::inline(id))?.ok_or(EngineError::Conflict)?;
        let row = ObjectRow { data: Data::Inline(fresh), lock, ..row };
        return Ok((row, Payload::Inline(bytes.to_vec())));
    }
    let is_shared = row.data.shared_id().is_some();
    if is_shared {
        share_source(tx, source)?;
    }
    Ok((ObjectRow { is_shared, lock, ..row }, Payload::Stored))
}

/// Whether a request with this token was carried out; notes it if not.
fn was_done(
    tx: &mut Tx<'_>,
    bucket: &BucketRow,
    request: &RenameRequest,
    token: &str,
) -> Result<bool, EngineError> {
    let key = Key::rename_token(bucket.id, hash64(token.as_bytes()));
    let mut known = token.as_bytes().to_vec();
    for name in [&request.source, &request.target] {
        known.push(0);
        known.extend_from_slice(name);
    }
    match tx.get(&key)? {
        Some(before) if before[..] == known => Ok(true),
        Some(_) => Err(EngineError::TokenMismatch),
        None => {
            let due = tx.now_ms() + TOKEN_KEPT_MS;
            tx.put(key.clone(), known);
            add_sweep(tx, due, &SweepItem::Row(key));
            Ok(false)
        }
    }
}
