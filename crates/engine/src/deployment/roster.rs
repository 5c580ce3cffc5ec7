//! Which drives there are: putting one in, emptying one, taking one out.
//!
//! A change of drives closes all groups and makes new ones; [`Deployment::rebalance`] moves what is there.

use super::member::{OpenError, Place};
use super::replace::refuse;
use super::{Deployment, load_groups, marked_drives, store};
use drystone_base::sync::{MutexGuard, lock};
use drystone_catalog::{Decision, Key};
use drystone_cluster::{
    DriveId, DriveInfo, Group, Moving, PoolDrive, Protection, Shape, plan_groups,
};
use drystone_drive::DRIVE_COUNT_MAX;
use std::collections::BTreeSet;

impl Deployment {
    /// Makes an empty place another drive. It takes its share of what comes at once, and of what is there
    /// by [`Deployment::rebalance`].
    ///
    /// # Errors
    ///
    /// [`OpenError::Refused`] if a drive is missing, or the process has to start again first; what drives and
    /// catalog report.
    pub fn add_drive(&self, place: Place) -> Result<DriveId, OpenError> {
        let _one_at_a_time = self.begin_change()?;
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

    /// Changes of drives are made one at a time, and none is made between one that needs another start of the
    /// process and that start: what is in memory is of before.
    pub(super) fn begin_change(&self) -> Result<MutexGuard<'_, ()>, OpenError> {
        let one_at_a_time = lock(&self.changes);
        if self.must_start_anew() {
            return refuse(
                "the server starts again after the last change of its drives: try again in some seconds"
                    .to_owned(),
            );
        }
        Ok(one_at_a_time)
    }

    fn change_draining(&self, drive: DriveId, cancel: bool) -> Result<(), OpenError> {
        let _one_at_a_time = self.begin_change()?;
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
    pub(super) fn staying(&self) -> Result<(Vec<DriveInfo>, Shape), OpenError> {
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
    pub(super) fn replan(&self) -> Result<(), OpenError> {
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
            // Another value each time: a move in progress sees that more was asked for.
            let number = tx.next_seq().0;
            tx.put(Key::REBALANCE.to_vec(), number.to_le_bytes().to_vec());
            Ok(Decision::Commit(()))
        });
        self.engine.pool().set_moving(Moving::Undecided);
        Ok(ticket.wait()?)
    }

    /// Takes a drive out that is empty.
    pub(super) fn take_out(&self, drive: DriveId) -> Result<(), OpenError> {
        if self.engine.catalog().view(&|| {})?.contains(&drive.0) {
            self.recruit_beside(drive)?;
        }
        let is_first = self.engine.drive().identity().drive == drive.0;
        if !is_first && !self.engine.catalog().leave(drive.0, &|| {})? {
            return refuse("too few drives could be told who holds the catalog".to_owned());
        }
        let keeper = self.keeper.clone();
        let change = move |view: Vec<_>| keeper.change(Some(drive.0), None, &view);
        if !self.engine.catalog().with_view(&|| {}, change)? {
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
        self.is_moving_out.fetch_or(is_first, std::sync::atomic::Ordering::Release);
        Ok(())
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
