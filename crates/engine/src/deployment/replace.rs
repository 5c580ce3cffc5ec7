//! Putting a new drive into the place of one that is gone.

use super::keeper::changed_roster;
use super::member::{Member, OpenError, Place};
use super::{Deployment, marked_drives, start_writers, store};
use crate::audit::{AuditReport, AuditScope};
use drystone_base::sync::lock;
use drystone_catalog::{Decision, Key};
use drystone_cluster::{DriveId, Group, PoolDrive};
use drystone_drive::{NewDrive, Super, format_drive, read_super, segment_len_for, write_super};
use drystone_io::Disk;
use std::sync::Arc;

impl Deployment {
    /// Makes an empty place a drive, in the place of one that is gone: it becomes a member of all groups
    /// that the other was in. Its shards are not there yet: [`Deployment::refill`] makes them.
    ///
    /// # Errors
    ///
    /// [`OpenError::Refused`] if the old drive is not one of this deployment or still there, or the place
    /// is not empty; what drives and catalog report.
    pub fn replace(&self, old: DriveId, place: Place) -> Result<DriveId, OpenError> {
        let _one_at_a_time = self.begin_change()?;
        let pool = self.engine.pool();
        let drives = pool.drives();
        let Some(gone) = drives.iter().find(|drive| drive.info.id == old) else {
            return refuse(format!("{old} is no drive of this deployment"));
        };
        if pool.get(old).is_some() {
            return refuse(format!("{old} at {} is there and works: it stays", gone.path));
        }
        let new = self.make_drive(place, Some(old))?;
        let groups = rehomed(&pool.groups(), old, new.info.id);
        store(self.engine.catalog(), &groups, std::slice::from_ref(&new))?;
        self.mark(new.info.id, Some(old))?;
        pool.set_drive(Some(old), new.clone());
        let mut all: Vec<Group> = pool.groups().iter().map(|group| (**group).clone()).collect();
        for group in &mut all {
            if let Some(changed) = groups.iter().find(|changed| changed.id == group.id) {
                group.clone_from(changed);
            }
        }
        pool.set_groups(all);
        tracing::info!(%old, new = %new.info.id, path = new.path, "a drive was replaced");
        Ok(new.info.id)
    }

    /// Makes an empty place a drive of the deployment, perhaps in the place of another, and opens it.
    pub(super) fn make_drive(
        &self,
        place: Place,
        old: Option<DriveId>,
    ) -> Result<PoolDrive, OpenError> {
        if self.is_read_only {
            return refuse("too few drives are there to change anything".to_owned());
        }
        let (_, identity) = self.format_place(&place, old)?;
        self.tell_of(old, (place.disk.clone(), identity.clone()))?;
        let member = Member::open(place, identity, false, &self.config)?;
        let threads = start_writers(&member.drive)?;
        lock(&self.writers).extend(threads);
        lock(&self.opened).push(member.drive.clone());
        let (info, path) = (member.info(), member.place.path.clone());
        Ok(PoolDrive { info, path, drive: Some(member.drive) })
    }

    /// Formats an empty place as a drive of the deployment, of which the others do not know yet.
    pub(super) fn format_place(
        &self,
        place: &Place,
        old: Option<DriveId>,
    ) -> Result<(DriveId, Super), OpenError> {
        let entries = place.disk.list().map_err(drystone_drive::DriveError::from)?;
        if !entries.is_empty() {
            return refuse(format!("{} is not empty: it has {}", place.path, entries[0]));
        }
        let newest = self.keeper.newest();
        let mut id = [0; 16];
        self.config.rng.fill(&mut id);
        let space = place.disk.space().map_err(drystone_drive::DriveError::from)?;
        let new = NewDrive {
            deployment: newest.deployment,
            drive: id,
            created_ms: self.engine.now_ms(),
            segment_len: segment_len_for(space.total_bytes).min(newest.segment_len.max(1)),
            view: newest.view.clone(),
            view_term: 0,
            roster: changed_roster(&newest, old.map(|old| old.0), Some(id)),
        };
        let keys = self.keeper.keys();
        format_drive(&*place.disk, &new, keys.as_deref())?;
        let mut identity = read_super(&*place.disk)?.expect("the drive was made just now");
        identity.term = self.engine.pool().epoch();
        write_super(&*place.disk, &mut identity, keys.as_deref())?;
        Ok((DriveId(id), identity))
    }

    /// Tells all drives of a new one, whose roster becomes theirs.
    pub(super) fn tell_of(
        &self,
        old: Option<DriveId>,
        new: (Arc<dyn Disk>, Super),
    ) -> Result<(), OpenError> {
        let (keeper, old) = (self.keeper.clone(), old.map(|old| old.0));
        let change = move |view: Vec<_>| keeper.change(old, Some(new), &view);
        match self.engine.catalog().with_view(&|| {}, change)? {
            true => Ok(()),
            false => refuse("too few drives could be told of the new one".to_owned()),
        }
    }

    /// Notes that a drive lacks shards, or has all of them. The row of a drive that was replaced goes.
    fn mark(&self, drive: DriveId, replaced: Option<DriveId>) -> Result<(), OpenError> {
        let ticket = self.engine.catalog().submit(move |tx| {
            tx.use_reserve();
            match replaced {
                Some(old) => {
                    tx.delete(Key::drive(old.0));
                    tx.delete(Key::refill(old.0));
                    tx.delete(Key::drain(old.0));
                    tx.put(Key::refill(drive.0), vec![1]);
                }
                None => tx.delete(Key::refill(drive.0)),
            }
            Ok(Decision::Commit(()))
        });
        Ok(ticket.wait()?)
    }

    /// Drives that were put in and do not have all of their shards yet.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn to_refill(&self) -> Result<Vec<DriveId>, OpenError> {
        marked_drives(self.engine.catalog(), Key::refills())
    }

    /// Makes the shards that a drive lacks, from those of others. Blocks, for long; `tell` hears of the
    /// progress and may stop it.
    ///
    /// # Errors
    ///
    /// The catalog failed, or a drive does not take what it is given.
    pub fn refill(
        &self,
        drive: DriveId,
        tell: &dyn Fn(&AuditReport) -> bool,
    ) -> Result<AuditReport, OpenError> {
        let scope = AuditScope { drive: Some(drive), repairs: true, ..AuditScope::default() };
        let stopped = std::cell::Cell::new(false);
        self.begin_work(1)?;
        let tell = |report: &AuditReport| {
            self.step(report.rows);
            let goes_on = tell(report);
            stopped.set(!goes_on);
            goes_on
        };
        self.engine.pool().set_filling(drive, true);
        let report = self.engine.audit(&scope, &tell);
        self.engine.pool().set_filling(drive, false);
        self.end_work();
        let report = report?;
        if !stopped.get() && report.missing == report.repaired && report.unreachable == 0 {
            self.mark(drive, None)?;
        }
        Ok(report)
    }
}

pub(super) fn refuse<T>(text: String) -> Result<T, OpenError> {
    Err(OpenError::Refused(text))
}

/// The groups that a drive is in, with another in its place.
fn rehomed(groups: &[std::sync::Arc<Group>], old: DriveId, new: DriveId) -> Vec<Group> {
    let has = groups.iter().filter(|group| group.members.contains(&old));
    let swap = |group: &std::sync::Arc<Group>| {
        let members = group.members.iter().map(|id| if *id == old { new } else { *id });
        let (generation, is_closed) = (group.generation + 1, group.is_closed);
        Group { id: group.id, generation, members: members.collect(), is_closed }
    };
    has.map(swap).collect()
}
