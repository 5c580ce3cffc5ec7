//! `GetBucketVersioning` and `PutBucketVersioning`.

use super::{Handled, read_root};
use crate::auth::Verified;
use crate::authorize::account_of;
use crate::body::Body;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::mfa;
use crate::response::{empty, xml};
use crate::xml::Xml;
use drystone_engine::plan::DocumentKind;
use drystone_engine::{EngineError, Versioning};

const ROOT: &str = "VersioningConfiguration";

pub(crate) fn get(context: &Context<'_>) -> Handled {
    let name = context.request.bucket_name()?;
    let bucket = context.engine.find_bucket(name.as_str())?;
    let mut document = Xml::new(ROOT);
    match bucket.versioning {
        Versioning::Off => {}
        Versioning::Enabled => drop(document.text("Status", "Enabled")),
        Versioning::Suspended => drop(document.text("Status", "Suspended")),
    }
    if bucket.needs_mfa {
        document.text("MfaDelete", "Enabled");
    }
    Ok(xml(document.finish(ROOT)))
}

pub(crate) async fn put(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
) -> Handled {
    let name = context.request.bucket_name()?;
    let bucket = context.engine.find_bucket(name.as_str())?;
    let root = read_root(context, verified, body, ROOT).await?;
    let needs_mfa = match root.text_of("MfaDelete") {
        None => None,
        Some("Enabled") => Some(true),
        Some("Disabled") => Some(false),
        Some(_) => return Err(S3Code::IllegalVersioningConfigurationException.into()),
    };
    // MinIO's exclusions change what a delete does: refused, never dropped.
    if root.child("ExcludedPrefixes").is_some() || root.child("ExcludeFolders").is_some() {
        return Err(S3Error::not_implemented("ExcludedPrefixes"));
    }
    let versioning = match root.text_of("Status") {
        Some("Enabled") => Versioning::Enabled,
        Some("Suspended") => Versioning::Suspended,
        _ => return Err(S3Code::IllegalVersioningConfigurationException.into()),
    };
    let changes_mfa = needs_mfa.is_some_and(|needs| needs != bucket.needs_mfa);
    let is_owner = context.sender.is_owner_of(account_of(&bucket));
    if changes_mfa && !is_owner {
        let message = "Only the owner of the bucket's account changes MFA Delete.";
        return Err(S3Error::with(S3Code::AccessDenied, message));
    }
    let has_mfa = mfa::check(context, &bucket).await?;
    // Lifecycle rules may have been set while the code was looked at.
    let bucket = context.engine.find_bucket(name.as_str())?;
    let has_lifecycle = || context.engine.document(&bucket, DocumentKind::Lifecycle, "");
    if needs_mfa == Some(true) && changes_mfa && has_lifecycle()?.is_some() {
        let message = "MFA Delete cannot be switched on for a bucket with lifecycle rules: no one gives a \
                       code for what they remove. Remove the rules first.";
        return Err(S3Error::with(S3Code::InvalidBucketState, message));
    }
    let set = context.engine.set_versioning(name.as_str(), versioning, needs_mfa, has_mfa).await;
    set.map_err(|error| match error {
        EngineError::BucketState => {
            let message =
                "Versioning cannot be suspended in a bucket with Object Lock: it locks versions.";
            S3Error::with(S3Code::InvalidBucketState, message)
        }
        error => error.into(),
    })?;
    Ok(empty(200))
}
