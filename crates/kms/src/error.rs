//! Errors of the keys.

use drystone_catalog::CatalogError;
use drystone_keyring::KeyringError;

/// Why a key could not be used, found or changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KmsError {
    /// There is no such key.
    #[error("Key '{0}' does not exist.")]
    NotFound(String),
    /// The key is disabled.
    #[error("Key '{0}' is disabled.")]
    Disabled(String),
    /// The key waits for its deletion.
    #[error("Key '{0}' is pending deletion.")]
    Pending(String),
    /// Objects are encrypted under the key, or it may be.
    #[error("{0}")]
    Needed(String),
    /// There is one of this name already.
    #[error("Key '{0}' exists already.")]
    Exists(String),
    /// A value is not one of those allowed.
    #[error("{0}")]
    Invalid(String),
    /// There are as many as there may be.
    #[error("{0}")]
    Limit(String),
    /// There is no memory for the list at present; it may be asked for again.
    #[error("There is no memory for this list at present.")]
    NoRoom,
    /// What is sealed was not sealed under this key and context.
    #[error("What is stored sealed under the key '{0}' does not open under it.")]
    Damaged(String),
    /// The provider cannot be reached, or refuses.
    #[error("The provider of the key '{key}' does not serve it: {message}")]
    Provider {
        /// Key.
        key: String,
        /// What it says.
        message: String,
    },
    /// Something is sealed under a key that the keyring does not have.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// What the change was decided on changed before its commit; nothing was changed.
    #[error("What the request was decided on changed at the same time; it may be sent again.")]
    Changed,
    /// The catalog failed.
    #[error("the catalog failed")]
    Catalog(#[from] CatalogError),
}

impl KmsError {
    /// Why no change at all is taken, if that is why it was refused; nothing was changed.
    #[must_use]
    pub fn takes_no_changes(&self) -> Option<String> {
        match self {
            Self::Catalog(error) if error.takes_no_changes() => Some(error.to_string()),
            _ => None,
        }
    }

    /// Whether it was refused because a drive is full; nothing was changed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Catalog(CatalogError::Full))
    }
}
