//! What is handed to the log: groups of records that stand or fall together.

use crate::error::LogError;
use crate::format::{Location, RecordKind, head_len};
use bytes::Bytes;

/// What a group waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The callback runs when the records are written; they are durable only after a later flush.
    Written,
    /// The callback runs when the records, and everything before them in their class, are durable.
    Flushed,
    /// As [`Durability::Flushed`], and the observer has been told of them.
    Observed,
}

/// A record to append.
#[derive(Clone, Debug)]
pub struct RecordInput {
    /// What it is.
    pub kind: RecordKind,
    /// Small description, verified together with the header.
    pub meta: Bytes,
    /// Content.
    pub payload: Bytes,
    /// Lsn of the first copy, for a record that is moved; else its own.
    pub birth_lsn: Option<u64>,
}

impl RecordInput {
    /// A new record.
    #[must_use]
    pub fn new(kind: RecordKind, meta: Bytes, payload: Bytes) -> Self {
        Self { kind, meta, payload, birth_lsn: None }
    }
}

/// Bytes that a record with this much meta and payload takes in a segment.
#[must_use]
pub fn encoded_len_bytes(meta_len: usize, payload_len: usize) -> u64 {
    (head_len(meta_len, payload_len) + payload_len).next_multiple_of(8) as u64
}

/// A record that is durable now.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// What it is.
    pub kind: RecordKind,
    /// Its place in the order of the log.
    pub lsn: u64,
    /// Lsn of its first copy.
    pub birth_lsn: u64,
    /// Where it is.
    pub location: Location,
    /// Its meta.
    pub meta: Bytes,
    /// Its payload, for tombstones and floors; empty for everything else.
    pub control: Bytes,
}

/// Whether a group means anything without the groups before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// It stands alone.
    None,
    /// It was made in the belief that all chained groups before it succeed: if one fails, this fails.
    Link,
    /// It was made after every chained group before it had reported: a new chain begins.
    Start,
}

pub(crate) type Callback = Box<dyn FnOnce(Result<Vec<(u64, Location)>, LogError>) + Send>;

/// Records that are appended into one batch, in order and without anything between them.
pub struct Group {
    pub(crate) records: Vec<RecordInput>,
    pub(crate) durability: Durability,
    pub(crate) chain: Chain,
    pub(crate) done: Callback,
}

impl Group {
    /// A group; `done` is called once, on the writer's thread, with the lsn and place of each
    /// record, and must not block.
    pub fn new(
        records: Vec<RecordInput>,
        durability: Durability,
        done: impl FnOnce(Result<Vec<(u64, Location)>, LogError>) + Send + 'static,
    ) -> Self {
        Self { records, durability, chain: Chain::None, done: Box::new(done) }
    }

    /// The same group as a part of a chain.
    #[must_use]
    pub fn chained(self, chain: Chain) -> Self {
        Self { chain, ..self }
    }

    pub(crate) fn len_bytes(&self) -> u64 {
        self.records.iter().map(|r| encoded_len_bytes(r.meta.len(), r.payload.len())).sum()
    }
}
