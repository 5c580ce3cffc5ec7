//! Permissions of a drive directory: nothing in it is open to other users of the machine.
//!
//! New files are created 0600 and new directories 0700. This module closes what an earlier version, a
//! loose umask or an administrator left open. Only permission bits change; it walks by descriptors and
//! follows no link of either kind, so another user who can write to an open directory cannot lead it out of
//! the drive.

use rustix::fs::{Dir, FileType, Mode, OFlags, fchmod, fstat, openat};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Mode of files, whatever the umask.
pub(crate) const FILE_MODE: u32 = 0o600;
/// Mode of directories, whatever the umask.
pub(crate) const DIRECTORY_MODE: u32 = 0o700;
/// Permission bits of a file that only its owner reads and writes.
const FILE_BITS: Mode = Mode::from_raw_mode(FILE_MODE);
/// Permission bits of a directory that only its owner enters.
const DIRECTORY_BITS: Mode = Mode::from_raw_mode(DIRECTORY_MODE);
/// Directories below each other that are visited; a drive has two.
const DEPTH_MAX: usize = 16;
/// Left alone: it belongs to the file system.
const LOST_AND_FOUND: &[u8] = b"lost+found";

/// What [`tighten`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tightened {
    /// Files and directories whose mode was changed.
    pub changed: usize,
    /// Files and directories that stay open to others: they belong to another user, or the file system
    /// has no modes.
    pub failed: usize,
}

/// Takes all rights of group and others from a drive directory and from every regular file and directory
/// below it.
///
/// # Errors
///
/// The directory itself cannot be read.
pub fn tighten(path: &Path) -> io::Result<Tightened> {
    let mut report = Tightened::default();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // The drive directory itself may be given as a symbolic link; nothing below it may be one.
    let root = rustix::fs::open(path, flags, Mode::empty())?;
    walk(&root, 0, &mut report)?;
    Ok(report)
}

/// Tightens an open directory first, so that nothing new can come in, then what is in it.
fn walk(directory: &OwnedFd, depth: usize, report: &mut Tightened) -> io::Result<()> {
    close(directory, DIRECTORY_BITS, report)?;
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b".." | LOST_AND_FOUND) {
            continue;
        }
        // A FIFO would wait for a writer, and what is no file has nothing to read.
        let is_wanted = matches!(
            entry.file_type(),
            FileType::RegularFile | FileType::Directory | FileType::Unknown
        );
        if !is_wanted {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(directory, name, flags, Mode::empty()) {
            Ok(file) => file,
            // It was removed, or is a link or a socket.
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => continue,
            Err(Errno::ACCESS | Errno::PERM) => {
                report.failed += 1;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let stat = fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if depth < DEPTH_MAX => walk(&file, depth + 1, report)?,
            // A file that has another name may lie outside of the drive.
            FileType::RegularFile if stat.st_nlink > 1 => {}
            FileType::RegularFile => close(&file, FILE_BITS, report)?,
            _ => {}
        }
    }
    Ok(())
}

/// Takes the rights that others have of an open file, if they have any.
fn close(file: &OwnedFd, wanted: Mode, report: &mut Tightened) -> io::Result<()> {
    let mode = Mode::from_raw_mode(fstat(file)?.st_mode);
    if !mode.intersects(Mode::RWXG | Mode::RWXO) {
        return Ok(());
    }
    match fchmod(file, mode & wanted) {
        Ok(()) => report.changed += 1,
        Err(Errno::PERM | Errno::ROFS | Errno::OPNOTSUPP) => report.failed += 1,
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode_of(path: &Path) -> u32 {
        fs::symlink_metadata(path).expect("is there").permissions().mode() & 0o7777
    }

    #[test]
    fn everything_below_a_drive_is_closed_and_nothing_outside_of_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (drive, outside) = (dir.path().join("drive"), dir.path().join("outside"));
        fs::create_dir_all(drive.join("index/tables")).expect("directories");
        for file in [drive.join("super"), drive.join("index/tables/0"), outside.clone()] {
            File::create(&file).expect("created");
            fs::set_permissions(&file, Permissions::from_mode(0o666)).expect("loosened");
        }
        for folder in [drive.clone(), drive.join("index"), drive.join("index/tables")] {
            fs::set_permissions(&folder, Permissions::from_mode(0o777)).expect("loosened");
        }
        symlink(&outside, drive.join("link")).expect("a link");
        fs::hard_link(&outside, drive.join("second")).expect("a second name");
        assert_eq!(tighten(&drive).expect("walked"), Tightened { changed: 5, failed: 0 });
        for folder in ["", "index", "index/tables"] {
            assert_eq!(mode_of(&drive.join(folder)), 0o700, "{folder}");
        }
        for file in ["super", "index/tables/0"] {
            assert_eq!(mode_of(&drive.join(file)), 0o600, "{file}");
        }
        assert_eq!(mode_of(&outside), 0o666);
        assert_eq!(tighten(&drive).expect("walked"), Tightened::default());
    }
}
