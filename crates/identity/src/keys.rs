//! Access keys.

use crate::directory::{Directory, Scope};
use crate::entity::{AccessKey, KeyKind, Parent, User};
use crate::error::IdentityError;
use crate::names::{check_access_key, check_secret, new_secret, unique_id};
use crate::rows::{self, Page, PageAsked};
use crate::weight::weigh;
use drystone_base::Room;
use drystone_catalog::Tx;
use drystone_iam::Document;
use drystone_keyring::Secret;
use serde::Serialize;

/// Keys of his own that a user may have.
const OWN_KEY_COUNT_MAX: usize = 2;
/// Keys that a user, or the owner of an account, may have in all, those of services among them.
const KEY_COUNT_MAX: usize = 500;
/// Length of the policy of a key in bytes.
const KEY_POLICY_LEN_MAX: usize = 20_480;

/// A key to be made.
#[derive(Clone)]
pub struct NewKey {
    /// Account id.
    pub account: String,
    /// Name of the user; `None` for the owner of the account.
    pub user: Option<String>,
    /// What it is for.
    pub kind: KeyKind,
    /// Access key id; `None` for one that is made up.
    pub access_key: Option<String>,
    /// Secret; `None` for one that is made up.
    pub secret_key: Option<Secret>,
    /// Narrows what the parent may do.
    pub policy: Option<String>,
    /// In milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// For people.
    pub name: String,
    /// For people.
    pub description: String,
}

impl NewKey {
    /// A key of a user's own.
    #[must_use]
    pub fn of_user(account: &str, user: &str) -> Self {
        Self { user: Some(user.to_owned()), ..Self::of_root(account) }
    }
    /// A key of the owner of an account.
    #[must_use]
    pub fn of_root(account: &str) -> Self {
        Self {
            account: account.to_owned(),
            user: None,
            kind: KeyKind::Own,
            access_key: None,
            secret_key: None,
            policy: None,
            expires_ms: None,
            name: String::new(),
            description: String::new(),
        }
    }
}

/// A change of a key; `None` leaves a field as it is.
#[derive(Clone, Default)]
pub struct KeyChange {
    /// Whether it opens anything.
    pub is_enabled: Option<bool>,
    /// New secret.
    pub secret_key: Option<Secret>,
    /// New policy; an empty one removes it.
    pub policy: Option<String>,
    /// New end, in milliseconds since 1970; 0 for none.
    pub expires_ms: Option<u64>,
    /// For people.
    pub name: Option<String>,
    /// For people.
    pub description: Option<String>,
}

/// Where a secret is sealed for.
pub(crate) fn seal_context(access_key: &str) -> String {
    format!("identity/access-key/{access_key}")
}

fn check_texts(name: &str, description: &str) -> Result<(), IdentityError> {
    if name.chars().count() > 32 || description.chars().count() > 256 {
        let message = "A name has up to 32 characters, a description up to 256.";
        return Err(IdentityError::invalid("Name", message));
    }
    Ok(())
}

fn check_policy(policy: Option<&str>) -> Result<(), IdentityError> {
    let Some(policy) = policy else { return Ok(()) };
    if policy.len() > KEY_POLICY_LEN_MAX {
        return Err(IdentityError::Limit("The policy of a key has up to 20,480 bytes.".into()));
    }
    Document::parse_new(policy)?;
    Ok(())
}

impl Directory {
    /// Checks a key, makes up what is missing and seals the secret.
    pub(crate) fn prepare_key(&self, new: NewKey) -> Result<(AccessKey, Secret), IdentityError> {
        let rng = &*self.shared.rng;
        let id = new.access_key.unwrap_or_else(|| unique_id(rng, "AKIA"));
        let secret = new.secret_key.unwrap_or_else(|| Secret::new(new_secret(rng)));
        check_access_key(&id)?;
        check_secret(secret.reveal())?;
        check_texts(&new.name, &new.description)?;
        check_policy(new.policy.as_deref())?;
        if id == self.shared.root.access_key {
            return Err(IdentityError::Exists { kind: "access key", name: id });
        }
        let now_ms = self.now_ms();
        if new.expires_ms.is_some_and(|end| end <= now_ms) {
            let message = "The expiration must lie in the future.";
            return Err(IdentityError::invalid("Expiration", message));
        }
        let sealed = self.shared.keyring.seal(rng, &seal_context(&id), secret.reveal().as_bytes());
        let parent = match new.user {
            None => Parent::Root { account: new.account },
            // The id is filled in from the user's row.
            Some(name) => Parent::User { account: new.account, name, id: String::new() },
        };
        let key = AccessKey {
            id,
            parent,
            key_kind: new.kind,
            sealed_secret: sealed,
            created_ms: now_ms,
            is_enabled: true,
            expires_ms: new.expires_ms,
            policy: new.policy.filter(|policy| !policy.is_empty()),
            name: new.name,
            description: new.description,
            unknown: Default::default(),
        };
        Ok((key, secret))
    }

    /// Makes a key. The secret is shown this once.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`] for the user, [`IdentityError::Exists`], [`IdentityError::Limit`],
    /// [`IdentityError::Invalid`], [`IdentityError::Policy`], or the catalog failed.
    pub async fn create_key(&self, new: NewKey) -> Result<(AccessKey, Secret), IdentityError> {
        let (key, secret) = self.prepare_key(new)?;
        let stored = key.clone();
        self.commit(Scope::of(stored.parent.account()), move |tx| insert(tx, &stored)).await?;
        Ok((key, secret))
    }

    /// A key.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], or the catalog failed.
    pub fn key(&self, id: &str) -> Result<AccessKey, IdentityError> {
        let missing = || IdentityError::NotFound { kind: "access key", name: id.to_owned() };
        rows::get(&self.shared.catalog, &[id])?.ok_or_else(missing)
    }

    /// What `of` keeps of the keys of a user, or of the owner of an account.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn keys_of<T: Serialize>(
        &self,
        account: &str,
        user: Option<&str>,
        room: &dyn Room,
        mut of: impl FnMut(AccessKey) -> Option<T>,
    ) -> Result<Vec<T>, IdentityError> {
        let ids = rows::keys_of(&self.shared.catalog, account, user.unwrap_or_default())?;
        let mut kept = Vec::new();
        for id in ids {
            let key = rows::get::<AccessKey>(&self.shared.catalog, &[&id])?;
            if let Some(next) = key.and_then(&mut of) {
                rows::take(room, weigh(&next))?;
                kept.push(next);
            }
        }
        Ok(kept)
    }

    /// A page of the keys of a kind of a user, or of the owner of an account.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn keys_page(
        &self,
        account: &str,
        user: Option<&str>,
        asked: PageAsked<'_>,
        kind: KeyKind,
    ) -> Result<Page<AccessKey>, IdentityError> {
        let parent = (account, user.unwrap_or_default());
        rows::keys_page(&self.shared.catalog, parent, asked, kind)
    }

    /// Changes a key, as long as it still has the parent that `key` was read with.
    ///
    /// # Errors
    ///
    /// As [`Directory::create_key`].
    pub async fn change_key(
        &self,
        key: &AccessKey,
        change: KeyChange,
    ) -> Result<(), IdentityError> {
        let rng = &*self.shared.rng;
        check_texts(
            change.name.as_deref().unwrap_or_default(),
            change.description.as_deref().unwrap_or_default(),
        )?;
        check_policy(change.policy.as_deref().filter(|policy| !policy.is_empty()))?;
        let sealed = match &change.secret_key {
            None => None,
            Some(secret) => {
                check_secret(secret.reveal())?;
                let secret = secret.reveal().as_bytes();
                Some(self.shared.keyring.seal(rng, &seal_context(&key.id), secret))
            }
        };
        let (id, parent) = (key.id.clone(), key.parent.clone());
        self.commit(Scope::of(parent.account()), move |tx| {
            rows::change(tx, &[&id], |key: &mut AccessKey| {
                must_belong(key, &parent)?;
                key.is_enabled = change.is_enabled.unwrap_or(key.is_enabled);
                set(&mut key.sealed_secret, sealed);
                set(&mut key.name, change.name);
                set(&mut key.description, change.description);
                if let Some(policy) = change.policy {
                    key.policy = Some(policy).filter(|policy| !policy.is_empty());
                }
                if let Some(end) = change.expires_ms {
                    key.expires_ms = Some(end).filter(|end| *end > 0);
                }
                Ok(())
            })
        })
        .await
    }

    /// Deletes a key, as long as it still has the parent that `key` was read with.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], or the catalog failed.
    pub async fn delete_key(&self, key: &AccessKey) -> Result<(), IdentityError> {
        let (id, parent) = (key.id.clone(), key.parent.clone());
        self.commit(Scope::of(parent.account()), move |tx| {
            must_belong(&rows::load(tx, &[&id])?, &parent)?;
            delete_of(tx, parent.account(), parent.user().unwrap_or_default(), &id)
        })
        .await
    }
}

fn set<T>(field: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *field = new;
    }
}

/// Ids of keys are global: a key is changed for the one who owns it only, by account, name and unique id.
pub(crate) fn must_belong(key: &AccessKey, parent: &Parent) -> Result<(), IdentityError> {
    match key.parent == *parent {
        true => Ok(()),
        false => Err(IdentityError::NotFound { kind: "access key", name: key.id.clone() }),
    }
}

/// Stores a new key under its parent. Its id must not be the name of another user of the account: where a
/// name is a key id, the key would be taken for that user's.
pub(crate) fn insert(tx: &mut Tx<'_>, key: &AccessKey) -> Result<(), IdentityError> {
    rows::must_be_new::<AccessKey>(tx, &[&key.id])?;
    if key.parent.user() != Some(&*key.id)
        && rows::must_be_new::<User>(tx, &[key.parent.account(), &key.id]).is_err()
    {
        return Err(IdentityError::Exists { kind: "access key", name: key.id.clone() });
    }
    let mut key = key.clone();
    let parent =
        (key.parent.account().to_owned(), key.parent.user().unwrap_or_default().to_owned());
    let keys = rows::keys_in(tx, (&parent.0, &parent.1), KEY_COUNT_MAX)?;
    if let Parent::User { account, name, id } = &mut key.parent {
        let user: User = rows::load(tx, &[account, name])?;
        *id = user.id;
        // The user's own first key may carry his name, as the incumbent does it.
        let own = keys.iter().filter(|(_, kind)| *kind == Some(KeyKind::Own));
        if key.key_kind == KeyKind::Own && own.count() >= OWN_KEY_COUNT_MAX {
            let message = "Cannot exceed quota for AccessKeysPerUser: 2";
            return Err(IdentityError::Limit(message.to_owned()));
        }
    }
    if keys.len() >= KEY_COUNT_MAX {
        let message = format!("Cannot exceed quota for AccessKeysPerUser: {KEY_COUNT_MAX}");
        return Err(IdentityError::Limit(message));
    }
    rows::save(tx, &[&key.id.clone()], &key)
}

/// Removes a key of a known parent, readable or not.
pub(crate) fn delete_of(
    tx: &mut Tx<'_>,
    account: &str,
    user: &str,
    id: &str,
) -> Result<(), IdentityError> {
    tx.delete(rows::key_of(account, user, id));
    rows::remove::<AccessKey>(tx, &[id])
}
