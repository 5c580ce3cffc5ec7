//! Checking that what is counted and derived of identities is what there is: for tools.
//!
//! Rows are walked in the order of their keys, so that the entities of an account come together, and none of
//! them is held.

use crate::derived::{count_key, counts_prefix, has_derived_rows};
use crate::entity::{AccessKey, Account, Entity, ForeignName, Group, ManagedPolicy, Role, User};
use crate::error::IdentityError;
use crate::{AccessPoint, OpenIdProvider};
use drystone_catalog::{Catalog, CatalogError, Key};
use drystone_index::prefix_range;

/// Is given each problem.
type Problem<'p> = dyn FnMut(String) + 'p;
/// Problems that are given at most.
const PROBLEM_COUNT_MAX: usize = 1000;

/// Gives what does not hold to `problem`: counts of entities that are wrong, and derived rows that are
/// missing or say something else. Rows without a keyring are taken as they are. Blocks.
///
/// # Errors
///
/// The catalog failed.
pub fn check_derived_rows(
    catalog: &Catalog,
    problem: &mut dyn FnMut(String),
) -> Result<(), IdentityError> {
    let mut count = 0;
    let problem: &mut Problem<'_> = &mut |text| {
        count += 1;
        if count <= PROBLEM_COUNT_MAX {
            problem(text);
        }
    };
    if !has_derived_rows(catalog)? {
        // Of an earlier version: the next start of the server derives them.
        return Ok(());
    }
    walk::<Account>(catalog, problem)?;
    walk::<User>(catalog, problem)?;
    walk::<Group>(catalog, problem)?;
    walk::<Role>(catalog, problem)?;
    walk::<ManagedPolicy>(catalog, problem)?;
    walk::<AccessKey>(catalog, problem)?;
    walk::<ForeignName>(catalog, problem)?;
    walk::<AccessPoint>(catalog, problem)?;
    walk::<OpenIdProvider>(catalog, problem)?;
    counts_of_none(catalog, problem)
}

/// A row, if it is there and genuine.
fn get(catalog: &Catalog, key: &[u8]) -> Result<Option<Vec<u8>>, CatalogError> {
    match catalog.get(key) {
        Err(CatalogError::Forged { .. }) => Ok(None),
        found => Ok(found?.map(|value| value.to_vec())),
    }
}

fn stored_count(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_le_bytes)
}

fn said(kind: &str, account: &str, stored: Option<u64>, counted: u64) -> String {
    let stored = stored.map_or("not readable".to_owned(), |stored| stored.to_string());
    format!("the count of the kind {kind} of account {account} is {stored}, counted {counted}")
}

/// Compares the count of a kind of an account.
fn compare<T: Entity>(
    catalog: &Catalog,
    (account, counted): (&str, u64),
    problem: &mut Problem<'_>,
) -> Result<(), IdentityError> {
    let stored = get(catalog, &count_key(T::KIND, account))?;
    let stored = stored.map_or(Some(0), |value| stored_count(&value));
    if T::QUOTA.is_some() && stored != Some(counted) {
        problem(said(T::NAME, account, stored, counted));
    }
    Ok(())
}

/// Looks at all entities of a kind.
fn walk<T: Entity>(catalog: &Catalog, problem: &mut Problem<'_>) -> Result<(), IdentityError> {
    let prefix = Key::identity(T::KIND, &[""]);
    let mut counted: Option<(String, u64)> = None;
    for row in catalog.snapshot().scan(prefix_range(&prefix)) {
        let (key, value) = match row {
            Ok((key, value)) => (key.to_vec(), Some(value)),
            // It was named with the others that this deployment did not write; it counts.
            Err(CatalogError::Forged { key }) => (key, None),
            Err(error) => return Err(error.into()),
        };
        let parts = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
        let account = parts.split('\0').next().unwrap_or_default();
        if let Some((ended, count)) = counted.take_if(|(last, _)| last != account) {
            compare::<T>(catalog, (&ended, count), problem)?;
        }
        counted.get_or_insert_with(|| (account.to_owned(), 0)).1 += 1;
        let Some(value) = value else { continue };
        let shown = parts.replace('\0', "/");
        let Ok(entity) = T::decode(&value, &parts) else {
            problem(format!("{} {shown} is not readable", T::NAME));
            continue;
        };
        for (key, value) in entity.derived(&parts) {
            if get(catalog, &key)?.is_none_or(|stored| stored[..] != value[..]) {
                let kind = key.get(1).copied().unwrap_or_default();
                problem(format!(
                    "a row of kind {kind} that is derived of {} {shown} is wrong",
                    T::NAME
                ));
            }
        }
    }
    match counted {
        Some((account, count)) => compare::<T>(catalog, (&account, count), problem),
        None => Ok(()),
    }
}

/// Names the counts of kinds of which an account has none.
fn counts_of_none(catalog: &Catalog, problem: &mut Problem<'_>) -> Result<(), IdentityError> {
    let prefix = counts_prefix();
    for row in catalog.snapshot().scan(prefix_range(&prefix)) {
        let (key, value) = match row {
            Err(CatalogError::Forged { .. }) => continue,
            row => row?,
        };
        let parts = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
        let (account, kind) = parts.split_once('\0').unwrap_or_default();
        let counted = [
            User::KIND,
            Group::KIND,
            Role::KIND,
            ManagedPolicy::KIND,
            AccessPoint::KIND,
            OpenIdProvider::KIND,
        ];
        let known = kind.parse().ok().filter(|kind| counted.contains(kind));
        let has_any = match known {
            Some(kind) => {
                let of_account = prefix_range(&Key::identity(kind, &[account, ""]));
                catalog.snapshot().scan(of_account).next().is_some()
            }
            None => false,
        };
        if !has_any {
            problem(said(kind, account, stored_count(&value), 0));
        }
    }
    Ok(())
}
