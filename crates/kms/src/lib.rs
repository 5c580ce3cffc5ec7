//! The keys that data keys of objects are sealed under.
//!
//! An object has a data key of its own, which is stored beside it, sealed: under the keyring of the server
//! (SSE-S3), or under a named key (SSE-KMS), which a provider keeps. Providers seal and open; what they
//! seal under never leaves them.
//!
//! # Invariants
//!
//! - A key that is disabled opens nothing, also nothing that was opened a moment ago.
//! - What was sealed under a context opens under the same context only.
//! - A key that is missing is named in the error; nothing is ever opened with another one.
//!
//! # Not here
//!
//! Who may use a key is decided in `s3`; how bytes are sealed is in `keyring`.

mod blob;
mod bucket_key;
mod change;
mod circuit;
mod error;
mod grant;
mod key;
mod kms;
mod noted;
mod probe;
mod provider;
mod vault;

pub use blob::PLAIN_LEN_MAX;
pub use bucket_key::BucketKeyScope;
pub use change::KeyRules;
pub use error::KmsError;
pub use grant::{GRANT_COUNT_MAX, GRANT_OPERATIONS, Grant};
pub use key::{AliasInfo, KeyInfo, KeyState, Rotation};
pub use kms::{Kms, KmsConfig, NewKey, Sealed};
pub use noted::{lost_keys, note_keyring, noted_keys};
pub use provider::StaticKey;
pub use vault::VaultConfig;
