//! The catalog as others use it.

use crate::committer::{Committer, Mailbox, SeededBug, erase};
use crate::error::CatalogError;
use crate::export::{self, ExportReport, Root};
use crate::guard::{RowAccess, RowGuard, RowProtection};
use crate::key::Key;
use crate::mirrors::{DriveKey, Mirror, MirrorConfig, Mirrors, Positions};
use crate::replay::{self, ReplayReport};
use crate::tx::{Decision, Tx, View};
use bytes::Bytes;
use drystone_base::sync::{Mutex, lock};
use drystone_base::{Clock, Rng, Seq};
use drystone_index::{Index, KeyRange, Rows, Snapshot, prefix_range};
use drystone_log::{Class, Log, Ticket};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a catalog is opened with.
pub struct CatalogConfig {
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: Arc<dyn Rng>,
    /// Throw the index away and build it from export and frames.
    pub rebuild: bool,
    /// Other drives that hold the catalog.
    pub mirrors: MirrorConfig,
    /// How rows are protected.
    pub rows: RowProtection,
    /// For tests of tests.
    pub bug: Option<SeededBug>,
}

struct Shared {
    log: Log,
    index: Arc<dyn Index>,
    mailbox: Arc<Mailbox>,
    committer: Mutex<Committer>,
    /// The last export of each drive that holds the catalog.
    exported: Mutex<BTreeMap<DriveKey, Root>>,
    positions: Positions,
    replayed: ReplayReport,
    guard: Arc<RowGuard>,
    is_read_only: bool,
}

/// Handle to the catalog. Clones share it.
#[derive(Clone)]
pub struct Catalog {
    shared: Arc<Shared>,
}

/// The rows of one moment. Holding it keeps old values, so it must not be held for long.
pub struct CatalogSnapshot {
    index: Arc<dyn Index>,
    snapshot: Snapshot,
    guard: Arc<RowGuard>,
}

/// Rows in key order. After one that is an error come those behind it.
pub type SnapshotRows =
    Box<dyn DoubleEndedIterator<Item = Result<(Bytes, Bytes), CatalogError>> + Send>;

impl Catalog {
    /// Opens the catalog of a log, replaying what the index does not have.
    ///
    /// # Errors
    ///
    /// [`CatalogError::FramesDamaged`] and [`CatalogError::FramesMissing`] if the truth is not whole;
    /// else what index and log report.
    pub fn open(
        log: Log,
        index: Arc<dyn Index>,
        config: CatalogConfig,
    ) -> Result<Self, CatalogError> {
        let replayed = if config.rebuild {
            replay::rebuild(&log, &*index)?
        } else {
            replay::replay(&log, &*index)?
        };
        let stored = index.get(Key::CLOCK)?;
        let clock = stored.and_then(|bytes| bytes[..].try_into().ok()).map(u64::from_le_bytes);
        let mut seq = Seq(clock.unwrap_or(0));
        if config.bug == Some(SeededBug::ForgetClock) {
            seq = Seq(0);
        }
        let exported = load_roots(&*index, log.drive())?;
        let CatalogConfig { clock, rng, bug, mirrors, rows, .. } = config;
        let guard = Arc::new(RowGuard::new(rows));
        let first = Mirror { drive: log.drive(), log: log.clone() };
        let is_read_only = mirrors.is_read_only;
        let mirrors = Mirrors::new(first, mirrors);
        let positions = mirrors.positions();
        let rows = (index.clone(), guard.clone());
        let mut committer = Committer::new(mirrors, rows, clock, rng, seq, bug);
        if is_read_only {
            committer.refuse_changes();
        }
        let shared = Shared {
            log,
            index,
            mailbox: committer.mailbox(),
            committer: Mutex::new(committer),
            exported: Mutex::new(exported),
            positions,
            replayed,
            guard,
            is_read_only,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// How far an index of a catalog reaches in the log.
    ///
    /// # Errors
    ///
    /// The index failed.
    pub fn position_in(index: &dyn Index) -> Result<u64, CatalogError> {
        Ok(index.position(crate::committer::SOURCE)?)
    }

    /// What opening had to do: whether the index was rebuilt, rows loaded from an export, frames
    /// applied.
    #[must_use]
    pub fn replayed(&self) -> (bool, u64, u64) {
        let report = self.shared.replayed;
        (report.rebuilt, report.exported_rows, report.frames)
    }

    /// The body of the committer's thread; returns after [`Catalog::close`].
    pub fn run_committer(&self) {
        lock(&self.shared.committer).run();
    }

    /// Lets the committer take one step on the caller's thread, for simulation. Says whether there
    /// was anything to do.
    pub fn step(&self) -> bool {
        lock(&self.shared.committer).work()
    }

    /// Refuses further plans; those handed in are still worked off.
    pub fn close(&self) {
        self.shared.mailbox.close();
    }

    /// Hands a plan to the committer. The ticket is answered when the batch of the plan is durable and
    /// applied, or has failed; dropping the ticket does not undo anything.
    ///
    /// The plan runs on the committer's thread, must not block, and may run even if the catalog
    /// then turns out not to take changes.
    pub fn submit<T: Send + 'static>(
        &self,
        plan: impl FnOnce(&mut Tx<'_>) -> Result<Decision<T>, CatalogError> + Send + 'static,
    ) -> Ticket<Result<T, CatalogError>> {
        let (ticket, give) = Ticket::new();
        if let Err(plan) = self.shared.mailbox.request(erase(plan, give)) {
            let view = IndexView { index: &*self.shared.index, guard: &self.shared.guard };
            let rng = drystone_base::SystemRng;
            let mut tx = Tx::new(&view, &rng, 0, Seq(0));
            (plan(&mut tx).reply)(Err(CatalogError::Closed));
        }
        ticket
    }

    /// Whether it was opened to be read only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.shared.is_read_only
    }

    /// The committed value of a row.
    ///
    /// # Errors
    ///
    /// The index failed; [`CatalogError::Forged`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, CatalogError> {
        IndexView { index: &*self.shared.index, guard: &self.shared.guard }.get(key)
    }

    /// Lets rows that have seals be read and written.
    pub fn unlock(&self, access: RowAccess) {
        self.shared.guard.unlock(access);
    }

    /// The value of a row in a frame of the log, with or without a seal: frames are kept for longer than
    /// their rows. For looking at what was once named, never for serving it.
    #[must_use]
    pub fn value_of_frame(&self, key: &[u8], stored: &Bytes) -> Bytes {
        self.shared.guard.once_stored(key, stored)
    }

    pub(crate) fn guard(&self) -> &RowGuard {
        &self.shared.guard
    }

    /// The present moment.
    #[must_use]
    pub fn snapshot(&self) -> CatalogSnapshot {
        let index = self.shared.index.clone();
        CatalogSnapshot { snapshot: index.snapshot(), index, guard: self.shared.guard.clone() }
    }

    /// Frames up to this lsn of a drive are not needed any more: an export holds what they say, or the
    /// drive does not hold the catalog.
    #[must_use]
    pub fn frames_floor(&self, drive: [u8; 16]) -> u64 {
        if !lock(&self.shared.positions).contains_key(&drive) {
            return u64::MAX;
        }
        lock(&self.shared.exported).get(&drive).map_or(0, |root| root.lsn)
    }

    /// Segments of a drive that hold the runs of its last export; they must not be freed.
    #[must_use]
    pub fn export_segments(&self, drive: [u8; 16]) -> Vec<u32> {
        let exported = lock(&self.shared.exported);
        let runs = exported.get(&drive).into_iter().flat_map(|root| &root.runs);
        let mut segments: Vec<_> = runs.map(|(location, _)| location.segment).collect();
        segments.sort_unstable();
        segments.dedup();
        segments
    }

    /// Bytes of the last export.
    #[must_use]
    pub fn export_len_bytes(&self) -> u64 {
        lock(&self.shared.exported).get(&self.shared.log.drive()).map_or(0, Root::len_bytes)
    }

    /// Writes an export on every drive that holds the catalog, and makes it count. Blocks; for a
    /// background thread. The report is that of the first drive.
    ///
    /// # Errors
    ///
    /// What index and logs report; the exports before stay the last ones where it fails.
    pub fn export(&self, pump: &dyn Fn()) -> Result<ExportReport, CatalogError> {
        let mut first = None;
        for mirror in self.with_mirrors(pump, |mirrors| mirrors.live())? {
            let report = self.export_to(&mirror, None, pump);
            match first {
                None => first = Some(report?),
                // A mirror that fails leaves the view at the next commit.
                Some(_) => drop(report),
            }
        }
        first.ok_or(CatalogError::Closed)
    }

    /// `after_lsn`: the lsn of the mirror from which on it has all frames; where it is one already, how
    /// far the index is.
    fn export_to(
        &self,
        mirror: &Mirror,
        after_lsn: Option<u64>,
        pump: &dyn Fn(),
    ) -> Result<ExportReport, CatalogError> {
        // The position is read first: the snapshot may hold more, and a frame applied twice is harmless.
        let position = || lock(&self.shared.positions).get(&mirror.drive).copied();
        let lsn = match after_lsn {
            Some(lsn) => lsn,
            None if mirror.drive == self.shared.log.drive() => Self::position_in(self.index())?,
            None => position().ok_or(CatalogError::Closed)?,
        };
        let (root, report) = export::write(&mirror.log, &*self.shared.index, lsn, pump)?;
        let (key, value) = (Key::export_of(mirror.drive), root.encode().to_vec());
        let ticket = self.submit(move |tx| {
            tx.use_reserve();
            tx.put(key, value);
            Ok(Decision::Commit(()))
        });
        pump();
        ticket.wait()?;
        lock(&self.shared.exported).insert(mirror.drive, root);
        Ok(report)
    }

    /// Does something to the mirrors while no batch is on its way.
    fn with_mirrors<T: Send + 'static>(
        &self,
        pump: &dyn Fn(),
        work: impl FnOnce(&mut Mirrors) -> T + Send + 'static,
    ) -> Result<T, CatalogError> {
        let (ticket, give) = Ticket::new();
        if !self.shared.mailbox.control(Box::new(move |mirrors| give(work(mirrors)))) {
            return Err(CatalogError::Closed);
        }
        pump();
        Ok(ticket.wait())
    }

    /// Drives that hold the catalog, the one that the index follows first. Blocks.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Closed`].
    pub fn view(&self, pump: &dyn Fn()) -> Result<Vec<[u8; 16]>, CatalogError> {
        self.with_view(pump, |view| view)
    }

    /// Runs something while the view stays what it is: no drive joins or leaves before it ends. `work` is
    /// given the view, the drive that the index follows first, and must be short: commits wait for it.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Closed`].
    pub fn with_view<T: Send + 'static>(
        &self,
        pump: &dyn Fn(),
        work: impl FnOnce(Vec<[u8; 16]>) -> T + Send + 'static,
    ) -> Result<T, CatalogError> {
        self.with_mirrors(pump, |mirrors| {
            work(mirrors.live().iter().map(|mirror| mirror.drive).collect())
        })
    }

    /// Takes a drive out of those that hold the catalog; not the one that the index follows. Says whether
    /// that could be recorded. Blocks.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Closed`].
    pub fn leave(&self, drive: [u8; 16], pump: &dyn Fn()) -> Result<bool, CatalogError> {
        self.with_mirrors(pump, move |mirrors| mirrors.leave(drive))
    }

    /// Makes a drive one of those that hold the catalog: it gets all frames from now on and an export
    /// of everything before, and then counts. What it has of the catalog from an earlier time does not
    /// count any more; an index of it must have been thrown away. Blocks; for a background thread.
    ///
    /// # Errors
    ///
    /// What index and logs report; [`CatalogError::Closed`] if the drive failed meanwhile, or the
    /// change of the view could not be recorded.
    pub fn join(&self, mirror: Mirror, pump: &dyn Fn()) -> Result<(), CatalogError> {
        let learner = mirror.clone();
        let lsn = self.with_mirrors(pump, move |mirrors| {
            let lsn = learner.log.last_lsn();
            mirrors.learn(learner);
            lsn
        })?;
        let drive = mirror.drive;
        lock(&self.shared.positions).insert(drive, lsn);
        let exported = self.export_to(&mirror, Some(lsn), pump);
        let promoted = exported.is_ok() && self.with_mirrors(pump, move |m| m.promote(drive))?;
        if !promoted {
            lock(&self.shared.positions).remove(&drive);
            return exported.and(Err(CatalogError::Closed));
        }
        Ok(())
    }

    /// Bytes of small segments that hold frames which no export covers, about.
    #[must_use]
    pub fn retained_frame_bytes(&self) -> u64 {
        let floor = self.frames_floor(self.shared.log.drive());
        let len = u64::from(self.shared.log.segment_len());
        let small = self.shared.log.segments().into_iter();
        small.filter(|s| s.class == Class::Small && s.last_lsn > floor).count() as u64 * len
    }

    /// The index, for maintenance.
    #[must_use]
    pub fn index(&self) -> &dyn Index {
        &*self.shared.index
    }
}

/// The last exports that are recorded.
fn load_roots(
    index: &dyn Index,
    first: DriveKey,
) -> Result<BTreeMap<DriveKey, Root>, CatalogError> {
    let mut roots = BTreeMap::new();
    // As it was recorded before there could be several drives.
    if let Some(bytes) = index.get(Key::EXPORT)? {
        roots.insert(first, Root::decode(&bytes)?);
    }
    let prefix = Key::export_of([0; 16])[..2].to_vec();
    for row in index.scan(&index.snapshot(), prefix_range(&prefix)) {
        let (key, value) = row?;
        if let Ok(drive) = key[2..].try_into() {
            roots.insert(drive, Root::decode(&value)?);
        }
    }
    Ok(roots)
}

/// The committed rows.
pub(crate) struct IndexView<'a> {
    pub(crate) index: &'a dyn Index,
    pub(crate) guard: &'a RowGuard,
}

impl View for IndexView<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, CatalogError> {
        let stored = self.index.get(key)?;
        stored.map(|stored| self.guard.value(key, stored)).transpose()
    }
    fn first(&self, range: KeyRange) -> Result<Option<(Bytes, Bytes)>, CatalogError> {
        let row = self.index.scan(&self.index.snapshot(), range).next().transpose()?;
        row.map(|(key, stored)| Ok((key.clone(), self.guard.value(&key, stored)?))).transpose()
    }
}

impl CatalogSnapshot {
    /// The rows of a range, in key order.
    #[must_use]
    pub fn scan(&self, range: KeyRange) -> SnapshotRows {
        let guard = self.guard.clone();
        Box::new(self.index.scan(&self.snapshot, range).map(move |row| {
            let (key, stored) = row?;
            let value = guard.value(&key, stored)?;
            Ok((key, value))
        }))
    }

    /// As [`CatalogSnapshot::scan`], with values as they are stored.
    pub(crate) fn scan_stored(&self, range: KeyRange) -> Rows {
        self.index.scan(&self.snapshot, range)
    }
}
