//! Deciding again when a body has come: what was decided before it began may not hold any more.

use super::{Sender, authorize};
use crate::auth::{Verified, identify};
use crate::body::Body;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::operation::Operation;
use crate::ops;
use crate::request::S3Request;
use drystone_identity::Identity;
use std::sync::Arc;

/// Whom the access key of a request belongs to by now. Most often nothing was changed, and nothing is looked
/// up.
///
/// # Errors
///
/// The key is not known any more, or belongs to another, or the session has ended.
pub(crate) fn identify_again(context: &Context<'_>) -> Result<Option<Arc<Identity>>, S3Error> {
    let Some(known) = &context.sender.identity else { return Ok(None) };
    let has_ended = known.expires_ms.is_some_and(|end| end <= context.engine.now_ms());
    if context.directory.epoch() == context.directory_epoch && !has_ended {
        return Ok(Some(known.clone()));
    }
    let token = context.token.as_deref();
    let identity = identify(context.directory, &known.access_key, token)?;
    let is_same = identity.principal == known.principal
        && identity.secret_key.reveal() == known.secret_key.reveal();
    if is_same { Ok(Some(identity)) } else { Err(S3Code::AccessDenied.into()) }
}

/// Times that a request is decided on, if what it is decided on changes each time.
const DECISION_COUNT_MAX: u32 = 3;

/// Decides again, before the effect, on a request whose body has come: if identities, the configuration of
/// the bucket, or what conditions looked at of objects were changed meanwhile.
///
/// # Errors
///
/// As [`authorize`] and [`identify_again`]; `NoSuchBucket` if the bucket is gone.
pub(crate) fn authorize_again(context: &Context<'_>) -> Result<(), S3Error> {
    let bucket = context.request.bucket.as_deref().unwrap_or_default();
    let before = context.engine.find_bucket(bucket).ok();
    context.engine.look_again();
    let has_changed = match before {
        Some(before) => context.engine.find_bucket(bucket)?.epoch != before.epoch,
        None => false,
    };
    let is_current = context.directory.epoch() == context.directory_epoch;
    let identity = identify_again(context)?;
    if is_current && !has_changed && !context.engine.is_decided_on_other()? {
        return Ok(());
    }
    context.engine.decide_again();
    match context.operation {
        Some(operation) => {
            let mut again = context.with_request(context.request.clone());
            again.sender = Sender { identity, ..context.sender.clone() };
            authorize(&again, operation)
        }
        // What S3 Control decides on is decided in its operations: its clients send it again.
        None => Err(S3Code::OperationAborted.into()),
    }
}

/// Carries out an operation, and decides again where what it was decided on changed meanwhile.
///
/// # Errors
///
/// As the operation and [`authorize_again`].
pub(crate) async fn carry_out(
    context: &Context<'_>,
    operation: Operation,
    verified: Verified,
    body: &mut Option<Body>,
) -> ops::Handled {
    let mut count = 1;
    loop {
        let served = ops::dispatch(context, operation, verified.clone(), body).await;
        // Of a body nothing must have been read: then it can be done from the beginning.
        let is_again = matches!(&served, Err(error) if error.decide_again) && body.is_some();
        if !is_again || count == DECISION_COUNT_MAX {
            return served;
        }
        count += 1;
        authorize_again(context)?;
    }
}

/// Token of the session of a request: from where its signature is.
pub(crate) fn session_token(request: &S3Request) -> Option<String> {
    let in_header = request.header("x-amz-security-token");
    let token = match request.header("authorization") {
        Some(_) => in_header,
        None => {
            let in_query = request.query("X-Amz-Security-Token");
            in_query.or(request.query("x-amz-security-token")).or(in_header)
        }
    };
    token.map(str::to_owned)
}
