//! Root keys, what is sealed under them, and how bytes of objects are sealed.
//!
//! A keyring is a small text that an operator keeps and backs up: it never enters the log. What must
//! not be readable on a drive (secrets of users, signing keys, keys and metadata of objects) is sealed under
//! its newest key with AES-256-GCM and bound to its place, so that a sealed value moved to another row does
//! not open. Rows of the catalog are readable, and carry a code that tells whether they were changed or
//! moved, and so does what each drive says of itself.
//!
//! # Not here
//!
//! Files: the binary reads and writes the keyring's file. Which key an object is sealed under is in `kms`.

mod drives;
mod frames;
mod keyring;
mod place;
mod rows;
mod secret;
mod wrap;

pub use drives::{DRIVE_SEAL_LEN_BYTES, DriveKeys};
pub use frames::{FrameCipher, FrameSalt, FrameSealer, new_salt};
pub use keyring::{Keyring, KeyringError};
pub use place::{OBJECT_ID_LEN_BYTES, ObjectPlace, bound_context, new_object_id};
pub use rows::{ROW_SEAL_LEN_BYTES, RowKeys, SealVerdict, key_of_seal};
pub use secret::{DataKey, Secret};
pub use wrap::{unwrap, wrap};
