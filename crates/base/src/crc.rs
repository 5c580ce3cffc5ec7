//! Checksums of what is stored.

/// CRC32C (Castagnoli, RFC 3720 appendix B.4) of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// CRC32C of `bytes`, bound to the place where they are stored.
///
/// The same bytes under another seed do not verify, so that a stale record of a recycled segment
/// and a write that landed elsewhere are found out. The seed is mixed in behind the CRC, which keeps
/// every error that CRC32C detects.
#[must_use]
pub fn crc32c_seeded(bytes: &[u8], seed: u64) -> u32 {
    let mixed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    crc32c(bytes) ^ ((mixed >> 32) as u32)
}

/// A fast 64-bit hash (CRC-64/NVME): finds accidents, not attacks.
#[must_use]
pub fn hash64(bytes: &[u8]) -> u64 {
    crc_fast::crc64_nvme(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_has_the_published_check_value() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(hash64(b"123456789"), 0xAE8B_1486_0A79_9888);
    }

    #[test]
    fn another_seed_gives_another_checksum() {
        assert_ne!(crc32c_seeded(b"x", 1), crc32c_seeded(b"x", 2));
    }
}
