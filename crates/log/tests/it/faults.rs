//! Failing, full and foreign drives; freed segments.

use crate::world::{Given, SEGMENT_LEN, config, open, run};
use bytes::Bytes;
use drystone_base::SeededRng;
use drystone_io::{CrashKind, Disk, Fault, SimDisk};
use drystone_log::{Class, Durability, Log, LogError, RecordInput, RecordKind, Scanned};
use std::sync::Arc;

fn append(log: &Log, class: Class, payload: &[u8]) -> Result<(), LogError> {
    let record = RecordInput::new(RecordKind::Frame, Bytes::new(), Bytes::copy_from_slice(payload));
    let ticket = log.append_ticket(class, vec![record], Durability::Flushed);
    log.pump(class);
    ticket.try_take().expect("pumped").map(drop)
}

#[test]
fn a_failed_flush_quarantines_the_drive() {
    let disk = SimDisk::new(64 << 20, 1);
    let log = open(&disk, 1, None).expect("opens");
    append(&log, Class::Small, b"before").expect("healthy");
    disk.inject(0, Fault::SyncError);
    assert!(matches!(append(&log, Class::Small, b"x"), Err(LogError::Failed(_))));
    assert!(log.is_quarantined());
    assert_eq!(log.failure().expect("it is said").operation, "a flush");
    assert!(matches!(append(&log, Class::Bulk, b"y"), Err(LogError::Quarantined)));
}

/// Goal: only a failed write or flush ends writing. Method: one opening or creation of a file fails, at each
/// operation of a history in which segments are filled, closed and freed.
#[test]
fn a_file_that_cannot_be_opened_fails_what_needs_it_and_nothing_else() {
    let mut refused = 0;
    for at in 0..120 {
        let disk = SimDisk::new(64 << 20, at);
        let log = open(&disk, 1, None).expect("opens");
        disk.inject(disk.op_count() + at, Fault::OpenError);
        for round in 0..4 {
            for class in Class::ALL {
                for _ in 0..3 {
                    match append(&log, class, &[round; 90_000]) {
                        Ok(()) => {}
                        Err(error) => {
                            assert!(matches!(error, LogError::NotOpened(_)), "{error}");
                            assert!(class == Class::Bulk, "others have spares, which are open");
                            refused += 1;
                        }
                    }
                }
            }
            let sealed = log.segments().into_iter().find(|info| info.sealed && round == 2);
            sealed.map(|info| log.free(info.segment, info.incarnation)).transpose().expect("freed");
        }
        assert!(!log.is_quarantined(), "operation {at}");
        for class in Class::ALL {
            append(&log, class, &[9; 200_000]).expect("it can be opened again");
        }
    }
    assert!(refused > 0, "the fault was met");
}

/// Goal: nothing is written behind a write or flush that failed, whatever it was for. Method: one fails at
/// each operation of the same history.
#[test]
fn any_failed_write_or_flush_quarantines_the_drive() {
    for fault in [Fault::WriteError, Fault::SyncError] {
        for at in 0..60 {
            let disk = SimDisk::new(64 << 20, at);
            let log = open(&disk, 1, None).expect("opens");
            disk.inject(disk.op_count() + at, fault);
            let mut failed = false;
            for round in 0..12 {
                for class in Class::ALL {
                    let appended = append(&log, class, &[round; 90_000]);
                    assert!(appended.is_err() || !failed, "{fault:?} at {at}: written on");
                    failed |= appended.is_err();
                }
            }
            assert!(failed && log.is_quarantined(), "{fault:?} at {at}");
        }
    }
}

#[test]
fn a_full_device_that_fails_a_flush_quarantines_the_drive_too() {
    let disk = SimDisk::new(u64::from(SEGMENT_LEN) * 3, 1);
    let log = open(&disk, 1, None).expect("opens");
    append(&log, Class::Small, b"before").expect("healthy");
    disk.inject(0, Fault::SyncFull);
    assert!(matches!(append(&log, Class::Small, b"x"), Err(LogError::Failed(_))));
    assert!(log.is_quarantined());
}

#[test]
fn a_full_drive_refuses_bulk_but_keeps_spares_for_small_records() {
    let disk = SimDisk::new(u64::from(SEGMENT_LEN) * 4, 1);
    let log = open(&disk, 1, None).expect("opens");
    let large = vec![1; 100_000];
    let refused = (0..20).map(|_| append(&log, Class::Bulk, &large)).find(Result::is_err);
    assert!(matches!(refused, Some(Err(LogError::Full))));
    assert!(!log.is_quarantined());
    append(&log, Class::Small, b"a delete still works").expect("spares are kept for this");
}

/// Appends a record that leaves less than a batch header of the first segment.
fn fill_first_segment(log: &Log) {
    let overhead = 4096 + 64 + 40 + 4 * 4;
    append(log, Class::Small, &vec![7; SEGMENT_LEN as usize - overhead - 16]).expect("fits");
}

#[test]
fn a_flush_at_the_end_of_a_segment_writes_nothing_behind_it() {
    let disk = SimDisk::new(64 << 20, 1);
    let log = open(&disk, 1, None).expect("opens");
    fill_first_segment(&log);
    let ticket = log.append_ticket(Class::Small, Vec::new(), Durability::Flushed);
    log.pump(Class::Small);
    ticket.try_take().expect("pumped").expect("nothing to write");
    for name in disk.list().expect("lists") {
        let len = disk.open(&name).and_then(|file| file.len_bytes()).expect("opens");
        assert_eq!(len, u64::from(SEGMENT_LEN), "{name}");
    }
}

#[test]
fn a_segment_that_was_cut_is_damage_and_is_kept() {
    let disk = SimDisk::new(64 << 20, 1);
    let log = open(&disk, 1, None).expect("opens");
    append(&log, Class::Small, b"before the cut").expect("healthy");
    append(&log, Class::Small, &[7; 100_000]).expect("healthy");
    log.rotate(Class::Small).expect("rotates");
    let holds = |name: &String| disk.contents(name).windows(14).any(|w| w == b"before the cut");
    let name = disk.list().expect("lists").into_iter().find(holds).expect("a segment has it");
    drop(log);
    disk.truncate(&name, 20_000);
    let log = open(&disk, 2, None).expect("recovers");
    let (mut records, mut damaged) = (0, 0);
    log.scan(Class::Small, 0, |scanned| {
        match scanned {
            Scanned::Record(_) => records += 1,
            Scanned::Damage(_) => damaged += 1,
        }
        Ok::<_, LogError>(())
    })
    .expect("scans");
    assert_eq!((records, damaged), (1, 1));
}

#[test]
fn a_segment_of_another_drive_is_refused() {
    let disk = SimDisk::new(64 << 20, 1);
    let log = open(&disk, 1, None).expect("opens");
    append(&log, Class::Small, b"x").expect("healthy");
    drop(log);
    let other = drystone_log::LogConfig { drive: [8; 16], ..config(2, None) };
    let error = Log::open(Arc::new(disk), other).err().expect("foreign");
    assert!(matches!(error, LogError::Foreign { .. }));
}

#[test]
fn a_record_of_a_freed_segment_is_not_there_any_more() {
    let disk = SimDisk::new(64 << 20, 1);
    let log = open(&disk, 1, None).expect("opens");
    let record = RecordInput::new(RecordKind::Frame, Bytes::new(), Bytes::from_static(b"hello"));
    let ticket = log.append_ticket(Class::Bulk, vec![record], Durability::Flushed);
    log.pump(Class::Bulk);
    let (_, location) = ticket.try_take().expect("pumped").expect("durable")[0];
    let read = log.read(location, 0, 1..4).expect("reads");
    assert_eq!(&read.payload[..], b"ell");
    log.rotate(Class::Bulk).expect("rotates");
    log.free(location.segment, location.incarnation).expect("frees");
    assert!(matches!(log.read(location, 0, 0..5), Err(LogError::NotThere)));
    drop(log);
    disk.restart(CrashKind::Power);
    let log = open(&disk, 2, None).expect("recovers");
    assert!(matches!(log.read(location, 0, 0..5), Err(LogError::NotThere)));
}

#[test]
fn a_flipped_bit_in_a_payload_is_an_error_and_never_served() {
    let disk = SimDisk::new(64 << 20, 1);
    let log = open(&disk, 1, None).expect("opens");
    let payload = Bytes::from(vec![5; 150_000]);
    let record = RecordInput::new(RecordKind::Frame, Bytes::new(), payload);
    let ticket = log.append_ticket(Class::Bulk, vec![record], Durability::Flushed);
    log.pump(Class::Bulk);
    let (_, location) = ticket.try_take().expect("pumped").expect("durable")[0];
    let file = format!("seg-{:08}.log", location.segment);
    disk.flip_bit(&file, u64::from(location.offset) + 100_000, 0);
    assert!(matches!(log.read(location, 0, 0..150_000), Err(LogError::Damaged(_))));
    assert!(matches!(log.read(location, 0, 90_000..100_000), Err(LogError::Damaged(_))));
    assert_eq!(log.read(location, 0, 0..10).expect("another frame").payload.len(), 10);
    assert_eq!(
        log.read(location, 0, 140_000..150_000).expect("another frame").payload.len(),
        10_000
    );
}

#[test]
fn writer_threads_acknowledge_and_end() {
    let disk = SimDisk::new(64 << 20, 1);
    let log = open(&disk, 1, None).expect("opens");
    std::thread::scope(|scope| {
        for class in Class::ALL {
            let log = log.clone();
            scope.spawn(move || log.run_writer(class));
        }
        let tickets: Vec<_> = (0..300_u32)
            .map(|i| {
                let payload = Bytes::copy_from_slice(&i.to_le_bytes());
                let record = RecordInput::new(RecordKind::Frame, Bytes::new(), payload);
                log.append_ticket(Class::Small, vec![record], Durability::Flushed)
            })
            .collect();
        let mut last = 0;
        for ticket in tickets {
            let (lsn, _) = ticket.wait().expect("durable")[0];
            assert!(lsn > last, "lsns follow the order of arrival");
            last = lsn;
        }
        log.close();
    });
    let mut given = Given::default();
    run(&log, &SeededRng::new(1), &mut given, 5, 0);
    assert!(given.contents.values().all(|acknowledged| !acknowledged), "closed");
}

/// Goal: a segment whose release is cut short is free or as sealed as before, never open again: its end
/// would be written again behind everything, in the wrong order. Method: three segments, the one in
/// the middle freed, the power cut at each operation of freeing the first.
#[test]
fn a_release_that_is_cut_short_opens_nothing_again() {
    for seed in 0..2000 {
        let disk = SimDisk::new(64 << 20, seed);
        let log = open(&disk, 1, None).expect("an empty disk opens");
        for number in 0..3_u8 {
            append(&log, Class::Small, &[number; 9]).expect("durable");
            if number < 2 {
                log.rotate(Class::Small).expect("closed");
            }
        }
        let segments = log.segments();
        log.free(segments[1].segment, segments[1].incarnation).expect("freed");
        disk.crash_at(disk.op_count() + 1 + seed % 5);
        let _ = log.free(segments[0].segment, segments[0].incarnation);
        drop(log);
        disk.restart(CrashKind::Power);
        let log = open(&disk, 2, None).expect("recovers");
        let ends: Vec<_> = log.segments().iter().map(|info| info.after_lsn).collect();
        assert!(ends.is_sorted(), "seed {seed}: {:?}", log.segments());
    }
}
