//! Digests of a body, computed while it streams.

use crc_fast::{CrcAlgorithm, checksum_combine};
use drystone_catalog::{Checksum, ChecksumAlgorithm, ChecksumKind};
use md5::Digest as _;
use std::hash::Hasher as _;
use twox_hash::{XxHash3_64, XxHash3_128, XxHash64};

enum Running {
    Crc(crc_fast::Digest),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
    /// That which is computed in any case.
    Md5,
    XxHash64(XxHash64),
    /// With a buffer of its own.
    XxHash3(Box<XxHash3_64>),
    XxHash128(Box<XxHash3_128>),
}

/// MD5, and one checksum that clients see.
pub struct Digests {
    md5: md5::Md5,
    algorithm: ChecksumAlgorithm,
    checksum: Running,
    len: u64,
}

fn crc_of(algorithm: ChecksumAlgorithm) -> Option<CrcAlgorithm> {
    match algorithm {
        ChecksumAlgorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
        ChecksumAlgorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
        ChecksumAlgorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
        _ => None,
    }
}

fn crc_bytes(algorithm: ChecksumAlgorithm, value: u64) -> Vec<u8> {
    value.to_be_bytes()[8 - algorithm.len_bytes()..].to_vec()
}

impl Digests {
    /// Nothing digested yet.
    #[must_use]
    pub fn new(algorithm: ChecksumAlgorithm) -> Self {
        use ChecksumAlgorithm as A;
        let crc = |crc| Running::Crc(crc_fast::Digest::new(crc));
        let checksum = match algorithm {
            A::Crc32 => crc(CrcAlgorithm::Crc32IsoHdlc),
            A::Crc32c => crc(CrcAlgorithm::Crc32Iscsi),
            A::Crc64Nvme => crc(CrcAlgorithm::Crc64Nvme),
            A::Sha1 => Running::Sha1(sha1::Sha1::new()),
            A::Sha256 => Running::Sha256(sha2::Sha256::new()),
            A::Sha512 => Running::Sha512(sha2::Sha512::new()),
            A::Md5 => Running::Md5,
            A::XxHash64 => Running::XxHash64(XxHash64::with_seed(0)),
            A::XxHash3 => Running::XxHash3(Box::new(XxHash3_64::new())),
            A::XxHash128 => Running::XxHash128(Box::new(XxHash3_128::new())),
        };
        Self { md5: md5::Md5::new(), algorithm, checksum, len: 0 }
    }

    /// Takes more of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        self.md5.update(bytes);
        match &mut self.checksum {
            Running::Crc(digest) => digest.update(bytes),
            Running::Sha1(digest) => digest.update(bytes),
            Running::Sha256(digest) => digest.update(bytes),
            Running::Sha512(digest) => digest.update(bytes),
            Running::Md5 => {}
            Running::XxHash64(digest) => digest.write(bytes),
            Running::XxHash3(digest) => digest.write(bytes),
            Running::XxHash128(digest) => digest.write(bytes),
        }
    }

    /// MD5 and checksum of everything.
    #[must_use]
    pub fn finish(self) -> ([u8; 16], Checksum) {
        let (algorithm, md5) = (self.algorithm, <[u8; 16]>::from(self.md5.finalize()));
        let value = match self.checksum {
            Running::Crc(digest) => crc_bytes(algorithm, digest.finalize()),
            Running::Sha1(digest) => digest.finalize().to_vec(),
            Running::Sha256(digest) => digest.finalize().to_vec(),
            Running::Sha512(digest) => digest.finalize().to_vec(),
            Running::Md5 => md5.to_vec(),
            Running::XxHash64(digest) => digest.finish().to_be_bytes().to_vec(),
            Running::XxHash3(digest) => digest.finish().to_be_bytes().to_vec(),
            Running::XxHash128(digest) => digest.finish_128().to_be_bytes().to_vec(),
        };
        let checksum =
            Checksum { algorithm, kind: ChecksumKind::FullObject, value, is_sealed: false };
        (md5, checksum)
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
        let known = [
            (ChecksumAlgorithm::Crc32, "cbf43926"),
            (ChecksumAlgorithm::Md5, "25f9e794323b453885f5181f1b624d0b"),
            (ChecksumAlgorithm::XxHash64, "8cb841db40e6ae83"),
        ];
        for (algorithm, want) in known {
            assert_eq!(drystone_base::hex(&value(algorithm, b"123456789")), want);
        }
        // The reference implementation's values for no bytes at all.
        let of_nothing = [
            (ChecksumAlgorithm::XxHash64, "ef46db3751d8e999"),
            (ChecksumAlgorithm::XxHash3, "2d06800538d394c2"),
            (ChecksumAlgorithm::XxHash128, "99aa06d3014798d86001c324468d497f"),
        ];
        for (algorithm, want) in of_nothing {
            assert_eq!(drystone_base::hex(&value(algorithm, b"")), want);
        }
        for algorithm in ChecksumAlgorithm::ALL {
            assert_eq!(value(algorithm, b"123456789").len(), algorithm.len_bytes());
        }
        let (md5, _) = Digests::new(ChecksumAlgorithm::Crc32).finish();
        assert_eq!(drystone_base::hex(&md5), "d41d8cd98f00b204e9800998ecf8427e");
    }
}
