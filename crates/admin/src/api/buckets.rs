//! What no S3 request sets: which buckets take appends, and that the clock of locks is right.

use super::mfa::require_owner;
use super::{Failed, Outcome};
use crate::Admin;
use crate::door::Actor;
use crate::rights::Right;
use drystone_admin_api::{Answer, Failure, FailureCode, LockClock, Request};
use drystone_base::Timestamp;
use drystone_engine::EngineError;

/// Runs a request about buckets; gives back any other.
pub(super) async fn run(
    actor: &Actor<'_>,
    admin: &Admin,
    request: Request,
) -> Result<Outcome, Request> {
    Ok(match request {
        Request::BucketAppends { bucket, enabled } => appends(actor, admin, &bucket, enabled).await,
        Request::LockConfirmClock => confirm_clock(actor, admin).await,
        request => return Err(request),
    })
}

/// Ends locks, perhaps: who asks must be at the machine itself, and look at its clock.
async fn confirm_clock(actor: &Actor<'_>, admin: &Admin) -> Outcome {
    require_owner(actor)?;
    actor.require_socket()?;
    let clock = admin.engine.confirm_lock_clock(actor.directory.decision_guard()).await?;
    let (from, to) = (Timestamp(clock.from_ms).to_iso(), Timestamp(clock.to_ms).to_iso());
    tracing::warn!(from, to, was_held = clock.was_held, "the clock of locks was confirmed");
    Ok(Answer::LockClock(LockClock { from, to, was_held: clock.was_held }))
}

async fn appends(actor: &Actor<'_>, admin: &Admin, bucket: &str, enabled: bool) -> Outcome {
    actor.require_server(Right::ConfigUpdate)?;
    let failed = |code, message: String| Failed(Failure { code, message });
    let holds = actor.directory.decision_guard();
    admin.engine.set_appends(bucket, enabled, holds).await.map_err(|error| match error {
        EngineError::BucketNotFound => {
            failed(FailureCode::NotFound, format!("There is no bucket {bucket}."))
        }
        EngineError::BucketState => {
            let message = "Objects of a bucket that keeps versions cannot be appended to.";
            failed(FailureCode::Invalid, message.to_owned())
        }
        error => error.into(),
    })?;
    Ok(Answer::Done)
}
