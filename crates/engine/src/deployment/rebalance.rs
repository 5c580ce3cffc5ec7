//! Adding and draining drives: new groups for what comes, and the old ones moved member by member.
//!
//! A change of drives closes all groups and makes new ones, so that what is in a closed group is known once
//! the uploads that chose it have ended. Then shards are copied to where the closed groups will have them,
//! the copies are read, the rows of the groups are switched, and what is left behind is declared dead on the
//! drives that are no members any more. Each step can be repeated: after a crash it is.

use super::member::{OpenError, Place};
use super::replace::refuse;
use super::{Deployment, load_groups, marked_drives, store};
use crate::audit::blob_with_manifest;
use crate::layout::Layout;
use crate::pace::Work;
use crate::recode::PARITY_PROMISED;
use bytes::Bytes;
use drystone_base::BlobId;
use drystone_base::sync::lock;
use drystone_catalog::{Decision, Key, ViewKeeper};
use drystone_cluster::{
    DriveId, DriveInfo, Group, Moving, PoolDrive, Protection, Shape, plan_groups, rehome,
};
use drystone_drive::{DRIVE_COUNT_MAX, DriveError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Walks after which a move is given up, to be tried again.
const WALK_COUNT_MAX: u32 = 5;
/// Blobs declared dead at once.
const BURY_COUNT: usize = 1000;

/// How far a move is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MoveReport {
    /// Versions and parts looked at.
    pub rows: u64,
    /// Shards copied.
    pub shards: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Objects and parts that got another code.
    pub recoded: u64,
    /// It was told to stop.
    pub stopped: bool,
    /// Everything is where it should be, but for bytes that were replaced and are not swept yet: to be
    /// called again.
    pub waits: bool,
}

/// Whether what is in a closed group survives fewer losses than is promised where the code is `standard`.
fn is_weak(group: &Group, standard: Shape) -> bool {
    let code = Shape::for_drives(group.members.len(), 1, Protection::Standard);
    code.parity < standard.parity.min(PARITY_PROMISED)
}

/// The groups that change, as they are and as they will be.
type Moves = BTreeMap<u16, (Arc<Group>, Group)>;

impl Deployment {
    /// Makes an empty place another drive. It takes its share of what comes at once, and of what is there
    /// by [`Deployment::rebalance`].
    ///
    /// # Errors
    ///
    /// [`OpenError::Refused`] if a drive is missing, or there was only one; what drives and catalog report.
    pub fn add_drive(&self, place: Place) -> Result<DriveId, OpenError> {
        let pool = self.engine.pool();
        if pool.is_single() {
            return self.grow(place);
        }
        if pool.drives().len() >= DRIVE_COUNT_MAX {
            return refuse(format!("a store has {DRIVE_COUNT_MAX} drives at most"));
        }
        self.must_be_whole()?;
        let new = self.make_drive(place, None)?;
        store(self.engine.catalog(), &[], std::slice::from_ref(&new))?;
        pool.set_drive(None, new.clone());
        self.replan()?;
        tracing::info!(drive = %new.info.id, path = new.path, "a drive was added");
        Ok(new.info.id)
    }

    /// Makes a store of one drive one of two: its objects are in a closed group of that drive, and get two
    /// copies by [`Deployment::rebalance`]. The process must start again: until then nothing is different.
    fn grow(&self, place: Place) -> Result<DriveId, OpenError> {
        let pool = self.engine.pool();
        let old = pool.drives().remove(0);
        let (new, identity) = self.format_place(&place, None)?;
        let weight = |place: &Place| place.disk.space().map_or(1, |space| space.total_bytes);
        let info = DriveInfo {
            id: new,
            weight: weight(&place),
            zone: place.zone.clone(),
            node: place.node.clone(),
        };
        let first_weight = old.drive.as_ref().and_then(|drive| drive.log().space().ok());
        let first_weight = first_weight.map_or(1, |space| space.total_bytes);
        let infos = [DriveInfo { weight: first_weight, ..old.info.clone() }, info.clone()];
        let shape = Shape::for_drives(2, 1, Protection::Standard);
        let members = vec![old.info.id];
        let mut groups = vec![Group { id: 0, generation: 1, members, is_closed: true }];
        groups.extend(plan_groups(&infos, shape, 1));
        let fresh = PoolDrive { info, path: place.path.clone(), drive: None };
        let (rows, drives) = (groups, [old, fresh.clone()]);
        // A try that was cut short left rows that mean nothing while there is one drive.
        let stale: Vec<_> = load_groups(self.engine.catalog())?;
        let ticket = self.engine.catalog().submit(move |tx| {
            tx.use_reserve();
            stale.iter().for_each(|group| tx.delete(Key::group(group.id)));
            rows.iter().for_each(|group| tx.put(Key::group(group.id), group.encode()));
            for drive in &drives {
                tx.put(Key::drive(drive.info.id.0), super::member::encode_row(drive));
            }
            tx.put(Key::REBALANCE.to_vec(), vec![1]);
            Ok(Decision::Commit(()))
        });
        ticket.wait()?;
        // The roster of two is what makes the rows count.
        self.tell_of(None, (place.disk.clone(), identity))?;
        pool.set_drive(None, fresh);
        self.is_moving_out.store(true, std::sync::atomic::Ordering::Release);
        tracing::info!(drive = %new, path = place.path, "the store has two drives now");
        Ok(new)
    }

    /// Empties a drive, or with `cancel` lets it be: its shards go to others by
    /// [`Deployment::rebalance`], then it is taken out.
    ///
    /// # Errors
    ///
    /// [`OpenError::Refused`] if another drive is missing, or too few would be left; what the catalog
    /// reports.
    pub fn drain_drive(&self, drive: DriveId, cancel: bool) -> Result<(), OpenError> {
        if self.engine.pool().get(drive).is_none() {
            return refuse(format!("{drive} is not here: `drystone drive remove` takes it out"));
        }
        self.change_draining(drive, cancel)
    }

    /// Takes a drive out that is gone: what it had is rebuilt on the others, by
    /// [`Deployment::rebalance`]. It cannot come back.
    ///
    /// # Errors
    ///
    /// [`OpenError::Refused`] if it is there, another one is missing, or too few would be left; what the
    /// catalog reports.
    pub fn remove_drive(&self, drive: DriveId) -> Result<(), OpenError> {
        if self.engine.pool().get(drive).is_some() {
            return refuse(format!(
                "{drive} is there and works: `drystone drive drain` empties it"
            ));
        }
        self.change_draining(drive, false)
    }

    fn change_draining(&self, drive: DriveId, cancel: bool) -> Result<(), OpenError> {
        self.must_be_whole_without(Some(drive))?;
        let mut draining = self.draining()?;
        let changed = if cancel { draining.remove(&drive) } else { draining.insert(drive) };
        if !changed {
            return refuse("nothing to change".to_owned());
        }
        let left = self.engine.pool().drives().len() - draining.len();
        if left < 2 {
            return refuse("one drive would be left: what it has would be in one copy".to_owned());
        }
        let ticket = self.engine.catalog().submit(move |tx| {
            tx.use_reserve();
            match cancel {
                true => tx.delete(Key::drain(drive.0)),
                false => tx.put(Key::drain(drive.0), vec![1]),
            }
            Ok(Decision::Commit(()))
        });
        ticket.wait()?;
        self.engine.pool().set_leaving(draining.into_iter().collect());
        self.replan()
    }

    fn must_be_whole(&self) -> Result<(), OpenError> {
        self.must_be_whole_without(None)
    }

    fn must_be_whole_without(&self, drive: Option<DriveId>) -> Result<(), OpenError> {
        let pool = self.engine.pool();
        let draining = self.draining()?;
        let is_here = |member: &PoolDrive| {
            let id = member.info.id;
            pool.get(id).is_some() || Some(id) == drive || draining.contains(&id)
        };
        if self.is_read_only {
            return refuse("too few drives are there to change anything".to_owned());
        }
        let drives = pool.drives();
        if let Some(gone) = drives.iter().find(|member| !is_here(member)) {
            let path = &gone.path;
            return refuse(format!("{path} is missing: bring it back or replace it first"));
        }
        let filling = self.to_refill()?;
        if let Some(lacks) = drives.iter().find(|member| filling.contains(&member.info.id)) {
            let path = &lacks.path;
            return refuse(format!("{path} lacks shards: wait until it is filled"));
        }
        Ok(())
    }

    /// Drives that are being emptied.
    pub(super) fn draining(&self) -> Result<BTreeSet<DriveId>, OpenError> {
        Ok(marked_drives(self.engine.catalog(), Key::drains())?.into_iter().collect())
    }

    /// Drives that stay, and the code for them.
    fn staying(&self) -> Result<(Vec<DriveInfo>, Shape), OpenError> {
        let draining = self.draining()?;
        let drives = self.engine.pool().drives();
        let stays = drives.into_iter().filter(|drive| !draining.contains(&drive.info.id));
        let infos: Vec<DriveInfo> = stays.map(|drive| drive.info).collect();
        let zones: BTreeSet<&str> = infos.iter().map(|info| info.zone.as_str()).collect();
        let shape = Shape::for_drives(infos.len(), zones.len(), Protection::Standard);
        Ok((infos, shape))
    }

    /// Closes all groups, makes new ones for the drives that stay, and notes that there is something to
    /// move.
    fn replan(&self) -> Result<(), OpenError> {
        let (infos, shape) = self.staying()?;
        let mut groups: Vec<Group> = Vec::new();
        for group in self.engine.pool().groups() {
            groups.push(Group { is_closed: true, ..(*group).clone() });
        }
        let first = groups.iter().map(|group| group.id).max().map_or(0, |id| id + 1);
        if usize::from(first) + drystone_cluster::group_count(infos.len(), shape) > 65_000 {
            return refuse("the numbers of placement groups are used up".to_owned());
        }
        groups.extend(plan_groups(&infos, shape, first));
        let rows: Vec<_> = groups.iter().map(|g| (Key::group(g.id), g.encode())).collect();
        let ticket = self.engine.catalog().submit(move |tx| {
            tx.use_reserve();
            rows.into_iter().for_each(|(key, row)| tx.put(key, row));
            tx.put(Key::REBALANCE.to_vec(), vec![1]);
            Ok(Decision::Commit(()))
        });
        self.engine.pool().set_moving(Moving::Undecided);
        Ok(ticket.wait()?)
    }

    /// Moves what is there to where it should be, if a drive was added or is being emptied. Blocks, for
    /// long; `tell` hears of the progress and may stop it. Says nothing if there is nothing to do.
    ///
    /// # Errors
    ///
    /// The catalog failed, a shard cannot be read or rebuilt, or a drive does not take what it is given:
    /// then it is to be tried again.
    pub fn rebalance(
        &self,
        tell: &dyn Fn(&MoveReport) -> bool,
    ) -> Result<Option<MoveReport>, OpenError> {
        let catalog = self.engine.catalog();
        let pool = self.engine.pool();
        // Rows that a growth left which was cut short mean nothing.
        if self.is_read_only || pool.is_single() || catalog.get(Key::REBALANCE)?.is_none() {
            return Ok(None);
        }
        let (infos, shape) = self.staying()?;
        pool.begin_era(shape, load_groups(catalog)?);
        let moved = self.move_to(&infos, tell);
        self.end_work();
        moved.map(Some)
    }

    /// Moves what is there to where it should be on these drives.
    fn move_to(
        &self,
        infos: &[DriveInfo],
        tell: &dyn Fn(&MoveReport) -> bool,
    ) -> Result<MoveReport, OpenError> {
        let pool = self.engine.pool();
        let mut moves = Moves::new();
        for group in pool.groups().into_iter().filter(|group| group.is_closed) {
            // What is spread over more drives than are left gets another code.
            if let Some(target) = rehome(&group, infos) {
                moves.insert(group.id, (group, target));
            }
        }
        let targets = moves.iter().map(|(id, (_, target))| (*id, target.members.clone()));
        pool.set_moving(Moving::To(targets.collect()));
        let mut report = MoveReport::default();
        // Codes; then copies, which are read in a second walk.
        self.begin_work(if moves.is_empty() { 1 } else { 3 })?;
        self.recode(infos.len(), &mut report, tell)?;
        if !moves.is_empty() && !report.stopped {
            self.copy(&moves, &mut report, tell)?;
        }
        if !report.stopped {
            self.switch(moves)?;
            self.clean_up()?;
            if !self.dissolve()? {
                // Readers may still need what was given another code, or its sweep is to come.
                report.waits = true;
                return Ok(report);
            }
            self.take_out()?;
            let ticket = self.engine.catalog().submit(|tx| {
                tx.use_reserve();
                tx.delete(Key::REBALANCE.to_vec());
                Ok(Decision::Commit(()))
            });
            ticket.wait()?;
            pool.set_moving(Moving::Nowhere);
        }
        Ok(report)
    }

    /// Gives another code to what needs it: until there is nothing left.
    fn recode(
        &self,
        drive_count: usize,
        report: &mut MoveReport,
        tell: &dyn Fn(&MoveReport) -> bool,
    ) -> Result<(), OpenError> {
        let mut left = 0;
        for _ in 0..WALK_COUNT_MAX {
            let (recoded, bytes) = (report.recoded, report.bytes);
            let told = std::cell::Cell::new(*report);
            self.begin_walk(0);
            let done = self.engine.recode(drive_count, &|done| {
                let (recoded, bytes) = (recoded + done.parts, bytes + done.bytes);
                told.set(MoveReport { recoded, bytes, ..told.get() });
                self.step(done.rows);
                *lock(&self.moving) = Some(told.get());
                tell(&told.get())
            })?;
            *report = MoveReport {
                recoded: recoded + done.parts,
                bytes: bytes + done.bytes,
                stopped: done.stopped,
                ..*report
            };
            left = done.left;
            if report.stopped || left == 0 {
                return Ok(());
            }
        }
        refuse(format!(
            "{left} objects cannot be given another code yet: `drystone verify` says why"
        ))
    }

    /// Drops the closed groups of which no row names anything, not even to be swept. Says whether none
    /// is left that must go: with a drive that is being emptied, or with weaker codes than are promised.
    fn dissolve(&self) -> Result<bool, OpenError> {
        let pool = self.engine.pool();
        if !pool.is_whole() {
            return refuse("a drive is missing: repair that first".to_owned());
        }
        let mut named = BTreeSet::new();
        self.engine.visit_named(&mut |blob| {
            named.insert(blob.group());
        })?;
        let (gone, kept): (Vec<_>, Vec<_>) = pool
            .groups()
            .into_iter()
            .partition(|group| group.is_closed && !named.contains(&group.id));
        let keys: Vec<_> = gone.iter().map(|group| Key::group(group.id)).collect();
        if !keys.is_empty() {
            let ticket = self.engine.catalog().submit(move |tx| {
                tx.use_reserve();
                keys.into_iter().for_each(|key| tx.delete(key));
                Ok(Decision::Commit(()))
            });
            ticket.wait()?;
            pool.set_groups(kept.iter().map(|group| (**group).clone()).collect());
        }
        let draining = self.draining()?;
        let must_go = |group: &Arc<Group>| {
            group.members.iter().any(|id| draining.contains(id)) || is_weak(group, pool.shape())
        };
        Ok(!kept.iter().any(|group| group.is_closed && must_go(group)))
    }

    /// Copies what the groups will have, and reads the copies: until there is nothing left to copy.
    fn copy(
        &self,
        moves: &Moves,
        report: &mut MoveReport,
        tell: &dyn Fn(&MoveReport) -> bool,
    ) -> Result<(), OpenError> {
        let mut unread = 0;
        for walk in 0..WALK_COUNT_MAX {
            let (reads, before) = (walk > 0, report.shards);
            self.begin_walk(1 + u64::from(walk));
            unread = self.walk(moves, reads, report, tell)?;
            if report.stopped || (reads && unread == 0 && report.shards == before) {
                return Ok(());
            }
        }
        refuse(format!(
            "{unread} shards could not be read, so that nothing is given up: `drystone verify` says why"
        ))
    }

    /// Copies what the groups will have where they do not have it yet. `reads`: also looks at the copies.
    /// Returns the number of blobs that could not be read: they may have been deleted meanwhile, which the
    /// next walk shows.
    fn walk(
        &self,
        moves: &Moves,
        reads: bool,
        report: &mut MoveReport,
        tell: &dyn Fn(&MoveReport) -> bool,
    ) -> Result<u64, OpenError> {
        let mut unread = 0;
        let mut meter = self.engine.pace().meter(Work::Move);
        report.rows = 0;
        self.engine.walk_layouts::<OpenError>(None, &mut |key, mut layouts| {
            let with_manifest = blob_with_manifest(key, &layouts);
            if let Some(blob) = with_manifest.filter(|blob| moves.contains_key(&blob.group())) {
                layouts.extend(self.engine.manifest_layout(blob)?);
            }
            let before = report.bytes;
            for layout in &layouts {
                let Some((group, target)) = moves.get(&layout.blob.group()) else { continue };
                match self.copy_blob(layout, group, target, reads, report) {
                    Err(OpenError::Drive(DriveError::NotFound(_) | DriveError::Damaged { .. })) => {
                        unread += 1;
                    }
                    copied => copied?,
                }
            }
            report.rows += 1;
            self.step(report.rows);
            meter.step(report.bytes - before);
            *lock(&self.moving) = Some(*report);
            report.stopped = !tell(report);
            Ok(!report.stopped)
        })?;
        for drive in self.engine.pool().online() {
            drive.flush().wait()?;
        }
        Ok(unread)
    }

    fn copy_blob(
        &self,
        layout: &Layout,
        group: &Group,
        target: &Group,
        reads: bool,
        report: &mut MoveReport,
    ) -> Result<(), OpenError> {
        for place in 0..layout.shape.shard_count() {
            if group.members[place] == target.members[place] {
                continue;
            }
            let missing = || OpenError::Refused(format!("{} is missing", target.members[place]));
            let drive = self.engine.pool().get(target.members[place]).ok_or_else(missing)?;
            for stripe in layout.stripes() {
                let (shard, len) = (layout.shard(stripe), layout.shard_len(stripe, place) as u32);
                let is_there = len == 0
                    || (drive.has(shard)? && (!reads || drive.read(shard, None, 0..len).is_ok()));
                if is_there {
                    continue;
                }
                let payload = self.shard_bytes(layout, stripe, place, len)?;
                let ticket = self.engine.start_shard(&drive, layout, (stripe, place), payload);
                ticket.wait()?;
                report.shards += 1;
                report.bytes += u64::from(len);
            }
        }
        Ok(())
    }

    /// The bytes of a shard, from where it is or from others.
    fn shard_bytes(
        &self,
        layout: &Layout,
        stripe: u32,
        place: usize,
        len: u32,
    ) -> Result<Bytes, OpenError> {
        let range = 0..len;
        let cell = crate::cells::CellRange { layout: *layout, stripe, place, range, hint: None };
        Ok(self.engine.gentle_reader().read(&cell)?)
    }

    /// Makes the groups what they will be.
    fn switch(&self, moves: Moves) -> Result<(), OpenError> {
        let targets: Vec<Group> = moves.into_values().map(|(_, target)| target).collect();
        store(self.engine.catalog(), &targets, &[])?;
        self.engine.pool().set_groups(load_groups(self.engine.catalog())?);
        Ok(())
    }

    /// Declares dead on each drive what is in a group that the drive is no member of: its shards were
    /// copied and the copies read before the group was switched.
    ///
    /// # Errors
    ///
    /// What drives report.
    pub fn clean_up(&self) -> Result<(), OpenError> {
        let pool = self.engine.pool();
        for drive in pool.online() {
            let id = DriveId(drive.identity().drive);
            let is_foreign = |blob: &BlobId| {
                pool.group(blob.group()).is_some_and(|group| !group.members.contains(&id))
            };
            let mut foreign = Vec::new();
            drive.visit_blobs(&mut |blob| {
                if is_foreign(&blob) {
                    foreign.push(blob);
                }
                if foreign.len() >= BURY_COUNT {
                    drive.discard(&foreign).wait()?;
                    foreign.clear();
                }
                Ok(())
            })?;
            if !foreign.is_empty() {
                drive.discard(&foreign).wait()?;
            }
        }
        Ok(())
    }

    /// Takes the drives out that are empty now.
    fn take_out(&self) -> Result<(), OpenError> {
        for drive in self.draining()? {
            let mut view = self.engine.catalog().view(&|| {})?;
            if view.contains(&drive.0) {
                self.recruit_beside(drive)?;
                view = self.engine.catalog().view(&|| {})?;
                view.retain(|member| *member != drive.0);
            }
            let is_first = self.engine.drive().identity().drive == drive.0;
            if !is_first && !self.engine.catalog().leave(drive.0, &|| {})? {
                return refuse("too few drives could be told who holds the catalog".to_owned());
            }
            if is_first && !self.keeper.record(&view) {
                return refuse("too few drives could be told who holds the catalog".to_owned());
            }
            let mut roster = self.keeper.newest().roster;
            roster.retain(|member| *member != drive.0);
            if !self.keeper.change(Some(drive.0), None, roster, &view) {
                return refuse("too few drives could be told of the change".to_owned());
            }
            let ticket = self.engine.catalog().submit(move |tx| {
                tx.use_reserve();
                tx.delete(Key::drive(drive.0));
                tx.delete(Key::drain(drive.0));
                Ok(Decision::Commit(()))
            });
            ticket.wait()?;
            self.engine.pool().remove_drive(drive);
            tracing::info!(%drive, "nothing is on the drive any more; it was taken out");
            // The index of the catalog is on it: the next process takes it from another.
            self.is_moving_out.store(is_first, std::sync::atomic::Ordering::Release);
        }
        Ok(())
    }

    /// The first drive was taken out: the process must start again.
    #[must_use]
    pub fn must_start_anew(&self) -> bool {
        self.is_moving_out.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Makes a drive hold the catalog in the place of one that will not.
    fn recruit_beside(&self, leaving: DriveId) -> Result<(), OpenError> {
        let view = self.engine.catalog().view(&|| {})?;
        let draining = self.draining()?;
        let is_free = |member: &PoolDrive| {
            !view.contains(&member.info.id.0) && !draining.contains(&member.info.id)
        };
        let drives = self.engine.pool().drives();
        match drives.into_iter().find(is_free) {
            Some(member) => self.join_view(&member),
            None if view.iter().any(|member| *member != leaving.0) => Ok(()),
            None => refuse("no other drive can hold the catalog".to_owned()),
        }
    }
}
