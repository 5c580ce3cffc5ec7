//! How many buckets each account is said to have, and has.

use super::sorted::{Give, Item, Sorted};
use super::{Check, Findings, next_if, stored_count};
use crate::error::EngineError;
use drystone_catalog::{BucketRow, Family, Key};
use drystone_index::prefix_range;

/// A bucket of an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Owned {
    owner: String,
}

impl Item for Owned {
    fn extra_len(&self) -> usize {
        self.owner.capacity()
    }
}

fn said(owner: &[u8], stored: Option<u64>, counted: u64) -> String {
    let stored = stored.map_or("not readable".to_owned(), |stored| stored.to_string());
    let name = match owner {
        b"" => "the default account".to_owned(),
        owner => format!("account {}", String::from_utf8_lossy(owner)),
    };
    format!("the count of buckets of {name} is {stored}, counted {counted}")
}

impl Check<'_> {
    /// Compares the counts of buckets with the buckets.
    pub(super) fn accounts(&self, found: &mut Findings) -> Result<(), EngineError> {
        if self.get(Key::BUCKETS_COUNTED)?.is_none() {
            // The next bucket that is made counts them.
            return Ok(());
        }
        let walk = |give: &mut Give<'_, Owned>| {
            for row in self.rows(Family::Bucket) {
                if let Ok(row) = BucketRow::decode_for_listing(&row?.1) {
                    give(Owned { owner: row.owner });
                }
            }
            Ok(())
        };
        let mut owned = Sorted::new(&self.memory, Box::new(walk)).peekable();
        let prefix = Key::bucket_count("");
        let mut counts = self.rows_of(prefix_range(&prefix));
        while let Some(first) = owned.next() {
            let owner = first?.owner;
            let mut counted = 1;
            while let Some(next) =
                owned.next_if(|next| next.as_ref().map_or(true, |next| next.owner == owner))
            {
                next?;
                counted += 1;
            }
            let owner = owner.as_bytes();
            while let Some((key, value)) = next_if(&mut counts, |key| &key[prefix.len()..] < owner)?
            {
                found.problem(said(&key[prefix.len()..], stored_count(&value), 0));
            }
            let stored = next_if(&mut counts, |key| &key[prefix.len()..] == owner)?;
            let stored = stored.map_or(Some(0), |(_, value)| stored_count(&value));
            if stored != Some(counted) {
                found.problem(said(owner, stored, counted));
            }
        }
        for row in counts {
            let (key, value) = row?;
            found.problem(said(&key[prefix.len()..], stored_count(&value), 0));
        }
        Ok(())
    }
}
