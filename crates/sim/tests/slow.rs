//! Drives that do not answer: clients are served all the same, and what was not written is made up for.

use bytes::Bytes;
use drystone_base::{Rng, SeededRng};
use drystone_io::Disk;
use drystone_sim::{SlowDisk, Store};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const SEGMENT_LEN: u32 = 1 << 20;

fn store(count: u64) -> (Store, Vec<SlowDisk>) {
    let disks: Vec<_> =
        (0..count).map(|seed| SlowDisk::new(Arc::new(Store::memory_disk(seed)), None)).collect();
    let shared: Vec<Arc<dyn Disk>> = disks.iter().map(|disk| Arc::new(disk.clone()) as _).collect();
    (Store::make(&shared, SEGMENT_LEN, false), disks)
}

async fn fill(store: &Store) -> BTreeMap<String, Bytes> {
    store.make_bucket().await;
    let rng = SeededRng::new(7);
    let mut objects = BTreeMap::new();
    for (number, len) in [2_000, 20_000, 120_000, 300_000, 700_000, 2_000_000].iter().enumerate() {
        for copy in 0..4 {
            let mut bytes = vec![0; *len];
            rng.fill(&mut bytes);
            let (key, body) = (format!("{number}/{copy}"), Bytes::from(bytes));
            store.put(&key, &body).await.expect("it is stored");
            objects.insert(key, body);
        }
    }
    objects
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime starts")
}

#[test]
fn nobody_waits_for_a_drive_that_does_not_answer_a_read() {
    let (store, disks) = store(6);
    let runtime = runtime();
    let objects = runtime.block_on(fill(&store));
    for (number, disk) in disks.iter().enumerate() {
        disk.set_stuck(true);
        for (key, body) in &objects {
            let reading = async {
                // As long as a drive may be stuck in this test, which has no end.
                tokio::time::timeout(Duration::from_secs(60), store.read(key)).await
            };
            let read = runtime.block_on(reading).expect("it does not wait for ever");
            let read = read.expect("it is read");
            assert_eq!(read.as_ref(), Some(body), "{key} without drive {number}");
        }
        disk.set_stuck(false);
    }
    assert!(store.engine.hedge_count() > 0, "no drive was ever waited for");
    store.deployment.close();
}

#[test]
fn what_a_drive_did_not_take_in_time_is_given_to_it_later() {
    let (store, disks) = store(6);
    let runtime = runtime();
    let mut objects = runtime.block_on(fill(&store));
    // The last drives do not hold the catalog.
    disks[5].set_stuck(true);
    runtime.block_on(async {
        let puts = objects.iter_mut().map(|(key, body)| {
            *body = Bytes::from(body.iter().map(|byte| byte ^ 1).collect::<Vec<_>>());
            async { store.put(key, body).await.expect("it is stored without the drive") }
        });
        for put in puts {
            put.await;
        }
        for (key, body) in &objects {
            assert_eq!(store.read(key).await.expect("it is read").as_ref(), Some(body), "{key}");
        }
    });
    let lacking = store.deployment.status().expect("it is known").repair_count;
    assert!(lacking > 0, "what the drive lacks is noted");
    disks[5].set_stuck(false);
    let report = store.engine.repair().expect("it is repaired");
    assert_eq!(report.left, 0);
    assert!(report.shards > 0);
    assert!(store.deployment.status().expect("it is known").is_whole());
    store.deployment.close();
}
