//! Goal: drives may be put in, taken out and replaced while the catalog gets another holder, while bytes
//! are moved, and several at once, by whatever order: no change undoes another.
//! Method: two changes run in two threads, many times, with the second a little later each time; then what
//! the drives say, what the catalog says and what is in memory are compared, also after a start.

use bytes::Bytes;
use drystone_catalog::{Decision, Key};
use drystone_cluster::{DriveId, Group};
use drystone_engine::deployment::{OpenError, Place};
use drystone_io::Disk;
use drystone_sim::Store;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const ROUNDS: u64 = 24;
/// By how much later the second change begins in each round.
const STEP: Duration = Duration::from_micros(150);

struct World {
    store: Store,
    disks: Vec<Arc<dyn Disk>>,
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(work)
}

impl World {
    fn new(count: u64) -> Self {
        let disks = (0..count).map(|seed| -> Arc<dyn Disk> { Arc::new(Store::memory_disk(seed)) });
        let disks: Vec<_> = disks.collect();
        let store = Store::make(&disks, 1 << 20, false);
        run(store.make_bucket());
        for number in 0..4_u8 {
            run(store.put(&number.to_string(), &Bytes::from(vec![number; 200_000])))
                .expect("stored");
        }
        Self { store, disks }
    }

    fn restart(self, numbers: impl Iterator<Item = usize>) -> Self {
        self.store.deployment.close();
        let places = numbers.map(|number| Store::place((number, &self.disks[number]))).collect();
        Self { store: Store::open(places, false), disks: self.disks }
    }

    /// An empty place more.
    fn place(&mut self) -> Place {
        let number = self.disks.len();
        self.disks.push(Arc::new(Store::memory_disk(number as u64)));
        Store::place((number, &self.disks[number]))
    }

    /// A round of work, after which the bytes of what was replaced may go.
    fn work(&self) {
        // A move during which drives were changed fails, and the next round plans it again.
        self.store.work_on_drives().ok();
        run(self.store.sweep()).expect("is swept");
    }

    /// Lets all work end, and looks whether everything says the same.
    fn check(self, count: usize) {
        let deployment = &self.store.deployment;
        let is_done = (0..60).any(|_| {
            self.work();
            let status = deployment.status().expect("is told");
            status.moving.is_none() && status.is_whole()
        });
        let status = deployment.status().expect("is told");
        assert!(is_done, "it does not settle: {status:?}");
        let pool = self.store.engine.pool();
        let drives: BTreeSet<DriveId> = pool.drives().iter().map(|drive| drive.info.id).collect();
        assert_eq!(drives.len(), count);
        for group in pool.groups() {
            let unknown: Vec<_> = group.members.iter().filter(|id| !drives.contains(id)).collect();
            assert!(
                unknown.is_empty(),
                "group {} is on drives that are none: {unknown:?}",
                group.id
            );
        }
        // What the drives say of who holds the catalog is what it goes by.
        if !deployment.must_start_anew() {
            let view = self.store.engine.catalog().view(&|| {}).expect("is told");
            let view: BTreeSet<DriveId> = view.into_iter().map(DriveId).collect();
            let holders = status.drives.iter().filter(|drive| drive.holds_catalog);
            assert_eq!(holders.map(|drive| drive.id).collect::<BTreeSet<_>>(), view);
        }
        let numbers: Vec<usize> =
            pool.drives().iter().map(|drive| drive.path.parse().expect("a number")).collect();
        let world = self.restart(numbers.into_iter());
        let pool = world.store.engine.pool();
        assert_eq!(pool.drives().iter().map(|d| d.info.id).collect::<BTreeSet<_>>(), drives);
        assert!(world.store.deployment.status().expect("is told").is_whole());
        assert_eq!(world.store.problems(), Vec::<String>::new());
        world.store.deployment.close();
    }
}

fn is_made(changed: Result<DriveId, OpenError>) {
    changed.expect("the change is made");
}

/// Two changes at once, the second a little later.
fn both(round: u64, first: impl FnOnce() + Send, second: impl FnOnce()) {
    std::thread::scope(|scope| {
        scope.spawn(first);
        std::thread::sleep(STEP * u32::try_from(round).expect("few rounds"));
        second();
    });
}

#[test]
fn a_drive_is_replaced_while_another_begins_to_hold_the_catalog() {
    for round in 0..ROUNDS {
        let mut world = World::new(6).restart([0, 2, 3, 4, 5].into_iter());
        let (gone, place) = (world.store.drive_id(1), world.place());
        let deployment = &world.store.deployment;
        let recruit = || while deployment.recruit().expect("another holds it") {};
        both(round, recruit, || is_made(deployment.replace(gone, place)));
        world.check(6);
    }
}

#[test]
fn two_drives_are_replaced_at_once() {
    for round in 0..ROUNDS {
        let mut world = World::new(6).restart(0..4);
        let (gone, places) =
            ([world.store.drive_id(4), world.store.drive_id(5)], [world.place(), world.place()]);
        let deployment = &world.store.deployment;
        let [one, other] = places;
        let first = || is_made(deployment.replace(gone[0], one));
        both(round, first, || is_made(deployment.replace(gone[1], other)));
        world.check(6);
    }
}

#[test]
fn two_drives_are_added_at_once() {
    for round in 0..ROUNDS {
        let mut world = World::new(4);
        let [one, other] = [world.place(), world.place()];
        let deployment = &world.store.deployment;
        let first = || is_made(deployment.add_drive(one));
        both(round, first, || is_made(deployment.add_drive(other)));
        world.check(6);
    }
}

#[test]
fn a_drive_is_to_be_emptied_while_another_is_emptied() {
    for round in 0..ROUNDS {
        let world = World::new(7);
        let ids = [world.store.drive_id(2), world.store.drive_id(5)];
        let deployment = &world.store.deployment;
        deployment.drain_drive(ids[0], false).expect("is emptied");
        // Up to the last walk over everything, nothing is swept meanwhile.
        let work = || (0..2).for_each(|_| world.work());
        both(round * 4, work, || deployment.drain_drive(ids[1], false).expect("is emptied"));
        world.check(5);
    }
}

#[test]
fn a_drive_is_added_while_another_is_emptied() {
    for round in 0..ROUNDS {
        let mut world = World::new(6);
        let (id, place) = (world.store.drive_id(3), world.place());
        let deployment = &world.store.deployment;
        deployment.drain_drive(id, false).expect("is emptied");
        let world = &world;
        let work = || (0..2).for_each(|_| world.work());
        both(round * 4, work, || {
            is_made(world.store.deployment.add_drive(place));
        });
        // The drive that was added takes its part of what is there.
        let added = world.store.drive_id(6);
        let deployment = &world.store.deployment;
        (0..60).for_each(|_| {
            if deployment.status().expect("told").moving.is_some() {
                world.work()
            }
        });
        let pool = world.store.engine.pool();
        assert!(pool.groups().iter().any(|group| group.members.contains(&added)));
    }
}

/// Between the change and the start that it needs, memory is of before: a second change would take the
/// first one's groups away.
#[test]
fn a_store_of_one_drive_gets_two_more_one_after_the_other() {
    let mut world = World::new(1);
    let [one, other] = [world.place(), world.place()];
    is_made(world.store.deployment.add_drive(one));
    let refused = world.store.deployment.add_drive(other).expect_err("it starts again first");
    assert!(refused.to_string().contains("starts again"), "{refused}");
    let world = world.restart(0..2);
    let place = Store::place((2, &world.disks[2]));
    is_made(world.store.deployment.add_drive(place));
    world.check(3);
}

/// As two changes of a store of one drive left it when they could be made without a start between them.
#[test]
fn a_store_without_a_group_for_its_code_gets_new_groups() {
    let world = World::new(3);
    let groups: Vec<_> = world.store.engine.pool().groups();
    let ticket = world.store.engine.catalog().submit(move |tx| {
        for group in groups {
            let closed = Group { is_closed: true, ..(*group).clone() };
            tx.put(Key::group(group.id), closed.encode());
        }
        tx.put(Key::REBALANCE.to_vec(), vec![1]);
        Ok(Decision::Commit(()))
    });
    ticket.wait().expect("written");
    world.restart(0..3).check(3);
}
