//! Deciding again when a body has come: what was decided before it began may not hold any more.

use super::{Sender, also, authorize};
use crate::auth::{Verified, identify};
use crate::body::Body;
use crate::control;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::operation::Operation;
use crate::ops;
use crate::request::S3Request;
use drystone_identity::{Directory, Identity};
use std::sync::Arc;

/// Whom the access key of a request belongs to by now. Most often nothing was changed, and nothing is looked
/// up.
///
/// # Errors
///
/// The key is not known any more, or belongs to another, or the session has ended.
pub(crate) fn identify_again(context: &Context<'_>) -> Result<Option<Arc<Identity>>, S3Error> {
    let Some(known) = &context.sender.identity else { return Ok(None) };
    let (epoch, now_ms) = (context.directory_epoch, context.engine.now_ms());
    let token = context.token.as_deref();
    let identity = still_known(context.directory, (known, token), epoch, now_ms)?;
    Ok(Some(identity))
}

/// An identity by now, which was known when the directory was at `epoch`.
///
/// # Errors
///
/// As [`identify_again`].
pub(crate) fn still_known(
    directory: &Directory,
    (known, token): (&Arc<Identity>, Option<&str>),
    epoch: u64,
    now_ms: u64,
) -> Result<Arc<Identity>, S3Error> {
    let has_ended = known.expires_ms.is_some_and(|end| end <= now_ms);
    if directory.epoch() == epoch && !has_ended {
        return Ok(known.clone());
    }
    let identity = identify(directory, &known.access_key, token)?;
    if identity.is_same(known) { Ok(identity) } else { Err(S3Code::AccessDenied.into()) }
}

/// Times that a request is decided on, if what it is decided on changes each time.
const DECISION_COUNT_MAX: u32 = 3;

/// A request with its sender and its bucket as they are by now, to be decided on after waits that its sender
/// can make long.
///
/// # Errors
///
/// As [`identify_again`].
pub(crate) fn as_it_is_now<'a>(context: &Context<'a>) -> Result<Context<'a>, S3Error> {
    context.engine.look_again();
    Ok(with_identity(context, identify_again(context)?))
}

fn with_identity<'a>(context: &Context<'a>, identity: Option<Arc<Identity>>) -> Context<'a> {
    let mut again = context.with_request(context.request.clone());
    again.sender = Sender { identity, ..context.sender.clone() };
    again.said = context.said.clone();
    again
}

/// Decides again, before the effect, on a request whose body has come: if identities, access points, the
/// configuration of the bucket, or what conditions looked at of objects were changed meanwhile.
///
/// # Errors
///
/// As [`authorize`] and [`identify_again`]; `NoSuchBucket` if the bucket is gone.
pub(crate) fn authorize_again(context: &Context<'_>) -> Result<(), S3Error> {
    let mut has_changed = false;
    for before in context.engine.look_again() {
        has_changed |= context.engine.find_bucket(&before.name)?.epoch != before.epoch;
    }
    let is_current = context.directory.epoch() == context.directory_epoch;
    let identity = identify_again(context)?;
    if is_current && !has_changed && !context.engine.is_decided_on_other()? {
        return Ok(());
    }
    context.engine.decide_again();
    let again = with_identity(context, identity);
    match context.operation {
        Some(operation) => authorize(&again, operation)?,
        None => control::allow(&again)?,
    }
    also::decide_all(&context.also, &again)
}

/// Carries out an operation, and decides again where what it was decided on changed meanwhile. Reads are
/// decided on again when they are done: their effect is the answer.
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
        // Whatever a read has waited for: what it found is told to those only who may know it by now.
        if matches!(operation.row().method, "GET" | "HEAD") {
            authorize_again(context)?;
        }
        // Of a body nothing must have been read: then it can be done from the beginning.
        let is_again = matches!(&served, Err(error) if error.decide_again) && body.is_some();
        if !is_again || count == DECISION_COUNT_MAX {
            return served;
        }
        count += 1;
        context.also.forget();
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
