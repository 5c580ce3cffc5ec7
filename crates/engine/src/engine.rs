//! The engine: what all operations share.

use crate::budget::ByteBudget;
use crate::error::EngineError;
use crate::pins::Pins;
use drystone_base::{Clock, Rng, hash64};
use drystone_catalog::{BucketRow, Catalog, Decision, Tx};
use drystone_drive::Drive;
use drystone_log::LogSpace;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// What an engine is made of.
pub struct EngineConfig {
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: Arc<dyn Rng>,
    /// Bytes of bodies held in memory at most.
    pub budget: ByteBudget,
}

#[derive(Default)]
struct BucketCache {
    /// Raised by each change, so that a row that was read before it is not put in after it.
    version: u64,
    rows: HashMap<String, Arc<BucketRow>>,
}

pub(crate) struct Shared {
    pub(crate) catalog: Catalog,
    pub(crate) drive: Drive,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) budget: ByteBudget,
    pub(crate) pins: Pins,
    /// Held by each large upload in progress: its count says how many there are.
    pub(crate) large_uploads: Arc<()>,
    buckets: Mutex<BucketCache>,
    space_checked_ms: AtomicU64,
    space_is_short: AtomicU64,
}

/// Handle to the engine. Clones share it.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
}

/// Time for which an answer about free space is used again, in milliseconds.
const SPACE_FRESH_MS: u64 = 500;

impl Engine {
    /// Puts an engine together.
    #[must_use]
    pub fn new(catalog: Catalog, drive: Drive, config: EngineConfig) -> Self {
        let EngineConfig { clock, rng, budget } = config;
        let shared = Shared {
            catalog,
            drive,
            clock,
            rng,
            budget,
            pins: Pins::default(),
            large_uploads: Arc::new(()),
            buckets: Mutex::default(),
            space_checked_ms: AtomicU64::new(0),
            space_is_short: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The catalog, for workers and tools.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.shared.catalog
    }

    /// The drive, for workers and tools.
    #[must_use]
    pub fn drive(&self) -> &Drive {
        &self.shared.drive
    }

    /// The byte budget.
    #[must_use]
    pub fn budget(&self) -> &ByteBudget {
        &self.shared.budget
    }

    /// Wall-clock time, in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.shared.clock.now_ms()
    }

    /// Term of this process.
    pub(crate) fn term(&self) -> u32 {
        self.shared.drive.identity().term
    }

    /// Runs a plan on the committer and waits for its outcome to be durable.
    pub(crate) async fn commit<T: Send + 'static>(
        &self,
        plan: impl FnOnce(&mut Tx<'_>) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        self.start_commit(plan).await
    }

    /// Hands a plan to the committer at once; the future waits for the outcome.
    pub(crate) fn start_commit<T: Send + 'static>(
        &self,
        plan: impl FnOnce(&mut Tx<'_>) -> Result<T, EngineError> + Send + 'static,
    ) -> impl Future<Output = Result<T, EngineError>> + Send + 'static {
        let ticket = self.shared.catalog.submit(move |tx| match plan(tx) {
            Ok(value) => Ok(Decision::Commit(Ok(value))),
            Err(EngineError::Catalog(error)) => Err(error),
            Err(error) => Ok(Decision::Reject(Err(error))),
        });
        async move { ticket.await? }
    }

    fn bucket_cache(&self) -> MutexGuard<'_, BucketCache> {
        self.shared.buckets.lock().expect("no thread panicked while it held this lock")
    }

    /// A bucket by name.
    ///
    /// # Errors
    ///
    /// [`EngineError::BucketNotFound`], or the catalog failed.
    pub fn find_bucket(&self, name: &str) -> Result<Arc<BucketRow>, EngineError> {
        let version = {
            let cache = self.bucket_cache();
            if let Some(row) = cache.rows.get(name) {
                return Ok(row.clone());
            }
            cache.version
        };
        let view = CommittedView(&self.shared.catalog);
        let tx = Tx::new(&view, &*self.shared.rng, 0, drystone_base::Seq(0));
        let row = Arc::new(crate::plan::load_bucket(&tx, name)?);
        let mut cache = self.bucket_cache();
        if cache.version == version {
            cache.rows.insert(name.to_owned(), row.clone());
        }
        Ok(row)
    }

    /// Forgets what was remembered of a bucket. Called before a change of it is reported.
    pub(crate) fn forget_bucket(&self, name: &str) {
        let mut cache = self.bucket_cache();
        cache.version += 1;
        cache.rows.remove(name);
    }

    /// Hash of bucket and key that shards carry.
    pub(crate) fn owner_hash(bucket: &BucketRow, object: &[u8]) -> u64 {
        hash64(&[&bucket.id.0.to_le_bytes()[..], object].concat())
    }

    /// Refuses when free space is below what deletes, compaction and the index need:
    /// max(5 %, 2 segments and the size of the indexes). Asked before a body is read.
    ///
    /// # Errors
    ///
    /// [`EngineError::Full`], or [`EngineError::Closed`] after the drive failed.
    pub fn check_space(&self) -> Result<(), EngineError> {
        let shared = &self.shared;
        if shared.drive.log().is_quarantined() {
            return Err(EngineError::Closed);
        }
        let now = self.now_ms();
        let checked = shared.space_checked_ms.load(Ordering::Relaxed);
        if now.abs_diff(checked) > SPACE_FRESH_MS {
            let short = self.space_is_short()?;
            shared.space_is_short.store(u64::from(short), Ordering::Relaxed);
            shared.space_checked_ms.store(now, Ordering::Relaxed);
        }
        match shared.space_is_short.load(Ordering::Relaxed) {
            0 => Ok(()),
            _ => Err(EngineError::Full),
        }
    }

    fn space_is_short(&self) -> Result<bool, EngineError> {
        let LogSpace { total_bytes, free_bytes, .. } = self.shared.drive.log().space()?;
        let indexes =
            self.shared.catalog.index().disk_bytes() + self.shared.drive.index().disk_bytes();
        let segments = 2 * u64::from(self.shared.drive.log().segment_len());
        Ok(free_bytes < (total_bytes / 20).max(segments + indexes))
    }

    /// Space of the drive.
    ///
    /// # Errors
    ///
    /// The drive failed.
    pub fn space(&self) -> Result<LogSpace, EngineError> {
        Ok(self.shared.drive.log().space()?)
    }
}

/// The committed rows, as a plan's view.
pub(crate) struct CommittedView<'a>(pub(crate) &'a Catalog);

impl drystone_catalog::View for CommittedView<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<bytes::Bytes>, drystone_catalog::CatalogError> {
        self.0.get(key)
    }
    fn first(
        &self,
        range: drystone_index::KeyRange,
    ) -> Result<Option<(bytes::Bytes, bytes::Bytes)>, drystone_catalog::CatalogError> {
        Ok(self.0.snapshot().scan(range).next().transpose()?)
    }
}
