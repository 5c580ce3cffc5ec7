//! The whole store on a simulated disk: clients, crashes, and a record of what was acknowledged.
//!
//! Threads are real, so a seed fixes faults and requests but not every interleaving; the layers below
//! have deterministic enumerations of their own (`log`, `catalog`).

use bytes::Bytes;
use drystone_base::{Rng, SeededRng, SystemClock, SystemRng};
use drystone_catalog::{Catalog, CatalogConfig};
use drystone_cluster::Pool;
use drystone_drive::{Drive, DriveConfig, NewDrive, format_drive, open_super};
use drystone_engine::{
    ByteBudget, ChecksumAlgorithm, Conditions, Engine, EngineConfig, EngineError, ObjectDraft,
    PutRequest,
};
use drystone_index::MemIndex;
use drystone_io::{CrashKind, Disk, Fault, SimDisk};
use drystone_log::{Class, SeededBug};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

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

/// A store that survives its processes.
pub struct World {
    disk: SimDisk,
    catalog_index: Arc<MemIndex>,
    drive_index: Arc<MemIndex>,
    rng: SeededRng,
    /// What each key may hold: `None` for nothing.
    possible: BTreeMap<String, Vec<Option<Bytes>>>,
    bug: Option<SeededBug>,
    /// The device lied: what was acknowledged may be gone, but no other bytes may be served.
    lied: bool,
}

/// One life of the store.
pub struct Process {
    /// The engine.
    pub engine: Engine,
    threads: Vec<JoinHandle<()>>,
}

impl Process {
    fn end(self) {
        let Self { engine, threads } = self;
        engine.catalog().close();
        engine.drive().log().close();
        threads.into_iter().for_each(|thread| thread.join().expect("no thread panicked"));
    }
}

impl World {
    /// An empty store, perhaps with a mistake built in.
    #[must_use]
    pub fn new(seed: u64, bug: Option<SeededBug>) -> Self {
        let disk = SimDisk::new(DEVICE_LEN, seed);
        format_drive(&disk, &NewDrive::alone(&SystemRng, 1, SEGMENT_LEN))
            .expect("an empty disk is formatted");
        Self {
            disk,
            catalog_index: Arc::default(),
            drive_index: Arc::default(),
            rng: SeededRng::new(seed),
            possible: BTreeMap::new(),
            bug,
            lied: false,
        }
    }

    /// Whether the device has acknowledged a write that it did not make.
    #[must_use]
    pub fn has_lied(&self) -> bool {
        self.lied
    }

    /// Troubles the device from now until the next crash.
    pub fn trouble(&mut self, trouble: Trouble) {
        let at = self.disk.op_count() + self.rng.below(200);
        match trouble {
            Trouble::None => {}
            Trouble::Error => {
                let faults = [Fault::WriteError, Fault::SyncError, Fault::ReadError];
                self.disk.inject(at, faults[self.rng.below(3) as usize]);
            }
            Trouble::Full => {
                let space = self.disk.space().expect("the device answers");
                let used = space.total_bytes - space.free_bytes;
                let room = self.rng.below(4) * u64::from(SEGMENT_LEN);
                self.disk.set_capacity(used + room);
            }
            Trouble::Misdirected => {
                self.disk.inject(at, Fault::Misdirected);
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
        let say = |error: &dyn std::error::Error| {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            format!("{error}: {cause}")
        };
        let identity = open_super(&self.disk).map_err(|error| say(&error))?;
        let identity = identity.ok_or("the drive lost its identity")?;
        let floor = Catalog::position_in(&*self.catalog_index).map_err(|error| say(&error))?;
        let config = DriveConfig { identity, write_ahead_len: 0, lsn_floor: floor, bug: self.bug };
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let drive = Drive::open(disk, self.drive_index.clone(), config).map_err(|e| say(&e))?;
        let (clock, rng) = (Arc::new(SystemClock), Arc::new(SystemRng));
        let config = CatalogConfig {
            clock: clock.clone(),
            rng: rng.clone(),
            rebuild: false,
            mirrors: Default::default(),
            bug: None,
        };
        let log = drive.log().clone();
        let catalog = Catalog::open(log.clone(), self.catalog_index.clone(), config);
        let catalog = catalog.map_err(|error| say(&error))?;
        let mut threads = Vec::new();
        for class in Class::ALL {
            let log = log.clone();
            threads.push(std::thread::spawn(move || log.run_writer(class)));
        }
        let committing = catalog.clone();
        threads.push(std::thread::spawn(move || committing.run_committer()));
        let budget = ByteBudget::new(64 << 20);
        let engine = Engine::new(catalog, Pool::single(drive), EngineConfig { clock, rng, budget });
        if let Err(error) = engine.quarantine_strays(0, &|| {}) {
            return Err(format!("strays: {}", say(&error)));
        }
        Ok(Process { engine, threads })
    }

    /// Ends a process as a crash does.
    pub fn crash(&mut self, process: Process, kind: CrashKind) {
        process.end();
        self.disk.restart(kind);
        self.disk.set_capacity(DEVICE_LEN);
        for index in [&mut self.catalog_index, &mut self.drive_index] {
            match self.rng.below(8) {
                0 => *index = Arc::default(),
                _ => index.crash(&self.rng),
            }
        }
    }

    /// Lets clients work until the machine stops or `steps` operations each are done.
    pub fn work(&mut self, process: &Process, clients: u64, steps: u64, crash_after: Option<u64>) {
        if let Some(operations) = crash_after {
            self.disk.crash_at(self.disk.op_count() + operations);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime starts");
        let results = runtime.block_on(async {
            let engine = process.engine.clone();
            let _ = engine.create_bucket(BUCKET, "", Vec::new(), Vec::new()).await;
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

    fn keys_of(&self, client: u64) -> BTreeMap<String, Vec<Option<Bytes>>> {
        let prefix = format!("{client}/");
        let mine = self.possible.iter().filter(|(key, _)| key.starts_with(&prefix));
        mine.map(|(key, states)| (key.clone(), states.clone())).collect()
    }

    /// On a full device everything can still be read, and deleted.
    ///
    /// # Errors
    ///
    /// What does not hold, in words.
    pub fn check_full(&mut self, process: &Process) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime starts");
        for (at, (key, states)) in self.possible.iter_mut().enumerate() {
            let found = runtime.block_on(read(&process.engine, key));
            let found = found.map_err(|error| format!("{key} on a full device: {error}"))?;
            if !states.contains(&found) {
                return Err(format!("{key} shows what it cannot hold, on a full device"));
            }
            *states = vec![found];
            if at % 3 == 0 {
                let none = Conditions::default();
                let name = key.clone().into_bytes();
                let deleted =
                    runtime.block_on(process.engine.delete_object(BUCKET, name, None, none));
                deleted.map_err(|error| format!("delete of {key} on a full device: {error}"))?;
                *states = vec![None];
            }
        }
        Ok(())
    }

    /// Checks every key and every invariant; after a lie of the device only that no bytes are served
    /// that a key never held.
    ///
    /// # Errors
    ///
    /// What does not hold, in words.
    pub fn check(&mut self, process: &Process) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime starts");
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
        // Everything that is not named is given back: nothing stays that belongs to nobody.
        let left = runtime.block_on(async {
            let mut sweeper = process.engine.sweeper();
            while process.engine.sweep(&mut sweeper).await?.has_more {}
            process.engine.unnamed_blobs()
        });
        let left = left.map_err(|error| error.to_string())?;
        if left > 0 {
            return Err(format!("{left} blobs belong to nobody"));
        }
        let report = process.engine.check().map_err(|error| error.to_string())?;
        match report.problems.first() {
            None => Ok(()),
            Some(problem) => Err(format!("{problem} (of {})", report.problems.len())),
        }
    }
}

async fn sweep(engine: Engine) {
    let mut sweeper = engine.sweeper();
    loop {
        if engine.sweep(&mut sweeper).await.is_err() {
            return;
        }
        let compacting = engine.clone();
        let compacted = tokio::task::spawn_blocking(move || {
            for class in [Class::Bulk, Class::Small] {
                let _ = compacting.drive().log().rotate(class);
            }
            compacting.export_if_due(true, &|| {})?;
            compacting.compact(&|| {})
        });
        if compacted.await.expect("compaction does not panic").is_err() {
            return;
        }
    }
}

fn body(rng: &SeededRng) -> Bytes {
    let len = match rng.below(10) {
        0 => 0,
        1..4 => rng.below(1024),
        4..8 => rng.below(100_000),
        _ => 100_000 + rng.below(600_000),
    };
    let mut bytes = vec![0; len as usize];
    rng.fill(&mut bytes);
    bytes.into()
}

async fn put(engine: &Engine, key: &str, body: &Bytes) -> Result<(), EngineError> {
    let bucket = engine.find_bucket(BUCKET)?;
    let len = Some(body.len() as u64);
    let mut writer =
        engine.begin_blob(&bucket, key.as_bytes(), len, ChecksumAlgorithm::Crc32).await?;
    for piece in body.chunks(50_000) {
        writer.write(piece).await?;
    }
    let stored = writer.finish().await?;
    let (bucket, object) = (BUCKET.to_owned(), key.as_bytes().to_vec());
    let (draft, conditions) = (ObjectDraft::default(), Conditions::default());
    engine.put_object(PutRequest { bucket, object, draft, stored, conditions }).await?;
    Ok(())
}

async fn read(engine: &Engine, key: &str) -> Result<Option<Bytes>, EngineError> {
    let located = match engine.locate(BUCKET, key.as_bytes(), None) {
        Err(EngineError::ObjectNotFound { .. } | EngineError::BucketNotFound) => return Ok(None),
        located => located?,
    };
    let size = located.row.size;
    let mut reader = engine.read(located, 0..size)?;
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(Some(bytes.into()))
}

/// A client that works on keys of its own.
struct Client {
    engine: Engine,
    client: u64,
    rng: SeededRng,
    /// The device may have lied: what a key ever held stays possible.
    lied: bool,
}

impl Client {
    /// Until an operation is acknowledged, what was there and what is to come are both possible. A
    /// refusal for want of space changes nothing; after any other error the client goes home.
    async fn run(
        self,
        mut keys: BTreeMap<String, Vec<Option<Bytes>>>,
        steps: u64,
    ) -> BTreeMap<String, Vec<Option<Bytes>>> {
        for _ in 0..steps {
            let key = format!("{}/{}", self.client, self.rng.below(4));
            let states = keys.entry(key.clone()).or_insert_with(|| vec![None]);
            let (wanted, outcome) = match self.rng.below(5) {
                0 => {
                    states.push(None);
                    let none = Conditions::default();
                    let name = key.clone().into_bytes();
                    let deleted = self.engine.delete_object(BUCKET, name, None, none).await;
                    (None, deleted.map(drop))
                }
                1 => {
                    if let Ok(found) = read(&self.engine, &key).await {
                        assert!(states.contains(&found), "{key} shows what it cannot hold");
                    }
                    continue;
                }
                _ => {
                    let body = body(&self.rng);
                    states.push(Some(body.clone()));
                    let outcome = put(&self.engine, &key, &body).await;
                    (Some(body), outcome)
                }
            };
            match outcome {
                Ok(()) if self.lied => {}
                Ok(()) => *states = vec![wanted],
                Err(EngineError::Full) => drop(states.pop()),
                Err(_) => return keys,
            }
        }
        keys
    }
}
