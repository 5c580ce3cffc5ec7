//! Authorization: every operation is decided here before it runs.
//!
//! Until users exist there are two kinds of callers: the owner of the one account, whom only an explicit
//! deny of a bucket's policy stops, and nobody, who may do what a bucket's policy allows to everybody.

mod actions;
mod facts;

use crate::auth::AuthType;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::operation::Operation;
use crate::xml::parse;
pub(crate) use actions::delete_need;
use actions::needs;
use drystone_base::BucketId;
use drystone_engine::plan::DocumentKind;
use drystone_engine::{BucketRow, Engine, EngineError};
use drystone_iam::{
    Arn, Caller, Document, DocumentKind as PolicyKind, PolicySet, Principal, decide,
};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// Id of the one account.
pub(crate) const ACCOUNT: &str = "000000000000";
/// Buckets whose rules are kept at hand.
const CACHE_COUNT_MAX: usize = 10_000;

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Address of the other end of the connection.
    pub address: IpAddr,
    /// Whether the connection is encrypted.
    pub is_secure: bool,
}

/// Who sent a request, and how it was signed.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    pub(crate) principal: Principal,
    pub(crate) auth: AuthType,
    /// When it was signed, in milliseconds since 1970.
    pub(crate) signed_ms: Option<u64>,
    pub(crate) peer: Peer,
}

/// The documents of a bucket that decide, compiled.
#[derive(Debug)]
struct Rules {
    policy: Option<Document>,
    /// The policy or the block is there but cannot be read: nobody may do anything but repair it.
    is_broken: bool,
    /// Conditions of the policy look at the tags of the object.
    needs_object_tags: bool,
    /// `RestrictPublicBuckets` of a bucket with a public policy.
    is_restricted: bool,
}

/// Rules of buckets by bucket and epoch of its configuration.
#[derive(Default)]
pub(crate) struct RuleCache {
    rules: Mutex<HashMap<BucketId, (u64, Arc<Rules>)>>,
}

/// Whether a switch of the public access block of a bucket is on.
pub(crate) fn is_blocked(
    engine: &Engine,
    bucket: &BucketRow,
    switch: &str,
) -> Result<bool, S3Error> {
    let Some(bytes) = engine.document(bucket, DocumentKind::PublicAccessBlock, "")? else {
        return Ok(false);
    };
    let root = parse(&bytes, "PublicAccessBlockConfiguration")?;
    Ok(root.text_of(switch) == Some("true"))
}

impl Rules {
    fn load(engine: &Engine, bucket: &BucketRow) -> Result<Self, EngineError> {
        let text = engine.document(bucket, DocumentKind::Policy, "")?;
        let text = text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let parsed = text.as_deref().map(|t| Document::parse(t, PolicyKind::Bucket(&bucket.name)));
        let blocked = is_blocked(engine, bucket, "RestrictPublicBuckets");
        let is_broken = matches!(parsed, Some(Err(_))) || blocked.is_err();
        if is_broken {
            tracing::error!(bucket = bucket.name, "the policy of a bucket cannot be read");
        }
        let policy = parsed.and_then(Result::ok);
        let is_public = policy.as_ref().is_some_and(Document::is_public);
        let lower = text.unwrap_or_default().to_ascii_lowercase();
        Ok(Self {
            is_restricted: is_public && blocked.unwrap_or(true),
            needs_object_tags: lower.contains("existingobjecttag"),
            policy,
            is_broken,
        })
    }
}

impl RuleCache {
    fn get(&self, engine: &Engine, bucket: &BucketRow) -> Result<Arc<Rules>, EngineError> {
        let lock = || self.rules.lock().expect("no thread panicked while it held this lock");
        if let Some((epoch, rules)) = lock().get(&bucket.id)
            && *epoch == bucket.epoch
        {
            return Ok(rules.clone());
        }
        let rules = Arc::new(Rules::load(engine, bucket)?);
        let mut cache = lock();
        if cache.len() >= CACHE_COUNT_MAX {
            cache.clear();
        }
        cache.insert(bucket.id, (bucket.epoch, rules.clone()));
        Ok(rules)
    }
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
}

/// Decides whether an operation may run.
///
/// # Errors
///
/// `AccessDenied`, without a word about what exists.
pub(crate) fn authorize(context: &Context<'_>, operation: Operation) -> Result<(), S3Error> {
    let is_nobody = context.sender.principal == Principal::Anonymous;
    if is_nobody && context.request.query.iter().any(|(name, ..)| name.starts_with("response-")) {
        let message =
            "Request specific response headers cannot be used for anonymous GET requests.";
        return Err(S3Error::with(S3Code::InvalidRequest, message));
    }
    // Most requests: the owner, on a bucket without a policy.
    let copies = matches!(operation, Operation::CopyObject | Operation::UploadPartCopy);
    let bucket = context.request.bucket.as_deref();
    if !copies && bucket.is_none_or(|bucket| !is_decided_by_policy(context, bucket)) && !is_nobody {
        return Ok(());
    }
    for need in needs(context, operation)? {
        allow(context, &need)?;
    }
    Ok(())
}

/// Whether what the sender may do in a bucket has to be looked up: the owner of the account may do
/// everything where there is no policy.
pub(crate) fn is_decided_by_policy(context: &Context<'_>, bucket: &str) -> bool {
    if !matches!(context.sender.principal, Principal::Root { .. }) {
        return true;
    }
    match context.engine.find_bucket(bucket) {
        Err(EngineError::BucketNotFound) => false,
        Err(_) => true,
        Ok(row) => match context.rules.get(context.engine, &row) {
            Ok(rules) => rules.is_broken || rules.policy.is_some(),
            Err(_) => true,
        },
    }
}

/// Decides on one right.
///
/// # Errors
///
/// `AccessDenied`; `InternalError` if the bucket's rules cannot be read.
pub(crate) fn allow(context: &Context<'_>, need: &Need) -> Result<(), S3Error> {
    let sender = &context.sender;
    let is_owner = matches!(sender.principal, Principal::Root { .. });
    let denied = || Err(S3Code::AccessDenied.into());
    let bucket = match need.bucket.as_deref().map(|name| context.engine.find_bucket(name)) {
        None if is_owner => return Ok(()),
        None => return denied(),
        // That a bucket does not exist is for the owner to know, and the operation says it.
        Some(Err(EngineError::BucketNotFound)) if is_owner => return Ok(()),
        Some(Err(EngineError::BucketNotFound)) => return denied(),
        Some(bucket) => bucket?,
    };
    let rules = context.rules.get(context.engine, &bucket)?;
    if rules.is_broken && !(is_owner && need.action.ends_with("BucketPolicy")) {
        let message = format!("The configuration of the bucket {} cannot be read.", bucket.name);
        return Err(S3Error::with(S3Code::InternalError, message));
    }
    let Some(policy) = &rules.policy else { return if is_owner { Ok(()) } else { denied() } };
    if rules.is_restricted && !is_owner {
        return denied();
    }
    let facts = facts::of(context, &bucket, need, rules.needs_object_tags);
    let set = PolicySet {
        bucket: Some(("bucket policy", policy)),
        resource_account: Some(ACCOUNT),
        ..PolicySet::default()
    };
    let caller = Caller { principal: &sender.principal, canonical: None };
    let arn = Arn::s3(&bucket.name, need.key.as_deref());
    let decision = decide(caller, need.action, &arn, &facts, &set);
    if decision.allowed { Ok(()) } else { denied() }
}

/// What a request that found no object may be told: that there is none only if it may list.
pub(crate) fn hide_absence(context: &Context<'_>, error: S3Error) -> S3Error {
    if !matches!(error.code, S3Code::NoSuchKey | S3Code::NoSuchVersion) {
        return error;
    }
    let (action, bucket) = ("s3:ListBucket", context.request.bucket.clone());
    match allow(context, &Need { action, bucket, key: None, version: None }) {
        Ok(()) => error,
        Err(denied) => denied,
    }
}
