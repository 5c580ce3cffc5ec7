//! A disk in memory with a model of the page cache, for power cuts and faults.
//!
//! Every write goes to the cache and to a list of unsynced writes. A *kill* keeps the cache: the
//! operating system lives on. A *power cut* keeps what was synced and a random selection of the
//! rest: whole writes lost or kept in any order, and each torn at sectors of 512 bytes or 4 KiB.

use crate::{Disk, DiskFile, Space};
use drystone_base::{Rng, SeededRng};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};

/// How a simulated machine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashKind {
    /// The process is killed; the page cache survives, and is lost if the power goes later.
    Kill,
    /// The power goes; unsynced writes may be lost, reordered or torn.
    Power,
}

/// A fault to inject into a coming operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A write fails with an I/O error, a random part of it written.
    WriteError,
    /// A flush fails, and the unsynced writes are gone although the cache shows them.
    SyncError,
    /// As [`Fault::SyncError`], because the device is full.
    SyncFull,
    /// A read fails with an I/O error.
    ReadError,
    /// A write succeeds, but lands somewhere else in the file.
    Misdirected,
    /// A file cannot be opened or created.
    OpenError,
}

#[derive(Default)]
struct File {
    /// What the device holds.
    stable: Vec<u8>,
    /// What reads see.
    cache: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

struct State {
    files: BTreeMap<String, Arc<Mutex<File>>>,
    stable_names: BTreeMap<String, Arc<Mutex<File>>>,
    capacity_bytes: u64,
    /// Changing operations so far.
    op_count: u64,
    /// The operation at which the machine stops.
    crash_at: Option<u64>,
    crashed: bool,
    faults: Vec<(u64, Fault)>,
    /// Ignores flushes: a seeded bug.
    skip_syncs: bool,
    rng: SeededRng,
}

/// The simulated disk. Clones share it; a clone taken before a crash and one taken after are the
/// same device.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

fn crash_error() -> io::Error {
    io::Error::other("the simulated machine has stopped")
}

fn open_error() -> io::Error {
    io::Error::other("injected error of opening a file")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic while the simulated disk is locked")
}

impl SimDisk {
    /// An empty device of `capacity_bytes`.
    #[must_use]
    pub fn new(capacity_bytes: u64, seed: u64) -> Self {
        let state = State {
            files: BTreeMap::new(),
            stable_names: BTreeMap::new(),
            capacity_bytes,
            op_count: 0,
            crash_at: None,
            crashed: false,
            faults: Vec::new(),
            skip_syncs: false,
            rng: SeededRng::new(seed),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Changing operations so far: writes, flushes, creations, removals.
    #[must_use]
    pub fn op_count(&self) -> u64 {
        lock(&self.state).op_count
    }

    /// Stops the machine at the changing operation number `op`: it and all later ones fail.
    pub fn crash_at(&self, op: u64) {
        lock(&self.state).crash_at = Some(op);
    }

    /// Whether the machine has stopped.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        lock(&self.state).crashed
    }

    /// Injects a fault into the first fitting operation from number `op` on.
    pub fn inject(&self, op: u64, fault: Fault) {
        lock(&self.state).faults.push((op, fault));
    }

    /// Changes the size of the device, for tests of a full one.
    pub fn set_capacity(&self, capacity_bytes: u64) {
        lock(&self.state).capacity_bytes = capacity_bytes;
    }

    /// Makes flushes do nothing: a seeded bug that crash tests must catch.
    pub fn skip_syncs(&self) {
        lock(&self.state).skip_syncs = true;
    }

    /// Stops the machine, if it has not stopped, and starts it again with what survived.
    pub fn restart(&self, kind: CrashKind) {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        state.crashed = false;
        state.crash_at = None;
        state.faults.clear();
        if kind == CrashKind::Power {
            let mut names = state.stable_names.clone();
            for (name, file) in &state.files {
                if !names.contains_key(name) && state.rng.below(2) == 0 {
                    names.insert(name.clone(), file.clone());
                }
            }
            names.retain(|name, _| state.files.contains_key(name) || state.rng.below(2) == 0);
            state.files = names;
            state.stable_names = state.files.clone();
            for file in state.files.values() {
                settle(&mut lock(file), &state.rng);
            }
        }
    }

    /// Flips one bit of a file, in the cache and on the device.
    pub fn flip_bit(&self, name: &str, offset_bytes: u64, bit: u8) {
        let state = lock(&self.state);
        let mut file = lock(&state.files[name]);
        let at = usize::try_from(offset_bytes).expect("offset in memory");
        file.cache[at] ^= 1 << bit;
        let changed = file.cache[at];
        if let Some(byte) = file.stable.get_mut(at) {
            *byte = changed;
        }
    }

    /// Cuts a file, in the cache and on the device.
    pub fn truncate(&self, name: &str, len_bytes: usize) {
        let state = lock(&self.state);
        let mut file = lock(&state.files[name]);
        file.cache.truncate(len_bytes);
        file.stable.truncate(len_bytes);
        file.unsynced.clear();
    }

    /// Bytes of a file as reads see them.
    #[must_use]
    pub fn contents(&self, name: &str) -> Vec<u8> {
        lock(&lock(&self.state).files[name]).cache.clone()
    }
}

/// Decides what a file holds after the power went.
fn settle(file: &mut File, rng: &SeededRng) {
    let mut unsynced = std::mem::take(&mut file.unsynced);
    let keep_all_but_last = rng.below(4) == 0;
    while !unsynced.is_empty() {
        let last = unsynced.len() == 1;
        let at = if keep_all_but_last { 0 } else { rng.below(unsynced.len() as u64) as usize };
        let (offset, bytes) = unsynced.remove(at);
        match rng.below(3) {
            _ if keep_all_but_last && !last => apply(&mut file.stable, offset, &bytes),
            0 => {}
            1 => apply(&mut file.stable, offset, &bytes),
            _ => tear(&mut file.stable, offset, &bytes, rng),
        }
    }
    let len = file.cache.len();
    file.stable.resize(len, 0);
    file.cache = file.stable.clone();
}

fn apply(stable: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if stable.len() < offset + bytes.len() {
        stable.resize(offset + bytes.len(), 0);
    }
    stable[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// Keeps each sector of a write, or not.
fn tear(stable: &mut Vec<u8>, offset: usize, bytes: &[u8], rng: &SeededRng) {
    let sector = if rng.below(2) == 0 { 512 } else { 4096 };
    let mut from = 0;
    while from < bytes.len() {
        let to = ((offset + from) / sector * sector + sector - offset).min(bytes.len());
        if rng.below(2) == 0 {
            apply(stable, offset + from, &bytes[from..to]);
        }
        from = to;
    }
}

impl State {
    /// Counts a changing operation; true if this is the one in which the machine stops.
    fn begin(&mut self) -> io::Result<bool> {
        if self.crashed {
            return Err(crash_error());
        }
        self.op_count += 1;
        if self.crash_at.is_some_and(|at| self.op_count >= at) {
            self.crashed = true;
            return Ok(true);
        }
        Ok(false)
    }

    fn fault(&mut self, wanted: &[Fault]) -> Option<Fault> {
        let now = self.op_count;
        let at = self.faults.iter().position(|(op, f)| *op <= now && wanted.contains(f))?;
        Some(self.faults.swap_remove(at).1)
    }

    fn used_bytes(&self) -> u64 {
        self.files.values().map(|file| lock(file).cache.len() as u64).sum()
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.state).files.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = lock(&self.state);
        if state.fault(&[Fault::OpenError]).is_some() {
            return Err(open_error());
        }
        let file = state.files.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { disk: self.clone(), file: file.clone() }))
    }

    fn create(&self, name: &str, len_bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = lock(&self.state);
        if state.begin()? {
            return Err(crash_error());
        }
        if state.fault(&[Fault::OpenError]).is_some() {
            return Err(open_error());
        }
        if state.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if state.used_bytes() + len_bytes > state.capacity_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let len = usize::try_from(len_bytes).expect("length in memory");
        let file = File { stable: vec![0; len], cache: vec![0; len], unsynced: Vec::new() };
        let file = Arc::new(Mutex::new(file));
        state.files.insert(name.to_owned(), file.clone());
        Ok(Arc::new(SimFile { disk: self.clone(), file }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        if state.begin()? {
            return Err(crash_error());
        }
        state.files.remove(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        if state.begin()? {
            return Err(crash_error());
        }
        if state.fault(&[Fault::SyncError]).is_some() {
            return Err(io::Error::other("injected flush error"));
        }
        state.stable_names = state.files.clone();
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        let state = lock(&self.state);
        let free_bytes = state.capacity_bytes.saturating_sub(state.used_bytes());
        Ok(Space { total_bytes: state.capacity_bytes, free_bytes })
    }
}

struct SimFile {
    disk: SimDisk,
    file: Arc<Mutex<File>>,
}

impl DiskFile for SimFile {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(lock(&self.file).cache.len() as u64)
    }

    fn write_at(&self, offset: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let mut at = usize::try_from(offset).expect("offset in memory");
        let mut state = lock(&self.disk.state);
        let stopped = state.begin()?;
        let fault = state.fault(&[Fault::WriteError, Fault::Misdirected]);
        let mut file = lock(&self.file);
        if stopped || fault == Some(Fault::WriteError) {
            let kept = state.rng.below(bytes.len() as u64 + 1) as usize;
            bytes.truncate(kept);
        }
        if fault == Some(Fault::Misdirected) {
            let room = file.cache.len().saturating_sub(bytes.len()) as u64 + 1;
            at = state.rng.below(room) as usize;
        }
        apply(&mut file.cache, at, &bytes);
        file.unsynced.push((at, bytes));
        match fault {
            _ if stopped => Err(crash_error()),
            Some(Fault::WriteError) => Err(io::Error::other("injected write error")),
            _ => Ok(()),
        }
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut state = lock(&self.disk.state);
        if state.crashed {
            return Err(crash_error());
        }
        if state.fault(&[Fault::ReadError]).is_some() {
            return Err(io::Error::other("injected read error"));
        }
        let file = lock(&self.file);
        let from = usize::try_from(offset).expect("offset in memory");
        let end = from.checked_add(bytes.len()).expect("range in memory");
        let slice = file.cache.get(from..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(slice);
        Ok(())
    }

    fn read_cached_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<bool> {
        self.read_at(offset, bytes).map(|()| true)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = lock(&self.disk.state);
        if state.begin()? {
            return Err(crash_error());
        }
        let mut file = lock(&self.file);
        if let Some(fault) = state.fault(&[Fault::SyncError, Fault::SyncFull]) {
            file.unsynced.clear();
            return Err(match fault {
                Fault::SyncFull => io::ErrorKind::StorageFull.into(),
                _ => io::Error::other("injected flush error"),
            });
        }
        if !state.skip_syncs {
            for (offset, bytes) in std::mem::take(&mut file.unsynced) {
                apply(&mut file.stable, offset, &bytes);
            }
        }
        Ok(())
    }

    fn drop_cache(&self) -> io::Result<()> {
        // Dirty pages stay; of the others the next read sees what the device holds.
        let mut guard = lock(&self.file);
        let file = &mut *guard;
        let len = file.cache.len();
        file.cache.clone_from(&file.stable);
        file.cache.resize(len, 0);
        for (offset, bytes) in &file.unsynced {
            apply(&mut file.cache, *offset, bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(file: &dyn DiskFile, offset: u64, bytes: &[u8]) -> io::Result<()> {
        file.write_at(offset, &mut [IoSlice::new(bytes)])
    }

    #[test]
    fn a_power_cut_keeps_what_was_synced_and_may_lose_the_rest() {
        let mut lost = 0;
        for seed in 0..50 {
            let disk = SimDisk::new(1 << 20, seed);
            let file = disk.create("f", 8192).expect("created");
            disk.sync_dir().expect("synced");
            write(&*file, 0, b"kept").expect("written");
            file.sync_data().expect("flushed");
            write(&*file, 4096, b"maybe").expect("written");
            disk.restart(CrashKind::Power);
            let bytes = disk.contents("f");
            assert_eq!(&bytes[..4], b"kept");
            lost += u32::from(&bytes[4096..4101] != b"maybe");
        }
        assert!((5..45).contains(&lost), "{lost} of 50 lost");
    }

    #[test]
    fn a_kill_keeps_the_page_cache() {
        let disk = SimDisk::new(1 << 20, 1);
        let file = disk.create("f", 512).expect("created");
        write(&*file, 0, b"x").expect("written");
        disk.restart(CrashKind::Kill);
        assert_eq!(disk.contents("f")[0], b'x');
    }

    #[test]
    fn a_flush_that_failed_has_lost_the_writes() {
        let disk = SimDisk::new(1 << 20, 1);
        let file = disk.create("f", 512).expect("created");
        disk.sync_dir().expect("synced");
        write(&*file, 0, b"x").expect("written");
        disk.inject(0, Fault::SyncError);
        file.sync_data().expect_err("injected");
        file.sync_data().expect("the second flush lies");
        disk.restart(CrashKind::Power);
        assert_eq!(disk.contents("f")[0], 0);
    }

    #[test]
    fn a_full_device_refuses_a_new_file() {
        let disk = SimDisk::new(1000, 1);
        disk.create("a", 900).expect("fits");
        let error = disk.create("b", 200).err().expect("full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
