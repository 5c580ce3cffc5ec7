//! What the decision on a request was made on, besides the objects it looked at.

use crate::decided::Decided;
use crate::engine::Shared;
use crate::error::EngineError;
use drystone_base::ChangeCount;
use drystone_base::sync::{Mutex, lock};
use drystone_catalog::Tx;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A decision that looked at the time holds so long, in milliseconds: for the committer to get to its plan.
const TIME_HOLDS_MS: u64 = 5000;

/// When a decision began, counted in changes of identities and of configurations of buckets. It is taken
/// before anything is looked up.
#[derive(Clone)]
#[cfg_attr(test, derive(Default))]
pub struct Stamp {
    pub(crate) directory: Arc<ChangeCount>,
    directory_seen: u64,
    buckets_seen: u64,
}

impl Stamp {
    pub(crate) fn now(directory: &Arc<ChangeCount>, shared: &Shared) -> Self {
        Self {
            directory: directory.clone(),
            directory_seen: directory.visible(),
            buckets_seen: shared.bucket_changes.visible(),
        }
    }
}

/// A decision.
#[derive(Clone, Copy)]
pub(crate) struct Made {
    /// Which decision on the request.
    number: u64,
    /// It has begun, but was it made?
    is_made: bool,
    directory_seen: u64,
    buckets_seen: u64,
    /// It does not hold after this time.
    pub(crate) until_ms: u64,
}

/// The last decision on a request.
pub(crate) struct Basis {
    directory: Arc<ChangeCount>,
    made: Mutex<Made>,
}

impl Basis {
    pub(crate) fn new(stamp: Stamp) -> Self {
        let Stamp { directory, directory_seen, buckets_seen } = stamp;
        let until_ms = u64::MAX;
        let made = Made { number: 0, is_made: false, directory_seen, buckets_seen, until_ms };
        Self { directory, made: Mutex::new(made) }
    }
}

impl Decided {
    /// The last decision.
    pub(crate) fn made_now(&self) -> Made {
        *lock(&self.basis.made)
    }

    /// Another decision begins: what it looks up is looked up after this.
    pub(crate) fn begin(&self, shared: &Shared) {
        let mut made = lock(&self.basis.made);
        *made = Made {
            number: made.number + 1,
            is_made: false,
            directory_seen: self.basis.directory.visible(),
            buckets_seen: shared.bucket_changes.visible(),
            until_ms: u64::MAX,
        };
    }

    /// The decision was made. It does not hold longer than the key of the sender.
    pub(crate) fn make(&self, key_ends_ms: Option<u64>) {
        let mut made = lock(&self.basis.made);
        made.is_made = true;
        made.until_ms = made.until_ms.min(key_ends_ms.unwrap_or(u64::MAX));
    }

    /// Rows are looked up again: what was decided on them is not decided on those.
    pub(crate) fn unmake(&self) {
        lock(&self.basis.made).is_made = false;
    }

    /// The decision looks at the time.
    pub(crate) fn look_at_time(&self, now_ms: u64) {
        self.looked_at_time.store(true, Ordering::Relaxed);
        let mut made = lock(&self.basis.made);
        made.until_ms = made.until_ms.min(now_ms + TIME_HOLDS_MS);
    }

    /// Whether the decision holds by what can be said without a look at rows. One that looked at the time is
    /// another one a moment later.
    pub(crate) fn holds(&self, shared: &Shared) -> bool {
        let made = self.made_now();
        made.is_made
            && !self.looked_at_time.load(Ordering::Relaxed)
            && self.basis.directory.visible() == made.directory_seen
            && is_in_time(&made, shared)
    }

    /// Whether the decision holds by what readers see of identities and buckets.
    pub(crate) fn holds_with_rows(&self, shared: &Shared) -> Result<bool, EngineError> {
        let (made, buckets) = (self.made_now(), shared.bucket_changes.visible());
        if !self.holds(shared) {
            return Ok(false);
        }
        if buckets == made.buckets_seen {
            return Ok(true);
        }
        let view = crate::engine::CommittedView(&shared.catalog);
        let tx = Tx::new(&view, &*shared.rng, 0, drystone_base::Seq(0));
        if !self.has_same_rows(&tx)? {
            return Ok(false);
        }
        let mut now = lock(&self.basis.made);
        if now.number == made.number {
            now.buckets_seen = buckets;
        }
        Ok(true)
    }

    /// Whether a decision still holds. Called in the plan of what was decided. `is_lenient`: whatever
    /// happened to identities.
    pub(crate) fn is_current(
        &self,
        made: &Made,
        is_lenient: bool,
        tx: &Tx<'_>,
        shared: &Shared,
    ) -> Result<bool, EngineError> {
        let has_same_identities =
            is_lenient || self.basis.directory.planned() == made.directory_seen;
        if !made.is_made || !has_same_identities || !is_in_time(made, shared) {
            return Ok(false);
        }
        if shared.bucket_changes.planned() == made.buckets_seen {
            return Ok(true);
        }
        // The rows that are remembered are those of the last decision.
        Ok(self.made_now().number == made.number && self.has_same_rows(tx)?)
    }
}

fn is_in_time(made: &Made, shared: &Shared) -> bool {
    made.until_ms == u64::MAX || shared.clock.now_ms() < made.until_ms
}
