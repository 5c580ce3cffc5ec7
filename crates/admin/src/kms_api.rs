//! The API of AWS's key service: `POST /` with a target, JSON both ways. Operations that are not here are
//! refused before any effect.
//!
//! Source: AWS KMS API reference, version 2014-11-01.

mod aliases;
mod error;
mod fields;
mod grants;
mod keys;
mod not_there;
mod seals;

use crate::attempt::Attempts;
use crate::door::{Actor, AdminRequest};
use crate::rights::Right;
use crate::{Admin, AdminResponse, respond};
use drystone_identity::IdentityError;
use drystone_kms::{Kms, KmsError};
use error::ApiError;
pub(crate) use error::refuse_early;
use fields::Fields;
use http::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What the target of a request begins with.
pub(crate) const TARGET: &str = "TrentService.";
/// Type of bodies.
const KIND: &str = "application/x-amz-json-1.1";

/// A call on its way.
struct Call<'a> {
    actor: Actor<'a>,
    admin: &'a Admin,
    kms: Kms,
    fields: &'a Fields,
    right: Right,
}

/// `None`: no operation of the file.
type Answer = Result<Value, ApiError>;

/// An encryption context.
type Context = BTreeMap<String, String>;

impl Call<'_> {
    fn account(&self) -> &str {
        self.actor.account()
    }

    /// The id of the key that the call names.
    fn named(&self) -> Result<String, ApiError> {
        let text = self.fields.need("KeyId")?;
        self.resolve(&text)
    }

    fn resolve(&self, text: &str) -> Result<String, ApiError> {
        Ok(self.kms.resolve(text, Some(self.account()))?)
    }

    /// The id of the key that the call names, if the caller may do this to it.
    fn key(&self) -> Result<String, ApiError> {
        let id = self.named()?;
        self.require(self.right, &id, &Context::new())?;
        Ok(id)
    }

    /// As [`Call::key`], of a key of the account of the caller: others may not do this, whatever its policy
    /// says (AWS KMS developer guide, "Allowing users in other accounts to use a KMS key").
    fn own_key(&self) -> Result<String, ApiError> {
        let id = self.key()?;
        if self.kms.describe(&id)?.account.as_deref() != self.kms.owner(self.account()) {
            let message = format!("The key {} belongs to another account.", self.kms.arn(&id));
            return Err(ApiError::new("AccessDeniedException", message));
        }
        Ok(id)
    }

    /// Refuses unless the caller has a right to a key: by policies, the policy of the key, or a grant that
    /// covers the encryption context.
    fn require(&self, right: Right, id: &str, context: &Context) -> Result<(), ApiError> {
        let rules = self.kms.rules(id)?;
        Ok(self.actor.require_key(right, &self.kms, (id, &rules), context)?)
    }

    /// Refuses unless the caller has a right to something of the account that is no key.
    fn require_on(&self, right: Right, kind: &str, name: &str) -> Result<(), ApiError> {
        let arn = self.kms.arn_in(self.kms.owner(self.account()), kind, name);
        Ok(self.actor.require_kms_of_account(right, &arn)?)
    }

    /// The keys, for a change: every field of the call must have been read by now.
    fn changes(&self) -> Result<&Kms, ApiError> {
        self.fields.refuse_unread()?;
        Ok(&self.kms)
    }

    /// A page of a list.
    fn page<T>(&self, all: Vec<T>, name: impl Fn(&T) -> &str) -> Result<Page<T>, ApiError> {
        let limit = match self.fields.number("Limit")? {
            None => 100,
            Some(limit @ 1..=1000) => limit as usize,
            Some(_) => return Err(ApiError::validation("Limit must be from 1 to 1000.")),
        };
        let after = self.fields.text("Marker")?;
        let mut rest = all
            .into_iter()
            .filter(|entry| after.as_deref().is_none_or(|after| name(entry) > after));
        let entries: Vec<T> = rest.by_ref().take(limit).collect();
        let next = rest.next().and(entries.last()).map(|last| name(last).to_owned());
        Ok(Page { entries, next })
    }
}

struct Page<T> {
    entries: Vec<T>,
    next: Option<String>,
}

impl<T> Page<T> {
    /// The answer with the list under a name.
    fn answer(self, list: &str, of: impl FnMut(T) -> Value) -> Value {
        let entries: Vec<Value> = self.entries.into_iter().map(of).collect();
        let mut answer = json!({ list: entries, "Truncated": self.next.is_some() });
        if let Some(next) = self.next {
            answer["NextMarker"] = json!(next);
        }
        answer
    }
}

/// Answers a call.
pub(crate) async fn serve(admin: &Admin, request: &AdminRequest) -> AdminResponse {
    let target = request.header("x-amz-target").unwrap_or_default();
    let operation = target.strip_prefix(TARGET).unwrap_or(target);
    match run(admin, request, operation).await {
        Ok(Value::Null) => respond(StatusCode::OK, KIND, ""),
        Ok(answer) => respond(StatusCode::OK, KIND, answer.to_string()),
        Err(error) => error.respond(),
    }
}

async fn run(admin: &Admin, request: &AdminRequest, operation: &str) -> Answer {
    let Some(identity) = &request.identity else {
        let message = "Missing Authentication Token";
        return Err(ApiError::new("MissingAuthenticationTokenException", message));
    };
    let Some(right) = Right::of_kms(operation) else {
        return Err(not_there::refusal(operation));
    };
    let given = Fields::parse(&request.body)?;
    let mut attempts = Attempts::new(&admin.directory, request, identity);
    loop {
        let attempt = attempts.begin().await?;
        let actor = Actor::new(admin, &attempt, request);
        let kms = admin.kms.guarded(actor.directory.decision_guard());
        let fields = given.again();
        let call = Call { actor, admin, kms, fields: &fields, right };
        let answer = match call.actor.look_again() {
            Ok(()) => dispatch(&call, operation).await,
            Err(error) => Err(error.into()),
        };
        if let Err(ApiError::Changed) = &answer {
            let _ = call.actor.directory.refuse_decision::<()>();
        }
        if !attempts.go_on(&attempt) {
            return answer;
        }
    }
}

async fn dispatch(call: &Call<'_>, operation: &str) -> Answer {
    let answer = match keys::run(call, operation).await {
        Some(answer) => answer?,
        None => match aliases::run(call, operation).await {
            Some(answer) => answer?,
            None => match seals::run(call, operation).await {
                Some(answer) => answer?,
                None => match grants::run(call, operation).await {
                    Some(answer) => answer?,
                    None => return Err(not_there::refusal(operation)),
                },
            },
        },
    };
    // An operation that changed something has asked before.
    call.fields.refuse_unread()?;
    call.actor.room.cover(&answer)?;
    Ok(answer)
}

impl From<IdentityError> for ApiError {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Changed => Self::Changed,
            IdentityError::NoRoom => Self::new("ThrottlingException", error.to_string()),
            IdentityError::Policy(error) => {
                Self::new("MalformedPolicyDocumentException", error.to_string())
            }
            IdentityError::Forbidden(message) => Self::new("AccessDeniedException", message),
            IdentityError::Invalid { message, .. } => Self::validation(message),
            error => {
                tracing::error!(%error, "the key service failed");
                Self::new("KMSInternalException", "The request could not be carried out.")
            }
        }
    }
}

impl From<KmsError> for ApiError {
    fn from(error: KmsError) -> Self {
        if let Some(message) = error.takes_no_changes() {
            return Self::new("DependencyTimeoutException", message);
        }
        let message = error.to_string();
        match error {
            KmsError::Changed => Self::Changed,
            _ if error.is_full() => Self::new("KMSInternalException", crate::DRIVE_FULL),
            KmsError::NotFound(_) => Self::new("NotFoundException", message),
            KmsError::Disabled(_) => Self::new("DisabledException", message),
            KmsError::Pending(_) | KmsError::Needed(_) => {
                Self::new("KMSInvalidStateException", message)
            }
            KmsError::Exists(_) => Self::new("AlreadyExistsException", message),
            KmsError::Invalid(_) => Self::validation(message),
            KmsError::Limit(_) => Self::new("LimitExceededException", message),
            KmsError::NoRoom => Self::new("ThrottlingException", message),
            KmsError::Provider { .. } => Self::new("DependencyTimeoutException", message),
            KmsError::Damaged(_) => Self::new("InvalidCiphertextException", ""),
            KmsError::Keyring(_) | KmsError::Catalog(_) => {
                tracing::error!(error = message, "the key service failed");
                Self::new("KMSInternalException", "The request could not be carried out.")
            }
        }
    }
}
