//! Moving what is there after drives came or are to go: the groups of before, member by member.
//!
//! A change of drives closes all groups and makes new ones, so that what is in a closed group is known once
//! the uploads that chose it have ended. Then shards are copied to where the closed groups will have them,
//! the copies are read, the rows of the groups are switched, and what is left behind is declared dead on the
//! drives that are no members any more. Each step can be repeated: after a crash it is.

use super::member::OpenError;
use super::replace::refuse;
use super::{Deployment, load_groups, store};
use crate::audit::blob_with_manifest;
use crate::layout::Layout;
use crate::pace::Work;
use crate::recode::PARITY_PROMISED;
use bytes::Bytes;
use drystone_base::BlobId;
use drystone_base::sync::lock;
use drystone_catalog::{Decision, Key};
use drystone_cluster::{DriveId, EraBefore, Group, Moving, Protection, Shape, rehome};
use drystone_drive::DriveError;
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

/// A move, as it was when it was planned.
struct Planned {
    /// Value of its row in the catalog, which is another one once more was asked for.
    number: Vec<u8>,
    /// Drives that stay.
    drive_count: usize,
    moves: Moves,
}

impl Deployment {
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
        let Some((planned, before)) = self.plan_move()? else { return Ok(None) };
        before.wait_for_uploads();
        let moved = self.carry_out(planned, tell);
        self.end_work();
        moved.map(Some)
    }

    /// What is to be moved, if anything is. From now on new blobs choose from the groups that stay.
    fn plan_move(&self) -> Result<Option<(Planned, EraBefore)>, OpenError> {
        let _one_at_a_time = lock(&self.changes);
        let catalog = self.engine.catalog();
        let pool = self.engine.pool();
        // Rows that a growth left which was cut short mean nothing.
        if self.is_read_only || pool.is_single() {
            return Ok(None);
        }
        if catalog.get(Key::REBALANCE)?.is_none() {
            return Ok(None);
        }
        let (infos, shape) = self.staying()?;
        let can_take =
            |group: &Group| !group.is_closed && group.members.len() >= shape.shard_count();
        let mut groups = load_groups(catalog)?;
        if !groups.iter().any(can_take) {
            // Two changes of a store of one drive, as a former version let them be made, left no group for
            // the code of all its drives.
            self.replan()?;
            groups = load_groups(catalog)?;
        }
        let Some(number) = catalog.get(Key::REBALANCE)? else { return Ok(None) };
        let before = pool.begin_era(shape, groups);
        let mut moves = Moves::new();
        for group in pool.groups().into_iter().filter(|group| group.is_closed) {
            // What is spread over more drives than are left gets another code.
            if let Some(target) = rehome(&group, &infos) {
                moves.insert(group.id, (group, target));
            }
        }
        let targets = moves.iter().map(|(id, (_, target))| (*id, target.members.clone()));
        pool.set_moving(Moving::To(targets.collect()));
        let number = number.to_vec();
        Ok(Some((Planned { number, drive_count: infos.len(), moves }, before)))
    }

    /// Moves what is there to where it should be.
    fn carry_out(
        &self,
        planned: Planned,
        tell: &dyn Fn(&MoveReport) -> bool,
    ) -> Result<MoveReport, OpenError> {
        let Planned { number, drive_count, moves } = planned;
        let mut report = MoveReport::default();
        // Codes; then copies, which are read in a second walk.
        self.begin_work(if moves.is_empty() { 1 } else { 3 })?;
        self.recode(drive_count, &mut report, tell)?;
        if !moves.is_empty() && !report.stopped {
            self.copy(&moves, &mut report, tell)?;
        }
        if !report.stopped {
            self.switch(moves)?;
            self.clean_up()?;
            // Readers may still need what was given another code, or its sweep is to come.
            report.waits = !self.dissolve()? || !self.finish(&number)?;
        }
        Ok(report)
    }

    /// Takes the drives out that are empty now. Says whether that is all: more may have been asked for
    /// since the move was planned, and then the drives wait for that, too.
    fn finish(&self, number: &[u8]) -> Result<bool, OpenError> {
        let _one_at_a_time = lock(&self.changes);
        if self.engine.catalog().get(Key::REBALANCE)?.as_deref() != Some(number) {
            return Ok(false);
        }
        self.draining()?.into_iter().try_for_each(|drive| self.take_out(drive))?;
        let ticket = self.engine.catalog().submit(|tx| {
            tx.use_reserve();
            tx.delete(Key::REBALANCE.to_vec());
            Ok(Decision::Commit(()))
        });
        ticket.wait()?;
        self.engine.pool().set_moving(Moving::Nowhere);
        Ok(true)
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
        let _one_at_a_time = lock(&self.changes);
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

    /// Makes the groups what they will be, if they are still what the move was planned for: copies were not
    /// made for a drive that was put in meanwhile.
    fn switch(&self, moves: Moves) -> Result<(), OpenError> {
        let _one_at_a_time = lock(&self.changes);
        let pool = self.engine.pool();
        let is_same = |group: &Group| {
            pool.group(group.id).is_some_and(|now| now.generation == group.generation)
        };
        if !moves.values().all(|(group, _)| is_same(group)) {
            return refuse("drives were changed meanwhile: the move is planned again".to_owned());
        }
        let targets: Vec<Group> = moves.into_values().map(|(_, target)| target).collect();
        store(self.engine.catalog(), &targets, &[])?;
        pool.set_groups(load_groups(self.engine.catalog())?);
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

    /// The first drive was taken out: the process must start again.
    #[must_use]
    pub fn must_start_anew(&self) -> bool {
        self.is_moving_out.load(std::sync::atomic::Ordering::Acquire)
    }
}
