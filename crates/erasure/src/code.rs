//! A code: so many data cells, so many parity cells.

use crate::kernel::Kernel;
use crate::matrix::Matrix;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Shards of a stripe at most, data and parity together.
pub const SHARD_COUNT_MAX: usize = 32;
/// Inverse matrices kept at most.
const CACHED_COUNT_MAX: usize = 256;

/// What a code cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// There is no such code.
    #[error(
        "there is no code of {data} data and {parity} parity shards: at least 1 + 0, at most 32 together"
    )]
    Shape {
        /// Data cells.
        data: usize,
        /// Parity cells.
        parity: usize,
    },
    /// Too many shards are missing.
    #[error("{present} shards are left of a stripe that needs {needed}")]
    TooFew {
        /// Shards that are there.
        present: usize,
        /// Shards that are needed.
        needed: usize,
    },
}

/// Which shards are there, which are wanted: one bit for each.
type LossPattern = (u32, u32);

/// A systematic code. Shards `0..k` are the data cells, the others parity.
#[derive(Debug)]
pub struct Code {
    data: usize,
    parity: usize,
    rows: Matrix,
    kernel: Kernel,
    recoveries: Mutex<HashMap<LossPattern, Arc<Matrix>>>,
}

impl Code {
    /// The code of so many data and parity shards, with the fastest kernel of this machine.
    ///
    /// # Errors
    ///
    /// [`CodeError::Shape`].
    pub fn new(data: usize, parity: usize) -> Result<Self, CodeError> {
        Self::with_kernel(data, parity, Kernel::best())
    }

    /// As [`Code::new`], with a kernel chosen by the caller.
    ///
    /// # Errors
    ///
    /// [`CodeError::Shape`].
    pub fn with_kernel(data: usize, parity: usize, kernel: Kernel) -> Result<Self, CodeError> {
        if data == 0 || data + parity > SHARD_COUNT_MAX {
            return Err(CodeError::Shape { data, parity });
        }
        let rows = Matrix::parity(data, parity);
        Ok(Self { data, parity, rows, kernel, recoveries: Mutex::default() })
    }

    /// Data shards.
    #[must_use]
    pub fn data_count(&self) -> usize {
        self.data
    }

    /// Parity shards.
    #[must_use]
    pub fn parity_count(&self) -> usize {
        self.parity
    }

    /// The factors of one parity shard.
    ///
    /// # Panics
    ///
    /// If there is no such parity shard.
    #[must_use]
    pub fn parity_row(&self, parity: usize) -> &[u8] {
        self.rows.row(parity)
    }

    /// Adds data cell `member` to parity cells that began as zeros. A cell that is shorter than the
    /// parity counts as filled up with zeros.
    ///
    /// # Panics
    ///
    /// If a parity cell is shorter than the data cell, or there are not as many as the code has.
    pub fn add(&self, member: usize, cell: &[u8], parity: &mut [&mut [u8]]) {
        assert_eq!(parity.len(), self.parity, "one buffer for each parity shard");
        let factors: Vec<u8> = (0..self.parity).map(|row| self.rows.row(row)[member]).collect();
        let mut targets: Vec<&mut [u8]> =
            parity.iter_mut().map(|target| &mut target[..cell.len()]).collect();
        self.kernel.multiply_add(&factors, &[cell], &mut targets);
    }

    /// Computes all parity cells of a whole stripe; what they held before is lost.
    ///
    /// # Panics
    ///
    /// If there are not as many cells as the code has, or they are not all of one length.
    pub fn encode(&self, cells: &[&[u8]], parity: &mut [&mut [u8]]) {
        assert_eq!((cells.len(), parity.len()), (self.data, self.parity), "as the code has");
        parity.iter_mut().for_each(|target| target.fill(0));
        let factors: Vec<u8> =
            (0..self.parity).flat_map(|row| self.rows.row(row).iter().copied()).collect();
        self.kernel.multiply_add(&factors, cells, parity);
    }

    /// Gives the bytes of shard `wanted` from those of others: the same range of each. A shard that is
    /// shorter than `len` counts as filled up with zeros; what one has beyond it is not looked at.
    ///
    /// # Errors
    ///
    /// [`CodeError::TooFew`].
    ///
    /// # Panics
    ///
    /// If there are not as many shards as the code has.
    pub fn recover(
        &self,
        shards: &[Option<&[u8]>],
        wanted: usize,
        len: usize,
    ) -> Result<Vec<u8>, CodeError> {
        assert_eq!(shards.len(), self.data + self.parity, "as the code has");
        let there = (0..shards.len()).filter(|at| *at != wanted && shards[*at].is_some());
        let members: Vec<usize> = there.take(self.data).collect();
        if members.len() < self.data {
            return Err(CodeError::TooFew { present: members.len(), needed: self.data });
        }
        let rows = self.recovery(&members, wanted);
        let mut out = vec![0; len];
        let there = members.iter().map(|member| shards[*member].expect("it is there"));
        let sources: Vec<&[u8]> = there.map(|shard| &shard[..shard.len().min(len)]).collect();
        let factors = rows.row(0);
        if sources.iter().all(|source| source.len() == len) {
            self.kernel.multiply_add(factors, &sources, &mut [&mut out]);
        } else {
            for (factor, source) in factors.iter().zip(sources) {
                let target = &mut out[..source.len()];
                self.kernel.multiply_add(&[*factor], &[source], &mut [target]);
            }
        }
        Ok(out)
    }

    /// The row that gives a shard from `k` others.
    fn recovery(&self, members: &[usize], wanted: usize) -> Arc<Matrix> {
        let mask = members.iter().fold(0_u32, |mask, member| mask | 1 << member);
        let pattern = (mask, 1 << wanted);
        let lock = || self.recoveries.lock().expect("no thread panicked while it held this lock");
        if let Some(found) = lock().get(&pattern) {
            return found.clone();
        }
        let inverse = self.rows.generator(members).inverse();
        let rows = Arc::new(self.rows.generator(&[wanted]).times(&inverse));
        let mut cached = lock();
        if cached.len() >= CACHED_COUNT_MAX {
            cached.clear();
        }
        cached.insert(pattern, rows.clone());
        rows
    }
}
