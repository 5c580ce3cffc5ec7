//! The keys as others use them.

use crate::bucket_key::{BucketKeyScope, BucketKeys, Layered};
use crate::error::KmsError;
use crate::key::{self, KeyInfo, KeyRow, KeyState, KeyVersion, ProviderKind, Rotation};
use crate::provider::{InLine, Local, Provider, Static, StaticKey};
use crate::vault::{Vault, VaultConfig};
use drystone_base::{BucketId, Clock, Line, Rng, Room, hex};
use drystone_catalog::{Catalog, Decision, Tx};
use drystone_keyring::{
    DataKey, Keyring, ObjectPlace, Secret, bound_context, new_object_id, unwrap, wrap,
};
use std::sync::Arc;

/// Bytes of an entry of a list beyond its texts, and times that these are held.
const ENTRY_LEN: u64 = 512;
const COPIES: u64 = 4;

pub(crate) fn take(room: &dyn Room, texts_len: usize) -> Result<(), KmsError> {
    match room.take(ENTRY_LEN + COPIES * texts_len as u64) {
        true => Ok(()),
        false => Err(KmsError::NoRoom),
    }
}

/// What data keys of SSE-S3 are bound to.
const S3_CONTEXT: &[u8] = b"object/sse-s3";
/// Id of the key that SSE-KMS uses where none is named, unless a setting gives one.
const DEFAULT_KEY: &str = "aws-s3";
/// Its other name, as in AWS.
const DEFAULT_ALIAS: &str = "alias/aws/s3";

/// A key to be made.
#[derive(Clone, Debug, Default)]
pub struct NewKey {
    /// Id; chosen if it is empty.
    pub id: String,
    /// For people.
    pub description: String,
    /// Account that it belongs to; `None` is that of the server.
    pub account: Option<String>,
    /// Its policy, with principals by id.
    pub policy: Option<String>,
    /// Tags.
    pub tags: std::collections::BTreeMap<String, String>,
}

/// What the keys are made of.
pub struct KmsConfig {
    /// The rows.
    pub catalog: Catalog,
    /// What local keys are sealed under.
    pub keyring: Arc<Keyring>,
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness, fit for secrets.
    pub rng: Arc<dyn Rng>,
    /// Region that the names of keys have.
    pub region: String,
    /// Account that the names of keys have.
    pub account: String,
    /// A key that a setting gives: SSE-KMS uses it where none is named.
    pub static_key: Option<StaticKey>,
    /// Where new keys are kept, if not here.
    pub vault: Option<VaultConfig>,
}

pub(crate) struct Shared {
    pub(crate) catalog: Catalog,
    keyring: Arc<Keyring>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    region: String,
    account: String,
    local: Local,
    pub(crate) fixed: Static,
    pub(crate) vault: Vault,
    pub(crate) bucket_keys: BucketKeys,
}

/// Handle to the keys. Clones share it.
#[derive(Clone)]
pub struct Kms {
    pub(crate) shared: Arc<Shared>,
    /// Whether what its changes were decided on still holds.
    guard: Option<Guard>,
    /// Where a caller waits before another server is asked.
    line: Option<Arc<dyn Line>>,
}

type Guard = Arc<dyn Fn() -> bool + Send + Sync>;

/// A sealed data key of SSE-KMS.
pub struct Sealed<'a> {
    /// Id of the key.
    pub key_id: &'a str,
    /// What it is bound to: the encryption context.
    pub context: &'a str,
    /// The object that it is bound to; `None` for one that was sealed before keys were bound to objects.
    pub place: Option<ObjectPlace<'a>>,
    /// Whether it is under a key of its bucket.
    pub has_bucket_key: bool,
    /// What is stored.
    pub sealed: &'a [u8],
}

impl Kms {
    /// Puts the keys together.
    #[must_use]
    pub fn new(config: KmsConfig) -> Self {
        let KmsConfig { catalog, keyring, clock, rng, region, account, static_key, vault } = config;
        let shared = Shared {
            local: Local { keyring: keyring.clone(), rng: rng.clone() },
            fixed: Static { key: static_key, rng: rng.clone() },
            vault: Vault::new(vault),
            bucket_keys: BucketKeys::default(),
            catalog,
            keyring,
            clock,
            rng,
            region,
            account,
        };
        Self { shared: Arc::new(shared), guard: None, line: None }
    }

    /// The same keys, for a caller who waits for turns before another server is asked.
    #[must_use]
    pub fn in_line(&self, line: Arc<dyn Line>) -> Self {
        Self { line: Some(line), ..self.clone() }
    }

    pub(crate) fn line(&self) -> InLine<'_> {
        self.line.as_deref()
    }

    /// A new data key.
    #[must_use]
    pub fn new_data_key(&self) -> DataKey {
        DataKey::generate(&*self.shared.rng)
    }

    /// A new id of an object, to which its data key is bound.
    #[must_use]
    pub fn new_object_id(&self) -> [u8; 16] {
        new_object_id(&*self.shared.rng)
    }

    /// Opens a data key of SSE-S3. `place` is `None` for one that was sealed before keys were bound to
    /// objects.
    ///
    /// # Errors
    ///
    /// [`KmsError::Keyring`] names the root key that is missing.
    pub fn open_s3(
        &self,
        place: Option<&ObjectPlace<'_>>,
        sealed: &[u8],
    ) -> Result<DataKey, KmsError> {
        let context = bound_context(S3_CONTEXT, place);
        let bytes = self.shared.keyring.open_bytes(&context, sealed)?;
        DataKey::from_slice(&bytes).ok_or_else(|| KmsError::Damaged("keyring".to_owned()))
    }

    /// Seals a data key as one of SSE-S3.
    #[must_use]
    pub fn seal_s3(&self, place: &ObjectPlace<'_>, key: &DataKey) -> Vec<u8> {
        let context = bound_context(S3_CONTEXT, Some(place));
        self.shared.keyring.seal_bytes(&*self.shared.rng, &context, key.reveal())
    }

    /// Seals a data key under a key that its client keeps: for SSE-C.
    #[must_use]
    pub fn seal_for(&self, customer: &DataKey, context: &[u8], key: &DataKey) -> Vec<u8> {
        wrap(customer, &*self.shared.rng, context, key.reveal())
    }

    /// A handle whose changes are carried out only if `holds` says so on the committer: what they were
    /// decided on is as it was.
    #[must_use]
    pub fn guarded(&self, holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { guard: Some(Arc::new(holds)), ..self.clone() }
    }

    /// The text of the keyring, for a backup.
    #[must_use]
    pub fn export_keyring(&self) -> Secret {
        self.shared.keyring.to_text()
    }

    /// Name of a key as AWS writes it.
    #[must_use]
    pub fn arn(&self, id: &str) -> String {
        let row = key::key(&self.shared.catalog, id).ok().flatten();
        self.arn_in(row.and_then(|row| row.account).as_deref(), "key/", id)
    }

    /// Name of a key, an alias or all of them (`key/*`) in an account, as AWS writes it.
    #[must_use]
    pub fn arn_in(&self, account: Option<&str>, kind: &str, name: &str) -> String {
        let Shared { region, account: own, .. } = &*self.shared;
        format!("arn:aws:kms:{region}:{}:{kind}{name}", account.unwrap_or(own))
    }

    /// The account of keys, as their rows have it: none for that of the server.
    #[must_use]
    pub fn owner<'a>(&self, account: &'a str) -> Option<&'a str> {
        Some(account).filter(|account| *account != self.shared.account)
    }

    /// Id of the key that is used where none is named.
    #[must_use]
    pub fn default_id(&self) -> &str {
        self.shared.fixed.key.as_ref().map_or(DEFAULT_KEY, |key| &key.id)
    }

    /// Reads how someone of an account names a key: its id, an alias, or the ARN of either;
    /// `arn:minio:kms:::ID` too. Ids and aliases without an ARN are of that account, or mean the default key
    /// of the server. For `None`, who administers the server, an id is of any account.
    ///
    /// # Errors
    ///
    /// [`KmsError::NotFound`] if it is no name of a key, an alias that is not there, or a key of another
    /// account.
    pub fn resolve(&self, text: &str, account: Option<&str>) -> Result<String, KmsError> {
        let missing = || KmsError::NotFound(text.to_owned());
        let (mut name, mut of, mut is_bare) = (text, account, account.is_some());
        if let Some(rest) = text.strip_prefix("arn:") {
            let pieces: Vec<&str> = rest.splitn(5, ':').collect();
            name = match pieces[..] {
                ["aws", "kms", region, account, name] => {
                    if !region.is_empty() && region != self.shared.region {
                        return Err(missing());
                    }
                    (of, is_bare) =
                        if account.is_empty() { (of, is_bare) } else { (Some(account), true) };
                    name.strip_prefix("key/").unwrap_or(name)
                }
                ["minio", "kms", "", "", name] | ["aws", "kms", name] => name,
                _ => return Err(missing()),
            };
        }
        let owner = of.and_then(|account| self.owner(account));
        if name == DEFAULT_ALIAS {
            return Ok(self.default_id().to_owned());
        }
        if key::is_alias(name) {
            let row = key::alias(&self.shared.catalog, (owner, name))?;
            return row.map(|row| row.key).ok_or_else(missing);
        }
        if !key::is_id(name) {
            return Err(missing());
        }
        let row = key::key(&self.shared.catalog, name)?;
        let is_of = |row: key::KeyRow| row.account.as_deref() == owner;
        // The default key, and any that is not there, is of the account of the server.
        let is_there = row.map_or(owner.is_none(), is_of) || name == self.default_id();
        if !is_bare || is_there { Ok(name.to_owned()) } else { Err(missing()) }
    }

    pub(crate) fn row(&self, id: &str) -> Result<KeyRow, KmsError> {
        if let Some(row) = key::key(&self.shared.catalog, id)? {
            // Its time has come; the row goes soon.
            let is_gone = row.deletion_ms.is_some_and(|end| end <= self.shared.clock.now_ms());
            return if is_gone { Err(KmsError::NotFound(id.to_owned())) } else { Ok(row) };
        }
        // The key of a setting needs no row until it is disabled.
        match &self.shared.fixed.key {
            Some(fixed) if fixed.id == id => Ok(self.new_row(id, ProviderKind::Static, "")),
            _ => Err(KmsError::NotFound(id.to_owned())),
        }
    }

    fn new_row(&self, id: &str, provider: ProviderKind, description: &str) -> KeyRow {
        KeyRow {
            id: id.to_owned(),
            provider,
            state: KeyState::Enabled,
            description: description.to_owned(),
            created_ms: self.shared.clock.now_ms(),
            versions: Vec::new(),
            account: None,
            policy: None,
            grants: Vec::new(),
            tags: Default::default(),
            rotation: None,
            deletion_ms: None,
            unknown: Default::default(),
        }
    }

    pub(crate) fn provider(&self, kind: ProviderKind) -> &dyn Provider {
        match kind {
            ProviderKind::Local => &self.shared.local,
            ProviderKind::Static => &self.shared.fixed,
            ProviderKind::Vault => &self.shared.vault,
        }
    }

    /// A key by its id.
    ///
    /// # Errors
    ///
    /// [`KmsError::NotFound`], or the catalog failed.
    pub fn describe(&self, id: &str) -> Result<KeyInfo, KmsError> {
        Ok(self.row(id)?.info())
    }

    /// Refuses a key that could not seal: one that is not there, or is disabled. The default key is made
    /// if it is not there.
    ///
    /// # Errors
    ///
    /// [`KmsError::NotFound`], [`KmsError::Disabled`], or the catalog failed.
    pub async fn must_be_usable(&self, id: &str) -> Result<(), KmsError> {
        match self.row(id) {
            Err(KmsError::NotFound(_)) if id == self.default_id() => self.make_default().await,
            Err(error) => Err(error),
            Ok(row) => row.must_be_enabled(),
        }
    }

    async fn make_default(&self) -> Result<(), KmsError> {
        let new = NewKey {
            id: DEFAULT_KEY.to_owned(),
            description: "used where no key is named".to_owned(),
            ..NewKey::default()
        };
        match self.create(new).await {
            Ok(_) | Err(KmsError::Exists(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Seals a data key under a named key, bound to a context and an object. Under a key of the bucket, if
    /// one is given.
    ///
    /// # Errors
    ///
    /// [`KmsError::NotFound`], [`KmsError::Disabled`], or the provider failed.
    pub async fn seal(
        &self,
        id: &str,
        (context, place): (&str, Option<&ObjectPlace<'_>>),
        bucket: Option<BucketKeyScope>,
        key: &DataKey,
    ) -> Result<Vec<u8>, KmsError> {
        self.must_be_usable(id).await?;
        let row = self.row(id)?;
        let provider = self.provider(row.provider);
        let context = bound_context(context.as_bytes(), place);
        let Some(bucket) = bucket else {
            return provider.seal(&row, &context, key.reveal(), self.line()).await;
        };
        let now = self.shared.clock.now_ms();
        let (bucket_key, sealed) = match self.shared.bucket_keys.sealing(id, bucket, now) {
            Some(known) => known,
            None => {
                let new = DataKey::generate(&*self.shared.rng);
                let scope = bucket.context();
                let sealed = provider.seal(&row, &scope, new.reveal(), self.line()).await?;
                let sealed = Arc::new(sealed);
                self.shared.bucket_keys.keep_sealing(id, bucket, new.clone(), sealed.clone(), now);
                (new, sealed)
            }
        };
        let data_key = wrap(&bucket_key, &*self.shared.rng, &context, key.reveal());
        Ok(Layered { bucket_key: sealed.to_vec(), data_key }.encode())
    }

    /// Opens a data key of an object in a bucket.
    ///
    /// # Errors
    ///
    /// [`KmsError::NotFound`], [`KmsError::Disabled`], [`KmsError::Damaged`], or the provider failed.
    pub async fn open(
        &self,
        sealed: &Sealed<'_>,
        bucket: BucketKeyScope,
    ) -> Result<DataKey, KmsError> {
        let row = self.row(sealed.key_id)?;
        row.must_be_enabled()?;
        let provider = self.provider(row.provider);
        let damaged = || KmsError::Damaged(sealed.key_id.to_owned());
        let context = &bound_context(sealed.context.as_bytes(), sealed.place.as_ref())[..];
        let bytes = if sealed.has_bucket_key {
            let layered = Layered::decode(sealed.sealed).ok_or_else(damaged)?;
            let now = self.shared.clock.now_ms();
            let bucket_key = match self.shared.bucket_keys.opened(&layered.bucket_key, now) {
                Some(key) => key,
                None => {
                    let (scope, sealed) = (bucket.context(), &layered.bucket_key);
                    let bytes = provider.open(&row, &scope, sealed, self.line()).await?;
                    let key = DataKey::from_slice(&bytes).ok_or_else(damaged)?;
                    let known = layered.bucket_key.clone();
                    self.shared.bucket_keys.keep_opened(known, key.clone(), now);
                    key
                }
            };
            unwrap(&bucket_key, context, &layered.data_key).ok_or_else(damaged)?
        } else {
            provider.open(&row, context, sealed.sealed, self.line()).await?
        };
        DataKey::from_slice(&bytes).ok_or_else(damaged)
    }

    /// Seals something under a key and opens it again.
    ///
    /// # Errors
    ///
    /// As [`Kms::seal`] and [`Kms::open`].
    pub async fn try_key(&self, id: &str) -> Result<(), KmsError> {
        let sealed = self.seal(id, ("", None), None, &self.new_data_key()).await?;
        let (context, place, has_bucket_key) = ("", None, false);
        let sealed = Sealed { key_id: id, context, place, has_bucket_key, sealed: &sealed };
        self.open(&sealed, BucketKeyScope(BucketId(0))).await.map(drop)
    }

    /// Makes a key: in Vault if one is set, else here. An empty id is chosen.
    ///
    /// # Errors
    ///
    /// [`KmsError::Exists`], [`KmsError::Invalid`], or the provider or the catalog failed.
    pub async fn create(&self, new: NewKey) -> Result<KeyInfo, KmsError> {
        let NewKey { id, description, account, policy, tags } = new;
        let id = if id.is_empty() { self.new_id() } else { id };
        if !key::is_id(&id) {
            let message = format!(
                "'{id}' cannot be the id of a key: 1 to 128 letters, digits, '-', '_' or '.'."
            );
            return Err(KmsError::Invalid(message));
        }
        if description.len() > key::DESCRIPTION_LEN_MAX {
            let most = key::DESCRIPTION_LEN_MAX;
            return Err(KmsError::Invalid(format!("A description has {most} bytes at most.")));
        }
        if key::key(&self.shared.catalog, &id)?.is_some() || self.row(&id).is_ok() {
            return Err(KmsError::Exists(id));
        }
        let account = account.filter(|account| self.owner(account).is_some());
        // The default key is not refused: writes that name none would be.
        if id != DEFAULT_KEY {
            key::must_have_room_for_key(&self.shared.catalog, account.as_deref())?;
        }
        let kind =
            if self.shared.vault.is_there() { ProviderKind::Vault } else { ProviderKind::Local };
        let row = self.new_row(&id, kind, &description);
        let mut row = KeyRow { account, policy, tags, ..row };
        let material = self.provider(kind).renew(&id, self.line()).await?;
        let created_ms = row.created_ms;
        row.versions.extend(material.map(|sealed| KeyVersion { created_ms, sealed }));
        let info = row.info();
        self.commit(move |tx| {
            if key::key_in(tx, &row.id)?.is_some() {
                return Err(KmsError::Exists(row.id));
            }
            key::put_key(tx, &row);
            Ok(())
        })
        .await?;
        Ok(info)
    }

    /// A random id in the form of a UUID (RFC 9562, version 4).
    fn new_id(&self) -> String {
        let mut bytes = [0; 16];
        self.shared.rng.fill(&mut bytes);
        bytes[6] = bytes[6] & 0x0F | 0x40;
        bytes[8] = bytes[8] & 0x3F | 0x80;
        let text = hex(&bytes);
        [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
    }

    /// Seals with new material from now on; what was sealed still opens.
    ///
    /// # Errors
    ///
    /// [`KmsError::NotFound`], [`KmsError::Invalid`] for the key of a setting, or the provider or the
    /// catalog failed.
    pub async fn rotate(&self, id: &str) -> Result<KeyInfo, KmsError> {
        let row = self.row(id)?;
        row.must_not_be_pending()?;
        if row.versions.len() >= key::VERSION_COUNT_MAX {
            let most = key::VERSION_COUNT_MAX;
            return Err(KmsError::Limit(format!("A key has {most} versions at most.")));
        }
        let material = self.provider(row.provider).renew(id, self.line()).await?;
        let created_ms = self.shared.clock.now_ms();
        self.change(id, move |row| {
            row.versions.extend(material.map(|sealed| KeyVersion { created_ms, sealed }));
            row.rotation = row.rotation.map(|rotation| Rotation::after(rotation.days, created_ms));
            Ok(())
        })
        .await
    }

    /// Enables or disables a key; acts when this returns.
    ///
    /// # Errors
    ///
    /// [`KmsError::NotFound`], or the catalog failed.
    pub async fn set_state(&self, id: &str, state: KeyState) -> Result<KeyInfo, KmsError> {
        self.row(id)?.must_not_be_pending()?;
        self.change(id, move |row| {
            row.must_not_be_pending()?;
            row.state = state;
            Ok(())
        })
        .await
    }

    pub(crate) async fn commit<T: Send + 'static>(
        &self,
        plan: impl FnOnce(&mut Tx<'_>) -> Result<T, KmsError> + Send + 'static,
    ) -> Result<T, KmsError> {
        let guard = self.guard.clone();
        let guarded = move |tx: &mut Tx<'_>| match guard {
            Some(holds) if !holds() => Err(KmsError::Changed),
            _ => plan(tx),
        };
        let ticket = self.shared.catalog.submit(move |tx| match guarded(tx) {
            Ok(value) => Ok(Decision::Commit(Ok(value))),
            Err(KmsError::Catalog(error)) => Err(error),
            Err(error) => Ok(Decision::Reject(Err(error))),
        });
        ticket.await.map_err(KmsError::from)?
    }
}
