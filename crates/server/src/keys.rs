//! The keyring, and the keys of objects: their settings, and how they are opened.

use crate::config::{self, ConfigError, ServerConfig};
use crate::node::Node;
use crate::secrets;
use drystone_base::{Clock, SystemClock, SystemRng, Timestamp};
use drystone_identity::DEFAULT_ACCOUNT;
use drystone_keyring::{Keyring, KeyringError, Secret};
use drystone_kms::{Kms, KmsConfig, KmsError, StaticKey, VaultConfig, note_keyring, noted_keys};
use std::io;
use std::path::PathBuf;
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

/// Opens the keyring, makes one on the first start, and refuses one that is not the deployment's.
pub(crate) fn open_keyring(config: &ServerConfig, node: &Node) -> io::Result<Arc<Keyring>> {
    let in_drive = secrets::home_of(&node.homes, secrets::KEYRING_FILE).join(secrets::KEYRING_FILE);
    let path = config.keys.keyring.as_ref().unwrap_or(&in_drive);
    let now = Timestamp(SystemClock.now_ms()).to_iso();
    let (catalog, accepts) = (node.engine.catalog(), config.keys.accepts_lost_keyring);
    let refused = |error: KmsError| {
        let path = path.display();
        io::Error::other(format!(
            "{path} is not the keyring of this deployment: {error}. Or start with \
             --accept-lost-keyring: what is sealed under that key is lost then"
        ))
    };
    // A keyring that is gone is not made anew where something is sealed under it.
    let noted = noted_keys(catalog).map_err(refused)?;
    if let (Some(id), false, false) = (noted.into_iter().next(), accepts, path.try_exists()?) {
        return Err(refused(KeyringError::UnknownKey(id).into()));
    }
    let (keyring, is_new) = secrets::load_or_make_keyring(path, &SystemRng, &now)?;
    note_keyring(catalog, &keyring, accepts).map_err(refused)?;
    if is_new {
        let path = path.display();
        tracing::warn!(%path, "a keyring was made: back it up, stored secrets are lost without it");
    }
    let keyring = Arc::new(keyring);
    node.engine.set_keyring(keyring.clone());
    Ok(keyring)
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
