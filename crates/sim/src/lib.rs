//! The whole store on a simulated disk: clients, crashes, and a record of what was acknowledged.
//!
//! Threads are real, so a seed fixes faults and requests but not every interleaving; the layers below
//! have deterministic enumerations of their own (`log`, `catalog`).

mod client;
mod drives;
mod full;
mod slow;
mod store;

use bytes::Bytes;
use client::{Client, Possible, read};
use drives::{SimDrive, SimIndexes};
use drystone_base::{Clock, Rng, SeededRng, SystemClock, SystemRng, say};
use drystone_cluster::{Protection, Shape};
use drystone_engine::deployment::{Deployment, DeploymentConfig, Place, Rebuild, new_deployment};
use drystone_engine::{AuditScope, ByteBudget, Engine, EngineError, RowProtection};
use drystone_io::{CrashKind, Disk, Fault};
use drystone_log::{Class, SeededBug};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use slow::SlowDisk;
pub use store::Store;

const BUCKET: &str = "bucket";
const SEGMENT_LEN: u32 = 1 << 20;
const DEVICE_LEN: u64 = 512 << 20;

/// What is wrong with the device while a process works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// One write, flush or read fails.
    Error,
    /// There is room for a few more segments only.
    Full,
    /// One write succeeds, but lands somewhere else.
    Misdirected,
}

/// The time of day, which a test can put forward.
#[derive(Default)]
struct ShiftedClock(AtomicU64);

impl Clock for ShiftedClock {
    fn now_ms(&self) -> u64 {
        SystemClock.now_ms() + self.0.load(Ordering::Relaxed)
    }
}

/// A store that survives its processes.
pub struct World {
    drives: Vec<SimDrive>,
    rng: SeededRng,
    /// What each key may hold: `None` for nothing.
    possible: Possible,
    bug: Option<SeededBug>,
    /// The device lied: what was acknowledged may be gone, but no other bytes may be served.
    lied: bool,
    /// Bits were flipped.
    has_rotted: bool,
    clock: Arc<ShiftedClock>,
    /// Number of drives that there were at first.
    least_count: usize,
}

/// One life of the store.
pub struct Process {
    /// The engine.
    pub engine: Engine,
    /// The drives, opened together.
    pub deployment: Deployment,
    indexes: Arc<SimIndexes>,
}

impl World {
    /// An empty store on one drive, perhaps with a mistake built in.
    #[must_use]
    pub fn new(seed: u64, bug: Option<SeededBug>) -> Self {
        Self::with_drives(seed, bug, 1)
    }

    /// An empty store on some drives.
    #[must_use]
    pub fn with_drives(seed: u64, bug: Option<SeededBug>, count: u64) -> Self {
        let drives = (0..count).map(|number| SimDrive::new(seed * 64 + number)).collect();
        let rng = SeededRng::new(seed);
        let world = Self {
            drives,
            rng,
            possible: BTreeMap::new(),
            bug,
            lied: false,
            has_rotted: false,
            clock: Arc::default(),
            least_count: count as usize,
        };
        let places = world.places();
        new_deployment(&places, &SystemRng, 1, &|_| SEGMENT_LEN)
            .expect("empty disks are formatted");
        world
    }

    fn places(&self) -> Vec<Place> {
        let there =
            self.drives.iter().enumerate().filter(|(_, drive)| !drive.is_out && !drive.is_gone);
        there.map(|(number, drive)| Self::place(number, drive)).collect()
    }

    fn place(number: usize, drive: &SimDrive) -> Place {
        let (zone, node) = (String::new(), String::new());
        Place { path: number.to_string(), disk: Arc::new(drive.disk.clone()), zone, node }
    }

    /// Drives that may be lost without losing anything.
    #[must_use]
    pub fn parity(&self) -> u64 {
        let count = self.drives.iter().filter(|drive| !drive.is_gone).count();
        // What was written with fewer drives keeps the code that it had.
        let count = count.min(self.least_count);
        Shape::for_drives(count, 1, Protection::Standard).parity.into()
    }

    /// Whether the device has acknowledged a write that it did not make.
    #[must_use]
    pub fn has_lied(&self) -> bool {
        self.lied
    }

    /// Troubles a device from now until the next crash.
    pub fn trouble(&mut self, trouble: Trouble) {
        let any = self.rng.below(self.drives.len() as u64) as usize;
        let disk = &self.drives[any].disk;
        let at = disk.op_count() + self.rng.below(200);
        match trouble {
            Trouble::None => {}
            Trouble::Error => {
                let faults = [Fault::WriteError, Fault::SyncError, Fault::ReadError];
                disk.inject(at, faults[self.rng.below(3) as usize]);
            }
            Trouble::Full => {
                let space = disk.space().expect("the device answers");
                let used = space.total_bytes - space.free_bytes;
                let room = self.rng.below(4) * u64::from(SEGMENT_LEN);
                disk.set_capacity(used + room);
            }
            Trouble::Misdirected => {
                disk.inject(at, Fault::Misdirected);
                self.lied = true;
            }
        }
    }

    /// Starts a process.
    ///
    /// # Errors
    ///
    /// What stops the start, in words.
    pub fn open(&self) -> Result<Process, String> {
        let indexes = Arc::new(SimIndexes::default());
        for (number, drive) in self.drives.iter().enumerate() {
            let mut all = indexes.lock();
            all.insert((number.to_string(), true), drive.catalog_index.clone());
            all.insert((number.to_string(), false), drive.drive_index.clone());
        }
        let config = DeploymentConfig {
            clock: self.clock.clone(),
            rng: Arc::new(SystemRng),
            budget: ByteBudget::new(64 << 20),
            is_paced: false,
            indexes: indexes.clone(),
            write_ahead_len: 0,
            rebuild: Rebuild::Needed,
            rows: RowProtection::None,
            keyring: None,
            accepts_lost_keyring: false,
            bug: self.bug,
        };
        let deployment = Deployment::open(self.places(), config).map_err(|error| say(&error))?;
        let engine = deployment.engine.clone();
        let process = Process { engine, deployment, indexes };
        if !process.deployment.is_read_only()
            && !self.has_rotted
            && let Err(error) = process.engine.quarantine_strays(0, &|| {})
        {
            return Err(format!("strays: {}", say(&error)));
        }
        Ok(process)
    }

    /// Lets the process repair what it can, and the catalog find drives that hold it.
    ///
    /// # Errors
    ///
    /// What fails, in words.
    pub fn repair(&self, process: &Process) -> Result<u64, String> {
        while process.deployment.recruit().map_err(|error| say(&error))? {}
        self.move_all(process)?;
        let report = process.engine.repair().map_err(|error| say(&error))?;
        // What no one has read since it rotted is found by reading everything.
        let scope = AuditScope { reads: true, repairs: true, ..AuditScope::default() };
        let audit = process.engine.audit(&scope, &|_| true).map_err(|error| say(&error))?;
        Ok(report.left + audit.missing + audit.damaged - audit.repaired)
    }

    /// Moves what is to be moved, with a sweep whenever that is waited for.
    pub(crate) fn move_all(&self, process: &Process) -> Result<(), String> {
        for _ in 0..100 {
            let moved = process.deployment.rebalance(&|_| true).map_err(|error| say(&error))?;
            if !moved.is_some_and(|report| report.waits) {
                return Ok(());
            }
            // What waited for a missing drive is due again.
            self.clock.0.fetch_add(61_000, Ordering::Relaxed);
            let swept = runtime().block_on(async {
                let mut sweeper = process.engine.sweeper();
                while process.engine.sweep(&mut sweeper).await?.has_more {}
                Ok::<_, EngineError>(())
            });
            swept.map_err(|error| say(&error))?;
        }
        Err("what was given another code is never swept".to_owned())
    }

    /// Lets every drive be scrubbed: after that nothing is damaged, where drives can be lost.
    ///
    /// # Errors
    ///
    /// What fails, or is still damaged, in words.
    pub fn scrub(&self, process: &Process) -> Result<(), String> {
        process.engine.scrub(0, &|| true).map_err(|error| say(&error))?;
        let scope = AuditScope { reads: true, ..AuditScope::default() };
        let audit = process.engine.audit(&scope, &|_| true).map_err(|error| say(&error))?;
        match audit.damaged {
            0 => Ok(()),
            count => Err(format!("{count} shards are damaged after a scrub: {audit:?}")),
        }
    }

    /// Ends a process as a crash does.
    pub fn crash(&mut self, process: Process, kind: CrashKind) {
        self.forget_removed(&process);
        let Process { engine, deployment, indexes } = process;
        drop(engine);
        deployment.close();
        for (number, drive) in self.drives.iter_mut().enumerate() {
            let mut kept = indexes.lock();
            let mut take = |of_catalog| kept.remove(&(number.to_string(), of_catalog));
            drive.catalog_index = take(true).unwrap_or_default();
            drive.drive_index = take(false).unwrap_or_default();
            drive.disk.restart(kind);
            drive.disk.set_capacity(DEVICE_LEN);
            for index in [&mut drive.catalog_index, &mut drive.drive_index] {
                match self.rng.below(8) {
                    0 => *index = Arc::default(),
                    _ => index.crash(&self.rng),
                }
            }
        }
    }

    /// Lets clients work until the machine stops or `steps` operations each are done.
    pub fn work(&mut self, process: &Process, clients: u64, steps: u64, crash_after: Option<u64>) {
        for drive in &self.drives {
            if let Some(operations) = crash_after {
                let operations = 1 + self.rng.below(2 * operations);
                drive.disk.crash_at(drive.disk.op_count() + operations);
            }
        }
        let runtime = runtime();
        let results = runtime.block_on(async {
            let engine = process.engine.clone();
            let _ = engine.create_bucket(BUCKET, "", Vec::new(), Vec::new(), None, false).await;
            let _ = engine.set_appends(BUCKET, true, || true).await;
            let sweeping = tokio::spawn(sweep(engine.clone()));
            let tasks: Vec<_> = (0..clients)
                .map(|client| {
                    let rng = SeededRng::new(self.rng.u64());
                    let mine = self.keys_of(client);
                    let client = Client { engine: engine.clone(), client, rng, lied: self.lied };
                    tokio::spawn(client.run(mine, steps))
                })
                .collect();
            let mut results = Vec::new();
            for task in tasks {
                results.extend(task.await.expect("no client panicked"));
            }
            sweeping.abort();
            results
        });
        self.possible.extend(results);
    }

    fn keys_of(&self, client: u64) -> Possible {
        let prefix = format!("{client}/");
        let mine = self.possible.iter().filter(|(key, _)| key.starts_with(&prefix));
        mine.map(|(key, states)| (key.clone(), states.clone())).collect()
    }

    /// Checks every key and every invariant; after a lie of the device only that no bytes are served
    /// that a key never held.
    ///
    /// # Errors
    ///
    /// What does not hold, in words.
    pub fn check(&mut self, process: &Process) -> Result<(), String> {
        let runtime = runtime();
        for (key, states) in &mut self.possible {
            let found = match runtime.block_on(read(&process.engine, key)) {
                Ok(found) => found,
                Err(_) if self.lied => continue,
                Err(error) => {
                    let cause = std::error::Error::source(&error);
                    return Err(format!("{key} cannot be read: {error} {cause:?}"));
                }
            };
            if !states.contains(&found) {
                let lens: Vec<_> = states.iter().map(|s| s.as_ref().map(Bytes::len)).collect();
                let len = found.map(|bytes| bytes.len());
                return Err(format!("{key} holds {len:?} bytes, possible are {lens:?}"));
            }
            if !self.lied {
                *states = vec![found];
            }
        }
        if self.lied {
            return Ok(());
        }
        // Everything that is not named is given back: nothing stays that belongs to no one.
        let left = runtime.block_on(async {
            let mut sweeper = process.engine.sweeper();
            while process.engine.sweep(&mut sweeper).await?.has_more {}
            process.engine.unnamed_blobs()
        });
        let left = left.map_err(|error| say(&error))?;
        // Where something is missing or damaged, nothing is concluded from what is not there.
        let pool = process.engine.pool();
        let is_whole = pool.is_whole()
            && !self.has_rotted
            && pool.online().iter().all(|drive| drive.log().damage().is_empty());
        if !left.is_empty() && is_whole {
            let (count, blob) = (left.len(), left[0]);
            let on: Vec<String> = pool
                .drives()
                .iter()
                .filter_map(|member| {
                    let drive = member.drive.as_ref()?;
                    let has = drive.all_blobs().ok()?.contains(&blob);
                    let floor = drive.floor().ok()?;
                    has.then(|| {
                        format!("{} (floor {floor}, lsn {})", member.path, drive.log().last_lsn())
                    })
                })
                .collect();
            let (epoch, now) = (blob.epoch(), pool.epoch());
            return Err(format!(
                "{count} blobs belong to nobody: {blob} of epoch {epoch} (now {now}) on {on:?}"
            ));
        }
        let report = process.engine.check().map_err(|error| say(&error))?;
        match report.problems.first() {
            None => Ok(()),
            Some(problem) => Err(format!("{problem} (of {})", report.problems.len())),
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime starts")
}

async fn sweep(engine: Engine) {
    let mut sweeper = engine.sweeper();
    loop {
        if engine.sweep(&mut sweeper).await.is_err() {
            return;
        }
        let compacting = engine.clone();
        let compacted = tokio::task::spawn_blocking(move || {
            for drive in compacting.pool().online() {
                for class in [Class::Bulk, Class::Small] {
                    let _ = drive.log().rotate(class);
                }
            }
            compacting.export_if_due(true, &|| {})?;
            compacting.compact(&|| {})
        });
        if compacted.await.expect("compaction does not panic").is_err() {
            return;
        }
    }
}
