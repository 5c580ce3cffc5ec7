//! From an access key to whom it belongs, with secret and policies.

use crate::DEFAULT_ACCOUNT;
use crate::directory::{Directory, RootCredentials};
use crate::entity::{AccessKey, Grants, Group, Parent, Role, User};
use crate::error::IdentityError;
use crate::keys::seal_context;
use crate::rows;
use crate::session_policy::closed;
use crate::token::{Claims, Subject};
use drystone_iam::{Document, DocumentKind, Facts, Named, PolicySet, Principal};
use drystone_keyring::Secret;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Condition key that says whether a session was made with a second factor. Keys that last have none.
const MFA_PRESENT: &str = "aws:MultiFactorAuthPresent";

/// Somebody whose key was looked up: what signatures are checked and decisions made with.
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
    pub policies: Vec<(String, Document)>,
    /// The policy of the key, which narrows.
    pub key_policy: Option<Document>,
    /// The permissions boundary of user or role, which narrows what its policies allow.
    pub boundary: Option<(String, Document)>,
    /// The policies of the session, which narrow: what any of them allows is left.
    pub session_policies: Option<Vec<(String, Document)>>,
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

/// Why a key opens nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IdentifyError {
    /// There is no such key, or it or its parent is disabled, gone or expired.
    #[error("the access key is not known, or disabled")]
    UnknownKey,
    /// The token is not one of this server, or of another key.
    #[error("the session token is not valid")]
    InvalidToken,
    /// The session has ended.
    #[error("the session has ended")]
    ExpiredToken,
    /// What is stored cannot be read.
    #[error("what is stored about the access key cannot be read")]
    Stored(#[from] IdentityError),
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

    /// Bytes that it holds.
    pub(crate) fn weight_bytes(&self) -> usize {
        let named = self.policies.iter().chain(self.session_policies.iter().flatten());
        let of_named = named.chain(&self.boundary).map(|(name, document)| {
            size_of::<(String, Document)>() + name.capacity() + document.weight_bytes()
        });
        let of_keys: usize = self.fact_keys.iter().map(|key| key.capacity() + 64).sum();
        size_of::<Self>()
            + self.access_key.capacity()
            + self.secret_key.reveal().len()
            + of_named.sum::<usize>()
            + self.key_policy.as_ref().map_or(0, Document::weight_bytes)
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
        self.policies.iter().map(|(name, document)| (name.as_str(), document)).collect()
    }

    /// Policies that narrow, put into a set whose other fields stay empty.
    #[must_use]
    pub fn policy_set<'a>(&'a self, identity: &'a [Named<'a>]) -> PolicySet<'a> {
        PolicySet {
            identity,
            service_account: self.key_policy.as_ref().map(|d| ("access key policy", d)),
            boundary: self.boundary.as_ref().map(|(name, document)| (name.as_str(), document)),
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

/// What an identity is remembered under.
fn name_of(access_key: &str, token: Option<&str>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((access_key.len() as u64).to_le_bytes());
    hash.update(access_key.as_bytes());
    if let Some(token) = token {
        hash.update(b" ");
        hash.update(token.as_bytes());
    }
    hash.finalize().into()
}

fn parse(kind: &'static str, name: &str, text: &str) -> Result<Document, IdentityError> {
    Document::parse(text, DocumentKind::Identity)
        .map_err(|_| IdentityError::Damaged { kind, name: name.to_owned() })
}

impl Directory {
    /// Whom an access key belongs to, with the session token that came with it.
    ///
    /// # Errors
    ///
    /// [`IdentifyError`].
    pub fn identify(
        &self,
        access_key: &str,
        token: Option<&str>,
    ) -> Result<Arc<Identity>, IdentifyError> {
        let root = &self.shared.root;
        if root.access_key == access_key {
            return if token.is_none() {
                Ok(root.clone())
            } else {
                Err(IdentifyError::InvalidToken)
            };
        }
        let name = name_of(access_key, token);
        let epoch = self.epoch();
        let identity = match self.remembered(&name) {
            Some(identity) => identity,
            None => {
                let read = match token {
                    None => self.read_key(access_key)?,
                    Some(token) => self.read_session(access_key, token)?,
                };
                let identity = Arc::new(read.index());
                self.remember(name, epoch, identity.clone());
                identity
            }
        };
        match identity.expires_ms {
            Some(end) if end <= self.now_ms() && identity.is_session => {
                Err(IdentifyError::ExpiredToken)
            }
            Some(end) if end <= self.now_ms() => Err(IdentifyError::UnknownKey),
            _ => Ok(identity),
        }
    }

    fn read_key(&self, id: &str) -> Result<Identity, IdentifyError> {
        let catalog = &self.shared.catalog;
        let key: Option<AccessKey> = rows::get(catalog, &[id])?;
        let key = key.filter(|key| key.is_enabled).ok_or(IdentifyError::UnknownKey)?;
        let secret = self.open_secret(&seal_context(id), &key.sealed_secret)?;
        let mut identity = match &key.parent {
            Parent::Root { account } => {
                let principal = Principal::Root { account: account.clone() };
                Identity::bare(self.next_serial(), id.to_owned(), secret, principal)
            }
            Parent::User { account, name, id: user_id } => {
                let user = self.live_user(account, name, user_id)?;
                self.of_user(&user, id, secret)?
            }
        };
        identity.expires_ms = key.expires_ms;
        if let Some(policy) = &key.policy {
            identity.key_policy = Some(parse("access key", id, policy)?);
        }
        Ok(identity)
    }

    pub(crate) fn open_secret(&self, context: &str, sealed: &str) -> Result<Secret, IdentityError> {
        let bytes = self.shared.keyring.open(context, sealed).inspect_err(|error| {
            tracing::error!(context, %error, "a stored secret cannot be opened");
        })?;
        Ok(Secret::new(String::from_utf8_lossy(&bytes)))
    }

    /// The user, if he is enabled and the one that was meant.
    fn live_user(&self, account: &str, name: &str, id: &str) -> Result<User, IdentifyError> {
        let user: Option<User> = rows::get(&self.shared.catalog, &[account, name])?;
        user.filter(|user| user.is_enabled && user.id == id).ok_or(IdentifyError::UnknownKey)
    }

    fn of_user(&self, user: &User, key: &str, secret: Secret) -> Result<Identity, IdentityError> {
        let principal = Principal::User {
            account: user.account.clone(),
            path_name: format!("{}{}", user.path, user.name),
            id: user.id.clone(),
        };
        let mut identity = Identity::bare(self.next_serial(), key.to_owned(), secret, principal);
        self.add_grants(&mut identity, &user.account, "user", &user.name, &user.grants)?;
        identity.boundary = self.boundary(&user.account, user.boundary.as_deref())?;
        identity.facts.add("aws:username", user.name.clone());
        for (tag, value) in &user.tags {
            identity.facts.add(&format!("aws:PrincipalTag/{tag}"), value.clone());
        }
        for name in &user.groups {
            let parts = [user.account.as_str(), name];
            let Some(group) = rows::get::<Group>(&self.shared.catalog, &parts)? else { continue };
            if group.is_enabled {
                identity.facts.add("aws:groups", name.clone());
                self.add_grants(&mut identity, &user.account, "group", name, &group.grants)?;
            }
        }
        Ok(identity)
    }

    /// A permissions boundary. One that cannot be read denies everything: without it there would be no
    /// bound at all.
    fn boundary(
        &self,
        account: &str,
        name: Option<&str>,
    ) -> Result<Option<(String, Document)>, IdentityError> {
        let Some(name) = name else { return Ok(None) };
        let document = match self.policy_text(account, name) {
            Ok(text) => Document::parse(&text, DocumentKind::Identity).ok(),
            Err(IdentityError::NotFound { .. } | IdentityError::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        let document = document.unwrap_or_else(|| {
            tracing::error!(account, policy = name, "a permissions boundary cannot be read");
            closed()
        });
        Ok(Some((name.to_owned(), document)))
    }

    fn add_grants(
        &self,
        identity: &mut Identity,
        account: &str,
        kind: &'static str,
        name: &str,
        grants: &Grants,
    ) -> Result<(), IdentityError> {
        for policy in &grants.attached {
            let text = match self.policy_text(account, policy) {
                // Deleting a policy that somebody holds is refused; a name may still be of an import.
                Err(IdentityError::NotFound { .. }) => continue,
                text => text?,
            };
            let document = parse("policy", policy, &text)?;
            identity.policies.push((policy.clone(), document));
        }
        for (policy, text) in &grants.inline {
            let document = parse(kind, name, text)?;
            identity.policies.push((format!("{kind}/{name}/{policy}"), document));
        }
        Ok(())
    }

    fn read_session(&self, access_key: &str, token: &str) -> Result<Identity, IdentifyError> {
        let (claims, secret) = self.verify_token(access_key, token)?;
        let mut identity = match &claims.subject {
            Subject::Root { account, .. } => {
                refuse_revoked(&claims, self.owner_sessions_after(account)?)?;
                let principal = Principal::Root { account: account.clone() };
                Identity::bare(self.next_serial(), access_key.to_owned(), secret, principal)
            }
            Subject::User { account, name, id } => {
                let user = self.live_user(account, name, id)?;
                refuse_revoked(&claims, user.sessions_after_ms)?;
                self.of_user(&user, access_key, secret)?
            }
            Subject::Role { account, name, id, session } => {
                let role: Option<Role> = rows::get(&self.shared.catalog, &[account, name])?;
                let role = role.filter(|role| role.id == *id).ok_or(IdentifyError::InvalidToken)?;
                refuse_revoked(&claims, role.sessions_after_ms)?;
                self.of_role(&role, session, &claims, secret)?
            }
            Subject::External { account, name, policies } => {
                refuse_revoked(&claims, self.external_sessions_after(account, name)?)?;
                // Not a user: one of the same name may exist here, and is somebody else. So there is no
                // `aws:username` either (decision 24).
                let principal =
                    Principal::FederatedUser { account: account.clone(), name: name.clone() };
                let mut identity =
                    Identity::bare(self.next_serial(), access_key.to_owned(), secret, principal);
                let attached = policies.iter().cloned().collect();
                let grants = Grants { attached, ..Grants::default() };
                self.add_grants(&mut identity, account, "session", name, &grants)?;
                identity
            }
        };
        let account = claims.subject.account();
        if let Some(name) = &claims.vouched {
            refuse_revoked(&claims, self.external_sessions_after(account, name)?)?;
        }
        if claims.policy.is_some() || !claims.pinned.is_empty() {
            let mut policies = self.pinned_documents(account, &claims.pinned)?;
            if let Some(policy) = &claims.policy {
                let document = parse("session", access_key, policy)?;
                policies.push(("session policy".to_owned(), document));
            }
            identity.session_policies = Some(policies);
        }
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
        Ok(identity)
    }

    fn of_role(
        &self,
        role: &Role,
        session: &str,
        claims: &Claims,
        secret: Secret,
    ) -> Result<Identity, IdentityError> {
        let key = claims.access_key.as_str();
        let principal = Principal::RoleSession {
            account: role.account.clone(),
            role: format!("{}{}", role.path, role.name),
            session: session.to_owned(),
            id: role.id.clone(),
        };
        let mut identity = Identity::bare(self.next_serial(), key.to_owned(), secret, principal);
        let is_free = |tag: &str| {
            let name = format!("aws:PrincipalTag/{tag}").to_lowercase();
            !claims.facts.keys().any(|said| said.to_lowercase() == name)
        };
        for (tag, value) in role.tags.iter().filter(|(tag, _)| is_free(tag)) {
            identity.facts.add(&format!("aws:PrincipalTag/{tag}"), value.clone());
        }
        self.add_grants(&mut identity, &role.account, "role", &role.name, &role.grants)?;
        identity.boundary = self.boundary(&role.account, role.boundary.as_deref())?;
        Ok(identity)
    }
}

fn refuse_revoked(claims: &Claims, after_ms: u64) -> Result<(), IdentifyError> {
    match claims.made_ms() < after_ms {
        true => Err(IdentifyError::InvalidToken),
        false => Ok(()),
    }
}
