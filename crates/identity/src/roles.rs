//! Roles, and who may take them on.

use crate::directory::{Directory, Scope};
use crate::entity::Role;
use crate::error::IdentityError;
use crate::holder::HolderKind;
use crate::names::{check_name, check_path, check_tags, unique_id};
use crate::policies::must_have;
use crate::principals::policies_first;
use crate::rows::{self, Page, PageAsked};
use drystone_base::Room;
use drystone_iam::{
    Caller, DocumentKind, Explanation, Facts, PolicySet, Principal, StoredPolicy, decide_trust,
};
use serde::Serialize;
use std::collections::BTreeMap;

const ROLE_NAME_LEN_MAX: usize = 64;
/// Bytes of a trust policy, as a client gives it.
const TRUST_LEN_MAX: usize = 8192;
/// Sessions of a role last an hour unless the role says otherwise.
const SESSION_DEFAULT_S: u64 = 3600;
const SESSION_RANGE_S: std::ops::RangeInclusive<u64> = 3600..=43_200;

/// A role to be made.
#[derive(Clone, Debug, Default)]
pub struct NewRole {
    /// Name.
    pub name: String,
    /// Path; empty for `/`.
    pub path: String,
    /// Who may assume it.
    pub trust: String,
    /// For people.
    pub description: String,
    /// Longest session in seconds; `None` for an hour.
    pub session_max_s: Option<u64>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Name of the managed policy that bounds what other policies allow.
    pub boundary: Option<String>,
}

/// Someone wants to take on a role.
pub struct AssumeRequest<'a> {
    /// Who.
    pub principal: &'a Principal,
    /// Canonical id of his account.
    pub canonical: Option<&'a str>,
    /// His policies, and what narrows him.
    pub own: PolicySet<'a>,
    /// `sts:AssumeRole` or one of its kin.
    pub action: &'a str,
    /// What is known about the request.
    pub facts: &'a Facts,
}

fn check_session(seconds: u64) -> Result<(), IdentityError> {
    if SESSION_RANGE_S.contains(&seconds) {
        return Ok(());
    }
    let message = "A session may last from 3600 to 43200 seconds.";
    Err(IdentityError::invalid("MaxSessionDuration", message))
}

impl Directory {
    /// Makes a role without any rights.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Invalid`], [`IdentityError::Policy`], [`IdentityError::Exists`],
    /// [`IdentityError::NotFound`] for the boundary, or the catalog failed.
    pub async fn create_role(&self, account: &str, new: NewRole) -> Result<Role, IdentityError> {
        let path = if new.path.is_empty() { "/".to_owned() } else { new.path };
        let session_max_s = new.session_max_s.unwrap_or(SESSION_DEFAULT_S);
        check_name("RoleName", &new.name, ROLE_NAME_LEN_MAX)?;
        check_path(&path)?;
        check_tags(&new.tags)?;
        let trust = self.resolve_trust(&new.trust)?;
        check_session(session_max_s)?;
        let role = Role {
            account: account.to_owned(),
            name: new.name,
            path,
            id: unique_id(&*self.shared.rng, "AROA"),
            created_ms: self.now_ms(),
            description: new.description,
            trust,
            session_max_s,
            grants: Default::default(),
            tags: new.tags,
            sessions_after_ms: 0,
            boundary: new.boundary,
            unknown: Default::default(),
        };
        let stored = role.clone();
        self.commit(Scope::of(&stored.account), move |tx| {
            must_have(tx, &stored.account, stored.boundary.as_deref())?;
            rows::create(tx, &[&stored.account, &stored.name], &stored)
        })
        .await?;
        Ok(role)
    }

    /// A role.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], or the catalog failed.
    pub fn role(&self, account: &str, name: &str) -> Result<Role, IdentityError> {
        let missing = || IdentityError::NotFound { kind: "role", name: name.to_owned() };
        rows::get(&self.shared.catalog, &[account, name])?.ok_or_else(missing)
    }

    /// A page of the roles of an account that are to be kept.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn roles_page(
        &self,
        account: &str,
        asked: PageAsked<'_>,
        keep: impl Fn(&Role) -> bool,
    ) -> Result<Page<Role>, IdentityError> {
        rows::page(&self.shared.catalog, account, asked, keep)
    }

    /// What `of` keeps of the roles of an account, by name.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn roles<T: Serialize>(
        &self,
        account: &str,
        room: &dyn Room,
        mut of: impl FnMut(Role) -> T,
    ) -> Result<Vec<T>, IdentityError> {
        rows::list(&self.shared.catalog, &[account, ""], room, |entity| Some(of(entity)))
    }

    /// Changes a role.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], what `change` says, or the catalog failed.
    pub async fn change_role(
        &self,
        account: &str,
        name: &str,
        change: impl FnOnce(&mut Role) -> Result<(), IdentityError> + Send + 'static,
    ) -> Result<(), IdentityError> {
        let (account, name) = (account.to_owned(), name.to_owned());
        self.commit(Scope::of(&account), move |tx| {
            rows::change(tx, &[&account, &name], |role: &mut Role| {
                change(role)?;
                check_tags(&role.tags)?;
                check_session(role.session_max_s)
            })
        })
        .await
    }

    /// Checks who may take on a role, and puts in the ids of those who are named.
    fn resolve_trust(&self, trust: &str) -> Result<StoredPolicy, IdentityError> {
        if trust.len() > TRUST_LEN_MAX {
            let message = format!("Cannot exceed quota for ACLSizePerRole: {TRUST_LEN_MAX}");
            return Err(IdentityError::Limit(message));
        }
        Ok(StoredPolicy::resolve(trust, DocumentKind::Trust, &self.principal_names())?.0)
    }

    /// Sets who may take on a role.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], [`IdentityError::Policy`], or the catalog failed.
    pub async fn set_trust(
        &self,
        account: &str,
        name: &str,
        trust: &str,
    ) -> Result<(), IdentityError> {
        let trust = self.resolve_trust(trust)?;
        let change = move |role: &mut Role| {
            role.trust = trust;
            Ok(())
        };
        self.change_role(account, name, change).await
    }

    /// Deletes a role that holds no policies.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], [`IdentityError::InUse`], or the catalog failed.
    pub async fn delete_role(&self, account: &str, name: &str) -> Result<(), IdentityError> {
        let (account, name) = (account.to_owned(), name.to_owned());
        let damaged = match self.role(&account, &name) {
            Err(IdentityError::Damaged { .. }) => {
                self.rows_of_damaged(&account, HolderKind::Role, &name)?
            }
            _ => Vec::new(),
        };
        self.commit(Scope::of(&account), move |tx| {
            let parts = [account.as_str(), &name];
            let role: Option<Role> = rows::load_readable(tx, &parts)?;
            damaged.into_iter().for_each(|row| tx.delete(row));
            if role.is_some_and(|role| role.grants != Default::default()) {
                return Err(policies_first());
            }
            rows::remove::<Role>(tx, &parts)
        })
        .await
    }

    /// The role with a resource name, if the caller may take it on; else why not.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], [`IdentityError::Damaged`], or the catalog failed.
    pub fn assume(
        &self,
        arn: &str,
        request: &AssumeRequest<'_>,
    ) -> Result<Result<Role, Explanation>, IdentityError> {
        let missing = || IdentityError::NotFound { kind: "role", name: arn.to_owned() };
        let mut parts = arn.splitn(6, ':');
        let (account, resource) = (parts.nth(4), parts.next());
        let (account, name) = account
            .zip(resource.and_then(|resource| resource.strip_prefix("role/")))
            .ok_or_else(missing)?;
        let role = self.role(account, name.rsplit('/').next().unwrap_or(name))?;
        if *role.arn() != *arn {
            return Err(missing());
        }
        let damaged = |_| IdentityError::Damaged { kind: "role", name: role.name.clone() };
        let trust = role.trust.document(DocumentKind::Trust).map_err(damaged)?;
        let caller = Caller { principal: request.principal, canonical: request.canonical };
        let (action, facts) = (request.action, request.facts);
        let named = ("trust policy", &trust);
        let decision = decide_trust(caller, action, arn, facts, named, &request.own);
        Ok(if decision.allowed { Ok(role) } else { Err(decision.explanation) })
    }
}
