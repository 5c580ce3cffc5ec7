//! Whoever holds policies: users, groups and roles alike.

use crate::entity::{Entity, Grants, Group, Role, User};
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

    /// Changes what the holder is allowed.
    pub(crate) fn change<R>(
        &self,
        tx: &mut Tx<'_>,
        change: impl FnOnce(&mut Grants) -> Result<R, IdentityError>,
    ) -> Result<R, IdentityError> {
        let parts = [self.account.as_str(), self.name.as_str()];
        let now = tx.now_ms();
        match self.kind {
            HolderKind::User => with(tx, &parts, |user: &mut User| {
                user.updated_ms = now;
                change(&mut user.grants)
            }),
            HolderKind::Group => with(tx, &parts, |group: &mut Group| {
                group.updated_ms = now;
                change(&mut group.grants)
            }),
            HolderKind::Role => with(tx, &parts, |role: &mut Role| change(&mut role.grants)),
        }
    }
}

fn with<T: Entity, R>(
    tx: &mut Tx<'_>,
    parts: &[&str],
    change: impl FnOnce(&mut T) -> Result<R, IdentityError>,
) -> Result<R, IdentityError> {
    let mut entity: T = rows::load(tx, parts)?;
    let outcome = change(&mut entity)?;
    rows::save(tx, parts, &entity);
    Ok(outcome)
}
