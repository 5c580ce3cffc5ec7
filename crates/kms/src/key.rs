//! Keys and aliases as rows. The page is `docs/formats/catalog.md`, "Keys".

use crate::error::KmsError;
use crate::grant::Grant;
use drystone_catalog::{Catalog, CatalogError, Key, Tx};
use drystone_index::prefix_range;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const FORMAT: u8 = 1;
/// Kinds of rows. Stored.
const KEY: u8 = 1;
const ALIAS: u8 = 2;

/// Whether a key may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// It may.
    Enabled,
    /// It seals and opens nothing until it is enabled again.
    Disabled,
    /// It seals and opens nothing, and goes when its time has come.
    PendingDeletion,
}

/// Who keeps what a key seals with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProviderKind {
    Local,
    Static,
    Vault,
}

impl ProviderKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Static => "static",
            Self::Vault => "vault",
        }
    }
}

/// What a key of the local provider seals with since a rotation.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct KeyVersion {
    pub(crate) created_ms: u64,
    /// Sealed under the keyring.
    pub(crate) sealed: String,
}

/// A key.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct KeyRow {
    pub(crate) id: String,
    pub(crate) provider: ProviderKind,
    pub(crate) state: KeyState,
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) created_ms: u64,
    /// The newest last; empty where the provider keeps them.
    #[serde(default)]
    pub(crate) versions: Vec<KeyVersion>,
    /// Account that it belongs to; none is that of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,
    /// Its policy, with principals by id; none lets the policies of its account decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) grants: Vec<Grant>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tags: BTreeMap<String, String>,
    /// Days between two rotations, and when the next one is; none is no rotation by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rotation: Option<Rotation>,
    /// When it goes, while it waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deletion_ms: Option<u64>,
    #[serde(flatten)]
    pub(crate) unknown: serde_json::Map<String, serde_json::Value>,
}

/// Rotations that come by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// Days between two of them.
    pub days: u32,
    /// When the next one is, in milliseconds since 1970.
    pub next_ms: u64,
}

/// Another name of a key.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct AliasRow {
    pub(crate) key: String,
}

/// Another name of a key, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasInfo {
    /// Name, with `alias/`.
    pub name: String,
    /// Account that it belongs to; `None` is that of the server.
    pub account: Option<String>,
    /// Id of the key.
    pub key: String,
}

/// A key as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Id.
    pub id: String,
    /// `local`, `static` or `vault`.
    pub provider: &'static str,
    /// Whether it may be used.
    pub state: KeyState,
    /// For people.
    pub description: String,
    /// In milliseconds since 1970.
    pub created_ms: u64,
    /// How often it was made again, and once; 0 where the provider knows.
    pub version_count: u32,
    /// Account that it belongs to; `None` is that of the server.
    pub account: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Rotations that come by themselves.
    pub rotation: Option<Rotation>,
    /// When it goes, in milliseconds since 1970, while it waits for that.
    pub deletion_ms: Option<u64>,
}

impl KeyRow {
    pub(crate) fn info(&self) -> KeyInfo {
        KeyInfo {
            id: self.id.clone(),
            provider: self.provider.name(),
            state: self.state,
            description: self.description.clone(),
            created_ms: self.created_ms,
            version_count: self.versions.len() as u32,
            account: self.account.clone(),
            tags: self.tags.clone(),
            rotation: self.rotation,
            deletion_ms: self.deletion_ms,
        }
    }

    pub(crate) fn must_be_enabled(&self) -> Result<(), KmsError> {
        match self.state {
            KeyState::Enabled => Ok(()),
            KeyState::Disabled => Err(KmsError::Disabled(self.id.clone())),
            KeyState::PendingDeletion => Err(KmsError::Pending(self.id.clone())),
        }
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, KmsError> {
    let damaged = || CatalogError::from(drystone_base::DecodeError { what: "key row" });
    let json = bytes.strip_prefix(&[FORMAT]).ok_or_else(damaged)?;
    Ok(serde_json::from_slice(json).map_err(|_| damaged())?)
}

fn encode(row: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    serde_json::to_writer(&mut bytes, row).expect("rows become JSON");
    bytes
}

pub(crate) fn key(catalog: &Catalog, id: &str) -> Result<Option<KeyRow>, KmsError> {
    catalog.get(&Key::kms(KEY, id))?.map(|bytes| decode(&bytes)).transpose()
}

pub(crate) fn key_in(tx: &Tx<'_>, id: &str) -> Result<Option<KeyRow>, KmsError> {
    tx.get(&Key::kms(KEY, id))?.map(|bytes| decode(&bytes)).transpose()
}

pub(crate) fn delete_key(tx: &mut Tx<'_>, id: &str) {
    tx.delete(Key::kms(KEY, id));
}

pub(crate) fn put_key(tx: &mut Tx<'_>, row: &KeyRow) {
    tx.put(Key::kms(KEY, &row.id), encode(row));
}

/// Keys, and aliases, that there are at most: lists of them are made whole.
pub(crate) const COUNT_MAX: usize = 10_000;
/// The same of an account that is not the server's.
const COUNT_OF_ACCOUNT_MAX: usize = 1000;
/// Bytes of the description of a key.
pub(crate) const DESCRIPTION_LEN_MAX: usize = 256;
/// Versions of a key: each is kept, as something may be sealed under it.
pub(crate) const VERSION_COUNT_MAX: usize = 250;

/// All keys, each without its material as soon as it is read.
pub(crate) fn keys(catalog: &Catalog) -> impl Iterator<Item = Result<KeyInfo, KmsError>> + use<> {
    let rows = catalog.snapshot().scan(prefix_range(&Key::kms(KEY, "")));
    rows.map(|row| decode(&row?.1).map(|row: KeyRow| row.info()))
}

/// Refuses a key beyond those that an account may have. Keys that are made at the same moment are not
/// counted.
pub(crate) fn must_have_room_for_key(
    catalog: &Catalog,
    account: Option<&str>,
) -> Result<(), KmsError> {
    let mut count = 0;
    for key in keys(catalog) {
        count += usize::from(key?.account.as_deref() == account);
    }
    must_be_fewer(count, account)
}

/// The same of an alias.
pub(crate) fn must_have_room_for_alias(
    catalog: &Catalog,
    account: Option<&str>,
) -> Result<(), KmsError> {
    let mut count = 0;
    for alias in aliases(catalog) {
        count += usize::from(alias?.account.as_deref() == account);
    }
    must_be_fewer(count, account)
}

fn must_be_fewer(count: usize, account: Option<&str>) -> Result<(), KmsError> {
    let most = if account.is_none() { COUNT_MAX } else { COUNT_OF_ACCOUNT_MAX };
    match count < most {
        true => Ok(()),
        false => Err(KmsError::Limit(format!("There are {most} keys, or aliases, at most."))),
    }
}

/// The name of the row of an alias: those of the account of the server have no account in it.
fn alias_row(account: Option<&str>, name: &str) -> Vec<u8> {
    match account {
        None => Key::kms(ALIAS, name),
        Some(account) => Key::kms(ALIAS, &format!("{account}:{name}")),
    }
}

pub(crate) fn alias(
    catalog: &Catalog,
    (account, name): (Option<&str>, &str),
) -> Result<Option<AliasRow>, KmsError> {
    catalog.get(&alias_row(account, name))?.map(|bytes| decode(&bytes)).transpose()
}

pub(crate) fn alias_in(
    tx: &Tx<'_>,
    (account, name): (Option<&str>, &str),
) -> Result<Option<AliasRow>, KmsError> {
    tx.get(&alias_row(account, name))?.map(|bytes| decode(&bytes)).transpose()
}

/// Sets an alias, or removes it.
pub(crate) fn put_alias(tx: &mut Tx<'_>, (account, name): (Option<&str>, &str), key: Option<&str>) {
    match key {
        Some(key) => tx.put(alias_row(account, name), encode(&AliasRow { key: key.to_owned() })),
        None => tx.delete(alias_row(account, name)),
    }
}

/// All aliases, by account and name.
pub(crate) fn aliases(
    catalog: &Catalog,
) -> impl Iterator<Item = Result<AliasInfo, KmsError>> + use<> {
    let prefix = Key::kms(ALIAS, "");
    let rows = catalog.snapshot().scan(prefix_range(&prefix));
    rows.map(move |row| {
        let (key, value) = row?;
        let text = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
        let (account, name) = match text.split_once(':') {
            Some((account, name)) => (Some(account.to_owned()), name.to_owned()),
            None => (None, text),
        };
        Ok(AliasInfo { name, account, key: decode::<AliasRow>(&value)?.key })
    })
}

/// Whether a text can be the id of a key.
pub(crate) fn is_id(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && text.len() <= 128 && text.chars().all(plain)
}

/// Whether a text can be an alias.
pub(crate) fn is_alias(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_/".contains(c);
    let name = text.strip_prefix("alias/").unwrap_or_default();
    !name.is_empty() && text.len() <= 256 && name.chars().all(plain)
}
