//! The only code that touches files: the [`Disk`] seam, a real disk and a simulated one.
//!
//! A disk is one flat directory of preallocated files. There is no rename and no truncate: nothing
//! on the hot path changes file metadata.
//!
//! # Invariants
//!
//! - A write is durable once [`DiskFile::sync_data`] returned after it; the existence of a file once
//!   [`Disk::sync_dir`] returned after its creation.
//! - Both disks keep the same contract; the simulated one breaks everything that the contract does
//!   not promise (lost, reordered and torn writes, errors, flipped bits), by seed.
//!
//! # Not here
//!
//! What the bytes mean: see `log`. The index engine writes its own files beside these (see `index`).

mod direct;
mod modes;
mod real;
mod sim;
mod small;

pub use modes::{Tightened, tighten};
pub use real::RealDisk;
pub use sim::{CrashKind, Fault, SimDisk};
pub use small::{
    Links, check_file, check_tree, close_socket_to_others, create_small_file, open_for_reading,
    read_small_bytes, read_small_file, remove_small_file, replace_small_file, sync_directory,
};

use std::io::{self, IoSlice};
use std::sync::Arc;

/// Bytes of a filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Size of the filesystem, in bytes.
    pub total_bytes: u64,
    /// Bytes that this process may still use.
    pub free_bytes: u64,
}

/// One directory of preallocated files.
pub trait Disk: Send + Sync {
    /// Names of the files, in no particular order.
    ///
    /// # Errors
    ///
    /// Whatever the operating system reports.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens a file for reading and writing.
    ///
    /// # Errors
    ///
    /// `NotFound`, or whatever the operating system reports.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates a file of `len_bytes` zeros whose space is reserved. It is durable after
    /// [`DiskFile::sync_data`] and then [`Disk::sync_dir`].
    ///
    /// # Errors
    ///
    /// `AlreadyExists`, `StorageFull`, or whatever the operating system reports: nothing was written. A
    /// file that could not be given its space is removed again.
    fn create(&self, name: &str, len_bytes: u64) -> io::Result<Arc<dyn DiskFile>>;
    /// Removes a file.
    ///
    /// # Errors
    ///
    /// `NotFound`, or whatever the operating system reports.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations and removals durable.
    ///
    /// # Errors
    ///
    /// Whatever the operating system reports; the state of the directory is then unknown.
    fn sync_dir(&self) -> io::Result<()>;
    /// Size and free space of the filesystem.
    ///
    /// # Errors
    ///
    /// Whatever the operating system reports.
    fn space(&self) -> io::Result<Space>;
}

/// One open file. Safe to use from many threads at once.
pub trait DiskFile: Send + Sync {
    /// Length in bytes.
    ///
    /// # Errors
    ///
    /// Whatever the operating system reports.
    fn len_bytes(&self) -> io::Result<u64>;
    /// Writes all slices, one after the other, from `offset` on. Not durable when this returns.
    ///
    /// # Errors
    ///
    /// `StorageFull`, or whatever the operating system reports; any part may have been written.
    fn write_at(&self, offset: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()>;
    /// As [`DiskFile::write_at`], around the page cache where the filesystem can: a flush then has
    /// little to do, and does not keep the flushes of other files waiting. Offset and total length
    /// are multiples of 4,096 bytes.
    ///
    /// # Errors
    ///
    /// As [`DiskFile::write_at`].
    fn write_direct_at(&self, offset: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        self.write_at(offset, slices)
    }
    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof`, or whatever the operating system reports.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
    /// As [`DiskFile::read_at`], from the device and not from memory where the filesystem can, and
    /// without filling memory with what no one asked for: for reading everything once.
    ///
    /// # Errors
    ///
    /// As [`DiskFile::read_at`].
    fn read_direct_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.read_at(offset, bytes)
    }
    /// Fills `bytes` from `offset` on if that needs no waiting for the device; says whether it did.
    /// For threads that must not block.
    ///
    /// # Errors
    ///
    /// As [`DiskFile::read_at`].
    fn read_cached_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<bool>;
    /// Makes everything written so far durable.
    ///
    /// # Errors
    ///
    /// Whatever the operating system reports. What was written since the last success may be lost
    /// even if a later call succeeds: the caller must not write to this drive again.
    fn sync_data(&self) -> io::Result<()>;
    /// Asks for later reads to come from the device and not from memory; a hint.
    ///
    /// # Errors
    ///
    /// Whatever the operating system reports.
    fn drop_cache(&self) -> io::Result<()>;
}
