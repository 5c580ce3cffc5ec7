//! Values of condition keys that a request may write in several ways: the act reads all of them as one thing,
//! so that a condition on the thing meets each of its names.
//!
//! A condition that wants a value holds if any name matches, and one that excludes it if none does. A copy of
//! a version is named with its version only.

use super::Need;
use crate::gateway::Context;
use crate::ops::parse_copy_source;
use drystone_base::Timestamp;

/// The names of what a value of a key, in lower case, means.
pub(super) fn of(context: &Context<'_>, need: &Need, key: &str, sent: String) -> Vec<String> {
    match key {
        "s3:x-amz-copy-source" => of_copy_source(context, sent),
        "s3:x-amz-server-side-encryption-aws-kms-key-id" => of_kms_key(context, sent),
        // Compared as numbers and dates are, whatever stands before or behind what counts.
        "s3:max-keys" if need.key.is_none() => {
            let number = sent.parse::<u64>().ok().map(|number| number.to_string());
            with(sent, number)
        }
        "s3:object-lock-retain-until-date" => {
            let date = Timestamp::parse_iso(&sent).map(Timestamp::to_iso);
            with(sent, date)
        }
        _ => vec![sent],
    }
}

/// The value as it was sent, and another name of it.
fn with(sent: String, other: Option<String>) -> Vec<String> {
    match other {
        Some(other) if other != sent => vec![sent, other],
        _ => vec![sent],
    }
}

/// `bucket/key` and `/bucket/key`, as clients write them, and the ARN by an access point; as it was sent if
/// it cannot be read, which the operation says.
fn of_copy_source(context: &Context<'_>, sent: String) -> Vec<String> {
    let Ok((bucket, key, version)) = parse_copy_source(&sent) else { return vec![sent] };
    // What begins a version here is a part of the key.
    let key = key.replace("?versionId=", "%3FversionId=");
    let version = version.map_or(String::new(), |version| format!("?versionId={version}"));
    let mut names = vec![format!("{bucket}/{key}{version}"), format!("/{bucket}/{key}{version}")];
    if let Some(point) = &context.request.source_point {
        let arn = point.arn(&context.config.region);
        names.push(format!("{arn}/object/{key}{version}"));
    }
    names
}

/// The id of a key, its ARNs, and what was sent: an alias.
fn of_kms_key(context: &Context<'_>, sent: String) -> Vec<String> {
    let kms = &context.config.kms;
    let Ok(id) = kms.resolve(&sent) else { return vec![sent] };
    let mut names = vec![kms.arn(&id), format!("arn:minio:kms:::{id}"), id];
    if !names.contains(&sent) {
        names.push(sent);
    }
    names
}
