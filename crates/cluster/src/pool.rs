//! The drives of a process, and the groups that its blobs are in.

use crate::placement::{DriveId, DriveInfo, Group};
use crate::shape::Shape;
use drystone_base::BlobId;
use drystone_base::sync::{Condvar, Mutex, RwLock, lock, read, wait, write};
use drystone_drive::{Drive, DriveError};
use drystone_erasure::Code;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What a drive was late with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Late {
    /// A read. For some seconds others are asked first.
    Read,
    /// A write, for long: for a minute blobs are written without it, where that is allowed.
    Write,
}

impl Late {
    fn lasts(self) -> Duration {
        match self {
            Self::Read => Duration::from_secs(5),
            Self::Write => Duration::from_secs(60),
        }
    }
}

/// A drive of the deployment.
#[derive(Clone)]
pub struct PoolDrive {
    /// What placement looks at.
    pub info: DriveInfo,
    /// Where it is, or was.
    pub path: String,
    /// The drive; `None` while it is missing.
    pub drive: Option<Drive>,
}

impl PoolDrive {
    /// The drive, if it is there and its log takes records.
    fn online(&self) -> Option<&Drive> {
        self.drive.as_ref().filter(|drive| !drive.log().is_quarantined())
    }
}

/// An upload in progress on all drives; held until its row is committed or given up.
pub struct InProgress {
    _drives: Vec<drystone_drive::InProgress>,
    _era: Arc<Era>,
}

/// One set of groups; held by the pool until there is another set, and by all uploads that chose from it.
#[derive(Default)]
struct Era {
    /// Whether no one holds it any more.
    ended: Arc<(Mutex<bool>, Condvar)>,
}

impl Drop for Era {
    fn drop(&mut self) {
        *lock(&self.ended.0) = true;
        self.ended.1.notify_all();
    }
}

/// Groups that are chosen from no more, but that uploads may still write to.
#[must_use = "uploads that chose from it may be in progress"]
pub struct EraBefore {
    ended: Arc<(Mutex<bool>, Condvar)>,
}

impl EraBefore {
    /// Blocks until no upload is in progress that chose from these groups.
    pub fn wait_for_uploads(self) {
        let mut is_over = lock(&self.ended.0);
        while !*is_over {
            is_over = wait(&self.ended.1, is_over);
        }
    }
}

type Groups = BTreeMap<u16, Arc<Group>>;

/// Whether closed groups are on their way to other drives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Moving {
    /// They stay where they are.
    #[default]
    Nowhere,
    /// They move, but it is not known yet where to: what is deleted from them waits.
    Undecided,
    /// Their members after the move, by group.
    To(HashMap<u16, Vec<DriveId>>),
}

struct Shared {
    drives: RwLock<Vec<PoolDrive>>,
    primary: Drive,
    epoch: u32,
    shape: RwLock<Shape>,
    groups: RwLock<Arc<Groups>>,
    moving: RwLock<Moving>,
    /// Drives that are being emptied, or were given up.
    leaving: RwLock<HashSet<DriveId>>,
    era: Mutex<Arc<Era>>,
    next_group: AtomicUsize,
    next_blob: AtomicU32,
    codes: Mutex<HashMap<Shape, Arc<Code>>>,
    /// Drives that did not answer in time, and until when they are left alone.
    late: Mutex<HashMap<(DriveId, Late), Instant>>,
    has_late: AtomicBool,
    filling: RwLock<HashSet<DriveId>>,
    gates: Mutex<HashMap<DriveId, Arc<Mutex<()>>>>,
}

/// All drives. Clones share them.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

impl Pool {
    /// A pool of one drive, which holds one copy, at a path.
    #[must_use]
    pub fn single(drive: Drive, path: String) -> Self {
        let id = DriveId(drive.identity().drive);
        let (zone, node) = (String::new(), String::new());
        let info = DriveInfo { id, weight: 1, zone, node };
        let epoch = drive.identity().term;
        let group = Group { id: 0, generation: 0, members: vec![id], is_closed: false };
        let member = PoolDrive { info, path, drive: Some(drive.clone()) };
        let pool = Self::new(vec![member], drive, epoch, Shape::new(1, 0));
        pool.set_groups(vec![group]);
        pool
    }

    /// A pool of several drives. `primary` is the one whose log the index of the catalog follows,
    /// `epoch` is higher than that of any earlier process.
    #[must_use]
    pub fn new(drives: Vec<PoolDrive>, primary: Drive, epoch: u32, shape: Shape) -> Self {
        let shared = Shared {
            drives: RwLock::new(drives),
            primary,
            epoch,
            shape: RwLock::new(shape),
            groups: RwLock::default(),
            moving: RwLock::default(),
            leaving: RwLock::default(),
            era: Mutex::default(),
            next_group: AtomicUsize::new(0),
            next_blob: AtomicU32::new(0),
            codes: Mutex::default(),
            late: Mutex::default(),
            has_late: AtomicBool::new(false),
            filling: RwLock::default(),
            gates: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// All drives of the deployment, missing ones included.
    #[must_use]
    pub fn drives(&self) -> Vec<PoolDrive> {
        read(&self.shared.drives).clone()
    }

    /// Drives that take records.
    #[must_use]
    pub fn online(&self) -> Vec<Drive> {
        let drives = read(&self.shared.drives);
        drives.iter().filter_map(|member| member.online().cloned()).collect()
    }

    /// A drive, if it is online.
    #[must_use]
    pub fn get(&self, id: DriveId) -> Option<Drive> {
        let drives = read(&self.shared.drives);
        drives.iter().find(|member| member.info.id == id)?.online().cloned()
    }

    /// The drive whose log the index of the catalog follows.
    #[must_use]
    pub fn primary(&self) -> &Drive {
        &self.shared.primary
    }

    /// Whether there is one drive only: one copy, which is in the batch of its row.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.shape() == Shape::new(1, 0)
    }

    /// The code of new blobs.
    #[must_use]
    pub fn shape(&self) -> Shape {
        *read(&self.shared.shape)
    }

    /// Epoch of this process.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.shared.epoch
    }

    /// Replaces a drive by another, or adds one.
    pub fn set_drive(&self, old: Option<DriveId>, new: PoolDrive) {
        let mut drives = write(&self.shared.drives);
        drives.retain(|member| Some(member.info.id) != old && member.info.id != new.info.id);
        drives.push(new);
    }

    /// Takes a drive out.
    pub fn remove_drive(&self, id: DriveId) {
        let mut drives = write(&self.shared.drives);
        drives.retain(|member| member.info.id != id);
    }

    /// New blobs get another code, and choose from these groups, of which the open ones have as many
    /// members as it needs. What is returned waits for the uploads in progress that chose before.
    pub fn begin_era(&self, shape: Shape, groups: Vec<Group>) -> EraBefore {
        *write(&self.shared.shape) = shape;
        self.set_groups(groups);
        let old = {
            let mut era = lock(&self.shared.era);
            std::mem::take(&mut *era)
        };
        EraBefore { ended: old.ended.clone() }
    }

    /// The groups, as the catalog has them.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn set_groups(&self, groups: Vec<Group>) {
        assert!(!groups.is_empty(), "there is always a group");
        let groups: Groups = groups.into_iter().map(|group| (group.id, Arc::new(group))).collect();
        *write(&self.shared.groups) = Arc::new(groups);
    }

    /// All groups.
    #[must_use]
    pub fn groups(&self) -> Vec<Arc<Group>> {
        let groups = read(&self.shared.groups);
        groups.values().cloned().collect()
    }

    /// A group, if there is one of this number.
    #[must_use]
    pub fn group(&self, id: u16) -> Option<Arc<Group>> {
        let groups = read(&self.shared.groups);
        groups.get(&id).cloned()
    }

    /// The group for the next blob, of which the first `count` places are used: one where they are all
    /// online, or that lacks the fewest. `None` if no open group has so many: the code of new blobs has
    /// changed meanwhile.
    #[must_use]
    pub fn choose_group(&self, count: usize) -> Option<Arc<Group>> {
        let groups = read(&self.shared.groups).clone();
        let start = self.shared.next_group.fetch_add(1, Ordering::Relaxed) % groups.len();
        let is_open = |group: &&Arc<Group>| !group.is_closed && group.members.len() >= count;
        let lacks = |group: &Group| {
            self.members(group).iter().take(count).filter(|member| member.is_none()).count()
        };
        let mut best: Option<(usize, &Arc<Group>)> = None;
        for group in groups.values().cycle().skip(start).take(groups.len()).filter(is_open) {
            let lacking = lacks(group);
            if best.is_none_or(|(least, _)| lacking < least) {
                best = Some((lacking, group));
            }
            if lacking == 0 {
                break;
            }
        }
        best.map(|(_, group)| group.clone())
    }

    /// The drives of a group by place; `None` for those that are not online.
    #[must_use]
    pub fn members(&self, group: &Group) -> Vec<Option<Drive>> {
        let drives = read(&self.shared.drives);
        let find = |id: &DriveId| drives.iter().find(|member| member.info.id == *id)?.online();
        group.members.iter().map(|id| find(id).cloned()).collect()
    }

    /// The drives of a blob's group by place; empty if there is no such group.
    #[must_use]
    pub fn members_of(&self, blob: BlobId) -> Vec<Option<Drive>> {
        self.group(blob.group()).map(|group| self.members(&group)).unwrap_or_default()
    }

    /// The drive at one place of a blob's group to read from, if it is online. The only drive of a
    /// deployment is read from also after a write has failed.
    #[must_use]
    pub fn member_of(&self, blob: BlobId, place: usize) -> Option<Drive> {
        let id = *self.group(blob.group())?.members.get(place)?;
        if self.is_single() { Some(self.primary().clone()) } else { self.get(id) }
    }

    /// A new blob id.
    #[must_use]
    pub fn new_blob(&self, now_ms: u64, group: u16) -> BlobId {
        let counter = self.shared.next_blob.fetch_add(1, Ordering::Relaxed);
        BlobId::new(now_ms, group, self.shared.epoch, counter)
    }

    /// A code's tables; made once.
    ///
    /// # Panics
    ///
    /// If there is no such code: a row that names one is refused before.
    #[must_use]
    pub fn code(&self, shape: Shape) -> Arc<Code> {
        let mut codes = lock(&self.shared.codes);
        let make =
            || Code::new(shape.data.into(), shape.parity.into()).expect("a code that exists");
        codes.entry(shape).or_insert_with(|| Arc::new(make())).clone()
    }

    /// Notes on all drives that an upload begins.
    #[must_use]
    pub fn begin_upload(&self) -> InProgress {
        let era = lock(&self.shared.era);
        let era = era.clone();
        InProgress { _drives: self.online().iter().map(Drive::begin_upload).collect(), _era: era }
    }

    /// Held by work in the background while it reads from a drive: there is one such read at a time, so that
    /// a client's never waits for more than one.
    #[must_use]
    pub fn gate(&self, id: DriveId) -> Arc<Mutex<()>> {
        let mut gates = lock(&self.shared.gates);
        gates.entry(id).or_default().clone()
    }

    /// Notes that a drive did not answer in time: for a while it is gone around.
    pub fn note_late(&self, id: DriveId, with: Late) {
        let mut late = lock(&self.shared.late);
        late.insert((id, with), Instant::now() + with.lasts());
        self.shared.has_late.store(true, Ordering::Release);
    }

    /// Says that a drive is being filled, or not any more: clients' reads go around it meanwhile.
    pub fn set_filling(&self, id: DriveId, is_filling: bool) {
        let mut filling = write(&self.shared.filling);
        match is_filling {
            true => filling.insert(id),
            false => filling.remove(&id),
        };
    }

    /// Whether a drive is to be gone around.
    #[must_use]
    pub fn is_late(&self, id: DriveId, with: Late) -> bool {
        if with == Late::Read && read(&self.shared.filling).contains(&id) {
            return true;
        }
        if !self.shared.has_late.load(Ordering::Acquire) {
            return false;
        }
        let mut late = lock(&self.shared.late);
        late.retain(|_, until| *until > Instant::now());
        self.shared.has_late.store(!late.is_empty(), Ordering::Release);
        late.contains_key(&(id, with))
    }

    /// Whether all drives of the deployment are online, but for those that will not come back.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let is_here =
            |member: &PoolDrive| member.online().is_some() || self.is_leaving(member.info.id);
        self.drives().iter().all(is_here)
    }

    /// Whether a drive of the deployment cannot be read from now. The only one can, also after a write
    /// failed.
    #[must_use]
    pub fn lacks_drives(&self) -> bool {
        let lacks = |member: &PoolDrive| member.online().is_none();
        read(&self.shared.drives).iter().any(lacks) && !self.is_single()
    }

    /// Says which drives leave the deployment. One that is not online then need not be told of anything.
    pub fn set_leaving(&self, drives: HashSet<DriveId>) {
        *write(&self.shared.leaving) = drives;
    }

    fn is_leaving(&self, id: DriveId) -> bool {
        let leaving = read(&self.shared.leaving);
        leaving.contains(&id)
    }

    /// Says where closed groups move.
    pub fn set_moving(&self, moving: Moving) {
        *write(&self.shared.moving) = moving;
    }

    /// Whether every drive that has, or may get, something of a blob is online, so that nothing of it can
    /// stay behind.
    #[must_use]
    pub fn can_bury(&self, blob: BlobId) -> bool {
        // A group goes when nothing names it: what is left of it may be anywhere.
        if self.group(blob.group()).is_none() {
            return self.is_whole();
        }
        let holders = self.holders_of(blob);
        holders.is_some_and(|drives| !drives.is_empty() && drives.iter().all(Option::is_some))
    }

    /// The members of a blob's group, and those that it will have; `None` if these are not known yet.
    fn holders_of(&self, blob: BlobId) -> Option<Vec<Option<Drive>>> {
        let group = self.group(blob.group())?;
        let mut ids = group.members.clone();
        {
            let moving = read(&self.shared.moving);
            match &*moving {
                Moving::Undecided if group.is_closed => return None,
                Moving::To(targets) => {
                    let more = targets.get(&group.id).into_iter().flatten();
                    more.for_each(|id| {
                        if !ids.contains(id) {
                            ids.push(*id);
                        }
                    });
                }
                _ => {}
            }
        }
        let found = ids.into_iter().map(|id| (id, self.get(id)));
        let counts = found.filter(|(id, drive)| drive.is_some() || !self.is_leaving(*id));
        Some(counts.map(|(_, drive)| drive).collect())
    }

    /// Declares blobs dead on all members of their groups. Their space is free once this returns.
    ///
    /// # Errors
    ///
    /// A member of a group is not online, which has not been told then; what the logs report.
    pub async fn bury(&self, blobs: &[BlobId]) -> Result<(), DriveError> {
        if !blobs.iter().all(|blob| self.can_bury(*blob)) {
            return Err(drystone_log::LogError::Quarantined.into());
        }
        let mut tickets = Vec::new();
        for (drive, blobs) in self.by_drive(blobs) {
            tickets.push(drive.bury(&blobs));
        }
        for ticket in tickets {
            ticket.await?;
        }
        Ok(())
    }

    /// Declares blobs dead without waiting for it.
    pub fn bury_later(&self, blobs: &[BlobId]) {
        for (drive, blobs) in self.by_drive(blobs) {
            drive.bury_later(&blobs);
        }
    }

    fn by_drive(&self, blobs: &[BlobId]) -> Vec<(Drive, Vec<BlobId>)> {
        let mut found: HashMap<[u8; 16], (Drive, Vec<BlobId>)> = HashMap::new();
        for blob in blobs {
            let holders = match self.group(blob.group()) {
                Some(_) => self.holders_of(*blob).unwrap_or_else(|| self.members_of(*blob)),
                None => self.online().into_iter().map(Some).collect(),
            };
            for drive in holders.into_iter().flatten() {
                let entry = found.entry(drive.identity().drive).or_insert((drive, Vec::new()));
                entry.1.push(*blob);
            }
        }
        found.into_values().collect()
    }
}
