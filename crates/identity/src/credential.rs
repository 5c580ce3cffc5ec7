//! From an access key to its secret, and from there to its rights.
//!
//! # Invariants
//!
//! - Until a signature was checked, a request costs the row of its key: neither the user nor any policy is
//!   read before.

use crate::directory::{Directory, IdentityName};
use crate::entity::AccessKey;
use crate::error::IdentityError;
use crate::keys::seal_context;
use crate::resolve::Identity;
use crate::rows;
use crate::token::Claims;
use drystone_keyring::Secret;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Why a key opens nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IdentifyError {
    /// There is no such key, or it or its parent is gone, or it has expired.
    #[error("the access key is not known")]
    UnknownKey,
    /// The key, or its user, is disabled: said after the signature was found to be right.
    #[error("the access key or its user is disabled")]
    DisabledKey,
    /// The session was revoked: said after the signature was found to be right.
    #[error("the session was revoked")]
    RevokedToken,
    /// The token is not one of this server, or of another key.
    #[error("the session token is not valid")]
    InvalidToken,
    /// The session has ended.
    #[error("the session has ended")]
    ExpiredToken,
    /// What is stored cannot be read.
    #[error("what is stored about the access key cannot be read")]
    Stored(#[from] IdentityError),
}

/// What an identity is remembered under.
fn name_of(access_key: &str, token: Option<&str>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((access_key.len() as u64).to_le_bytes());
    hash.update(access_key.as_bytes());
    if let Some(token) = token {
        hash.update(b" ");
        hash.update(token.as_bytes());
    }
    hash.finalize().into()
}

/// A key that was found. What it may do is not read yet, unless it is remembered.
pub struct Credential(Found);

enum Found {
    Known(Arc<Identity>),
    Read(Box<KeyRead>, Grantor),
}

/// A key as it was read.
pub(crate) struct KeyRead {
    /// As in [`Identity`].
    pub(crate) serial: u64,
    /// The state of the directory before it was read.
    epoch: u64,
    name: IdentityName,
    pub(crate) access_key: String,
    pub(crate) secret_key: Secret,
}

/// What gives the key its rights.
enum Grantor {
    Key(Box<AccessKey>),
    Session(Box<Claims>),
}

impl Credential {
    /// Tells this reading of the directory from others, for caches of what is derived from it.
    #[must_use]
    pub fn serial(&self) -> u64 {
        match &self.0 {
            Found::Known(identity) => identity.serial,
            Found::Read(read, _) => read.serial,
        }
    }

    /// Access key id.
    #[must_use]
    pub fn access_key(&self) -> &str {
        match &self.0 {
            Found::Known(identity) => &identity.access_key,
            Found::Read(read, _) => &read.access_key,
        }
    }

    /// Secret key.
    #[must_use]
    pub fn secret_key(&self) -> &Secret {
        match &self.0 {
            Found::Known(identity) => &identity.secret_key,
            Found::Read(read, _) => &read.secret_key,
        }
    }
}

impl Directory {
    /// The secret of an access key, with the session token that came with it.
    ///
    /// # Errors
    ///
    /// [`IdentifyError`].
    pub fn find_key(
        &self,
        access_key: &str,
        token: Option<&str>,
    ) -> Result<Credential, IdentifyError> {
        let root = &self.shared.root;
        if root.access_key == access_key {
            return match token {
                None => Ok(Credential(Found::Known(root.clone()))),
                Some(_) => Err(IdentifyError::InvalidToken),
            };
        }
        let name = name_of(access_key, token);
        let epoch = self.epoch();
        if let Some(identity) = self.remembered(&name) {
            self.refuse_ended(identity.is_session, identity.expires_ms)?;
            return Ok(Credential(Found::Known(identity)));
        }
        let (grantor, secret_key, expires_ms) = match token {
            None => {
                let key: Option<AccessKey> = rows::get(&self.shared.catalog, &[access_key])?;
                let key = key.ok_or(IdentifyError::UnknownKey)?;
                let secret = self.open_secret(&seal_context(access_key), &key.sealed_secret)?;
                let expires_ms = key.expires_ms;
                (Grantor::Key(Box::new(key)), secret, expires_ms)
            }
            Some(token) => {
                let (claims, secret) = self.verify_token(access_key, token)?;
                let expires_ms = Some(claims.exp * 1000);
                (Grantor::Session(Box::new(claims)), secret, expires_ms)
            }
        };
        self.refuse_ended(token.is_some(), expires_ms)?;
        let (serial, access_key) = (self.next_serial(), access_key.to_owned());
        let read = KeyRead { serial, epoch, name, access_key, secret_key };
        Ok(Credential(Found::Read(Box::new(read), grantor)))
    }

    /// What a key may do. Only after a signature with its secret was found to be right: the policies are
    /// read here.
    ///
    /// # Errors
    ///
    /// [`IdentifyError`].
    pub fn identity_of(&self, credential: Credential) -> Result<Arc<Identity>, IdentifyError> {
        let (read, grantor) = match credential.0 {
            Found::Known(identity) => return Ok(identity),
            Found::Read(read, grantor) => (*read, grantor),
        };
        let (name, epoch) = (read.name, read.epoch);
        let identity = match grantor {
            Grantor::Key(key) if !key.is_enabled => return Err(IdentifyError::DisabledKey),
            Grantor::Key(key) => self.identity_of_key(read, &key)?,
            Grantor::Session(claims) => self.identity_of_session(read, &claims)?,
        };
        let identity = Arc::new(identity);
        self.remember(name, epoch, identity.clone());
        Ok(identity)
    }

    /// Whom an access key belongs to, whose signature was found to be right before.
    ///
    /// # Errors
    ///
    /// As [`Directory::find_key`] and [`Directory::identity_of`].
    pub fn identify(
        &self,
        access_key: &str,
        token: Option<&str>,
    ) -> Result<Arc<Identity>, IdentifyError> {
        self.identity_of(self.find_key(access_key, token)?)
    }

    fn refuse_ended(&self, is_session: bool, expires_ms: Option<u64>) -> Result<(), IdentifyError> {
        match expires_ms.is_some_and(|end| end <= self.now_ms()) {
            true if is_session => Err(IdentifyError::ExpiredToken),
            true => Err(IdentifyError::UnknownKey),
            false => Ok(()),
        }
    }

    pub(crate) fn open_secret(&self, context: &str, sealed: &str) -> Result<Secret, IdentityError> {
        let bytes = self.shared.keyring.open(context, sealed).inspect_err(|error| {
            tracing::error!(context, %error, "a stored secret cannot be opened");
        })?;
        Ok(Secret::new(String::from_utf8_lossy(&bytes)))
    }
}
