//! How long sealed bytes are. Bytes of objects are sealed in frames, so that a range is opened without the
//! rest; a frame with its tag is as long as a checksummed frame of the log, and lies where that lies.

use crate::KIB;

/// Bytes of a sealed frame: what it holds, and its tag. The last frame may be shorter.
pub const SEALED_FRAME_LEN_BYTES: u64 = 64 * KIB;
/// Bytes of the tag of AES-256-GCM.
pub const SEAL_TAG_LEN_BYTES: u64 = 16;
/// Bytes that a whole frame holds.
pub const SEALED_PLAIN_LEN_BYTES: u64 = SEALED_FRAME_LEN_BYTES - SEAL_TAG_LEN_BYTES;

/// Bytes that `plain_len` bytes take when they are sealed.
#[must_use]
pub const fn sealed_len(plain_len: u64) -> u64 {
    plain_len + plain_len.div_ceil(SEALED_PLAIN_LEN_BYTES) * SEAL_TAG_LEN_BYTES
}
