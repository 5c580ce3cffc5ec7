//! Entities in rows: inside a transaction, and committed.

use crate::derived::{self, Rows};
use crate::entity::{AccessKey, Entity, KEY_OF, KeyKind};
use crate::error::IdentityError;
use crate::weight::weigh;
use drystone_base::Room;
use drystone_catalog::{Catalog, CatalogError, Key, Tx};
use drystone_index::prefix_range;
use serde::Serialize;
use serde::de::DeserializeOwned;

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

/// Refuses if an entity is not there; it is not decoded.
pub(crate) fn must_be_there<T: Entity>(tx: &Tx<'_>, parts: Parts<'_>) -> Result<(), IdentityError> {
    match tx.get(&Key::identity(T::KIND, parts))? {
        Some(_) => Ok(()),
        None => Err(IdentityError::NotFound { kind: T::NAME, name: name_of(parts).to_owned() }),
    }
}

/// Refuses if an entity is there.
pub(crate) fn must_be_new<T: Entity>(tx: &Tx<'_>, parts: Parts<'_>) -> Result<(), IdentityError> {
    match tx.get(&Key::identity(T::KIND, parts))? {
        None => Ok(()),
        Some(_) => Err(IdentityError::Exists { kind: T::NAME, name: name_of(parts).to_owned() }),
    }
}

/// Stores an entity, and what is derived from it.
pub(crate) fn save<T: Entity>(
    tx: &mut Tx<'_>,
    parts: Parts<'_>,
    entity: &T,
) -> Result<(), IdentityError> {
    if T::DERIVES {
        let name = name_of(parts);
        let old = find::<T>(tx, parts)?.map(|old| old.derived(name)).unwrap_or_default();
        derived::replace(tx, old, entity.derived(name));
    }
    tx.put(Key::identity(T::KIND, parts), entity.encode());
    Ok(())
}

/// Stores an entity that must not be there yet, if the account may have one more of its kind.
pub(crate) fn create<T: Entity>(
    tx: &mut Tx<'_>,
    parts: Parts<'_>,
    entity: &T,
) -> Result<(), IdentityError> {
    must_be_new::<T>(tx, parts)?;
    derived::count_new::<T>(tx, parts[0])?;
    save(tx, parts, entity)
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
    save(tx, parts, &entity)?;
    Ok(outcome)
}

/// Removes an entity, also where a drive is full, with what is derived from it.
pub(crate) fn remove<T: Entity>(tx: &mut Tx<'_>, parts: Parts<'_>) -> Result<(), IdentityError> {
    tx.use_reserve();
    let key = Key::identity(T::KIND, parts);
    let old = match tx.get(&key) {
        Ok(None) => return Ok(()),
        Ok(Some(bytes)) => T::decode(&bytes, name_of(parts)).ok(),
        // What cannot be read can still be removed.
        Err(CatalogError::Forged { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(old) = old {
        derived::replace(tx, old.derived(name_of(parts)), Rows::new());
    }
    tx.delete(key);
    derived::count_gone::<T>(tx, parts[0])
}

/// A committed entity, if it is there.
pub(crate) fn get<T: Entity>(
    catalog: &Catalog,
    parts: Parts<'_>,
) -> Result<Option<T>, IdentityError> {
    let row = catalog.get(&Key::identity(T::KIND, parts))?;
    row.map(|bytes| T::decode(&bytes, name_of(parts))).transpose()
}

/// A committed entity, if it is there, when there is room for it.
pub(crate) fn get_in<T: Entity>(
    catalog: &Catalog,
    parts: Parts<'_>,
    room: &dyn Room,
) -> Result<Option<T>, IdentityError> {
    let Some(row) = catalog.get(&Key::identity(T::KIND, parts))? else { return Ok(None) };
    take(room, DECODED_FACTOR * row.len() as u64)?;
    T::decode(&row, name_of(parts)).map(Some)
}

/// Times that an entity may be longer than its row, with what is shown of it.
const DECODED_FACTOR: u64 = 4;

/// Names that a change of several rows goes through: it is no answer, and the quota of the account bounds it.
pub(crate) struct OfChange;

impl Room for OfChange {
    fn take(&self, _bytes: u64) -> bool {
        true
    }
}

pub(crate) fn take(room: &dyn Room, bytes: u64) -> Result<(), IdentityError> {
    if room.take(bytes) { Ok(()) } else { Err(IdentityError::NoRoom) }
}

/// Some fields of a committed entity, with the length of its row.
pub(crate) fn get_part<T: Entity, P: DeserializeOwned>(
    catalog: &Catalog,
    parts: Parts<'_>,
) -> Result<Option<(P, usize)>, IdentityError> {
    let Some(bytes) = catalog.get(&Key::identity(T::KIND, parts))? else { return Ok(None) };
    Ok(Some((T::decode_part(&bytes, name_of(parts))?, bytes.len())))
}

/// What `of` keeps of all committed entities of a kind whose parts begin with `parts`, by name. The entities
/// themselves are not held: one may have a hundred kilobytes, of which a list shows its name. What is kept
/// takes room before the next row is read.
pub(crate) fn list<T: Entity, K: Serialize>(
    catalog: &Catalog,
    parts: Parts<'_>,
    room: &dyn Room,
    mut of: impl FnMut(T) -> Option<K>,
) -> Result<Vec<K>, IdentityError> {
    let rows = catalog.snapshot().scan(prefix_range(&Key::identity(T::KIND, parts)));
    let mut kept = Vec::new();
    for row in rows {
        let (key, value) = row?;
        if let Some(next) = of(T::decode(&value, &String::from_utf8_lossy(&key[2..]))?) {
            take(room, weigh(&next))?;
            kept.push(next);
        }
    }
    Ok(kept)
}

/// The committed entities of a kind, without those that cannot be read.
pub(crate) fn readable<T: Entity>(
    catalog: &Catalog,
) -> impl Iterator<Item = Result<T, IdentityError>> {
    let rows = catalog.snapshot().scan(prefix_range(&Key::identity(T::KIND, &[""])));
    let entities = rows.map(|row| {
        let (key, value) = row?;
        T::decode(&value, &String::from_utf8_lossy(&key[2..]))
    });
    let is_unreadable =
        |entity: &Result<T, IdentityError>| matches!(entity, Err(e) if e.is_unreadable());
    entities.filter(move |entity| !is_unreadable(entity))
}

/// Bytes of rows that are read for one page: it ends there, and the next one begins there.
const PAGE_LEN_BYTES_MAX: usize = 1 << 20;

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What is listed, by name.
    pub entities: Vec<T>,
    /// The name after which the next page begins, if there may be more.
    pub next: Option<String>,
}

/// Which page of a list.
#[derive(Clone, Copy, Debug)]
pub struct PageAsked<'a> {
    /// It begins after this name.
    pub after: &'a str,
    /// Entities on it at most.
    pub len: usize,
}

/// Puts together a page of what is read: name, bytes that were read for it, and the entity.
fn page_of<T>(
    rows: impl Iterator<Item = Result<(String, usize, T), IdentityError>>,
    asked: PageAsked<'_>,
    keep: impl Fn(&T) -> bool,
) -> Result<Page<T>, IdentityError> {
    let (mut entities, mut last, mut len_bytes) = (Vec::new(), None, 0);
    for row in rows {
        let (name, row_len, entity) = row?;
        if len_bytes >= PAGE_LEN_BYTES_MAX {
            return Ok(Page { entities, next: last });
        }
        len_bytes += row_len;
        if keep(&entity) {
            if entities.len() >= asked.len {
                return Ok(Page { entities, next: last });
            }
            entities.push(entity);
        }
        last = Some(name);
    }
    Ok(Page { entities, next: None })
}

/// The range of the rows that begin with `prefix`, after a name.
fn range_after(prefix: &[u8], after: &str) -> drystone_index::KeyRange {
    let mut range = prefix_range(prefix);
    if !after.is_empty() {
        range.0 = std::ops::Bound::Excluded([prefix, after.as_bytes()].concat());
    }
    range
}

/// A page of the committed entities of an account that are to be kept: no row after it is read.
pub(crate) fn page<T: Entity>(
    catalog: &Catalog,
    account: &str,
    asked: PageAsked<'_>,
    keep: impl Fn(&T) -> bool,
) -> Result<Page<T>, IdentityError> {
    let prefix = Key::identity(T::KIND, &[account, ""]);
    let rows = catalog.snapshot().scan(range_after(&prefix, asked.after)).map(|row| {
        let (key, value) = row?;
        let name = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
        let entity = T::decode(&value, &name)?;
        Ok((name, key.len() + value.len(), entity))
    });
    page_of(rows, asked, keep)
}

/// The same of the access keys of a kind of a parent. Those of other kinds are not read: who has keys of
/// services gets no empty pages for them.
pub(crate) fn keys_page(
    catalog: &Catalog,
    (account, user): (&str, &str),
    asked: PageAsked<'_>,
    kind: KeyKind,
) -> Result<Page<AccessKey>, IdentityError> {
    let prefix = key_of(account, user, "");
    let rows = catalog.snapshot().scan(range_after(&prefix, asked.after));
    let rows = rows.filter_map(|row| {
        let found = row.map_err(IdentityError::from).and_then(|(key, value)| {
            if KeyKind::of_number(&value).is_some_and(|known| known != kind) {
                return Ok(None);
            }
            let id = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
            let bytes = catalog.get(&Key::identity(AccessKey::KIND, &[&id]))?;
            let Some(bytes) = bytes else { return Ok(None) };
            let entity = AccessKey::decode(&bytes, &id)?;
            Ok(Some((id, bytes.len(), entity)))
        });
        found.transpose()
    });
    page_of(rows, asked, |key| key.key_kind == kind)
}

/// The row that lists a key under its parent. `user` is empty for the owner of the account.
pub(crate) fn key_of(account: &str, user: &str, access_key: &str) -> Vec<u8> {
    Key::identity(KEY_OF, &[account, user, access_key])
}

/// Access keys of a parent in a transaction, so many at most, by id. `None` stands for a kind that is not in
/// the row: the key itself cannot be read.
pub(crate) fn keys_in(
    tx: &Tx<'_>,
    (account, user): (&str, &str),
    count_max: usize,
) -> Result<Vec<(String, Option<KeyKind>)>, IdentityError> {
    let prefix = key_of(account, user, "");
    let (mut range, mut keys) = (prefix_range(&prefix), Vec::new());
    while keys.len() < count_max {
        let Some((key, value)) = tx.first(range.clone())? else { break };
        let id = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
        keys.push((id, KeyKind::of_number(&value)));
        range.0 = std::ops::Bound::Excluded(key.to_vec());
    }
    Ok(keys)
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
