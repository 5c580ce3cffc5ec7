//! Changes of keys and their other names, and lists of them.

use crate::error::KmsError;
use crate::grant::{GRANT_COUNT_MAX, Grant};
use crate::key::{self, AliasInfo, KeyInfo, KeyRow, KeyState, Rotation};
use crate::kms::{Kms, take};
use drystone_base::Room;
use std::collections::BTreeMap;

/// Bytes of the policy of a key (AWS KMS developer guide, "Quotas").
const POLICY_LEN_MAX: usize = 32 << 10;
/// Tags of a key.
const TAG_COUNT_MAX: usize = 50;
const DAY_MS: u64 = 24 * 3600 * 1000;

/// Who may use a key, beside what the policies of callers say.
#[derive(Clone, Debug, Default)]
pub struct KeyRules {
    /// Account that it belongs to; `None` is that of the server.
    pub account: Option<String>,
    /// Its policy, with principals by id.
    pub policy: Option<String>,
    /// Grants.
    pub grants: Vec<Grant>,
}

impl Rotation {
    pub(crate) fn after(days: u32, now_ms: u64) -> Self {
        Self { days, next_ms: now_ms.saturating_add(u64::from(days) * DAY_MS) }
    }
}

impl KeyRow {
    pub(crate) fn must_not_be_pending(&self) -> Result<(), KmsError> {
        match self.state {
            KeyState::PendingDeletion => Err(KmsError::Pending(self.id.clone())),
            KeyState::Enabled | KeyState::Disabled => Ok(()),
        }
    }
}

impl Kms {
    /// Who may use a key.
    ///
    /// # Errors
    ///
    /// [`KmsError::NotFound`], or the catalog failed.
    pub fn rules(&self, id: &str) -> Result<KeyRules, KmsError> {
        let KeyRow { account, policy, grants, .. } = self.row(id)?;
        Ok(KeyRules { account, policy, grants })
    }

    /// When a key got its material, in milliseconds since 1970; oldest first.
    ///
    /// # Errors
    ///
    /// [`KmsError::NotFound`], or the catalog failed.
    pub fn rotations(&self, id: &str) -> Result<Vec<u64>, KmsError> {
        Ok(self.row(id)?.versions.iter().map(|version| version.created_ms).collect())
    }

    pub(crate) async fn change(
        &self,
        id: &str,
        change: impl FnOnce(&mut KeyRow) -> Result<(), KmsError> + Send + 'static,
    ) -> Result<KeyInfo, KmsError> {
        let (id, known) = (id.to_owned(), self.row(id)?);
        let shared = self.shared.clone();
        let changed = self.commit(move |tx| {
            tx.when_settled(move || shared.bucket_keys.forget());
            // A key must be able to be disabled where a drive is full.
            tx.use_reserve();
            // The key of a setting gets its row here.
            let mut row = key::key_in(tx, &id)?.unwrap_or(known);
            change(&mut row)?;
            key::put_key(tx, &row);
            Ok(row.info())
        });
        changed.await
    }

    /// Sets the note of a key.
    ///
    /// # Errors
    ///
    /// [`KmsError::NotFound`], [`KmsError::Invalid`], [`KmsError::Pending`], or the catalog failed.
    pub async fn describe_as(&self, id: &str, description: String) -> Result<(), KmsError> {
        if description.len() > key::DESCRIPTION_LEN_MAX {
            let most = key::DESCRIPTION_LEN_MAX;
            return Err(KmsError::Invalid(format!("A description has {most} bytes at most.")));
        }
        let change = move |row: &mut KeyRow| {
            row.must_not_be_pending()?;
            row.description = description;
            Ok(())
        };
        self.change(id, change).await.map(drop)
    }

    /// Refuses a policy that is too long.
    ///
    /// # Errors
    ///
    /// [`KmsError::Limit`].
    pub fn check_policy_len(text: &str) -> Result<(), KmsError> {
        match text.len() <= POLICY_LEN_MAX {
            true => Ok(()),
            false => Err(KmsError::Limit(format!("A policy has {POLICY_LEN_MAX} bytes at most."))),
        }
    }

    /// Sets the policy of a key.
    ///
    /// # Errors
    ///
    /// [`KmsError::NotFound`], or the catalog failed.
    pub async fn set_policy(&self, id: &str, policy: String) -> Result<(), KmsError> {
        let change = move |row: &mut KeyRow| {
            row.policy = Some(policy);
            Ok(())
        };
        self.change(id, change).await.map(drop)
    }

    /// Gives a key tags, and takes some away.
    ///
    /// # Errors
    ///
    /// [`KmsError::NotFound`], [`KmsError::Limit`], [`KmsError::Pending`], or the catalog failed.
    pub async fn set_tags(
        &self,
        id: &str,
        set: BTreeMap<String, String>,
        gone: Vec<String>,
    ) -> Result<(), KmsError> {
        let change = move |row: &mut KeyRow| {
            row.must_not_be_pending()?;
            row.tags.extend(set);
            row.tags.retain(|key, _| !gone.contains(key));
            if row.tags.len() > TAG_COUNT_MAX {
                return Err(KmsError::Limit(format!("A key has {TAG_COUNT_MAX} tags at most.")));
            }
            Ok(())
        };
        self.change(id, change).await.map(drop)
    }

    /// Lets a key be rotated by itself every so many days, or not.
    ///
    /// # Errors
    ///
    /// [`KmsError::NotFound`], [`KmsError::Pending`], or the catalog failed.
    pub async fn set_rotation(&self, id: &str, days: Option<u32>) -> Result<(), KmsError> {
        let now_ms = self.shared.clock.now_ms();
        let change = move |row: &mut KeyRow| {
            row.must_not_be_pending()?;
            row.rotation = days.map(|days| Rotation::after(days, now_ms));
            Ok(())
        };
        self.change(id, change).await.map(drop)
    }

    /// Lets a key wait for its deletion: it seals and opens nothing from now on. When it goes, in
    /// milliseconds since 1970.
    ///
    /// # Errors
    ///
    /// [`KmsError::NotFound`], [`KmsError::Pending`], [`KmsError::Invalid`] for the default key and the key
    /// of a setting, or the catalog failed.
    pub async fn schedule_deletion(&self, id: &str, days: u32) -> Result<u64, KmsError> {
        let is_fixed = self.shared.fixed.key.as_ref().is_some_and(|fixed| fixed.id == id);
        if is_fixed || id == self.default_id() {
            let message = format!("The key '{id}' is that of the server, and stays.");
            return Err(KmsError::Invalid(message));
        }
        let end_ms = self.shared.clock.now_ms().saturating_add(u64::from(days) * DAY_MS);
        let change = move |row: &mut KeyRow| {
            row.must_not_be_pending()?;
            row.state = KeyState::PendingDeletion;
            row.deletion_ms = Some(end_ms);
            Ok(())
        };
        self.change(id, change).await.map(|_| end_ms)
    }

    /// Takes a deletion back: the key is disabled then.
    ///
    /// # Errors
    ///
    /// [`KmsError::NotFound`], [`KmsError::Needed`] if it does not wait for one, or the catalog failed.
    pub async fn cancel_deletion(&self, id: &str) -> Result<(), KmsError> {
        let change = move |row: &mut KeyRow| {
            if row.state != KeyState::PendingDeletion {
                return Err(KmsError::Needed(format!("Key '{}' is not pending deletion.", row.id)));
            }
            row.state = KeyState::Disabled;
            row.deletion_ms = None;
            Ok(())
        };
        self.change(id, change).await.map(drop)
    }

    /// Removes the keys whose time has come, with their other names, and rotates those that are due. The
    /// number of both. A key that something is still sealed under, as `is_needed` says, stays, disabled.
    ///
    /// # Errors
    ///
    /// The catalog or a provider failed.
    pub async fn run_due(
        &self,
        is_needed: impl Fn(&str) -> bool,
    ) -> Result<(usize, usize), KmsError> {
        let now_ms = self.shared.clock.now_ms();
        let (mut gone, mut due) = (Vec::new(), Vec::new());
        for key in key::keys(&self.shared.catalog) {
            let key = key?;
            let is_due = key.rotation.is_some_and(|rotation| rotation.next_ms <= now_ms);
            match key.deletion_ms {
                Some(end) if end <= now_ms => gone.push(key.id),
                None if is_due && key.state == KeyState::Enabled => due.push(key.id),
                _ => {}
            }
        }
        let (needed, gone): (Vec<_>, Vec<_>) = gone.into_iter().partition(|id| is_needed(id));
        for id in &needed {
            tracing::warn!(key = id, "a key is not deleted: something is encrypted under it");
            self.keep_needed(id).await?;
        }
        for id in &gone {
            self.remove(id, now_ms).await?;
        }
        for id in &due {
            self.rotate(id).await?;
        }
        Ok((gone.len(), due.len()))
    }

    /// Takes the deletion of a key back whose time has come.
    async fn keep_needed(&self, id: &str) -> Result<(), KmsError> {
        let id = id.to_owned();
        self.commit(move |tx| {
            tx.use_reserve();
            if let Some(mut row) = key::key_in(tx, &id)? {
                row.state = KeyState::Disabled;
                row.deletion_ms = None;
                key::put_key(tx, &row);
            }
            Ok(())
        })
        .await
    }

    async fn remove(&self, id: &str, now_ms: u64) -> Result<(), KmsError> {
        let mut names = Vec::new();
        for alias in key::aliases(&self.shared.catalog) {
            let alias = alias?;
            if alias.key == id {
                names.push(alias);
            }
        }
        let id = id.to_owned();
        self.commit(move |tx| {
            tx.use_reserve();
            let Some(row) = key::key_in(tx, &id)? else { return Ok(()) };
            if row.deletion_ms.is_none_or(|end| end > now_ms) {
                return Ok(());
            }
            for AliasInfo { name, account, .. } in names {
                key::put_alias(tx, (account.as_deref(), &name), None);
            }
            key::delete_key(tx, &id);
            Ok(())
        })
        .await
    }

    /// Adds a grant to a key.
    ///
    /// # Errors
    ///
    /// [`KmsError::NotFound`], [`KmsError::Limit`], [`KmsError::Disabled`], [`KmsError::Pending`], or the
    /// catalog failed.
    pub async fn add_grant(&self, id: &str, grant: Grant) -> Result<(), KmsError> {
        let change = move |row: &mut KeyRow| {
            row.must_be_enabled()?;
            if row.grants.len() >= GRANT_COUNT_MAX {
                let message = format!("A key has {GRANT_COUNT_MAX} grants at most.");
                return Err(KmsError::Limit(message));
            }
            row.grants.push(grant);
            Ok(())
        };
        self.change(id, change).await.map(drop)
    }

    /// Takes a grant from a key.
    ///
    /// # Errors
    ///
    /// [`KmsError::NotFound`] for the key or the grant, or the catalog failed.
    pub async fn remove_grant(&self, id: &str, grant: &str) -> Result<(), KmsError> {
        let grant = grant.to_owned();
        let change = move |row: &mut KeyRow| {
            let before = row.grants.len();
            row.grants.retain(|known| known.id != grant);
            match row.grants.len() < before {
                true => Ok(()),
                false => Err(KmsError::NotFound(grant)),
            }
        };
        self.change(id, change).await.map(drop)
    }

    /// The keys of an account, or of all for `None`, by id.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn list(&self, room: &dyn Room, account: Option<&str>) -> Result<Vec<KeyInfo>, KmsError> {
        let (mut keys, now_ms) = (Vec::new(), self.shared.clock.now_ms());
        let is_asked = |owner: Option<&str>| account.is_none_or(|a| self.owner(a) == owner);
        for key in key::keys(&self.shared.catalog) {
            let key = key?;
            let is_gone = key.deletion_ms.is_some_and(|end| end <= now_ms);
            if is_gone || !is_asked(key.account.as_deref()) {
                continue;
            }
            let of_tags: usize =
                key.tags.iter().map(|(name, value)| name.len() + value.len()).sum();
            take(room, key.id.len() + key.description.len() + of_tags)?;
            keys.push(key);
        }
        if let Some(fixed) = &self.shared.fixed.key
            && is_asked(None)
            && !keys.iter().any(|key| key.id == fixed.id)
        {
            keys.push(self.row(&fixed.id)?.info());
        }
        Ok(keys)
    }

    /// Whether all keys are enabled.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn are_all_enabled(&self) -> Result<bool, KmsError> {
        for key in key::keys(&self.shared.catalog) {
            if key?.state != KeyState::Enabled {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The aliases of an account, or of all for `None`, by name.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn aliases(
        &self,
        room: &dyn Room,
        account: Option<&str>,
    ) -> Result<Vec<AliasInfo>, KmsError> {
        let mut aliases = Vec::new();
        for alias in key::aliases(&self.shared.catalog) {
            let alias = alias?;
            if account.is_none_or(|account| self.owner(account) == alias.account.as_deref()) {
                take(room, alias.name.len() + alias.key.len())?;
                aliases.push(alias);
            }
        }
        Ok(aliases)
    }

    /// The key that has an alias in an account.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn key_of_alias(&self, account: &str, name: &str) -> Result<Option<String>, KmsError> {
        let row = key::alias(&self.shared.catalog, (self.owner(account), name))?;
        Ok(row.map(|row| row.key))
    }

    /// Gives a key of an account another name, or takes the name away, from the key that had it when this
    /// was decided.
    ///
    /// # Errors
    ///
    /// [`KmsError::Invalid`], [`KmsError::NotFound`], [`KmsError::Changed`] if another key has it by now, or
    /// the catalog failed.
    pub async fn set_alias(
        &self,
        (account, name): (&str, &str),
        seen: Option<String>,
        id: Option<&str>,
    ) -> Result<(), KmsError> {
        let owner = self.owner(account).map(str::to_owned);
        if !key::is_alias(name) || name.starts_with("alias/aws/") {
            let message = format!(
                "'{name}' cannot be an alias: 'alias/' and letters, digits, '-', '_' or '/'; \
                 'alias/aws/' is reserved."
            );
            return Err(KmsError::Invalid(message));
        }
        match id {
            Some(id) => {
                let row = self.row(id)?;
                row.must_not_be_pending()?;
                // A name of one account for a key of another would be resolved to it unasked.
                if row.account != owner {
                    return Err(KmsError::NotFound(id.to_owned()));
                }
                if seen.is_none() {
                    key::must_have_room_for_alias(&self.shared.catalog, owner.as_deref())?;
                }
            }
            None if seen.is_none() => return Err(KmsError::NotFound(name.to_owned())),
            None => {}
        }
        let (name, id) = (name.to_owned(), id.map(str::to_owned));
        self.commit(move |tx| {
            let place = (owner.as_deref(), &*name);
            if key::alias_in(tx, place)?.map(|row| row.key) != seen {
                return Err(KmsError::Changed);
            }
            if id.is_none() {
                tx.use_reserve();
            }
            key::put_alias(tx, place, id.as_deref());
            Ok(())
        })
        .await
    }
}
