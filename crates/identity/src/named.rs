//! Users whose name is the id of a key of their own, as MinIO's admin API has them: the secret of that key is
//! their password.
//!
//! # Invariants
//!
//! - A name that is the id of another owner's key, in whatever account, is refused: ids of keys are global,
//!   and setting the password must change no key but the user's own.
//! - User, key, state and policies change together or not at all.

use crate::directory::{Directory, Scope};
use crate::entity::{AccessKey, Parent, User};
use crate::error::IdentityError;
use crate::keys::{self, NewKey};
use crate::policies::attachable;
use crate::principals::{NewUser, insert_user};
use crate::rows;
use drystone_catalog::Tx;
use drystone_keyring::Secret;

/// A user with a key of the same name, to be made or changed.
pub struct NamedUser {
    /// Name, and id of the key.
    pub name: String,
    /// Unique id of the user on which rights were decided; `None` if there was no such user.
    pub seen: Option<String>,
    /// The secret of the key.
    pub secret: Secret,
    /// Whether its keys open anything; `None` leaves it as it is.
    pub is_enabled: Option<bool>,
    /// The managed policies that it holds; `None` leaves them as they are.
    pub policies: Option<Vec<String>>,
}

impl Directory {
    /// Makes a user with a key of its own name, or sets the secret of that key.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Exists`] if the name is the id of a key of another owner, or if the user was made
    /// meanwhile; [`IdentityError::NotFound`] if the user is gone meanwhile, and for policies; and as
    /// [`Directory::create_user`] and [`Directory::create_key`].
    pub async fn put_named_user(&self, account: &str, new: NamedUser) -> Result<(), IdentityError> {
        let key = NewKey {
            access_key: Some(new.name.clone()),
            secret_key: Some(new.secret.clone()),
            ..NewKey::of_user(account, &new.name)
        };
        let (key, _) = self.prepare_key(key)?;
        let made = NewUser { name: new.name.clone(), ..NewUser::default() };
        let made = self.prepare_user(account, made)?;
        self.commit(Scope::of(account), move |tx| put(tx, made, key, new)).await
    }
}

fn put(tx: &mut Tx<'_>, made: User, key: AccessKey, new: NamedUser) -> Result<(), IdentityError> {
    let parts = [made.account.clone(), made.name.clone()];
    let parts = [parts[0].as_str(), &parts[1]];
    let mut user = match (rows::find::<User>(tx, &parts)?, &new.seen) {
        (Some(user), Some(seen)) if user.id == *seen => user,
        (None, None) => {
            insert_user(tx, &made)?;
            made
        }
        (Some(_), _) => return Err(IdentityError::Exists { kind: "user", name: new.name }),
        (None, Some(_)) => return Err(IdentityError::NotFound { kind: "user", name: new.name }),
    };
    match rows::find::<AccessKey>(tx, &[&key.id])? {
        None => keys::insert(tx, &key)?,
        Some(mut stored) => {
            let parent = Parent::User {
                account: user.account.clone(),
                name: user.name.clone(),
                id: user.id.clone(),
            };
            if keys::must_belong(&stored, &parent).is_err() {
                return Err(IdentityError::Exists { kind: "access key", name: stored.id });
            }
            stored.sealed_secret = key.sealed_secret;
            rows::save(tx, &[&key.id], &stored)?;
        }
    }
    user.updated_ms = tx.now_ms();
    user.is_enabled = new.is_enabled.unwrap_or(user.is_enabled);
    if let Some(policies) = new.policies {
        user.grants.attached = attachable(tx, &user.account, policies)?;
    }
    rows::save(tx, &parts, &user)
}
