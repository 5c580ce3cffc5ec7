//! Values of condition keys that a request may write in several ways: the act reads all of them as one thing,
//! so that a condition on the thing meets each of its names.
//!
//! A condition that wants a value holds if any name matches, and one that excludes it if none does. A copy of
//! a version is named with its version only.

use super::Need;
use crate::acl;
use crate::gateway::Context;
use crate::ops::parse_copy_source;
use drystone_base::Timestamp;
use drystone_identity::DEFAULT_ACCOUNT;

/// Keys of grants by headers.
const GRANTS: &str = "s3:x-amz-grant-";

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
        key if key.starts_with(GRANTS) => of_grants(sent),
        _ => vec![sent],
    }
}

/// What a value that is a list is made of, each by all its names. A condition on a part refuses a list that
/// has it, and allows none because it has it among others.
pub(super) fn parts_of(key: &str, sent: &str) -> Vec<String> {
    if !key.starts_with(GRANTS) {
        return Vec::new();
    }
    let mut parts: Vec<_> = acl::grantees_of(sent).flatten().flat_map(names_of_grantee).collect();
    parts.sort_unstable();
    parts.dedup();
    parts
}

/// The two ways to write a grantee.
fn names_of_grantee((kind, name): (&str, &str)) -> [String; 2] {
    [format!("{kind}={name}"), format!("{kind}=\"{name}\"")]
}

/// A list of grantees as it was sent, and as clients commonly write it: with quotes and without, with a space
/// behind each comma and without.
fn of_grants(sent: String) -> Vec<String> {
    let Some(all) = acl::grantees_of(&sent).collect::<Option<Vec<_>>>() else { return vec![sent] };
    let names: Vec<_> = all.into_iter().map(names_of_grantee).collect();
    let list = |way: usize, between: &str| {
        names.iter().map(|names| names[way].as_str()).collect::<Vec<_>>().join(between)
    };
    let mut lists = vec![list(0, ","), list(0, ", "), list(1, ","), list(1, ", "), sent];
    lists.sort_unstable();
    lists.dedup();
    lists
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
    let account = context.sender.account().unwrap_or(DEFAULT_ACCOUNT);
    let Ok(id) = kms.resolve(&sent, Some(account)) else { return vec![sent] };
    let mut names = vec![kms.arn(&id), format!("arn:minio:kms:::{id}"), id];
    if !names.contains(&sent) {
        names.push(sent);
    }
    names
}
