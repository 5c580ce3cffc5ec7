//! Looking at every shard that rows name: whether it is there and verifies; and giving back what is not.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::layout::Layout;
use crate::repair::RepairReport;
use drystone_base::{BucketId, DecodeError};
use drystone_catalog::{CatalogError, Data, Family, Key, KeyParts, ObjectRow, PartRow};
use drystone_cluster::DriveId;
use drystone_index::{KeyRange, prefix_range};

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
    /// Objects that cannot be read as a whole.
    pub lost_count: u64,
}

/// Is given a key and the layouts of its row; says whether the walk goes on.
pub(crate) type Visit<'a, E> = dyn FnMut(&[u8], Vec<Layout>) -> Result<bool, E> + 'a;

/// Lost objects that are listed at most.
const LOST_COUNT_MAX: usize = 1000;
/// Progress is told after so many rows.
const TELL_EVERY: u64 = 256;

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
        pump: &dyn Fn(),
    ) -> Result<AuditReport, EngineError> {
        let mut report = AuditReport::default();
        let mut stopped = false;
        self.walk_layouts::<EngineError>(scope.bucket.as_ref(), &mut |key, layouts| {
            report.rows += 1;
            let mut is_lost = false;
            for layout in layouts {
                is_lost |= self.audit_blob(&layout, scope, &mut report, pump)?;
            }
            if is_lost {
                report.lost_count += 1;
                if report.lost.len() < LOST_COUNT_MAX
                    && let Ok(parts) = KeyParts::parse(key)
                {
                    report.lost.push((parts.bucket, parts.object));
                }
            }
            stopped = report.rows.is_multiple_of(TELL_EVERY) && !tell(&report);
            Ok(!stopped)
        })?;
        if !stopped {
            tell(&report);
        }
        Ok(report)
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
                let (key, value) =
                    row.map_err(|error| E::from(CatalogError::from(error).into()))?;
                if !visit(&key, self.layouts(&key, &value)?)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Looks at the shards of a blob; says whether it cannot be read as a whole.
    fn audit_blob(
        &self,
        layout: &Layout,
        scope: &AuditScope,
        report: &mut AuditReport,
        pump: &dyn Fn(),
    ) -> Result<bool, EngineError> {
        let (mut is_lost, mut repaired) = (false, RepairReport::default());
        let of_drive = scope.drive.map(|drive| self.places_of(layout, drive));
        for stripe in 0..layout.stripe_count() {
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
                    self.give_back(layout, (stripe, place), &mut repaired, pump)?;
                }
                lacking += usize::from(repaired.shards == before);
            }
            is_lost |= lacking > usize::from(layout.shape.parity);
        }
        report.repaired += repaired.shards;
        if repaired.shards > 0 {
            self.flush_members(layout.blob, pump)?;
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
        let of = |data: &Data, size: u64| match data {
            Data::Blob { blob, cell_len, code, .. } => {
                Some(Layout::new(*blob, *code, *cell_len, size))
            }
            Data::Empty | Data::Inline(_) | Data::Manifest(_) => None,
        };
        Ok(match Family::of(key) {
            Some(Family::Head | Family::Version) => {
                let row = ObjectRow::decode(value)?;
                match &row.data {
                    Data::Manifest(id) => {
                        let parts = self.load_manifest(*id)?.parts;
                        parts.iter().filter_map(|part| of(&part.data, part.size)).collect()
                    }
                    data => of(data, row.size).into_iter().collect(),
                }
            }
            Some(Family::Part) => {
                let row = PartRow::decode(value)?;
                of(&row.data, row.size).into_iter().collect()
            }
            _ => return Err(DecodeError { what: "key of a row with bytes" }.into()),
        })
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
