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

impl ShardId {
    /// The number in the place of a stripe of a blob's manifest: what there is to know of its object,
    /// should the catalog be lost. It lives and dies with the blob.
    pub const MANIFEST: u32 = u32::MAX - 1;

    /// The manifest of a blob.
    #[must_use]
    pub fn manifest(blob: BlobId) -> Self {
        Self { blob, stripe: Self::MANIFEST }
    }
}

/// Which shard of a stripe it is, and of which code. From one parity shard, or the last data shard, the
/// others of the stripe can be found and rebuilt without any row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coding {
    /// Place in the group: data first, then parity.
    pub member: u8,
    /// Data shards of the code.
    pub data: u8,
    /// Parity shards of the code.
    pub parity: u8,
    /// Bytes of a whole cell.
    pub cell_len: u32,
    /// Bytes of the stripe, as far as the writer knew: up to the end of this cell, all of them in a
    /// parity shard.
    pub stripe_len: u32,
}

impl Coding {
    /// One copy of `len_bytes`, not coded.
    #[must_use]
    pub fn plain(len_bytes: u32) -> Self {
        Self { member: 0, data: 1, parity: 0, cell_len: len_bytes, stripe_len: len_bytes }
    }

    /// Whether the length of the stripe is all of it.
    #[must_use]
    pub fn knows_stripe(&self) -> bool {
        self.member + 1 >= self.data
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.blob, self.stripe)
    }
}

impl ShardId {
    /// The record of this shard. `owner`: a hash of bucket and key.
    #[must_use]
    pub fn record(self, owner: u64, coding: Coding, payload: Bytes) -> RecordInput {
        let Coding { member, data, parity, cell_len, stripe_len } = coding;
        let mut meta = Writer::new();
        meta.raw(&self.blob.0).u32(self.stripe).u8(member).u8(data).u8(parity).u8(0);
        meta.u32(cell_len).u32(stripe_len).u64(owner);
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

impl Coding {
    /// The coding of a record's meta.
    pub(crate) fn of_meta(meta: &[u8]) -> Option<Self> {
        let mut r = Reader::new(meta.get(20..)?, "shard meta");
        let mut read = || {
            let (member, data, parity) = (r.u8()?, r.u8()?, r.u8()?);
            r.u8()?;
            let (cell_len, stripe_len) = (r.u32()?, r.u32()?);
            Ok::<_, drystone_base::DecodeError>(Self { member, data, parity, cell_len, stripe_len })
        };
        read().ok()
    }
}
