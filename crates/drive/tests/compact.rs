//! Compaction: what is counted as alive, and a reserve that only what frees space may use.

use bytes::Bytes;
use drystone_base::SeededRng;
use drystone_drive::{
    Coding, Drive, DriveConfig, NewDrive, Retain, ShardId, format_drive, open_super,
};
use drystone_index::MemIndex;
use drystone_io::{Disk, SimDisk};
use drystone_log::{Class, Durability, LogError, Ticket};
use std::sync::Arc;

const SEGMENT_LEN: u32 = 256 << 10;

fn new_drive(disk: &SimDisk) -> Drive {
    format_drive(disk, &NewDrive::alone(&SeededRng::new(1), 5, SEGMENT_LEN), None)
        .expect("formats");
    let identity = open_super(disk).expect("opens").expect("there");
    let config = DriveConfig { identity, write_ahead_len: 0, lsn_floor: 0, bug: None };
    Drive::open(Arc::new(disk.clone()), Arc::new(MemIndex::default()), config).expect("opens")
}

fn pump(drive: &Drive) {
    Class::ALL.into_iter().for_each(|class| {
        drive.log().pump(class);
    });
}

fn done<T: Send + 'static>(
    drive: &Drive,
    ticket: Ticket<Result<T, LogError>>,
) -> Result<T, LogError> {
    pump(drive);
    ticket.try_take().expect("pumped")
}

fn append(drive: &Drive, shard: ShardId, len: usize) -> Result<(), LogError> {
    let record = shard.record(7, Coding::plain(len as u32), Bytes::from(vec![7; len]));
    done(drive, drive.append_small(record)).map(drop)
}

fn compact(drive: &Drive) -> drystone_drive::CompactReport {
    let retain = Retain { frames_floor: u64::MAX, segments: Vec::new() };
    drive.compact(&retain, &|| pump(drive)).expect("compacts")
}

/// A blob gets another manifest when its object is renamed: the first one is dead then, and its segment can
/// be freed.
#[test]
fn a_manifest_that_is_written_again_is_alive_once() {
    let drive = new_drive(&SimDisk::new(64 << 20, 1));
    let blob = drive.new_blob(1);
    for _ in 0..3 {
        append(&drive, ShardId::manifest(blob), 100).expect("written");
        drive.log().rotate(Class::Small).expect("closed");
    }
    let report = compact(&drive);
    // Two are dead; the third is moved.
    assert_eq!((report.freed, report.moved, report.damaged), (3, 1, 0));
    let read = drive.read(ShardId::manifest(blob), None, 0..100).expect("still there");
    assert_eq!(&read.bytes[..], &[7; 100]);
}

/// Goal: of several records of a shard the one that was written last is served, whichever classes they are
/// in and in whatever order a start takes these in: repair writes a shard again that was damaged, and a blob
/// gets another manifest. Method: a first copy, moved by compaction or not, and a second in each class;
/// then starts with the index of before, and without one.
#[test]
fn the_last_copy_of_a_shard_is_served_after_every_start() {
    let records = [Class::Small, Class::Bulk];
    for (first, second) in records.into_iter().flat_map(|a| records.map(|b| (a, b))) {
        for is_moved in [false, true] {
            let disk = SimDisk::new(64 << 20, 1);
            let drive = new_drive(&disk);
            let shard = ShardId { blob: drive.new_blob(1), stripe: 0 };
            let write = |class, byte: u8| {
                let record = shard.record(7, Coding::plain(100), Bytes::from(vec![byte; 100]));
                let ticket = drive.log().append_ticket(class, vec![record], Durability::Observed);
                done(&drive, ticket).expect("written");
            };
            write(first, 1);
            if is_moved {
                drive.log().rotate(first).expect("closed");
                assert_eq!(compact(&drive).moved, 1);
            }
            write(second, 2);
            drive.log().rotate(second).expect("closed");
            let serves = |drive: &Drive| {
                let read = drive.read(shard, None, 0..100).expect("is there");
                assert_eq!(read.bytes[0], 2, "{first:?} {second:?} {is_moved}");
            };
            serves(&drive);
            drive.log().close();
            let index = Arc::new(MemIndex::default());
            // Nothing is known the first time, all of it the second time.
            for _ in 0..2 {
                let identity = open_super(&disk).expect("opens").expect("there");
                let config = DriveConfig { identity, write_ahead_len: 0, lsn_floor: 0, bug: None };
                let drive = Drive::open(Arc::new(disk.clone()), index.clone(), config);
                let drive = drive.expect("opens");
                serves(&drive);
                drive.log().close();
            }
        }
    }
}

/// Small parts and manifests of a full drive are refused while there is still room for tombstones.
#[test]
fn what_is_in_reserve_is_for_deletes() {
    let disk = SimDisk::new(64 << 20, 1);
    let drive = new_drive(&disk);
    let mut blobs: Vec<_> = (0..100).map(|_| drive.new_blob(1)).collect();
    for blob in &blobs {
        append(&drive, ShardId { blob: *blob, stripe: 0 }, 4000).expect("there is space");
    }
    let space = disk.space().expect("answers");
    disk.set_capacity(space.total_bytes - space.free_bytes);
    let error = loop {
        let blob = drive.new_blob(1);
        match append(&drive, ShardId { blob, stripe: 0 }, 4000) {
            Ok(()) => blobs.push(blob),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LogError::Full) && drive.log().is_in_reserve(), "{error}");
    for _ in 0..3 {
        for blob in &blobs {
            done(&drive, drive.bury(&[*blob])).expect("a full drive takes tombstones");
        }
    }
    let report = compact(&drive);
    assert!(report.freed > 0, "{report:?} {:?}", drive.log().segments());
    assert!(!drive.log().is_in_reserve(), "what was freed is the reserve again");
    append(&drive, ShardId { blob: drive.new_blob(1), stripe: 0 }, 4000)
        .expect("takes bytes again");
}
