//! The kernel for AArch64, where every machine has it.
#![allow(unsafe_code, reason = "loads and stores of raw pointers")]

use crate::field::NIBBLES;
use std::arch::aarch64::{
    uint8x16_t, vandq_u8, vdupq_n_u8, veorq_u8, vld1q_u8, vqtbl1q_u8, vshrq_n_u8, vst1q_u8,
};

/// Works on whole vectors of up to four targets; returns how many bytes that were.
pub(super) fn multiply_add(factors: &[u8], sources: &[&[u8]], targets: &mut [&mut [u8]]) -> usize {
    let len = sources[0].len() / 16 * 16;
    for (target, row) in targets.iter_mut().zip(factors.chunks(sources.len())) {
        let tables: Vec<[uint8x16_t; 2]> = row
            .iter()
            .map(|factor| {
                let table = NIBBLES[*factor as usize].0.as_ptr();
                // SAFETY: a table has 32 bytes.
                unsafe { [vld1q_u8(table), vld1q_u8(table.add(16))] }
            })
            .collect();
        for at in (0..len).step_by(16) {
            // SAFETY: `at + 16` is within all buffers, which have one length.
            unsafe {
                let mut sum = vld1q_u8(target.as_ptr().add(at));
                for (source, [of_low, of_high]) in sources.iter().zip(&tables) {
                    let bytes = vld1q_u8(source.as_ptr().add(at));
                    let low = vqtbl1q_u8(*of_low, vandq_u8(bytes, vdupq_n_u8(15)));
                    let high = vqtbl1q_u8(*of_high, vshrq_n_u8::<4>(bytes));
                    sum = veorq_u8(sum, veorq_u8(low, high));
                }
                vst1q_u8(target.as_mut_ptr().add(at), sum);
            }
        }
    }
    len
}
