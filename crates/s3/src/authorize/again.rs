//! Deciding again: what was decided before a wait may not hold any more when the effect comes. What asks for
//! it is in `engine/src/commit.rs`.

use super::{Sender, also, authorize};
use crate::auth::{Verified, identify};
use crate::body::Body;
use crate::consumer::consumer_of;
use crate::control;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::operation::Operation;
use crate::ops;
use crate::request::S3Request;
use drystone_identity::{Directory, Identity, IdentityError};
use std::pin::{Pin, pin};
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
/// can make long. The caller decides on each of its effects.
///
/// # Errors
///
/// As [`identify_again`].
pub(crate) fn as_it_is_now<'a>(context: &Context<'a>) -> Result<Context<'a>, S3Error> {
    context.engine.begin_decision();
    let now = with_identity(context, identify_again(context)?);
    now.is_decided();
    Ok(now)
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
    match context.engine.is_decision_current()? {
        true => Ok(()),
        false => decide_anew(context),
    }
}

/// Decides again, by everything as it is now.
fn decide_anew(context: &Context<'_>) -> Result<(), S3Error> {
    let engine = context.engine;
    let rows = engine.begin_decision();
    engine.forget_objects();
    let again = with_identity(context, identify_again(context)?);
    rows.iter().try_for_each(|row| engine.find_bucket(&row.name).map(drop))?;
    match context.operation {
        Some(operation) => authorize(&again, operation)?,
        None => control::allow(&again)?,
    }
    also::decide_all(&context.also, &again)?;
    again.is_decided();
    Ok(())
}

/// Times that a change of the directory is decided on.
const CHANGE_COUNT_MAX: u32 = 8;
/// From this decision on a change of the directory reserves the buckets that it was decided on.
const BUCKETS_FROM: u32 = 3;

/// Changes something of the sender's account in the directory, by a decision that the plan compares
/// (`identity/src/decided.rs`).
///
/// # Errors
///
/// As the change; why the request was refused when it was decided on again; `OperationAborted` if something
/// else changed each time.
pub(crate) async fn change_directory<T, F: Future<Output = Result<T, IdentityError>> + Send>(
    context: &Context<'_>,
    error_of: impl Fn(&IdentityError) -> S3Error,
    change: impl Fn(Directory) -> F,
) -> Result<T, S3Error> {
    let account = context.sender.account().unwrap_or_default();
    let caller = consumer_of(&context.sender);
    let mut reserved = None;
    for count in 1..=CHANGE_COUNT_MAX {
        let directory = match count {
            1 => context.directory.for_decision(account),
            _ => {
                let reserved = context.directory.for_reserved_decision(account, caller).await;
                reserved.map_err(|error| error_of(&error))?
            }
        };
        // Buckets are compared too: those who change them all the time keep no one out.
        if count >= BUCKETS_FROM && reserved.is_none() {
            reserved = Some(context.engine.reserve_buckets().await);
        }
        decide_anew(context)?;
        directory.set_decision_end(context.engine.decision_end_ms());
        directory.compare_also(context.engine.compares_buckets());
        match change(directory).await {
            Err(IdentityError::Changed) => {}
            outcome => return outcome.map_err(|error| error_of(&error)),
        }
    }
    Err(S3Code::OperationAborted.into())
}

/// Runs what has effects. A commit that finds that something was changed since the request was decided on
/// has no effect until it is decided on again here.
///
/// # Errors
///
/// As the work; why the request was refused when it was decided on again.
pub(crate) async fn with_decisions<T>(
    context: &Context<'_>,
    work: Pin<&mut (impl Future<Output = Result<T, S3Error>> + ?Sized)>,
) -> Result<T, S3Error> {
    let mut refused = None;
    let decide = || match decide_anew(context) {
        Ok(()) => true,
        Err(error) => {
            refused = Some(error);
            false
        }
    };
    let done = context.engine.deciding(work, decide).await;
    match (done, refused) {
        (Err(error), Some(refused)) if error.decide_again => Err(refused),
        (done, _) => done,
    }
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
        let served = {
            let work = pin!(ops::dispatch(context, operation, verified.clone(), body));
            with_decisions(context, work).await
        };
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

/// Reads the object that a page of a website is, as [`carry_out`] does for `GetObject`.
///
/// # Errors
///
/// As [`carry_out`].
pub(crate) async fn read_page(context: &Context<'_>, with_body: bool) -> ops::Handled {
    let mut count = 1;
    loop {
        // Another page may have been looked for before.
        context.also.forget();
        let read = ops::read_object(context, with_body).await;
        authorize_again(context)?;
        let is_again = matches!(&read, Err(error) if error.decide_again);
        if !is_again || count == DECISION_COUNT_MAX {
            return read;
        }
        count += 1;
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
