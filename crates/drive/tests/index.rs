//! An index that fails: the drive goes on, and no record is missed.

use bytes::Bytes;
use drystone_base::SeededRng;
use drystone_drive::{
    Coding, Drive, DriveConfig, NewDrive, Retain, ShardId, format_drive, open_super,
};
use drystone_index::{Change, Index, IndexError, KeyRange, MemIndex, Rows, Snapshot};
use drystone_io::SimDisk;
use drystone_log::{Class, RecordInput, RecordKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// An index whose reads fail while that is wanted.
#[derive(Default)]
struct Flaky {
    inner: MemIndex,
    fails: AtomicBool,
}

impl Flaky {
    fn check(&self) -> Result<(), IndexError> {
        match self.fails.load(Ordering::Relaxed) {
            true => Err(IndexError { reason: "injected".to_owned() }),
            false => Ok(()),
        }
    }
}

impl Index for Flaky {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, IndexError> {
        self.check()?;
        self.inner.get(key)
    }
    fn snapshot(&self) -> Snapshot {
        self.inner.snapshot()
    }
    fn scan(&self, snapshot: &Snapshot, range: KeyRange) -> Rows {
        match self.check() {
            Ok(()) => self.inner.scan(snapshot, range),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }
    fn apply(&self, source: u8, position: u64, changes: Vec<Change>) {
        self.inner.apply(source, position, changes);
    }
    fn position(&self, source: u8) -> Result<u64, IndexError> {
        self.check()?;
        self.inner.position(source)
    }
    fn wants_maintenance(&self) -> bool {
        false
    }
    fn maintain(&self) -> Result<(), IndexError> {
        Ok(())
    }
    fn clear(&self) -> Result<(), IndexError> {
        self.inner.clear()
    }
    fn disk_bytes(&self) -> u64 {
        0
    }
}

fn open(disk: &SimDisk, index: &Arc<Flaky>) -> Drive {
    let identity = open_super(disk).expect("opens").expect("there");
    let config = DriveConfig { identity, write_ahead_len: 0, lsn_floor: 0, bug: None };
    Drive::open(Arc::new(disk.clone()), index.clone(), config).expect("opens")
}

/// Appends a shard and makes it durable.
fn append(drive: &Drive, payload: &[u8]) -> ShardId {
    let blob = drive.new_blob(1);
    let shard = ShardId { blob, stripe: 0 };
    let record =
        shard.record(7, Coding::plain(payload.len() as u32), Bytes::copy_from_slice(payload));
    let ticket = drive.append(record);
    let flush = drive.flush();
    drive.log().pump(Class::Bulk);
    ticket.try_take().expect("pumped").expect("written");
    flush.try_take().expect("pumped").expect("the drive takes it although the index fails");
    shard
}

fn has(drive: &Drive, shard: ShardId, payload: &[u8]) {
    let read = drive.read(shard, None, 0..payload.len() as u32).expect("found");
    assert_eq!(&read.bytes[..], payload);
}

/// Goal: an index that fails loses no record, frees nothing and does not end writing. Method: shards
/// before, while and after it fails; compaction in between; afterwards with the same process, or after a
/// start.
#[test]
fn what_was_recorded_while_the_index_failed_is_found_afterwards() {
    for restarts in [false, true] {
        let disk = SimDisk::new(64 << 20, 1);
        let new = NewDrive::alone(&SeededRng::new(1), 5, 256 << 10);
        format_drive(&disk, &new, None).expect("formats");
        let index = Arc::new(Flaky::default());
        let mut drive = open(&disk, &index);
        let before = append(&drive, &[1; 5000]);
        index.fails.store(true, Ordering::Relaxed);
        let during = append(&drive, &[2; 5000]);
        drive.log().rotate(Class::Bulk).expect("closed");
        assert!(!drive.log().is_quarantined() && drive.is_index_behind());
        drive.read(during, None, 0..5000).expect_err("it is not known that it is not there");
        let retain = Retain::default();
        drive.compact(&retain, &|| {}).expect_err("nothing is freed");
        index.fails.store(false, Ordering::Relaxed);
        let after = append(&drive, &[3; 5000]);
        if restarts {
            drop(drive);
            drive = open(&disk, &index);
        }
        let pump = drive.clone();
        let report = drive.compact(&retain, &|| {
            for class in Class::ALL {
                pump.log().pump(class);
            }
        });
        report.expect("the index is level");
        for (shard, byte) in [(before, 1), (during, 2), (after, 3)] {
            has(&drive, shard, &[byte; 5000]);
        }
        assert!(!drive.is_index_behind());
    }
}

/// The same, when it fails so long that what waits is given up: a start takes it in.
#[test]
fn what_an_index_missed_for_long_is_taken_in_by_the_next_start() {
    let disk = SimDisk::new(64 << 20, 1);
    format_drive(&disk, &NewDrive::alone(&SeededRng::new(1), 5, 1 << 20), None).expect("formats");
    let index = Arc::new(Flaky::default());
    let drive = open(&disk, &index);
    index.fails.store(true, Ordering::Relaxed);
    let first = append(&drive, &[1; 500]);
    for _ in 0..70 {
        let record = RecordInput::new(RecordKind::Discards, Bytes::new(), Bytes::new());
        let records = vec![record; 1000];
        let ticket =
            drive.log().append_ticket(Class::Bulk, records, drystone_log::Durability::Flushed);
        drive.log().pump(Class::Bulk);
        ticket.try_take().expect("pumped").expect("written");
    }
    index.fails.store(false, Ordering::Relaxed);
    drive.tend_index().expect_err("it missed some for good");
    drive.read(first, None, 0..500).expect_err("it is not known that it is not there");
    drop(drive);
    let drive = open(&disk, &index);
    has(&drive, first, &[1; 500]);
}
