use super::*;
use crate::{MemIndex, prefix_range};
use drystone_base::{Rng, SeededRng};
use std::ops::Bound;

const SMALL: LsmConfig = LsmConfig { cache_bytes: 1 << 20, memtable_bytes: 8 << 10 };

fn rows(index: &dyn Index, snapshot: &Snapshot, range: KeyRange) -> Vec<(Bytes, Bytes)> {
    index.scan(snapshot, range).map(|row| row.expect("readable")).collect()
}

fn all() -> KeyRange {
    (Bound::Included(vec![1]), Bound::Unbounded)
}

/// A key from a small, overlapping set: hot keys and keys that are prefixes of others.
fn key(rng: &SeededRng) -> Bytes {
    let len = 1 + rng.below(4) as usize;
    let mut key = vec![1; len];
    key.iter_mut().for_each(|byte| *byte = 1 + rng.below(3) as u8);
    key.into()
}

/// Goal: the tree answers as a `BTreeMap` does, also for old snapshots while it flushes and
/// compacts, and after it is opened again. Method: the same random batches on both.
#[test]
fn agrees_with_a_map_on_hot_and_overlapping_keys() {
    for seed in 0..8 {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let rng = SeededRng::new(seed);
        let model = MemIndex::new();
        let mut index = LsmIndex::open(dir.path(), SMALL).expect("opens");
        let mut old = Vec::new();
        for step in 1..400_u64 {
            let batch: Vec<_> = (0..1 + rng.below(5))
                .map(|_| Change {
                    key: key(&rng),
                    value: (rng.below(3) > 0).then(|| Bytes::from(vec![step as u8; 200])),
                })
                .collect();
            // One row changes once in a batch.
            let batch: BTreeMap<_, _> = batch.into_iter().map(|c| (c.key, c.value)).collect();
            let batch: Vec<_> =
                batch.into_iter().map(|(key, value)| Change { key, value }).collect();
            index.apply(3, step, batch.clone());
            model.apply(3, step, batch);
            let probe = key(&rng);
            assert_eq!(index.get(&probe).expect("gets"), model.get(&probe).expect("gets"));
            if rng.below(10) == 0 {
                old.push((index.snapshot(), model.snapshot()));
            }
            if rng.below(15) == 0 {
                index.maintain().expect("maintains");
            }
            if rng.below(40) == 0 {
                index.tree.rotate_memtable();
                index.maintain().expect("maintains");
                old.clear();
                drop(index);
                index = LsmIndex::open(dir.path(), SMALL).expect("opens again");
                assert_eq!(index.position(3).expect("position"), step, "seed {seed}");
            }
        }
        for (mine, theirs) in old {
            let prefix = key(&rng);
            for range in [all(), prefix_range(&prefix)] {
                assert_eq!(
                    rows(&index, &mine, range.clone()),
                    rows(&model, &theirs, range),
                    "seed {seed}"
                );
            }
        }
    }
}

#[test]
fn what_was_not_persisted_is_forgotten_with_its_position() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let index = LsmIndex::open(dir.path(), SMALL).expect("opens");
    let change = |key: &'static [u8]| Change {
        key: Bytes::from_static(key),
        value: Some(Bytes::from_static(b"v")),
    };
    index.apply(1, 10, vec![change(b"a")]);
    index.tree.rotate_memtable();
    index.maintain().expect("maintains");
    index.apply(1, 20, vec![change(b"b")]);
    drop(index);
    let index = LsmIndex::open(dir.path(), SMALL).expect("opens again");
    assert_eq!(index.position(1).expect("position"), 10);
    assert_eq!(index.get(b"b").expect("gets"), None);
    index.clear().expect("clears");
    assert_eq!(index.get(b"a").expect("gets"), None);
    assert_eq!(index.position(1).expect("position"), 0);
}
