//! What all doors of the administration share: a request whose signature was checked, and whether the
//! caller may do what it asks for. All of them decide here, by the table of `rights`.

use crate::Admin;
use crate::attempt::{Attempt, identify_again};
use crate::rights::Right;
use crate::room::AnswerRoom;
use bytes::Bytes;
use drystone_engine::{Consumer, Turns};
use drystone_iam::{
    Aliases, Caller, CommonFacts, DocumentKind, Explanation, Facts, PolicySet, Principal,
    StoredPolicy, decide, decide_key, is_named,
};
use drystone_identity::{
    DEFAULT_ACCOUNT, Directory, EntityArn, EntityKind, ExplainedDecision, Identity, IdentityError,
};
use drystone_kms::{KeyRules, Kms};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

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
    /// Who signed; `None` if no one did.
    pub identity: Option<Arc<Identity>>,
    /// Service that the signature is for.
    pub service: String,
    /// Id of the request.
    pub request_id: String,
    /// Address of the client.
    pub address: IpAddr,
    /// With whom it takes turns: the identity with all its keys and sessions.
    pub consumer: Consumer,
    /// Whether the connection is encrypted.
    pub is_secure: bool,
    /// Version of TLS, such as `1.3`, where it is known.
    pub tls: Option<&'static str>,
    /// It came by the socket of the server: its sender is at the machine itself.
    pub is_local: bool,
}

/// What policies of MinIO name as the resource of an action of its administration.
pub(crate) const EVERYTHING: &str = "arn:aws:s3:::*";

/// Condition key of permissions boundaries, in lower case.
const BOUNDARY: &str = "iam:permissionsboundary";

/// Lists of identities that are read at a time; others wait, and callers take turns.
static SCANS: LazyLock<Arc<Turns>> = LazyLock::new(|| Turns::new(2));

/// Decisions of requests that need many of them, at a time; others wait, and callers take turns.
static DECISIONS: LazyLock<Arc<Turns>> = LazyLock::new(|| Turns::new(2));

/// What was decided on a right.
struct Verdict {
    allowed: bool,
    /// Why; `None` for a right without names, which nothing allows.
    explanation: Option<Explanation>,
}

impl Verdict {
    fn is_denied(&self) -> bool {
        self.explanation.as_ref().is_some_and(|why| why.reason.is_final())
    }
}

/// The caller may not.
#[derive(Clone, Debug)]
pub(crate) struct Denied {
    /// What he is told.
    pub(crate) message: String,
}

impl From<Denied> for IdentityError {
    fn from(denied: Denied) -> Self {
        Self::Forbidden(denied.message)
    }
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
    request: &'a AdminRequest,
    pub(crate) consumer: Consumer,
    /// Room for the answer.
    pub(crate) room: AnswerRoom,
    now_ms: u64,
}

/// What is known of every request to a door.
pub(crate) fn common_facts<'a>(
    principal: &'a Principal,
    request: &'a AdminRequest,
    now_ms: u64,
) -> CommonFacts<'a> {
    CommonFacts {
        principal,
        mfa_age_s: None,
        address: Some(request.address),
        is_secure: request.is_secure,
        now_ms,
        // Where services without a region are (IAM User Guide, `aws:RequestedRegion`).
        region: "us-east-1",
        user_agent: request.header("user-agent"),
        referer: request.header("referer"),
    }
}

impl<'a> Actor<'a> {
    pub(crate) fn new(admin: &'a Admin, attempt: &'a Attempt, request: &'a AdminRequest) -> Self {
        let (directory, identity) = (&attempt.directory, &*attempt.identity);
        let now_ms = directory.now_ms();
        let mut facts = identity.facts.clone();
        facts.add_if("aws:ResourceAccount", identity.principal.account());
        let common = CommonFacts {
            mfa_age_s: identity.mfa_age_s(now_ms),
            ..common_facts(&identity.principal, request, now_ms)
        };
        common.add_to(&mut facts);
        let consumer = request.consumer;
        let room = AnswerRoom::new(&admin.engine, consumer);
        Self { directory, identity, facts, request, consumer, room, now_ms }
    }

    pub(crate) fn account(&self) -> &str {
        self.identity.account()
    }

    /// Refuses to go on if the key has ended, or has other rights, since the decision began. Called after
    /// each wait that no change follows: changes compare on the committer.
    pub(crate) fn look_again(&self) -> Result<(), IdentityError> {
        if self.directory.is_decision_current() {
            return Ok(());
        }
        if !self.directory.is_decision_late() {
            let now = identify_again(self.directory, self.request, self.identity)?;
            if now.has_rights_of(self.identity) {
                return Ok(());
            }
        }
        self.directory.refuse_decision()
    }

    /// Reads many rows, on a thread that may take its time, when it is the caller's turn.
    pub(crate) async fn scan<T, E: From<IdentityError>>(
        &self,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let _turn = SCANS.turn(self.consumer).await;
        self.look_again()?;
        tokio::task::block_in_place(work)
    }

    /// Puts a list together of many rows: as [`Actor::scan`], with room for the list.
    pub(crate) async fn list<T, E: From<IdentityError>>(
        &self,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        self.room.begin_list().await?;
        self.scan(work).await
    }

    /// One of many decisions of a request, when it is the caller's turn: a thousand of them in one go would
    /// keep others waiting.
    pub(crate) async fn one_of_many<T>(&self, decide: impl FnOnce() -> T) -> T {
        let turn = DECISIONS.turn(self.consumer).await;
        let decided = decide();
        drop(turn);
        tokio::task::yield_now().await;
        decided
    }

    fn decide(
        &self,
        action: &str,
        resource: &str,
        aliases: Aliases<'_>,
        facts: &Facts,
    ) -> (bool, Explanation) {
        let canonical = self.directory.canonical_of(self.account());
        let caller =
            Caller { principal: &self.identity.principal, canonical: canonical.as_deref() };
        let named = self.identity.named_policies();
        let set = PolicySet { aliases, ..self.identity.policy_set(&named) };
        let decision = decide(caller, action, resource, facts, &set);
        (decision.allowed, decision.explanation)
    }

    /// Decides on a right by all of its names: a deny of any of them, on any of the resources, denies; an
    /// allow of any of `names` allows. Names of MinIO are decided on what MinIO's policies name, too.
    fn verdict(&self, right: Right, resources: &[&str], facts: &Facts) -> Verdict {
        let row = right.row();
        let facts = &*self.with_boundary(right, resources.first().copied(), facts);
        let names: Vec<&str> = row.names.split_whitespace().collect();
        let mut verdict = Verdict { allowed: false, explanation: None };
        let denied_by = row.denied_by.split_whitespace();
        for (name, allows) in names.iter().map(|n| (*n, true)).chain(denied_by.map(|n| (n, false)))
        {
            let everything = name.starts_with("admin:").then_some(EVERYTHING);
            for resource in resources.iter().copied().chain(everything) {
                // What MinIO's policies name stands for the entity, and not the other way round.
                let others = if resource == EVERYTHING { resources } else { &[] };
                let aliases = Aliases { actions: &names, resources: others };
                let (allowed, explanation) = self.decide(name, resource, aliases, facts);
                if explanation.reason.is_final() {
                    return Verdict { allowed: false, explanation: Some(explanation) };
                }
                verdict.allowed |= allows && allowed;
                verdict.explanation.get_or_insert(explanation);
            }
        }
        verdict
    }

    /// Adds the permissions boundary of the user or role that a right is decided on, if a policy of the
    /// caller looks at it and the call gives none itself.
    fn with_boundary<'f>(
        &self,
        right: Right,
        resource: Option<&str>,
        facts: &'f Facts,
    ) -> Cow<'f, Facts> {
        let is_known = facts.values(BOUNDARY).is_some();
        if !right.is_on_bounded() || is_known || !self.identity.fact_keys.contains(BOUNDARY) {
            return Cow::Borrowed(facts);
        }
        let entity = resource.and_then(|arn| arn.splitn(6, ':').nth(5)).unwrap_or_default();
        let (kind, path_name) = entity.split_once('/').unwrap_or_default();
        let name = path_name.rsplit('/').next().unwrap_or_default();
        let boundary = match kind {
            "user" => self.directory.user(self.account(), name).ok().and_then(|user| user.boundary),
            "role" => self.directory.role(self.account(), name).ok().and_then(|role| role.boundary),
            _ => None,
        };
        let arn = boundary.map(|name| self.directory.policy_arn(self.account(), &name));
        let mut facts = facts.clone();
        facts.add_if(BOUNDARY, arn);
        Cow::Owned(facts)
    }

    /// As [`Actor::require`], for a call that gives a permissions boundary, or could.
    pub(crate) fn require_bounded(
        &self,
        right: Right,
        resource: &EntityArn,
        boundary: Option<&str>,
    ) -> Result<(), Denied> {
        let mut facts = self.facts.clone();
        facts.add_if(BOUNDARY, boundary);
        self.require_on(right, &[resource], &facts)
    }

    /// Whether a statement denies a right; for what everybody may do to their own keys.
    pub(crate) fn is_denied(&self, right: Right, resource: &EntityArn) -> bool {
        self.verdict(right, &[resource], &self.facts).is_denied()
    }

    /// Refuses unless a right is allowed, and not denied by any of its names. The reason of a refusal is kept
    /// for administrators.
    pub(crate) fn require(&self, right: Right, resource: &EntityArn) -> Result<(), Denied> {
        self.require_on(right, &[resource], &self.facts)
    }

    /// Refuses if a statement denies a right. For an effect that another right allows, such as the key
    /// that a user of MinIO is made with.
    pub(crate) fn refuse_denied(&self, right: Right, resource: &EntityArn) -> Result<(), Denied> {
        match self.is_denied(right, resource) {
            true => self.require(right, resource),
            false => Ok(()),
        }
    }

    fn require_on(&self, right: Right, resources: &[&str], facts: &Facts) -> Result<(), Denied> {
        let verdict = self.verdict(right, resources, facts);
        match verdict.allowed {
            true => Ok(()),
            false => {
                let resource = resources.first().copied().unwrap_or_default();
                Err(self.denied(right, resource, verdict.explanation))
            }
        }
    }

    /// A refusal, with its reason kept for administrators.
    fn denied(&self, right: Right, resource: &str, explanation: Option<Explanation>) -> Denied {
        let action = right.row().names.split_whitespace().next().unwrap_or_default();
        let principal = self.identity.principal.arn().unwrap_or_default();
        let shown = EntityArn::without_path(resource);
        let message = format!(
            "User: {principal} is not authorized to perform: {action} on resource: {shown}"
        );
        if let Some(explanation) = explanation {
            self.keep_reason(action, resource, explanation);
        }
        Denied { message }
    }

    /// Keeps the reason of a refusal for administrators.
    pub(crate) fn keep_reason(&self, action: &str, resource: &str, explanation: Explanation) {
        self.directory.explanations().add(ExplainedDecision {
            request_id: self.request.request_id.clone(),
            time_ms: self.now_ms,
            principal: self.identity.principal.arn().unwrap_or_default(),
            access_key: self.identity.access_key.clone(),
            action: action.to_owned(),
            resource: resource.to_owned(),
            explanation,
        });
    }

    /// The right to attach a policy to a holder, or to detach it. A statement may name either of them, and
    /// the policy as condition `iam:PolicyARN`; both must be allowed.
    pub(crate) fn require_attach(
        &self,
        right: Right,
        holder: &EntityArn,
        policy: &EntityArn,
    ) -> Result<(), Denied> {
        let mut facts = self.facts.clone();
        facts.add("iam:PolicyARN", policy.to_string());
        let facts = self.with_boundary(right, Some(holder), &facts);
        self.require_on(right, &[holder], &facts)?;
        self.require_on(right, &[policy], &facts)
    }

    /// As [`Actor::require`], for what concerns the whole server: only those of the default account,
    /// since the owner of another one may do everything in it.
    pub(crate) fn require_server(&self, right: Right) -> Result<(), Denied> {
        self.require_server_on(right, &[EVERYTHING])
    }

    /// As [`Actor::require_server`], on something of the server that has resource names of its own.
    pub(crate) fn require_server_on(&self, right: Right, names: &[&str]) -> Result<(), Denied> {
        if self.account() != DEFAULT_ACCOUNT {
            let message = "This is for administrators of the server.".to_owned();
            return Err(Denied { message });
        }
        self.require_on(right, names, &self.facts)
    }

    /// As [`Actor::require_server`], on a key of the key service: policies name it as AWS does, as MinIO
    /// does, or not at all. An empty id stands for no key in particular.
    pub(crate) fn require_kms(&self, right: Right, kms: &Kms, id: &str) -> Result<(), Denied> {
        match id.is_empty() {
            true => self.require_server(right),
            false => {
                let (of_aws, of_minio) = (kms.arn(id), format!("arn:minio:kms:::{id}"));
                self.require_server_on(right, &[&of_aws, &of_minio, EVERYTHING])
            }
        }
    }

    /// The right to a key: by all names of the right, the policies of the caller, the policy of the key, and
    /// grants that cover an encryption context.
    pub(crate) fn require_key(
        &self,
        right: Right,
        kms: &Kms,
        (id, rules): (&str, &KeyRules),
        context: &BTreeMap<String, String>,
    ) -> Result<(), Denied> {
        let owner = rules.account.as_deref().unwrap_or(DEFAULT_ACCOUNT);
        let arn = kms.arn_in(rules.account.as_deref(), "key/", id);
        let stored = rules.policy.as_deref().map(StoredPolicy::of_row);
        let policy = stored.map(|policy| policy.document(DocumentKind::Key)).transpose();
        let Ok(policy) = policy else {
            let message = format!("The policy of the key {arn} cannot be read.");
            return Err(Denied { message });
        };
        let caller = Caller { principal: &self.identity.principal, canonical: None };
        let is_granted = |operation: &str| {
            rules.grants.iter().filter(|grant| grant.covers(operation, context)).any(|grant| {
                let grantee = StoredPolicy::of_row(&grant.grantee).document(DocumentKind::Key);
                grantee.is_ok_and(|grantee| is_named(caller, &grantee))
            })
        };
        let bucket = policy.as_ref().map(|policy| ("key policy", policy));
        let (mut facts, named) = (self.facts.clone(), self.identity.named_policies());
        facts.set("aws:ResourceAccount", owner);
        let of_minio = format!("arn:minio:kms:::{id}");
        let of_own = self.account() == owner;
        let (mut allowed, mut told) = (false, None);
        let names: Vec<&str> = right.row().names.split_whitespace().collect();
        for name in &names {
            let operation = name.strip_prefix("kms:");
            // Names of MinIO's administration are rights to the keys of the server.
            if operation.is_none() && !(of_own && owner == DEFAULT_ACCOUNT) {
                continue;
            }
            let aliases = Aliases { actions: &names, resources: &[] };
            let own = self.identity.policy_set(&named);
            let set = PolicySet { aliases, bucket, resource_account: Some(owner), ..own };
            let is_granted = operation.is_some_and(is_granted);
            for resource in [&*arn, &of_minio, EVERYTHING] {
                let decision = decide_key(caller, name, resource, &facts, (&set, is_granted));
                if decision.explanation.reason.is_final() {
                    return Err(self.denied(right, &arn, Some(decision.explanation)));
                }
                // All objects stand for keys in the names of MinIO's administration only.
                allowed |= decision.allowed && (resource != EVERYTHING || operation.is_none());
                told.get_or_insert(decision.explanation);
            }
        }
        if allowed { Ok(()) } else { Err(self.denied(right, &arn, told)) }
    }

    /// The right to something of the key service in the caller's own account that is no key.
    pub(crate) fn require_kms_of_account(&self, right: Right, arn: &str) -> Result<(), Denied> {
        match self.account() == DEFAULT_ACCOUNT {
            true => self.require_on(right, &[arn, EVERYTHING], &self.facts),
            false => self.require_on(right, &[arn], &self.facts),
        }
    }

    /// Refuses if a statement denies a right to something of the key service.
    pub(crate) fn refuse_denied_kms(&self, right: Right, arn: &str) -> Result<(), Denied> {
        match self.verdict(right, &[arn, EVERYTHING], &self.facts).is_denied() {
            true => self.require_kms_of_account(right, arn),
            false => Ok(()),
        }
    }

    /// The resource name of an entity of the caller's account, from its row. Only the owner of the account
    /// acts on a row that cannot be read, so that it can be removed.
    pub(crate) fn arn(&self, kind: EntityKind, name: &str) -> Result<EntityArn, IdentityError> {
        match self.directory.arn_of(kind, self.account(), name) {
            Err(IdentityError::Damaged { .. }) if self.identity.is_unrestricted_root() => {
                Ok(EntityArn::of_new(kind, self.account(), "/", name))
            }
            arn => arn,
        }
    }

    /// All entities of a kind of the caller's account, for lists.
    pub(crate) fn all(&self, kind: EntityKind) -> EntityArn {
        EntityArn::of_all(kind, self.account())
    }

    /// For what is given out at the machine itself only.
    pub(crate) fn require_socket(&self) -> Result<(), Denied> {
        match self.request.is_local {
            true => Ok(()),
            false => {
                let message = "This is done at the machine of the server only.".to_owned();
                Err(Denied { message })
            }
        }
    }
}
