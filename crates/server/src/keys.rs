//! The keyring, and the keys of objects: their settings, and how they are opened.

use crate::config::{self, ConfigError, ServerConfig};
use crate::node::Node;
use crate::secrets;
use drystone_base::{Clock, SystemClock, SystemRng, Timestamp, unhex};
use drystone_engine::deployment::Deployment;
use drystone_engine::{Engine, RowAccess, SealReport, Sealed};
use drystone_identity::DEFAULT_ACCOUNT;
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
        vault_url: Option<String>,
    ) -> Result<Self, ConfigError> {
        let static_key = match config::setting("KMS_SECRET_KEY")? {
            None => None,
            Some(text) => Some(StaticKey::parse(&text).ok_or_else(|| ConfigError::Value {
                name: "KMS_SECRET_KEY",
                value: "(hidden)".to_owned(),
                allowed: "NAME:KEY, where KEY is 32 bytes in base64",
            })?),
        };
        let vault = match vault_url {
            None => None,
            Some(url) => {
                let token = config::setting("VAULT_TOKEN")?;
                let (present, missing) = ("DRYSTONE_VAULT_URL", "DRYSTONE_VAULT_TOKEN");
                let token = token.ok_or(ConfigError::Pair { present, missing })?;
                let mount = config::setting("VAULT_MOUNT")?;
                Some(VaultConfig {
                    url,
                    token: Secret::new(token),
                    mount: mount.unwrap_or_else(|| "transit".to_owned()),
                    namespace: config::setting("VAULT_NAMESPACE")?.unwrap_or_default(),
                })
            }
        };
        let encrypts_always =
            config::setting("KMS_AUTO_ENCRYPTION")?.is_some_and(|value| config::is_on(&value));
        Ok(Self { keyring, accepts_lost_keyring, static_key, vault, encrypts_always })
    }
}

/// Where the keyring of a deployment is: where a setting says, else beside its first drive.
fn path_of(config: &ServerConfig, homes: &[PathBuf]) -> PathBuf {
    let in_drive = secrets::home_of(homes, secrets::KEYRING_FILE).join(secrets::KEYRING_FILE);
    config.keys.keyring.clone().unwrap_or(in_drive)
}

fn refused(path: &Path, error: &KmsError) -> io::Error {
    let path = path.display();
    io::Error::other(format!(
        "{path} is not the keyring of this deployment: {error}. Or start with --accept-lost-keyring: \
         what is sealed under that key is lost then"
    ))
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
    if let (Some(id), false, false) = (noted.into_iter().next(), accepts, path.try_exists()?) {
        return Err(refused(KeyringError::UnknownKey(id).into()));
    }
    let (keyring, is_new) = secrets::load_or_make_keyring(&path, &SystemRng, &now)?;
    if !deployment.is_read_only() {
        note_keyring(catalog, &keyring, accepts).map_err(refused)?;
        deployment.note_seals().map_err(io::Error::other)?;
    }
    if is_new {
        let path = path.display();
        tracing::warn!(%path, "a keyring was made: back it up, stored secrets are lost without it");
    }
    let keyring = Arc::new(keyring);
    let is_known = keyring.has_sealed_rows(&engine.drive().identity().deployment);
    unlock(engine, &keyring, is_known || (keyring.requires_seals() && !accepts))?;
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
            let message = format!("there is no keyring {}: name it with --keyring", path.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        let ids = noted.iter().filter_map(|id| unhex(id)?.try_into().ok());
        let known = ids.chain(lost_keys(catalog).map_err(io::Error::other)?).collect();
        catalog.unlock(RowAccess::Unverified { known });
        return Ok(false);
    }
    let keyring = secrets::load_keyring(&path)?;
    if let Some(missing) = noted.into_iter().find(|id| !keyring.has(id)) {
        return Err(refused(&path, &KeyringError::UnknownKey(missing).into()));
    }
    unlock(engine, &keyring, keyring.requires_seals() && !must_write)?;
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
    if forged > 0 && keyring.requires_seals() && !config.keys.accepts_lost_keyring {
        let path = path_of(config, homes);
        return Err(io::Error::other(format!(
            "{forged} rows have no seal of this deployment, which the keyring {} does not know, although it \
             knows others: the rows or the id of the deployment may have been edited. Start with the drives \
             or the keyring of a backup; or, if this store is older than seals of rows and shares its \
             keyring, once with --accept-lost-keyring: its rows are taken as they are then",
            path.display()
        )));
    }
    if forged > 0 {
        tracing::error!(
            forged,
            "rows were not written by this deployment; drystone fsck names them"
        );
    }
    // On the first start there is no row yet.
    if sealed > 0 {
        tracing::info!(rows = sealed, "rows that had no integrity seal yet were given one");
    }
    engine.catalog().require_seals();
    let path = path_of(config, homes);
    let copies: Vec<PathBuf> = match &config.keys.keyring {
        Some(path) => vec![path.clone()],
        None => homes.iter().map(|home| home.join(secrets::KEYRING_FILE)).collect(),
    };
    let deployment = engine.drive().identity().deployment;
    keyring.note_sealed_rows(&deployment);
    for copy in copies.iter().filter(|copy| **copy == path || copy.is_file()) {
        if let Err(error) = secrets::note_sealed_rows(copy, &deployment) {
            let path = copy.display();
            tracing::warn!(
                %path, %error,
                "the keyring cannot be told that all rows have seals: this start looks at all rows again, \
                 and so does the next one; let the server write the file once"
            );
        }
    }
    Ok(true)
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
