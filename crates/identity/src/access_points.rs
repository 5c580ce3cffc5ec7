//! Access points: names of their own for buckets, each with a policy, a public access block and a scope.

use crate::derived::{self, Quota, Rows};
use crate::directory::{Directory, Scope};
use crate::entity::{Entity, PublicAccessBlock, Unknown};
use crate::error::IdentityError;
use crate::rows::{self, Page, PageAsked};
use drystone_base::{Rng, hex};
use drystone_iam::StoredPolicy;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an access point lets through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessPointScope {
    /// Prefixes of keys; empty for all.
    #[serde(default)]
    pub prefixes: Vec<String>,
    /// Operations, such as `GetObject`; empty for all.
    #[serde(default)]
    pub permissions: Vec<String>,
}

/// A name for a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessPoint {
    /// Account id.
    pub account: String,
    /// Name, one of its kind in the account.
    pub name: String,
    /// Bucket.
    pub bucket: String,
    /// Account of the bucket.
    pub bucket_account: String,
    /// Number of the bucket, which a new bucket of the same name does not have; `None` in rows of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_id: Option<u64>,
    /// Another name, by which it can be used as a bucket.
    pub alias: String,
    /// In milliseconds since 1970.
    pub created_ms: u64,
    /// Which public access is refused.
    pub block: PublicAccessBlock,
    /// Policy document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<StoredPolicy>,
    /// What it lets through; `None` for everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<AccessPointScope>,
    /// Tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    #[serde(flatten)]
    pub(crate) unknown: Unknown,
}

/// Whose an alias is.
#[derive(Clone, Serialize, Deserialize)]
struct Alias {
    account: String,
    name: String,
}

impl Entity for AccessPoint {
    const KIND: u8 = 12;
    const NAME: &'static str = "access point";
    const QUOTA: Option<Quota> = Some(Quota { count_max: 10_000, name: "AccessPointsPerAccount" });
    const DERIVES: bool = true;

    fn derived(&self, _name: &str) -> Rows {
        derived::of_point(self)
    }
}

impl Entity for Alias {
    const KIND: u8 = 13;
    const NAME: &'static str = "alias of an access point";
}

impl AccessPoint {
    /// A new one. Nothing public passes it.
    #[must_use]
    pub fn new(account: &str, name: &str, bucket: &str, bucket_account: &str) -> Self {
        Self {
            account: account.to_owned(),
            name: name.to_owned(),
            bucket: bucket.to_owned(),
            bucket_account: bucket_account.to_owned(),
            bucket_id: None,
            alias: String::new(),
            created_ms: 0,
            block: PublicAccessBlock {
                block_public_acls: true,
                ignore_public_acls: true,
                block_public_policy: true,
                restrict_public_buckets: true,
            },
            policy: None,
            scope: None,
            tags: BTreeMap::new(),
            unknown: Unknown::new(),
        }
    }

    /// What decisions need of it: no tags, and nothing that this version does not know.
    #[must_use]
    pub fn without_tags(self) -> Self {
        Self { tags: BTreeMap::new(), unknown: Unknown::new(), ..self }
    }

    /// Resource name.
    #[must_use]
    pub fn arn(&self, region: &str) -> String {
        let Self { account, name, .. } = self;
        format!("arn:aws:s3:{region}:{account}:accesspoint/{name}")
    }
}

/// A name that no bucket can have, with random bits that keep it from being guessed.
fn new_alias(rng: &dyn Rng, name: &str) -> String {
    let mut bytes = [0; 12];
    rng.fill(&mut bytes);
    let short: String = name.chars().take(28).collect();
    format!("{}-{}-s3alias", short.trim_end_matches('-'), hex(&bytes))
}

impl Directory {
    /// Makes an access point.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Exists`], [`IdentityError::Limit`], or the catalog failed.
    pub async fn create_access_point(
        &self,
        point: AccessPoint,
    ) -> Result<AccessPoint, IdentityError> {
        let alias = new_alias(&*self.shared.rng, &point.name);
        let point = AccessPoint { alias, created_ms: self.now_ms(), ..point };
        let made = point.clone();
        self.commit(Scope::of(&point.account), move |tx| {
            let (account, name) = (point.account.clone(), point.name.clone());
            rows::create(tx, &[&account, &name], &point)?;
            rows::save(tx, &[&point.alias], &Alias { account, name })
        })
        .await?;
        Ok(made)
    }

    /// The access point of a name.
    ///
    /// # Errors
    ///
    /// It cannot be read, or the catalog failed.
    pub fn access_point(
        &self,
        account: &str,
        name: &str,
    ) -> Result<Option<AccessPoint>, IdentityError> {
        rows::get(&self.shared.catalog, &[account, name])
    }

    /// Account and name of the access point of an alias.
    ///
    /// # Errors
    ///
    /// It cannot be read, or the catalog failed.
    pub fn access_point_of_alias(
        &self,
        alias: &str,
    ) -> Result<Option<(String, String)>, IdentityError> {
        let found: Option<Alias> = rows::get(&self.shared.catalog, &[alias])?;
        Ok(found.map(|Alias { account, name }| (account, name)))
    }

    /// A page of the access points of an account that are to be kept.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn access_points_page(
        &self,
        account: &str,
        asked: PageAsked<'_>,
        keep: impl Fn(&AccessPoint) -> bool,
    ) -> Result<Page<AccessPoint>, IdentityError> {
        rows::page(&self.shared.catalog, account, asked, keep)
    }

    /// Changes an access point as it is when the plan runs. Nothing is changed if `change` refuses.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], or the catalog failed; within, why `change` refused.
    pub async fn change_access_point<E: Send + 'static>(
        &self,
        account: &str,
        name: &str,
        change: impl FnOnce(&mut AccessPoint) -> Result<(), E> + Send + 'static,
    ) -> Result<Result<(), E>, IdentityError> {
        let (account, name) = (account.to_owned(), name.to_owned());
        self.commit(Scope::of(&account), move |tx| {
            rows::change(tx, &[&account, &name], |point: &mut AccessPoint| {
                let mut changed = point.clone();
                let outcome = change(&mut changed);
                if outcome.is_ok() {
                    *point = changed;
                }
                Ok(outcome)
            })
        })
        .await
    }

    /// Removes an access point.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], or the catalog failed.
    pub async fn delete_access_point(
        &self,
        account: &str,
        name: &str,
    ) -> Result<(), IdentityError> {
        let (account, name) = (account.to_owned(), name.to_owned());
        self.commit(Scope::of(&account), move |tx| {
            if let Some(point) = rows::load_readable::<AccessPoint>(tx, &[&account, &name])? {
                rows::remove::<Alias>(tx, &[&point.alias])?;
            }
            rows::remove::<AccessPoint>(tx, &[&account, &name])
        })
        .await
    }
}
