//! Takes the secrets from a drive that was emptied: it may be given away.
//!
//! What is removed lies on a drive that stays, byte by byte: a copy that differs is left where it is.

use crate::drive_files::LEN_MAX;
use crate::secrets::{FILE, KEYRING_FILE};
use drystone_cluster::DriveId;
use drystone_engine::Engine;
use drystone_io::{Links, read_small_file, remove_small_file, sync_directory};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Where the drives were at the last look that were there.
#[derive(Default)]
pub(crate) struct LeavingDrives {
    online: HashMap<DriveId, PathBuf>,
}

impl LeavingDrives {
    /// Looks for drives that were taken out since the last look.
    pub(crate) fn look(&mut self, engine: &Engine) {
        let drives = engine.pool().drives();
        let online = drives.iter().filter(|drive| drive.drive.is_some());
        let online = online.map(|drive| (drive.info.id, PathBuf::from(&drive.path))).collect();
        let before = std::mem::replace(&mut self.online, online);
        for (id, home) in before {
            if !drives.iter().any(|drive| drive.info.id == id) {
                let others: Vec<&Path> = self.online.values().map(PathBuf::as_path).collect();
                remove_secrets(&home, &others);
            }
        }
    }
}

fn remove_secrets(home: &Path, others: &[&Path]) {
    let text_of = |path: &Path| read_small_file(path, Links::Refused, LEN_MAX).ok();
    for file in [FILE, KEYRING_FILE] {
        let path = home.join(file);
        if others.contains(&home) || path.symlink_metadata().is_err() {
            continue;
        }
        let text = text_of(&path);
        let is_kept =
            others.iter().any(|other| text.is_some() && text_of(&other.join(file)) == text);
        if !is_kept {
            tracing::warn!(
                path = %path.display(),
                "the drive was taken out and keeps this file, of which no other drive has the same"
            );
            continue;
        }
        match remove_small_file(&path).and_then(|()| sync_directory(home)) {
            Ok(()) => {
                tracing::info!(path = %path.display(), "removed from the drive that was taken out")
            }
            Err(error) => tracing::warn!(
                path = %path.display(), %error,
                "a secret on the drive that was taken out could not be removed: remove the file"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drystone_io::replace_small_file;

    #[test]
    fn what_no_other_drive_has_stays() {
        let homes = [(); 3].map(|()| tempfile::tempdir().expect("there is room"));
        let [left, other, odd] = homes.each_ref().map(tempfile::TempDir::path);
        let write = |home: &Path, file: &str, text: &str| {
            replace_small_file(&home.join(file), text).expect("it can be written");
        };
        for home in [left, other] {
            write(home, FILE, "a\nb\n");
        }
        write(left, KEYRING_FILE, "one");
        write(odd, KEYRING_FILE, "two");
        remove_secrets(left, &[other, odd]);
        let has = |home: &Path, file: &str| home.join(file).symlink_metadata().is_ok();
        assert!(!has(left, FILE) && has(left, KEYRING_FILE));
        remove_secrets(other, &[other, odd]);
        assert!(has(other, FILE), "it is one that stays");
    }
}
