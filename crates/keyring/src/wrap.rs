//! Sealing of short values: keys, secrets, metadata.
//!
//! AES-256-GCM under a key that is made for the one value: HMAC-SHA256 of a random salt of 16 bytes under
//! the wrapping key. So no number of values uses a nonce twice (NIST SP 800-38D §8.3 allows 2³² random
//! nonces under one key, which a billion objects would come close to).

use crate::secret::DataKey;
use drystone_base::Rng;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;

/// Bytes of the salt before a sealed value.
pub(crate) const SALT_LEN: usize = 16;

/// A cipher under a key that is derived for one purpose.
pub(crate) fn derived(key: &DataKey, purpose: &[u8], salt: &[u8]) -> LessSafeKey {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.reveal()));
    context.update(purpose);
    context.update(salt);
    let derived = context.sign();
    let unbound = UnboundKey::new(&AES_256_GCM, derived.as_ref());
    LessSafeKey::new(unbound.expect("a digest of SHA-256 has 32 bytes"))
}

const PURPOSE: &[u8] = b"drystone wrap 1\0";

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// Seals a value under a key, bound to the place that `context` names.
#[must_use]
pub fn wrap(key: &DataKey, rng: &dyn Rng, context: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut salt = [0; SALT_LEN];
    rng.fill(&mut salt);
    let mut sealed = plain.to_vec();
    derived(key, PURPOSE, &salt)
        .seal_in_place_append_tag(nonce(), Aad::from(context), &mut sealed)
        .expect("a wrapped value is short");
    [&salt[..], &sealed].concat()
}

/// Opens what was sealed under the same key for the same place; `None` if it was not.
#[must_use]
pub fn unwrap(key: &DataKey, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (salt, body) = sealed.split_at_checked(SALT_LEN)?;
    let mut body = body.to_vec();
    let cipher = derived(key, PURPOSE, salt);
    let plain = cipher.open_in_place(nonce(), Aad::from(context), &mut body);
    plain.map(|plain| plain.to_vec()).ok()
}
