//! What an access key may do: whose it is, with all policies that count.
//!
//! # Invariants
//!
//! - Policies are read for a key whose signature was right only (`credential`).
//! - The policies of one identity take no more than `documents` says. One that has more may do nothing.

use crate::DEFAULT_ACCOUNT;
use crate::credential::{IdentifyError, KeyRead};
use crate::directory::{Directory, RootCredentials};
use crate::documents::Taken;
use crate::entity::{AccessKey, Grants, Group, ManagedPolicy, Parent, Role, User};
use crate::error::IdentityError;
use crate::rows;
use crate::session_policy::closed;
use crate::token::{Claims, Subject};
use drystone_base::warn_limited;
use drystone_iam::{Document, Facts, Named, PolicySet, Principal, canned_policy};
use drystone_keyring::Secret;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Condition key that says whether a session was made with a second factor. Keys that last have none.
const MFA_PRESENT: &str = "aws:MultiFactorAuthPresent";

/// Someone whose key was looked up: what signatures are checked and decisions made with.
pub struct Identity {
    /// Tells this reading of the directory from others, for caches of what is derived from it.
    pub serial: u64,
    /// Access key id.
    pub access_key: String,
    /// Secret key.
    pub secret_key: Secret,
    /// Whose rights the key has.
    pub principal: Principal,
    /// Policies of user or role and of groups, with the names that explanations give them.
    pub policies: Vec<(String, Arc<Document>)>,
    /// The policy of the key, which narrows.
    pub key_policy: Option<Arc<Document>>,
    /// The permissions boundary of user or role, which narrows what its policies allow.
    pub boundary: Option<(String, Arc<Document>)>,
    /// The policies of the session, which narrow: what any of them allows is left.
    pub session_policies: Option<Vec<(String, Arc<Document>)>>,
    /// Condition keys that come with the identity.
    pub facts: Facts,
    /// Condition keys that decisions about it may depend on, in lower case.
    pub fact_keys: BTreeSet<String>,
    /// Whether it is a session.
    pub is_session: bool,
    /// When the session was made, in milliseconds since 1970.
    pub issued_ms: Option<u64>,
    /// When it ends, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
}

impl Identity {
    pub(crate) fn of_root(root: RootCredentials) -> Self {
        let principal = Principal::Root { account: DEFAULT_ACCOUNT.to_owned() };
        Self::bare(0, root.access_key, root.secret_key, principal)
    }

    fn bare(serial: u64, access_key: String, secret_key: Secret, principal: Principal) -> Self {
        Self {
            serial,
            access_key,
            secret_key,
            principal,
            policies: Vec::new(),
            key_policy: None,
            boundary: None,
            session_policies: None,
            facts: Facts::new(),
            fact_keys: BTreeSet::new(),
            is_session: false,
            issued_ms: None,
            expires_ms: None,
        }
    }

    /// Whether this is the owner of an account, with nothing that narrows him.
    #[must_use]
    pub fn is_unrestricted_root(&self) -> bool {
        matches!(self.principal, Principal::Root { .. }) && !self.is_narrowed()
    }

    /// Bytes that it holds, with the documents that it shares with others.
    pub(crate) fn weight_bytes(&self) -> usize {
        let named = self.policies.iter().chain(self.session_policies.iter().flatten());
        let of_named = named.chain(&self.boundary).map(|(name, document)| {
            size_of::<(String, Arc<Document>)>() + name.capacity() + document.weight_bytes()
        });
        let of_keys: usize = self.fact_keys.iter().map(|key| key.capacity() + 64).sum();
        size_of::<Self>()
            + self.access_key.capacity()
            + self.secret_key.reveal().len()
            + of_named.sum::<usize>()
            + self.key_policy.as_ref().map_or(0, |document| document.weight_bytes())
            + self.facts.weight_bytes()
            + of_keys
    }

    /// Notes which condition keys its policies look at.
    fn index(mut self) -> Self {
        let of_session = self.session_policies.iter().flatten().chain(&self.boundary);
        let narrowing = of_session.map(|(_, document)| document).chain(&self.key_policy);
        let own = self.policies.iter().map(|(_, document)| document);
        let keys = own.chain(narrowing).flat_map(|document| document.fact_keys().iter().cloned());
        self.fact_keys = keys.collect();
        self
    }

    /// The policies of this identity as the decision takes them.
    #[must_use]
    pub fn named_policies(&self) -> Vec<Named<'_>> {
        self.policies.iter().map(|(name, document)| (name.as_str(), &**document)).collect()
    }

    /// Whether this is the same key of the same one, read at another time. A key that was deleted may have
    /// been made again, with another secret or for someone else.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.principal == other.principal && self.secret_key.reveal() == other.secret_key.reveal()
    }

    /// Whether decisions on this are those on another reading of the same key.
    #[must_use]
    pub fn has_rights_of(&self, other: &Self) -> bool {
        let is_one = |one: &Arc<Document>, other: &Arc<Document>| Arc::ptr_eq(one, other);
        let are_ones = |ones: &[(String, Arc<Document>)], others: &[(String, Arc<Document>)]| {
            let mut pairs = ones.iter().zip(others);
            ones.len() == others.len() && pairs.all(|(a, b)| a.0 == b.0 && is_one(&a.1, &b.1))
        };
        self.is_same(other)
            && are_ones(&self.policies, &other.policies)
            && are_ones(self.boundary.as_slice(), other.boundary.as_slice())
            && are_ones(
                self.session_policies.as_deref().unwrap_or_default(),
                other.session_policies.as_deref().unwrap_or_default(),
            )
            && match (&self.key_policy, &other.key_policy) {
                (Some(one), Some(other)) => is_one(one, other),
                (one, other) => one.is_none() && other.is_none(),
            }
            && self.session_policies.is_some() == other.session_policies.is_some()
            && self.expires_ms == other.expires_ms
            && self.facts == other.facts
    }

    /// Policies that narrow, put into a set whose other fields stay empty.
    #[must_use]
    pub fn policy_set<'a>(&'a self, identity: &'a [Named<'a>]) -> PolicySet<'a> {
        PolicySet {
            identity,
            service_account: self.key_policy.as_ref().map(|d| ("access key policy", &**d)),
            boundary: self.boundary.as_ref().map(|(name, document)| (name.as_str(), &**document)),
            session: self.session_policies.as_deref(),
            ..PolicySet::default()
        }
    }

    /// Whether this may manage keys, and make sessions: not a session or a key that ends, and nothing that a
    /// policy narrows, since the new key would be more than what it was made with.
    #[must_use]
    pub fn may_make_keys(&self) -> bool {
        !self.is_session && self.expires_ms.is_none() && !self.is_narrowed()
    }

    /// Whether a policy of the key or of the session narrows it.
    #[must_use]
    pub fn is_narrowed(&self) -> bool {
        self.key_policy.is_some() || self.session_policies.is_some()
    }

    /// Seconds since the second factor was shown that the session was made with; `None` without one.
    #[must_use]
    pub fn mfa_age_s(&self, now_ms: u64) -> Option<u64> {
        let was_shown = self.facts.single(MFA_PRESENT) == Some("true");
        self.issued_ms.filter(|_| was_shown).map(|issued| now_ms.saturating_sub(issued) / 1000)
    }

    /// Name of the user; `None` for owners, roles and sessions of roles.
    #[must_use]
    pub fn user_name(&self) -> Option<&str> {
        match &self.principal {
            Principal::User { path_name, .. } => path_name.rsplit('/').next(),
            _ => None,
        }
    }

    /// Account id.
    #[must_use]
    pub fn account(&self) -> &str {
        self.principal.account().unwrap_or(DEFAULT_ACCOUNT)
    }
}

/// Name that explanations give the policy of an identity whose policies take more than one may.
const TOO_MUCH: &str = "policies that take too much memory";

/// Those fields of a group that its members' rights depend on: not the names of all members.
#[derive(Deserialize)]
struct GroupRights {
    is_enabled: bool,
    #[serde(default)]
    grants: Grants,
}

/// An identity while it is read, within what one may take.
struct Reading<'a> {
    directory: &'a Directory,
    identity: Identity,
    taken: Taken,
    /// Managed policies that it has already: one that several groups hold counts once.
    attached: BTreeSet<String>,
}

impl<'a> Reading<'a> {
    fn new(directory: &'a Directory, read: KeyRead, principal: Principal) -> Self {
        let identity = Identity::bare(read.serial, read.access_key, read.secret_key, principal);
        Self { directory, identity, taken: Taken::default(), attached: BTreeSet::new() }
    }

    /// The identity, which may do nothing if its policies take more than those of one may.
    fn end(mut self) -> Identity {
        if self.taken.is_too_much() {
            let principal = self.identity.principal.arn().unwrap_or_default();
            warn_limited!("an identity may do nothing: its policies take too much memory";
                principal, access_key = self.identity.access_key);
            let closed = Arc::new(closed());
            let identity = &mut self.identity;
            identity.policies = vec![(TOO_MUCH.to_owned(), closed.clone())];
            identity.boundary = None;
            if let Some(policies) = &mut identity.session_policies {
                *policies = vec![(TOO_MUCH.to_owned(), closed)];
            }
        }
        self.identity.index()
    }

    fn compile(
        &mut self,
        kind: &'static str,
        name: &str,
        text: &str,
    ) -> Result<Arc<Document>, IdentityError> {
        let damaged = |_| IdentityError::Damaged { kind, name: name.to_owned() };
        let document = self.directory.shared.documents.compile(text).map_err(damaged)?;
        self.taken.add_document(&document);
        Ok(document)
    }

    /// The text of a policy, canned or the account's own.
    fn policy_text(&mut self, account: &str, name: &str) -> Result<String, IdentityError> {
        if let Some(text) = canned_policy(name) {
            return Ok(text.to_owned());
        }
        let missing = || IdentityError::NotFound { kind: "policy", name: name.to_owned() };
        let catalog = &self.directory.shared.catalog;
        let found = rows::get_part::<ManagedPolicy, ManagedPolicy>(catalog, &[account, name])?;
        let (policy, len_bytes) = found.ok_or_else(missing)?;
        self.taken.add_row(len_bytes);
        Ok(policy.document().to_owned())
    }

    fn add_user(&mut self, user: &User) -> Result<(), IdentityError> {
        self.add_grants(&user.account, "user", &user.name, &user.grants)?;
        self.set_boundary(&user.account, user.boundary.as_deref())?;
        let facts = &mut self.identity.facts;
        facts.add("aws:username", user.name.clone());
        for (tag, value) in &user.tags {
            facts.add(&format!("aws:PrincipalTag/{tag}"), value.clone());
        }
        for name in &user.groups {
            if self.taken.is_too_much() {
                break;
            }
            let parts = [user.account.as_str(), name];
            let catalog = &self.directory.shared.catalog;
            let group = rows::get_part::<Group, GroupRights>(catalog, &parts)?;
            let Some((group, len_bytes)) = group else { continue };
            self.taken.add_row(len_bytes);
            if group.is_enabled {
                self.identity.facts.add("aws:groups", name.clone());
                self.add_grants(&user.account, "group", name, &group.grants)?;
            }
        }
        Ok(())
    }

    /// Sets the permissions boundary. One that cannot be read denies everything: without it there would be
    /// no bound at all.
    fn set_boundary(&mut self, account: &str, name: Option<&str>) -> Result<(), IdentityError> {
        let Some(name) = name else { return Ok(()) };
        let document = match self.policy_text(account, name) {
            Ok(text) => self.compile("policy", name, &text).ok(),
            Err(IdentityError::NotFound { .. } | IdentityError::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        let document = document.unwrap_or_else(|| {
            tracing::error!(account, policy = name, "a permissions boundary cannot be read");
            Arc::new(closed())
        });
        self.identity.boundary = Some((name.to_owned(), document));
        Ok(())
    }

    fn add_grants(
        &mut self,
        account: &str,
        kind: &'static str,
        name: &str,
        grants: &Grants,
    ) -> Result<(), IdentityError> {
        for policy in &grants.attached {
            if self.taken.is_too_much() {
                return Ok(());
            }
            if !self.attached.insert(policy.clone()) {
                continue;
            }
            let text = match self.policy_text(account, policy) {
                // Deleting a policy that someone holds is refused; a name may still be of an import.
                Err(IdentityError::NotFound { .. }) => continue,
                text => text?,
            };
            let document = self.compile("policy", policy, &text)?;
            self.identity.policies.push((policy.clone(), document));
        }
        for (policy, text) in &grants.inline {
            let document = self.compile(kind, name, text)?;
            self.identity.policies.push((format!("{kind}/{name}/{policy}"), document));
        }
        Ok(())
    }

    fn add_role(&mut self, role: &Role, claims: &Claims) -> Result<(), IdentityError> {
        let is_free = |tag: &str| {
            let name = format!("aws:PrincipalTag/{tag}").to_lowercase();
            !claims.facts.keys().any(|said| said.to_lowercase() == name)
        };
        for (tag, value) in role.tags.iter().filter(|(tag, _)| is_free(tag)) {
            self.identity.facts.add(&format!("aws:PrincipalTag/{tag}"), value.clone());
        }
        self.add_grants(&role.account, "role", &role.name, &role.grants)?;
        self.set_boundary(&role.account, role.boundary.as_deref())
    }

    /// Adds what a session has besides its subject.
    fn add_session(&mut self, claims: &Claims) -> Result<(), IdentityError> {
        let directory = self.directory;
        if claims.policy.is_some() || !claims.pinned.is_empty() {
            let account = claims.subject.account();
            let mut policies =
                directory.pinned_documents(account, &claims.pinned, &mut self.taken)?;
            if let Some(policy) = &claims.policy {
                let document = self.compile("session", &claims.access_key, policy)?;
                policies.push(("session policy".to_owned(), document));
            }
            self.identity.session_policies = Some(policies);
        }
        let identity = &mut self.identity;
        for (key, values) in &claims.facts {
            for value in values {
                identity.facts.add(key, value.clone());
            }
        }
        let issued = drystone_base::Timestamp(claims.iat * 1000).to_iso();
        identity.facts.add("aws:TokenIssueTime", issued);
        if !claims.facts.contains_key(MFA_PRESENT) {
            identity.facts.add(MFA_PRESENT, "false");
        }
        identity.is_session = true;
        identity.issued_ms = Some(claims.made_ms());
        identity.expires_ms = Some(claims.exp * 1000);
        Ok(())
    }
}

fn principal_of(user: &User) -> Principal {
    Principal::User {
        account: user.account.clone(),
        path_name: format!("{}{}", user.path, user.name),
        id: user.id.clone(),
    }
}

impl Directory {
    /// The user, if he is enabled and the one that was meant.
    fn live_user(&self, account: &str, name: &str, id: &str) -> Result<User, IdentifyError> {
        let user: Option<User> = rows::get(&self.shared.catalog, &[account, name])?;
        let user = user.filter(|user| user.id == id).ok_or(IdentifyError::UnknownKey)?;
        if user.is_enabled { Ok(user) } else { Err(IdentifyError::DisabledKey) }
    }

    /// What a key that is stored may do.
    pub(crate) fn identity_of_key(
        &self,
        read: KeyRead,
        key: &AccessKey,
    ) -> Result<Identity, IdentifyError> {
        let mut reading = match &key.parent {
            Parent::Root { account } => {
                Reading::new(self, read, Principal::Root { account: account.clone() })
            }
            Parent::User { account, name, id } => {
                let user = self.live_user(account, name, id)?;
                let mut reading = Reading::new(self, read, principal_of(&user));
                reading.add_user(&user)?;
                reading
            }
        };
        reading.identity.expires_ms = key.expires_ms;
        if let Some(policy) = &key.policy {
            let document = reading.compile("access key", &key.id, policy)?;
            reading.identity.key_policy = Some(document);
        }
        Ok(reading.end())
    }

    /// What a session may do.
    pub(crate) fn identity_of_session(
        &self,
        read: KeyRead,
        claims: &Claims,
    ) -> Result<Identity, IdentifyError> {
        let mut reading = match &claims.subject {
            Subject::Root { account, .. } => {
                refuse_revoked(claims, self.owner_sessions_after(account)?)?;
                Reading::new(self, read, Principal::Root { account: account.clone() })
            }
            Subject::User { account, name, id } => {
                let user = self.live_user(account, name, id)?;
                refuse_revoked(claims, user.sessions_after_ms)?;
                let mut reading = Reading::new(self, read, principal_of(&user));
                reading.add_user(&user)?;
                reading
            }
            Subject::Role { account, name, id, session } => {
                let role: Option<Role> = rows::get(&self.shared.catalog, &[account, name])?;
                let role = role.filter(|role| role.id == *id).ok_or(IdentifyError::InvalidToken)?;
                refuse_revoked(claims, role.sessions_after_ms)?;
                let principal = Principal::RoleSession {
                    account: role.account.clone(),
                    role: format!("{}{}", role.path, role.name),
                    session: session.to_owned(),
                    id: role.id.clone(),
                };
                let mut reading = Reading::new(self, read, principal);
                reading.add_role(&role, claims)?;
                reading
            }
            Subject::External { account, name, policies } => {
                // Not a user: one of the same name may exist here, and is someone else. So there is no
                // `aws:username` either (decision 25).
                let outside = claims.outside().ok_or(IdentifyError::InvalidToken)?;
                let principal = self.outside_principal(account, &outside)?;
                let mut reading = Reading::new(self, read, principal);
                let attached = policies.iter().cloned().collect();
                let grants = Grants { attached, ..Grants::default() };
                reading.add_grants(account, "session", name, &grants)?;
                reading
            }
        };
        if let Some(outside) = claims.outside() {
            let account = claims.subject.account();
            refuse_revoked(claims, self.outside_sessions_after(account, &outside)?)?;
        }
        reading.add_session(claims)?;
        Ok(reading.end())
    }
}

fn refuse_revoked(claims: &Claims, after_ms: u64) -> Result<(), IdentifyError> {
    match claims.made_ms() < after_ms {
        true => Err(IdentifyError::RevokedToken),
        false => Ok(()),
    }
}
