//! Room for lines of access logs that wait for delivery: counted in bytes, shared between buckets.
//!
//! # Rules
//!
//! - There are three pools: for lines that were reserved before the effect of their request, for lines of
//!   anonymous and refused requests, and for lines of buckets whose target cannot be written to. None takes
//!   from another, so requests without a signature use up no room of those that have one, and lines that
//!   cannot be delivered use up no room of those that can be.
//! - In the first two, a bucket has some bytes of its own, and beyond them may hold as many as it leaves
//!   free. So one bucket never takes all, however full it is, and many that are full leave each other its own
//!   part.
//! - In the third, each bucket has an equal part, at most half.
//! - A bucket whose target fails waits for nothing: what does not fit is counted.
//!
//! This module counts; it neither stores nor delivers lines.

mod counts;
#[cfg(test)]
mod tests;

use crate::error::EngineError;
use counts::{Bucket, Counted, Limits, Pool};
use drystone_base::sync::{Mutex, MutexGuard, lock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Bytes that buckets share: the pools together.
const SHARED_LEN: u64 = 64 << 20;
/// Bytes that a bucket has of its own in each of two pools.
const OWN_LEN: u64 = 32 << 10;
/// Buckets that have bytes of their own, of those that hold lines; it bounds the sum.
const OWN_COUNT_MAX: usize = 1024;
/// Time that an authenticated request waits for room.
const WAIT: Duration = Duration::from_secs(2);
/// Buckets that are known without lines of theirs; of more, only the totals say something.
const STATE_COUNT_MAX: usize = 10_000;
/// Buckets that [`LogRoom::states`] names.
const SHOWN_COUNT_MAX: usize = 100;

/// Why lines of a bucket cannot be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFailure {
    /// Code of the error.
    pub code: &'static str,
    /// The bucket that they are for.
    pub target: String,
    /// What is wrong, and what to do. Says nothing that clients wrote.
    pub reason: String,
}

/// The access log of a bucket, as an operator wants to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogState {
    /// The bucket that is logged.
    pub bucket: String,
    /// Bytes of lines that wait.
    pub waiting_bytes: u64,
    /// Why they cannot be delivered, if they cannot.
    pub failing: Option<LogFailure>,
    /// Requests that were counted and not logged one by one, since the start.
    pub omitted: u64,
}

/// Totals for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogTotals {
    /// Bytes of lines that wait.
    pub waiting_bytes: u64,
    /// Buckets whose lines cannot be delivered.
    pub failing_buckets: u64,
    /// Requests that were counted and not logged one by one, since the start.
    pub omitted: u64,
    /// Requests that were refused because there was no room for their lines, since the start.
    pub refused: u64,
}

/// Room for waiting lines. Clones share it.
#[derive(Clone)]
pub struct LogRoom {
    shared: Arc<Shared>,
}

struct Shared {
    counted: Mutex<Counted>,
    freed: Notify,
    filled: Notify,
}

/// Bytes that are held for a line that is not written yet; free again when it is dropped.
pub struct LogShare {
    room: LogRoom,
    bucket: String,
    len: u64,
}

impl Default for LogRoom {
    fn default() -> Self {
        Self::new(SHARED_LEN, OWN_LEN, OWN_COUNT_MAX)
    }
}

impl LogRoom {
    fn new(shared_len: u64, own_len: u64, own_count: usize) -> Self {
        let (freed, filled) = (Notify::new(), Notify::new());
        let pools = [shared_len / 2, shared_len / 4, shared_len / 4];
        let counted = Counted::new(Limits { pools, own_len, own_count });
        let shared = Shared { counted: Mutex::new(counted), freed, filled };
        Self { shared: Arc::new(shared) }
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        lock(&self.shared.counted)
    }

    /// Says that a bucket is to be delivered, if it holds much or found no room.
    fn note_filling(&self, counted: &mut Counted, bucket: &str, found_room: bool) {
        if !found_room && let Some(one) = counted.buckets.get_mut(bucket) {
            one.lacks_room = true;
        }
        if counted.buckets.get(bucket).is_some_and(|one| counted.is_filling(one)) {
            self.shared.filled.notify_one();
        }
    }

    /// Keeps lines for which nothing was reserved, if there is room for them.
    #[must_use]
    pub fn try_keep(&self, bucket: &str, len: u64) -> bool {
        let mut counted = self.counted();
        let pool = if counted.is_failing(bucket) { Pool::Failing } else { Pool::Open };
        let fits = counted.fits(bucket, pool, len);
        if fits {
            counted.add(bucket, pool, len);
        }
        self.note_filling(&mut counted, bucket, fits);
        fits
    }

    /// Holds room for lines to come, if there is any.
    fn try_reserve(&self, bucket: &str, len: u64) -> Option<LogShare> {
        let mut counted = self.counted();
        let fits = counted.fits(bucket, Pool::Reserved, len);
        if fits {
            counted.promise(bucket, len);
        }
        self.note_filling(&mut counted, bucket, fits);
        fits.then(|| LogShare { room: self.clone(), bucket: bucket.to_owned(), len })
    }

    /// Holds room for lines of an authenticated request, waiting for a short time for a delivery. `None`: the
    /// target of the bucket cannot be written to, so that the request does not wait; its line is kept while
    /// there is room, and else counted.
    ///
    /// # Errors
    ///
    /// [`EngineError::Busy`] if there is no room in that time.
    pub async fn reserve(&self, bucket: &str, len: u64) -> Result<Option<LogShare>, EngineError> {
        let take = async {
            loop {
                let freed = self.shared.freed.notified();
                if self.counted().is_failing(bucket) {
                    return None;
                }
                if let Some(share) = self.try_reserve(bucket, len) {
                    return Some(share);
                }
                freed.await;
            }
        };
        tokio::time::timeout(WAIT, take).await.map_err(|_| {
            self.counted().refused += 1;
            EngineError::Busy
        })
    }

    /// Counts lines that are stored, whatever room there is.
    pub fn restore(&self, bucket: &str, len: u64) {
        if len > 0 {
            self.counted().add(bucket, Pool::Reserved, len);
        }
    }

    /// Counts lines with the length that they have now, instead of the one they had.
    pub fn settle(&self, bucket: &str, held_len: u64, len: u64) {
        match len.checked_sub(held_len) {
            Some(more) => self.restore(bucket, more),
            None => self.release(bucket, held_len - len),
        }
    }

    /// Frees the room of lines that were delivered, or lost.
    pub fn release(&self, bucket: &str, len: u64) {
        self.counted().remove(bucket, len);
        self.shared.freed.notify_waiters();
    }

    /// Notes whether the lines of a bucket can be delivered, and if not, why; whether that is news.
    pub fn set_failing(&self, bucket: &str, failing: Option<LogFailure>) -> bool {
        let mut counted = self.counted();
        let (is_known, count) = (counted.buckets.contains_key(bucket), counted.buckets.len());
        if !is_known && (failing.is_none() || count >= STATE_COUNT_MAX) {
            return false;
        }
        let is_news =
            counted.buckets.get(bucket).and_then(|one| one.failing.as_ref()) != failing.as_ref();
        counted.set_failing(bucket, failing);
        drop(counted);
        // Those that wait for room of this bucket need none, and its lines have left theirs.
        self.shared.freed.notify_waiters();
        is_news
    }

    /// Buckets that fail.
    #[must_use]
    pub fn failing(&self) -> BTreeSet<String> {
        let counted = self.counted();
        let failing = counted.buckets.iter().filter(|(_, one)| one.failing.is_some());
        failing.map(|(name, _)| name.clone()).collect()
    }

    /// Buckets that fail and hold more than their part, and that part.
    #[must_use]
    pub fn overfull(&self) -> BTreeMap<String, u64> {
        let counted = self.counted();
        let share = counted.failing_share();
        let is_over = |(_, one): &(&String, &Bucket)| one.used(Pool::Failing) > share;
        counted.buckets.iter().filter(is_over).map(|(name, _)| (name.clone(), share)).collect()
    }

    /// Counts requests of a bucket that have no line of their own.
    pub fn omit(&self, bucket: &str, count: u64) {
        let mut counted = self.counted();
        counted.omitted += count;
        if counted.buckets.len() < STATE_COUNT_MAX || counted.buckets.contains_key(bucket) {
            counted.change(bucket, |one| one.omitted += count);
        }
    }

    /// Waits until a bucket has filled half of its room.
    pub async fn filled(&self) {
        self.shared.filled.notified().await;
    }

    /// Buckets that have filled half of their room and can be delivered.
    #[must_use]
    pub fn filling(&self) -> BTreeSet<String> {
        let counted = self.counted();
        let is_filling = |(_, one): &(&String, &Bucket)| counted.is_filling(one);
        counted.buckets.iter().filter(is_filling).map(|(name, _)| name.clone()).collect()
    }

    /// Buckets whose logs are not as they should be: first those that fail, and no more than 100.
    #[must_use]
    pub fn states(&self) -> Vec<LogState> {
        let counted = self.counted();
        let failing = counted.buckets.iter().filter(|(_, one)| one.failing.is_some());
        let is_lacking = |one: &Bucket| one.failing.is_none() && one.omitted > 0;
        let lacking = counted.buckets.iter().filter(|(_, one)| is_lacking(one));
        let state = |(bucket, one): (&String, &Bucket)| LogState {
            bucket: bucket.clone(),
            waiting_bytes: one.waiting_len(),
            failing: one.failing.clone(),
            omitted: one.omitted,
        };
        failing.chain(lacking).take(SHOWN_COUNT_MAX).map(state).collect()
    }

    /// Totals over all buckets.
    #[must_use]
    pub fn totals(&self) -> LogTotals {
        let counted = self.counted();
        LogTotals {
            waiting_bytes: counted.waiting_len,
            failing_buckets: counted.failing_count,
            omitted: counted.omitted,
            refused: counted.refused,
        }
    }
}

impl LogShare {
    /// The lines are written and wait for delivery: from now on they hold as many bytes as they have.
    pub fn keep(mut self, len: u64) {
        let mut counted = self.room.counted();
        counted.end_promise(&self.bucket, self.len);
        counted.add(&self.bucket, Pool::Reserved, len);
        self.room.note_filling(&mut counted, &self.bucket, true);
        drop(counted);
        if len < self.len {
            self.room.shared.freed.notify_waiters();
        }
        self.len = 0;
    }

    /// Takes room for more lines of the same request. `false`: the target fails, and there is none.
    ///
    /// # Errors
    ///
    /// As [`LogRoom::reserve`].
    pub async fn extend(&mut self, len: u64) -> Result<bool, EngineError> {
        match self.room.reserve(&self.bucket, len).await? {
            Some(mut more) => {
                self.len += more.len;
                more.len = 0;
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

impl Drop for LogShare {
    fn drop(&mut self) {
        if self.len == 0 {
            return;
        }
        self.room.counted().end_promise(&self.bucket, self.len);
        self.room.shared.freed.notify_waiters();
    }
}
