//! What comes with a copy or a new name: anyone who could not read the tags must not get them that way, nor
//! set tags or a list where these may not be set. Each decision is on the row as it is then, and is made
//! again where that changed before the commit.

use super::{Need, Said, allow, check_also, refuse_denied};
use crate::error::S3Error;
use crate::gateway::Context;
use drystone_engine::{EngineError, Located, ObjectRow, VersionRef};
use std::sync::Arc;

/// A version of an object that is read: the need is one to read it.
#[derive(Clone)]
pub(crate) struct ReadFrom {
    pub(crate) need: Need,
    pub(crate) version: Option<VersionRef>,
}

impl ReadFrom {
    /// The version as it is now. Nothing is committed if it is another one then.
    fn row(&self, context: &Context<'_>) -> Result<Option<ObjectRow>, S3Error> {
        let (bucket, key) = (self.need.bucket.as_deref(), self.need.key.as_deref());
        let bucket = context.engine.find_bucket(bucket.unwrap_or_default())?;
        Ok(context.engine.look_at(&bucket, key.unwrap_or_default().as_bytes(), self.version))
    }
}

/// Decides whether the tags of a version that was found may become those of the copy that is written. The
/// copy gets those that were found: where they are others by the commit, the request begins again. Where it
/// copies an object onto itself, that holds for an object without tags, too.
///
/// # Errors
///
/// `AccessDenied`, or that the request is to begin again.
pub(crate) fn decide_on_copied_tags(
    context: &Context<'_>,
    source: ReadFrom,
    located: &Located,
    is_onto_itself: bool,
) -> Result<(), S3Error> {
    let tags = located.row.tags.clone();
    if tags.is_empty() && !is_onto_itself {
        return Ok(());
    }
    check_also(context, move |context| match source.row(context)? {
        Some(row) if row.tags == tags => allow_carried_tags(context, &source.need, &tags),
        _ => Err(EngineError::DecidedOnOther.into()),
    })
}

/// Decides whether the current version of a key may get another key with all that is said of it. `target`:
/// to set its list there.
///
/// # Errors
///
/// `AccessDenied`.
pub(crate) fn decide_on_renamed(
    context: &Context<'_>,
    source: ReadFrom,
    target: Need,
) -> Result<(), S3Error> {
    check_also(context, move |context| {
        // What is not there is said by the renaming.
        let Some(row) = source.row(context)? else { return Ok(()) };
        allow_carried_tags(context, &source.need, &row.tags)?;
        // A list goes along, too.
        if row.acl.is_some() { refuse_denied(context, &target) } else { Ok(()) }
    })
}

/// Decides whether the tags of `source` may become those of what the request writes. The need of `source` is
/// one to read the object.
///
/// # Errors
///
/// `AccessDenied`.
fn allow_carried_tags(
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
