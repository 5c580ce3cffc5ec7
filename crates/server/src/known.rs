//! The file `drives` in the directory of each drive: where the drives of the deployment were last, so that
//! one that was added or put in is found at the next start without being named.
//!
//! It is a hint for people and starts. Only a directory that says itself that it belongs to the deployment is
//! taken, and which drives belong together the drives say, not this file.

use crate::places::{GivenDirectory, parse};
use drystone_base::hex;
use drystone_cluster::PoolDrive;
use drystone_drive::read_super;
use drystone_io::RealDisk;
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
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
        if std::fs::read_to_string(&path).is_ok_and(|known| known == text) {
            continue;
        }
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options.open(&path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        if let Err(error) = written {
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
        let Ok(text) = std::fs::read_to_string(directory.path.join(FILE)) else { continue };
        let Some(deployment) = deployment_of(&directory.path) else { continue };
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            // A path may have braces that mean nothing here.
            let Ok(parsed) = parse(&[line.to_owned()]) else { continue };
            let [other] = &parsed[..] else { continue };
            let Some(path) = place(&other.path) else { continue };
            if known.contains(&path) || deployment_of(&path).as_ref() != Some(&deployment) {
                continue;
            }
            tracing::info!(path = %other.path.display(), "a drive of this deployment was not named");
            known.insert(path);
            found.push(other.clone());
        }
    }
    found
}
