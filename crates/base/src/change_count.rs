//! Counts changes of something that decisions are made on.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many changes were planned on the committer, and how many of them readers see.
///
/// Changes become visible in the order in which they were planned, so equal counts mean that nothing is on
/// its way.
#[derive(Debug, Default)]
pub struct ChangeCount {
    planned: AtomicU64,
    visible: AtomicU64,
}

impl ChangeCount {
    /// Counts a change. Called in its plan.
    pub fn plan(&self) {
        self.planned.fetch_add(1, Ordering::AcqRel);
    }

    /// A change that was counted is visible to readers, or it failed.
    pub fn settle(&self) {
        self.visible.fetch_add(1, Ordering::AcqRel);
    }

    /// Changes that were planned.
    #[must_use]
    pub fn planned(&self) -> u64 {
        self.planned.load(Ordering::Acquire)
    }

    /// Changes that a reader sees who begins after this.
    #[must_use]
    pub fn visible(&self) -> u64 {
        self.visible.load(Ordering::Acquire)
    }
}
