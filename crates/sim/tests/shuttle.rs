//! Interleavings of clients, the sweep and the mover on several drives, explored by shuttle:
//! `RUSTFLAGS="--cfg shuttle"`.
#![cfg(shuttle)]

use bytes::Bytes;
use drystone_io::{Disk, Fault, SimDisk};
use drystone_sim::Store;
use shuttle::future::block_on;
use shuttle::rand::Rng;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::thread;
use std::sync::Arc;

/// Interleavings of each test.
const COUNT: usize = 200;
/// More than is copied as a whole: cells of its own on each data drive.
const CODED_LEN: usize = 300_000;
/// More than fits a row: copied to as many drives as are needed.
const COPIED_LEN: usize = 10_000;

fn body(first: u8, len: usize) -> Bytes {
    (0..len).map(|at| first.wrapping_add((at % 251) as u8)).collect()
}

/// Runs `explore` in many interleavings. Timers of tokio are made but never end.
fn in_many_ways(explore: fn()) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().expect("a runtime starts");
    let _timers = runtime.enter();
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 20;
    shuttle::Runner::new(RandomScheduler::new(COUNT), config.clone()).run(explore);
    // Threads that stand still for long while others go on.
    shuttle::Runner::new(PctScheduler::new(3, COUNT), config).run(explore);
}

/// A store on some of five drives, with objects `0` and `1`.
fn store(drive_count: usize, len: usize) -> (Arc<Store>, Vec<SimDisk>) {
    let disks: Vec<SimDisk> = (0..5).map(Store::memory_disk).collect();
    let shared: Vec<Arc<dyn Disk>> = disks[..drive_count].iter().map(share).collect();
    let store = Arc::new(Store::make(&shared, 1 << 20, false));
    block_on(async {
        store.make_bucket().await;
        for key in ["0", "1"] {
            store.put(key, &body(0, len)).await.expect("is stored");
        }
    });
    (store, disks)
}

fn share(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

/// Moves until everything is where it belongs.
fn move_all(store: &Store) {
    for _ in 0..50 {
        let moved = store.deployment.rebalance(&|_| true).expect("is moved");
        if !moved.is_some_and(|report| report.waits) {
            return;
        }
        block_on(store.sweep()).expect("is swept");
    }
    panic!("what was given another code is never swept");
}

/// What must hold in the end: `0` as it was, `1` gone, `2` as it was changed.
fn check_objects(store: &Store, len: usize) {
    block_on(async {
        assert_eq!(store.read("0").await.expect("is read"), Some(body(0, len)));
        assert_eq!(store.read("1").await.expect("is read"), None);
        assert_eq!(store.read("2").await.expect("is read"), Some(body(2, len)));
    });
}

/// Clients that write, overwrite, delete and read.
fn clients(store: &Arc<Store>, len: usize) -> Vec<thread::JoinHandle<()>> {
    let spawn = |work: fn(&Store, usize)| {
        let store = store.clone();
        thread::spawn(move || work(&store, len))
    };
    vec![
        spawn(|store, len| {
            for first in [1, 2] {
                block_on(store.put("2", &body(first, len))).expect("is stored");
            }
        }),
        spawn(|store, _| {
            block_on(store.delete("1")).expect("is deleted");
            // What a drive cannot be told because it fails is swept later.
            let _ = block_on(store.sweep());
        }),
        spawn(|store, len| {
            for _ in 0..2 {
                let found = block_on(store.read("0")).expect("is read");
                assert_eq!(found, Some(body(0, len)), "what is there can always be read");
            }
        }),
    ]
}

/// Clients work while drives change.
fn changing(len: usize, drive_count: usize, change: fn(&Store, &[SimDisk])) {
    let (store, disks) = store(drive_count, len);
    let clients = clients(&store, len);
    let mover = {
        let store = store.clone();
        thread::spawn(move || {
            change(&store, &disks);
            move_all(&store);
        })
    };
    clients.into_iter().chain([mover]).for_each(|thread| thread.join().expect("no panic"));
    move_all(&store);
    check_objects(&store, len);
    // Nothing is missing, and nothing is left behind anywhere.
    block_on(store.sweep()).expect("is swept");
    assert_eq!(store.problems(), Vec::<String>::new());
    store.deployment.close();
}

/// A drive fails while clients work: they do not notice, wherever it was when it failed.
fn failing(len: usize) {
    let (store, disks) = store(5, len);
    let lost = shuttle::rand::thread_rng().gen_range(1..5);
    let operations = shuttle::rand::thread_rng().gen_range(0..40);
    let disk = &disks[lost];
    disk.inject(disk.op_count() + operations, Fault::SyncError);
    clients(&store, len).into_iter().for_each(|thread| thread.join().expect("no panic"));
    check_objects(&store, len);
    store.deployment.close();
}

#[test]
fn coded_objects_are_written_read_and_deleted_while_a_drive_fails() {
    in_many_ways(|| failing(CODED_LEN));
}

#[test]
fn copied_objects_are_written_read_and_deleted_while_a_drive_fails() {
    in_many_ways(|| failing(COPIED_LEN));
}

fn add(store: &Store, disks: &[SimDisk]) {
    store.deployment.add_drive(Store::place((4, &share(&disks[4])))).expect("is added");
}

fn drain(store: &Store, _: &[SimDisk]) {
    let last = store.deployment.find_drive("4").expect("is there");
    store.deployment.drain_drive(last, false).expect("is drained");
}

#[test]
fn coded_objects_are_written_read_and_deleted_while_a_drive_is_added() {
    in_many_ways(|| changing(CODED_LEN, 4, add));
}

#[test]
fn copied_objects_are_written_read_and_deleted_while_a_drive_is_added() {
    in_many_ways(|| changing(COPIED_LEN, 4, add));
}

#[test]
fn coded_objects_are_written_read_and_deleted_while_a_drive_is_drained() {
    in_many_ways(|| changing(CODED_LEN, 5, drain));
}

#[test]
fn copied_objects_are_written_read_and_deleted_while_a_drive_is_drained() {
    in_many_ways(|| changing(COPIED_LEN, 5, drain));
}
