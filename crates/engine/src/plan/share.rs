//! Bytes with several owners: copies by reference. Each owner, a version or a part, has a `blob_ref` row
//! under the id of the bytes; who lets go of them last gives them back. Bytes with one owner from the start
//! have no such row.

use super::put::{Payload, WriteOutcome, put_over, store};
use super::rows::{SweepItem, add_sweep, load_bucket, load_head};
use super::{Conditions, check_write};
use crate::error::EngineError;
use drystone_base::{BlobId, BucketId, Seq};
use drystone_catalog::{Checksum, Data, ETag, Encryption, Key, ObjectRow, PartRow, Tx};
use drystone_index::prefix_range;

/// The version that bytes are copied from.
#[derive(Clone, Debug)]
pub struct SourceRef {
    /// Bucket.
    pub bucket: BucketId,
    /// Key.
    pub object: Vec<u8>,
    /// The version.
    pub seq: Seq,
    /// What it had when it was looked at.
    pub data: Data,
}

/// Makes a version or part an owner of shared bytes.
pub(crate) fn add_owner(tx: &mut Tx<'_>, data: &Data, owner: Seq) {
    if let Some(id) = data.shared_id() {
        tx.put(Key::blob_ref(id, owner), Vec::new());
    }
}

/// Takes an owner away; whether it was the last.
fn remove_owner(tx: &mut Tx<'_>, id: BlobId, owner: Seq) -> Result<bool, EngineError> {
    tx.delete(Key::blob_ref(id, owner));
    Ok(tx.first(prefix_range(&Key::blob_refs_of(id)))?.is_none())
}

/// Gives bytes back that no one has any more.
fn give_back(tx: &mut Tx<'_>, data: &Data) {
    let now = tx.now_ms();
    match data {
        Data::Empty => {}
        Data::Inline(id) => tx.delete(Key::inline(*id)),
        Data::Blob { blob, .. } => add_sweep(tx, now, &SweepItem::Blob(*blob)),
        Data::Manifest(id) => add_sweep(tx, now, &SweepItem::Manifest(*id)),
        Data::Slice { base, .. } => give_back(tx, base),
    }
}

/// Lets go of the bytes of a version that is being removed.
///
/// # Errors
///
/// The catalog failed.
pub fn release_version(tx: &mut Tx<'_>, row: &ObjectRow) -> Result<(), EngineError> {
    release(tx, &row.data, row.is_shared, row.seq)
}

/// Lets go of the bytes of a part that is being removed.
///
/// # Errors
///
/// The catalog failed.
pub fn release_part(tx: &mut Tx<'_>, part: &PartRow) -> Result<(), EngineError> {
    release(tx, &part.data, matches!(part.data, Data::Slice { .. }), part.seq)
}

fn release(tx: &mut Tx<'_>, data: &Data, is_shared: bool, owner: Seq) -> Result<(), EngineError> {
    let is_last = match data.shared_id() {
        Some(id) if is_shared => remove_owner(tx, id, owner)?,
        _ => true,
    };
    if is_last {
        give_back(tx, data);
    }
    Ok(())
}

/// Lets a version that keeps its bytes under another seq own them there.
///
/// # Errors
///
/// The catalog failed.
pub(crate) fn forget_owner(tx: &mut Tx<'_>, row: &ObjectRow) -> Result<(), EngineError> {
    match row.data.shared_id() {
        Some(id) if row.is_shared => remove_owner(tx, id, row.seq).map(drop),
        _ => Ok(()),
    }
}

/// Makes sure that a source is still what it was, and that its bytes can have another owner.
pub(crate) fn share_source(tx: &mut Tx<'_>, source: &SourceRef) -> Result<(), EngineError> {
    let head = Key::head(source.bucket, &source.object);
    let version = Key::version(source.bucket, &source.object, source.seq);
    for key in [head, version] {
        let Some(bytes) = tx.get(&key)? else { continue };
        let Ok(row) = ObjectRow::decode(&bytes) else { continue };
        if row.seq != source.seq {
            continue;
        }
        if row.data != source.data {
            return Err(EngineError::Conflict);
        }
        if !row.is_shared {
            add_owner(tx, &row.data, row.seq);
            tx.put(key, ObjectRow { is_shared: true, ..row }.encode());
        }
        return Ok(());
    }
    Err(EngineError::Conflict)
}

/// Makes a new version of a key that has the bytes of another version.
///
/// # Errors
///
/// [`EngineError::Conflict`] if the source is not what it was, [`EngineError::BucketNotFound`], a
/// condition that does not hold, or the catalog failed.
pub fn copy_reference(
    tx: &mut Tx<'_>,
    bucket_id: BucketId,
    object: &[u8],
    source: &SourceRef,
    draft: ObjectRow,
    conditions: &Conditions,
) -> Result<WriteOutcome, EngineError> {
    let bucket = load_bucket(tx, bucket_id)?;
    check_write(conditions, load_head(tx, bucket.id, object)?.as_ref())?;
    share_source(tx, source)?;
    // The source may be the head itself.
    let head = load_head(tx, bucket.id, object)?;
    let row = ObjectRow { is_shared: true, data: source.data.clone(), ..draft };
    put_over(tx, &bucket, object, head, row, Payload::Stored)
}

/// A copy of shared bytes that is to be those of one object only.
#[derive(Clone, Debug)]
pub struct TakeApartPlan {
    /// The version, as it was found.
    pub seq: Seq,
    /// What it had then.
    pub shared: Data,
    /// How that was sealed.
    pub encryption: Option<Encryption>,
    /// The copy.
    pub data: Data,
    /// Bytes that come with the transaction.
    pub payload: Payload,
    /// Salt of the copy, if it is sealed.
    pub salt: Option<[u8; 16]>,
    /// What is said of the bytes, if that is not what was said of the shared ones.
    pub digests: Option<(ETag, Option<Checksum>)>,
}

/// Gives the current version of a key bytes of its own. The row is the one that is there now: tags, lists and
/// what else is said of it may have been changed since the bytes were read.
///
/// # Errors
///
/// [`EngineError::Conflict`] if it is not the version that was found or has other bytes,
/// [`EngineError::BucketNotFound`], or the catalog failed.
pub fn take_apart(
    tx: &mut Tx<'_>,
    bucket_id: BucketId,
    object: &[u8],
    plan: TakeApartPlan,
) -> Result<ObjectRow, EngineError> {
    let bucket = load_bucket(tx, bucket_id)?;
    let TakeApartPlan { seq, shared, encryption, data, payload, salt, digests } = plan;
    let is_found = |row: &ObjectRow| {
        row.is_shared && row.seq == seq && row.data == shared && row.encryption == encryption
    };
    let head = load_head(tx, bucket.id, object)?.and_then(Result::ok).filter(is_found);
    let old = head.ok_or(EngineError::Conflict)?;
    release_version(tx, &old)?;
    let mut row = ObjectRow { data, is_shared: false, ..old };
    if let Some((etag, checksum)) = digests {
        (row.etag, row.checksum, row.append_count) = (etag, checksum, 0);
    }
    if let (Some(encryption), Some(salt)) = (&mut row.encryption, salt) {
        encryption.salt = salt;
    }
    store(tx, Key::head(bucket.id, object), &row.data, row.encode(), payload);
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{change_version, create_bucket, put_object};
    use drystone_base::SeededRng;
    use drystone_catalog::{MapView, ObjectLock, Restore};

    fn run<T>(
        view: &mut MapView,
        plan: impl FnOnce(&mut Tx<'_>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let (before, rng) = (view.clone(), SeededRng::new(1));
        let mut tx = Tx::new(&before, &rng, 1, Seq(1 + before.rows.len() as u64 * 100));
        let value = plan(&mut tx)?;
        view.apply(tx);
        Ok(value)
    }

    fn blob(number: u8) -> Data {
        Data::Blob { blob: BlobId([number; 16]), cell_len: 1 << 20, code: (4, 2), hint: None }
    }

    /// Goal: what is changed while bytes are copied stays changed. Method: everything that can be changed of
    /// a version is, between the look at it and the plan.
    #[test]
    fn what_was_changed_meanwhile_stays_when_a_copy_is_taken_apart() {
        let mut view = MapView::default();
        let (key, other, conditions) = (b"k", b"other", Conditions::default());
        let found = run(&mut view, |tx| {
            let bucket = create_bucket(tx, "b", "", vec![], vec![], None)?.id;
            let draft = ObjectRow { size: 9, data: blob(1), ..ObjectRow::empty() };
            let made =
                put_object(tx, bucket, key, draft.clone(), Payload::Stored, &conditions)?.row;
            let (object, seq, data) = (key.to_vec(), made.seq, made.data);
            let source = SourceRef { bucket, object, seq, data };
            copy_reference(tx, bucket, other, &source, draft, &conditions)?;
            Ok((bucket, load_head(tx, bucket, key)?.expect("it is there")?))
        });
        let (bucket, found) = found.expect("both are made");
        let plan = TakeApartPlan {
            seq: found.seq,
            shared: found.data.clone(),
            encryption: None,
            data: blob(2),
            payload: Payload::Stored,
            salt: None,
            digests: None,
        };
        let changed = run(&mut view, |tx| {
            change_version(tx, bucket, key, None, |row| {
                row.tags = vec![("t".to_owned(), "new".to_owned())];
                row.acl = Some("new".to_owned());
                row.lock = ObjectLock { legal_hold: Some(true), ..ObjectLock::default() };
                row.restore = Some(Restore { ready_ms: 1, expires_ms: 2 });
            })
        });
        let expected =
            ObjectRow { data: blob(2), is_shared: false, ..changed.expect("is changed") };
        let taken = run(&mut view, |tx| take_apart(tx, bucket, key, plan.clone()));
        assert_eq!(taken.expect("is taken apart"), expected);
        let (head, refs) = run(&mut view, |tx| {
            let refs = tx.first(prefix_range(&Key::blob_refs_of(BlobId([1; 16]))))?;
            Ok((load_head(tx, bucket, key)?.expect("it is there")?, refs.is_some()))
        })
        .expect("is read");
        assert_eq!((head, refs), (expected, true), "the other one keeps the bytes");
        // It has other bytes by now.
        let again = run(&mut view, |tx| take_apart(tx, bucket, key, plan));
        assert!(matches!(again, Err(EngineError::Conflict)));
    }
}
