//! Whether objects are sealed under a named key: before it is given up.

use crate::engine::Engine;
use crate::error::EngineError;
use drystone_catalog::{Encryption, Family, ObjectRow, UploadRow};

/// Rows that are looked at: some seconds. Where there are more, it is not known.
const ROW_COUNT_MAX: usize = 1_000_000;

/// Whether a key is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyNeed {
    /// No version and no upload is sealed under it.
    None,
    /// At least one is.
    Needed,
    /// There are more rows than are looked at, and none of those that were is.
    NotKnown,
}

impl Engine {
    /// Whether a version of an object, or an upload, is sealed under a named key. Blocks; keeps nothing of
    /// the rows. What cannot be read counts as sealed under it.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn key_need(&self, id: &str) -> Result<KeyNeed, EngineError> {
        let (snapshot, mut count) = (self.catalog().snapshot(), 0);
        for family in [Family::Head, Family::Version, Family::Upload] {
            for row in snapshot.scan(family.range()) {
                count += 1;
                if count > ROW_COUNT_MAX {
                    return Ok(KeyNeed::NotKnown);
                }
                let (_, value) = row?;
                let of_upload = || UploadRow::decode(&value).map(|row| row.template.encryption);
                let encryption = match family {
                    Family::Upload => of_upload(),
                    _ => ObjectRow::decode(&value).map(|row| row.encryption),
                };
                let is_under = |encryption: Encryption| encryption.key_id == id;
                if encryption.map_or(true, |encryption| encryption.is_some_and(is_under)) {
                    return Ok(KeyNeed::Needed);
                }
            }
        }
        Ok(KeyNeed::None)
    }
}
