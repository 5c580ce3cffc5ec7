//! What authenticates what a drive says of itself: the same codes as those of rows, under keys of their own.

use crate::keyring::Keyring;
use crate::rows::{ROW_SEAL_LEN_BYTES, RowKeys, SealVerdict};

const PURPOSE: &[u8] = b"drystone drives 1\0";
const PLACE: &[u8] = b"super";
/// Bytes of a seal.
pub const DRIVE_SEAL_LEN_BYTES: usize = ROW_SEAL_LEN_BYTES;

/// Keys that the drives of one deployment are sealed under; the last one seals. Has no `Debug`: it is all
/// secrets.
pub struct DriveKeys(RowKeys);

impl Keyring {
    /// The keys for the drives of a deployment.
    #[must_use]
    pub fn drive_keys(&self, deployment: &[u8; 16]) -> DriveKeys {
        DriveKeys(self.derive_keys(PURPOSE, deployment))
    }
}

impl DriveKeys {
    /// The seal of an identity.
    #[must_use]
    pub fn seal(&self, identity: &[u8]) -> [u8; DRIVE_SEAL_LEN_BYTES] {
        self.0.seal(PLACE, 0, identity)
    }

    /// Whether a seal is of this identity.
    #[must_use]
    pub fn check(&self, identity: &[u8], seal: &[u8]) -> SealVerdict {
        self.0.check(PLACE, 0, identity, seal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drystone_base::SeededRng;

    /// Goal: a seal is of one identity, deployment and keyring, and a row's seal is none. Method: each
    /// changed alone.
    #[test]
    fn a_seal_is_of_one_identity_only() {
        let rng = SeededRng::new(3);
        let ring = Keyring::generate(&rng, "");
        let keys = ring.drive_keys(&[1; 16]);
        let seal = keys.seal(b"identity");
        assert_eq!(keys.check(b"identity", &seal), SealVerdict::Holds);
        assert_eq!(keys.check(b"identitz", &seal), SealVerdict::Broken);
        assert_eq!(ring.drive_keys(&[2; 16]).check(b"identity", &seal), SealVerdict::Broken);
        let row = ring.row_keys(&[1; 16]).seal(PLACE, 0, b"identity");
        assert_eq!(keys.check(b"identity", &row), SealVerdict::Broken);
        let other = Keyring::generate(&rng, "").drive_keys(&[1; 16]);
        assert_eq!(other.check(b"identity", &seal), SealVerdict::UnknownKey);
    }
}
