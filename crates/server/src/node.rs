//! A node: drive, catalog and engine, with the threads that work for them.

use crate::config::ServerConfig;
use drystone_base::{Clock, Rng, SystemClock, SystemRng, hex};
use drystone_catalog::{Catalog, CatalogConfig, CatalogError};
use drystone_cluster::Pool;
use drystone_drive::{
    Drive, DriveConfig, DriveError, NewDrive, Super, format_drive, open_super, segment_len_for,
};
use drystone_engine::{ByteBudget, Engine, EngineConfig, EngineError};
use drystone_index::{Index, IndexError, LsmConfig, LsmIndex};
use drystone_io::{Disk, RealDisk};
use drystone_log::Class;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const CATALOG_INDEX: &str = "catalog-index";
const DRIVE_INDEX: &str = "drive-index";
const WRITE_AHEAD_LEN: u32 = 1 << 20;
/// Pause of the maintenance thread.
const TICK: Duration = Duration::from_millis(200);
/// Ticks between two rounds of compaction and export.
const SLOW_TICKS: u32 = 25;

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    /// Another process has the directory.
    #[error("{path} is used by another process")]
    InUse { path: String },
    /// The directory cannot be used.
    #[error("{path} cannot be used")]
    Directory {
        path: String,
        #[source]
        source: io::Error,
    },
    /// The drive cannot be used.
    #[error("the drive cannot be used")]
    Drive(#[from] DriveError),
    /// The catalog cannot be used.
    #[error("the catalog cannot be used")]
    Catalog(#[from] CatalogError),
    /// The index cannot be made.
    #[error("the index cannot be used")]
    Index(#[from] IndexError),
    /// A thread cannot be started.
    #[error("a thread cannot be started")]
    Thread(#[source] io::Error),
}

/// How a node is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenMode {
    /// To serve; an empty directory becomes a drive.
    Serve,
    /// To look at; an empty directory is refused.
    Inspect,
    /// As [`OpenMode::Inspect`], with indexes built anew.
    Rebuild,
}

/// A running node.
pub(crate) struct Node {
    pub(crate) engine: Engine,
    pub(crate) identity: Super,
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

fn open_disk(directory: &Path) -> Result<RealDisk, NodeError> {
    let path = directory.display().to_string();
    RealDisk::open(directory).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => NodeError::InUse { path },
        _ => NodeError::Directory { path, source },
    })
}

/// Reads the identity of a drive; an empty directory becomes one.
fn identify(
    disk: &RealDisk,
    mode: OpenMode,
    segment_len: Option<u32>,
    now_ms: u64,
) -> Result<Super, NodeError> {
    if let Some(identity) = open_super(disk)? {
        return Ok(identity);
    }
    let allowed = ["lost+found", "super", "root-credentials", "keyring"];
    let entries = disk.entries().map_err(DriveError::from)?;
    let found = entries.into_iter().find(|name| !allowed.contains(&name.as_str()));
    let path = disk.path().display().to_string();
    if let Some(found) = found {
        return Err(DriveError::NotADrive { path, found }.into());
    }
    if mode != OpenMode::Serve {
        let found = "nothing".to_owned();
        return Err(DriveError::NotADrive { path, found }.into());
    }
    let space = disk.space().map_err(DriveError::from)?;
    let segment_len = segment_len.unwrap_or_else(|| segment_len_for(space.total_bytes));
    format_drive(disk, &NewDrive::alone(&SystemRng, now_ms, segment_len))?;
    Ok(open_super(disk)?.expect("the drive was made just now"))
}

/// Opens an index; one that cannot be understood is thrown away, since it can be built again.
fn open_index(
    disk: &RealDisk,
    name: &str,
    config: LsmConfig,
    anew: bool,
) -> Result<Arc<dyn Index>, NodeError> {
    let path = disk.path().join(name);
    let remove = || disk.remove_subdirectory(name).map_err(DriveError::from);
    if anew {
        remove()?;
    }
    match LsmIndex::open(&path, config) {
        Ok(index) => Ok(Arc::new(index)),
        Err(error) => {
            tracing::warn!(index = name, reason = error.reason, "index is built anew");
            remove()?;
            Ok(Arc::new(LsmIndex::open(&path, config)?))
        }
    }
}

impl Node {
    /// Opens a directory and starts the threads.
    pub(crate) fn open(config: &ServerConfig, mode: OpenMode) -> Result<Self, NodeError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let rng: Arc<dyn Rng> = Arc::new(SystemRng);
        let disk = open_disk(&config.directory)?;
        let identity = identify(&disk, mode, config.segment_len, clock.now_ms())?;
        if let Some(expected) = &config.expected_drive
            && *expected != identity.drive_text()
        {
            let (found, expected) = (identity.drive_text(), expected.clone());
            return Err(DriveError::WrongDrive { found, expected }.into());
        }
        let anew = mode == OpenMode::Rebuild;
        let (small, large) = (8 << 20, 16 << 20);
        let catalog_config = LsmConfig { cache_bytes: large, memtable_bytes: large };
        let drive_config = LsmConfig { cache_bytes: small, memtable_bytes: small };
        let catalog_index = open_index(&disk, CATALOG_INDEX, catalog_config, anew)?;
        let drive_index = open_index(&disk, DRIVE_INDEX, drive_config, anew)?;
        let drive = Drive::open(
            Arc::new(disk),
            drive_index,
            DriveConfig {
                identity: identity.clone(),
                write_ahead_len: WRITE_AHEAD_LEN,
                lsn_floor: Catalog::position_in(&*catalog_index)?,
                bug: None,
            },
        )?;
        for damage in drive.log().damage() {
            tracing::error!(?damage, "a segment is damaged");
        }
        let catalog = Catalog::open(
            drive.log().clone(),
            catalog_index,
            CatalogConfig {
                clock: clock.clone(),
                rng: rng.clone(),
                rebuild: anew,
                mirrors: Default::default(),
                bug: None,
            },
        )?;
        let budget = ByteBudget::new(config.budget_bytes);
        let engine = Engine::new(catalog, Pool::single(drive), EngineConfig { clock, rng, budget });
        let (threads, stop) = (Vec::new(), Arc::new(AtomicBool::new(false)));
        let mut node = Self { engine, identity, threads, stop };
        node.start_threads()?;
        Ok(node)
    }

    /// Identity of the deployment, in hexadecimal.
    pub(crate) fn deployment(&self) -> String {
        hex(&self.identity.deployment)
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), NodeError> {
        let builder = std::thread::Builder::new().name(name.to_owned());
        self.threads.push(builder.spawn(work).map_err(NodeError::Thread)?);
        Ok(())
    }

    fn start_threads(&mut self) -> Result<(), NodeError> {
        for class in Class::ALL {
            let log = self.engine.drive().log().clone();
            self.spawn(&format!("log-{class:?}").to_lowercase(), move || log.run_writer(class))?;
        }
        let catalog = self.engine.catalog().clone();
        self.spawn("committer", move || catalog.run_committer())?;
        let (engine, stop) = (self.engine.clone(), self.stop.clone());
        self.spawn("maintenance", move || maintain(&engine, &stop))
    }

    /// Ends the threads after everything that was handed in is done.
    pub(crate) fn close(mut self) {
        self.stop.store(true, Ordering::Release);
        self.engine.catalog().close();
        let (late, early): (Vec<_>, Vec<_>) = self
            .threads
            .drain(..)
            .partition(|thread| thread.thread().name().is_some_and(|n| n.starts_with("log-")));
        let join = |threads: Vec<JoinHandle<()>>| {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread panicked");
                }
            }
        };
        join(early);
        self.engine.drive().log().close();
        join(late);
    }
}

/// Bytes of uploads that were in progress in a crash are kept for so long before they are given back.
const STRAY_QUARANTINE_MS: u64 = 24 * 3600 * 1000;
/// Slow rounds between two floors, while something is written.
const FLOOR_ROUNDS: u32 = 12;

/// The body of the maintenance thread.
fn maintain(engine: &Engine, stop: &AtomicBool) {
    match engine.quarantine_strays(STRAY_QUARANTINE_MS, &|| {}) {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "uploads that a crash cut off are kept for a day"),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "uploads that a crash cut off could not be looked for");
        }
    }
    let (mut ticks, mut rounds) = (0_u32, 0_u32);
    let mut last_lsn = engine.drive().log().last_lsn();
    while !stop.load(Ordering::Acquire) {
        std::thread::park_timeout(TICK);
        for (name, index) in
            [("catalog", engine.catalog().index()), ("drive", engine.drive().index())]
        {
            if index.wants_maintenance()
                && let Err(error) = index.maintain()
            {
                tracing::error!(index = name, reason = error.reason, "index upkeep failed");
            }
        }
        ticks += 1;
        let lsn = engine.drive().log().last_lsn();
        // Nothing was written: nothing can have died.
        if ticks.is_multiple_of(SLOW_TICKS) && lsn != last_lsn {
            rounds += 1;
            if rounds.is_multiple_of(FLOOR_ROUNDS)
                && let Err(error) = engine.write_floors(&|| {})
            {
                tracing::warn!(%error, "the floor could not be written");
            }
            last_lsn = engine.drive().log().last_lsn();
            let result = engine.export_if_due(false, &|| {}).and_then(|_| engine.compact(&|| {}));
            match result {
                Ok(report) if report.freed > 0 => tracing::debug!(?report, "segments were freed"),
                Ok(_) => {}
                Err(EngineError::Closed) => return,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "compaction failed");
                }
            }
        }
    }
}
