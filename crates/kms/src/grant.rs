//! Grants: rights to single operations with a key, which anyone who may use it can give to others.
//!
//! Source: AWS KMS developer guide, "Grants in AWS KMS".

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Grants of a key at most: they are in its row, which is read for each use.
pub const GRANT_COUNT_MAX: usize = 100;

/// Operations that a grant may name.
pub const GRANT_OPERATIONS: &[&str] = &[
    "Decrypt",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
    "CreateGrant",
    "RetireGrant",
    "DescribeKey",
];

/// A grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// 64 hexadecimal digits.
    pub id: String,
    /// For people; empty if none was given.
    #[serde(default)]
    pub name: String,
    /// Whom it is given to: a policy that names them, with ids.
    pub grantee: String,
    /// Who may end it, beside those who may revoke it: the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retiring: Option<String>,
    /// Resource name of the grantor.
    pub issuer: String,
    /// What may be done, such as `Decrypt`.
    pub operations: Vec<String>,
    /// What the encryption context of a request must have; nothing where it is empty.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub context_subset: BTreeMap<String, String>,
    /// What the encryption context of a request must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_equals: Option<BTreeMap<String, String>>,
    /// In milliseconds since 1970.
    pub created_ms: u64,
}

impl Grant {
    /// Whether it lets its grantee do something with an encryption context.
    #[must_use]
    pub fn covers(&self, operation: &str, context: &BTreeMap<String, String>) -> bool {
        let has = |(key, value): (&String, &String)| context.get(key) == Some(value);
        self.operations.iter().any(|known| known == operation)
            && self.context_subset.iter().all(has)
            && self.context_equals.as_ref().is_none_or(|equals| equals == context)
    }
}
