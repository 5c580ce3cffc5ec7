//! A new version of a key.

use super::condition::{Conditions, check_write};
use super::lock::check_lock_clock;
use super::rows::{adjust_usage, count_version, load_bucket, load_head, null_below};
use super::share::{add_owner, release_version};
use crate::error::EngineError;
use crate::lock_clock::BELIEVED_MS_MAX;
use drystone_base::{BucketId, DecodeError};
use drystone_catalog::{BucketRow, Data, Key, ObjectRow, Retention, Tx, Versioning};
use drystone_log::RecordInput;

/// Bytes that come with a row in one transaction.
#[derive(Clone, Debug)]
pub enum Payload {
    /// They are durable already, or there are none.
    Stored,
    /// They go into an `inline` row.
    Inline(Vec<u8>),
    /// They go into a record in the same batch as the row.
    Record(RecordInput),
}

/// What a write left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteOutcome {
    /// The new version.
    pub row: ObjectRow,
    /// Versioning state of the bucket.
    pub versioning: Versioning,
}

impl WriteOutcome {
    /// The version that the answer to the write names: none where the bucket keeps no versions now (S3
    /// API reference, "PutObject", the example "Versioning suspended").
    #[must_use]
    pub fn reported_version(&self) -> Option<String> {
        (self.versioning == Versioning::Enabled).then(|| self.row.version_text())
    }
}

/// Makes `draft` the current version of a key. Its seq, random bits, time and null flag are set here.
///
/// # Errors
///
/// [`EngineError::BucketNotFound`], a condition that does not hold, or the catalog failed.
pub fn put_object(
    tx: &mut Tx<'_>,
    bucket_id: BucketId,
    object: &[u8],
    draft: ObjectRow,
    payload: Payload,
    conditions: &Conditions,
) -> Result<WriteOutcome, EngineError> {
    let bucket = load_bucket(tx, bucket_id)?;
    let head = load_head(tx, bucket.id, object)?;
    check_write(conditions, head.as_ref())?;
    put_over(tx, &bucket, object, head, draft, payload)
}

/// As [`put_object`], with the bucket and the head already looked at.
pub(crate) fn put_over(
    tx: &mut Tx<'_>,
    bucket: &BucketRow,
    object: &[u8],
    head: Option<Result<ObjectRow, DecodeError>>,
    row: ObjectRow,
    payload: Payload,
) -> Result<WriteOutcome, EngineError> {
    let row = ObjectRow { modified_ms: tx.now_ms(), ..row };
    put_dated(tx, bucket, object, head, row, payload)
}

/// As [`put_over`], with the time that the row says.
pub(crate) fn put_dated(
    tx: &mut Tx<'_>,
    bucket: &BucketRow,
    object: &[u8],
    head: Option<Result<ObjectRow, DecodeError>>,
    mut row: ObjectRow,
    payload: Payload,
) -> Result<WriteOutcome, EngineError> {
    lock_by_default(tx, bucket, &mut row)?;
    // What cannot be understood would be replaced: a lock that cannot be read holds.
    if bucket.lock.is_some() && matches!(head, Some(Err(_))) {
        return Err(EngineError::Locked);
    }
    row.seq = tx.next_seq();
    row.random = tx.rng().u64();
    row.is_null = bucket.versioning != Versioning::Enabled;
    row.null_seq = None;
    // Before the old version lets go: it may have the same bytes.
    if row.is_shared {
        add_owner(tx, &row.data, row.seq);
    }
    // A head that cannot be understood is replaced: a key can always be overwritten.
    if let Some(Ok(head)) = head {
        row.null_seq = displace(tx, bucket.id, object, head, row.is_null)?;
    }
    adjust_usage(tx, bucket.id, |usage| count_version(usage, &row, true, 1))?;
    store(tx, Key::head(bucket.id, object), &row.data, row.encode(), payload);
    Ok(WriteOutcome { row, versioning: bucket.versioning })
}

/// Gives a new version the lock of its bucket, if its writer says nothing of retention.
///
/// A lock ends when both clocks say so, and it is counted from the later one, so that either of them holds
/// it. Where one is far ahead of the other, one of them is wrong. With the wall clock ahead the lock would
/// last for as long as the error is large, with the clock of locks ahead that clock would not hold what a
/// client dates: nothing is written until an operator has looked.
fn lock_by_default(
    tx: &Tx<'_>,
    bucket: &BucketRow,
    row: &mut ObjectRow,
) -> Result<(), EngineError> {
    let Some(lock) = bucket.lock else {
        return if row.lock.is_empty() { Ok(()) } else { Err(EngineError::NoBucketLock) };
    };
    if row.lock.retention.is_some() {
        check_lock_clock(tx)?;
    } else if let Some((mode, period)) = lock.default
        && !row.is_marker
    {
        check_lock_clock(tx)?;
        let (wall_ms, lock_now_ms) = (tx.now_ms().max(row.modified_ms), tx.lock_now_ms());
        if wall_ms > lock_now_ms.saturating_add(BELIEVED_MS_MAX) {
            return Err(EngineError::LockClockBehind);
        }
        let until_ms = wall_ms.max(lock_now_ms).saturating_add(period.len_ms());
        row.lock.retention = Some(Retention { mode, until_ms });
    }
    Ok(())
}

/// Puts a row and its payload.
pub(crate) fn store(
    tx: &mut Tx<'_>,
    key: Vec<u8>,
    data: &Data,
    encoded: Vec<u8>,
    payload: Payload,
) {
    match payload {
        Payload::Stored => tx.put(key, encoded),
        Payload::Inline(bytes) => {
            if let Data::Inline(id) = data {
                tx.put(Key::inline(*id), bytes);
            }
            tx.put(key, encoded);
        }
        Payload::Record(record) => {
            let at = ObjectRow::hint_offset(&encoded);
            let index = tx.add_payload(record);
            tx.put_with_hint(key, encoded, at, index);
        }
    }
}

/// Makes room for a new head: the old one becomes noncurrent or goes. Returns the null version that
/// the new head has below it.
fn displace(
    tx: &mut Tx<'_>,
    bucket: BucketId,
    object: &[u8],
    head: ObjectRow,
    new_is_null: bool,
) -> Result<Option<drystone_base::Seq>, EngineError> {
    if new_is_null && head.is_null {
        adjust_usage(tx, bucket, |usage| count_version(usage, &head, true, -1))?;
        release_version(tx, &head)?;
        return Ok(None);
    }
    let below = null_below(&head);
    if new_is_null && let Some(seq) = below {
        let key = Key::version(bucket, object, seq);
        if let Some(bytes) = tx.get(&key)? {
            if let Ok(old) = ObjectRow::decode(&bytes) {
                adjust_usage(tx, bucket, |usage| count_version(usage, &old, false, -1))?;
                release_version(tx, &old)?;
            }
            tx.delete(key);
        }
    }
    adjust_usage(tx, bucket, |usage| {
        count_version(usage, &head, true, -1);
        count_version(usage, &head, false, 1);
    })?;
    let noncurrent = ObjectRow { null_seq: None, ..head };
    tx.put(Key::version(bucket, object, noncurrent.seq), noncurrent.encode());
    Ok(if new_is_null { None } else { below })
}
