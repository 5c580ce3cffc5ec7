//! An ordered key-value index that can be thrown away and rebuilt from the truth.
//!
//! The truth is in the log (and, for the catalog, in exports); an index only saves the time of
//! reading it again. It has no journal: it persists a prefix of the batches that were applied, and
//! remembers for each source how far that prefix reaches ([`Index::position`]).
//!
//! # Invariants
//!
//! - A batch of changes is persisted as a whole or not at all, and never without the batches before it.
//! - A scan sees exactly the batches applied before its snapshot was taken.
//!
//! # Implementations
//!
//! [`LsmIndex`] on the crate `lsm-tree`; [`MemIndex`] in memory, which survives a simulated crash
//! with a random prefix of what was applied.

mod lsm;
mod memory;

pub use lsm::{LsmConfig, LsmIndex};
pub use memory::MemIndex;

use bytes::Bytes;
use std::ops::Bound;

/// Why an index could not answer. It can be rebuilt; what it was asked for is not lost.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the index failed: {reason}")]
pub struct IndexError {
    /// What the engine said.
    pub reason: String,
}

/// One row to set, or to remove if there is no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Key of the row.
    pub key: Bytes,
    /// Its new value.
    pub value: Option<Bytes>,
}

/// A moment of an index; scans of one snapshot agree with each other. Holding it keeps old values.
pub struct Snapshot {
    pub(crate) inner: SnapshotInner,
}

pub(crate) enum SnapshotInner {
    Lsm(lsm::LsmSnapshot),
    Memory(memory::Map),
}

/// Start and end of a scan.
pub type KeyRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// Rows in key order.
pub type Rows = Box<dyn DoubleEndedIterator<Item = Result<(Bytes, Bytes), IndexError>> + Send>;

/// The rows whose keys begin with `prefix`.
#[must_use]
pub fn prefix_range(prefix: &[u8]) -> KeyRange {
    (Bound::Included(prefix.to_vec()), prefix_end(prefix))
}

/// The first key behind all keys that begin with `prefix`.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Bound<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}

/// Whether no key can lie in a range.
pub(crate) fn is_empty_range(range: &KeyRange) -> bool {
    match (&range.0, &range.1) {
        (Bound::Included(a), Bound::Included(b)) => a > b,
        (Bound::Included(a), Bound::Excluded(b))
        | (Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => a >= b,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    }
}

/// See the crate's documentation.
pub trait Index: Send + Sync {
    /// The value of a row as of the last applied batch.
    ///
    /// # Errors
    ///
    /// The engine failed.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, IndexError>;
    /// The present moment.
    fn snapshot(&self) -> Snapshot;
    /// The rows of a range at a moment.
    fn scan(&self, snapshot: &Snapshot, range: KeyRange) -> Rows;
    /// Applies a batch of changes that ends at `position` of a source. Called from one thread at a
    /// time. Keys beginning with a zero byte belong to the index itself.
    fn apply(&self, source: u8, position: u64, changes: Vec<Change>);
    /// How far the index reaches in a source; zero for one it has never heard of.
    ///
    /// # Errors
    ///
    /// The engine failed.
    fn position(&self, source: u8) -> Result<u64, IndexError>;
    /// Whether [`Index::maintain`] should be called soon.
    fn wants_maintenance(&self) -> bool;
    /// Persists and tidies up; for a background thread.
    ///
    /// # Errors
    ///
    /// The engine failed; nothing that was applied is lost in memory.
    fn maintain(&self) -> Result<(), IndexError>;
    /// Forgets everything.
    ///
    /// # Errors
    ///
    /// The engine failed.
    fn clear(&self) -> Result<(), IndexError>;
    /// Bytes on the device.
    fn disk_bytes(&self) -> u64;
}

pub(crate) fn position_key(source: u8) -> [u8; 2] {
    [0, source]
}

pub(crate) fn position_value(value: Option<&[u8]>) -> u64 {
    value.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}
