//! Whether a range of an object can be read with the drives that are here, by its placement alone: a client
//! hears of drives that are missing before the first byte, and not in the middle of a body.
//!
//! Nothing is read but lists of parts. Damage is not known here.

use crate::cut::{Cutter, Extent, Stretch, window_of};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::layout::Layout;
use drystone_catalog::{Data, ObjectRow};
use drystone_drive::Drive;
use drystone_keyring::DataKey;
use std::ops::Range;

/// How many members of its group a stripe lacks too many; 0 where stored bytes `range` of it can be read.
fn lacking_of_stripe(
    layout: &Layout,
    stripe: u32,
    range: &Range<u64>,
    members: &[Option<Drive>],
) -> usize {
    let is_here = |place: usize| members.get(place).is_some_and(Option::is_some);
    let start = u64::from(stripe) * layout.stripe_len();
    let is_wanted = |place: usize| {
        let from = start + place as u64 * layout.cell_len;
        let to = from + layout.shard_len(stripe, place);
        from.max(range.start) < to.min(range.end)
    };
    let data = usize::from(layout.shape.data);
    if (0..data).all(|place| is_here(place) || !is_wanted(place)) {
        return 0;
    }
    // A cell that is not there counts as zeros.
    let has = |place: &usize| is_here(*place) || layout.shard_len(stripe, *place) == 0;
    data.saturating_sub((0..layout.shape.shard_count()).filter(has).count())
}

/// As [`lacking_of_stripe`], of a blob. All whole stripes are alike: the first, one between and the last are
/// looked at.
fn lacking_of_blob(layout: &Layout, range: &Range<u64>, members: &[Option<Drive>]) -> usize {
    if range.is_empty() {
        return 0;
    }
    let (first, ..) = layout.locate(range.start);
    let (last, ..) = layout.locate(range.end - 1);
    let looked = [first, first + u32::from(last > first), last];
    let lacking = looked.map(|stripe| lacking_of_stripe(layout, stripe, range, members));
    lacking.into_iter().max().unwrap_or(0)
}

impl Engine {
    /// Refuses a range of a version of which too many drives are missing.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unreachable`], or the catalog failed.
    pub(crate) async fn check_reach(
        &self,
        row: &ObjectRow,
        range: &Range<u64>,
        key: Option<&DataKey>,
    ) -> Result<(), EngineError> {
        let pool = self.pool();
        if matches!(row.data, Data::Inline(_) | Data::Empty) || !pool.lacks_drives() {
            return Ok(());
        }
        let mut cutter = Cutter::new(&Stretch::of_object(row), key, range.clone())?;
        loop {
            match cutter.extent()? {
                Extent::End => return Ok(()),
                Extent::List(list, range) => {
                    let window = self.look_at_parts(list, move |row| Ok(window_of(row, &range)?));
                    cutter.supply(window.await?);
                }
                Extent::Blob(layout, range) => {
                    let members = pool.members_of(layout.blob);
                    let missing = lacking_of_blob(&layout, &range, &members);
                    if missing > 0 {
                        return Err(EngineError::Unreachable { missing });
                    }
                }
            }
        }
    }
}
