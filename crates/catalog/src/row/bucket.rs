//! Buckets.

use super::lock::BucketLock;
use super::{FORMAT, Unknown};
use drystone_base::{BucketId, DecodeError, TlvReader, TlvWriter};

/// Versioning state of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versioning {
    /// Never enabled.
    #[default]
    Off,
    /// Every write makes a version.
    Enabled,
    /// Writes replace the null version.
    Suspended,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketRow {
    /// Its id.
    pub id: BucketId,
    /// Its name.
    pub name: String,
    /// When it was created, in milliseconds since 1970.
    pub created_ms: u64,
    /// Versioning state.
    pub versioning: Versioning,
    /// Raised by each change of the bucket's configuration.
    pub epoch: u64,
    /// Tags.
    pub tags: Vec<(String, String)>,
    /// Id of the account that it belongs to; empty for the default account.
    pub owner: String,
    /// Whether it locks versions.
    pub lock: Option<BucketLock>,
    /// Whether objects can be appended to, while it keeps no versions.
    pub takes_appends: bool,
    /// Whether removing a version, and changing its versioning, needs a second factor.
    pub needs_mfa: bool,
    pub(crate) unknown: Unknown,
}

impl BucketRow {
    /// A new bucket.
    #[must_use]
    pub fn new(id: BucketId, name: String, created_ms: u64) -> Self {
        let (versioning, tags, unknown) = (Versioning::Off, Vec::new(), Vec::new());
        Self {
            id,
            name,
            created_ms,
            versioning,
            epoch: 1,
            tags,
            owner: String::new(),
            lock: None,
            takes_appends: false,
            needs_mfa: false,
            unknown,
        }
    }

    /// Stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = TlvWriter::new(FORMAT);
        w.int(1, self.id.0).bytes(2, self.name.as_bytes()).int(3, self.created_ms);
        w.int_unless_zero(4, self.versioning as u64).int(5, self.epoch);
        for (key, value) in &self.tags {
            w.bytes(6, key.as_bytes()).bytes(7, value.as_bytes());
        }
        if !self.owner.is_empty() {
            w.bytes(8, self.owner.as_bytes());
        }
        if let Some(lock) = &self.lock {
            w.bytes(9, &lock.encode());
        }
        w.int_unless_zero(10, self.takes_appends.into());
        w.int_unless_zero(11, self.needs_mfa.into());
        for (tag, value) in &self.unknown {
            w.bytes(*tag, value);
        }
        w.finish()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    ///
    /// Malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::read(bytes, true)
    }

    /// As [`BucketRow::decode`], without the tags, which may be most of a row.
    ///
    /// # Errors
    ///
    /// Malformed.
    pub fn decode_for_listing(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::read(bytes, false)
    }

    fn read(bytes: &[u8], with_tags: bool) -> Result<Self, DecodeError> {
        let mut r = TlvReader::new(bytes, FORMAT, "bucket row")?;
        let mut row = Self::new(BucketId(0), String::new(), 0);
        while let Some((tag, value)) = r.field()? {
            match tag {
                1 => row.id = BucketId(r.int(value)?),
                2 => row.name = r.text(value)?,
                3 => row.created_ms = r.int(value)?,
                4 => {
                    row.versioning = match r.int(value)? {
                        1 => Versioning::Enabled,
                        2 => Versioning::Suspended,
                        _ => return Err(r.malformed()),
                    }
                }
                5 => row.epoch = r.int(value)?,
                6 | 7 if !with_tags => {}
                6 => row.tags.push((r.text(value)?, String::new())),
                7 => row.tags.last_mut().ok_or(r.malformed())?.1 = r.text(value)?,
                8 => row.owner = r.text(value)?,
                9 => row.lock = Some(BucketLock::decode(value)?),
                10 => row.takes_appends = r.int(value)? == 1,
                11 => row.needs_mfa = r.int(value)? == 1,
                _ => row.unknown.push((tag, value.to_vec())),
            }
        }
        if row.name.is_empty() { Err(r.malformed()) } else { Ok(row) }
    }
}
