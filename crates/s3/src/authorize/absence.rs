//! What is told of what is not there.
//!
//! That there is no object is told to who may list its bucket (S3 API reference, "GetObject": `NoSuchKey`
//! with the right to list, `AccessDenied` without), whether or not he may read it, unless a statement
//! denies that. Which buckets and access points there are is told to no one without a right to them; S3
//! tells of buckets (decision 37).

use super::{Need, decide_need, is_decided_by_policy, may};
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::operation::Operation;
use crate::ops::{parse_copy_source, rename_source};
use drystone_engine::EngineError;

/// What a sender is told who has no right, in place of the refusal.
pub(super) fn tell(context: &Context<'_>, need: &Need, refusal: S3Error) -> S3Error {
    let (Some(bucket), Some(key), None) = (&need.bucket, &need.key, &need.point) else {
        return refusal;
    };
    let is_denied =
        || !decide_need(context, need).is_ok_and(|it| !it.explanation.reason.is_final());
    if need.action != "s3:GetObject" || refusal.code != S3Code::AccessDenied || is_denied() {
        return refusal;
    }
    match context.engine.locate(bucket, key.as_bytes(), None) {
        Err(missing @ EngineError::ObjectNotFound { .. }) if may_list(context, bucket) => {
            missing.into()
        }
        _ => refusal,
    }
}

fn may_list(context: &Context<'_>, bucket: &str) -> bool {
    may(context, &Need::on("s3:ListBucket", Some(bucket)))
}

/// What a request that found no object may be told: that there is none only if it may list.
pub(crate) fn hide_absence(context: &Context<'_>, error: S3Error) -> S3Error {
    if !matches!(error.code, S3Code::NoSuchKey | S3Code::NoSuchVersion) {
        return error;
    }
    let source = copy_source(context).map(|(bucket, _)| bucket);
    let bucket = source.or(context.request.bucket.clone()).unwrap_or_default();
    if !is_decided_by_policy(context, &bucket) || may_list(context, &bucket) {
        return error;
    }
    S3Code::AccessDenied.into()
}

/// Bucket and key of what a copy reads. To other operations the header means nothing.
fn copy_source(context: &Context<'_>) -> Option<(String, String)> {
    let copies = [Operation::CopyObject, Operation::UploadPartCopy];
    context.operation.filter(|operation| copies.contains(operation))?;
    let text = context.request.header("x-amz-copy-source")?;
    parse_copy_source(text).ok().map(|(bucket, key, _)| (bucket, key))
}

/// The prefix by which the right to list is decided where the question is whether one object is there:
/// its name. Who may list by it could ask so.
pub(super) fn sought(context: &Context<'_>, need: &Need) -> Option<String> {
    if need.action != "s3:ListBucket" || need.key.is_some() {
        return None;
    }
    match context.operation {
        Some(Operation::RenameObject) => rename_source(&context.request).ok(),
        _ => copy_source(context).map(|(_, key)| key).or(context.request.key.clone()),
    }
}
