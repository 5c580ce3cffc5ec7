//! What the server keeps secret in files: the root credentials, and the keyring.

use crate::drive_files::LEN_MAX;
use drystone_base::Rng;
use drystone_identity::RootCredentials;
use drystone_io::{
    Links, create_small_file, read_small_file, remove_small_file, replace_small_file,
    sync_directory,
};
use drystone_keyring::{Keyring, Secret};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Name of the file of the root credentials.
pub(crate) const FILE: &str = "root-credentials";

/// Where credentials came from.
pub(crate) enum Origin {
    /// The environment.
    Given,
    /// The file in the drive's directory.
    Kept,
    /// Made just now.
    Made,
}

/// The credentials in the environment, else those of the file, else new ones that are put into the
/// file with mode 0600.
pub(crate) fn load_or_make(
    directory: &Path,
    given: Option<(String, String)>,
    rng: &dyn Rng,
) -> io::Result<(RootCredentials, Origin)> {
    if let Some((access_key, secret_key)) = given {
        let secret_key = Secret::new(secret_key);
        return Ok((RootCredentials { access_key, secret_key }, Origin::Given));
    }
    let path = directory.join(FILE);
    match read_small_file(&path, Links::Refused, LEN_MAX) {
        Ok(text) => {
            let mut lines = text.lines();
            if let (Some(access_key), Some(secret_key)) = (lines.next(), lines.next()) {
                let (access_key, secret_key) = (access_key.to_owned(), Secret::new(secret_key));
                return Ok((RootCredentials { access_key, secret_key }, Origin::Kept));
            }
            let message = format!("{} must hold two lines: access key, secret key", path.display());
            Err(io::Error::new(io::ErrorKind::InvalidData, message))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let credentials = RootCredentials {
                access_key: random_text(rng, 20, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
                secret_key: Secret::new(random_text(
                    rng,
                    40,
                    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-",
                )),
            };
            let (access_key, secret_key) = (&credentials.access_key, &credentials.secret_key);
            create_small_file(&path, &format!("{access_key}\n{}\n", secret_key.reveal()))?;
            Ok((credentials, Origin::Made))
        }
        Err(error) => Err(error),
    }
}

/// `alphabet` has a length that divides 256, so that every letter is equally likely.
fn random_text(rng: &dyn Rng, len: usize, alphabet: &[u8]) -> String {
    let mut bytes = vec![0; len];
    rng.fill(&mut bytes);
    bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect()
}

/// Says where the root credentials are from. New ones are shown, once and only to a terminal.
pub(crate) fn announce(credentials: &RootCredentials, origin: &Origin, directory: &Path) {
    let mut stderr = io::stderr();
    let path = directory.join(FILE);
    let file = path.display();
    let text = match origin {
        Origin::Made if stderr.is_terminal() => format!(
            "  Access key  {}\n  Secret key  {}\n  (made now and kept in {file}; not shown again)\n",
            credentials.access_key,
            credentials.secret_key.reveal(),
        ),
        Origin::Made => format!("  Root keys   made now and kept in {file}\n"),
        Origin::Kept => format!("  Root keys   in {file}\n"),
        Origin::Given if path.is_file() => {
            format!("  Root keys   from the environment; those in {file} do not count\n")
        }
        Origin::Given => "  Root keys   from the environment\n".to_owned(),
    };
    let _ = stderr.write_all(text.as_bytes());
}

/// Warns of copies of the root credentials that differ from those that count: such a copy counts again once
/// the drive of the other one is not there, with a key that may have been changed because it leaked.
pub(crate) fn warn_of_stale_copies(homes: &[PathBuf], origin: &Origin, directory: &Path) {
    if !matches!(origin, Origin::Kept) {
        return;
    }
    let keys = |home: &Path| {
        let text = read_small_file(&home.join(FILE), Links::Refused, LEN_MAX).ok()?;
        Some(text.lines().take(2).map(str::to_owned).collect::<Vec<_>>())
    };
    let counting = keys(directory);
    let differs = |home: &&PathBuf| keys(home).is_some_and(|other| Some(other) != counting);
    for home in homes.iter().filter(differs) {
        let (counts, stale) = (directory.join(FILE), home.join(FILE));
        tracing::warn!(
            counts = %counts.display(),
            stale = %stale.display(),
            "the root credentials of the drives differ: copy the file that counts over the stale one, whose \
             keys would count when the other drive is missing"
        );
    }
}

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
        match create_small_file(&path, &text) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                tracing::warn!(path = %path.display(), %error, "a copy could not be made");
            }
            _ => {}
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
