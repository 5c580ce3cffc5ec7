//! The condition keys of a request, from what was verified.

use super::absence::sought;
use super::begun::Begun;
use super::{Need, account_of, spellings};
use crate::auth::{AuthType, payload_of_query};
use crate::error::S3Error;
use crate::gateway::Context;
use crate::object_headers::parse_tagging;
use crate::operation::Operation;
use drystone_base::Timestamp;
use drystone_engine::{BucketRow, VersionRef};
use drystone_iam::{CommonFacts, Facts};
use drystone_identity::DEFAULT_ACCOUNT;
use std::collections::BTreeSet;

const CUSTOMER_ALGORITHM: &str = "x-amz-server-side-encryption-customer-algorithm";

/// Headers that are condition keys under the same name. They are signed wherever there is a signature;
/// parameters of the query that stand for them have become headers.
pub(super) const HEADERS: &[&str] = &[
    "x-amz-acl",
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
    CUSTOMER_ALGORITHM,
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
    "if-match",
    "if-none-match",
];

/// Keys whose values are others at a later decision, in lower case. The age of a signature is that of its
/// arrival.
const OF_TIME: &[&str] = &[
    "aws:currenttime",
    "aws:epochtime",
    "aws:multifactorauthage",
    "s3:object-lock-remaining-retention-days",
];

/// Refuses tags that no object can have before they are decided on: each is compared with each pattern of a
/// policy.
///
/// # Errors
///
/// What the operation would say of them.
pub(super) fn check_sent(context: &Context<'_>) -> Result<(), S3Error> {
    use Operation as O;
    match (context.operation, context.request.header("x-amz-tagging")) {
        (Some(O::PutObject | O::CopyObject | O::CreateMultipartUpload), Some(text)) => {
            parse_tagging(text).map(drop)
        }
        _ => Ok(()),
    }
}

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
    if OF_TIME.iter().any(|key| wanted.has(key)) {
        context.engine.looks_at_time();
    }
    let sender = &context.sender;
    let mut facts = match &sender.identity {
        Some(identity) => identity.facts.clone(),
        None => Facts::new(),
    };
    let begun = Begun::new(context, bucket, need);
    for key in wanted.keys() {
        // What is known of the identity already stays.
        if facts.values(key).is_none()
            && let Some(value) = value_of(context, (bucket, need, &begun), key)
        {
            for part in spellings::parts_of(key, &value) {
                facts.add_part(key, part);
            }
            for name in spellings::of(context, need, key, value) {
                facts.add(key, name);
            }
        }
    }
    for (name, value) in bucket.iter().flat_map(|bucket| &bucket.tags) {
        facts.add(&format!("s3:BucketTag/{name}"), value.clone());
        facts.add(&format!("aws:ResourceTag/{name}"), value.clone());
    }
    let is_of_lost = need.action == "s3:UntagResource" && context.operation.is_some();
    for name in bucket.filter(|_| is_of_lost).map_or(Vec::new(), |row| lost_tags(context, row)) {
        facts.add("aws:TagKeys", name);
    }
    if let Some(said) = &context.said {
        for (name, value) in said.resource_tags.iter().filter(|_| !is_of_lost) {
            facts.add("aws:TagKeys", name.clone());
            facts.add_if(&format!("aws:RequestTag/{name}"), value.clone());
        }
        for field in &said.fields {
            facts.add("s3:InventoryAccessibleOptionalFields", field.clone());
        }
    }
    let looks_at_sent =
        wanted.has("s3:requestobjecttagkeys") || wanted.has_family("s3:requestobjecttag/");
    if looks_at_sent {
        for (name, value) in sent_tags(context, need, &begun) {
            facts.add(&format!("s3:RequestObjectTag/{name}"), value);
            facts.add("s3:RequestObjectTagKeys", name);
        }
    }
    let looks_at_stored = wanted.has_family("s3:existingobjecttag/");
    if let (true, Some(bucket), Some(key)) = (looks_at_stored, bucket, &need.key) {
        let version = need.version.as_deref().and_then(VersionRef::parse);
        // An object that is not there has no tags, and conditions on them do not hold.
        if let Some(row) = context.engine.look_at(bucket, key.as_bytes(), version) {
            for (name, value) in &row.tags {
                facts.add(&format!("s3:ExistingObjectTag/{name}"), value.clone());
            }
        }
    }
    facts
}

/// Names of the tags that a bucket loses when others are put in their place, or none.
pub(super) fn lost_tags(context: &Context<'_>, bucket: &BucketRow) -> Vec<String> {
    let kept = context.said.as_ref().map_or(&[][..], |said| &said.resource_tags[..]);
    let is_lost = |name: &&String| !kept.iter().any(|(kept, _)| kept == *name);
    bucket.tags.iter().map(|(name, _)| name).filter(is_lost).cloned().collect()
}

/// Whether a right is one to read or remove. What a request says of what it writes means nothing to it:
/// a policy that allows what has a tag would allow to read the source of a copy to who sends that tag.
fn takes_nothing_written(need: &Need) -> bool {
    ["s3:Get", "s3:Delete"].iter().any(|prefix| need.action.starts_with(prefix))
}

/// The tags that a request sets: as they are stored, or none if they are more than an object may have or
/// wrong in another way. Such a request is refused by its operation, whatever is decided.
fn sent_tags(context: &Context<'_>, need: &Need, begun: &Begun<'_>) -> Vec<(String, String)> {
    use Operation as O;
    if takes_nothing_written(need) {
        return Vec::new();
    }
    if let Some(said) = &context.said {
        return said.tags.clone();
    }
    let request = &context.request;
    match (context.operation, request.header("x-amz-tagging")) {
        // A copy without this has the tags of its source, which are decided on when they are known.
        (Some(O::CopyObject), _)
            if request.header("x-amz-tagging-directive") != Some("REPLACE") =>
        {
            Vec::new()
        }
        (Some(O::PutObject | O::CopyObject | O::CreateMultipartUpload), Some(text)) => {
            parse_tagging(text).unwrap_or_default()
        }
        _ => begun.tags(),
    }
}

/// What a request says of a lock, in a header or in its document.
fn sent_lock<'a>(
    context: &'a Context<'_>,
    need: &Need,
    begun: &'a Begun<'_>,
    name: &str,
) -> Option<&'a str> {
    use Operation as O;
    if takes_nothing_written(need) {
        return None;
    }
    match (&context.said, context.operation) {
        (Some(said), _) => said.header(name),
        (None, Some(O::PutObject | O::CopyObject | O::CreateMultipartUpload)) => {
            context.request.header(name)
        }
        _ => begun.header(name),
    }
}

/// Whether a header means something to a right that an operation needs. One that does not is no condition
/// key: a policy that allows what has it would allow a read or a delete to who adds it.
fn is_of(context: &Context<'_>, need: &Need, header: &str) -> bool {
    let Some(operation) = context.operation.filter(|operation| reads(*operation, header)) else {
        return false;
    };
    let is_write = match operation {
        Operation::DeleteObjects => false,
        operation => matches!(operation.row().method, "PUT" | "POST"),
    };
    if is_write && takes_nothing_written(need) {
        // A condition on what is replaced reveals it, and needs the right to read it.
        let request = &context.request;
        let is_replaced = need.bucket == request.bucket && need.key == request.key;
        return is_replaced && header == "if-match";
    }
    true
}

/// Whether an operation does what a header says, or refuses it. What it leaves out says nothing: an upload
/// is no copy by saying so, and a part of one has no list (`abuse/test_headers_of_conditions.py`).
pub(super) fn reads(operation: Operation, header: &str) -> bool {
    use Operation as O;
    let is_list = header == "x-amz-acl" || header.starts_with("x-amz-grant-");
    let is_condition = header.starts_with("if-");
    match operation {
        O::PutObject | O::CreateMultipartUpload => !matches!(
            header,
            "x-amz-copy-source" | "x-amz-metadata-directive" | "x-amz-object-ownership"
        ),
        O::CopyObject => header != "x-amz-object-ownership",
        // Other headers of encryption are refused. A part replaces nothing, so that any condition holds.
        O::UploadPart => is_condition || header.starts_with("x-amz-server-side-encryption"),
        O::UploadPartCopy => {
            header == "x-amz-copy-source" || header.starts_with("x-amz-server-side-encryption")
        }
        O::CompleteMultipartUpload => is_condition || header == CUSTOMER_ALGORITHM,
        O::RenameObject => is_condition,
        // Those of the entries of a list; in the headers of its request they are refused.
        O::DeleteObject | O::DeleteObjects => header == "if-match",
        O::CreateBucket => is_list || header == "x-amz-object-ownership",
        O::PutBucketAcl | O::PutObjectAcl => is_list,
        O::GetObject | O::HeadObject | O::GetObjectAttributes => header == CUSTOMER_ALGORITHM,
        _ => false,
    }
}

/// What a copy says of how its source is read.
fn of_copy_source<'a>(context: &'a Context<'_>, need: &Need, header: &str) -> Option<&'a str> {
    use Operation as O;
    let is_copy = matches!(context.operation, Some(O::CopyObject | O::UploadPartCopy));
    if !is_copy || !need.action.starts_with("s3:Get") || header != CUSTOMER_ALGORITHM {
        return None;
    }
    context.request.header("x-amz-copy-source-server-side-encryption-customer-algorithm")
}

/// The value of a condition key that has one value at most; `key` is in lower case.
fn value_of(
    context: &Context<'_>,
    (bucket, need, begun): (Option<&BucketRow>, &Need, &Begun<'_>),
    key: &str,
) -> Option<String> {
    let (request, sender) = (&context.request, &context.sender);
    let (user_agent, referer) = match key {
        "aws:useragent" => (context.sent().text("user-agent"), None),
        "aws:referer" => (None, context.sent().text("referer")),
        _ => (None, None),
    };
    let common = CommonFacts {
        principal: sender.principal(),
        mfa_age_s: sender.identity.as_ref().and_then(|it| it.mfa_age_s(context.engine.now_ms())),
        address: Some(sender.peer.address),
        is_secure: sender.peer.is_secure,
        now_ms: context.engine.now_ms(),
        region: &context.config.region,
        user_agent: user_agent.as_deref(),
        referer: referer.as_deref(),
    };
    if let Some(value) = common.value(key) {
        return Some(value);
    }
    let text = |text: &str| Some(text.to_owned());
    match key {
        "aws:resourceaccount" | "s3:resourceaccount" => {
            account_of_resource(context, bucket, need).and_then(text)
        }
        "s3:dataaccesspointarn" => {
            need.point.as_ref().map(|point| point.arn(&context.config.region))
        }
        "s3:dataaccesspointaccount" => need.point.as_ref().map(|point| point.account.clone()),
        "s3:accesspointnetworkorigin" => need.point.as_ref().and_then(|_| text("Internet")),
        "s3:authtype" | "s3:signatureversion" | "s3:signatureage" | "s3:x-amz-content-sha256" => {
            of_signature(context, key)
        }
        "s3:tlsversion" => sender.peer.tls.and_then(text),
        "s3:objectcreationoperation" if need.action == "s3:PutObject" => {
            Some(context.operation.is_some_and(creates).to_string())
        }
        "s3:locationconstraint" => context.said.as_ref().and_then(|said| said.location.clone()),
        "s3:prefix" | "s3:delimiter" | "s3:max-keys"
            if need.key.is_none() && context.operation.is_some_and(lists) =>
        {
            request.query(&key[3..]).and_then(text)
        }
        // Whether an object is there is told to who could list it by its name.
        "s3:prefix" => sought(context, need),
        "s3:versionid" => need.version.clone(),
        "s3:object-lock-mode"
        | "s3:object-lock-retain-until-date"
        | "s3:object-lock-legal-hold" => {
            sent_lock(context, need, begun, &format!("x-amz-{}", &key[3..])).and_then(text)
        }
        "s3:object-lock-remaining-retention-days" => {
            let until = sent_lock(context, need, begun, "x-amz-object-lock-retain-until-date");
            let until = until.and_then(Timestamp::parse_iso)?;
            Some((until.0.saturating_sub(context.engine.now_ms()) / (24 * 3600 * 1000)).to_string())
        }
        key => {
            let name = key.strip_prefix("s3:").filter(|name| HEADERS.contains(name))?;
            let sent = request.text(name).filter(|_| is_of(context, need, name));
            let of_others = || of_copy_source(context, need, name).or_else(|| begun.header(name));
            sent.or_else(|| of_others().and_then(text))
        }
    }
}

/// The account of what a right is on: a bucket, an access point, or what the caller's account has or gets.
fn account_of_resource<'a>(
    context: &'a Context<'_>,
    bucket: Option<&'a BucketRow>,
    need: &'a Need,
) -> Option<&'a str> {
    match (bucket, &need.point) {
        (Some(bucket), _) => Some(account_of(bucket)),
        (None, Some(point)) => Some(&point.account),
        (None, None) if need.action.starts_with("kms:") => Some(DEFAULT_ACCOUNT),
        (None, None) => context.sender.account(),
    }
}

/// How a request was signed.
fn of_signature(context: &Context<'_>, key: &str) -> Option<String> {
    let (request, sender) = (&context.request, &context.sender);
    let text = |text: &str| Some(text.to_owned());
    match key {
        "s3:authtype" => match sender.auth {
            AuthType::Anonymous => None,
            AuthType::Header => text("REST-HEADER"),
            AuthType::Query => text("REST-QUERY-STRING"),
            AuthType::Form => text("POST"),
        },
        "s3:signatureversion" => match (&sender.identity, sender.signed_ms) {
            (None, _) => None,
            (Some(_), Some(_)) => text("AWS4-HMAC-SHA256"),
            (Some(_), None) => text("AWS"),
        },
        // Version 2 does not say when: as old as can be, so that no limit of age lets it pass.
        "s3:signatureage" if sender.is_nobody() => None,
        "s3:signatureage" => {
            let signed = sender.signed_ms.unwrap_or(0);
            Some(request.now_ms.saturating_sub(signed).to_string())
        }
        "s3:x-amz-content-sha256" => match sender.auth {
            AuthType::Query => {
                let said = match sender.signed_ms {
                    Some(_) => payload_of_query(context.sent()),
                    // With version 2 the body is not compared with that parameter.
                    None => context.sent().header(&key[3..]),
                };
                text(said.unwrap_or("UNSIGNED-PAYLOAD"))
            }
            // A form's signature does not cover its file.
            AuthType::Form => text("UNSIGNED-PAYLOAD"),
            _ => context.sent().header(&key[3..]).and_then(text),
        },
        _ => None,
    }
}

/// Whether an operation lists what a bucket holds.
fn lists(operation: Operation) -> bool {
    use Operation as O;
    matches!(
        operation,
        O::ListObjects | O::ListObjectsV2 | O::ListObjectVersions | O::ListMultipartUploads
    )
}

/// Whether an operation that writes makes an object, not only a part of one.
fn creates(operation: Operation) -> bool {
    use Operation as O;
    !matches!(operation, O::CreateMultipartUpload | O::UploadPart | O::UploadPartCopy)
}
