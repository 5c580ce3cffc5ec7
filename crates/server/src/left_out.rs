//! Directories that were given and that a start does without: whether a drive is missing there, or nothing of
//! the store is there any more, is known when the drives are open.

use crate::places::leads_to;
use drystone_cluster::PoolDrive;
use std::path::Path;

/// A directory that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// As it was given.
    pub(crate) path: String,
    /// What is wrong with it, and what can be done where a drive should be there.
    pub(crate) reason: String,
}

/// What is said of the directories that are not used, where no drive is open.
pub(crate) fn log_all(left_out: &[LeftOut]) {
    for LeftOut { path, reason } in left_out {
        tracing::error!(path, reason, "a drive is missing");
    }
}

/// Says which of the directories should have a drive. Others have nothing of the store any more: their drive
/// was replaced, or emptied and taken out.
pub(crate) fn log(left_out: &[LeftOut], drives: &[PoolDrive]) {
    for LeftOut { path, reason } in left_out {
        if is_of(path, drives) {
            tracing::error!(path, reason, "a drive is missing");
        } else {
            // Others may have put something of theirs there: no one is told to remove it.
            tracing::warn!(path, reason, "this directory is not part of the store: do not name it");
        }
    }
}

/// Whether a drive that is missing may be meant to be in a directory.
fn is_of(path: &str, drives: &[PoolDrive]) -> bool {
    let place = leads_to(Path::new(path));
    let mut missing = drives.iter().filter(|drive| drive.drive.is_none());
    missing.any(|drive| drive.path == "unknown" || leads_to(Path::new(&drive.path)) == place)
}
