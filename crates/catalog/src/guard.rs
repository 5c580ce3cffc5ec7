//! Whether rows are what this deployment wrote: the one place where values get a seal on their way into a
//! frame, and where seals are looked at when rows are read.
//!
//! # Invariants
//!
//! - Index, frames and exports hold stored values: value, then seal. Who reads or writes rows sees
//!   values.
//! - Once everything is sealed, a row without a seal is an error, as is one with the seal of another row.

use crate::error::CatalogError;
use crate::key::{Family, Key};
use bytes::Bytes;
use drystone_keyring::{ROW_SEAL_LEN_BYTES, RowKeys, SealVerdict, key_of_seal};
use drystone_log::Location;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Format of what follows a value.
const FORMAT: u8 = 1;
/// Bytes behind a value: seal, coverage, format.
const TRAILER_LEN: usize = ROW_SEAL_LEN_BYTES + 2;

/// How rows are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowProtection {
    /// Not at all: for simulations, which have no keyring, and for tools that look at stored values.
    None,
    /// By seals. Rows that have one can be neither read nor written before [`crate::Catalog::unlock`].
    Sealed,
}

/// Ids of root keys of keyrings.
pub type KeyIds = Vec<[u8; 8]>;

/// What opens rows.
pub enum RowAccess {
    /// The keyring is there.
    Keys {
        /// Keys of this deployment.
        keys: RowKeys,
        /// Root keys that were in use and are lost; what is sealed under them is taken as it is, until all
        /// rows are sealed again.
        lost: KeyIds,
        /// Every row has a seal: one without is an error.
        is_complete: bool,
    },
    /// There is no keyring: rows are read without looking at their seals, and not written. For tools.
    Unverified {
        /// Root keys that are in use, by which seals are known.
        known: KeyIds,
    },
}

/// See the module's documentation.
pub(crate) struct RowGuard {
    protection: RowProtection,
    access: OnceLock<RowAccess>,
    is_complete: AtomicBool,
}

/// Whether rows of a key have seals. What has none: state that is of use to no one but the catalog itself,
/// groups and drives (which are needed to find the keyring, and where each shard is checked against its
/// id), owners of shared bytes and what is to be swept or repaired (all of which can at most delete or keep
/// bytes, as anyone who writes the drive can anyway), and usage, which is counted again.
pub(crate) fn is_sealed(key: &[u8]) -> bool {
    match Family::of(key) {
        Some(
            Family::BucketName
            | Family::Bucket
            | Family::Document
            | Family::AccountBucket
            | Family::Head
            | Family::Version
            | Family::Inline
            | Family::Upload
            | Family::Part
            | Family::Manifest
            | Family::Identity
            | Family::Kms
            | Family::AccessLog,
        ) => true,
        Some(Family::State) => key.starts_with(Key::LOCK_CLOCK),
        Some(
            Family::BlobRef
            | Family::Sweep
            | Family::Repair
            | Family::Usage
            | Family::Group
            | Family::Drive,
        )
        | None => false,
    }
}

/// Families that have rows with seals, for walks over them.
pub(crate) const SEALED_FAMILIES: [Family; 14] = [
    Family::State,
    Family::BucketName,
    Family::Bucket,
    Family::Document,
    Family::AccountBucket,
    Family::Head,
    Family::Version,
    Family::Inline,
    Family::Upload,
    Family::Part,
    Family::Manifest,
    Family::Identity,
    Family::Kms,
    Family::AccessLog,
];

/// A stored value, taken apart.
struct Parts<'a> {
    value_len: usize,
    /// What is covered of the value: all but a location at its end that is filled in where a frame is
    /// applied.
    covered: &'a [u8],
    coverage: u8,
    seal: &'a [u8],
}

impl<'a> Parts<'a> {
    /// `None` if this has no seal.
    fn of(stored: &'a [u8]) -> Option<Self> {
        let (value, trailer) = stored.split_at_checked(stored.len().checked_sub(TRAILER_LEN)?)?;
        let (seal, rest) = trailer.split_at(ROW_SEAL_LEN_BYTES);
        let coverage = rest[0];
        let is_known =
            rest[1] == FORMAT && (coverage == 0 || usize::from(coverage) == Location::LEN_BYTES);
        let covered = value.get(..value.len().checked_sub(coverage.into())?)?;
        is_known.then_some(Self { value_len: value.len(), covered, coverage, seal })
    }
}

impl RowGuard {
    pub(crate) fn new(protection: RowProtection) -> Self {
        Self { protection, access: OnceLock::new(), is_complete: AtomicBool::new(false) }
    }

    /// Lets rows be read and written; once.
    pub(crate) fn unlock(&self, access: RowAccess) {
        let is_complete = matches!(&access, RowAccess::Keys { is_complete: true, .. });
        // A second one would be that of the same process.
        if self.access.set(access).is_ok() {
            self.is_complete.store(is_complete, Ordering::Release);
        }
    }

    /// From now on a row without a seal is an error.
    pub(crate) fn require_seals(&self) {
        self.is_complete.store(true, Ordering::Release);
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Acquire)
    }

    /// The keys to seal a row with; `None` if it has no seal.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Locked`].
    fn keys_for(&self, key: &[u8]) -> Result<Option<&RowKeys>, CatalogError> {
        if self.protection == RowProtection::None || !is_sealed(key) {
            return Ok(None);
        }
        match self.access.get() {
            Some(RowAccess::Keys { keys, .. }) => Ok(Some(keys)),
            Some(RowAccess::Unverified { .. }) | None => Err(CatalogError::Locked),
        }
    }

    /// Whether a row can be written.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Locked`].
    pub(crate) fn may_write(&self, key: &[u8]) -> Result<(), CatalogError> {
        self.keys_for(key).map(drop)
    }

    /// A value as it is stored. `has_hint`: a location is filled in at its end.
    pub(crate) fn stored(&self, key: &[u8], value: &Bytes, has_hint: bool) -> Bytes {
        // Who may not write was refused when the plan was decided on.
        let Ok(Some(keys)) = self.keys_for(key) else { return value.clone() };
        let coverage = if has_hint { Location::LEN_BYTES } else { 0 };
        let covered = &value[..value.len() - coverage];
        let mut stored = Vec::with_capacity(value.len() + TRAILER_LEN);
        stored.extend_from_slice(value);
        stored.extend_from_slice(&keys.seal(key, coverage as u8, covered));
        stored.extend_from_slice(&[coverage as u8, FORMAT]);
        stored.into()
    }

    /// A stored value that this process sealed itself, without its seal.
    pub(crate) fn without_seal(&self, key: &[u8], stored: &Bytes) -> Bytes {
        match self.keys_for(key) {
            Ok(Some(_)) => stored.slice(..stored.len().saturating_sub(TRAILER_LEN)),
            _ => stored.clone(),
        }
    }

    /// The value of a row, after looking at its seal.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Forged`], [`CatalogError::Locked`].
    pub(crate) fn value(&self, key: &[u8], stored: Bytes) -> Result<Bytes, CatalogError> {
        if self.protection == RowProtection::None || !is_sealed(key) {
            return Ok(stored);
        }
        let access = self.access.get().ok_or(CatalogError::Locked)?;
        let parts = Parts::of(&stored);
        let is_genuine = match (access, &parts) {
            (RowAccess::Keys { keys, lost, .. }, Some(parts)) => {
                match keys.check(key, parts.coverage, parts.covered, parts.seal) {
                    SealVerdict::Holds => true,
                    // No row of earlier binaries ends like this by accident.
                    SealVerdict::Broken => return Err(CatalogError::Forged { key: key.to_vec() }),
                    SealVerdict::UnknownKey => !self.is_complete() && has_key(parts.seal, lost),
                }
            }
            (RowAccess::Unverified { known }, Some(parts)) => has_key(parts.seal, known),
            (_, None) => false,
        };
        match parts {
            Some(parts) if is_genuine => Ok(stored.slice(..parts.value_len)),
            _ if self.is_complete() => Err(CatalogError::Forged { key: key.to_vec() }),
            // Written before rows had seals.
            _ => Ok(stored),
        }
    }

    /// As [`RowGuard::value`], where rows without a seal are as good as others.
    pub(crate) fn once_stored(&self, key: &[u8], stored: &Bytes) -> Bytes {
        let is_ours = |parts: &Parts<'_>| match self.access.get() {
            Some(RowAccess::Keys { keys, lost, .. }) => {
                let verdict = keys.check(key, parts.coverage, parts.covered, parts.seal);
                verdict == SealVerdict::Holds || has_key(parts.seal, lost)
            }
            Some(RowAccess::Unverified { known }) => has_key(parts.seal, known),
            None => false,
        };
        let may_have = self.protection == RowProtection::Sealed && is_sealed(key);
        match Parts::of(stored).filter(|parts| may_have && is_ours(parts)) {
            Some(parts) => stored.slice(..parts.value_len),
            None => stored.clone(),
        }
    }

    /// Whether a stored value has a seal of its row under the newest key.
    pub(crate) fn is_sealed_now(&self, key: &[u8], stored: &[u8]) -> bool {
        let Some(RowAccess::Keys { keys, .. }) = self.access.get() else { return false };
        holds_under(keys, key, stored)
    }
}

/// Whether a stored value has a seal of its row under one of these keys.
pub(crate) fn holds_under(keys: &RowKeys, key: &[u8], stored: &[u8]) -> bool {
    Parts::of(stored).is_some_and(|parts| {
        keys.check(key, parts.coverage, parts.covered, parts.seal) == SealVerdict::Holds
    })
}

fn has_key(seal: &[u8], ids: &KeyIds) -> bool {
    key_of_seal(seal).is_some_and(|id| ids.iter().any(|known| known == id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use drystone_base::{BucketId, SeededRng};
    use drystone_keyring::Keyring;
    use proptest::prelude::*;

    fn guard(is_complete: bool) -> RowGuard {
        let keys = Keyring::generate(&SeededRng::new(1), "").row_keys(&[7; 16]);
        let guard = RowGuard::new(RowProtection::Sealed);
        guard.unlock(RowAccess::Keys { keys, lost: Vec::new(), is_complete });
        guard
    }

    fn is_forged(read: Result<Bytes, CatalogError>) -> bool {
        matches!(read, Err(CatalogError::Forged { .. }))
    }

    proptest! {
        /// Goal: a stored value reads back, wherever its bytes lie; nothing else under any key does.
        /// Method: random keys and values, one byte changed, the seal cut off, the row under another key.
        #[test]
        fn what_was_stored_reads_back_and_nothing_else_does(
            a in prop::collection::vec(any::<u8>(), 0..20), b in prop::collection::vec(any::<u8>(), 0..20),
            value in prop::collection::vec(any::<u8>(), 16..80), has_hint: bool, at in any::<usize>(),
        ) {
            let guard = guard(true);
            let (a, b) = (Key::head(BucketId(1), &a), Key::head(BucketId(1), &b));
            let value = Bytes::from(value);
            let stored = guard.stored(&a, &value, has_hint);
            prop_assert_eq!(&guard.value(&a, stored.clone()).expect("genuine"), &value);
            prop_assert_eq!(&guard.without_seal(&a, &stored), &value);
            prop_assert!(a == b || is_forged(guard.value(&b, stored.clone())));
            prop_assert!(is_forged(guard.value(&a, value.clone())));
            let mut changed = stored.to_vec();
            let at = at % changed.len();
            changed[at] ^= 1;
            // Only a location at the end may be another one.
            let is_location = has_hint && (value.len() - 16..value.len()).contains(&at);
            let read = guard.value(&a, changed.into());
            prop_assert_eq!(is_forged(read), !is_location);
        }

        /// Goal: until everything is sealed, rows without a seal are read as they are. Method: any bytes.
        #[test]
        fn rows_without_a_seal_are_read_until_all_have_one(
            value in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let (guard, key, value) = (guard(false), Key::bucket(BucketId(1)), Bytes::from(value));
            prop_assert_eq!(&guard.value(&key, value.clone()).expect("read"), &value);
            let stored = guard.stored(&key, &value, false);
            prop_assert_eq!(&guard.value(&key, stored).expect("read"), &value);
        }
    }

    #[test]
    fn without_a_keyring_rows_with_seals_are_locked_and_others_are_not() {
        let guard = RowGuard::new(RowProtection::Sealed);
        let value = Bytes::from_static(b"value");
        let read = guard.value(&Key::bucket(BucketId(1)), value.clone());
        assert!(matches!(read, Err(CatalogError::Locked)));
        assert!(matches!(guard.may_write(&Key::bucket(BucketId(1))), Err(CatalogError::Locked)));
        assert!(
            guard.value(Key::CLOCK, value.clone()).is_ok() && guard.may_write(Key::CLOCK).is_ok()
        );
        assert!(
            guard.may_write(&Key::group(3)).is_ok() && guard.may_write(Key::LOCK_CLOCK).is_err()
        );
    }
}
