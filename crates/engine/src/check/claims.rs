//! Who has which bytes: every row that names a payload, a blob or a list of parts, as claims in the order of
//! what they name.

use super::Check;
use super::buckets::name_of;
use super::sorted::{Give, Item, Sorted};
use crate::error::EngineError;
use crate::plan::SweepItem;
use drystone_base::{BlobId, Seq};
use drystone_catalog::{Data, Family, Manifest, ObjectRow, PartRow};

/// How something is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hold {
    /// By a version that is its only owner.
    Version,
    /// By a version or a part that is one of several owners.
    Shared,
    /// By a part of a version, or of an upload in progress, that is its only owner.
    Part,
    /// By a part of what waits for the sweep, or became part of a version.
    Leaving,
    /// By the sweep.
    Swept,
}

/// What is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// A small payload.
    Inline,
    /// A blob: bytes of a cell, data and parity, bytes.
    Blob(u32, (u8, u8), u64),
    /// A list of parts.
    List,
}

/// Where a claim comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// A version: bucket and key.
    Version(Box<str>),
    /// A part of a list.
    List(BlobId),
    /// A part of an upload.
    Upload(drystone_base::UploadId),
    /// The sweep.
    Sweep,
}

/// A row names something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    /// What is named.
    pub(super) id: BlobId,
    /// The owner, as owners of shared bytes are known.
    pub(super) owner: Seq,
    pub(super) hold: Hold,
    pub(super) what: What,
    pub(super) origin: Origin,
}

impl Item for Claim {
    fn extra_len(&self) -> usize {
        match &self.origin {
            Origin::Version(name) => name.len(),
            Origin::List(_) | Origin::Upload(_) | Origin::Sweep => 0,
        }
    }
}

/// A list that the sweep takes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SweptList(BlobId);

impl Item for SweptList {}

/// The claim of some data. Who has a piece shares what that is a piece of.
fn claim(data: &Data, size: u64, (owner, hold): (Seq, Hold), origin: Origin) -> Option<Claim> {
    let (id, what) = match data {
        Data::Empty => return None,
        Data::Inline(id) => (*id, What::Inline),
        Data::Blob { blob, cell_len, code, .. } => (*blob, What::Blob(*cell_len, *code, size)),
        Data::Manifest(id) => (*id, What::List),
        Data::Slice { base, base_size, .. } => {
            return claim(base, *base_size, (owner, Hold::Shared), origin);
        }
    };
    Some(Claim { id, owner, hold, what, origin })
}

impl Check<'_> {
    /// All claims, in the order of what they name, then of owners.
    pub(super) fn claims(&self) -> Sorted<'_, Claim> {
        Sorted::new(&self.memory, Box::new(move |give: &mut Give<'_, Claim>| self.each_claim(give)))
    }

    fn each_claim(&self, give: &mut Give<'_, Claim>) -> Result<(), EngineError> {
        for family in [Family::Head, Family::Version] {
            for row in self.rows(family) {
                let (key, value) = row?;
                // One that is not readable was named before.
                let Ok(row) = ObjectRow::decode(&value) else { continue };
                let hold = if row.is_shared { Hold::Shared } else { Hold::Version };
                let origin = Origin::Version(name_of(&key).into());
                let claim = claim(&row.data, row.stored_len(), (row.seq, hold), origin);
                claim.into_iter().for_each(&mut *give);
            }
        }
        self.claims_of_lists(give)?;
        self.each_part(&mut |upload, known, part| {
            let Ok(part) = part else { return };
            let is_open = known.is_some_and(|known| known.is_open);
            let hold = if is_open { Hold::Part } else { Hold::Leaving };
            give_part(&part, hold, Origin::Upload(upload), give);
        })?;
        for row in self.rows(Family::Sweep) {
            let (id, what) = match SweepItem::decode(&row?.1) {
                Ok(SweepItem::Blob(id)) => (id, What::Blob(0, (0, 0), 0)),
                Ok(SweepItem::Manifest(id)) => (id, What::List),
                _ => continue,
            };
            give(Claim { id, owner: Seq(0), hold: Hold::Swept, what, origin: Origin::Sweep });
        }
        Ok(())
    }

    fn claims_of_lists(&self, give: &mut Give<'_, Claim>) -> Result<(), EngineError> {
        let walk = |give: &mut Give<'_, SweptList>| {
            for row in self.rows(Family::Sweep) {
                if let Ok(SweepItem::Manifest(id)) = SweepItem::decode(&row?.1) {
                    give(SweptList(id));
                }
            }
            Ok(())
        };
        let mut swept = Sorted::new(&self.memory, Box::new(walk)).peekable();
        for row in self.rows(Family::Manifest) {
            let (key, value) = row?;
            let Some(id) = key.get(1..).and_then(BlobId::from_slice) else { continue };
            let mut hold = Hold::Part;
            while let Some(list) =
                swept.next_if(|list| list.as_ref().map_or(true, |list| list.0 <= id))
            {
                if list?.0 == id {
                    hold = Hold::Leaving;
                }
            }
            let Ok(parts) = Manifest::walk(&value) else { continue };
            for part in parts {
                // A list that is not readable is named where it is looked for.
                let Ok(part) = part.and_then(|part| part.decode()) else { break };
                give_part(&part, hold, Origin::List(id), give);
            }
        }
        Ok(())
    }
}

fn give_part(part: &PartRow, hold: Hold, origin: Origin, give: &mut Give<'_, Claim>) {
    let claim = claim(&part.data, part.stored_len(), (part.seq, hold), origin);
    claim.into_iter().for_each(give);
}
