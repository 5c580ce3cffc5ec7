//! A directory of the operating system.

use crate::direct::Direct;
use crate::modes::{DIRECTORY_MODE, FILE_MODE};
use crate::small::{Links, open_directory, open_file, sync_directory};
use crate::{Disk, DiskFile, Space};
use rustix::fs::{Advice, FallocateFlags, FlockOperation, OFlags};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Slices that one `pwritev` takes at most (Linux `IOV_MAX`).
const SLICE_COUNT_MAX: usize = 1024;

/// A directory that this process has locked for itself.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    directory: File,
}

impl RealDisk {
    /// Opens a directory, creating it and its parents if they are missing, and locks it until the
    /// process ends.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if another process has it locked, or whatever the operating system reports.
    pub fn open(path: &Path) -> io::Result<Self> {
        if !path.try_exists()? {
            DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                sync_directory(parent)?;
            }
        }
        let directory = open_directory(path)?;
        rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { path: path.to_owned(), directory })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of everything in the directory, sub-directories included.
    ///
    /// # Errors
    ///
    /// Whatever the operating system reports.
    pub fn entries(&self) -> io::Result<Vec<String>> {
        let names = std::fs::read_dir(&self.path)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    /// Removes a sub-directory with everything in it, if it is there.
    ///
    /// # Errors
    ///
    /// Whatever the operating system reports.
    pub fn remove_subdirectory(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_dir_all(self.path.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path.join(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let file = open_file(&path, Links::Refused, &mut options, OFlags::empty())?;
        let direct = Direct::new(path, &file)?;
        Ok(Arc::new(RealFile { file, direct }))
    }

    fn create(&self, name: &str, len_bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path.join(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(FILE_MODE);
        let file = options.open(&path)?;
        if let Err(error) = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, len_bytes) {
            let _ = std::fs::remove_file(&path);
            return Err(error.into());
        }
        let direct = Direct::new(path, &file)?;
        Ok(Arc::new(RealFile { file, direct }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.directory.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        let stat = rustix::fs::fstatvfs(&self.directory)?;
        Ok(Space {
            total_bytes: stat.f_blocks * stat.f_frsize,
            free_bytes: stat.f_bavail * stat.f_frsize,
        })
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
    direct: Direct,
}

impl DiskFile for RealFile {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn write_at(&self, mut offset: u64, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let count = slices.len().min(SLICE_COUNT_MAX);
            let written = match rustix::io::pwritev(&self.file, &slices[..count], offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            offset += written as u64;
            IoSlice::advance_slices(&mut slices, written);
        }
        Ok(())
    }

    fn write_direct_at(&self, offset: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        match self.direct.write_at(offset, slices)? {
            true => Ok(()),
            false => self.write_at(offset, slices),
        }
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    fn read_direct_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        match self.direct.read_at(offset, bytes)? {
            true => Ok(()),
            false => self.read_at(offset, bytes),
        }
    }

    fn read_cached_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<bool> {
        let wanted = bytes.len();
        let mut slices = [IoSliceMut::new(bytes)];
        let flags = rustix::io::ReadWriteFlags::NOWAIT;
        match rustix::io::preadv2(&self.file, &mut slices, offset, flags) {
            Ok(read) => Ok(read == wanted),
            // Not every filesystem knows the flag; the caller then reads on a thread that may wait.
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::OPNOTSUPP) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn drop_cache(&self) -> io::Result<()> {
        rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_opened_by_one_at_a_time() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let first = RealDisk::open(dir.path()).expect("first");
        let second = RealDisk::open(dir.path()).expect_err("locked");
        assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
        drop(first);
        RealDisk::open(dir.path()).expect("free again");
    }

    #[test]
    fn what_is_created_is_closed_to_other_users() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("drive");
        let disk = RealDisk::open(&path).expect("disk");
        disk.create("f", 1).expect("created");
        for (path, expected) in [(path.clone(), 0o700), (path.join("f"), 0o600)] {
            let mode = std::fs::metadata(&path).expect("is there").permissions().mode();
            assert_eq!(mode & 0o777, expected, "{}", path.display());
        }
    }

    #[test]
    fn any_range_can_be_read_around_memory() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let disk = RealDisk::open(dir.path()).expect("disk");
        let file = disk.create("f", 5 << 20).expect("created");
        let data: Vec<u8> = (0..5_u32 << 20).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect();
        file.write_at(0, &mut [IoSlice::new(&data)]).expect("written");
        for (at, len) in [(0, 4096), (1, 1), (4095, 2), (4097, 3 << 20), (100, (5 << 20) - 100)] {
            let mut bytes = vec![0; len];
            file.read_direct_at(at as u64, &mut bytes).expect("read");
            assert!(bytes == data[at..at + len], "{at} {len}");
        }
        let error = file.read_direct_at((5 << 20) - 10, &mut [0; 20]).expect_err("beyond the end");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn many_slices_are_written_in_order() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let disk = RealDisk::open(dir.path()).expect("disk");
        let file = disk.create("f", 1 << 16).expect("created");
        let data: Vec<[u8; 3]> = (0..3000_u32).map(|i| [i as u8, (i >> 8) as u8, 7]).collect();
        let mut slices: Vec<IoSlice<'_>> = data.iter().map(|d| IoSlice::new(d)).collect();
        file.write_at(100, &mut slices).expect("written");
        file.sync_data().expect("flushed");
        let mut back = vec![0; 9000];
        file.read_at(100, &mut back).expect("read");
        assert_eq!(back, data.concat());
        assert_eq!(file.len_bytes().expect("length"), 1 << 16);
    }
}
