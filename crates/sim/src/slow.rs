//! Disks that are slow: at a rate of their own, or stuck until they are let go.

use drystone_io::{Disk, DiskFile, Space};
use std::io::{self, IoSlice};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Bytes of one request to the device: larger ones are split, and others come in between, as block layers do.
const REQUEST_LEN: usize = 256 << 10;

/// What several handles of a slow disk share.
struct Control {
    /// Bytes a second; `None` for as fast as it goes.
    rate: Option<u64>,
    /// When the device is done with what it was asked for so far.
    free_at: Mutex<Instant>,
    stuck: Mutex<bool>,
    let_go: Condvar,
}

/// A disk before another, which is slower. Clones share it.
#[derive(Clone)]
pub struct SlowDisk {
    inner: Arc<dyn Disk>,
    control: Arc<Control>,
}

struct SlowFile {
    inner: Arc<dyn DiskFile>,
    control: Arc<Control>,
}

impl Control {
    /// Does something, which then takes as long as the device would: what memory takes is part of that.
    fn take<T>(&self, bytes: usize, work: impl FnOnce() -> T) -> T {
        let mut stuck = self.stuck.lock().expect("no thread panicked");
        while *stuck {
            stuck = self.let_go.wait(stuck).expect("no thread panicked");
        }
        drop(stuck);
        let mut from = Instant::now();
        let done = work();
        let Some(rate) = self.rate else { return done };
        let mut left = bytes;
        while left > 0 {
            let now = left.min(REQUEST_LEN);
            let until = {
                let mut free_at = self.free_at.lock().expect("no thread panicked");
                let took = Duration::from_secs_f64(now as f64 / rate as f64);
                *free_at = (*free_at).max(from) + took;
                *free_at
            };
            std::thread::sleep(until.saturating_duration_since(Instant::now()));
            (from, left) = (until, left - now);
        }
        done
    }
}

impl SlowDisk {
    /// A disk that reads and writes so many bytes a second, both together.
    #[must_use]
    pub fn new(inner: Arc<dyn Disk>, rate: Option<u64>) -> Self {
        let control = Control {
            rate,
            free_at: Mutex::new(Instant::now()),
            stuck: Mutex::new(false),
            let_go: Condvar::new(),
        };
        Self { inner, control: Arc::new(control) }
    }

    /// From now on nothing is answered, or everything that waits is.
    pub fn set_stuck(&self, stuck: bool) {
        *self.control.stuck.lock().expect("no thread panicked") = stuck;
        self.control.let_go.notify_all();
    }

    fn wrap(&self, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(SlowFile { inner, control: self.control.clone() })
    }
}

impl Disk for SlowDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.inner.open(name)?))
    }
    fn create(&self, name: &str, len_bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.inner.create(name, len_bytes)?))
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }
    fn space(&self) -> io::Result<Space> {
        self.inner.space()
    }
}

impl DiskFile for SlowFile {
    fn len_bytes(&self) -> io::Result<u64> {
        self.inner.len_bytes()
    }
    fn write_at(&self, offset: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        self.control.take(bytes, || self.inner.write_at(offset, slices))
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.control.take(bytes.len(), || self.inner.read_at(offset, bytes))
    }
    fn read_cached_at(&self, _: u64, _: &mut [u8]) -> io::Result<bool> {
        // Nothing of it is in memory.
        Ok(false)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.control.take(0, || self.inner.sync_data())
    }
    fn drop_cache(&self) -> io::Result<()> {
        self.inner.drop_cache()
    }
}
