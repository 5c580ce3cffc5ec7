//! Anyone who holds policies: users, groups and roles alike.

use crate::entity::{Grants, Group, Role, User};
use crate::error::IdentityError;
use crate::rows;
use drystone_catalog::Tx;

/// Kinds of entities that hold policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderKind {
    /// A user.
    User,
    /// A group.
    Group,
    /// A role.
    Role,
}

/// An entity that holds policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Account id.
    pub account: String,
    /// Its kind.
    pub kind: HolderKind,
    /// Its name.
    pub name: String,
}

impl Holder {
    /// Names a holder.
    #[must_use]
    pub fn new(kind: HolderKind, account: &str, name: &str) -> Self {
        Self { account: account.to_owned(), kind, name: name.to_owned() }
    }

    /// Sets the boundary of a user or role, or takes it away.
    pub(crate) fn set_boundary(
        &self,
        tx: &mut Tx<'_>,
        policy: Option<String>,
    ) -> Result<(), IdentityError> {
        let parts = [self.account.as_str(), self.name.as_str()];
        let now = tx.now_ms();
        match self.kind {
            HolderKind::User => rows::change(tx, &parts, |user: &mut User| {
                (user.boundary, user.updated_ms) = (policy, now);
                Ok(())
            }),
            HolderKind::Role => rows::change(tx, &parts, |role: &mut Role| {
                role.boundary = policy;
                Ok(())
            }),
            HolderKind::Group => {
                Err(IdentityError::invalid("GroupName", "A group has no permissions boundary."))
            }
        }
    }

    /// Changes what the holder is allowed.
    pub(crate) fn change<R>(
        &self,
        tx: &mut Tx<'_>,
        change: impl FnOnce(&mut Grants) -> Result<R, IdentityError>,
    ) -> Result<R, IdentityError> {
        let parts = [self.account.as_str(), self.name.as_str()];
        let now = tx.now_ms();
        match self.kind {
            HolderKind::User => rows::change(tx, &parts, |user: &mut User| {
                user.updated_ms = now;
                change(&mut user.grants)
            }),
            HolderKind::Group => rows::change(tx, &parts, |group: &mut Group| {
                group.updated_ms = now;
                change(&mut group.grants)
            }),
            HolderKind::Role => {
                rows::change(tx, &parts, |role: &mut Role| change(&mut role.grants))
            }
        }
    }
}
