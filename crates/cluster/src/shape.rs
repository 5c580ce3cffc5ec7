//! Codes by the number of drives.

use std::fmt;

/// How much a storage class asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// STANDARD, and every class that is not named otherwise.
    Standard,
    /// REDUCED_REDUNDANCY: one parity less, but never none where there are two drives.
    Reduced,
}

impl Protection {
    /// The storage class that asks for less.
    pub const REDUCED_CLASS: &str = "REDUCED_REDUNDANCY";

    /// What a storage class of S3 asks for.
    #[must_use]
    pub fn of_class(name: Option<&str>) -> Self {
        match name {
            Some(Self::REDUCED_CLASS) => Self::Reduced,
            _ => Self::Standard,
        }
    }
}

/// A code: so many data shards, so many parity shards. With one data shard, copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    /// Data shards of a whole stripe.
    pub data: u8,
    /// Parity shards: so many drives may be lost.
    pub parity: u8,
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.data {
            1 => write!(formatter, "{} copies", self.parity + 1),
            _ => write!(formatter, "{}+{}", self.data, self.parity),
        }
    }
}

impl Shape {
    /// A code.
    #[must_use]
    pub const fn new(data: u8, parity: u8) -> Self {
        Self { data, parity }
    }

    /// The code for so many drives in so many zones.
    #[must_use]
    pub fn for_drives(drives: usize, zones: usize, protection: Protection) -> Self {
        let standard = match (zones, drives) {
            (3, 15..) => Self::new(9, 6),
            (3, 9..) => Self::new(5, 4),
            (_, 0 | 1) => Self::new(1, 0),
            (_, 2) => Self::new(1, 1),
            (_, 3) => Self::new(1, 2),
            (_, 4 | 5) => Self::new(2, 2),
            (_, 6..=11) => Self::new(4, 2),
            (_, 12..) => Self::new(8, 4),
        };
        standard.with(protection)
    }

    /// The code for what asks for so much, where this is the standard one.
    #[must_use]
    pub fn with(self, protection: Protection) -> Self {
        match protection {
            Protection::Standard => self,
            Protection::Reduced if self.parity < 2 => self,
            Protection::Reduced => Self::new(self.data, self.parity - 1),
        }
    }

    /// The code of a part of so many bytes: fewer data shards where cells would be below
    /// `cell_len_min`.
    #[must_use]
    pub fn reduced_for(self, len_bytes: u64, cell_len_min: u64) -> Self {
        let data = len_bytes.div_ceil(cell_len_min).clamp(1, self.data.into());
        Self { data: data as u8, parity: self.parity }
    }

    /// Shards of a stripe.
    #[must_use]
    pub fn shard_count(self) -> usize {
        usize::from(self.data) + usize::from(self.parity)
    }

    /// Shards that must be durable before a write is acknowledged: one more than are needed to read,
    /// where there is parity.
    #[must_use]
    pub fn write_quorum(self) -> usize {
        usize::from(self.data) + usize::from(self.parity > 0)
    }

    /// Copies of what is too small to be coded.
    #[must_use]
    pub fn copies(self) -> usize {
        usize::from(self.parity) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_follow_the_number_of_drives() {
        let expected = [
            (1, 1, 0),
            (2, 1, 1),
            (3, 1, 2),
            (4, 2, 2),
            (5, 2, 2),
            (6, 4, 2),
            (11, 4, 2),
            (12, 8, 4),
            (100, 8, 4),
        ];
        for (drives, data, parity) in expected {
            let shape = Shape::for_drives(drives, 1, Protection::Standard);
            assert_eq!(shape, Shape::new(data, parity), "{drives} drives");
            let reduced = Shape::for_drives(drives, 1, Protection::Reduced);
            assert!(reduced.parity >= u8::from(drives > 1) && reduced.data == data);
        }
        assert_eq!(Shape::for_drives(9, 3, Protection::Standard), Shape::new(5, 4));
        assert_eq!(Shape::for_drives(15, 3, Protection::Standard), Shape::new(9, 6));
        assert_eq!(Shape::for_drives(6, 3, Protection::Standard), Shape::new(4, 2));
    }

    #[test]
    fn writes_need_one_shard_more_than_reads() {
        let quorums = [((1, 0), 1), ((1, 1), 2), ((1, 2), 2), ((2, 2), 3), ((4, 2), 5)];
        for ((data, parity), quorum) in quorums {
            assert_eq!(Shape::new(data, parity).write_quorum(), quorum);
        }
        let shape = Shape::new(4, 2);
        for (len, data) in [(1, 1), (131_072, 1), (131_073, 2), (400_000, 4), (1 << 30, 4)] {
            assert_eq!(shape.reduced_for(len, 131_072), Shape::new(data, 2), "{len} bytes");
        }
    }
}
