//! Actions of S3 in policies of buckets: whether a pattern stands for any, and whether they are on objects.

use crate::known::of_s3;
use crate::pattern::Pattern;

/// Beginnings of the names of actions on objects; every other action is on a bucket or the account.
const ON_OBJECTS: &[&str] = &[
    "AbortMultipartUpload",
    "BypassGovernanceRetention",
    "DeleteObject",
    "GetObject",
    "ListMultipartUploadParts",
    "ObjectOwner",
    "PutObject",
    "Replicate",
    "RestoreObject",
    "UpdateObjectEncryption",
];

/// Whether a pattern stands for any action of S3.
pub(crate) fn is_known(pattern: &Pattern) -> bool {
    of_s3().any(|name| pattern.matches_ignoring_case(&format!("s3:{name}")))
}

/// Whether every action that a pattern stands for is on objects (`Some(true)`), none is
/// (`Some(false)`), or some are.
pub(crate) fn on_objects(pattern: &Pattern) -> Option<bool> {
    let meant = of_s3()
        .filter(|name| pattern.matches_ignoring_case(&format!("s3:{name}")))
        .map(|name| ON_OBJECTS.iter().any(|start| name.starts_with(start)));
    let (on, off): (Vec<bool>, Vec<bool>) = meant.partition(|is_on_object| *is_on_object);
    match (on.is_empty(), off.is_empty()) {
        (false, true) => Some(true),
        (true, _) => Some(false),
        (false, false) => None,
    }
}
