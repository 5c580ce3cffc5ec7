//! How many buckets each account is said to have, and has; and whether its list has them.

use super::sorted::{Give, Item, Sorted};
use super::{Check, Findings, Rows, next_if, stored_count};
use crate::error::EngineError;
use drystone_base::BucketId;
use drystone_catalog::{BucketRow, Family, Key};
use drystone_index::prefix_range;

/// A bucket of an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Owned {
    owner: String,
    name: String,
    id: BucketId,
}

impl Item for Owned {
    fn extra_len(&self) -> usize {
        self.owner.capacity() + self.name.capacity()
    }
}

/// The buckets of one account, counted, and the rows that say how many there are.
struct Counts {
    stored: Rows,
    current: Option<(String, u64)>,
}

fn said(owner: &[u8], stored: Option<u64>, counted: u64) -> String {
    let stored = stored.map_or("not readable".to_owned(), |stored| stored.to_string());
    let name = match owner {
        b"" => "the default account".to_owned(),
        owner => format!("account {}", String::from_utf8_lossy(owner)),
    };
    format!("the count of buckets of {name} is {stored}, counted {counted}")
}

/// The account in the key of a count.
fn owner_of(key: &[u8]) -> &[u8] {
    key.get(2..).unwrap_or_default()
}

impl Counts {
    fn add(&mut self, owner: &str, found: &mut Findings) -> Result<(), EngineError> {
        if self.current.as_ref().is_some_and(|(current, _)| current != owner) {
            self.end_account(found)?;
        }
        self.current.get_or_insert_with(|| (owner.to_owned(), 0)).1 += 1;
        Ok(())
    }

    /// Compares what was counted of an account; names the counts before it, of accounts that have no bucket.
    fn end_account(&mut self, found: &mut Findings) -> Result<(), EngineError> {
        let Some((owner, counted)) = self.current.take() else { return Ok(()) };
        let owner = owner.as_bytes();
        while let Some((key, value)) = next_if(&mut self.stored, |key| owner_of(key) < owner)? {
            found.problem(said(owner_of(&key), stored_count(&value), 0));
        }
        let stored = next_if(&mut self.stored, |key| owner_of(key) == owner)?;
        let stored = stored.map_or(Some(0), |(_, value)| stored_count(&value));
        if stored != Some(counted) {
            found.problem(said(owner, stored, counted));
        }
        Ok(())
    }

    fn end(mut self, found: &mut Findings) -> Result<(), EngineError> {
        self.end_account(found)?;
        for row in self.stored {
            let (key, value) = row?;
            found.problem(said(owner_of(&key), stored_count(&value), 0));
        }
        Ok(())
    }
}

/// A row of a list that is of no bucket of the account.
fn extra(key: &[u8]) -> String {
    let text = String::from_utf8_lossy(&key[1..]);
    let (owner, name) = text.split_once('\0').unwrap_or_default();
    format!("the list of buckets of account {owner:?} has {name}, which is not one of them")
}

/// Looks for a bucket in the list of its account; names those before it in the list.
fn compare_list(list: &mut Rows, owned: &Owned, found: &mut Findings) -> Result<(), EngineError> {
    let wanted = Key::account_bucket(&owned.owner, &owned.name);
    while let Some((key, _)) = next_if(list, |key| key < &wanted[..])? {
        found.problem(extra(&key));
    }
    let there = next_if(list, |key| key == wanted)?;
    if there.and_then(|(_, id)| stored_count(&id)) != Some(owned.id.0) {
        let Owned { owner, name, .. } = owned;
        found.problem(format!("the list of buckets of account {owner:?} lacks {name}"));
    }
    Ok(())
}

impl Check<'_> {
    /// Compares the counts and the lists of buckets with the buckets.
    pub(super) fn accounts(&self, found: &mut Findings) -> Result<(), EngineError> {
        // Where they were not made yet, the next bucket or the next start does it.
        let is_counted = self.get(Key::BUCKETS_COUNTED)?.is_some();
        let is_listed = self.get(Key::BUCKETS_LISTED)?.is_some();
        let walk = |give: &mut Give<'_, Owned>| {
            for row in self.rows(Family::Bucket) {
                if let Ok(row) = BucketRow::decode_for_listing(&row?.1) {
                    give(Owned { owner: row.owner, name: row.name, id: row.id });
                }
            }
            Ok(())
        };
        let stored = self.rows_of(prefix_range(&Key::bucket_count("")));
        let mut counts = Counts { stored, current: None };
        let mut list = self.rows(Family::AccountBucket);
        for owned in Sorted::new(&self.memory, Box::new(walk)) {
            let owned = owned?;
            if is_counted {
                counts.add(&owned.owner, found)?;
            }
            if is_listed {
                compare_list(&mut list, &owned, found)?;
            }
        }
        if is_counted {
            counts.end(found)?;
        }
        if is_listed {
            for row in list {
                found.problem(extra(&row?.0));
            }
        }
        Ok(())
    }
}
