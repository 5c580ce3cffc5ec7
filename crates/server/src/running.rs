//! Which servers of this user run on this machine: each has a file that names the directory of a drive, so
//! that `drystone status` finds the only one without being told.
//!
//! # Invariants
//!
//! - The directory of the files belongs to the user that asks, and no other can write to it: a directory
//!   that someone else made first, as is possible in `/tmp`, is not used.
//! - A file proves nothing. The socket that it leads to must belong to the user that asks, too: only then
//!   is a request sent there.

use crate::config;
use crate::socket;
use drystone_io::{Links, create_small_file, read_small_file, remove_small_file};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf, absolute};

/// Files that are looked at at most.
const ENTRIES_MAX: usize = 1_000;
/// Bytes of a file at most.
const LEN_MAX: u64 = 8 << 10;

/// Where the files are; where it is not set, the first of these that can be used.
fn directories() -> Vec<PathBuf> {
    if let Ok(Some(given)) = config::setting("RUNTIME_DIR") {
        return vec![PathBuf::from(given.value)];
    }
    match rustix::process::geteuid().as_raw() {
        0 => vec![PathBuf::from("/run/drystone")],
        uid => vec![
            PathBuf::from(format!("/run/user/{uid}/drystone")),
            PathBuf::from(format!("/tmp/drystone-{uid}")),
        ],
    }
}

/// Whether a directory is one that only this user can have put files into. Links are not followed.
fn is_own(directory: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    directory.symlink_metadata().is_ok_and(|found| {
        found.is_dir() && found.uid() == own && found.permissions().mode() & 0o022 == 0
    })
}

fn make(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    match is_own(directory) {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it is not a directory that only this user can write to",
        )),
    }
}

/// The file of this process; it is removed with it.
pub(crate) struct Entry(Option<PathBuf>);

impl Entry {
    /// Writes the file. Where that cannot be, `drystone status` needs `--at`.
    pub(crate) fn write(homes: &[PathBuf]) -> Self {
        let Some(home) = homes.first() else { return Self(None) };
        let home = absolute(home).unwrap_or_else(|_| home.clone());
        for directory in directories() {
            let path = directory.join(std::process::id().to_string());
            let written = make(&directory).and_then(|()| {
                // Of a process that had the same number.
                let _ = remove_small_file(&path);
                create_small_file(&path, &home.display().to_string())
            });
            match written {
                Ok(()) => return Self(Some(path)),
                Err(error) => {
                    tracing::debug!(path = %path.display(), %error, "no file says where it is")
                }
            }
        }
        Self(None)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = remove_small_file(path);
        }
    }
}

/// Directories of drives of the servers of this user that run now, in their order; one of each server.
pub(crate) fn servers() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for directory in directories().iter().filter(|directory| is_own(directory)) {
        let Ok(entries) = std::fs::read_dir(directory) else { continue };
        for entry in entries.take(ENTRIES_MAX).flatten() {
            let Ok(home) = read_small_file(&entry.path(), Links::Refused, LEN_MAX) else {
                continue;
            };
            let home = PathBuf::from(home.trim_end());
            match answers(&home) {
                true => found.push(home),
                // Of a process that was killed.
                false => drop(remove_small_file(&entry.path())),
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Whether a server of this user listens on the socket of a drive.
fn answers(home: &Path) -> bool {
    let path = home.join(socket::FILE);
    let own = rustix::process::geteuid().as_raw();
    let is_own = path
        .symlink_metadata()
        .is_ok_and(|found| found.file_type().is_socket() && found.uid() == own);
    is_own && UnixStream::connect(&path).is_ok()
}
