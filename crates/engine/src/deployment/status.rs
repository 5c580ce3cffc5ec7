//! What state the drives are in, by counting.

use super::{Deployment, MoveReport, OpenError, Progress, Stalled};
use crate::scrub::ScrubState;
use drystone_base::say;
use drystone_base::sync::lock;
use drystone_catalog::{Family, Key};
use drystone_cluster::{DriveId, Protection, Shape};

/// State of a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriveState {
    /// It takes and gives.
    Online,
    /// It was put in and lacks shards.
    Filling,
    /// It is being emptied.
    Draining,
    /// A write or flush failed: it takes nothing more until the process starts again.
    Failed,
    /// It was not found.
    Missing,
    /// It was found, and what it says of itself was not written by this deployment.
    NotTrusted,
}

/// A drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveStatus {
    /// Identity.
    pub id: DriveId,
    /// Where it is, or was.
    pub path: String,
    /// What fails together with it.
    pub zone: String,
    /// Its state.
    pub state: DriveState,
    /// Whether it holds the catalog.
    pub holds_catalog: bool,
    /// Bytes of the filesystem; 0 where it is not known.
    pub total_bytes: u64,
    /// Free bytes.
    pub free_bytes: u64,
    /// It has no room for new objects.
    pub is_full: bool,
    /// Stretches of the log that do not verify.
    pub damage_count: usize,
    /// How far its scrub is.
    pub scrub: ScrubState,
    /// Flushes of its device since the process started.
    pub flush_count: u64,
    /// The write or flush that failed: the drive takes nothing more until the process starts again.
    pub failure: Option<String>,
    /// Its index fails and lacks records; it is given them again, at the latest by the next start.
    pub is_index_behind: bool,
}

impl DriveState {
    /// Whether nothing can be read from it.
    #[must_use]
    pub fn is_gone(self) -> bool {
        matches!(self, Self::Failed | Self::Missing | Self::NotTrusted)
    }
}

/// The class of most objects.
const STANDARD: &str = "STANDARD";

/// What the state of the drives means for objects of a storage class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassStatus {
    /// Storage class; STANDARD stands for every class that is not named otherwise.
    pub class: &'static str,
    /// The code of new objects.
    pub shape: Shape,
    /// Groups that lack more members than the code has parity: objects in them cannot be read, but for
    /// those that have what they need on the drives that are left.
    pub unreadable_groups: usize,
    /// Drives that every group can still lose.
    pub can_lose: usize,
}

/// All drives, and what they can still lose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentStatus {
    /// The code of new objects.
    pub shape: Shape,
    /// Drives.
    pub drives: Vec<DriveStatus>,
    /// Number of groups by the number of members that are missing or lack shards.
    pub groups_by_lack: Vec<usize>,
    /// The fewest drives that any group can still lose, by the code that goes with its width.
    pub least_left: usize,
    /// The same by storage class.
    pub classes: Vec<ClassStatus>,
    /// Objects and parts that lack shards since they were written.
    pub repair_count: usize,
    /// Nothing can be changed.
    pub is_read_only: bool,
    /// What was moved so far, if shards are being moved.
    pub moving: Option<MoveReport>,
    /// How far filling a drive, or moving, is.
    pub progress: Option<Progress>,
    /// Seconds that it will about take.
    pub left_s: Option<u64>,
    /// Work that does not get on.
    pub stalled: Vec<Stalled>,
}

impl DeploymentStatus {
    /// Drives that any group can still lose, at least. What lies in a group that lacks members may have
    /// been written with fewer data shards: then it can lose more.
    #[must_use]
    pub fn can_lose(&self) -> usize {
        self.least_left.min(self.shape.parity.into())
    }

    /// Drives of the deployment that nothing can be read from.
    #[must_use]
    pub fn gone_count(&self) -> usize {
        self.drives.iter().filter(|drive| drive.state.is_gone()).count()
    }

    /// Whether all objects can be read, as far as drives decide it, but for those of classes with less
    /// redundancy: whether there are any is not known here.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        let standard = self.classes.iter().filter(|class| class.class == STANDARD);
        standard.into_iter().all(|class| class.unreadable_groups == 0)
    }

    /// Shards that passes of scrubs which ended after `since_ms` found damaged or missing and could not
    /// repair.
    #[must_use]
    pub fn unrepaired_by_scrub(&self, since_ms: u64) -> u64 {
        let counts = |drive: &&DriveStatus| {
            drive.scrub.started_ms == 0 && drive.scrub.finished_ms > since_ms
        };
        let of = |drive: &DriveStatus| {
            (drive.scrub.damaged + drive.scrub.missing).saturating_sub(drive.scrub.repaired)
        };
        self.drives.iter().filter(counts).map(of).sum()
    }

    /// Whether every shard is where it should be, as far as the catalog knows.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.repair_count == 0
            && self.gone_count() == 0
            && self.groups_by_lack.iter().skip(1).all(|count| *count == 0)
    }
}

impl Deployment {
    /// The state of the drives. Blocks for a moment.
    ///
    /// # Errors
    ///
    /// The catalog cannot be read.
    pub fn status(&self) -> Result<DeploymentStatus, OpenError> {
        let pool = self.engine.pool();
        let filling = self.to_refill()?;
        let draining = self.draining()?;
        let newest = self.keeper.newest();
        let drives: Vec<DriveStatus> = pool
            .drives()
            .iter()
            .map(|member| {
                let id = member.info.id;
                let state = match (&member.drive, pool.get(id)) {
                    (None, _) if self.is_refused(member) => DriveState::NotTrusted,
                    (None, _) => DriveState::Missing,
                    (Some(_), None) => DriveState::Failed,
                    _ if filling.contains(&id) => DriveState::Filling,
                    _ if draining.contains(&id) => DriveState::Draining,
                    _ => DriveState::Online,
                };
                let space = member.drive.as_ref().and_then(|drive| drive.log().space().ok());
                let damage = member.drive.as_ref().map_or(0, |drive| drive.log().damage().len());
                let scrub = self.engine.scrub_state(id)?;
                let log = member.drive.as_ref().map(|drive| drive.log());
                Ok(DriveStatus {
                    id,
                    path: member.path.clone(),
                    zone: member.info.zone.clone(),
                    state,
                    holds_catalog: newest.view.contains(&id.0),
                    total_bytes: space.map_or(0, |space| space.total_bytes),
                    free_bytes: space.map_or(0, |space| space.free_bytes),
                    is_full: pool.get(id).is_some_and(|drive| self.engine.is_full(&drive)),
                    damage_count: damage,
                    scrub,
                    flush_count: log.map_or(0, |log| log.flush_count()),
                    failure: log.and_then(|log| log.failure()).map(|failure| say(&failure)),
                    is_index_behind: member
                        .drive
                        .as_ref()
                        .is_some_and(|drive| drive.is_index_behind()),
                })
            })
            .collect::<Result<_, OpenError>>()?;
        let (groups_by_lack, least_left, classes) = self.lacks_of_groups(&drives);
        let snapshot = self.engine.catalog().snapshot();
        let mut repair_count = 0;
        for row in snapshot.scan(Family::Repair.range()) {
            row?;
            repair_count += 1;
        }
        let (shape, is_read_only) = (pool.shape(), self.is_read_only);
        let moving = *lock(&self.moving);
        let is_moving = self.engine.catalog().get(Key::REBALANCE)?.is_some();
        let moving = is_moving.then(|| moving.unwrap_or_default());
        let progress = *lock(&self.progress);
        let left_s = progress.and_then(|progress| progress.left_s(self.engine.now_ms()));
        Ok(DeploymentStatus {
            shape,
            drives,
            groups_by_lack,
            least_left,
            classes,
            repair_count,
            is_read_only,
            moving,
            progress,
            left_s,
            stalled: self.stalled(),
        })
    }

    /// Number of groups by the members that they lack, the fewest drives that any can still lose, and what
    /// that means for objects of each storage class.
    fn lacks_of_groups(&self, drives: &[DriveStatus]) -> (Vec<usize>, usize, Vec<ClassStatus>) {
        let pool = self.engine.pool();
        let lacks = |id: &DriveId| {
            let drive = drives.iter().find(|drive| drive.id == *id);
            drive.is_none_or(|drive| {
                !matches!(drive.state, DriveState::Online | DriveState::Draining)
            })
        };
        let widest = pool.groups().iter().map(|group| group.members.len()).max().unwrap_or(0);
        let mut groups_by_lack = vec![0; widest + 1];
        let mut least_left = usize::MAX;
        let protections =
            [(STANDARD, Protection::Standard), (Protection::REDUCED_CLASS, Protection::Reduced)];
        let mut classes = protections.map(|(class, protection)| {
            let shape = pool.shape().with(protection);
            ClassStatus { class, shape, unreadable_groups: 0, can_lose: shape.parity.into() }
        });
        for group in pool.groups() {
            let lack = group.members.iter().filter(|id| lacks(id)).count();
            groups_by_lack[lack] += 1;
            let code = match group.is_closed {
                true => Shape::for_drives(group.members.len(), 1, Protection::Standard),
                false => pool.shape(),
            };
            least_left = least_left.min(usize::from(code.parity).saturating_sub(lack));
            for (class, (_, protection)) in classes.iter_mut().zip(protections) {
                let parity = usize::from(code.with(protection).parity);
                class.unreadable_groups += usize::from(lack > parity);
                class.can_lose = class.can_lose.min(parity.saturating_sub(lack));
            }
        }
        (groups_by_lack, least_left, classes.to_vec())
    }

    /// The drive that an administrator means, by id or by path.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn find_drive(&self, named: &str) -> Result<DriveId, OpenError> {
        let drives = self.engine.pool().drives();
        let is_it = |id: DriveId| id.to_string().eq_ignore_ascii_case(named);
        let found = drives.iter().find(|d| d.path == named || is_it(d.info.id));
        let none = || {
            let message = format!(
                "there is no drive {named} in this deployment: `drystone drive list` shows all of them"
            );
            OpenError::Refused(message)
        };
        found.map(|drive| drive.info.id).ok_or_else(none)
    }
}
