//! What clients seal and open themselves: `Encrypt`, `Decrypt` and data keys that they keep.
//!
//! A blob names its key. It is sealed under another context than data keys of objects, so that neither opens
//! as the other.

use crate::error::KmsError;
use crate::kms::Kms;
use drystone_base::{Reader, Writer};
use drystone_keyring::Secret;
use std::collections::BTreeMap;

/// Bytes that `Encrypt` takes (AWS KMS API reference).
pub const PLAIN_LEN_MAX: usize = 4096;
/// What a blob begins with.
const MARK: &[u8] = b"dryk1";

/// An encryption context as it is bound: sorted, with lengths.
fn bound(context: &BTreeMap<String, String>) -> Vec<u8> {
    let mut w = Writer::new();
    w.raw(b"kms blob\0");
    for (key, value) in context {
        w.bytes(key.as_bytes()).bytes(value.as_bytes());
    }
    w.finish()
}

impl Kms {
    /// Random bytes, fit for secrets.
    #[must_use]
    pub fn random(&self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.shared.rng.fill(&mut bytes);
        bytes
    }

    /// Seals bytes of a client under a key and an encryption context.
    ///
    /// # Errors
    ///
    /// [`KmsError::NotFound`], [`KmsError::Disabled`], [`KmsError::Pending`], or the provider failed.
    pub async fn seal_blob(
        &self,
        id: &str,
        context: &BTreeMap<String, String>,
        plain: &[u8],
    ) -> Result<Vec<u8>, KmsError> {
        self.must_be_usable(id).await?;
        let row = self.row(id)?;
        let sealed =
            self.provider(row.provider).seal(&row, &bound(context), plain, self.line()).await?;
        let mut w = Writer::new();
        w.raw(MARK).bytes(id.as_bytes()).raw(&sealed);
        Ok(w.finish())
    }

    /// The id of the key that a blob was sealed under; `None` if it is no blob.
    #[must_use]
    pub fn key_of_blob(&self, blob: &[u8]) -> Option<String> {
        let mut r = Reader::new(blob.strip_prefix(MARK)?, "blob");
        let id = std::str::from_utf8(r.bytes().ok()?).ok()?.to_owned();
        crate::key::is_id(&id).then_some(id)
    }

    /// Opens what was sealed under a key and an encryption context.
    ///
    /// # Errors
    ///
    /// [`KmsError::NotFound`], [`KmsError::Disabled`], [`KmsError::Pending`], [`KmsError::Damaged`] for
    /// another context or a blob that was changed, or the provider failed.
    pub async fn open_blob(
        &self,
        context: &BTreeMap<String, String>,
        blob: &[u8],
    ) -> Result<Secret, KmsError> {
        let damaged = || KmsError::Damaged(String::new());
        let mut r = Reader::new(blob.strip_prefix(MARK).ok_or_else(damaged)?, "blob");
        let id = r.bytes().map_err(|_| damaged())?;
        let id = std::str::from_utf8(id).map_err(|_| damaged())?;
        let row = self.row(id)?;
        row.must_be_enabled()?;
        let bytes =
            self.provider(row.provider).open(&row, &bound(context), r.rest(), self.line()).await?;
        Ok(Secret::new(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)))
    }
}
