//! The root credentials, and where they are kept.
//!
//! Where the keyring lies outside of the drives, so do they, beside it: who has a drive must neither learn
//! them nor say what they are. Where the keyring is on the drives, nothing can be kept from who has one, and
//! each drive has a copy, so that they outlive any drive.

use crate::config::{LogFormat, ServerConfig};
use crate::drive_files::LEN_MAX;
use crate::node::Node;
use crate::places::leads_to;
use crate::secrets::{self, FILE, KEYRING_FILE};
use drystone_base::{Rng, SystemRng};
use drystone_identity::RootCredentials;
use drystone_io::{Links, read_small_file, remove_small_file, replace_small_file, sync_directory};
use drystone_keyring::{Keyring, Secret};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Characters of the owner's access key and secret key at least, wherever they come from.
pub(crate) const ACCESS_KEY_LEN_MIN: usize = 3;
pub(crate) const SECRET_KEY_LEN_MIN: usize = 8;

/// Where credentials came from.
enum Origin {
    /// The environment.
    Given,
    /// The file.
    Kept,
    /// Made just now.
    Made,
}

/// The root credentials of a start.
pub(crate) struct RootKeys {
    pub(crate) credentials: RootCredentials,
    origin: Origin,
    /// The file that they are in, or would be.
    file: PathBuf,
}

/// The directory of the keyring, if it lies outside of the drives.
pub(crate) fn beside_keyring(config: &ServerConfig, homes: &[PathBuf]) -> Option<PathBuf> {
    let keyring = leads_to(config.keys.keyring.as_ref()?);
    let given = config.directories.iter().map(|directory| &directory.path);
    let is_on_drive = given.chain(homes).any(|drive| keyring.starts_with(leads_to(drive)));
    if is_on_drive { None } else { keyring.parent().map(Path::to_owned) }
}

/// Names of the secret files that each drive has a copy of.
pub(crate) fn files_on_drives(config: &ServerConfig, homes: &[PathBuf]) -> &'static [&'static str] {
    if beside_keyring(config, homes).is_some() { &[] } else { &[FILE, KEYRING_FILE] }
}

/// The credentials in the environment, else those of the file, else new ones that are put into the file.
pub(crate) fn open(
    config: &ServerConfig,
    node: &Node,
    given: Option<(String, String)>,
) -> io::Result<RootKeys> {
    let given = given.map(|(access_key, secret_key)| RootCredentials {
        access_key,
        secret_key: Secret::new(secret_key),
    });
    if let Some(directory) = beside_keyring(config, &node.homes) {
        let file = directory.join(format!("{FILE}-{}", node.deployment_text()));
        return open_beside_keyring(config, node, given, file);
    }
    let home = secrets::home_of(&node.homes, FILE);
    let file = home.join(FILE);
    let (credentials, origin) = match given {
        Some(credentials) => (credentials, Origin::Given),
        None => match read(&file, Links::Refused)? {
            Some(credentials) => (credentials, Origin::Kept),
            None => (make(&file)?, Origin::Made),
        },
    };
    if matches!(origin, Origin::Kept) {
        warn_of_stale_copies(&node.homes, home);
    }
    Ok(RootKeys { credentials, origin, file })
}

/// The order makes it safe to stop anywhere: first the file is durable, then files on the drives count no
/// more, then they are removed.
fn open_beside_keyring(
    config: &ServerConfig,
    node: &Node,
    given: Option<RootCredentials>,
    file: PathBuf,
) -> io::Result<RootKeys> {
    let keyring = node.keyring.as_deref().ok_or_else(|| io::Error::other("there is no keyring"))?;
    let deployment = &node.identity.deployment;
    let copies: Vec<PathBuf> = node.homes.iter().map(|home| home.join(FILE)).collect();
    let may_come_from_drives = node.keyring_knew && !keyring.has_settled_owner(deployment);
    let kept = read(&file, Links::Followed)?;
    let (credentials, origin) = match (given, kept) {
        (Some(credentials), _) => (credentials, Origin::Given),
        (None, Some(credentials)) => (credentials, Origin::Kept),
        (None, None) => match copy_that_counts(&copies, may_come_from_drives)? {
            Some(credentials) => match store(&file, &credentials) {
                Ok(()) => (credentials, Origin::Kept),
                Err(error) => return Ok(stay_on_drives(credentials, &copies, &error)),
            },
            None => (make(&file)?, Origin::Made),
        },
    };
    settle(config, keyring, deployment);
    if matches!(origin, Origin::Given) {
        warn_of_copies(&copies, &file);
    } else {
        remove_copies(&copies, &credentials, &file);
    }
    warn_of_keyrings(&node.homes, keyring);
    Ok(RootKeys { credentials, origin, file })
}

/// What files on the drives say, once: at the first start of a version that keeps the credentials elsewhere,
/// or after the keyring was moved off the drives.
fn copy_that_counts(copies: &[PathBuf], may_count: bool) -> io::Result<Option<RootCredentials>> {
    if !may_count {
        return Ok(None);
    }
    let mut found: Option<(RootCredentials, &PathBuf)> = None;
    for copy in copies {
        let Some(credentials) = read(copy, Links::Refused)? else { continue };
        match &found {
            Some((first, path)) if !is_same(first, &credentials) => {
                return Err(io::Error::other(format!(
                    "{} and {} hold different root credentials: remove the wrong one, or set \
                     DRYSTONE_ROOT_USER and DRYSTONE_ROOT_PASSWORD",
                    path.display(),
                    copy.display()
                )));
            }
            Some(_) => {}
            None => found = Some((credentials, copy)),
        }
    }
    Ok(found.map(|(credentials, _)| credentials))
}

/// The directory of the keyring cannot be written: the store opens as it did with an earlier version.
fn stay_on_drives(credentials: RootCredentials, copies: &[PathBuf], error: &io::Error) -> RootKeys {
    tracing::error!(
        %error,
        "the root credentials stay on the drives, where who has a drive can read and change them, because \
         they cannot be kept beside the keyring: let the server write there once, or set DRYSTONE_ROOT_USER \
         and DRYSTONE_ROOT_PASSWORD"
    );
    let is_there = |copy: &&PathBuf| copy.symlink_metadata().is_ok();
    let file = copies.iter().find(is_there).unwrap_or(&copies[0]).clone();
    RootKeys { credentials, origin: Origin::Kept, file }
}

/// Notes in the keyring that files on the drives say no more who the owner is.
fn settle(config: &ServerConfig, keyring: &Keyring, deployment: &[u8; 16]) {
    let Some(path) = config.keys.keyring.as_ref() else { return };
    keyring.note_settled_owner(deployment);
    let noted = secrets::note_in_keyring(
        path,
        Links::Followed,
        &|ring| ring.has_settled_owner(deployment),
        &|ring| ring.note_settled_owner(deployment),
    );
    if let Err(error) = noted {
        tracing::warn!(
            path = %path.display(), %error,
            "the keyring cannot be told that files on the drives do not say who the owner is: if the file \
             beside it is lost, they would again; let the server write it once"
        );
    }
}

/// Removes copies on drives, once the file elsewhere is durable.
fn remove_copies(copies: &[PathBuf], credentials: &RootCredentials, file: &Path) {
    let mut removed = 0;
    for copy in copies {
        match read(copy, Links::Refused) {
            Ok(None) => {}
            Ok(Some(found)) if is_same(&found, credentials) => {
                let directory = copy.parent().unwrap_or(copy);
                match remove_small_file(copy).and_then(|()| sync_directory(directory)) {
                    Ok(()) => removed += 1,
                    Err(error) => tracing::warn!(
                        copy = %copy.display(), %error,
                        "root credentials on a drive could not be removed: remove the file"
                    ),
                }
            }
            Ok(Some(_)) | Err(_) => warn_of_copies(std::slice::from_ref(copy), file),
        }
    }
    if removed > 0 {
        tracing::warn!(
            removed,
            file = %file.display(),
            "the root credentials were on the drives in clear, and are kept beside the keyring now: change \
             them there if others had a drive"
        );
    }
}

fn warn_of_copies(copies: &[PathBuf], file: &Path) {
    for copy in copies.iter().filter(|copy| copy.symlink_metadata().is_ok()) {
        tracing::warn!(
            copy = %copy.display(), file = %file.display(),
            "root credentials on a drive do not count where the keyring lies elsewhere: remove the file"
        );
    }
}

/// A keyring that lies on a drive as well protects nothing.
fn warn_of_keyrings(homes: &[PathBuf], keyring: &Keyring) {
    for path in homes.iter().map(|home| home.join(KEYRING_FILE)) {
        let found = secrets::load_keyring(&path, Links::Refused);
        if found.is_ok_and(|found| found.has(keyring.current_id())) {
            tracing::warn!(
                path = %path.display(),
                "a drive has a copy of the keyring, which who has the drive can read: remove it once the \
                 keyring is backed up"
            );
        }
    }
}

/// Warns of copies of the root credentials that differ from those that count: such a copy counts again once
/// the drive of the other one is not there, with a key that may have been changed because it leaked.
fn warn_of_stale_copies(homes: &[PathBuf], directory: &Path) {
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
            "the root credentials of the drives differ: if you changed them, copy the file that counts over \
             the stale one, whose keys would count when the other drive is missing; if not, who wrote them \
             wants to be the owner"
        );
    }
}

fn is_same(one: &RootCredentials, other: &RootCredentials) -> bool {
    one.access_key == other.access_key && one.secret_key.reveal() == other.secret_key.reveal()
}

/// The credentials of a file; `None` if there is none.
fn read(path: &Path, links: Links) -> io::Result<Option<RootCredentials>> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("the root credentials {}: {error}", path.display()))
    };
    let text = match read_small_file(path, links, LEN_MAX) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(named(error)),
    };
    for (number, line) in text.lines().take(2).enumerate() {
        if line.trim() != line {
            let (path, number) = (path.display(), number + 1);
            let message = format!("{path}, line {number}: begins or ends with a blank; remove it");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
    }
    let mut lines = text.lines();
    if let (Some(access_key), Some(secret_key)) = (lines.next(), lines.next())
        && access_key.len() >= ACCESS_KEY_LEN_MIN
        && secret_key.len() >= SECRET_KEY_LEN_MIN
    {
        let (access_key, secret_key) = (access_key.to_owned(), Secret::new(secret_key));
        return Ok(Some(RootCredentials { access_key, secret_key }));
    }
    let message = format!(
        "{} must hold two lines: an access key of {ACCESS_KEY_LEN_MIN} or more characters, and a secret \
         key of {SECRET_KEY_LEN_MIN} or more",
        path.display()
    );
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}

/// Puts credentials into a file, durably and as a whole.
fn store(path: &Path, credentials: &RootCredentials) -> io::Result<()> {
    let (access_key, secret_key) = (&credentials.access_key, &credentials.secret_key);
    let stored = replace_small_file(path, &format!("{access_key}\n{}\n", secret_key.reveal()));
    let place = path.display();
    stored.map_err(|error| io::Error::new(error.kind(), format!("{place}: {error}")))
}

/// New credentials, in the file.
fn make(path: &Path) -> io::Result<RootCredentials> {
    let rng = &SystemRng;
    let credentials = RootCredentials {
        access_key: random_text(rng, 20, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
        secret_key: Secret::new(random_text(
            rng,
            40,
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-",
        )),
    };
    store(path, &credentials).map_err(|error| {
        let message = format!(
            "root credentials cannot be kept in {error}. Let the server write there, or set \
             DRYSTONE_ROOT_USER and DRYSTONE_ROOT_PASSWORD"
        );
        io::Error::new(error.kind(), message)
    })?;
    Ok(credentials)
}

/// `alphabet` has a length that divides 256, so that every letter is equally likely.
fn random_text(rng: &dyn Rng, len: usize, alphabet: &[u8]) -> String {
    let mut bytes = vec![0; len];
    rng.fill(&mut bytes);
    bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect()
}

impl RootKeys {
    /// Says where the root credentials are from. New ones are shown, once and only to a terminal.
    pub(crate) fn announce(&self, config: &ServerConfig) {
        let mut stderr = io::stderr();
        let file = self.file.display();
        let is_read_by_people = config.log_format == LogFormat::Text && !config.is_quiet;
        if !is_read_by_people {
            match self.origin {
                Origin::Made => {
                    tracing::info!(%file, "root keys were made now and are kept in a file")
                }
                Origin::Kept => tracing::info!(%file, "root keys are in a file"),
                Origin::Given => tracing::info!("root keys are from the environment"),
            }
            return;
        }
        let text = match self.origin {
            Origin::Made if stderr.is_terminal() => format!(
                "  Access key  {}\n  Secret key  {}\n  (made now and kept in {file}; not shown again)\n",
                self.credentials.access_key,
                self.credentials.secret_key.reveal(),
            ),
            Origin::Made => format!("  Root keys   made now and kept in {file}\n"),
            Origin::Kept => format!("  Root keys   in {file}\n"),
            Origin::Given if self.file.is_file() => {
                format!("  Root keys   from the environment; those in {file} do not count\n")
            }
            Origin::Given => "  Root keys   from the environment\n".to_owned(),
        };
        let _ = stderr.write_all(text.as_bytes());
    }
}
