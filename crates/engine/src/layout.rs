//! Where the bytes of a part are: stripes, cells, places. Pure.

use drystone_base::BlobId;
use drystone_catalog::Data;
use drystone_cluster::Shape;
use drystone_drive::{Coding, ShardId};
use std::ops::Range;

/// The layout of one part on the drives of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The blob.
    pub(crate) blob: BlobId,
    /// Its code.
    pub(crate) shape: Shape,
    /// Bytes of a whole cell.
    pub(crate) cell_len: u64,
    /// Bytes of the part.
    pub(crate) size: u64,
    /// The first stripe that is looked at: 0, but for the layout of one stripe.
    pub(crate) first_stripe: u32,
}

impl Layout {
    pub(crate) fn new(blob: BlobId, code: (u8, u8), cell_len: u32, size: u64) -> Self {
        let (shape, cell_len) = (Shape::new(code.0.max(1), code.1), u64::from(cell_len.max(1)));
        Self { blob, shape, cell_len, size, first_stripe: 0 }
    }

    /// The layout of a part of `size` bytes that is beside the catalog.
    pub(crate) fn of_data(data: &Data, size: u64) -> Option<Self> {
        match data {
            Data::Blob { blob, cell_len, code, .. } => {
                Some(Self::new(*blob, *code, *cell_len, size))
            }
            // What a slice is a piece of is looked at as a whole.
            Data::Slice { base, base_size, .. } => Self::of_data(base, *base_size),
            Data::Empty | Data::Inline(_) | Data::Manifest(_) => None,
        }
    }

    /// Bytes of a whole stripe.
    pub(crate) fn stripe_len(&self) -> u64 {
        self.cell_len * u64::from(self.shape.data)
    }

    /// Number of stripes of the part.
    fn stripe_count(&self) -> u32 {
        let count = self.size.div_ceil(self.stripe_len());
        u32::try_from(count).expect("fewer than 2^32 stripes")
    }

    /// Whether this is a blob's manifest.
    pub(crate) fn is_manifest(&self) -> bool {
        self.first_stripe == ShardId::MANIFEST
    }

    /// Stripes that are looked at.
    pub(crate) fn stripes(&self) -> Range<u32> {
        self.first_stripe..self.stripe_count()
    }

    /// Bytes of the shard at a place of a stripe; 0 if there is none, in the last stripe.
    pub(crate) fn shard_len(&self, stripe: u32, place: usize) -> u64 {
        let start = u64::from(stripe) * self.stripe_len();
        let data = usize::from(self.shape.data);
        // Parity is as long as the first cell, which is the longest.
        let cell = if place < data { place as u64 } else { 0 };
        let before = start + cell * self.cell_len;
        self.size.saturating_sub(before).min(self.cell_len)
    }

    /// Bytes in memory while a shard is rebuilt from others.
    pub(crate) fn give_back_len(&self, (stripe, place): (u32, usize)) -> u64 {
        (u64::from(self.shape.data) + 1) * self.shard_len(stripe, place)
    }

    /// Stripe, place and offset in the cell of a byte of the part.
    pub(crate) fn locate(&self, at: u64) -> (u32, usize, u64) {
        let stripe = at / self.stripe_len();
        let within = at % self.stripe_len();
        let place = usize::try_from(within / self.cell_len).expect("at most 32 places");
        let stripe = u32::try_from(stripe).expect("fewer than 2^32 stripes");
        (stripe, place, within % self.cell_len)
    }

    /// Names the shards of a stripe: each drive has one of them.
    pub(crate) fn shard(&self, stripe: u32) -> ShardId {
        ShardId { blob: self.blob, stripe }
    }

    /// What the record of a shard says about its code. While a part is written, `size` is what came so
    /// far, this cell included.
    pub(crate) fn coding(&self, stripe: u32, place: usize) -> Coding {
        let member = u8::try_from(place).expect("at most 32 places");
        let written = self.size - (u64::from(stripe) * self.stripe_len()).min(self.size);
        let cells = if place < self.shape.data.into() { place as u64 + 1 } else { u64::MAX };
        let stripe_len = written.min(self.stripe_len()).min(cells.saturating_mul(self.cell_len));
        let Shape { data, parity } = self.shape;
        let (cell_len, stripe_len) = (self.cell_len as u32, stripe_len as u32);
        Coding { member, data, parity, cell_len, stripe_len }
    }

    /// The layout of one stripe, from what one of its records says: the number and lengths of its shards
    /// are right, the size of the part is not known.
    pub(crate) fn of_stripe(shard: ShardId, coding: &Coding) -> Self {
        let code = (coding.data, coding.parity);
        let mut layout = Self::new(shard.blob, code, coding.cell_len, 0);
        layout.first_stripe = shard.stripe;
        layout.size = u64::from(shard.stripe) * layout.stripe_len() + u64::from(coding.stripe_len);
        layout
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cells_cover_a_part(size in 1_u64..100_000, data in 1_u8..9, cell_len in 1_u32..3000) {
            let layout = Layout::new(BlobId([0; 16]), (data, 2), cell_len, size);
            let mut total = 0;
            for stripe in layout.stripes() {
                for place in 0..usize::from(data) {
                    let len = layout.shard_len(stripe, place);
                    if len > 0 {
                        prop_assert_eq!(layout.locate(total), (stripe, place, 0));
                        let last = (stripe, place, len - 1);
                        prop_assert_eq!(layout.locate(total + len - 1), last);
                    }
                    total += len;
                }
                let parity = layout.shard_len(stripe, usize::from(data));
                prop_assert_eq!(parity, layout.shard_len(stripe, 0));
                prop_assert!(parity > 0);
            }
            prop_assert_eq!(total, size);
        }
    }
}
