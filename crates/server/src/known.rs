//! The file `drives` in the directory of each drive: where the drives of the deployment were last, so that
//! one that was added or put in is found at the next start without being named.
//!
//! It is a hint for people and starts. Only a directory that says itself that it belongs to the deployment is
//! taken, and which drives belong together the drives say, not this file.

use crate::drive_files::LEN_MAX;
use crate::places::{GivenDirectory, parse_one};
use drystone_base::hex;
use drystone_cluster::PoolDrive;
use drystone_drive::read_super;
use drystone_io::{Links, RealDisk, read_small_file, replace_small_file};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf, absolute};

/// Name of the file.
pub(crate) const FILE: &str = "drives";

/// Writes the file into each directory.
pub(crate) fn write(homes: &[PathBuf], drives: &[PoolDrive]) {
    let line = |drive: &PoolDrive| {
        let path = absolute(&drive.path).unwrap_or_else(|_| PathBuf::from(&drive.path));
        match drive.info.zone.as_str() {
            "" => format!("{}\n", path.display()),
            zone => format!("{zone}={}\n", path.display()),
        }
    };
    let mut text =
        "# Where the drives of this deployment were last. Written by each start.\n".to_owned();
    text.extend(drives.iter().filter(|drive| drive.path != "unknown").map(line));
    for home in homes {
        let path = home.join(FILE);
        if read_small_file(&path, Links::Refused, LEN_MAX).is_ok_and(|known| known == text) {
            continue;
        }
        if let Err(error) = replace_small_file(&path, &text) {
            tracing::warn!(path = %path.display(), %error, "the places of drives could not be noted");
        }
    }
}

/// The deployment that a directory says it belongs to; none if another process has it.
fn deployment_of(path: &Path) -> Option<String> {
    let disk = RealDisk::open(path).ok()?;
    let identity = read_super(&disk).ok()??;
    Some(hex(&identity.deployment))
}

/// Directories that were not given but belong to the deployment of those that were.
pub(crate) fn others(given: &[GivenDirectory]) -> Vec<GivenDirectory> {
    let place = |path: &Path| path.canonicalize().ok();
    let mut known: BTreeSet<PathBuf> =
        given.iter().filter_map(|directory| place(&directory.path)).collect();
    let mut found = Vec::new();
    for directory in given {
        let text = read_small_file(&directory.path.join(FILE), Links::Refused, LEN_MAX);
        let Ok(text) = text else { continue };
        let Some(deployment) = deployment_of(&directory.path) else { continue };
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            let other = parse_one(line);
            let Some(path) = place(&other.path) else { continue };
            if known.contains(&path) || deployment_of(&path).as_ref() != Some(&deployment) {
                continue;
            }
            tracing::info!(path = %other.path.display(), "a drive of this deployment was not named");
            known.insert(path);
            found.push(other);
        }
    }
    found
}
