//! Goal: objects of many parts get another code without a row of all parts for each of them, and whatever
//! clients do meanwhile counts.
//! Method: a store of two drives gets a third, so that everything is written again; the log is measured, and
//! clients work between two parts.

use bytes::Bytes;
use drystone_base::BlobId;
use drystone_catalog::{Decision, Key};
use drystone_engine::deployment::MoveReport;
use drystone_engine::{Data, Manifest, PartRow, plan};
use drystone_io::Disk;
use drystone_sim::Store;
use std::cell::Cell;
use std::sync::Arc;

const BUCKET: &str = "bucket";
const KEY: &str = "of many parts";
/// Too long for a row.
const PART_LEN: usize = 5000;

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(work)
}

fn bodies(count: usize) -> Vec<Bytes> {
    (0..count).map(|number| Bytes::from(vec![number as u8; PART_LEN])).collect()
}

/// A store of three drives, of which the third was added just now, with an object of so many parts.
fn grown(part_count: usize) -> Store {
    let disks = (0..3).map(|seed| -> Arc<dyn Disk> { Arc::new(Store::memory_disk(seed)) });
    let disks: Vec<_> = disks.collect();
    let store = Store::make(&disks[..2], 1 << 20, false);
    run(store.make_bucket());
    run(store.put_parts(KEY, &bodies(part_count))).expect("is stored");
    run(store.sweep()).expect("is swept");
    store.deployment.add_drive(Store::place((2, &disks[2]))).expect("is added");
    store
}

fn list_of(store: &Store) -> Option<(BlobId, Manifest)> {
    let row = store.engine.locate(BUCKET, KEY.as_bytes(), None).ok()?.row;
    let Data::Manifest(id) = row.data else { return None };
    let list = store.engine.catalog().get(&Key::manifest(id)).expect("is read").expect("is there");
    Some((id, Manifest::decode(&list).expect("is a list")))
}

/// Moves everything; `meanwhile` is done after so many parts were written, before the list names them.
fn move_all(store: &Store, after: usize, meanwhile: impl Fn()) -> u64 {
    let calls = Cell::new(0);
    let tell = |_: &MoveReport| {
        calls.set(calls.get() + 1);
        if calls.get() == after {
            meanwhile();
        }
        true
    };
    let mut recoded = 0;
    for _ in 0..20 {
        let Some(report) = store.deployment.rebalance(&tell).expect("is moved") else { break };
        recoded += report.recoded;
        run(store.sweep()).expect("is swept");
    }
    assert!(calls.get() >= after, "nothing happened meanwhile");
    recoded
}

fn check(store: &Store, body: Option<&[Bytes]>) {
    let body = body.map(|parts| Bytes::from(parts.concat()));
    assert_eq!(run(store.read(KEY)).expect("is read"), body);
    for _ in 0..4 {
        run(store.sweep()).expect("is swept");
    }
    assert_eq!(store.problems(), Vec::<String>::new());
    if let Some((_, list)) = list_of(store) {
        let has_code = |part: &PartRow| matches!(part.data, Data::Blob { code: (1, 2), .. });
        assert!(list.parts.iter().all(has_code), "not everything has three copies");
    }
    store.deployment.close();
}

fn used_bytes(store: &Store) -> u64 {
    let drives = store.engine.pool().online();
    let used = drives.iter().map(|drive| drive.log().space().expect("it answers").used_bytes);
    used.max().expect("there are drives")
}

/// Bytes that the log of a drive grows by, at most: what it has of the parts, and what is said of them.
#[test]
fn an_object_of_a_thousand_parts_is_not_listed_a_thousand_times() {
    let store = grown(1000);
    let (_, list) = list_of(&store).expect("it has a list");
    let list_len = list.encode().len() as u64;
    let before = used_bytes(&store);
    assert_eq!(move_all(&store, 1, || ()), 1000);
    let grew = used_bytes(&store) - before;
    let (parts, segments) = (1000 * (PART_LEN as u64 + 1000), 6 << 20);
    assert!(grew < parts + 20 * list_len + segments, "{grew} bytes; the list has {list_len}");
    check(&store, Some(&bodies(1000)));
}

#[test]
fn an_object_that_is_overwritten_or_deleted_meanwhile_stays_so() {
    // In the middle of a batch, just before one is named, and after some were.
    for after in [1, 9, 15, 16, 17, 39] {
        let (other, parts) = (vec![Bytes::from_static(&[7; 9000])], bodies(5));
        let store = grown(40);
        move_all(&store, after, || run(store.put(KEY, &other[0])).expect("is stored"));
        check(&store, Some(&other));
        let store = grown(40);
        move_all(&store, after, || run(store.put_parts(KEY, &parts)).expect("is stored"));
        check(&store, Some(&parts));
        let store = grown(40);
        move_all(&store, after, || run(store.delete(KEY)).expect("is deleted"));
        check(&store, None);
    }
}

/// Of a batch that meets a part which is not what it was, the others count.
#[test]
fn a_part_that_changes_meanwhile_is_left_alone_and_the_others_are_not() {
    let store = grown(40);
    let change = || {
        // The bytes of a part that is written already come to lie elsewhere.
        run(store.put("other", &bodies(40)[3])).expect("is stored");
        let other = store.engine.locate(BUCKET, b"other", None).expect("is there").row;
        let head = Key::head(store.engine.find_bucket(BUCKET).expect("is there").id, b"other");
        let (id, mut list) = list_of(&store).expect("it has a list");
        let ticket = store.engine.catalog().submit(move |tx| {
            let old = std::mem::replace(&mut list.parts[3].data, Data::Empty);
            let old = PartRow { data: old, ..list.parts[3].clone() };
            plan::release_part(tx, &old).expect("is released");
            list.parts[3].data = other.data.clone();
            tx.put(Key::manifest(id), list.encode());
            let empty = drystone_engine::ObjectRow { data: Data::Empty, ..other };
            tx.put(head, empty.encode());
            Ok(Decision::Commit(()))
        });
        ticket.wait().expect("is committed");
    };
    let recoded = move_all(&store, 10, change);
    assert_eq!(recoded, 39);
    check(&store, Some(&bodies(40)));
}

#[test]
fn a_walk_that_stops_keeps_what_it_has_done() {
    let store = grown(40);
    let calls = Cell::new(0);
    let tell = |_: &MoveReport| {
        calls.set(calls.get() + 1);
        calls.get() < 21
    };
    let report = store.deployment.rebalance(&tell).expect("is stopped").expect("it began");
    assert!(report.stopped && report.recoded == 21, "{report:?}");
    assert_eq!(move_all(&store, 1, || ()), 19);
    check(&store, Some(&bodies(40)));
}
