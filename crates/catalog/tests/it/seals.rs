//! Rows that were written before rows had seals get them, whenever the walk is stopped; and nothing else is
//! read then.

use crate::world::{Process, World, settle};
use bytes::Bytes;
use drystone_base::{BlobId, BucketId, SeededRng};
use drystone_catalog::{CatalogError, Decision, Key, RowAccess, RowProtection, Sealed};
use drystone_index::{Change, Index};
use drystone_io::CrashKind;
use drystone_keyring::Keyring;
use std::collections::BTreeMap;
use std::ops::Bound;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Rows of many families, as an earlier binary wrote them.
fn old_rows() -> Rows {
    let mut rows = Rows::new();
    for number in 0_u8..150 {
        let bucket = BucketId(u64::from(number % 3));
        let value = vec![number; usize::from(number)];
        rows.insert(Key::head(bucket, &[number]), value.clone());
        rows.insert(Key::inline(BlobId([number; 16])), value.clone());
        rows.insert(Key::identity(2, &["0", &number.to_string()]), value);
    }
    rows.insert(Key::LOCK_CLOCK.to_vec(), vec![1; 8]);
    rows.insert(Key::bucket_name("b"), vec![2; 8]);
    rows.insert(Key::group(1), vec![3; 8]);
    rows
}

fn write(process: &Process, rows: Rows) -> Result<(), CatalogError> {
    let ticket = process.catalog.submit(move |tx| {
        rows.into_iter().for_each(|(key, value)| tx.put(key, value));
        Ok(Decision::Commit(()))
    });
    settle(process);
    ticket.wait()
}

fn read(process: &Process) -> Rows {
    let mut rows = Rows::new();
    for row in process.catalog.snapshot().scan((Bound::Unbounded, Bound::Unbounded)) {
        let (key, value) = row.expect("genuine");
        if key[0] > 1 || &key[..] == Key::LOCK_CLOCK {
            assert_eq!(process.catalog.get(&key).expect("genuine"), Some(value.clone()));
            rows.insert(key.to_vec(), value.to_vec());
        }
    }
    rows
}

fn open(world: &mut World, is_complete: bool) -> Result<Process, CatalogError> {
    let process = world.open_protected(false, RowProtection::Sealed)?;
    let keys = Keyring::generate(&SeededRng::new(9), "").row_keys(&[4; 16]);
    process.catalog.unlock(RowAccess::Keys { keys, lost: Vec::new(), is_complete });
    Ok(process)
}

fn old_world(seed: u64) -> World {
    let mut world = World::new(seed, None);
    let process = world.open(false).expect("an empty disk opens");
    write(&process, old_rows()).expect("written");
    world
}

fn seal(process: &Process) -> Result<Sealed, CatalogError> {
    // A step whose commit is lost with the disk is not waited for.
    process.catalog.seal_rows(&|| settle(process), &|| true)
}

#[test]
fn a_walk_that_is_stopped_anywhere_goes_on_and_loses_nothing() {
    let mut world = old_world(1);
    let before = world.disk.op_count();
    world.crash(CrashKind::Kill);
    let process = open(&mut world, false).expect("opens");
    assert!(matches!(seal(&process), Ok(Sealed::All(report)) if report.sealed == 452));
    let count = world.disk.op_count() - before;
    assert!(count > 3, "{count}");
    for at in 1..=count + 1 {
        for kind in [CrashKind::Power, CrashKind::Kill] {
            let mut world = old_world(1);
            world.crash(kind);
            world.disk.crash_at(world.disk.op_count() + at);
            let was_sealed = open(&mut world, false).and_then(|process| {
                let sealed = seal(&process)?;
                Ok(matches!(sealed, Sealed::All(_)))
            });
            world.crash(kind);
            // Only then is it noted that all have seals.
            let is_complete = matches!(was_sealed, Ok(true));
            let process = open(&mut world, is_complete).expect("opens again");
            assert_eq!(read(&process), old_rows(), "stopped at {at} ({kind:?})");
            assert!(matches!(seal(&process), Ok(Sealed::All(_))), "goes on");
            process.catalog.require_seals();
            assert_eq!(read(&process), old_rows(), "stopped at {at} ({kind:?})");
        }
    }
}

#[test]
fn a_row_that_was_moved_changed_or_stripped_is_an_error_and_can_be_overwritten() {
    let mut world = old_world(2);
    let process = open(&mut world, false).expect("opens");
    seal(&process).expect("sealed");
    process.catalog.require_seals();
    let (a, b) = (Key::head(BucketId(0), &[0]), Key::head(BucketId(0), &[3]));
    let stored = |key: &[u8]| world.index.get(key).expect("reads").expect("there");
    let mut changed = stored(&b).to_vec();
    changed[0] ^= 1;
    let forgeries = [stored(&a), changed.into(), Bytes::from(vec![3; 3]), Bytes::new()];
    for forged in forgeries {
        let change = Change { key: b.clone().into(), value: Some(forged) };
        world.index.apply(1, process.log.last_lsn(), vec![change]);
        let forged = |error| matches!(error, CatalogError::Forged { key } if key == b);
        assert!(process.catalog.get(&b).is_err_and(forged));
        let seen: Vec<_> =
            process.catalog.snapshot().scan((Bound::Unbounded, Bound::Unbounded)).collect();
        assert_eq!(seen.iter().filter(|row| row.is_err()).count(), 1, "those behind it are read");
        assert_eq!(process.catalog.forged_rows(9).expect("looks").len(), 1);
        assert!(matches!(seal(&process), Ok(Sealed::All(report)) if report.forged == 1));
        write(&process, Rows::from([(b.clone(), vec![3; 3])])).expect("overwritten");
        assert_eq!(read(&process), old_rows());
    }
}

#[test]
fn rows_survive_exports_and_a_lost_index_and_rows_of_another_deployment_do_not_pass() {
    let mut world = old_world(3);
    let process = open(&mut world, false).expect("opens");
    seal(&process).expect("sealed");
    process.catalog.export(&|| settle(&process)).expect("exports");
    write(&process, Rows::from([(Key::head(BucketId(9), b"new"), vec![1; 40])])).expect("written");
    world.crash(CrashKind::Kill);
    world.index = Default::default();
    let process = open(&mut world, true).expect("opens without an index");
    assert!(process.catalog.replayed().1 > 0, "from the export");
    assert_eq!(read(&process).len(), old_rows().len() + 1);
    drop(process);
    world.crash(CrashKind::Kill);
    let process = world.open_protected(false, RowProtection::Sealed).expect("opens");
    let keys = Keyring::generate(&SeededRng::new(9), "").row_keys(&[5; 16]);
    process.catalog.unlock(RowAccess::Keys { keys, lost: Vec::new(), is_complete: true });
    assert!(process.catalog.get(&Key::head(BucketId(9), b"new")).is_err());
}

#[test]
fn a_lost_key_of_the_keyring_does_not_lose_the_rows() {
    let mut world = old_world(4);
    let process = open(&mut world, false).expect("opens");
    seal(&process).expect("sealed");
    drop(process);
    let old = Keyring::generate(&SeededRng::new(9), "").current_id().to_owned();
    let lost: [u8; 8] = drystone_base::unhex(&old).expect("an id").try_into().expect("8 bytes");
    let other = Keyring::generate(&SeededRng::new(10), "");
    // The second time nothing is sealed under it any more.
    for lost in [vec![lost], Vec::new()] {
        world.crash(CrashKind::Kill);
        let process = world.open_protected(false, RowProtection::Sealed).expect("opens");
        let keys = other.row_keys(&[4; 16]);
        process.catalog.unlock(RowAccess::Keys { keys, lost, is_complete: false });
        assert_eq!(read(&process), old_rows());
        seal(&process).expect("sealed again");
        process.catalog.require_seals();
        assert_eq!(read(&process), old_rows());
    }
}
