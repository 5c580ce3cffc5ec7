//! Buckets.

use super::bucket_count;
use super::document::DocumentKind;
use super::rows::{bucket_named, load_bucket};
use crate::error::EngineError;
use drystone_base::BucketId;
use drystone_catalog::{BucketLock, BucketRow, Family, Key, Tx, Versioning};
use drystone_index::prefix_range;
use std::ops::Bound;

/// Creates a bucket with these documents. `owner` is empty for the default account.
///
/// # Errors
///
/// [`EngineError::BucketExists`], [`EngineError::TooManyBuckets`], or the catalog failed.
pub fn create_bucket(
    tx: &mut Tx<'_>,
    name: &str,
    owner: &str,
    tags: Vec<(String, String)>,
    documents: Vec<(DocumentKind, Vec<u8>)>,
    lock: Option<BucketLock>,
) -> Result<BucketRow, EngineError> {
    let name_key = Key::bucket_name(name);
    if tx.get(&name_key)?.is_some() {
        let is_own = bucket_named(tx, name)?.owner == owner;
        return Err(EngineError::BucketExists { is_own });
    }
    bucket_count::add(tx, owner)?;
    let id = BucketId(tx.next_seq().0);
    let mut row = BucketRow::new(id, name.to_owned(), tx.now_ms());
    (row.tags, row.owner, row.lock) = (tags, owner.to_owned(), lock);
    if row.lock.is_some() {
        // Without versions there is nothing to lock.
        row.versioning = Versioning::Enabled;
    }
    for (kind, document) in documents {
        tx.put(Key::document(id, kind as u8, ""), document);
    }
    tx.put(name_key, id.0.to_le_bytes().to_vec());
    tx.put(Key::bucket(id), row.encode());
    tx.put(Key::account_bucket(owner, name), id.0.to_le_bytes().to_vec());
    Ok(row)
}

/// Deletes a bucket that has no objects, versions or delete markers. Its uploads must be aborted
/// before; any that is left refuses the delete.
///
/// # Errors
///
/// [`EngineError::BucketNotFound`], [`EngineError::BucketNotEmpty`],
/// [`EngineError::UploadBusy`] if an upload is left, or the catalog failed.
pub fn delete_bucket(tx: &mut Tx<'_>, id: BucketId) -> Result<(), EngineError> {
    tx.use_reserve();
    let bucket = load_bucket(tx, id)?;
    let has = |family| tx.first(prefix_range(&Key::bucket_prefix(family, bucket.id)));
    if has(Family::Head)?.is_some() || has(Family::Version)?.is_some() {
        return Err(EngineError::BucketNotEmpty);
    }
    if has(Family::Upload)?.is_some() {
        return Err(EngineError::UploadBusy);
    }
    let mut documents = prefix_range(&Key::documents_of(bucket.id));
    while let Some((key, _)) = tx.first(documents.clone())? {
        // What was deleted is not looked at again: there may be thousands.
        documents.0 = Bound::Excluded(key.to_vec());
        tx.delete(key.to_vec());
    }
    tx.delete(Key::bucket_name(&bucket.name));
    tx.delete(Key::bucket(bucket.id));
    tx.delete(Key::account_bucket(&bucket.owner, &bucket.name));
    bucket_count::take(tx, &bucket.owner)
}

/// Enables or suspends versioning, and says whether a second factor is needed from then on; `None` leaves
/// that as it is. `has_mfa`: one was shown.
///
/// # Errors
///
/// [`EngineError::BucketNotFound`], [`EngineError::MfaNeeded`], [`EngineError::BucketState`] if it locks
/// objects, or the catalog failed.
pub fn set_versioning(
    tx: &mut Tx<'_>,
    id: BucketId,
    versioning: Versioning,
    needs_mfa: Option<bool>,
    has_mfa: bool,
) -> Result<(), EngineError> {
    let mut bucket = load_bucket(tx, id)?;
    let needs = needs_mfa.unwrap_or(bucket.needs_mfa);
    if (bucket.needs_mfa || needs) && !has_mfa {
        return Err(EngineError::MfaNeeded);
    }
    bucket.needs_mfa = needs;
    if bucket.lock.is_some() && versioning != Versioning::Enabled {
        return Err(EngineError::BucketState);
    }
    bucket.versioning = versioning;
    bucket.epoch += 1;
    tx.put(Key::bucket(bucket.id), bucket.encode());
    Ok(())
}

/// Lets objects of a bucket be appended to, or not; returns the bucket.
///
/// # Errors
///
/// [`EngineError::BucketNotFound`], [`EngineError::BucketState`] if it keeps versions, or the catalog failed.
pub fn set_appends(
    tx: &mut Tx<'_>,
    id: BucketId,
    takes_appends: bool,
) -> Result<BucketRow, EngineError> {
    let mut bucket = load_bucket(tx, id)?;
    if takes_appends && bucket.versioning != Versioning::Off {
        return Err(EngineError::BucketState);
    }
    bucket.takes_appends = takes_appends;
    bucket.epoch += 1;
    tx.put(Key::bucket(bucket.id), bucket.encode());
    Ok(bucket)
}

/// Makes a bucket lock objects, or changes what it locks by default.
///
/// # Errors
///
/// [`EngineError::BucketNotFound`], [`EngineError::BucketState`] if it does not keep versions, or the
/// catalog failed.
pub fn set_lock(tx: &mut Tx<'_>, id: BucketId, lock: BucketLock) -> Result<(), EngineError> {
    let mut bucket = load_bucket(tx, id)?;
    if bucket.versioning != Versioning::Enabled {
        return Err(EngineError::BucketState);
    }
    bucket.lock = Some(lock);
    bucket.epoch += 1;
    tx.put(Key::bucket(bucket.id), bucket.encode());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{self, set_document};
    use bytes::Bytes;
    use drystone_base::{SeededRng, Seq, UploadId};
    use drystone_catalog::{CatalogError, MapView, ObjectRow, UploadRow, View};
    use drystone_index::KeyRange;
    use std::cell::Cell;

    /// Counts how often rows are looked for.
    struct Counting(MapView, Cell<usize>);

    impl View for Counting {
        fn get(&self, key: &[u8]) -> Result<Option<Bytes>, CatalogError> {
            self.0.get(key)
        }
        fn first(&self, range: KeyRange) -> Result<Option<(Bytes, Bytes)>, CatalogError> {
            self.1.set(self.1.get() + 1);
            self.0.first(range)
        }
    }

    #[test]
    fn a_bucket_with_many_documents_is_deleted_by_looking_at_each_once() {
        let (mut view, rng, count) =
            (Counting(MapView::default(), Cell::new(0)), SeededRng::new(1), 400);
        let mut tx = Tx::new(&view.0, &rng, 0, Seq(1));
        let made = create_bucket(&mut tx, "b", "", Vec::new(), Vec::new(), None).expect("a map");
        for number in 0..count {
            let at = (DocumentKind::Metrics, &*format!("n{number}"));
            set_document(&mut tx, made.id, at, Some(vec![1])).expect("a map");
        }
        let rows = tx;
        let mut applied = MapView::default();
        applied.apply(rows);
        view.0 = applied;
        let mut tx = Tx::new(&view, &rng, 0, Seq(2));
        delete_bucket(&mut tx, made.id).expect("nothing is in it");
        assert!(view.1.get() < 2 * count, "{} times", view.1.get());
    }

    /// Goal: no plan acts on another bucket of the name. Method: each runs with the id of one that was
    /// deleted, where another has its name.
    #[test]
    fn a_plan_of_a_bucket_that_is_gone_changes_nothing() {
        let (view, rng) = (MapView::default(), SeededRng::new(1));
        let mut tx = Tx::new(&view, &rng, 0, Seq(1));
        let make = |tx: &mut Tx<'_>| {
            create_bucket(tx, "b", "", Vec::new(), Vec::new(), None).map(|row| row.id)
        };
        let old = make(&mut tx).expect("a map");
        delete_bucket(&mut tx, old).expect("nothing is in it");
        let new = make(&mut tx).expect("the name is free");
        assert_ne!(old, new);
        let (none, row) = (plan::Conditions::default(), ObjectRow::empty());
        let upload = UploadId::new(Seq(1), &rng);
        let refused = [
            delete_bucket(&mut tx, old),
            set_versioning(&mut tx, old, Versioning::Enabled, None, false),
            set_appends(&mut tx, old, true).map(drop),
            set_lock(&mut tx, old, BucketLock::default()),
            set_document(&mut tx, old, (DocumentKind::Policy, ""), Some(vec![1])),
            plan::set_bucket_tags(&mut tx, old, vec![("a".to_owned(), "b".to_owned())]),
            plan::delete_object(&mut tx, old, b"k", None, &none).map(drop),
            plan::set_tags(&mut tx, old, b"k", None, Vec::new()).map(drop),
            plan::set_legal_hold(&mut tx, old, b"k", None, true).map(drop),
            plan::set_retention(&mut tx, old, b"k", None, None, false).map(drop),
            plan::restore(&mut tx, old, b"k", None, 1, 0).map(drop),
            plan::change_version(&mut tx, old, b"k", None, |_| {}).map(drop),
            plan::put_object(&mut tx, old, b"k", row.clone(), plan::Payload::Stored, &none)
                .map(drop),
            plan::create_upload(&mut tx, old, b"k", UploadRow::new(0, row, None)).map(drop),
            plan::freeze_upload(&mut tx, old, b"k", upload, 1).map(drop),
            plan::reopen_upload(&mut tx, old, b"k", upload),
            plan::abort_upload(&mut tx, old, b"k", upload, 1),
        ];
        for (number, refused) in refused.into_iter().enumerate() {
            assert!(matches!(refused, Err(EngineError::BucketNotFound)), "{number}: {refused:?}");
        }
    }
}
