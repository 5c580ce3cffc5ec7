//! The index on an LSM tree (crate `lsm-tree`, without a journal).
//!
//! The tree numbers its own version changes with the same counter as rows, so the numbers of the log
//! cannot be used for rows; a row of our own (`position`) says how far the tree reaches. The
//! memtable is rotated only between batches, so that what is persisted is a prefix of batches.

use crate::{
    Change, Index, IndexError, KeyRange, Rows, Snapshot, SnapshotInner, is_empty_range,
    position_key, position_value,
};
use bytes::Bytes;
use lsm_tree::compaction::Leveled;
use lsm_tree::{AbstractTree, AnyTree, Cache, Config, Guard, SeqNo, SequenceNumberCounter};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Reads of the newest version of a row use this number.
const NEWEST: SeqNo = SeqNo::MAX >> 1;

/// Sizes of an index.
#[derive(Clone, Copy, Debug)]
pub struct LsmConfig {
    /// Bytes of blocks kept in memory.
    pub cache_bytes: u64,
    /// Bytes of changes after which the memtable is written out.
    pub memtable_bytes: u64,
}

type Open = Arc<Mutex<BTreeMap<SeqNo, usize>>>;

/// A registered snapshot; values that it may need are kept until it is dropped.
pub(crate) struct LsmSnapshot {
    seqno: SeqNo,
    open: Open,
}

impl Drop for LsmSnapshot {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if let Some(count) = open.get_mut(&self.seqno) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.seqno);
            }
        }
    }
}

/// An index in a directory of its own.
pub struct LsmIndex {
    tree: AnyTree,
    counter: SequenceNumberCounter,
    /// Everything below this number has been applied whole.
    published: AtomicU64,
    open: Open,
    config: LsmConfig,
    applying: Mutex<()>,
    maintaining: Mutex<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic while the index is locked")
}

fn failed(error: &lsm_tree::Error) -> IndexError {
    IndexError { reason: error.to_string() }
}

impl LsmIndex {
    /// Opens the index in a directory, creating it if it is not there.
    ///
    /// # Errors
    ///
    /// The directory cannot be read, or what it holds cannot be understood: remove it and rebuild.
    pub fn open(path: &Path, config: LsmConfig) -> Result<Self, IndexError> {
        let counter = SequenceNumberCounter::default();
        let visible = SequenceNumberCounter::default();
        let tree = Config::new(path, counter.clone(), visible.clone())
            .use_cache(Arc::new(Cache::with_capacity_bytes(config.cache_bytes)))
            .open()
            .map_err(|error| failed(&error))?;
        let next = tree.get_highest_seqno().map_or(1, |seqno| seqno + 1);
        counter.fetch_max(next);
        visible.fetch_max(next);
        Ok(Self {
            tree,
            counter,
            published: AtomicU64::new(next),
            open: Arc::default(),
            config,
            applying: Mutex::new(()),
            maintaining: Mutex::new(()),
        })
    }

    /// Versions below this number are not needed by anybody.
    fn watermark(&self) -> SeqNo {
        let open = lock(&self.open);
        let published = self.published.load(Ordering::Acquire);
        open.keys().next().copied().unwrap_or(published).min(published).saturating_sub(1)
    }
}

impl Index for LsmIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, IndexError> {
        let value = self.tree.get(key, NEWEST).map_err(|error| failed(&error))?;
        Ok(value.map(Bytes::from))
    }

    fn snapshot(&self) -> Snapshot {
        let mut open = lock(&self.open);
        let seqno = self.published.load(Ordering::Acquire);
        *open.entry(seqno).or_default() += 1;
        let open = self.open.clone();
        Snapshot { inner: SnapshotInner::Lsm(LsmSnapshot { seqno, open }) }
    }

    fn scan(&self, snapshot: &Snapshot, range: KeyRange) -> Rows {
        let SnapshotInner::Lsm(snapshot) = &snapshot.inner else {
            unreachable!("a snapshot is used with the index it came from")
        };
        if is_empty_range(&range) {
            return Box::new(std::iter::empty());
        }
        let rows = self.tree.range::<Vec<u8>, _>(range, snapshot.seqno, None).map(|guard| {
            let (key, value) = guard.into_inner().map_err(|error| failed(&error))?;
            Ok((Bytes::from(key), Bytes::from(value)))
        });
        Box::new(rows)
    }

    fn apply(&self, source: u8, position: u64, changes: Vec<Change>) {
        let _guard = lock(&self.applying);
        let seqno = self.counter.next();
        for Change { key, value } in changes {
            match value {
                Some(value) => drop(self.tree.insert(key, value, seqno)),
                None => drop(self.tree.remove(key, seqno)),
            }
        }
        let position = position.to_le_bytes();
        let (_, size) = self.tree.insert(&position_key(source)[..], &position[..], seqno);
        self.published.store(seqno + 1, Ordering::Release);
        if size >= self.config.memtable_bytes {
            self.tree.rotate_memtable();
        }
    }

    fn position(&self, source: u8) -> Result<u64, IndexError> {
        Ok(position_value(self.get(&position_key(source))?.as_deref()))
    }

    fn wants_maintenance(&self) -> bool {
        self.tree.sealed_memtable_count() > 0
    }

    fn maintain(&self) -> Result<(), IndexError> {
        let _guard = lock(&self.maintaining);
        let flush_lock = self.tree.get_flush_lock();
        self.tree.flush(&flush_lock, self.watermark()).map_err(|error| failed(&error))?;
        drop(flush_lock);
        let strategy = Arc::new(Leveled::default());
        self.tree.compact(strategy, self.watermark()).map_err(|error| failed(&error))
    }

    fn clear(&self) -> Result<(), IndexError> {
        let _guard = lock(&self.applying);
        self.tree.clear().map_err(|error| failed(&error))?;
        self.published.fetch_max(self.counter.get(), Ordering::AcqRel);
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        self.tree.disk_space()
    }
}

#[cfg(test)]
mod tests;
