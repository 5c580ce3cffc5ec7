//! The catalog as others use it.

use crate::committer::{Committer, Mailbox, SeededBug, erase};
use crate::error::CatalogError;
use crate::export::{self, ExportReport, Root};
use crate::key::Key;
use crate::replay::{self, ReplayReport};
use crate::tx::{Decision, Tx, View};
use bytes::Bytes;
use drystone_base::{Clock, Rng, Seq};
use drystone_index::{Index, KeyRange, Rows, Snapshot};
use drystone_log::{Class, Log, Ticket};
use std::sync::Arc;

#[cfg(not(shuttle))]
use std::sync::{Mutex, MutexGuard};

#[cfg(shuttle)]
use shuttle::sync::{Mutex, MutexGuard};

/// What a catalog is opened with.
pub struct CatalogConfig {
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: Arc<dyn Rng>,
    /// Throw the index away and build it from export and frames.
    pub rebuild: bool,
    /// For tests of tests.
    pub bug: Option<SeededBug>,
}

struct Shared {
    log: Log,
    index: Arc<dyn Index>,
    mailbox: Arc<Mailbox>,
    committer: Mutex<Committer>,
    exported: Mutex<Option<Root>>,
    replayed: ReplayReport,
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
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panicked while it held this lock")
}

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
        let exported = match index.get(Key::EXPORT)? {
            Some(bytes) => Some(Root::decode(&bytes)?),
            None => None,
        };
        let CatalogConfig { clock, rng, bug, .. } = config;
        let committer = Committer::new(log.clone(), index.clone(), clock, rng, seq, bug);
        let shared = Shared {
            log,
            index,
            mailbox: committer.mailbox(),
            committer: Mutex::new(committer),
            exported: Mutex::new(exported),
            replayed,
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
            let index = &*self.shared.index;
            let view = IndexView { index };
            let rng = drystone_base::SystemRng;
            let mut tx = Tx::new(&view, &rng, 0, Seq(0));
            (plan(&mut tx).reply)(Err(CatalogError::Closed));
        }
        ticket
    }

    /// The committed value of a row.
    ///
    /// # Errors
    ///
    /// The index failed.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, CatalogError> {
        Ok(self.shared.index.get(key)?)
    }

    /// The present moment.
    #[must_use]
    pub fn snapshot(&self) -> CatalogSnapshot {
        let index = self.shared.index.clone();
        CatalogSnapshot { snapshot: index.snapshot(), index }
    }

    /// Frames up to this lsn are not needed any more: an export holds what they say.
    #[must_use]
    pub fn frames_floor(&self) -> u64 {
        lock(&self.shared.exported).as_ref().map_or(0, |root| root.lsn)
    }

    /// Segments that hold the runs of the last export; they must not be freed.
    #[must_use]
    pub fn export_segments(&self) -> Vec<u32> {
        let exported = lock(&self.shared.exported);
        let runs = exported.iter().flat_map(|root| &root.runs);
        let mut segments: Vec<_> = runs.map(|(location, _)| location.segment).collect();
        segments.sort_unstable();
        segments.dedup();
        segments
    }

    /// Bytes of the last export.
    #[must_use]
    pub fn export_len_bytes(&self) -> u64 {
        lock(&self.shared.exported).as_ref().map_or(0, Root::len_bytes)
    }

    /// Writes an export and makes it count. Blocks; for a background thread.
    ///
    /// # Errors
    ///
    /// What index and log report; the export before stays the last one.
    pub fn export(&self, pump: &dyn Fn()) -> Result<ExportReport, CatalogError> {
        let (root, report) = export::write(&self.shared.log, &*self.shared.index, pump)?;
        let value = root.encode().to_vec();
        let ticket = self.submit(move |tx| {
            tx.put(Key::EXPORT.to_vec(), value);
            Ok(Decision::Commit(()))
        });
        pump();
        ticket.wait()?;
        *lock(&self.shared.exported) = Some(root);
        Ok(report)
    }

    /// Bytes of small segments that hold frames which no export covers, about.
    #[must_use]
    pub fn retained_frame_bytes(&self) -> u64 {
        let floor = self.frames_floor();
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

/// The committed rows.
struct IndexView<'a> {
    index: &'a dyn Index,
}

impl View for IndexView<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, CatalogError> {
        Ok(self.index.get(key)?)
    }
    fn first(&self, range: KeyRange) -> Result<Option<(Bytes, Bytes)>, CatalogError> {
        Ok(self.index.scan(&self.index.snapshot(), range).next().transpose()?)
    }
}

impl CatalogSnapshot {
    /// The rows of a range, in key order.
    #[must_use]
    pub fn scan(&self, range: KeyRange) -> Rows {
        self.index.scan(&self.snapshot, range)
    }
}
