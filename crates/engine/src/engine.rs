//! The engine: what all operations share.

use crate::access_log::LogRoom;
use crate::basis::Stamp;
use crate::budget::{ByteBudget, Kind, Share};
use crate::cells::GentleReader;
use crate::configuration::Configurations;
use crate::decided::Decided;
use crate::error::EngineError;
use crate::inactive::Counters;
use crate::lock_clock::LockClock;
use crate::pace::Pace;
use crate::pins::Pins;
use crate::repair::Noted;
use drystone_base::sync::{Mutex, MutexGuard, lock};
use drystone_base::{
    AnyTurn, BucketId, Cache, ChangeCount, Clock, Consumer, KEY_REQUESTS_MAX, Line, Rng, Turns,
    hash64,
};
use drystone_catalog::{BucketRow, Catalog, CatalogError, Family, Tx};
use drystone_cluster::Pool;
use drystone_drive::Drive;
use drystone_keyring::Keyring;
use drystone_log::LogSpace;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// What an engine is made of.
pub struct EngineConfig {
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: Arc<dyn Rng>,
    /// Bytes of bodies held in memory at most.
    pub budget: ByteBudget,
    /// What work in the background may take.
    pub pace: Pace,
}

/// Bytes of rows of buckets that are kept.
const BUCKETS_LEN_MAX: usize = 8 << 20;

struct BucketCache {
    /// Raised by each change, so that a row that was read before it is not put in after it.
    version: u64,
    rows: Cache<String, Arc<BucketRow>>,
}

impl Default for BucketCache {
    fn default() -> Self {
        Self { version: 0, rows: Cache::new(BUCKETS_LEN_MAX) }
    }
}

/// Lets the buckets that a transaction changes be forgotten once it is settled.
pub(crate) fn forget_changed(tx: &mut Tx<'_>, shared: &Arc<Shared>) {
    let names = tx.changed(Family::BucketName).map(|(key, _)| key[1..].to_vec());
    let rows = tx.changed(Family::Bucket).filter_map(|(_, row)| BucketRow::decode(row?).ok());
    let mut names: Vec<_> = names.filter_map(|name| String::from_utf8(name).ok()).collect();
    names.extend(rows.map(|row| row.name));
    if names.is_empty() {
        return;
    }
    let shared = shared.clone();
    shared.bucket_changes.plan();
    tx.when_settled(move || {
        let mut cache = lock(&shared.buckets);
        cache.version += 1;
        names.iter().for_each(|name| cache.rows.remove(name));
        drop(cache);
        shared.bucket_changes.settle();
    });
}

/// Bytes that a row of a bucket holds, about.
fn weight_of(row: &BucketRow) -> usize {
    let of_tag = |(name, value): &(String, String)| {
        size_of::<(String, String)>() + name.len() + value.len() + 32
    };
    let of_tags: usize = row.tags.iter().map(of_tag).sum();
    size_of::<BucketRow>() + 2 * row.name.len() + row.owner.len() + of_tags
}

pub(crate) struct Shared {
    pub(crate) catalog: Catalog,
    pub(crate) pool: Pool,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) budget: ByteBudget,
    pub(crate) pins: Pins,
    pub(crate) pace: Pace,
    pub(crate) hedges: AtomicU64,
    pub(crate) keyring: OnceLock<Arc<Keyring>>,
    pub(crate) lock_clock: LockClock,
    pub(crate) log_room: LogRoom,
    pub(crate) inactive: Counters,
    /// At lists of parts.
    pub(crate) part_turns: Arc<Turns>,
    /// At completing uploads of many parts.
    pub(crate) completion_turns: Arc<Turns>,
    /// At asking a provider of keys, for those who use them.
    key_turns: Arc<Turns>,
    /// Held by each large upload in progress: its count says how many there are.
    pub(crate) large_uploads: Arc<()>,
    /// Counts changes of configurations of buckets.
    pub(crate) bucket_changes: ChangeCount,
    pub(crate) configurations: Configurations,
    buckets: Mutex<BucketCache>,
    noted: Mutex<Noted>,
    space_checked_ms: AtomicU64,
    space_is_short: AtomicU64,
}

/// Handle to the engine, for one consumer. Clones share it.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    pub(crate) consumer: Consumer,
    /// What names of buckets mean to the request that it serves, if it serves one.
    pub(crate) decided: Option<Arc<Decided>>,
}

/// Time for which an answer about free space is used again, in milliseconds.
const SPACE_FRESH_MS: u64 = 500;

/// The consumer's turns at asking a provider of keys.
impl Line for Engine {
    fn turn(&self) -> Pin<Box<dyn Future<Output = AnyTurn> + Send + '_>> {
        Box::pin(async {
            let turn = self.shared.key_turns.turn(self.consumer).await;
            Box::new(turn) as AnyTurn
        })
    }
}

impl Engine {
    /// Puts an engine together.
    #[must_use]
    pub fn new(catalog: Catalog, pool: Pool, config: EngineConfig) -> Self {
        let EngineConfig { clock, rng, budget, pace } = config;
        let lock_clock = LockClock::new(clock.now_ms());
        let shared = Shared {
            catalog,
            pool,
            clock,
            rng,
            budget,
            pins: Pins::default(),
            pace,
            hedges: AtomicU64::new(0),
            keyring: OnceLock::new(),
            lock_clock,
            log_room: LogRoom::default(),
            inactive: Counters::default(),
            part_turns: Turns::new(crate::parts::turn_count()),
            completion_turns: Turns::new(crate::multipart::LONG_AT_ONCE_MAX),
            key_turns: Turns::new(KEY_REQUESTS_MAX),
            large_uploads: Arc::new(()),
            bucket_changes: ChangeCount::default(),
            configurations: Configurations::default(),
            buckets: Mutex::default(),
            noted: Mutex::default(),
            space_checked_ms: AtomicU64::new(0),
            space_is_short: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared), consumer: Consumer::BACKGROUND, decided: None }
    }

    /// The same engine, for a consumer whose bytes are counted together.
    #[must_use]
    pub fn for_consumer(&self, consumer: Consumer) -> Self {
        Self { shared: self.shared.clone(), consumer, decided: self.decided.clone() }
    }

    /// The same engine, for a request of a consumer, which has looked `known` up after `stamp`. From the
    /// first time that the request looks a bucket up, its name means this bucket to it, or none: what was
    /// decided on for one bucket has no effect on another. It commits nothing until
    /// [`Engine::decision_is_made`].
    #[must_use]
    pub fn for_request(
        &self,
        consumer: Consumer,
        known: Option<Arc<BucketRow>>,
        stamp: Stamp,
    ) -> Self {
        let decided = Some(Arc::new(Decided::new(known, stamp)));
        Self { shared: self.shared.clone(), consumer, decided }
    }

    /// The beginning of a decision, before anything is looked up for it. `directory` counts changes of
    /// identities.
    #[must_use]
    pub fn stamp(&self, directory: &Arc<ChangeCount>) -> Stamp {
        Stamp::now(directory, &self.shared)
    }

    /// Lets what a request knows of its buckets be read again. What the names mean stays. Nothing is
    /// committed until the request is decided on by that.
    pub fn look_again(&self) {
        if let Some(decided) = &self.decided {
            decided.unmake();
            drop(decided.look_again(None));
        }
    }

    /// Begins another decision on a request: its sender is looked up after this. Returns the rows of buckets
    /// as they were.
    pub fn begin_decision(&self) -> Vec<Arc<BucketRow>> {
        let Some(decided) = &self.decided else { return Vec::new() };
        decided.begin(&self.shared);
        decided.look_again(None)
    }

    /// The request was decided on: it may commit. `key_ends_ms`: when the key of its sender ends.
    pub fn decision_is_made(&self, key_ends_ms: Option<u64>) {
        if let Some(decided) = &self.decided {
            decided.make(key_ends_ms);
        }
    }

    /// Compares, on the committer, the rows of the buckets that the request looked up with those that it was
    /// decided on: for changes of the directory.
    pub fn compares_buckets(
        &self,
    ) -> impl Fn(&Tx<'_>) -> Result<bool, CatalogError> + Send + Sync + use<> {
        let decided = self.decided.clone();
        move |tx| match decided.as_ref().map_or(Ok(true), |decided| decided.has_same_rows(tx)) {
            Ok(is_same) => Ok(is_same),
            Err(EngineError::Catalog(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// When the last decision ends at the latest, in milliseconds since 1970.
    #[must_use]
    pub fn decision_end_ms(&self) -> u64 {
        self.decided.as_ref().map_or(u64::MAX, |decided| decided.made_now().until_ms)
    }

    /// Remembers that the decision on the request looked at the time: it does not hold later on.
    pub fn looks_at_time(&self) {
        if let Some(decided) = &self.decided {
            decided.look_at_time(self.now_ms());
        }
    }

    /// What is started from now on is not refused because identities were changed: it was refused for that
    /// often enough.
    pub fn take_identities_as_they_are(&self) {
        if let Some(decided) = &self.decided {
            decided.is_lenient.store(true, Ordering::Relaxed);
        }
    }

    /// Whether what the request was decided on is as it was: its sender, its buckets, the time, and what was
    /// looked at of objects.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn is_decision_current(&self) -> Result<bool, EngineError> {
        let Some(decided) = &self.decided else { return Ok(true) };
        let holds = decided.holds_with_rows(&self.shared)?;
        Ok(holds && decided.looked_at.is_same_committed(&self.shared, None)?)
    }

    /// Forgets what was looked at of objects, before another decision.
    pub fn forget_objects(&self) {
        if let Some(decided) = &self.decided {
            decided.looked_at.forget();
        }
    }

    /// What a request was decided on, if it was decided on anything that can change.
    pub(crate) fn decided(&self) -> Option<&Arc<Decided>> {
        self.decided.as_ref().filter(|decided| !decided.looked_at.is_empty())
    }

    /// What the request that this serves knows, if it serves one.
    pub(crate) fn noting(&self) -> Option<&Arc<Decided>> {
        self.decided.as_ref()
    }

    pub(crate) fn consumer(&self) -> Consumer {
        self.consumer
    }

    /// Reserves the minimum of a request of this consumer. See [`ByteBudget::reserve`].
    pub(crate) async fn reserve(&self, kind: Kind, bytes: u64) -> Result<Share, EngineError> {
        self.shared.budget.reserve(self.consumer, kind, bytes).await
    }

    /// Reserves what a document of this consumer holds, or what decodes it, before anything else is reserved
    /// for it: kinds of the decoders, in their order.
    ///
    /// # Errors
    ///
    /// [`EngineError::Busy`].
    pub async fn reserve_decoding(&self, kind: Kind, bytes: u64) -> Result<Share, EngineError> {
        debug_assert!(kind as usize <= Kind::Decode as usize, "of another part");
        self.reserve(kind, bytes).await
    }

    /// Reserves what an answer to this consumer over HTTP/2 holds besides what is made or read for it, before
    /// anything else is reserved.
    ///
    /// # Errors
    ///
    /// [`EngineError::Busy`].
    pub async fn reserve_stream(&self, bytes: u64) -> Result<Share, EngineError> {
        self.reserve(Kind::Stream, bytes).await
    }

    /// Reserves what an answer to this consumer holds, before it is made.
    ///
    /// # Errors
    ///
    /// [`EngineError::Busy`].
    pub async fn reserve_answer(&self, bytes: u64) -> Result<Share, EngineError> {
        self.reserve(Kind::Answer, bytes).await
    }

    /// As [`Engine::reserve_answer`], but `None` where it would be waited for.
    #[must_use]
    pub fn try_reserve_answer(&self, bytes: u64) -> Option<Share> {
        self.shared.budget.try_reserve(self.consumer, Kind::Answer, bytes)
    }

    /// The catalog, for workers and tools.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.shared.catalog
    }

    /// The drives.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.shared.pool
    }

    /// The drive whose log the index of the catalog follows.
    #[must_use]
    pub fn drive(&self) -> &Drive {
        self.shared.pool.primary()
    }

    pub(crate) fn noted(&self) -> MutexGuard<'_, Noted> {
        lock(&self.shared.noted)
    }

    /// The byte budget.
    #[must_use]
    pub fn budget(&self) -> &ByteBudget {
        &self.shared.budget
    }

    /// What work in the background may take, and took.
    #[must_use]
    pub fn pace(&self) -> &Pace {
        &self.shared.pace
    }

    /// Reads for work in the background.
    pub(crate) fn gentle_reader(&self) -> GentleReader<'_> {
        GentleReader { pool: self.pool(), pace: self.pace() }
    }

    /// Reads that did not wait for a late drive but asked the others.
    #[must_use]
    pub fn hedge_count(&self) -> u64 {
        self.shared.hedges.load(Ordering::Relaxed)
    }

    /// Wall-clock time, in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.shared.clock.now_ms()
    }

    /// Term of this process.
    pub(crate) fn term(&self) -> u32 {
        self.shared.pool.epoch()
    }

    fn bucket_cache(&self) -> MutexGuard<'_, BucketCache> {
        lock(&self.shared.buckets)
    }

    /// A bucket by name.
    ///
    /// # Errors
    ///
    /// [`EngineError::BucketNotFound`], or the catalog failed.
    pub fn find_bucket(&self, name: &str) -> Result<Arc<BucketRow>, EngineError> {
        let Some(decided) = &self.decided else { return self.current_bucket(name) };
        match decided.row(name) {
            Some(known) => known,
            None => decided.admit(name, self.current_bucket(name)),
        }
    }

    /// The bucket that a plan is about: the one that the request was decided on.
    pub(crate) fn bucket_id(&self, name: &str) -> Result<BucketId, EngineError> {
        let row = self.find_bucket(name)?;
        match &self.decided {
            Some(decided) => decided.id(&row),
            None => Ok(row.id),
        }
    }

    fn current_bucket(&self, name: &str) -> Result<Arc<BucketRow>, EngineError> {
        let version = {
            let mut cache = self.bucket_cache();
            if let Some(row) = cache.rows.get(name) {
                return Ok(row);
            }
            cache.version
        };
        let view = CommittedView(&self.shared.catalog);
        let tx = Tx::new(&view, &*self.shared.rng, 0, drystone_base::Seq(0));
        let row = Arc::new(crate::plan::bucket_named(&tx, name)?);
        let mut cache = self.bucket_cache();
        if cache.version == version {
            cache.rows.insert(name.to_owned(), row.clone(), weight_of(&row));
        }
        Ok(row)
    }

    /// Lets this request look a bucket up again that it changed. What others remember of it was forgotten
    /// with the change.
    pub(crate) fn changed_bucket(&self, name: &str) {
        if let Some(decided) = &self.decided {
            drop(decided.look_again(Some(name)));
        }
    }

    /// A bucket was made by this request.
    pub(crate) fn made_bucket(&self, row: &BucketRow) {
        if let Some(decided) = &self.decided {
            decided.made(row.clone());
        }
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
    /// [`EngineError::Full`], [`EngineError::ReadOnly`], or [`EngineError::Closed`] after the drive failed.
    pub fn check_space(&self) -> Result<(), EngineError> {
        let shared = &self.shared;
        if shared.catalog.is_read_only() {
            return Err(EngineError::ReadOnly);
        }
        if self.drive().log().is_quarantined() {
            return Err(EngineError::Closed);
        }
        if self.drive().log().is_in_reserve() {
            return Err(EngineError::Full);
        }
        let now = self.now_ms();
        let checked = shared.space_checked_ms.load(Ordering::Relaxed);
        if now.abs_diff(checked) > SPACE_FRESH_MS {
            let short = self.space_is_short();
            shared.space_is_short.store(u64::from(short), Ordering::Relaxed);
            shared.space_checked_ms.store(now, Ordering::Relaxed);
        }
        match shared.space_is_short.load(Ordering::Relaxed) {
            0 => Ok(()),
            _ => Err(EngineError::Full),
        }
    }

    /// Whether new objects and changes can be written: the drive that the catalog is read from works, and
    /// as many as a write needs. A full store counts: it takes deletes.
    #[must_use]
    pub fn takes_writes(&self) -> bool {
        let least = self.pool().shape().write_quorum();
        !self.drive().log().is_quarantined() && self.pool().online().len() >= least
    }

    /// Whether the drive that the catalog is read from works.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.drive().log().is_quarantined()
    }

    fn space_is_short(&self) -> bool {
        self.pool().online().iter().any(|drive| self.is_full(drive))
    }

    /// Whether a drive has less free space than deletes, compaction and the indexes need: then no new object
    /// is taken.
    #[must_use]
    pub fn is_full(&self, drive: &Drive) -> bool {
        if drive.log().is_in_reserve() {
            return true;
        }
        // A drive that cannot say how much it has is on its way out; writes go around it.
        let Ok(space) = drive.log().space() else { return false };
        let indexes = drive.index().disk_bytes() + self.shared.catalog.index().disk_bytes();
        let least = 2 * u64::from(drive.log().segment_len()) + indexes;
        space.free_bytes < (space.total_bytes / 20).max(least)
    }

    /// Space of all drives that are online.
    ///
    /// # Errors
    ///
    /// A drive failed.
    pub fn space(&self) -> Result<LogSpace, EngineError> {
        let mut sum = LogSpace::default();
        for drive in self.pool().online() {
            let space = drive.log().space()?;
            sum.total_bytes += space.total_bytes;
            sum.free_bytes += space.free_bytes;
            sum.used_bytes += space.used_bytes;
        }
        Ok(sum)
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
        self.0.snapshot().scan(range).next().transpose()
    }
}
