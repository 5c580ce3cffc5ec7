//! Checksums that clients see.

use drystone_base::DecodeError;

/// Algorithms of `x-amz-checksum-*` (S3 user guide, "Checking object integrity").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChecksumAlgorithm {
    /// CRC-32/ISO-HDLC, 4 bytes.
    Crc32,
    /// CRC-32/ISCSI, 4 bytes.
    Crc32c,
    /// CRC-64/NVME, 8 bytes.
    Crc64Nvme,
    /// SHA-1, 20 bytes.
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-512, 64 bytes.
    Sha512,
    /// MD5, 16 bytes.
    Md5,
    /// XXH64 without a seed, 8 bytes in its canonical order.
    XxHash64,
    /// XXH3 of 64 bits without a seed, 8 bytes in its canonical order.
    XxHash3,
    /// XXH3 of 128 bits without a seed, 16 bytes in its canonical order.
    XxHash128,
}

impl ChecksumAlgorithm {
    /// All algorithms; the place of each is its number in rows.
    pub const ALL: [Self; 10] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64Nvme,
        Self::Sha1,
        Self::Sha256,
        Self::Sha512,
        Self::Md5,
        Self::XxHash64,
        Self::XxHash3,
        Self::XxHash128,
    ];

    /// Bytes of a value.
    #[must_use]
    pub fn len_bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme | Self::XxHash64 | Self::XxHash3 => 8,
            Self::Md5 | Self::XxHash128 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// S3's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
            Self::Md5 => "MD5",
            Self::XxHash64 => "XXHASH64",
            Self::XxHash3 => "XXHASH3",
            Self::XxHash128 => "XXHASH128",
        }
    }

    /// The algorithm of this name, in any case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// Whether values of parts can be combined into that of the whole.
    #[must_use]
    pub fn is_crc(self) -> bool {
        matches!(self, Self::Crc32 | Self::Crc32c | Self::Crc64Nvme)
    }
}

/// What a checksum is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumKind {
    /// The bytes of the object.
    FullObject,
    /// The checksums of its parts.
    Composite,
}

impl ChecksumKind {
    /// S3's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::FullObject, Self::Composite].into_iter().find(|kind| kind.name() == name)
    }
}

/// A checksum of an object or a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// Algorithm.
    pub algorithm: ChecksumAlgorithm,
    /// What it is over.
    pub kind: ChecksumKind,
    /// Value, of the algorithm's length unless it is sealed.
    pub value: Vec<u8>,
    /// Whether the value is sealed: as it is stored, of an object whose digests must not be.
    pub is_sealed: bool,
}

const SEALED: u8 = 0x80;

impl Checksum {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mark = if self.is_sealed { SEALED } else { 0 };
        let mut bytes = vec![self.algorithm as u8, self.kind as u8 | mark];
        bytes.extend_from_slice(&self.value);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let malformed = DecodeError { what: "checksum" };
        let (head, value) = bytes.split_at_checked(2).ok_or(malformed.clone())?;
        let is_sealed = head[1] & SEALED != 0;
        let fits = |a: &ChecksumAlgorithm| is_sealed || a.len_bytes() == value.len();
        let algorithm = ChecksumAlgorithm::ALL.get(usize::from(head[0])).copied();
        let algorithm = algorithm.filter(fits).ok_or(malformed.clone())?;
        let kind = match head[1] & !SEALED {
            0 => ChecksumKind::FullObject,
            1 => ChecksumKind::Composite,
            _ => return Err(malformed),
        };
        Ok(Self { algorithm, kind, value: value.to_vec(), is_sealed })
    }
}
