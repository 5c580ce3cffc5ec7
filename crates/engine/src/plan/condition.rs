//! Conditions of writes and deletes, decided at the commit.

use crate::error::{Condition, EngineError};
use drystone_base::DecodeError;
use drystone_catalog::ObjectRow;

/// Conditions on the current version (RFC 9110 §13; S3 user guide, "Conditional requests").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Entity tags of which one must be current, without quotes; `*` stands for any.
    pub if_match: Option<Vec<String>>,
    /// Nothing may be current (`If-None-Match: *`).
    pub if_none_match_any: bool,
    /// The size must be this (deletes only).
    pub if_match_size: Option<u64>,
    /// Last-Modified must be this second, in milliseconds since 1970 (deletes only).
    pub if_match_modified_ms: Option<u64>,
    /// Of a delete: the right to bypass a lock of governance mode was shown.
    pub bypasses_governance: bool,
    /// A second factor was shown.
    pub has_mfa: bool,
}

/// Whether one of the entity tags is `etag`.
pub(crate) fn matches(tags: &[String], etag: &str) -> bool {
    tags.iter().any(|tag| tag == "*" || tag == etag)
}

/// Decides the conditions of a write against the head of its key. A head that cannot be understood
/// counts as an object with an unknown entity tag.
///
/// # Errors
///
/// [`EngineError::ObjectNotFound`] for If-Match without an object, else
/// [`EngineError::PreconditionFailed`].
pub fn check_write(
    conditions: &Conditions,
    head: Option<&Result<ObjectRow, DecodeError>>,
) -> Result<(), EngineError> {
    let live = match head {
        Some(Ok(row)) if row.is_marker => None,
        other => other,
    };
    if conditions.if_none_match_any && live.is_some() {
        return Err(EngineError::PreconditionFailed(Condition::IfNoneMatch));
    }
    let Some(tags) = &conditions.if_match else { return Ok(()) };
    match live {
        None => Err(EngineError::ObjectNotFound { marker: None }),
        Some(Ok(row)) if matches(tags, &row.etag.to_text()) => Ok(()),
        Some(_) => Err(EngineError::PreconditionFailed(Condition::IfMatch)),
    }
}

/// Decides the conditions of a delete against the version that it names, or the head.
pub(crate) fn check_delete(
    conditions: &Conditions,
    row: Option<&Result<ObjectRow, DecodeError>>,
) -> Result<(), EngineError> {
    // The right to bypass a lock is no condition.
    let Conditions { bypasses_governance, has_mfa, .. } = *conditions;
    let none = Conditions { bypasses_governance, has_mfa, ..Conditions::default() };
    if *conditions == none {
        return Ok(());
    }
    let row = match row {
        None => return Err(EngineError::ObjectNotFound { marker: None }),
        Some(Ok(row)) if !row.is_marker => row,
        Some(_) => return Err(EngineError::PreconditionFailed(Condition::IfMatch)),
    };
    let failed = |condition| Err(EngineError::PreconditionFailed(condition));
    if conditions.if_match.as_ref().is_some_and(|tags| !matches(tags, &row.etag.to_text())) {
        return failed(Condition::IfMatch);
    }
    if conditions.if_match_size.is_some_and(|size| size != row.size) {
        return failed(Condition::IfMatchSize);
    }
    let second = |ms: u64| ms / 1000;
    if conditions.if_match_modified_ms.is_some_and(|ms| second(ms) != second(row.modified_ms)) {
        return failed(Condition::IfMatchLastModified);
    }
    Ok(())
}
