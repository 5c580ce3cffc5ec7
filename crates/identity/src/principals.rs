//! Users and groups.

use crate::directory::Directory;
use crate::entity::{Group, User};
use crate::error::IdentityError;
use crate::keys;
use crate::names::{check_name, check_path, check_tags, unique_id};
use crate::rows;
use drystone_catalog::Tx;
use std::collections::BTreeMap;

const USER_NAME_LEN_MAX: usize = 128;
const GROUP_NAME_LEN_MAX: usize = 128;

/// A user to be made.
#[derive(Clone, Debug, Default)]
pub struct NewUser {
    /// Name.
    pub name: String,
    /// Path; empty for `/`.
    pub path: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

impl Directory {
    /// Makes a user without any rights.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Invalid`], [`IdentityError::Exists`], or the catalog failed.
    pub async fn create_user(&self, account: &str, new: NewUser) -> Result<User, IdentityError> {
        let path = if new.path.is_empty() { "/".to_owned() } else { new.path };
        check_name("UserName", &new.name, USER_NAME_LEN_MAX)?;
        check_path(&path)?;
        check_tags(&new.tags)?;
        if new.name == self.shared.root.access_key {
            return Err(IdentityError::Exists { kind: "user", name: new.name });
        }
        let now_ms = self.now_ms();
        let user = User {
            account: account.to_owned(),
            name: new.name,
            path,
            id: unique_id(&*self.shared.rng, "AIDA"),
            created_ms: now_ms,
            updated_ms: now_ms,
            is_enabled: true,
            grants: Default::default(),
            groups: Default::default(),
            tags: new.tags,
            sessions_after_ms: 0,
            unknown: Default::default(),
        };
        let stored = user.clone();
        self.commit(move |tx| {
            let parts = [stored.account.as_str(), &stored.name];
            rows::must_be_new::<User>(tx, &parts)?;
            rows::save(tx, &parts, &stored);
            Ok(())
        })
        .await?;
        Ok(user)
    }

    /// A user.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], or the catalog failed.
    pub fn user(&self, account: &str, name: &str) -> Result<User, IdentityError> {
        let missing = || IdentityError::NotFound { kind: "user", name: name.to_owned() };
        rows::get(&self.shared.catalog, &[account, name])?.ok_or_else(missing)
    }

    /// The users of an account, by name.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn users(&self, account: &str) -> Result<Vec<User>, IdentityError> {
        rows::list(&self.shared.catalog, &[account, ""])
    }

    /// Changes a user.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], what `change` says, or the catalog failed.
    pub async fn change_user(
        &self,
        account: &str,
        name: &str,
        change: impl FnOnce(&mut User) -> Result<(), IdentityError> + Send + 'static,
    ) -> Result<(), IdentityError> {
        let (account, name) = (account.to_owned(), name.to_owned());
        self.commit(move |tx| {
            let parts = [account.as_str(), &name];
            let mut user: User = rows::load(tx, &parts)?;
            change(&mut user)?;
            check_path(&user.path)?;
            check_tags(&user.tags)?;
            user.updated_ms = tx.now_ms();
            rows::save(tx, &parts, &user);
            Ok(())
        })
        .await
    }

    /// Deletes a user. `with_all`: also his keys, and his places in groups; else these refuse it.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], [`IdentityError::InUse`], or the catalog failed.
    pub async fn delete_user(
        &self,
        account: &str,
        name: &str,
        with_all: bool,
    ) -> Result<(), IdentityError> {
        let (account, name) = (account.to_owned(), name.to_owned());
        self.commit(move |tx| delete_user(tx, &account, &name, with_all)).await
    }

    /// Makes a group without members or rights.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Invalid`], [`IdentityError::Exists`], or the catalog failed.
    pub async fn create_group(
        &self,
        account: &str,
        name: &str,
        path: &str,
    ) -> Result<Group, IdentityError> {
        let path = if path.is_empty() { "/" } else { path };
        check_name("GroupName", name, GROUP_NAME_LEN_MAX)?;
        check_path(path)?;
        let now_ms = self.now_ms();
        let group = Group {
            account: account.to_owned(),
            name: name.to_owned(),
            path: path.to_owned(),
            id: unique_id(&*self.shared.rng, "AGPA"),
            created_ms: now_ms,
            updated_ms: now_ms,
            is_enabled: true,
            grants: Default::default(),
            members: Default::default(),
            unknown: Default::default(),
        };
        let stored = group.clone();
        self.commit(move |tx| {
            let parts = [stored.account.as_str(), &stored.name];
            rows::must_be_new::<Group>(tx, &parts)?;
            rows::save(tx, &parts, &stored);
            Ok(())
        })
        .await?;
        Ok(group)
    }

    /// A group.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], or the catalog failed.
    pub fn group(&self, account: &str, name: &str) -> Result<Group, IdentityError> {
        let missing = || IdentityError::NotFound { kind: "group", name: name.to_owned() };
        rows::get(&self.shared.catalog, &[account, name])?.ok_or_else(missing)
    }

    /// The groups of an account, by name.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn groups(&self, account: &str) -> Result<Vec<Group>, IdentityError> {
        rows::list(&self.shared.catalog, &[account, ""])
    }

    /// Lets the policies of a group count, or not.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], or the catalog failed.
    pub async fn enable_group(
        &self,
        account: &str,
        name: &str,
        is_enabled: bool,
    ) -> Result<(), IdentityError> {
        let (account, name) = (account.to_owned(), name.to_owned());
        self.commit(move |tx| {
            let parts = [account.as_str(), &name];
            let mut group: Group = rows::load(tx, &parts)?;
            (group.is_enabled, group.updated_ms) = (is_enabled, tx.now_ms());
            rows::save(tx, &parts, &group);
            Ok(())
        })
        .await
    }

    /// Puts users into a group, or takes them out: all of them or none.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`] for the group or a user, or the catalog failed.
    pub async fn change_members(
        &self,
        account: &str,
        group: &str,
        users: Vec<String>,
        add: bool,
    ) -> Result<(), IdentityError> {
        let (account, group) = (account.to_owned(), group.to_owned());
        self.commit(move |tx| {
            users.iter().try_for_each(|user| change_member(tx, &account, &group, user, add))
        })
        .await
    }

    /// Deletes a group that has neither members nor policies.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], [`IdentityError::InUse`], or the catalog failed.
    pub async fn delete_group(
        &self,
        account: &str,
        name: &str,
        with_policies: bool,
    ) -> Result<(), IdentityError> {
        let (account, name) = (account.to_owned(), name.to_owned());
        self.commit(move |tx| {
            let parts = [account.as_str(), &name];
            let group: Group = rows::load(tx, &parts)?;
            if !group.members.is_empty() {
                let message = "Cannot delete entity, must remove users from group first.";
                return Err(IdentityError::InUse(message.to_owned()));
            }
            if group.grants != Default::default() && !with_policies {
                return Err(policies_first());
            }
            rows::remove::<Group>(tx, &parts);
            Ok(())
        })
        .await
    }
}

pub(crate) fn policies_first() -> IdentityError {
    let message = "Cannot delete entity, must detach all policies first.";
    IdentityError::InUse(message.to_owned())
}

fn change_member(
    tx: &mut Tx<'_>,
    account: &str,
    group_name: &str,
    user_name: &str,
    add: bool,
) -> Result<(), IdentityError> {
    let mut group: Group = rows::load(tx, &[account, group_name])?;
    let mut user: User = rows::load(tx, &[account, user_name])?;
    let now_ms = tx.now_ms();
    (group.updated_ms, user.updated_ms) = (now_ms, now_ms);
    if add {
        group.members.insert(user_name.to_owned());
        user.groups.insert(group_name.to_owned());
    } else {
        group.members.remove(user_name);
        user.groups.remove(group_name);
    }
    rows::save(tx, &[account, group_name], &group);
    rows::save(tx, &[account, user_name], &user);
    Ok(())
}

fn delete_user(
    tx: &mut Tx<'_>,
    account: &str,
    name: &str,
    with_all: bool,
) -> Result<(), IdentityError> {
    let user: User = rows::load(tx, &[account, name])?;
    if !with_all {
        if rows::first_key_of(tx, account, name)?.is_some() {
            let message = "Cannot delete entity, must delete access keys first.";
            return Err(IdentityError::InUse(message.to_owned()));
        }
        if !user.groups.is_empty() {
            let message = "Cannot delete entity, must remove users from group first.";
            return Err(IdentityError::InUse(message.to_owned()));
        }
        if user.grants != Default::default() {
            return Err(policies_first());
        }
    }
    while let Some(key) = rows::first_key_of(tx, account, name)? {
        keys::delete(tx, &key)?;
    }
    for group in &user.groups {
        change_member(tx, account, group, name, false)?;
    }
    rows::remove::<User>(tx, &[account, name]);
    Ok(())
}
