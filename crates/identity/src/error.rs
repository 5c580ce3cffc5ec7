//! Errors of the directory.

use drystone_catalog::CatalogError;
use drystone_iam::PolicyError;
use drystone_keyring::KeyringError;

/// What stands before the name of a kind at the beginning of a sentence.
fn article(kind: &str) -> &'static str {
    if kind.starts_with(['a', 'e', 'i', 'o']) || kind.starts_with("MFA") { "An" } else { "A" }
}

/// Why the directory could not do something. Nothing was changed, unless the catalog says that it does
/// not know.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is no such entity.
    #[error("The {kind} with name {name} cannot be found.")]
    NotFound {
        /// `user`, `group`, `role`, `policy`, `access key`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// There is one already.
    #[error("{} {kind} with name {name} already exists.", article(kind))]
    Exists {
        /// As in `NotFound`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// It comes with the server, and cannot be changed.
    #[error("{0}")]
    BuiltIn(String),
    /// It is in use.
    #[error("{0}")]
    InUse(String),
    /// There are too many.
    #[error("{0}")]
    Limit(String),
    /// A value is not one of those allowed.
    #[error("{message}")]
    Invalid {
        /// Name of the parameter.
        field: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// A policy document is refused.
    #[error("{0}")]
    Policy(#[from] PolicyError),
    /// There is no memory for the list at present; it may be asked for again.
    #[error("There is no memory for this list at present.")]
    NoRoom,
    /// What it was decided on has changed meanwhile; it may be asked for again.
    #[error("Users, keys or policies were changed at the same time. Please try again.")]
    Changed,
    /// The caller may not do this, whatever policies say.
    #[error("{0}")]
    Forbidden(String),
    /// A secret cannot be opened.
    #[error("a stored secret cannot be opened")]
    Keyring(#[from] KeyringError),
    /// A stored entity cannot be understood.
    #[error("the stored {kind} {name} cannot be read")]
    Damaged {
        /// As in `NotFound`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The catalog failed.
    #[error("the catalog failed")]
    Catalog(#[from] CatalogError),
}

impl IdentityError {
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

    /// Whether a row cannot be read, now or later.
    pub(crate) fn is_unreadable(&self) -> bool {
        let rows = |error: &CatalogError| {
            matches!(error, CatalogError::Row(_) | CatalogError::Forged { .. })
        };
        match self {
            Self::Damaged { .. } => true,
            Self::Catalog(error) => rows(error),
            _ => false,
        }
    }

    pub(crate) fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid { field, message: message.into() }
    }
}
