//! Drives on the simulated disk, and what happens to them between and under processes.

use crate::{BUCKET, DEVICE_LEN, Process, SEGMENT_LEN, World, runtime};
use drystone_base::{Rng, say};
use drystone_engine::deployment::{IndexKind, Indexes, MoveReport, OpenError};
use drystone_engine::{Conditions, Engine};
use drystone_index::{Index, IndexError, MemIndex};
use drystone_io::{Disk, SimDisk};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// A drive that survives its processes.
pub(crate) struct SimDrive {
    pub(crate) disk: SimDisk,
    pub(crate) catalog_index: Arc<MemIndex>,
    pub(crate) drive_index: Arc<MemIndex>,
    /// It is pulled out.
    pub(crate) is_out: bool,
    /// It was taken out for good.
    pub(crate) is_gone: bool,
}

impl SimDrive {
    pub(crate) fn new(seed: u64) -> Self {
        let disk = SimDisk::new(DEVICE_LEN, seed);
        Self {
            disk,
            catalog_index: Arc::default(),
            drive_index: Arc::default(),
            is_out: false,
            is_gone: false,
        }
    }
}

/// The indexes of all drives, by number of the drive.
#[derive(Default)]
pub(crate) struct SimIndexes(Mutex<BTreeMap<(String, bool), Arc<MemIndex>>>);

impl SimIndexes {
    pub(crate) fn lock(
        &self,
    ) -> std::sync::MutexGuard<'_, BTreeMap<(String, bool), Arc<MemIndex>>> {
        self.0.lock().expect("no thread panicked while it held this lock")
    }
}

impl Indexes for SimIndexes {
    fn open(&self, path: &str, kind: IndexKind, anew: bool) -> Result<Arc<dyn Index>, IndexError> {
        let key = (path.to_owned(), kind == IndexKind::Catalog);
        if anew {
            self.lock().remove(&key);
        }
        Ok(self.lock().entry(key).or_default().clone())
    }

    fn discard(&self, path: &str, kind: IndexKind) -> Result<(), IndexError> {
        self.lock().remove(&(path.to_owned(), kind == IndexKind::Catalog));
        Ok(())
    }
}

impl World {
    /// Bytes of the files of each drive.
    ///
    /// # Panics
    ///
    /// If a device does not answer.
    #[must_use]
    pub fn used_bytes(&self) -> Vec<u64> {
        let spaces = self.drives.iter().map(|drive| drive.disk.space().expect("it answers"));
        spaces.map(|space| space.total_bytes - space.free_bytes).collect()
    }

    /// Length of the segments of each drive.
    #[must_use]
    pub fn segment_len(&self) -> u64 {
        SEGMENT_LEN.into()
    }

    /// Stops every machine: nothing more is written until the next start.
    pub fn halt(&self) {
        self.drives.iter().for_each(|drive| drive.disk.crash_at(0));
    }

    /// Writes one small and one large object, always the same ones.
    ///
    /// # Errors
    ///
    /// What does not work, in words.
    pub fn touch(&mut self, process: &Process, number: u8) -> Result<(), String> {
        let engine = process.engine.clone();
        for (key, len) in [("touched/small", 100), ("touched/large", 40_000)] {
            let body = bytes::Bytes::from(vec![number; len]);
            let put = runtime().block_on(crate::client::put(&engine, key, &body));
            put.map_err(|error| say(&error))?;
            self.possible.insert(key.to_owned(), vec![Some(body)]);
        }
        Ok(())
    }

    /// Pulls out as many drives as may be lost, or fewer; never more than half of all, without which
    /// nothing starts.
    pub fn pull_out(&mut self) {
        let there = self.drives.iter().filter(|drive| !drive.is_gone).count() as u64;
        let most = self.parity().min(there / 2);
        for _ in 0..self.rng.below(most + 1) {
            let any = self.rng.below(self.drives.len() as u64) as usize;
            self.drives[any].is_out = true;
        }
    }

    /// Puts the drives back that were pulled out.
    pub fn put_back(&mut self) {
        self.drives.iter_mut().for_each(|drive| drive.is_out = false);
    }

    /// Puts an empty drive in the place of each that was pulled out, and waits until it is full.
    ///
    /// # Errors
    ///
    /// What does not work, in words.
    pub fn replace(&mut self, process: &Process) -> Result<(), String> {
        let known = process.engine.pool().drives();
        for number in 0..self.drives.len() {
            if !self.drives[number].is_out || self.drives[number].is_gone {
                continue;
            }
            let old = known.iter().find(|drive| drive.path == number.to_string());
            let old = old.ok_or("a drive is not known")?.info.id;
            self.drives[number] = SimDrive::new(self.rng.u64());
            process.indexes.lock().retain(|(path, _), _| *path != number.to_string());
            let place = Self::place(number, &self.drives[number]);
            let new = process.deployment.replace(old, place).map_err(|error| say(&error))?;
            let report = process.deployment.refill(new, &|_| true);
            let report = report.map_err(|error| say(&error))?;
            if report.missing > report.repaired {
                return Err(format!("{report:?}: shards could not be made"));
            }
        }
        Ok(())
    }

    /// Gives up one of the drives that were pulled out, and waits until what it had is on the others. Says
    /// whether it did: too few may be left, or another be missing.
    ///
    /// # Errors
    ///
    /// What does not work, in words.
    pub fn give_up(&mut self, process: &Process) -> Result<bool, String> {
        let known = process.engine.pool().drives();
        let lost = known.iter().find(|drive| drive.drive.is_none());
        let Some(lost) = lost.filter(|_| !process.deployment.is_read_only()) else {
            return Ok(false);
        };
        match process.deployment.remove_drive(lost.info.id) {
            Err(OpenError::Refused(_)) => return Ok(false),
            removed => removed.map_err(|error| say(&error))?,
        }
        self.move_all(process)?;
        Ok(true)
    }

    /// Adds a drive, or takes one out that is whole, and waits until everything is where it belongs. Says
    /// whether the process must end now.
    ///
    /// # Errors
    ///
    /// What does not work, in words.
    pub fn change_drives(&mut self, process: &Process) -> Result<bool, String> {
        let deployment = &process.deployment;
        if deployment.is_read_only() {
            return Ok(false);
        }
        let known = process.engine.pool().drives();
        if known.len() < 8 && (known.len() == 1 || self.rng.below(2) == 0) {
            let drive = SimDrive::new(self.rng.u64());
            let place = Self::place(self.drives.len(), &drive);
            self.drives.push(drive);
            deployment.add_drive(place).map_err(|error| say(&error))?;
            if deployment.must_start_anew() {
                return Ok(true);
            }
        } else {
            let any = &known[self.rng.below(known.len() as u64) as usize];
            match deployment.drain_drive(any.info.id, false) {
                // Too few would be left.
                Err(OpenError::Refused(_)) => return Ok(false),
                drained => drained.map_err(|error| say(&error))?,
            }
        }
        // It may be told to stop in the middle, and is then gone on with by the next process.
        let stops = self.rng.below(3) == 0;
        // Clients write and delete meanwhile.
        let moved = std::thread::scope(|scope| {
            let mover = scope.spawn(|| deployment.rebalance(&|_| !stops));
            self.work(process, 3, 10, None);
            mover.join().expect("the mover does not panic")
        });
        let moved = moved.map_err(|error| say(&error))?;
        if moved.is_some_and(|report| report.waits) {
            self.move_all(process)?;
        }
        Ok(moved.is_some_and(|report| report.stopped) || deployment.must_start_anew())
    }

    /// Adds a drive, and deletes everything as soon as the first shard has been copied to it: what was
    /// copied must not outlive it.
    ///
    /// # Errors
    ///
    /// What does not work, in words.
    pub fn delete_while_moving(&mut self, process: &Process) -> Result<(), String> {
        let drive = SimDrive::new(self.rng.u64());
        let place = Self::place(self.drives.len(), &drive);
        self.drives.push(drive);
        process.deployment.add_drive(place).map_err(|error| say(&error))?;
        let keys: Vec<String> = self.possible.keys().cloned().collect();
        let deleted = std::cell::Cell::new(false);
        let tell = |report: &MoveReport| {
            if report.shards > 0 && !deleted.replace(true) {
                delete_all(&process.engine, &keys);
            }
            true
        };
        process.deployment.rebalance(&tell).map_err(|error| say(&error))?;
        if !deleted.get() {
            return Err("nothing was moved".to_owned());
        }
        self.possible.values_mut().for_each(|states| *states = vec![None]);
        Ok(())
    }

    /// Forgets the drives that are not in the deployment any more.
    pub(crate) fn forget_removed(&mut self, process: &Process) {
        let known = process.engine.pool().drives();
        for (number, drive) in self.drives.iter_mut().enumerate() {
            drive.is_gone |= !known.iter().any(|member| member.path == number.to_string());
        }
    }

    /// Flips bits in the segments of as many drives as may be lost, or fewer.
    pub fn rot(&mut self) {
        self.has_rotted = true;
        for _ in 0..self.rng.below(self.parity() + 1) {
            let any = self.rng.below(self.drives.len() as u64) as usize;
            let disk = &self.drives[any].disk;
            let names = disk.list().expect("the device answers");
            let segments: Vec<_> = names.iter().filter(|name| name.starts_with("seg-")).collect();
            if segments.is_empty() {
                continue;
            }
            for _ in 0..1 + self.rng.below(20) {
                let name = segments[self.rng.below(segments.len() as u64) as usize];
                let at = self.rng.below(u64::from(SEGMENT_LEN));
                disk.flip_bit(name, at, self.rng.below(8) as u8);
            }
            return;
        }
    }
}

/// Deletes objects, and declares their bytes dead.
fn delete_all(engine: &Engine, keys: &[String]) {
    runtime().block_on(async {
        for key in keys {
            let (name, none) = (key.clone().into_bytes(), Conditions::default());
            engine.delete_object(BUCKET, name, None, none).await.expect("it is deleted");
        }
        let mut sweeper = engine.sweeper();
        while engine.sweep(&mut sweeper).await.expect("it is swept").has_more {}
    });
}
