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
    authenticate_service, check_form,
};

use drystone_base::sync::{Mutex, lock};
use drystone_identity::Identity;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// What a signing key is derived for: the reading of the identity, day, region and service.
type KeyName = (u64, String, String, String);

/// Signing keys that were derived lately.
#[derive(Default)]
pub(crate) struct KeyCache {
    keys: Mutex<HashMap<KeyName, [u8; 32]>>,
}

const KEY_COUNT_MAX: usize = 4096;

pub(crate) fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key length will do");
    mac.update(data);
    mac.finalize().into_bytes().into()
}

pub(crate) fn sha256_hex(data: &[u8]) -> String {
    drystone_base::hex(&Sha256::digest(data))
}

impl KeyCache {
    fn get(&self, identity: &Identity, date: &str, region: &str, service: &str) -> [u8; 32] {
        let name = (identity.serial, date.to_owned(), region.to_owned(), service.to_owned());
        let mut keys = lock(&self.keys);
        if let Some(key) = keys.get(&name) {
            return *key;
        }
        let secret = format!("AWS4{}", identity.secret_key.reveal());
        let mut key = hmac(secret.as_bytes(), date.as_bytes());
        for piece in [region, service, "aws4_request"] {
            key = hmac(&key, piece.as_bytes());
        }
        if keys.len() >= KEY_COUNT_MAX {
            keys.clear();
        }
        keys.insert(name, key);
        key
    }
}

/// A token for the metrics that is derived from the secret key, so that it need not be kept.
#[must_use]
pub fn metrics_token(secret_key: &str) -> String {
    drystone_base::hex(&hmac(secret_key.as_bytes(), b"drystone metrics token"))
}
