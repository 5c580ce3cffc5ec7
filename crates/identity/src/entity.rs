//! The entities, as they are stored. The page is `docs/formats/catalog.md`, "Identity".

use crate::derived::{self, Quota, Rows};
use crate::{HolderKind, IdentityError};
use drystone_catalog::Key;
use drystone_iam::StoredPolicy;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Fields that this version does not know, kept to be written back.
pub(crate) type Unknown = serde_json::Map<String, serde_json::Value>;

const FORMAT: u8 = 1;

/// A kind of row.
pub(crate) trait Entity: Serialize + DeserializeOwned {
    /// Number in the row's key. Stored.
    const KIND: u8;
    /// Name in messages.
    const NAME: &'static str;
    /// How many an account may have; its rows are then counted. Such an entity is named by account and name.
    const QUOTA: Option<Quota> = None;
    /// Whether rows are derived from it.
    const DERIVES: bool = false;

    /// The rows that are derived from it; `name` is the last part of its own.
    fn derived(&self, _name: &str) -> Rows {
        Rows::new()
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        serde_json::to_writer(&mut bytes, self).expect("entities become JSON");
        bytes
    }

    fn decode(bytes: &[u8], name: &str) -> Result<Self, IdentityError> {
        Self::decode_part(bytes, name)
    }

    /// Decodes those fields of the row that `P` has; the others are skipped.
    fn decode_part<P: DeserializeOwned>(bytes: &[u8], name: &str) -> Result<P, IdentityError> {
        let damaged = || IdentityError::Damaged { kind: Self::NAME, name: name.to_owned() };
        let json = bytes.strip_prefix(&[FORMAT]).ok_or_else(damaged)?;
        serde_json::from_slice(json).map_err(|_| damaged())
    }
}

/// What someone is allowed: policies by name, and policies of his own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// Names of managed policies.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub attached: BTreeSet<String>,
    /// Inline policies: name to document.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inline: BTreeMap<String, String>,
}

/// An account: owner of buckets, and home of users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// 12 digits.
    pub id: String,
    /// 64 hexadecimal digits.
    pub canonical: String,
    /// For people.
    pub name: String,
    /// In milliseconds since 1970.
    pub created_ms: u64,
    #[serde(flatten)]
    pub(crate) unknown: Unknown,
}

/// A person or program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Account id.
    pub account: String,
    /// Name.
    pub name: String,
    /// Begins and ends with a slash.
    pub path: String,
    /// Unique: a new user of the same name has another one.
    pub id: String,
    /// In milliseconds since 1970.
    pub created_ms: u64,
    /// When rights or state changed last, in milliseconds since 1970.
    pub updated_ms: u64,
    /// Whether its keys open anything.
    pub is_enabled: bool,
    /// What it is allowed.
    #[serde(default)]
    pub grants: Grants,
    /// Names of groups that it is in.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
    /// Tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Sessions made before this do not count any more.
    #[serde(default)]
    pub sessions_after_ms: u64,
    /// Name of the managed policy that bounds what its other policies allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boundary: Option<String>,
    #[serde(flatten)]
    pub(crate) unknown: Unknown,
}

/// Users that are allowed the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Account id.
    pub account: String,
    /// Name.
    pub name: String,
    /// Begins and ends with a slash.
    pub path: String,
    /// Unique id.
    pub id: String,
    /// In milliseconds since 1970.
    pub created_ms: u64,
    /// In milliseconds since 1970.
    pub updated_ms: u64,
    /// Whether its policies count.
    pub is_enabled: bool,
    /// What members are allowed.
    #[serde(default)]
    pub grants: Grants,
    /// Names of users.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub members: BTreeSet<String>,
    #[serde(flatten)]
    pub(crate) unknown: Unknown,
}

/// Rights that someone else takes on for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Account id.
    pub account: String,
    /// Name.
    pub name: String,
    /// Begins and ends with a slash.
    pub path: String,
    /// Unique id.
    pub id: String,
    /// In milliseconds since 1970.
    pub created_ms: u64,
    /// For people.
    pub description: String,
    /// Document that says who may assume it.
    pub trust: StoredPolicy,
    /// Longest session, in seconds.
    pub session_max_s: u64,
    /// What its sessions are allowed.
    #[serde(default)]
    pub grants: Grants,
    /// Tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Sessions made before this do not count any more.
    #[serde(default)]
    pub sessions_after_ms: u64,
    /// Name of the managed policy that bounds what its other policies allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boundary: Option<String>,
    #[serde(flatten)]
    pub(crate) unknown: Unknown,
}

/// One text of a managed policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyVersion {
    /// 1, 2, ...
    pub number: u32,
    /// The document.
    pub document: String,
    /// In milliseconds since 1970.
    pub created_ms: u64,
}

/// A policy with a name of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedPolicy {
    /// Account id.
    pub account: String,
    /// Name.
    pub name: String,
    /// Begins and ends with a slash.
    pub path: String,
    /// Unique id.
    pub id: String,
    /// In milliseconds since 1970.
    pub created_ms: u64,
    /// In milliseconds since 1970.
    pub updated_ms: u64,
    /// For people.
    pub description: String,
    /// Oldest first; five at most.
    pub versions: Vec<PolicyVersion>,
    /// Number of the version that counts.
    pub default_version: u32,
    /// Tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    #[serde(flatten)]
    pub(crate) unknown: Unknown,
}

/// Whose rights a key has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Parent {
    /// The owner of an account.
    Root {
        /// Account id.
        account: String,
    },
    /// A user.
    User {
        /// Account id.
        account: String,
        /// Name.
        name: String,
        /// Unique id.
        id: String,
    },
}

impl Parent {
    /// Account id.
    #[must_use]
    pub fn account(&self) -> &str {
        match self {
            Self::Root { account } | Self::User { account, .. } => account,
        }
    }
    /// Name of the user; `None` for the owner of an account.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Root { .. } => None,
            Self::User { name, .. } => Some(name),
        }
    }
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// The user's own.
    Own,
    /// A service account: may be narrowed by a policy, and may expire.
    Service,
}

impl KeyKind {
    /// Number in rows.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Own => 1,
            Self::Service => 2,
        }
    }

    /// The kind of a row; `None` if it says none.
    pub(crate) fn of_number(value: &[u8]) -> Option<Self> {
        [Self::Own, Self::Service].into_iter().find(|kind| *value == [kind.number()])
    }
}

/// An access key. Its secret is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// Access key id.
    pub id: String,
    /// Whose rights it has.
    pub parent: Parent,
    /// What it is for.
    pub key_kind: KeyKind,
    pub(crate) sealed_secret: String,
    /// In milliseconds since 1970.
    pub created_ms: u64,
    /// Whether it opens anything.
    pub is_enabled: bool,
    /// In milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// Narrows what the parent may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// For people, 32 characters at most.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// For people, 256 characters at most.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(flatten)]
    pub(crate) unknown: Unknown,
}

/// A key that signs session tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SigningKey {
    pub(crate) id: String,
    pub(crate) sealed_secret: String,
    pub(crate) created_ms: u64,
}

/// The keys that sign session tokens; the last one signs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SigningKeys {
    pub(crate) keys: Vec<SigningKey>,
    #[serde(flatten)]
    pub(crate) unknown: Unknown,
}

/// Which public access to the buckets of an account is refused, whatever they say themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicAccessBlock {
    /// Public access control lists are refused.
    pub block_public_acls: bool,
    /// Public grants count as absent.
    pub ignore_public_acls: bool,
    /// Public policies are refused.
    pub block_public_policy: bool,
    /// Public policies admit no one of other accounts.
    pub restrict_public_buckets: bool,
}

impl Entity for PublicAccessBlock {
    const KIND: u8 = 9;
    const NAME: &'static str = "public access block";
}

/// What a name of another directory is allowed here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ForeignName {
    /// Names of managed policies.
    pub(crate) attached: BTreeSet<String>,
    #[serde(flatten)]
    pub(crate) unknown: Unknown,
}

impl Entity for ForeignName {
    const KIND: u8 = 10;
    const NAME: &'static str = "name";
    const DERIVES: bool = true;

    fn derived(&self, name: &str) -> Rows {
        derived::of_holder(crate::DEFAULT_ACCOUNT, (None, name), &self.attached, None)
    }
}

/// From when on sessions of a name count: of the owner of an account, or of a name of another directory,
/// which have no row that could say it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionsEnd {
    /// Sessions made before this do not count any more.
    pub(crate) sessions_after_ms: u64,
    #[serde(flatten)]
    pub(crate) unknown: Unknown,
}

impl Entity for SessionsEnd {
    const KIND: u8 = 14;
    const NAME: &'static str = "end of sessions";
}

impl Entity for Account {
    const KIND: u8 = 1;
    const NAME: &'static str = "account";
    const DERIVES: bool = true;

    fn derived(&self, _name: &str) -> Rows {
        derived::of_account(self)
    }
}
impl Entity for User {
    const KIND: u8 = 2;
    const NAME: &'static str = "user";
    const QUOTA: Option<Quota> = Some(Quota { count_max: 5000, name: "UsersPerAccount" });
    const DERIVES: bool = true;

    fn derived(&self, _name: &str) -> Rows {
        let holder = (Some(HolderKind::User), &*self.name);
        derived::of_holder(&self.account, holder, &self.grants.attached, self.boundary.as_ref())
    }
}
impl Entity for Group {
    const KIND: u8 = 3;
    const NAME: &'static str = "group";
    const QUOTA: Option<Quota> = Some(Quota { count_max: 300, name: "GroupsPerAccount" });
    const DERIVES: bool = true;

    fn derived(&self, _name: &str) -> Rows {
        let holder = (Some(HolderKind::Group), &*self.name);
        derived::of_holder(&self.account, holder, &self.grants.attached, None)
    }
}
impl Entity for Role {
    const KIND: u8 = 4;
    const NAME: &'static str = "role";
    const QUOTA: Option<Quota> = Some(Quota { count_max: 1000, name: "RolesPerAccount" });
    const DERIVES: bool = true;

    fn derived(&self, _name: &str) -> Rows {
        let holder = (Some(HolderKind::Role), &*self.name);
        derived::of_holder(&self.account, holder, &self.grants.attached, self.boundary.as_ref())
    }
}
impl Entity for ManagedPolicy {
    const KIND: u8 = 5;
    const NAME: &'static str = "policy";
    const QUOTA: Option<Quota> = Some(Quota { count_max: 1500, name: "PoliciesPerAccount" });
}
impl Entity for AccessKey {
    const KIND: u8 = 6;
    const NAME: &'static str = "access key";
    const DERIVES: bool = true;

    /// The row that lists it under its parent, with its kind.
    fn derived(&self, _name: &str) -> Rows {
        let user = self.parent.user().unwrap_or_default();
        let key = Key::identity(KEY_OF, &[self.parent.account(), user, &self.id]);
        Rows::from([(key, vec![self.key_kind.number()])])
    }
}
impl Entity for SigningKeys {
    const KIND: u8 = 7;
    const NAME: &'static str = "signing keys";
}

/// Kind of the rows that list the keys of a parent; their values are [`KeyKind::number`].
pub(crate) const KEY_OF: u8 = 8;
