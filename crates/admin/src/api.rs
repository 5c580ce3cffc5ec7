//! The admin API of our own: JSON in, JSON out, one right per request.

mod buckets;
mod drives;
mod groups;
mod kms;
mod mfa;
mod policies;
mod sessions;
mod users;

pub use drives::Drives;
pub(crate) use drives::{Lacking, Verifying};

use crate::attempt::{Attempt, Attempts};
use crate::door::{Actor, AdminRequest, Denied};
use crate::rights::Right;
use crate::{Admin, AdminResponse, DRIVE_FULL, cut, respond};
use drystone_admin_api::{Account, Answer, Failure, FailureCode, Refusal, Request};
use drystone_base::Timestamp;
use drystone_engine::EngineError;
use drystone_iam::Reason;
use drystone_identity::{EntityKind, ExplainedDecision, IdentityError};
use http::StatusCode;

impl From<Denied> for Failed {
    fn from(denied: Denied) -> Self {
        Self(Failure { code: FailureCode::Denied, message: denied.message })
    }
}

impl From<IdentityError> for Failed {
    fn from(error: IdentityError) -> Self {
        let code = match &error {
            _ if error.is_full() => FailureCode::Limit,
            _ if error.takes_no_changes().is_some() => FailureCode::Unavailable,
            IdentityError::NotFound { .. } => FailureCode::NotFound,
            IdentityError::Exists { .. } => FailureCode::Exists,
            IdentityError::InUse(_) | IdentityError::BuiltIn(_) => FailureCode::InUse,
            IdentityError::Limit(_) => FailureCode::Limit,
            IdentityError::Invalid { .. } | IdentityError::Policy(_) => FailureCode::Invalid,
            IdentityError::NoRoom | IdentityError::Changed => FailureCode::Unavailable,
            IdentityError::Forbidden(_) => FailureCode::Denied,
            IdentityError::Keyring(_)
            | IdentityError::Damaged { .. }
            | IdentityError::Catalog(_) => {
                tracing::error!(%error, "the administration failed");
                FailureCode::Failed
            }
        };
        let refused = error.takes_no_changes().or(error.is_full().then(|| DRIVE_FULL.to_owned()));
        let message = refused.unwrap_or_else(|| error.to_string());
        Self(Failure { code, message })
    }
}

impl From<EngineError> for Failed {
    fn from(error: EngineError) -> Self {
        let code = match error {
            EngineError::Closed | EngineError::ReadOnly | EngineError::DecidedOnOther => {
                FailureCode::Unavailable
            }
            _ => FailureCode::Failed,
        };
        Self(Failure { code, message: error.to_string() })
    }
}

/// A failure on its way out.
struct Failed(Failure);

/// The name of an operation.
#[derive(serde::Deserialize)]
struct Named {
    op: String,
}

type Outcome = Result<Answer, Failed>;

fn status_of(code: FailureCode) -> StatusCode {
    match code {
        FailureCode::NotFound => StatusCode::NOT_FOUND,
        FailureCode::Exists | FailureCode::InUse | FailureCode::Limit => StatusCode::CONFLICT,
        FailureCode::Invalid => StatusCode::BAD_REQUEST,
        FailureCode::Denied => StatusCode::FORBIDDEN,
        FailureCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        FailureCode::Failed => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> AdminResponse {
    let body = serde_json::to_vec(value).expect("answers become JSON");
    respond(status, "application/json", body)
}

fn refuse(failure: &Failure) -> AdminResponse {
    let Failure { code, message } = failure;
    json(status_of(*code), &Failure { code: *code, message: cut(message).to_owned() })
}

/// A refusal that was made before the request was looked at.
pub(crate) fn refuse_early(status: u16, message: &str) -> AdminResponse {
    let code = match status {
        401 | 403 => FailureCode::Denied,
        500.. => FailureCode::Failed,
        _ => FailureCode::Invalid,
    };
    refuse(&Failure { code, message: message.to_owned() })
}

/// Answers a request.
pub(crate) async fn serve(admin: &Admin, request: &AdminRequest) -> AdminResponse {
    let Some(identity) = &request.identity else {
        return refuse_early(403, "The request must be signed.");
    };
    if request.method != http::Method::POST {
        return refuse_early(400, "The admin API takes POST requests.");
    }
    let wanted: Request = match serde_json::from_slice(&request.body) {
        Ok(wanted) => wanted,
        Err(error) => return refuse_early(400, &format!("The request is not valid: {error}")),
    };
    // What the table of rights does not name is not served.
    let op = serde_json::from_slice::<Named>(&request.body).map(|named| named.op);
    let Some(op) = op.ok().filter(|op| Right::of_api(op).is_some()) else {
        return refuse_early(400, "This request is not implemented.");
    };
    let mut attempts = Attempts::new(&admin.directory, request, identity);
    loop {
        let attempt = match attempts.begin().await {
            Ok(attempt) => attempt,
            Err(error) => return refuse(&Failed::from(error).0),
        };
        let answer = decide(admin, request, &attempt, (&op, wanted.clone())).await;
        if !attempts.go_on(&attempt) {
            return answer.unwrap_or_else(|Failed(failure)| refuse(&failure));
        }
    }
}

async fn decide(
    admin: &Admin,
    request: &AdminRequest,
    attempt: &Attempt,
    (op, wanted): (&str, Request),
) -> Result<AdminResponse, Failed> {
    let actor = Actor::new(admin, attempt, request);
    if Right::needs_lasting_key(op) {
        actor.require_lasting()?;
    }
    let answer = dispatch(&actor, admin, wanted).await?;
    actor.room.cover(&answer)?;
    Ok(json(StatusCode::OK, &answer))
}

/// Hands a request to those that may know it, one after another.
async fn dispatch(actor: &Actor<'_>, admin: &Admin, request: Request) -> Outcome {
    let request = match drives::run(actor, admin, request).await {
        Ok(outcome) => return outcome,
        Err(request) => request,
    };
    let request = match kms::run(actor, admin, request).await {
        Ok(outcome) => return outcome,
        Err(request) => request,
    };
    let request = match buckets::run(actor, admin, request).await {
        Ok(outcome) => return outcome,
        Err(request) => request,
    };
    let request = match sessions::run(actor, request).await {
        Ok(outcome) => return outcome,
        Err(request) => request,
    };
    match mfa::run(actor, request).await {
        Ok(outcome) => outcome,
        Err(request) => run(actor, request).await,
    }
}

impl Actor<'_> {
    /// Refuses unless the caller has a right to an entity of the account.
    fn need(&self, right: Right, kind: EntityKind, name: &str) -> Result<(), Failed> {
        Ok(self.require(right, &self.arn(kind, name)?)?)
    }

    /// As [`Actor::need`], for a list of all of a kind.
    fn need_all(&self, right: Right, kind: EntityKind) -> Result<(), Failed> {
        Ok(self.require(right, &self.all(kind))?)
    }
}

async fn run(actor: &Actor<'_>, request: Request) -> Outcome {
    let directory = actor.directory;
    match request {
        Request::AccountAdd { id, name } => {
            actor.require_server(Right::CreateAccount)?;
            // The answer is a key of an owner, which lasts and is not narrowed.
            actor.refuse_denied(Right::CreateAccessKey, &actor.all(EntityKind::User))?;
            let (_, access_key, secret) = directory.create_account(&id, &name).await?;
            Ok(Answer::Secret { access_key, secret_key: secret.reveal().to_owned() })
        }
        Request::AccountList => {
            actor.require_server(Right::ListAccounts)?;
            let named = |a: drystone_identity::Account| Account {
                id: a.id,
                canonical: a.canonical,
                name: a.name,
            };
            let list = || directory.accounts(&actor.room, named);
            Ok(Answer::Accounts(actor.list(list).await?))
        }
        Request::RotateSigningKey => {
            actor.require_server(Right::RotateSigningKey)?;
            directory.rotate_signing_key().await?;
            Ok(Answer::Done)
        }
        Request::Explain { request_id } => {
            actor.require_server(Right::Explain)?;
            let refusals = directory.explanations().find(&request_id);
            Ok(Answer::Refusals(refusals.into_iter().map(refusal).collect()))
        }
        request => match users::run(actor, request).await {
            Ok(outcome) => outcome,
            Err(request) => match groups::run(actor, request).await {
                Ok(outcome) => outcome,
                Err(request) => policies::run(actor, request).await,
            },
        },
    }
}

fn refusal(decision: ExplainedDecision) -> Refusal {
    let explanation = decision.explanation;
    let reason = match explanation.reason {
        Reason::ExplicitDeny => "a statement denies it",
        Reason::TooCostly => "the policies take too long to compare with the request",
        Reason::NoAllow => "no statement allows it",
        Reason::BoundaryLimits => "the permissions boundary does not allow it",
        Reason::SessionLimits => "the policies of the session do not allow it",
        Reason::ServiceAccountLimits => "the policy of the key does not allow it",
        Reason::OneSideOnly => "the bucket belongs to another account, and only one side allows it",
        Reason::PublicAccessBlock => "the public access block refuses it",
        Reason::Allow | Reason::Root | Reason::Acl => "it is allowed",
    };
    Refusal {
        request_id: decision.request_id,
        time: Timestamp(decision.time_ms).to_iso(),
        principal: decision.principal,
        access_key: decision.access_key,
        action: decision.action,
        resource: decision.resource,
        reason: reason.to_owned(),
        policy: explanation.policy,
        sid: explanation.sid,
        statement: explanation.index,
    }
}
