//! Codes: every pattern of losses, all kernels alike, and the frozen matrix.

use drystone_base::{Rng, SeededRng, crc32c};
use drystone_erasure::{Code, CodeError, Kernel};
use proptest::prelude::*;

/// Shapes that the server uses.
const SHAPES: &[(usize, usize)] =
    &[(1, 0), (1, 1), (1, 2), (2, 2), (4, 2), (6, 3), (8, 4), (9, 6), (5, 4)];

fn cells(rng: &SeededRng, count: usize, len: usize) -> Vec<Vec<u8>> {
    let random = |_| {
        let mut cell = vec![0; len];
        rng.fill(&mut cell);
        cell
    };
    (0..count).map(random).collect()
}

fn encode(code: &Code, cells: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let data: Vec<&[u8]> = cells.iter().map(Vec::as_slice).collect();
    let mut parity = vec![vec![0xaa; cells[0].len()]; code.parity_count()];
    let mut targets: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    code.encode(&data, &mut targets);
    cells.iter().cloned().chain(parity).collect()
}

/// Loses the shards of `lost` and gets each of them back.
fn recovers(code: &Code, shards: &[Vec<u8>], lost: u32) {
    let is_lost = |at: usize| lost >> at & 1 == 1;
    let left: Vec<Option<&[u8]>> =
        shards.iter().enumerate().map(|(at, s)| (!is_lost(at)).then_some(s.as_slice())).collect();
    for at in (0..shards.len()).filter(|at| is_lost(*at)) {
        let found = code.recover(&left, at, shards[at].len()).expect("enough are left");
        assert_eq!(found, shards[at], "shard {at} of pattern {lost:b}");
    }
}

#[test]
fn every_loss_pattern_of_up_to_twelve_shards_is_recovered() {
    let rng = SeededRng::new(1);
    for data in 1..=12 {
        for parity in 0..=12 - data {
            let code = Code::new(data, parity).expect("a code");
            let shards = encode(&code, &cells(&rng, data, 24));
            for lost in 1_u32..1 << (data + parity) {
                if lost.count_ones() as usize <= parity {
                    recovers(&code, &shards, lost);
                }
            }
        }
    }
}

#[test]
fn more_losses_than_parity_are_an_error() {
    let code = Code::new(4, 2).expect("a code");
    let shards = encode(&code, &cells(&SeededRng::new(1), 4, 64));
    let left: Vec<Option<&[u8]>> =
        shards.iter().enumerate().map(|(at, s)| (at > 2).then_some(s.as_slice())).collect();
    let error = CodeError::TooFew { present: 3, needed: 4 };
    assert_eq!(code.recover(&left, 0, 64), Err(error));
    for (data, parity) in [(0, 1), (33, 0), (20, 13)] {
        assert_eq!(Code::new(data, parity).err(), Some(CodeError::Shape { data, parity }));
    }
}

#[test]
fn all_kernels_give_the_same_bytes() {
    let rng = SeededRng::new(3);
    let kernels = Kernel::available();
    assert_eq!(kernels[0], Kernel::Scalar);
    for (data, parity) in SHAPES {
        // Lengths around vectors and blocks.
        for len in [0, 1, 15, 31, 63, 64, 65, 127, 129, 4095, 4096, 4097, 10_001] {
            let cells = cells(&rng, *data, len);
            let of = |kernel| {
                let code = Code::with_kernel(*data, *parity, kernel).expect("a code");
                let shards = encode(&code, &cells);
                let lost = (1 << (*parity).min(*data)) - 1;
                recovers(&code, &shards, lost);
                shards
            };
            let expected = of(Kernel::Scalar);
            for kernel in &kernels[1..] {
                assert_eq!(of(*kernel), expected, "{kernel:?}, {data}+{parity}, {len} bytes");
            }
        }
    }
}

/// Parity of a fixed stripe, for each code of the server: a changed matrix would make stored bytes
/// unreadable.
#[test]
fn the_matrix_is_frozen() {
    let second_rows: &[(usize, usize, &[u8])] = &[
        (2, 2, &[1, 70]),
        (4, 2, &[1, 217, 92, 172]),
        (6, 3, &[1, 225, 151, 172, 82, 200]),
        (8, 4, &[1, 55, 39, 73, 84, 181, 225, 217]),
        (9, 6, &[1, 136, 161, 63, 125, 156, 92, 171, 211]),
        (5, 4, &[1, 156, 123, 166, 244]),
    ];
    for (data, parity, row) in second_rows {
        let code = Code::new(*data, *parity).expect("a code");
        assert!(code.parity_row(0).iter().all(|factor| *factor == 1), "the first is the plain sum");
        assert_eq!(code.parity_row(1), *row, "{data}+{parity}");
    }
    let sums: Vec<(usize, usize, u32)> = SHAPES
        .iter()
        .map(|(data, parity)| {
            let cell = |n: usize| (0..1000).map(|at| (at * 7 + n * 13 + at / 256) as u8).collect();
            let cells: Vec<Vec<u8>> = (0..*data).map(cell).collect();
            let code = Code::new(*data, *parity).expect("a code");
            (*data, *parity, crc32c(&encode(&code, &cells)[*data..].concat()))
        })
        .collect();
    // Computed apart from this crate, from the page of the format.
    let expected = [
        (1, 0, 0),
        (1, 1, 583_639_731),
        (1, 2, 2_214_117_475),
        (2, 2, 2_358_185_316),
        (4, 2, 68_762_393),
        (6, 3, 4_121_756_654),
        (8, 4, 2_120_622_190),
        (9, 6, 597_986_833),
        (5, 4, 2_192_025_354),
    ];
    assert_eq!(sums, expected);
}

proptest! {
    #[test]
    fn random_codes_of_up_to_thirty_two_shards(
        seed: u64, data in 1_usize..=24, parity in 1_usize..=8, len in 1_usize..300,
    ) {
        let rng = SeededRng::new(seed);
        let code = Code::new(data, parity).expect("a code");
        let shards = encode(&code, &cells(&rng, data, len));
        let mut lost = 0_u32;
        for _ in 0..parity {
            lost |= 1 << rng.below((data + parity) as u64);
        }
        recovers(&code, &shards, lost);
    }

    #[test]
    fn parity_built_cell_by_cell_is_the_same_and_short_cells_count_as_zeros(
        seed: u64, short in 0_usize..200, at in 0_usize..4,
    ) {
        let rng = SeededRng::new(seed);
        let code = Code::new(4, 2).expect("a code");
        let mut cells = cells(&rng, 4, 200);
        cells[at].truncate(short);
        let mut parity = vec![vec![0; 200]; 2];
        let order = [2, 0, 3, 1];
        for member in order {
            let mut targets: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
            code.add(member, &cells[member], &mut targets);
        }
        let mut whole = cells.clone();
        whole[at].resize(200, 0);
        let shards = encode(&code, &whole);
        prop_assert_eq!(&parity[..], &shards[4..]);
        let left: Vec<Option<&[u8]>> = cells.iter().map(Vec::as_slice).map(Some)
            .chain(parity.iter().map(|cell| Some(cell.as_slice()))).collect();
        for lost in 0..6 {
            let mut left = left.clone();
            left[lost] = None;
            left[(lost + 3) % 6] = None;
            prop_assert_eq!(&code.recover(&left, lost, 200).expect("four are left"), &shards[lost]);
        }
    }
}
