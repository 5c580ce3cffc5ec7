//! Giving seals to rows that have none: those of binaries before rows had seals, and those that are sealed
//! under a key of the keyring that is lost.
//!
//! A walk over all families, in key order. What it seals is committed like any other change, with the place
//! that the walk has reached, so that it goes on there after a stop at any moment. Rows that others write
//! meanwhile get their seals from the committer anyway.

use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::guard::{SEALED_FAMILIES, holds_under, is_sealed};
use crate::key::Key;
use crate::tx::Decision;
use drystone_index::KeyRange;
use drystone_keyring::RowKeys;
use std::ops::Bound;

/// Rows, and bytes of rows, that are sealed in one transaction.
const ROW_COUNT_MAX: usize = 256;
const LEN_MAX: usize = 1 << 20;
/// Rows that are looked at between two notes of the place.
const LOOKED_MAX: usize = 20_000;

/// What a walk did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SealReport {
    /// Rows that got a seal.
    pub sealed: u64,
    /// Rows that are not what this deployment wrote; they stay as they are, and are errors.
    pub forged: u64,
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// Every row has a seal.
    All(SealReport),
    /// It was stopped, and goes on from there the next time.
    Stopped,
}

/// What seals the first rows have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SealsFound {
    /// A row has one under the keys that were asked for.
    pub own: bool,
    /// A row that is to have one has none of these.
    pub foreign: bool,
}

/// What a step of the walk found.
#[derive(Default)]
struct Step {
    rows: Vec<Vec<u8>>,
    /// The last key that was looked at; `None` at the end.
    reached: Option<Vec<u8>>,
    forged: u64,
}

impl Catalog {
    /// Gives every row a seal. `goes_on` is asked before each step. Blocks; the committer must run, or
    /// `pump` lets it.
    ///
    /// When this says that all have one, the caller notes that where no writer of a drive can take it back,
    /// and calls [`Catalog::require_seals`].
    ///
    /// # Errors
    ///
    /// The catalog failed, or takes no changes. What was sealed stays so.
    pub fn seal_rows(
        &self,
        pump: &dyn Fn(),
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Sealed, CatalogError> {
        let mut report = SealReport::default();
        let mut place = self.get(Key::SEALING)?.map(|place| place.to_vec()).unwrap_or_default();
        while goes_on() {
            let step = self.look(&place)?;
            report.sealed += step.rows.len() as u64;
            report.forged += step.forged;
            let is_end = step.reached.is_none();
            place = step.reached.clone().unwrap_or_default();
            let ticket = self.submit(move |tx| {
                tx.use_reserve();
                for key in step.rows {
                    // A value that is put gets a seal.
                    if let Some(value) = tx.get(&key)? {
                        tx.put(key, value.to_vec());
                    }
                }
                match step.reached {
                    Some(reached) => tx.put(Key::SEALING.to_vec(), reached),
                    None => {
                        tx.delete(Key::SEALING.to_vec());
                        tx.delete(Key::LOST_KEYS.to_vec());
                    }
                }
                Ok(Decision::Commit(()))
            });
            pump();
            ticket.wait()?;
            if is_end {
                return Ok(Sealed::All(report));
            }
        }
        Ok(Sealed::Stopped)
    }

    /// Rows behind a place that have no seal.
    fn look(&self, place: &[u8]) -> Result<Step, CatalogError> {
        let (snapshot, mut step) = (self.snapshot(), Step::default());
        let (mut len, mut looked) = (0, 0);
        for family in SEALED_FAMILIES {
            let range = family.range();
            if place.first().is_some_and(|first| *first > family as u8) {
                continue;
            }
            for row in snapshot.scan_stored(behind(range, place)) {
                let (key, stored) = row?;
                looked += 1;
                if is_sealed(&key) && !self.guard().is_sealed_now(&key, &stored) {
                    len += stored.len();
                    match self.guard().value(&key, stored) {
                        Ok(_) => step.rows.push(key.to_vec()),
                        Err(CatalogError::Forged { .. }) => step.forged += 1,
                        Err(error) => return Err(error),
                    }
                }
                if step.rows.len() >= ROW_COUNT_MAX || len >= LEN_MAX || looked >= LOOKED_MAX {
                    step.reached = Some(key.to_vec());
                    return Ok(step);
                }
            }
        }
        Ok(step)
    }

    /// From now on a row without a seal is an error.
    pub fn require_seals(&self) {
        self.guard().require_seals();
    }

    /// Whether some of the first rows have a seal under these keys, and whether some that are to have one do
    /// not. At most `looked_max` rows are looked at. Can be asked before [`Catalog::unlock`].
    ///
    /// # Errors
    ///
    /// The index failed.
    pub fn seals_under(
        &self,
        keys: &RowKeys,
        looked_max: usize,
    ) -> Result<SealsFound, CatalogError> {
        let (snapshot, mut found) = (self.snapshot(), SealsFound::default());
        let rows = SEALED_FAMILIES.iter().flat_map(|family| snapshot.scan_stored(family.range()));
        for row in rows.take(looked_max) {
            let (key, stored) = row?;
            match holds_under(keys, &key, &stored) {
                true => found.own = true,
                false => found.foreign |= is_sealed(&key),
            }
        }
        Ok(found)
    }

    /// Keys of all rows that are not what this deployment wrote, up to a number. For tools.
    ///
    /// # Errors
    ///
    /// The index failed.
    pub fn forged_rows(&self, count_max: usize) -> Result<Vec<CatalogError>, CatalogError> {
        let snapshot = self.snapshot();
        let mut forged = Vec::new();
        for family in SEALED_FAMILIES {
            for row in snapshot.scan(family.range()) {
                match row {
                    Ok(_) => {}
                    Err(error @ CatalogError::Forged { .. }) => forged.push(error),
                    Err(error) => return Err(error),
                }
                if forged.len() == count_max {
                    return Ok(forged);
                }
            }
        }
        Ok(forged)
    }
}

/// What of a range lies behind a key.
fn behind(range: KeyRange, place: &[u8]) -> KeyRange {
    match &range.0 {
        Bound::Included(start) if place >= &start[..] => (Bound::Excluded(place.to_vec()), range.1),
        _ => range,
    }
}
