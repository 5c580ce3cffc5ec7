//! The coding matrix, and inverses of its parts.

use crate::field::{invert, multiply};

/// Rows of elements, all of one length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Matrix {
    columns: usize,
    elements: Vec<u8>,
}

impl Matrix {
    fn zero(rows: usize, columns: usize) -> Self {
        Self { columns, elements: vec![0; rows * columns] }
    }

    /// The rows that make parity of data: a Cauchy matrix, `1 / (x_row + y_column)` with
    /// `x_row = k + row` and `y_column = column`, whose columns are then divided by the element of the
    /// first row, and whose rows by that of the first column. Every square part of it can be inverted;
    /// the first parity is the plain sum.
    pub(crate) fn parity(data: usize, parity: usize) -> Self {
        let mut matrix = Self::zero(parity, data);
        for row in 0..parity {
            for column in 0..data {
                matrix.elements[row * data + column] = invert((data + row) as u8 ^ column as u8);
            }
        }
        if parity == 0 {
            return matrix;
        }
        for column in 0..data {
            let first = invert(matrix.elements[column]);
            (0..parity).for_each(|row| matrix.scale(row, column, first));
        }
        for row in 1..parity {
            let first = invert(matrix.elements[row * data]);
            (0..data).for_each(|column| matrix.scale(row, column, first));
        }
        matrix
    }

    fn scale(&mut self, row: usize, column: usize, by: u8) {
        let element = &mut self.elements[row * self.columns + column];
        *element = multiply(*element, by);
    }

    pub(crate) fn row(&self, row: usize) -> &[u8] {
        &self.elements[row * self.columns..][..self.columns]
    }

    /// The rows of a code that give the shards `members`, data first.
    pub(crate) fn generator(&self, members: &[usize]) -> Self {
        let data = self.columns;
        let mut matrix = Self::zero(members.len(), data);
        for (row, member) in members.iter().enumerate() {
            let target = &mut matrix.elements[row * data..][..data];
            match member.checked_sub(data) {
                None => target[*member] = 1,
                Some(parity) => target.copy_from_slice(self.row(parity)),
            }
        }
        matrix
    }

    pub(crate) fn times(&self, other: &Self) -> Self {
        let rows = self.elements.len() / self.columns;
        let mut result = Self::zero(rows, other.columns);
        for row in 0..rows {
            for (inner, factor) in self.row(row).iter().enumerate() {
                for (column, element) in other.row(inner).iter().enumerate() {
                    result.elements[row * other.columns + column] ^= multiply(*factor, *element);
                }
            }
        }
        result
    }

    /// By Gauss and Jordan. Only called for parts that have an inverse.
    pub(crate) fn inverse(&self) -> Self {
        let size = self.columns;
        let mut work = self.clone();
        let mut result = Self::zero(size, size);
        (0..size).for_each(|at| result.elements[at * size + at] = 1);
        for pivot in 0..size {
            let found = (pivot..size).find(|row| work.elements[row * size + pivot] != 0);
            let found = found.expect("every square part of a coding matrix has an inverse");
            for matrix in [&mut work, &mut result] {
                (0..size).for_each(|c| matrix.elements.swap(pivot * size + c, found * size + c));
            }
            let by = invert(work.elements[pivot * size + pivot]);
            for matrix in [&mut work, &mut result] {
                (0..size).for_each(|column| matrix.scale(pivot, column, by));
            }
            for row in (0..size).filter(|row| *row != pivot) {
                let factor = work.elements[row * size + pivot];
                for matrix in [&mut work, &mut result] {
                    for column in 0..size {
                        let element = multiply(factor, matrix.elements[pivot * size + column]);
                        matrix.elements[row * size + column] ^= element;
                    }
                }
            }
        }
        result
    }
}
