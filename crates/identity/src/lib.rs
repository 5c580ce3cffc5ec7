//! Who there is: accounts, users, groups, roles, policies, keys and sessions, as rows of the catalog.
//!
//! [`Directory`] answers two questions: to whom does an access key belong, with which secret
//! ([`Directory::find_key`]) and which policies ([`Directory::identity_of`]), and what do administrators
//! change (the other methods, each one transaction). Names and rules are those of IAM (IAM API reference; IAM
//! User Guide, "IAM and STS quotas").
//!
//! # Invariants
//!
//! - A secret is sealed before it becomes part of a row; nothing readable reaches the log.
//! - A change acts at once: what was remembered before it is not used after its commit.
//! - A key without its parent, of a disabled parent, or of a parent that was made again under the same
//!   name, opens nothing.
//! - What cannot be read allows nothing.
//!
//! # Not here
//!
//! Whether someone may do something is decided in `iam`; who may change identities, by the doors in
//! `admin`; signatures are in `s3`.

mod access_points;
mod arn;
mod check;
mod credential;
mod decided;
mod derived;
mod directory;
mod documents;
mod entity;
mod error;
mod explain;
mod holder;
mod keys;
mod mfa;
mod named;
mod names;
mod openid_providers;
mod outside;
mod policies;
mod principal_names;
mod principals;
mod resolve;
mod roles;
mod rows;
mod session;
mod session_end;
mod session_policy;
mod token;
mod weight;

pub use access_points::{AccessPoint, AccessPointScope};
pub use arn::{EntityArn, EntityKind, mfa_serial, openid_role_arn};
pub use check::check_derived_rows;
pub use credential::{Credential, IdentifyError};
pub use directory::{Directory, DirectoryConfig, RootCredentials};
pub use entity::{
    AccessKey, Account, Grants, Group, KeyKind, ManagedPolicy, Parent, PolicyVersion,
    PublicAccessBlock, Role, User,
};
pub use error::IdentityError;
pub use explain::{ExplainedDecision, Explanations};
pub use holder::{Holder, HolderKind};
pub use keys::{KeyChange, NewKey};
pub use mfa::{CodeOf, MfaInfo};
pub use named::NamedUser;
pub use openid_providers::{NewOpenIdProvider, OpenIdProvider, openid_provider_of_url};
pub use outside::{OutsideName, PROVIDER_LEN_MAX, provider_name};
pub use policies::{PolicyCount, PolicyUse};
pub use principal_names::DirectoryNames;
pub use principals::NewUser;
pub use resolve::Identity;
pub use roles::{AssumeRequest, NewRole};
pub use rows::{Page, PageAsked};
pub use session::{SessionCredentials, SessionRequest};
pub use session_end::SessionsOf;

/// Id of the account that every server has.
pub const DEFAULT_ACCOUNT: &str = "000000000000";
/// Canonical id of the default account, which listings name as owner.
pub const DEFAULT_CANONICAL: &str =
    "02d6176db174dc93cb1b899f7c6078f08654445fe8cf1b6ce98d8855f66bdbf4";
pub use weight::weigh;
