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

use crate::error::EngineError;
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

/// Which room a line takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pool {
    /// Of authenticated requests that may do what they ask for.
    Reserved,
    /// Of any other request.
    Open,
    /// Of buckets that cannot be delivered.
    Failing,
}

const POOLS: [Pool; 3] = [Pool::Reserved, Pool::Open, Pool::Failing];

/// Bytes in each [`Pool`].
type Lens = [u64; 3];

#[derive(Clone, Debug, Default)]
struct Bucket {
    /// Bytes that requests in progress hold for lines to come, of [`Pool::Reserved`].
    promised_len: u64,
    /// Bytes of lines that are there.
    lens: Lens,
    /// It has bytes of its own.
    has_own: bool,
    /// A request found no room.
    lacks_room: bool,
    /// Why its lines cannot be delivered.
    failing: Option<&'static str>,
    /// Requests without a line of their own, since the start.
    omitted: u64,
}

#[derive(Clone, Copy)]
struct Limits {
    pools: Lens,
    own_len: u64,
    own_count: usize,
}

struct Counted {
    limits: Limits,
    buckets: BTreeMap<String, Bucket>,
    /// What buckets take of the pools, beyond what is their own.
    taken: Lens,
    own_count: usize,
    waiting_len: u64,
    failing_count: u64,
    omitted: u64,
    refused: u64,
}

/// The access log of a bucket, as an operator wants to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogState {
    /// The bucket that is logged.
    pub bucket: String,
    /// Bytes of lines that wait.
    pub waiting_bytes: u64,
    /// Why they cannot be delivered, if they cannot.
    pub failing: Option<&'static str>,
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

impl Bucket {
    fn used(&self, pool: Pool) -> u64 {
        let promised = if pool == Pool::Reserved { self.promised_len } else { 0 };
        self.lens[pool as usize] + promised
    }

    fn waiting_len(&self) -> u64 {
        self.lens.iter().sum()
    }

    /// What so many bytes take of a pool.
    fn taken_by(&self, pool: Pool, used: u64, own_len: u64) -> u64 {
        let has_own = self.has_own && pool != Pool::Failing;
        if has_own { used.saturating_sub(own_len) } else { used }
    }

    fn taken(&self, own_len: u64) -> Lens {
        POOLS.map(|pool| self.taken_by(pool, self.used(pool), own_len))
    }

    fn holds_any(&self) -> bool {
        self.promised_len + self.waiting_len() > 0
    }

    /// How so many bytes of lines are split over the pools: deliveries take the lines of all alike.
    fn split(&self, len: u64) -> Lens {
        let [reserved, open, failing] = self.lens;
        let of_failing = len.min(failing);
        let left = (len - of_failing).min(reserved + open);
        let of_open = if left == reserved + open { open } else { open * left / (reserved + open) };
        [left - of_open, of_open, of_failing]
    }
}

impl Counted {
    /// Changes what is known of a bucket, and the sums with it. A bucket of which there is nothing to say is
    /// forgotten.
    fn change<T>(&mut self, bucket: &str, change: impl FnOnce(&mut Bucket) -> T) -> T {
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
    fn failing_share(&self) -> u64 {
        self.limits.pools[Pool::Failing as usize] / self.failing_count.max(2)
    }

    /// Whether a bucket may hold so many bytes more in a pool.
    fn fits(&self, bucket: &str, pool: Pool, len: u64) -> bool {
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

    fn free(&self, pool: Pool) -> u64 {
        self.limits.pools[pool as usize].saturating_sub(self.taken[pool as usize])
    }

    fn is_failing(&self, bucket: &str) -> bool {
        self.buckets.get(bucket).is_some_and(|one| one.failing.is_some())
    }

    /// Counts lines that are there, in the pool of a bucket that fails if it does.
    fn add(&mut self, bucket: &str, pool: Pool, len: u64) {
        self.change(bucket, |one| {
            let pool = if one.failing.is_some() { Pool::Failing } else { pool };
            one.lens[pool as usize] += len;
        });
    }

    fn promise(&mut self, bucket: &str, len: u64) {
        self.change(bucket, |one| one.promised_len += len);
    }

    /// Ends what was promised to requests in progress.
    fn end_promise(&mut self, bucket: &str, len: u64) {
        self.change(bucket, |one| one.promised_len -= len);
    }

    fn remove(&mut self, bucket: &str, len: u64) {
        self.change(bucket, |one| {
            let lens = one.split(len);
            POOLS.iter().for_each(|pool| one.lens[*pool as usize] -= lens[*pool as usize]);
            one.lacks_room = false;
        });
    }

    /// Moves the lines of a bucket to or from the pool of those that fail.
    fn set_failing(&mut self, bucket: &str, failing: Option<&'static str>) {
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
    fn is_filling(&self, one: &Bucket) -> bool {
        let taken = one.taken(self.limits.own_len);
        let is_half = |pool: Pool| taken[pool as usize] * 2 > self.free(pool);
        let fills = one.lacks_room || is_half(Pool::Reserved) || is_half(Pool::Open);
        one.waiting_len() > 0 && one.failing.is_none() && fills
    }
}

impl LogRoom {
    fn new(shared_len: u64, own_len: u64, own_count: usize) -> Self {
        let (freed, filled) = (Notify::new(), Notify::new());
        let pools = [shared_len / 2, shared_len / 4, shared_len / 4];
        let counted = Counted {
            limits: Limits { pools, own_len, own_count },
            buckets: BTreeMap::new(),
            taken: Lens::default(),
            own_count: 0,
            waiting_len: 0,
            failing_count: 0,
            omitted: 0,
            refused: 0,
        };
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
    pub fn set_failing(&self, bucket: &str, failing: Option<&'static str>) -> bool {
        let mut counted = self.counted();
        let (is_known, count) = (counted.buckets.contains_key(bucket), counted.buckets.len());
        if !is_known && (failing.is_none() || count >= STATE_COUNT_MAX) {
            return false;
        }
        let before = counted.buckets.get(bucket).and_then(|one| one.failing);
        counted.set_failing(bucket, failing);
        drop(counted);
        // Those that wait for room of this bucket need none, and its lines have left theirs.
        self.shared.freed.notify_waiters();
        before != failing
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
            failing: one.failing,
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOTAL: u64 = 64_000;
    const OWN: u64 = 500;

    fn fill_open(room: &LogRoom, bucket: &str) -> u64 {
        (0..).take_while(|_| room.try_keep(bucket, 10)).count() as u64 * 10
    }

    fn fill_reserved(room: &LogRoom, bucket: &str) -> u64 {
        let mut len = 0;
        while let Some(share) = room.try_reserve(bucket, 10) {
            share.keep(10);
            len += 10;
        }
        len
    }

    #[test]
    fn anonymous_lines_leave_room_for_others_and_each_bucket_has_a_share() {
        let room = LogRoom::new(TOTAL, OWN, 200);
        for number in 0..100 {
            assert!(fill_open(&room, &format!("flooded-{number}")) >= OWN);
        }
        assert_eq!(
            fill_reserved(&room, "a"),
            16_000 + OWN,
            "as much as it leaves free of its pool"
        );
        assert_eq!(fill_reserved(&room, "b"), 8_000 + OWN);
        for number in 0..90 {
            assert!(fill_reserved(&room, &format!("full-{number}")) >= OWN);
        }
        assert!(room.totals().waiting_bytes <= TOTAL + 2 * 200 * OWN);
        room.release("a", 16_000 + OWN);
        assert!(fill_reserved(&room, "c") > 4_000);
    }

    #[test]
    fn what_is_left_of_the_shared_room_is_all_that_further_buckets_have() {
        let room = LogRoom::new(TOTAL, OWN, 10);
        for number in 0..1_000 {
            fill_reserved(&room, &format!("b{number}"));
            fill_open(&room, &format!("b{number}"));
        }
        assert!(room.totals().waiting_bytes <= TOTAL + 2 * 10 * OWN);
        assert!(room.try_reserve("one-more", 10).is_none());
        // The first one is delivered, and its own part is free for another.
        room.release("b0", u64::MAX);
        assert!(fill_reserved(&room, "one-more") >= OWN);
    }

    #[test]
    fn a_bucket_that_found_no_room_is_to_be_delivered() {
        let room = LogRoom::new(TOTAL, OWN, 10);
        assert!(room.try_keep("a", 10) && room.filling().is_empty());
        assert!(room.try_reserve("a", TOTAL).is_none());
        assert_eq!(room.filling(), BTreeSet::from(["a".to_owned()]));
        room.release("a", 5);
        assert!(room.filling().is_empty());
    }

    #[test]
    fn room_that_is_not_used_is_free_again() {
        let room = LogRoom::new(TOTAL, OWN, 1);
        drop(room.try_reserve("a", 400).expect("there is room"));
        room.try_reserve("a", 400).expect("there is room").keep(30);
        assert_eq!(room.totals().waiting_bytes, 30);
        room.release("a", 30);
        assert_eq!((room.totals(), room.states()), (LogTotals::default(), Vec::new()));
        assert!(room.counted().buckets.is_empty());
    }

    #[test]
    fn buckets_that_fail_share_a_pool_of_their_own() {
        let room = LogRoom::new(TOTAL, OWN, 1);
        room.restore("f0", 16_000);
        assert!(room.set_failing("f0", Some("gone")));
        assert_eq!(room.overfull(), BTreeMap::from([("f0".to_owned(), 8_000)]));
        room.release("f0", 8_000);
        assert!(room.overfull().is_empty() && !room.try_keep("f0", 10));
        for number in 1..100 {
            let name = format!("f{number}");
            assert!(room.try_keep(&name, 10));
            room.set_failing(&name, Some("denied"));
            let over = room.overfull().into_keys().collect::<Vec<_>>();
            over.iter().for_each(|name| room.release(name, 4_000));
            fill_open(&room, &name);
        }
        assert!(room.counted().taken[Pool::Failing as usize] <= TOTAL / 4);
        assert_eq!(
            fill_reserved(&room, "a"),
            16_000 + OWN,
            "those that fail take nothing of others"
        );
        assert!(room.set_failing("f5", None) && !room.set_failing("f5", None));
        assert_eq!((room.failing().len(), room.totals().failing_buckets), (99, 99));
    }

    #[test]
    fn few_buckets_are_shown_and_known() {
        let room = LogRoom::new(TOTAL, OWN, 1);
        (0..STATE_COUNT_MAX + 50).for_each(|number| room.omit(&format!("b{number}"), 1));
        room.set_failing("b7", Some("gone"));
        assert!(!room.set_failing("one-more", Some("gone")));
        assert_eq!(room.counted().buckets.len(), STATE_COUNT_MAX);
        let states = room.states();
        assert_eq!((states.len(), &states[0].bucket[..]), (SHOWN_COUNT_MAX, "b7"));
        assert_eq!(room.totals().omitted, STATE_COUNT_MAX as u64 + 50);
    }

    #[tokio::test]
    async fn a_full_bucket_waits_and_one_that_cannot_be_delivered_does_not() {
        let room = LogRoom::new(1000, 0, 0);
        fill_reserved(&room, "a");
        assert!(matches!(room.reserve("a", 10).await, Err(EngineError::Busy)));
        assert_eq!(room.totals().refused, 1);
        let (waiting, failing) = (room.clone(), room.clone());
        let waits = async move { waiting.reserve("a", 10).await.map(|share| share.is_some()) };
        let fails = async move { failing.set_failing("a", Some("gone")) };
        let (got, is_news) = tokio::join!(waits, fails);
        assert!(matches!(got, Ok(false)) && is_news);
        assert!(!room.set_failing("a", Some("gone")) && room.filling().is_empty());
        assert!(room.set_failing("a", None));
        let (waiting, freeing) = (room.clone(), room.clone());
        let waits = async move { waiting.reserve("a", 10).await.map(|share| share.is_some()) };
        let frees = async move { freeing.release("a", 200) };
        let (got, ()) = tokio::join!(waits, frees);
        assert!(matches!(got, Ok(true)));
    }

    #[tokio::test]
    async fn a_bucket_is_to_be_delivered_when_it_fills() {
        let room = LogRoom::new(TOTAL, OWN, 1);
        assert!(room.try_keep("a", 100) && room.filling().is_empty());
        fill_open(&room, "a");
        room.filled().await;
        assert_eq!(room.filling(), BTreeSet::from(["a".to_owned()]));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Keep(u8, u64),
        Reserve(u8, u64),
        End(usize, Option<u64>),
        Release(u8, u64),
        Fail(u8, bool),
    }

    fn step() -> impl Strategy<Value = Step> {
        let (bucket, len) = (0..6u8, 0..5_000u64);
        prop_oneof![
            (bucket.clone(), len.clone()).prop_map(|(bucket, len)| Step::Keep(bucket, len)),
            (bucket.clone(), len.clone()).prop_map(|(bucket, len)| Step::Reserve(bucket, len)),
            (any::<usize>(), proptest::option::of(len.clone())).prop_map(|(n, l)| Step::End(n, l)),
            (bucket.clone(), len).prop_map(|(bucket, len)| Step::Release(bucket, len)),
            (bucket, any::<bool>()).prop_map(|(bucket, fails)| Step::Fail(bucket, fails)),
        ]
    }

    proptest! {
        /// Goal: the sums are those of the buckets, and no request takes more than there is. Method: any
        /// steps; lines are never longer than what was reserved for them.
        #[test]
        fn sums_stay_true_and_below_the_total(steps in proptest::collection::vec(step(), 0..200)) {
            let room = LogRoom::new(TOTAL, OWN, 2);
            let mut shares: Vec<LogShare> = Vec::new();
            for step in steps {
                match step {
                    Step::Keep(bucket, len) => drop(room.try_keep(&bucket.to_string(), len)),
                    Step::Reserve(bucket, len) => {
                        shares.extend(room.try_reserve(&bucket.to_string(), len));
                    }
                    Step::End(number, len) if !shares.is_empty() => {
                        let share = shares.swap_remove(number % shares.len());
                        if let Some(len) = len {
                            let len = len.min(share.len);
                            share.keep(len);
                        }
                    }
                    Step::End(..) => {}
                    Step::Release(bucket, len) => room.release(&bucket.to_string(), len),
                    Step::Fail(bucket, fails) => {
                        room.set_failing(&bucket.to_string(), fails.then_some("gone"));
                    }
                }
                let counted = room.counted();
                for pool in POOLS {
                    let taken = counted.buckets.values().map(|one| one.taken(OWN)[pool as usize]);
                    prop_assert_eq!(taken.sum::<u64>(), counted.taken[pool as usize]);
                }
                let waiting: u64 = counted.buckets.values().map(Bucket::waiting_len).sum();
                prop_assert_eq!(waiting, counted.waiting_len);
                let own = counted.buckets.values().filter(|one| one.has_own).count();
                prop_assert!(own == counted.own_count && own <= 2);
                // What moves between pools takes at most its own part along.
                prop_assert!(waiting <= TOTAL + 2 * 6 * OWN);
                let failing = counted.buckets.values().filter(|one| one.failing.is_some()).count();
                prop_assert_eq!(failing as u64, counted.failing_count);
            }
            drop(shares);
            prop_assert!(room.counted().buckets.values().all(|one| one.promised_len == 0));
        }
    }
}
