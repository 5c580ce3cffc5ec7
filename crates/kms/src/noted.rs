//! Which keys of keyrings something is sealed under, as the catalog remembers: a keyring that lacks one of
//! them is not the one that belongs here.

use crate::error::KmsError;
use drystone_base::unhex;
use drystone_catalog::{Catalog, Decision, Key, KeyIds};
use drystone_keyring::{Keyring, KeyringError};

/// Ids of the keys that were noted.
///
/// # Errors
///
/// The catalog failed.
pub fn noted_keys(catalog: &Catalog) -> Result<Vec<String>, KmsError> {
    let row = catalog.get(Key::KEYRING)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&row).lines().map(str::to_owned).collect())
}

/// Ids of root keys that are lost, while rows are sealed again under others.
///
/// # Errors
///
/// The catalog failed.
pub fn lost_keys(catalog: &Catalog) -> Result<KeyIds, KmsError> {
    let row = catalog.get(Key::LOST_KEYS)?.unwrap_or_default();
    Ok(row.chunks_exact(8).filter_map(|id| id.try_into().ok()).collect())
}

/// Notes the key that seals from now on, after making sure that the keyring has all that were noted before.
/// `accepts_loss`: those that it lacks are forgotten. Blocks.
///
/// # Errors
///
/// [`KeyringError::UnknownKey`] names a key that is missing; or the catalog failed.
pub fn note_keyring(
    catalog: &Catalog,
    keyring: &Keyring,
    accepts_loss: bool,
) -> Result<(), KmsError> {
    let before = noted_keys(catalog)?;
    if let Some(missing) = before.iter().find(|id| !keyring.has(id)) {
        if !accepts_loss {
            return Err(KeyringError::UnknownKey(missing.clone()).into());
        }
        tracing::error!(key = missing, "what is sealed under a lost key of the keyring is lost");
    }
    let lost: Vec<u8> =
        before.iter().filter(|id| !keyring.has(id)).filter_map(|id| unhex(id)).flatten().collect();
    let mut noted: Vec<_> = before.iter().filter(|id| keyring.has(id)).cloned().collect();
    if !noted.iter().any(|id| id == keyring.current_id()) {
        noted.push(keyring.current_id().to_owned());
    }
    if noted == before {
        return Ok(());
    }
    let row = noted.join("\n");
    let ticket = catalog.submit(move |tx| {
        tx.use_reserve();
        if !lost.is_empty() {
            // Rows that are authenticated under them are taken as they are, until all are sealed again.
            let known = tx.get(Key::LOST_KEYS)?.unwrap_or_default();
            tx.put(Key::LOST_KEYS.to_vec(), [&known[..], &lost].concat());
            tx.delete(Key::SEALING.to_vec());
        }
        tx.put(Key::KEYRING.to_vec(), row.into_bytes());
        Ok(Decision::Commit(()))
    });
    Ok(ticket.wait()?)
}
