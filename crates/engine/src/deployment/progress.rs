//! How far work over everything is, and how long it will about take.

use super::{Deployment, OpenError};
use crate::error::EngineError;
use drystone_base::sync::lock;
use drystone_catalog::{Family, Usage};

/// How far some walks over all versions and parts are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Versions and parts of all walks that were looked at.
    pub done: u64,
    /// Versions and parts of all walks, about: clients work meanwhile.
    pub of: u64,
    /// Those of one walk.
    per_walk: u64,
    /// When the present walk began, in milliseconds since 1970.
    since_ms: u64,
    /// What was done before it.
    before: u64,
}

impl Progress {
    fn new(walks: u64, per_walk: u64, now_ms: u64) -> Self {
        Self { of: walks * per_walk, per_walk, since_ms: now_ms, ..Self::default() }
    }

    /// Begins a walk, the first one being 0.
    fn begin_walk(&mut self, walk: u64, now_ms: u64) {
        self.before = walk * self.per_walk;
        (self.done, self.since_ms) = (self.before, now_ms);
        // One more than was thought.
        self.of = self.of.max(self.before + self.per_walk);
    }

    fn step(&mut self, rows: u64) {
        self.done = self.before + rows.min(self.per_walk);
    }

    /// Percent of the work that is done.
    #[must_use]
    pub fn percent(&self) -> u64 {
        self.done * 100 / self.of.max(1)
    }

    /// Seconds until it is done, if it goes on as the present walk did so far; `None` as long as that says
    /// nothing.
    #[must_use]
    pub fn left_s(&self, now_ms: u64) -> Option<u64> {
        let (rows, took_ms) = (self.done - self.before, now_ms.saturating_sub(self.since_ms));
        let left = self.of.saturating_sub(self.done);
        let is_telling = rows > 0 && took_ms >= 1000;
        is_telling
            .then(|| (u128::from(left) * u128::from(took_ms) / u128::from(rows) / 1000) as u64)
    }
}

impl Deployment {
    /// Begins work of so many walks over everything.
    pub(super) fn begin_work(&self, walks: u64) -> Result<(), OpenError> {
        let per_walk = self.count_rows()?;
        *lock(&self.progress) = Some(Progress::new(walks, per_walk, self.engine.now_ms()));
        Ok(())
    }

    /// Begins one of its walks.
    pub(super) fn begin_walk(&self, walk: u64) {
        let now_ms = self.engine.now_ms();
        lock(&self.progress).iter_mut().for_each(|progress| progress.begin_walk(walk, now_ms));
    }

    /// So many versions and parts were looked at in this walk.
    pub(super) fn step(&self, rows: u64) {
        lock(&self.progress).iter_mut().for_each(|progress| progress.step(rows));
    }

    pub(super) fn end_work(&self) {
        *lock(&self.progress) = None;
    }

    /// Versions and parts in all buckets.
    fn count_rows(&self) -> Result<u64, OpenError> {
        let mut count = 0;
        for row in self.engine.catalog().snapshot().scan(Family::Usage.range()) {
            let (_, value) = row?;
            let usage = Usage::decode(&value).map_err(EngineError::from)?;
            count += usage.current_count + usage.noncurrent_count;
            count += usage.marker_count + usage.part_count;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_from_the_present_walk() {
        let mut progress = Progress::new(2, 1000, 0);
        progress.begin_walk(0, 0);
        assert_eq!((progress.percent(), progress.left_s(60_000)), (0, None));
        progress.step(250);
        assert_eq!((progress.percent(), progress.left_s(500)), (12, None));
        assert_eq!(progress.left_s(10_000), Some(70));
        // More rows than there were at first.
        progress.step(1200);
        assert_eq!(progress.percent(), 50);
        // The second walk is faster.
        progress.begin_walk(1, 40_000);
        progress.step(500);
        assert_eq!((progress.percent(), progress.left_s(42_000)), (75, Some(2)));
        progress.begin_walk(2, 50_000);
        assert_eq!((progress.percent(), progress.left_s(60_000)), (66, None));
        assert_eq!(Progress::new(1, 0, 0).percent(), 0);
    }
}
