//! `GetBucketVersioning` and `PutBucketVersioning`.

use super::{Handled, read_root};
use crate::auth::Verified;
use crate::body::Body;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::response::{empty, xml};
use crate::xml::Xml;
use drystone_engine::Versioning;

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
    Ok(xml(document.finish(ROOT)))
}

pub(crate) async fn put(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
) -> Handled {
    let name = context.request.bucket_name()?;
    context.engine.find_bucket(name.as_str())?;
    let root = read_root(context, verified, body, ROOT).await?;
    // MFA Delete and MinIO's exclusions change what a delete does: refused, never dropped.
    if root.text_of("MfaDelete").is_some_and(|value| value != "Disabled") {
        return Err(S3Error::not_implemented("MfaDelete"));
    }
    if root.child("ExcludedPrefixes").is_some() || root.child("ExcludeFolders").is_some() {
        return Err(S3Error::not_implemented("ExcludedPrefixes"));
    }
    let versioning = match root.text_of("Status") {
        Some("Enabled") => Versioning::Enabled,
        Some("Suspended") => Versioning::Suspended,
        _ => return Err(S3Code::IllegalVersioningConfigurationException.into()),
    };
    context.engine.set_versioning(name.as_str(), versioning).await?;
    Ok(empty(200))
}
