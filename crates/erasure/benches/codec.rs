//! Speed of the code, for each kernel that this machine has: `cargo bench -p drystone-erasure`.
//!
//! Cells are 1 MiB as in the server. Rates count bytes of data: encoding all parity of a stripe, parity
//! cell by cell as it arrives, and recovering lost data cells (the rate counts the data of the stripe).

#![allow(clippy::print_stdout, missing_docs)]

use drystone_erasure::{Code, Kernel};
use std::hint::black_box;
use std::time::Instant;

const CELL_LEN: usize = 1 << 20;
const SHAPES: &[(usize, usize)] = &[(2, 2), (4, 2), (6, 3), (8, 4), (9, 6)];

/// Bytes per second of the best of five runs.
fn rate(bytes: usize, mut work: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        let mut rounds = 0;
        while rounds < 3 || start.elapsed().as_millis() < 100 {
            work();
            rounds += 1;
        }
        best = best.min(start.elapsed().as_secs_f64() / f64::from(rounds));
    }
    bytes as f64 / best / 1e9
}

fn main() {
    println!("GB of data per second, one core, cells of 1 MiB");
    println!(
        "| kernel | code | encode | encode by cell | decode one loss | two losses | as many as may be |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for kernel in Kernel::available() {
        for (data, parity) in SHAPES {
            let code = Code::with_kernel(*data, *parity, kernel).expect("a code");
            let cells: Vec<Vec<u8>> = (0..*data)
                .map(|n| (0..CELL_LEN).map(|at| (at * 31 + n * 7 + at / 251) as u8).collect())
                .collect();
            let cells: Vec<&[u8]> = cells.iter().map(Vec::as_slice).collect();
            let mut made = vec![vec![0; CELL_LEN]; *parity];
            let bytes = data * CELL_LEN;
            let encode = rate(bytes, || {
                let mut parity: Vec<&mut [u8]> = made.iter_mut().map(Vec::as_mut_slice).collect();
                code.encode(black_box(&cells), &mut parity);
            });
            let mut built = vec![vec![0; CELL_LEN]; *parity];
            let by_cell = rate(bytes, || {
                let mut parity: Vec<&mut [u8]> = built.iter_mut().map(Vec::as_mut_slice).collect();
                for (member, cell) in cells.iter().enumerate() {
                    code.add(member, black_box(cell), &mut parity);
                }
            });
            let decode = |losses: usize| {
                let mut shards: Vec<Option<&[u8]>> = cells.iter().copied().map(Some).collect();
                shards.extend(made.iter().map(|cell| Some(cell.as_slice())));
                (0..losses).for_each(|lost| shards[lost] = None);
                rate(bytes, || {
                    for lost in 0..losses {
                        black_box(code.recover(&shards, lost, CELL_LEN).expect("recoverable"));
                    }
                })
            };
            let (one, two, most) = (decode(1), decode(2), decode(*parity));
            println!(
                "| {kernel:?} | {data}+{parity} | {encode:.1} | {by_cell:.1} | {one:.1} | {two:.1} | \
                 {most:.1} |"
            );
        }
    }
}
