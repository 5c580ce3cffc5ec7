//! The kernel that every machine has, and that does what the others leave at the end of a buffer.

use crate::field::NIBBLES;

/// Works on the bytes from `start` on.
pub(super) fn multiply_add(
    factors: &[u8],
    sources: &[&[u8]],
    targets: &mut [&mut [u8]],
    start: usize,
) {
    for (target, row) in targets.iter_mut().zip(factors.chunks(sources.len())) {
        for (source, factor) in sources.iter().zip(row) {
            let (low, high) = NIBBLES[*factor as usize].0.split_at(16);
            for (out, byte) in target[start..].iter_mut().zip(&source[start..]) {
                *out ^= low[(byte & 15) as usize] ^ high[(byte >> 4) as usize];
            }
        }
    }
}
