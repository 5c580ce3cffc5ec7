//! MinIO's admin API, version 3, as `mc admin` and its SDKs send it.

mod cipher;
mod entities;
mod error;
mod groups;
mod info;
mod keys;
mod kms;
mod policies;
mod spoken;
mod users;

use crate::attempt::Attempts;
use crate::door::{Actor, AdminRequest};
use crate::rights::Right;
use crate::{About, Admin, AdminResponse, BucketAccess, BucketRights, respond};
use bytes::Bytes;
use drystone_base::SystemRng;
use drystone_engine::{Consumer, Engine, Turns};
use drystone_identity::{EntityArn, EntityKind, Identity};
use drystone_kms::Kms;
pub(crate) use error::MinioError;
use http::StatusCode;
use spoken::Fields;
use std::sync::{Arc, LazyLock};

/// Path of the API.
pub(crate) const PREFIX: &str = "/minio/admin/v3/";
/// Path of the API of keys.
pub(crate) const KMS_PREFIX: &str = "/minio/kms/v1/";
pub(crate) use cipher::BODY_LEN_MAX;
/// Keys are derived one at a time, and callers take turns: each derivation takes 64 MiB.
static DERIVATIONS: LazyLock<Arc<Turns>> = LazyLock::new(|| Turns::new(1));

/// What a call answers.
enum Reply {
    /// Nothing.
    Empty,
    /// Nothing, with status 204.
    NoContent,
    /// JSON.
    Plain(serde_json::Value),
    /// The text of JSON.
    Written(String),
    /// JSON, encrypted for the caller.
    Sealed(serde_json::Value),
}

type Answer = Result<Reply, MinioError>;

/// A call on its way.
struct Call<'a> {
    actor: Actor<'a>,
    request: &'a AdminRequest,
    /// The body; none if it is encrypted and cannot be read.
    plain: Option<Bytes>,
    engine: &'a Engine,
    kms: &'a Kms,
    about: &'a About,
    admin: &'a Admin,
    rights: &'a Arc<dyn BucketRights>,
    caller: &'a Arc<Identity>,
}

/// Derives a key for a body on a thread that may take its time, when it is the caller's turn.
async fn derive<T: Send + 'static>(
    consumer: Consumer,
    work: impl FnOnce() -> Option<T> + Send + 'static,
) -> Option<T> {
    let turn = DERIVATIONS.turn(consumer).await;
    // The work has the turn: it goes on when the client is gone.
    let work = move || {
        let done = work();
        drop(turn);
        done
    };
    tokio::task::spawn_blocking(work).await.ok()?
}

/// The body of a request, decrypted if it is encrypted.
async fn open(request: &AdminRequest, identity: &Identity) -> Option<Bytes> {
    let (sealed, secret) = (request.body.clone(), identity.secret_key.clone());
    if !cipher::is_sealed(&sealed) {
        return Some(sealed);
    }
    let plain = derive(request.consumer, move || cipher::open(secret.reveal(), &sealed)).await;
    plain.map(Bytes::from)
}

impl Call<'_> {
    /// Whether a statement denies the caller a list of buckets.
    fn denies_lists(&self) -> bool {
        self.rights.denies_lists(self.request, self.caller)
    }

    /// What the caller may do with a bucket.
    fn access_to(&self, bucket: &str) -> BucketAccess {
        self.rights.access_to(self.request, self.caller, bucket)
    }

    fn need(&self, name: &str) -> Result<&str, MinioError> {
        let missing = || MinioError::invalid(format!("The parameter {name} is missing."));
        self.request.query(name).filter(|value| !value.is_empty()).ok_or_else(missing)
    }

    /// Refuses unless the caller has a right to an entity of the account.
    fn require(&self, right: Right, kind: EntityKind, name: &str) -> Result<EntityArn, MinioError> {
        let arn = self.actor.arn(kind, name)?;
        self.actor.require(right, &arn)?;
        Ok(arn)
    }

    /// As [`Call::require`], for a list of all of a kind.
    fn require_all(&self, right: Right, kind: EntityKind) -> Result<(), MinioError> {
        Ok(self.actor.require(right, &self.actor.all(kind))?)
    }

    /// The body, decrypted if it was encrypted.
    fn body<T: Fields>(&self) -> Result<T, MinioError> {
        spoken::read(self.plain.as_ref().ok_or_else(MinioError::body)?)
    }

    async fn seal(&self, value: serde_json::Value) -> Result<AdminResponse, MinioError> {
        let secret = self.actor.identity.secret_key.clone();
        let plain = value.to_string().into_bytes();
        drop(value);
        let work = move || cipher::seal(secret.reveal(), &plain, &SystemRng);
        let sealed = derive(self.actor.consumer, work).await.ok_or_else(MinioError::failed)?;
        Ok(respond(StatusCode::OK, "application/octet-stream", sealed))
    }

    /// Writes an answer. Its room is held until then, also while it waits to be sealed; it is counted on its
    /// way out from then on.
    async fn render(&self, reply: Reply) -> Result<AdminResponse, MinioError> {
        match &reply {
            Reply::Empty | Reply::NoContent => {}
            Reply::Plain(value) | Reply::Sealed(value) => self.actor.room.cover(value)?,
            Reply::Written(text) => self.actor.room.cover(text)?,
        }
        Ok(match reply {
            Reply::Empty => respond(StatusCode::OK, "application/json", ""),
            Reply::NoContent => respond(StatusCode::NO_CONTENT, "application/json", ""),
            Reply::Plain(value) => respond(StatusCode::OK, "application/json", value.to_string()),
            Reply::Written(text) => respond(StatusCode::OK, "application/json", text),
            Reply::Sealed(value) => self.seal(value).await?,
        })
    }
}

/// Answers a call.
pub(crate) async fn serve(admin: &Admin, request: &AdminRequest) -> AdminResponse {
    let Admin { engine, kms, about, rights, .. } = admin;
    let refuse = |error: MinioError| error.render(&request.path, &request.request_id);
    let Some(identity) = &request.identity else {
        return refuse(MinioError::denied("The request must be signed."));
    };
    let plain = open(request, identity).await;
    let mut attempts = Attempts::new(&admin.directory, request, identity);
    loop {
        let attempt = match attempts.begin().await {
            Ok(attempt) => attempt,
            Err(error) => return refuse(error.into()),
        };
        let actor = Actor::new(admin, &attempt, request);
        let (plain, caller) = (plain.clone(), &attempt.identity);
        // Its changes compare, as those of identities do.
        let kms = &kms.guarded(actor.directory.decision_guard());
        let call = Call { actor, request, plain, engine, kms, about, admin, rights, caller };
        let reply = run(&call).await;
        if attempts.go_on(&attempt) {
            continue;
        }
        let answer = match reply {
            Ok(reply) => call.render(reply).await,
            Err(error) => Err(error),
        };
        return answer.unwrap_or_else(refuse);
    }
}

/// A refusal that was made before the call was looked at.
pub(crate) fn refuse_early(
    code: &str,
    status: u16,
    message: &str,
    request_id: &str,
) -> AdminResponse {
    MinioError::new(code, status, message).render("", request_id)
}

/// The refusal of a path that nothing is behind.
#[cfg(test)]
pub(crate) fn refuse_path(path: &str, request_id: &str) -> AdminResponse {
    MinioError::not_supported(path).render(path, request_id)
}

async fn run(call: &Call<'_>) -> Answer {
    let path = call.request.path.as_str();
    let name = path.strip_prefix(PREFIX).unwrap_or_default();
    if let Some(name) = path.strip_prefix(KMS_PREFIX).or_else(|| name.strip_prefix("kms/")) {
        spoken::check_parameters(call.request, name)?;
        return kms::run(call, name).await;
    }
    // What the table of rights does not name is not served.
    if Right::of_minio(name).is_none() {
        return Err(MinioError::not_supported(path));
    }
    spoken::check_parameters(call.request, name)?;
    match (call.request.method.as_str(), name) {
        ("GET", "info") => info::info(call).await,
        ("GET", "storageinfo") => info::storage(call).await,
        ("GET", "datausageinfo") => info::usage(call).await,
        ("GET", "accountinfo") => info::account(call).await,
        ("PUT", "add-user") => users::add(call).await,
        ("PUT", "set-user-status") => users::set_status(call).await,
        ("DELETE", "remove-user") => users::remove(call).await,
        ("GET", "list-users") => call.actor.list(|| users::list(call)).await,
        ("GET", "user-info") => users::info(call),
        ("PUT", "add-service-account") => keys::add(call).await,
        ("POST", "update-service-account") => keys::update(call).await,
        ("GET", "info-service-account") => keys::info(call),
        ("GET", "list-service-accounts") => call.actor.list(|| keys::list(call)).await,
        ("GET", "list-access-keys-bulk") => keys::list_bulk(call).await,
        ("GET", "info-access-key") => keys::info(call),
        ("DELETE", "delete-service-account") => keys::remove(call).await,
        ("PUT", "update-group-members") => groups::update_members(call).await,
        ("GET", "group") => groups::info(call),
        ("GET", "groups") => groups::list(call).await,
        ("PUT", "set-group-status") => groups::set_status(call).await,
        ("PUT", "add-canned-policy") => policies::add(call).await,
        ("DELETE", "remove-canned-policy") => policies::remove(call).await,
        ("GET", "list-canned-policies") => policies::list(call).await,
        ("GET", "info-canned-policy") => policies::info(call).await,
        ("POST", "idp/builtin/policy/attach") => policies::attach(call, true).await,
        ("POST", "idp/builtin/policy/detach") => policies::attach(call, false).await,
        ("POST", "idp/ldap/policy/attach") => policies::attach_name(call, true).await,
        ("POST", "idp/ldap/policy/detach") => policies::attach_name(call, false).await,
        ("PUT", "set-user-or-group-policy") => policies::set(call).await,
        ("GET", "idp/builtin/policy-entities") => call.actor.list(|| entities::list(call)).await,
        _ => Err(MinioError::not_supported(&call.request.path)),
    }
}
