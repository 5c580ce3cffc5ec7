//! `GetBucketPolicy`, `PutBucketPolicy`, `DeleteBucketPolicy` and `GetBucketPolicyStatus`.

use super::documents::len_max;
use super::{Handled, read_document};
use crate::auth::Verified;
use crate::authorize::check_also;
use crate::body::Body;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::resource_policy::resolve;
use crate::response::{empty, json, xml};
use crate::rules::is_blocked;
use crate::xml::Xml;
use drystone_engine::plan::DocumentKind;
use drystone_iam::{DocumentKind as PolicyKind, StoredPolicy};

/// Bytes of a policy at most.
const POLICY_LEN_MAX: usize = len_max(DocumentKind::Policy);
/// Bytes that are read of one, so that a longer one is called malformed, as by S3.
const READ_LEN_MAX: usize = 1 << 20;

fn load(context: &Context<'_>) -> Result<StoredPolicy, S3Error> {
    let name = context.request.bucket_name()?;
    let bucket = context.engine.find_bucket(name.as_str())?;
    let stored = context.engine.document(&bucket, DocumentKind::Policy, "")?;
    let unset = || S3Error::new(S3Code::NoSuchBucketPolicy).field("BucketName", name.as_str());
    Ok(StoredPolicy::of_row(&String::from_utf8_lossy(&stored.ok_or_else(unset)?)))
}

pub(crate) fn get(context: &Context<'_>) -> Handled {
    Ok(json(context.directory.shown_policy(&load(context)?)))
}

pub(crate) async fn put(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
) -> Handled {
    let name = context.request.bucket_name()?;
    context.engine.find_bucket(name.as_str())?;
    let bytes = read_document(context, verified, body, READ_LEN_MAX).await?;
    if bytes.is_empty() {
        return Err(S3Code::MissingRequestBodyError.into());
    }
    let malformed = |message: &str| S3Error::with(S3Code::MalformedPolicy, message);
    if bytes.len() > POLICY_LEN_MAX {
        return Err(malformed("Policy exceeds the maximum allowed document size of 20480 bytes."));
    }
    let text = String::from_utf8(bytes.to_vec())
        .map_err(|_| malformed("Policies must be valid JSON and the first byte must be '{'"))?;
    let (stored, policy) = resolve(context, &text, PolicyKind::Bucket(name.as_str()))?;
    if policy.is_public() {
        let bucket = name.as_str().to_owned();
        check_also(context, move |context| refuse_public(context, &bucket))?;
    }
    let stored = Some(stored.to_row());
    context.engine.set_document(name.as_str(), DocumentKind::Policy, "", stored).await?;
    Ok(empty(204))
}

/// Refuses a public policy where these are blocked.
fn refuse_public(context: &Context<'_>, bucket: &str) -> Result<(), S3Error> {
    let bucket = context.engine.find_bucket(bucket)?;
    if !is_blocked(context.engine, context.directory, &bucket, "BlockPublicPolicy")? {
        return Ok(());
    }
    let message = "The policy is public, and the public access block of the bucket refuses public \
                   policies.";
    Err(S3Error::with(S3Code::AccessDenied, message))
}

pub(crate) async fn delete(context: &Context<'_>) -> Handled {
    let name = context.request.bucket_name()?;
    context.engine.set_document(name.as_str(), DocumentKind::Policy, "", None).await?;
    Ok(empty(204))
}

pub(crate) fn status(context: &Context<'_>) -> Handled {
    let stored = load(context)?;
    let name = context.request.bucket_name()?;
    let policy = stored.document(PolicyKind::Bucket(name.as_str()));
    let mut document = Xml::new("PolicyStatus");
    // What cannot be read is not said to be private.
    document.bool("IsPublic", policy.map_or(true, |policy| policy.is_public()));
    Ok(xml(document.finish("PolicyStatus")))
}
