//! What all doors of the administration share: a request whose signature was checked, and whether the
//! caller may do what it asks for.

use bytes::Bytes;
use drystone_base::Timestamp;
use drystone_iam::{Caller, Explanation, Facts, decide};
use drystone_identity::{DEFAULT_ACCOUNT, Directory, ExplainedDecision, Identity};
use std::net::IpAddr;
use std::sync::Arc;

/// A request to the administration. Signatures were checked before.
pub struct AdminRequest {
    /// Method.
    pub method: http::Method,
    /// Path, decoded.
    pub path: String,
    /// Query, decoded.
    pub query: Vec<(String, String)>,
    /// Headers.
    pub headers: http::HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// Who signed; `None` if nobody did.
    pub identity: Option<Arc<Identity>>,
    /// Service that the signature is for.
    pub service: String,
    /// Id of the request.
    pub request_id: String,
    /// Address of the client.
    pub address: IpAddr,
    /// Whether the connection is encrypted.
    pub is_secure: bool,
    /// It came by the socket of the server: whoever sent it is at the machine itself.
    pub is_local: bool,
}

/// The caller may not.
#[derive(Clone, Debug)]
pub(crate) struct Denied {
    /// What he is told.
    pub(crate) message: String,
}

impl AdminRequest {
    /// A query parameter.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Who acts, with what is known about the request.
pub(crate) struct Actor<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) identity: &'a Identity,
    pub(crate) facts: Facts,
    request_id: &'a str,
    is_local: bool,
    now_ms: u64,
}

impl<'a> Actor<'a> {
    pub(crate) fn new(
        directory: &'a Directory,
        identity: &'a Identity,
        request: &'a AdminRequest,
    ) -> Self {
        let now_ms = directory.now_ms();
        let principal = &identity.principal;
        let mut facts = identity.facts.clone();
        facts
            .add("aws:SourceIp", request.address.to_canonical().to_string())
            .add("aws:SecureTransport", request.is_secure.to_string())
            .add("aws:CurrentTime", Timestamp(now_ms).to_iso())
            .add("aws:EpochTime", (now_ms / 1000).to_string())
            .add("aws:PrincipalType", principal.kind())
            .add_if("aws:UserAgent", request.header("user-agent"))
            .add_if("aws:PrincipalArn", principal.arn())
            .add_if("aws:PrincipalAccount", principal.account())
            .add_if("aws:userid", principal.user_id());
        let (request_id, is_local) = (&*request.request_id, request.is_local);
        Self { directory, identity, facts, request_id, is_local, now_ms }
    }

    pub(crate) fn account(&self) -> &str {
        self.identity.account()
    }

    fn decide(&self, action: &str, resource: &str) -> (bool, Explanation) {
        let canonical = self.directory.canonical_of(self.account());
        let caller =
            Caller { principal: &self.identity.principal, canonical: canonical.as_deref() };
        let named = self.identity.named_policies();
        let set = self.identity.policy_set(&named);
        let decision = decide(caller, action, resource, &self.facts, &set);
        (decision.allowed, decision.explanation)
    }

    /// Whether an action is denied by a statement; for what everybody may do to his own keys.
    pub(crate) fn is_denied(&self, action: &str, resource: &str) -> bool {
        self.decide(action, resource).1.reason == drystone_iam::Reason::ExplicitDeny
    }

    /// Whether one of several actions, which mean the same at different doors, is allowed, and none
    /// is denied.
    pub(crate) fn may(&self, actions: &[&str], resource: &str) -> bool {
        !actions.iter().any(|action| self.is_denied(action, resource))
            && actions.iter().any(|action| self.decide(action, resource).0)
    }

    /// As [`Actor::require`], for what concerns the whole server: only those of the default account,
    /// since the owner of another one may do everything in his own.
    pub(crate) fn require_server(&self, actions: &[&str]) -> Result<(), Denied> {
        if self.account() != DEFAULT_ACCOUNT {
            let message = "This is for administrators of the server.".to_owned();
            return Err(Denied { message });
        }
        self.require(actions, "arn:aws:s3:::*")
    }

    /// For what is given out at the machine itself only.
    pub(crate) fn require_socket(&self) -> Result<(), Denied> {
        match self.is_local {
            true => Ok(()),
            false => {
                let message = "This is done at the machine of the server only.".to_owned();
                Err(Denied { message })
            }
        }
    }

    /// As [`Actor::may`], with the reason of a refusal kept for administrators.
    pub(crate) fn require(&self, actions: &[&str], resource: &str) -> Result<(), Denied> {
        if self.may(actions, resource) {
            return Ok(());
        }
        let action = actions.first().copied().unwrap_or_default();
        let principal = self.identity.principal.arn().unwrap_or_default();
        self.directory.explanations().add(ExplainedDecision {
            request_id: self.request_id.to_owned(),
            time_ms: self.now_ms,
            principal: principal.clone(),
            access_key: self.identity.access_key.clone(),
            action: action.to_owned(),
            resource: resource.to_owned(),
            explanation: self.decide(action, resource).1,
        });
        let message = format!(
            "User: {principal} is not authorized to perform: {action} on resource: {resource}"
        );
        Err(Denied { message })
    }
}
