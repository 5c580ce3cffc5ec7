//! Interleavings of the committer with those who hand plans in, explored by shuttle:
//! `RUSTFLAGS="--cfg shuttle"`.
#![cfg(shuttle)]

use drystone_base::{SystemClock, SystemRng};
use drystone_catalog::{Catalog, CatalogConfig, Decision, RowProtection};
use drystone_index::MemIndex;
use drystone_io::SimDisk;
use drystone_log::{Class, Log, LogConfig};
use shuttle::thread;
use std::sync::Arc;

/// Threads add to one counter, and one asks for it to be created once: every addition counts, one
/// creation wins, and each reply sees what was acknowledged before it.
fn counters() {
    let config = LogConfig {
        drive: [1; 16],
        term: 1,
        segment_len: 64 << 10,
        write_ahead_len: 0,
        lsn_floor: 0,
        bug: None,
    };
    let log = Log::open(Arc::new(SimDisk::new(4 << 20, 1)), config).expect("opens");
    let config = CatalogConfig {
        clock: Arc::new(SystemClock),
        rng: Arc::new(SystemRng),
        rebuild: false,
        mirrors: Default::default(),
        rows: RowProtection::None,
        bug: None,
    };
    let catalog = Catalog::open(log.clone(), Arc::new(MemIndex::new()), config).expect("opens");
    let writer = {
        let log = log.clone();
        thread::spawn(move || log.run_writer(Class::Small))
    };
    let committer = {
        let catalog = catalog.clone();
        thread::spawn(move || catalog.run_committer())
    };
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let catalog = catalog.clone();
            thread::spawn(move || {
                let created = catalog.submit(|tx| {
                    if tx.get(b"\x02once")?.is_some() {
                        return Ok(Decision::Reject(false));
                    }
                    tx.put(b"\x02once".to_vec(), vec![1]);
                    Ok(Decision::Commit(true))
                });
                for _ in 0..3 {
                    let added = catalog.submit(|tx| {
                        let before = tx.get(b"\x02counter")?.map_or(0, |value| value[0]);
                        tx.put(b"\x02counter".to_vec(), vec![before + 1]);
                        Ok(Decision::Commit(before + 1))
                    });
                    let value = added.wait().expect("committed");
                    let row = catalog.get(b"\x02counter").expect("reads").expect("there");
                    assert!(row[0] >= value, "what was acknowledged is visible");
                }
                created.wait().expect("answered")
            })
        })
        .collect();
    let winners = clients.into_iter().map(|c| c.join().expect("no panic"));
    assert_eq!(winners.filter(|won| *won).count(), 1, "one creation wins");
    let row = catalog.get(b"\x02counter").expect("reads").expect("there");
    assert_eq!(row[0], 9, "every addition counts");
    catalog.close();
    committer.join().expect("no panic");
    log.close();
    writer.join().expect("no panic");
}

#[test]
fn the_committer_decides_in_one_order() {
    shuttle::check_random(counters, 300);
}
