//! What the server keeps secret in files, and copies from drive to drive; the keyring among it.

use crate::drive_files::LEN_MAX;
use drystone_base::Rng;
use drystone_io::{
    Links, create_small_file, read_small_file, remove_small_file, replace_small_file,
    sync_directory,
};
use drystone_keyring::Keyring;
use std::io;
use std::path::{Path, PathBuf};

/// Name of the file of the root credentials.
pub(crate) const FILE: &str = "root-credentials";

/// The directory, of those of several drives, whose file counts: the first that has it.
pub(crate) fn home_of<'a>(homes: &'a [PathBuf], file: &str) -> &'a Path {
    let has = |home: &&PathBuf| home.join(file).try_exists().unwrap_or(false);
    homes.iter().find(has).unwrap_or(&homes[0])
}

/// Copies a file of one drive to the others that lack it, so that it outlives any of them.
pub(crate) fn spread(homes: &[PathBuf], file: &str) {
    let from = home_of(homes, file).join(file);
    let Ok(text) = read_small_file(&from, Links::Refused, LEN_MAX) else { return };
    for home in homes {
        let path = home.join(file);
        if path.symlink_metadata().is_ok() {
            continue;
        }
        if let Err(error) = replace_small_file(&path, &text) {
            tracing::warn!(path = %path.display(), %error, "a copy could not be made");
        }
    }
}

/// Name of the keyring's file in the directory of the drive, unless a setting names another.
pub(crate) const KEYRING_FILE: &str = "keyring";

/// The keyring of a file.
pub(crate) fn load_keyring(path: &Path, links: Links) -> io::Result<Keyring> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("the keyring {}: {error}", path.display()))
    };
    let text = read_small_file(path, links, LEN_MAX).map_err(named)?;
    Keyring::parse(&text).map_err(|error| named(io::Error::new(io::ErrorKind::InvalidData, error)))
}

/// Notes something in the file of a keyring: `has` says whether it is there already. The file is replaced as
/// a whole.
pub(crate) fn note_in_keyring(
    path: &Path,
    links: Links,
    has: &dyn Fn(&Keyring) -> bool,
    note: &dyn Fn(&Keyring),
) -> io::Result<()> {
    let path = match links {
        Links::Followed => path.canonicalize()?,
        Links::Refused => path.to_owned(),
    };
    let keyring = load_keyring(&path, Links::Refused)?;
    if has(&keyring) {
        return Ok(());
    }
    note(&keyring);
    replace_small_file(&path, keyring.to_text().reveal())
}

/// The keyring of a file; a missing one is made with mode 0600. Says whether it was made.
pub(crate) fn load_or_make_keyring(
    path: &Path,
    links: Links,
    rng: &dyn Rng,
    now: &str,
) -> io::Result<(Keyring, bool)> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("the keyring {}: {error}", path.display()))
    };
    match read_small_file(path, links, LEN_MAX) {
        // A first start that was cut short: nothing has been sealed yet.
        Ok(text) if text.is_empty() => {
            remove_small_file(path).map_err(named)?;
            load_or_make_keyring(path, links, rng, now)
        }
        Ok(text) => match Keyring::parse(&text) {
            Ok(keyring) => Ok((keyring, false)),
            Err(error) => Err(named(io::Error::new(io::ErrorKind::InvalidData, error))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let keyring = Keyring::generate(rng, now);
            create_small_file(path, keyring.to_text().reveal()).map_err(named)?;
            if let Some(directory) = path.parent() {
                sync_directory(directory).map_err(named)?;
            }
            Ok((keyring, true))
        }
        Err(error) => Err(named(error)),
    }
}
