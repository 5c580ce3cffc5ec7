//! What is said of long work while it goes on.

use bytes::Bytes;
use drystone_io::Disk;
use drystone_sim::Store;
use std::cell::RefCell;
use std::sync::Arc;

const COUNT: usize = 20;

/// A store on six drives with some objects, and two empty disks.
fn filled() -> (Store, Vec<Arc<dyn Disk>>) {
    let disks = (0..8).map(|seed| -> Arc<dyn Disk> { Arc::new(Store::memory_disk(seed)) });
    let disks: Vec<_> = disks.collect();
    let store = Store::make(&disks[..6], 1 << 20, false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        store.make_bucket().await;
        for key in 0..COUNT {
            let body = Bytes::from(vec![key as u8; 200_000]);
            store.put(&key.to_string(), &body).await.expect("is stored");
        }
    });
    (store, disks)
}

/// What the status says of the progress, in percent.
fn percent(store: &Store) -> Option<u64> {
    store.deployment.status().expect("is told").progress.map(|progress| progress.percent())
}

/// Each row counts once in each walk, and never backwards; nothing is said afterwards.
fn check(store: &Store, told: &[u64]) {
    assert!(told.len() >= COUNT, "{told:?}");
    assert!(told.is_sorted(), "{told:?}");
    assert!(told[0] <= 5 && told.last() == Some(&100), "{told:?}");
    assert_eq!(percent(store), None);
    store.deployment.close();
}

#[test]
fn a_move_tells_how_far_it_is() {
    let (store, disks) = filled();
    assert_eq!(percent(&store), None);
    store.deployment.add_drive(Store::place((6, &disks[6]))).expect("is added");
    let told = RefCell::new(Vec::new());
    let tell = |_: &_| {
        told.borrow_mut().extend(percent(&store));
        true
    };
    store.deployment.rebalance(&tell).expect("is moved");
    check(&store, &told.into_inner());
}

#[test]
fn a_move_that_stops_is_not_said_to_go_on() {
    let (store, disks) = filled();
    store.deployment.add_drive(Store::place((6, &disks[6]))).expect("is added");
    let stopped = store.deployment.rebalance(&|_| false).expect("is stopped");
    assert!(stopped.is_some_and(|report| report.stopped));
    assert_eq!(percent(&store), None);
    assert!(store.deployment.status().expect("is told").moving.is_some());
    store.deployment.close();
}
