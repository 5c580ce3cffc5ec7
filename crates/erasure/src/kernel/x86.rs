//! Kernels for x86-64.
#![allow(unsafe_code, reason = "instructions that not every machine has, on raw pointers")]

use crate::field::{BIT_MATRICES, NIBBLES};
use std::arch::x86_64::{
    __m256i, __m512i, _mm_load_si128, _mm256_and_si256, _mm256_broadcastsi128_si256,
    _mm256_loadu_si256, _mm256_set1_epi8, _mm256_shuffle_epi8, _mm256_srli_epi64,
    _mm256_storeu_si256, _mm256_xor_si256, _mm512_gf2p8affine_epi64_epi8, _mm512_loadu_si512,
    _mm512_set1_epi64, _mm512_storeu_si512, _mm512_xor_si512,
};

/// Bytes of the whole vectors at the start of the buffers, all of which have the same length.
fn whole(sources: &[&[u8]], vector_len: usize) -> usize {
    sources[0].len() / vector_len * vector_len
}

/// Works on whole vectors of up to four targets; returns how many bytes that were.
pub(super) fn avx2(factors: &[u8], sources: &[&[u8]], targets: &mut [&mut [u8]]) -> usize {
    // SAFETY: the kernel is only chosen where the machine has AVX2; buffers are of one length.
    unsafe {
        match targets {
            [a] => avx2_of(factors, sources, [a]),
            [a, b] => avx2_of(factors, sources, [a, b]),
            [a, b, c] => avx2_of(factors, sources, [a, b, c]),
            [a, b, c, d] => avx2_of(factors, sources, [a, b, c, d]),
            _ => return 0,
        }
    }
    whole(sources, 64)
}

/// # Safety
///
/// The machine has AVX2; all buffers have the length of the first source.
#[target_feature(enable = "avx2")]
unsafe fn avx2_of<const N: usize>(factors: &[u8], sources: &[&[u8]], targets: [&mut [u8]; N]) {
    let low_bits = _mm256_set1_epi8(15);
    for at in (0..whole(sources, 64)).step_by(64) {
        // SAFETY: `at + 64` is within all buffers.
        let load = |bytes: &[u8], at: usize| unsafe {
            _mm256_loadu_si256(bytes.as_ptr().add(at).cast::<__m256i>())
        };
        let mut sums: [[__m256i; 2]; N] =
            std::array::from_fn(|n| [load(targets[n], at), load(targets[n], at + 32)]);
        for (index, source) in sources.iter().enumerate() {
            let bytes = [load(source, at), load(source, at + 32)];
            let low = bytes.map(|b| _mm256_and_si256(b, low_bits));
            let high = bytes.map(|b| _mm256_and_si256(_mm256_srli_epi64::<4>(b), low_bits));
            for (n, sum) in sums.iter_mut().enumerate() {
                let table = &NIBBLES[factors[n * sources.len() + index] as usize].0;
                // SAFETY: a table has 32 bytes and begins at a multiple of 32.
                let (of_low, of_high) = unsafe {
                    let first = table.as_ptr().cast();
                    (_mm_load_si128(first), _mm_load_si128(first.add(1)))
                };
                let of_low = _mm256_broadcastsi128_si256(of_low);
                let of_high = _mm256_broadcastsi128_si256(of_high);
                for half in 0..2 {
                    let product = _mm256_xor_si256(
                        _mm256_shuffle_epi8(of_low, low[half]),
                        _mm256_shuffle_epi8(of_high, high[half]),
                    );
                    sum[half] = _mm256_xor_si256(sum[half], product);
                }
            }
        }
        for (n, [first, second]) in sums.into_iter().enumerate() {
            // SAFETY: `at + 64` is within the target, which is borrowed mutably.
            unsafe {
                let target = targets[n].as_mut_ptr().add(at).cast::<__m256i>();
                _mm256_storeu_si256(target, first);
                _mm256_storeu_si256(target.add(1), second);
            }
        }
    }
}

/// As [`avx2`], by GFNI on vectors of AVX-512.
pub(super) fn gfni(factors: &[u8], sources: &[&[u8]], targets: &mut [&mut [u8]]) -> usize {
    // SAFETY: the kernel is only chosen where the machine has these; buffers are of one length.
    unsafe {
        match targets {
            [a] => gfni_of(factors, sources, [a]),
            [a, b] => gfni_of(factors, sources, [a, b]),
            [a, b, c] => gfni_of(factors, sources, [a, b, c]),
            [a, b, c, d] => gfni_of(factors, sources, [a, b, c, d]),
            _ => return 0,
        }
    }
    whole(sources, 128)
}

/// # Safety
///
/// The machine has AVX-512 F and BW, and GFNI; all buffers have the length of the first source.
#[target_feature(enable = "avx512f,avx512bw,gfni")]
unsafe fn gfni_of<const N: usize>(factors: &[u8], sources: &[&[u8]], targets: [&mut [u8]; N]) {
    for at in (0..whole(sources, 128)).step_by(128) {
        // SAFETY: `at + 128` is within all buffers.
        let load = |bytes: &[u8], at: usize| unsafe {
            _mm512_loadu_si512(bytes.as_ptr().add(at).cast::<__m512i>())
        };
        let mut sums: [[__m512i; 2]; N] =
            std::array::from_fn(|n| [load(targets[n], at), load(targets[n], at + 64)]);
        for (index, source) in sources.iter().enumerate() {
            let bytes = [load(source, at), load(source, at + 64)];
            for (n, sum) in sums.iter_mut().enumerate() {
                let factor = factors[n * sources.len() + index];
                let matrix = _mm512_set1_epi64(BIT_MATRICES[factor as usize].cast_signed());
                for half in 0..2 {
                    let product = _mm512_gf2p8affine_epi64_epi8::<0>(bytes[half], matrix);
                    sum[half] = _mm512_xor_si512(sum[half], product);
                }
            }
        }
        for (n, [first, second]) in sums.into_iter().enumerate() {
            // SAFETY: `at + 128` is within the target, which is borrowed mutably.
            unsafe {
                let target = targets[n].as_mut_ptr().add(at).cast::<__m512i>();
                _mm512_storeu_si512(target, first);
                _mm512_storeu_si512(target.add(1), second);
            }
        }
    }
}
