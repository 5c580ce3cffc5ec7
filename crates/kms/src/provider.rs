//! Who keeps what keys seal with: one trait, three that have it.

use crate::error::KmsError;
use crate::key::KeyRow;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drystone_base::{Line, Reader, Rng, Writer};
use drystone_keyring::{DataKey, Keyring, unwrap, wrap};
use std::pin::Pin;
use std::sync::Arc;

/// What a provider will answer.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, KmsError>> + Send + 'a>>;

/// Where the caller waits for its turns, if others are to come in between.
pub(crate) type InLine<'a> = Option<&'a dyn Line>;

/// Keeps what keys seal with.
pub(crate) trait Provider: Send + Sync {
    /// Makes the material of a new key, or of a rotated one: what is added to its row, if anything is.
    fn renew<'a>(&'a self, id: &'a str, line: InLine<'a>) -> Answer<'a, Option<String>>;
    /// Seals a short value under a key, bound to a context.
    fn seal<'a>(
        &'a self,
        key: &'a KeyRow,
        context: &'a [u8],
        plain: &'a [u8],
        line: InLine<'a>,
    ) -> Answer<'a, Vec<u8>>;
    /// Opens what was sealed under the same key and context.
    fn open<'a>(
        &'a self,
        key: &'a KeyRow,
        context: &'a [u8],
        sealed: &'a [u8],
        line: InLine<'a>,
    ) -> Answer<'a, Vec<u8>>;
}

/// Keys whose material is in their rows, sealed under the keyring.
pub(crate) struct Local {
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) rng: Arc<dyn Rng>,
}

fn material_context(id: &str) -> String {
    format!("kms/{id}")
}

impl Local {
    fn material(&self, key: &KeyRow, number: u32) -> Result<DataKey, KmsError> {
        let damaged = || KmsError::Damaged(key.id.clone());
        let version = key.versions.get(number as usize).ok_or_else(damaged)?;
        let bytes = self.keyring.open(&material_context(&key.id), &version.sealed)?;
        DataKey::from_slice(&bytes).ok_or_else(damaged)
    }
}

impl Provider for Local {
    fn renew<'a>(&'a self, id: &'a str, _: InLine<'a>) -> Answer<'a, Option<String>> {
        let key = DataKey::generate(&*self.rng);
        let sealed = self.keyring.seal(&*self.rng, &material_context(id), key.reveal());
        Box::pin(async { Ok(Some(sealed)) })
    }

    fn seal<'a>(
        &'a self,
        key: &'a KeyRow,
        context: &'a [u8],
        plain: &'a [u8],
        _: InLine<'a>,
    ) -> Answer<'a, Vec<u8>> {
        let number = key.versions.len().saturating_sub(1) as u32;
        let sealed = self.material(key, number).map(|material| {
            let mut w = Writer::new();
            w.u32(number).raw(&wrap(&material, &*self.rng, context, plain));
            w.finish()
        });
        Box::pin(async { sealed })
    }

    fn open<'a>(
        &'a self,
        key: &'a KeyRow,
        context: &'a [u8],
        sealed: &'a [u8],
        _: InLine<'a>,
    ) -> Answer<'a, Vec<u8>> {
        let damaged = || KmsError::Damaged(key.id.clone());
        let open = || {
            let mut r = Reader::new(sealed, "sealed data key");
            let number = r.u32().map_err(|_| damaged())?;
            unwrap(&self.material(key, number)?, context, r.rest()).ok_or_else(damaged)
        };
        let opened = open();
        Box::pin(async { opened })
    }
}

/// A key that a setting gives (`MINIO_KMS_SECRET_KEY`). Has no `Debug`: it is a secret.
#[derive(Clone)]
pub struct StaticKey {
    /// Its id.
    pub id: String,
    /// What it seals with.
    pub key: DataKey,
}

impl StaticKey {
    /// Reads `NAME:BASE64`, where the latter is 32 bytes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (id, encoded) = text.trim().split_once(':')?;
        let key = DataKey::from_slice(&STANDARD.decode(encoded.trim()).ok()?)?;
        crate::key::is_id(id).then(|| Self { id: id.to_owned(), key })
    }
}

/// The one key of a setting.
pub(crate) struct Static {
    pub(crate) key: Option<StaticKey>,
    pub(crate) rng: Arc<dyn Rng>,
}

impl Static {
    fn material(&self, id: &str) -> Result<&DataKey, KmsError> {
        let key = self.key.as_ref().filter(|key| key.id == id);
        key.map(|key| &key.key).ok_or_else(|| KmsError::NotFound(id.to_owned()))
    }
}

impl Provider for Static {
    fn renew<'a>(&'a self, id: &'a str, _: InLine<'a>) -> Answer<'a, Option<String>> {
        let message = format!("The key '{id}' is given by a setting and is changed there.");
        Box::pin(async { Err(KmsError::Invalid(message)) })
    }

    fn seal<'a>(
        &'a self,
        key: &'a KeyRow,
        context: &'a [u8],
        plain: &'a [u8],
        _: InLine<'a>,
    ) -> Answer<'a, Vec<u8>> {
        let sealed = self.material(&key.id).map(|m| wrap(m, &*self.rng, context, plain));
        Box::pin(async { sealed })
    }

    fn open<'a>(
        &'a self,
        key: &'a KeyRow,
        context: &'a [u8],
        sealed: &'a [u8],
        _: InLine<'a>,
    ) -> Answer<'a, Vec<u8>> {
        let opened = self.material(&key.id).and_then(|material| {
            unwrap(material, context, sealed).ok_or_else(|| KmsError::Damaged(key.id.clone()))
        });
        Box::pin(async { opened })
    }
}
