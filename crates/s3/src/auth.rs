//! Signature version 4.
//!
//! Source: S3 API reference, "Authenticating requests (AWS Signature Version 4)".

mod canonical;
mod legacy;
mod parse;
mod verify;

pub(crate) use legacy::check_form as check_legacy_form;
pub use parse::{parse_authorization, parse_presigned};
pub(crate) use verify::{
    AuthType, ChunkSigner, FormSignature, PayloadHash, Verified, Verifier, authenticate,
    authenticate_service, check_form, identify, payload_of_query,
};

use drystone_base::Cache;
use drystone_base::sync::{Mutex, lock};
use drystone_keyring::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Signing keys that are kept, in bytes: some tens of thousands.
const KEYS_LEN_MAX: usize = 4 << 20;

/// What a signing key is derived for: the reading of the identity, day, region and service, which have no
/// slash and a bounded length.
type KeyName = Vec<u8>;

/// Signing keys of signatures that were right.
pub(crate) struct KeyCache {
    keys: Mutex<Cache<KeyName, [u8; 32]>>,
}

impl Default for KeyCache {
    fn default() -> Self {
        Self { keys: Mutex::new(Cache::new(KEYS_LEN_MAX)) }
    }
}

/// A signing key; kept once a signature by it was found to be right.
pub(crate) struct SigningKey {
    pub(crate) bytes: [u8; 32],
    name: KeyName,
    is_kept: bool,
}

pub(crate) fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key length will do");
    mac.update(data);
    mac.finalize().into_bytes().into()
}

pub(crate) fn sha256_hex(data: &[u8]) -> String {
    drystone_base::hex(&Sha256::digest(data))
}

impl KeyCache {
    /// The key of an identity, given as the serial number of its reading and its secret, for a day, a region
    /// and a service.
    fn get(&self, (serial, secret): (u64, &Secret), scope: [&str; 3]) -> SigningKey {
        let [day, region, service] = scope.map(str::as_bytes);
        let name = [&serial.to_le_bytes(), day, b"/", region, b"/", service].concat();
        if let Some(bytes) = lock(&self.keys).get(&name) {
            return SigningKey { bytes, name, is_kept: true };
        }
        let secret = format!("AWS4{}", secret.reveal());
        let mut bytes = hmac(secret.as_bytes(), scope[0].as_bytes());
        for piece in [scope[1], scope[2], "aws4_request"] {
            bytes = hmac(&bytes, piece.as_bytes());
        }
        SigningKey { bytes, name, is_kept: false }
    }

    /// Keeps a key: a signature by it was right.
    fn keep(&self, key: &SigningKey) {
        if !key.is_kept {
            lock(&self.keys).insert(key.name.clone(), key.bytes, key.name.capacity());
        }
    }
}

/// A token for the metrics that is derived from the secret key, so that it need not be kept.
#[must_use]
pub fn metrics_token(secret_key: &str) -> String {
    drystone_base::hex(&hmac(secret_key.as_bytes(), b"drystone metrics token"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the cache cannot be filled from outside. Method: a key is not there before it is kept.
    #[test]
    fn a_key_is_kept_only_after_its_signature_was_right() {
        let cache = KeyCache::default();
        let secret = Secret::new("secret");
        let get = |scope| cache.get((7, &secret), scope);
        let far = "r".repeat(60_000);
        for _ in 0..2 {
            assert!(!get(["20260101", &far, "s3"]).is_kept);
        }
        assert_eq!(lock(&cache.keys).len_bytes(), 0);
        let key = get(["20260101", "us-east-1", "s3"]);
        cache.keep(&key);
        let again = get(["20260101", "us-east-1", "s3"]);
        assert!(again.is_kept && again.bytes == key.bytes);
        assert!(!get(["20260101", "us-east-", "1s3"]).is_kept);
        assert!(!cache.get((8, &secret), ["20260101", "us-east-1", "s3"]).is_kept);
        assert!(lock(&cache.keys).len_bytes() < 300);
    }
}
