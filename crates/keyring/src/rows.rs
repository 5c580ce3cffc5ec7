//! What authenticates rows of the catalog: HMAC-SHA256 under keys of the keyring, cut to 16 bytes.

use crate::keyring::Keyring;
use drystone_base::unhex;
use ring::hmac;

const PURPOSE: &[u8] = b"drystone rows 1\0";
/// Bytes of the id of a root key.
const KEY_ID_LEN: usize = 8;
/// Bytes of a message authentication code. NIST SP 800-107 §5.3.3 allows HMAC to be cut: what cannot be
/// guessed in 2^64 tries, each a start of a server, is long enough.
const MAC_LEN: usize = 16;
/// Bytes of a seal: the code, then the id of the root key.
pub const ROW_SEAL_LEN_BYTES: usize = MAC_LEN + KEY_ID_LEN;

/// What came of looking at the seal of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealVerdict {
    /// It is of this row.
    Holds,
    /// It is not: the row was changed, or put here from another place.
    Broken,
    /// It is under a key that the keyring does not have.
    UnknownKey,
}

/// Keys that rows of one deployment are sealed under; the last one seals. Has no `Debug`: it is all secrets.
pub struct RowKeys {
    keys: Vec<([u8; KEY_ID_LEN], hmac::Key)>,
}

impl Keyring {
    /// The keys for the rows of a deployment: rows of another one, under the same keyring, do not pass.
    #[must_use]
    pub fn row_keys(&self, deployment: &[u8; 16]) -> RowKeys {
        self.derive_keys(PURPOSE, deployment)
    }

    /// Keys for one purpose in one deployment.
    pub(crate) fn derive_keys(&self, purpose: &[u8], deployment: &[u8; 16]) -> RowKeys {
        let derive = |(id, root): (&str, &[u8])| {
            let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, root));
            context.update(purpose);
            context.update(deployment);
            let key = hmac::Key::new(hmac::HMAC_SHA256, context.sign().as_ref());
            let id = unhex(id).and_then(|id| id.try_into().ok());
            (id.expect("checked when it was read"), key)
        };
        RowKeys { keys: self.roots().map(derive).collect() }
    }
}

/// Code over a key of a row and its value; `covered` says what else it is about.
fn sign(key: &hmac::Key, row: &[u8], covered: u8, value: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(&(row.len() as u32).to_le_bytes());
    context.update(row);
    context.update(&[covered]);
    context.update(value);
    context.sign()
}

impl RowKeys {
    /// The seal of a row.
    #[must_use]
    pub fn seal(&self, row: &[u8], covered: u8, value: &[u8]) -> [u8; ROW_SEAL_LEN_BYTES] {
        let (id, key) = self.keys.last().expect("a keyring has a key");
        let mut seal = [0; ROW_SEAL_LEN_BYTES];
        seal[..MAC_LEN].copy_from_slice(&sign(key, row, covered, value).as_ref()[..MAC_LEN]);
        seal[MAC_LEN..].copy_from_slice(id);
        seal
    }

    /// Whether a seal is of this row.
    #[must_use]
    pub fn check(&self, row: &[u8], covered: u8, value: &[u8], seal: &[u8]) -> SealVerdict {
        let Some((mac, id)) = seal.split_at_checked(MAC_LEN) else { return SealVerdict::Broken };
        let key = self.keys.iter().rev().find(|(known, _)| known == id);
        let Some((_, key)) = key else { return SealVerdict::UnknownKey };
        let expected = sign(key, row, covered, value);
        // All bytes are looked at, whatever the first ones are.
        let pairs = expected.as_ref()[..MAC_LEN].iter().zip(mac);
        match pairs.fold(0, |difference, (a, b)| difference | (a ^ b)) {
            0 => SealVerdict::Holds,
            _ => SealVerdict::Broken,
        }
    }
}

/// The id of the root key that a seal says it is under.
#[must_use]
pub fn key_of_seal(seal: &[u8]) -> Option<&[u8]> {
    seal.get(MAC_LEN..ROW_SEAL_LEN_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use drystone_base::SeededRng;

    /// Goal: a seal is of one row, value, coverage, deployment and keyring. Method: each changed alone.
    #[test]
    fn a_seal_is_of_one_row_only() {
        let rng = SeededRng::new(3);
        let mut ring = Keyring::generate(&rng, "");
        let keys = ring.row_keys(&[1; 16]);
        let seal = keys.seal(b"row", 0, b"value");
        assert_eq!(keys.check(b"row", 0, b"value", &seal), SealVerdict::Holds);
        for (row, covered, value) in [
            (&b"rov"[..], 0, &b"value"[..]),
            (b"row", 1, b"value"),
            (b"row", 0, b"valuf"),
            (b"rowv", 0, b"alue"),
            (b"ro", 0, b"wvalue"),
        ] {
            assert_eq!(keys.check(row, covered, value, &seal), SealVerdict::Broken, "{row:?}");
        }
        let elsewhere = ring.row_keys(&[2; 16]);
        assert_eq!(elsewhere.check(b"row", 0, b"value", &seal), SealVerdict::Broken);
        assert_eq!(keys.check(b"row", 0, b"value", &seal[1..]), SealVerdict::UnknownKey);
        assert_eq!(keys.check(b"row", 0, b"value", b""), SealVerdict::Broken);
        ring.rotate(&rng, "");
        let rotated = ring.row_keys(&[1; 16]);
        assert_eq!(rotated.check(b"row", 0, b"value", &seal), SealVerdict::Holds);
        assert_ne!(rotated.seal(b"row", 0, b"value"), seal);
        let other = Keyring::generate(&rng, "").row_keys(&[1; 16]);
        assert_eq!(other.check(b"row", 0, b"value", &seal), SealVerdict::UnknownKey);
    }
}
