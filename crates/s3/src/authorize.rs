//! Authorization: every operation is decided here before it runs.
//!
//! The owner of an account is stopped only by an explicit deny of a bucket's policy; everybody else may do
//! what his policies, the policy of the bucket and its access control list add up to.

mod absence;
mod actions;
mod again;
mod also;
mod begun;
mod carried;
mod delivery;
mod facts;
mod keys;
mod points;
mod said;
mod spellings;

use crate::access_point;
use crate::acl::{self, Grant, Permission};
use crate::auth::AuthType;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::operation::Operation;
use crate::ops::{asks_for_appends, parse_copy_source};
use crate::point_rules::PointName;
use crate::rules::{Ownership, Rules};
pub(crate) use absence::hide_absence;
pub(crate) use actions::delete_needs;
use actions::{needs, other_names};
pub(crate) use again::{
    as_it_is_now, authorize_again, carry_out, change_directory, identify_again, read_page,
    session_token, still_known, with_decisions,
};
pub(crate) use also::{
    Also, AlsoDecided, check_also, decide_also, remember_acl, remember_encryption,
};
pub(crate) use begun::said_of_object;
pub(crate) use carried::{ReadFrom, decide_on_copied_tags, decide_on_renamed};
pub(crate) use delivery::{may_deliver, may_log_to};
use drystone_engine::{BucketRow, EngineError, VersionRef};
use drystone_iam::{
    Arn, Caller, Decision, Document, Explanation, PolicySet, Principal, Reason, decide,
};
use drystone_identity::{DEFAULT_ACCOUNT, DEFAULT_CANONICAL, ExplainedDecision, Identity};
use facts::Wanted;
use keys::may_use_key;
pub(crate) use points::allow_point;
pub(crate) use said::Said;
use std::net::IpAddr;
use std::sync::Arc;

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Address of the other end of the connection, or of the client that a trusted proxy names.
    pub address: IpAddr,
    /// Whether the connection is encrypted.
    pub is_secure: bool,
    /// Version of TLS, such as `1.3`; none behind a proxy, which does not say it.
    pub tls: Option<&'static str>,
    /// Cipher suite, by the name that access logs have for it; none where no version is known.
    pub cipher: Option<&'static str>,
}

/// Who sent a request, and how it was signed.
#[derive(Clone)]
pub(crate) struct Sender {
    /// `None`: no one signed.
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) auth: AuthType,
    /// When it was signed, in milliseconds since 1970.
    pub(crate) signed_ms: Option<u64>,
    pub(crate) peer: Peer,
}

impl Sender {
    pub(crate) fn of(
        identity: Option<Arc<Identity>>,
        auth: AuthType,
        signed_ms: Option<u64>,
        peer: Peer,
    ) -> Self {
        Self { identity, auth, signed_ms, peer }
    }

    /// Whether the signature is one of version 2, which does not say when it was made.
    pub(crate) fn is_v2(&self) -> bool {
        self.identity.is_some() && self.signed_ms.is_none()
    }

    pub(crate) fn principal(&self) -> &Principal {
        self.identity.as_ref().map_or(&Principal::Anonymous, |identity| &identity.principal)
    }

    /// Account id; an anonymous caller has none.
    pub(crate) fn account(&self) -> Option<&str> {
        self.principal().account()
    }

    fn is_nobody(&self) -> bool {
        self.identity.is_none()
    }

    /// The owner of an account, whom only the policy of a bucket stops.
    pub(crate) fn is_owner_of(&self, account: &str) -> bool {
        let unrestricted = self.identity.as_ref().is_some_and(|i| i.is_unrestricted_root());
        unrestricted && self.account() == Some(account)
    }
}

/// Account that a bucket belongs to.
pub(crate) fn account_of(bucket: &BucketRow) -> &str {
    if bucket.owner.is_empty() { DEFAULT_ACCOUNT } else { &bucket.owner }
}

/// Canonical id of an account.
pub(crate) fn canonical_of(context: &Context<'_>, account: &str) -> String {
    context.directory.canonical_of(account).unwrap_or_default()
}

/// What an action needs of an access control list, and whether of the object's.
fn listed(action: &str) -> Option<(Permission, bool)> {
    Some(match action {
        "s3:ListBucket" | "s3:ListBucketVersions" | "s3:ListBucketMultipartUploads" => {
            (Permission::Read, false)
        }
        "s3:PutObject" | "s3:DeleteObject" => (Permission::Write, false),
        "s3:GetBucketAcl" => (Permission::ReadAcp, false),
        "s3:PutBucketAcl" => (Permission::WriteAcp, false),
        "s3:GetObject" | "s3:GetObjectVersion" => (Permission::Read, true),
        "s3:GetObjectAcl" | "s3:GetObjectVersionAcl" => (Permission::ReadAcp, true),
        "s3:PutObjectAcl" | "s3:PutObjectVersionAcl" => (Permission::WriteAcp, true),
        _ => return None,
    })
}

/// Whether an access control list allows what policies do not.
fn is_granted(
    context: &Context<'_>,
    bucket: &BucketRow,
    rules: &Rules,
    need: &Need,
    canonical: Option<&str>,
) -> bool {
    if begun::is_of_sender(context, bucket, need) {
        return true;
    }
    // Anyone who may write an object may say whose it is to be.
    let comes_with_upload =
        need.action == "s3:PutObjectAcl" && context.request.query("acl").is_none();
    let listed = if comes_with_upload { listed("s3:PutObject") } else { listed(need.action) };
    let Some((wanted, of_object)) = listed else { return false };
    if rules.ownership == Ownership::Enforced {
        return false;
    }
    let sender = &context.sender;
    let foreign = canonical.filter(|_| sender.account() != Some(account_of(bucket)));
    let (is_known, ignore) = (!sender.is_nobody(), rules.ignore_public_acls);
    let allows = |grants: &[Grant]| acl::allows(grants, wanted, is_known, foreign, ignore);
    if !of_object {
        return rules.acl.as_deref().is_some_and(allows);
    }
    let Some(key) = &need.key else { return false };
    let version = need.version.as_deref().and_then(VersionRef::parse);
    let Some(row) = context.engine.look_at(bucket, key.as_bytes(), version) else {
        return false;
    };
    let owns = !row.owner.is_empty() && sender.account() == Some(&row.owner);
    owns || row.acl.as_deref().is_some_and(|text| allows(&acl::decode(text)))
}

/// A right that a request needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) action: &'static str,
    /// `None`: the account.
    pub(crate) bucket: Option<String>,
    pub(crate) key: Option<String>,
    /// Version of the object, for conditions on its tags.
    pub(crate) version: Option<String>,
    /// The access point by which it is reached.
    pub(crate) point: Option<Arc<PointName>>,
}

impl Need {
    /// A right to no object.
    pub(crate) fn on(action: &'static str, bucket: Option<&str>) -> Self {
        let bucket = bucket.map(str::to_owned);
        Self { action, bucket, key: None, version: None, point: None }
    }
}

/// Decides whether an operation may run.
///
/// # Errors
///
/// `AccessDenied`, without a word about what exists.
pub(crate) fn authorize(context: &Context<'_>, operation: Operation) -> Result<(), S3Error> {
    let request = &context.request;
    if context.sender.is_nobody()
        && request.query.iter().any(|(name, ..)| name.starts_with("response-"))
    {
        let message =
            "Request specific response headers cannot be used for anonymous GET requests.";
        return Err(S3Error::with(S3Code::InvalidRequest, message));
    }
    facts::check_sent(context)?;
    check_expected_owners(context, operation)?;
    // Most requests: the owner, on a bucket without a policy.
    let copies = matches!(operation, Operation::CopyObject | Operation::UploadPartCopy);
    let bucket = request.bucket.as_deref().unwrap_or_default();
    let appends = operation == Operation::CreateBucket && asks_for_appends(request);
    // For the owner of an account, too: whether objects grow is a setting of the server.
    if appends && sender_is_foreign(context) {
        return Err(S3Code::AccessDenied.into());
    }
    if !copies && !is_decided_by_policy(context, bucket) {
        return Ok(());
    }
    // Without the right to all buckets a sender sees those to which there are rights, unless that is denied.
    if operation == Operation::ListBuckets && !context.sender.is_nobody() {
        return refuse_denied(context, &Need::on("s3:ListAllMyBuckets", None));
    }
    if appends {
        allow(context, &Need::on("admin:ConfigUpdate", None))?;
    }
    other_names(context, operation).iter().try_for_each(|need| refuse_denied(context, need))?;
    for need in needs(context, operation)? {
        allow(context, &need).map_err(|error| absence::tell(context, &need, error))?;
    }
    // A caller who may not use an access point does not learn that it is one.
    match request.point.is_some() && !access_point::takes(operation) {
        true => Err(S3Code::MethodNotAllowed.into()),
        false => Ok(()),
    }
}

/// Whether the sender is of another account than the server's.
fn sender_is_foreign(context: &Context<'_>) -> bool {
    context.sender.account() != Some(DEFAULT_ACCOUNT)
}

/// The buckets must belong to the accounts that the client expects.
fn check_expected_owners(context: &Context<'_>, operation: Operation) -> Result<(), S3Error> {
    let request = &context.request;
    let check = |header: &str, bucket: &str| match request.header(header) {
        None => Ok(()),
        Some(expected) => match context.engine.find_bucket(bucket) {
            Ok(row) if account_of(&row) != expected => Err(S3Error::new(S3Code::AccessDenied)),
            _ => Ok(()),
        },
    };
    check("x-amz-expected-bucket-owner", request.bucket.as_deref().unwrap_or_default())?;
    if !matches!(operation, Operation::CopyObject | Operation::UploadPartCopy) {
        return Ok(());
    }
    let source = request.header("x-amz-copy-source").unwrap_or_default();
    let (bucket, ..) = parse_copy_source(source)?;
    check("x-amz-source-expected-bucket-owner", &bucket)
}

/// Refuses what a statement denies, whether or not one allows it.
pub(crate) fn refuse_denied(context: &Context<'_>, need: &Need) -> Result<(), S3Error> {
    let decision = decide_need(context, need)?;
    if !decision.explanation.reason.is_final() {
        return Ok(());
    }
    note_refusal(context, need.action, resource_of(need), decision.explanation);
    Err(S3Code::AccessDenied.into())
}

/// Whether a statement denies a right, or that cannot be decided; a question, not a refusal.
pub(crate) fn is_denied(context: &Context<'_>, need: &Need) -> bool {
    !decide_need(context, need).is_ok_and(|decision| !decision.explanation.reason.is_final())
}

/// Whether what the sender may do in a bucket has to be looked up: the owner of its account may do
/// everything where there is no policy.
pub(crate) fn is_decided_by_policy(context: &Context<'_>, bucket: &str) -> bool {
    if context.request.point.is_some() || context.request.source_point.is_some() {
        return true;
    }
    if !context.sender.identity.as_ref().is_some_and(|identity| identity.is_unrestricted_root()) {
        return true;
    }
    if bucket.is_empty() {
        return false;
    }
    match context.engine.find_bucket(bucket) {
        Err(EngineError::BucketNotFound) => false,
        Err(_) => true,
        Ok(row) if !context.sender.is_owner_of(account_of(&row)) => true,
        Ok(row) => match context.rules_of(&row) {
            Ok(rules) => rules.is_broken || rules.policy.is_some(),
            Err(_) => true,
        },
    }
}

/// Decides on one right, and keeps the reason of a refusal for administrators.
///
/// # Errors
///
/// `AccessDenied`; `InternalError` if the bucket's rules cannot be read.
pub(crate) fn allow(context: &Context<'_>, need: &Need) -> Result<(), S3Error> {
    if let Some(point) = &need.point {
        points::pass(context, point, need)?;
    }
    let decision = decide_need(context, need)?;
    if decision.allowed {
        return Ok(());
    }
    note_refusal(context, need.action, resource_of(need), decision.explanation);
    Err(S3Code::AccessDenied.into())
}

/// Keeps the reason of a refusal for administrators.
fn note_refusal(context: &Context<'_>, action: &str, resource: String, explanation: Explanation) {
    let sender = &context.sender;
    let access_key = sender.identity.as_ref().map(|identity| identity.access_key.clone());
    context.directory.explanations().add(ExplainedDecision {
        request_id: context.ids.request_id.clone(),
        time_ms: context.request.now_ms,
        principal: sender.principal().arn().unwrap_or_else(|| "anonymous".to_owned()),
        access_key: access_key.unwrap_or_default(),
        action: action.to_owned(),
        resource,
        explanation,
    });
}

/// Canonical id of the sender's account.
fn canonical_of_sender(context: &Context<'_>) -> Option<String> {
    match context.sender.account() {
        Some(DEFAULT_ACCOUNT) => Some(DEFAULT_CANONICAL.to_owned()),
        Some(account) => context.directory.canonical_of(account),
        None => None,
    }
}

/// Whether the sender has a right; a question, not a refusal.
pub(crate) fn may(context: &Context<'_>, need: &Need) -> bool {
    decide_need(context, need).is_ok_and(|decision| decision.allowed)
}

/// Whether the sender has a right by the way that the request came, through an access point or not; a
/// question, not a refusal.
pub(crate) fn may_as_asked(context: &Context<'_>, need: &Need) -> bool {
    if !is_decided_by_policy(context, need.bucket.as_deref().unwrap_or_default()) {
        return true;
    }
    let passes = |point| points::decide_to_pass(context, point, need).is_ok_and(|it| it.is_ok());
    need.point.as_ref().is_none_or(|point| passes(point)) && may(context, need)
}

fn resource_of(need: &Need) -> String {
    match &need.bucket {
        Some(bucket) => Arn::s3(bucket, need.key.as_deref()),
        None => Arn::s3("*", None),
    }
}

/// Whether an action can repair configuration that cannot be read.
fn is_repair(action: &str) -> bool {
    let documents = [
        "BucketPolicy",
        "BucketPublicAccessBlock",
        "BucketOwnershipControls",
        "EncryptionConfiguration",
    ];
    documents.iter().any(|document| action.ends_with(document))
}

fn decide_need(context: &Context<'_>, need: &Need) -> Result<Decision, S3Error> {
    let sender = &context.sender;
    let found = match need.bucket.as_deref() {
        // Anyone who makes a bucket is not asked by the policy of another one of this name.
        Some(name) if need.action != "s3:CreateBucket" => match context.engine.find_bucket(name) {
            Err(EngineError::BucketNotFound) => None,
            found => Some(found?),
        },
        _ => None,
    };
    let rules = match &found {
        Some(bucket) => Some(context.rules_of(bucket)?),
        None => None,
    };
    if let (Some(bucket), Some(rules)) = (&found, &rules)
        && rules.is_broken
        && !(sender.is_owner_of(account_of(bucket)) && is_repair(need.action))
    {
        let message = format!("The configuration of the bucket {} cannot be read.", bucket.name);
        return Err(S3Error::with(S3Code::InternalError, message));
    }
    let owner = found.as_ref().map(|bucket| account_of(bucket));
    let policy = rules.as_ref().and_then(|rules| rules.policy.as_ref());
    let wanted = Wanted::new([
        sender.identity.as_ref().map(|identity| &identity.fact_keys),
        policy.map(Document::fact_keys),
    ]);
    let facts = facts::of(context, found.as_deref(), need, &wanted);
    let is_stranger = owner.is_some_and(|owner| sender.account() != Some(owner));
    // RestrictPublicBuckets: a public policy admits only those of the bucket's own account.
    let is_cut_off = is_stranger && rules.as_ref().is_some_and(|rules| rules.is_restricted);
    let canonical = canonical_of_sender(context);
    let caller = Caller { principal: sender.principal(), canonical: canonical.as_deref() };
    let named = sender.identity.as_ref().map(|identity| identity.named_policies());
    let set = match (&sender.identity, &named) {
        (Some(identity), Some(named)) => identity.policy_set(named),
        _ => PolicySet::default(),
    };
    let bucket = policy.map(|policy| ("bucket policy", policy));
    let set = PolicySet { bucket, resource_account: owner, ..set };
    let resource = resource_of(need);
    let decision = decide(caller, need.action, &resource, &facts, &set);
    if is_cut_off {
        let explanation = Explanation { reason: Reason::PublicAccessBlock, ..decision.explanation };
        return Ok(Decision { allowed: false, explanation });
    }
    let (Some(bucket), Some(rules)) = (&found, &rules) else { return Ok(decision) };
    // Lists are looked at last: most requests never come to them.
    let undecided = matches!(decision.explanation.reason, Reason::NoAllow | Reason::OneSideOnly);
    if undecided && is_granted(context, bucket, rules, need, canonical.as_deref()) {
        let set = PolicySet { acl_allows: true, ..set };
        return Ok(decide(caller, need.action, &resource, &facts, &set));
    }
    Ok(decision)
}
