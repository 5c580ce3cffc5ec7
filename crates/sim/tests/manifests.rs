//! Goal: whatever becomes of the drives, each that is to have a copy of an object's manifest has it as soon
//! as the work on the drives is done: no scrub is waited for.
//! Method: objects with and without a list of parts are written before and while drives change, and the
//! drives are asked for the copies.

use bytes::Bytes;
use drystone_catalog::Key;
use drystone_drive::ShardId;
use drystone_engine::{Data, Engine, Manifest};
use drystone_io::Disk;
use drystone_sim::Store;
use std::sync::Arc;

const BUCKET: &str = "bucket";

/// A store, and the disks of its drives.
struct World {
    store: Store,
    disks: Vec<Arc<dyn Disk>>,
    keys: Vec<String>,
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(work)
}

impl World {
    fn new(count: usize) -> Self {
        let disks =
            (0..count as u64).map(|seed| -> Arc<dyn Disk> { Arc::new(Store::memory_disk(seed)) });
        let disks: Vec<_> = disks.collect();
        let store = Store::make(&disks, 1 << 20, false);
        run(store.make_bucket());
        let mut world = Self { store, disks, keys: Vec::new() };
        world.write("first");
        world
    }

    /// Objects with bytes beside the catalog: short, long, and with a list of parts.
    fn write(&mut self, name: &str) {
        for (number, len) in [(0, 20_000), (1, 700_000), (2, 20_000), (3, 20_000)] {
            let key = format!("{name}-{number}");
            run(self.store.put(&key, &Bytes::from(vec![number; len]))).expect("is stored");
            self.keys.push(key);
        }
        let key = format!("{name}-parts");
        // A list all the same.
        let parts = [Bytes::from(vec![9; 300_000])];
        run(self.store.put_parts(&key, &parts)).expect("is stored");
        self.keys.push(key);
    }

    /// Starts again with the drives of some disks.
    fn restart(self, numbers: &[usize]) -> Self {
        self.store.deployment.close();
        let Self { disks, keys, .. } = self;
        let places = numbers.iter().map(|number| Store::place((*number, &disks[*number])));
        let store = Store::open(places.collect(), false);
        Self { store, disks, keys }
    }

    fn add(&mut self) {
        let number = self.disks.len();
        self.disks.push(Arc::new(Store::memory_disk(number as u64)));
        let place = Store::place((number, &self.disks[number]));
        self.store.deployment.add_drive(place).expect("is added");
    }

    /// All work that the repair thread does.
    fn settle(&self) {
        for _ in 0..20 {
            match self.store.work_on_drives().expect("is moved") {
                Some(report) if report.waits => run(self.store.sweep()).expect("is swept"),
                _ => return,
            }
        }
        panic!("it does not settle");
    }

    /// Objects whose manifest lacks a copy, with the place in the group that lacks it.
    fn lacking(&self) -> Vec<(String, usize)> {
        let pool = self.store.engine.pool();
        let mut lacking = Vec::new();
        for key in &self.keys {
            let blob = first_blob(&self.store.engine, key);
            let group = pool.group(blob.group()).expect("its group is known");
            let code = pool.shape();
            let copies = (usize::from(code.parity) + 1).min(group.members.len());
            for (place, id) in group.members[..copies].iter().enumerate() {
                let drive = pool.get(*id);
                if !drive.is_some_and(|drive| drive.has(ShardId::manifest(blob)).expect("is told"))
                {
                    lacking.push((key.clone(), place));
                }
            }
        }
        lacking
    }

    fn check(self) {
        self.settle();
        assert_eq!(self.lacking(), []);
        self.store.deployment.close();
    }
}

fn blob_of(data: &Data) -> drystone_base::BlobId {
    match data {
        Data::Blob { blob, .. } => *blob,
        other => panic!("{other:?} is not beside the catalog"),
    }
}

fn first_blob(engine: &Engine, key: &str) -> drystone_base::BlobId {
    match engine.locate(BUCKET, key.as_bytes(), None).expect("is there").row.data {
        Data::Manifest(id) => {
            let list =
                engine.catalog().get(&Key::manifest(id)).expect("is read").expect("is there");
            blob_of(&Manifest::decode(&list).expect("is a list").parts[0].data)
        }
        data => blob_of(&data),
    }
}

#[test]
fn a_drive_that_was_put_in() {
    let world = World::new(6);
    let mut world = world.restart(&[0, 1, 2, 3, 4]);
    world.write("without");
    let gone = world.store.drive_id(5);
    world.disks.push(Arc::new(Store::memory_disk(99)));
    let place = Store::place((6, &world.disks[6]));
    world.store.deployment.replace(gone, place).expect("is replaced");
    world.check();
}

#[test]
fn a_drive_that_was_added() {
    let mut world = World::new(6);
    world.add();
    world.write("meanwhile");
    world.check();
}

/// Of seven drives each group has six: the seventh takes the place of one that leaves.
#[test]
fn a_drive_that_takes_the_place_of_one_that_is_emptied() {
    let mut world = World::new(7);
    world.store.deployment.drain_drive(world.store.drive_id(0), false).expect("is emptied");
    world.write("meanwhile");
    world.check();
}

#[test]
fn a_drive_that_takes_the_place_of_one_that_is_gone() {
    let world = World::new(7);
    let mut world = world.restart(&[1, 2, 3, 4, 5, 6]);
    world.write("without");
    world.store.deployment.remove_drive(world.store.drive_id(0)).expect("is given up");
    world.check();
}

/// What it missed is given back; what it has stays.
#[test]
fn a_drive_that_was_not_there_when_objects_were_written() {
    for gone in 0..6 {
        let world = World::new(6);
        let others: Vec<usize> = (0..6).filter(|number| *number != gone).collect();
        let mut world = world.restart(&others);
        world.write("without");
        world.settle();
        world.restart(&[0, 1, 2, 3, 4, 5]).check();
    }
}

/// Nothing lacks of the parts, but no one could be given the manifest.
#[test]
fn a_drive_that_went_between_the_parts_and_their_completion() {
    for gone in 0..6 {
        let mut world = World::new(6);
        let parts = [Bytes::from(vec![9; 300_000])];
        let (upload, rows) = run(world.store.upload_parts("late", &parts)).expect("are stored");
        let others: Vec<usize> = (0..6).filter(|number| *number != gone).collect();
        world = world.restart(&others);
        run(world.store.complete("late", upload, rows)).expect("is completed");
        world.keys.push("late".to_owned());
        world.settle();
        world.restart(&[0, 1, 2, 3, 4, 5]).check();
    }
}

/// Everything is given another code, and so other blobs.
#[test]
fn drives_that_have_another_code() {
    let mut world = World::new(1);
    for count in 2..=6 {
        world.add();
        if count == 2 {
            world = world.restart(&[0, 1]);
        }
        world.write(&count.to_string());
        world.settle();
        assert_eq!(world.lacking(), [], "{count} drives");
    }
    for left in (2..6).rev() {
        world.store.deployment.drain_drive(world.store.drive_id(left), false).expect("is emptied");
        world.settle();
        assert_eq!(world.lacking(), [], "{left} drives");
    }
    world.store.deployment.close();
}
