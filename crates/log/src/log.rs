//! The log of a drive, as others use it.

use crate::error::{Damage, Failure, LogError, failed};
use crate::format::{BATCH_HEADER_LEN, Class, SEGMENT_HEADER_LEN};
use crate::group::{Durability, Group, RecordInput, Recorded};
use crate::queue::{Queue, Work};
use crate::recovery;
use crate::segment::{SPARE_COUNT, SegmentInfo, SegmentTable, file_name, write_header};
use crate::ticket::Ticket;
use crate::writer::Writer;
use crate::{Location, format::SegmentHeader};
use drystone_base::sync::{Mutex, lock};
use drystone_io::Disk;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Time after which an idle writer tells what is durable.
const MARK_AFTER: Duration = Duration::from_millis(500);

/// A mistake built in on purpose, so that tests can prove that they would find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeededBug {
    /// Flushes are left out.
    SkipFlush,
    /// Callbacks run before the flush.
    AcknowledgeEarly,
    /// What was found beyond the durable part is served as it lies, not written again and flushed.
    ServeUnsealedTail,
    /// Batches that an earlier term left behind those of a later one count.
    TakeOlderTerms,
    /// The header of an open segment is not written again when the segment is written on.
    LeaveOpenHeader,
    /// Bad bytes below the durable lsn are taken for a torn tail.
    TakeDamageForTail,
    /// The layers above commit a row before the cells that it names are flushed.
    FrameBeforePayload,
    /// The layers above free a segment before what was moved out of it is flushed.
    FreeSourceEarly,
    /// The layers above forget that a blob was declared dead while shards of it may be left.
    DropTombstoneEarly,
}

/// What a log is opened with.
#[derive(Clone, Copy, Debug)]
pub struct LogConfig {
    /// The drive's identity; a segment of another drive is refused.
    pub drive: [u8; 16],
    /// Term of this process, higher than any before.
    pub term: u32,
    /// Length of a segment in bytes: 256 KiB to 256 MiB, the same for the life of the drive.
    pub segment_len: u32,
    /// Bytes of zeros written behind the end of a small segment that is written for the first time.
    pub write_ahead_len: u32,
    /// Lsns given out are above this.
    pub lsn_floor: u64,
    /// For tests of tests.
    pub bug: Option<SeededBug>,
}

/// Space of a drive, seen from the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSpace {
    /// Size of the filesystem.
    pub total_bytes: u64,
    /// Free on the filesystem, and in free segments, spares among them.
    pub free_bytes: u64,
    /// Bytes in segments that are in use.
    pub used_bytes: u64,
}

/// Is told of records once they are durable, in the order of their class.
pub trait Observer: Send + Sync {
    /// Records that became durable together. Called on the writer's thread.
    fn recorded(&self, class: Class, records: &[Recorded]);
}

pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) config: LogConfig,
    pub(crate) table: Mutex<SegmentTable>,
    pub(crate) zeros: Vec<u8>,
    /// Segments that were written over their whole length before.
    written: Mutex<BTreeSet<u32>>,
    queues: [Queue; 3],
    writers: [Mutex<Writer>; 3],
    next_lsn: AtomicU64,
    failure: OnceLock<Failure>,
    flush_count: AtomicU64,
    in_reserve: AtomicBool,
    observer: OnceLock<Arc<dyn Observer>>,
    damage: Vec<Damage>,
}

impl Shared {
    pub(crate) fn is_quarantined(&self) -> bool {
        self.failure.get().is_some()
    }
    /// A failed write or flush leaves the state of the device unknown: it ends all writing. Nothing else
    /// does.
    pub(crate) fn note(&self, error: &LogError) {
        if let LogError::Failed(failure) = error {
            let _ = self.failure.set(failure.clone());
        }
    }
    /// To be called whenever a free segment is taken or given back.
    pub(crate) fn note_reserve(&self, table: &SegmentTable) {
        self.in_reserve.store(table.is_in_reserve(), Ordering::Release);
    }
    pub(crate) fn take_lsns(&self, count: u64) -> u64 {
        self.next_lsn.fetch_add(count, Ordering::AcqRel)
    }
    pub(crate) fn count_flush(&self) {
        self.flush_count.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn was_written(&self, segment: u32) -> bool {
        lock(&self.written).contains(&segment)
    }
    pub(crate) fn observe(&self, class: Class, records: &mut Vec<Recorded>) {
        let records = std::mem::take(records);
        if let (Some(observer), false) = (self.observer.get(), records.is_empty()) {
            observer.recorded(class, &records);
        }
    }
}

/// Handle to the log of a drive. Clones share it.
#[derive(Clone)]
pub struct Log {
    pub(crate) shared: Arc<Shared>,
}

impl Log {
    /// Opens the log in a directory, recovering the tail of each class. Nothing is served before the
    /// tail is durable.
    ///
    /// # Errors
    ///
    /// [`LogError::Foreign`], [`LogError::Format`], or input and output errors. Damage is no error
    /// here: see [`Log::damage`].
    pub fn open(disk: Arc<dyn Disk>, mut config: LogConfig) -> Result<Self, LogError> {
        let recovered = recovery::recover(&*disk, &config)?;
        let written = recovered.table.entries.keys().copied().collect();
        config.term = recovered.term;
        let shared = Shared {
            disk,
            config,
            table: Mutex::new(recovered.table),
            zeros: vec![0; config.write_ahead_len as usize],
            written: Mutex::new(written),
            queues: Default::default(),
            writers: recovered.writers.map(Mutex::new),
            next_lsn: AtomicU64::new(recovered.last_lsn.max(config.lsn_floor) + 1),
            failure: OnceLock::new(),
            flush_count: AtomicU64::new(0),
            in_reserve: AtomicBool::new(false),
            observer: OnceLock::new(),
            damage: recovered.damage,
        };
        let log = Self { shared: Arc::new(shared) };
        log.refill_reserve()?;
        // A tail that was found is durable now: that is written down, so that it is missed if it rots.
        Class::ALL.into_iter().for_each(|class| log.mark(class));
        match log.failure() {
            Some(failure) => Err(failure.into()),
            None => Ok(log),
        }
    }

    /// Fills the pool up to the number of spares, as far as there is space.
    ///
    /// # Errors
    ///
    /// A new segment could not be made durable. That space lacks is no error.
    pub fn refill_reserve(&self) -> Result<(), LogError> {
        if self.shared.is_quarantined() {
            return Err(LogError::Quarantined);
        }
        let mut table = lock(&self.shared.table);
        let len = u64::from(self.shared.config.segment_len);
        while table.free_ids().len() < SPARE_COUNT {
            match table.create(&*self.shared.disk, len) {
                Ok(_) => {}
                Err(error) if error.is_refusal() => break,
                Err(error) => {
                    self.shared.note(&error);
                    return Err(error);
                }
            }
        }
        self.shared.note_reserve(&table);
        Ok(())
    }

    /// Whether a spare segment is in use because no other could be made: what is left is for deletes, for
    /// moving what is alive, and for recovery. Segments that compaction frees end this, and so does space for
    /// new ones, at [`Log::refill_reserve`].
    #[must_use]
    pub fn is_in_reserve(&self) -> bool {
        self.shared.in_reserve.load(Ordering::Acquire)
    }

    /// Who is told of durable records. May be set once, before the first append.
    pub fn observe_with(&self, observer: Arc<dyn Observer>) {
        assert!(self.shared.observer.set(observer).is_ok(), "one observer, set once");
    }

    /// Names of files in the place of segments that have something else than a header. They are left alone.
    #[must_use]
    pub fn strange_files(&self) -> Vec<String> {
        lock(&self.shared.table).strange.iter().map(|id| file_name(*id)).collect()
    }

    /// Damage found while opening.
    #[must_use]
    pub fn damage(&self) -> &[Damage] {
        &self.shared.damage
    }

    /// Hands a group to a class's writer. The group's callback is called in any case.
    pub fn append(&self, class: Class, group: Group) {
        if self.shared.is_quarantined() {
            (group.done)(Err(LogError::Quarantined));
            return;
        }
        if let Err(group) = self.shared.queues[class.index()].push(group) {
            (group.done)(Err(LogError::Closed));
        }
    }

    /// Appends records and gives a ticket for their lsns and places.
    #[must_use]
    pub fn append_ticket(
        &self,
        class: Class,
        records: Vec<RecordInput>,
        durability: Durability,
    ) -> Ticket<Result<Vec<(u64, Location)>, LogError>> {
        let (ticket, give) = Ticket::new();
        self.append(class, Group::new(records, durability, give));
        ticket
    }

    /// The body of a writer's thread: returns when the log is closed and its queue is empty.
    pub fn run_writer(&self, class: Class) {
        let queue = &self.shared.queues[class.index()];
        loop {
            let wants_mark = lock(&self.shared.writers[class.index()]).wants_mark();
            match queue.wait(wants_mark.then_some(MARK_AFTER)) {
                Work::Groups(groups) => {
                    lock(&self.shared.writers[class.index()]).write(&self.shared, groups);
                }
                Work::Idle => self.mark(class),
                Work::Closed => {
                    self.mark(class);
                    return;
                }
            }
        }
    }

    /// Works off what waits in a class, on the caller's thread; for simulation. Says whether there
    /// was anything.
    pub fn pump(&self, class: Class) -> bool {
        let groups = self.shared.queues[class.index()].take();
        let any = !groups.is_empty();
        lock(&self.shared.writers[class.index()]).write(&self.shared, groups);
        any
    }

    /// Writes down what is durable in a class, if that is not written yet.
    pub fn mark(&self, class: Class) {
        lock(&self.shared.writers[class.index()]).mark(&self.shared);
    }

    /// Closes the open segment of a class, so that it can be compacted.
    ///
    /// # Errors
    ///
    /// As appending.
    pub fn rotate(&self, class: Class) -> Result<(), LogError> {
        lock(&self.shared.writers[class.index()]).rotate(&self.shared)
    }

    /// Refuses further groups and lets the writers end.
    pub fn close(&self) {
        for queue in &self.shared.queues {
            queue.close();
        }
    }

    /// Whether a mistake was built in; for tests of tests.
    #[must_use]
    pub fn has_bug(&self, bug: SeededBug) -> bool {
        self.shared.config.bug == Some(bug)
    }

    /// Whether the drive failed and is not written to any more.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.shared.is_quarantined()
    }

    /// The write or flush that failed, if the drive is not written to any more.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.shared.failure.get().cloned()
    }

    /// Highest lsn given out.
    #[must_use]
    pub fn last_lsn(&self) -> u64 {
        self.shared.next_lsn.load(Ordering::Acquire) - 1
    }

    /// Flushes of the device since the log was opened.
    #[must_use]
    pub fn flush_count(&self) -> u64 {
        self.shared.flush_count.load(Ordering::Relaxed)
    }

    /// Identity of the drive.
    #[must_use]
    pub fn drive(&self) -> [u8; 16] {
        self.shared.config.drive
    }

    /// Length of a segment in bytes.
    #[must_use]
    pub fn segment_len(&self) -> u32 {
        self.shared.config.segment_len
    }

    /// Bytes of records, encoded, that one group may have: what surely fits into an empty segment.
    #[must_use]
    pub fn group_len_max(&self) -> u64 {
        let taken = 2 * SEGMENT_HEADER_LEN + BATCH_HEADER_LEN as u32;
        u64::from(self.shared.config.segment_len.saturating_sub(taken))
    }

    /// Segments that hold records, in order of their incarnation.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let table = lock(&self.shared.table);
        let mut infos: Vec<_> = table.entries.values().filter_map(|entry| entry.info).collect();
        infos.sort_by_key(|info| info.incarnation);
        infos
    }

    /// The lsn behind which a class still has everything that was written to it. Segments are not
    /// freed in the order of their lsns: an older one may be left behind a hole.
    #[must_use]
    pub fn whole_after(&self, class: Class) -> u64 {
        let segments = self.segments();
        let mut newest_first = segments.iter().rev().filter(|info| info.class == class);
        let mut reached = newest_first.next().map_or(0, |newest| newest.after_lsn);
        for older in newest_first {
            if older.last_lsn < reached {
                break;
            }
            reached = reached.min(older.after_lsn);
        }
        reached
    }

    /// Frees a sealed segment. It enters the pool when its header says so durably.
    ///
    /// # Errors
    ///
    /// A write or flush failed, which quarantines the drive.
    ///
    /// # Panics
    ///
    /// If the segment is not sealed, or not of that incarnation: freeing it would lose records.
    pub fn free(&self, segment: u32, incarnation: u32) -> Result<(), LogError> {
        if self.is_quarantined() {
            return Err(LogError::Quarantined);
        }
        self.free_in(&mut lock(&self.shared.table), segment, incarnation)
            .inspect_err(|error| self.shared.note(error))
    }

    fn free_in(
        &self,
        table: &mut SegmentTable,
        segment: u32,
        incarnation: u32,
    ) -> Result<(), LogError> {
        // This segment's header tells where the one before it ends; from now on only its own seal
        // does, which an earlier process may have failed to flush.
        table.seal_before(segment, incarnation)?;
        let fresh = table.next_incarnation;
        table.next_incarnation += 1;
        let entry = table.entries.get_mut(&segment).expect("a segment to free exists");
        let info = entry.info.expect("a segment to free is in use");
        assert!(info.sealed && info.incarnation == incarnation, "only a sealed segment is freed");
        let header = SegmentHeader {
            class: None,
            drive: self.shared.config.drive,
            segment,
            incarnation: fresh,
            term: self.shared.config.term,
            previous_segment: 0,
            previous_incarnation: 0,
            previous_end: 0,
            previous_last_lsn: 0,
        };
        let file = entry.file.clone();
        write_header(&*file, &header)?;
        file.sync_data().map_err(failed("a flush", segment))?;
        (entry.info, entry.reserved) = (None, false);
        self.shared.note_reserve(table);
        lock(&self.shared.written).insert(segment);
        table.trim(&*self.shared.disk)
    }

    /// Space of the drive.
    ///
    /// # Errors
    ///
    /// Input and output errors.
    pub fn space(&self) -> Result<LogSpace, LogError> {
        let space = self.shared.disk.space()?;
        let table = lock(&self.shared.table);
        let len = u64::from(self.shared.config.segment_len);
        let free = table.free_ids().len();
        let pool_bytes = free as u64 * len;
        Ok(LogSpace {
            total_bytes: space.total_bytes,
            free_bytes: space.free_bytes + pool_bytes,
            used_bytes: (table.entries.len() - free) as u64 * len,
        })
    }
}
