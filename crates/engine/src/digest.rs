//! Digests of a body, computed while it streams.

use crc_fast::{CrcAlgorithm, checksum_combine};
use drystone_catalog::{Checksum, ChecksumAlgorithm, ChecksumKind};
use md5::Digest as _;

enum Running {
    Crc(ChecksumAlgorithm, crc_fast::Digest),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
}

/// MD5, and one checksum that clients see.
pub struct Digests {
    md5: md5::Md5,
    checksum: Running,
    len: u64,
}

fn crc_of(algorithm: ChecksumAlgorithm) -> Option<CrcAlgorithm> {
    match algorithm {
        ChecksumAlgorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
        ChecksumAlgorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
        ChecksumAlgorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => None,
    }
}

fn crc_bytes(algorithm: ChecksumAlgorithm, value: u64) -> Vec<u8> {
    value.to_be_bytes()[8 - algorithm.len_bytes()..].to_vec()
}

impl Digests {
    /// Nothing digested yet.
    #[must_use]
    pub fn new(algorithm: ChecksumAlgorithm) -> Self {
        let checksum = match crc_of(algorithm) {
            Some(crc) => Running::Crc(algorithm, crc_fast::Digest::new(crc)),
            None if algorithm == ChecksumAlgorithm::Sha1 => Running::Sha1(sha1::Sha1::new()),
            None => Running::Sha256(sha2::Sha256::new()),
        };
        Self { md5: md5::Md5::new(), checksum, len: 0 }
    }

    /// Takes more of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        self.md5.update(bytes);
        match &mut self.checksum {
            Running::Crc(_, digest) => digest.update(bytes),
            Running::Sha1(digest) => digest.update(bytes),
            Running::Sha256(digest) => digest.update(bytes),
        }
    }

    /// MD5 and checksum of everything.
    #[must_use]
    pub fn finish(self) -> ([u8; 16], Checksum) {
        let (algorithm, value) = match self.checksum {
            Running::Crc(algorithm, digest) => (algorithm, crc_bytes(algorithm, digest.finalize())),
            Running::Sha1(digest) => (ChecksumAlgorithm::Sha1, digest.finalize().to_vec()),
            Running::Sha256(digest) => (ChecksumAlgorithm::Sha256, digest.finalize().to_vec()),
        };
        let checksum =
            Checksum { algorithm, kind: ChecksumKind::FullObject, value, is_sealed: false };
        (self.md5.finalize().into(), checksum)
    }

    /// Bytes taken so far.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.len
    }
}

/// CRC of two pieces from their CRCs; `None` for an algorithm that is no CRC.
#[must_use]
pub fn combine_crc(
    algorithm: ChecksumAlgorithm,
    first: &[u8],
    second: &[u8],
    second_len_bytes: u64,
) -> Option<Vec<u8>> {
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    let crc = crc_of(algorithm)?;
    let value = checksum_combine(crc, number(first), number(second), second_len_bytes);
    Some(crc_bytes(algorithm, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Vec<u8> {
        let mut digests = Digests::new(algorithm);
        digests.update(bytes);
        digests.finish().1.value
    }

    #[test]
    fn crcs_of_parts_combine_to_that_of_the_whole() {
        let (a, b) = (b"hello ".repeat(1000), b"world".repeat(77));
        for algorithm in ChecksumAlgorithm::ALL {
            let whole = value(algorithm, &[&a[..], &b[..]].concat());
            let (x, y) = (value(algorithm, &a), value(algorithm, &b));
            let combined = combine_crc(algorithm, &x, &y, b.len() as u64);
            assert_eq!(combined, algorithm.is_crc().then_some(whole));
        }
    }

    #[test]
    fn digests_have_their_published_check_values() {
        assert_eq!(value(ChecksumAlgorithm::Crc32, b"123456789"), [0xCB, 0xF4, 0x39, 0x26]);
        let (md5, _) = Digests::new(ChecksumAlgorithm::Crc32).finish();
        assert_eq!(drystone_base::hex(&md5), "d41d8cd98f00b204e9800998ecf8427e");
    }
}
