//! Actions of S3 in policies of buckets: whether a pattern stands for any, and whether they are on objects.

use crate::known::of_s3;
use crate::pattern::Pattern;

/// Actions on objects, where a star ends the beginning of a name; every other is on a bucket or the account.
pub(crate) const ON_OBJECTS: &[&str] = &[
    "AbortMultipartUpload",
    "BypassGovernanceRetention",
    "DeleteObject*",
    "GetObject*",
    "ListMultipartUploadParts",
    "ObjectOwner*",
    "PutObject*",
    "Replicate*",
    "RestoreObject",
    "UpdateObjectEncryption",
];

/// Whether an action of S3, without its service, is in a list such as [`ON_OBJECTS`].
pub(crate) fn is_listed(list: &[&str], action: &str) -> bool {
    list.iter().any(|entry| match entry.strip_suffix('*') {
        Some(start) => action.starts_with(start),
        None => *entry == action,
    })
}

/// The actions of S3 that a pattern stands for, without their service, and whether each is on objects.
pub(crate) fn meant(pattern: &Pattern) -> impl Iterator<Item = (&'static str, bool)> {
    of_s3()
        .filter(|name| pattern.matches_ignoring_case(&format!("s3:{name}")))
        .map(|name| (name, is_listed(ON_OBJECTS, name)))
}

/// Whether a pattern stands for any action of S3.
pub(crate) fn is_known(pattern: &Pattern) -> bool {
    of_s3().any(|name| pattern.matches_ignoring_case(&format!("s3:{name}")))
}

/// Whether every action that a pattern stands for is on objects (`Some(true)`), none is
/// (`Some(false)`), or some are.
pub(crate) fn on_objects(pattern: &Pattern) -> Option<bool> {
    let (on, off): (Vec<bool>, Vec<bool>) = meant(pattern)
        .map(|(_, is_on_object)| is_on_object)
        .partition(|is_on_object| *is_on_object);
    match (on.is_empty(), off.is_empty()) {
        (false, true) => Some(true),
        (true, _) => Some(false),
        (false, false) => None,
    }
}
