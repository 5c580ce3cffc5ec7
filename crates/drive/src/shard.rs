//! Shards and their records.

use bytes::Bytes;
use drystone_base::{BlobId, Reader, Writer};
use drystone_log::{RecordInput, RecordKind, SHARD_META_LEN_BYTES};
use std::fmt;

/// Names one shard of a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId {
    /// Blob.
    pub blob: BlobId,
    /// Stripe of the blob, from 0.
    pub stripe: u32,
}

/// Which shard of a stripe it is, and of which code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coding {
    /// Place in the group: data first, then parity.
    pub member: u8,
    /// Data shards of the code.
    pub data: u8,
    /// Parity shards of the code.
    pub parity: u8,
}

impl Coding {
    /// One copy, not coded.
    pub const PLAIN: Self = Self { member: 0, data: 1, parity: 0 };
}

impl fmt::Display for ShardId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.blob, self.stripe)
    }
}

impl ShardId {
    /// The record of this shard. `offset_bytes` is where the stripe begins in its part, `owner` a
    /// hash of bucket and key.
    #[must_use]
    pub fn record(
        self,
        offset_bytes: u64,
        owner: u64,
        coding: Coding,
        payload: Bytes,
    ) -> RecordInput {
        let Coding { member, data, parity } = coding;
        let mut meta = Writer::new();
        meta.raw(&self.blob.0).u32(self.stripe).u8(member).u8(data).u8(parity).u8(0);
        meta.u64(offset_bytes).u64(owner);
        debug_assert_eq!(meta.len(), SHARD_META_LEN_BYTES);
        RecordInput::new(RecordKind::Shard, meta.finish().into(), payload)
    }

    /// The shard of a record's meta.
    pub(crate) fn of_meta(meta: &[u8]) -> Option<Self> {
        let mut r = Reader::new(meta, "shard meta");
        let blob = BlobId::from_slice(r.take(16).ok()?)?;
        Some(Self { blob, stripe: r.u32().ok()? })
    }
}
