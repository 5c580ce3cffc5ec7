//! Managed policies, and who holds which.

use crate::derived::{Held, HolderOf, is_held};
use crate::directory::{Directory, Scope};
use crate::entity::{ForeignName, ManagedPolicy, PolicyVersion};
use crate::error::IdentityError;
use crate::holder::{Holder, HolderKind};
use crate::names::{check_name, check_path, unique_id};
use crate::rows::{self, Page, PageAsked};
use crate::weight::weigh;
use drystone_base::Room;
use drystone_catalog::Tx;
use drystone_iam::{Document, canned_policy};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

const POLICY_NAME_LEN_MAX: usize = 128;
const DOCUMENT_LEN_MAX: usize = 20_480;
const VERSION_COUNT_MAX: usize = 5;
const ATTACHED_COUNT_MAX: usize = 20;

/// Who holds a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyUse {
    /// Names of users.
    pub users: Vec<String>,
    /// Names of groups.
    pub groups: Vec<String>,
    /// Names of roles.
    pub roles: Vec<String>,
    /// Names of users whose boundary it is.
    pub bounded_users: Vec<String>,
    /// Names of roles whose boundary it is.
    pub bounded_roles: Vec<String>,
}

impl PolicyUse {
    fn add(&mut self, kind: HolderOf, name: String, held: Held) {
        let (attached, bounded) = match kind {
            Some(HolderKind::User) => (&mut self.users, Some(&mut self.bounded_users)),
            Some(HolderKind::Role) => (&mut self.roles, Some(&mut self.bounded_roles)),
            Some(HolderKind::Group) => (&mut self.groups, None),
            None => return,
        };
        if held.is_boundary {
            bounded.into_iter().for_each(|names| names.push(name.clone()));
        }
        if held.is_attached {
            attached.push(name);
        }
    }
}

/// How many users, groups and roles hold a policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyCount {
    /// Those that it is attached to.
    pub attached: u64,
    /// Those whose boundary it is.
    pub bounded: u64,
}

/// Refuses to change a policy that comes with the server.
fn refuse_built_in(name: &str) -> Result<(), IdentityError> {
    match canned_policy(name) {
        None => Ok(()),
        Some(_) => {
            let message =
                format!("The policy {name} is built in and cannot be changed or deleted.");
            Err(IdentityError::invalid("PolicyArn", message))
        }
    }
}

pub(crate) fn check_document(document: &str) -> Result<(), IdentityError> {
    if document.len() > DOCUMENT_LEN_MAX {
        let message = "Cannot exceed quota for PolicySize: 20480".to_owned();
        return Err(IdentityError::Limit(message));
    }
    Document::parse_new(document)?;
    Ok(())
}

impl ManagedPolicy {
    /// The document that counts.
    #[must_use]
    pub fn document(&self) -> &str {
        let counts = |version: &&PolicyVersion| version.number == self.default_version;
        self.versions.iter().find(counts).map_or("", |version| version.document.as_str())
    }
}

impl Directory {
    /// Makes a policy.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Invalid`], [`IdentityError::Policy`], [`IdentityError::Exists`] (also for the
    /// names of canned policies), or the catalog failed.
    pub async fn create_policy(
        &self,
        account: &str,
        name: &str,
        path: &str,
        description: &str,
        document: &str,
        tags: BTreeMap<String, String>,
    ) -> Result<ManagedPolicy, IdentityError> {
        let path = if path.is_empty() { "/" } else { path };
        check_name("PolicyName", name, POLICY_NAME_LEN_MAX)?;
        check_path(path)?;
        check_document(document)?;
        if canned_policy(name).is_some() {
            let message = format!(
                "A policy with name {name} already exists: it is built in and cannot be changed."
            );
            return Err(IdentityError::BuiltIn(message));
        }
        let now_ms = self.now_ms();
        let version =
            PolicyVersion { number: 1, document: document.to_owned(), created_ms: now_ms };
        let policy = ManagedPolicy {
            account: account.to_owned(),
            name: name.to_owned(),
            path: path.to_owned(),
            id: unique_id(&*self.shared.rng, "ANPA"),
            created_ms: now_ms,
            updated_ms: now_ms,
            description: description.to_owned(),
            versions: vec![version],
            default_version: 1,
            tags,
            unknown: Default::default(),
        };
        let stored = policy.clone();
        self.commit(Scope::of(&stored.account), move |tx| {
            rows::create(tx, &[&stored.account, &stored.name], &stored)
        })
        .await?;
        Ok(policy)
    }

    /// A policy of the account; canned ones are not here.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], or the catalog failed.
    pub fn policy(&self, account: &str, name: &str) -> Result<ManagedPolicy, IdentityError> {
        let missing = || IdentityError::NotFound { kind: "policy", name: name.to_owned() };
        rows::get(&self.shared.catalog, &[account, name])?.ok_or_else(missing)
    }

    /// A page of the policies of an account that are to be kept; canned ones are not among them.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn policies_page(
        &self,
        account: &str,
        asked: PageAsked<'_>,
        keep: impl Fn(&ManagedPolicy) -> bool,
    ) -> Result<Page<ManagedPolicy>, IdentityError> {
        rows::page(&self.shared.catalog, account, asked, keep)
    }

    /// What `of` keeps of the policies of an account, by name; canned ones are not among them.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn policies<T: Serialize>(
        &self,
        account: &str,
        room: &dyn Room,
        mut of: impl FnMut(ManagedPolicy) -> T,
    ) -> Result<Vec<T>, IdentityError> {
        rows::list(&self.shared.catalog, &[account, ""], room, |entity| Some(of(entity)))
    }

    /// The text of a policy, canned or the account's own.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], or the catalog failed.
    pub fn policy_text(&self, account: &str, name: &str) -> Result<String, IdentityError> {
        match canned_policy(name) {
            Some(text) => Ok(text.to_owned()),
            None => Ok(self.policy(account, name)?.document().to_owned()),
        }
    }

    /// Bounds what the policies of a user or role allow, or takes the bound away.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`] for the policy or the holder, or the catalog failed.
    pub async fn set_boundary(
        &self,
        holder: Holder,
        policy: Option<String>,
    ) -> Result<(), IdentityError> {
        self.commit(Scope::of(&holder.account), move |tx| {
            must_have(tx, &holder.account, policy.as_deref())?;
            holder.set_boundary(tx, policy)
        })
        .await
    }

    /// Changes a policy of the account.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], what `change` says, or the catalog failed.
    pub async fn change_policy<R: Send + 'static>(
        &self,
        account: &str,
        name: &str,
        change: impl FnOnce(&mut ManagedPolicy, u64) -> Result<R, IdentityError> + Send + 'static,
    ) -> Result<R, IdentityError> {
        refuse_built_in(name)?;
        let (account, name) = (account.to_owned(), name.to_owned());
        self.commit(Scope::of(&account), move |tx| {
            let now_ms = tx.now_ms();
            rows::change(tx, &[&account, &name], |policy: &mut ManagedPolicy| {
                let outcome = change(policy, now_ms)?;
                policy.updated_ms = now_ms;
                Ok(outcome)
            })
        })
        .await
    }

    /// Adds a version to a policy; returns its number. `replace`: the oldest that does not count makes
    /// room, else a sixth is refused.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Limit`], and as [`Directory::change_policy`].
    pub async fn add_policy_version(
        &self,
        account: &str,
        name: &str,
        document: &str,
        set_default: bool,
        replace: bool,
    ) -> Result<u32, IdentityError> {
        check_document(document)?;
        let document = document.to_owned();
        self.change_policy(account, name, move |policy, now_ms| {
            if policy.versions.len() >= VERSION_COUNT_MAX {
                let idle = policy.versions.iter().position(|v| v.number != policy.default_version);
                match idle.filter(|_| replace) {
                    Some(at) => drop(policy.versions.remove(at)),
                    None => {
                        let message = "A managed policy can have up to 5 versions. Before you \
                                       create a new version, you must delete an existing version.";
                        return Err(IdentityError::Limit(message.to_owned()));
                    }
                }
            }
            let number = policy.versions.last().map_or(1, |version| version.number + 1);
            policy.versions.push(PolicyVersion { number, document, created_ms: now_ms });
            if set_default {
                policy.default_version = number;
            }
            Ok(number)
        })
        .await
    }

    /// Deletes a policy that no one holds.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], [`IdentityError::InUse`], or the catalog failed.
    pub async fn delete_policy(
        &self,
        account: &str,
        name: &str,
        with_versions: bool,
    ) -> Result<(), IdentityError> {
        refuse_built_in(name)?;
        let policy = match self.policy(account, name) {
            Err(IdentityError::Damaged { .. }) => None,
            policy => Some(policy?),
        };
        if policy.is_some_and(|policy| policy.versions.len() > 1) && !with_versions {
            let message = "This policy has more than one version. Before you delete a policy, you \
                           must delete the policy's versions. The default version is deleted with \
                           the policy.";
            return Err(IdentityError::InUse(message.to_owned()));
        }
        let (account, name) = (account.to_owned(), name.to_owned());
        self.commit(Scope::of(&account), move |tx| {
            if is_held(tx, &account, &name)? {
                let message = "Cannot delete a policy attached to entities.";
                return Err(IdentityError::InUse(message.to_owned()));
            }
            rows::load_readable::<ManagedPolicy>(tx, &[&account, &name])?;
            rows::remove::<ManagedPolicy>(tx, &[&account, &name])
        })
        .await
    }

    /// Who holds a policy.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn policy_use(&self, account: &str, name: &str) -> Result<PolicyUse, IdentityError> {
        let mut found = PolicyUse::default();
        self.each_holder(account, Some(name), |_, kind, name, held| found.add(kind, name, held))?;
        Ok(found)
    }

    /// Who holds the policies of an account, by policy; those that no one holds are not there.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn policy_uses(
        &self,
        account: &str,
        room: &dyn Room,
    ) -> Result<BTreeMap<String, PolicyUse>, IdentityError> {
        let (mut found, mut fits) = (BTreeMap::<String, PolicyUse>::new(), true);
        self.each_holder(account, None, |policy, kind, name, held| {
            fits = fits && room.take(weigh(&(&policy, &name)));
            if fits {
                found.entry(policy).or_default().add(kind, name, held);
            }
        })?;
        if fits { Ok(found) } else { Err(IdentityError::NoRoom) }
    }

    /// How many hold a policy, or all policies of an account for `None`, by policy.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn policy_counts(
        &self,
        account: &str,
        policy: Option<&str>,
    ) -> Result<BTreeMap<String, PolicyCount>, IdentityError> {
        let mut counts: BTreeMap<String, PolicyCount> = BTreeMap::new();
        self.each_holder(account, policy, |policy, kind, _, held| {
            // Names of other directories are not entities.
            if kind.is_some() {
                let count = counts.entry(policy).or_default();
                count.attached += u64::from(held.is_attached);
                count.bounded += u64::from(held.is_boundary);
            }
        })?;
        Ok(counts)
    }

    /// Attaches policies to someone, or detaches them: all of them or none. Says which were changed.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`] for holder or policy, [`IdentityError::Limit`], or the catalog failed.
    pub async fn attach(
        &self,
        holder: Holder,
        policies: Vec<String>,
        attach: bool,
    ) -> Result<Vec<String>, IdentityError> {
        self.commit(Scope::of(&holder.account), move |tx| {
            let policies = named(tx, &holder.account, policies, attach)?;
            holder.change(tx, |grants| change_attached(&mut grants.attached, policies, attach))
        })
        .await
    }

    /// Replaces the policies that someone holds.
    ///
    /// # Errors
    ///
    /// As [`Directory::attach`].
    pub async fn set_attached(
        &self,
        holder: Holder,
        policies: Vec<String>,
    ) -> Result<(), IdentityError> {
        self.commit(Scope::of(&holder.account), move |tx| {
            let policies = attachable(tx, &holder.account, policies)?;
            holder.change(tx, |grants| {
                grants.attached = policies;
                Ok(())
            })
        })
        .await
    }

    /// Sets a policy of someone's own, or removes it.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], [`IdentityError::Policy`], [`IdentityError::Limit`], or the catalog
    /// failed.
    pub async fn set_inline(
        &self,
        holder: Holder,
        name: &str,
        document: Option<&str>,
    ) -> Result<(), IdentityError> {
        check_name("PolicyName", name, POLICY_NAME_LEN_MAX)?;
        document.map_or(Ok(()), check_document)?;
        let (name, document) = (name.to_owned(), document.map(str::to_owned));
        self.commit(Scope::of(&holder.account), move |tx| {
            holder.change(tx, |grants| match document {
                Some(document) => {
                    grants.inline.insert(name, document);
                    let len: usize = grants.inline.values().map(String::len).sum();
                    if len > DOCUMENT_LEN_MAX {
                        let message = "Maximum policy size of 20480 bytes exceeded".to_owned();
                        return Err(IdentityError::Limit(message));
                    }
                    Ok(())
                }
                None => match grants.inline.remove(&name) {
                    Some(_) => Ok(()),
                    None => Err(IdentityError::NotFound { kind: "policy", name }),
                },
            })
        })
        .await
    }

    /// Names of the policies that are attached to a name of another directory, in its normal form.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn name_policies(&self, name: &str) -> Result<BTreeSet<String>, IdentityError> {
        let found: Option<ForeignName> = rows::get(&self.shared.catalog, &[name])?;
        Ok(found.unwrap_or_default().attached)
    }

    /// Attaches policies to a name of another directory, or detaches them. Says which were changed.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`] for a policy, [`IdentityError::Limit`], or the catalog failed.
    pub async fn attach_to_name(
        &self,
        name: &str,
        policies: Vec<String>,
        attach: bool,
    ) -> Result<Vec<String>, IdentityError> {
        let name = name.to_owned();
        self.commit(Scope::of(crate::DEFAULT_ACCOUNT), move |tx| {
            tx.use_reserve();
            let found: Option<ForeignName> = rows::find(tx, &[&name])?;
            let mut held = found.unwrap_or_default();
            let policies = named(tx, crate::DEFAULT_ACCOUNT, policies, attach)?;
            let changed = change_attached(&mut held.attached, policies, attach)?;
            match held.attached.is_empty() {
                true => rows::remove::<ForeignName>(tx, &[&name])?,
                false => rows::save(tx, &[&name], &held)?,
            }
            Ok(changed)
        })
        .await
    }

    /// What someone holds.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], or the catalog failed.
    pub fn grants(&self, holder: &Holder) -> Result<crate::Grants, IdentityError> {
        Ok(match holder.kind {
            HolderKind::User => self.user(&holder.account, &holder.name)?.grants,
            HolderKind::Group => self.group(&holder.account, &holder.name)?.grants,
            HolderKind::Role => self.role(&holder.account, &holder.name)?.grants,
        })
    }
}

/// Puts policies among those that someone holds, or takes them out. Says which were changed.
fn change_attached(
    held: &mut BTreeSet<String>,
    policies: BTreeSet<String>,
    attach: bool,
) -> Result<Vec<String>, IdentityError> {
    let change = |policy: &String| match attach {
        true => held.insert(policy.clone()),
        false => held.remove(policy),
    };
    let changed = policies.into_iter().filter(change).collect();
    if attach {
        check_attached(held)?;
    }
    Ok(changed)
}

fn check_attached(held: &BTreeSet<String>) -> Result<(), IdentityError> {
    match held.len() <= ATTACHED_COUNT_MAX {
        true => Ok(()),
        false => {
            let message =
                format!("Cannot exceed quota for PoliciesPerEntity: {ATTACHED_COUNT_MAX}");
            Err(IdentityError::Limit(message))
        }
    }
}

/// Policies to be attached, each once: no more than one may hold, and all of them must be there. Whatever
/// is attached to anything has come through here.
pub(crate) fn attachable(
    tx: &Tx<'_>,
    account: &str,
    policies: Vec<String>,
) -> Result<BTreeSet<String>, IdentityError> {
    let policies: BTreeSet<String> = policies.into_iter().collect();
    check_attached(&policies)?;
    policies.iter().try_for_each(|policy| must_exist(tx, account, policy))?;
    Ok(policies)
}

/// As [`attachable`], or policies to be detached, which need not be there.
fn named(
    tx: &Tx<'_>,
    account: &str,
    policies: Vec<String>,
    attach: bool,
) -> Result<BTreeSet<String>, IdentityError> {
    match attach {
        true => attachable(tx, account, policies),
        false => Ok(policies.into_iter().collect()),
    }
}

/// As [`must_exist`], for a policy that need not be named.
pub(crate) fn must_have(
    tx: &Tx<'_>,
    account: &str,
    policy: Option<&str>,
) -> Result<(), IdentityError> {
    policy.map_or(Ok(()), |policy| must_exist(tx, account, policy))
}

pub(crate) fn must_exist(tx: &Tx<'_>, account: &str, policy: &str) -> Result<(), IdentityError> {
    if canned_policy(policy).is_some() {
        return Ok(());
    }
    rows::must_be_there::<ManagedPolicy>(tx, &[account, policy])
}
