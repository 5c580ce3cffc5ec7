//! Systematic Reed–Solomon over GF(2^8): cells ⇄ parity.
//!
//! A stripe has `k` data cells and `m` parity cells; any `k` of the `k + m` give back the rest. Parity
//! can be built cell by cell as cells arrive ([`Code::add`]), and any range of bytes of a cell can be
//! recovered from the same range of others, since columns of bytes do not depend on each other.
//!
//! # Invariants
//!
//! - The matrix of a code never changes: it is a stored format (`docs/formats/erasure.md`), held by
//!   test vectors.
//! - All kernels give the same bytes.
//!
//! # Not here
//!
//! Whether bytes are right is not known here: checksums are verified before.
//!
//! Sources: J. Blömer et al., "An XOR-based erasure-resilient coding scheme" (Cauchy matrices), 1995;
//! J. S. Plank et al., "Screaming fast Galois field arithmetic using Intel SIMD instructions", FAST 2013.

mod code;
mod field;
mod kernel;
mod matrix;

pub use code::{Code, CodeError, SHARD_COUNT_MAX};
pub use kernel::Kernel;
