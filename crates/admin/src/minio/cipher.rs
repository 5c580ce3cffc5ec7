//! The encrypted bodies of MinIO's admin API: `salt[32] | id[1] | nonce[8] | fragments`. The key is derived
//! from the caller's secret key; each fragment of 16 KiB is sealed by itself.

use argon2::{Algorithm, Argon2, Params, Version};
use drystone_base::Rng;
use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::pbkdf2;
use std::num::NonZeroU32;

const SALT_LEN: usize = 32;
const NONCE_LEN: usize = 8;
const HEAD_LEN: usize = SALT_LEN + 1 + NONCE_LEN;
const TAG_LEN: usize = 16;
const FRAGMENT_LEN: usize = 16 << 10;
const ARGON_MEMORY_KIB: u32 = 64 << 10;
const ARGON_LANES: u32 = 4;
const PBKDF2_ROUNDS: NonZeroU32 = NonZeroU32::new(8192).expect("not zero");
/// Bytes of a body at most. The longest that is sent is a list of a thousand names.
pub(crate) const BODY_LEN_MAX: usize = 256 << 10;

/// Argon2id with AES-256-GCM.
const ARGON_AES: u8 = 0;
/// Argon2id with ChaCha20-Poly1305.
const ARGON_CHACHA: u8 = 1;
/// PBKDF2 with AES-256-GCM.
const PBKDF2_AES: u8 = 2;

/// Whether a body has the form of an encrypted one.
pub(crate) fn is_sealed(body: &[u8]) -> bool {
    body.len() > HEAD_LEN && body[SALT_LEN] <= PBKDF2_AES
}

fn derive(secret: &str, salt: &[u8], id: u8) -> Option<LessSafeKey> {
    let mut key = [0; 32];
    if id == PBKDF2_AES {
        let secret = secret.as_bytes();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, PBKDF2_ROUNDS, salt, secret, &mut key);
    } else {
        let params = Params::new(ARGON_MEMORY_KIB, 1, ARGON_LANES, Some(key.len())).ok()?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon.hash_password_into(secret.as_bytes(), salt, &mut key).ok()?;
    }
    let algorithm = match id {
        ARGON_AES | PBKDF2_AES => &AES_256_GCM,
        ARGON_CHACHA => &CHACHA20_POLY1305,
        _ => return None,
    };
    UnboundKey::new(algorithm, &key).ok().map(LessSafeKey::new)
}

fn nonce_of(prefix: &[u8], seq: u32) -> Nonce {
    let mut nonce = [0; 12];
    nonce[..NONCE_LEN].copy_from_slice(prefix);
    nonce[NONCE_LEN..].copy_from_slice(&seq.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// Associated data of a fragment: whether it is the last, and the tag of the empty message under seq 0.
fn associated(key: &LessSafeKey, nonce: &[u8], is_last: bool) -> Option<Vec<u8>> {
    let tag = key.seal_in_place_separate_tag(nonce_of(nonce, 0), Aad::empty(), &mut []).ok()?;
    let flag = if is_last { 0x80 } else { 0 };
    Some([&[flag][..], tag.as_ref()].concat())
}

/// Opens a body; `None` if it was not sealed with this secret. Takes 64 MiB for a moment.
pub(crate) fn open(secret: &str, body: &[u8]) -> Option<Vec<u8>> {
    if !is_sealed(body) {
        return None;
    }
    let (head, mut rest) = body.split_at(HEAD_LEN);
    let (salt, id, nonce) = (&head[..SALT_LEN], head[SALT_LEN], &head[SALT_LEN + 1..]);
    let key = derive(secret, salt, id)?;
    let mut plain = Vec::new();
    let mut seq = 1;
    loop {
        let (fragment, after) = rest.split_at(rest.len().min(FRAGMENT_LEN + TAG_LEN));
        let aad = associated(&key, nonce, after.is_empty())?;
        let mut fragment = fragment.to_vec();
        let opened = key.open_in_place(nonce_of(nonce, seq), Aad::from(aad), &mut fragment);
        plain.extend_from_slice(opened.ok()?);
        if after.is_empty() {
            return Some(plain);
        }
        rest = after;
        seq += 1;
    }
}

/// Seals an answer. Takes 64 MiB for a moment.
pub(crate) fn seal(secret: &str, plain: &[u8], rng: &dyn Rng) -> Option<Vec<u8>> {
    let (mut salt, mut nonce) = ([0; SALT_LEN], [0; NONCE_LEN]);
    rng.fill(&mut salt);
    rng.fill(&mut nonce);
    let key = derive(secret, &salt, ARGON_AES)?;
    let mut out = [&salt[..], &[ARGON_AES], &nonce].concat();
    let fragments: Vec<&[u8]> = match plain.is_empty() {
        true => vec![&[]],
        false => plain.chunks(FRAGMENT_LEN).collect(),
    };
    for (index, fragment) in fragments.iter().enumerate() {
        let aad = associated(&key, &nonce, index + 1 == fragments.len())?;
        let mut sealed = fragment.to_vec();
        let nonce = nonce_of(&nonce, index as u32 + 1);
        key.seal_in_place_append_tag(nonce, Aad::from(aad), &mut sealed).ok()?;
        out.extend_from_slice(&sealed);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use drystone_base::SeededRng;

    /// Goal: what is sealed opens whole and nothing else does. Method: the lengths around a fragment,
    /// then a cut, a changed byte, a fragment left out, another secret.
    #[test]
    fn sealed_bodies_open_whole_or_not_at_all() {
        let rng = SeededRng::new(3);
        for len in [0, 1, FRAGMENT_LEN - 1, FRAGMENT_LEN, FRAGMENT_LEN + 1, 2 * FRAGMENT_LEN] {
            let plain = vec![7; len];
            let sealed = seal("secret", &plain, &rng).expect("sealed");
            let fragments = len.div_ceil(FRAGMENT_LEN).max(1);
            assert_eq!(sealed.len(), HEAD_LEN + len + TAG_LEN * fragments);
            assert_eq!(open("secret", &sealed).as_deref(), Some(&plain[..]));
            assert_eq!(open("other", &sealed), None);
            assert_eq!(open("secret", &sealed[..sealed.len() - 1]), None);
        }
        let sealed = seal("secret", &vec![7; FRAGMENT_LEN + 9], &rng).expect("sealed");
        assert_eq!(open("secret", &sealed[..HEAD_LEN + FRAGMENT_LEN + TAG_LEN]), None);
        let mut changed = sealed.clone();
        changed[HEAD_LEN + 3] ^= 1;
        assert_eq!(open("secret", &changed), None);
        for body in [&b""[..], &[0; 41], &[9; 60]] {
            assert_eq!(open("secret", body), None);
        }
    }
}
