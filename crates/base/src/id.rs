//! Identifiers.

use crate::{Rng, hex, unhex};
use std::fmt;

/// Position of a change in the one order of all changes: 48 bits of milliseconds since 1970 and a
/// 16-bit counter. Given out at the commit, never going back, whatever clocks say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Seq(pub u64);

impl Seq {
    /// The smallest sequence number that is after `self` and not before `now_ms`.
    #[must_use]
    pub fn next(self, now_ms: u64) -> Seq {
        Seq((now_ms << 16).max(self.0 + 1))
    }
    /// Milliseconds part.
    #[must_use]
    pub fn millis(self) -> u64 {
        self.0 >> 16
    }
}

/// Number of a bucket; never used again after the bucket is deleted, so that a bucket of the same
/// name starts empty.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BucketId(pub u64);

/// Identity of the bytes of one part: time, placement group, the writer's epoch, and a counter.
///
/// Never reused. Layout, big-endian: 48 bits of milliseconds, 16 bits of group, 32 bits of the epoch
/// of the writing process, 32 bits of counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub [u8; 16]);

impl BlobId {
    /// Puts an id together.
    #[must_use]
    pub fn new(now_ms: u64, group: u16, epoch: u32, counter: u32) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&now_ms.to_be_bytes()[2..]);
        bytes[6..8].copy_from_slice(&group.to_be_bytes());
        bytes[8..12].copy_from_slice(&epoch.to_be_bytes());
        bytes[12..].copy_from_slice(&counter.to_be_bytes());
        Self(bytes)
    }
    /// When the blob was begun, in milliseconds since 1970.
    #[must_use]
    pub fn time_ms(self) -> u64 {
        self.0[..6].iter().fold(0, |ms, byte| ms << 8 | u64::from(*byte))
    }
    /// The placement group that holds the blob.
    #[must_use]
    pub fn group(self) -> u16 {
        u16::from_be_bytes([self.0[6], self.0[7]])
    }
    /// Epoch of the process that wrote the blob.
    #[must_use]
    pub fn epoch(self) -> u32 {
        u32::from_be_bytes([self.0[8], self.0[9], self.0[10], self.0[11]])
    }
    /// Reads an id from stored bytes; `None` unless there are sixteen.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex(&self.0))
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex(&self.0))
    }
}

/// Name of one version of a key: its place in the order of commits and 64 random bits.
///
/// The null version of S3 is not one of these; it is a flag of the record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VersionId {
    /// Place in the order of commits.
    pub seq: Seq,
    /// Random bits, so that an id cannot be guessed.
    pub random: u64,
}

impl VersionId {
    /// The text that clients see: 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_text(self) -> String {
        format!("{:016x}{:016x}", self.seq.0, self.random)
    }
    /// Reads the text form; `None` if it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let bytes: [u8; 16] = unhex(text)?.try_into().ok()?;
        let (seq, random) = bytes.split_at(8);
        let number = |half: &[u8]| half.try_into().ok().map(u64::from_be_bytes);
        Some(Self { seq: Seq(number(seq)?), random: number(random)? })
    }
}

/// Name of one multipart upload: time of initiation, then random bits, so that uploads of a key
/// sort by initiation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UploadId(pub [u8; 24]);

impl UploadId {
    /// A new id for an upload initiated at `seq`.
    #[must_use]
    pub fn new(seq: Seq, rng: &dyn Rng) -> Self {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&seq.0.to_be_bytes());
        rng.fill(&mut bytes[8..]);
        Self(bytes)
    }
    /// The text that clients see: 48 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_text(self) -> String {
        hex(&self.0)
    }
    /// Reads the text form; `None` if it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        unhex(text)?.try_into().ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seq_never_goes_back_with_the_clock() {
        let first = Seq::default().next(1000);
        let second = first.next(500);
        assert!(second > first);
        assert_eq!(second.millis(), 1000);
    }

    #[test]
    fn version_id_text_round_trips_and_is_strict() {
        let id = VersionId { seq: Seq(77), random: 0xABCD };
        assert_eq!(VersionId::parse(&id.to_text()), Some(id));
        assert_eq!(VersionId::parse("null"), None);
        assert_eq!(VersionId::parse(&id.to_text().to_uppercase()), None);
    }

    #[test]
    fn blob_id_carries_its_epoch() {
        assert_eq!(BlobId::new(5, 6, 7, 8).epoch(), 7);
    }
}
