//! Looking at every shard that rows name: whether it is there and verifies; and giving back what is not.

use crate::budget::{ByteBudget, Kind, Share};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::layout::Layout;
use crate::pace::{Meter, Work};
use crate::repair::{RepairReport, Writing};
use drystone_base::Consumer;
use drystone_base::sync::{Mutex, lock};
use drystone_base::{BlobId, BucketId, DecodeError};
use drystone_catalog::{Data, Family, Key, KeyParts, ObjectRow, PartRow};
use drystone_cluster::DriveId;
use drystone_drive::Drive;
use drystone_index::{KeyRange, prefix_range};
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// What is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditScope {
    /// A bucket, and a prefix of its keys; everything if there is none.
    pub bucket: Option<(BucketId, Vec<u8>)>,
    /// Only shards of this drive.
    pub drive: Option<DriveId>,
    /// Read every byte; without, only whether drives know of the shards.
    pub reads: bool,
    /// Give back what is missing or does not verify.
    pub repairs: bool,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// Versions and parts looked at.
    pub rows: u64,
    /// Shards looked at.
    pub shards: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Shards that their drives do not have.
    pub missing: u64,
    /// Shards that do not verify.
    pub damaged: u64,
    /// Shards whose drives are missing.
    pub unreachable: u64,
    /// Shards given back.
    pub repaired: u64,
    /// Keys of objects that cannot be read as a whole, with their buckets; the first thousand.
    pub lost: Vec<(BucketId, Vec<u8>)>,
    /// Objects that cannot be read as a whole; beyond a thousand an object may count more than once.
    pub lost_count: u64,
}

impl AuditReport {
    /// Counts the shards of one stripe.
    fn count(&mut self, stripe: &Self) {
        self.shards += stripe.shards;
        self.bytes += stripe.bytes;
        self.missing += stripe.missing;
        self.damaged += stripe.damaged;
        self.unreachable += stripe.unreachable;
    }

    /// Notes a version or part that cannot be read as a whole, once.
    fn lose(&mut self, key: &[u8]) {
        let Ok(parts) = KeyParts::parse(key) else { return };
        let lost = (parts.bucket, parts.object);
        // Tasks of one row come close to each other.
        let mut near = self.lost.iter().rev().take(QUEUE_LEN + WORKER_COUNT);
        if self.lost.len() < LOST_COUNT_MAX && !near.any(|known| *known == lost) {
            self.lost.push(lost);
            self.lost_count += 1;
        } else if self.lost.len() == LOST_COUNT_MAX {
            self.lost_count += 1;
        }
    }
}

/// Some stripes of a version or part.
struct Task {
    key: Arc<[u8]>,
    layout: Layout,
    stripes: Range<u32>,
    /// The blob may have a manifest, which is looked at too.
    has_manifest: bool,
}

/// Cuts what a row names into tasks.
fn cut(key: &[u8], layouts: Vec<Layout>) -> impl Iterator<Item = Task> {
    let key: Arc<[u8]> = key.into();
    let manifest_of = blob_with_manifest(&key, &layouts);
    layouts.into_iter().flat_map(move |layout| {
        let (key, all) = (key.clone(), layout.stripes());
        all.clone().step_by(TASK_STRIPE_COUNT as usize).map(move |first| {
            let stripes = first..first.saturating_add(TASK_STRIPE_COUNT).min(all.end);
            let has_manifest = first == all.start && manifest_of == Some(layout.blob);
            Task { key: key.clone(), layout, stripes, has_manifest }
        })
    })
}

/// The blob that has the manifest of an object: the first one. Parts of uploads have none.
pub(crate) fn blob_with_manifest(key: &[u8], layouts: &[Layout]) -> Option<BlobId> {
    let is_object = matches!(Family::of(key), Some(Family::Head | Family::Version));
    layouts.first().map(|layout| layout.blob).filter(|_| is_object)
}

/// What a thread that looks at shards has of its own.
struct Worker<'a> {
    meter: Meter<'a>,
    /// Shards that it gave back and that are not written yet: while a drive writes, others are read.
    writing: VecDeque<Writing>,
}

impl Worker<'_> {
    /// Waits until no more than so many shards are being written.
    fn wait_for_all_but(&mut self, most: usize) -> Result<(), EngineError> {
        while self.writing.len() > most
            && let Some(writing) = self.writing.pop_front()
        {
            writing.wait()?;
        }
        Ok(())
    }

    /// A share of the budget for a shard that is given back. What is being written has shares as well: where
    /// this one is not free at once, it is waited for without them.
    fn share(&mut self, budget: &ByteBudget, bytes: u64) -> Result<Share, EngineError> {
        if let Some(share) = budget.try_extra(Consumer::BACKGROUND, Kind::Background, bytes) {
            return Ok(share);
        }
        self.wait_for_all_but(0)?;
        Ok(budget.reserve_blocking(bytes))
    }
}

/// Is given a key and the layouts of its row; says whether the walk goes on.
pub(crate) type Visit<'a, E> = dyn FnMut(&[u8], Vec<Layout>) -> Result<bool, E> + 'a;

/// Lost objects that are listed at most.
const LOST_COUNT_MAX: usize = 1000;
/// Progress is told after so long.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// Threads that look at shards: reading from several drives and writing to one takes its time, so that
/// a few are needed to keep a drive busy.
const WORKER_COUNT: usize = 8;
/// Shards that a worker lets be written while it goes on.
const WRITING_COUNT: usize = 1;
/// Tasks that wait for a worker at most.
const QUEUE_LEN: usize = 64;
/// Stripes of a task at most.
const TASK_STRIPE_COUNT: u32 = 16;

/// How a shard was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShardState {
    /// As it should be.
    Whole,
    /// Its drive does not have it.
    Missing,
    /// Its drive has it, but it does not verify.
    Damaged,
    /// Its drive is missing.
    Unreachable,
}

impl Engine {
    /// Looks at a shard.
    pub(crate) fn shard_state(
        &self,
        layout: &Layout,
        (stripe, place): (u32, usize),
        reads: bool,
    ) -> Result<ShardState, EngineError> {
        let member = self.pool().member_of(layout.blob, place);
        let Some(drive) = member else { return Ok(ShardState::Unreachable) };
        let (shard, len) = (layout.shard(stripe), layout.shard_len(stripe, place) as u32);
        Ok(match drive.has(shard)? {
            false => ShardState::Missing,
            true if reads && drive.read(shard, None, 0..len).is_err() => ShardState::Damaged,
            true => ShardState::Whole,
        })
    }

    /// Looks at shards. Blocks, for long; `tell` hears of the progress and may stop it.
    ///
    /// # Errors
    ///
    /// The catalog failed, or a drive does not take what it is given back.
    pub fn audit(
        &self,
        scope: &AuditScope,
        tell: &dyn Fn(&AuditReport) -> bool,
    ) -> Result<AuditReport, EngineError> {
        let sum = Mutex::new(AuditReport::default());
        let (sender, receiver) = sync_channel::<Task>(QUEUE_LEN);
        let tasks = Mutex::new(Some(receiver));
        let mut stopped = false;
        let walked = std::thread::scope(|threads| {
            let worker = || self.audit_tasks(scope, &tasks, &sum);
            let workers: Vec<_> = (0..WORKER_COUNT).map(|_| threads.spawn(worker)).collect();
            let mut told = Instant::now();
            let bucket = scope.bucket.as_ref();
            let walked = self.walk_layouts::<EngineError>(bucket, &mut |key, layouts| {
                lock(&sum).rows += 1;
                // If no worker is left to take it, one has failed.
                let is_taken = cut(key, layouts).all(|task| sender.send(task).is_ok());
                if told.elapsed() >= TELL_EVERY {
                    told = Instant::now();
                    stopped = !tell(&lock(&sum));
                }
                Ok(is_taken && !stopped)
            });
            drop(sender);
            let ended = workers.into_iter().map(|worker| worker.join().expect("it does not panic"));
            ended.fold(walked, Result::and)
        });
        walked?;
        if scope.repairs {
            let flushes: Vec<_> = self.pool().online().iter().map(Drive::flush).collect();
            for flush in flushes {
                flush.wait()?;
            }
        }
        let report = sum.into_inner().expect("no thread panicked while it held this lock");
        if !stopped {
            tell(&report);
        }
        Ok(report)
    }

    /// The body of a worker: looks at shards until there are none, or looking fails.
    fn audit_tasks(
        &self,
        scope: &AuditScope,
        tasks: &Mutex<Option<Receiver<Task>>>,
        sum: &Mutex<AuditReport>,
    ) -> Result<(), EngineError> {
        let meter = self.shared.pace.meter(Work::Repair);
        let mut worker = Worker { meter, writing: VecDeque::new() };
        loop {
            let task = lock(tasks).as_ref().and_then(|tasks| tasks.recv().ok());
            let Some(task) = task else { return worker.wait_for_all_but(0) };
            match self.audit_task(&task, scope, sum, &mut worker) {
                Ok(false) => {}
                Ok(true) => lock(sum).lose(&task.key),
                Err(error) => {
                    // The walk ends when no one takes what it finds.
                    *lock(tasks) = None;
                    return Err(error);
                }
            }
        }
    }

    /// Gives the key and the layouts of every version and part of one moment, until `visit` says that it
    /// is enough. `bucket`: only what is below a prefix of its keys.
    pub(crate) fn walk_layouts<E: From<EngineError>>(
        &self,
        bucket: Option<&(BucketId, Vec<u8>)>,
        visit: &mut Visit<'_, E>,
    ) -> Result<(), E> {
        let snapshot = self.shared.catalog.snapshot();
        for range in ranges(bucket) {
            for row in snapshot.scan(range) {
                let (key, value) = row.map_err(|error| E::from(error.into()))?;
                if !visit(&key, self.layouts(&key, &value)?)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn audit_task(
        &self,
        task: &Task,
        scope: &AuditScope,
        sum: &Mutex<AuditReport>,
        worker: &mut Worker<'_>,
    ) -> Result<bool, EngineError> {
        let is_lost = self.audit_stripes(task, scope, sum, worker)?;
        if task.has_manifest
            && scope.drive.is_none_or(|drive| self.places_of(&task.layout, drive) > 0)
            && let Some(layout) = self.manifest_layout(task.layout.blob)?
        {
            let (key, stripes) = (task.key.clone(), layout.stripes());
            let manifest = Task { key, layout, stripes, has_manifest: false };
            self.audit_stripes(&manifest, scope, sum, worker)?;
        }
        Ok(is_lost)
    }

    /// Looks at the shards of some stripes; says whether one of them cannot be read as a whole.
    fn audit_stripes(
        &self,
        task: &Task,
        scope: &AuditScope,
        sum: &Mutex<AuditReport>,
        worker: &mut Worker<'_>,
    ) -> Result<bool, EngineError> {
        let (mut is_lost, mut repaired) = (false, RepairReport::default());
        let (mut given, layout) = (0, &task.layout);
        let of_drive = scope.drive.map(|drive| self.places_of(layout, drive));
        for stripe in task.stripes.clone() {
            let mut report = AuditReport::default();
            let mut lacking = 0;
            for place in 0..layout.shape.shard_count() {
                let len = layout.shard_len(stripe, place);
                if len == 0 || of_drive.is_some_and(|places| places >> place & 1 == 0) {
                    continue;
                }
                report.shards += 1;
                report.bytes += len;
                let state = self.shard_state(layout, (stripe, place), scope.reads)?;
                let before = repaired.shards;
                match state {
                    ShardState::Whole => continue,
                    ShardState::Missing => report.missing += 1,
                    ShardState::Damaged => report.damaged += 1,
                    ShardState::Unreachable => report.unreachable += 1,
                }
                if scope.repairs && state != ShardState::Unreachable {
                    let at = (stripe, place);
                    let share = worker.share(&self.shared.budget, layout.give_back_len(at))?;
                    let writing = self.start_give_back(layout, at, share, &mut repaired);
                    worker.writing.extend(writing);
                    worker.wait_for_all_but(WRITING_COUNT)?;
                }
                lacking += usize::from(repaired.shards == before);
            }
            is_lost |= !layout.is_manifest() && lacking > usize::from(layout.shape.parity);
            let read = if scope.reads { report.bytes } else { 0 };
            worker.meter.step(read.max(repaired.bytes - given));
            given = repaired.bytes;
            // A manifest is repaired without being counted: no one waited for it, no one reads it.
            if !layout.is_manifest() {
                lock(sum).count(&report);
            }
        }
        if !layout.is_manifest() {
            lock(sum).repaired += repaired.shards;
        }
        Ok(is_lost)
    }

    /// The places of a drive in a blob's group, one bit each.
    fn places_of(&self, layout: &Layout, drive: DriveId) -> u32 {
        let group = self.pool().group(layout.blob.group());
        let members = group.iter().flat_map(|group| group.members.iter().enumerate());
        members.filter(|(_, id)| **id == drive).fold(0, |bits, (place, _)| bits | 1 << place)
    }

    /// The blobs of a version or part.
    fn layouts(&self, key: &[u8], value: &[u8]) -> Result<Vec<Layout>, EngineError> {
        Ok(match Family::of(key) {
            Some(Family::Head | Family::Version) => {
                let row = ObjectRow::decode(value)?;
                match &row.data {
                    Data::Manifest(id) => {
                        let mut seen = BTreeSet::new();
                        match self.layouts_of_parts(*id, &mut seen)? {
                            Some(layouts) => layouts,
                            // It was deleted while the walk came here.
                            None if !self.is_still(key, value)? => Vec::new(),
                            None => return Err(DecodeError { what: "manifest row" }.into()),
                        }
                    }
                    data => Layout::of_data(data, row.stored_len()).into_iter().collect(),
                }
            }
            Some(Family::Part) => {
                self.layouts_of_part(&PartRow::decode(value)?, &mut BTreeSet::new())?
            }
            _ => return Err(DecodeError { what: "key of a row with bytes" }.into()),
        })
    }

    /// Whether a row is what it was when a walk began.
    fn is_still(&self, key: &[u8], value: &[u8]) -> Result<bool, EngineError> {
        Ok(self.shared.catalog.get(key)?.is_some_and(|now| now[..] == *value))
    }

    /// The blobs of a manifest's parts, also of those that they are pieces of; each once. `None` if the
    /// manifest is not there.
    fn layouts_of_parts(
        &self,
        id: BlobId,
        seen: &mut BTreeSet<BlobId>,
    ) -> Result<Option<Vec<Layout>>, EngineError> {
        let mut layouts = Vec::new();
        let Some(manifest) = self.manifest_if_there(id)? else { return Ok(None) };
        for part in manifest.parts {
            layouts.extend(self.layouts_of_part(&part, seen)?);
        }
        Ok(Some(layouts))
    }

    pub(crate) fn layouts_of_part(
        &self,
        part: &PartRow,
        seen: &mut BTreeSet<BlobId>,
    ) -> Result<Vec<Layout>, EngineError> {
        if let Data::Slice { base, .. } = &part.data
            && let Some(id) = base.shared_id()
        {
            if !seen.insert(id) {
                return Ok(Vec::new());
            }
            if let Data::Manifest(id) = **base {
                // What a piece is a piece of goes after it: if that is gone, so is the piece.
                return Ok(self.layouts_of_parts(id, seen)?.unwrap_or_default());
            }
        }
        Ok(Layout::of_data(&part.data, part.stored_len()).into_iter().collect())
    }
}

/// The rows that are looked at.
fn ranges(bucket: Option<&(BucketId, Vec<u8>)>) -> Vec<KeyRange> {
    match bucket {
        None => [Family::Head, Family::Version, Family::Part].map(Family::range).into(),
        Some((bucket, prefix)) => vec![
            prefix_range(&Key::head(*bucket, prefix)),
            prefix_range(&Key::versions_with_prefix(*bucket, prefix)),
        ],
    }
}
