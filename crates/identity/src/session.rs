//! Sessions: keys that end by themselves. Nothing of them is stored: the token carries what they are,
//! and their secret is derived from it.

use crate::DEFAULT_ACCOUNT;
use crate::credential::IdentifyError;
use crate::directory::{Directory, Scope};
use crate::entity::{AccessKey, Parent, Role, SigningKey, SigningKeys};
use crate::error::IdentityError;
use crate::keys::seal_context;
use crate::names::unique_id;
use crate::outside::OutsideName;
use crate::resolve::Identity;
use crate::rows;
use crate::token::{self, Claims, Subject};
use drystone_base::{Rng, hex};
use drystone_iam::{Document, Principal};
use drystone_keyring::{Keyring, Secret};
use std::collections::BTreeMap;

/// Where the keys that sign tokens are, and what they are sealed for.
const SIGNING_KEYS: &str = "session-tokens";
/// Signing keys that are kept: the last one signs, the one before it lets its sessions end.
const SIGNING_KEY_COUNT_MAX: usize = 4;
/// Length of a session policy in bytes.
const POLICY_LEN_MAX: usize = 2048;

/// A session to be made.
#[derive(Clone, Debug, Default)]
pub struct SessionRequest {
    /// How long it lasts, in seconds; the caller has checked it.
    pub duration_s: u64,
    /// Narrows it.
    pub policy: Option<String>,
    /// Resource names of managed policies that narrow it too: it may do what any of them allows, or the
    /// policy above.
    pub policy_arns: Vec<String>,
    /// Anyone who takes on a role, as another directory knows them.
    pub vouched: Option<OutsideName>,
    /// When it was found out who it is for, in milliseconds since 1970; by default when the decision began.
    /// What ended since then ends the session too.
    pub checked_ms: Option<u64>,
    /// Condition keys that it brings with it.
    pub facts: BTreeMap<String, Vec<String>>,
}

/// The keys of a session. The secret is shown this once.
pub struct SessionCredentials {
    /// Access key id.
    pub access_key: String,
    /// Secret key.
    pub secret_key: Secret,
    /// Goes with every request.
    pub token: String,
    /// In milliseconds since 1970.
    pub expires_ms: u64,
}

fn new_signing_key(keyring: &Keyring, rng: &dyn Rng, now_ms: u64) -> SigningKey {
    let mut secret = [0; 32];
    rng.fill(&mut secret);
    let id = unique_id(rng, "");
    let sealed_secret = keyring.seal(rng, &context_of(&id), hex(&secret).as_bytes());
    SigningKey { id, sealed_secret, created_ms: now_ms }
}

fn context_of(id: &str) -> String {
    format!("identity/{SIGNING_KEYS}/{id}")
}

/// Ties a session of an owner to the credentials that it is made with.
fn bind(subject: Subject, made_with: Option<&Identity>, signing: &Secret) -> Subject {
    match (subject, made_with) {
        (Subject::Root { account, .. }, Some(identity)) => {
            let (key, secret) = (identity.access_key.clone(), identity.secret_key.reveal());
            let origin = token::origin_of(signing.reveal().as_bytes(), &key, secret);
            Subject::Root { account, key, origin }
        }
        (subject, _) => subject,
    }
}

impl Directory {
    /// The secret of credentials that owners of an account make sessions with, and when they end, in
    /// milliseconds since 1970; `None` if they are not theirs any more.
    fn owner_secret(
        &self,
        account: &str,
        key: &str,
    ) -> Result<Option<(Secret, Option<u64>)>, IdentityError> {
        let root = &self.shared.root;
        if key == root.access_key {
            return Ok((account == DEFAULT_ACCOUNT).then(|| (root.secret_key.clone(), None)));
        }
        let stored: Option<AccessKey> = rows::get(&self.shared.catalog, &[key])?;
        let is_live = |stored: &AccessKey| {
            let of_owner = matches!(&stored.parent, Parent::Root { account: of } if of == account);
            of_owner && stored.is_enabled && stored.policy.is_none()
        };
        let Some(stored) = stored.filter(is_live) else { return Ok(None) };
        let secret = self.open_secret(&seal_context(key), &stored.sealed_secret)?;
        Ok(Some((secret, stored.expires_ms)))
    }

    fn signing_keys(&self) -> Result<Option<SigningKeys>, IdentityError> {
        rows::get(&self.shared.catalog, &[SIGNING_KEYS])
    }

    /// Makes tokens be signed with a new key. Sessions whose tokens the keys before it signed go on;
    /// after four rotations they end.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub async fn rotate_signing_key(&self) -> Result<(), IdentityError> {
        let key = new_signing_key(&self.shared.keyring, &*self.shared.rng, self.now_ms());
        self.commit(Scope::All, move |tx| {
            tx.use_reserve();
            let stored: Option<SigningKeys> = rows::find(tx, &[SIGNING_KEYS])?;
            let mut stored =
                stored.unwrap_or(SigningKeys { keys: Vec::new(), unknown: Default::default() });
            stored.keys.push(key);
            let surplus = stored.keys.len().saturating_sub(SIGNING_KEY_COUNT_MAX);
            stored.keys.drain(..surplus);
            rows::save(tx, &[SIGNING_KEYS], &stored)
        })
        .await
    }

    /// The key that signs; the first session makes it.
    async fn signing_key(&self) -> Result<SigningKey, IdentityError> {
        let newest = |keys: Option<SigningKeys>| keys.and_then(|mut keys| keys.keys.pop());
        if let Some(key) = newest(self.signing_keys()?) {
            return Ok(key);
        }
        let key = new_signing_key(&self.shared.keyring, &*self.shared.rng, self.now_ms());
        self.undecided()
            .commit(Scope::All, move |tx| {
                // Another session may have been first.
                if let Some(key) = newest(rows::find(tx, &[SIGNING_KEYS])?) {
                    return Ok(key);
                }
                let keys = SigningKeys { keys: vec![key.clone()], unknown: Default::default() };
                rows::save(tx, &[SIGNING_KEYS], &keys)?;
                Ok(key)
            })
            .await
    }

    async fn issue(
        &self,
        subject: Subject,
        made_with: Option<&Identity>,
        request: SessionRequest,
    ) -> Result<SessionCredentials, IdentityError> {
        if let Some(policy) = &request.policy {
            if policy.len() > POLICY_LEN_MAX {
                let message = "The session policy must have 2,048 characters or fewer.";
                return Err(IdentityError::invalid("Policy", message));
            }
            Document::parse_new(policy)?;
        }
        let pinned = self.pin_policies(subject.account(), &request.policy_arns)?;
        let key = self.signing_key().await?;
        let secret = self.open_secret(&context_of(&key.id), &key.sealed_secret)?;
        let subject = bind(subject, made_with, &secret);
        let access_key = unique_id(&*self.shared.rng, "ASIA");
        let iat_ms = request.checked_ms.unwrap_or_else(|| self.decided_ms());
        let iat = iat_ms / 1000;
        let exp = iat + request.duration_s;
        let (vouched, provider) = match request.vouched {
            // Its subject has the name already.
            Some(outside) if matches!(subject, Subject::External { .. }) => {
                (None, outside.provider)
            }
            Some(outside) => (Some(outside.name), outside.provider),
            None => (None, None),
        };
        let claims = Claims {
            access_key: access_key.clone(),
            subject,
            iat,
            exp,
            iat_ms,
            policy: request.policy,
            pinned,
            vouched,
            provider,
            facts: request.facts,
        };
        let token = token::issue(&key.id, secret.reveal().as_bytes(), &claims);
        if token.len() > token::TOKEN_LEN_MAX {
            let message = "The session policy and tags, or the groups of the other directory, do not fit \
                           into a token of 16 KiB.";
            return Err(IdentityError::invalid("Policy", message));
        }
        let secret_key = token::secret_of(secret.reveal().as_bytes(), &access_key);
        let secret_key = Secret::new(secret_key);
        Ok(SessionCredentials { access_key, secret_key, token, expires_ms: exp * 1000 })
    }

    /// A session of the one who asks, with his rights.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Forbidden`] for sessions and for keys with a policy, [`IdentityError::Policy`],
    /// or the catalog failed.
    pub async fn session_of(
        &self,
        identity: &Identity,
        request: SessionRequest,
    ) -> Result<SessionCredentials, IdentityError> {
        if !identity.may_make_keys() {
            let message =
                "A session cannot be made by another session, nor by a key with a policy.";
            return Err(IdentityError::Forbidden(message.to_owned()));
        }
        let subject = match &identity.principal {
            // What it was made with is filled in under the key that signs.
            Principal::Root { account } => Subject::Root {
                account: account.clone(),
                key: String::new(),
                origin: String::new(),
            },
            Principal::User { account, id, .. } => Subject::User {
                account: account.clone(),
                name: identity.user_name().unwrap_or_default().to_owned(),
                id: id.clone(),
            },
            _ => return Err(IdentityError::Forbidden("Access denied.".to_owned())),
        };
        self.issue(subject, Some(identity), request).await
    }

    /// A session of a role that the caller has been found to be allowed to take on.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Invalid`], [`IdentityError::Policy`], or the catalog failed.
    pub async fn session_of_role(
        &self,
        role: &Role,
        session: &str,
        request: SessionRequest,
    ) -> Result<SessionCredentials, IdentityError> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c);
        if !(2..=64).contains(&session.len()) || !session.chars().all(is_allowed) {
            let message = "A session name has 2 to 64 letters, digits and +=,.@_-";
            return Err(IdentityError::invalid("RoleSessionName", message));
        }
        let subject = Subject::Role {
            account: role.account.clone(),
            name: role.name.clone(),
            id: role.id.clone(),
            session: session.to_owned(),
        };
        self.issue(subject, None, request).await
    }

    /// A session of someone whom another directory vouches for, with the policies that it names.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Policy`], or the catalog failed.
    pub async fn session_of_external(
        &self,
        account: &str,
        outside: OutsideName,
        policies: Vec<String>,
        request: SessionRequest,
    ) -> Result<SessionCredentials, IdentityError> {
        let (account, name) = (account.to_owned(), outside.name.clone());
        let request = SessionRequest { vouched: Some(outside), ..request };
        self.issue(Subject::External { account, name, policies }, None, request).await
    }

    /// What a token says about an access key, and the secret of the session. It ends with the key of an
    /// owner that it was made with.
    pub(crate) fn verify_token(
        &self,
        access_key: &str,
        token: &str,
    ) -> Result<(Claims, Secret), IdentifyError> {
        let invalid = IdentifyError::InvalidToken;
        let key_id = token::key_id_of(token).ok_or(invalid.clone())?;
        let keys = self.signing_keys()?.ok_or(invalid.clone())?.keys;
        let key = keys.iter().find(|key| key.id == key_id).ok_or(invalid.clone())?;
        let secret = self.open_secret(&context_of(&key.id), &key.sealed_secret)?;
        let secret = secret.reveal().as_bytes();
        let mut claims = token::verify(secret, token).ok_or(invalid.clone())?;
        if claims.access_key != access_key {
            return Err(invalid);
        }
        if let Subject::Root { account, key, origin } = &claims.subject {
            let (made_with, end_ms) = self.owner_secret(account, key)?.ok_or(invalid.clone())?;
            if token::origin_of(secret, key, made_with.reveal()) != *origin {
                return Err(invalid);
            }
            // The key may have got an end since then: its sessions end with it.
            claims.exp = claims.exp.min(end_ms.map_or(u64::MAX, |end_ms| end_ms / 1000));
        }
        Ok((claims, Secret::new(token::secret_of(secret, access_key))))
    }
}
