//! An index in memory, for simulation and as the reference of the real one.

use crate::{
    Change, Index, IndexError, KeyRange, Rows, Snapshot, SnapshotInner, is_empty_range,
    position_key, position_value,
};
use bytes::Bytes;
use drystone_base::Rng;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

pub(crate) type Map = Arc<BTreeMap<Bytes, Bytes>>;

#[derive(Default)]
struct State {
    now: Map,
    /// Every batch since the last [`MemIndex::crash`], so that any prefix can survive one.
    persisted: Map,
    batches: Vec<Vec<Change>>,
}

/// Rows in a `BTreeMap`.
#[derive(Default)]
pub struct MemIndex {
    state: Mutex<State>,
}

impl MemIndex {
    /// An empty index.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the index is locked")
    }

    /// Forgets a random number of the last batches, as a crash does.
    pub fn crash(&self, rng: &dyn Rng) {
        let mut state = self.lock();
        let kept = rng.below(state.batches.len() as u64 + 1) as usize;
        let mut map = (*state.persisted).clone();
        for batch in state.batches.drain(..).take(kept) {
            put(&mut map, batch);
        }
        state.persisted = Arc::new(map);
        state.now = state.persisted.clone();
        state.batches.clear();
    }
}

fn put(map: &mut BTreeMap<Bytes, Bytes>, batch: Vec<Change>) {
    for Change { key, value } in batch {
        match value {
            Some(value) => drop(map.insert(key, value)),
            None => drop(map.remove(&key)),
        }
    }
}

impl Index for MemIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, IndexError> {
        Ok(self.lock().now.get(key).cloned())
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot { inner: SnapshotInner::Memory(self.lock().now.clone()) }
    }

    fn scan(&self, snapshot: &Snapshot, range: KeyRange) -> Rows {
        let SnapshotInner::Memory(map) = &snapshot.inner else {
            unreachable!("a snapshot is used with the index it came from")
        };
        if is_empty_range(&range) {
            return Box::new(std::iter::empty());
        }
        let range = (range.0.map(Bytes::from), range.1.map(Bytes::from));
        let rows: Vec<_> =
            map.range(range).map(|(key, value)| Ok((key.clone(), value.clone()))).collect();
        Box::new(rows.into_iter())
    }

    fn apply(&self, source: u8, position: u64, mut changes: Vec<Change>) {
        changes.push(Change {
            key: Bytes::copy_from_slice(&position_key(source)),
            value: Some(Bytes::copy_from_slice(&position.to_le_bytes())),
        });
        let mut state = self.lock();
        state.batches.push(changes.clone());
        put(Arc::make_mut(&mut state.now), changes);
    }

    fn position(&self, source: u8) -> Result<u64, IndexError> {
        Ok(position_value(self.get(&position_key(source))?.as_deref()))
    }

    fn wants_maintenance(&self) -> bool {
        false
    }

    fn maintain(&self) -> Result<(), IndexError> {
        Ok(())
    }

    fn clear(&self) -> Result<(), IndexError> {
        *self.lock() = State::default();
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        0
    }
}
