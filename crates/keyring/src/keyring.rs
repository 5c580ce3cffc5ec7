//! The keyring.

use crate::secret::{DataKey, Secret};
use crate::wrap::{unwrap, wrap};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD};
use drystone_base::sync::{Mutex, lock};
use drystone_base::{Rng, hex, unhex};
use serde::{Deserialize, Serialize};

const FORMAT: &str = "drystone-keyring-1";
const SEALED_PREFIX: &str = "s1";
const KEY_ID_LEN: usize = 8;

/// Why a keyring cannot be read, or a sealed value not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// The text is not a keyring.
    #[error("this is not a keyring of format {FORMAT}")]
    Format,
    /// The value is sealed under a key that the keyring does not have.
    #[error("the keyring has no key {0}; restore the keyring from its backup")]
    UnknownKey(String),
    /// The value was changed, or belongs to another place.
    #[error("a sealed value does not open: it was changed, or moved from another place")]
    Damaged,
}

#[derive(Clone, Serialize, Deserialize)]
struct RootKey {
    id: String,
    key: String,
    created: String,
}

#[derive(Serialize, Deserialize)]
struct File {
    format: String,
    keys: Vec<RootKey>,
    /// Deployments all of whose rows have a seal, in hexadecimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sealed_deployments: Vec<String>,
    /// Deployments all of whose drives have a seal, in hexadecimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sealed_drives: Vec<String>,
    /// Deployments whose owner is never told by files of their drives, in hexadecimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    settled_owners: Vec<String>,
}

/// Root keys; the last one seals. Has no `Debug`: it is all secrets.
pub struct Keyring {
    keys: Vec<(RootKey, DataKey)>,
    sealed_deployments: Mutex<Vec<String>>,
    sealed_drives: Mutex<Vec<String>>,
    settled_owners: Mutex<Vec<String>>,
}

impl Keyring {
    /// A keyring with one new key. `created` is shown to people.
    #[must_use]
    pub fn generate(rng: &dyn Rng, created: &str) -> Self {
        let mut keyring = Self {
            keys: Vec::new(),
            sealed_deployments: Mutex::default(),
            sealed_drives: Mutex::default(),
            settled_owners: Mutex::default(),
        };
        keyring.rotate(rng, created);
        keyring
    }

    /// Adds a key that seals from now on. The others still open what they sealed.
    pub fn rotate(&mut self, rng: &dyn Rng, created: &str) {
        let mut id = [0; KEY_ID_LEN];
        rng.fill(&mut id);
        let key = DataKey::generate(rng);
        let text = BASE64.encode(key.reveal());
        self.keys.push((RootKey { id: hex(&id), key: text, created: created.to_owned() }, key));
    }

    /// Reads the text form.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Format`].
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let file: File = serde_json::from_str(text).map_err(|_| KeyringError::Format)?;
        let mut keys = Vec::new();
        for root in file.keys {
            let bytes = BASE64.decode(&root.key).map_err(|_| KeyringError::Format)?;
            let is_id = unhex(&root.id).is_some_and(|id| id.len() == KEY_ID_LEN);
            let key = DataKey::from_slice(&bytes).filter(|_| is_id);
            keys.push((root, key.ok_or(KeyringError::Format)?));
        }
        if file.format != FORMAT || keys.is_empty() {
            return Err(KeyringError::Format);
        }
        Ok(Self {
            keys,
            sealed_deployments: Mutex::new(file.sealed_deployments),
            sealed_drives: Mutex::new(file.sealed_drives),
            settled_owners: Mutex::new(file.settled_owners),
        })
    }

    /// The text form, for the file and for backups.
    #[must_use]
    pub fn to_text(&self) -> Secret {
        let keys = self.keys.iter().map(|(root, _)| root.clone()).collect();
        let sealed_deployments = lock(&self.sealed_deployments).clone();
        let sealed_drives = lock(&self.sealed_drives).clone();
        let settled_owners = lock(&self.settled_owners).clone();
        let format = FORMAT.to_owned();
        let file = File { format, keys, sealed_deployments, sealed_drives, settled_owners };
        Secret::new(serde_json::to_string_pretty(&file).expect("texts become JSON") + "\n")
    }

    fn current(&self) -> &(RootKey, DataKey) {
        self.keys.last().expect("a keyring has a key")
    }

    /// Whether all rows of a deployment are known to have a seal: one without is an error then.
    #[must_use]
    pub fn has_sealed_rows(&self, deployment: &[u8; 16]) -> bool {
        lock(&self.sealed_deployments).contains(&hex(deployment))
    }

    /// Deployments all of whose rows are known to have a seal.
    #[must_use]
    pub fn sealed_deployments(&self) -> Vec<[u8; 16]> {
        let texts = lock(&self.sealed_deployments);
        texts.iter().filter_map(|text| unhex(text)?.try_into().ok()).collect()
    }

    /// Whether all rows of any deployment are known to have a seal.
    #[must_use]
    pub fn knows_deployments(&self) -> bool {
        !lock(&self.sealed_deployments).is_empty()
    }

    /// Notes that all rows of a deployment have a seal. This is kept here, and not beside the rows, so that
    /// who writes a drive cannot take it back.
    pub fn note_sealed_rows(&self, deployment: &[u8; 16]) {
        if !self.has_sealed_rows(deployment) {
            lock(&self.sealed_deployments).push(hex(deployment));
        }
    }

    /// Whether all drives of a deployment are known to have a seal: one without is not trusted then.
    #[must_use]
    pub fn has_sealed_drives(&self, deployment: &[u8; 16]) -> bool {
        lock(&self.sealed_drives).contains(&hex(deployment))
    }

    /// Notes that all drives of a deployment have a seal.
    pub fn note_sealed_drives(&self, deployment: &[u8; 16]) {
        if !self.has_sealed_drives(deployment) {
            lock(&self.sealed_drives).push(hex(deployment));
        }
    }

    /// Whether files on the drives of a deployment say no more who its owner is.
    #[must_use]
    pub fn has_settled_owner(&self, deployment: &[u8; 16]) -> bool {
        lock(&self.settled_owners).contains(&hex(deployment))
    }

    /// Notes that files on the drives of a deployment say no more who its owner is.
    pub fn note_settled_owner(&self, deployment: &[u8; 16]) {
        if !self.has_settled_owner(deployment) {
            lock(&self.settled_owners).push(hex(deployment));
        }
    }

    /// Ids and bytes of the root keys, the newest one last.
    pub(crate) fn roots(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.keys.iter().map(|(root, key)| (root.id.as_str(), key.reveal()))
    }

    /// Id of the key that seals.
    #[must_use]
    pub fn current_id(&self) -> &str {
        &self.current().0.id
    }

    /// Whether the keyring has a key.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|(root, _)| root.id == id)
    }

    /// Seals `plain` for the place that `context` names: the id of the key, then what [`wrap`] gives.
    #[must_use]
    pub fn seal_bytes(&self, rng: &dyn Rng, context: &[u8], plain: &[u8]) -> Vec<u8> {
        let (root, key) = self.current();
        let mut sealed = unhex(&root.id).expect("checked when it was read");
        sealed.extend(wrap(key, rng, context, plain));
        sealed
    }

    /// Opens what was sealed for the same place.
    ///
    /// # Errors
    ///
    /// [`KeyringError::UnknownKey`], [`KeyringError::Damaged`].
    pub fn open_bytes(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, KeyringError> {
        let (id, body) = sealed.split_at_checked(KEY_ID_LEN).ok_or(KeyringError::Damaged)?;
        let id = hex(id);
        let key = self.keys.iter().find(|(root, _)| root.id == id);
        let (_, key) = key.ok_or(KeyringError::UnknownKey(id))?;
        unwrap(key, context, body).ok_or(KeyringError::Damaged)
    }

    /// As [`Keyring::seal_bytes`], as a text.
    #[must_use]
    pub fn seal(&self, rng: &dyn Rng, context: &str, plain: &[u8]) -> String {
        let sealed = self.seal_bytes(rng, context.as_bytes(), plain);
        format!("{SEALED_PREFIX}.{}", URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens what [`Keyring::seal`] sealed for the same place.
    ///
    /// # Errors
    ///
    /// [`KeyringError::UnknownKey`], [`KeyringError::Damaged`].
    pub fn open(&self, context: &str, sealed: &str) -> Result<Vec<u8>, KeyringError> {
        let text = sealed.strip_prefix(SEALED_PREFIX).and_then(|rest| rest.strip_prefix('.'));
        let bytes = URL_SAFE_NO_PAD.decode(text.ok_or(KeyringError::Damaged)?);
        self.open_bytes(context.as_bytes(), &bytes.map_err(|_| KeyringError::Damaged)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drystone_base::SeededRng;

    /// Goal: a sealed value opens at its place, under any key of the ring, and nowhere else. Method:
    /// seal, rotate, reload from text; then a wrong place, a changed byte, a lost key.
    #[test]
    fn what_is_sealed_opens_at_its_place_only() {
        let rng = SeededRng::new(7);
        let mut ring = Keyring::generate(&rng, "2026-01-01");
        let old = ring.current_id().to_owned();
        let sealed = ring.seal(&rng, "key/A", b"a secret");
        assert!(!sealed.contains("secret"));
        ring.rotate(&rng, "2026-02-01");
        assert_ne!(ring.current_id(), old);
        let ring = Keyring::parse(ring.to_text().reveal()).expect("its own text");
        assert_eq!(ring.open("key/A", &sealed).as_deref(), Ok(&b"a secret"[..]));
        assert_eq!(ring.open("key/B", &sealed), Err(KeyringError::Damaged));
        let changed = sealed[..sealed.len() - 2].to_owned() + "xx";
        assert_eq!(ring.open("key/A", &changed), Err(KeyringError::Damaged));
        assert!(!ring.has_sealed_rows(&[1; 16]));
        ring.note_sealed_rows(&[1; 16]);
        let read = Keyring::parse(ring.to_text().reveal()).expect("its own text");
        assert!(read.has_sealed_rows(&[1; 16]) && !read.has_sealed_rows(&[2; 16]));
        assert!(!read.has_sealed_drives(&[1; 16]));
        ring.note_sealed_drives(&[1; 16]);
        let read = Keyring::parse(ring.to_text().reveal()).expect("its own text");
        assert!(read.has_sealed_drives(&[1; 16]) && !read.has_sealed_drives(&[2; 16]));
        assert!(!read.has_settled_owner(&[1; 16]));
        ring.note_settled_owner(&[1; 16]);
        let read = Keyring::parse(ring.to_text().reveal()).expect("its own text");
        assert!(read.has_settled_owner(&[1; 16]) && !read.has_settled_owner(&[2; 16]));
        let other = Keyring::generate(&rng, "2026-03-01");
        assert_eq!(other.open("key/A", &sealed), Err(KeyringError::UnknownKey(old)));
    }

    #[test]
    fn what_is_no_keyring_is_refused() {
        let short =
            r#"{"format":"drystone-keyring-1","keys":[{"id":"a","key":"AAAA","created":""}]}"#;
        for text in ["", "{}", r#"{"format":"drystone-keyring-1","keys":[]}"#, short] {
            assert!(matches!(Keyring::parse(text), Err(KeyringError::Format)), "{text}");
        }
    }
}
