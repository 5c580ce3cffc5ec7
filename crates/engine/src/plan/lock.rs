//! Changing the locks of versions.

use super::rows::{VersionRef, load_bucket};
use super::upload::change_version;
use crate::error::EngineError;
use crate::lock_clock::BELIEVED_MS_MAX;
use drystone_base::BucketId;
use drystone_catalog::{LockMode, ObjectRow, Retention, Tx};

/// Gives a version another retention, or takes it away. Longer ones of the same mode are always allowed;
/// any other in place of governance needs the right to bypass it (S3 user guide, "Governance mode": users
/// without it cannot alter the settings of the lock), and in place of compliance nothing will do.
/// `bypasses`: the right to bypass governance was shown.
///
/// # Errors
///
/// What is named does not exist, [`EngineError::NoBucketLock`], [`EngineError::Locked`],
/// [`EngineError::LockClockAhead`], or the catalog failed.
pub fn set_retention(
    tx: &mut Tx<'_>,
    bucket_id: BucketId,
    object: &[u8],
    version: Option<VersionRef>,
    retention: Option<Retention>,
    bypasses: bool,
) -> Result<ObjectRow, EngineError> {
    if load_bucket(tx, bucket_id)?.lock.is_none() {
        return Err(EngineError::NoBucketLock);
    }
    let now_ms = tx.locks_ended_ms();
    let mut is_allowed = false;
    let change = |row: &mut ObjectRow| {
        is_allowed = may_replace(row.lock.retention, retention, now_ms, bypasses);
        row.lock.retention = retention;
    };
    let row = change_version(tx, bucket_id, object, version, change)?;
    // A plan that fails changes nothing.
    if !is_allowed {
        return Err(EngineError::Locked);
    }
    if retention.is_some() {
        check_lock_clock(tx)?;
    }
    Ok(row)
}

/// Refuses a new retention while the clock of locks is so far ahead that it would not hold it.
///
/// # Errors
///
/// [`EngineError::LockClockAhead`].
pub(crate) fn check_lock_clock(tx: &Tx<'_>) -> Result<(), EngineError> {
    match tx.lock_now_ms() > tx.now_ms().saturating_add(BELIEVED_MS_MAX) {
        true => Err(EngineError::LockClockAhead),
        false => Ok(()),
    }
}

fn may_replace(
    old: Option<Retention>,
    new: Option<Retention>,
    now_ms: u64,
    bypasses: bool,
) -> bool {
    let Some(old) = old.filter(|old| old.until_ms > now_ms) else { return true };
    let is_longer = new.is_some_and(|new| new.until_ms >= old.until_ms);
    let mode = new.map(|new| new.mode);
    match old.mode {
        LockMode::Compliance => is_longer && mode == Some(LockMode::Compliance),
        LockMode::Governance => bypasses || (is_longer && mode == Some(LockMode::Governance)),
    }
}

/// Puts a version on legal hold, or releases it.
///
/// # Errors
///
/// What is named does not exist, [`EngineError::NoBucketLock`], or the catalog failed.
pub fn set_legal_hold(
    tx: &mut Tx<'_>,
    bucket_id: BucketId,
    object: &[u8],
    version: Option<VersionRef>,
    is_held: bool,
) -> Result<ObjectRow, EngineError> {
    if load_bucket(tx, bucket_id)?.lock.is_none() {
        return Err(EngineError::NoBucketLock);
    }
    let change = |row: &mut ObjectRow| row.lock.legal_hold = Some(is_held);
    change_version(tx, bucket_id, object, version, change)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retentions_only_grow_unless_governance_is_bypassed() {
        use LockMode::{Compliance, Governance};
        let until = |mode, until_ms| Some(Retention { mode, until_ms });
        for (old, new, bypasses, expected) in [
            (None, until(Governance, 5), false, true),
            (until(Governance, 50), until(Governance, 60), false, true),
            (until(Governance, 50), until(Governance, 50), false, true),
            (until(Governance, 50), until(Compliance, 50), false, false),
            (until(Governance, 50), until(Compliance, 90), false, false),
            (until(Governance, 50), until(Compliance, 50), true, true),
            (until(Governance, 10), until(Compliance, 50), false, true),
            (until(Governance, 50), until(Governance, 49), false, false),
            (until(Governance, 50), until(Governance, 49), true, true),
            (until(Governance, 50), None, false, false),
            (until(Governance, 50), None, true, true),
            (until(Compliance, 50), until(Compliance, 51), false, true),
            (until(Compliance, 50), until(Compliance, 49), true, false),
            (until(Compliance, 50), until(Governance, 90), true, false),
            (until(Compliance, 50), None, true, false),
            (until(Compliance, 10), None, false, true),
        ] {
            assert_eq!(may_replace(old, new, 20, bypasses), expected, "{old:?} {new:?} {bypasses}");
        }
    }
}
