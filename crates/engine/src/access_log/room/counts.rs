//! What buckets hold of the pools: pure arithmetic. The rules are those of the module above.
//!
//! # Invariant
//!
//! The sums in [`Counted`] are those of its buckets: everything goes through [`Counted::change`].

use super::LogFailure;
use std::collections::BTreeMap;

/// Which room a line takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pool {
    /// Of authenticated requests that may do what they ask for.
    Reserved,
    /// Of any other request.
    Open,
    /// Of buckets that cannot be delivered.
    Failing,
}

pub(super) const POOLS: [Pool; 3] = [Pool::Reserved, Pool::Open, Pool::Failing];

/// Bytes in each [`Pool`].
pub(super) type Lens = [u64; 3];

/// What a bucket holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Bucket {
    /// Bytes that requests in progress hold for lines to come, of [`Pool::Reserved`].
    pub(super) promised_len: u64,
    /// Bytes of lines that are there.
    pub(super) lens: Lens,
    /// It has bytes of its own.
    pub(super) has_own: bool,
    /// A request found no room.
    pub(super) lacks_room: bool,
    /// Why its lines cannot be delivered.
    pub(super) failing: Option<LogFailure>,
    /// Requests without a line of their own, since the start.
    pub(super) omitted: u64,
}

/// What there is to hold.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) pools: Lens,
    pub(super) own_len: u64,
    pub(super) own_count: usize,
}

/// All buckets, and their sums.
pub(super) struct Counted {
    pub(super) limits: Limits,
    pub(super) buckets: BTreeMap<String, Bucket>,
    /// What buckets take of the pools, beyond what is their own.
    pub(super) taken: Lens,
    pub(super) own_count: usize,
    pub(super) waiting_len: u64,
    pub(super) failing_count: u64,
    pub(super) omitted: u64,
    pub(super) refused: u64,
}

impl Bucket {
    pub(super) fn used(&self, pool: Pool) -> u64 {
        let promised = if pool == Pool::Reserved { self.promised_len } else { 0 };
        self.lens[pool as usize] + promised
    }

    pub(super) fn waiting_len(&self) -> u64 {
        self.lens.iter().sum()
    }

    /// What so many bytes take of a pool.
    pub(super) fn taken_by(&self, pool: Pool, used: u64, own_len: u64) -> u64 {
        let has_own = self.has_own && pool != Pool::Failing;
        if has_own { used.saturating_sub(own_len) } else { used }
    }

    pub(super) fn taken(&self, own_len: u64) -> Lens {
        POOLS.map(|pool| self.taken_by(pool, self.used(pool), own_len))
    }

    pub(super) fn holds_any(&self) -> bool {
        self.promised_len + self.waiting_len() > 0
    }

    /// How so many bytes of lines are split over the pools: deliveries take the lines of all alike.
    pub(super) fn split(&self, len: u64) -> Lens {
        let [reserved, open, failing] = self.lens;
        let of_failing = len.min(failing);
        let left = (len - of_failing).min(reserved + open);
        let of_open = if left == reserved + open { open } else { open * left / (reserved + open) };
        [left - of_open, of_open, of_failing]
    }
}

impl Counted {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            buckets: BTreeMap::new(),
            taken: Lens::default(),
            own_count: 0,
            waiting_len: 0,
            failing_count: 0,
            omitted: 0,
            refused: 0,
        }
    }

    /// Changes what is known of a bucket, and the sums with it. A bucket of which there is nothing to say is
    /// forgotten.
    pub(super) fn change<T>(&mut self, bucket: &str, change: impl FnOnce(&mut Bucket) -> T) -> T {
        let own_len = self.limits.own_len;
        if !self.buckets.contains_key(bucket) {
            self.buckets.insert(bucket.to_owned(), Bucket::default());
        }
        let one = self.buckets.get_mut(bucket).expect("it was put there");
        let (before, had_own, failed) = (one.taken(own_len), one.has_own, one.failing.is_some());
        self.waiting_len -= one.waiting_len();
        let changed = change(one);
        self.waiting_len += one.waiting_len();
        // Lines that cannot be delivered have no own part either.
        let uses_own = one.used(Pool::Reserved) + one.used(Pool::Open) > 0;
        one.has_own = uses_own && (had_own || self.own_count < self.limits.own_count);
        match (had_own, one.has_own) {
            (false, true) => self.own_count += 1,
            (true, false) => self.own_count -= 1,
            _ => {}
        }
        match (failed, one.failing.is_some()) {
            (false, true) => self.failing_count += 1,
            (true, false) => self.failing_count -= 1,
            _ => {}
        }
        for (pool, after) in one.taken(own_len).into_iter().enumerate() {
            self.taken[pool] = self.taken[pool] + after - before[pool];
        }
        if !one.holds_any() && one.failing.is_none() && one.omitted == 0 {
            self.buckets.remove(bucket);
        }
        changed
    }

    /// What a failing bucket may hold.
    pub(super) fn failing_share(&self) -> u64 {
        self.limits.pools[Pool::Failing as usize] / self.failing_count.max(2)
    }

    /// Whether a bucket may hold so many bytes more in a pool.
    pub(super) fn fits(&self, bucket: &str, pool: Pool, len: u64) -> bool {
        let mut one = self.buckets.get(bucket).cloned().unwrap_or_default();
        one.has_own |= self.own_count < self.limits.own_count;
        let (used, own_len) = (one.used(pool), self.limits.own_len);
        let taken = one.taken_by(pool, used + len, own_len);
        let more = taken - one.taken_by(pool, used, own_len);
        // A bucket that has just begun to fail takes its lines along, more than its part.
        let all = self.taken.iter().sum::<u64>() + more;
        let Some(free) = self.free(pool).checked_sub(more) else { return false };
        let share = if pool == Pool::Failing { self.failing_share() } else { free };
        more == 0 || (all <= self.limits.pools.iter().sum() && taken <= share)
    }

    pub(super) fn free(&self, pool: Pool) -> u64 {
        self.limits.pools[pool as usize].saturating_sub(self.taken[pool as usize])
    }

    pub(super) fn is_failing(&self, bucket: &str) -> bool {
        self.buckets.get(bucket).is_some_and(|one| one.failing.is_some())
    }

    /// Counts lines that are there, in the pool of a bucket that fails if it does.
    pub(super) fn add(&mut self, bucket: &str, pool: Pool, len: u64) {
        self.change(bucket, |one| {
            let pool = if one.failing.is_some() { Pool::Failing } else { pool };
            one.lens[pool as usize] += len;
        });
    }

    pub(super) fn promise(&mut self, bucket: &str, len: u64) {
        self.change(bucket, |one| one.promised_len += len);
    }

    /// Ends what was promised to requests in progress.
    pub(super) fn end_promise(&mut self, bucket: &str, len: u64) {
        self.change(bucket, |one| one.promised_len -= len);
    }

    pub(super) fn remove(&mut self, bucket: &str, len: u64) {
        self.change(bucket, |one| {
            let lens = one.split(len);
            POOLS.iter().for_each(|pool| one.lens[*pool as usize] -= lens[*pool as usize]);
            one.lacks_room = false;
        });
    }

    /// Moves the lines of a bucket to or from the pool of those that fail.
    pub(super) fn set_failing(&mut self, bucket: &str, failing: Option<LogFailure>) {
        self.change(bucket, |one| {
            let (was, is) = (one.failing.is_some(), failing.is_some());
            one.failing = failing;
            if was != is {
                let len = one.waiting_len();
                one.lens = if is { [0, 0, len] } else { [len, 0, 0] };
            }
        });
    }

    /// Whether a bucket needs room or holds half of what it may, and has something that can be delivered.
    pub(super) fn is_filling(&self, one: &Bucket) -> bool {
        let taken = one.taken(self.limits.own_len);
        let is_half = |pool: Pool| taken[pool as usize] * 2 > self.free(pool);
        let fills = one.lacks_room || is_half(Pool::Reserved) || is_half(Pool::Open);
        one.waiting_len() > 0 && one.failing.is_none() && fills
    }
}
