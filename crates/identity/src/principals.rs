//! Users and groups.

use crate::directory::{Directory, Scope};
use crate::entity::{AccessKey, Group, User};
use crate::error::IdentityError;
use crate::holder::HolderKind;
use crate::keys;
use crate::names::{check_name, check_path, check_tags, unique_id};
use crate::policies::must_have;
use crate::rows::{self, OfChange, Page, PageAsked};
use drystone_base::Room;
use drystone_catalog::Tx;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

const USER_NAME_LEN_MAX: usize = 128;
const GROUP_NAME_LEN_MAX: usize = 128;
/// Members of a group, as many as an account may have users; their names are in one row.
const MEMBER_COUNT_MAX: usize = 5000;
/// Bytes of the names of the members of a group.
const MEMBERS_LEN_MAX: usize = 256 << 10;
/// What may be read for one change of members: all other changes wait for it.
const CHANGE_READ_MAX: usize = 4 << 20;
/// Groups that a user may be in.
const GROUPS_OF_USER_MAX: usize = 10;
/// Members that leave a group in one transaction.
const CHUNK_COUNT: usize = 100;

/// A user to be made.
#[derive(Clone, Debug, Default)]
pub struct NewUser {
    /// Name.
    pub name: String,
    /// Path; empty for `/`.
    pub path: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Name of the managed policy that bounds what other policies allow.
    pub boundary: Option<String>,
}

impl Directory {
    /// Checks a user that is to be made.
    pub(crate) fn prepare_user(&self, account: &str, new: NewUser) -> Result<User, IdentityError> {
        let path = if new.path.is_empty() { "/".to_owned() } else { new.path };
        check_name("UserName", &new.name, USER_NAME_LEN_MAX)?;
        check_path(&path)?;
        check_tags(&new.tags)?;
        if new.name == self.shared.root.access_key {
            return Err(IdentityError::Exists { kind: "user", name: new.name });
        }
        let now_ms = self.now_ms();
        let user = User {
            account: account.to_owned(),
            name: new.name,
            path,
            id: unique_id(&*self.shared.rng, "AIDA"),
            created_ms: now_ms,
            updated_ms: now_ms,
            is_enabled: true,
            grants: Default::default(),
            groups: Default::default(),
            tags: new.tags,
            sessions_after_ms: 0,
            boundary: new.boundary,
            unknown: Default::default(),
        };
        Ok(user)
    }

    /// Makes a user without any rights.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Invalid`], [`IdentityError::Exists`], or the catalog failed.
    pub async fn create_user(&self, account: &str, new: NewUser) -> Result<User, IdentityError> {
        let user = self.prepare_user(account, new)?;
        let stored = user.clone();
        self.commit(Scope::of(&stored.account), move |tx| {
            must_have(tx, &stored.account, stored.boundary.as_deref())?;
            insert_user(tx, &stored)
        })
        .await?;
        Ok(user)
    }

    /// A user.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], or the catalog failed.
    pub fn user(&self, account: &str, name: &str) -> Result<User, IdentityError> {
        let missing = || IdentityError::NotFound { kind: "user", name: name.to_owned() };
        rows::get(&self.shared.catalog, &[account, name])?.ok_or_else(missing)
    }

    /// A page of the users of an account that are to be kept.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn users_page(
        &self,
        account: &str,
        asked: PageAsked<'_>,
        keep: impl Fn(&User) -> bool,
    ) -> Result<Page<User>, IdentityError> {
        rows::page(&self.shared.catalog, account, asked, keep)
    }

    /// What `of` keeps of the users of an account, by name.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn users<T: Serialize>(
        &self,
        account: &str,
        room: &dyn Room,
        mut of: impl FnMut(User) -> T,
    ) -> Result<Vec<T>, IdentityError> {
        rows::list(&self.shared.catalog, &[account, ""], room, |entity| Some(of(entity)))
    }

    /// Changes a user.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], what `change` says, or the catalog failed.
    pub async fn change_user(
        &self,
        account: &str,
        name: &str,
        change: impl FnOnce(&mut User) -> Result<(), IdentityError> + Send + 'static,
    ) -> Result<(), IdentityError> {
        let (account, name) = (account.to_owned(), name.to_owned());
        self.commit(Scope::of(&account), move |tx| {
            let now_ms = tx.now_ms();
            rows::change(tx, &[&account, &name], |user: &mut User| {
                change(user)?;
                check_path(&user.path)?;
                user.updated_ms = now_ms;
                check_tags(&user.tags)
            })
        })
        .await
    }

    /// Deletes a user. `with_all`: also his keys, and his places in groups; else these refuse it.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], [`IdentityError::InUse`], or the catalog failed.
    pub async fn delete_user(
        &self,
        account: &str,
        name: &str,
        with_all: bool,
    ) -> Result<(), IdentityError> {
        let (account, name) = (account.to_owned(), name.to_owned());
        // A row that cannot be read says neither what it holds nor where it is a member. Nothing can be
        // added to it either.
        let damaged = match self.user(&account, &name) {
            Err(IdentityError::Damaged { .. }) => Some(Damaged {
                groups: self.groups_with(&account, &name)?,
                derived: self.rows_of_damaged(&account, HolderKind::User, &name)?,
            }),
            _ => None,
        };
        self.commit(Scope::of(&account), move |tx| {
            delete_user(tx, &account, &name, damaged, with_all)
        })
        .await
    }

    /// Makes a group without members or rights.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Invalid`], [`IdentityError::Exists`], or the catalog failed.
    pub async fn create_group(
        &self,
        account: &str,
        name: &str,
        path: &str,
    ) -> Result<Group, IdentityError> {
        let group = self.new_group(account, name, path)?;
        let stored = group.clone();
        self.commit(Scope::of(&stored.account), move |tx| {
            rows::create(tx, &[&stored.account, &stored.name], &stored)
        })
        .await?;
        Ok(group)
    }

    fn new_group(&self, account: &str, name: &str, path: &str) -> Result<Group, IdentityError> {
        let path = if path.is_empty() { "/" } else { path };
        check_name("GroupName", name, GROUP_NAME_LEN_MAX)?;
        check_path(path)?;
        let now_ms = self.now_ms();
        Ok(Group {
            account: account.to_owned(),
            name: name.to_owned(),
            path: path.to_owned(),
            id: unique_id(&*self.shared.rng, "AGPA"),
            created_ms: now_ms,
            updated_ms: now_ms,
            is_enabled: true,
            grants: Default::default(),
            members: Default::default(),
            unknown: Default::default(),
        })
    }

    /// Makes a group of some users, or puts them into it if there is one by then: all of it or nothing.
    ///
    /// # Errors
    ///
    /// As [`Directory::create_group`] and [`Directory::change_members`].
    pub async fn create_group_of(
        &self,
        account: &str,
        name: &str,
        users: Vec<String>,
    ) -> Result<(), IdentityError> {
        let group = self.new_group(account, name, "/")?;
        let users: BTreeSet<String> = users.into_iter().collect();
        self.commit(Scope::of(&group.account), move |tx| {
            let parts = [group.account.as_str(), &group.name];
            match rows::create(tx, &parts, &group) {
                Ok(()) | Err(IdentityError::Exists { .. }) => {}
                Err(error) => return Err(error),
            }
            match users.is_empty() {
                true => Ok(()),
                false => change_members(tx, &group.account, &group.name, &users, true),
            }
        })
        .await
    }

    /// A group.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], or the catalog failed.
    pub fn group(&self, account: &str, name: &str) -> Result<Group, IdentityError> {
        let missing = || IdentityError::NotFound { kind: "group", name: name.to_owned() };
        rows::get(&self.shared.catalog, &[account, name])?.ok_or_else(missing)
    }

    /// A group that is to be shown, with its members, when there is room for it.
    ///
    /// # Errors
    ///
    /// As [`Directory::group`], and [`IdentityError::NoRoom`].
    pub fn group_in(
        &self,
        account: &str,
        name: &str,
        room: &dyn Room,
    ) -> Result<Group, IdentityError> {
        let missing = || IdentityError::NotFound { kind: "group", name: name.to_owned() };
        rows::get_in(&self.shared.catalog, &[account, name], room)?.ok_or_else(missing)
    }

    /// A page of the groups of an account that are to be kept.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn groups_page(
        &self,
        account: &str,
        asked: PageAsked<'_>,
        keep: impl Fn(&Group) -> bool,
    ) -> Result<Page<Group>, IdentityError> {
        rows::page(&self.shared.catalog, account, asked, keep)
    }

    /// What `of` keeps of the groups of an account, by name.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn groups<T: Serialize>(
        &self,
        account: &str,
        room: &dyn Room,
        mut of: impl FnMut(Group) -> T,
    ) -> Result<Vec<T>, IdentityError> {
        rows::list(&self.shared.catalog, &[account, ""], room, |entity| Some(of(entity)))
    }

    /// Lets the policies of a group count, or not.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], or the catalog failed.
    pub async fn enable_group(
        &self,
        account: &str,
        name: &str,
        is_enabled: bool,
    ) -> Result<(), IdentityError> {
        let (account, name) = (account.to_owned(), name.to_owned());
        self.commit(Scope::of(&account), move |tx| {
            let now_ms = tx.now_ms();
            rows::change(tx, &[&account, &name], |group: &mut Group| {
                (group.is_enabled, group.updated_ms) = (is_enabled, now_ms);
                Ok(())
            })
        })
        .await
    }

    /// Puts users into a group, or takes them out: all of them or none.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`] for the group or a user, [`IdentityError::Limit`], or the catalog failed.
    pub async fn change_members(
        &self,
        account: &str,
        group: &str,
        users: Vec<String>,
        add: bool,
    ) -> Result<(), IdentityError> {
        let (account, group) = (account.to_owned(), group.to_owned());
        // Each once, whatever the request names.
        let users: BTreeSet<String> = users.into_iter().collect();
        if users.is_empty() {
            return Ok(());
        }
        self.commit(Scope::of(&account), move |tx| {
            change_members(tx, &account, &group, &users, add)
        })
        .await
    }

    /// Deletes a group that has neither members nor policies.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], [`IdentityError::InUse`], or the catalog failed.
    pub async fn delete_group(
        &self,
        account: &str,
        name: &str,
        with_policies: bool,
    ) -> Result<(), IdentityError> {
        let (account, name) = (account.to_owned(), name.to_owned());
        let damaged = match self.group(&account, &name) {
            Err(IdentityError::Damaged { .. }) => {
                self.leave_damaged_group(&account, &name).await?;
                self.rows_of_damaged(&account, HolderKind::Group, &name)?
            }
            _ => Vec::new(),
        };
        self.commit(Scope::of(&account), move |tx| {
            let parts = [account.as_str(), &name];
            let Some(group) = rows::load_readable::<Group>(tx, &parts)? else {
                damaged.into_iter().for_each(|row| tx.delete(row));
                return rows::remove::<Group>(tx, &parts);
            };
            if !group.members.is_empty() {
                let message = "Cannot delete entity, must remove users from group first.";
                return Err(IdentityError::InUse(message.to_owned()));
            }
            if group.grants != Default::default() && !with_policies {
                return Err(policies_first());
            }
            rows::remove::<Group>(tx, &parts)
        })
        .await
    }

    /// Takes the members out of a group that cannot be read, so that no one is a member of one made later
    /// with its name. No one can be put into it meanwhile.
    async fn leave_damaged_group(&self, account: &str, name: &str) -> Result<(), IdentityError> {
        let member = |user: User| user.groups.contains(name).then_some(user.name);
        let members = rows::list(&self.shared.catalog, &[account, ""], &OfChange, member)?;
        for some in members.chunks(CHUNK_COUNT) {
            let (some, account, name) = (some.to_vec(), account.to_owned(), name.to_owned());
            self.commit(Scope::of(&account), move |tx| {
                for member in &some {
                    let left = rows::change(tx, &[&account, member], |user: &mut User| {
                        set_member(&mut user.groups, &name, false);
                        Ok(())
                    });
                    match left {
                        Err(IdentityError::NotFound { .. }) => {}
                        left => left?,
                    }
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Names of the groups that say a user is in them.
    fn groups_with(&self, account: &str, user: &str) -> Result<BTreeSet<String>, IdentityError> {
        let with = |group: Group| group.members.contains(user).then_some(group.name);
        let groups = rows::list(&self.shared.catalog, &[account, ""], &OfChange, with)?;
        Ok(groups.into_iter().collect())
    }
}

/// Of a user whose row cannot be read.
#[derive(Default)]
struct Damaged {
    groups: BTreeSet<String>,
    /// Keys of the rows that are derived from it.
    derived: Vec<Vec<u8>>,
}

/// Stores a new user. Its name must not be the id of a key of another owner of the account: where a name is
/// a key id, that key would be taken for the user's. Ids of keys of other accounts are no concern of this
/// one: a secret is set for the exact owner of a key only.
pub(crate) fn insert_user(tx: &mut Tx<'_>, user: &User) -> Result<(), IdentityError> {
    let taken = || IdentityError::Exists { kind: "user", name: user.name.clone() };
    match rows::find::<AccessKey>(tx, &[&user.name]) {
        Ok(Some(key)) if key.parent.account() == user.account => return Err(taken()),
        // Whose key it is cannot be known.
        Err(IdentityError::Damaged { .. }) => return Err(taken()),
        found => drop(found?),
    }
    rows::create(tx, &[&user.account, &user.name], user)
}

pub(crate) fn policies_first() -> IdentityError {
    let message = "Cannot delete entity, must detach all policies first.";
    IdentityError::InUse(message.to_owned())
}

fn set_member(names: &mut BTreeSet<String>, name: &str, is_in: bool) {
    if is_in {
        names.insert(name.to_owned());
    } else {
        names.remove(name);
    }
}

fn check_members(members: &BTreeSet<String>) -> Result<(), IdentityError> {
    let len_bytes: usize = members.iter().map(String::len).sum();
    if members.len() <= MEMBER_COUNT_MAX && len_bytes <= MEMBERS_LEN_MAX {
        return Ok(());
    }
    let message = format!(
        "Cannot exceed quota for UsersPerGroup: {MEMBER_COUNT_MAX}, with names of {MEMBERS_LEN_MAX} \
         bytes in all"
    );
    Err(IdentityError::Limit(message))
}

fn change_members(
    tx: &mut Tx<'_>,
    account: &str,
    group_name: &str,
    users: &BTreeSet<String>,
    add: bool,
) -> Result<(), IdentityError> {
    let now_ms = tx.now_ms();
    // Once, not once for each: its row has all of its members.
    rows::change(tx, &[account, group_name], |group: &mut Group| {
        group.updated_ms = now_ms;
        users.iter().for_each(|user| set_member(&mut group.members, user, add));
        if add { check_members(&group.members) } else { Ok(()) }
    })?;
    let of_group = tx.read_bytes();
    users.iter().try_for_each(|user| {
        if tx.read_bytes() - of_group > CHANGE_READ_MAX {
            let message = "The request names too many users with long tags and policies.";
            return Err(IdentityError::Limit(message.to_owned()));
        }
        rows::change(tx, &[account, user], |user: &mut User| {
            user.updated_ms = now_ms;
            let is_new = add && !user.groups.contains(group_name);
            if is_new && user.groups.len() >= GROUPS_OF_USER_MAX {
                let message =
                    format!("Cannot exceed quota for GroupsPerUser: {GROUPS_OF_USER_MAX}");
                return Err(IdentityError::Limit(message));
            }
            set_member(&mut user.groups, group_name, add);
            Ok(())
        })
    })
}

fn delete_user(
    tx: &mut Tx<'_>,
    account: &str,
    name: &str,
    damaged: Option<Damaged>,
    with_all: bool,
) -> Result<(), IdentityError> {
    let user: Option<User> = rows::load_readable(tx, &[account, name])?;
    let (groups, grants) = match (user, damaged) {
        (Some(user), _) => (user.groups, user.grants),
        (None, damaged) => {
            let Damaged { groups, derived } = damaged.unwrap_or_default();
            derived.into_iter().for_each(|row| tx.delete(row));
            (groups, Default::default())
        }
    };
    if !with_all {
        if !rows::keys_in(tx, (account, name), 1)?.is_empty() {
            let message = "Cannot delete entity, must delete access keys first.";
            return Err(IdentityError::InUse(message.to_owned()));
        }
        if !groups.is_empty() {
            let message = "Cannot delete entity, must remove users from group first.";
            return Err(IdentityError::InUse(message.to_owned()));
        }
        if grants != Default::default() {
            return Err(policies_first());
        }
    }
    for (key, _) in rows::keys_in(tx, (account, name), usize::MAX)? {
        keys::delete_of(tx, account, name, &key)?;
    }
    for group in &groups {
        rows::change(tx, &[account, group], |group: &mut Group| {
            set_member(&mut group.members, name, false);
            Ok(())
        })?;
    }
    rows::remove::<User>(tx, &[account, name])
}
