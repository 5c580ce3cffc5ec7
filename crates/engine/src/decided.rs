//! What a request was decided on: buckets here, identities and the time in `basis.rs`, objects in
//! `looked_at.rs`. What compares it is in `commit.rs`.
//!
//! A name may belong to another bucket by the time that a body has come. A handle to the engine that serves a
//! request remembers which bucket each name meant when the request looked at it first, which is for the
//! decision; from then on the name means this bucket or none. Plans take ids, not names.

use crate::asked::Asked;
use crate::basis::{Basis, Stamp};
use crate::error::EngineError;
use crate::looked_at::LookedAt;
use crate::plan::load_bucket;
use drystone_base::BucketId;
use drystone_base::sync::{Mutex, lock};
use drystone_catalog::{BucketRow, Tx};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Names that are remembered at most. A request that changes something names a few; one that lists buckets
/// may name more, and is not kept from that.
const NAME_COUNT_MAX: usize = 16;

enum Seen {
    /// The row, to be used as it is.
    Row(Arc<BucketRow>),
    /// The row as it was; only its name and id count.
    Old(Arc<BucketRow>),
    /// There was no bucket of this name.
    Absent(String),
}

impl Seen {
    fn name(&self) -> &str {
        match self {
            Self::Row(row) | Self::Old(row) => &row.name,
            Self::Absent(name) => name,
        }
    }
}

/// What one request was decided on, and what names of buckets mean to it.
pub(crate) struct Decided {
    seen: Mutex<Vec<Seen>>,
    pub(crate) basis: Basis,
    pub(crate) asked: Asked,
    /// What is started is not refused any more because identities were changed.
    pub(crate) is_lenient: AtomicBool,
    pub(crate) looked_at: LookedAt,
    /// A decision looked at the time, which is another one at the next.
    pub(crate) looked_at_time: AtomicBool,
}

impl Decided {
    /// Of a request that has looked up one bucket, or none.
    pub(crate) fn new(known: Option<Arc<BucketRow>>, stamp: Stamp) -> Self {
        let seen = known.into_iter().map(Seen::Row).collect();
        Self {
            seen: Mutex::new(seen),
            basis: Basis::new(stamp),
            asked: Asked::default(),
            is_lenient: AtomicBool::new(false),
            looked_at: LookedAt::default(),
            looked_at_time: AtomicBool::new(false),
        }
    }

    /// Whether the rows of all buckets that were looked up are as they were.
    pub(crate) fn has_same_rows(&self, tx: &Tx<'_>) -> Result<bool, EngineError> {
        for seen in lock(&self.seen).iter() {
            let (Seen::Row(row) | Seen::Old(row)) = seen else { continue };
            match load_bucket(tx, row.id) {
                Ok(now) if now.epoch == row.epoch => {}
                Ok(_) | Err(EngineError::BucketNotFound) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// The buckets that were looked up.
    pub(crate) fn bucket_ids(&self) -> Vec<BucketId> {
        let id_of = |seen: &Seen| match seen {
            Seen::Row(row) | Seen::Old(row) => Some(row.id),
            Seen::Absent(_) => None,
        };
        lock(&self.seen).iter().filter_map(id_of).collect()
    }

    /// The bucket that a name means; `None` if it has to be looked up.
    pub(crate) fn row(&self, name: &str) -> Option<Result<Arc<BucketRow>, EngineError>> {
        match lock(&self.seen).iter().find(|seen| seen.name() == name)? {
            Seen::Row(row) => Some(Ok(row.clone())),
            Seen::Absent(_) => Some(Err(EngineError::BucketNotFound)),
            Seen::Old(_) => None,
        }
    }

    /// Takes what was looked up, and refuses it if the name meant another bucket before.
    pub(crate) fn admit(
        &self,
        name: &str,
        found: Result<Arc<BucketRow>, EngineError>,
    ) -> Result<Arc<BucketRow>, EngineError> {
        let new = match &found {
            Ok(row) => Seen::Row(row.clone()),
            Err(EngineError::BucketNotFound) => Seen::Absent(name.to_owned()),
            Err(_) => return found,
        };
        let mut seen = lock(&self.seen);
        let count = seen.len();
        match (seen.iter_mut().find(|seen| seen.name() == name), &found) {
            (None, _) if count < NAME_COUNT_MAX => seen.push(new),
            (None, _) => {}
            (Some(Seen::Row(old) | Seen::Old(old)), Ok(row)) if old.id != row.id => {
                return Err(EngineError::BucketNotFound);
            }
            (Some(Seen::Absent(_)), _) => return Err(EngineError::BucketNotFound),
            (Some(known), Ok(_)) => *known = new,
            (Some(_), Err(_)) => {}
        }
        drop(seen);
        found
    }

    /// The bucket of a plan. Unlike [`Decided::admit`], only of a name that is remembered.
    pub(crate) fn id(&self, row: &BucketRow) -> Result<BucketId, EngineError> {
        let is_known = lock(&self.seen).iter().any(|seen| seen.name() == row.name);
        if is_known { Ok(row.id) } else { Err(EngineError::BucketNotFound) }
    }

    /// Lets the rows be looked up again, and returns them; the names mean the same buckets as before.
    pub(crate) fn look_again(&self, name: Option<&str>) -> Vec<Arc<BucketRow>> {
        let mut rows = Vec::new();
        for seen in lock(&self.seen).iter_mut() {
            if let Seen::Row(row) = seen
                && name.is_none_or(|name| name == row.name)
            {
                let row = row.clone();
                rows.push(row.clone());
                *seen = Seen::Old(row);
            }
        }
        rows
    }

    /// The request made this bucket itself.
    pub(crate) fn made(&self, row: BucketRow) {
        let mut seen = lock(&self.seen);
        seen.retain(|seen| seen.name() != row.name);
        seen.push(Seen::Old(Arc::new(row)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u64) -> Result<Arc<BucketRow>, EngineError> {
        Ok(Arc::new(BucketRow::new(BucketId(id), "name".to_owned(), 0)))
    }

    fn decided() -> Decided {
        Decided::new(None, Stamp::default())
    }

    fn is_refused(result: &Result<Arc<BucketRow>, EngineError>) -> bool {
        matches!(result, Err(EngineError::BucketNotFound))
    }

    #[test]
    fn a_name_means_the_same_bucket_until_the_end_of_a_request() {
        let decided = decided();
        assert!(decided.row("name").is_none());
        decided.admit("name", row(1)).expect("the first");
        assert_eq!(decided.row("name").expect("known").expect("there").id, BucketId(1));
        decided.look_again(None);
        assert!(decided.row("name").is_none());
        assert!(is_refused(&decided.admit("name", row(2))));
        assert!(is_refused(&decided.admit("name", Err(EngineError::BucketNotFound))));
        decided.admit("name", row(1)).expect("the same");
    }

    #[test]
    fn a_bucket_that_was_not_there_is_not_there_later() {
        let decided = decided();
        assert!(is_refused(&decided.admit("name", Err(EngineError::BucketNotFound))));
        assert!(is_refused(&decided.admit("name", row(2))));
        decided.made(BucketRow::new(BucketId(3), "name".to_owned(), 0));
        decided.admit("name", row(3)).expect("its own");
        assert!(is_refused(&decided.admit("name", row(4))));
    }
}
