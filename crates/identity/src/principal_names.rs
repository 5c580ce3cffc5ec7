//! Whom the principals of policies are, for those documents that name some (`docs/decisions/0023`).

use crate::access_points::AccessPoint;
use crate::directory::{Directory, Scope};
use crate::entity::{Entity, Role, Unknown, User};
use crate::error::IdentityError;
use crate::rows;
use drystone_iam::{KnownPrincipal, PrincipalKind, PrincipalNames, StoredPolicy};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;

/// The accounts, users and roles of a directory, as policies name them.
pub struct DirectoryNames<'a>(&'a Directory);

impl PrincipalNames for DirectoryNames<'_> {
    type Error = IdentityError;

    fn find(
        &self,
        kind: PrincipalKind,
        account: &str,
        name: &str,
    ) -> Result<Option<KnownPrincipal>, IdentityError> {
        let (catalog, parts) = (&self.0.shared.catalog, [account, name]);
        let of_user = |user: User| {
            let arn = user.arn().to_string();
            KnownPrincipal { id: user.id, arn }
        };
        let of_role = |role: Role| {
            let arn = role.arn().to_string();
            KnownPrincipal { id: role.id, arn }
        };
        let found = match kind {
            PrincipalKind::User => rows::get(catalog, &parts).map(|user| user.map(of_user)),
            PrincipalKind::Role => rows::get(catalog, &parts).map(|role| role.map(of_role)),
        };
        match found {
            Err(error) if error.is_unreadable() => Ok(None),
            found => found,
        }
    }

    fn has_account(&self, id: &str) -> Result<bool, IdentityError> {
        match self.0.account(id) {
            Ok(_) => Ok(true),
            Err(IdentityError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn has_canonical(&self, id: &str) -> Result<bool, IdentityError> {
        self.0.has_canonical(id)
    }
}

/// Says that all policies of the deployment name principals by unique id.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct NamedById {
    /// Since when, in milliseconds since 1970.
    since_ms: u64,
    #[serde(flatten)]
    unknown: Unknown,
}

impl Entity for NamedById {
    const KIND: u8 = 20;
    const NAME: &'static str = "mark of policies with ids";
}

impl Directory {
    /// Who there is, for documents that name principals.
    #[must_use]
    pub fn principal_names(&self) -> DirectoryNames<'_> {
        DirectoryNames(self)
    }

    /// A policy that names principals, as a client reads it.
    #[must_use]
    pub fn shown_policy(&self, policy: &StoredPolicy) -> String {
        policy.shown(&self.principal_names())
    }

    /// Whether all policies name principals by id, or may be of a version that stored names only.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn names_principals_by_id(&self) -> Result<bool, IdentityError> {
        Ok(rows::get::<NamedById>(&self.shared.catalog, &[""])?.is_some())
    }

    /// Puts the ids of those who are named into the trust policies of roles and the policies of access
    /// points of an older version, and notes that this was done. The policies of buckets come first.
    ///
    /// # Errors
    ///
    /// The catalog failed; what was done stays, and can be done again.
    pub async fn name_principals_by_id(&self) -> Result<(), IdentityError> {
        let catalog = &self.shared.catalog;
        for role in rows::readable::<Role>(catalog) {
            let role = role?;
            if let Some(trust) = role.trust.with_ids(&self.principal_names())? {
                let set = move |role: &mut Role| {
                    role.trust = trust;
                    Ok(())
                };
                self.change_role(&role.account, &role.name, set).await?;
            }
        }
        for point in rows::readable::<AccessPoint>(catalog) {
            let point = point?;
            let Some(policy) = &point.policy else { continue };
            if let Some(policy) = policy.with_ids(&self.principal_names())? {
                let set = |point: &mut AccessPoint| {
                    point.policy = Some(policy);
                    Ok::<_, Infallible>(())
                };
                let set = self.change_access_point(&point.account, &point.name, set).await?;
                let Ok(()) = set;
            }
        }
        let mark = NamedById { since_ms: self.now_ms(), unknown: Unknown::new() };
        self.commit(Scope::All, move |tx| {
            tx.use_reserve();
            rows::save(tx, &[""], &mark)
        })
        .await
    }
}
