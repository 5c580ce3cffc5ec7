//! Asking for archived versions.

use super::rows::VersionRef;
use super::upload::change_version;
use crate::error::EngineError;
use drystone_base::BucketId;
use drystone_catalog::{ObjectRow, Restore, RestoreState, Tx};

const DAY_MS: u64 = 24 * 3600 * 1000;

/// What a request to restore did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreOutcome {
    /// The copy is on its way.
    Started,
    /// The copy was there, and stays for longer or less.
    Prolonged,
}

/// Whether versions of a storage class are archived: only a restored copy can be read.
#[must_use]
pub fn is_archive_class(storage_class: Option<&str>) -> bool {
    matches!(storage_class, Some("GLACIER" | "DEEP_ARCHIVE"))
}

/// Whether a version can be read at a time.
#[must_use]
pub fn is_readable(row: &ObjectRow, now_ms: u64) -> bool {
    !is_archive_class(row.storage_class.as_deref())
        || Restore::state(row.restore, now_ms) == RestoreState::Ready
}

/// Makes an archived version readable for some days, after a delay. The days end at midnight UTC (S3 API
/// reference, RestoreObject).
///
/// # Errors
///
/// What is named does not exist, [`EngineError::NotArchived`], [`EngineError::RestoreOngoing`], or the
/// catalog failed.
pub fn restore(
    tx: &mut Tx<'_>,
    bucket_id: BucketId,
    object: &[u8],
    version: Option<VersionRef>,
    days: u32,
    delay_ms: u64,
) -> Result<RestoreOutcome, EngineError> {
    let now_ms = tx.now_ms();
    let mut outcome = Err(EngineError::NotArchived);
    change_version(tx, bucket_id, object, version, |row| {
        if !is_archive_class(row.storage_class.as_deref()) {
            return;
        }
        let (ready_ms, what) = match Restore::state(row.restore, now_ms) {
            RestoreState::Ongoing => {
                outcome = Err(EngineError::RestoreOngoing);
                return;
            }
            RestoreState::Ready => {
                (row.restore.map_or(now_ms, |r| r.ready_ms), RestoreOutcome::Prolonged)
            }
            RestoreState::None => (now_ms.saturating_add(delay_ms), RestoreOutcome::Started),
        };
        let end = ready_ms.max(now_ms).saturating_add(u64::from(days) * DAY_MS);
        row.restore = Some(Restore { ready_ms, expires_ms: end.next_multiple_of(DAY_MS) });
        outcome = Ok(what);
    })?;
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archived_version_is_readable_while_its_copy_is_there() {
        let row = |class: &str, restore| ObjectRow {
            storage_class: Some(class.to_owned()),
            restore,
            ..ObjectRow::empty()
        };
        let restore = Some(Restore { ready_ms: 10, expires_ms: 20 });
        assert!(is_readable(&row("STANDARD_IA", None), 15));
        assert!(!is_readable(&row("GLACIER", None), 15));
        for (now, expected) in [(9, false), (10, true), (19, true), (20, false)] {
            assert_eq!(is_readable(&row("DEEP_ARCHIVE", restore), now), expected, "{now}");
        }
    }
}
