//! A node: its drives opened together, and the threads that keep them.

use crate::config::ServerConfig;
use crate::keys;
use crate::known;
use crate::leaving::LeavingDrives;
use crate::left_out;
use crate::places::{self, Making, PlaceError};
use crate::repair;
use crate::secrets;
use crate::telemetry;
use crate::watch::DriveWatch;
use drystone_admin::Drives;
use drystone_base::{SystemClock, SystemRng, hex, say};
use drystone_catalog::CatalogError;
use drystone_cluster::DriveId;
use drystone_drive::{DriveError, Super};
use drystone_engine::deployment::{
    Deployment, DeploymentConfig, DeploymentStatus, OpenError, Place, Rebuild,
};
use drystone_engine::{ByteBudget, Engine, EngineError, RowProtection, Work};
use drystone_index::Index;
use drystone_keyring::Keyring;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const WRITE_AHEAD_LEN: u32 = 1 << 20;
/// Pause of the maintenance thread.
const TICK: Duration = Duration::from_millis(200);
/// Ticks between two rounds of compaction and export.
const SLOW_TICKS: u32 = 25;
/// Ticks between two looks at the room of drives: a second.
const ROOM_TICKS: u32 = 5;
/// Ticks between two notes of the clock of locks: ten minutes. What a kill takes from it counts as downtime.
const LOCK_CLOCK_TICKS: u32 = 3_000;
/// Time that a start spends on giving rows their seals before it serves.
const SEAL_AT_START: Duration = Duration::from_secs(2);

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    /// The directories are not what is needed.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The drives cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The catalog cannot be read on the drives that were given.
    #[error(
        "the catalog of the drives {paths} cannot be used: {cause}. Name all drives of the \
         deployment, or restore them from a copy; or bring together what is left: copy the drives, and run \
         `drystone rebuild --salvage` with all directories, which lists what is lost"
    )]
    Catalog { paths: String, cause: CatalogError },
    /// The keyring is not there, or not that of the drives.
    #[error(transparent)]
    Keyring(io::Error),
    /// A thread cannot be started.
    #[error("a thread cannot be started")]
    Thread(#[source] io::Error),
}

/// How a node is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenMode {
    /// To serve; empty directories become drives if none of them is one.
    Serve,
    /// To look at; empty directories are refused.
    Inspect,
    /// As [`OpenMode::Inspect`], with indexes rebuilt.
    Rebuild,
    /// As [`OpenMode::Inspect`], with the catalog made of what is left of it.
    Salvage,
}

/// A running node.
pub(crate) struct Node {
    pub(crate) engine: Engine,
    pub(crate) identity: Super,
    /// Directories of the drives that are open; the first one first.
    pub(crate) homes: Vec<PathBuf>,
    /// The keyring; `None` for a tool that does without.
    pub(crate) keyring: Option<Arc<Keyring>>,
    /// Whether the keyring knew the deployment, or none, before this start.
    pub(crate) keyring_knew: bool,
    /// Whether a tool looks at the seals of rows.
    pub(crate) checks_seals: bool,
    deployment: Arc<Deployment>,
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

fn deployment_config(
    config: &ServerConfig,
    mode: OpenMode,
    keyring: Option<Arc<Keyring>>,
) -> DeploymentConfig {
    DeploymentConfig {
        clock: Arc::new(SystemClock),
        rng: Arc::new(SystemRng),
        budget: ByteBudget::new(config.budget_bytes),
        is_paced: true,
        indexes: Arc::new(places::LsmIndexes),
        write_ahead_len: WRITE_AHEAD_LEN,
        rebuild: match mode {
            OpenMode::Serve | OpenMode::Inspect => Rebuild::Needed,
            OpenMode::Rebuild => Rebuild::Indexes,
            OpenMode::Salvage => Rebuild::Catalog,
        },
        rows: RowProtection::Sealed,
        keyring,
        accepts_lost_keyring: mode == OpenMode::Serve && config.keys.accepts_lost_keyring,
        bug: None,
    }
}

impl Node {
    /// Opens the directories and starts the threads.
    pub(crate) fn open(config: &ServerConfig, mode: OpenMode) -> Result<Self, NodeError> {
        let mut directories = config.directories.clone();
        directories.extend(known::others(&directories));
        // Where a certain drive is expected, a new deployment is not what is wanted.
        let making = Making {
            is_allowed: mode == OpenMode::Serve && config.expected_drive.is_none(),
            on_root: config.allow_root_device,
            segment_len: config.segment_len,
        };
        let (places, left_out) = places::open(&directories, making)?;
        let given: Vec<PathBuf> = places.iter().map(|place| PathBuf::from(&place.path)).collect();
        let keyring = keys::find_keyring(config, &given, mode == OpenMode::Salvage);
        let keyring = keyring.map_err(NodeError::Keyring)?;
        let deployment = Deployment::open(places, deployment_config(config, mode, keyring.clone()));
        let deployment = Arc::new(deployment.map_err(|error| {
            left_out::log_all(&left_out);
            keys::explain(config, &given, error)
        })?);
        let engine = deployment.engine.clone();
        let identity = engine.drive().identity().clone();
        let keyring_knew =
            keyring.is_none_or(|ring| !keys::is_unknown(config, &ring, &identity.deployment));
        let drives = engine.pool().drives();
        left_out::log(&left_out, &drives);
        let open = drives.iter().filter(|drive| drive.drive.is_some());
        let homes: Vec<_> = open.map(|drive| PathBuf::from(&drive.path)).collect();
        if mode == OpenMode::Serve && drives.len() > 1 {
            known::write(&homes, &drives);
        }
        let mut node = Self {
            engine,
            identity,
            homes,
            keyring: None,
            keyring_knew,
            checks_seals: true,
            deployment,
            threads: Vec::new(),
            stop: Arc::new(AtomicBool::new(false)),
        };
        if let Some(expected) = &config.expected_drive
            && !drives.iter().any(|drive| drive.info.id.to_string() == *expected)
        {
            let (found, expected) = (node.identity.drive_text(), expected.clone());
            node.close();
            return Err(OpenError::from(DriveError::WrongDrive { found, expected }).into());
        }
        if let Err(error) = node.open_keyring(config, mode) {
            node.deployment.close();
            return Err(error);
        }
        if mode != OpenMode::Salvage {
            let (deployment, stop) = (node.deployment.clone(), node.stop.clone());
            node.spawn("maintenance", move || maintain(&deployment, &stop))?;
        }
        for work in [Work::Repair, Work::Move] {
            node.engine.pace().set_rate(work, config.repair_rate);
        }
        if !node.engine.pool().is_single() && mode == OpenMode::Serve {
            let (deployment, stop) = (node.deployment.clone(), node.stop.clone());
            let rehome_after = config.rehome_after;
            node.spawn("repair", move || repair::run(&deployment, rehome_after, &stop))?;
        }
        if let Some(every) = config.scrub_every.filter(|_| mode == OpenMode::Serve) {
            node.engine.pace().set_rate(Work::Scrub, config.scrub_rate);
            let (deployment, stop) = (node.deployment.clone(), node.stop.clone());
            node.spawn("scrub", move || scrub(&deployment, every, &stop))?;
        }
        Ok(node)
    }

    /// Opens the keyring, without which rows cannot be read: before everything that reads them.
    fn open_keyring(&mut self, config: &ServerConfig, mode: OpenMode) -> Result<(), NodeError> {
        if mode != OpenMode::Serve {
            let must_write = mode == OpenMode::Salvage;
            let is_there = keys::look_for_keyring(config, &self.engine, &self.homes, must_write);
            self.checks_seals = is_there.map_err(NodeError::Keyring)?;
            return Ok(());
        }
        let keyring = keys::open_keyring(config, &self.deployment, &self.homes);
        let keyring = keyring.map_err(NodeError::Keyring)?;
        let is_sealed = keyring.has_sealed_rows(&self.identity.deployment);
        self.keyring = Some(keyring.clone());
        if !is_sealed && !self.deployment.is_read_only() {
            self.seal_rows(config, &keyring)?;
        }
        resume_lock_clock(&self.engine);
        Ok(())
    }

    /// Gives rows their seals: those of a small catalog now, others while the server works.
    fn seal_rows(
        &mut self,
        config: &ServerConfig,
        keyring: &Arc<Keyring>,
    ) -> Result<(), NodeError> {
        let began = Instant::now();
        let has_time = || began.elapsed() < SEAL_AT_START;
        let sealed = keys::seal_rows(config, (&self.engine, keyring), &self.homes, &has_time);
        if sealed.map_err(NodeError::Keyring)? {
            return Ok(());
        }
        tracing::info!("rows that have no integrity seal yet are given one in the background");
        let (engine, homes, stop) = (self.engine.clone(), self.homes.clone(), self.stop.clone());
        let (config, keyring) = (config.clone(), keyring.clone());
        self.spawn("seals", move || {
            let goes_on = || !stop.load(Ordering::Acquire);
            if let Err(error) = keys::seal_rows(&config, (&engine, &keyring), &homes, &goes_on) {
                tracing::error!(%error, "not all rows have seals; the next start goes on");
            }
        })
    }

    /// Identity of the deployment, in hexadecimal.
    pub(crate) fn deployment_text(&self) -> String {
        hex(&self.identity.deployment)
    }

    /// The drives, opened together.
    pub(crate) fn deployment(&self) -> &Arc<Deployment> {
        &self.deployment
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), NodeError> {
        let builder = std::thread::Builder::new().name(name.to_owned());
        self.threads.push(builder.spawn(work).map_err(NodeError::Thread)?);
        Ok(())
    }

    /// Ends the threads after everything that was handed in is done.
    pub(crate) fn close(self) {
        let Self { deployment, threads, stop, keyring, .. } = self;
        stop.store(true, Ordering::Release);
        threads.iter().for_each(|thread| thread.thread().unpark());
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread panicked");
            }
        }
        if keyring.is_some() {
            note_lock_clock(&deployment.engine);
        }
        deployment.close();
    }
}

/// Goes on with the clock of locks, and says so if it waits for someone to confirm the time.
fn resume_lock_clock(engine: &Engine) {
    match engine.resume_lock_clock() {
        Ok(false) => {}
        Ok(true) => tracing::error!(
            "the clock is further ahead of where it was than can be believed: locks end by the old time, and \
             writes under a default retention are refused while the two are more than a day apart; \
             check the time, then run: drystone lock confirm-clock"
        ),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "the clock of locks cannot be read");
        }
    }
    if engine.lock_clock_state().is_ahead {
        tracing::error!(
            "the clock of locks is more than a day ahead of the clock of the server: writes with a retention \
             are refused; check the time, then run: drystone lock confirm-clock"
        );
    }
    note_lock_clock(engine);
}

fn note_lock_clock(engine: &Engine) {
    if let Err(error) = engine.note_lock_clock() {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "the clock of locks could not be noted");
    }
}

/// The drives, as the administration needs them.
pub(crate) struct NodeDrives {
    pub(crate) deployment: Arc<Deployment>,
    /// Directories of the drives that were open at the start.
    pub(crate) homes: Vec<PathBuf>,
    /// Names of the secret files that each drive has a copy of.
    pub(crate) secret_files: &'static [&'static str],
    /// New drives may be on the device of the root directory where others are not.
    pub(crate) allow_root_device: bool,
}

impl NodeDrives {
    /// The drive with an id or a path, however the path is spelled now and was when the drive was named.
    fn find(&self, named: &str) -> Result<DriveId, String> {
        let found = self.deployment.find_drive(named);
        found.or_else(|error| {
            let drives = self.deployment.engine.pool().drives();
            let place = places::leads_to(Path::new(named));
            let is_it = |path: &str| places::leads_to(Path::new(path)) == place;
            let found: Vec<_> = drives.iter().filter(|drive| is_it(&drive.path)).collect();
            match found[..] {
                [drive] => Ok(drive.info.id),
                [] => Err(say(&error)),
                _ => {
                    Err(format!("{named} is the place of several drives: name the drive by its id"))
                }
            }
        })
    }

    /// Opens an empty directory that is to be a drive.
    fn open_new(&self, path: &str) -> Result<Place, String> {
        let drives = self.deployment.engine.pool().drives();
        let open = drives.iter().filter(|drive| drive.drive.is_some());
        let others: Vec<_> = open.map(|drive| PathBuf::from(&drive.path)).collect();
        let opened = places::open_new(Path::new(path), &others, self.allow_root_device);
        opened.map_err(|error| say(&error))
    }

    /// Gives a new drive the files that are to outlive any drive.
    fn move_in(&self, path: &str) {
        let mut homes = self.homes.clone();
        homes.push(PathBuf::from(path));
        for file in self.secret_files {
            secrets::spread(&homes, file);
        }
        known::write(&homes, &self.deployment.engine.pool().drives());
    }
}

impl Drives for NodeDrives {
    fn status(&self) -> Result<DeploymentStatus, String> {
        self.deployment.status().map_err(|error| say(&error))
    }

    fn is_read_only(&self) -> bool {
        self.deployment.is_read_only()
    }

    fn replace(&self, old: &str, path: &str) -> Result<String, String> {
        let id = self.find(old)?;
        let place = self.open_new(path)?;
        let new = self.deployment.replace(id, place).map_err(|error| say(&error))?;
        self.move_in(path);
        Ok(new.to_string())
    }

    fn add(&self, path: &str, zone: &str) -> Result<String, String> {
        let mut place = self.open_new(path)?;
        place.zone = zone.to_owned();
        let new = self.deployment.add_drive(place).map_err(|error| say(&error))?;
        self.move_in(path);
        Ok(new.to_string())
    }

    fn remove(&self, drive: &str) -> Result<(), String> {
        let id = self.find(drive)?;
        self.deployment.remove_drive(id).map_err(|error| say(&error))
    }

    fn drain(&self, drive: &str, cancel: bool) -> Result<(), String> {
        let id = self.find(drive)?;
        self.deployment.drain_drive(id, cancel).map_err(|error| say(&error))
    }
}

fn tend_index(name: &str, index: &dyn Index) {
    if index.wants_maintenance()
        && let Err(error) = index.maintain()
    {
        tracing::error!(index = name, reason = error.reason, "index upkeep failed");
    }
}

/// Pause between two looks whether it is time for a scrub.
const SCRUB_PAUSE: Duration = Duration::from_secs(60);

/// The body of the scrub thread.
fn scrub(deployment: &Deployment, every: Duration, stop: &AtomicBool) {
    let every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
    while !stop.load(Ordering::Acquire) && !deployment.is_read_only() {
        match deployment.engine.scrub(every_ms, &|| !stop.load(Ordering::Acquire)) {
            Ok(_) | Err(EngineError::Closed) => {}
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "a scrub ended early; it goes on later");
            }
        }
        std::thread::park_timeout(every.min(SCRUB_PAUSE));
    }
}

/// Bytes of uploads that were in progress in a crash are kept for so long before they are given back.
const STRAY_QUARANTINE_MS: u64 = 24 * 3600 * 1000;
/// Slow rounds between two floors, while something is written.
const FLOOR_ROUNDS: u32 = 12;

/// Pause before the process starts again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// The drive that the catalog is read from failed, so that outcomes are unknown, or was taken out: its index
/// is gone with it. The process starts again, as after a crash, and takes the catalog from another drive.
///
/// Drives that were added or put in since the start are named besides those of the command line.
fn start_anew(engine: &Engine) {
    use std::os::unix::process::CommandExt;
    let given: Vec<String> = std::env::args().skip(1).collect();
    // Directories of a variable are the same again; those that were added are found by their file of places.
    let is_by_variable = crate::config::setting("VOLUMES").is_ok_and(|set| set.is_some());
    let parsed = given.iter().filter_map(|text| places::parse(std::slice::from_ref(text)).ok());
    let known: Vec<_> = parsed.flatten().collect();
    let is_known = |path: &str| known.iter().any(|given| given.path == Path::new(path));
    let drives = engine.pool().drives();
    let added = drives.iter().filter(|drive| !is_by_variable && !is_known(&drive.path));
    let added = added.map(|drive| match drive.info.zone.as_str() {
        "" => drive.path.clone(),
        zone => format!("{zone}={}", drive.path),
    });
    tracing::warn!("restarting with the catalog of another drive");
    std::thread::sleep(RESTART_PAUSE);
    let mut command = std::process::Command::new("/proc/self/exe");
    // Only returns if the process could not be replaced; then the next tick tries again.
    let error = command.args(&given).args(added).exec();
    tracing::error!(%error, "the process could not restart");
}

/// The body of the maintenance thread.
fn maintain(deployment: &Deployment, stop: &AtomicBool) {
    let engine = &deployment.engine;
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
    let (mut watch, mut leaving) = (DriveWatch::default(), LeavingDrives::default());
    while !stop.load(Ordering::Acquire) {
        std::thread::park_timeout(TICK);
        watch.look(engine);
        // Before it: a drive that makes the process start again has left by then.
        let must_start_anew = deployment.must_start_anew();
        leaving.look(engine);
        if !engine.pool().is_single() && engine.drive().log().is_quarantined() {
            tracing::error!("the drive that the catalog is read from failed");
            start_anew(engine);
        }
        if must_start_anew {
            start_anew(engine);
        }
        tend_index("catalog", engine.catalog().index());
        for drive in engine.pool().online() {
            tend_index("drive", drive.index());
        }
        ticks += 1;
        if ticks.is_multiple_of(ROOM_TICKS) {
            watch.look_at_room(engine);
        }
        if ticks.is_multiple_of(SLOW_TICKS) {
            telemetry::write_suppressed();
        }
        if ticks.is_multiple_of(LOCK_CLOCK_TICKS) {
            note_lock_clock(engine);
        }
        let lsn = engine.drive().log().last_lsn();
        let is_full = || engine.pool().online().iter().any(|drive| drive.log().is_in_reserve());
        // Nothing was written: nothing can have died. But where a drive is full, its space may be back.
        if ticks.is_multiple_of(SLOW_TICKS) && (lsn != last_lsn || is_full()) {
            rounds += u32::from(lsn != last_lsn);
            if lsn != last_lsn
                && rounds.is_multiple_of(FLOOR_ROUNDS)
                && let Err(error) = engine.write_floors(&|| {})
            {
                tracing::warn!(%error, "the floor could not be written");
            }
            last_lsn = engine.drive().log().last_lsn();
            if reclaim(engine).is_break() {
                return;
            }
        }
    }
}

/// Frees what is dead. An export that fails, as on a full drive, is no reason not to: what compaction
/// frees is what the next one needs.
fn reclaim(engine: &Engine) -> ControlFlow<()> {
    if let Err(error) = engine.export_if_due(false, &|| {}) {
        let error = &error as &dyn std::error::Error;
        tracing::error!(error, "the rows of the catalog could not be exported");
    }
    match engine.compact(&|| {}) {
        Ok(report) if report.freed > 0 => tracing::debug!(?report, "segments were freed"),
        Ok(_) => {}
        Err(EngineError::Closed) => return ControlFlow::Break(()),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "compaction failed");
        }
    }
    ControlFlow::Continue(())
}
