//! The drive as others use it.

use crate::error::DriveError;
use crate::shard::ShardId;
use crate::superblock::Super;
use crate::table::{Origin, Table};
use bytes::Bytes;
use drystone_base::BlobId;
use drystone_index::Index;
use drystone_io::Disk;
use drystone_log::{
    Class, Durability, Location, Log, LogConfig, LogError, Observer, RecordInput, RecordKind,
    Recorded, SHARD_META_LEN_BYTES, Scanned, SeededBug, Ticket,
};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What a drive is opened with.
pub struct DriveConfig {
    /// Identity, as [`crate::open_super`] gave it.
    pub identity: Super,
    /// Bytes of zeros that a small segment is written ahead, the first time.
    pub write_ahead_len: u32,
    /// Lsns given out are above this: how far the catalog's index reaches.
    pub lsn_floor: u64,
    /// For tests of tests.
    pub bug: Option<SeededBug>,
}

pub(crate) struct Shared {
    pub(crate) log: Log,
    pub(crate) table: Arc<Table>,
    identity: Super,
    blob_counter: AtomicU32,
    pub(crate) in_progress: crate::stray::Beginnings,
    index: Arc<dyn Index>,
}

/// Handle to a drive. Clones share it.
#[derive(Clone)]
pub struct Drive {
    pub(crate) shared: Arc<Shared>,
}

/// A verified range of a shard.
#[derive(Clone, Debug)]
pub struct ShardRead {
    /// The bytes asked for.
    pub bytes: Bytes,
    /// Where they were found.
    pub location: Location,
}

struct TableObserver(Arc<Table>);

impl Observer for TableObserver {
    fn recorded(&self, class: Class, records: &[Recorded]) {
        // What an index that fails does not take waits for it: until then the drive goes on taking records,
        // what is looked up in the index fails, and nothing is freed. [`Drive::tend_index`] says so.
        let _ = self.0.take(class, records);
    }
}

impl Drive {
    /// Opens the log and the index of a drive. Nothing is served before the log has recovered.
    ///
    /// # Errors
    ///
    /// What log and index report.
    pub fn open(
        disk: Arc<dyn Disk>,
        index: Arc<dyn Index>,
        config: DriveConfig,
    ) -> Result<Self, DriveError> {
        let table = Table::open(index.clone())?;
        let mut lsn_floor = config.lsn_floor;
        for class in Class::ALL {
            lsn_floor = lsn_floor.max(table.position(class)?);
        }
        let log_config = LogConfig {
            drive: config.identity.drive,
            term: config.identity.term,
            segment_len: config.identity.segment_len,
            write_ahead_len: config.write_ahead_len,
            lsn_floor,
            bug: config.bug,
        };
        let log = Log::open(disk, log_config)?;
        for class in Class::ALL {
            replay(&log, &table, class)?;
        }
        let segments = log.segments().into_iter();
        table.forget_missing(&segments.map(|info| (info.segment, info.incarnation)).collect())?;
        let table = Arc::new(table);
        let shared = Arc::new(Shared {
            log: log.clone(),
            table: table.clone(),
            identity: config.identity,
            blob_counter: AtomicU32::new(0),
            in_progress: crate::stray::Beginnings::default(),
            index,
        });
        log.observe_with(Arc::new(TableObserver(table)));
        Ok(Self { shared })
    }

    /// The log of the drive.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.shared.log
    }

    /// What the drive says about itself.
    #[must_use]
    pub fn identity(&self) -> &Super {
        &self.shared.identity
    }

    /// The index of the drive, for maintenance.
    #[must_use]
    pub fn index(&self) -> &dyn Index {
        &*self.shared.index
    }

    /// Gives the index what it did not take because it failed; for a background thread. What is asked of
    /// the index meanwhile fails, the log goes on.
    ///
    /// # Errors
    ///
    /// The index still fails.
    pub fn tend_index(&self) -> Result<(), DriveError> {
        self.shared.table.catch_up()
    }

    /// Whether the index lacks records that the log has, because it failed.
    #[must_use]
    pub fn is_index_behind(&self) -> bool {
        self.shared.table.is_behind()
    }

    /// A new blob id.
    #[must_use]
    pub fn new_blob(&self, now_ms: u64) -> BlobId {
        let counter = self.shared.blob_counter.fetch_add(1, Ordering::Relaxed);
        BlobId::new(now_ms, 0, self.shared.identity.term, counter)
    }

    /// Appends a shard of a large part. The ticket is answered when it is written; it is durable
    /// after [`Drive::flush`].
    #[must_use]
    pub fn append(&self, record: RecordInput) -> Ticket<Result<Vec<(u64, Location)>, LogError>> {
        self.shared.log.append_ticket(Class::Bulk, vec![record], Durability::Written)
    }

    /// Appends a copy of a small part, or a manifest; it is durable, and found, once the ticket says so.
    /// Refused with [`LogError::Full`] where the drive writes into its reserve.
    #[must_use]
    pub fn append_small(
        &self,
        record: RecordInput,
    ) -> Ticket<Result<Vec<(u64, Location)>, LogError>> {
        if self.log().is_in_reserve() {
            let (ticket, give) = Ticket::new();
            give(Err(LogError::Full));
            return ticket;
        }
        self.shared.log.append_ticket(Class::Small, vec![record], Durability::Observed)
    }

    /// Number of the last catalog frame on this drive; 0 if there is none.
    ///
    /// # Errors
    ///
    /// The index failed.
    pub fn last_frame(&self) -> Result<u64, DriveError> {
        self.shared.table.last_frame()
    }

    /// Makes every shard appended so far durable.
    #[must_use]
    pub fn flush(&self) -> Ticket<Result<Vec<(u64, Location)>, LogError>> {
        self.shared.log.append_ticket(Class::Bulk, Vec::new(), Durability::Flushed)
    }

    /// Declares blobs dead. Their space is free for compaction once the ticket says so.
    #[must_use]
    pub fn bury(&self, blobs: &[BlobId]) -> Ticket<Result<Vec<(u64, Location)>, LogError>> {
        let payload: Vec<u8> = blobs.iter().flat_map(|blob| blob.0).collect();
        let record = RecordInput::new(RecordKind::Tombstones, Bytes::new(), payload.into());
        self.shared.log.append_ticket(Class::Small, vec![record], Durability::Observed)
    }

    /// Declares the shards dead that this drive has of some blobs, which were moved to another. The blobs
    /// may come back later.
    #[must_use]
    pub fn discard(&self, blobs: &[BlobId]) -> Ticket<Result<Vec<(u64, Location)>, LogError>> {
        let payload: Vec<u8> = blobs.iter().flat_map(|blob| blob.0).collect();
        self.append_discards(payload.into(), None)
    }

    /// `birth_lsn`: of the record that is written again.
    pub(crate) fn append_discards(
        &self,
        blobs: Bytes,
        birth_lsn: Option<u64>,
    ) -> Ticket<Result<Vec<(u64, Location)>, LogError>> {
        let mut record = RecordInput::new(RecordKind::Discards, Bytes::new(), blobs);
        record.birth_lsn = birth_lsn;
        self.shared.log.append_ticket(Class::Small, vec![record], Durability::Observed)
    }

    /// Declares blobs dead without waiting for it.
    pub fn bury_later(&self, blobs: &[BlobId]) {
        drop(self.bury(blobs));
    }

    /// Whether the drive knows of a shard. Its bytes are not read.
    ///
    /// # Errors
    ///
    /// The index failed.
    pub fn has(&self, shard: ShardId) -> Result<bool, DriveError> {
        Ok(self.shared.table.find(shard)?.is_some())
    }

    /// Whether a blob was declared dead on this drive, as far as the drive remembers.
    ///
    /// # Errors
    ///
    /// The index failed.
    pub fn is_buried(&self, blob: BlobId) -> Result<bool, DriveError> {
        self.shared.table.is_buried(blob)
    }

    /// Reads bytes `range` of a shard without waiting for the device; `None` if that would be
    /// necessary.
    ///
    /// # Errors
    ///
    /// As [`Drive::read`].
    pub fn read_cached(
        &self,
        shard: ShardId,
        hint: Option<Location>,
        range: Range<u32>,
    ) -> Result<Option<ShardRead>, DriveError> {
        self.read_with(shard, hint, range, &|plan| plan.run_cached())
    }

    /// Reads bytes `range` of a shard. Blocks.
    ///
    /// # Errors
    ///
    /// [`DriveError::NotFound`], [`DriveError::Damaged`], or what log and index report.
    pub fn read(
        &self,
        shard: ShardId,
        hint: Option<Location>,
        range: Range<u32>,
    ) -> Result<ShardRead, DriveError> {
        let read = self.read_with(shard, hint, range, &|plan| plan.run().map(Some))?;
        Ok(read.expect("a waiting read is complete"))
    }

    fn read_with(
        &self,
        shard: ShardId,
        hint: Option<Location>,
        range: Range<u32>,
        run: &dyn Fn(drystone_log::ReadPlan) -> Result<Option<drystone_log::RecordRead>, LogError>,
    ) -> Result<Option<ShardRead>, DriveError> {
        let mut damage = None;
        let mut tried = None;
        // The hint first, then the index, then the index again: compaction may have moved the
        // shard between looking and reading.
        for attempt in 0..3 {
            let location = match hint.filter(|_| attempt == 0) {
                Some(location) => location,
                None => match self.shared.table.find(shard)? {
                    Some(location) => location,
                    None => break,
                },
            };
            if tried == Some(location) {
                break;
            }
            tried = Some(location);
            let plan = self.shared.log.plan_read(location, SHARD_META_LEN_BYTES, range.clone());
            match plan.and_then(run) {
                Ok(Some(read)) if ShardId::of_meta(&read.meta) == Some(shard) => {
                    return Ok(Some(ShardRead { bytes: read.payload, location }));
                }
                Ok(Some(_)) | Err(LogError::NotThere) => {}
                Ok(None) => return Ok(None),
                Err(LogError::Damaged(found)) => damage = Some(found),
                Err(error) => return Err(error.into()),
            }
        }
        match damage {
            Some(damage) => Err(DriveError::Damaged { shard, damage }),
            None => Err(DriveError::NotFound(shard)),
        }
    }
}

/// Brings the index up to what the log has in a class.
fn replay(log: &Log, table: &Table, class: Class) -> Result<(), DriveError> {
    const CHUNK: usize = 1024;
    let mut records: Vec<Recorded> = Vec::new();
    let from = table.replay_from(class, &log.segments())?;
    log.scan(class, from, |scanned| {
        // Shards in a damaged stretch are missing from the index: reading them is an error.
        let Scanned::Record(record) = scanned else { return Ok(()) };
        records.push(Recorded {
            kind: record.kind,
            lsn: record.lsn,
            birth_lsn: record.birth_lsn,
            location: record.location,
            meta: record.meta,
            control: record.payload,
        });
        if records.len() >= CHUNK {
            table.record(class, &records, Origin::Replayed)?;
            records.clear();
        }
        Ok::<_, DriveError>(())
    })?;
    table.record(class, &records, Origin::Replayed)
}
