//! The condition keys of a request, from what was verified.

use super::{Need, account_of};
use crate::auth::AuthType;
use crate::gateway::Context;
use drystone_base::Timestamp;
use drystone_engine::{BucketRow, VersionRef};
use drystone_iam::Facts;

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

/// Collects the condition keys.
pub(super) fn of(
    context: &Context<'_>,
    bucket: Option<&BucketRow>,
    need: &Need,
    with_object_tags: bool,
) -> Facts {
    let (request, sender) = (&context.request, &context.sender);
    let principal = sender.principal();
    let mut facts = match &sender.identity {
        Some(identity) => identity.facts.clone(),
        None => Facts::new(),
    };
    let now = Timestamp(request.now_ms);
    facts
        .add("aws:SourceIp", sender.peer.address.to_canonical().to_string())
        .add("aws:SecureTransport", sender.peer.is_secure.to_string())
        .add("aws:CurrentTime", now.to_iso())
        .add("aws:EpochTime", (request.now_ms / 1000).to_string())
        .add("aws:PrincipalType", principal.kind())
        .add("aws:RequestedRegion", context.config.region.clone())
        .add_if("aws:UserAgent", request.header("user-agent"))
        .add_if("aws:Referer", request.header("referer"))
        .add_if("aws:PrincipalArn", principal.arn())
        .add_if("aws:PrincipalAccount", principal.account())
        .add_if("aws:userid", principal.user_id());
    if let Some(bucket) = bucket {
        let account = account_of(bucket);
        facts.add("aws:ResourceAccount", account).add("s3:ResourceAccount", account);
    }
    let auth_type = match sender.auth {
        AuthType::Anonymous => None,
        AuthType::Header => Some("REST-HEADER"),
        AuthType::Query => Some("REST-QUERY-STRING"),
        AuthType::Form => Some("POST"),
    };
    facts.add_if("s3:authType", auth_type);
    if let Some(signed_ms) = sender.signed_ms {
        facts
            .add("s3:signatureversion", "AWS4-HMAC-SHA256")
            .add("s3:signatureAge", request.now_ms.saturating_sub(signed_ms).to_string());
    }
    for name in HEADERS {
        facts.add_if(&format!("s3:{name}"), request.header_or_query(name));
    }
    if need.key.is_none() {
        for name in ["prefix", "delimiter", "max-keys"] {
            facts.add_if(&format!("s3:{name}"), request.query(name));
        }
    }
    facts.add_if("s3:VersionId", need.version.as_deref());
    for (name, value) in bucket.iter().flat_map(|bucket| &bucket.tags) {
        facts.add(&format!("s3:BucketTag/{name}"), value.clone());
    }
    if let Some(header) = request.header_or_query("x-amz-tagging") {
        for (name, value, _) in crate::uri::parse_query(header).unwrap_or_default() {
            facts.add(&format!("s3:RequestObjectTag/{name}"), value);
            facts.add("s3:RequestObjectTagKeys", name);
        }
    }
    if let (true, Some(bucket), Some(key)) = (with_object_tags, bucket, &need.key) {
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
