//! The keyring, and the keys of objects: their settings, and how they are opened.

use crate::config::{self, ConfigError, Given, ServerConfig, argument_or_setting};
use crate::node::{Node, NodeError};
use crate::secrets;
use drystone_base::{Clock, SystemClock, SystemRng, Timestamp, hex, unhex};
use drystone_catalog::CatalogError;
use drystone_engine::deployment::{Deployment, OpenError};
use drystone_engine::{Engine, RowAccess, SealReport, Sealed};
use drystone_identity::DEFAULT_ACCOUNT;
use drystone_io::Links;
use drystone_keyring::{Keyring, KeyringError, Secret};
use drystone_kms::{
    Kms, KmsConfig, KmsError, StaticKey, VaultConfig, lost_keys, note_keyring, noted_keys,
};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Settings of keys. Has no `Debug`: there are secrets in it.
#[derive(Clone, Default)]
pub(crate) struct KeySettings {
    /// File of the keyring; `None` for one in the directory of each drive.
    pub(crate) keyring: Option<PathBuf>,
    /// Start although the keyring is not the one that secrets are sealed under.
    pub(crate) accepts_lost_keyring: bool,
    /// The deployment whose rows without seals are taken as they are, although the keyring knows another one
    /// and not this one.
    pub(crate) adopts_unsealed: Option<[u8; 16]>,
    /// A key of SSE-KMS that is given.
    pub(crate) static_key: Option<StaticKey>,
    /// Where new keys are kept, if not here.
    pub(crate) vault: Option<VaultConfig>,
    /// Buckets without a default encryption encrypt with SSE-S3.
    pub(crate) encrypts_always: bool,
}

impl KeySettings {
    /// Puts arguments and environment together.
    pub(crate) fn new(
        keyring: Option<PathBuf>,
        accepts_lost_keyring: bool,
        adopts_unsealed: Option<&str>,
        vault_url: Option<&str>,
    ) -> Result<Self, ConfigError> {
        let adopted = adopts_unsealed.map(|value| Given::option("--adopt-unsealed", value));
        let adopts_unsealed = adopted.as_ref().map(config::parse_id).transpose()?;
        let static_key = config::setting("KMS_SECRET_KEY")?;
        let static_key = static_key.map(|given| {
            let key = StaticKey::parse(&given.value);
            key.ok_or_else(|| given.refused("NAME:KEY, where KEY is 32 bytes in base64"))
        });
        let static_key = static_key.transpose()?;
        let vault = vault(argument_or_setting(vault_url, "VAULT_URL")?)?;
        let encrypts_always = config::switch("KMS_AUTO_ENCRYPTION")?;
        Ok(Self {
            keyring,
            accepts_lost_keyring,
            adopts_unsealed,
            static_key,
            vault,
            encrypts_always,
        })
    }
}

/// Where keys of SSE-KMS are kept, if a setting says so.
fn vault(url: Option<Given>) -> Result<Option<VaultConfig>, ConfigError> {
    let (token, mount) = (config::setting("VAULT_TOKEN")?, config::setting("VAULT_MOUNT")?);
    let namespace = config::setting("VAULT_NAMESPACE")?;
    let Some(url) = url else {
        let stray = [token, mount, namespace].into_iter().flatten().next();
        return stray.map_or(Ok(None), |given| Err(config::lacks(&given, "VAULT_URL")));
    };
    let token = token.ok_or_else(|| config::lacks(&url, "VAULT_TOKEN"))?;
    let is_graphic = |given: &Given| given.value.bytes().all(|byte| byte.is_ascii_graphic());
    let is_path = |given: &Given| is_graphic(given) && !given.value.contains(['?', '#', '%']);
    if !is_graphic(&token) {
        return Err(token.refused("visible ASCII characters without blanks"));
    }
    if let Some(wrong) = [&mount, &namespace].into_iter().flatten().find(|given| !is_path(given)) {
        return Err(wrong.refused("a path without blanks, such as transit"));
    }
    Ok(Some(VaultConfig {
        url: config::parse_url(&url)?,
        token: Secret::new(token.value),
        mount: mount.map_or_else(|| "transit".to_owned(), |given| given.value),
        namespace: namespace.map_or_else(String::new, |given| given.value),
    }))
}

/// Where the keyring of a deployment is: where a setting says, else beside its first drive.
fn path_of(config: &ServerConfig, homes: &[PathBuf]) -> PathBuf {
    let in_drive = secrets::home_of(homes, secrets::KEYRING_FILE).join(secrets::KEYRING_FILE);
    config.keys.keyring.clone().unwrap_or(in_drive)
}

/// Whether the file of the keyring may be a link: what a setting names may, a file of a drive may not.
fn links_of(config: &ServerConfig) -> Links {
    if config.keys.keyring.is_some() { Links::Followed } else { Links::Refused }
}

fn refused(path: &Path, error: &KmsError) -> io::Error {
    let is_there = path.try_exists().unwrap_or(true);
    let path = path.display();
    if !is_there {
        return io::Error::other(format!(
            "there is no keyring {path}, and this deployment needs one: {error}. Name its file with \
             --keyring or DRYSTONE_KEYRING, or restore it from its backup. Or start with \
             --accept-lost-keyring: what is sealed under that key is lost then"
        ));
    }
    io::Error::other(format!(
        "{path} is not the keyring of this deployment: {error}. Or start with --accept-lost-keyring: \
         what is sealed under that key is lost then"
    ))
}

/// The keyring of drives that are about to be opened, whose identities are sealed under it; `None` if there
/// is none yet. `must_be_there`: that is an error.
pub(crate) fn find_keyring(
    config: &ServerConfig,
    homes: &[PathBuf],
    must_be_there: bool,
) -> io::Result<Option<Arc<Keyring>>> {
    let path = path_of(config, homes);
    // One of no bytes was left by a first start that was cut short.
    match std::fs::metadata(&path) {
        Ok(metadata) if !metadata.is_file() || metadata.len() > 0 => {
            secrets::load_keyring(&path, links_of(config)).map(Arc::new).map(Some)
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ if must_be_there => Err(no_keyring(&path)),
        _ => Ok(None),
    }
}

fn no_keyring(path: &Path) -> io::Error {
    let message = format!(
        "there is no keyring {}: name its file with --keyring or DRYSTONE_KEYRING, or restore it from its \
         backup",
        path.display()
    );
    io::Error::new(io::ErrorKind::NotFound, message)
}

/// Says which keyring is the wrong one, where drives are sealed under another, and which drives have a
/// catalog that is damaged.
pub(crate) fn explain(config: &ServerConfig, homes: &[PathBuf], error: OpenError) -> NodeError {
    match error {
        OpenError::WrongKeyring(error) => {
            NodeError::Keyring(refused(&path_of(config, homes), &error.into()))
        }
        OpenError::Catalog(
            cause @ (CatalogError::FramesDamaged(_)
            | CatalogError::FramesMissing { .. }
            | CatalogError::Row(_)),
        ) => {
            let paths: Vec<_> = homes.iter().map(|home| home.display().to_string()).collect();
            NodeError::Catalog { paths: paths.join(" "), cause }
        }
        error => error.into(),
    }
}

/// Rows that are looked at before a start under a keyring that does not know the deployment. Those behind
/// them are looked at when they are read.
const LOOKED_MAX: usize = 10_000;

/// Deployments of a keyring whose seals are looked for then.
const KNOWN_MAX: usize = 100;

/// Whether a row without a seal is an error. It is for a deployment that the keyring knows, and for one that
/// it does not know if it knows another: the id of a deployment stands on its drives, where the mark that all
/// rows have seals would be lost by writing another id.
fn demands_seals(config: &ServerConfig, keyring: &Keyring, id: &[u8; 16]) -> bool {
    keyring.has_sealed_rows(id) || is_unknown(config, keyring, id)
}

/// Whether the keyring knows other deployments and not this one, which is not adopted either: what its drives
/// say without a seal does not count.
pub(crate) fn is_unknown(config: &ServerConfig, keyring: &Keyring, id: &[u8; 16]) -> bool {
    let is_adopted = config.keys.adopts_unsealed.as_ref() == Some(id);
    !keyring.has_sealed_rows(id) && keyring.knows_deployments() && !is_adopted
}

/// Refuses a deployment that the keyring does not know, although it knows another one, if there are rows that
/// were not sealed for it: its drives say another id than before, or the store is new to this keyring.
fn check_deployment(
    config: &ServerConfig,
    (engine, keyring): (&Engine, &Keyring),
    path: &Path,
) -> io::Result<()> {
    let id = engine.drive().identity().deployment;
    let adopted = config.keys.adopts_unsealed;
    if let Some(other) = adopted.filter(|other| *other != id) {
        let (id, other) = (hex(&id), hex(&other));
        return Err(io::Error::other(format!(
            "--adopt-unsealed names deployment {other}, and this is deployment {id}"
        )));
    }
    if keyring.has_sealed_rows(&id) {
        return Ok(());
    }
    let look = |id: &[u8; 16]| {
        let found = engine.catalog().seals_under(&keyring.row_keys(id), LOOKED_MAX);
        found.map_err(io::Error::other)
    };
    for other in keyring.sealed_deployments().into_iter().take(KNOWN_MAX) {
        if look(&other)?.own {
            let (id, other) = (hex(&id), hex(&other));
            return Err(io::Error::other(format!(
                "the drives say that they are deployment {id}, and their rows are those of deployment \
                 {other}: the file super of a drive was changed; restore it from a backup"
            )));
        }
    }
    if !demands_seals(config, keyring, &id) || !look(&id)?.foreign {
        return Ok(());
    }
    let (id, path) = (hex(&id), path.display());
    Err(io::Error::other(format!(
        "the drives say that they are deployment {id}, which the keyring {path} does not know, and their \
         rows have no integrity seals of it. If the store ran with this keyring before, its drives were \
         changed: restore them from a backup. If it is a store of an earlier version that comes to a \
         keyring that other stores use, and only the server wrote its drives, start with \
         --adopt-unsealed {id}: its rows are taken as they are, and get seals"
    )))
}

/// Opens the keyring, makes one on the first start, and refuses one that is not the deployment's. Rows can
/// be read and written afterwards.
pub(crate) fn open_keyring(
    config: &ServerConfig,
    deployment: &Deployment,
    homes: &[PathBuf],
) -> io::Result<Arc<Keyring>> {
    let path = path_of(config, homes);
    let now = Timestamp(SystemClock.now_ms()).to_iso();
    let engine = &deployment.engine;
    let (catalog, accepts) = (engine.catalog(), config.keys.accepts_lost_keyring);
    let refused = |error: KmsError| refused(&path, &error);
    // A keyring that is gone is not made again where something is sealed under it.
    let noted = noted_keys(catalog).map_err(refused)?;
    if let (Some(id), false, false) = (noted.first(), accepts, path.try_exists()?) {
        return Err(refused(KeyringError::UnknownKey(id.clone()).into()));
    }
    let (keyring, is_new) =
        secrets::load_or_make_keyring(&path, links_of(config), &SystemRng, &now)?;
    if let (Some(id), false) = (noted.into_iter().find(|id| !keyring.has(id)), accepts) {
        return Err(refused(KeyringError::UnknownKey(id).into()));
    }
    check_deployment(config, (engine, &keyring), &path)?;
    if !deployment.is_read_only() {
        note_keyring(catalog, &keyring, accepts).map_err(refused)?;
        if deployment.note_seals(&keyring).map_err(io::Error::other)? {
            note_sealed_drives(config, (engine, &keyring), homes);
        }
    }
    if is_new {
        let path = path.display();
        tracing::warn!(%path, "a keyring was made: back it up, stored secrets are lost without it");
    }
    let keyring = Arc::new(keyring);
    let is_complete = demands_seals(config, &keyring, &engine.drive().identity().deployment);
    unlock(engine, &keyring, is_complete)?;
    engine.set_keyring(keyring.clone());
    Ok(keyring)
}

fn unlock(engine: &Engine, keyring: &Keyring, is_complete: bool) -> io::Result<()> {
    let keys = keyring.row_keys(&engine.drive().identity().deployment);
    let lost = lost_keys(engine.catalog()).map_err(io::Error::other)?;
    engine.catalog().unlock(RowAccess::Keys { keys, lost, is_complete });
    Ok(())
}

/// Lets a tool read the rows of a deployment that no server uses: with its keyring if that is there, else
/// without looking at their seals. `must_write`: it is an error if it is not there, and rows without seals
/// are taken as they are. Says whether it is there.
pub(crate) fn look_for_keyring(
    config: &ServerConfig,
    engine: &Engine,
    homes: &[PathBuf],
    must_write: bool,
) -> io::Result<bool> {
    let path = path_of(config, homes);
    let catalog = engine.catalog();
    let noted = noted_keys(catalog).map_err(|error| refused(&path, &error))?;
    if !path.try_exists()? {
        if must_write || config.keys.keyring.is_some() {
            return Err(no_keyring(&path));
        }
        let ids = noted.iter().filter_map(|id| unhex(id)?.try_into().ok());
        let known = ids.chain(lost_keys(catalog).map_err(io::Error::other)?).collect();
        catalog.unlock(RowAccess::Unverified { known });
        return Ok(false);
    }
    let keyring = secrets::load_keyring(&path, links_of(config))?;
    if let Some(missing) = noted.into_iter().find(|id| !keyring.has(id)) {
        return Err(refused(&path, &KeyringError::UnknownKey(missing).into()));
    }
    let is_complete = demands_seals(config, &keyring, &engine.drive().identity().deployment);
    unlock(engine, &keyring, is_complete && !must_write)?;
    Ok(true)
}

/// Gives a seal to every row that has none, and notes in the keyring that this is done: from then on a row
/// without a seal is an error. Does nothing where that is so already. Says whether it was done.
pub(crate) fn seal_rows(
    config: &ServerConfig,
    (engine, keyring): (&Engine, &Keyring),
    homes: &[PathBuf],
    goes_on: &dyn Fn() -> bool,
) -> io::Result<bool> {
    let report = match engine.catalog().seal_rows(&|| {}, goes_on) {
        Ok(Sealed::All(report)) => report,
        Ok(Sealed::Stopped) => return Ok(false),
        Err(error) => return Err(io::Error::other(error)),
    };
    let SealReport { sealed, forged } = report;
    // Where more rows than a start looks at come before those: no note, they stay errors.
    let deployment = engine.drive().identity().deployment;
    if forged > 0 && !keyring.has_sealed_rows(&deployment) && keyring.knows_deployments() {
        let message =
            format!("{forged} rows have no seal of this deployment; drystone fsck names them");
        return Err(io::Error::other(message));
    }
    if forged > 0 {
        tracing::error!(
            forged,
            "rows were not written by this deployment; drystone fsck names them"
        );
    }
    // On the first start of a store there is no row yet. One that an earlier process gave the last seal, and
    // could not note it, is said here too.
    let (_, exported_rows, log_records) = engine.catalog().replayed();
    let is_news = !keyring.has_sealed_rows(&deployment) && exported_rows + log_records > 0;
    if sealed > 0 || is_news {
        tracing::info!(
            rows = sealed,
            "all rows have integrity seals from now on; back the keyring up again"
        );
    }
    engine.catalog().require_seals();
    keyring.note_sealed_rows(&deployment);
    let (has, note) = (Keyring::has_sealed_rows, Keyring::note_sealed_rows);
    note_in_copies(config, homes, &|ring| has(ring, &deployment), &|ring| note(ring, &deployment));
    Ok(true)
}

/// Notes in the keyring that every drive of the deployment has a seal: from then on one without is not
/// trusted.
fn note_sealed_drives(
    config: &ServerConfig,
    (engine, keyring): (&Engine, &Keyring),
    homes: &[PathBuf],
) {
    let deployment = engine.drive().identity().deployment;
    if keyring.has_sealed_drives(&deployment) {
        return;
    }
    keyring.note_sealed_drives(&deployment);
    let (has, note) = (Keyring::has_sealed_drives, Keyring::note_sealed_drives);
    note_in_copies(config, homes, &|ring| has(ring, &deployment), &|ring| note(ring, &deployment));
}

/// Notes something in the keyring's file, or in the copies of it in the directories of the drives.
fn note_in_copies(
    config: &ServerConfig,
    homes: &[PathBuf],
    has: &dyn Fn(&Keyring) -> bool,
    note: &dyn Fn(&Keyring),
) {
    let path = path_of(config, homes);
    let copies: Vec<PathBuf> = match &config.keys.keyring {
        Some(path) => vec![path.clone()],
        None => homes.iter().map(|home| home.join(secrets::KEYRING_FILE)).collect(),
    };
    for copy in copies.iter().filter(|copy| **copy == path || copy.is_file()) {
        if let Err(error) = secrets::note_in_keyring(copy, links_of(config), has, note) {
            let path = copy.display();
            tracing::warn!(
                %path, %error,
                "the keyring cannot be told that all rows and drives have seals: this start looks at all \
                 of them again, and so does the next one; let the server write the file once"
            );
        }
    }
}

/// The keys of objects.
pub(crate) fn open_kms(config: &ServerConfig, node: &Node, keyring: Arc<Keyring>) -> Kms {
    Kms::new(KmsConfig {
        catalog: node.engine.catalog().clone(),
        keyring,
        clock: Arc::new(SystemClock),
        rng: Arc::new(SystemRng),
        region: config.region.clone(),
        account: DEFAULT_ACCOUNT.to_owned(),
        static_key: config.keys.static_key.clone(),
        vault: config.keys.vault.clone(),
    })
}
