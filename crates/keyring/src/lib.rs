//! Root keys, and what is sealed under them.
//!
//! A keyring is a small text that an operator keeps and backs up: it never enters the log. What must
//! not be readable on a drive (secrets of users, signing keys) is sealed under its newest key with
//! AES-256-GCM and bound to its place, so that a sealed value moved to another row does not open.
//!
//! # Not here
//!
//! Files: the binary reads and writes the keyring's file. Keys of objects come with encryption.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD};
use drystone_base::{Rng, hex};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};

const FORMAT: &str = "drystone-keyring-1";
const SEALED_PREFIX: &str = "s1";
const KEY_LEN: usize = 32;
const KEY_ID_LEN: usize = 8;

/// A text that must not be shown. Has no `Debug` and no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    /// The text.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

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
}

/// Root keys; the last one seals. Has no `Debug`: it is all secrets.
pub struct Keyring {
    keys: Vec<RootKey>,
}

impl Keyring {
    /// A keyring with one new key. `created` is shown to people.
    #[must_use]
    pub fn generate(rng: &dyn Rng, created: &str) -> Self {
        let mut keyring = Self { keys: Vec::new() };
        keyring.rotate(rng, created);
        keyring
    }

    /// Adds a key that seals from now on. The others still open what they sealed.
    pub fn rotate(&mut self, rng: &dyn Rng, created: &str) {
        let (mut id, mut key) = ([0; KEY_ID_LEN], [0; KEY_LEN]);
        rng.fill(&mut id);
        rng.fill(&mut key);
        let created = created.to_owned();
        self.keys.push(RootKey { id: hex(&id), key: BASE64.encode(key), created });
    }

    /// Reads the text form.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Format`].
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let file: File = serde_json::from_str(text).map_err(|_| KeyringError::Format)?;
        let is_key = |key: &RootKey| BASE64.decode(&key.key).is_ok_and(|k| k.len() == KEY_LEN);
        if file.format != FORMAT || file.keys.is_empty() || !file.keys.iter().all(is_key) {
            return Err(KeyringError::Format);
        }
        Ok(Self { keys: file.keys })
    }

    /// The text form, for the file and for backups.
    #[must_use]
    pub fn to_text(&self) -> Secret {
        let file = File { format: FORMAT.to_owned(), keys: self.keys.clone() };
        Secret::new(serde_json::to_string_pretty(&file).expect("texts become JSON") + "\n")
    }

    /// Id of the key that seals.
    #[must_use]
    pub fn current_id(&self) -> &str {
        &self.keys.last().expect("a keyring has a key").id
    }

    fn cipher(key: &RootKey) -> LessSafeKey {
        let bytes = BASE64.decode(&key.key).expect("checked when it was read");
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).expect("the key has 32 bytes"))
    }

    /// Seals `plain` for the place that `context` names.
    #[must_use]
    pub fn seal(&self, rng: &dyn Rng, context: &str, plain: &[u8]) -> String {
        let key = self.keys.last().expect("a keyring has a key");
        let mut nonce = [0; NONCE_LEN];
        rng.fill(&mut nonce);
        let mut sealed = plain.to_vec();
        Self::cipher(key)
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context.as_bytes()),
                &mut sealed,
            )
            .expect("a secret is short enough");
        let bytes = [&nonce[..], &sealed].concat();
        format!("{SEALED_PREFIX}.{}.{}", key.id, URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Opens what was sealed for the same place.
    ///
    /// # Errors
    ///
    /// [`KeyringError::UnknownKey`], [`KeyringError::Damaged`].
    pub fn open(&self, context: &str, sealed: &str) -> Result<Vec<u8>, KeyringError> {
        let mut pieces = sealed.splitn(3, '.');
        let (prefix, id, text) = (pieces.next(), pieces.next(), pieces.next());
        let (Some(SEALED_PREFIX), Some(id), Some(text)) = (prefix, id, text) else {
            return Err(KeyringError::Damaged);
        };
        let key = self.keys.iter().find(|key| key.id == id);
        let key = key.ok_or_else(|| KeyringError::UnknownKey(id.to_owned()))?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyringError::Damaged)?;
        let (nonce, body) = bytes.split_at_checked(NONCE_LEN).ok_or(KeyringError::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyringError::Damaged)?;
        let mut body = body.to_vec();
        let opened =
            Self::cipher(key).open_in_place(nonce, Aad::from(context.as_bytes()), &mut body);
        opened.map(|plain| plain.to_vec()).map_err(|_| KeyringError::Damaged)
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
