//! The list of the buckets of each account, so that one of them is listed without reading those of all
//! others.
//!
//! # Invariants
//!
//! - A row is written and deleted in the transaction that makes or deletes its bucket.
//! - In a store of an earlier version, and after frames were lost, the list is made at a start, in steps; a
//!   row that is written last says so. Until then lists are made of all names.

use crate::engine::Engine;
use crate::error::EngineError;
use drystone_base::BucketId;
use drystone_catalog::{BucketRow, CatalogError, Decision, Family, Key, Tx};
use std::ops::Bound;

/// Rows that are looked at in one transaction.
const BATCH_ROW_COUNT: usize = 1000;

/// Does something about a row of a walk, by its key.
type Step = fn(&mut Tx<'_>, Vec<u8>) -> Result<(), CatalogError>;

impl Engine {
    /// Whether the buckets of all accounts are listed.
    pub(crate) fn has_account_buckets(&self) -> Result<bool, EngineError> {
        Ok(self.shared.catalog.get(Key::BUCKETS_LISTED)?.is_some())
    }

    /// Lists the buckets of each account, if that was not done before. Blocks; for a start.
    ///
    /// # Errors
    ///
    /// The catalog failed, or takes no changes: the next start begins from the front.
    pub fn list_account_buckets(&self) -> Result<(), EngineError> {
        if self.has_account_buckets()? {
            return Ok(());
        }
        self.each_row(Family::AccountBucket, drop_stale)?;
        self.each_row(Family::Bucket, list)?;
        let ticket = self.shared.catalog.submit(|tx| {
            tx.use_reserve();
            tx.put(Key::BUCKETS_LISTED.to_vec(), vec![1]);
            Ok(Decision::Commit(()))
        });
        Ok(ticket.wait()?)
    }

    /// Takes a step for each row of a family, some in one transaction.
    fn each_row(&self, family: Family, step: Step) -> Result<(), EngineError> {
        let mut range = family.range();
        loop {
            // A snapshot is not held while others wait for the commit.
            let rows = self.shared.catalog.snapshot().scan(range.clone()).take(BATCH_ROW_COUNT);
            let keys: Result<Vec<Vec<u8>>, CatalogError> = rows
                .map(|row| match row {
                    Err(CatalogError::Forged { key }) => Ok(key),
                    row => Ok(row?.0.to_vec()),
                })
                .collect();
            let keys = keys?;
            let Some(last) = keys.last() else { return Ok(()) };
            range.0 = Bound::Excluded(last.clone());
            let ticket = self.shared.catalog.submit(move |tx| {
                tx.use_reserve();
                keys.into_iter().try_for_each(|key| step(tx, key))?;
                Ok(Decision::Commit(()))
            });
            ticket.wait()?;
        }
    }
}

/// The bucket of a row, if it can be read.
fn bucket_at(tx: &Tx<'_>, key: &[u8]) -> Result<Option<BucketRow>, CatalogError> {
    match tx.get(key) {
        Err(CatalogError::Forged { .. }) => Ok(None),
        found => Ok(found?.and_then(|row| BucketRow::decode_for_listing(&row).ok())),
    }
}

/// Drops a row of the list that names no bucket of its account.
fn drop_stale(tx: &mut Tx<'_>, key: Vec<u8>) -> Result<(), CatalogError> {
    let id = match tx.get(&key) {
        Err(CatalogError::Forged { .. }) => None,
        found => found?.and_then(|id| id[..].try_into().ok()).map(u64::from_le_bytes),
    };
    let bucket = id.map(|id| bucket_at(tx, &Key::bucket(BucketId(id)))).transpose()?.flatten();
    if bucket.is_none_or(|bucket| Key::account_bucket(&bucket.owner, &bucket.name) != key) {
        tx.delete(key);
    }
    Ok(())
}

/// Puts a bucket into the list of its account. One whose row cannot be read is in none.
fn list(tx: &mut Tx<'_>, key: Vec<u8>) -> Result<(), CatalogError> {
    if let Some(bucket) = bucket_at(tx, &key)? {
        let id = bucket.id.0.to_le_bytes().to_vec();
        tx.put(Key::account_bucket(&bucket.owner, &bucket.name), id);
    }
    Ok(())
}
