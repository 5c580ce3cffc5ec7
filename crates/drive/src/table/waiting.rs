//! Records that wait because the index fails: the index is disposable, so the drive goes on taking records,
//! but its position never passes one that it has not taken.

use super::{Origin, Table};
use crate::error::DriveError;
use drystone_base::sync::lock;
use drystone_index::IndexError;
use drystone_log::{Class, Recorded};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;

/// Records of a class that wait at most.
const WAITING_COUNT_MAX: usize = 1 << 16;

/// What the index has still to take of a class, in order.
#[derive(Default)]
pub(super) struct Waiting {
    batches: VecDeque<Vec<Recorded>>,
    count: usize,
    /// There were too many: the class is taken in again at the next start.
    is_lost: bool,
}

impl Table {
    /// Takes in what the log has just recorded. Where the index fails, that waits, and everything later of
    /// the class waits behind it.
    pub(crate) fn take(&self, class: Class, records: &[Recorded]) -> Result<(), DriveError> {
        let mut waiting = lock(&self.waiting[class as usize]);
        let mut result = self.drain(class, &mut waiting);
        if result.is_ok() {
            result = self.record(class, records, Origin::Written);
        }
        if result.is_err() {
            self.is_behind.store(true, Ordering::Release);
            waiting.count += records.len();
            waiting.is_lost |= waiting.count > WAITING_COUNT_MAX;
            match waiting.is_lost {
                true => waiting.batches.clear(),
                false => waiting.batches.push_back(records.to_vec()),
            }
        }
        result
    }

    fn drain(&self, class: Class, waiting: &mut Waiting) -> Result<(), DriveError> {
        if waiting.is_lost {
            let reason =
                "it failed too long, and is brought up to date at the next start".to_owned();
            return Err(IndexError { reason }.into());
        }
        while let Some(records) = waiting.batches.front() {
            self.record(class, records, Origin::Written)?;
            waiting.count -= records.len();
            waiting.batches.pop_front();
        }
        Ok(())
    }

    /// Whether the index lacks records.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Acquire)
    }

    /// Makes sure that the index has everything that was recorded before this was asked.
    pub(crate) fn catch_up(&self) -> Result<(), DriveError> {
        if !self.is_behind() {
            return Ok(());
        }
        let mut classes = Class::ALL.map(|class| (class, lock(&self.waiting[class as usize])));
        for (class, waiting) in &mut classes {
            self.drain(*class, waiting)?;
        }
        self.is_behind.store(false, Ordering::Release);
        Ok(())
    }
}
