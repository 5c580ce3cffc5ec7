//! Which files the directory of a drive has, and what each may be: looked at before any of them is opened.
//!
//! A writer of one drive can put anything in their place. A drive with such a file is not used, like one
//! whose identity is damaged: it cannot keep the others from starting, or have a file of the machine copied
//! to them.

use crate::{known, places, secrets};
use drystone_drive::SUPER_FILE;
use drystone_io::{Links, check_file};
use std::io;
use std::path::Path;

/// Bytes of a short file at most.
pub(crate) const LEN_MAX: u64 = 1 << 20;
/// Beginning of the names of segments, whose length the log looks at.
const SEGMENT_PREFIX: &str = "seg-";

/// Bytes that a file of a drive may have; `None` for what is not a file of the server, and is never opened.
fn len_max_of(name: &str) -> Option<u64> {
    let short =
        [SUPER_FILE, secrets::FILE, secrets::KEYRING_FILE, known::FILE, places::CONDEMNED_FILE];
    match name {
        name if short.contains(&name) => Some(LEN_MAX),
        name if name.starts_with(SEGMENT_PREFIX) => Some(u64::MAX),
        _ => None,
    }
}

/// Refuses a drive where something else lies in the place of a file.
pub(crate) fn check(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(len_max) = len_max_of(&name) else { continue };
        match check_file(&entry.path(), Links::Refused, len_max) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
