//! `GetBucketPolicy`, `PutBucketPolicy`, `DeleteBucketPolicy` and `GetBucketPolicyStatus`.

use super::{Handled, read_document};
use crate::auth::Verified;
use crate::authorize::is_blocked;
use crate::body::Body;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::response::{empty, json, xml};
use crate::xml::Xml;
use drystone_engine::plan::DocumentKind;
use drystone_iam::{Document, DocumentKind as PolicyKind};

/// Bytes of a policy at most.
const POLICY_LEN_MAX: usize = 20 << 10;

/// The stored text.
fn load(context: &Context<'_>) -> Result<String, S3Error> {
    let name = context.request.bucket_name()?;
    let bucket = context.engine.find_bucket(name.as_str())?;
    let stored = context.engine.document(&bucket, DocumentKind::Policy, "")?;
    let unset = || S3Error::new(S3Code::NoSuchBucketPolicy).field("BucketName", name.as_str());
    Ok(String::from_utf8_lossy(&stored.ok_or_else(unset)?).into_owned())
}

pub(crate) fn get(context: &Context<'_>) -> Handled {
    Ok(json(load(context)?))
}

pub(crate) async fn put(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
) -> Handled {
    let name = context.request.bucket_name()?;
    let bucket = context.engine.find_bucket(name.as_str())?;
    let bytes = read_document(context, verified, body, 1 << 20).await?;
    if bytes.is_empty() {
        return Err(S3Code::MissingRequestBodyError.into());
    }
    let malformed = |message: &str| S3Error::with(S3Code::MalformedPolicy, message);
    if bytes.len() > POLICY_LEN_MAX {
        return Err(malformed("Policy exceeds the maximum allowed document size of 20480 bytes."));
    }
    let text = String::from_utf8(bytes.to_vec())
        .map_err(|_| malformed("Policies must be valid JSON and the first byte must be '{'"))?;
    let policy = Document::parse_new(&text, PolicyKind::Bucket(name.as_str()))
        .map_err(|error| malformed(&error.to_string()))?;
    if policy.is_public()
        && is_blocked(context.engine, context.directory, &bucket, "BlockPublicPolicy")?
    {
        let message = "The policy is public, and the public access block of the bucket refuses \
                       public policies.";
        return Err(S3Error::with(S3Code::AccessDenied, message));
    }
    let stored = Some(text.into_bytes());
    context.engine.set_document(name.as_str(), DocumentKind::Policy, "", stored).await?;
    Ok(empty(204))
}

pub(crate) async fn delete(context: &Context<'_>) -> Handled {
    let name = context.request.bucket_name()?;
    context.engine.set_document(name.as_str(), DocumentKind::Policy, "", None).await?;
    Ok(empty(204))
}

pub(crate) fn status(context: &Context<'_>) -> Handled {
    let text = load(context)?;
    let name = context.request.bucket_name()?;
    let policy = Document::parse(&text, PolicyKind::Bucket(name.as_str()));
    let mut document = Xml::new("PolicyStatus");
    // What cannot be read is not said to be private.
    document.bool("IsPublic", policy.map_or(true, |policy| policy.is_public()));
    Ok(xml(document.finish("PolicyStatus")))
}
