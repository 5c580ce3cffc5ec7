//! Who may act on the keys and the state of others: decided in one place for all surfaces.
//!
//! # Invariants
//!
//! - A session, a key with a policy of its own and a key that expires manage no keys: what they would make
//!   or change is wider, or lasts longer, than they do.
//! - A caller gets at no one's rights that the caller could not give: before a secret is set, a key made or
//!   a user enabled, the caller must be allowed to attach every policy that the user and its groups have.
//!
//! `docs/decisions/0014-one-decision.md` has the reasons.

use crate::door::{Actor, Denied, EVERYTHING};
use crate::rights::Right;
use drystone_identity::{
    AccessKey, EntityArn, EntityKind, Grants, Group, Holder, HolderKind, IdentityError, Role, User,
};
use std::collections::BTreeSet;

/// The rights that a kind of holder has its policies by.
struct HolderRights {
    attach: Right,
    detach: Right,
    put: Right,
}

fn rights_of(kind: HolderKind) -> HolderRights {
    match kind {
        HolderKind::User => HolderRights {
            attach: Right::AttachUserPolicy,
            detach: Right::DetachUserPolicy,
            put: Right::PutUserPolicy,
        },
        HolderKind::Group => HolderRights {
            attach: Right::AttachGroupPolicy,
            detach: Right::DetachGroupPolicy,
            put: Right::PutGroupPolicy,
        },
        HolderKind::Role => HolderRights {
            attach: Right::AttachRolePolicy,
            detach: Right::DetachRolePolicy,
            put: Right::PutRolePolicy,
        },
    }
}

/// Kind of entity that a holder is.
pub(crate) fn entity_kind(kind: HolderKind) -> EntityKind {
    match kind {
        HolderKind::User => EntityKind::User,
        HolderKind::Group => EntityKind::Group,
        HolderKind::Role => EntityKind::Role,
    }
}

/// Names of policies or users that one request may change: each is decided on by itself.
const NAME_COUNT_MAX: usize = 1000;

/// The names of a request, each once.
fn each_once(names: &[String]) -> Result<BTreeSet<&String>, IdentityError> {
    if names.len() <= NAME_COUNT_MAX {
        return Ok(names.iter().collect());
    }
    let message = format!("A request names at most {NAME_COUNT_MAX} policies or users.");
    Err(IdentityError::Limit(message))
}

fn keys_refused() -> Denied {
    let message =
        "A session, a key with a policy or a key that expires manages no keys.".to_owned();
    Denied { message }
}

impl Actor<'_> {
    /// Whether a name is the caller's own; `None` is the owner of the account.
    fn is_self(&self, user: Option<&str>) -> bool {
        match user {
            Some(name) => self.identity.user_name() == Some(name),
            None => self.identity.is_unrestricted_root(),
        }
    }

    /// Refuses unless the caller's key is one that manages keys.
    pub(crate) fn require_lasting(&self) -> Result<(), Denied> {
        match self.identity.may_make_keys() {
            true => Ok(()),
            false => Err(keys_refused()),
        }
    }

    /// Refuses unless the caller may make, change or delete keys of a user, or of the owner of the account
    /// for `None`. Everybody may with their own unless a statement denies it; no one but the owner with the
    /// owner's.
    pub(crate) fn require_keys(
        &self,
        right: Right,
        user: Option<&str>,
    ) -> Result<(), IdentityError> {
        self.require_lasting()?;
        self.require_own_or(right, user)
    }

    /// As [`Actor::require_keys`], to list them. What does not manage keys lists its own only.
    pub(crate) fn require_key_list(&self, user: Option<&str>) -> Result<(), IdentityError> {
        if !self.is_self(user) {
            self.require_lasting()?;
        }
        self.require_own_or(Right::ListAccessKeys, user)
    }

    fn require_own_or(&self, right: Right, user: Option<&str>) -> Result<(), IdentityError> {
        let Some(name) = user else {
            let message = "Only the owner of the account manages the owner's keys.".to_owned();
            return match self.is_self(None) {
                true => Ok(()),
                false => Err(Denied { message }.into()),
            };
        };
        let arn = self.arn(EntityKind::User, name)?;
        // What a policy narrows has no rights that the policy does not give.
        let is_free = self.is_self(user) && !self.identity.is_narrowed();
        if is_free && !self.is_denied(right, &arn) {
            return Ok(());
        }
        Ok(self.require(right, &arn)?)
    }

    /// A key of the caller's account, if the caller may do this to it. Keys of other accounts do not exist
    /// for the caller, and a caller without rights does not learn which exist.
    pub(crate) fn find_key(&self, right: Right, id: &str) -> Result<AccessKey, IdentityError> {
        let found = match self.directory.key(id) {
            Err(error @ IdentityError::NotFound { .. }) => Err(error),
            found => Ok(found?),
        };
        let missing = || IdentityError::NotFound { kind: "access key", name: id.to_owned() };
        match found.ok().filter(|key| key.parent.account() == self.account()) {
            None => {
                self.require_lasting()?;
                self.require(right, &self.all(EntityKind::User))?;
                Err(missing())
            }
            Some(key) if right == Right::ListAccessKeys => {
                self.require_key_list(key.parent.user())?;
                Ok(key)
            }
            Some(key) => {
                self.require_keys(right, key.parent.user())?;
                Ok(key)
            }
        }
    }

    /// Refuses unless the caller may give the owner of a key a credential: the owner of the account and the
    /// user alone may, and others who may attach all that the user holds.
    pub(crate) async fn require_not_above_owner(
        &self,
        key: &AccessKey,
    ) -> Result<(), IdentityError> {
        match key.parent.user() {
            Some(name) => self.require_not_above(name).await,
            None => Ok(()),
        }
    }

    /// As [`Actor::require_not_above_owner`], by the name of the user. One who does not exist holds nothing.
    pub(crate) async fn require_not_above(&self, name: &str) -> Result<(), IdentityError> {
        if self.is_self(Some(name)) {
            return Ok(());
        }
        match self.directory.user(self.account(), name) {
            Ok(user) => self.require_may_give_user(&user).await,
            Err(IdentityError::NotFound { .. }) => Ok(()),
            Err(error) => self.owner_only(error),
        }
    }

    /// What cannot be read may hold anything.
    fn owner_only(&self, error: IdentityError) -> Result<(), IdentityError> {
        match error {
            IdentityError::Damaged { .. } if self.identity.is_unrestricted_root() => Ok(()),
            error => Err(error),
        }
    }

    async fn require_may_give_user(&self, user: &User) -> Result<(), IdentityError> {
        self.require_may_give(HolderKind::User, &user.arn(), &user.grants).await?;
        for name in &user.groups {
            match self.directory.group(self.account(), name) {
                Ok(group) => self.require_may_give_group(&group).await?,
                Err(IdentityError::NotFound { .. }) => {}
                Err(error) => self.owner_only(error)?,
            }
        }
        Ok(())
    }

    /// Refuses unless the caller may attach what a group holds. For letting its policies count.
    pub(crate) async fn require_may_give_group(&self, group: &Group) -> Result<(), IdentityError> {
        self.require_may_give(HolderKind::Group, &group.arn(), &group.grants).await
    }

    /// Refuses unless the caller may attach what a role holds. For changing who may take it on.
    pub(crate) async fn require_may_give_role(&self, role: &Role) -> Result<(), IdentityError> {
        self.require_may_give(HolderKind::Role, &role.arn(), &role.grants).await
    }

    async fn require_may_give(
        &self,
        kind: HolderKind,
        holder: &EntityArn,
        grants: &Grants,
    ) -> Result<(), IdentityError> {
        let rights = rights_of(kind);
        for name in &grants.attached {
            let policy = self.arn(EntityKind::Policy, name)?;
            self.one_of_many(|| self.require_attach(rights.attach, holder, &policy)).await?;
        }
        if !grants.inline.is_empty() {
            self.require(rights.put, holder)?;
        }
        Ok(())
    }

    /// Enables or disables a user.
    pub(crate) async fn set_user_enabled(
        &self,
        name: &str,
        is_enabled: bool,
    ) -> Result<(), IdentityError> {
        let right = if is_enabled { Right::EnableUser } else { Right::DisableUser };
        self.require(right, &self.arn(EntityKind::User, name)?)?;
        // Its keys open again with it.
        if is_enabled {
            self.require_lasting()?;
            self.require_not_above(name).await?;
        }
        let change = move |user: &mut User| {
            user.is_enabled = is_enabled;
            Ok(())
        };
        self.directory.change_user(self.account(), name, change).await
    }

    /// Removes a user with its keys.
    pub(crate) async fn remove_user(&self, name: &str) -> Result<(), IdentityError> {
        self.require_lasting()?;
        let arn = self.arn(EntityKind::User, name)?;
        self.require(Right::DeleteUser, &arn)?;
        self.refuse_denied(Right::DeleteAccessKey, &arn)?;
        self.directory.delete_user(self.account(), name, true).await
    }

    /// Everybody may ask about themselves unless a statement denies it.
    pub(crate) fn require_user_info(&self, name: &str) -> Result<(), IdentityError> {
        let arn = self.arn(EntityKind::User, name)?;
        match self.is_self(Some(name)) {
            true => Ok(self.refuse_denied(Right::GetUser, &arn)?),
            false => Ok(self.require(Right::GetUser, &arn)?),
        }
    }

    /// The right to change the members of a group is one to the group; a deny may name a user.
    pub(crate) async fn refuse_denied_members(
        &self,
        right: Right,
        users: &[String],
    ) -> Result<(), IdentityError> {
        for user in each_once(users)? {
            let arn = self.arn(EntityKind::User, user)?;
            self.one_of_many(|| self.refuse_denied(right, &arn)).await?;
        }
        Ok(())
    }

    /// Refuses unless the caller may attach policies to a holder, or detach them.
    pub(crate) async fn require_attach_all(
        &self,
        holder: &Holder,
        policies: &[String],
        attach: bool,
    ) -> Result<(), IdentityError> {
        let policies = each_once(policies)?;
        let rights = rights_of(holder.kind);
        let right = if attach { rights.attach } else { rights.detach };
        let arn = self.arn(entity_kind(holder.kind), &holder.name)?;
        // Also without any policy: anyone who may not, learns nothing of the holder.
        if policies.is_empty() {
            self.require(right, &arn)?;
        }
        for name in policies {
            let policy = self.arn(EntityKind::Policy, name)?;
            self.one_of_many(|| self.require_attach(right, &arn, &policy)).await?;
        }
        Ok(())
    }

    /// As [`Actor::require_attach_all`], to a name of the LDAP server, which has no resource name.
    pub(crate) async fn require_attach_name(
        &self,
        policies: &[String],
        attach: bool,
    ) -> Result<(), IdentityError> {
        let right = if attach { Right::AttachNamePolicy } else { Right::DetachNamePolicy };
        self.require_server(right)?;
        for name in each_once(policies)? {
            let arn = self.arn(EntityKind::Policy, name)?;
            self.one_of_many(|| self.require_server_on(right, &[&arn, EVERYTHING])).await?;
        }
        Ok(())
    }

    /// Makes a policy, or a new version of it that counts at once: each is a right of its own.
    pub(crate) async fn set_policy(&self, name: &str, document: &str) -> Result<(), IdentityError> {
        let (directory, account) = (self.directory, self.account());
        let arn = self.arn(EntityKind::Policy, name)?;
        let found = match directory.policy(account, name) {
            Err(IdentityError::NotFound { .. }) => None,
            found => Some(found?),
        };
        match found {
            None => {
                self.require(Right::CreatePolicy, &arn)?;
                directory
                    .create_policy(account, name, "/", "", document, Default::default())
                    .await?;
            }
            Some(_) => {
                self.require(Right::CreatePolicyVersion, &arn)?;
                directory.add_policy_version(account, name, document, true, true).await?;
            }
        }
        Ok(())
    }

    /// As [`Actor::require_attach_all`], for setting the policies of a holder: those that are new are
    /// attached, and those that are left out are detached.
    pub(crate) async fn require_set_all(
        &self,
        holder: &Holder,
        policies: &[String],
    ) -> Result<(), IdentityError> {
        let policies = each_once(policies)?;
        let held = match self.directory.grants(holder) {
            Ok(grants) => grants.attached,
            Err(IdentityError::NotFound { .. }) => Default::default(),
            Err(error) => return Err(error),
        };
        let is_new = |name: &&&String| !held.contains(**name);
        let added: Vec<String> =
            policies.iter().filter(is_new).map(|name| (*name).clone()).collect();
        let removed: Vec<_> = held.into_iter().filter(|name| !policies.contains(name)).collect();
        if !removed.is_empty() {
            self.require_attach_all(holder, &removed, false).await?;
        }
        if removed.is_empty() || !added.is_empty() {
            self.require_attach_all(holder, &added, true).await?;
        }
        Ok(())
    }
}
