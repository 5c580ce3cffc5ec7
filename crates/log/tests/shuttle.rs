//! Interleavings of the log's writers, explored by shuttle: `RUSTFLAGS="--cfg shuttle"`.
#![cfg(shuttle)]

use bytes::Bytes;
use drystone_io::{CrashKind, SimDisk};
use drystone_log::{Class, Durability, Log, LogConfig, RecordInput, RecordKind, Scanned};
use shuttle::thread;
use std::collections::BTreeSet;
use std::sync::Arc;

fn open(disk: &SimDisk, term: u32) -> Log {
    let config = LogConfig {
        drive: [1; 16],
        term,
        segment_len: 16 << 10,
        write_ahead_len: 0,
        lsn_floor: 0,
        bug: None,
    };
    Log::open(Arc::new(disk.clone()), config).expect("opens")
}

fn record(content: u32) -> RecordInput {
    let mut payload = vec![0; 3000];
    payload[..4].copy_from_slice(&content.to_le_bytes());
    RecordInput::new(RecordKind::Frame, Bytes::new(), payload.into())
}

/// Writers of two classes roll into new segments while others append and one frees segments: what was
/// acknowledged survives a power cut.
fn appenders_writers_and_reclaim() {
    let disk = SimDisk::new(4 << 20, 1);
    let log = open(&disk, 1);
    let writers: Vec<_> = [Class::Small, Class::Bulk]
        .into_iter()
        .map(|class| {
            let log = log.clone();
            thread::spawn(move || log.run_writer(class))
        })
        .collect();
    let appenders: Vec<_> = (0..3_u32)
        .map(|appender| {
            let log = log.clone();
            thread::spawn(move || {
                let mut acknowledged = Vec::new();
                for number in 0..4 {
                    let content = appender * 100 + number;
                    let class = if number % 2 == 0 { Class::Small } else { Class::Bulk };
                    let ticket =
                        log.append_ticket(class, vec![record(content)], Durability::Flushed);
                    ticket.wait().expect("durable");
                    acknowledged.push(content);
                }
                acknowledged
            })
        })
        .collect();
    let freer = {
        let log = log.clone();
        thread::spawn(move || {
            // A segment of a third class comes and goes, so that segments are given out again.
            for _ in 0..2 {
                let ticket =
                    log.append_ticket(Class::Moved, vec![record(9999)], Durability::Flushed);
                log.pump(Class::Moved);
                ticket.wait().expect("durable");
                log.rotate(Class::Moved).expect("rotates");
                for info in log.segments() {
                    if info.class == Class::Moved && info.sealed {
                        log.free(info.segment, info.incarnation).expect("frees");
                    }
                }
            }
        })
    };
    let mut acknowledged = BTreeSet::new();
    for appender in appenders {
        acknowledged.extend(appender.join().expect("no panic"));
    }
    freer.join().expect("no panic");
    log.close();
    writers.into_iter().for_each(|writer| writer.join().expect("no panic"));
    drop(log);
    disk.restart(CrashKind::Power);
    let log = open(&disk, 2);
    let mut found = BTreeSet::new();
    for class in [Class::Small, Class::Bulk] {
        log.scan::<drystone_log::LogError>(class, 0, |scanned| {
            let Scanned::Record(record) = scanned else { panic!("damage: {scanned:?}") };
            let content = record.payload[..4].try_into().expect("4 bytes");
            found.insert(u32::from_le_bytes(content));
            Ok(())
        })
        .expect("scans");
    }
    assert_eq!(found, acknowledged);
}

#[test]
fn writers_do_not_lose_or_mix_records() {
    shuttle::check_random(appenders_writers_and_reclaim, 300);
}
