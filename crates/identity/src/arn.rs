//! From a stored identity to its resource name (ARN): the one place that builds one.
//!
//! Every right on a user, group, role or policy is decided on the name that this module makes, by account,
//! path and name as they are stored. A name built from a bare entity name would have the wrong path, and a
//! statement about a path would not match it. `cargo xtask tidy` refuses such names elsewhere.
//!
//! # Not here
//!
//! Names of those who sign requests, with the sessions among them: `iam::Principal`.

use crate::directory::Directory;
use crate::entity::{Group, ManagedPolicy, Role, User};
use crate::error::IdentityError;
use drystone_iam::canned_policy;
use std::fmt;
use std::ops::Deref;

/// Kinds of identities that have a resource name with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntityKind {
    /// A user.
    User,
    /// A group.
    Group,
    /// A role.
    Role,
    /// A managed policy.
    Policy,
    /// An OpenID provider, whose name is its issuer without the scheme. It has no path.
    OpenIdProvider,
}

impl EntityKind {
    fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Role => "role",
            Self::Policy => "policy",
            Self::OpenIdProvider => "oidc-provider",
        }
    }
}

/// The resource name of an identity. Only this module makes one, so that whatever takes one as a parameter
/// can rely on its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityArn(String);

impl Deref for EntityArn {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntityArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl EntityArn {
    fn new(kind: EntityKind, account: &str, path: &str, name: &str) -> Self {
        Self(format!("arn:aws:iam::{account}:{}{path}{name}", kind.word()))
    }

    /// Of an entity that is about to be made. An empty path is `/`, as it will be stored.
    #[must_use]
    pub fn of_new(kind: EntityKind, account: &str, path: &str, name: &str) -> Self {
        Self::new(kind, account, if path.is_empty() { "/" } else { path }, name)
    }

    /// Of all entities of a kind, on which the right to list them is decided.
    #[must_use]
    pub fn of_all(kind: EntityKind, account: &str) -> Self {
        Self::new(kind, account, "/", "*")
    }

    /// Of the owner of an account.
    #[must_use]
    pub fn of_owner(account: &str) -> Self {
        Self(format!("arn:aws:iam::{account}:root"))
    }

    /// The resource name that a client gives a policy, of the account or of the server; `None` if it is
    /// not one of these. Whether such a policy exists, and has this path, is another question.
    #[must_use]
    pub fn of_policy(account: &str, text: &str) -> Option<Self> {
        let arn = Self(text.to_owned());
        let path_name = [account, "aws"]
            .into_iter()
            .find_map(|owner| text.strip_prefix(&*Self::new(EntityKind::Policy, owner, "/", "")))?;
        (!path_name.is_empty() && !arn.name().is_empty()).then_some(arn)
    }

    /// The name of the OpenID provider of an account that a client gives the resource name of; `None` if
    /// it is no such resource name. Whether there is such a provider is another question.
    #[must_use]
    pub fn openid_provider_name<'t>(account: &str, text: &'t str) -> Option<&'t str> {
        let name = text.strip_prefix(&*Self::new(EntityKind::OpenIdProvider, account, "/", ""))?;
        (!name.is_empty()).then_some(name)
    }

    /// Name of the entity: what follows the path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// A resource name as those see it whom it is refused: without the path of an entity, which tells that
    /// the entity exists.
    #[must_use]
    pub fn without_path(text: &str) -> String {
        let at = text.match_indices(':').nth(4).map_or(0, |(at, _)| at + 1);
        let (account, resource) = text.split_at(at);
        match (resource.split_once('/'), resource.rsplit_once('/')) {
            // Its slashes are no path.
            (Some(("oidc-provider", _)), _) => text.to_owned(),
            (Some((kind, _)), Some((_, name))) => format!("{account}{kind}/{name}"),
            _ => text.to_owned(),
        }
    }

    /// Of a policy that comes with the server.
    #[must_use]
    pub fn of_canned(name: &str) -> Self {
        Self::new(EntityKind::Policy, "aws", "/", name)
    }
}

impl User {
    /// Its resource name.
    #[must_use]
    pub fn arn(&self) -> EntityArn {
        EntityArn::new(EntityKind::User, &self.account, &self.path, &self.name)
    }
}

impl Group {
    /// Its resource name.
    #[must_use]
    pub fn arn(&self) -> EntityArn {
        EntityArn::new(EntityKind::Group, &self.account, &self.path, &self.name)
    }
}

impl Role {
    /// Its resource name.
    #[must_use]
    pub fn arn(&self) -> EntityArn {
        EntityArn::new(EntityKind::Role, &self.account, &self.path, &self.name)
    }
}

impl ManagedPolicy {
    /// Its resource name.
    #[must_use]
    pub fn arn(&self) -> EntityArn {
        EntityArn::new(EntityKind::Policy, &self.account, &self.path, &self.name)
    }
}

/// Resource name of the role that everybody from an OpenID provider has, in the form of MinIO.
#[must_use]
pub fn openid_role_arn(hash: &str) -> String {
    format!("arn:minio:iam:::role/{hash}")
}

/// Serial number of the second factor of an account's owner.
#[must_use]
pub fn mfa_serial(account: &str) -> String {
    format!("arn:aws:iam::{account}:mfa/root-account-mfa-device")
}

impl Directory {
    /// The resource name of an entity, from its row. One that does not exist has the path `/`: a caller who
    /// may act on it learns that it does not exist, and others learn nothing.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Damaged`] if the row cannot be read, since its path is not known; or the catalog
    /// failed.
    pub fn arn_of(
        &self,
        kind: EntityKind,
        account: &str,
        name: &str,
    ) -> Result<EntityArn, IdentityError> {
        let found = match kind {
            EntityKind::User => self.user(account, name).map(|user| user.arn()),
            EntityKind::Group => self.group(account, name).map(|group| group.arn()),
            EntityKind::Role => self.role(account, name).map(|role| role.arn()),
            EntityKind::Policy if canned_policy(name).is_some() => Ok(EntityArn::of_canned(name)),
            EntityKind::Policy => self.policy(account, name).map(|policy| policy.arn()),
            // The name says it all.
            EntityKind::OpenIdProvider => Ok(EntityArn::of_new(kind, account, "/", name)),
        };
        match found {
            Err(IdentityError::NotFound { .. }) => Ok(EntityArn::of_new(kind, account, "/", name)),
            found => found,
        }
    }

    /// The resource name of a policy, canned or the account's own; with the path `/` if there is none, or if
    /// its row cannot be read.
    #[must_use]
    pub fn policy_arn(&self, account: &str, name: &str) -> String {
        let found = self.arn_of(EntityKind::Policy, account, name);
        found.unwrap_or_else(|_| EntityArn::of_new(EntityKind::Policy, account, "/", name)).0
    }

    /// The name of the policy that a resource name means: a canned one, or one of the account.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], or the catalog failed.
    pub fn policy_of_arn(&self, account: &str, text: &str) -> Result<String, IdentityError> {
        let missing = || IdentityError::NotFound { kind: "policy", name: text.to_owned() };
        let arn = EntityArn::of_policy(account, text).ok_or_else(missing)?;
        let is_there = match canned_policy(arn.name()) {
            Some(_) => arn == EntityArn::of_canned(arn.name()),
            None => match self.policy(account, arn.name()) {
                Ok(policy) => policy.arn() == arn,
                Err(IdentityError::NotFound { .. }) => false,
                Err(error) => return Err(error),
            },
        };
        if is_there { Ok(arn.name().to_owned()) } else { Err(missing()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: an empty path is decided on as the one that will be stored, so that leaving it empty evades no
    /// statement.
    #[test]
    fn an_empty_path_is_the_root_path() {
        let arn = |path| EntityArn::of_new(EntityKind::User, "0", path, "a").to_string();
        assert_eq!(arn(""), "arn:aws:iam::0:user/a");
        assert_eq!(arn("/"), arn(""));
        assert_eq!(arn("/x/"), "arn:aws:iam::0:user/x/a");
        assert_eq!(EntityArn::without_path(&arn("/x/y/")), arn("/"));
        assert_eq!(EntityArn::without_path(&arn("/")), arn("/"));
        for text in
            ["arn:aws:iam::0:oidc-provider/a/b", "arn:aws:s3:::*", "arn:aws:iam::0:root", "*", ""]
        {
            assert_eq!(EntityArn::without_path(text), text);
        }
        assert_eq!(&*EntityArn::of_canned("readonly"), "arn:aws:iam::aws:policy/readonly");
    }
}
