//! A deployment: its drives opened together, with the threads that work for them.
//!
//! Opening reads what each drive says about itself, plans the start (`cluster::plan_start`), raises the
//! term on every drive, opens logs and indexes, brings the drives that hold the catalog to the same frame,
//! and opens the catalog on the one that is furthest. A drive that fails on the way counts as missing.

mod keeper;
mod member;
mod progress;
mod rebalance;
mod replace;
mod roster;
mod salvage;
mod stalled;
mod status;
mod trust;

pub use drystone_catalog::SalvageReport;
pub use keeper::new_deployment;
pub use member::{IndexKind, Indexes, OpenError, Place};
pub use progress::Progress;
pub use rebalance::MoveReport;
pub use stalled::{DriveWork, Obstacle, Stalled};
pub use status::{ClassStatus, DeploymentStatus, DriveState, DriveStatus};

use crate::budget::ByteBudget;
use crate::engine::{Engine, EngineConfig};
use crate::pace::Pace;
use drystone_base::sync::thread::{Builder, JoinHandle};
use drystone_base::sync::{Mutex, lock};
use drystone_base::{Clock, DecodeError, Rng};
use drystone_catalog::{
    Catalog, CatalogConfig, CatalogError, Decision, Family, Key, Mirror, MirrorConfig,
    RowProtection, catch_up,
};
use drystone_cluster::{
    DriveId, DriveInfo, Group, Moving, Pool, PoolDrive, Protection, Shape, Start, plan_groups,
};
use drystone_drive::Drive;
use drystone_index::KeyRange;
use drystone_keyring::{DriveKeys, Keyring};
use drystone_log::Class;
use keeper::{Keeper, SealedDrives};
use member::{Member, Opened};
use stalled::StalledWork;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What a deployment is opened with.
pub struct DeploymentConfig {
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: Arc<dyn Rng>,
    /// Bytes of bodies held in memory at most.
    pub budget: ByteBudget,
    /// Whether work in the background yields to clients.
    pub is_paced: bool,
    /// Where indexes are.
    pub indexes: Arc<dyn Indexes>,
    /// Bytes of zeros that a small segment is written ahead, the first time.
    pub write_ahead_len: u32,
    /// What is rebuilt.
    pub rebuild: Rebuild,
    /// How rows are protected.
    pub rows: RowProtection,
    /// What drives are sealed under; `None` where there is none yet, and for simulations and tools that do
    /// without: those change nothing of drives that have seals.
    pub keyring: Option<Arc<Keyring>>,
    /// Start although the keyring is not there, or not the one that drives are sealed under.
    pub accepts_lost_keyring: bool,
    /// For tests of tests.
    pub bug: Option<drystone_log::SeededBug>,
}

/// What an opening rebuilds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebuild {
    /// What cannot be brought up to date.
    Needed,
    /// All indexes, from the truth.
    Indexes,
    /// The catalog, from whatever is left of it anywhere.
    Catalog,
}

/// An open deployment.
pub struct Deployment {
    /// The engine.
    pub engine: Engine,
    keeper: Arc<Keeper>,
    config: DeploymentConfig,
    writers: Mutex<Vec<JoinHandle<()>>>,
    /// Every drive that was opened, also those that are not in the deployment any more.
    opened: Mutex<Vec<Drive>>,
    committer: Mutex<Option<JoinHandle<()>>>,
    is_read_only: bool,
    is_moving_out: AtomicBool,
    /// Held while drives and groups are changed, or a plan is made of them: one at a time. Never while
    /// bytes are moved.
    changes: Mutex<()>,
    /// Progress of the move that runs.
    moving: Mutex<Option<MoveReport>>,
    /// Of the work over everything that runs, which is one at a time.
    progress: Mutex<Option<Progress>>,
    /// Work that does not get on.
    stalled: Mutex<StalledWork>,
    salvaged: Option<SalvageReport>,
    /// Where drives are that are not trusted, and what they say they are.
    refused: Vec<(String, DriveId)>,
}

/// Starts the threads that write a drive's log.
fn start_writers(drive: &Drive) -> Result<Vec<JoinHandle<()>>, OpenError> {
    let mut threads = Vec::new();
    for class in Class::ALL {
        let log = drive.log().clone();
        let builder = Builder::new().name(format!("log-{class:?}").to_lowercase());
        threads.push(builder.spawn(move || log.run_writer(class)).map_err(OpenError::Thread)?);
    }
    Ok(threads)
}

impl Deployment {
    /// Opens the drives at some places. None of them is made a drive here.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(places: Vec<Place>, config: DeploymentConfig) -> Result<Self, OpenError> {
        // Drives whose copy of the catalog does not verify.
        let mut distrusted = Vec::new();
        loop {
            let opened = member::open_all(places.clone(), &distrusted, &config)?;
            let Opened { start, members, refused, keys } = opened;
            let mut writers = Vec::new();
            for member in &members {
                writers.extend(start_writers(&member.drive)?);
            }
            if config.rebuild == Rebuild::Catalog {
                let opened = Opened { start, members, refused, keys };
                return Self::open_salvaged(opened, writers, config);
            }
            let first = choose_first(&start, &members)?;
            let catalog = open_catalog(&start, &members, first, (&config, keys));
            let culprit = catalog.as_ref().err().and_then(|error| culprit(error, &members[first]));
            let (keeper, catalog) = match (catalog, culprit.filter(|_| start.view.len() > 1)) {
                (Err(error), Some(drive)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(%drive, error, "a drive does not hold the catalog any more");
                    distrusted.push(drive);
                    members.iter().for_each(|member| member.drive.log().close());
                    writers.into_iter().for_each(|writer| drop(writer.join()));
                    continue;
                }
                (opened, _) => opened?,
            };
            let opened = (keeper, catalog, writers);
            let deployment = Self::assemble(&start, &members, first, opened, (Vec::new(), config))?;
            return Ok(Self { refused, ..deployment });
        }
    }

    /// What was left of the catalog, if it was rebuilt from that.
    #[must_use]
    pub fn salvaged(&self) -> Option<SalvageReport> {
        self.salvaged
    }

    fn assemble(
        start: &Start,
        members: &[Member],
        first: usize,
        (keeper, catalog, writers): (Arc<Keeper>, Catalog, Vec<JoinHandle<()>>),
        (groups, config): (Vec<Group>, DeploymentConfig),
    ) -> Result<Self, OpenError> {
        let committer = {
            let catalog = catalog.clone();
            let builder = Builder::new().name("committer".to_owned());
            builder.spawn(move || catalog.run_committer()).map_err(OpenError::Thread)?
        };
        let first = &members[first];
        let pool = match start.roster.len() {
            1 => Pool::single(first.drive.clone(), first.place.path.clone()),
            _ => open_pool(&catalog, start, members, &first.drive, groups)?,
        };
        let engine_config = EngineConfig {
            clock: config.clock.clone(),
            rng: config.rng.clone(),
            budget: config.budget.clone(),
            pace: if config.is_paced { Pace::default() } else { Pace::off() },
        };
        let engine = Engine::new(catalog, pool, engine_config);
        let is_read_only = start.is_read_only;
        let (writers, committer) = (Mutex::new(writers), Mutex::new(Some(committer)));
        let is_moving_out = AtomicBool::new(false);
        Ok(Self {
            engine,
            keeper,
            config,
            writers,
            opened: Mutex::new(members.iter().map(|member| member.drive.clone()).collect()),
            committer,
            is_read_only,
            is_moving_out,
            changes: Mutex::default(),
            moving: Mutex::default(),
            progress: Mutex::default(),
            stalled: Mutex::default(),
            salvaged: None,
            refused: Vec::new(),
        })
    }

    /// Gives the drives seals, and lets them say that rows have seals, so that no earlier binary opens them.
    /// Before the first row gets one. Says whether every drive of the deployment has one.
    ///
    /// # Errors
    ///
    /// [`OpenError::Refused`] if too few drives could be told.
    pub fn note_seals(&self, keyring: &Keyring) -> Result<bool, OpenError> {
        match self.keeper.note_seals(keyring) {
            SealedDrives::TooFew => {
                Err(OpenError::Refused("too few drives could be told".to_owned()))
            }
            SealedDrives::Most => Ok(false),
            SealedDrives::All => Ok(true),
        }
    }

    /// Whether a drive that is not open was found and is not trusted. By its place too, because what it says
    /// it is may not be true.
    #[must_use]
    pub fn is_refused(&self, member: &PoolDrive) -> bool {
        let is_it = |(path, id): &(String, DriveId)| *path == member.path || *id == member.info.id;
        member.drive.is_none() && self.refused.iter().any(is_it)
    }

    /// Nothing can be changed: too few drives are there.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// Makes another drive hold the catalog, if one that did is gone. Says whether it did. Blocks.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn recruit(&self) -> Result<bool, OpenError> {
        let pool = self.engine.pool();
        let drives = pool.drives();
        if drives.len() < 2 || self.is_read_only {
            return Ok(false);
        }
        let view = self.engine.catalog().view(&|| {})?;
        if view.len() >= view_len(drives.len(), pool.shape()) {
            return Ok(false);
        }
        let draining = self.draining()?;
        let is_free = |member: &&PoolDrive| {
            let id = member.info.id;
            !view.contains(&id.0) && pool.get(id).is_some() && !draining.contains(&id)
        };
        let Some(member) = drives.iter().find(is_free) else { return Ok(false) };
        self.join_view(member)?;
        Ok(true)
    }

    /// Makes a drive hold the catalog.
    fn join_view(&self, member: &PoolDrive) -> Result<(), OpenError> {
        let drive = self.engine.pool().get(member.info.id).ok_or(CatalogError::Closed)?;
        // What it knows of the catalog is from another time.
        self.config.indexes.discard(&member.path, IndexKind::Catalog)?;
        let mirror = Mirror { drive: member.info.id.0, log: drive.log().clone() };
        self.engine.catalog().join(mirror, &|| {})?;
        tracing::info!(drive = %member.info.id, path = member.path, "the drive holds the catalog now");
        Ok(())
    }

    /// Ends the threads after everything that was handed in is done.
    pub fn close(&self) {
        self.engine.catalog().close();
        let join = |thread: JoinHandle<()>| {
            if thread.join().is_err() {
                tracing::error!("a thread panicked");
            }
        };
        let committer = lock(&self.committer).take();
        committer.into_iter().for_each(join);
        let opened = lock(&self.opened).clone();
        opened.iter().for_each(|drive| drive.log().close());
        let writers = std::mem::take(&mut *lock(&self.writers));
        writers.into_iter().for_each(join);
    }
}

/// The drive whose copy of the catalog is what is wrong, if one is: the one that it was to be read from, or
/// one that lacks more than the others can give it.
fn culprit(error: &OpenError, first: &Member) -> Option<DriveId> {
    use CatalogError as E;
    match error {
        OpenError::FarBehind { drive } => Some(*drive),
        OpenError::Catalog(E::FramesDamaged(_) | E::FramesMissing { .. } | E::Row(_)) => {
            Some(first.id())
        }
        _ => None,
    }
}

/// Opens the catalog on one drive of the view, with the others as mirrors.
fn open_catalog(
    start: &Start,
    members: &[Member],
    first: usize,
    (config, keys): (&DeploymentConfig, Option<Arc<DriveKeys>>),
) -> Result<(Arc<Keeper>, Catalog), OpenError> {
    let (mirrors, last_frame) = bring_level(start, members, first)?;
    let roster_len = start.roster.len();
    let disks = members.iter().map(|m| (m.place.disk.clone(), m.identity.clone())).collect();
    let keeper = Arc::new(Keeper::new(disks, roster_len, keys));
    let first = &members[first];
    let index = first.catalog_index.clone().expect("members of the view have one");
    let mirrors = MirrorConfig {
        others: mirrors,
        keeper: (roster_len > 1).then(|| keeper.clone() as _),
        last_frame,
        is_read_only: start.is_read_only,
    };
    let catalog_config = CatalogConfig {
        clock: config.clock.clone(),
        rng: config.rng.clone(),
        rebuild: config.rebuild == Rebuild::Indexes,
        mirrors,
        rows: config.rows,
        bug: None,
    };
    Ok((keeper, Catalog::open(first.drive.log().clone(), index, catalog_config)?))
}

/// Drives that hold the catalog, of so many: as many as may be lost, and one more.
fn view_len(drives: usize, shape: Shape) -> usize {
    shape.copies().min(drives)
}

/// The member of the view that has the most frames: every acknowledged one is on all of them.
fn choose_first(start: &Start, members: &[Member]) -> Result<usize, OpenError> {
    let mut best: Option<(u64, usize)> = None;
    for id in &start.view {
        let at = members.iter().position(|member| member.id() == *id);
        let Some(at) = at else { continue };
        let frames = members[at].drive.last_frame()?;
        if best.is_none_or(|(most, _)| frames > most) {
            best = Some((frames, at));
        }
    }
    Ok(best.expect("a start has a member of the view").1)
}

/// Gives the other members of the view the frames that they lack.
fn bring_level(
    start: &Start,
    members: &[Member],
    first: usize,
) -> Result<(Vec<Mirror>, u64), OpenError> {
    let last_frame = members[first].drive.last_frame()?;
    let mut mirrors = Vec::new();
    for (at, member) in members.iter().enumerate() {
        if at == first || !start.view.contains(&member.id()) {
            continue;
        }
        let has = member.drive.last_frame()?;
        if has < last_frame && !start.is_read_only {
            let (from, to) = (members[first].drive.log(), member.drive.log());
            let far = OpenError::FarBehind { drive: member.id() };
            let count = catch_up(from, to, has, &|| {})?.ok_or(far)?;
            tracing::info!(drive = %member.id(), count, "frames of the catalog were given to a drive");
        }
        mirrors.push(Mirror { drive: member.id().0, log: member.drive.log().clone() });
    }
    Ok((mirrors, last_frame))
}

/// The drives, and the groups as the catalog has them; a new deployment gets some, besides those that
/// were `found` where the catalog is lost.
fn open_pool(
    catalog: &Catalog,
    start: &Start,
    members: &[Member],
    first: &Drive,
    found: Vec<Group>,
) -> Result<Pool, OpenError> {
    let known = load_drives(catalog)?;
    let mut drives = Vec::new();
    for id in &start.roster {
        let here = members.iter().find(|member| member.id() == *id);
        let known = known.iter().find(|(info, _)| info.id == *id);
        let (info, path) = match (here, known) {
            (Some(member), _) => (member.info(), member.place.path.clone()),
            (None, Some((info, path))) => (info.clone(), path.clone()),
            (None, None) => {
                let (zone, node) = (String::new(), String::new());
                (DriveInfo { id: *id, weight: 1, zone, node }, "unknown".to_owned())
            }
        };
        let drive = here.map(|member| member.drive.clone());
        drives.push(PoolDrive { info, path, drive });
    }
    let infos: Vec<DriveInfo> = drives.iter().map(|drive| drive.info.clone()).collect();
    let mut zones: Vec<&str> = infos.iter().map(|info| info.zone.as_str()).collect();
    zones.sort_unstable();
    zones.dedup();
    let shape = Shape::for_drives(infos.len(), zones.len(), Protection::Standard);
    let mut groups = load_groups(catalog)?;
    let is_new = groups.is_empty();
    if is_new {
        let next = found.iter().map(|group| group.id + 1).max().unwrap_or(0);
        groups = found;
        groups.extend(plan_groups(&infos, shape, next));
    }
    // The code of new blobs is that of the groups that take them.
    let width =
        groups.iter().filter(|group| !group.is_closed).map(|group| group.members.len()).max();
    let shape = match width {
        Some(width) if width != shape.shard_count() => {
            Shape::for_drives(width, zones.len(), Protection::Standard)
        }
        _ => shape,
    };
    if !start.is_read_only {
        store(catalog, if is_new { &groups } else { &[] }, &drives)?;
    }
    let epoch = first.identity().term;
    let pool = Pool::new(drives, first.clone(), epoch, shape);
    pool.set_groups(groups);
    pool.set_leaving(marked_drives(catalog, Key::drains())?.into_iter().collect());
    if catalog.get(Key::REBALANCE)?.is_some() {
        pool.set_moving(Moving::Undecided);
    }
    Ok(pool)
}

fn load_groups(catalog: &Catalog) -> Result<Vec<Group>, OpenError> {
    let mut groups = Vec::new();
    for row in catalog.snapshot().scan(Family::Group.range()) {
        let (key, value) = row?;
        let id = key[1..].try_into().map_err(|_| DecodeError { what: "group key" });
        let id = u16::from_be_bytes(id.map_err(CatalogError::from)?);
        groups.push(Group::decode(id, &value).map_err(CatalogError::from)?);
    }
    Ok(groups)
}

/// Drives that have a row of a kind whose keys end with their ids.
fn marked_drives(catalog: &Catalog, range: KeyRange) -> Result<Vec<DriveId>, OpenError> {
    let mut drives = Vec::new();
    for row in catalog.snapshot().scan(range) {
        let (key, _) = row?;
        drives.extend(key[2..].try_into().ok().map(DriveId));
    }
    Ok(drives)
}

/// Drives, and where they were last.
fn load_drives(catalog: &Catalog) -> Result<Vec<(DriveInfo, String)>, OpenError> {
    let mut drives = Vec::new();
    for row in catalog.snapshot().scan(Family::Drive.range()) {
        let (key, value) = row?;
        drives.push(member::decode_row(&key[1..], &value).map_err(CatalogError::from)?);
    }
    Ok(drives)
}

/// Stores groups, and where drives are now.
fn store(catalog: &Catalog, groups: &[Group], drives: &[PoolDrive]) -> Result<(), OpenError> {
    let mut rows: Vec<(Vec<u8>, Vec<u8>)> =
        groups.iter().map(|group| (Key::group(group.id), group.encode())).collect();
    for drive in drives {
        let (key, row) = (Key::drive(drive.info.id.0), member::encode_row(drive));
        if catalog.get(&key)?.as_deref() != Some(&row) {
            rows.push((key, row));
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    let ticket = catalog.submit(move |tx| {
        tx.use_reserve();
        rows.into_iter().for_each(|(key, row)| tx.put(key, row));
        Ok(Decision::Commit(()))
    });
    Ok(ticket.wait()?)
}
