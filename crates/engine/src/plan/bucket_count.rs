//! How many buckets each account has, counted where they are made and deleted, so that none of them has to be
//! read to know it.

use crate::error::EngineError;
use drystone_base::limits::BUCKET_COUNT_MAX;
use drystone_catalog::{BucketRow, CatalogError, Family, Key, Tx};
use drystone_index::prefix_range;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Adds a bucket of an account.
///
/// # Errors
///
/// [`EngineError::TooManyBuckets`], or the catalog failed.
pub(super) fn add(tx: &mut Tx<'_>, owner: &str) -> Result<(), EngineError> {
    if tx.get(Key::BUCKETS_COUNTED)?.is_none() {
        count_all(tx)?;
    }
    let count = count_of(tx, owner)?;
    if count >= BUCKET_COUNT_MAX as u64 {
        return Err(EngineError::TooManyBuckets);
    }
    put(tx, owner, count + 1);
    Ok(())
}

/// Takes a bucket of an account away.
///
/// # Errors
///
/// The catalog failed.
pub(super) fn take(tx: &mut Tx<'_>, owner: &str) -> Result<(), EngineError> {
    let count = count_of(tx, owner)?;
    if count > 0 {
        put(tx, owner, count - 1);
    }
    Ok(())
}

fn count_of(tx: &Tx<'_>, owner: &str) -> Result<u64, EngineError> {
    let row = tx.get(&Key::bucket_count(owner))?;
    Ok(row.and_then(|row| row[..].try_into().ok()).map_or(0, u64::from_le_bytes))
}

fn put(tx: &mut Tx<'_>, owner: &str, count: u64) {
    match count {
        0 => tx.delete(Key::bucket_count(owner)),
        _ => tx.put(Key::bucket_count(owner), count.to_le_bytes().to_vec()),
    }
}

/// Counts what is there, once: in a store of an earlier version, or after rows were lost.
fn count_all(tx: &mut Tx<'_>) -> Result<(), EngineError> {
    let mut known = prefix_range(&Key::bucket_count(""));
    while let Some((key, _)) = tx.first(known.clone())? {
        known.0 = Bound::Excluded(key.to_vec());
        tx.delete(key.to_vec());
    }
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut range = Family::Bucket.range();
    loop {
        let (key, row) = match tx.first(range.clone()) {
            Ok(None) => break,
            Ok(Some(row)) => row,
            // What cannot be read is no one's, and must not keep others from making buckets.
            Err(CatalogError::Forged { key }) => {
                range.0 = Bound::Excluded(key);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if let Ok(row) = BucketRow::decode_for_listing(&row) {
            *counts.entry(row.owner).or_default() += 1;
        }
        range.0 = Bound::Excluded(key.to_vec());
    }
    for (owner, count) in counts {
        put(tx, &owner, count);
    }
    tx.put(Key::BUCKETS_COUNTED.to_vec(), vec![1]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{bucket_named, create_bucket, delete_bucket};
    use drystone_base::{SeededRng, Seq};
    use drystone_catalog::MapView;

    struct World(MapView, u64);

    impl World {
        fn run<T>(
            &mut self,
            plan: impl FnOnce(&mut Tx<'_>) -> Result<T, EngineError>,
        ) -> Result<T, EngineError> {
            let (rows, rng) = (self.0.clone(), SeededRng::new(1));
            self.1 += 1;
            let mut tx = Tx::new(&rows, &rng, 0, Seq(self.1));
            let value = plan(&mut tx)?;
            self.0.apply(tx);
            Ok(value)
        }

        fn create(&mut self, name: &str, owner: &str) -> Result<(), EngineError> {
            let made = self.run(|tx| create_bucket(tx, name, owner, Vec::new(), Vec::new(), None));
            made.map(drop)
        }

        fn delete(&mut self, name: &str) {
            let deleted = self.run(|tx| {
                let id = bucket_named(tx, name)?.id;
                delete_bucket(tx, id)
            });
            deleted.expect("empty");
        }

        fn count(&mut self, owner: &str) -> u64 {
            self.run(|tx| count_of(tx, owner)).expect("a map")
        }
    }

    #[test]
    fn an_account_has_so_many_buckets_and_no_more() {
        let mut world = World(MapView::default(), 0);
        world.create("first", "").expect("room");
        world.create("theirs", "other").expect("room");
        assert_eq!((world.count(""), world.count("other")), (1, 1));
        world
            .run(|tx| {
                put(tx, "", BUCKET_COUNT_MAX as u64);
                Ok(())
            })
            .expect("a map");
        let refused = world.create("more", "").expect_err("too many");
        assert!(matches!(refused, EngineError::TooManyBuckets));
        let again = world.create("first", "").expect_err("it is there");
        assert!(matches!(again, EngineError::BucketExists { is_own: true }));
        world.create("more", "other").expect("another account has room");
        world.delete("first");
        world.create("more-of-mine", "").expect("room again");
    }

    #[test]
    fn a_store_without_counts_gets_them() {
        let mut world = World(MapView::default(), 0);
        for number in 0..5 {
            world.create(&format!("mine-{number}"), "").expect("room");
        }
        world.create("theirs", "other").expect("room");
        world.0.rows.retain(|key, _| !key.starts_with(b"\x01a") && key[..] != *b"\x01q");
        // A delete of an uncounted bucket counts nothing.
        world.delete("mine-0");
        world.create("one-more", "").expect("room");
        assert_eq!((world.count(""), world.count("other")), (5, 1));
        world.delete("theirs");
        assert_eq!(world.count("other"), 0);
        assert!(!world.0.rows.contains_key(&Key::bucket_count("other")[..]));
    }
}
