//! Rows that are derived from other rows, so that nothing is counted or looked for by reading whole lists:
//! who holds a policy, which keys a user has, which access points a bucket has, whose a canonical id is, and
//! how many entities of a kind an account has.
//!
//! # Invariants
//!
//! - A derived row is written in the transaction that writes the row that it is derived from:
//!   [`crate::rows::save`], [`crate::rows::create`] and [`crate::rows::remove`] do it for all kinds.
//! - The rows of stores that earlier binaries wrote are derived at a start, before anything is changed; a
//!   row that is written last says so.
//!
//! # Not here
//!
//! A row that cannot be read has no derived rows; it counts.

use crate::directory::Directory;
use crate::entity::{AccessKey, Account, Entity, ForeignName, Group, ManagedPolicy, Role, User};
use crate::error::IdentityError;
use crate::{AccessPoint, HolderKind};
use drystone_catalog::{Catalog, CatalogError, Key, Tx};
use drystone_index::prefix_range;
use std::collections::BTreeMap;

/// Kind of the rows that list the holders of a policy.
const HOLDER_OF: u8 = 15;
/// Kind of the rows that list the access points of a bucket; their values are empty.
const POINT_OF: u8 = 16;
/// Kind of the rows that say how many entities of a kind an account has.
const COUNT: u8 = 17;
/// Kind of the row that says that rows are derived.
const STATE: u8 = 18;
/// Kind of the rows that name the account of a canonical id.
const CANONICAL: u8 = 19;

/// What the state says: which rows there are.
const STATE_NOW: &[u8] = &[1];

/// Rows that are written in one transaction of a start.
const BATCH_ROW_COUNT: usize = 256;

/// Derived rows: key and value.
pub(crate) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// How many entities of a kind an account may have.
pub(crate) struct Quota {
    pub(crate) count_max: u64,
    /// As AWS calls it.
    pub(crate) name: &'static str,
}

/// A policy as someone holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) is_attached: bool,
    pub(crate) is_boundary: bool,
}

const ATTACHED: u8 = 1;
const BOUNDARY: u8 = 2;

/// A holder in a row: `None` is a name of another directory.
pub(crate) type HolderOf = Option<HolderKind>;

fn word(kind: HolderOf) -> &'static str {
    match kind {
        Some(HolderKind::User) => "user",
        Some(HolderKind::Group) => "group",
        Some(HolderKind::Role) => "role",
        None => "name",
    }
}

/// The rows of a holder.
pub(crate) fn of_holder<'a>(
    account: &str,
    holder: (HolderOf, &str),
    attached: impl IntoIterator<Item = &'a String>,
    boundary: Option<&'a String>,
) -> Rows {
    let mut held: BTreeMap<&str, u8> = BTreeMap::new();
    attached.into_iter().for_each(|policy| *held.entry(policy).or_default() |= ATTACHED);
    boundary.into_iter().for_each(|policy| *held.entry(policy).or_default() |= BOUNDARY);
    let row = |(policy, how): (&str, u8)| {
        (Key::identity(HOLDER_OF, &[account, policy, word(holder.0), holder.1]), vec![how])
    };
    held.into_iter().map(row).collect()
}

/// The row of an access point.
pub(crate) fn of_point(point: &AccessPoint) -> Rows {
    let key = Key::identity(POINT_OF, &[&point.bucket, &point.account, &point.name]);
    Rows::from([(key, Vec::new())])
}

/// The row of an account.
pub(crate) fn of_account(account: &Account) -> Rows {
    let key = Key::identity(CANONICAL, &[&account.canonical]);
    Rows::from([(key, account.id.clone().into_bytes())])
}

/// Whether an entity holds a policy.
pub(crate) fn is_held(tx: &Tx<'_>, account: &str, policy: &str) -> Result<bool, IdentityError> {
    let prefix = Key::identity(HOLDER_OF, &[account, policy, ""]);
    Ok(tx.first(prefix_range(&prefix))?.is_some())
}

/// The row that counts the entities of a kind of an account.
pub(crate) fn count_key(kind: u8, account: &str) -> Vec<u8> {
    Key::identity(COUNT, &[account, &kind.to_string()])
}

/// What the keys of all such rows begin with.
pub(crate) fn counts_prefix() -> Vec<u8> {
    Key::identity(COUNT, &[""])
}

/// Whether all rows are derived: always, but where a store of an earlier binary was not changed yet.
pub(crate) fn has_derived_rows(catalog: &Catalog) -> Result<bool, CatalogError> {
    let state = catalog.get(&Key::identity(STATE, &["derived"]))?;
    Ok(state.is_some_and(|state| state[..] == *STATE_NOW))
}

fn count_of(tx: &Tx<'_>, key: &[u8]) -> Result<u64, IdentityError> {
    let value = tx.get(key)?.and_then(|value| value[..].try_into().ok());
    Ok(value.map_or(0, u64::from_le_bytes))
}

/// Counts one more entity, if there may be one more.
pub(crate) fn count_new<T: Entity>(tx: &mut Tx<'_>, account: &str) -> Result<(), IdentityError> {
    let Some(quota) = T::QUOTA else { return Ok(()) };
    let key = count_key(T::KIND, account);
    let count = count_of(tx, &key)?;
    if count >= quota.count_max {
        let message = format!("Cannot exceed quota for {}: {}", quota.name, quota.count_max);
        return Err(IdentityError::Limit(message));
    }
    tx.put(key, (count + 1).to_le_bytes().to_vec());
    Ok(())
}

/// Counts one entity less.
pub(crate) fn count_gone<T: Entity>(tx: &mut Tx<'_>, account: &str) -> Result<(), IdentityError> {
    if T::QUOTA.is_none() {
        return Ok(());
    }
    let key = count_key(T::KIND, account);
    match count_of(tx, &key)?.saturating_sub(1) {
        0 => tx.delete(key),
        count => tx.put(key, count.to_le_bytes().to_vec()),
    }
    Ok(())
}

/// Puts the derived rows of an entity into the place of those that it had.
pub(crate) fn replace(tx: &mut Tx<'_>, old: Rows, new: Rows) {
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        tx.delete(key.clone());
    }
    for (key, value) in new {
        if old.get(&key) != Some(&value) {
            tx.put(key, value);
        }
    }
}

/// Derives the rows of all entities of a kind. `take` is given each row.
fn walk<T: Entity>(
    catalog: &Catalog,
    account: &str,
    take: &mut dyn FnMut(Vec<u8>, Vec<u8>) -> Result<(), IdentityError>,
    counts: &mut BTreeMap<Vec<u8>, u64>,
) -> Result<(), IdentityError> {
    let all = Key::identity(T::KIND, &[""]);
    let prefix = Key::identity(T::KIND, &[account]);
    for row in catalog.snapshot().scan(prefix_range(&prefix)) {
        let (key, value) = match row {
            Ok((key, value)) => (key.to_vec(), Some(value)),
            // What cannot be read can be removed by the owner of its account.
            Err(CatalogError::Forged { key }) => (key, None),
            Err(error) => return Err(error.into()),
        };
        let parts = String::from_utf8_lossy(&key[all.len()..]).into_owned();
        if T::QUOTA.is_some() {
            let account = parts.split('\0').next().unwrap_or_default();
            *counts.entry(count_key(T::KIND, account)).or_default() += 1;
        }
        match value.and_then(|value| T::decode(&value, &parts).ok()) {
            Some(entity) => {
                for (key, value) in entity.derived(&parts) {
                    take(key, value)?;
                }
            }
            None => tracing::error!(kind = T::NAME, name = parts, "a row cannot be read"),
        }
    }
    Ok(())
}

/// Takes the bytes of a row that lists a holder apart: policy, kind and name.
fn parse_holder(rest: &[u8], how: &[u8]) -> Option<(String, HolderOf, String, Held)> {
    let text = String::from_utf8_lossy(rest);
    let mut parts = text.splitn(3, '\0').map(str::to_owned);
    let (policy, kind, name) = (parts.next()?, parts.next()?, parts.next()?);
    let kinds = [Some(HolderKind::User), Some(HolderKind::Group), Some(HolderKind::Role), None];
    let kind = kinds.into_iter().find(|known| word(*known) == kind)?;
    let how = how.first().copied().unwrap_or_default();
    let held = Held { is_attached: how & ATTACHED != 0, is_boundary: how & BOUNDARY != 0 };
    Some((policy, kind, name, held))
}

impl Directory {
    /// Derives rows where the store is of a binary that had none. Blocks; before anything else is changed.
    ///
    /// # Errors
    ///
    /// The catalog failed: the next start derives them.
    pub fn derive_rows(&self) -> Result<(), IdentityError> {
        if self.has_derived_rows()? {
            return Ok(());
        }
        let catalog = &self.shared.catalog;
        let (mut batch, mut counts) = (Vec::new(), BTreeMap::new());
        let write = |rows: Vec<(Vec<u8>, Vec<u8>)>| {
            let ticket = catalog.submit(move |tx| {
                tx.use_reserve();
                rows.into_iter().for_each(|(key, value)| tx.put(key, value));
                Ok(drystone_catalog::Decision::Commit(()))
            });
            ticket.wait()
        };
        let mut take = |key: Vec<u8>, value: Vec<u8>| {
            batch.push((key, value));
            if batch.len() >= BATCH_ROW_COUNT {
                write(std::mem::take(&mut batch))?;
            }
            Ok(())
        };
        walk::<Account>(catalog, "", &mut take, &mut counts)?;
        walk::<User>(catalog, "", &mut take, &mut counts)?;
        walk::<Group>(catalog, "", &mut take, &mut counts)?;
        walk::<Role>(catalog, "", &mut take, &mut counts)?;
        walk::<ManagedPolicy>(catalog, "", &mut take, &mut counts)?;
        walk::<AccessKey>(catalog, "", &mut take, &mut counts)?;
        walk::<ForeignName>(catalog, "", &mut take, &mut counts)?;
        walk::<AccessPoint>(catalog, "", &mut take, &mut counts)?;
        for (key, count) in counts {
            take(key, count.to_le_bytes().to_vec())?;
        }
        write(batch)?;
        // Last: what was interrupted is done from the beginning.
        write(vec![(Key::identity(STATE, &["derived"]), STATE_NOW.to_vec())])?;
        Ok(())
    }

    /// Whether all rows are derived: always, but where a store of an earlier binary cannot be changed.
    fn has_derived_rows(&self) -> Result<bool, IdentityError> {
        Ok(has_derived_rows(&self.shared.catalog)?)
    }

    /// Gives `each` the holders of a policy of an account, or of all of its policies: policy, kind, name.
    pub(crate) fn each_holder(
        &self,
        account: &str,
        policy: Option<&str>,
        mut each: impl FnMut(String, HolderOf, String, Held),
    ) -> Result<(), IdentityError> {
        let all = Key::identity(HOLDER_OF, &[account, ""]);
        let prefix = match policy {
            Some(policy) => Key::identity(HOLDER_OF, &[account, policy, ""]),
            None => all.clone(),
        };
        let catalog = &self.shared.catalog;
        let mut see = |key: &[u8], value: &[u8]| {
            if let Some((policy, kind, name, held)) = parse_holder(&key[all.len()..], value) {
                each(policy, kind, name, held);
            }
        };
        if self.has_derived_rows()? {
            for row in catalog.snapshot().scan(prefix_range(&prefix)) {
                let (key, value) = row?;
                see(&key, &value);
            }
            return Ok(());
        }
        let (mut rows, mut counts) = (Rows::new(), BTreeMap::new());
        let mut take = |key: Vec<u8>, value: Vec<u8>| {
            rows.insert(key, value);
            Ok(())
        };
        walk::<User>(catalog, &[account, "\0"].concat(), &mut take, &mut counts)?;
        walk::<Group>(catalog, &[account, "\0"].concat(), &mut take, &mut counts)?;
        walk::<Role>(catalog, &[account, "\0"].concat(), &mut take, &mut counts)?;
        for (key, value) in rows.iter().filter(|(key, _)| key.starts_with(&prefix)) {
            see(key, value);
        }
        Ok(())
    }

    /// The derived rows of a holder whose own row cannot be read, from which they would be known.
    pub(crate) fn rows_of_damaged(
        &self,
        account: &str,
        kind: HolderKind,
        name: &str,
    ) -> Result<Vec<Vec<u8>>, IdentityError> {
        let mut rows = Vec::new();
        self.each_holder(account, None, |policy, known, holder, _| {
            if known == Some(kind) && holder == name {
                rows.push(Key::identity(HOLDER_OF, &[account, &policy, word(known), name]));
            }
        })?;
        Ok(rows)
    }

    /// Whether the account `owner` has an access point of a bucket.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn has_access_points(&self, owner: &str, bucket: &str) -> Result<bool, IdentityError> {
        let prefix = Key::identity(POINT_OF, &[bucket, ""]);
        for row in self.shared.catalog.snapshot().scan(prefix_range(&prefix)) {
            let (key, _) = row?;
            let text = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
            let (account, name) = text.split_once('\0').unwrap_or_default();
            if account != owner {
                continue;
            }
            // One that could not be read when it was removed has left its row.
            if self.access_point(account, name)?.is_some_and(|point| point.bucket == bucket) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether there is an account with a canonical id.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn has_canonical(&self, canonical: &str) -> Result<bool, IdentityError> {
        if canonical == crate::DEFAULT_CANONICAL {
            return Ok(true);
        }
        Ok(self.shared.catalog.get(&Key::identity(CANONICAL, &[canonical]))?.is_some())
    }

    /// The name of the account that a canonical id is of; `None` if there is no such account.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn name_of_canonical(&self, canonical: &str) -> Result<Option<String>, IdentityError> {
        if canonical == crate::DEFAULT_CANONICAL {
            return self.account(crate::DEFAULT_ACCOUNT).map(|account| Some(account.name));
        }
        let Some(id) = self.shared.catalog.get(&Key::identity(CANONICAL, &[canonical]))? else {
            return Ok(None);
        };
        match self.account(&String::from_utf8_lossy(&id)) {
            Ok(account) => Ok(Some(account.name)),
            Err(IdentityError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::{Grants, KEY_OF, KeyKind, Parent};
    use crate::rows;
    use drystone_base::{Seq, SystemRng};
    use drystone_catalog::MapView;

    /// A number below `below`, of a small generator whose state is `state`.
    fn draw(state: &mut u64, below: usize) -> usize {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        usize::try_from((*state >> 33) % below as u64).expect("it is small")
    }

    fn is_derived(key: &[u8]) -> bool {
        [HOLDER_OF, POINT_OF, COUNT, CANONICAL, KEY_OF].contains(&key[1])
    }

    /// The rows of a kind with what is derived from them, made from all rows there are.
    fn expect<T: Entity>(view: &MapView, rows: &mut Rows, counts: &mut BTreeMap<Vec<u8>, u64>) {
        let prefix = Key::identity(T::KIND, &[""]);
        for (key, value) in view.rows.iter().filter(|(key, _)| key.starts_with(&prefix)) {
            let parts = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
            if let Ok(entity) = T::decode(value, &parts) {
                rows.extend(entity.derived(&parts));
            }
            if T::QUOTA.is_some() {
                let account = parts.split('\0').next().expect("an account");
                *counts.entry(count_key(T::KIND, account)).or_default() += 1;
            }
        }
    }

    fn check(view: &MapView) {
        let (mut rows, mut counts) = (Rows::new(), BTreeMap::new());
        expect::<Account>(view, &mut rows, &mut counts);
        expect::<User>(view, &mut rows, &mut counts);
        expect::<Group>(view, &mut rows, &mut counts);
        expect::<ManagedPolicy>(view, &mut rows, &mut counts);
        expect::<AccessKey>(view, &mut rows, &mut counts);
        expect::<ForeignName>(view, &mut rows, &mut counts);
        expect::<AccessPoint>(view, &mut rows, &mut counts);
        rows.extend(counts.into_iter().map(|(key, count)| (key, count.to_le_bytes().to_vec())));
        let found = view.rows.iter().filter(|(key, _)| is_derived(key));
        let found: Rows = found.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        assert_eq!(found, rows);
    }

    fn group(account: &str, name: &str) -> Group {
        Group {
            account: account.to_owned(),
            name: name.to_owned(),
            path: "/".to_owned(),
            id: String::new(),
            created_ms: 0,
            updated_ms: 0,
            is_enabled: true,
            grants: Grants::default(),
            members: Default::default(),
            unknown: Default::default(),
        }
    }

    fn user(account: &str, name: &str, boundary: Option<String>) -> User {
        User {
            account: account.to_owned(),
            name: name.to_owned(),
            path: "/".to_owned(),
            id: String::new(),
            created_ms: 0,
            updated_ms: 0,
            is_enabled: true,
            grants: Grants::default(),
            groups: Default::default(),
            tags: Default::default(),
            sessions_after_ms: 0,
            boundary,
            unknown: Default::default(),
        }
    }

    fn key(account: &str, user: &str, id: &str, key_kind: KeyKind) -> AccessKey {
        AccessKey {
            id: id.to_owned(),
            parent: Parent::User {
                account: account.to_owned(),
                name: user.to_owned(),
                id: String::new(),
            },
            key_kind,
            sealed_secret: String::new(),
            created_ms: 0,
            is_enabled: true,
            expires_ms: None,
            policy: None,
            name: String::new(),
            description: String::new(),
            unknown: Default::default(),
        }
    }

    fn flip(held: &mut std::collections::BTreeSet<String>, policy: &str) {
        if !held.remove(policy) {
            held.insert(policy.to_owned());
        }
    }

    /// One change of those that the directory makes, chosen at random; one that is refused changes nothing.
    fn change(tx: &mut Tx<'_>, state: &mut u64) -> Result<(), IdentityError> {
        let names = ["a", "b", "c"];
        let account = ["000000000000", "111111111111"][draw(state, 2)];
        let (name, policy) = (names[draw(state, 3)], names[draw(state, 3)]);
        let parts = [account, name];
        let bounds = (draw(state, 2) == 0).then(|| policy.to_owned());
        match draw(state, 13) {
            0 => rows::create(tx, &parts, &user(account, name, bounds)),
            1 => rows::create(tx, &parts, &group(account, name)),
            2 => rows::remove::<User>(tx, &parts),
            3 => rows::remove::<Group>(tx, &parts),
            4..=6 => rows::change(tx, &parts, |user: &mut User| {
                flip(&mut user.grants.attached, policy);
                Ok(())
            }),
            7 => rows::change(tx, &parts, |group: &mut Group| {
                flip(&mut group.grants.attached, policy);
                Ok(())
            }),
            8 => rows::change(tx, &parts, |user: &mut User| {
                user.boundary = bounds;
                Ok(())
            }),
            9 => {
                let mut held: ForeignName = rows::find(tx, &[name])?.unwrap_or_default();
                flip(&mut held.attached, policy);
                rows::save(tx, &[name], &held)
            }
            10 => rows::remove::<ForeignName>(tx, &[name]),
            11 => rows::create(tx, &parts, &AccessPoint::new(account, name, policy, account)),
            _ => {
                rows::remove::<AccessPoint>(tx, &parts)?;
                let kind = if bounds.is_some() { KeyKind::Own } else { KeyKind::Service };
                rows::save(tx, &[name], &key("000000000000", "u", name, kind))
            }
        }
    }

    /// Goal: derived rows are those of the rows there are, after any changes.
    #[test]
    fn derived_rows_follow_all_changes() {
        let (mut view, mut state) = (MapView::default(), 7);
        let mut made = 0;
        for _ in 0..4000 {
            let before = view.clone();
            let mut tx = Tx::new(&before, &SystemRng, 1, Seq(0));
            if change(&mut tx, &mut state).is_ok() {
                view.apply(tx);
                made += 1;
                check(&view);
            }
        }
        assert!(made > 2000 && view.rows.keys().any(|key| key[1] == HOLDER_OF), "{made}");
    }

    #[test]
    fn an_account_has_no_more_than_its_quota() {
        let mut view = MapView::default();
        let mut make = |number: u64| {
            let before = view.clone();
            let mut tx = Tx::new(&before, &SystemRng, 1, Seq(0));
            let name = format!("g{number}");
            let made = rows::create(&mut tx, &["1", &name], &group("1", &name));
            if made.is_ok() {
                view.apply(tx);
            }
            made.map_err(|error| error.to_string())
        };
        for number in 0..300 {
            make(number).expect("there is room");
        }
        assert_eq!(make(300), Err("Cannot exceed quota for GroupsPerAccount: 300".to_owned()));
        let before = view.clone();
        let mut tx = Tx::new(&before, &SystemRng, 1, Seq(0));
        rows::remove::<Group>(&mut tx, &["1", "g7"]).expect("it is there");
        rows::create(&mut tx, &["1", "h"], &group("1", "h")).expect("there is room again");
        rows::create(&mut tx, &["2", "h"], &group("2", "h")).expect("another account");
    }

    /// A row that cannot be read is removed, and counts until then.
    #[test]
    fn a_damaged_row_counts_until_it_is_removed() {
        let mut view = MapView::default();
        let mut tx = Tx::new(&view, &SystemRng, 1, Seq(0));
        rows::create(&mut tx, &["1", "g"], &group("1", "g")).expect("made");
        tx.put(Key::identity(Group::KIND, &["1", "g"]), vec![9]);
        let mut changed = MapView::default();
        changed.apply(tx);
        view = changed;
        let mut tx = Tx::new(&view, &SystemRng, 1, Seq(0));
        assert_eq!(count_of(&tx, &count_key(Group::KIND, "1")).expect("a count"), 1);
        rows::remove::<Group>(&mut tx, &["1", "g"]).expect("removed");
        assert_eq!(count_of(&tx, &count_key(Group::KIND, "1")).expect("a count"), 0);
    }
}
