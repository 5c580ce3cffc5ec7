//! Entities in rows: inside a transaction, and committed.

use crate::entity::{Entity, KEY_OF};
use crate::error::IdentityError;
use drystone_catalog::{Catalog, Key, Tx};
use drystone_index::prefix_range;

/// Where an entity is: its name, or account and name.
pub(crate) type Parts<'a> = &'a [&'a str];

fn name_of<'a>(parts: &[&'a str]) -> &'a str {
    parts.last().copied().unwrap_or_default()
}

/// An entity, if it is there.
pub(crate) fn find<T: Entity>(tx: &Tx<'_>, parts: Parts<'_>) -> Result<Option<T>, IdentityError> {
    let row = tx.get(&Key::identity(T::KIND, parts))?;
    row.map(|bytes| T::decode(&bytes, name_of(parts))).transpose()
}

/// An entity that must be there.
pub(crate) fn load<T: Entity>(tx: &Tx<'_>, parts: Parts<'_>) -> Result<T, IdentityError> {
    let missing = || IdentityError::NotFound { kind: T::NAME, name: name_of(parts).to_owned() };
    find(tx, parts)?.ok_or_else(missing)
}

/// An entity that must be there; `None` if it is, but cannot be read. What cannot be read can still be
/// removed.
pub(crate) fn load_readable<T: Entity>(
    tx: &Tx<'_>,
    parts: Parts<'_>,
) -> Result<Option<T>, IdentityError> {
    match load(tx, parts) {
        Err(IdentityError::Damaged { .. }) => Ok(None),
        loaded => loaded.map(Some),
    }
}

/// Refuses if an entity is there.
pub(crate) fn must_be_new<T: Entity>(tx: &Tx<'_>, parts: Parts<'_>) -> Result<(), IdentityError> {
    match tx.get(&Key::identity(T::KIND, parts))? {
        None => Ok(()),
        Some(_) => Err(IdentityError::Exists { kind: T::NAME, name: name_of(parts).to_owned() }),
    }
}

/// Stores an entity.
pub(crate) fn save<T: Entity>(tx: &mut Tx<'_>, parts: Parts<'_>, entity: &T) {
    tx.put(Key::identity(T::KIND, parts), entity.encode());
}

/// Stores an entity that must not be there yet.
pub(crate) fn create<T: Entity>(
    tx: &mut Tx<'_>,
    parts: Parts<'_>,
    entity: &T,
) -> Result<(), IdentityError> {
    must_be_new::<T>(tx, parts)?;
    save(tx, parts, entity);
    Ok(())
}

/// Changes an entity that must be there; stores nothing if `change` refuses. Goes on where a drive is full:
/// rights must be able to be taken away there.
pub(crate) fn change<T: Entity, R>(
    tx: &mut Tx<'_>,
    parts: Parts<'_>,
    change: impl FnOnce(&mut T) -> Result<R, IdentityError>,
) -> Result<R, IdentityError> {
    let mut entity: T = load(tx, parts)?;
    let outcome = change(&mut entity)?;
    tx.use_reserve();
    save(tx, parts, &entity);
    Ok(outcome)
}

/// Removes an entity, also where a drive is full.
pub(crate) fn remove<T: Entity>(tx: &mut Tx<'_>, parts: Parts<'_>) {
    tx.use_reserve();
    tx.delete(Key::identity(T::KIND, parts));
}

/// A committed entity, if it is there.
pub(crate) fn get<T: Entity>(
    catalog: &Catalog,
    parts: Parts<'_>,
) -> Result<Option<T>, IdentityError> {
    let row = catalog.get(&Key::identity(T::KIND, parts))?;
    row.map(|bytes| T::decode(&bytes, name_of(parts))).transpose()
}

/// All committed entities of a kind whose parts begin with `parts`, by name.
pub(crate) fn list<T: Entity>(
    catalog: &Catalog,
    parts: Parts<'_>,
) -> Result<Vec<T>, IdentityError> {
    let rows = catalog.snapshot().scan(prefix_range(&Key::identity(T::KIND, parts)));
    let entities = rows.map(|row| {
        let (key, value) = row?;
        T::decode(&value, &String::from_utf8_lossy(&key[2..]))
    });
    entities.collect()
}

/// As [`list`], inside a transaction.
pub(crate) fn all<T: Entity>(tx: &Tx<'_>, parts: Parts<'_>) -> Result<Vec<T>, IdentityError> {
    let mut range = prefix_range(&Key::identity(T::KIND, parts));
    let mut entities = Vec::new();
    while let Some((key, value)) = tx.first(range.clone())? {
        entities.push(T::decode(&value, &String::from_utf8_lossy(&key[2..]))?);
        range.0 = std::ops::Bound::Excluded(key.to_vec());
    }
    Ok(entities)
}

/// The row that lists a key under its parent. `user` is empty for the owner of the account.
pub(crate) fn key_of(account: &str, user: &str, access_key: &str) -> Vec<u8> {
    Key::identity(KEY_OF, &[account, user, access_key])
}

/// Access keys of a parent in a transaction, which takes those that are left after each removal.
pub(crate) fn first_key_of(
    tx: &Tx<'_>,
    account: &str,
    user: &str,
) -> Result<Option<String>, IdentityError> {
    let prefix = key_of(account, user, "");
    let first = tx.first(prefix_range(&prefix))?;
    Ok(first.map(|(key, _)| String::from_utf8_lossy(&key[prefix.len()..]).into_owned()))
}

/// Committed access keys of a parent.
pub(crate) fn keys_of(
    catalog: &Catalog,
    account: &str,
    user: &str,
) -> Result<Vec<String>, IdentityError> {
    let prefix = key_of(account, user, "");
    let rows = catalog.snapshot().scan(prefix_range(&prefix));
    let ids = rows.map(|row| {
        let (key, _) = row?;
        Ok(String::from_utf8_lossy(&key[prefix.len()..]).into_owned())
    });
    ids.collect()
}
