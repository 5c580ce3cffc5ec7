//! The condition keys of a request, from what was verified.

use super::{Need, account_of};
use crate::auth::AuthType;
use crate::gateway::Context;
use drystone_base::Timestamp;
use drystone_engine::{BucketRow, VersionRef};
use drystone_iam::Facts;
use std::collections::BTreeSet;

/// Headers that are condition keys under the same name. They are signed wherever there is a signature.
const HEADERS: &[&str] = &[
    "x-amz-acl",
    "x-amz-content-sha256",
    "x-amz-copy-source",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-metadata-directive",
    "x-amz-object-ownership",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
    "if-match",
    "if-none-match",
];

/// The condition keys that the policies at hand look at. Nothing else is collected: most policies
/// look at few, and many at none.
pub(super) struct Wanted<'a> {
    sets: [Option<&'a BTreeSet<String>>; 2],
}

impl<'a> Wanted<'a> {
    pub(super) fn new(sets: [Option<&'a BTreeSet<String>>; 2]) -> Self {
        Self { sets }
    }

    fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.sets.into_iter().flatten().flatten().map(String::as_str)
    }

    fn is_empty(&self) -> bool {
        self.keys().next().is_none()
    }

    /// `key` is in lower case.
    fn has(&self, key: &str) -> bool {
        self.sets.iter().flatten().any(|set| set.contains(key))
    }

    /// Whether any key of a family, such as `s3:existingobjecttag/`, is looked at.
    fn has_family(&self, prefix: &str) -> bool {
        self.keys().any(|key| key.starts_with(prefix))
    }
}

/// Collects the condition keys.
pub(super) fn of(
    context: &Context<'_>,
    bucket: Option<&BucketRow>,
    need: &Need,
    wanted: &Wanted<'_>,
) -> Facts {
    if wanted.is_empty() {
        return Facts::new();
    }
    let sender = &context.sender;
    let mut facts = match &sender.identity {
        Some(identity) => identity.facts.clone(),
        None => Facts::new(),
    };
    for key in wanted.keys() {
        if let Some(value) = value_of(context, bucket, need, key) {
            facts.add(key, value);
        }
    }
    for (name, value) in bucket.iter().flat_map(|bucket| &bucket.tags) {
        facts.add(&format!("s3:BucketTag/{name}"), value.clone());
    }
    let looks_at_sent =
        wanted.has("s3:requestobjecttagkeys") || wanted.has_family("s3:requestobjecttag/");
    if looks_at_sent {
        for (name, value) in sent_tags(context) {
            facts.add(&format!("s3:RequestObjectTag/{name}"), value);
            facts.add("s3:RequestObjectTagKeys", name);
        }
    }
    let looks_at_stored = wanted.has_family("s3:existingobjecttag/");
    if let (true, Some(bucket), Some(key)) = (looks_at_stored, bucket, &need.key) {
        let version = need.version.as_deref().and_then(VersionRef::parse);
        // An object that is not there has no tags, and conditions on them do not hold.
        if let Ok(located) = context.engine.locate(&bucket.name, key.as_bytes(), version) {
            for (name, value) in &located.row.tags {
                facts.add(&format!("s3:ExistingObjectTag/{name}"), value.clone());
            }
        }
    }
    facts
}

/// The tags that a request sends.
fn sent_tags(context: &Context<'_>) -> Vec<(String, String)> {
    if let Some(said) = &context.said {
        return said.tags.clone();
    }
    let header = context.request.header_or_query("x-amz-tagging").unwrap_or_default();
    let tags = crate::uri::parse_query(header).unwrap_or_default();
    tags.into_iter().map(|(name, value, _)| (name, value)).collect()
}

/// What a request says of a lock, in a header or in its document.
fn sent_lock<'a>(context: &'a Context<'_>, name: &str) -> Option<&'a str> {
    match &context.said {
        Some(said) => said.header(name),
        None => context.request.header_or_query(name),
    }
}

/// The value of a condition key that has one value at most; `key` is in lower case.
fn value_of(
    context: &Context<'_>,
    bucket: Option<&BucketRow>,
    need: &Need,
    key: &str,
) -> Option<String> {
    let (request, sender) = (&context.request, &context.sender);
    let principal = sender.principal();
    let text = |text: &str| Some(text.to_owned());
    match key {
        "aws:sourceip" => Some(sender.peer.address.to_canonical().to_string()),
        "aws:securetransport" => Some(sender.peer.is_secure.to_string()),
        "aws:currenttime" => Some(Timestamp(request.now_ms).to_iso()),
        "aws:epochtime" => Some((request.now_ms / 1000).to_string()),
        "aws:principaltype" => text(principal.kind()),
        "aws:requestedregion" => text(&context.config.region),
        "aws:useragent" => request.header("user-agent").and_then(text),
        "aws:referer" => request.header("referer").and_then(text),
        "aws:principalarn" => principal.arn(),
        "aws:principalaccount" => principal.account().and_then(text),
        "aws:userid" => principal.user_id(),
        "aws:multifactorauthage" => {
            let age_s = sender.identity.as_ref()?.mfa_age_s(request.now_ms)?;
            Some(age_s.to_string())
        }
        "aws:resourceaccount" | "s3:resourceaccount" => bucket.map(account_of).and_then(text),
        "s3:dataaccesspointarn" => {
            need.point.as_ref().map(|point| point.arn(&context.config.region))
        }
        "s3:dataaccesspointaccount" => need.point.as_ref().map(|point| point.account.clone()),
        "s3:accesspointnetworkorigin" => need.point.as_ref().and_then(|_| text("Internet")),
        "s3:authtype" => match sender.auth {
            AuthType::Anonymous => None,
            AuthType::Header => text("REST-HEADER"),
            AuthType::Query => text("REST-QUERY-STRING"),
            AuthType::Form => text("POST"),
        },
        "s3:signatureversion" => sender.signed_ms.and_then(|_| text("AWS4-HMAC-SHA256")),
        "s3:signatureage" => {
            sender.signed_ms.map(|signed| request.now_ms.saturating_sub(signed).to_string())
        }
        "s3:prefix" | "s3:delimiter" | "s3:max-keys" if need.key.is_none() => {
            request.query(&key[3..]).and_then(text)
        }
        "s3:versionid" => need.version.clone(),
        "s3:object-lock-mode"
        | "s3:object-lock-retain-until-date"
        | "s3:object-lock-legal-hold" => {
            sent_lock(context, &format!("x-amz-{}", &key[3..])).and_then(text)
        }
        "s3:object-lock-remaining-retention-days" => {
            let until = sent_lock(context, "x-amz-object-lock-retain-until-date");
            let until = until.and_then(Timestamp::parse_iso)?;
            Some((until.0.saturating_sub(request.now_ms) / (24 * 3600 * 1000)).to_string())
        }
        key => {
            let name = key.strip_prefix("s3:").filter(|name| HEADERS.contains(name))?;
            request.header_or_query(name).and_then(text)
        }
    }
}
