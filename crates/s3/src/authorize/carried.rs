//! Tags that come with a copy or a new name: anyone who could not read them must not get them that way, nor
//! set them where tags may not be set.

use super::{Need, Said, allow};
use crate::error::S3Error;
use crate::gateway::Context;
use std::sync::Arc;

/// Decides whether the tags of `source` may become those of what the request writes. The need of `source` is
/// one to read the object.
///
/// # Errors
///
/// `AccessDenied`.
pub(super) fn allow_carried_tags(
    context: &Context<'_>,
    source: &Need,
    tags: &[(String, String)],
) -> Result<(), S3Error> {
    if tags.is_empty() {
        return Ok(());
    }
    let action = match source.version {
        Some(_) => "s3:GetObjectVersionTagging",
        None => "s3:GetObjectTagging",
    };
    allow(context, &Need { action, ..source.clone() })?;
    let request = &context.request;
    let target = Need {
        action: "s3:PutObjectTagging",
        bucket: request.bucket.clone(),
        key: request.key.clone(),
        version: None,
        point: request.point.clone(),
    };
    // Conditions on the tags that are set see those that come along.
    let mut setting = context.with_request(request.clone());
    setting.said = Some(Arc::new(Said::of_tags(tags.to_vec())));
    allow(&setting, &target)
}
