//! Appending to an object: it gets one part more.

use super::condition::{Conditions, check_write};
use super::put::{Payload, WriteOutcome, put_over};
use super::rows::{adjust_usage, count_version, load_bucket, load_head};
use super::share::{add_owner, release_part};
use crate::error::EngineError;
use drystone_base::limits::PART_NUMBER_MAX;
use drystone_base::{BlobId, BucketId, Seq};
use drystone_catalog::{
    BucketRow, Checksum, Data, ETag, Key, Manifest, ObjectRow, PartRow, Tx, Versioning,
};
use md5::Digest as _;

/// Entries at the end of a list that are rewritten by each append. More become a list of their own, which the
/// list of the object has as one entry: the committer must not be kept by how many parts an object has. More
/// than are merged at once.
const TAIL_COUNT_MAX: usize = 192;

/// Bytes that are to be put behind an object.
#[derive(Clone, Debug)]
pub struct AppendPlan {
    /// Where they are to begin.
    pub offset: u64,
    /// The version that was looked at before they were taken in; `None` if there was none.
    pub seen: Option<Seq>,
    /// The part; number, time and seq are set here.
    pub part: PartRow,
    /// Bytes that come with the transaction.
    pub payload: Payload,
    /// The object, if it is made now.
    pub draft: ObjectRow,
    /// Checksum of the whole, with the part.
    pub checksum: Option<Checksum>,
    /// An id for the list of parts, if it needs one.
    pub manifest_id: BlobId,
    /// Conditions on the current version.
    pub conditions: Conditions,
}

/// Whether objects of a bucket can be appended to.
#[must_use]
pub fn takes_appends(bucket: &BucketRow) -> bool {
    bucket.takes_appends && bucket.versioning == Versioning::Off
}

/// Puts bytes behind an object.
///
/// # Errors
///
/// [`EngineError::WriteOffset`] if it does not end at the offset, [`EngineError::TooManyParts`],
/// [`EngineError::NotAppendable`], [`EngineError::Conflict`] if it changed meanwhile, a condition that
/// does not hold, or the catalog failed.
pub fn append(
    tx: &mut Tx<'_>,
    bucket_id: BucketId,
    object: &[u8],
    plan: AppendPlan,
) -> Result<WriteOutcome, EngineError> {
    let bucket = load_bucket(tx, bucket_id)?;
    if !takes_appends(&bucket) {
        return Err(EngineError::NotAppendable);
    }
    let head = load_head(tx, bucket.id, object)?;
    check_write(&plan.conditions, head.as_ref())?;
    let AppendPlan { offset, seen, mut part, payload, draft, checksum, manifest_id, .. } = plan;
    let Some(head) = head else {
        if offset > 0 {
            return Err(EngineError::WriteOffset { size_bytes: 0 });
        }
        return put_over(tx, &bucket, object, None, draft, payload);
    };
    let old = head?;
    if old.size != offset {
        return Err(EngineError::WriteOffset { size_bytes: old.size });
    }
    if Some(old.seq) != seen || old.is_shared {
        return Err(EngineError::Conflict);
    }
    let (id, mut manifest) = short_list(tx, &old, manifest_id)?;
    let last = manifest.parts.last().map_or(0, |part| part.number);
    if u32::from(last) >= PART_NUMBER_MAX || u32::from(old.append_count) + 1 >= PART_NUMBER_MAX {
        return Err(EngineError::TooManyParts);
    }
    part.number = last + 1;
    part.seq = tx.next_seq();
    part.modified_ms = tx.now_ms();
    let mut md5 = md5::Md5::new();
    md5.update(old.etag.md5);
    md5.update(part.md5);
    let append_count = old.append_count + 1;
    let row = ObjectRow {
        seq: part.seq,
        random: tx.rng().u64(),
        modified_ms: part.modified_ms,
        size: old.size + part.size,
        etag: ETag { md5: md5.finalize().into(), part_count: Some(append_count + 1) },
        checksum,
        append_count,
        data: Data::Manifest(id),
        ..old.clone()
    };
    adjust_usage(tx, bucket.id, |usage| {
        count_version(usage, &old, true, -1);
        count_version(usage, &row, true, 1);
    })?;
    store_part(tx, &part, payload);
    manifest.parts.push(part);
    tx.put(Key::manifest(id), manifest.encode());
    tx.put(Key::head(bucket.id, object), row.encode());
    Ok(WriteOutcome { row, versioning: bucket.versioning })
}

/// The list of an object, with few entries whatever it is made of.
fn short_list(
    tx: &mut Tx<'_>,
    row: &ObjectRow,
    new_id: BlobId,
) -> Result<(BlobId, Manifest), EngineError> {
    let part_count = row.etag.part_count.map_or(0, usize::from);
    if let Data::Manifest(_) = row.data
        && row.append_count == 0
        && part_count > TAIL_COUNT_MAX
    {
        // The list of an upload: it is not read at all.
        let whole = entry_of_list(tx, row.data.clone(), row.size, 1);
        return Ok((new_id, Manifest { parts: vec![whole] }));
    }
    let (id, mut list) = parts_of(tx, row, new_id)?;
    let is_list = |part: &&PartRow| match &part.data {
        Data::Slice { base, .. } => matches!(**base, Data::Manifest(_)),
        _ => false,
    };
    let first = list.parts.iter().take_while(is_list).count();
    if list.parts.len() - first < TAIL_COUNT_MAX {
        return Ok((id, list));
    }
    let tail = Manifest { parts: list.parts.split_off(first) };
    let size = tail.parts.iter().map(|part| part.size).sum();
    let number = tail.parts.last().map_or(0, |part| part.number);
    tx.put(Key::manifest(new_id), tail.encode());
    list.parts.push(entry_of_list(tx, Data::Manifest(new_id), size, number));
    Ok((id, list))
}

/// A list as an entry of another, as a piece of a copied object is: its parts are sealed each for itself.
fn entry_of_list(tx: &mut Tx<'_>, list: Data, size: u64, number: u16) -> PartRow {
    let (seq, modified_ms) = (tx.next_seq(), tx.now_ms());
    let data = Data::Slice { base: Box::new(list), base_size: size, offset: 0 };
    add_owner(tx, &data, seq);
    let (md5, checksum, salt) = ([0; 16], None, None);
    PartRow { number, size, md5, modified_ms, checksum, data, seq, salt }
}

/// The parts that an object has: the whole of it, if it has no list of them yet.
fn parts_of(
    tx: &Tx<'_>,
    row: &ObjectRow,
    manifest_id: BlobId,
) -> Result<(BlobId, Manifest), EngineError> {
    if let Data::Manifest(id) = row.data {
        let bytes = tx.get(&Key::manifest(id))?;
        let missing = drystone_base::DecodeError { what: "manifest row" };
        return Ok((id, Manifest::decode(&bytes.ok_or(missing)?)?));
    }
    let whole = PartRow {
        number: 1,
        size: row.size,
        md5: row.etag.md5,
        modified_ms: row.modified_ms,
        // A sealed one is bound to the object; of parts of what was appended to none is shown.
        checksum: row.checksum.clone().filter(|checksum| !checksum.is_sealed),
        data: row.data.clone(),
        seq: row.seq,
        salt: row.encryption.as_ref().map(|encryption| encryption.salt),
    };
    let parts = if row.size == 0 { Vec::new() } else { vec![whole] };
    Ok((manifest_id, Manifest { parts }))
}

/// Stores the bytes of a part that has no row of its own.
fn store_part(tx: &mut Tx<'_>, part: &PartRow, payload: Payload) {
    match payload {
        Payload::Stored => {}
        Payload::Inline(bytes) => {
            if let Data::Inline(id) = part.data {
                tx.put(Key::inline(id), bytes);
            }
        }
        Payload::Record(record) => drop(tx.add_payload(record)),
    }
}

/// Parts of one list that were merged.
#[derive(Clone, Debug)]
pub struct MergePlan {
    /// The list.
    pub manifest_id: BlobId,
    /// Places of the merged parts in the order of commits.
    pub merged: Vec<Seq>,
    /// What they became.
    pub part: PartRow,
    /// Bytes that come with the transaction.
    pub payload: Payload,
}

/// Puts one part in the place of several that follow each other.
///
/// # Errors
///
/// [`EngineError::Conflict`] if they are not there any more, or the catalog failed.
pub fn merge_parts(
    tx: &mut Tx<'_>,
    bucket_id: BucketId,
    object: &[u8],
    plan: MergePlan,
) -> Result<(), EngineError> {
    let bucket = load_bucket(tx, bucket_id)?;
    let Some(Ok(head)) = load_head(tx, bucket.id, object)? else {
        return Err(EngineError::Conflict);
    };
    if head.data != Data::Manifest(plan.manifest_id) {
        return Err(EngineError::Conflict);
    }
    let (id, mut manifest) = parts_of(tx, &head, plan.manifest_id)?;
    let first = manifest.parts.iter().position(|part| Some(&part.seq) == plan.merged.first());
    let first = first.ok_or(EngineError::Conflict)?;
    let end = first + plan.merged.len();
    let there = manifest.parts.get(first..end).ok_or(EngineError::Conflict)?;
    if !there.iter().map(|part| part.seq).eq(plan.merged.iter().copied()) {
        return Err(EngineError::Conflict);
    }
    let number = there[0].number;
    let part = PartRow { number, seq: tx.next_seq(), modified_ms: tx.now_ms(), ..plan.part };
    store_part(tx, &part, plan.payload);
    for old in manifest.parts.splice(first..end, [part]) {
        release_part(tx, &old)?;
    }
    tx.put(Key::manifest(id), manifest.encode());
    Ok(())
}

#[cfg(test)]
mod tests;
