//! The table of rights: what each operation of each surface needs, by all names that the right has.
//!
//! The same thing can be done by several surfaces, and each has its own name for the right to do it. A row
//! holds one right with all of its names. An allow of any of `names` allows, on every surface; a deny of any
//! of `names` or of `denied_by` denies, on every surface. An operation that no row names is not served.
//!
//! `docs/identity-actions.md` is made from this table and checked by a test;
//! `tests/blackbox/abuse/test_identity_walk.py` walks it against a server.
//!
//! # Not here
//!
//! The decision itself is in `door`; where a right is decided on, in `identity::EntityArn`.

mod table;

pub(crate) use table::Right;
use table::{ALL, TABLE};

/// A row of the table. All fields but the rule are lists, separated by blanks.
pub(crate) struct Row {
    /// Names that allow, and deny. The first one is told in refusals.
    pub(crate) names: &'static str,
    /// Names that deny only: wider rights of another surface.
    pub(crate) denied_by: &'static str,
    /// What decides, where it is not an action in a policy, or not only that.
    #[cfg_attr(not(test), expect(dead_code, reason = "it is read by the generated page"))]
    pub(crate) rule: &'static str,
    /// Operations of the query API. A `!` before an operation: a deny stops it, an allow is not needed.
    pub(crate) query: &'static str,
    /// Operations of MinIO's admin API: the path behind its prefix.
    pub(crate) minio: &'static str,
    /// Operations of the own admin API, which is also that of the socket.
    pub(crate) api: &'static str,
    /// Operations of the KMS API.
    pub(crate) kms: &'static str,
}

const NONE: Row =
    Row { names: "", denied_by: "", rule: "", query: "", minio: "", api: "", kms: "" };

/// See [`Right::needs_lasting_key`].
const LASTING: &[&str] = &[
    "account-add",
    "key-add",
    "key-enable",
    "key-remove",
    "keyring-export",
    "mfa-confirm",
    "mfa-enroll",
    "mfa-remove",
    "user-remove",
];

impl Right {
    /// Its row.
    pub(crate) fn row(self) -> &'static Row {
        &TABLE[self as usize].1
    }

    /// The right that an operation of the query API needs by itself; `None` for one that no row names.
    pub(crate) fn of_query(operation: &str) -> Option<Self> {
        of(operation, |row| row.query)
    }

    /// As [`Right::of_query`], of the KMS API.
    pub(crate) fn of_kms(operation: &str) -> Option<Self> {
        of(operation, |row| row.kms)
    }

    /// As [`Right::of_query`], of MinIO's admin API.
    pub(crate) fn of_minio(operation: &str) -> Option<Self> {
        of(operation, |row| row.minio)
    }

    /// Whether the right is one to change what a user or role may do, on which AWS decides by the permissions
    /// boundary that it has (`iam:PermissionsBoundary`).
    pub(crate) fn is_on_bounded(self) -> bool {
        matches!(
            self,
            Self::AttachUserPolicy
                | Self::DetachUserPolicy
                | Self::PutUserPolicy
                | Self::DeleteUserPolicy
                | Self::DeleteUserPermissionsBoundary
                | Self::AttachRolePolicy
                | Self::DetachRolePolicy
                | Self::PutRolePolicy
                | Self::DeleteRolePolicy
                | Self::DeleteRolePermissionsBoundary
        )
    }

    /// Whether an operation of the own admin API makes, changes, opens or removes what outlasts the caller's
    /// own key: a key, an account with keys of its owner, the owner's second factor, all secrets. A session,
    /// a key with a policy and a key that expires have none of these, whatever else the caller may do.
    pub(crate) fn needs_lasting_key(operation: &str) -> bool {
        LASTING.contains(&operation)
    }

    /// As [`Right::of_query`], of the own admin API.
    pub(crate) fn of_api(operation: &str) -> Option<Self> {
        of(operation, |row| row.api)
    }
}

fn of(operation: &str, column: impl Fn(&Row) -> &'static str) -> Option<Right> {
    let names =
        |right: &Right| column(right.row()).split_whitespace().any(|name| name == operation);
    ALL.iter().copied().find(names)
}

#[cfg(test)]
mod tests;
